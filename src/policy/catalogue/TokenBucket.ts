/**
 * A bucket of tokens that fills at a rate: the plain limiter, with the three rules that keep it honest.
 *
 * ```text
 * tokens = min(capacity, tokens + Δt·rate)      grant n when tokens + tolerance ≥ n
 * ```
 *
 * Over any span of `w` seconds at most `capacity + rate·w` is granted.
 *
 * The three rules. Float sums leave shortfalls of 1e-16 tokens, times since 1970
 * shortfalls of `rate·1e-7`, and a wait of 1e-16 s does not move a clock: a grant
 * overlooks `tolerance`, and no wait is shorter than `quantumSeconds`. A cost above the capacity can never fit, and
 * must never become an endless wait: `oversize: "borrow"` lets it in when the
 * bucket is full and leaves a debt that later callers wait off; `"reject"`
 * says `Oversize` at once. And a decision to wait debits nothing: ask again.
 *
 * Choose `capacity` = `max(1, 0.1·rate)` against a server that counts strictly
 * per second, `0.5·rate` against a server with a burst of its own: with
 * `capacity = rate` a one-second window sees twice the rate.
 *
 * ```ts
 * import { TokenBucket } from "effect-together/policy"
 *
 * const bucket = TokenBucket.make({ capacity: 3, refillPerSecond: 1 })
 * const [first, rest] = TokenBucket.take(bucket, 2, 0)
 * first // => { _tag: "Granted", remaining: 1, reason: "in-stock" }
 * TokenBucket.take(rest, 2, 0.5)[0] // => { _tag: "Wait", seconds: 0.5, reason: "short" }
 * ```
 *
 * **Source**: the textbook bucket; `xapi-project/xen-api` for borrowing.
 */
import { quantumSeconds, tolerance } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

export { epsilon, quantumSeconds, tolerance } from "../ClockTick.ts"

/** Configures a bucket. */
export interface Options {
  /** Most tokens the bucket holds, > 0. */
  readonly capacity: number
  /** Tokens added per second, > 0. */
  readonly refillPerSecond: number
  /** Tokens at the start, in (-Infinity, capacity]. Default: `capacity`. */
  readonly initial?: number | undefined
  /** What happens to a cost above the capacity. Default `borrow`, as per-second limits need. */
  readonly oversize?: "borrow" | "reject" | undefined
}

/** Lists the defaults of the options that have one. */
export const defaults = { oversize: "borrow" } as const

/** Holds a bucket. */
export interface State {
  readonly capacity: number
  readonly refillPerSecond: number
  readonly oversize: "borrow" | "reject"
  /** Tokens at `updatedAt`; below 0 while a debt is waited off. */
  readonly tokens: number
  readonly updatedAt: number
}

/** Says whether the tokens were taken. */
export type Decision =
  | { readonly _tag: "Granted"; readonly remaining: number; readonly reason: "in-stock" | "borrowed" }
  | { readonly _tag: "Wait"; readonly seconds: number; readonly reason: "short" | "in-debt" | "filling-for-oversize" }
  | { readonly _tag: "Oversize"; readonly capacity: number; readonly reason: "cost-exceeds-capacity" }

/**
 * Makes a bucket.
 *
 * **Errors**: throws `RangeError` for an option out of range. So does every function here for a time, a cost or an
 * amount that is not finite: it would grant for ever.
 */
export const make = (options: Options, now = 0): State => {
  const where = "TokenBucket.make"
  const capacity = OptionCheck.positive(where, "capacity", options.capacity)
  return {
    capacity,
    refillPerSecond: OptionCheck.positive(where, "refillPerSecond", options.refillPerSecond),
    oversize: OptionCheck.oneOf(where, "oversize", options.oversize ?? defaults.oversize, ["borrow", "reject"]),
    tokens: OptionCheck.above(where, "initial", options.initial ?? capacity, -Infinity, capacity),
    updatedAt: OptionCheck.between(where, "now", now, -Infinity, Infinity)
  }
}

const fill = (where: string, state: State, now: number): State => {
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  if (now <= state.updatedAt) return state
  const tokens = Math.min(state.capacity, state.tokens + (now - state.updatedAt) * state.refillPerSecond)
  return { ...state, tokens, updatedAt: now }
}

/** Fills the bucket up to `now`. A clock that steps back adds nothing and takes nothing. */
export const refill = (state: State, now: number): State => fill("TokenBucket.refill", state, now)

/** Reads the tokens in the bucket at `now`. */
export const available = (state: State, now: number): number => fill("TokenBucket.available", state, now).tokens

const neverFits = (state: State, cost: number): boolean => cost > state.capacity && state.oversize === "reject"

const waitFilled = (state: State, cost: number, now: number): number => {
  const missing = Math.min(cost, state.capacity) - state.tokens
  return missing <= tolerance(state.refillPerSecond, now)
    ? 0
    : Math.max(quantumSeconds, missing / state.refillPerSecond)
}

/**
 * Computes the wait until `cost` can be granted: 0 when it can now, `Infinity` when it never can.
 *
 * **Details**: any other wait is at least `quantumSeconds`.
 */
export const wait = (state: State, cost: number, now: number): number => {
  const where = "TokenBucket.wait"
  OptionCheck.nonNegative(where, "cost", cost)
  const filled = fill(where, state, now)
  return neverFits(filled, cost) ? Number.POSITIVE_INFINITY : waitFilled(filled, cost, now)
}

/** Takes `cost` tokens, or says how long to wait before asking again. */
export const take = (state: State, cost: number, now: number): readonly [Decision, State] => {
  const where = "TokenBucket.take"
  OptionCheck.nonNegative(where, "cost", cost)
  const filled = fill(where, state, now)
  if (neverFits(filled, cost)) {
    return [{ _tag: "Oversize", capacity: filled.capacity, reason: "cost-exceeds-capacity" }, filled]
  }
  const seconds = waitFilled(filled, cost, now)
  const oversize = cost > filled.capacity
  if (seconds > 0) {
    const reason = filled.tokens < 0 ? "in-debt" : oversize ? "filling-for-oversize" : "short"
    return [{ _tag: "Wait", seconds, reason }, filled]
  }
  const tokens = filled.tokens - cost
  return [{ _tag: "Granted", remaining: tokens, reason: oversize ? "borrowed" : "in-stock" }, { ...filled, tokens }]
}

/** Gives tokens back, or takes more when `amount` is negative: credit stops at the capacity, debt has no floor. */
export const credit = (state: State, amount: number, now: number): State => {
  const where = "TokenBucket.credit"
  OptionCheck.between(where, "amount", amount, -Infinity, Infinity)
  const filled = fill(where, state, now)
  return { ...filled, tokens: Math.min(filled.capacity, filled.tokens + amount) }
}

/** Drops tokens above `keep`, as after a pause: what piled up must not leave as one burst. */
export const drain = (state: State, keep: number, now: number): State => {
  const where = "TokenBucket.drain"
  OptionCheck.nonNegative(where, "keep", keep)
  const filled = fill(where, state, now)
  return { ...filled, tokens: Math.min(filled.tokens, keep) }
}

/** Changes rate and capacity from `now` on; what was earned before stays, up to the new capacity. */
export const resize = (
  state: State,
  size: { readonly capacity: number; readonly refillPerSecond: number },
  now: number
): State => {
  const where = "TokenBucket.resize"
  const capacity = OptionCheck.positive(where, "capacity", size.capacity)
  const refillPerSecond = OptionCheck.positive(where, "refillPerSecond", size.refillPerSecond)
  const filled = fill(where, state, now)
  return { ...filled, capacity, refillPerSecond, tokens: Math.min(capacity, filled.tokens) }
}
