












import { InflightBudget } from "/work/main/src/policy/index.ts"

let budget = InflightBudget.make({ ratio: 0.2, minConcurrency: 0 })
for (let i = 0; i < 4; i++) budget = InflightBudget.start(budget)
const [first, one] = InflightBudget.acquire(budget)
;__example.value((first), () => ({ _tag: "Granted", reason: "below-ratio" }
), "{ _tag: \"Granted\", reason: \"below-ratio\" }", 19); // => { _tag: "Granted", reason: "below-ratio" }
;__example.value((InflightBudget.share(one)), () => (0.2
), "0.2", 20); // => 0.2
