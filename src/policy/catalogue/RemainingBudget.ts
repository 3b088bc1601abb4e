/**
 * What a `remaining` header is worth by the time it is read.
 *
 * The header tells what was left when the server answered one request. Those
 * sent after it have taken theirs since, so
 *
 * ```text
 * budget = remaining − (sent − observed)      in requests, by number of sending
 * budget < cost: wait max(reset, 1/rate) from the observation
 * ```
 *
 * Answers arrive out of order: an observation older than the one held is
 * dropped. Once the wait is over the observation is worth nothing any more, and
 * the call passes.
 *
 * ```ts
 * import { RemainingBudget } from "effect-together/policy"
 *
 * const [, seen] = RemainingBudget.observe(RemainingBudget.make(), { sequence: 10, remaining: 2, resetSeconds: 1 }, 0)
 * RemainingBudget.admit(seen, { sent: 11, ratePerSecond: 5 }, 0) // => { _tag: "Admitted", reason: "in-budget" }
 * RemainingBudget.admit(seen, { sent: 12, ratePerSecond: 5 }, 0)
 * // => { _tag: "Wait", seconds: 1, budget: 0, reason: "budget-spent" }
 * ```
 *
 * **Gotchas**: `reset` is a suggested wait, not a window; `remaining` may exceed the limit. It speeds learning and is
 * never needed.
 */
import { quantumSeconds } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Holds the newest observation, if there is one. */
export interface State {
  readonly observation?: Observation & { readonly at: number } | undefined
}

/** Describes what one answer said. */
export interface Observation {
  /** Number of the request it answers, counted at sending from 1. */
  readonly sequence: number
  /** What was left, as the header says. */
  readonly remaining: number
  /** The suggested wait, in seconds; one that is not finite is no hint. */
  readonly resetSeconds?: number | undefined
}

/** Says what became of an observation. */
export type Update =
  | { readonly _tag: "Updated"; readonly reason: "newer" }
  | { readonly _tag: "Stale"; readonly reason: "older-than-held" }

/** Says whether a call may be sent. */
export type Decision =
  | { readonly _tag: "Admitted"; readonly reason: "unknown" | "in-budget" | "observation-expired" }
  | { readonly _tag: "Wait"; readonly seconds: number; readonly budget: number; readonly reason: "budget-spent" }

/** Knows nothing. */
export const make = (): State => ({})

/**
 * Takes an observation in, unless a newer one is held.
 *
 * **Errors**: throws `RangeError` for a time that is not finite.
 */
export const observe = (state: State, observation: Observation, now: number): readonly [Update, State] => {
  OptionCheck.between("RemainingBudget.observe", "now", now, -Infinity, Infinity)
  return state.observation !== undefined && observation.sequence < state.observation.sequence
    ? [{ _tag: "Stale", reason: "older-than-held" }, state]
    : [{ _tag: "Updated", reason: "newer" }, { observation: { ...observation, at: now } }]
}

/** Computes what is left of an observation after `sent` requests were sent. */
export const budget = (observation: Pick<Observation, "sequence" | "remaining">, sent: number): number =>
  observation.remaining - (sent - observation.sequence)

/** Describes a call that wants to be sent. */
export interface Request {
  /** Requests sent so far. */
  readonly sent: number
  /** What the call takes. Default 1. */
  readonly cost?: number | undefined
  /** The rate we send at, per second. */
  readonly ratePerSecond: number
}

/** Decides whether a call may be sent now. */
export const admit = (state: State, request: Request, now: number): Decision => {
  OptionCheck.positive("RemainingBudget.admit", "ratePerSecond", request.ratePerSecond)
  const { observation } = state
  if (observation === undefined) return { _tag: "Admitted", reason: "unknown" }
  const left = budget(observation, request.sent)
  if (left >= (request.cost ?? 1)) return { _tag: "Admitted", reason: "in-budget" }
  const { resetSeconds = 0 } = observation
  const hint = Number.isFinite(resetSeconds) ? resetSeconds : 0
  const until = observation.at + Math.max(hint, 1 / request.ratePerSecond)
  return now >= until
    ? { _tag: "Admitted", reason: "observation-expired" }
    : { _tag: "Wait", seconds: Math.max(quantumSeconds, until - now), budget: left, reason: "budget-spent" }
}
