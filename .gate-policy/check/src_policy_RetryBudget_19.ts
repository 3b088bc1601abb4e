

















import { RetryBudget } from "effect-together/policy"

let budget = RetryBudget.make({ ratio: 0.2, minPerSecond: 0 })
for (let i = 0; i < 5; i++) budget = RetryBudget.deposit(budget, 0)
const [first, empty] = RetryBudget.withdraw(budget, 0)
first // => { _tag: "Granted", balance: 0, reason: "within-budget" }
RetryBudget.withdraw(empty, 0)[0] // => { _tag: "Denied", balance: 0, reason: "budget-exhausted" }
