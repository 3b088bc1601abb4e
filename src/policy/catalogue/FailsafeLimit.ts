/**
 * Concurrency by the queue that recent latency shows against a baseline, checked by correlation.
 *
 * Latency is summarized per window of time (p90), smoothed by a median of 5 and
 * an average, and compared with a slow baseline: `queue = ⌈L·(1 − baseline/recent)⌉`,
 * with `lg = max(1, ⌊log10 L⌋)`:
 *
 * | condition, first that holds | limit | reason |
 * | --- | --- | --- |
 * | `queue > 6·lg` | `− lg` | `long-queue` |
 * | full, and throughput falls as more is in flight | `− lg` | `throughput-falls` |
 * | full, latency rises with what is in flight, throughput hardly | `− lg` | `latency-rises` |
 * | full, latency rises with what is in flight, throughput flat | `− lg` | `throughput-flat` |
 * | `queue < 3·lg` | `+ lg` | `short-queue` |
 * | else | holds | `queue-in-bounds` |
 *
 * The limit is further held below `inFlight·max(minFactor, factor − decay·log10 inFlight)`:
 * a limit that nobody uses says nothing.
 *
 * ```ts
 * import { FailsafeLimit } from "effect-together/policy"
 *
 * const limit = FailsafeLimit.initial({ baselineSeconds: 1, minSamples: 1 })
 * FailsafeLimit.sample(limit, { rttSeconds: 2, inFlight: 10, dropped: false }, 0)[0]
 * // => { _tag: "Lowered", from: 20, to: 19, reason: "long-queue" }
 * ```
 *
 * **Source**: failsafe-go `adaptivelimiter`. One deviation: a dropped call holds the limit; upstream may close the
 * window on it and raise.
 *
 * **Gotchas**: as `Gradient2Limit`, unsound on total latency of a language model: a change in the mix of prompts looks
 * like load. In a long incident the baseline drifts up to what is slow (failsafe-go/failsafe-go#127).
 */
import * as ConcurrencyLimit from "./ConcurrencyLimit.ts"
import * as ExpAverage from "./ExpAverage.ts"
import * as OptionCheck from "../OptionCheck.ts"
import * as Rounding from "../Rounding.ts"
import * as SampleWindow from "../SampleWindow.ts"

/** Configures a limit. */
export interface Options {
  /** Limit at the start, >= 1. Default 20. */
  readonly initial?: number | undefined
  /** Smallest limit, an integer >= 1. Default 1. */
  readonly min?: number | undefined
  /** Largest limit, an integer >= 1. Default 200. */
  readonly max?: number | undefined
  /** Limit per call in flight, >= 1. Default 5, or `minFactor` if that is more. */
  readonly maxFactor?: number | undefined
  /** What each tenfold of calls in flight takes off `maxFactor`, >= 0. Default 0; 1 suits bursty traffic. */
  readonly maxFactorDecay?: number | undefined
  /** Smallest limit per call in flight when it decays, >= 1. Default 1.2, or `maxFactor` if that is less. */
  readonly minFactor?: number | undefined
  /** Shortest window, in seconds, >= 0. Default 1. */
  readonly minWindowSeconds?: number | undefined
  /** Longest window, in seconds, > 0. Default 30. */
  readonly maxWindowSeconds?: number | undefined
  /** Fewest samples of a window, an integer >= 1. Default 50. */
  readonly minSamples?: number | undefined
  /** Quantile that stands for a window, in (0, 1). Default 0.9. */
  readonly quantile?: number | undefined
  /** Windows that the baseline remembers, >= 1. Default 10. */
  readonly baselineAge?: number | undefined
  /** Windows whose correlation is computed, an integer >= 2. Default 50. */
  readonly correlationWindow?: number | undefined
  /** Windows before averages decay and correlations count, an integer >= 0. Default 10. */
  readonly warmup?: number | undefined
  /** Windows of the median and of the smoothing, an integer >= 1. Default 5. */
  readonly smoothed?: number | undefined
  /** Known baseline latency in seconds, >= 0; 0 for unknown. Default 0. */
  readonly baselineSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  initial: 20,
  min: 1,
  max: 200,
  maxFactor: 5,
  maxFactorDecay: 0,
  minFactor: 1.2,
  minWindowSeconds: 1,
  maxWindowSeconds: 30,
  minSamples: 50,
  quantile: 0.9,
  baselineAge: 10,
  correlationWindow: 50,
  warmup: 10,
  smoothed: 5,
  baselineSeconds: 0
}

/** Holds what one window showed: calls in flight and smoothed latency. */
export interface Observation {
  readonly inFlight: number
  readonly rtt: number
}

/** Holds a limit. */
export interface State extends ConcurrencyLimit.Estimated {
  readonly settings: Settings
  readonly window: SampleWindow.State
  readonly maxInFlight: number
  /** Last window values, for the median. */
  readonly recent: ReadonlyArray<number>
  readonly smoothedRtt: ExpAverage.State
  readonly baselineRtt: ExpAverage.State
  /** When the window may close; absent before the first sample. */
  readonly closesAt?: number | undefined
  readonly observations: ReadonlyArray<Observation>
}

/**
 * Starts a limit.
 *
 * **Details**: the defaults of `min`, `initial` and `max`, those of the window, and those of the factors, give way to what
 * is given for another.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const initial = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "FailsafeLimit.initial"
  const limits = OptionCheck.bounds(where, filled, options, 1)
  OptionCheck.nonNegative(where, "minWindowSeconds", filled.minWindowSeconds)
  OptionCheck.positive(where, "maxWindowSeconds", filled.maxWindowSeconds)
  OptionCheck.within(where, "maxFactor", filled.maxFactor, 1, Number.MAX_VALUE)
  OptionCheck.within(where, "minFactor", filled.minFactor, 1, Number.MAX_VALUE)
  const windows = OptionCheck.ordered(where, limits, options, "minWindowSeconds", "maxWindowSeconds")
  const settings = OptionCheck.ordered(where, windows, options, "minFactor", "maxFactor")
  OptionCheck.nonNegative(where, "maxFactorDecay", settings.maxFactorDecay)
  OptionCheck.integer(where, "minSamples", settings.minSamples, 1)
  OptionCheck.between(where, "quantile", settings.quantile, 0, 1)
  OptionCheck.within(where, "baselineAge", settings.baselineAge, 1, Number.MAX_VALUE)
  OptionCheck.integer(where, "correlationWindow", settings.correlationWindow, 2)
  OptionCheck.integer(where, "warmup", settings.warmup, 0)
  OptionCheck.integer(where, "smoothed", settings.smoothed, 1)
  OptionCheck.nonNegative(where, "baselineSeconds", settings.baselineSeconds)
  const baseline = { window: settings.baselineAge, warmup: settings.warmup }
  return {
    settings,
    estimate: settings.initial,
    window: SampleWindow.make(),
    maxInFlight: 0,
    recent: [],
    smoothedRtt: ExpAverage.make({ window: settings.smoothed, warmup: settings.warmup }),
    baselineRtt: settings.baselineSeconds === 0
      ? ExpAverage.make(baseline)
      : ExpAverage.warm(baseline, settings.baselineSeconds),
    observations: []
  }
}

/** Computes the largest limit that `inFlight` calls justify. */
export const maxLimit = (
  settings: Pick<Settings, "maxFactor" | "maxFactorDecay" | "minFactor">,
  inFlight: number
): number =>
  settings.maxFactorDecay === 0 || inFlight <= 0
    ? inFlight * settings.maxFactor
    : inFlight * Math.max(settings.minFactor, settings.maxFactor - settings.maxFactorDecay * Math.log10(inFlight))

/** Holds how two series vary: `r` in [−1, 1], and the coefficient of variation of each. */
export interface Correlation {
  readonly r: number
  readonly cvX: number
  readonly cvY: number
}

/**
 * Computes the correlation of paired values.
 *
 * **Details**: 0 before `warmup` pairs, and where a series varies by less than 1 %: a hair of noise correlates with anything.
 */
export const correlation = (
  pairs: ReadonlyArray<readonly [x: number, y: number]>,
  warmup: number
): Correlation => {
  const n = pairs.length
  if (n < Math.max(2, warmup)) return { r: 0, cvX: 0, cvY: 0 }
  const meanX = pairs.reduce((total, [x]) => total + x, 0) / n
  const meanY = pairs.reduce((total, [, y]) => total + y, 0) / n
  const sdX = Math.sqrt(pairs.reduce((total, [x]) => total + (x - meanX) ** 2, 0) / n)
  const sdY = Math.sqrt(pairs.reduce((total, [, y]) => total + (y - meanY) ** 2, 0) / n)
  const cvX = sdX / meanX
  const cvY = sdY / meanY
  if (!(cvX >= 0.01 && cvY >= 0.01)) return { r: 0, cvX, cvY }
  const covariance = pairs.reduce((total, [x, y]) => total + (x - meanX) * (y - meanY), 0) / n
  return { r: covariance / (sdX * sdY), cvX, cvY }
}

/**
 * Moves the limit with one call.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const sample = (
  state: State,
  event: ConcurrencyLimit.Sample,
  now: number
): readonly [ConcurrencyLimit.Decision, State] => {
  OptionCheck.between("FailsafeLimit.sample", "now", now, -Infinity, Infinity)
  const { settings } = state
  if (event.dropped) return ConcurrencyLimit.decide(state, state, "dropped")
  if (!ConcurrencyLimit.hasLatency(event)) return ConcurrencyLimit.decide(state, state, "no-latency")
  const window = SampleWindow.add(state.window, event.rttSeconds)
  const maxInFlight = Math.max(state.maxInFlight, event.inFlight)
  const collected = { ...state, window, maxInFlight, closesAt: state.closesAt ?? now }
  if (now < collected.closesAt || window.count < settings.minSamples) {
    return ConcurrencyLimit.decide(state, collected, "window-open")
  }
  const recent = [...state.recent, SampleWindow.quantile([window], settings.quantile)].slice(-settings.smoothed)
  const smoothedRtt = ExpAverage.add(state.smoothedRtt, median(recent, settings.smoothed))
  const baselineRtt = ExpAverage.add(state.baselineRtt, smoothedRtt.value)
  const observations = [...state.observations, { inFlight: maxInFlight, rtt: smoothedRtt.value }]
    .slice(-settings.correlationWindow)
  const span = Math.min(settings.maxWindowSeconds, Math.max(settings.minWindowSeconds, window.min * 2))
  const closed = {
    ...state,
    window: SampleWindow.make(),
    maxInFlight: 0,
    recent,
    smoothedRtt,
    baselineRtt,
    observations,
    closesAt: now + span
  }
  const [aimed, reason] = aim(closed, event.inFlight >= Math.floor(state.estimate))
  return bound(state, closed, aimed, reason, maxInFlight)
}

/** Reads the median of a full window; the newest value until it is full. */
const median = (recent: ReadonlyArray<number>, size: number): number => {
  const ordered = recent.length < size ? recent.slice(-1) : [...recent].sort((a, b) => a - b)
  const [middle] = ordered.slice(Math.floor(ordered.length / 2))
  // `sample` adds a value before it asks, so `ordered` is never empty.
  return middle as number
}

const aim = (state: State, full: boolean): readonly [number, ConcurrencyLimit.Reason] => {
  const { baselineRtt, estimate, observations, settings, smoothedRtt } = state
  const lg = ConcurrencyLimit.log10Step(estimate)
  const queue = Rounding.ceil(estimate * (1 - baselineRtt.value / smoothedRtt.value))
  const used = observations.filter((observation) => observation.inFlight > 0)
  const throughput = correlation(used.map((o) => [o.inFlight, o.inFlight / o.rtt]), settings.warmup)
  const latency = correlation(used.map((o) => [o.inFlight, o.rtt]), settings.warmup)
  if (queue > 6 * lg) return [estimate - lg, "long-queue"]
  if (full && throughput.r < 0) return [estimate - lg, "throughput-falls"]
  if (full && throughput.r < 0.3 && latency.r > 0.5) return [estimate - lg, "latency-rises"]
  if (full && throughput.cvY < 0.2 && latency.r > 0.5) return [estimate - lg, "throughput-flat"]
  if (queue < 3 * lg) return [estimate + lg, "short-queue"]
  return [estimate, "queue-in-bounds"]
}

const bound = (
  before: State,
  closed: State,
  aimed: number,
  aimedFor: ConcurrencyLimit.Reason,
  inFlight: number
): readonly [ConcurrencyLimit.Decision, State] => {
  const { estimate, settings } = before
  const justified = maxLimit(settings, inFlight)
  let target = aimed
  let reason = aimedFor
  if (aimed > justified) {
    // Fall gradually: what is in flight fluctuates.
    target = estimate > justified ? Math.min(aimed, estimate - ConcurrencyLimit.log10Step(estimate)) : justified
    reason = "above-in-flight"
  }
  return ConcurrencyLimit.move(before, closed, target, reason)
}
