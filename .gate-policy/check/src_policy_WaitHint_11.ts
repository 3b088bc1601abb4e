









import { WaitHint } from "effect-together/policy"

const hints = WaitHint.make()
WaitHint.decide(hints, { hintSeconds: 2, backoffSeconds: 0.5 }, 0.5) // => { _tag: "Wait", seconds: 2.1, reason: "hint" }
WaitHint.decide(hints, { hintSeconds: 3600, backoffSeconds: 0.5 }, 0.5)
// => { _tag: "GiveUp", seconds: 3600, reason: "over-cap" }
