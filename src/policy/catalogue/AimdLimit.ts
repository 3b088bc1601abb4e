/**
 * Concurrency by additive increase and multiplicative decrease.
 *
 * A drop, or a call over `timeoutSeconds`, cuts the limit to `⌊L·ratio⌋`; a good
 * call while at least half of the limit is in use adds 1. The result stays in
 * `[min, max]`.
 *
 * ```ts
 * import { AimdLimit } from "effect-together/policy"
 *
 * const limit = AimdLimit.initial({ initial: 30 })
 * AimdLimit.sample(limit, { rttSeconds: 1, inFlight: 30, dropped: true })[0]
 * // => { _tag: "Lowered", from: 30, to: 27, reason: "dropped" }
 * ```
 *
 * **Source**: Netflix concurrency-limits `AIMDLimit`.
 */
import * as ConcurrencyLimit from "./ConcurrencyLimit.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a limit. */
export interface Options {
  /** Limit at the start, >= 1. Default 20. */
  readonly initial?: number | undefined
  /**
   * Smallest limit, an integer >= 0; 0 is taken as 1, for with no call in flight nothing would raise it again.
   * Default 20.
   */
  readonly min?: number | undefined
  /** Largest limit, an integer >= 1. Default 200. */
  readonly max?: number | undefined
  /** Share that is kept on a drop, in (0, 1). Default 0.9. */
  readonly ratio?: number | undefined
  /** Calls longer than this count as dropped, in seconds, > 0. Default 5; a language model needs more. */
  readonly timeoutSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { initial: 20, min: 20, max: 200, ratio: 0.9, timeoutSeconds: 5 }

/** Holds a limit. */
export interface State extends ConcurrencyLimit.Estimated {
  readonly settings: Settings
}

/**
 * Starts a limit.
 *
 * **Details**: the defaults of `min`, `initial` and `max` give way to what is given for another.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const initial = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "AimdLimit.initial"
  const settings = OptionCheck.bounds(where, filled, options, 0)
  OptionCheck.between(where, "ratio", settings.ratio, 0, 1)
  OptionCheck.positive(where, "timeoutSeconds", settings.timeoutSeconds)
  return { settings, estimate: settings.initial }
}

/** Moves the limit with one call. */
export const sample = (
  state: State,
  event: ConcurrencyLimit.Sample
): readonly [ConcurrencyLimit.Decision, State] => {
  const { estimate, settings } = state
  const moved = (value: number, reason: ConcurrencyLimit.Reason) => ConcurrencyLimit.move(state, state, value, reason)
  if (event.dropped) return moved(Math.floor(estimate * settings.ratio), "dropped")
  if (event.rttSeconds > settings.timeoutSeconds) return moved(Math.floor(estimate * settings.ratio), "timed-out")
  return event.inFlight * 2 >= estimate ? moved(estimate + 1, "saturated") : moved(estimate, "unsaturated")
}
