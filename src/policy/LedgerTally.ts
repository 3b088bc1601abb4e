/**
 * What is summed under one counter, and what one ended call adds to it.
 *
 * The module is re-exported by `Ledger`.
 */
import * as Money from "../domain/Money.ts"
import type { Refund, Reserve, Settle } from "./LedgerEntry.ts"

/** Sums calls that ended. */
export interface Sums {
  /** Spent, the uncertain part included. */
  readonly settled: Money.NanoUsd
  /** Part of `settled` that was assumed: usage not said, or the program stopped before the answer. */
  readonly uncertain: Money.NanoUsd
  /** Refunded, though the provider may have billed it. Not part of `settled`. */
  readonly atRisk: Money.NanoUsd
  /** Settled above the upper bounds that were reserved: the most by which a limit can be passed. */
  readonly overshoot: Money.NanoUsd
  /** Calls settled. */
  readonly calls: number
  /** Calls settled without a known cost. */
  readonly unpriced: number
}

/** Sums what happened under one counter. */
export interface Tally extends Sums {
  /** Upper bounds of the calls under way. */
  readonly reserved: Money.NanoUsd
  /** Calls under way. */
  readonly open: number
}

/** The sums of no calls. */
export const emptySums: Sums = { settled: 0n, uncertain: 0n, atRisk: 0n, overshoot: 0n, calls: 0, unpriced: 0 }

/** The tally of no calls. */
export const emptyTally: Tally = { ...emptySums, reserved: 0n, open: 0 }

/** Adds sums to what is there. */
export const plus = <T extends Sums>(to: T, more: Sums): T => ({
  ...to,
  settled: to.settled + more.settled,
  uncertain: to.uncertain + more.uncertain,
  atRisk: to.atRisk + more.atRisk,
  overshoot: to.overshoot + more.overshoot,
  calls: to.calls + more.calls,
  unpriced: to.unpriced + more.unpriced
})

/** Sums the ending of one reservation. */
export const ending = (reserve: Reserve, entry: Settle | Refund): Sums => {
  const high = reserve.high ?? 0n
  if (entry._tag === "Refund") return { ...emptySums, atRisk: entry.atRisk ? high : 0n }
  const cost = entry.cost ?? 0n
  return {
    settled: cost,
    uncertain: entry.sure ? 0n : cost,
    atRisk: 0n,
    overshoot: Money.max(0n, cost - high),
    calls: 1,
    unpriced: entry.cost === undefined ? 1 : 0
  }
}
