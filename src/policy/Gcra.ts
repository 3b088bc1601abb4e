/**
 * The token bucket in one number: the generic cell rate algorithm.
 *
 * It keeps the theoretical arrival time (`tat`) at which the bucket would be
 * full again. With `T = 1/rate` and `τ = (burst − 1)·T`, a cost `n` at time `t`
 * makes `next = max(tat, t) + n·T`, and passes when `next − τ − T ≤ t`. Every
 * answer equals the one of a `TokenBucket` of the same rate and burst; one
 * number is easier to keep in a shared store.
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
 * `TokenBucket` (epsilon, shortest wait, oversize) hold here too.
 */
import * as OptionCheck from "./OptionCheck.ts"
import { epsilon, quantumSeconds } from "./TokenBucket.ts"

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
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options, now = 0): State => ({
  ratePerSecond: OptionCheck.positive("Gcra.make", "ratePerSecond", options.ratePerSecond),
  burst: OptionCheck.within("Gcra.make", "burst", options.burst, 1, Number.MAX_VALUE),
  oversize: OptionCheck.oneOf("Gcra.make", "oversize", options.oversize ?? defaults.oversize, ["borrow", "reject"]),
  tat: now
})

/** Reads the cells that may pass at `now`: below 0 while a debt is waited off. */
export const remaining = (state: State, now: number): number =>
  state.burst - (Math.max(state.tat, now) - now) * state.ratePerSecond

/** Lets `cost` cells pass, or says how long to wait before asking again. */
export const take = (state: State, cost: number, now: number): readonly [Decision, State] => {
  OptionCheck.nonNegative("Gcra.take", "cost", cost)
  const interval = 1 / state.ratePerSecond
  const oversize = cost > state.burst
  if (oversize && state.oversize === "reject") {
    return [{ _tag: "Oversize", burst: state.burst, reason: "cost-exceeds-burst" }, state]
  }
  const at = Math.max(state.tat, now)
  const early = at + Math.min(cost, state.burst) * interval - state.burst * interval - now
  if (early > epsilon * interval) {
    const reason = oversize ? "filling-for-oversize" : "too-early"
    return [{ _tag: "Wait", seconds: Math.max(quantumSeconds, early), reason }, state]
  }
  const next = { ...state, tat: at + cost * interval }
  return [{ _tag: "Granted", remaining: remaining(next, now), reason: oversize ? "borrowed" : "conforming" }, next]
}
