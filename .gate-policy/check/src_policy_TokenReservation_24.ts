






















import { TokenReservation } from "effect-together/policy"

const limits = TokenReservation.make({ requestsPerSecond: 10, tokensPerSecond: 3000 })
const [first, reserved] = TokenReservation.reserve(limits, 2000, 0)
first // => { _tag: "Reserved", estimate: 2000, reason: "in-stock" }
TokenReservation.reserve(reserved, 1600, 0)[0] // => { _tag: "Wait", seconds: 0.2, reason: "tokens" }
const [settled] = TokenReservation.settle(reserved, 2000, { _tag: "Completed", actual: 1200 }, 0)
settled // => { _tag: "Settled", tokens: 800, requests: 0, reason: "over-estimated" }
