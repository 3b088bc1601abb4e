/**
 * A send rate that halves on a 429 and grows a little with every success.
 *
 * The simplest controller that converges. A throttle multiplies the rate by
 * `decrease` (0.5), at most once per `cooldownSeconds`, since one congestion
 * brings many 429s. A success adds `increase/rate`: about `increase` per second
 * for each second at full rate. Floor and ceiling bound it.
 *
 * ```ts
 * import { AimdRate } from "effect-together/policy"
 *
 * const [cut, slower] = AimdRate.throttle(AimdRate.make({ start: 10 }), 0)
 * cut // => { _tag: "Lowered", from: 10, to: 5, reason: "throttled" }
 * AimdRate.throttle(slower, 1)[0] // => { _tag: "Held", from: 5, to: 5, reason: "cooldown" }
 * AimdRate.succeed(slower)[0] // => { _tag: "Raised", from: 5, to: 5.2, reason: "success" }
 * ```
 *
 * **Source**: mlflow.genai's evaluation rate limiter (mlflow/mlflow#20684); Chiu and Jain (1989) for additive
 * increase and multiplicative decrease.
 *
 * **Gotchas**: make it the only layer that retries on 429: an inner SDK that retries hides the signal.
 */
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a controller. */
export interface Options {
  /** Rate at the start, per second, > 0. Default 10. */
  readonly start?: number | undefined
  /** Smallest rate, per second, > 0. Default 1. */
  readonly floor?: number | undefined
  /** Largest rate as a multiple of `start`, >= 1. Default 5. */
  readonly ceilingFactor?: number | undefined
  /** Share of the rate that is kept on a throttle, in (0, 1). Default 0.5. */
  readonly decrease?: number | undefined
  /** Growth per second at full rate, per second, >= 0; 0 for none. Default 1. */
  readonly increase?: number | undefined
  /** Seconds in which one cut answers all throttles, >= 0. Default 5. */
  readonly cooldownSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  start: 10,
  floor: 1,
  ceilingFactor: 5,
  decrease: 0.5,
  increase: 1,
  cooldownSeconds: 5
}

/** Holds a controller. */
export interface State {
  readonly settings: Settings
  /** Allowed rate, per second. */
  readonly rate: number
  /** When the rate was last cut. */
  readonly lastCutAt: number
}

/** Says how the rate moved and why. */
export interface Decision {
  readonly _tag: "Raised" | "Lowered" | "Held"
  readonly from: number
  readonly to: number
  readonly reason: "throttled" | "success" | "cooldown" | "at-floor" | "at-ceiling"
}

/**
 * Makes a controller at its start rate.
 *
 * **Details**: the defaults of `floor` and `start` give way to what is given for another.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "AimdRate.make"
  OptionCheck.positive(where, "start", filled.start)
  OptionCheck.positive(where, "floor", filled.floor)
  const settings = OptionCheck.ordered(where, filled, options, "floor", "start")
  OptionCheck.within(where, "ceilingFactor", settings.ceilingFactor, 1, Number.MAX_VALUE)
  OptionCheck.between(where, "decrease", settings.decrease, 0, 1)
  OptionCheck.nonNegative(where, "increase", settings.increase)
  OptionCheck.nonNegative(where, "cooldownSeconds", settings.cooldownSeconds)
  return { settings, rate: settings.start, lastCutAt: Number.NEGATIVE_INFINITY }
}

/**
 * Books a throttle: cuts the rate unless a cut was made a moment ago.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const throttle = (state: State, now: number): readonly [Decision, State] => {
  OptionCheck.between("AimdRate.throttle", "now", now, -Infinity, Infinity)
  const { rate, settings } = state
  // a sum, not a difference: 8.2 − 3.2 is a hair less than 5
  if (now < state.lastCutAt + settings.cooldownSeconds) {
    return [{ _tag: "Held", from: rate, to: rate, reason: "cooldown" }, state]
  }
  const to = Math.max(settings.floor, rate * settings.decrease)
  const decision: Decision = to < rate
    ? { _tag: "Lowered", from: rate, to, reason: "throttled" }
    : { _tag: "Held", from: rate, to, reason: "at-floor" }
  return [decision, { settings, rate: to, lastCutAt: now }]
}

/** Books a success: grows the rate by `increase/rate`. */
export const succeed = (state: State): readonly [Decision, State] => {
  const { rate, settings } = state
  const to = Math.min(settings.start * settings.ceilingFactor, rate + settings.increase / rate)
  return to > rate
    ? [{ _tag: "Raised", from: rate, to, reason: "success" }, { ...state, rate: to }]
    : [{ _tag: "Held", from: rate, to: rate, reason: "at-ceiling" }, state]
}
