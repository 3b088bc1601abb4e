/**
 * Requests and tokens taken together or not at all, reserved by estimate and settled by truth.
 *
 * A call costs one request and an estimate of tokens. Both limits are debited in
 * one step: taking one and waiting for the other is how limiters deadlock and
 * leak. After the call the estimate is settled against the usage:
 *
 * | outcome | effect |
 * | --- | --- |
 * | `Completed { actual }` | credit `estimate − actual`; a larger actual is a debt |
 * | `Refused { charged }` | 4xx, 429, 503 before generation: credit the tokens, and the request unless it was charged |
 * | `NotSent` | cancelled in the queue: credit both |
 * | `Unknown` | the usage never came: keep everything |
 * | `TimedOut { releaseAt }` | sent, and lost: the server may still burn it, so credit the tokens only at `releaseAt` |
 *
 * Credit never lifts a bucket over its burst; a debt has no floor. An estimate
 * above the burst is `borrow`ed (admitted when the bucket is full, later calls
 * wait it off) or `reject`ed, never waited for without end.
 *
 * `bypass` answers whether an item may overtake one that waits for tokens, without making it wait any longer. Whatever
 * takes tokens makes it wait, if only by cost/rate: an item without tokens may pass, and no other.
 *
 * ```ts
 * import { TokenReservation } from "effect-together/policy"
 *
 * const limits = TokenReservation.make({ requestsPerSecond: 10, tokensPerSecond: 3000 })
 * const [first, reserved] = TokenReservation.reserve(limits, 2000, 0)
 * first // => { _tag: "Reserved", estimate: 2000, reason: "in-stock" }
 * TokenReservation.reserve(reserved, 1600, 0)[0] // => { _tag: "Wait", seconds: 0.2, reason: "tokens" }
 * const [settled] = TokenReservation.settle(reserved, 2000, { _tag: "Completed", actual: 1200 }, 0)
 * settled // => { _tag: "Settled", tokens: 800, requests: 0, reason: "over-estimated" }
 * ```
 *
 * **Source**: the reservation algebra of bounded admission control. What each
 * part is for: BerriAI/litellm#18730, where concurrent calls passed a limit
 * together because nothing was reserved, and shobrook/openlimit#8, where a
 * prompt above the per-second limit hung for ever.
 */
import * as OptionCheck from "../OptionCheck.ts"
import * as TokenBucket from "./TokenBucket.ts"

/** Configures the two limits. */
export interface Options {
  /** Requests per second, > 0. */
  readonly requestsPerSecond: number
  /** Requests that may start at once, >= 1. Default: `max(1, requestsPerSecond)`. */
  readonly requestBurst?: number | undefined
  /** Tokens per second, > 0. */
  readonly tokensPerSecond: number
  /** Tokens that may be taken at once, > 0. Default: `tokensPerSecond`. */
  readonly tokenBurst?: number | undefined
  /** What happens to an estimate above the burst. Default `borrow`. */
  readonly oversize?: "borrow" | "reject" | undefined
  /**
   * How often one waiting item may be overtaken, an integer >= 0; by items without tokens, for others move its start.
   * Default 32.
   */
  readonly maxOvertakes?: number | undefined
}

/** Lists the defaults of the options that have one. */
export const defaults = { oversize: "borrow", maxOvertakes: 32 } as const

/** Holds tokens of a lost call until the server can no longer burn them. */
export interface Hold {
  readonly tokens: number
  readonly releaseAt: number
}

/** Holds both buckets and what lost calls still bind. */
export interface State {
  readonly requests: TokenBucket.State
  readonly tokens: TokenBucket.State
  readonly holds: ReadonlyArray<Hold>
  readonly maxOvertakes: number
}

/** Says whether the call may start. */
export type Decision =
  | { readonly _tag: "Reserved"; readonly estimate: number; readonly reason: "in-stock" | "borrowed" }
  | { readonly _tag: "Wait"; readonly seconds: number; readonly reason: "requests" | "tokens" }
  | { readonly _tag: "Oversize"; readonly limit: number; readonly reason: "estimate-exceeds-burst" }

/** Says how a reserved call ended. */
export type Outcome =
  | { readonly _tag: "Completed"; readonly actual: number }
  | { readonly _tag: "Refused"; readonly charged: boolean }
  | { readonly _tag: "NotSent" }
  | { readonly _tag: "Unknown" }
  | { readonly _tag: "TimedOut"; readonly releaseAt: number }

/** Says what a settlement moved: negative tokens are a debt. */
export interface Settlement {
  readonly _tag: "Settled"
  readonly tokens: number
  readonly requests: number
  readonly reason: "over-estimated" | "under-estimated" | "exact" | "refused" | "not-sent" | "kept" | "held"
}

/**
 * Makes a reservation with both buckets full.
 *
 * **Errors**: throws `RangeError` for an option out of range. So does every function here for a time or an estimate that
 * is not finite: it would let everything in for ever.
 */
export const make = (options: Options, now = 0): State => {
  const where = "TokenReservation.make"
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  const requestsPerSecond = OptionCheck.positive(where, "requestsPerSecond", options.requestsPerSecond)
  const tokensPerSecond = OptionCheck.positive(where, "tokensPerSecond", options.tokensPerSecond)
  const requestBurst = options.requestBurst ?? Math.max(1, requestsPerSecond)
  OptionCheck.within(where, "requestBurst", requestBurst, 1, Number.MAX_VALUE)
  const tokenBurst = OptionCheck.positive(where, "tokenBurst", options.tokenBurst ?? tokensPerSecond)
  const oversize = OptionCheck.oneOf(where, "oversize", options.oversize ?? defaults.oversize, ["borrow", "reject"])
  return {
    requests: TokenBucket.make({ capacity: requestBurst, refillPerSecond: requestsPerSecond, oversize }, now),
    tokens: TokenBucket.make({ capacity: tokenBurst, refillPerSecond: tokensPerSecond, oversize }, now),
    holds: [],
    maxOvertakes: OptionCheck.integer(where, "maxOvertakes", options.maxOvertakes ?? defaults.maxOvertakes, 0)
  }
}

const fill = (where: string, state: State, now: number): State => {
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  const over = state.holds.filter((hold) => hold.releaseAt <= now)
  const credited = over.reduce((bucket, hold) => TokenBucket.credit(bucket, hold.tokens, hold.releaseAt), state.tokens)
  return {
    ...state,
    requests: TokenBucket.refill(state.requests, now),
    tokens: TokenBucket.refill(credited, now),
    holds: over.length === 0 ? state.holds : state.holds.filter((hold) => hold.releaseAt > now)
  }
}

/** Fills both buckets up to `now` and credits the holds that are over. */
export const refill = (state: State, now: number): State => fill("TokenReservation.refill", state, now)

/** Computes the wait until one request and `estimate` tokens are there together: `Infinity` when they never will. */
export const wait = (state: State, estimate: number, now: number): number => {
  const where = "TokenReservation.wait"
  OptionCheck.nonNegative(where, "estimate", estimate)
  const filled = fill(where, state, now)
  return Math.max(TokenBucket.wait(filled.requests, 1, now), TokenBucket.wait(filled.tokens, estimate, now))
}

/** Reserves one request and `estimate` tokens, both or neither. */
export const reserve = (state: State, estimate: number, now: number): readonly [Decision, State] => {
  const where = "TokenReservation.reserve"
  OptionCheck.nonNegative(where, "estimate", estimate)
  const filled = fill(where, state, now)
  const { capacity, oversize } = filled.tokens
  if (estimate > capacity && oversize === "reject") {
    return [{ _tag: "Oversize", limit: capacity, reason: "estimate-exceeds-burst" }, filled]
  }
  const forRequests = TokenBucket.wait(filled.requests, 1, now)
  const forTokens = TokenBucket.wait(filled.tokens, estimate, now)
  const seconds = Math.max(forRequests, forTokens)
  if (seconds > 0) {
    return [{ _tag: "Wait", seconds, reason: forTokens >= forRequests ? "tokens" : "requests" }, filled]
  }
  const [, requests] = TokenBucket.take(filled.requests, 1, now)
  const [, tokens] = TokenBucket.take(filled.tokens, estimate, now)
  const reason = estimate > capacity ? "borrowed" : "in-stock"
  return [{ _tag: "Reserved", estimate, reason }, { ...filled, requests, tokens }]
}

/**
 * Settles a reserved call: what the estimate missed comes back or is owed.
 *
 * **Gotchas**: settle each call once, with the estimate that was reserved: a second settlement credits again.
 */
export const settle = (
  state: State,
  estimate: number,
  outcome: Outcome,
  now: number
): readonly [Settlement, State] => {
  const where = "TokenReservation.settle"
  OptionCheck.nonNegative(where, "estimate", estimate)
  const filled = fill(where, state, now)
  const move = (tokens: number, requests: number, reason: Settlement["reason"]): readonly [Settlement, State] => [
    { _tag: "Settled", tokens, requests, reason },
    {
      ...filled,
      tokens: TokenBucket.credit(filled.tokens, tokens, now),
      requests: TokenBucket.credit(filled.requests, requests, now)
    }
  ]
  switch (outcome._tag) {
    case "Completed": {
      OptionCheck.nonNegative(where, "actual", outcome.actual)
      const difference = estimate - outcome.actual
      return move(difference, 0, difference > 0 ? "over-estimated" : difference < 0 ? "under-estimated" : "exact")
    }
    case "Refused":
      return move(estimate, outcome.charged ? 0 : 1, "refused")
    case "NotSent":
      return move(estimate, 1, "not-sent")
    case "Unknown":
      return move(0, 0, "kept")
    case "TimedOut": {
      const releaseAt = OptionCheck.between(where, "releaseAt", outcome.releaseAt, -Infinity, Infinity)
      const holds = [...filled.holds, { tokens: estimate, releaseAt }]
      return [{ _tag: "Settled", tokens: 0, requests: 0, reason: "held" }, { ...filled, holds }]
    }
  }
}

/** Says whether an item may overtake the head of the queue. */
export type Bypass =
  | { readonly _tag: "Overtake"; readonly reason: "head-loses-nothing" }
  | {
    readonly _tag: "Keep"
    readonly reason: "head-is-ready" | "would-delay-head" | "not-affordable" | "overtaken-enough"
  }

/**
 * Decides whether an item of cost `estimate` may pass a waiting head of cost `headEstimate`.
 *
 * **Details**: only when both limits, after the item, still fill up for the head
 * by the time it would have started anyway: its expected start must not move.
 *
 * **Gotchas**: an item passes only if it takes nothing of the limit that the head waits for. A head that waits for a
 * request lets nothing pass; one that waits for tokens lets items without tokens pass, up to `maxOvertakes`.
 */
export const bypass = (
  state: State,
  headEstimate: number,
  estimate: number,
  overtakes: number,
  now: number
): Bypass => {
  const eta = wait(state, headEstimate, now)
  if (eta === 0) return { _tag: "Keep", reason: "head-is-ready" }
  if (overtakes >= state.maxOvertakes) return { _tag: "Keep", reason: "overtaken-enough" }
  const [decision, after] = reserve(state, estimate, now)
  if (decision._tag !== "Reserved") return { _tag: "Keep", reason: "not-affordable" }
  return wait(after, headEstimate, now) <= eta + TokenBucket.epsilon
    ? { _tag: "Overtake", reason: "head-loses-nothing" }
    : { _tag: "Keep", reason: "would-delay-head" }
}
