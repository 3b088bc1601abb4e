/**
 * A budget of retries that grows with requests: at most a share of the traffic may be retries.
 *
 * Each request deposits, each retry withdraws, and both are forgotten after
 * `ttlSeconds`. With `ratio` 0.2 five requests pay for one retry. A reserve of
 * `minPerSecond·ttl` retries keeps a client with little traffic alive.
 *
 * ```text
 * deposit = 1000            withdraw = ⌊1000/ratio⌋
 * reserve = minPerSecond·ttl·withdraw
 * balance = ⌊(Σ unexpired + reserve) / withdraw⌋ retries
 * ```
 *
 * All sums are integers: no rounding drifts in. Use one budget for each lane,
 * shared by retries and hedges. A durable job parks until the balance is
 * positive; an interactive call fails.
 *
 * ```ts
 * import { RetryBudget } from "effect-together/policy"
 *
 * let budget = RetryBudget.make({ ratio: 0.2, minPerSecond: 0 })
 * for (let i = 0; i < 5; i++) budget = RetryBudget.deposit(budget, 0)
 * const [first, empty] = RetryBudget.withdraw(budget, 0)
 * first // => { _tag: "Granted", balance: 0, reason: "within-budget" }
 * RetryBudget.withdraw(empty, 0)[0] // => { _tag: "Denied", balance: 0, reason: "budget-exhausted" }
 * ```
 *
 * **Gotchas**: a slot closes with the first use after its time, as upstream, so that uneven use stretches the ttl, at
 * most to twice.
 *
 * **Source**: Finagle `RetryBudget` and `WindowedAdder`; `tower`'s `TpsBudget`
 * (`variant: "tower"`: 10 closed slots instead of 9, deposits of 1 below ratio 1).
 * Load with and without a budget: Marc Brooker, "Fixing retries with token
 * buckets and circuit breakers" (2022).
 */
import { epsilon, tolerance } from "./ClockTick.ts"
import * as OptionCheck from "./OptionCheck.ts"

/** Configures a budget. */
export interface Options {
  /** How long a deposit counts, in seconds, in [1, 60]. Default 10. */
  readonly ttlSeconds?: number | undefined
  /** Retries allowed per second whatever the traffic, >= 0. Default 10. */
  readonly minPerSecond?: number | undefined
  /** Retries for each request, in [0, 1000]; above 1 each request pays for several. Default 0.2. */
  readonly ratio?: number | undefined
  /** Whose slots are kept: `finagle` or `tower`. Default `finagle`. */
  readonly variant?: "finagle" | "tower" | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { ttlSeconds: 10, minPerSecond: 10, ratio: 0.2, variant: "finagle" }

/** Holds a budget. */
export interface State {
  readonly settings: Settings
  /** What the open slot has collected; negative when retries outnumber requests. */
  readonly open: number
  /** Sums of the closed slots, a ring. */
  readonly slots: ReadonlyArray<number>
  /** The ring position that the open slot will close into. */
  readonly index: number
  /** When the open slot began. */
  readonly openedAt: number
}

/** Counts the slots that a ttl is cut into. */
const slotsPerTtl = 10

/** Reads the amount that a request deposits. */
const depositAmount = (settings: Settings): number =>
  settings.ratio === 0 ? 0 : settings.variant === "tower" && settings.ratio <= 1 ? 1 : 1000

/** Reads the amount that a retry withdraws. */
const withdrawAmount = (settings: Settings): number =>
  settings.ratio === 0 ? 1 : Math.floor(depositAmount(settings) / settings.ratio + epsilon)

/**
 * Makes a budget that holds its reserve and nothing else.
 *
 * **Errors**: throws `RangeError` for an option out of range, and for a time that is not finite.
 */
export const make = (options: Options = {}, now = 0): State => {
  const settings = OptionCheck.resolve(defaults, options)
  const where = "RetryBudget.make"
  OptionCheck.within(where, "ttlSeconds", settings.ttlSeconds, 1, 60)
  OptionCheck.nonNegative(where, "minPerSecond", settings.minPerSecond)
  OptionCheck.within(where, "ratio", settings.ratio, 0, 1000)
  OptionCheck.oneOf(where, "variant", settings.variant, ["finagle", "tower"])
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  const closed = settings.variant === "tower" ? slotsPerTtl : slotsPerTtl - 1
  return { settings, open: 0, slots: Array.from({ length: closed }, () => 0), index: 0, openedAt: now }
}

/** Closes the open slot when its time is over, and forgets the slots that time passed by. */
const rotate = (state: State, now: number): State => {
  const width = state.settings.ttlSeconds / slotsPerTtl
  const widths = (now - state.openedAt) / width
  const noise = tolerance(1 / width, now)
  // A time that is no number, or infinite, would leave a ring that never turns again.
  if (!Number.isFinite(widths) || widths < 1 - noise) return state
  const size = state.slots.length
  const passed = state.settings.variant === "tower" ? Math.ceil(widths - noise) : Math.floor(widths + noise)
  const skipped = Math.min(size, passed - 1)
  const slots = state.slots.map((sum, i) => {
    const age = (i - state.index - 1 + size) % size
    return age < skipped ? 0 : i === state.index ? state.open : sum
  })
  return { ...state, open: 0, slots, index: (state.index + 1 + skipped) % size, openedAt: now }
}

const sum = (state: State): number => {
  const { settings } = state
  const reserve = Math.floor(settings.minPerSecond * settings.ttlSeconds * withdrawAmount(settings) + epsilon)
  return state.slots.reduce((total, slot) => total + slot, state.open + reserve)
}

/** Counts the retries that the budget would allow now. */
export const balance = (state: State, now: number): number =>
  Math.max(0, Math.floor(sum(rotate(state, now)) / withdrawAmount(state.settings)))

/** Books a request: its first attempt, not its retries. */
export const deposit = (state: State, now: number): State => {
  const current = rotate(state, now)
  return { ...current, open: current.open + depositAmount(current.settings) }
}

/** Says whether a retry may be made. */
export type Decision =
  | { readonly _tag: "Granted"; readonly balance: number; readonly reason: "within-budget" }
  | { readonly _tag: "Denied"; readonly balance: 0; readonly reason: "budget-exhausted" }

/** Takes one retry out of the budget, if it is in there. */
export const withdraw = (state: State, now: number): readonly [Decision, State] => {
  const current = rotate(state, now)
  const price = withdrawAmount(current.settings)
  if (sum(current) < price) return [{ _tag: "Denied", balance: 0, reason: "budget-exhausted" }, current]
  const next = { ...current, open: current.open - price }
  return [{ _tag: "Granted", balance: balance(next, now), reason: "within-budget" }, next]
}

/** Computes the load of naive retries as a multiple of the traffic: `Σ p^i` for i from 0 to `retries`. */
export const naiveLoad = (failureRate: number, retries: number): number => {
  let load = 0
  for (let i = 0; i <= retries; i++) load += failureRate ** i
  return load
}

/**
 * Computes the load under a budget that each success feeds with `deposit` retries, in the steady state.
 *
 * **Details**: `1 + min(Σ p^i for i from 1, d/(1−d))` with `d = deposit·(1−p)`: the
 * retries of one call cannot outgrow what all attempts that succeed pay in. With `d ≥ 1` each retry pays for the next, and
 * the budget bounds nothing.
 */
export const budgetedLoad = (failureRate: number, retries: number, depositPerSuccess: number): number => {
  const paid = depositPerSuccess * (1 - failureRate)
  return 1 + Math.min(naiveLoad(failureRate, retries) - 1, paid < 1 ? paid / (1 - paid) : Number.POSITIVE_INFINITY)
}
