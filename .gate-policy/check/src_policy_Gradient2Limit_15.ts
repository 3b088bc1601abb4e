













import { Gradient2Limit } from "effect-together/policy"

let limit = Gradient2Limit.initial()
for (let i = 0; i < 12; i++) [, limit] = Gradient2Limit.sample(limit, { rttSeconds: 0.1, inFlight: 20, dropped: false })
Gradient2Limit.sample(limit, { rttSeconds: 0.3, inFlight: 30, dropped: false })[0]
// => { _tag: "Lowered", from: 29, to: 27, reason: "gradient" }
