/**
 * What to do with the wait a provider asked for: obey it, a little later, or give up.
 *
 * Three rules. Never earlier than asked. A little later at random, so that
 * clients that were told the same number do not come back as one herd:
 * `hint + U(0, min(spreadMax, spreadRatio·hint, remaining − hint))`. And a hint over the cap, or past the deadline, is
 * not waited for: the caller is told at once. Without a hint the backoff decides.
 *
 * ```ts
 * import { WaitHint } from "effect-together/policy"
 *
 * const hints = WaitHint.make()
 * WaitHint.decide(hints, { hintSeconds: 2, backoffSeconds: 0.5 }, 0.5) // => { _tag: "Wait", seconds: 2.1, reason: "hint" }
 * WaitHint.decide(hints, { hintSeconds: 3600, backoffSeconds: 0.5 }, 0.5)
 * // => { _tag: "GiveUp", seconds: 3600, reason: "over-cap" }
 * ```
 *
 * **Source**: RFC 9110 section 10.2.3 for the meaning of a hint; the cap because
 * hints of hours exist in the wild and clients that obey them look hung.
 */
import * as OptionCheck from "./OptionCheck.ts"

/** Configures how hints are obeyed. */
export interface Options {
  /** Largest wait that is slept on, in seconds, >= 0. Default 60. */
  readonly capSeconds?: number | undefined
  /** Largest share of the hint added at random, in [0, 0.25]. Default 0.1. */
  readonly spreadRatio?: number | undefined
  /** Largest time added at random, in seconds, >= 0. Default 1. */
  readonly spreadMaxSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { capSeconds: 60, spreadRatio: 0.1, spreadMaxSeconds: 1 }

/** Says how long to wait and why, or why waiting makes no sense. */
export type Decision =
  | { readonly _tag: "Wait"; readonly seconds: number; readonly reason: "hint" | "backoff" }
  | { readonly _tag: "GiveUp"; readonly seconds: number; readonly reason: "over-cap" | "past-deadline" }

/** Describes one failed attempt that may be waited for. */
export interface Event {
  /** The wait the provider asked for, in seconds; absent or below 0 means none was asked. */
  readonly hintSeconds?: number | undefined
  /** The wait our own backoff proposes, in seconds. */
  readonly backoffSeconds: number
  /** Seconds left until the deadline; absent means no deadline. */
  readonly remainingSeconds?: number | undefined
}

/**
 * Validates the options.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): Settings => {
  const settings = OptionCheck.resolve(defaults, options)
  OptionCheck.nonNegative("WaitHint.make", "capSeconds", settings.capSeconds)
  OptionCheck.within("WaitHint.make", "spreadRatio", settings.spreadRatio, 0, 0.25)
  OptionCheck.nonNegative("WaitHint.make", "spreadMaxSeconds", settings.spreadMaxSeconds)
  return settings
}

/** Spreads a hint: never earlier than asked, at most `min(spreadMax, spreadRatio·hint)` later, nor past the deadline. */
export const spread = (
  settings: Settings,
  hintSeconds: number,
  random: number,
  remainingSeconds = Number.POSITIVE_INFINITY
): number => {
  const room = remainingSeconds - hintSeconds
  return hintSeconds + random * Math.min(settings.spreadMaxSeconds, settings.spreadRatio * hintSeconds, room)
}

/**
 * Decides how long to wait after a failed attempt.
 *
 * **Details**: the cap and the deadline are compared with the hint as asked,
 * the spread excluded. The spread never reaches past the deadline. A backoff is never over the cap: it has its own.
 */
export const decide = (settings: Settings, event: Event, random: number): Decision => {
  const hint = event.hintSeconds ?? -1
  const remaining = event.remainingSeconds ?? Number.POSITIVE_INFINITY
  const asked = hint >= 0 ? hint : event.backoffSeconds
  if (hint > settings.capSeconds) return { _tag: "GiveUp", seconds: hint, reason: "over-cap" }
  if (asked >= remaining) return { _tag: "GiveUp", seconds: asked, reason: "past-deadline" }
  return hint >= 0
    ? { _tag: "Wait", seconds: spread(settings, hint, random, remaining), reason: "hint" }
    : { _tag: "Wait", seconds: asked, reason: "backoff" }
}
