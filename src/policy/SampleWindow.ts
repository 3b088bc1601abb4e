/**
 * A bounded set of samples of one window, good for quantiles.
 *
 * Up to `capacity` samples are kept as they are. When it is full every other
 * sample is dropped and from then on only every second, fourth, … one is kept:
 * memory stays bounded, the kept samples stay spread over the whole window, and
 * no random number is needed.
 *
 * ```ts
 * import { SampleWindow } from "effect-together/policy"
 *
 * const window = [5, 1, 4, 2, 3].reduce(SampleWindow.add, SampleWindow.make())
 * SampleWindow.quantile([window], 0.5) // => 3
 * ```
 *
 * **Details**: with 512 kept samples a quantile `q` is off by about `√(q(1−q)/512)` in rank: 1.3 % at p90, 0.4 % at p99.
 */
import * as OptionCheck from "./OptionCheck.ts"

/** Holds the samples of a window. */
export interface State {
  readonly capacity: number
  /** Kept samples, in order of arrival. */
  readonly values: ReadonlyArray<number>
  /** One of how many samples is kept. */
  readonly stride: number
  /** Samples seen. */
  readonly count: number
  /** Smallest sample seen; `Infinity` before the first. */
  readonly min: number
}

/** Makes an empty window that keeps at most `capacity` samples, an even number. */
export const make = (capacity = 512): State => ({
  capacity: 2 * OptionCheck.integer("SampleWindow.make", "capacity / 2", capacity / 2, 1),
  values: [],
  stride: 1,
  count: 0,
  min: Number.POSITIVE_INFINITY
})

/** Adds a sample; one that is no number is left out, for it has no place in the order. */
export const add = (state: State, sample: number): State => {
  if (Number.isNaN(sample)) return state
  const count = state.count + 1
  const min = Math.min(state.min, sample)
  if (state.count % state.stride !== 0) return { ...state, count, min }
  const values = [...state.values, sample]
  return values.length < state.capacity
    ? { ...state, values, count, min }
    : { ...state, values: values.filter((_, i) => i % 2 === 0), stride: state.stride * 2, count, min }
}

/**
 * Reads a quantile of one or several windows by nearest rank: `NaN` when they hold nothing.
 *
 * **Details**: a sample of a window that was thinned counts for as many as it stands for.
 */
export const quantile = (windows: ReadonlyArray<State>, q: number): number => {
  const weighted = windows.flatMap((window) => window.values.map((value) => ({ value, weight: window.stride })))
  weighted.sort((a, b) => a.value - b.value)
  const target = weighted.reduce((total, sample) => total + sample.weight, 0) * q
  let passed = 0
  let result = Number.NaN
  for (const { value, weight } of weighted) {
    result = value
    passed += weight
    if (passed >= target - 1e-9) break
  }
  return result
}
