/**
 * What a circuit breaker remembers: the last N calls, or the calls of the last N seconds.
 *
 * A `Count` window is a ring of outcomes. A `Time` window is a row of one-second
 * buckets on the calendar of the clock: the bucket of second `s` holds all calls
 * with `⌊now⌋ = s`. Both expire by time, also when nothing happens: a window
 * that moves only when a call ends judges today's backend by yesterday's calls.
 *
 * ```ts
 * import { BreakerWindow } from "effect-together/policy"
 *
 * const failed = { failed: true, slow: false, durationSeconds: 1 }
 * const window = BreakerWindow.add(BreakerWindow.make({ _tag: "Time", seconds: 5 }), failed, 0)
 * BreakerWindow.totals(window, 4.9) // => { calls: 1, failures: 1, slow: 0, durationSeconds: 1 }
 * BreakerWindow.totals(window, 5) // => { calls: 0, failures: 0, slow: 0, durationSeconds: 0 }
 * ```
 *
 * **Source**: resilience4j `FixedSizeSlidingWindowMetrics` and `SlidingTimeWindowMetrics`; the expiry of an idle ring is ours.
 */
import { periods } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Chooses what is remembered. */
export type Kind =
  | {
    readonly _tag: "Count"
    /** Calls that are kept, >= 1. */
    readonly size: number
    /** Seconds without a call after which all are forgotten; `Infinity` for never. */
    readonly idleSeconds: number
  }
  | {
    readonly _tag: "Time"
    /** Seconds that are kept, an integer >= 1. */
    readonly seconds: number
  }

/** Sums calls up. */
export interface Totals {
  readonly calls: number
  readonly failures: number
  /** Calls over the slow threshold, failed or not. */
  readonly slow: number
  readonly durationSeconds: number
}

/** Describes one call that ended. */
export interface Outcome {
  readonly failed: boolean
  readonly slow: boolean
  /** How long it took; the call counts, but adds no time, when that is not finite. */
  readonly durationSeconds: number
}

/** Holds a window. */
export type State =
  | {
    readonly _tag: "Count"
    readonly size: number
    readonly idleSeconds: number
    /** Outcomes, oldest first. */
    readonly outcomes: ReadonlyArray<Outcome>
    readonly totals: Totals
    readonly lastAt: number
  }
  | {
    readonly _tag: "Time"
    readonly seconds: number
    /** Buckets that are not over, oldest first. */
    readonly buckets: ReadonlyArray<Totals & { readonly second: number }>
  }

/** Holds nothing. */
export const none: Totals = { calls: 0, failures: 0, slow: 0, durationSeconds: 0 }

/**
 * Makes an empty window.
 *
 * **Errors**: throws `RangeError` for a size out of range.
 */
export const make = (kind: Kind): State => {
  if (kind._tag === "Time") {
    const seconds = OptionCheck.integer("BreakerWindow.make", "seconds", kind.seconds, 1)
    return { _tag: "Time", seconds, buckets: [] }
  }
  OptionCheck.positive("BreakerWindow.make", "idleSeconds", Math.min(kind.idleSeconds, Number.MAX_VALUE))
  return {
    _tag: "Count",
    size: OptionCheck.integer("BreakerWindow.make", "size", kind.size, 1),
    idleSeconds: kind.idleSeconds,
    outcomes: [],
    totals: none,
    lastAt: Number.NEGATIVE_INFINITY
  }
}

const took = (outcome: Outcome): number => Number.isFinite(outcome.durationSeconds) ? outcome.durationSeconds : 0

/** Adds one call to a sum. */
export const plus = (sum: Totals, outcome: Outcome): Totals => ({
  calls: sum.calls + 1,
  failures: sum.failures + (outcome.failed ? 1 : 0),
  slow: sum.slow + (outcome.slow ? 1 : 0),
  durationSeconds: sum.durationSeconds + took(outcome)
})

/** Sums a ring anew: to subtract what leaves it would lose small times beside large ones. */
const sumUp = (outcomes: ReadonlyArray<Outcome>): Totals => {
  let failures = 0
  let slow = 0
  let durationSeconds = 0
  for (const outcome of outcomes) {
    if (outcome.failed) failures++
    if (outcome.slow) slow++
    durationSeconds += took(outcome)
  }
  return { calls: outcomes.length, failures, slow, durationSeconds }
}

const expire = <S extends State>(state: S, now: number): S => {
  if (state._tag === "Time") {
    // A clock that was set back leaves buckets of the future: they are as far away as old ones.
    const second = periods(0, now, 1)
    return { ...state, buckets: state.buckets.filter((bucket) => Math.abs(second - bucket.second) < state.seconds) }
  }
  return Math.abs(now - state.lastAt) > state.idleSeconds ? { ...state, outcomes: [], totals: none } : state
}

/** Adds a call that ended at `now`. */
export const add = (state: State, outcome: Outcome, now: number): State => {
  const current = expire(state, now)
  if (current._tag === "Time") {
    const second = periods(0, now, 1)
    const buckets = current.buckets.some((bucket) => bucket.second === second)
      ? current.buckets.map((bucket) => bucket.second === second ? { ...plus(bucket, outcome), second } : bucket)
      : [...current.buckets, { ...plus(none, outcome), second }]
    return { ...current, buckets }
  }
  const full = current.outcomes.length >= current.size
  const outcomes = [...(full ? current.outcomes.slice(1) : current.outcomes), outcome]
  return { ...current, outcomes, totals: full ? sumUp(outcomes) : plus(current.totals, outcome), lastAt: now }
}

/** Sums up what the window holds at `now`. */
export const totals = (state: State, now: number): Totals => {
  const current = expire(state, now)
  if (current._tag === "Count") return current.totals
  return current.buckets.reduce<Totals>(
    (sum, bucket) => ({
      calls: sum.calls + bucket.calls,
      failures: sum.failures + bucket.failures,
      slow: sum.slow + bucket.slow,
      durationSeconds: sum.durationSeconds + bucket.durationSeconds
    }),
    none
  )
}

/** Computes the share of failed calls; 0 when there are none. */
export const failureRate = (sum: Totals): number => sum.calls === 0 ? 0 : sum.failures / sum.calls

/** Computes the share of slow calls; 0 when there are none. */
export const slowRate = (sum: Totals): number => sum.calls === 0 ? 0 : sum.slow / sum.calls
