/**
 * How long a balance lasts at the present rate of spending, and what auto-recharge will buy meanwhile.
 *
 * The rate is an exponentially weighted mean of settled costs: with time
 * constant τ, a cost `c` seen `a` seconds ago weighs `e^(−a/τ)`, and
 *
 *     rate = Σ c·e^(−a/τ) ÷ (τ · (1 − e^(−T/τ)))      T seconds since the first look
 *
 * The divisor corrects the start: a steady rate is read right from the first
 * minute on, not only after several τ.
 */
import * as Money from "../domain/Money.ts"
import * as AutoRecharge from "./AutoRecharge.ts"
import * as OptionCheck from "./OptionCheck.ts"

/** Holds a running rate of spending. */
export interface Rate {
  readonly tauSeconds: number
  readonly startedAt: number
  readonly at: number
  /** Weighted sum of costs at `at`, in nano-dollars. An estimate, so a plain number. */
  readonly weighted: number
}

/** Holds the defaults of this module. */
export const defaults = {
  /** 600 s: forgets a burst within half an hour, and is steady over calls of a minute. Range: > 0. */
  tauSeconds: 600,
  /** 60 s: a warning from a shorter look takes the first calls of a program for its rate. Range: >= 0. */
  watchSeconds: 60,
  /** 86,400 s: a forecast looks one day ahead for purchases. Range: > 0. */
  horizonSeconds: 86_400
}

/**
 * Starts to measure.
 *
 * **Errors**: `RangeError` for a time constant that is not positive and finite, or a time that is not finite.
 */
export const startRate = (now: number, tauSeconds: number = defaults.tauSeconds): Rate => {
  OptionCheck.positive("Forecast.startRate", "tauSeconds", tauSeconds)
  OptionCheck.between("Forecast.startRate", "now", now, -Infinity, Infinity)
  return { tauSeconds, startedAt: now, at: now, weighted: 0 }
}

/** Adds a settled cost. A clock that went back counts as no time, and so does a time that is not finite. */
export const spend = (rate: Rate, cost: Money.NanoUsd, now: number): Rate => {
  const at = now > rate.at && now < Infinity ? now : rate.at
  return { ...rate, at, weighted: rate.weighted * Math.exp((rate.at - at) / rate.tauSeconds) + Number(cost) }
}

/** Reads the rate in nano-dollars per second; zero in the first second, when nothing can be said. */
export const perSecond = (rate: Rate, now: number): number => {
  const at = Math.max(rate.at, now)
  const seen = at - rate.startedAt
  if (seen < 1) return 0
  const weighted = rate.weighted * Math.exp((rate.at - at) / rate.tauSeconds)
  return weighted / (rate.tauSeconds * -Math.expm1(-seen / rate.tauSeconds))
}

/** Tells whether a forecast is worth a warning: the rate was watched for long enough, or nothing is left to forecast. */
export const isReliable = (rate: Rate, balance: Money.NanoUsd, now: number): boolean =>
  balance <= 0n || now - rate.startedAt >= defaults.watchSeconds

/** Says when something is bought, in seconds from now. */
export interface Purchase {
  readonly inSeconds: number
  readonly count: number
  readonly each: Money.NanoUsd
}

/** Says how long the balance lasts and what will be bought. */
export interface Forecast {
  readonly balance: Money.NanoUsd
  readonly nanoUsdPerSecond: number
  /** Seconds until the present balance is used up, purchases left aside. `Infinity` where nothing is spent. */
  readonly lastsSeconds: number
  /** Purchases within the horizon, in order; empty without auto-recharge. */
  readonly purchases: ReadonlyArray<Purchase>
  /** How many single purchases that is. */
  readonly purchaseCount: number
  readonly purchaseSum: Money.NanoUsd
  /** All of this as a sentence. */
  readonly message: string
}

const longDays = 3652

const span = (seconds: number): string => {
  if (seconds < 60) return `${Math.floor(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const [h, m] = [Math.floor(minutes / 60), minutes % 60]
  if (h < 48) return m === 0 ? `${h} h` : `${h} h ${m} min`
  const days = Math.floor(h / 24)
  return days > longDays ? "more than 10 years" : `${days} days`
}

/** Bounds the purchases of one forecast: a rate this far above its auto-recharge needs no longer list. */
const mostPurchases = 1000

const purchasesWithin = (
  balance: Money.NanoUsd,
  rate: number,
  settings: AutoRecharge.Settings,
  horizon: number
): ReadonlyArray<Purchase> => {
  const purchases: Array<Purchase> = []
  let [left, at] = [balance, 0]
  while (purchases.length < mostPurchases) {
    const plan = AutoRecharge.plan(settings, left)
    if (plan.count > 0) {
      purchases.push({ inSeconds: at, count: plan.count, each: plan.each })
      left = plan.balanceAfter
    }
    if (rate <= 0) break
    // the first whole nano-dollar below the threshold
    const fall = left - settings.threshold + 1n
    at += Number(fall) / rate
    if (at > horizon) break
    left -= fall
  }
  return purchases
}

const describePurchases = (
  purchases: ReadonlyArray<Purchase>,
  count: number,
  sum: Money.NanoUsd,
  horizon: number
): string => {
  const [first] = purchases
  if (first === undefined) return `auto-recharge will buy nothing within ${span(horizon)}`
  const equal = purchases.every((purchase) => purchase.each === first.each)
  const what = equal
    ? `${count} × ${Money.format(first.each)}`
    : `${count} times, together ${Money.format(sum)}`
  const least = purchases.length < mostPurchases ? "" : "at least "
  return `auto-recharge will buy ${least}${what} within ${span(horizon)}, ${
    first.inSeconds === 0 ? "the first at once" : `the first in ${span(first.inSeconds)}`
  }`
}

/**
 * Forecasts a balance.
 *
 * **Details**: purchases are simulated by `AutoRecharge.plan` at the present rate,
 * up to 1,000 of them. Times are rounded down in the message.
 *
 * **Errors**: `RangeError` for a rate that is negative or a horizon that is not positive.
 */
export const make = (options: {
  readonly balance: Money.NanoUsd
  readonly nanoUsdPerSecond: number
  readonly autoRecharge?: AutoRecharge.Settings | undefined
  /** How far to look for purchases. Default: {@link defaults}. */
  readonly horizonSeconds?: number | undefined
}): Forecast => {
  const { autoRecharge, balance, nanoUsdPerSecond } = options
  const horizon = options.horizonSeconds ?? defaults.horizonSeconds
  OptionCheck.within("Forecast.make", "nanoUsdPerSecond", nanoUsdPerSecond, 0, Infinity)
  OptionCheck.above("Forecast.make", "horizonSeconds", horizon, 0, Infinity)
  const lastsSeconds = balance <= 0n ? 0 : nanoUsdPerSecond === 0 ? Infinity : Number(balance) / nanoUsdPerSecond
  const purchases = autoRecharge === undefined
    ? []
    : purchasesWithin(balance, nanoUsdPerSecond, autoRecharge, horizon)
  const purchaseCount = purchases.reduce((sum, purchase) => sum + purchase.count, 0)
  const purchaseSum = purchases.reduce((sum, purchase) => sum + BigInt(purchase.count) * purchase.each, 0n)
  const lasts = lastsSeconds === 0
    ? `the balance is used up (${Money.format(balance)})`
    : lastsSeconds === Infinity
    ? `nothing is spent at present: the balance of ${Money.format(balance)} lasts`
    : `at this rate the balance of ${Money.format(balance)} lasts ${span(lastsSeconds)}`
  return {
    balance,
    nanoUsdPerSecond,
    lastsSeconds,
    purchases,
    purchaseCount,
    purchaseSum,
    message: autoRecharge === undefined
      ? lasts
      : `${lasts}; ${describePurchases(purchases, purchaseCount, purchaseSum, horizon)}`
  }
}
