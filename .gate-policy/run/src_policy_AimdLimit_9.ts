







import { AimdLimit } from "/work/main/src/policy/index.ts"

const limit = AimdLimit.initial({ initial: 30 })
;__example.value((AimdLimit.sample(limit, { rttSeconds: 1, inFlight: 30, dropped: true })[0]), () => ({ _tag: "Lowered", from: 30, to: 27, reason: "dropped" }
), "{ _tag: \"Lowered\", from: 30, to: 27, reason: \"dropped\" }", 13);
// => { _tag: "Lowered", from: 30, to: 27, reason: "dropped" }
