/**
 * An exponential moving average that starts as a plain mean.
 *
 * The first `warmup` samples are averaged plainly, then each sample `x` moves
 * the value by `2/(window + 1)` of the distance: `v ← v·(1 − f) + x·f`.
 *
 * ```ts
 * import { ExpAverage } from "effect-together/policy"
 *
 * const warming = [10, 20].reduce(ExpAverage.add, ExpAverage.make({ window: 3, warmup: 2 }))
 * warming.value // => 15
 * ExpAverage.add(warming, 25).value // => 20
 * ```
 *
 * **Source**: Netflix concurrency-limits `ExpAvgMeasurement` (its `reset` forgets to clear the sum of the warm-up;
 * here a reset is a new `make`); failsafe-go's moving average is the same rule.
 */
import * as OptionCheck from "../OptionCheck.ts"

/** Holds an average. */
export interface State {
  /** Samples the average remembers, about. */
  readonly window: number
  /** Samples that are averaged plainly first. */
  readonly warmup: number
  /** Samples seen, counted up to `warmup`. */
  readonly count: number
  /** Sum of the warm-up. */
  readonly sum: number
  readonly value: number
}

/**
 * Makes an average that has seen nothing; its value is 0 until the first sample.
 *
 * **Errors**: throws `RangeError` for a window below 1 or a warm-up below 0.
 */
export const make = (options: { readonly window: number; readonly warmup: number }): State => ({
  window: OptionCheck.within("ExpAverage.make", "window", options.window, 1, Number.MAX_VALUE),
  warmup: OptionCheck.integer("ExpAverage.make", "warmup", options.warmup, 0),
  count: 0,
  sum: 0,
  value: 0
})

/** Makes an average whose warm-up is over and whose value is known. */
export const warm = (
  options: { readonly window: number; readonly warmup: number },
  value: number
): State => ({ ...make(options), count: options.warmup, sum: options.warmup * value, value })

/** Adds a sample; one that is not finite is left out, for the average would never forget it. */
export const add = (state: State, sample: number): State => {
  if (!Number.isFinite(sample)) return state
  if (state.count < state.warmup) {
    const count = state.count + 1
    const sum = state.sum + sample
    return { ...state, count, sum, value: sum / count }
  }
  const factor = 2 / (state.window + 1)
  return { ...state, value: state.value * (1 - factor) + sample * factor }
}

/** Replaces the value, and nothing else. */
export const set = (state: State, value: number): State => ({ ...state, value })
