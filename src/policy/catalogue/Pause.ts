/**
 * One pause for all calls that share a limit: who is told to wait makes everybody wait.
 *
 * ```text
 * pausedUntil = max(pausedUntil, now + clamp(hint, 0, maxPause))
 * no hint:      now + min(backoffMax, backoffBase·2^k), k = epochs in a row without a hint and without a success
 * ```
 *
 * Calls in flight finish; nothing new starts before the horizon. A success never
 * shortens it.
 *
 * The epoch rule: 64 calls in flight that are refused together are one event. A
 * refusal of a call that was sent before the last epoch began belongs to that
 * epoch: its hint may move the horizon further, but it starts no epoch, and no
 * controller may cut for it. `Decision.epoch` says which; a rate controller cuts
 * on `"new"` only, with a debounce of its own. The horizon must not be that
 * debounce: a hint of 89 s once froze a limit for a whole run
 * (UKGovernmentBEIS/inspect_ai#5137).
 *
 * ```ts
 * import { Pause } from "effect-together/policy"
 *
 * const [first, paused] = Pause.refuse(Pause.make(), { sentAt: 1, hintSeconds: 3 }, 2)
 * first // => { _tag: "Extended", until: 5, epoch: "new", reason: "hint", hintSeconds: 3 }
 * const [second] = Pause.refuse(paused, { sentAt: 1 }, 2.1)
 * second // => { _tag: "Unchanged", until: 5, epoch: "same", reason: "already-paused" }
 * Pause.gate(paused, 4) // => { _tag: "Paused", until: 5, waitSeconds: 1, reason: "paused" }
 * ```
 *
 * **Source**: the shared pause of bulk clients; gateways have met hints of more than 4 hours, hence `maxPauseSeconds`.
 */
import { quantumSeconds } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a pause. */
export interface Options {
  /** Longest pause that a hint can ask for, in seconds, >= 0. Default 600. */
  readonly maxPauseSeconds?: number | undefined
  /** First pause without a hint, in seconds, > 0. Default 1, or `backoffMaxSeconds` if that is shorter. */
  readonly backoffBaseSeconds?: number | undefined
  /** Longest pause without a hint, in seconds, > 0. Default 60, or `backoffBaseSeconds` if that is longer. */
  readonly backoffMaxSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { maxPauseSeconds: 600, backoffBaseSeconds: 1, backoffMaxSeconds: 60 }

/** Holds a pause. */
export interface State {
  readonly settings: Settings
  /** The horizon: nothing new starts before it. */
  readonly pausedUntil: number
  /** When the last epoch began. */
  readonly epochAt: number
  /** Epochs without a hint since the last success or hint. */
  readonly hintless: number
}

/** Says what a refusal did to the horizon. */
export interface Decision {
  readonly _tag: "Extended" | "Unchanged"
  readonly until: number
  /** `new` when a controller may cut, `same` when the refusal belongs to an epoch that was answered. */
  readonly epoch: "new" | "same"
  readonly reason: "hint" | "hint-too-long" | "backoff" | "already-paused"
  /** The hint as asked, also when it was too long to obey. */
  readonly hintSeconds?: number | undefined
}

/** Says whether a call may start. */
export type Gate =
  | { readonly _tag: "Open"; readonly reason: "not-paused" }
  | { readonly _tag: "Paused"; readonly until: number; readonly waitSeconds: number; readonly reason: "paused" }

/** Describes a refusal. */
export interface Refusal {
  /** When the refused call was sent. */
  readonly sentAt: number
  /** The wait the provider asked for, in seconds; absent, or `NaN`, when it asked for none. `Infinity` is too long. */
  readonly hintSeconds?: number | undefined
}

/**
 * Makes a pause that is over.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "Pause.make"
  OptionCheck.nonNegative(where, "maxPauseSeconds", filled.maxPauseSeconds)
  OptionCheck.positive(where, "backoffBaseSeconds", filled.backoffBaseSeconds)
  OptionCheck.positive(where, "backoffMaxSeconds", filled.backoffMaxSeconds)
  const settings = OptionCheck.ordered(where, filled, options, "backoffBaseSeconds", "backoffMaxSeconds")
  return { settings, pausedUntil: Number.NEGATIVE_INFINITY, epochAt: Number.NEGATIVE_INFINITY, hintless: 0 }
}

/** Asks whether a call may start at `now`. A wait is at least 1 ms: less does not move a clock. */
export const gate = (state: State, now: number): Gate => {
  const until = state.pausedUntil
  return now >= until
    ? { _tag: "Open", reason: "not-paused" }
    : { _tag: "Paused", until, waitSeconds: Math.max(quantumSeconds, until - now), reason: "paused" }
}

/**
 * Books a refusal that arrived at `now`.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const refuse = (state: State, refusal: Refusal, now: number): readonly [Decision, State] => {
  OptionCheck.between("Pause.refuse", "now", now, -Infinity, Infinity)
  const { settings } = state
  const epoch = refusal.sentAt > state.epochAt ? "new" : "same"
  const epochAt = epoch === "new" ? now : state.epochAt
  const hint = refusal.hintSeconds
  if (hint === undefined || Number.isNaN(hint)) {
    if (epoch === "same") {
      return [{ _tag: "Unchanged", until: state.pausedUntil, epoch, reason: "already-paused" }, state]
    }
    const seconds = Math.min(settings.backoffMaxSeconds, settings.backoffBaseSeconds * 2 ** state.hintless)
    const next = extend({ ...state, epochAt, hintless: state.hintless + 1 }, now + seconds)
    return [{ _tag: moved(state, next), until: next.pausedUntil, epoch, reason: "backoff" }, next]
  }
  const reason = hint > settings.maxPauseSeconds ? "hint-too-long" : "hint"
  const seconds = Math.max(0, Math.min(settings.maxPauseSeconds, hint))
  const next = extend({ ...state, epochAt, hintless: 0 }, now + seconds)
  return [{ _tag: moved(state, next), until: next.pausedUntil, epoch, reason, hintSeconds: hint }, next]
}

const extend = (state: State, until: number): State => ({ ...state, pausedUntil: Math.max(state.pausedUntil, until) })

const moved = (before: State, after: State): "Extended" | "Unchanged" =>
  after.pausedUntil > before.pausedUntil ? "Extended" : "Unchanged"

/**
 * Books a success: the backoff starts over, the horizon stays.
 *
 * **Details**: a success of a call that was sent before the last epoch says nothing about what followed, and changes nothing.
 */
export const succeed = (state: State, sentAt = Number.POSITIVE_INFINITY): State =>
  sentAt <= state.epochAt ? state : { ...state, hintless: 0 }
