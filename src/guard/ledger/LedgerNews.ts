/**
 * What a ledger tells of its steps: alerts, metrics, and how long balances last.
 *
 * Each piece of news is told once: a threshold as it is crossed, a refusal per
 * counter and reason, a call that cost more than its estimate until one exceeds its own
 * by twice as much, a low balance until the forecast has recovered. What happened
 * while the ledger was opened is told with the first call or statement, since nobody
 * can have listened before.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Money from "../../domain/Money.ts"
import * as Remedy from "../../domain/Remedy.ts"
import type { BudgetExceededError } from "../../domain/TogetherError.ts"
import type * as AutoRecharge from "../../policy/AutoRecharge.ts"
import type * as Budget from "../../policy/Budget.ts"
import * as BudgetStatus from "../../policy/BudgetStatus.ts"
import * as Forecast from "../../policy/Forecast.ts"
import * as Ledger from "../../policy/Ledger.ts"
import type { Alert } from "../credits/CreditAlerts.ts"
import * as Telemetry from "../credits/CreditTelemetry.ts"

/** Configures what is told. */
export interface Options {
  readonly lowBalance: Duration.Input
  readonly autoRecharge: AutoRecharge.Settings | undefined
  /** Reads the ledger as it is now. */
  readonly state: () => Ledger.State
  /** When the ledger was opened, in epoch seconds. */
  readonly openedAt: number
  readonly publish: (alert: Alert) => Effect.Effect<void>
}

/** A refusal by a budget. */
export type Refused = Extract<Ledger.Decision, { readonly _tag: "Refused" }>

/** Tells what happens to one ledger. */
export interface News {
  /** Counts what was ended at opening, to be told with the first call. */
  readonly opened: (
    before: Ledger.State,
    after: Ledger.State,
    endings: ReadonlyArray<Ledger.Entry>
  ) => Effect.Effect<void>
  /** Tells what is owed since the opening; to be run with each call and statement. */
  readonly called: Effect.Effect<void>
  /** Tells at once, or owes it where nothing was called yet. */
  readonly tell: (alert: Alert) => Effect.Effect<void>
  /** Counts and tells what a settlement means; the step itself is done. */
  readonly settled: (
    before: Ledger.State,
    after: Ledger.State,
    reserve: Ledger.Reserve,
    entry: Ledger.Settle
  ) => Effect.Effect<void>
  readonly refused: (refused: Refused, error: BudgetExceededError, at: number) => Effect.Effect<void>
  /** Says that a balance was stated: that it is low is then news again. */
  readonly stated: (account: string) => void
  readonly forecast: (account: string, now: number) => Forecast.Forecast | undefined
}

/** Names a budget, and whose counter of it, where it has one for each account or label. */
export const named = (budget: Budget.Budget, counter: string): string => {
  const { account, label } = BudgetStatus.dimensionsOf(budget, counter)
  const whose = [
    ...(account === undefined || budget.account !== undefined ? [] : [`account "${account}"`]),
    ...(label === undefined || budget.label !== undefined ? [] : [`label "${label}"`])
  ]
  return `"${budget.name}"${whose.length === 0 ? "" : ` of ${whose.join(" and ")}`}`
}

const ofCrossing = ({ budget, counter, settled, threshold }: Ledger.Crossing, at: number): Alert => ({
  _tag: "BudgetNearLimit",
  at,
  budget: budget.name,
  dimensions: BudgetStatus.dimensionsOf(budget, counter),
  threshold,
  settled,
  limit: budget.limit,
  message: `Budget ${named(budget, counter)} is ${Math.round(threshold * 100)} % spent: ${Money.format(settled)} of ${
    Money.format(budget.limit)
  }.`
})

/** Says the limits that ended calls crossed together, each counter once; a past day or another run is no news. */
const crossedBy = (
  before: Ledger.State,
  after: Ledger.State,
  endings: ReadonlyArray<Ledger.Entry>,
  now: number
): ReadonlyArray<Ledger.Crossing> => {
  const crossed = new Map<string, Ledger.Crossing>()
  for (const entry of endings) {
    const reserve = entry._tag === "Settle" ? HashMap.get(before.open, entry.id) : Option.none()
    if (Option.isNone(reserve)) continue
    for (const crossing of Ledger.crossings(before, after, reserve.value, now)) crossed.set(crossing.counter, crossing)
  }
  return [...crossed.values()]
}

const countSpent = ({ cost, sure }: Ledger.Settle): Effect.Effect<void> =>
  cost === undefined
    ? Metric.update(Telemetry.unpriced, 1)
    : Metric.update(sure ? Telemetry.spentSure : Telemetry.spentAssumed, Money.toNumber(cost))

/** Makes the news of one ledger. */
export const make = (options: Options): News => {
  const { openedAt, publish } = options
  const lowSeconds = Duration.toSeconds(Duration.fromInputUnsafe(options.lowBalance))
  const refusedBy = Telemetry.makeRefused()
  const rates = new Map<string, Forecast.Rate>()
  const rateOf = (account: string) => rates.get(account) ?? Forecast.startRate(openedAt)
  /** Counters that refused, each with the reason, and accounts whose low balance was told. */
  const toldRefused = new Set<string>()
  const toldLow = new Set<string>()
  /** The most by which a call of an account cost more than its estimate, of those that were told. */
  const toldExcess = new Map<string, Money.NanoUsd>()
  /** What is owed until the first call. */
  let owed: ReadonlyArray<Alert> | undefined = []

  const forecast: News["forecast"] = (account, now) => {
    const balance = Ledger.balance(options.state(), account, now)
    return balance === undefined ? undefined : Forecast.make({
      balance: balance.expected,
      nanoUsdPerSecond: Forecast.perSecond(rateOf(account), now),
      autoRecharge: options.autoRecharge
    })
  }

  const tellLow = (account: string, now: number): Effect.Effect<void> => {
    const expected = forecast(account, now)
    if (expected === undefined) return Effect.void
    const { balance, lastsSeconds, message } = expected
    if (toldLow.has(account)) {
      if (lastsSeconds > 2 * lowSeconds) toldLow.delete(account)
      return Effect.void
    }
    if (lastsSeconds >= lowSeconds || !Forecast.isReliable(rateOf(account), balance, now)) return Effect.void
    toldLow.add(account)
    return publish({
      _tag: "BalanceLow",
      at: now,
      account,
      lastsSeconds,
      message: `Balance of "${account}": ${message}. Add credits at ${Remedy.billingPage}.`
    })
  }

  const tellOvershoot = (reserve: Ledger.Reserve, cost: Money.NanoUsd, at: number): Effect.Effect<void> => {
    const { account, high, label } = reserve
    if (high === undefined || cost <= high) return Effect.void
    const excess = cost - high
    const counted = Metric.update(Telemetry.overshoot, Money.toNumber(excess))
    // where estimates are too low, every call may cost more than its own
    if (excess < 2n * (toldExcess.get(account) ?? 0n)) return counted
    toldExcess.set(account, excess)
    return Effect.andThen(
      counted,
      publish({
        _tag: "SettledAboveEstimate",
        at,
        account,
        label,
        reserved: high,
        cost,
        message:
          `A call of account "${account}"${label === "" ? "" : ` and label "${label}"`} cost ${
            Money.format(cost)
          }, more than the ${Money.format(high)} reserved for it: its estimate ` +
          "is too low. Raise inputMargin where the input has more tokens than its length suggests, and set max_tokens of a generation."
      })
    )
  }

  // one function for all calls: decision 0064
  const settled: News["settled"] = Effect.fnUntraced(function*(before, after, reserve, entry) {
    const { at, cost } = entry
    yield* countSpent(entry)
    if (cost === undefined) return
    yield* Effect.annotateCurrentSpan({
      "credits.label": reserve.label,
      "credits.reserved_usd": Money.toNumber(reserve.high ?? 0n),
      "credits.cost_usd": Money.toNumber(cost),
      "credits.cost_sure": entry.sure
    })
    rates.set(reserve.account, Forecast.spend(rateOf(reserve.account), cost, at))
    yield* tellOvershoot(reserve, cost, at)
    for (const crossing of Ledger.crossings(before, after, reserve, at)) yield* publish(ofCrossing(crossing, at))
    yield* tellLow(reserve.account, at)
  })

  return {
    opened: (before, after, endings) =>
      Effect.suspend(() => {
        const crossed = crossedBy(before, after, endings, openedAt)
        owed = [...owed ?? [], ...crossed.map((crossing) => ofCrossing(crossing, openedAt))]
        return Effect.forEach(endings, (entry) => entry._tag === "Settle" ? countSpent(entry) : Effect.void, {
          discard: true
        })
      }),
    called: Effect.suspend(() => {
      if (owed === undefined) return Effect.void
      const alerts = owed
      owed = undefined
      return Effect.forEach(alerts, publish, { discard: true })
    }),
    tell: (alert) =>
      Effect.suspend(() => {
        if (owed === undefined) return publish(alert)
        owed = [...owed, alert]
        return Effect.void
      }),
    settled,
    refused: ({ budget, counter, needed, reason, remaining }, error, at) =>
      Effect.suspend(() => {
        const counted = Metric.update(refusedBy({ budget: budget.name, reason }), 1)
        const news = `${reason} ${counter}`
        if (toldRefused.has(news)) return counted
        toldRefused.add(news)
        return Effect.andThen(
          counted,
          publish({
            _tag: "BudgetExceeded",
            at,
            budget: budget.name,
            dimensions: BudgetStatus.dimensionsOf(budget, counter),
            needed,
            remaining,
            message: error.message
          })
        )
      }),
    stated: (account) => void toldLow.delete(account),
    forecast
  }
}
