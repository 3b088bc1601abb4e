/**
 * What a deadline still allows: how long an attempt may take, whether to start one, whether to wait.
 *
 * ```text
 * remaining = deadline − now
 * attempt timeout = min(perAttempt, remaining)
 * no attempt when remaining < minAttempt
 * no wait when wait ≥ remaining − minAttempt: fail now, with the last error
 * ```
 *
 * To sleep into a deadline only to fail there costs the caller the time and the
 * queue a place. Check the estimate of the queue the same way before entering it.
 *
 * ```ts
 * import { Deadline } from "effect-together/policy"
 *
 * const settings = Deadline.make({ perAttemptSeconds: 30 })
 * Deadline.attempt(settings, 60, 45) // => { _tag: "Start", timeoutSeconds: 15, reason: "deadline" }
 * Deadline.sleep(settings, 60, 50, 9) // => { _tag: "FailNow", etaSeconds: 9, reason: "would-exceed" }
 * ```
 *
 * **Source**: gRPC deadlines; Finagle `DeadlineFilter`, which also bounds how much expired work it rejects to 20 % in
 * 10 s: `RetryBudget.make({ ratio: 0.2, ttlSeconds: 10, minPerSecond: 0 })` is that bound.
 */
import * as OptionCheck from "../OptionCheck.ts"

/** Configures what a deadline allows. */
export interface Options {
  /** Longest attempt, in seconds, > 0; `Infinity` for no bound of its own. Default `Infinity`. */
  readonly perAttemptSeconds?: number | undefined
  /** Shortest time in which an attempt can succeed, in seconds, >= 0. Default 2. */
  readonly minAttemptSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { perAttemptSeconds: Number.POSITIVE_INFINITY, minAttemptSeconds: 2 }

/**
 * Validates the options.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): Settings => {
  const settings = OptionCheck.resolve(defaults, options)
  OptionCheck.above("Deadline.make", "perAttemptSeconds", settings.perAttemptSeconds, 0, Number.POSITIVE_INFINITY)
  OptionCheck.nonNegative("Deadline.make", "minAttemptSeconds", settings.minAttemptSeconds)
  return settings
}

/** Computes the seconds left, 0 when it has passed or is no number. */
export const remaining = (deadline: number, now: number): number => deadline > now ? deadline - now : 0

/** Says whether an attempt may start. */
export type Attempt =
  | { readonly _tag: "Start"; readonly timeoutSeconds: number; readonly reason: "per-attempt" | "deadline" }
  | { readonly _tag: "FailNow"; readonly remainingSeconds: number; readonly reason: "expired" | "too-little-left" }

/** Decides whether an attempt may start, and how long it may take. */
export const attempt = (settings: Settings, deadline: number, now: number): Attempt => {
  const left = remaining(deadline, now)
  if (left === 0) return { _tag: "FailNow", remainingSeconds: 0, reason: "expired" }
  if (left < settings.minAttemptSeconds) return { _tag: "FailNow", remainingSeconds: left, reason: "too-little-left" }
  return settings.perAttemptSeconds <= left
    ? { _tag: "Start", timeoutSeconds: settings.perAttemptSeconds, reason: "per-attempt" }
    : { _tag: "Start", timeoutSeconds: left, reason: "deadline" }
}

/** Says whether waiting makes sense. */
export type Sleep =
  | { readonly _tag: "Sleep"; readonly seconds: number; readonly reason: "time-left" }
  | { readonly _tag: "FailNow"; readonly etaSeconds: number; readonly reason: "expired" | "would-exceed" }

/** Decides whether to wait `seconds` before the next attempt, or to fail at once. */
export const sleep = (settings: Settings, deadline: number, now: number, seconds: number): Sleep => {
  const left = remaining(deadline, now)
  if (left === 0) return { _tag: "FailNow", etaSeconds: seconds, reason: "expired" }
  return seconds < left - settings.minAttemptSeconds
    ? { _tag: "Sleep", seconds, reason: "time-left" }
    : { _tag: "FailNow", etaSeconds: seconds, reason: "would-exceed" }
}
