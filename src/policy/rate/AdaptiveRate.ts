/**
 * Learns how many units per second (requests, or tokens) a provider admits, from nothing but its refusals.
 *
 * ```text
 * start ──refused──▶ settle ──bracket < 3 %──▶ hold ──interval over──▶ probe
 * ×2 per 0.5 s        ▲ ▲                       │ ▲                      │
 *                     │ └──refused early: fell──┘ └─refused: same limit──┤
 *                     └──────────── refused far above: the limit rose ───┘
 * ```
 *
 * ```ts
 * import { AdaptiveRate } from "effect-together/policy"
 * const sent = AdaptiveRate.send(AdaptiveRate.make(), 1, true, 1)
 * const [moved] = AdaptiveRate.refuse(sent, { at: 1, sent: 0, cost: 1 }, 1)
 * moved // => { from: 10, to: 5, reason: "start-refused" }
 * ```
 *
 * **Details**
 *
 * A provider's limit is modelled as a bucket that refills at an unknown rate. A refusal is then a measurement: at that
 * moment the bucket was empty. What was admitted between two such moments is the limit itself, times the time between
 * them, whatever the burst; and what was admitted since the last one, without a refusal, is a floor under the limit.
 * So the learner searches between a rate known good and a rate known bad, and the bracket closes with each episode.
 * Two refusals or more also bound the limit whatever the depth of the bucket (`BucketBounds`): where it is shallow, much
 * of a pause is lost, and what was admitted alone would measure too little.
 *
 * - **start**: nothing is known; the rate doubles while it meets no refusal and the caller uses it, and, where many
 *   attempts fail and are given back, while at least half of it goes through.
 * - **settle**: each step covers two fifths of the distance to the lowest rate refused, as soon as enough units went
 *   through to prove the present rate. Where refusal followed refusal with nothing admitted in between, the bucket was
 *   empty rather than slow, or a window was used up: once it admits again, half of the rate before is tried.
 * - **hold**: the rate stays just under the limit, where a refusal is rare.
 * - **probe**: the excess over the limit doubles every half second, from 5 %, until a refusal tells where the limit is; more
 *   slowly while the limit keeps rising, and where refusals are heard of late; and never to more than 1.5 times what
 *   was really sent in the last two to four seconds. A bucket that holds hardly more than one attempt is looked at
 *   closely: the excess begins at 0.5 %, for there each attempt that goes through proves its own rate.
 *   The interval between probes doubles with each probe that finds nothing and is short after a fall. It is the longer the
 *   more refusals a probe costs.
 *
 * Where the rate fell far, what held before is tried again once nothing is refused: `rate/Return`.
 *
 * Time in which nobody calls measures nothing, since the bucket is full and what would refill it is lost. So the
 * learner's clock stops two seconds after the last attempt, until the next one, unless that one had to wait. After a
 * silence a lane goes on at the rate that it had, and its next refusal is measured by the time in use.
 *
 * The part of a pause that exceeds the filling of the bucket measures nothing either, and is what a refusal costs
 * (`rate/Pause`). If that is much, the search waits longer before it risks another refusal, the rates that explain the
 * refusals are believed as soon as they lie close together, and a probe is made only if what it may find is worth its
 * refusal.
 *
 * Silence counts only while a refusal could have been heard: time in which the program itself stood still, and read no
 * answer, is taken out of each step (`deafened`). The bucket filled meanwhile all the same, so this time stays in what
 * measures the limit.
 *
 * One episode of congestion makes one cut: a refusal of an attempt that was sent before the last cut teaches nothing. A
 * refusal never raises the rate. Growth needs use: if less than half of the units had to wait for this limit, the rate
 * stays.
 *
 * Numbers are plain: seconds, units, units per second. Time comes in as `now`.
 *
 * **Source**: slow start and congestion episodes as in RFC 5681; plateau below the last limit and memory of it as in
 * CUBIC (RFC 9438, and the AWS adaptive retry mode built on it). We differ in the estimate: CUBIC cuts to a fixed share,
 * we cut to what was measured, because a bucket, unlike a network path, admits exactly its rate while it is empty.
 */

import * as Bucket from "./Bucket.ts"
import * as Failures from "./Failures.ts"
import * as Pause from "./Pause.ts"
import * as Probe from "./Probe.ts"
import * as Return from "./Return.ts"
import * as Search from "./Search.ts"
import { believed, doubling, found, isClose, type Move, move, patience, type State } from "./State.ts"
import * as Step from "./Step.ts"
import * as Told from "./Told.ts"
import * as Traffic from "./Traffic.ts"
import * as Use from "./Use.ts"
import * as BucketBounds from "./BucketBounds.ts"
import * as WindowBounds from "./WindowBounds.ts"

export { lostSeconds } from "./Pause.ts"

export { refuse, windowsAfter } from "./Refusal.ts"

export {
  afterVain,
  defaults,
  make,
  type Move,
  type Options,
  type Phase,
  type Reason,
  type Stamp,
  type State
} from "./State.ts"

/** Holds the constants of `start`. */
const starting = {
  /** Steps in which the rate doubles, and those that are caught up with at once. */
  steps: 4,
  /** Share of a step's attempts given back from which growth needs this share of the rate admitted. */
  back: 0.25,
  use: 0.5
} as const

/** Reads the seconds that measure nothing: in which nobody wanted anything, or which a pause lost. */
const idleSeconds = (state: State, paced: boolean, now: number): number => {
  const silent = Math.max(0, now - state.traffic.at - patience(state))
  if (!paced) return silent
  return state.traffic.at <= state.cutAt ? Math.min(silent, Pause.lostSeconds(state)) : 0
}

/** Counts an attempt as sent; `paced` says that it had to wait for this limit. */
export const send = (before: State, cost: number, paced: boolean, now: number): State => {
  const idle = idleSeconds(before, paced, now)
  const state = idle > 0 ? rested(before, idle) : before
  const { returns, traffic } = state
  // every record that may change is named, none is spread in by a condition: this runs for each attempt
  return {
    ...state,
    step: Step.send(state.step, idle > 0, paced),
    traffic: Traffic.send(traffic, cost, now),
    use: used(state, now),
    // no limit, no bucket
    bounds: state.rate === Infinity ? state.bounds : BucketBounds.send(state.bounds, cost, now),
    windows: WindowBounds.send(state.windows, cost, now),
    failures: Failures.moved(state.failures, (kept) => BucketBounds.send(kept, cost, now)),
    returns: returns.triedAt === Infinity ? { ...returns, triedAt: now } : returns
  }
}

/** Moves the marks of what was sent where that is due. */
const used = ({ rate, traffic, use }: State, now: number): Use.Use =>
  Use.isMarkDue(use, traffic.mean, rate, now)
    ? { mark: use.nextMark, nextMark: { at: now, sent: traffic.sent } }
    : use

/** Takes the time that measures nothing out of all that is measured; attempts before it teach nothing. */
const rested = (state: State, idle: number): State => ({
  ...state,
  cutAt: Math.max(state.cutAt, state.traffic.at),
  step: { ...state.step, at: state.step.at + idle },
  traffic: { ...state.traffic, since: state.traffic.since + idle },
  use: Use.rested(state.use, idle),
  bucket: Bucket.rested(state.bucket, idle)
})

/** Reads the rate at which was sent of late in this step and not given back; Infinity where it is shorter than `least`. */
const usedOf = (state: State, now: number, least: number): number => {
  const { step, traffic, use } = state
  const { at, sent } = use.mark.at > step.at ? use.mark : step
  const seconds = Math.min(now, traffic.at + patience(state)) - at
  return seconds < least ? Infinity : (traffic.sent - sent) / seconds
}

/** Corrects the units of an attempt once its real cost is known. */
export const correct = (state: State, difference: number): State => ({
  ...state,
  traffic: Traffic.correct(state.traffic, difference)
})

/** Takes units of an attempt back where its bucket is mirrored: all of them, if the provider did not count it. */
export const returned = (state: State, at: number, cost: number, units: number, now: number): State => {
  const isAll = units === cost
  return {
    ...state,
    traffic: Traffic.correct(state.traffic, -units),
    bounds: isAll ? BucketBounds.withdraw(state.bounds, at) : BucketBounds.credit(state.bounds, units, at, now),
    windows: isAll ? WindowBounds.withdraw(state.windows, units, at) : WindowBounds.credit(state.windows, units, at)
  }
}

/** Reads the units that were admitted, as far as is known. */
export const admitted = (state: State): number => Traffic.admitted(state.traffic)

/** Takes an attempt back that was sent at `at` and that the provider did not count. */
export const withdraw = (state: State, cost: number, at: number): State => ({
  ...notAdmitted(state, at),
  step: Step.withdraw(state.step),
  traffic: Traffic.correct(state.traffic, -cost),
  windows: WindowBounds.withdraw(state.windows, cost, at),
  ...Failures.withdraw(state, at)
})

/** Takes an attempt back that failed, unless the provider counts what it fails: no limit was met. */
export const failed = (before: State, cost: number, at: number): State => {
  const { bounds, bucket, step, traffic, use } = before
  const failures = Failures.fail(before.failures, bounds)
  const state: State = {
    ...notAdmitted(before, at),
    failures,
    step: Step.fail(Step.withdraw(step)),
    bounds: BucketBounds.fail(bounds, at)
  }
  if (failures.areCounted) return state
  return {
    ...state,
    step: Step.less(state.step, cost, at),
    traffic: Traffic.correct(traffic, -cost),
    windows: WindowBounds.withdraw(state.windows, cost, at),
    use: Use.less(use, cost, at),
    bucket: Bucket.less(bucket, cost, at)
  }
}

const notAdmitted = (state: State, at: number): State =>
  at === state.returns.triedAt ? { ...state, returns: { ...state.returns, triedAt: Infinity } } : state

/** Takes out of what silence tells the time in which no refusal could be heard: the caller itself stood still. */
export const deafened = (state: State, seconds: number): State => ({
  ...state,
  step: Step.deaf(state.step, seconds),
  returns: Return.deaf(state.returns, seconds)
})

/** Ends a probe that tells nothing, for what it sends comes back for another reason than the limit. */
export const unprobed = (state: State, now: number): [Move | undefined, State] =>
  state.phase === "probe" ? move({ ...state, phase: "hold" }, now, "settled", state.limit) : [undefined, state]

/**
 * Raises the rate where the last step went through without a refusal.
 *
 * **Details**: call it before each admission; it is a comparison or two where nothing is due.
 */
export const advance = (state: State, now: number): [Move | undefined, State] => {
  if (state.rate >= state.ceiling || !Step.isUsed(state.step)) return [undefined, state]
  const back = Return.begin(state, now)
  if (back !== undefined) return back
  const elapsed = Math.min(now, state.traffic.at + patience(state)) - state.step.at - state.step.deaf
  switch (state.phase) {
    case "start":
      return grown(state, elapsed, now)
    case "settle":
      return Search.advance(state, elapsed, now)
    case "hold":
      return held(state, elapsed, now)
    case "probe":
      return probed(state, elapsed, now)
  }
}

/** Doubles the rate while nothing is known. */
const grown = (state: State, elapsed: number, now: number): [Move | undefined, State] => {
  const { step } = state
  const seconds = doubling(state) / starting.steps
  if (elapsed < seconds || step.sends < 1) return [undefined, state]
  // a provider may answer 503 where others refuse: what it fails by chance comes back, and is made up for
  const failing = step.back > starting.back * step.sends
  if (failing && usedOf(state, now, seconds) < starting.use * state.rate) return [undefined, state]
  const steps = Math.min(starting.steps, Math.floor(elapsed / seconds))
  const rate = state.rate * 2 ** (steps / starting.steps)
  const stated = state.returns.underWay?.to ?? Infinity
  return rate < stated ? move(state, now, "start-grew", rate) : known(state, stated, now)
}

/** Begins a probe where one is due, and follows the trend of the limit until then. */
const held = (state: State, elapsed: number, now: number): [Move | undefined, State] => {
  const { episode, probe, step } = state
  const sends = step.sends - step.failed
  const isEager = probe.eager > 0
  const slow = isEager && sends >= Probe.defaults.eagerLeast && elapsed >= Probe.defaults.eagerSlow * probe.interval
  const due = slow || sends >= probe.interval * episode.usual
  const least = isEager ? Probe.defaults.eagerSeconds : Probe.defaults.seconds
  if (due && sends >= Pause.earning(state) && elapsed >= least) {
    const limit = state.rate
    const useBefore = Math.min(limit, usedOf(state, now, Use.defaults.markSeconds))
    const probing: State = { ...state, phase: "probe", limit, probe: { ...probe, useBefore } }
    return move(probing, now, "probe-began", limit * (1 + firstExcess(state)))
  }
  const rate = state.limit * Math.exp(state.rise.trend * elapsed)
  return rate > state.rate * 1.01 ? [undefined, { ...state, rate }] : [undefined, state]
}

/** Raises the rate of a probe, or ends it where what it sends comes back. */
const probed = (state: State, elapsed: number, now: number): [Move | undefined, State] => {
  const { limit, probe, rise, step } = state
  // no faster than refusals are heard of, or a probe sends many in vain
  const least = rise.count > 0 ? Probe.defaults.doublingRising : Probe.defaults.doubling
  const seconds = Math.max(least, Probe.defaults.lag * state.episode.lag)
  const doublingSends = isClose(state) ? Probe.defaults.doublingSendsClose : Probe.defaults.doublingSends
  const doublings = Math.min(elapsed / seconds, step.sends / doublingSends, 60)
  const wanted = limit * (1 + firstExcess(state) * 2 ** doublings)
  const net = usedOf(state, now, Use.defaults.markSeconds)
  // more was sent for long, and came back: the limit was met, though no refusal said so
  const isMet = step.back - step.failed > Probe.defaults.back * step.sends && step.sends >= Probe.defaults.backSends &&
    state.rate > Probe.defaults.met * limit && net < Probe.defaults.use * probe.useBefore
  if (isMet) {
    const met: State = { ...state, phase: "hold", limit: net, probe: Probe.rarer(probe), rise: { ...rise, trend: 0 } }
    return found(met, limit, now, "probe-confirmed", net)
  }
  // a rate that nobody uses would run away
  const most = Math.max(state.rate, Probe.defaults.useGrowth * net)
  const rate = Math.min(wanted, state.rate * Probe.defaults.useGrowth, most, state.ceiling)
  return rate > state.rate * (1 + firstExcess(state) / 5) ? [undefined, { ...state, rate }] : [undefined, state]
}

const firstExcess = (state: State): number => isClose(state) ? Probe.defaults.excessClose : Probe.defaults.excess

/** Holds the limit that is stated. */
const known = (state: State, limit: number, now: number): [Move, State] => {
  const { high, probe, returns, streak } = state
  return move(
    {
      ...state,
      phase: "hold",
      limit,
      bad: Infinity,
      streak: { ...streak, early: 0 },
      probe: { ...probe, interval: Probe.defaults.sends },
      high: { ...high, rate: Math.min(high.rate, limit) },
      returns: { ...returns, underWay: undefined }
    },
    now,
    "provider-said",
    limit
  )
}

/**
 * Learns from a limit that the provider states.
 *
 * **Details**: taken at once, unless it was said before the last cut, or was said before and nothing else since. One far
 * above what was refused is tried first, from twice that rate on. Once the provider refused much less than it states, as
 * much or more is ignored.
 */
export const told = (state: State, stated: number, sentAt: number, now: number): [Move | undefined, State] => {
  if (sentAt <= state.cutAt || !Told.isNews(state.told, stated, sentAt)) return [undefined, state]
  const next: State = { ...state, told: { ...state.told, limit: stated, sentAt } }
  if (Told.isDisproved(state.told, stated, believed(state), sentAt)) return [undefined, next]
  return Return.toward(next, stated, now) ?? known(next, Math.max(state.lowest, stated), now)
}
