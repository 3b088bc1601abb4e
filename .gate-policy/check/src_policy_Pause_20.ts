


















import { Pause } from "effect-together/policy"

const [first, paused] = Pause.refuse(Pause.make(), { sentAt: 1, hintSeconds: 3 }, 2)
first // => { _tag: "Extended", until: 5, epoch: "new", reason: "hint", hintSeconds: 3 }
const [second] = Pause.refuse(paused, { sentAt: 1 }, 2.1)
second // => { _tag: "Unchanged", until: 5, epoch: "same", reason: "already-paused" }
Pause.gate(paused, 4) // => { _tag: "Paused", until: 5, waitSeconds: 1, reason: "paused" }
