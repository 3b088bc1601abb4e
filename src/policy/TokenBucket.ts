/**
 * A bucket of tokens that fills at a rate: the plain limiter, with the three rules that keep it honest.
 *
 * ```text
 * tokens = min(capacity, tokens + Δt·rate)      grant n when tokens + 1e-9 ≥ n
 * ```
 *
 * Over any span of `w` seconds at most `capacity + rate·w` is granted.
 *
 * The three rules. Float sums leave shortfalls of 1e-16 tokens, and a wait of
 * 1e-16 s does not move a clock: a grant tolerates `epsilon`, and no wait is
 * shorter than `quantumSeconds`. A cost above the capacity can never fit, and
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
import * as OptionCheck from "./OptionCheck.ts"

/** Is the shortfall, in tokens, that a grant tolerates. */
export const epsilon = 1e-9

/** Is the shortest wait, in seconds: less does not move a clock. */
export const quantumSeconds = 0.001

/** Configures a bucket. */
export interface Options {
  /** Most tokens the bucket holds, > 0. */
  readonly capacity: number
  /** Tokens added per second, > 0. */
  readonly refillPerSecond: number
  /** Tokens at the start. Default: `capacity`. */
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
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options, now = 0): State => {
  const where = "TokenBucket.make"
  const capacity = OptionCheck.positive(where, "capacity", options.capacity)
  return {
    capacity,
    refillPerSecond: OptionCheck.positive(where, "refillPerSecond", options.refillPerSecond),
    oversize: OptionCheck.oneOf(where, "oversize", options.oversize ?? defaults.oversize, ["borrow", "reject"]),
    tokens: OptionCheck.within(where, "initial", options.initial ?? capacity, Number.NEGATIVE_INFINITY, capacity),
    updatedAt: now
  }
}

/** Fills the bucket up to `now`. A clock that steps back adds nothing and takes nothing. */
export const refill = (state: State, now: number): State => {
  if (now <= state.updatedAt) return state
  const tokens = Math.min(state.capacity, state.tokens + (now - state.updatedAt) * state.refillPerSecond)
  return { ...state, tokens, updatedAt: now }
}

/** Reads the tokens in the bucket at `now`. */
export const available = (state: State, now: number): number => refill(state, now).tokens

/**
 * Computes the wait until `cost` can be granted: 0 when it can now, `Infinity` when it never can.
 *
 * **Details**: any other wait is at least `quantumSeconds`.
 */
export const wait = (state: State, cost: number, now: number): number => {
  if (cost > state.capacity && state.oversize === "reject") return Number.POSITIVE_INFINITY
  const missing = Math.min(cost, state.capacity) - available(state, now)
  return missing <= epsilon ? 0 : Math.max(quantumSeconds, missing / state.refillPerSecond)
}

/** Takes `cost` tokens, or says how long to wait before asking again. */
export const take = (state: State, cost: number, now: number): readonly [Decision, State] => {
  OptionCheck.nonNegative("TokenBucket.take", "cost", cost)
  const filled = refill(state, now)
  const seconds = wait(filled, cost, now)
  if (seconds === Number.POSITIVE_INFINITY) {
    return [{ _tag: "Oversize", capacity: filled.capacity, reason: "cost-exceeds-capacity" }, filled]
  }
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
  const filled = refill(state, now)
  return { ...filled, tokens: Math.min(filled.capacity, filled.tokens + amount) }
}

/** Drops tokens above `keep`, as after a pause: what piled up must not leave as one burst. */
export const drain = (state: State, keep: number, now: number): State => {
  const filled = refill(state, now)
  return { ...filled, tokens: Math.min(filled.tokens, keep) }
}

/** Changes rate and capacity from `now` on; what was earned before stays, up to the new capacity. */
export const resize = (
  state: State,
  size: { readonly capacity: number; readonly refillPerSecond: number },
  now: number
): State => {
  const capacity = OptionCheck.positive("TokenBucket.resize", "capacity", size.capacity)
  const refillPerSecond = OptionCheck.positive("TokenBucket.resize", "refillPerSecond", size.refillPerSecond)
  const filled = refill(state, now)
  return { ...filled, capacity, refillPerSecond, tokens: Math.min(capacity, filled.tokens) }
}
