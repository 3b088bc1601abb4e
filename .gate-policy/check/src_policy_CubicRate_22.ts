




















import { CubicRate } from "effect-together/policy"

const [cut, limited] = CubicRate.respond(CubicRate.make(), true, 0.5)
cut // => { _tag: "Raised", from: 0.5, to: 1.12, calculated: 1.12, reason: "throttled" }
CubicRate.acquire(limited, 0.5)[0] // => { _tag: "Wait", seconds: 0.8928571428571428, reason: "short" }
