









import { Gcra } from "effect-together/policy"

const limiter = Gcra.make({ ratePerSecond: 1, burst: 3 })
const [first, rest] = Gcra.take(limiter, 2, 0)
first // => { _tag: "Granted", remaining: 1, reason: "conforming" }
Gcra.take(rest, 2, 0.5)[0] // => { _tag: "Wait", seconds: 0.5, reason: "too-early" }
