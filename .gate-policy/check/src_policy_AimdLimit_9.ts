







import { AimdLimit } from "effect-together/policy"

const limit = AimdLimit.initial({ initial: 30 })
AimdLimit.sample(limit, { rttSeconds: 1, inFlight: 30, dropped: true })[0]
// => { _tag: "Lowered", from: 30, to: 27, reason: "dropped" }
