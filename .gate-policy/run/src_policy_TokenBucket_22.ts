




















import { TokenBucket } from "/work/main/src/policy/index.ts"

const bucket = TokenBucket.make({ capacity: 3, refillPerSecond: 1 })
const [first, rest] = TokenBucket.take(bucket, 2, 0)
;__example.value((first), () => ({ _tag: "Granted", remaining: 1, reason: "in-stock" }
), "{ _tag: \"Granted\", remaining: 1, reason: \"in-stock\" }", 26); // => { _tag: "Granted", remaining: 1, reason: "in-stock" }
;__example.value((TokenBucket.take(rest, 2, 0.5)[0]), () => ({ _tag: "Wait", seconds: 0.5, reason: "short" }
), "{ _tag: \"Wait\", seconds: 0.5, reason: \"short\" }", 27); // => { _tag: "Wait", seconds: 0.5, reason: "short" }
