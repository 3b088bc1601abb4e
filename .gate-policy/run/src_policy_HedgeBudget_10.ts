








import { HedgeBudget } from "/work/main/src/policy/index.ts"

const budget = HedgeBudget.make({ capacity: 1 })
const [first, spent] = HedgeBudget.acquire(budget)
;__example.value((first), () => ({ _tag: "Granted", balance: 0, reason: "earned" }
), "{ _tag: \"Granted\", balance: 0, reason: \"earned\" }", 14); // => { _tag: "Granted", balance: 0, reason: "earned" }
;__example.value((HedgeBudget.acquire(HedgeBudget.succeed(spent))[0]), () => ({ _tag: "Denied", balance: 0.05, reason: "balance-too-low" }
), "{ _tag: \"Denied\", balance: 0.05, reason: \"balance-too-low\" }", 15); // => { _tag: "Denied", balance: 0.05, reason: "balance-too-low" }
