/**
 * A send rate that falls on throttling and climbs back along a cubic curve.
 *
 * No limit is in force until the first throttle. A throttle cuts the rate to
 * `β` of the smaller of the measured and the allowed rate, and remembers the
 * rate it fell from as `lastMax`. Afterwards the rate follows
 * `scale·(t − tThrottle − K)³ + lastMax` with `K = ∛(lastMax·(1−β)/scale)`: fast
 * at first, flat around the old maximum, then faster again. It never exceeds
 * twice the measured send rate, so idle time does not inflate it.
 *
 * ```text
 *  rate        lastMax ─ ─ ─ ─ ─ ─ ─ _____.-'
 *   |  '--.                    _.--''
 *   |     | cut            .-''
 *   |     '- β·rate ____.-'
 *   +-----------------------------------------> t
 * ```
 *
 * The measured rate is a moving average over half-second buckets.
 *
 * ```ts
 * import { CubicRate } from "effect-together/policy"
 *
 * const [cut, limited] = CubicRate.respond(CubicRate.make(), true, 0.5)
 * cut // => { _tag: "Raised", from: 0.5, to: 1.12, calculated: 1.12, reason: "throttled" }
 * CubicRate.acquire(limited, 0.5)[0] // => { _tag: "Wait", seconds: 0.8928571428571428, reason: "short" }
 * ```
 *
 * **Source**: AWS SDKs adaptive retry mode (`DefaultRateLimiter`); RFC 8312 for
 * the curve. The JavaScript SDK rounds to 8 decimals, others do not: `decimals`.
 *
 * **Gotchas**: known weaknesses of the rule, kept as they are: no limit before the first throttle, and a burst
 * of one second. Callers must queue; waiters that sleep in parallel wake as a herd.
 */
import { quantumSeconds, tolerance } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a limiter. */
export interface Options {
  /** Share of the rate that is kept on a throttle, in (0, 1). Default 0.7. */
  readonly beta?: number | undefined
  /** Steepness of the cubic curve, > 0. Default 0.4. */
  readonly scale?: number | undefined
  /** Weight of the newest bucket in the measured rate, in (0, 1]. Default 0.8. */
  readonly smooth?: number | undefined
  /** Smallest rate, per second, > 0. Default 0.5. */
  readonly minFillRate?: number | undefined
  /** Smallest capacity of the bucket, > 0. Default 1. */
  readonly minCapacity?: number | undefined
  /** Decimals that results are rounded to, an integer in [0, 15]; 15 means as good as none. Default 8. */
  readonly decimals?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  beta: 0.7,
  scale: 0.4,
  smooth: 0.8,
  minFillRate: 0.5,
  minCapacity: 1,
  decimals: 8
}

/** Holds a limiter. */
export interface State {
  readonly settings: Settings
  /** False until the first throttle: nothing is limited. */
  readonly enabled: boolean
  readonly tokens: number
  /** Allowed rate, per second. */
  readonly fillRate: number
  readonly capacity: number
  readonly lastMaxRate: number
  readonly lastThrottleAt: number
  /** Rate at which responses arrive, per second. */
  readonly measuredRate: number
  readonly count: number
  readonly lastBucket: number
  /** When the bucket was last filled; absent before the first time. */
  readonly refilledAt?: number | undefined
}

/**
 * Makes a limiter that limits nothing yet.
 *
 * **Errors**: throws `RangeError` for an option out of range. So do `acquire` and `respond` for a time that is not finite.
 */
export const make = (options: Options = {}, now = 0): State => {
  const settings = OptionCheck.resolve(defaults, options)
  const where = "CubicRate.make"
  OptionCheck.between(where, "beta", settings.beta, 0, 1)
  OptionCheck.positive(where, "scale", settings.scale)
  OptionCheck.above(where, "smooth", settings.smooth, 0, 1)
  OptionCheck.positive(where, "minFillRate", settings.minFillRate)
  OptionCheck.positive(where, "minCapacity", settings.minCapacity)
  OptionCheck.within(where, "decimals", OptionCheck.integer(where, "decimals", settings.decimals, 0), 0, 15)
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  return {
    settings,
    enabled: false,
    tokens: 0,
    fillRate: settings.minFillRate,
    capacity: settings.minCapacity,
    lastMaxRate: 0,
    lastThrottleAt: now,
    measuredRate: 0,
    count: 0,
    lastBucket: Math.floor(now)
  }
}

const round = (settings: Settings, value: number): number => Number(value.toFixed(settings.decimals))

/** Computes `K`: how long after a throttle the curve is back at the old maximum, in seconds. */
export const timeWindow = (settings: Settings, lastMaxRate: number): number =>
  round(settings, Math.cbrt((lastMaxRate * (1 - settings.beta)) / settings.scale))

/** Computes the rate on the cubic curve at time `now`. */
export const cubic = (settings: Settings, lastMaxRate: number, lastThrottleAt: number, now: number): number =>
  round(
    settings,
    settings.scale * (now - lastThrottleAt - timeWindow(settings, lastMaxRate)) ** 3 + lastMaxRate
  )

/** Computes the rate that a throttle cuts to. */
export const cut = (settings: Settings, rate: number): number => round(settings, rate * settings.beta)

const refill = (state: State, now: number): State => {
  if (state.refilledAt === undefined) return { ...state, refilledAt: now }
  // A clock that steps back adds nothing, and the same second is not earned twice.
  const refilledAt = Math.max(now, state.refilledAt)
  const tokens = Math.min(state.capacity, state.tokens + (refilledAt - state.refilledAt) * state.fillRate)
  return { ...state, tokens, refilledAt }
}

/** Says whether an attempt may be sent. */
export type Permission =
  | { readonly _tag: "Granted"; readonly reason: "not-limiting-yet" | "in-stock" | "borrowed" }
  | { readonly _tag: "Wait"; readonly seconds: number; readonly reason: "short" }

/**
 * Takes tokens for one attempt, or says how long to wait before asking again.
 *
 * **Details**: ask again after the wait: the rate may have fallen meanwhile. A
 * cost above the capacity is granted when the bucket is full, and leaves a debt.
 */
export const acquire = (state: State, now: number, cost = 1): readonly [Permission, State] => {
  OptionCheck.between("CubicRate.acquire", "now", now, -Infinity, Infinity)
  OptionCheck.nonNegative("CubicRate.acquire", "cost", cost)
  if (!state.enabled) return [{ _tag: "Granted", reason: "not-limiting-yet" }, state]
  const filled = refill(state, now)
  const missing = Math.min(cost, filled.capacity) - filled.tokens
  if (missing > tolerance(filled.fillRate, now)) {
    return [{ _tag: "Wait", seconds: Math.max(quantumSeconds, missing / filled.fillRate), reason: "short" }, filled]
  }
  const reason = cost > filled.capacity ? "borrowed" : "in-stock"
  return [{ _tag: "Granted", reason }, { ...filled, tokens: filled.tokens - cost }]
}

const measure = (state: State, now: number): State => {
  const count = state.count + 1
  const bucket = Math.floor(now * 2) / 2
  if (bucket <= state.lastBucket) return { ...state, count }
  const { settings } = state
  const rate = count / (bucket - state.lastBucket)
  const measuredRate = round(settings, rate * settings.smooth + state.measuredRate * (1 - settings.smooth))
  return { ...state, measuredRate, count: 0, lastBucket: bucket }
}

/** Says how the allowed rate moved, and which rule set it. */
export interface Decision {
  readonly _tag: "Raised" | "Lowered" | "Held"
  readonly from: number
  readonly to: number
  /** The rate of the curve or the cut, before bounds. */
  readonly calculated: number
  readonly reason: "throttled" | "cubic-growth" | "measured-rate-cap" | "floor"
}

/** Books a response: a throttle cuts the rate, anything else moves it along the curve. */
export const respond = (state: State, throttled: boolean, now: number): readonly [Decision, State] => {
  OptionCheck.between("CubicRate.respond", "now", now, -Infinity, Infinity)
  const { settings } = state
  let next = measure(state, now)
  let calculated: number
  if (throttled) {
    const rate = next.enabled ? Math.min(next.measuredRate, next.fillRate) : next.measuredRate
    calculated = cut(settings, rate)
    next = { ...next, enabled: true, lastMaxRate: rate, lastThrottleAt: now }
  } else {
    calculated = cubic(settings, next.lastMaxRate, next.lastThrottleAt, now)
  }
  const bounded = Math.min(calculated, 2 * next.measuredRate)
  const filled = refill(next, now)
  const fillRate = Math.max(bounded, settings.minFillRate)
  const capacity = Math.max(bounded, settings.minCapacity)
  const reason = bounded < settings.minFillRate
    ? "floor"
    : throttled
    ? "throttled"
    : bounded < calculated
    ? "measured-rate-cap"
    : "cubic-growth"
  const _tag = fillRate > state.fillRate ? "Raised" : fillRate < state.fillRate ? "Lowered" : "Held"
  return [
    { _tag, from: state.fillRate, to: fillRate, calculated, reason },
    { ...filled, fillRate, capacity, tokens: Math.min(filled.tokens, capacity) }
  ]
}
