/**
 * Keeps a share of a rate for interactive work, and lends it to bulk work while nobody uses it.
 *
 * Two buckets fill from one rate, and what one cannot hold flows into the other:
 *
 * | bucket | fills at | holds | pays for |
 * | --- | --- | --- | --- |
 * | reserved | `share·rate` | `share·burst` | interactive work, first |
 * | common | `(1 − share)·rate` | `(1 − share)·burst` | bulk work, and interactive work beyond its share |
 *
 * Without interactive work the reserved bucket stays full and overflows: bulk
 * work gets the whole rate. An interactive call finds the reserved bucket full
 * however much bulk work is there, and up to its share of the rate it never
 * waits. Beyond it the two compete for the common bucket in the order they ask.
 *
 * ```ts
 * import { ReservedShare } from "effect-together/policy"
 *
 * let rate = ReservedShare.make({ ratePerSecond: 10, burst: 5 })
 * for (let i = 0; i < 4; i++) [, rate] = ReservedShare.take(rate, "bulk", 1, 0)
 * ReservedShare.take(rate, "bulk", 1, 0)[0] // => { _tag: "Wait", seconds: 0.1, reason: "kept-for-interactive" }
 * ReservedShare.take(rate, "interactive", 1, 0)[0] // => { _tag: "Granted", remaining: 0, reason: "in-stock" }
 * ```
 *
 * **Source**: a bucket with a reservation that is lent out, as the classes of hierarchical token buckets (HTB) borrow.
 *
 * **Gotchas**: `share·burst` must hold one interactive call, or it waits for the common bucket as well.
 */
import * as ClockTick from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Names whose work a call is. */
export type Work = "interactive" | "bulk"

/** Configures a reservation. */
export interface Options {
  /** Tokens added per second, to both buckets together, > 0. */
  readonly ratePerSecond: number
  /** Most tokens that both buckets hold together, > 0. */
  readonly burst: number
  /** Share of both that is kept for interactive work, in (0, 1). Default 0.2. */
  readonly share?: number | undefined
}

/** Lists the defaults of the options that have one. */
export const defaults = { share: 0.2 } as const

/** Holds both buckets. */
export interface State {
  readonly ratePerSecond: number
  readonly burst: number
  readonly share: number
  readonly reserved: number
  /** Tokens for all; below 0 while the debt of a cost above the burst is waited off. */
  readonly common: number
  readonly updatedAt: number
}

/** Says whether the tokens were taken. */
export type Decision =
  | { readonly _tag: "Granted"; readonly remaining: number; readonly reason: "in-stock" | "borrowed" }
  | {
    readonly _tag: "Wait"
    readonly seconds: number
    readonly reason: "short" | "kept-for-interactive" | "filling-for-oversize"
  }

/**
 * Makes two full buckets.
 *
 * **Errors**: throws `RangeError` for an option out of range, and for a time that is not finite.
 */
export const make = (options: Options, now = 0): State => {
  const where = "ReservedShare.make"
  const ratePerSecond = OptionCheck.positive(where, "ratePerSecond", options.ratePerSecond)
  const burst = OptionCheck.positive(where, "burst", options.burst)
  const share = OptionCheck.between(where, "share", options.share ?? defaults.share, 0, 1)
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  return { ratePerSecond, burst, share, reserved: share * burst, common: burst - share * burst, updatedAt: now }
}

/** Fills both buckets up to `now`. A time that is past, infinite or no number adds nothing. */
export const refill = (state: State, now: number): State => {
  const { burst, ratePerSecond, share } = state
  const elapsed = now - state.updatedAt
  if (!(elapsed > 0 && elapsed < Number.POSITIVE_INFINITY)) return state
  const kept = share * burst
  const reserved = state.reserved + share * ratePerSecond * elapsed
  const common = state.common + (1 - share) * ratePerSecond * elapsed
  return {
    ...state,
    reserved: Math.min(kept, reserved + Math.max(0, common - (burst - kept))),
    common: Math.min(burst - kept, common + Math.max(0, reserved - kept)),
    updatedAt: now
  }
}

/** Reads the most tokens that work can find: a cost above that waits until it finds so many, and borrows. */
const most = (state: State, work: Work): number =>
  work === "interactive" ? state.burst : state.burst - state.share * state.burst

const interactiveSeconds = (state: State, cost: number): number => {
  const { burst, ratePerSecond, share } = state
  const both = (Math.min(cost, burst) - state.reserved - state.common) / ratePerSecond
  // While the common bucket is in debt the reserved one may fill up sooner than both together.
  return cost <= share * burst ? Math.min(both, (cost - state.reserved) / (share * ratePerSecond)) : both
}

const bulkSeconds = (state: State, cost: number): number => {
  const { burst, ratePerSecond, share } = state
  const own = (1 - share) * ratePerSecond
  const missing = Math.min(cost, most(state, "bulk")) - state.common
  // From when the reserved bucket is full the common one fills at the whole rate.
  const full = (share * burst - state.reserved) / (share * ratePerSecond)
  return missing <= own * full ? missing / own : full + (missing - own * full) / ratePerSecond
}

/**
 * Takes `cost` tokens for one kind of work, or says how long to wait before asking again.
 *
 * **Details**: a cost above what its work can ever find borrows: it passes when there is as much as there can be, and
 * leaves a debt in the common bucket.
 *
 * **Errors**: throws `RangeError` for a cost that is not finite or below 0.
 */
export const take = (state: State, work: Work, cost: number, now: number): readonly [Decision, State] => {
  OptionCheck.nonNegative("ReservedShare.take", "cost", cost)
  const filled = refill(state, now)
  const { common, ratePerSecond, reserved } = filled
  const oversize = cost > most(filled, work)
  const seconds = work === "interactive" ? interactiveSeconds(filled, cost) : bulkSeconds(filled, cost)
  if (seconds * ratePerSecond > ClockTick.tolerance(ratePerSecond, now)) {
    const kept = reserved + common >= cost
    const reason = oversize ? "filling-for-oversize" : kept ? "kept-for-interactive" : "short"
    return [{ _tag: "Wait", seconds: Math.max(ClockTick.quantumSeconds, seconds), reason }, filled]
  }
  const own = work === "interactive" ? Math.min(reserved, cost) : 0
  const next = { ...filled, reserved: reserved - own, common: common - (cost - own) }
  const remaining = next.reserved + next.common
  return [{ _tag: "Granted", remaining, reason: oversize ? "borrowed" : "in-stock" }, next]
}
