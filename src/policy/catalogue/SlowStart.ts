/**
 * Ramps a rate up after a start or a pause, in place of letting everything go at once.
 *
 * ```text
 * factor = max(min, (elapsed/window)^(1/aggression)), 1 after the window
 * window = min(maxWindow, pause/2);  no ramp after a pause under 2 s
 * ```
 *
 * Multiply the rate by the factor, not the concurrency. Drop what the token
 * bucket piled up during the pause (`TokenBucket.drain` to 1), and let the heads
 * of the queue go `1/rate` apart (`stagger`).
 *
 * ```ts
 * import { SlowStart } from "effect-together/policy"
 *
 * const ramp = SlowStart.resume(SlowStart.make(), 20, 100)
 * SlowStart.apply(ramp, 50, 105) // => { _tag: "Ramping", factor: 0.5, rate: 25, reason: "curve" }
 * SlowStart.apply(ramp, 50, 110) // => { _tag: "Done", factor: 1, rate: 50, reason: "window-over" }
 * ```
 *
 * **Source**: Envoy `slow_start_config`.
 */
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a ramp. */
export interface Options {
  /** Longest ramp, in seconds, >= 0; the ramp of a start. Default 10. */
  readonly windowSeconds?: number | undefined
  /** Smallest factor, in [0, 1]. Default 0.1. */
  readonly min?: number | undefined
  /** Curve of the ramp, > 0: 1 is a line, more is steeper first. Default 1. */
  readonly aggression?: number | undefined
  /** Shortest pause that is followed by a ramp, in seconds, >= 0. Default 2. */
  readonly minPauseSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { windowSeconds: 10, min: 0.1, aggression: 1, minPauseSeconds: 2 }

/** Holds a ramp. */
export interface State {
  readonly settings: Settings
  readonly startedAt: number
  /** Length of this ramp in seconds; 0 when there is none. */
  readonly windowSeconds: number
}

/**
 * Validates the options.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): Settings => {
  const settings = OptionCheck.resolve(defaults, options)
  OptionCheck.nonNegative("SlowStart.make", "windowSeconds", settings.windowSeconds)
  OptionCheck.within("SlowStart.make", "min", settings.min, 0, 1)
  OptionCheck.positive("SlowStart.make", "aggression", settings.aggression)
  OptionCheck.nonNegative("SlowStart.make", "minPauseSeconds", settings.minPauseSeconds)
  return settings
}

/**
 * Begins the ramp of a fresh start.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const begin = (settings: Settings, now: number): State => ({
  settings,
  startedAt: OptionCheck.between("SlowStart.begin", "now", now, -Infinity, Infinity),
  windowSeconds: settings.windowSeconds
})

/**
 * Begins the ramp after a pause: none after a short one.
 *
 * **Errors**: throws `RangeError` for a pause that is no number, or a time that is not finite.
 */
export const resume = (settings: Settings, pauseSeconds: number, now: number): State => {
  const where = "SlowStart.resume"
  OptionCheck.within(where, "pauseSeconds", pauseSeconds, -Infinity, Infinity)
  return {
    settings,
    startedAt: OptionCheck.between(where, "now", now, -Infinity, Infinity),
    windowSeconds: pauseSeconds < settings.minPauseSeconds ? 0 : Math.min(settings.windowSeconds, pauseSeconds / 2)
  }
}

/** Reads a time before the start, or one that is no number, as the start: no rate may become NaN. */
const atLeast0 = (elapsed: number): number => elapsed > 0 ? elapsed : 0

/** Computes the factor after `elapsed` seconds of a ramp of `windowSeconds`. */
export const factor = (
  settings: Pick<Settings, "min" | "aggression">,
  windowSeconds: number,
  elapsed: number
): number => {
  const passed = atLeast0(elapsed)
  return passed >= windowSeconds
    ? 1
    : Math.max(settings.min, (passed / windowSeconds) ** (1 / settings.aggression))
}

/** Says what the ramp makes of a rate. */
export type Decision =
  | { readonly _tag: "Ramping"; readonly factor: number; readonly rate: number; readonly reason: "floor" | "curve" }
  | { readonly _tag: "Done"; readonly factor: 1; readonly rate: number; readonly reason: "window-over" }

/** Applies the ramp to a rate. */
export const apply = (state: State, rate: number, now: number): Decision => {
  const { settings } = state
  const f = factor(settings, state.windowSeconds, now - state.startedAt)
  if (f === 1) return { _tag: "Done", factor: 1, rate, reason: "window-over" }
  return { _tag: "Ramping", factor: f, rate: rate * f, reason: f === settings.min ? "floor" : "curve" }
}

/** Computes the integral of the factor: how many seconds at full rate the first `elapsed` seconds are worth; 0 before the start. */
export const cumulative = (
  settings: Pick<Settings, "min" | "aggression">,
  windowSeconds: number,
  elapsed: number
): number => {
  const power = 1 / settings.aggression + 1
  const passed = atLeast0(elapsed)
  const ramped = Math.min(passed, windowSeconds)
  const floorEnds = Math.min(ramped, windowSeconds * settings.min ** settings.aggression)
  const curve = windowSeconds === 0
    ? 0
    : (windowSeconds / power) * ((ramped / windowSeconds) ** power - (floorEnds / windowSeconds) ** power)
  return settings.min * floorEnds + curve + (passed - ramped)
}

/** Computes when the item at position `index` of the queue leaves, in seconds from now: `1/rate` apart. */
export const stagger = (index: number, ratePerSecond: number): number =>
  index / OptionCheck.positive("SlowStart.stagger", "ratePerSecond", ratePerSecond)
