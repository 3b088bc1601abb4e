


















import { Pause } from "/work/main/src/policy/index.ts"

const [first, paused] = Pause.refuse(Pause.make(), { sentAt: 1, hintSeconds: 3 }, 2)
;__example.value((first), () => ({ _tag: "Extended", until: 5, epoch: "new", reason: "hint", hintSeconds: 3 }
), "{ _tag: \"Extended\", until: 5, epoch: \"new\", reason: \"hint\", hintSeconds: 3 }", 23); // => { _tag: "Extended", until: 5, epoch: "new", reason: "hint", hintSeconds: 3 }
const [second] = Pause.refuse(paused, { sentAt: 1 }, 2.1)
;__example.value((second), () => ({ _tag: "Unchanged", until: 5, epoch: "same", reason: "already-paused" }
), "{ _tag: \"Unchanged\", until: 5, epoch: \"same\", reason: \"already-paused\" }", 25); // => { _tag: "Unchanged", until: 5, epoch: "same", reason: "already-paused" }
;__example.value((Pause.gate(paused, 4)), () => ({ _tag: "Paused", until: 5, waitSeconds: 1, reason: "paused" }
), "{ _tag: \"Paused\", until: 5, waitSeconds: 1, reason: \"paused\" }", 26); // => { _tag: "Paused", until: 5, waitSeconds: 1, reason: "paused" }
