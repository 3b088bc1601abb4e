








import { HedgeBudget } from "effect-together/policy"

const budget = HedgeBudget.make({ capacity: 1 })
const [first, spent] = HedgeBudget.acquire(budget)
first // => { _tag: "Granted", balance: 0, reason: "earned" }
HedgeBudget.acquire(HedgeBudget.succeed(spent))[0] // => { _tag: "Denied", balance: 0.05, reason: "balance-too-low" }
