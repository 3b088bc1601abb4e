/**
 * Concurrency by the queue that the latency betrays.
 *
 * With the lowest latency seen as the latency without a queue,
 * `queue = ⌈L·(1 − minRtt/rtt)⌉` calls wait somewhere. Let `lg = max(1, ⌊log10 L⌋)`:
 *
 * | queue | limit |
 * | --- | --- |
 * | `≤ lg` | `+ 6·lg` |
 * | `< 3·lg` | `+ lg` |
 * | `≤ 6·lg` | holds |
 * | `> 6·lg`, or a drop | `− lg` |
 *
 * The lowest latency is learned anew every `U(0.5, 1)·30·L` samples, never from a drop.
 *
 * ```ts
 * import { VegasLimit } from "effect-together/policy"
 *
 * VegasLimit.queueSize(20, 0.1, 0.2) // => 10
 * const [, limit] = VegasLimit.sample(VegasLimit.initial(), { rttSeconds: 0.1, inFlight: 20, dropped: false }, 0, 0.5)
 * VegasLimit.sample(limit, { rttSeconds: 0.2, inFlight: 20, dropped: false }, 1, 0.5)[0]
 * // => { _tag: "Lowered", from: 20, to: 19, reason: "long-queue" }
 * ```
 *
 * **Source**: Netflix concurrency-limits `VegasLimit`; Brakmo and Peterson, "TCP Vegas" (1995). One deviation: a dropped
 * call always lowers the limit, and its latency is not read; upstream takes the one of a fast refusal for the latency
 * without a queue, so that every answer after it looks like a queue.
 *
 * **Gotchas**: as `Gradient2Limit`, unsound on total latency of a language model.
 */
import * as ConcurrencyLimit from "./ConcurrencyLimit.ts"
import * as OptionCheck from "../OptionCheck.ts"
import * as Rounding from "../Rounding.ts"

/** Configures a limit. Numbers of calls may be given in place of the functions of `lg`. */
export interface Options {
  /** Limit at the start, >= 1. Default 20. */
  readonly initial?: number | undefined
  /** Largest limit, >= 1. Default 1000. */
  readonly max?: number | undefined
  /** Weight of each new value, in (0, 1]. Default 1. */
  readonly smoothing?: number | undefined
  /** Samples between two measurements of the lowest latency, as a multiple of the limit, > 0. Default 30. */
  readonly probeMultiplier?: number | undefined
  /** Queue below which the limit grows by `lg`, >= 0. Default `3·lg`. */
  readonly alpha?: number | undefined
  /** Queue above which the limit shrinks, and the step when there is no queue, >= 0. Default `6·lg`. */
  readonly beta?: number | undefined
  /** Queue up to which the limit grows by `beta`, >= 0. Default `lg`. */
  readonly threshold?: number | undefined
  /** Share that a decrease keeps, in (0, 1), in place of the step `lg`. */
  readonly decreaseRatio?: number | undefined
}

/** Holds the options: the last four only when given. */
export interface Settings {
  readonly initial: number
  readonly max: number
  readonly smoothing: number
  readonly probeMultiplier: number
  readonly alpha?: number | undefined
  readonly beta?: number | undefined
  readonly threshold?: number | undefined
  readonly decreaseRatio?: number | undefined
}

/** Lists the defaults of the options that have a plain one. */
export const defaults: Settings = { initial: 20, max: 1000, smoothing: 1, probeMultiplier: 30 }

/** Holds a limit. */
export interface State extends ConcurrencyLimit.Estimated {
  readonly settings: Settings
  /** Lowest latency in seconds; 0 before the first sample. */
  readonly minRtt: number
  /** Samples since the lowest latency was last learned anew. */
  readonly probeCount: number
  /** Drawn spread of the next measurement, in [0.5, 1); 0 before the first sample. */
  readonly probeJitter: number
}

/**
 * Starts a limit.
 *
 * **Details**: the defaults of `initial` and `max` give way to what is given for another.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const initial = (options: Options = {}): State => {
  const filled = OptionCheck.resolve<Settings>(defaults, options)
  const where = "VegasLimit.initial"
  OptionCheck.within(where, "max", filled.max, 1, Number.MAX_VALUE)
  OptionCheck.within(where, "initial", filled.initial, 1, Number.MAX_VALUE)
  const settings = OptionCheck.ordered(where, filled, options, "initial", "max")
  OptionCheck.above(where, "smoothing", settings.smoothing, 0, 1)
  OptionCheck.positive(where, "probeMultiplier", settings.probeMultiplier)
  if (settings.alpha !== undefined) OptionCheck.nonNegative(where, "alpha", settings.alpha)
  if (settings.beta !== undefined) OptionCheck.nonNegative(where, "beta", settings.beta)
  if (settings.threshold !== undefined) OptionCheck.nonNegative(where, "threshold", settings.threshold)
  if (settings.decreaseRatio !== undefined) OptionCheck.between(where, "decreaseRatio", settings.decreaseRatio, 0, 1)
  return { settings, estimate: settings.initial, minRtt: 0, probeCount: 0, probeJitter: 0 }
}

/** Computes the queue: how many of `limit` calls wait. */
export const queueSize = (limit: number, minRtt: number, rtt: number): number =>
  Rounding.ceil(limit * (1 - minRtt / rtt))

/** Moves the limit with one call. */
export const sample = (
  state: State,
  event: ConcurrencyLimit.Sample,
  _now: number,
  random: number
): readonly [ConcurrencyLimit.Decision, State] => {
  const { estimate, settings } = state
  const rtt = event.rttSeconds
  if (event.dropped) return move(state, { ...state, probeCount: state.probeCount + 1 }, lower(state), "dropped")
  if (!ConcurrencyLimit.hasLatency(event)) return ConcurrencyLimit.decide(state, state, "no-latency")
  const probeJitter = state.probeJitter === 0 ? 0.5 + random / 2 : state.probeJitter
  const counted = { ...state, probeCount: state.probeCount + 1, probeJitter }
  if (probeJitter * settings.probeMultiplier * estimate <= counted.probeCount) {
    const renewed = { ...counted, minRtt: rtt, probeCount: 0, probeJitter: 0.5 + random / 2 }
    return ConcurrencyLimit.decide(state, renewed, "min-rtt-updated")
  }
  if (state.minRtt === 0 || rtt < state.minRtt) {
    return ConcurrencyLimit.decide(state, { ...counted, minRtt: rtt }, "min-rtt-updated")
  }
  if (event.inFlight * 2 < estimate) return ConcurrencyLimit.decide(state, counted, "unsaturated")
  return move(state, counted, ...aim(state, rtt))
}

/** Moves towards a target, as far as the smoothing and the bounds let it. */
const move = (
  before: State,
  counted: State,
  target: number,
  reason: ConcurrencyLimit.Reason
): readonly [ConcurrencyLimit.Decision, State] => {
  const { estimate, settings } = before
  const bounded = Math.max(1, Math.min(settings.max, target))
  const next = (1 - settings.smoothing) * estimate + settings.smoothing * bounded
  const why = next === estimate && target !== estimate ? (target > estimate ? "at-max" : "at-min") : reason
  return ConcurrencyLimit.decide(before, { ...counted, estimate: next }, why)
}

const lower = ({ estimate, settings }: State): number =>
  settings.decreaseRatio === undefined
    ? estimate - ConcurrencyLimit.log10Step(estimate)
    : estimate * settings.decreaseRatio

const aim = (state: State, rtt: number): readonly [number, ConcurrencyLimit.Reason] => {
  const { estimate, settings } = state
  const lg = ConcurrencyLimit.log10Step(estimate)
  const alpha = settings.alpha ?? 3 * lg
  const beta = settings.beta ?? 6 * lg
  const threshold = settings.threshold ?? lg
  const queue = queueSize(estimate, state.minRtt, rtt)
  if (queue <= threshold) return [estimate + beta, "no-queue"]
  if (queue < alpha) return [estimate + lg, "short-queue"]
  if (queue > beta) return [lower(state), "long-queue"]
  return [estimate, "queue-in-bounds"]
}
