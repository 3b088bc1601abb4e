















import { RemainingBudget } from "/work/main/src/policy/index.ts"

const [, seen] = RemainingBudget.observe(RemainingBudget.make(), { sequence: 10, remaining: 2, resetSeconds: 1 }, 0)
;__example.value((RemainingBudget.admit(seen, { sent: 11, ratePerSecond: 5 }, 0)), () => ({ _tag: "Admitted", reason: "in-budget" }
), "{ _tag: \"Admitted\", reason: \"in-budget\" }", 20); // => { _tag: "Admitted", reason: "in-budget" }
;__example.value((RemainingBudget.admit(seen, { sent: 12, ratePerSecond: 5 }, 0)), () => ({ _tag: "Wait", seconds: 1, budget: 0, reason: "budget-spent" }
), "{ _tag: \"Wait\", seconds: 1, budget: 0, reason: \"budget-spent\" }", 22);
// => { _tag: "Wait", seconds: 1, budget: 0, reason: "budget-spent" }
