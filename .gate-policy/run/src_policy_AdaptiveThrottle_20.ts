


















import { AdaptiveThrottle } from "/work/main/src/policy/index.ts"

;__example.value((AdaptiveThrottle.probability(AdaptiveThrottle.sre, 100, 50)), () => (0
), "0", 22); // => 0
;__example.value((AdaptiveThrottle.probability(AdaptiveThrottle.sre, 99, 0)), () => (0.99
), "0.99", 23); // => 0.99

const [, once] = AdaptiveThrottle.attempt(AdaptiveThrottle.make(), 0, 0.3)
;__example.value((AdaptiveThrottle.attempt(once, 1, 0.3)[0]), () => ({ _tag: "Rejected", probability: 0.5, reason: "backend-refuses" }
), "{ _tag: \"Rejected\", probability: 0.5, reason: \"backend-refuses\" }", 26); // => { _tag: "Rejected", probability: 0.5, reason: "backend-refuses" }
;__example.value((AdaptiveThrottle.rejectionRate(once, 120)), () => (0
), "0", 27); // => 0
