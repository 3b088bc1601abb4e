import { describe, expect, it } from "@effect/vitest"
import * as Budget from "../../src/policy/Budget.ts"
import * as BudgetStatus from "../../src/policy/BudgetStatus.ts"
import * as Ledger from "../../src/policy/Ledger.ts"
import * as Price from "../../src/policy/Price.ts"

const day = 86_400
const budgets = [
  Budget.perRun("$9"),
  Budget.perDay("$5"),
  Budget.perLabel("$1", "evals"),
  Budget.make({ name: "each account's day", limit: "$2", per: ["account", "day"] })
]
const empty = Ledger.make({ budgets, run: "r" })
const spent = (state: Ledger.State, account: string, at: number) => {
  const entry: Ledger.Reserve = { _tag: "Reserve", id: state.nextId, at, run: state.run, account, label: "", high: 10n }
  return Ledger.apply(Ledger.apply(state, entry), Ledger.settlement(entry, Price.known(10n), at))
}
const left = (state: Ledger.State, now: number) =>
  BudgetStatus.list(state, now).map(({ budget, dimensions, tally }) => [budget.name, dimensions, tally.settled])

describe("BudgetStatus", () => {
  describe("list", () => {
    it("says what is left before the first call", () => {
      expect(left(empty, 20_000 * day)).toEqual([
        ["run", { run: "r" }, 0n],
        ["day", { day: "2024-10-04" }, 0n],
        ["label evals", { label: "evals" }, 0n]
      ])
    })

    it("is of the present day and run", () => {
      const yesterday = spent(spent(empty, "k", 20_000 * day), "l", 20_000 * day)
      const state = spent(yesterday, "k", 20_001 * day)
      expect(left(state, 20_001 * day)).toEqual([
        ["run", { run: "r" }, 30n],
        ["day", { day: "2024-10-05" }, 10n],
        ["label evals", { label: "evals" }, 0n],
        ["each account's day", { account: "k", day: "2024-10-05" }, 10n]
      ])
      expect(left({ ...state, run: "next" }, 20_003 * day)).toEqual([
        ["run", { run: "next" }, 0n],
        ["day", { day: "2024-10-07" }, 0n],
        ["label evals", { label: "evals" }, 0n]
      ])
    })
  })

  it("dimensionsOf tells nothing of a counter of another budget", () => {
    const budget = Budget.make({ name: "team", limit: 10n, per: ["account", "day"] })
    const counter = Budget.counterOf(budget, { run: "r", account: "k", label: "l", day: 20_001 }) ?? ""
    expect(BudgetStatus.dimensionsOf(budget, counter)).toEqual({ account: "k", day: "2024-10-05" })
    expect(BudgetStatus.dimensionsOf(budget, "other")).toEqual({})
  })
})
