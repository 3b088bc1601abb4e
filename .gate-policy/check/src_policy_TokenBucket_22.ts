




















import { TokenBucket } from "effect-together/policy"

const bucket = TokenBucket.make({ capacity: 3, refillPerSecond: 1 })
const [first, rest] = TokenBucket.take(bucket, 2, 0)
first // => { _tag: "Granted", remaining: 1, reason: "in-stock" }
TokenBucket.take(rest, 2, 0.5)[0] // => { _tag: "Wait", seconds: 0.5, reason: "short" }
