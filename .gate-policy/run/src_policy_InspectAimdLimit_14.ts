












import { InspectAimdLimit } from "/work/main/src/policy/index.ts"

const limit = InspectAimdLimit.initial({ initial: 100 })
const [cut, slower] = InspectAimdLimit.sample(limit, { rttSeconds: 1, inFlight: 100, dropped: true }, 0)
;__example.value((cut), () => ({ _tag: "Lowered", from: 100, to: 80, reason: "dropped" }
), "{ _tag: \"Lowered\", from: 100, to: 80, reason: \"dropped\" }", 18); // => { _tag: "Lowered", from: 100, to: 80, reason: "dropped" }
;__example.value((InspectAimdLimit.sample(slower, { rttSeconds: 1, inFlight: 80, dropped: true }, 1)[0]), () => ({ _tag: "Held", from: 80, to: 80, reason: "cooldown" }
), "{ _tag: \"Held\", from: 80, to: 80, reason: \"cooldown\" }", 20);
// => { _tag: "Held", from: 80, to: 80, reason: "cooldown" }
