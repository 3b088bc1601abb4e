



















import { FailsafeLimit } from "effect-together/policy"

const limit = FailsafeLimit.initial({ baselineSeconds: 1, minSamples: 1 })
FailsafeLimit.sample(limit, { rttSeconds: 2, inFlight: 10, dropped: false }, 0)[0]
// => { _tag: "Lowered", from: 20, to: 19, reason: "long-queue" }
