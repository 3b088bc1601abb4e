/**
 * A client-wide quota of retries: retries stop when failures are the rule.
 *
 * One bucket of capacity 500 is shared by all calls. A retry costs tokens, a
 * success gives back what its last retry cost (or 1 if it needed none), and a
 * call that fails for good gives nothing back. At 100 % failure some 35
 * retries pass and then none: amplification tends to 1. At 0 % failure the
 * bucket fills by 1 per call.
 *
 * The order of checks is part of the rule: retryable? attempts left? quota?
 * The delay is `t = u·min(base·2^i, cap)` with `i` the retry index from 0, and
 * with a hint `max(t, min(hint, t + 5))`.
 *
 * ```text
 * fail: capacity < cost ──▶ Stop "quota-exceeded"
 *       else capacity −= cost ──▶ Retry after t
 * succeed: capacity += last cost, or 1
 * refill:  capacity += refillPerSecond·Δt
 * ```
 *
 * With `refillPerSecond` time gives tokens back too, so that a drained quota
 * recovers though nothing succeeds: call `refill` before `fail`. In the long
 * run it lets out `refillPerSecond/cost` retries per second on top of what
 * successes pay for.
 *
 * ```ts
 * import { RetryQuota } from "effect-together/policy"
 *
 * const [decision, quota] = RetryQuota.fail(RetryQuota.make(), RetryQuota.request, { kind: "throttling" }, 0.5)
 * decision // => { _tag: "Retry", delaySeconds: 0.5, cost: 5, request: { attempts: 2, lastCost: 5 } }
 * RetryQuota.succeed(quota, { attempts: 2, lastCost: 5 })[0] // => { _tag: "Refunded", tokens: 5, reason: "last-retry" }
 * ```
 *
 * **Source**: AWS SDKs standard retry mode; the `legacy` constants (5 per
 * retry, 10 for transient errors) and the `2026` constants (14, 5 for
 * throttling; base 50 ms, 1 s for throttling). The refill by time as in the S3
 * transfer manager.
 *
 * **Gotchas**: a quota that is never refilled on success strangles a healthy
 * client (a bug that three SDKs shipped). Call `succeed` for every success.
 */
import * as OptionCheck from "../OptionCheck.ts"

/** Names what went wrong: it sets the cost and the base of the delay. */
export type Kind = "throttling" | "transient" | "other"

/** Configures a quota. */
export interface Options {
  /**
   * Tokens in a full bucket, >= 0; less than a kind of retry costs allows none of that kind. Default 500, or `initial` if
   * that is more.
   */
  readonly capacity?: number | undefined
  /** Tokens at the start, in [0, capacity]. Default: `capacity`. */
  readonly initial?: number | undefined
  /** Cost of a retry after throttling, >= 0. Default 5. */
  readonly throttlingCost?: number | undefined
  /** Cost of a retry after a timeout or a broken connection, >= 0. Default 14. */
  readonly transientCost?: number | undefined
  /** Cost of any other retry, >= 0. Default 14. */
  readonly otherCost?: number | undefined
  /** Base of the delay, in seconds, > 0. Default 0.05, or `capSeconds` if that is shorter. */
  readonly baseSeconds?: number | undefined
  /** Base of the delay after throttling, in seconds, > 0. Default 1, or `capSeconds` if that is shorter. */
  readonly throttlingBaseSeconds?: number | undefined
  /** Cap of the delay before jitter, in seconds, > 0. Default 20, or the longer of the bases if that is more. */
  readonly capSeconds?: number | undefined
  /** Attempts of one call, the first included, an integer >= 1. Default 3. */
  readonly maxAttempts?: number | undefined
  /** Tokens given back by a success that needed no retry, >= 0. Default 1. */
  readonly refund?: number | undefined
  /** Tokens given back per second by `refill`, >= 0. Default 0: only successes give back. */
  readonly refillPerSecond?: number | undefined
  /** How far over the computed delay a hint may reach, in seconds, >= 0. Default 5. */
  readonly hintSlackSeconds?: number | undefined
  /** Sleep the computed delay before failing on an empty quota, as long-polling operations do. Default false. */
  readonly longPoll?: boolean | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option: the 2026 constants. */
export const defaults: Settings = {
  capacity: 500,
  initial: 500,
  throttlingCost: 5,
  transientCost: 14,
  otherCost: 14,
  baseSeconds: 0.05,
  throttlingBaseSeconds: 1,
  capSeconds: 20,
  maxAttempts: 3,
  refund: 1,
  refillPerSecond: 0,
  hintSlackSeconds: 5,
  longPoll: false
}

/** Sets the constants of the standard mode before 2026. */
export const legacy: Options = {
  throttlingCost: 5,
  transientCost: 10,
  otherCost: 5,
  baseSeconds: 0.1,
  throttlingBaseSeconds: 0.5
}

/** Holds a quota. */
export interface State {
  readonly settings: Settings
  /** Tokens left. */
  readonly capacity: number
  /** The time up to which `refill` has counted. */
  readonly refilledAt: number
}

/** Holds what a call has used so far. */
export interface Request {
  /** Attempts made, the first included. */
  readonly attempts: number
  /** Cost of the last retry, 0 before the first. */
  readonly lastCost: number
}

/** Starts a call: its first attempt is about to be made. */
export const request: Request = { attempts: 1, lastCost: 0 }

/** Describes a failed attempt. */
export interface Failure {
  readonly kind: Kind
  /** False for an error that no retry can cure. Default true. */
  readonly retryable?: boolean | undefined
  /** The wait the server asked for, in seconds; one that is no number counts as none. */
  readonly hintSeconds?: number | undefined
}

/** Says whether a failed attempt is tried again. */
export type Decision =
  | { readonly _tag: "Retry"; readonly delaySeconds: number; readonly cost: number; readonly request: Request }
  | {
    readonly _tag: "Stop"
    readonly reason: "not-retryable" | "max-attempts" | "quota-exceeded"
    /** Sleep this long before reporting the failure; 0 unless `longPoll`. */
    readonly delaySeconds: number
  }

/** Says what a success gave back. */
export interface Refunded {
  readonly _tag: "Refunded"
  readonly tokens: number
  readonly reason: "last-retry" | "no-retry"
}

/**
 * Makes a quota.
 *
 * **Errors**: throws `RangeError` for an option out of range, and for a time that is not finite.
 */
export const make = (options: Options = {}, now = 0): State => {
  const filled = OptionCheck.resolve({ ...defaults, initial: options.capacity ?? defaults.capacity }, options)
  const where = "RetryQuota.make"
  OptionCheck.nonNegative(where, "capacity", filled.capacity)
  OptionCheck.nonNegative(where, "initial", filled.initial)
  OptionCheck.positive(where, "baseSeconds", filled.baseSeconds)
  OptionCheck.positive(where, "throttlingBaseSeconds", filled.throttlingBaseSeconds)
  OptionCheck.positive(where, "capSeconds", filled.capSeconds)
  const holding = OptionCheck.ordered(where, filled, options, "initial", "capacity")
  const capped = OptionCheck.ordered(where, holding, options, "baseSeconds", "capSeconds")
  const settings = OptionCheck.ordered(where, capped, options, "throttlingBaseSeconds", "capSeconds")
  OptionCheck.nonNegative(where, "throttlingCost", settings.throttlingCost)
  OptionCheck.nonNegative(where, "transientCost", settings.transientCost)
  OptionCheck.nonNegative(where, "otherCost", settings.otherCost)
  OptionCheck.integer(where, "maxAttempts", settings.maxAttempts, 1)
  OptionCheck.nonNegative(where, "refund", settings.refund)
  OptionCheck.nonNegative(where, "refillPerSecond", settings.refillPerSecond)
  OptionCheck.nonNegative(where, "hintSlackSeconds", settings.hintSlackSeconds)
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  return { settings, capacity: settings.initial, refilledAt: now }
}

/** Gives back what time has earned since the last refill. A clock that was set back earns nothing. */
export const refill = (state: State, now: number): State => {
  const { settings } = state
  const elapsed = now - state.refilledAt
  if (!(elapsed > 0 && elapsed < Number.POSITIVE_INFINITY)) return state
  const capacity = Math.min(settings.capacity, state.capacity + settings.refillPerSecond * elapsed)
  return { settings, capacity, refilledAt: now }
}

/** Computes the delay before retry `retry` (from 0): full jitter, and a hint as far as it is believed. */
export const delay = (
  settings: Settings,
  kind: Kind,
  retry: number,
  random: number,
  hintSeconds?: number | undefined
): number => {
  const base = kind === "throttling" ? settings.throttlingBaseSeconds : settings.baseSeconds
  const t = random * Math.min(base * 2 ** retry, settings.capSeconds)
  return hintSeconds !== undefined && hintSeconds > t ? Math.min(hintSeconds, t + settings.hintSlackSeconds) : t
}

/** Reads the cost of a retry after a failure of this kind. */
export const cost = (settings: Settings, kind: Kind): number =>
  kind === "throttling"
    ? settings.throttlingCost
    : kind === "transient"
    ? settings.transientCost
    : settings.otherCost

/** Decides whether a failed attempt is retried, and takes the cost of the retry. */
export const fail = (
  state: State,
  call: Request,
  failure: Failure,
  random: number
): readonly [Decision, State] => {
  const { settings } = state
  if (failure.retryable === false) return [{ _tag: "Stop", reason: "not-retryable", delaySeconds: 0 }, state]
  if (call.attempts >= settings.maxAttempts) return [{ _tag: "Stop", reason: "max-attempts", delaySeconds: 0 }, state]
  const price = cost(settings, failure.kind)
  const delaySeconds = delay(settings, failure.kind, call.attempts - 1, random, failure.hintSeconds)
  // Refills leave float noise: a hair must not decide.
  if (state.capacity + 1e-9 < price) {
    return [{ _tag: "Stop", reason: "quota-exceeded", delaySeconds: settings.longPoll ? delaySeconds : 0 }, state]
  }
  return [
    { _tag: "Retry", delaySeconds, cost: price, request: { attempts: call.attempts + 1, lastCost: price } },
    { ...state, capacity: Math.max(0, state.capacity - price) }
  ]
}

/** Books a success: the cost of the last retry comes back, or `refund` if there was none. */
export const succeed = (state: State, call: Request): readonly [Refunded, State] => {
  const { settings } = state
  const retried = call.attempts > 1
  const wanted = retried ? call.lastCost : settings.refund
  const capacity = Math.min(settings.capacity, state.capacity + wanted)
  return [
    { _tag: "Refunded", tokens: capacity - state.capacity, reason: retried ? "last-retry" : "no-retry" },
    { ...state, capacity }
  ]
}
