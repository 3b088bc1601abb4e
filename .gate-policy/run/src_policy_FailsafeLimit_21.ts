



















import { FailsafeLimit } from "/work/main/src/policy/index.ts"

const limit = FailsafeLimit.initial({ baselineSeconds: 1, minSamples: 1 })
;__example.value((FailsafeLimit.sample(limit, { rttSeconds: 2, inFlight: 10, dropped: false }, 0)[0]), () => ({ _tag: "Lowered", from: 20, to: 19, reason: "long-queue" }
), "{ _tag: \"Lowered\", from: 20, to: 19, reason: \"long-queue\" }", 25);
// => { _tag: "Lowered", from: 20, to: 19, reason: "long-queue" }
