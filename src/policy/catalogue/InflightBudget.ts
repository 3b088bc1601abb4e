/**
 * A budget of retries and hedges as a share of what is in flight this moment.
 *
 * It needs no clock and no window: a retry may start while fewer than
 * `minConcurrency` are running, or while they are at most `ratio` of all
 * executions. Every start is paired with its end.
 *
 * | rule | a retry may start when |
 * | --- | --- |
 * | `failsafe` | `budgeted < min` or `budgeted/inflight <= ratio` |
 * | `envoy` | `budgeted < max(min, ⌊ratio·inflight⌋)` |
 *
 * ```ts
 * import { InflightBudget } from "effect-together/policy"
 *
 * let budget = InflightBudget.make({ ratio: 0.2, minConcurrency: 0 })
 * for (let i = 0; i < 4; i++) budget = InflightBudget.start(budget)
 * const [first, one] = InflightBudget.acquire(budget)
 * first // => { _tag: "Granted", reason: "below-ratio" }
 * InflightBudget.share(one) // => 0.2
 * ```
 *
 * **Source**: failsafe-go `budget`; Envoy's cluster `retry_budget` (20 %, at least 3).
 *
 * **Gotchas**: forgives nothing and remembers nothing. A loser of a hedge race
 * that is cancelled must be released too, or the budget leaks shut.
 */
import * as OptionCheck from "../OptionCheck.ts"
import * as Rounding from "../Rounding.ts"

/** Configures a budget. */
export interface Options {
  /** Largest share of executions in flight that may be retries or hedges, in [0, 1]. Default 0.2. */
  readonly ratio?: number | undefined
  /** Retries or hedges that may always run, an integer >= 0. Default 3. */
  readonly minConcurrency?: number | undefined
  /** Whose comparison is used. Default `failsafe`. */
  readonly rule?: "failsafe" | "envoy" | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { ratio: 0.2, minConcurrency: 3, rule: "failsafe" }

/** Holds a budget. */
export interface State {
  readonly settings: Settings
  /** All executions in flight, retries and hedges included. */
  readonly inFlight: number
  /** Retries and hedges in flight. */
  readonly budgeted: number
}

/**
 * Makes a budget with nothing in flight.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const settings = OptionCheck.resolve(defaults, options)
  OptionCheck.within("InflightBudget.make", "ratio", settings.ratio, 0, 1)
  OptionCheck.integer("InflightBudget.make", "minConcurrency", settings.minConcurrency, 0)
  OptionCheck.oneOf("InflightBudget.make", "rule", settings.rule, ["failsafe", "envoy"])
  return { settings, inFlight: 0, budgeted: 0 }
}

/** Books the start of a first attempt: always allowed. */
export const start = (state: State): State => ({ ...state, inFlight: state.inFlight + 1 })

/** Books the end of a first attempt. */
export const finish = (state: State): State => ({ ...state, inFlight: Math.max(state.budgeted, state.inFlight - 1) })

/** Reads the share of executions in flight that are retries or hedges. */
export const share = (state: State): number => state.inFlight === 0 ? 0 : state.budgeted / state.inFlight

/** Says whether a retry or a hedge may start. */
export type Decision =
  | { readonly _tag: "Granted"; readonly reason: "below-minimum" | "below-ratio" }
  | { readonly _tag: "Denied"; readonly reason: "ratio-reached"; readonly share: number }

/** Starts a retry or a hedge, if the budget allows it. */
export const acquire = (state: State): readonly [Decision, State] => {
  const { budgeted, inFlight, settings } = state
  const few = budgeted < settings.minConcurrency
  const fits = settings.rule === "envoy"
    ? budgeted < Rounding.floor(settings.ratio * inFlight)
    : share(state) <= settings.ratio
  if (!few && !fits) return [{ _tag: "Denied", reason: "ratio-reached", share: share(state) }, state]
  return [
    { _tag: "Granted", reason: few ? "below-minimum" : "below-ratio" },
    { settings, inFlight: inFlight + 1, budgeted: budgeted + 1 }
  ]
}

/** Books the end of a retry or a hedge, however it ended. */
export const release = (state: State): State =>
  state.budgeted === 0
    ? state
    : { settings: state.settings, inFlight: state.inFlight - 1, budgeted: state.budgeted - 1 }
