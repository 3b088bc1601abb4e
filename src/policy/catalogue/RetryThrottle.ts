/**
 * Turns retries and hedges off while failures outnumber successes.
 *
 * A token count in `[0, maxTokens]` starts full. A failure that could be
 * retried, or a server's "do not retry", takes 1; a success gives `tokenRatio`.
 * A retry or hedge is allowed while the count is above `maxTokens/2`, judged
 * after the decrement. First attempts always pass.
 *
 * `attempt` adds the rest of the rule for one call: at most 5 attempts, backoff
 * `min(initial·multiplier^(n−1), max)·U(0.8, 1.2)`, and a server pushback that
 * replaces the delay exactly and restarts the backoff, or stops the call.
 *
 * ```ts
 * import { RetryThrottle } from "effect-together/policy"
 *
 * const throttle = RetryThrottle.make({ maxTokens: 4 })
 * const [first, after] = RetryThrottle.fail(throttle)
 * first // => { _tag: "Allowed", tokens: 3, reason: "above-half" }
 * RetryThrottle.fail(after)[0] // => { _tag: "Throttled", tokens: 2, reason: "at-or-below-half" }
 * ```
 *
 * **Source**: gRPC proposal A6 (2023 revision) and grpc-go's client. The
 * comments in grpc-go's own throttling test are off in three rows; outcomes are not.
 *
 * **Gotchas**: a retry that the transport makes because nothing was ever sent is not counted.
 */
import * as OptionCheck from "../OptionCheck.ts"
import * as Rounding from "../Rounding.ts"

/** Configures a throttle. */
export interface Options {
  /** Tokens when all is well, in [0.001, 1000], kept to 3 decimals. Default 10, as in the proposal's example. */
  readonly maxTokens?: number | undefined
  /** Tokens given by a success, in [0.001, 1000], kept to 3 decimals. Default 0.1. */
  readonly tokenRatio?: number | undefined
  /**
   * Attempts of one call, the first included, an integer >= 1; more than `maxAttemptsLimit` counts as that.
   * Default 4.
   */
  readonly maxAttempts?: number | undefined
  /** The client's own bound on `maxAttempts`, an integer >= 1. Default 5, as the proposal says. */
  readonly maxAttemptsLimit?: number | undefined
  /** Backoff before the first retry, in seconds, > 0. Default 0.1, or `maxBackoffSeconds` if that is shorter. */
  readonly initialBackoffSeconds?: number | undefined
  /** Growth of the backoff, > 0. Default 2. */
  readonly backoffMultiplier?: number | undefined
  /** Largest backoff before jitter, in seconds, > 0. Default 1, or `initialBackoffSeconds` if that is longer. */
  readonly maxBackoffSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  maxTokens: 10,
  tokenRatio: 0.1,
  maxAttempts: 4,
  maxAttemptsLimit: 5,
  initialBackoffSeconds: 0.1,
  backoffMultiplier: 2,
  maxBackoffSeconds: 1
}

/** Holds a throttle. The count is kept in thousandths, so that sums are exact. */
export interface State {
  readonly settings: Settings
  readonly milliTokens: number
}

/**
 * Makes a full throttle.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "RetryThrottle.make"
  OptionCheck.positive(where, "initialBackoffSeconds", filled.initialBackoffSeconds)
  OptionCheck.positive(where, "maxBackoffSeconds", filled.maxBackoffSeconds)
  const settings = OptionCheck.ordered(where, filled, options, "initialBackoffSeconds", "maxBackoffSeconds")
  OptionCheck.within(where, "maxTokens", settings.maxTokens, 0.001, 1000)
  OptionCheck.within(where, "tokenRatio", settings.tokenRatio, 0.001, 1000)
  OptionCheck.integer(where, "maxAttempts", settings.maxAttempts, 1)
  OptionCheck.integer(where, "maxAttemptsLimit", settings.maxAttemptsLimit, 1)
  OptionCheck.positive(where, "backoffMultiplier", settings.backoffMultiplier)
  return { settings, milliTokens: milli(settings.maxTokens) }
}

/** Counts thousandths, and lets no float noise take one away. */
const milli = (count: number): number => Rounding.floor(count * 1000)

/** Reads the token count. */
export const tokens = (state: State): number => state.milliTokens / 1000

/** Answers whether a retry or a hedge may be sent now. */
export const allowed = (state: State): boolean => state.milliTokens > milli(state.settings.maxTokens) / 2

/** Says whether retries are allowed after an event, and with how many tokens. */
export type Decision =
  | { readonly _tag: "Allowed"; readonly tokens: number; readonly reason: "above-half" }
  | { readonly _tag: "Throttled"; readonly tokens: number; readonly reason: "at-or-below-half" }

const judge = (state: State): Decision =>
  allowed(state)
    ? { _tag: "Allowed", tokens: tokens(state), reason: "above-half" }
    : { _tag: "Throttled", tokens: tokens(state), reason: "at-or-below-half" }

/** Books a retryable failure or a pushback without retry: takes one token, then judges. */
export const fail = (state: State): readonly [Decision, State] => {
  const next = { settings: state.settings, milliTokens: Math.max(0, state.milliTokens - 1000) }
  return [judge(next), next]
}

/** Books a success: gives `tokenRatio`, then judges. */
export const succeed = (state: State): readonly [Decision, State] => {
  const { settings } = state
  const gained = state.milliTokens + milli(settings.tokenRatio)
  const next = { settings, milliTokens: Math.min(milli(settings.maxTokens), gained) }
  return [judge(next), next]
}

/** Holds what one call has done so far. */
export interface Call {
  /** Attempts made, the first included. */
  readonly attempts: number
  /** Retries since the last pushback: the exponent of the backoff. */
  readonly retriesSincePushback: number
}

/** Starts a call: its first attempt is about to be made. */
export const call: Call = { attempts: 1, retriesSincePushback: 0 }

/** Describes a failed attempt of a call. */
export interface Failure {
  /** True when the status is one that the policy retries. */
  readonly retryable: boolean
  /** Seconds the server wants us to wait; `"stop"`, or what is no such number, forbids a retry. */
  readonly pushback?: Pushback | undefined
}

/** Holds what a server says about the next attempt: seconds to wait, or `"stop"`. */
export type Pushback = number | "stop"

/** Reads a pushback as the rule asks: a number that is no time to wait (negative, `NaN`, infinite) means `"stop"`. */
export const readPushback = (pushback: Pushback | undefined): Pushback | undefined =>
  typeof pushback === "number" && !(pushback >= 0 && pushback < Number.POSITIVE_INFINITY) ? "stop" : pushback

/** Says whether a failed attempt is tried again. */
export type Attempt =
  | {
    readonly _tag: "Retry"
    readonly delaySeconds: number
    readonly reason: "backoff" | "pushback"
    readonly call: Call
  }
  | { readonly _tag: "Stop"; readonly reason: "not-retryable" | "pushback" | "throttled" | "max-attempts" }

/**
 * Decides whether a failed attempt of a call is tried again, and books the failure.
 *
 * **Details**: the order matters. A pushback without retry stops and counts. A
 * status that is not retryable does not count, and stops unless it carries a
 * pushback to wait. A retryable one counts. Then the throttle is judged, then
 * the attempts.
 */
export const attempt = (
  state: State,
  current: Call,
  failure: Failure,
  random: number
): readonly [Attempt, State] => {
  const { settings } = state
  const pushback = readPushback(failure.pushback)
  if (pushback === undefined && !failure.retryable) return [{ _tag: "Stop", reason: "not-retryable" }, state]
  if (pushback === "stop") return [{ _tag: "Stop", reason: "pushback" }, fail(state)[1]]
  const next = failure.retryable ? fail(state)[1] : state
  if (!allowed(next)) return [{ _tag: "Stop", reason: "throttled" }, next]
  if (current.attempts >= Math.min(settings.maxAttempts, settings.maxAttemptsLimit)) {
    return [{ _tag: "Stop", reason: "max-attempts" }, next]
  }
  const attempts = current.attempts + 1
  if (pushback !== undefined) {
    const restarted = { attempts, retriesSincePushback: 0 }
    return [{ _tag: "Retry", delaySeconds: pushback, reason: "pushback", call: restarted }, next]
  }
  const n = current.retriesSincePushback
  const grown = settings.initialBackoffSeconds * settings.backoffMultiplier ** n
  const delaySeconds = Math.min(grown, settings.maxBackoffSeconds) * (0.8 + 0.4 * random)
  return [{ _tag: "Retry", delaySeconds, reason: "backoff", call: { attempts, retriesSincePushback: n + 1 } }, next]
}

/** Bounds a pushback in milliseconds: the proposal reads a signed integer of 32 bits. */
const longestPushback = 2 ** 31 - 1

/** Reads a `grpc-retry-pushback-ms` value: seconds, or `"stop"` when negative, over 2,147,483,647 or unreadable. */
export const parsePushback = (milliseconds: string): Pushback =>
  /^(?:0|[1-9]\d*)$/.test(milliseconds) && Number(milliseconds) <= longestPushback
    ? Number(milliseconds) / 1000
    : "stop"
