/**
 * What is left of the budgets of a ledger, now: of the present run and day.
 *
 * What other runs and days have spent is left out: no call of now counts there.
 */
import * as DateTime from "effect/DateTime"
import * as HashMap from "effect/HashMap"
import type * as Money from "../domain/Money.ts"
import * as Budget from "./Budget.ts"
import * as Ledger from "./Ledger.ts"

/** Sums up one counter of one budget. */
export interface BudgetStatus {
  readonly budget: Budget.Budget
  /** What the counter counts apart; `day` as a date, such as `"2026-01-31"`. */
  readonly dimensions: Budget.Dimensions
  /**
   * Tells counters apart, as refusals and alerts do. An id and no text to show: NUL characters stand between its parts, which
   * are `budget.name` and `dimensions`.
   */
  readonly counter: string
  readonly tally: Ledger.Tally
  readonly remaining: Money.NanoUsd
}

/** Tells whether a budget has a counter for each account or label that comes by. */
const isOpen = (budget: Budget.Budget): boolean =>
  budget.per.some((dimension) =>
    (dimension === "account" && budget.account === undefined) || (dimension === "label" && budget.label === undefined)
  )

const dateOf = (day: number): string => DateTime.formatIsoDateUtc(DateTime.makeUnsafe(day * 86_400_000))

const dated = (found: Budget.Dimensions): Budget.Dimensions =>
  found.day === undefined ? found : { ...found, day: dateOf(Number(found.day)) }

/** Reads what a counter of a budget counts apart; `day` as a date. */
export const dimensionsOf = (budget: Budget.Budget, counter: string): Budget.Dimensions =>
  dated(Budget.dimensionsOf(budget, counter) ?? {})

/**
 * Lists what is left now, in the order of the budgets: the counters of the present run and day.
 *
 * **Details**: a budget that counts accounts or labels apart has a counter for each that a call came by with, any other has
 * its one counter from the beginning.
 */
export const list = (state: Ledger.State, now: number): ReadonlyArray<BudgetStatus> => {
  const day = Budget.dayOf(now, state.dayOffsetSeconds)
  const countersOfNow = (budget: Budget.Budget): ReadonlyArray<string> => {
    const facts = { run: state.run, day, account: budget.account ?? "", label: budget.label ?? "" }
    const only = isOpen(budget) ? undefined : Budget.counterOf(budget, facts)
    return only === undefined ? Array.from(HashMap.keys(state.counters)).toSorted() : [only]
  }
  return state.budgets.flatMap((budget) =>
    countersOfNow(budget).flatMap((counter): ReadonlyArray<BudgetStatus> => {
      const found = Budget.dimensionsOf(budget, counter)
      const isNow = (found?.run ?? state.run) === state.run && Number(found?.day ?? day) === day
      if (found === undefined || !isNow) return []
      const sums = Ledger.tally(state.counters, counter)
      return [{ budget, dimensions: dated(found), counter, tally: sums, remaining: Ledger.remaining(budget, sums) }]
    })
  )
}
