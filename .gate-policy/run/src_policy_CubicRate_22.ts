




















import { CubicRate } from "/work/main/src/policy/index.ts"

const [cut, limited] = CubicRate.respond(CubicRate.make(), true, 0.5)
;__example.value((cut), () => ({ _tag: "Raised", from: 0.5, to: 1.12, calculated: 1.12, reason: "throttled" }
), "{ _tag: \"Raised\", from: 0.5, to: 1.12, calculated: 1.12, reason: \"throttled\" }", 25); // => { _tag: "Raised", from: 0.5, to: 1.12, calculated: 1.12, reason: "throttled" }
;__example.value((CubicRate.acquire(limited, 0.5)[0]), () => ({ _tag: "Wait", seconds: 0.8928571428571428, reason: "short" }
), "{ _tag: \"Wait\", seconds: 0.8928571428571428, reason: \"short\" }", 26); // => { _tag: "Wait", seconds: 0.8928571428571428, reason: "short" }
