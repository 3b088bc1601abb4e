/**
 * Estimates when a lane would send a call that joins its queue: what goes before it, through each of the lane's limits.
 *
 * ```
 *   start    = max(pause, outage, what the limits of requests and tokens are owed)
 *   paced    = start + max(requests before ÷ learned rate, tokens before × used ÷ estimated ÷ learned rate)
 *   placed   = what places are held for before its own ÷ places
 *   estimate = max(paced, placed)
 * ```
 *
 * Short calls overtake streams that already have all the places they may take. So a short call's turn comes when the
 * short calls before it have gone through the places that streams leave, or when all calls before it have gone through
 * all places, whichever is sooner. A stream's turn comes when all calls before it have gone through all places, and the
 * streams before it through the places that streams may take, which are not all while there are short calls. Calls in
 * flight count by what is left of their time; calls that will be in flight when the turn comes count as just begun. If
 * two orders are possible, the sooner turn is taken, since a false refusal is worse than a wait in vain.
 *
 * A rate in `start`, which still searches upward, is taken to grow as it will without a refusal: to double every 0.5 s,
 * up to its ceiling. It has proved nothing, and a call that could be sent in time must not be refused. How long a call
 * holds its place is smoothed over the calls that ended; how many of its estimated tokens it uses, `LaneUse` says. Before
 * the first answer, tokens are taken to need no time. Before the first end, a place is taken to be held as long as one has
 * been so far, and again after a minute without a call of that kind.
 *
 * Everything is plain data; times are seconds.
 */
import * as AdaptiveRate from "../rate/AdaptiveRate.ts"
import * as Budget from "./LaneBudget.ts"
import * as Outage from "./LaneOutage.ts"
import type { Ahead } from "./LaneQueue.ts"
import type { State } from "./LaneState.ts"
import * as Use from "./LaneUse.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Weight of a call that ended, in what is smoothed. */
  weight: 0.05,
  /** Times the time that is left which a call must need to be refused that waits: by proved limits, before and after half of it. */
  marginEarly: 3,
  marginLate: 1.25,
  /** The same after half of it by limits that are not proved. */
  marginUnproved: 2,
  /** Seconds without a call of a kind after which what such calls held their place for is forgotten. */
  memory: 60
} as const

/** Says how long calls of one kind hold their place. */
export interface Hold {
  /** Calls that ended. */
  readonly calls: number
  /** Smoothed seconds; 0 before the first. */
  readonly seconds: number
}

/** Holds what ended calls taught: plain data. */
export interface Experience {
  readonly short: Hold
  readonly streams: Hold
  /** Whether any call was answered. */
  readonly answered: boolean
}

const nothing: Hold = { calls: 0, seconds: 0 }

/** What a lane knows before its first call ended. */
export const initial: Experience = { short: nothing, streams: nothing, answered: false }

/** The first calls count alike, for none of them alone says how long the next will take. */
const held = (before: Hold, seconds: number): Hold => {
  const calls = before.calls + 1
  return { calls, seconds: before.seconds + Math.max(defaults.weight, 1 / calls) * (seconds - before.seconds) }
}

/** Learns from a call that gave its place back. */
export const learn = (
  before: Experience,
  call: {
    readonly stream: boolean
    /** Seconds that it held its place. */
    readonly seconds: number
    readonly answered: boolean
  }
): Experience => ({
  short: call.stream ? before.short : held(before.short, call.seconds),
  streams: call.stream ? held(before.streams, call.seconds) : before.streams,
  answered: before.answered || call.answered
})

/** Forgets how long calls of a kind hold their place. */
export const forget = (before: Experience, kind: "short" | "streams"): Experience => ({ ...before, [kind]: nothing })

/** Holds what calls of one kind take of the places before a call. */
export interface Kind {
  /** Calls in flight, and the seconds that they have held their places so far, summed up. */
  readonly taken: number
  readonly heldSoFar: number
  /** Calls that wait before it. */
  readonly waiting: number
  /** Seconds that one holds its place, as far as is known. */
  readonly seconds: number
}

/** Holds what goes before a call through the places of a limit of calls in flight. */
export interface Places {
  /** Calls that may be in flight; `Infinity` where no limit is known. */
  readonly cap: number
  /** Streams that may be among them while short calls are about, and the seconds for which they are. */
  readonly most: number
  readonly keeps: number
  readonly short: Kind
  readonly streams: Kind
  /** Short calls among the waiting that come before the first stream, where one waits. */
  readonly front: number
}

const left = (kind: Kind): number => Math.max(0, kind.taken * kind.seconds - kind.heldSoFar)

/** Moves what is in flight on by the seconds in which nothing is sent. */
const after = (kind: Kind, seconds: number): Kind => ({ ...kind, heldSoFar: kind.heldSoFar + kind.taken * seconds })

/** Computes the seconds until all that goes before was sent, through all places. */
const throughAll = ({ cap, short, streams }: Places, most: number): number => {
  const others = cap - 1
  const slow = streams.seconds > short.seconds ? Math.min(most, others, streams.taken + streams.waiting) : 0
  const all = left(short) + left(streams) + short.waiting * short.seconds + streams.waiting * streams.seconds
  return Math.max(0, all - slow * streams.seconds - (others - slow) * short.seconds) / cap
}

/** Computes the seconds until a short call has a place. */
const shortPlaced = (places: Places): number => {
  const { cap, most, short, streams } = places
  const all = throughAll(places, most)
  const free = cap - Math.min(most, streams.taken)
  const kept = cap - Math.min(most, streams.taken + streams.waiting)
  // the only place: all wait in one line
  if (kept < 1) return all
  const front = streams.waiting > 0 ? places.front : short.waiting
  const first = left(short) + front * short.seconds
  const rest = (short.waiting - front - kept + 1) * short.seconds
  const apart = Math.max(0, Math.min(first / free, (first + left(streams)) / cap) + rest / kept)
  return streams.waiting > 0 ? Math.min(all, apart) : apart
}

/** Computes the seconds until a stream has a place. */
const streamPlaced = (places: Places): number => {
  const { cap, keeps, most, streams } = places
  const all = throughAll(places, keeps > 0 ? most : cap)
  const work = left(streams) + streams.waiting * streams.seconds
  const kept = (work - (most - 1) * streams.seconds) / most
  const later = keeps + Math.max(0, work - keeps * most - (cap - 1) * streams.seconds) / cap
  return Math.max(all, Math.min(kept, later))
}

/** Computes the seconds until a call has a place, where none is sent before `start`. */
const placed = (places: Places, stream: boolean, start: number): number => {
  if (places.cap === Infinity) return 0
  const then = {
    ...places,
    keeps: Math.max(0, places.keeps - start),
    short: after(places.short, start),
    streams: after(places.streams, start)
  }
  return start + (stream ? streamPlaced(then) : shortPlaced(then))
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
 * @param stream whether it is a stream, or waits for all streams as one would
 */
export const estimate = (
  state: State,
  ahead: Ahead,
  places: Places,
  stream: boolean,
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
  // nothing is sent any more: no place is waited for
  if (start === Infinity) return Infinity
  const byTokens = state.tokensPaced && experience.answered
    ? through(state.tokens, ahead.tokens * Use.share(state.use))
    : 0
  const paced = start + Math.max(through(state.requests, ahead.requests), byTokens)
  return Math.max(paced, placed(places, stream, start))
}

/**
 * Says whether the limit that binds is proved: one of requests was probed, and found the same; or the calls in flight were, and
 * requests met no limit. A limit that has just been met, fell or rose may be anywhere; so may one of tokens, for calls differ.
 */
const isProved = ({ inFlight, requests, tokensPaced }: State): boolean => {
  if (tokensPaced) return false
  return requests.phase === "start"
    ? inFlight.kind === "cap" && inFlight.raises === 0
    : requests.phase !== "settle" && requests.probe.eager === 0
}

/**
 * Says whether a call that waits is to be refused, for it cannot be sent in time.
 *
 * **Details**: a limit may rise, so at first only one that is proved counts, and the call must need three times what is left.
 * Once half of its time is over a quarter more will do, or twice as much where the limit is not proved.
 *
 * @param estimate seconds until it would be sent
 * @param waited seconds that it has waited
 * @param left seconds until its deadline
 */
export const isVain = (state: State, estimate: number, waited: number, left: number): boolean =>
  waited >= left
    ? estimate > (isProved(state) ? defaults.marginLate : defaults.marginUnproved) * left
    : isProved(state) && estimate > defaults.marginEarly * left
