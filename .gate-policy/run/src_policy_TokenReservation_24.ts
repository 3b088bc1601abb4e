






















import { TokenReservation } from "/work/main/src/policy/index.ts"

const limits = TokenReservation.make({ requestsPerSecond: 10, tokensPerSecond: 3000 })
const [first, reserved] = TokenReservation.reserve(limits, 2000, 0)
;__example.value((first), () => ({ _tag: "Reserved", estimate: 2000, reason: "in-stock" }
), "{ _tag: \"Reserved\", estimate: 2000, reason: \"in-stock\" }", 28); // => { _tag: "Reserved", estimate: 2000, reason: "in-stock" }
;__example.value((TokenReservation.reserve(reserved, 1600, 0)[0]), () => ({ _tag: "Wait", seconds: 0.2, reason: "tokens" }
), "{ _tag: \"Wait\", seconds: 0.2, reason: \"tokens\" }", 29); // => { _tag: "Wait", seconds: 0.2, reason: "tokens" }
const [settled] = TokenReservation.settle(reserved, 2000, { _tag: "Completed", actual: 1200 }, 0)
;__example.value((settled), () => ({ _tag: "Settled", tokens: 800, requests: 0, reason: "over-estimated" }
), "{ _tag: \"Settled\", tokens: 800, requests: 0, reason: \"over-estimated\" }", 31); // => { _tag: "Settled", tokens: 800, requests: 0, reason: "over-estimated" }
