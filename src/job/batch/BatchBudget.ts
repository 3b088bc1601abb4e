/**
 * What a job through batches may still spend: the upper bound of a part is reserved before it is created, and released
 * when its rows are settled and their real cost is known.
 *
 * ```text
 * spent + assumed + reserved + bound ≤ limit ──▶ reserved     otherwise: wait for a part that runs
 *                                                             none runs: the budget is exceeded, by this part
 * ```
 *
 * Parts of earlier runs hold their bound from the start, for they run already. Where the cost of a row cannot be known,
 * its part counts with its whole bound: `assumed`.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TogetherError from "../../domain/TogetherError.ts"
import type * as Credits from "../../guard/credits/Credits.ts"
import * as Price from "../../policy/Price.ts"
import type * as Row from "../Row.ts"
import * as RowTokens from "../RowTokens.ts"

/** Computes what rows may cost at the most through a batch, or says why that is unknown. */
export const bound = (lookup: Price.Lookup, model: string, rows: ReadonlyArray<Row.Row>): Price.Estimate => {
  const price = lookup(model)
  let high = 0n
  for (const row of rows) {
    const estimate = Price.ofCall(price, model, RowTokens.estimate(row), { batch: true })
    if (estimate._tag === "Unknown") return estimate
    high += estimate.high
  }
  return Price.range(0n, high)
}

/** Counts the rows, from the first on, whose bounds fit into nano-dollars together. */
export const fitting = (lookup: Price.Lookup, model: string, rows: ReadonlyArray<Row.Row>, room: bigint): number => {
  let left = room
  const first = rows.findIndex((row) => {
    const each = bound(lookup, model, [row])
    left -= each._tag === "Known" ? each.high : 0n
    return left < 0n
  })
  return first < 0 ? rows.length : first
}

/** The budget of one run. */
export interface BatchBudget {
  /** Holds the bound of a part that runs already. */
  readonly hold: (bound: Price.Estimate) => Reserve
  /**
   * Reserves the bound of a part, as soon as the parts that run leave enough.
   *
   * **Errors**: `BudgetExceededError` where none runs and it does not fit, or where the bound is unknown.
   */
  readonly reserve: (
    model: string,
    bound: Price.Estimate
  ) => Effect.Effect<Reserve, TogetherError.BudgetExceededError>
}

/** What one part holds of the budget. */
export interface Reserve {
  /**
   * Charges the ledger, and then gives the bound back, so that parts which wait for room find both. `spent` is what the
   * part is known to have cost, `unknown` whether it may have cost more. Returns what is assumed besides.
   */
  readonly end: (spent: bigint, unknown: boolean) => Effect.Effect<bigint>
  /**
   * What the ledger holds for it; absent if there is no ledger, and for parts of earlier runs, which the ledgers of
   * those runs have charged.
   */
  readonly reservation?: Credits.Reservation | undefined
}

/** Reserves a bound in a ledger; nothing where nobody keeps one. */
export type Ledger = (
  bound: Price.Estimate
) => Effect.Effect<Credits.Reservation | undefined, TogetherError.BudgetExceededError>

const noLedger: Ledger = () => Effect.undefined

/**
 * Makes the budget of a run.
 *
 * @param limit nano-dollars that the job may cost, earlier runs included; absent: any
 * @param spent reads the nano-dollars spent so far, earlier runs included
 * @param ledger keeps budgets besides, which a part has to fit as well
 */
export const make = (limit: bigint | undefined, spent: () => bigint, ledger: Ledger = noLedger): BatchBudget => {
  let assumed = 0n
  let reserved = 0n
  let running = 0
  let freed = Deferred.makeUnsafe<void>()

  const hold = (high: bigint): void => {
    reserved += high
    running++
  }

  const drop = (high: bigint): void => {
    reserved -= high
    running--
  }

  /** Releases the bound of a part, and wakes parts that wait for room. */
  const release = (high: bigint, besides: bigint): void => {
    drop(high)
    assumed += besides
    const before = freed
    freed = Deferred.makeUnsafe()
    Deferred.doneUnsafe(before, Effect.void)
  }

  const reserveOf = (high: bigint, reservation: Credits.Reservation | undefined): Reserve => ({
    reservation,
    end: (spent, unknown) => {
      const besides = unknown && spent < high ? high - spent : 0n
      const cost = Price.known(spent + besides)
      const settled = reservation?.settle(
        besides === 0n ? cost : Price.assumed(cost, "what a row of the batch cost is unknown")
      ) ?? Effect.void
      return Effect.uninterruptible(
        Effect.as(Effect.andThen(settled, Effect.sync(() => release(high, besides))), besides)
      )
    }
  })

  /** Takes a bound, and reserves it in the ledger; takes nothing where that has no room. */
  const takeBoth = (high: bigint, bound: Price.Estimate) =>
    Effect.suspend(() => {
      hold(high)
      return ledger(bound).pipe(
        Effect.map((reservation) => reserveOf(high, reservation)),
        Effect.tapError(() => Effect.sync(() => drop(high)))
      )
    })

  const left = (limit: bigint) => limit - spent() - assumed - reserved

  const refuse = (
    limit: bigint,
    model: string,
    reason: "no-room" | "unknown-price",
    needed: bigint,
    message: string
  ) =>
    Effect.fail(
      new TogetherError.BudgetExceededError({
        message,
        model,
        reason,
        budget: "job",
        limitNanoUsd: limit,
        neededNanoUsd: needed,
        remainingNanoUsd: left(limit)
      })
    )

  return {
    hold: (bound) => {
      const high = bound._tag === "Known" ? bound.high : limit ?? 0n
      hold(high)
      return reserveOf(high, undefined)
    },
    reserve: Effect.fnUntraced(function*(model, bound) {
      if (limit !== undefined && bound._tag === "Unknown") {
        const message =
          `the price of ${model} is unknown: ${bound.reason}. State it, or send these rows without a budget`
        return yield* refuse(limit, model, "unknown-price", 0n, message)
      }
      const high = bound._tag === "Known" ? bound.high : 0n
      while (true) {
        const next = freed
        if (limit === undefined || high <= left(limit)) {
          const taken = yield* Effect.result(takeBoth(high, bound))
          if (Result.isSuccess(taken)) return taken.success
          if (running === 0 || taken.failure.reason !== "no-room") return yield* taken.failure
        } else if (running === 0) {
          const message = "the next row may cost more than is left. Raise the budget, or lower max_tokens"
          return yield* refuse(limit, model, "no-room", high, message)
        }
        yield* Effect.interruptible(Deferred.await(next))
      }
    })
  }
}
