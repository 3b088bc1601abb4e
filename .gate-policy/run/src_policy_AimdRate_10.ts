








import { AimdRate } from "/work/main/src/policy/index.ts"

const [cut, slower] = AimdRate.throttle(AimdRate.make({ start: 10 }), 0)
;__example.value((cut), () => ({ _tag: "Lowered", from: 10, to: 5, reason: "throttled" }
), "{ _tag: \"Lowered\", from: 10, to: 5, reason: \"throttled\" }", 13); // => { _tag: "Lowered", from: 10, to: 5, reason: "throttled" }
;__example.value((AimdRate.throttle(slower, 1)[0]), () => ({ _tag: "Held", from: 5, to: 5, reason: "cooldown" }
), "{ _tag: \"Held\", from: 5, to: 5, reason: \"cooldown\" }", 14); // => { _tag: "Held", from: 5, to: 5, reason: "cooldown" }
;__example.value((AimdRate.succeed(slower)[0]), () => ({ _tag: "Raised", from: 5, to: 5.2, reason: "success" }
), "{ _tag: \"Raised\", from: 5, to: 5.2, reason: \"success\" }", 15); // => { _tag: "Raised", from: 5, to: 5.2, reason: "success" }
