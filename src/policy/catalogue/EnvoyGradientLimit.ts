/**
 * Concurrency by comparing the median latency of a window with a measured ideal.
 *
 * ```text
 * g = clamp((1 + buffer)·minRtt/sampleRtt, 0.5, 2)
 * L = clamp(⌊L·g + √(L·g)⌋, min, max)
 * ```
 *
 * The ideal is measured, not guessed: from time to time the limit is set to
 * `min` until `minRttSamples` calls have answered, and their quantile becomes
 * `minRtt`. That costs throughput, and is repeated every `minRttIntervalSeconds`
 * plus jitter, or at once after five windows in a row at the smallest limit.
 *
 * ```text
 *  start ──▶ measuring (L = min) ──50 calls──▶ running ──interval, or stuck at min──▶ measuring
 * ```
 *
 * ```ts
 * import { EnvoyGradientLimit } from "effect-together/policy"
 *
 * const { defaults } = EnvoyGradientLimit
 * EnvoyGradientLimit.gradient(defaults, 0.1, 0.25) // => 0.5
 * EnvoyGradientLimit.step(defaults, 10, 0.1, 0.25) // => 7
 * ```
 *
 * **Source**: Envoy `adaptive_concurrency`, gradient controller.
 *
 * **Gotchas**: drops carry no latency here and are ignored, as upstream.
 */
import * as ConcurrencyLimit from "./ConcurrencyLimit.ts"
import * as OptionCheck from "../OptionCheck.ts"
import * as SampleWindow from "../SampleWindow.ts"
import * as Rounding from "../Rounding.ts"

/** Configures a limit. */
export interface Options {
  /** Smallest limit, and the limit while the ideal is measured, an integer >= 1. Default 3. */
  readonly min?: number | undefined
  /** Largest limit, an integer >= 1. Default 1000. */
  readonly max?: number | undefined
  /** Latency over the ideal that is still fine, as a share, >= 0. Default 0.25. */
  readonly buffer?: number | undefined
  /** Quantile of a window that is compared, in (0, 1). Default 0.5. */
  readonly quantile?: number | undefined
  /** Length of a window, in seconds, > 0. Default 0.1; give a window at least some ten calls. */
  readonly windowSeconds?: number | undefined
  /** Calls that measure the ideal, an integer >= 1. Default 50. */
  readonly minRttSamples?: number | undefined
  /** Seconds between two measurements, > 0. Default 60. */
  readonly minRttIntervalSeconds?: number | undefined
  /** Share of the interval added at random, in [0, 1]. Default 0.15. */
  readonly jitter?: number | undefined
  /** Windows in a row at the smallest limit that call for a new measurement, an integer >= 1. Default 5. */
  readonly stuckWindows?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  min: 3,
  max: 1000,
  buffer: 0.25,
  quantile: 0.5,
  windowSeconds: 0.1,
  minRttSamples: 50,
  minRttIntervalSeconds: 60,
  jitter: 0.15,
  stuckWindows: 5
}

/** Holds a limit. */
export interface State extends ConcurrencyLimit.Estimated {
  readonly settings: Settings
  /** Present while the ideal is measured: the limit to go back to. */
  readonly measuring?: { readonly resume: number; readonly since: number } | undefined
  /** Measured ideal latency, in seconds; 0 before the first measurement. */
  readonly minRtt: number
  readonly window: SampleWindow.State
  readonly windowEndsAt: number
  readonly nextMeasurementAt: number
  readonly windowsAtMin: number
}

/**
 * Starts a limit, measuring the ideal.
 *
 * **Details**: the defaults of `min` and `max` give way to what is given for another.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const initial = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "EnvoyGradientLimit.initial"
  OptionCheck.integer(where, "min", filled.min, 1)
  OptionCheck.integer(where, "max", filled.max, 1)
  const settings = OptionCheck.ordered(where, filled, options, "min", "max")
  OptionCheck.nonNegative(where, "buffer", settings.buffer)
  OptionCheck.between(where, "quantile", settings.quantile, 0, 1)
  OptionCheck.positive(where, "windowSeconds", settings.windowSeconds)
  OptionCheck.integer(where, "minRttSamples", settings.minRttSamples, 1)
  OptionCheck.positive(where, "minRttIntervalSeconds", settings.minRttIntervalSeconds)
  OptionCheck.within(where, "jitter", settings.jitter, 0, 1)
  OptionCheck.integer(where, "stuckWindows", settings.stuckWindows, 1)
  return {
    settings,
    estimate: settings.min,
    measuring: { resume: settings.min, since: Number.NEGATIVE_INFINITY },
    minRtt: 0,
    window: SampleWindow.make(),
    windowEndsAt: Number.NEGATIVE_INFINITY,
    nextMeasurementAt: Number.POSITIVE_INFINITY,
    windowsAtMin: 0
  }
}

/** Computes the gradient of a window. */
export const gradient = (settings: Settings, minRtt: number, sampleRtt: number): number =>
  Math.max(0.5, Math.min(2, (minRtt * (1 + settings.buffer)) / sampleRtt))

/** Computes the limit that follows a window. */
export const step = (settings: Settings, limit: number, minRtt: number, sampleRtt: number): number => {
  const scaled = limit * gradient(settings, minRtt, sampleRtt)
  return Math.max(settings.min, Math.min(settings.max, Rounding.floor(scaled + Math.sqrt(scaled))))
}

/**
 * Moves the limit with one call.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const sample = (
  state: State,
  event: ConcurrencyLimit.Sample,
  now: number,
  random: number
): readonly [ConcurrencyLimit.Decision, State] => {
  OptionCheck.between("EnvoyGradientLimit.sample", "now", now, -Infinity, Infinity)
  if (event.dropped) return ConcurrencyLimit.decide(state, state, "dropped")
  if (!ConcurrencyLimit.hasLatency(event)) return ConcurrencyLimit.decide(state, state, "no-latency")
  return state.measuring === undefined
    ? run(state, event, now)
    : measure(state, state.measuring, event, now, random)
}

const measure = (
  state: State,
  measuring: { readonly resume: number; readonly since: number },
  event: ConcurrencyLimit.Sample,
  now: number,
  random: number
): readonly [ConcurrencyLimit.Decision, State] => {
  const { settings } = state
  // Calls from before the limit was lowered still carry the queue that the measurement wants to be rid of.
  if (now - event.rttSeconds < measuring.since) return ConcurrencyLimit.decide(state, state, "stale")
  const window = SampleWindow.add(state.window, event.rttSeconds)
  if (window.count < settings.minRttSamples) {
    return ConcurrencyLimit.decide(state, { ...state, window }, "measuring-min-rtt")
  }
  const next = {
    ...state,
    estimate: measuring.resume,
    measuring: undefined,
    minRtt: SampleWindow.quantile([window], settings.quantile),
    window: SampleWindow.make(),
    windowEndsAt: now + settings.windowSeconds,
    nextMeasurementAt: now + settings.minRttIntervalSeconds * (1 + settings.jitter * random),
    windowsAtMin: 0
  }
  return ConcurrencyLimit.decide(state, next, "min-rtt-measured")
}

const run = (
  state: State,
  event: ConcurrencyLimit.Sample,
  now: number
): readonly [ConcurrencyLimit.Decision, State] => {
  const { estimate, settings } = state
  if (now >= state.nextMeasurementAt) return remeasure(state, estimate, now)
  const window = SampleWindow.add(state.window, event.rttSeconds)
  if (now < state.windowEndsAt) return ConcurrencyLimit.decide(state, { ...state, window }, "window-open")
  const to = step(settings, estimate, state.minRtt, SampleWindow.quantile([window], settings.quantile))
  const windowsAtMin = to === settings.min && estimate === settings.min ? state.windowsAtMin + 1 : 0
  if (windowsAtMin >= settings.stuckWindows) return remeasure(state, to, now)
  const next = {
    ...state,
    estimate: to,
    window: SampleWindow.make(),
    windowEndsAt: now + settings.windowSeconds,
    windowsAtMin
  }
  const reason = to !== estimate
    ? "gradient"
    : to === settings.max
    ? "at-max"
    : to === settings.min
    ? "at-min"
    : "gradient"
  return ConcurrencyLimit.decide(state, next, reason)
}

const remeasure = (state: State, resume: number, now: number): readonly [ConcurrencyLimit.Decision, State] =>
  ConcurrencyLimit.decide(
    state,
    {
      ...state,
      estimate: state.settings.min,
      measuring: { resume, since: now },
      window: SampleWindow.make(),
      nextMeasurementAt: Number.POSITIVE_INFINITY,
      windowsAtMin: 0
    },
    "measuring-min-rtt"
  )
