















import { RemainingBudget } from "effect-together/policy"

const [, seen] = RemainingBudget.observe(RemainingBudget.make(), { sequence: 10, remaining: 2, resetSeconds: 1 }, 0)
RemainingBudget.admit(seen, { sent: 11, ratePerSecond: 5 }, 0) // => { _tag: "Admitted", reason: "in-budget" }
RemainingBudget.admit(seen, { sent: 12, ratePerSecond: 5 }, 0)
// => { _tag: "Wait", seconds: 1, budget: 0, reason: "budget-spent" }
