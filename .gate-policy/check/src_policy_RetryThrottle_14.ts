












import { RetryThrottle } from "effect-together/policy"

const throttle = RetryThrottle.make({ maxTokens: 4 })
const [first, after] = RetryThrottle.fail(throttle)
first // => { _tag: "Allowed", tokens: 3, reason: "above-half" }
RetryThrottle.fail(after)[0] // => { _tag: "Throttled", tokens: 2, reason: "at-or-below-half" }
