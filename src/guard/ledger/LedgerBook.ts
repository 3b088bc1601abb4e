/**
 * The ledger with a clock, a store and alerts: the shell around `policy/Ledger`.
 *
 * A reservation or its ending is one synchronous step (decide, apply), then the
 * entry is written to the store (`LedgerLine`), then news goes out (`LedgerNews`).
 * The step is atomic among fibers, and takes the entry's place in line. Writing is not part of it, so no fiber waits
 * for a disk while another decides. Once a step is done, it is also written and reported, and an interruption waits for
 * that. An interruption undoes only a reservation whose turn to be written has not come.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Metric from "effect/Metric"
import * as Money from "../../domain/Money.ts"
import * as Remedy from "../../domain/Remedy.ts"
import { BudgetExceededError } from "../../domain/TogetherError.ts"
import type * as AutoRecharge from "../../policy/AutoRecharge.ts"
import * as Budget from "../../policy/Budget.ts"
import type * as Forecast from "../../policy/Forecast.ts"
import * as Ledger from "../../policy/Ledger.ts"
import type * as Price from "../../policy/Price.ts"
import type { Alert } from "../credits/CreditAlerts.ts"
import * as Telemetry from "../credits/CreditTelemetry.ts"
import * as LedgerLine from "./LedgerLine.ts"
import * as LedgerNews from "./LedgerNews.ts"
import type * as LedgerStore from "./LedgerStore.ts"
import type { Restore } from "../Restore.ts"

/** Configures a book; `Credits` decides all of it. */
export interface Options {
  readonly store: LedgerStore.Store
  readonly budgets: ReadonlyArray<Budget.Budget>
  readonly run: string
  readonly dayOffset: Duration.Input
  readonly unknownPrice: "refuse" | "allow"
  readonly orphans: "charge" | "refund"
  readonly whenUnwritable: "stop" | "continue"
  readonly lowBalance: Duration.Input
  readonly autoRecharge: AutoRecharge.Settings | undefined
  readonly publish: (alert: Alert) => Effect.Effect<void>
}

/** Says that a reservation is for a further attempt of a call; `failure` is what the last failed attempt failed with. */
export interface After {
  readonly failure: unknown
}

/** Keeps one ledger. */
export interface Book {
  /** Reserves. `restore` lets an interruption undo a reservation that waits to be written. */
  readonly reserve: (
    request: Ledger.Request,
    after: After | undefined,
    restore: Restore
  ) => Effect.Effect<Ledger.Reserve, BudgetExceededError>
  /** Charges an open reservation; what is not open is left alone. */
  readonly settle: (reserve: Ledger.Reserve, cost: Price.Cost) => Effect.Effect<void>
  readonly refund: (reserve: Ledger.Reserve, atRisk: boolean) => Effect.Effect<void>
  /** Records a balance; a `declared` one (from the configuration) is ignored where it repeats the last declared one. */
  readonly stateBalance: (
    statement: { readonly account: string; readonly balance: Money.NanoUsd; readonly free: Money.NanoUsd },
    declared: boolean
  ) => Effect.Effect<void>
  /** Tells whether a reservation is of a day before that of `now`, in seconds. */
  readonly isOfDayBefore: (reserve: Ledger.Reserve, now: number) => boolean
  readonly balance: (account: string, now: number) => Ledger.Balance | undefined
  readonly forecast: (account: string, now: number) => Forecast.Forecast | undefined
  readonly state: () => Ledger.State
}

const nowSeconds = Effect.clockWith((clock) => Effect.succeed(clock.currentTimeMillisUnsafe() / 1000))

/** Writes amounts for people, or exactly where two that differ would read alike. */
const written = (needed: Money.NanoUsd, remaining: Money.NanoUsd) =>
  Money.format(needed) === Money.format(remaining) ? (amount: Money.NanoUsd) => `$${Money.toUsd(amount)}` : Money.format

const refusal = (refused: LedgerNews.Refused, estimate: Price.Estimate, after: After | undefined) => {
  const { budget, counter, needed, reason, remaining } = refused
  const again = after !== undefined
  const write = written(needed, remaining)
  return new BudgetExceededError({
    message: reason === "unknown-price" && estimate._tag === "Unknown"
      ? Remedy.unknownPrice(estimate.reason)
      : `The ${again ? "attempt" : "call"} may cost up to ${write(needed)}, but budget ${
        LedgerNews.named(budget, counter)
      } has ${write(remaining)} of ${write(budget.limit)} left. ${Remedy.budgetExceeded(budget.name, again)}`,
    cause: after?.failure,
    reason,
    budget: budget.name,
    limitNanoUsd: budget.limit,
    neededNanoUsd: needed,
    remainingNanoUsd: remaining
  })
}

/** Refuses a call that no ledger would remember. */
const unwritable = (
  entry: Ledger.Reserve,
  failure: LedgerStore.LedgerStoreError,
  after: After | undefined
) =>
  new BudgetExceededError({
    message: `${
      after === undefined
        ? "The call was not sent"
        : "The attempt was not sent, and what was sent before it is charged"
    }: ${failure.message}`,
    cause: after?.failure ?? failure,
    reason: "ledger-unwritable",
    budget: "",
    limitNanoUsd: 0n,
    neededNanoUsd: entry.high ?? 0n,
    remainingNanoUsd: 0n
  })

/** Opens a book over what its store holds, and ends what a stopped program left open. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Book> {
  const { publish, store } = options
  const openedAt = yield* nowSeconds
  let state = store.entries.reduce(
    Ledger.apply,
    Ledger.make({
      budgets: options.budgets,
      run: options.run,
      dayOffsetSeconds: Duration.toSeconds(Duration.fromInputUnsafe(options.dayOffset))
    })
  )
  const news = LedgerNews.make({
    lowBalance: options.lowBalance,
    autoRecharge: options.autoRecharge,
    openedAt,
    state: () => state,
    publish
  })
  const line = LedgerLine.make({ store, whenUnwritable: options.whenUnwritable, publish: news.tell })
  let reservedNanoUsd = 0n

  const release = (reserve: Ledger.Reserve): Effect.Effect<void> => {
    reservedNanoUsd -= reserve.high ?? 0n
    return Metric.update(Telemetry.reserved, Money.toNumber(reservedNanoUsd))
  }

  const settle: Book["settle"] = (reserve, cost) =>
    Effect.flatMap(nowSeconds, (now) => {
      if (!HashMap.has(state.open, reserve.id)) return Effect.void
      const before = state
      const entry = Ledger.settlement(reserve, cost, now)
      const after = Ledger.apply(before, entry)
      state = after
      return line.append([entry], now).pipe(
        Effect.andThen(news.settled(before, after, reserve, entry)),
        Effect.andThen(release(reserve))
      )
    })

  const refund: Book["refund"] = (reserve, atRisk) =>
    Effect.flatMap(nowSeconds, (now) => {
      if (!HashMap.has(state.open, reserve.id)) return Effect.void
      const entry: Ledger.Refund = { _tag: "Refund", id: reserve.id, at: now, atRisk }
      state = Ledger.apply(state, entry)
      return Effect.andThen(line.append([entry], now), release(reserve))
    })

  const refuse = (refused: LedgerNews.Refused, request: Ledger.Request, at: number, after: After | undefined) => {
    const error = refusal(refused, request.estimate, after)
    return Effect.andThen(news.refused(refused, error, at), Effect.fail(error))
  }

  const decided: Book["reserve"] = (request, after, restore) =>
    Effect.flatMap(nowSeconds, (now) => {
      const decision = Ledger.decide(state, request, now, options.unknownPrice)
      if (decision._tag === "Refused") return refuse(decision, request, now, after)
      const { entry } = decision
      state = Ledger.apply(state, entry)
      reservedNanoUsd += entry.high ?? 0n
      const undone = Effect.suspend(() => {
        state = Ledger.apply(state, { _tag: "Refund", id: entry.id, at: now, atRisk: false })
        return release(entry)
      })
      return Effect.flatMap(
        Effect.onError(line.append([entry], now, restore), () => undone),
        (failure) =>
          failure === undefined
            ? Effect.as(Metric.update(Telemetry.reserved, Money.toNumber(reservedNanoUsd)), entry)
            : Effect.andThen(undone, Effect.fail(unwritable(entry, failure, after)))
      )
    })
  const reserve: Book["reserve"] = (request, after, restore) =>
    Effect.andThen(news.called, decided(request, after, restore))

  const stateBalance: Book["stateBalance"] = (statement, declared) =>
    Effect.flatMap(nowSeconds, (now) => {
      if (declared && Ledger.isDeclared(state, statement)) return Effect.void
      const entry: Ledger.Stated = { _tag: "Stated", at: now, ...statement, declared }
      state = Ledger.apply(state, entry)
      news.stated(statement.account)
      const written = Effect.asVoid(line.append([entry], now))
      // a declared one is stated as the ledger is opened
      return declared ? written : Effect.andThen(written, news.called)
    })

  const orphans = Ledger.recover(state, options.orphans, openedAt)
  if (orphans.length > 0) {
    const before = state
    state = orphans.reduce(Ledger.apply, before)
    yield* line.append(orphans, openedAt)
    yield* news.opened(before, state, orphans)
  }

  return {
    reserve: (request, after, restore) => Effect.uninterruptible(reserve(request, after, restore)),
    settle: (entry, cost) => Effect.uninterruptible(settle(entry, cost)),
    refund: (entry, atRisk) => Effect.uninterruptible(refund(entry, atRisk)),
    stateBalance: (statement, declared) => Effect.uninterruptible(stateBalance(statement, declared)),
    isOfDayBefore: ({ at }, now) =>
      Budget.dayOf(now, state.dayOffsetSeconds) > Budget.dayOf(at, state.dayOffsetSeconds),
    balance: (account, now) => Ledger.balance(state, account, now),
    forecast: news.forecast,
    state: () => state
  }
})
