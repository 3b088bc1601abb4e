/**
 * Rejects the least important work first, as much of it as must go.
 *
 * Each call has a level of importance from 0 to 499: five classes of 100
 * levels, a call's own level drawn at random within its class so that part of a
 * class can go. The levels of the last 1,000 admitted calls are remembered. When
 * a share `p` must be rejected, the threshold is the `p`-quantile of those
 * levels, and a call passes when its level is at or above it.
 *
 * A queue gives `p = (queued − threshold)/(max − threshold)` with the threshold
 * at twice and the maximum at three times the limit.
 *
 * ```ts
 * import { PriorityShedding } from "effect-together/policy"
 *
 * let state = PriorityShedding.make()
 * for (const level of [50, 150, 250, 350, 450]) [, state] = PriorityShedding.admit(state, level)
 * ;[, state] = PriorityShedding.calibrate(state, PriorityShedding.queueRate(state.settings, 24, 10))
 * PriorityShedding.admit(state, 100)[0] // => { _tag: "Shed", threshold: 150, reason: "below-threshold" }
 * ```
 *
 * **Source**: failsafe-go `priority`.
 *
 * **Gotchas**: only admitted levels are remembered, so a threshold reads the share of what still passes, not of all that
 * comes. Each `calibrate` at the same `p > 0` after that sheds more: at a constant 0.5 half, then three quarters, then
 * nearly all. Pass a `p` that falls as the threshold works, as that of a queue does; to hold a threshold, do not
 * calibrate again. Importance rises with the number here, as upstream; `Call.priorityLevel` falls with it. `fromCall` turns
 * the one into the other.
 */
import * as OptionCheck from "../OptionCheck.ts"
import * as Rounding from "../Rounding.ts"

/** Names the classes, least important first. */
export type Class = "very-low" | "low" | "medium" | "high" | "very-high"

const firstLevel: Readonly<Record<Class, number>> = {
  "very-low": 0,
  "low": 100,
  "medium": 200,
  "high": 300,
  "very-high": 400
}

/** The highest level. */
export const maxLevel = 499

/** Draws a level of a class from a uniform random number in [0, 1). */
export const level = (priority: Class, random: number): number => firstLevel[priority] + Math.floor(random * 100)

/** Turns the level of a call (0 goes first) into a level of importance (0 is shed first). */
export const fromCall = (callLevel: number): number =>
  maxLevel - OptionCheck.within("PriorityShedding.fromCall", "callLevel", callLevel, 0, maxLevel)

/** Configures shedding. */
export interface Options {
  /** Admitted calls whose levels are remembered, an integer >= 1. Default 1000. */
  readonly window?: number | undefined
  /** Queue, as a multiple of the limit, at which shedding starts, >= 1. Default 2. */
  readonly initialRejectionFactor?: number | undefined
  /** Queue, as a multiple of the limit, at which all is shed, >= 1. Default 3. */
  readonly maxRejectionFactor?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { window: 1000, initialRejectionFactor: 2, maxRejectionFactor: 3 }

/** Holds what was admitted and what must go. */
export interface State {
  readonly settings: Settings
  /** Levels of the last admitted calls, oldest first. */
  readonly levels: ReadonlyArray<number>
  /** Share of calls that must be rejected, in [0, 1]. */
  readonly rate: number
  /** Level below which calls are rejected. */
  readonly threshold: number
}

/**
 * Makes a state that rejects nothing.
 *
 * **Details**: the defaults of both factors give way to what is given for another.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "PriorityShedding.make"
  OptionCheck.integer(where, "window", filled.window, 1)
  OptionCheck.within(where, "initialRejectionFactor", filled.initialRejectionFactor, 1, Number.MAX_VALUE)
  OptionCheck.within(where, "maxRejectionFactor", filled.maxRejectionFactor, 1, Number.MAX_VALUE)
  const settings = OptionCheck.ordered(where, filled, options, "initialRejectionFactor", "maxRejectionFactor")
  return { settings, levels: [], rate: 0, threshold: 0 }
}

/** Computes the share of calls that a queue demands to reject: 0 for an empty one, whatever the limit. */
export const queueRate = (
  settings: Pick<Settings, "initialRejectionFactor" | "maxRejectionFactor">,
  queued: number,
  limit: number
): number => {
  const start = Math.floor(limit * settings.initialRejectionFactor)
  const end = Math.floor(limit * settings.maxRejectionFactor)
  if (queued <= 0 || queued < start) return 0
  return queued >= end ? 1 : (queued - start) / (end - start)
}

/** Reads the level at a quantile of the remembered levels: 0 when there are none. */
export const quantile = (levels: ReadonlyArray<number>, q: number): number => {
  const rank = Math.max(1, Rounding.ceil(levels.length * q))
  const [found = 0] = [...levels].sort((a, b) => a - b).slice(rank - 1, rank)
  return found
}

/** Says how the threshold moved. */
export interface Calibration {
  readonly _tag: "Raised" | "Lowered" | "Held"
  readonly from: number
  readonly to: number
  readonly reason: "overload" | "no-overload"
}

/** Sets the share of calls to reject, and with it the threshold. */
export const calibrate = (state: State, rate: number): readonly [Calibration, State] => {
  OptionCheck.within("PriorityShedding.calibrate", "rate", rate, 0, 1)
  const from = state.threshold
  const to = rate > 0 ? quantile(state.levels, rate) : 0
  const _tag = to > from ? "Raised" : to < from ? "Lowered" : "Held"
  return [{ _tag, from, to, reason: rate > 0 ? "overload" : "no-overload" }, { ...state, rate, threshold: to }]
}

/** Says whether a call may pass. */
export type Decision =
  | { readonly _tag: "Admitted"; readonly threshold: number; readonly reason: "at-or-above-threshold" }
  | { readonly _tag: "Shed"; readonly threshold: number; readonly reason: "below-threshold" }

/** Decides on a call by its level of importance, and remembers it if it passes. */
export const admit = (state: State, callLevel: number): readonly [Decision, State] => {
  OptionCheck.within("PriorityShedding.admit", "level", callLevel, 0, maxLevel)
  const { threshold } = state
  if (callLevel < threshold) return [{ _tag: "Shed", threshold, reason: "below-threshold" }, state]
  const levels = [...state.levels, callLevel].slice(-state.settings.window)
  return [{ _tag: "Admitted", threshold, reason: "at-or-above-threshold" }, { ...state, levels }]
}
