

















import { RetryBudget } from "/work/main/src/policy/index.ts"

let budget = RetryBudget.make({ ratio: 0.2, minPerSecond: 0 })
for (let i = 0; i < 5; i++) budget = RetryBudget.deposit(budget, 0)
const [first, empty] = RetryBudget.withdraw(budget, 0)
;__example.value((first), () => ({ _tag: "Granted", balance: 0, reason: "within-budget" }
), "{ _tag: \"Granted\", balance: 0, reason: \"within-budget\" }", 24); // => { _tag: "Granted", balance: 0, reason: "within-budget" }
;__example.value((RetryBudget.withdraw(empty, 0)[0]), () => ({ _tag: "Denied", balance: 0, reason: "budget-exhausted" }
), "{ _tag: \"Denied\", balance: 0, reason: \"budget-exhausted\" }", 25); // => { _tag: "Denied", balance: 0, reason: "budget-exhausted" }
