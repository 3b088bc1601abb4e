












import { RetryThrottle } from "/work/main/src/policy/index.ts"

const throttle = RetryThrottle.make({ maxTokens: 4 })
const [first, after] = RetryThrottle.fail(throttle)
;__example.value((first), () => ({ _tag: "Allowed", tokens: 3, reason: "above-half" }
), "{ _tag: \"Allowed\", tokens: 3, reason: \"above-half\" }", 18); // => { _tag: "Allowed", tokens: 3, reason: "above-half" }
;__example.value((RetryThrottle.fail(after)[0]), () => ({ _tag: "Throttled", tokens: 2, reason: "at-or-below-half" }
), "{ _tag: \"Throttled\", tokens: 2, reason: \"at-or-below-half\" }", 19); // => { _tag: "Throttled", tokens: 2, reason: "at-or-below-half" }
