/**
 * What one refusal teaches the learner of a rate: how late it arrives, what was admitted before it, and what that
 * proves.
 *
 * ```
 *   sent before the last cut      one more of an episode that was answered: nothing but that
 *   start                         the rate halves, and the search begins
 *   else                          measured against the last moments at which the bucket was empty, then `answer`
 * ```
 *
 * `rate/Answer` says what follows, `AdaptiveRate` describes the whole, and exports `refuse`.
 */
import { answer, defaults as answers } from "./Answer.ts"
import * as Bucket from "./Bucket.ts"
import * as Episode from "./Episode.ts"
import * as Failures from "./Failures.ts"
import * as Probe from "./Probe.ts"
import * as Return from "./Return.ts"
import { believed, defaults as rates, doubling, floorOf, type Move, move, type Stamp, type State } from "./State.ts"
import * as Told from "./Told.ts"
import * as Traffic from "./Traffic.ts"
import * as BucketBounds from "./BucketBounds.ts"
import * as WindowBounds from "./WindowBounds.ts"

/** Holds the constants of this module. */
const defaults = {
  /** Seconds that a refusal may take to arrive without making a difference. */
  lag: 0.05,
  /**
   * A longer stretch may prove this multiple of what the stretch since the last refusal proves, and still be of the
   * same limit.
   */
  same: 1.3,
  /** Seconds of the limit below which a bucket is shallow. */
  shallow: 0.5
} as const

/**
 * Learns from a refusal.
 *
 * **Details**: returns no move for an attempt that was sent before the last cut: it belongs to an episode that was
 * already answered.
 */
export const refuse = (before: State, stamp: Stamp, now: number): [Move | undefined, State] => {
  const [back, given] = Return.refuse(before, stamp, now)
  const [moved, state] = back === undefined ? learned(given, stamp, now) : [back, given]
  const told = Told.weighed(state.told, believed(state))
  return [moved, told === state.told ? state : { ...state, told }]
}

const learned = (before: State, stamp: Stamp, now: number): [Move | undefined, State] => {
  const admitted = stamp.sent - before.traffic.refused
  const empty = { at: stamp.at, admitted }
  const state: State = { ...before, traffic: Traffic.refuse(before.traffic, stamp.cost) }
  if (stamp.at <= state.cutAt) {
    return [undefined, {
      ...state,
      episode: Episode.again(state.episode, stamp.asked ?? 0),
      bucket: Bucket.refusedAgain(state.bucket, empty, stamp.cost),
      windows: WindowBounds.refuseAgain(state.windows, stamp.cost, stamp.at),
      ...Failures.withdraw(state, stamp.at)
    }]
  }
  const { bucket: { empty: last, since }, phase, traffic } = state
  const units = Math.max(0, (admitted - (last?.admitted ?? 0)) / Math.max(traffic.largest, 1e-9))
  const heardAfter = now - stamp.at
  const bad = refusedRate(state, heardAfter)
  const short = floorOf(state, admitted, stamp.cost / 2, stamp.at)
  const whole = since === undefined || stamp.at <= since.at
    ? 0
    : Math.max(0, admitted - since.admitted - stamp.cost / 2) / (stamp.at - since.at)
  // few units measure badly: one more or less changes much
  const few = last !== undefined && units < answers.few ? stamp.cost / (stamp.at - last.at) : 0
  // what went through since the limit last moved is the better measure, while it is still the same limit
  const same = whole < bad && whole < (short + few) * defaults.same
  const moved = phase !== "start" && units < answers.few
  const learn = (of: BucketBounds.State) => BucketBounds.refuse(of, stamp.at, stamp.cost, bad, moved)
  const seen = learn(state.bounds)
  const taken = BucketBounds.bounds(seen)
  const { kept } = Failures.moved(state.failures, learn)
  const explained = kept && BucketBounds.bounds(kept)
  const failures = kept === undefined ? state.failures : Failures.weigh({ ...state.failures, kept }, seen, kept)
  const bounds = failures.areCounted ? explained : taken
  const steady = bounds?.episodes === BucketBounds.defaults.episodes && state.rise.count === 0
  const floor = Math.max(short, same ? whole : 0, possible(bounds, bad, steady))
  const next: State = {
    ...state,
    lowest: units >= 1 && bad <= state.lowest ? Math.max(state.lowestProved, state.lowest / 2) : state.lowest,
    cutAt: now,
    episode: Episode.begin(state.episode, heardAfter, stamp.asked ?? 0),
    streak: Episode.follow(state.streak, units, bad),
    bucket: {
      ...state.bucket,
      empty,
      since: same ? since ?? empty : empty,
      depth: steady ? bounds.depth : Infinity,
      most: bounds?.depth ?? state.bucket.most,
      holds: bounds?.holds ?? (kept === undefined ? 0 : state.bucket.holds),
      single: singleAfter(state, bounds)
    },
    bounds: seen,
    windows: windowsOfAlike(state, stamp, seen),
    failures
  }
  if (phase === "start" && next.windows.known === undefined) {
    const met = { units: admitted, seconds: stamp.at - traffic.since }
    const probe = Probe.eagerly(state.probe, Probe.defaults.eagerAtStart)
    const searching: State = { ...next, phase: "settle", limit: 0, bad, bucket: { ...next.bucket, met }, probe }
    return move(searching, now, "start-refused", bad * rates.firstCut)
  }
  return answer({ state, next, stamp, now, bad, admitted, units, floor, bounds })
}

/** Looks for windows where attempts are alike: elsewhere a mirror learns the limit, and asks for them itself. */
const windowsOfAlike = (state: State, stamp: Stamp, seen: BucketBounds.State): WindowBounds.State => {
  const { largest, mean } = state.traffic
  const areAlike = largest <= stamp.cost && Math.abs(mean - stamp.cost) <= 1e-9 * stamp.cost
  return areAlike ? windowsAfter(state, stamp, seen) : WindowBounds.empty
}

/** Looks for windows; `seen` are the rates that explain the refusals, with this one, `lost` says that others are not known. */
export const windowsAfter = (
  { bounds, traffic: { mean }, windows }: State,
  { asked = 0, at, cost }: Stamp,
  seen: BucketBounds.State,
  lost = false,
  other?: number
): WindowBounds.State => {
  const episodes = BucketBounds.explains(seen)
  // where a bucket explains all that is remembered, no window explains more
  const explained = episodes === BucketBounds.defaults.remembered ? Infinity : episodes
  const forgot = lost || BucketBounds.hasForgotten(bounds)
  const sent = BucketBounds.sentSince(bounds, at)
  const refusal = { at, cost, mean, asked, explained, compared: seen.episodes.length, forgot, other, ...sent }
  return WindowBounds.refuse(WindowBounds.withdraw(windows, cost, at), refusal)
}

/**
 * Reads the rate that was refused: in `start`, it was lower when the attempt was sent than it is when the refusal
 * arrives.
 */
export const refusedRate = (state: State, heardAfter: number): number => {
  const late = state.phase === "start" ? Math.max(0, heardAfter - defaults.lag) / doubling(state) : 0
  return late > 0 ? Math.max(state.limit, state.rate * 2 ** -late) : state.rate
}

/** Computes a rate that the refusals of late prove: the lowest that explains them, a little more over a shallow bucket. */
const possible = (bounds: BucketBounds.Bounds | undefined, bad: number, steady: boolean): number => {
  if (bounds === undefined || bounds.lowest > bad) return 0
  const shallow = steady && bounds.depth < defaults.shallow * bounds.lowest
  const inside = shallow ? answers.inside * (Math.min(bounds.highest, bad) - bounds.lowest) : 0
  return Math.min(bounds.lowest + inside, bad * 0.98)
}

/** Says whether the bucket holds hardly more than one attempt: once it was seen so, until the bounds exclude the limit. */
const singleAfter = (state: State, bounds: BucketBounds.Bounds | undefined): Bucket.Bucket["single"] => {
  const { bucket: { single }, rise, traffic } = state
  if (rise.count > 0) return "unknown"
  if (bounds === undefined || single === "no") return single
  if (bounds.depth < Bucket.defaults.single * traffic.mean) return "yes"
  const { step } = BucketBounds.defaults
  const limit = believed(state)
  return bounds.lowest / step <= limit && limit <= bounds.highest * step ? single : "unknown"
}
