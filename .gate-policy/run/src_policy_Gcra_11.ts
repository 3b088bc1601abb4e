









import { Gcra } from "/work/main/src/policy/index.ts"

const limiter = Gcra.make({ ratePerSecond: 1, burst: 3 })
const [first, rest] = Gcra.take(limiter, 2, 0)
;__example.value((first), () => ({ _tag: "Granted", remaining: 1, reason: "conforming" }
), "{ _tag: \"Granted\", remaining: 1, reason: \"conforming\" }", 15); // => { _tag: "Granted", remaining: 1, reason: "conforming" }
;__example.value((Gcra.take(rest, 2, 0.5)[0]), () => ({ _tag: "Wait", seconds: 0.5, reason: "too-early" }
), "{ _tag: \"Wait\", seconds: 0.5, reason: \"too-early\" }", 16); // => { _tag: "Wait", seconds: 0.5, reason: "too-early" }
