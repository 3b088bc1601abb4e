












import { InflightBudget } from "effect-together/policy"

let budget = InflightBudget.make({ ratio: 0.2, minConcurrency: 0 })
for (let i = 0; i < 4; i++) budget = InflightBudget.start(budget)
const [first, one] = InflightBudget.acquire(budget)
first // => { _tag: "Granted", reason: "below-ratio" }
InflightBudget.share(one) // => 0.2
