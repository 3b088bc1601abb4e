















import { VegasLimit } from "/work/main/src/policy/index.ts"

;__example.value((VegasLimit.queueSize(20, 0.1, 0.2)), () => (10
), "10", 19); // => 10
const [, limit] = VegasLimit.sample(VegasLimit.initial(), { rttSeconds: 0.1, inFlight: 20, dropped: false }, 0, 0.5)
;__example.value((VegasLimit.sample(limit, { rttSeconds: 0.2, inFlight: 20, dropped: false }, 1, 0.5)[0]), () => ({ _tag: "Lowered", from: 20, to: 19, reason: "long-queue" }
), "{ _tag: \"Lowered\", from: 20, to: 19, reason: \"long-queue\" }", 22);
// => { _tag: "Lowered", from: 20, to: 19, reason: "long-queue" }
