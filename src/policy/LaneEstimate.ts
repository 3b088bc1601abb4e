/**
 * Estimates when a lane would send a call that joins its queue: what goes before it, through each of the lane's limits.
 *
 * ```
 *   start    = max(pause, outage, what the limits of requests and tokens are owed)
 *   paced    = start + max(requests before ÷ learned rate, tokens before × used ÷ estimated ÷ learned rate)
 *   placed   = places to become free before its own × seconds that a call holds one ÷ places
 *   estimate = max(paced, placed)
 * ```
 *
 * A rate that still searches upward (`start`) is taken with the growth it will have if nobody objects, a doubling in
 * 0.5 s up to its ceiling: it has proved nothing, and what could be sent in time is not to be refused. How long a call
 * holds its place, and how many of its estimated tokens it uses, are smoothed over the calls that ended. Before the first
 * of them places take no time, and tokens are used as estimated.
 *
 * Everything is plain data; times are seconds.
 */
import * as AdaptiveRate from "./AdaptiveRate.ts"
import * as Budget from "./LaneBudget.ts"
import * as Outage from "./LaneOutage.ts"
import type { Ahead } from "./LaneQueue.ts"
import type { State } from "./LaneState.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Weight of a call that ended, in what is smoothed. */
  weight: 0.05
} as const

/** Holds what ended calls taught: plain data. */
export interface Experience {
  /** Smoothed seconds that a short call, and a stream, hold their place; 0 before the first. */
  readonly shortSeconds: number
  readonly streamSeconds: number
  /** Smoothed tokens used and estimated, of calls whose use is known. */
  readonly used: number
  readonly estimated: number
}

/** Is what a lane knows before its first call ended. */
export const initial: Experience = { shortSeconds: 0, streamSeconds: 0, used: 0, estimated: 0 }

const smoothed = (before: number, value: number): number => before + defaults.weight * (value - before)

const held = (before: number, seconds: number): number => before === 0 ? seconds : smoothed(before, seconds)

/** Learns from a call that gave its place back. */
export const learn = (
  before: Experience,
  call: {
    readonly stream: boolean
    /** Seconds that it held its place. */
    readonly seconds: number
    /** Tokens as estimated. */
    readonly tokens: number
    /** Tokens really used; absent where nobody knows. */
    readonly used: number | undefined
  }
): Experience => ({
  shortSeconds: call.stream ? before.shortSeconds : held(before.shortSeconds, call.seconds),
  streamSeconds: call.stream ? held(before.streamSeconds, call.seconds) : before.streamSeconds,
  used: call.used === undefined ? before.used : smoothed(before.used, call.used),
  estimated: call.used === undefined ? before.estimated : smoothed(before.estimated, call.tokens)
})

/** Says what goes before a call through the places of its kind. */
export interface Places {
  /** Calls that may be in flight; `Infinity` where no limit is known. */
  readonly most: number
  /** Those in flight, and those that wait before it. */
  readonly taken: number
  readonly waiting: number
  /** Seconds that one holds its place. */
  readonly seconds: number
}

/** Computes the seconds until a place is free: of those taken from now on, of the others from `start` on. */
const placed = ({ most, seconds, taken, waiting }: Places, start: number): number => {
  if (most === Infinity) return 0
  const after = (waiting + 1 - most) * (seconds / most)
  return Math.max(after + taken * (seconds / most), start + Math.max(0, after))
}

/** Computes the seconds that units need through a learned rate, at the least. */
const through = (rate: AdaptiveRate.State, units: number): number => {
  if (rate.phase !== "start" || rate.rate >= rate.ceiling) return units / rate.rate
  // e-foldings per second
  const growth = Math.LN2 / AdaptiveRate.defaults.doubling
  const whileGrowing = (rate.ceiling - rate.rate) / growth
  return units <= whileGrowing
    ? Math.log1p((units * growth) / rate.rate) / growth
    : Math.log(rate.ceiling / rate.rate) / growth + (units - whileGrowing) / rate.ceiling
}

/**
 * Estimates the seconds until a call would be sent that joins the queue now.
 *
 * @param ahead what goes before it, as read by `LaneQueue.ahead`
 * @param places the places that it, or what it waits for, has to come through
 */
export const estimate = (
  state: State,
  ahead: Ahead,
  places: ReadonlyArray<Places>,
  experience: Experience,
  now: number
): number => {
  const start = Math.max(
    0,
    Budget.requestWait(state, now),
    Budget.tokenWait(state, state.meanTokens, now),
    Outage.wait(state.outage, now),
    state.pausedUntil - now
  )
  const { estimated, used } = experience
  const tokens = estimated > 0 ? ahead.tokens * (used / estimated) : ahead.tokens
  const byTokens = state.tokensPaced ? through(state.tokens, tokens) : 0
  const paced = start + Math.max(through(state.requests, ahead.requests), byTokens)
  return places.reduce((seconds, of) => Math.max(seconds, placed(of, start)), paced)
}
