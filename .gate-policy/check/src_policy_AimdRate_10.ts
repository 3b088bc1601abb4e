








import { AimdRate } from "effect-together/policy"

const [cut, slower] = AimdRate.throttle(AimdRate.make({ start: 10 }), 0)
cut // => { _tag: "Lowered", from: 10, to: 5, reason: "throttled" }
AimdRate.throttle(slower, 1)[0] // => { _tag: "Held", from: 5, to: 5, reason: "cooldown" }
AimdRate.succeed(slower)[0] // => { _tag: "Raised", from: 5, to: 5.2, reason: "success" }
