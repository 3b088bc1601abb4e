


















import { AdaptiveThrottle } from "effect-together/policy"

AdaptiveThrottle.probability(AdaptiveThrottle.sre, 100, 50) // => 0
AdaptiveThrottle.probability(AdaptiveThrottle.sre, 99, 0) // => 0.99

const [, once] = AdaptiveThrottle.attempt(AdaptiveThrottle.make(), 0, 0.3)
AdaptiveThrottle.attempt(once, 1, 0.3)[0] // => { _tag: "Rejected", probability: 0.5, reason: "backend-refuses" }
AdaptiveThrottle.rejectionRate(once, 120) // => 0
