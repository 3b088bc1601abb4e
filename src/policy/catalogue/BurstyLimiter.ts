/**
 * Hands out starting times in bursts: all permits of a period may leave at its start.
 *
 * Time is cut into periods. Each brings `permits`; what is not used is lost,
 * what is overdrawn is paid by the next periods, and the caller is told to wait
 * for the start of the period that has its permits.
 *
 * ```text
 * deficit = wanted − available
 * wait    = time to the next period + (⌈deficit/permits⌉ − 1)·period
 * ```
 *
 * ```ts
 * import { BurstyLimiter } from "effect-together/policy"
 *
 * let limiter = BurstyLimiter.make({ permits: 2 })
 * const waits = [1, 2, 3, 4, 5].map(() => {
 *   const [decision, next] = BurstyLimiter.reserve(limiter, 1, 0)
 *   limiter = next
 *   return decision.waitSeconds
 * })
 * waits // => [0, 0, 1, 1, 2]
 * ```
 *
 * **Source**: failsafe-go bursty rate limiter. One deviation: a period never
 * holds more than its permits, also right after a debt was paid off.
 *
 * **Gotchas**: two bursts can meet at a border: a window of one period may see `2·permits`. Against a server with a
 * strict window use `TokenBucket` with a small capacity.
 */
import { periods } from "../ClockTick.ts"
import * as OptionCheck from "../OptionCheck.ts"

/** Configures a limiter. */
export interface Options {
  /** Permits of each period, an integer >= 1. */
  readonly permits: number
  /** Length of a period, in seconds, > 0. Default 1. */
  readonly periodSeconds?: number | undefined
  /** Longest wait that is handed out, in seconds, >= 0. Default `Infinity`. */
  readonly maxWaitSeconds?: number | undefined
}

/** Lists the defaults of the options that have one. */
export const defaults = { periodSeconds: 1, maxWaitSeconds: Number.POSITIVE_INFINITY } as const

/** Holds a limiter. */
export interface State {
  readonly permits: number
  readonly periodSeconds: number
  readonly maxWaitSeconds: number
  readonly startedAt: number
  /** Index of the current period, from 0. */
  readonly period: number
  /** Permits left in it; below 0 while later periods owe. */
  readonly available: number
  /** Reservations made so far: numbers them, and no number comes twice. */
  readonly reserved: number
  /** Number of the last reservation that was not cancelled; 0 for none. */
  readonly last: number
}

/** Holds a place in the order: what `cancel` needs to give it back. */
export interface Reservation {
  readonly permits: number
  readonly usableAt: number
  readonly number: number
  /** Number of the reservation before it: the last one again when this one is cancelled. */
  readonly previous: number
}

/** Says when the permits may be used. */
export type Decision =
  | {
    readonly _tag: "Reserved"
    readonly waitSeconds: number
    readonly reservation: Reservation
    readonly reason: "in-stock" | "overdrawn"
  }
  | { readonly _tag: "Rejected"; readonly waitSeconds: number; readonly reason: "wait-too-long" }

/** Says what a cancelled reservation gave back. */
export type Cancelled =
  | { readonly _tag: "Refunded"; readonly permits: number; readonly reason: "not-yet-used" }
  | { readonly _tag: "Kept"; readonly reason: "already-due" | "others-in-line" }

/**
 * Makes a limiter at the start of its first period.
 *
 * **Errors**: throws `RangeError` for an option out of range. So does every function here for a time that is not finite.
 */
export const make = (options: Options, now = 0): State => {
  const where = "BurstyLimiter.make"
  const permits = OptionCheck.integer(where, "permits", options.permits, 1)
  const maxWait = options.maxWaitSeconds ?? defaults.maxWaitSeconds
  return {
    permits,
    periodSeconds: OptionCheck.positive(where, "periodSeconds", options.periodSeconds ?? defaults.periodSeconds),
    maxWaitSeconds: OptionCheck.within(where, "maxWaitSeconds", maxWait, 0, Number.POSITIVE_INFINITY),
    startedAt: OptionCheck.between(where, "now", now, -Infinity, Infinity),
    period: 0,
    available: permits,
    reserved: 0,
    last: 0
  }
}

const roll = (where: string, state: State, now: number): State => {
  OptionCheck.between(where, "now", now, -Infinity, Infinity)
  const period = periods(state.startedAt, now, state.periodSeconds)
  if (period <= state.period) return state
  const earned = (period - state.period) * state.permits
  const available = state.available < 0 ? Math.min(state.permits, state.available + earned) : state.permits
  return { ...state, period, available }
}

/** Reads the permits left in the period of `now`. */
export const available = (state: State, now: number): number => roll("BurstyLimiter.available", state, now).available

/** Reserves `permits` and tells the wait; a reservation that would wait too long changes nothing. */
export const reserve = (state: State, permits: number, now: number): readonly [Decision, State] => {
  const where = "BurstyLimiter.reserve"
  OptionCheck.integer(where, "permits", permits, 1)
  const rolled = roll(where, state, now)
  const deficit = permits - rolled.available
  const toNext = rolled.startedAt + (rolled.period + 1) * rolled.periodSeconds - now
  const waitSeconds = deficit <= 0
    ? 0
    : toNext + (Math.ceil(deficit / rolled.permits) - 1) * rolled.periodSeconds
  if (waitSeconds > rolled.maxWaitSeconds) return [{ _tag: "Rejected", waitSeconds, reason: "wait-too-long" }, rolled]
  const number = rolled.reserved + 1
  const reservation = { permits, usableAt: now + waitSeconds, number, previous: rolled.last }
  return [
    { _tag: "Reserved", waitSeconds, reservation, reason: waitSeconds === 0 ? "in-stock" : "overdrawn" },
    { ...rolled, available: rolled.available - permits, reserved: number, last: number }
  ]
}

/**
 * Gives a reservation back that was not used, if it is the last one: times already handed out do not move.
 *
 * **Details**: cancelling it again changes nothing. Reservations are given back from the last to the first.
 */
export const cancel = (state: State, reservation: Reservation, now: number): readonly [Cancelled, State] => {
  const rolled = roll("BurstyLimiter.cancel", state, now)
  if (reservation.usableAt <= now) return [{ _tag: "Kept", reason: "already-due" }, rolled]
  if (reservation.number !== rolled.last) return [{ _tag: "Kept", reason: "others-in-line" }, rolled]
  const restored = Math.min(rolled.permits, rolled.available + reservation.permits)
  return [
    { _tag: "Refunded", permits: restored - rolled.available, reason: "not-yet-used" },
    { ...rolled, available: restored, last: reservation.previous }
  ]
}
