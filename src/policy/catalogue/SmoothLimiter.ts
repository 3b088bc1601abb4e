/**
 * Hands out starting times at an even distance: a limiter that answers at once, in arrival order.
 *
 * A caller gets the wait for its permits now and sleeps it; nobody asks twice,
 * so order is kept without a queue. Permits are laid out on a grid of
 * `intervalSeconds`: the first of an interval is free at once.
 *
 * ```text
 * free = max(nextFree, ⌊now/interval⌋·interval) + permits·interval
 * wait = max(0, free − now − interval)
 * ```
 *
 * `cancel` gives the last reservation back, once: whoever was queued behind one keeps his time.
 *
 * ```ts
 * import { SmoothLimiter } from "effect-together/policy"
 *
 * let limiter = SmoothLimiter.make({ intervalSeconds: 0.5 })
 * const waits = [1, 2, 3].map(() => {
 *   const [decision, next] = SmoothLimiter.reserve(limiter, 1, 0)
 *   limiter = next
 *   return decision.waitSeconds
 * })
 * waits // => [0, 0.5, 1]
 * ```
 *
 * **Source**: failsafe-go smooth rate limiter, which takes nothing back. Go's `x/time/rate` takes back a part of what
 * others are queued behind, and hands it out beside them: there a burst pays for it, here two permits would leave at once.
 *
 * **Gotchas**: snapping to the grid lets two permits leave closer than one interval when the first came late in its interval.
 */
import { periods, tolerance } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a limiter. */
export interface Options {
  /** Seconds between two permits, > 0. */
  readonly intervalSeconds: number
  /** Longest wait that is handed out, in seconds, >= 0. Default `Infinity`. */
  readonly maxWaitSeconds?: number | undefined
}

/** Lists the defaults of the options that have one. */
export const defaults = { maxWaitSeconds: Number.POSITIVE_INFINITY } as const

/** Holds a limiter; times are relative to `startedAt`. */
export interface State {
  readonly intervalSeconds: number
  readonly maxWaitSeconds: number
  readonly startedAt: number
  /** When the next permit is free, in seconds since the start. */
  readonly nextFree: number
  /** Reservations made so far: numbers them, and no number comes twice. */
  readonly reserved: number
  /** Number of the last reservation that was not cancelled; 0 for none. */
  readonly last: number
}

/** Holds a place in the order: what `cancel` needs to give it back. */
export interface Reservation {
  readonly number: number
  readonly permits: number
  /** When the permits may be used. */
  readonly usableAt: number
  /** Number of the reservation before it: the last one again when this one is cancelled. */
  readonly previous: number
}

/** Says when the permits may be used. */
export type Decision =
  | {
    readonly _tag: "Reserved"
    readonly waitSeconds: number
    readonly reservation: Reservation
    readonly reason: "free" | "in-line"
  }
  | { readonly _tag: "Rejected"; readonly waitSeconds: number; readonly reason: "wait-too-long" }

/** Says what a cancelled reservation gave back. */
export type Cancelled =
  | { readonly _tag: "Refunded"; readonly permits: number; readonly reason: "not-yet-used" }
  | { readonly _tag: "Kept"; readonly reason: "already-due" | "others-in-line" }

/**
 * Makes a limiter whose first permit is free.
 *
 * **Errors**: throws `RangeError` for an option out of range. So does every function here for a time that is not finite.
 */
export const make = (options: Options, now = 0): State => ({
  intervalSeconds: OptionCheck.positive("SmoothLimiter.make", "intervalSeconds", options.intervalSeconds),
  maxWaitSeconds: OptionCheck.within(
    "SmoothLimiter.make",
    "maxWaitSeconds",
    options.maxWaitSeconds ?? defaults.maxWaitSeconds,
    0,
    Number.POSITIVE_INFINITY
  ),
  startedAt: OptionCheck.between("SmoothLimiter.make", "now", now, -Infinity, Infinity),
  nextFree: 0,
  reserved: 0,
  last: 0
})

/** Reserves `permits` and tells the wait; a reservation that would wait too long changes nothing. */
export const reserve = (state: State, permits: number, now: number): readonly [Decision, State] => {
  OptionCheck.integer("SmoothLimiter.reserve", "permits", permits, 1)
  OptionCheck.between("SmoothLimiter.reserve", "now", now, -Infinity, Infinity)
  const { intervalSeconds } = state
  const elapsed = now - state.startedAt
  const noise = tolerance(1, now)
  const free = elapsed + noise >= state.nextFree
  const from = free ? periods(state.startedAt, now, intervalSeconds) * intervalSeconds : state.nextFree
  const nextFree = from + permits * intervalSeconds
  const wait = nextFree - elapsed - intervalSeconds
  const waitSeconds = wait > noise ? wait : 0
  if (waitSeconds > state.maxWaitSeconds) return [{ _tag: "Rejected", waitSeconds, reason: "wait-too-long" }, state]
  const number = state.reserved + 1
  const reservation = { number, permits, usableAt: now + waitSeconds, previous: state.last }
  return [
    { _tag: "Reserved", waitSeconds, reservation, reason: waitSeconds === 0 ? "free" : "in-line" },
    { ...state, nextFree, reserved: number, last: number }
  ]
}

/**
 * Gives a reservation back that was not used, if it is the last one: times already handed out do not move.
 *
 * **Details**: cancelling it again changes nothing. Reservations are given back from the last to the first.
 */
export const cancel = (state: State, reservation: Reservation, now: number): readonly [Cancelled, State] => {
  OptionCheck.between("SmoothLimiter.cancel", "now", now, -Infinity, Infinity)
  const { number, permits, previous, usableAt } = reservation
  if (usableAt <= now) return [{ _tag: "Kept", reason: "already-due" }, state]
  if (number !== state.last) return [{ _tag: "Kept", reason: "others-in-line" }, state]
  return [
    { _tag: "Refunded", permits, reason: "not-yet-used" },
    { ...state, nextFree: state.nextFree - permits * state.intervalSeconds, last: previous }
  ]
}
