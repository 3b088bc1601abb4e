/**
 * Holds everything back while a backend is down, and asks with one call at a time whether it is up.
 *
 * Five failures in a row (503, refused or lost connections) start a pause of
 * `min(5, 0.5·2^k)·U(0.5, 1)` seconds. When it is over one call goes out as a
 * probe. It succeeds: all go on. It fails: the next, longer pause. Recovery is
 * noticed within one pause, at most 5 s, after the backend is back.
 *
 * ```text
 *  Flowing ──5 failures──▶ Paused ──time──▶ Probing ──success──▶ Flowing
 *                             ▲                │ failure, k + 1
 *                             └────────────────┘
 * ```
 *
 * Calls that were sent before the last pause began say nothing about what
 * followed: their failures belong to it, hundreds in flight fail together, and
 * their successes do not end it.
 *
 * ```ts
 * import { Outage } from "effect-together/policy"
 *
 * const [decision, out] = Outage.fail(Outage.make({ failures: 1 }), 0, 1, 0.5)
 * decision // => { _tag: "Paused", until: 1.375, reason: "failures-in-a-row" }
 * Outage.gate(out, 1.1)[0] // => { _tag: "Hold", until: 1.375, reason: "paused" }
 * Outage.gate(out, 1.4)[0] // => { _tag: "Probe", reason: "pause-over" }
 * ```
 *
 * **When to use**: beside `Pause`, which obeys refusals for rate. An overloaded or absent backend is no reason to lower a learned rate.
 */
import * as OptionCheck from "../OptionCheck.ts"

/** Configures the handling of an outage. */
export interface Options {
  /** Failures in a row that start a pause, an integer >= 1. Default 5. */
  readonly failures?: number | undefined
  /** First pause before jitter, in seconds, > 0. Default 0.5, or `maxSeconds` if that is shorter. */
  readonly baseSeconds?: number | undefined
  /** Longest pause, in seconds, > 0. Default 5, or `baseSeconds` if that is longer. */
  readonly maxSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { failures: 5, baseSeconds: 0.5, maxSeconds: 5 }

/** Holds what is known about the backend. */
export interface State {
  readonly settings: Settings
  /** Failures in a row, while flowing. */
  readonly failures: number
  /** Pauses since the last success: the exponent of the next one. */
  readonly pauses: number
  /** When the last pause began. */
  readonly pausedAt: number
  readonly pausedUntil: number
  /** True while the probe is out. */
  readonly probing: boolean
}

/** Says whether a call may start. */
export type Gate =
  | { readonly _tag: "Flow"; readonly reason: "no-outage" }
  | { readonly _tag: "Probe"; readonly reason: "pause-over" }
  | {
    readonly _tag: "Hold"
    /** When to ask again; absent while the probe decides. */
    readonly until?: number | undefined
    readonly reason: "paused" | "probe-in-flight"
  }

/** Says what a failure did. */
export type Decision =
  | { readonly _tag: "Counted"; readonly failures: number; readonly reason: "too-few-failures" }
  | { readonly _tag: "Paused"; readonly until: number; readonly reason: "failures-in-a-row" | "probe-failed" }
  | { readonly _tag: "Stale"; readonly reason: "sent-before-pause" }

/**
 * Makes a state without an outage.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "Outage.make"
  OptionCheck.integer(where, "failures", filled.failures, 1)
  OptionCheck.positive(where, "baseSeconds", filled.baseSeconds)
  OptionCheck.positive(where, "maxSeconds", filled.maxSeconds)
  const settings = OptionCheck.ordered(where, filled, options, "baseSeconds", "maxSeconds")
  return {
    settings,
    failures: 0,
    pauses: 0,
    pausedAt: Number.NEGATIVE_INFINITY,
    pausedUntil: Number.NEGATIVE_INFINITY,
    probing: false
  }
}

/** Asks to start a call at `now`; `Probe` makes the caller the probe. */
export const gate = (state: State, now: number): readonly [Gate, State] => {
  if (state.pauses === 0) return [{ _tag: "Flow", reason: "no-outage" }, state]
  if (state.probing) return [{ _tag: "Hold", reason: "probe-in-flight" }, state]
  if (now < state.pausedUntil) return [{ _tag: "Hold", until: state.pausedUntil, reason: "paused" }, state]
  return [{ _tag: "Probe", reason: "pause-over" }, { ...state, probing: true }]
}

/**
 * Books a failure at `now` of a call that was sent at `sentAt`. `random` is uniform in [0, 1).
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const fail = (
  state: State,
  sentAt: number,
  now: number,
  random: number
): readonly [Decision, State] => {
  OptionCheck.between("Outage.fail", "now", now, -Infinity, Infinity)
  const { settings } = state
  if (sentAt <= state.pausedAt) return [{ _tag: "Stale", reason: "sent-before-pause" }, state]
  const failures = state.failures + 1
  if (state.pauses === 0 && failures < settings.failures) {
    return [{ _tag: "Counted", failures, reason: "too-few-failures" }, { ...state, failures }]
  }
  const grown = Math.min(settings.maxSeconds, settings.baseSeconds * 2 ** state.pauses)
  const until = now + grown * (0.5 + random / 2)
  const reason = state.pauses === 0 ? "failures-in-a-row" : "probe-failed"
  return [
    { _tag: "Paused", until, reason },
    { settings, failures: 0, pauses: state.pauses + 1, pausedAt: now, pausedUntil: until, probing: false }
  ]
}

/**
 * Books a success: the outage, if there was one, is over.
 *
 * **Details**: a success of a call that was sent before the last pause began, by its `sentAt`, changes nothing.
 */
export const succeed = (state: State, sentAt = Number.POSITIVE_INFINITY): State =>
  sentAt <= state.pausedAt
    ? state
    : { ...state, failures: 0, pauses: 0, pausedUntil: Number.NEGATIVE_INFINITY, probing: false }

/** Books that the probe ended without saying anything (interrupted, refused for its content): the next call probes. */
export const abandon = (state: State): State => ({ ...state, probing: false })
