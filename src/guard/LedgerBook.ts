/**
 * The ledger with a clock, a store and a voice: the shell around `policy/Ledger`.
 *
 * A reservation or its ending is one synchronous step (decide, apply), then the
 * entry is written to the store, then news goes out. The step is atomic among
 * fibers; the writing is not part of it, so no fiber waits for a disk while
 * another decides. Once a step is done it is also written and told: an
 * interruption waits for that. What the store refused, and what was sent all the
 * same, is written with the next entry that it takes; until then it is kept in
 * few entries, however long that lasts.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Metric from "effect/Metric"
import * as Semaphore from "effect/Semaphore"
import * as Money from "../domain/Money.ts"
import * as Remedy from "../domain/Remedy.ts"
import { BudgetExceededError } from "../domain/TogetherError.ts"
import type * as AutoRecharge from "../policy/AutoRecharge.ts"
import type * as Budget from "../policy/Budget.ts"
import * as Forecast from "../policy/Forecast.ts"
import * as Ledger from "../policy/Ledger.ts"
import * as LedgerCompaction from "../policy/LedgerCompaction.ts"
import type * as Price from "../policy/Price.ts"
import type { Alert } from "./CreditAlerts.ts"
import * as Telemetry from "./CreditTelemetry.ts"
import type * as LedgerStore from "./LedgerStore.ts"

/** Configures a book; `Credits` decides all of it. */
export interface Options {
  readonly store: LedgerStore.Store
  readonly budgets: ReadonlyArray<Budget.Budget>
  readonly run: string
  readonly dayOffset: Duration.Input
  readonly unknownPrice: "refuse" | "allow"
  readonly orphans: "charge" | "refund"
  readonly onStoreFailure: "stop" | "continue"
  readonly lowBalance: Duration.Input
  readonly autoRecharge: AutoRecharge.Settings | undefined
  readonly publish: (alert: Alert) => Effect.Effect<void>
}

/** Says that a reservation is for a further attempt of a call: what the attempt failed with that failed last, if one did. */
export interface After {
  readonly failure: unknown
}

/** Keeps one ledger. */
export interface Book {
  readonly reserve: (request: Ledger.Request, after?: After) => Effect.Effect<Ledger.Reserve, BudgetExceededError>
  /** Charges an open reservation; what is not open is left alone. */
  readonly settle: (reserve: Ledger.Reserve, cost: Price.Cost) => Effect.Effect<void>
  readonly refund: (reserve: Ledger.Reserve, atRisk: boolean) => Effect.Effect<void>
  /** Records a balance; a `declared` one (from the configuration) is ignored where it repeats the last statement. */
  readonly stateBalance: (
    statement: { readonly key: string; readonly balance: Money.NanoUsd; readonly free: Money.NanoUsd },
    declared: boolean
  ) => Effect.Effect<void>
  readonly balance: (key: string, now: number) => Ledger.Balance | undefined
  readonly forecast: (key: string, now: number) => Forecast.Forecast | undefined
  readonly state: () => Ledger.State
}

const nowSeconds = Effect.clockWith((clock) => Effect.succeed(clock.currentTimeMillisUnsafe() / 1000))

type Refused = Extract<Ledger.Decision, { readonly _tag: "Refused" }>

const refusal = (refused: Refused, estimate: Price.Estimate, after: After | undefined) => {
  const { budget, needed, reason, remaining } = refused
  const again = after !== undefined
  return new BudgetExceededError({
    message: reason === "unknown-price" && estimate._tag === "Unknown"
      ? Remedy.unknownPrice(estimate.reason)
      : `The ${again ? "attempt" : "call"} may cost up to ${Money.format(needed)}, but budget "${budget.name}" has ${
        Money.format(remaining)
      } of ${Money.format(budget.limit)} left. ${Remedy.budgetExceeded(budget.name, again)}`,
    cause: after?.failure,
    budget: budget.name,
    limitNanoUsd: budget.limit,
    neededNanoUsd: needed,
    remainingNanoUsd: remaining
  })
}

/** Opens a book over what its store holds, and ends what a stopped program left open. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Book> {
  const { publish, store } = options
  const openedAt = yield* nowSeconds
  const lowBalanceSeconds = Duration.toSeconds(Duration.fromInputUnsafe(options.lowBalance))
  let state = store.entries.reduce(
    Ledger.apply,
    Ledger.make({
      budgets: options.budgets,
      run: options.run,
      dayOffsetSeconds: Duration.toSeconds(Duration.fromInputUnsafe(options.dayOffset))
    })
  )
  let reservedNanoUsd = 0n
  const refusedBy = Telemetry.makeRefused()
  const rates = new Map<string, Forecast.Rate>()
  const rateOf = (key: string) => rates.get(key) ?? Forecast.startRate(openedAt)
  /** Counters that refused, each with the reason, and keys whose low balance was told: news is told once. */
  const exceeded = new Set<string>()
  const toldLow = new Set<string>()

  const stops = options.onStoreFailure === "stop"
  /** What the store did not take. Where the guard stops, a reservation is not among it: its call is not sent. */
  let unwritten: ReadonlyArray<Ledger.Entry> = []
  /** True until the store has taken all of that. Meanwhile appends go one by one: no ending overtakes its reservation. */
  let behind = false
  const line = Semaphore.makeUnsafe(1)

  /** Appends entries behind what is unwritten; gives the failure where the guard shall stop for it. */
  const write = (
    entries: ReadonlyArray<Ledger.Entry>,
    at: number
  ): Effect.Effect<LedgerStore.LedgerStoreError | undefined> => {
    const late = unwritten
    unwritten = []
    return Effect.catch(
      Effect.as(store.append(late.length === 0 ? entries : [...late, ...entries]), undefined),
      (error) => {
        const owed = stops ? entries.filter(({ _tag }) => _tag !== "Reserve") : entries
        unwritten = LedgerCompaction.compact([...late, ...unwritten, ...owed], "keep")
        behind ||= unwritten.length > 0
        return Effect.as(publish({ _tag: "LedgerUnwritable", at, message: error.message }), stops ? error : undefined)
      }
    )
  }

  const catchUp = (entries: ReadonlyArray<Ledger.Entry>, at: number) =>
    Effect.suspend(() =>
      Effect.map(write(entries, at), (failure) => {
        behind = unwritten.length > 0
        return failure
      })
    )

  /** Writes entries, in line with all others while the store is behind. */
  const persist = (entries: ReadonlyArray<Ledger.Entry>, at: number) =>
    Effect.suspend(() => behind ? line.withPermit(catchUp(entries, at)) : write(entries, at))

  const release = (reserve: Ledger.Reserve): Effect.Effect<void> => {
    reservedNanoUsd -= reserve.high ?? 0n
    return Metric.update(Telemetry.reserved, Money.toNumber(reservedNanoUsd))
  }

  const forecast = (key: string, now: number): Forecast.Forecast | undefined => {
    const balance = Ledger.balance(state, key, now)
    return balance === undefined ? undefined : Forecast.make({
      balance: balance.expected,
      nanoUsdPerSecond: Forecast.perSecond(rateOf(key), now),
      autoRecharge: options.autoRecharge
    })
  }

  const tellLow = (key: string, now: number): Effect.Effect<void> => {
    if (toldLow.has(key)) return Effect.void
    const expected = forecast(key, now)
    if (expected === undefined || expected.lastsSeconds >= lowBalanceSeconds) return Effect.void
    toldLow.add(key)
    return publish({
      _tag: "BalanceLow",
      at: now,
      key,
      lastsSeconds: expected.lastsSeconds,
      message: `Balance of "${key}": ${expected.message}. Add credits at ${Remedy.billingPage}.`
    })
  }

  /** Counts and tells what a settlement means; the step itself is done. */
  const report = (before: Ledger.State, after: Ledger.State, reserve: Ledger.Reserve, entry: Ledger.Settle) =>
    Effect.gen(function*() {
      const { at, cost } = entry
      if (cost === undefined) return yield* Metric.update(Telemetry.unpriced, 1)
      yield* Effect.annotateCurrentSpan({
        "credits.label": reserve.label,
        "credits.reserved_usd": Money.toNumber(reserve.high ?? 0n),
        "credits.cost_usd": Money.toNumber(cost),
        "credits.cost_sure": entry.sure
      })
      yield* Metric.update(entry.sure ? Telemetry.spentSure : Telemetry.spentAssumed, Money.toNumber(cost))
      rates.set(reserve.key, Forecast.spend(rateOf(reserve.key), cost, at))
      if (reserve.high !== undefined && cost > reserve.high) {
        yield* Metric.update(Telemetry.overshoot, Money.toNumber(cost - reserve.high))
        yield* publish({
          _tag: "SettledAboveEstimate",
          at,
          label: reserve.label,
          reserved: reserve.high,
          cost,
          message: `A call cost ${Money.format(cost)}, more than the ${Money.format(reserve.high)} reserved for it: ` +
            "its estimate is too low (count tokens with a tokenizer, or raise inputMargin)."
        })
      }
      for (const crossing of Ledger.crossings(before, after, reserve)) {
        const { budget, settled, threshold } = crossing
        yield* publish({
          _tag: "BudgetNearLimit",
          at,
          budget: budget.name,
          threshold,
          settled,
          limit: budget.limit,
          message: `Budget "${budget.name}" is ${Math.round(threshold * 100)} % spent: ${Money.format(settled)} of ${
            Money.format(budget.limit)
          }.`
        })
      }
      yield* tellLow(reserve.key, at)
    })

  const settle: Book["settle"] = (reserve, cost) =>
    Effect.flatMap(nowSeconds, (now) => {
      if (!HashMap.has(state.open, reserve.id)) return Effect.void
      const before = state
      const entry = Ledger.settlement(reserve, cost, now)
      const after = Ledger.apply(before, entry)
      state = after
      return persist([entry], now).pipe(
        Effect.andThen(report(before, after, reserve, entry)),
        Effect.andThen(release(reserve))
      )
    })

  const refund: Book["refund"] = (reserve, atRisk) =>
    Effect.flatMap(nowSeconds, (now) => {
      if (!HashMap.has(state.open, reserve.id)) return Effect.void
      const entry: Ledger.Refund = { _tag: "Refund", id: reserve.id, at: now, atRisk }
      state = Ledger.apply(state, entry)
      return Effect.andThen(persist([entry], now), release(reserve))
    })

  const refuse = (refused: Refused, request: Ledger.Request, at: number, after: After | undefined) => {
    const error = refusal(refused, request.estimate, after)
    const counted = Metric.update(refusedBy(refused.budget.name, refused.reason), 1)
    const news = `${refused.reason} ${refused.counter}`
    const told = exceeded.has(news)
    exceeded.add(news)
    const alert = publish({
      _tag: "BudgetExceeded",
      at,
      budget: refused.budget.name,
      needed: refused.needed,
      remaining: refused.remaining,
      message: error.message
    })
    return Effect.andThen(told ? counted : Effect.andThen(counted, alert), Effect.fail(error))
  }

  const reserve: Book["reserve"] = (request, after) =>
    Effect.flatMap(nowSeconds, (now) => {
      const decision = Ledger.decide(state, request, now, options.unknownPrice)
      if (decision._tag === "Refused") return refuse(decision, request, now, after)
      const { entry } = decision
      state = Ledger.apply(state, entry)
      reservedNanoUsd += entry.high ?? 0n
      return Effect.flatMap(persist([entry], now), (failure) => {
        if (failure === undefined) {
          return Effect.as(Metric.update(Telemetry.reserved, Money.toNumber(reservedNanoUsd)), entry)
        }
        state = Ledger.apply(state, { _tag: "Refund", id: entry.id, at: now, atRisk: false })
        return Effect.andThen(
          release(entry),
          Effect.die(new Error(`The call was not sent: ${failure.message}`, { cause: failure }))
        )
      })
    })

  const orphans = Ledger.recover(state, options.orphans, openedAt)
  if (orphans.length > 0) {
    state = orphans.reduce(Ledger.apply, state)
    yield* persist(orphans, openedAt)
  }

  return {
    reserve: (request, after) => Effect.uninterruptible(reserve(request, after)),
    settle: (entry, cost) => Effect.uninterruptible(settle(entry, cost)),
    refund: (entry, atRisk) => Effect.uninterruptible(refund(entry, atRisk)),
    stateBalance: (statement, declared) =>
      Effect.uninterruptible(Effect.flatMap(nowSeconds, (now) => {
        const last = HashMap.get(state.statements, statement.key)
        const same = last._tag === "Some" && last.value.balance === statement.balance &&
          last.value.free === statement.free
        if (declared && same) return Effect.void
        const entry: Ledger.Stated = { _tag: "Stated", at: now, ...statement }
        state = Ledger.apply(state, entry)
        toldLow.delete(statement.key)
        return Effect.asVoid(persist([entry], now))
      })),
    balance: (key, now) => Ledger.balance(state, key, now),
    forecast,
    state: () => state
  }
})
