/**
 * The token bucket in one number: the generic cell rate algorithm.
 *
 * It keeps the theoretical arrival time (`tat`) at which the bucket would be
 * full again. With `T = 1/rate` and `τ = (burst − 1)·T`, a cost `n` at time `t`
 * makes `next = max(tat, t) + n·T`, and passes when `next − τ − T ≤ t`. Every
 * answer equals the one of a `TokenBucket` of the same rate and burst, up to the
 * rounding of the clock; one number is easier to keep in a shared store.
 *
 * ```ts
 * import { Gcra } from "effect-together/policy"
 *
 * const limiter = Gcra.make({ ratePerSecond: 1, burst: 3 })
 * const [first, rest] = Gcra.take(limiter, 2, 0)
 * first // => { _tag: "Granted", remaining: 1, reason: "conforming" }
 * Gcra.take(rest, 2, 0.5)[0] // => { _tag: "Wait", seconds: 0.5, reason: "too-early" }
 * ```
 *
 * **Source**: ITU-T I.371; brandur.org/rate-limiting. The three rules of
 * `TokenBucket` (tolerance, shortest wait, oversize) hold here too.
 */
import { quantumSeconds, tolerance } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a limiter. */
export interface Options {
  /** Cells per second, > 0. */
  readonly ratePerSecond: number
  /** Cells that may pass at once, >= 1. */
  readonly burst: number
  /** What happens to a cost above the burst. Default `borrow`. */
  readonly oversize?: "borrow" | "reject" | undefined
}

/** Lists the defaults of the options that have one. */
export const defaults = { oversize: "borrow" } as const

/** Holds a limiter. */
export interface State {
  readonly ratePerSecond: number
  readonly burst: number
  readonly oversize: "borrow" | "reject"
  /** Theoretical arrival time: when the bucket would be full. */
  readonly tat: number
}

/** Says whether the cells may pass. */
export type Decision =
  | { readonly _tag: "Granted"; readonly remaining: number; readonly reason: "conforming" | "borrowed" }
  | { readonly _tag: "Wait"; readonly seconds: number; readonly reason: "too-early" | "filling-for-oversize" }
  | { readonly _tag: "Oversize"; readonly burst: number; readonly reason: "cost-exceeds-burst" }

/**
 * Makes a limiter with its full burst.
 *
 * **Errors**: throws `RangeError` for an option out of range. So do `wait` and `take` for a time or a cost that is not
 * finite: it would let everything pass for ever.
 */
export const make = (options: Options, now = 0): State => ({
  ratePerSecond: OptionCheck.positive("Gcra.make", "ratePerSecond", options.ratePerSecond),
  burst: OptionCheck.within("Gcra.make", "burst", options.burst, 1, Number.MAX_VALUE),
  oversize: OptionCheck.oneOf("Gcra.make", "oversize", options.oversize ?? defaults.oversize, ["borrow", "reject"]),
  tat: OptionCheck.between("Gcra.make", "now", now, -Infinity, Infinity)
})

/** Reads the cells that may pass at `now`: below 0 while a debt is waited off. */
export const remaining = (state: State, now: number): number =>
  state.burst - (Math.max(state.tat, now) - now) * state.ratePerSecond

const neverPasses = (state: State, cost: number): boolean => cost > state.burst && state.oversize === "reject"

const waitToPass = (state: State, cost: number, now: number): number => {
  const interval = 1 / state.ratePerSecond
  const early = Math.max(state.tat, now) + Math.min(cost, state.burst) * interval - state.burst * interval - now
  return early <= tolerance(state.ratePerSecond, now) * interval ? 0 : Math.max(quantumSeconds, early)
}

/**
 * Computes the wait until `cost` cells can pass: 0 when they can now, `Infinity` when they never can.
 *
 * **Details**: `next − τ − T − t`. Any other wait is at least `quantumSeconds`.
 */
export const wait = (state: State, cost: number, now: number): number => {
  OptionCheck.nonNegative("Gcra.wait", "cost", cost)
  OptionCheck.between("Gcra.wait", "now", now, -Infinity, Infinity)
  return neverPasses(state, cost) ? Number.POSITIVE_INFINITY : waitToPass(state, cost, now)
}

/** Lets `cost` cells pass, or says how long to wait before asking again. */
export const take = (state: State, cost: number, now: number): readonly [Decision, State] => {
  OptionCheck.nonNegative("Gcra.take", "cost", cost)
  OptionCheck.between("Gcra.take", "now", now, -Infinity, Infinity)
  if (neverPasses(state, cost)) {
    return [{ _tag: "Oversize", burst: state.burst, reason: "cost-exceeds-burst" }, state]
  }
  const seconds = waitToPass(state, cost, now)
  const oversize = cost > state.burst
  if (seconds > 0) {
    return [{ _tag: "Wait", seconds, reason: oversize ? "filling-for-oversize" : "too-early" }, state]
  }
  const next = { ...state, tat: Math.max(state.tat, now) + cost / state.ratePerSecond }
  return [{ _tag: "Granted", remaining: remaining(next, now), reason: oversize ? "borrowed" : "conforming" }, next]
}
