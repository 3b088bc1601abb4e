









import { WaitHint } from "/work/main/src/policy/index.ts"

const hints = WaitHint.make()
;__example.value((WaitHint.decide(hints, { hintSeconds: 2, backoffSeconds: 0.5 }, 0.5)), () => ({ _tag: "Wait", seconds: 2.1, reason: "hint" }
), "{ _tag: \"Wait\", seconds: 2.1, reason: \"hint\" }", 14); // => { _tag: "Wait", seconds: 2.1, reason: "hint" }
;__example.value((WaitHint.decide(hints, { hintSeconds: 3600, backoffSeconds: 0.5 }, 0.5)), () => ({ _tag: "GiveUp", seconds: 3600, reason: "over-cap" }
), "{ _tag: \"GiveUp\", seconds: 3600, reason: \"over-cap\" }", 16);
// => { _tag: "GiveUp", seconds: 3600, reason: "over-cap" }
