/**
 * Concurrency by slow start, then rounds of additive increase, for long jobs against a rate-limited API.
 *
 * A round is `max(L, 4)` successes. Until the first refusal each clean round
 * doubles the limit; after it a clean round adds `max(1, round(0.05·L))`, rounded
 * up to a multiple of 5 from 10 on. A refusal cuts to `⌊0.8·L⌋`, rounded down
 * the same way, at most once in 15 s, and ends the round. Successes within those
 * 15 s started before the cut and count for nothing. A round that never used
 * 80 % of the limit proves nothing and raises nothing.
 *
 * Only refusals for rate are drops. Timeouts and 5xx are neutral: do not sample them.
 *
 * ```ts
 * import { InspectAimdLimit } from "effect-together/policy"
 *
 * const limit = InspectAimdLimit.initial({ initial: 100 })
 * const [cut, slower] = InspectAimdLimit.sample(limit, { rttSeconds: 1, inFlight: 100, dropped: true }, 0)
 * cut // => { _tag: "Lowered", from: 100, to: 80, reason: "dropped" }
 * InspectAimdLimit.sample(slower, { rttSeconds: 1, inFlight: 80, dropped: true }, 1)[0]
 * // => { _tag: "Held", from: 80, to: 80, reason: "cooldown" }
 * ```
 *
 * **Source**: inspect_ai's adaptive concurrency controller; UKGovernmentBEIS/inspect_ai#5137 for keeping the 15 s apart
 * from any wait the provider asks for: a hint used as the debounce froze the limit for a whole run. `Pause` owns the hint.
 */
import * as ConcurrencyLimit from "./ConcurrencyLimit.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a limit. */
export interface Options {
  /** Limit at the start, >= 1. Default 20. */
  readonly initial?: number | undefined
  /** Smallest limit, an integer >= 1. Default 1. */
  readonly min?: number | undefined
  /** Largest limit, an integer >= 1. Default 200. */
  readonly max?: number | undefined
  /** Share that is kept on a refusal, in (0, 1). Default 0.8. */
  readonly decrease?: number | undefined
  /** Growth of a clean round once a limit is known, as a share, >= 0. Default 0.05. */
  readonly increase?: number | undefined
  /** Seconds in which one cut answers all refusals, >= 0. Default 15. */
  readonly cooldownSeconds?: number | undefined
  /** Fewest successes of a round, an integer >= 1. Default 4. */
  readonly roundFloor?: number | undefined
  /** Share of the limit that a round must have used to count, in [0, 1]. Default 0.8. */
  readonly saturation?: number | undefined
  /** Multiple that limits from 10 on are rounded to, an integer >= 1. Default 5. */
  readonly granularity?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = {
  initial: 20,
  min: 1,
  max: 200,
  decrease: 0.8,
  increase: 0.05,
  cooldownSeconds: 15,
  roundFloor: 4,
  saturation: 0.8,
  granularity: 5
}

/** Holds a limit. */
export interface State extends ConcurrencyLimit.Estimated {
  readonly settings: Settings
  /** Successes of the open round. */
  readonly successes: number
  /** Most calls in flight seen in the open round. */
  readonly peak: number
  /** True once a refusal was seen: slow start is over. */
  readonly refused: boolean
  readonly cooldownUntil: number
}

/** Limits below this are not rounded. */
const roundingFrom = 10

/**
 * Starts a limit.
 *
 * **Details**: the defaults of `min`, `initial` and `max` give way to what is given for another.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const initial = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "InspectAimdLimit.initial"
  const settings = OptionCheck.bounds(where, filled, options, 1)
  OptionCheck.between(where, "decrease", settings.decrease, 0, 1)
  OptionCheck.nonNegative(where, "increase", settings.increase)
  OptionCheck.nonNegative(where, "cooldownSeconds", settings.cooldownSeconds)
  OptionCheck.integer(where, "roundFloor", settings.roundFloor, 1)
  OptionCheck.within(where, "saturation", settings.saturation, 0, 1)
  OptionCheck.integer(where, "granularity", settings.granularity, 1)
  return {
    settings,
    estimate: settings.initial,
    successes: 0,
    peak: 0,
    refused: false,
    cooldownUntil: Number.NEGATIVE_INFINITY
  }
}

/** Rounds to whole, a half to the even neighbour, as upstream's language does. */
const halfToEven = (value: number): number => {
  const down = Math.floor(value)
  return value - down === 0.5 ? down + (down % 2) : Math.round(value)
}

const roundTo = (value: number, granularity: number, round: (n: number) => number): number =>
  value < roundingFrom ? Math.max(1, value) : round(value / granularity) * granularity

/**
 * Moves the limit with one call.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const sample = (
  state: State,
  event: ConcurrencyLimit.Sample,
  now: number
): readonly [ConcurrencyLimit.Decision, State] => {
  const { estimate, settings } = state
  OptionCheck.between("InspectAimdLimit.sample", "now", now, -Infinity, Infinity)
  if (event.dropped) return refuse(state, now)
  if (now < state.cooldownUntil) return ConcurrencyLimit.decide(state, state, "cooldown")
  const successes = state.successes + 1
  const peak = Math.max(state.peak, event.inFlight)
  if (successes < Math.max(estimate, settings.roundFloor)) {
    return ConcurrencyLimit.decide(state, { ...state, successes, peak }, "round-open")
  }
  const round = { ...state, successes: 0, peak: 0 }
  if (peak < settings.saturation * estimate) return ConcurrencyLimit.decide(state, round, "unsaturated")
  const grown = state.refused
    ? roundTo(estimate + Math.max(1, halfToEven(estimate * settings.increase)), settings.granularity, Math.ceil)
    : estimate * 2
  const next = { ...round, estimate: Math.min(settings.max, grown) }
  const reason = estimate === settings.max ? "at-max" : state.refused ? "steady-growth" : "slow-start"
  return ConcurrencyLimit.decide(state, next, reason)
}

const refuse = (state: State, now: number): readonly [ConcurrencyLimit.Decision, State] => {
  const { estimate, settings } = state
  const ended = { ...state, successes: 0, peak: 0, refused: true }
  if (now < state.cooldownUntil) return ConcurrencyLimit.decide(state, ended, "cooldown")
  const cut = roundTo(Math.floor(estimate * settings.decrease), settings.granularity, Math.floor)
  const next = {
    ...ended,
    estimate: Math.max(settings.min, Math.min(estimate, cut)),
    cooldownUntil: now + settings.cooldownSeconds
  }
  return ConcurrencyLimit.decide(state, next, next.estimate === estimate ? "at-min" : "dropped")
}
