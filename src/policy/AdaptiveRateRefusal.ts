/**
 * What one refusal teaches the learner of a rate, in each of its phases.
 *
 * ```
 *   start   the rate halves, and the search begins
 *   settle  the bracket closes between what was proved and what was refused
 *   hold    far from the last refusal: the limit drifted; twice close to it: it fell
 *   probe   far above the limit, more than a bucket explains: it rose; else it is confirmed
 * ```
 *
 * `AdaptiveRate` describes the whole, and exports `refuse`.
 */
import {
  believed,
  defaults,
  doubling,
  floorOf,
  isClose,
  type Move,
  move,
  type Stamp,
  type State
} from "./AdaptiveRateState.ts"
import { lostSeconds } from "./AdaptiveRatePause.ts"
import * as Return from "./AdaptiveRateReturn.ts"
import * as BucketBounds from "./BucketBounds.ts"

/**
 * Learns from a refusal.
 *
 * **Details**: returns no move for an attempt that was sent before the last cut: it belongs to an episode that was
 * already answered.
 */
export const refuse = (before: State, stamp: Stamp, now: number): [Move | undefined, State] => {
  const [back, given] = Return.refuse(before, stamp, now)
  if (back !== undefined) return [back, given]
  const [moved, state] = learned(given, stamp, now)
  const overstated = believed(state) < defaults.overstated * state.told
  return [moved, overstated ? { ...state, overstated: state.told } : state]
}

const learned = (before: State, stamp: Stamp, now: number): [Move | undefined, State] => {
  const admitted = stamp.sent - before.refused
  const state: State = { ...before, refused: before.refused + stamp.cost }
  const empty = { emptyAt: stamp.at, emptyAdmitted: admitted }
  if (stamp.at <= state.cutAt) {
    const bucket = BucketBounds.withdraw(state.bucket, stamp.at)
    const asked = Math.max(state.asked, stamp.asked ?? 0)
    return [undefined, {
      ...state,
      bucket,
      asked,
      ...(stamp.at > state.emptyAt ? empty : {}),
      episode: state.episode + 1
    }]
  }
  const units = Math.max(0, (admitted - (state.emptyAt < 0 ? 0 : state.emptyAdmitted)) / Math.max(state.largest, 1e-9))
  // while nothing is known the rate doubles: it was lower when this was sent than it is when this is heard
  const heardAfter = now - stamp.at
  const late = state.phase === "start" ? Math.max(0, heardAfter - defaults.lag) / doubling(state) : 0
  const bad = late > 0 ? Math.max(state.limit, state.rate * 2 ** -late) : state.rate
  const short = floorOf(state, admitted, stamp.cost / 2, stamp.at)
  const whole = state.sinceAt < 0 || stamp.at <= state.sinceAt
    ? 0
    : Math.max(0, admitted - state.sinceAdmitted - stamp.cost / 2) / (stamp.at - state.sinceAt)
  // few units measure badly: they may have been one more
  const few = units < 5 ? stamp.cost / (stamp.at - state.emptyAt) : 0
  // what went through since the limit last moved is the better measure, while it is still the same limit
  const same = whole < bad && whole < (short + few) * 1.3
  const bucket = BucketBounds.refuse(state.bucket, stamp.at, stamp.cost, bad, state.phase !== "start" && units < 5)
  const bounds = BucketBounds.bounds(bucket)
  const steady = bounds?.episodes === BucketBounds.defaults.episodes && state.rises === 0
  const floor = Math.max(short, same ? whole : 0, possible(bounds, bad, steady))
  const next = {
    ...empty,
    asked: stamp.asked ?? 0,
    bucket,
    depth: steady ? bounds.depth : Infinity,
    single: singleAfter(state, bounds),
    lag: state.lag === 0 ? heardAfter : state.lag * 0.8 + heardAfter * 0.2,
    episode: 1,
    perEpisode: (state.perEpisode + state.episode) / 2,
    inVain: units < 1 ? state.inVain + 1 : 0,
    fellFrom: state.inVain === 0 ? bad : state.fellFrom,
    lowest: units >= 1 && bad <= state.lowest ? Math.max(state.lowestProved, state.lowest / 2) : state.lowest,
    cutAt: now,
    ...(same && state.sinceAt >= 0 ? {} : { sinceAt: stamp.at, sinceAdmitted: admitted })
  }
  if (state.phase === "start") {
    return move(state, now, "start-refused", {
      ...next,
      phase: "settle",
      rate: bad * defaults.firstCut,
      good: 0,
      bad,
      limit: 0,
      metUnits: admitted,
      metSeconds: stamp.at - state.madeAt,
      interval: defaults.eagerSends,
      eager: defaults.eagerAtStart
    })
  }
  const depth = bounds?.depth ?? Infinity
  const refusal: Refusal = { state, depth, next, stamp, now, bad, admitted, units, floor }
  return answered(refusal, bounds)
}

const answered = (refusal: Refusal, bounds: BucketBounds.Bounds | undefined): [Move, State] => {
  const { phase } = refusal.state
  const held = refusedDearly(refusal, bounds) ?? refusedInSprint(refusal) ?? refusedIdle(refusal)
  if (held !== undefined) return held
  if (phase === "probe") return refusedInProbe(refusal)
  return (phase === "hold" ? refusedInHold(refusal) : undefined) ?? bracketed(refusal)
}

/** Computes a rate that the refusals of late prove: the lowest that explains them, a little more over a shallow bucket. */
const possible = (bounds: BucketBounds.Bounds | undefined, bad: number, steady: boolean): number => {
  if (bounds === undefined || bounds.lowest > bad) return 0
  const shallow = steady && bounds.depth < defaults.shallow * bounds.lowest
  const inside = shallow ? defaults.inside * (Math.min(bounds.highest, bad) - bounds.lowest) : 0
  return Math.min(bounds.lowest + inside, bad * 0.98)
}

/** Says whether the bucket holds hardly more than one attempt: once it was seen so, until the bounds exclude the limit. */
const singleAfter = (state: State, bounds: BucketBounds.Bounds | undefined): State["single"] => {
  if (state.rises > 0) return "unknown"
  if (bounds === undefined || state.single === "no") return state.single
  if (bounds.depth < defaults.single * state.mean) return "yes"
  const { step } = BucketBounds.defaults
  const limit = believed(state)
  return bounds.lowest / step <= limit && limit <= bounds.highest * step ? state.single : "unknown"
}

/** Describes one refusal that begins an episode, and what it measures. */
interface Refusal {
  readonly state: State
  /** What the next state takes over whatever the answer. */
  readonly next: Partial<State>
  readonly stamp: Stamp
  readonly now: number
  /** The rate that was refused. */
  readonly bad: number
  readonly admitted: number
  /** Attempts admitted since the bucket was last empty, and the rate that proves. */
  readonly units: number
  readonly floor: number
  /** Units that the bucket holds at most, where that is known. */
  readonly depth: number
}

/** Holds from now on, at a limit that lies elsewhere than it was taken to. */
const drifted = ({ next, now, state }: Refusal, limit: number, more: Partial<State>): [Move, State] =>
  move(state, now, "limit-drifted", { ...next, phase: "hold", limit, rate: limit, early: 0, ...more })

/**
 * Answers a refusal after a pause that was lost, once few rates explain the refusals: one near the lowest of them is held,
 * for each refusal more would cost another such pause.
 */
const refusedDearly = (refusal: Refusal, bounds: BucketBounds.Bounds | undefined): [Move, State] | undefined => {
  const { bad, state, units } = refusal
  if (lostSeconds(state) === 0 || units < 5 || bounds === undefined || bounds.lowest > bad) return undefined
  const highest = Math.min(bad, bounds.highest)
  if (highest > bounds.lowest * (1 + defaults.settleGap)) return undefined
  const limit = bounds.lowest + defaults.inside * (highest - bounds.lowest)
  return drifted(refusal, limit, { bad: highest, good: bounds.lowest, ...rarer(state) })
}

/** Says whether it was this limit that held the lane back. */
const isMine = (state: State): boolean => state.stepPaced >= 0.9 * state.stepSends

/**
 * Answers a refusal out of a trickle: the bucket must have been full, and somebody else emptied it. Nothing would raise
 * the rate again while it is not in use, so it falls no further than to a share of what it was in use.
 */
const refusedIdle = (refusal: Refusal): [Move, State] | undefined => {
  const { bad, floor, state, units } = refusal
  if (state.stepPaced > 0 || state.emptyAt < 0 || units < defaults.idleUnits || floor > defaults.idleShare * bad) {
    return undefined
  }
  const idleFrom = state.idleFrom || bad
  const rate = Math.max(bad * defaults.earlyCuts[0], idleFrom * defaults.idleTo)
  return drifted(refusal, rate, { idleFrom, ...soon(state) })
}

/** Answers a refusal that was met though little of the limit was in use: calls that came at once, not the rate. */
const refusedInSprint = (refusal: Refusal): [Move, State] | undefined => {
  const { bad, floor, state, units } = refusal
  if (
    !isMine(state) && state.phase !== "settle" && state.emptyAt >= 0 && units >= defaults.fellWithin &&
    floor < defaults.unusedBelow * Math.min(bad, state.limit)
  ) {
    const halfway = floor + defaults.unused * (Math.min(bad, state.limit) - floor)
    const idleFrom = state.stepPaced > 0 ? 0 : state.idleFrom || bad
    const limit = Math.max(halfway, Math.min(bad, idleFrom * defaults.idleTo))
    return drifted(refusal, limit, {
      good: floor,
      bad,
      idleFrom,
      ...(idleFrom > 0 ? soon(state) : {})
    })
  }
  return undefined
}

/** Reads the rate that a close look proved: half of its excess went through before. */
const foundClose = (state: State, bad: number): number =>
  state.stepSends > defaults.probeDoublingSendsClose ? (state.limit + bad) / 2 : state.limit

const refusedInProbe = ({ admitted, bad, depth, floor, next, now, stamp, state }: Refusal): [Move, State] => {
  const found = isClose(state) ? foundClose(state, bad) : Math.max(state.limit * (1 + state.creep), floor)
  const limit = Math.min(found, bad)
  const excess = admitted - (state.stepSent - state.refused) - state.limit * (stamp.at - state.stepAt)
  const unsure = Math.min(defaults.roseUnits, defaults.roseLeast + defaults.roseSeconds * state.limit / state.mean)
  const explained = state.burst * 1.2 + unsure * Math.max(stamp.cost, state.mean)
  if (bad > state.limit * (1 + defaults.roseAt) && excess > explained) {
    const proved = Math.max(floor, bad * defaults.roseTo)
    // where a bucket overflows in each pause that proves no rise: then the probe itself tells how much more there is
    const risen = proved > state.limit ? proved : state.limit + (excess - explained) / (stamp.at - state.stepAt)
    const rate = Math.min(bad, risen)
    const trend = state.rises > 0 ? Math.log(rate / state.roseTo) / (now - state.roseAt) : 0
    return move(state, now, "limit-rose", {
      ...next,
      ...(state.rises > 0 ? { phase: "hold", limit: rate } : { phase: "settle" }),
      rate,
      good: floor,
      bad,
      early: 0,
      excess,
      rises: state.rises + 1,
      roseAt: now,
      roseFrom: state.limit,
      roseTo: rate,
      trend: Math.min(defaults.trendMax, Math.max(0, trend)),
      creep: defaults.creep,
      interval: defaults.eagerSends,
      eager: defaults.eagerAfterRise
    })
  }
  // a bucket does not grow: what goes through above it, and more each time, is a limit that rises slowly
  const deepest = state.measured < defaults.bucketProbes ? Infinity : state.burst * defaults.bucketGrowth
  return move(state, now, "probe-confirmed", {
    ...next,
    phase: "hold",
    limit,
    rate: limit,
    good: limit,
    bad,
    early: 0,
    rises: 0,
    trend: 0,
    burst: Math.min(depth, deepest, Math.max(0, excess, state.burst * 0.8)),
    measured: state.measured + 1,
    ...rarer(state)
  })
}

/** Answers a refusal in `hold`, or leaves it to the search: the second in a row that came early. */
const refusedInHold = (refusal: Refusal): [Move, State] | undefined => {
  const { bad, floor, state, units } = refusal
  if (state.trend > 0) {
    const limit = Math.min(bad * 0.97, Math.max(floor, bad * 0.9))
    return drifted(refusal, limit, { good: limit, bad, trend: state.trend / 2 })
  }
  if (units >= defaults.fellWithin) {
    // a bucket that holds a burst loses nothing to pauses: what went through is the limit itself
    const measured = state.burst > 3 * state.largest ? floor * 1.005 : Math.max(floor, bad * (1 - 1 / units))
    const limit = Math.min(bad * 0.999, Math.max(measured, bad * 0.9))
    return drifted(refusal, limit, { good: limit, bad, ...rarer(state), creep: state.creep / 4 })
  }
  if (state.early === 0) {
    return drifted(refusal, bad * 0.97, {
      bad,
      early: 1,
      creep: state.creep / 4,
      // a close look proved too much: there is more in the bucket
      single: state.single === "yes" ? "no" : state.single,
      // it was made up for a pause with more than the bucket had saved
      burst: state.burst / 2
    })
  }
  return undefined
}

/** Closes the bracket: between what was proved and what was refused. */
const bracketed = ({ bad, floor, next, now, state, units }: Refusal): [Move, State] => {
  if (units >= 5) {
    const low = Math.min(floor, bad * 0.995)
    // where another limit held the lane back, what went through says less about this one
    const rate = low + (isMine(state) ? 0.15 : 0.4) * (bad - low)
    const rose = state.roseFrom > 0 && rate > state.roseFrom * 1.15
    return move(state, now, "bracket-closed", {
      ...next,
      ...(state.roseFrom === 0 ? {} : rose
        ? { roseFrom: 0 }
        : { roseFrom: 0, burst: Math.max(state.burst, state.excess), rises: 0, trend: 0, eager: 0 }),
      ...(rose && state.rises > 1 ? { phase: "hold", limit: rate } : { phase: "settle" }),
      ...(rate < state.limit * defaults.fellBelow
        ? { limit: rate, interval: defaults.eagerSends, eager: defaults.eagerAfterFall }
        : {}),
      rate,
      good: low,
      bad,
      early: 0
    })
  }
  const cut = bad * defaults.earlyCuts[Math.min(state.early, defaults.earlyCuts.length - 1)]!
  // never under what was proved
  const rate = Math.max(cut, Math.min(floor * 0.95, bad * 0.97))
  const fell = state.phase === "hold"
  return move(state, now, fell ? "limit-fell" : "bracket-closed", {
    ...next,
    phase: "settle",
    rate,
    good: 0,
    bad,
    early: state.early + 1,
    creep: defaults.creep,
    ...(fell ? { interval: defaults.eagerSends, eager: defaults.eagerAfterFall, single: "unknown" } : {})
  })
}

/** Lets the next probe come soon. */
const soon = (state: State): Pick<State, "eager" | "interval"> => ({
  eager: Math.max(state.eager, defaults.eagerAfterRise),
  interval: defaults.eagerSends
})

/** Puts the next probe off: not while probes are eager. */
export const rarer = (state: State): Pick<State, "eager" | "interval"> =>
  state.eager > 1
    ? { eager: state.eager - 1, interval: state.interval * defaults.eagerGrowth }
    : {
      eager: 0,
      interval: Math.min(defaults.probeSends, Math.max(defaults.firstProbeSends, state.interval * defaults.rarer))
    }
