













import { OutputEstimate } from "effect-together/policy"

let estimate = OutputEstimate.make()
OutputEstimate.estimate(estimate, { inputTokens: 100, maxOutputTokens: 4096 }, 0).tokens // => 612
for (let i = 0; i < 20; i++) estimate = OutputEstimate.record(estimate, 200)
OutputEstimate.estimate(estimate, { inputTokens: 100, maxOutputTokens: 4096 }, 0).tokens // => 320
