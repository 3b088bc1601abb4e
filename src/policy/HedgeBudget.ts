/**
 * A budget of second tries that successes earn: load added by hedges is bounded by construction.
 *
 * A balance in `[0, capacity]` starts full. A success earns `reward`, a hedge
 * costs `cost` and needs a balance of at least that. In the long run hedges are
 * at most `reward/(reward + cost)` of all attempts: 4.76 % with 0.05 and 1.
 * When nothing succeeds nothing is earned, and hedging ends by itself.
 *
 * ```ts
 * import { HedgeBudget } from "effect-together/policy"
 *
 * const budget = HedgeBudget.make({ capacity: 1 })
 * const [first, spent] = HedgeBudget.acquire(budget)
 * first // => { _tag: "Granted", balance: 0, reason: "earned" }
 * HedgeBudget.acquire(HedgeBudget.succeed(spent))[0] // => { _tag: "Denied", balance: 0.05, reason: "balance-too-low" }
 * ```
 *
 * **Source**: AWS S3 transfer manager; the same bucket with reward 0.1 is Brooker's retry bucket.
 */
import * as OptionCheck from "./OptionCheck.ts"

/** Configures a budget. */
export interface Options {
  /** Largest balance, > 0 and at least `cost`. Default 10, or `cost` or `initial` if that is more. */
  readonly capacity?: number | undefined
  /** Balance at the start, in [0, capacity]. Default: `capacity`. */
  readonly initial?: number | undefined
  /** What a success earns, >= 0. Default 0.05. */
  readonly reward?: number | undefined
  /** What a hedge costs, > 0. Default 1. */
  readonly cost?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { capacity: 10, initial: 10, reward: 0.05, cost: 1 }

/** Holds a budget. */
export interface State {
  readonly settings: Settings
  readonly balance: number
}

/** Says whether a hedge may be sent. */
export type Decision =
  | { readonly _tag: "Granted"; readonly balance: number; readonly reason: "earned" }
  | { readonly _tag: "Denied"; readonly balance: number; readonly reason: "balance-too-low" }

/**
 * Makes a budget.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "HedgeBudget.make"
  OptionCheck.positive(where, "cost", filled.cost)
  OptionCheck.positive(where, "capacity", filled.capacity)
  OptionCheck.nonNegative(where, "initial", filled.initial)
  OptionCheck.nonNegative(where, "reward", filled.reward)
  // the cost is a price, no bound: it gives way to nothing
  const paying = OptionCheck.ordered(where, filled, { ...options, cost: filled.cost }, "cost", "capacity")
  const holding = OptionCheck.ordered(where, paying, options, "initial", "capacity")
  const balance = options.initial ?? holding.capacity
  return { settings: { ...holding, initial: balance }, balance }
}

/** Books a success. */
export const succeed = (state: State): State => ({
  settings: state.settings,
  balance: Math.min(state.settings.capacity, state.balance + state.settings.reward)
})

/** Takes the cost of one hedge, if the balance has it; never waits for it. */
export const acquire = (state: State): readonly [Decision, State] => {
  const { balance, settings } = state
  // Twenty rewards of 0.05 sum to a hair under or over 1: the hair must not decide.
  if (balance + 1e-9 < settings.cost) return [{ _tag: "Denied", balance, reason: "balance-too-low" }, state]
  const left = Math.max(0, balance - settings.cost)
  return [{ _tag: "Granted", balance: left, reason: "earned" }, { settings, balance: left }]
}

/** Computes the share of attempts that can be hedges in the long run. */
export const sustainableShare = (settings: Pick<Settings, "reward" | "cost">): number =>
  settings.reward / (settings.reward + settings.cost)
