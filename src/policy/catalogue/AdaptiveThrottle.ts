/**
 * Rejects calls locally with a probability that follows the backend's refusals.
 *
 * Over a window it counts requests, when they are attempted, and accepts. The
 * probability of a local reject is
 *
 * | rule | probability |
 * | --- | --- |
 * | `sre` | `max(0, (requests − K·accepts)/(requests + 1))` |
 * | `envoy` | `min(max, (max(0, n − s/threshold)/(n + 1))^(1/aggression))`, 0 below `minPerSecond` |
 * | `failsafe` | `min(max, max(0, n − s/threshold)/(n + 1))` |
 *
 * `sre` counts a local reject as a request, as the book asks. `envoy` and
 * `failsafe` count only what was sent: with at most 80 or 90 % rejected their
 * own rejects would pass for failures of the backend, and the throttle could
 * hardly recover (zeromicro/go-zero#5551). The window expires by time, also when
 * nothing is sent, so that the probability is 0 again after one window of silence.
 *
 * Once the backend accepts all again, `envoy` and `failsafe` reject nothing
 * after one window. `sre` cannot: as it counts its own rejects, it recovers
 * through the few calls that it lets out, each of which earns K. After an outage
 * of two windows that takes, half of the time, at most 3 windows at 100 calls per
 * window, 4 at 1,000 and 6 at 10,000 with K = 2, and 13, 25 and 37 with K = 1.1;
 * one time in twenty it takes more than 6, 7 and 7, or 25, 38 and 42.
 *
 * ```ts
 * import { AdaptiveThrottle } from "effect-together/policy"
 *
 * AdaptiveThrottle.probability(AdaptiveThrottle.sre, 100, 50) // => 0
 * AdaptiveThrottle.probability(AdaptiveThrottle.sre, 99, 0) // => 0.99
 *
 * const [, once] = AdaptiveThrottle.attempt(AdaptiveThrottle.make(), 0, 0.3)
 * AdaptiveThrottle.attempt(once, 1, 0.3)[0] // => { _tag: "Rejected", probability: 0.5, reason: "backend-refuses" }
 * AdaptiveThrottle.rejectionRate(once, 120) // => 0
 * ```
 *
 * **Source**: Site Reliability Engineering, chapter 21, equation 21-1; Envoy
 * `admission_control`; failsafe-go `adaptivethrottler`.
 *
 * **Gotchas**: by the book an attempt under way counts as one that was not accepted, whatever the window. Where answers
 * take long, a backend that is well is then throttled at the start and after each silence: with answers after 30 s, 97 %
 * of the first minute at 10 calls per second. Set `settleSeconds` to the p99 latency, and the window to at least four
 * times that. Feed it with 503 and timeouts, not with 429: those have a limiter of their own.
 */
import * as OptionCheck from "../OptionCheck.ts"
import * as Rounding from "../Rounding.ts"

/** Chooses how the probability is computed. */
export type Rule =
  | { readonly _tag: "Sre"; readonly k: number }
  | {
    readonly _tag: "Envoy"
    readonly threshold: number
    readonly aggression: number
    readonly max: number
    readonly minPerSecond: number
  }
  | { readonly _tag: "Failsafe"; readonly threshold: number; readonly max: number; readonly padding: number }

/** Rejects as the SRE book: K = 2 lets twice the accepted traffic through. */
export const sre: Rule = { _tag: "Sre", k: 2 }

/** Rejects as Envoy: 95 % success expected, at most 80 % rejected, only from 5 requests per second. */
export const envoy: Rule = { _tag: "Envoy", threshold: 0.95, aggression: 1, max: 0.8, minPerSecond: 5 }

/** Rejects as failsafe-go: 90 % success expected, at most 90 % rejected. */
export const failsafe: Rule = { _tag: "Failsafe", threshold: 0.9, max: 0.9, padding: 1 }

/** Configures a throttle. */
export interface Options {
  /** How the probability is computed. Default `sre`. */
  readonly rule?: Rule | undefined
  /**
   * Length of the window, in seconds, > 0; at least four times the p99 latency. Default 120, or twice `settleSeconds` if
   * that is longer.
   */
  readonly windowSeconds?: number | undefined
  /** Slots the window is cut into, an integer >= 1, with `settleSeconds` >= 4. Default 20. */
  readonly slots?: number | undefined
  /**
   * How long an answer may take, in seconds, in [0, windowSeconds/2]. An attempt counts only after that time, rounded up
   * to slots: a backend that accepts all within it is never throttled, and an outage shows that much later. Default 0,
   * as the book: an attempt counts at once.
   */
  readonly settleSeconds?: number | undefined
}

/** Holds every option, none left out. */
export type Settings = OptionCheck.Complete<Options>

/** Lists the defaults of every option. */
export const defaults: Settings = { rule: sre, windowSeconds: 120, slots: 20, settleSeconds: 0 }

/** Holds the counts of one slot of time. */
export interface Slot {
  readonly index: number
  readonly requests: number
  readonly accepts: number
}

/** Holds a throttle: the slots that are not over yet, oldest first. */
export interface State {
  readonly settings: Settings
  readonly slots: ReadonlyArray<Slot>
}

/**
 * Makes a throttle that has seen nothing.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}): State => {
  const filled = OptionCheck.resolve(defaults, options)
  const where = "AdaptiveThrottle.make"
  OptionCheck.positive(where, "windowSeconds", filled.windowSeconds)
  const settleSeconds = OptionCheck.nonNegative(where, "settleSeconds", filled.settleSeconds)
  const windowSeconds = options.windowSeconds ??
    Math.min(Math.max(filled.windowSeconds, 2 * settleSeconds), Number.MAX_VALUE)
  const settings = { ...filled, windowSeconds }
  const { rule } = settings
  OptionCheck.within(where, "settleSeconds", settleSeconds, 0, windowSeconds / 2)
  // with fewer slots the settled part of the window could be empty
  OptionCheck.integer(where, "slots", settings.slots, settings.settleSeconds === 0 ? 1 : 4)
  if (rule._tag === "Sre") {
    OptionCheck.within(where, "rule.k", rule.k, 1, Number.MAX_VALUE)
  } else {
    OptionCheck.above(where, "rule.threshold", rule.threshold, 0, 1)
    OptionCheck.within(where, "rule.max", rule.max, 0, 1)
    if (rule._tag === "Envoy") {
      OptionCheck.within(where, "rule.aggression", rule.aggression, 1, Number.MAX_VALUE)
      OptionCheck.nonNegative(where, "rule.minPerSecond", rule.minPerSecond)
    } else {
      OptionCheck.nonNegative(where, "rule.padding", rule.padding)
    }
  }
  return { settings, slots: [] }
}

/** Computes the probability of a local reject from counts. `perSecond` only matters to `envoy`. */
export const probability = (
  rule: Rule,
  requests: number,
  accepts: number,
  perSecond = Number.POSITIVE_INFINITY
): number => {
  switch (rule._tag) {
    case "Sre":
      return Math.max(0, (requests - rule.k * accepts) / (requests + 1))
    case "Envoy": {
      if (perSecond < rule.minPerSecond) return 0
      const excess = Math.max(0, requests - accepts / rule.threshold) / (requests + 1)
      return Math.min(rule.max, excess ** (1 / rule.aggression))
    }
    case "Failsafe": {
      const excess = Math.max(0, requests - accepts / rule.threshold)
      return excess === 0 ? 0 : Math.min(rule.max, excess / (requests + rule.padding))
    }
  }
}

const slotIndex = (settings: Settings, now: number): number =>
  Rounding.floor((now * settings.slots) / settings.windowSeconds)

const lastExpired = (settings: Settings, now: number): number => slotIndex(settings, now) - settings.slots

const live = (state: State, now: number): ReadonlyArray<Slot> => {
  const expired = lastExpired(state.settings, now)
  return state.slots.filter((slot) => slot.index > expired)
}

/** Finds the last slot whose requests count: with a time to settle, one that was over that long ago. */
const lastSettled = (settings: Settings, now: number): number =>
  settings.settleSeconds === 0 ? slotIndex(settings, now) : slotIndex(settings, now - settings.settleSeconds) - 1

/** Reads the counts of the window that ends at `now`: all accepts, and the requests that had their time to settle. */
export const counts = (state: State, now: number): { readonly requests: number; readonly accepts: number } => {
  const settled = lastSettled(state.settings, now)
  return live(state, now).reduce(
    (total, slot) => ({
      requests: total.requests + (slot.index > settled ? 0 : slot.requests),
      accepts: total.accepts + slot.accepts
    }),
    { requests: 0, accepts: 0 }
  )
}

/** Reads the probability of a local reject at `now`. */
export const rejectionRate = (state: State, now: number): number => {
  const { settings } = state
  const { accepts, requests } = counts(state, now)
  const slotsCounted = lastSettled(settings, now) - lastExpired(settings, now)
  const seconds = (slotsCounted * settings.windowSeconds) / settings.slots
  return probability(settings.rule, requests, accepts, requests / seconds)
}

const book = (state: State, now: number, requests: number, accepts: number): State => {
  const index = slotIndex(state.settings, now)
  const slots = live(state, now)
  const known = slots.some((slot) => slot.index === index)
  return {
    settings: state.settings,
    slots: known
      ? slots.map((slot) =>
        slot.index === index ? { index, requests: slot.requests + requests, accepts: slot.accepts + accepts } : slot
      )
      : [...slots, { index, requests, accepts }]
  }
}

/** Says whether a call may be sent. */
export type Decision =
  | { readonly _tag: "Admitted"; readonly probability: number; readonly reason: "healthy" | "lucky" }
  | { readonly _tag: "Rejected"; readonly probability: number; readonly reason: "backend-refuses" }

/**
 * Decides on one call from a uniform random number in [0, 1), and counts it as a request.
 *
 * **Details**: a rejected call counts only under the rule `sre`.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const attempt = (state: State, now: number, random: number): readonly [Decision, State] => {
  OptionCheck.between("AdaptiveThrottle.attempt", "now", now, -Infinity, Infinity)
  const p = rejectionRate(state, now)
  const rejected = random < p
  const next = rejected && state.settings.rule._tag !== "Sre" ? state : book(state, now, 1, 0)
  if (rejected) return [{ _tag: "Rejected", probability: p, reason: "backend-refuses" }, next]
  return [{ _tag: "Admitted", probability: p, reason: p === 0 ? "healthy" : "lucky" }, next]
}

/**
 * Books that the backend accepted a call: it answered, whatever it answered, and did not refuse for load.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const accept = (state: State, now: number): State =>
  book(state, OptionCheck.between("AdaptiveThrottle.accept", "now", now, -Infinity, Infinity), 0, 1)
