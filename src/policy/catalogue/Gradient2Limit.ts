/**
 * Concurrency by the ratio of long-term to present latency.
 *
 * ```text
 * long = ExpAverage(600, warm-up 10);  if long/rtt > 2: long ·= 0.95
 * inFlight < L/2: hold
 * g  = clamp(tolerance·long/rtt, 0.5, 1)
 * L' = L·g + queue;   L = clamp(L·(1 − s) + L'·s, min, max)
 * ```
 *
 * Latency up to `tolerance` times the long-term mean is no reason to slow down;
 * `queue` extra calls let the limit grow.
 *
 * ```ts
 * import { Gradient2Limit } from "effect-together/policy"
 *
 * let limit = Gradient2Limit.initial()
 * for (let i = 0; i < 12; i++) [, limit] = Gradient2Limit.sample(limit, { rttSeconds: 0.1, inFlight: 20, dropped: false })
 * Gradient2Limit.sample(limit, { rttSeconds: 0.3, inFlight: 30, dropped: false })[0]
 * // => { _tag: "Lowered", from: 29, to: 27, reason: "gradient" }
 * ```
 *
 * **Source**: Netflix concurrency-limits `Gradient2Limit`. One deviation: a dropped call holds the limit and leaves the
 * average alone; upstream reads its latency like any other, so that a fast refusal raises the limit.
 *
 * **Gotchas**: do not feed it the total latency of a language model: it varies with the length of the answer.
 */
import * as ConcurrencyLimit from "./ConcurrencyLimit.ts"
import * as ExpAverage from "./ExpAverage.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a limit. */
export interface Options {
  /** Limit at the start, >= 1. Default 20. */
  readonly initial?: number | undefined
  /** Smallest limit, >= 1. Default 20. */
  readonly min?: number | undefined
  /** Largest limit, >= 1. Default 200. */
  readonly max?: number | undefined
  /** Calls that may queue, >= 0: the drive to grow. Default 4. */
  readonly queue?: number | undefined
  /** Weight of each new value, in (0, 1]. Default 0.2. */
  readonly smoothing?: number | undefined
  /** Latency, as a multiple of the long-term mean, that is still fine, >= 1. Default 1.5. */
  readonly tolerance?: number | undefined
  /** Samples that the long-term mean remembers, >= 1. Default 600. */
  readonly longWindow?: number | undefined
  /** Samples that are averaged plainly first, an integer >= 0. Default 10. */
  readonly warmup?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  initial: 20,
  min: 20,
  max: 200,
  queue: 4,
  smoothing: 0.2,
  tolerance: 1.5,
  longWindow: 600,
  warmup: 10
}

/** Holds a limit. */
export interface State extends ConcurrencyLimit.Estimated {
  readonly settings: Settings
  /** Long-term mean latency, in seconds. */
  readonly longRtt: ExpAverage.State
}

/**
 * Starts a limit.
 *
 * **Details**: the defaults of `min`, `initial` and `max` give way to what is given for another.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const initial = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "Gradient2Limit.initial"
  OptionCheck.within(where, "min", filled.min, 1, Number.MAX_VALUE)
  OptionCheck.within(where, "max", filled.max, 1, Number.MAX_VALUE)
  OptionCheck.within(where, "initial", filled.initial, 1, Number.MAX_VALUE)
  const settings = OptionCheck.ordered(where, filled, options, "min", "initial", "max")
  OptionCheck.nonNegative(where, "queue", settings.queue)
  OptionCheck.above(where, "smoothing", settings.smoothing, 0, 1)
  OptionCheck.within(where, "tolerance", settings.tolerance, 1, Number.MAX_VALUE)
  OptionCheck.within(where, "longWindow", settings.longWindow, 1, Number.MAX_VALUE)
  OptionCheck.integer(where, "warmup", settings.warmup, 0)
  return {
    settings,
    estimate: settings.initial,
    longRtt: ExpAverage.make({ window: settings.longWindow, warmup: settings.warmup })
  }
}

/** Moves the limit with one call. */
export const sample = (
  state: State,
  event: ConcurrencyLimit.Sample
): readonly [ConcurrencyLimit.Decision, State] => {
  const { estimate, settings } = state
  const rtt = event.rttSeconds
  if (event.dropped) return ConcurrencyLimit.decide(state, state, "dropped")
  if (!ConcurrencyLimit.hasLatency(event)) return ConcurrencyLimit.decide(state, state, "no-latency")
  const averaged = ExpAverage.add(state.longRtt, rtt)
  const ratio = averaged.value / rtt
  // After an incident the mean is far above the truth: let it fall faster than the window would.
  const longRtt = ratio > 2 ? ExpAverage.set(averaged, averaged.value * 0.95) : averaged
  if (event.inFlight < estimate / 2) return ConcurrencyLimit.decide(state, { ...state, longRtt }, "unsaturated")
  const gradient = Math.max(0.5, Math.min(1, settings.tolerance * ratio))
  const target = estimate * gradient + settings.queue
  const smoothed = estimate * (1 - settings.smoothing) + target * settings.smoothing
  return ConcurrencyLimit.move(state, { ...state, longRtt }, smoothed, "gradient")
}
