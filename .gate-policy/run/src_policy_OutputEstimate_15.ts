













import { OutputEstimate } from "/work/main/src/policy/index.ts"

let estimate = OutputEstimate.make()
;__example.value((OutputEstimate.estimate(estimate, { inputTokens: 100, maxOutputTokens: 4096 }, 0).tokens), () => (612
), "612", 18); // => 612
for (let i = 0; i < 20; i++) estimate = OutputEstimate.record(estimate, 200)
;__example.value((OutputEstimate.estimate(estimate, { inputTokens: 100, maxOutputTokens: 4096 }, 0).tokens), () => (320
), "320", 20); // => 320
