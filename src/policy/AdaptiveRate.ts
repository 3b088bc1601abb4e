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
 *   more refusals a probe costs, and the more of the limit is lost in the pause that follows.
 *
 * Where the rate fell far, what held before is tried again once nothing is refused: `AdaptiveRateReturn`.
 *
 * Time in which nobody wants anything measures nothing: the bucket is full and turns units away. So the learner's clock
 * stops two seconds after the last attempt, until the next one, unless that one had to wait. A lane comes back from a
 * silence at the rate it had, and its next refusal is measured against the time in use. Where calls trickle more slowly
 * than the limit allows, what is proved is measured from the moment at which they last fell behind by two seconds.
 *
 * A pause that the provider asks for, longer than the bucket takes to fill, measures nothing either, and is what a refusal
 * costs (`AdaptiveRatePause`). There the search takes its time before it risks another, the rates that explain the refusals
 * are believed as soon as they are few, and a probe comes only where what it may find is worth its refusal.
 *
 * One episode of congestion is one cut: a refusal of an attempt sent before the last cut teaches nothing. A refusal
 * never raises the rate. Growth needs use: where less than half the units had to wait for this limit, the rate stays.
 *
 * Numbers are plain: seconds, units, units per second. Time comes in as `now`.
 *
 * **Source**: slow start and congestion episodes as in RFC 5681; plateau below the last limit and memory of it as in
 * CUBIC (RFC 9438, and the AWS adaptive retry mode built on it). We differ in the estimate: CUBIC cuts to a fixed share,
 * we cut to what was measured, because a bucket, unlike a network path, admits exactly its rate while it is empty.
 */

import * as Pause from "./AdaptiveRatePause.ts"
import { rarer } from "./AdaptiveRateRefusal.ts"
import * as Return from "./AdaptiveRateReturn.ts"
import * as BucketBounds from "./BucketBounds.ts"
import {
  afterVain,
  believed,
  defaults,
  doubling,
  floorOf,
  heard,
  isClose,
  type Move,
  move,
  patience,
  type State
} from "./AdaptiveRateState.ts"

export { lostSeconds } from "./AdaptiveRatePause.ts"

export { refuse } from "./AdaptiveRateRefusal.ts"

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
} from "./AdaptiveRateState.ts"

/** Reads the seconds that measure nothing: in which nobody wanted anything, or which a pause lost. */
const idleSeconds = (state: State, paced: boolean, now: number): number => {
  const silent = Math.max(0, now - state.sentAt - patience(state))
  if (!paced) return silent
  return state.sentAt <= state.cutAt ? Math.min(silent, Pause.lostSeconds(state)) : 0
}

/** Counts an attempt as sent; `paced` says that it had to wait for this limit. */
export const send = (before: State, cost: number, paced: boolean, now: number): State => {
  const idle = idleSeconds(before, paced, now)
  const state = idle > 0 ? rested(before, idle) : before
  const paid = now > state.sentAt ? believed(state) * (now - state.sentAt) : 0
  const slack = Math.max(0, state.slack + paid)
  const unused = !paced && slack > patience(state) * believed(state)
  const isDue = now - state.nextMark.at >= Math.max(defaults.useSeconds, defaults.useSlots * state.mean / state.rate)
  // every field is named, none is spread in by a condition: this runs for each attempt
  return {
    ...state,
    slack: unused ? 0 : Math.max(0, slack - cost),
    usedAt: unused ? now : state.usedAt,
    usedAdmitted: unused ? state.sent - state.refused : state.usedAdmitted,
    // no limit, no bucket
    bucket: state.rate === Infinity ? state.bucket : BucketBounds.send(state.bucket, cost, now),
    mark: isDue ? state.nextMark : state.mark,
    nextMark: isDue ? { at: now, sent: state.sent } : state.nextMark,
    pause: paced && state.sentAt <= state.cutAt ? now - state.cutAt : state.pause,
    sent: state.sent + cost,
    sentAt: now,
    triedAt: state.triedAt === Infinity ? now : state.triedAt,
    stepSends: idle > 0 ? state.stepSends : state.stepSends + 1,
    stepPaced: paced ? state.stepPaced + 1 : state.stepPaced,
    idleFrom: paced ? 0 : state.idleFrom,
    largest: Math.max(cost, state.largest * 0.995),
    mean: state.mean === 0 ? cost : state.mean * 0.98 + cost * 0.02
  }
}

/** Takes the time that measures nothing out of all that is measured; attempts before it teach nothing. */
const rested = (state: State, idle: number): State => ({
  ...state,
  madeAt: state.madeAt + idle,
  stepAt: state.stepAt + idle,
  mark: { ...state.mark, at: state.mark.at + idle },
  nextMark: { ...state.nextMark, at: state.nextMark.at + idle },
  emptyAt: state.emptyAt < 0 ? state.emptyAt : state.emptyAt + idle,
  sinceAt: state.sinceAt < 0 ? state.sinceAt : state.sinceAt + idle,
  cutAt: Math.max(state.cutAt, state.sentAt)
})

/** Reads the rate at which was sent of late in this step and not given back; Infinity where it is shorter than `least`. */
const usedOf = (state: State, now: number, least: number): number => {
  const { at, sent } = state.mark.at > state.stepAt ? state.mark : { at: state.stepAt, sent: state.stepSent }
  const seconds = Math.min(now, state.sentAt + patience(state)) - at
  return seconds < least ? Infinity : (state.sent - sent) / seconds
}

/** Reads the attempts that a refusal costs, by the pause that follows it: those that the bucket does not save. */
const lost = (state: State): number => Math.max(0, state.pause * state.rate - 2 * state.depth) / state.mean

/** Corrects the units of an attempt once its real cost is known. */
export const correct = (state: State, difference: number): State => ({ ...state, sent: state.sent + difference })

/** Takes an attempt back that was sent at `at` and that the provider did not count. */
export const withdraw = (state: State, cost: number, at: number): State => ({
  ...correct(state, -cost),
  stepBack: state.stepBack + 1,
  // what failed was not admitted
  triedAt: at === state.triedAt ? Infinity : state.triedAt,
  bucket: BucketBounds.withdraw(state.bucket, at)
})

/**
 * Raises the rate where the last step went through without a refusal.
 *
 * **Details**: call it before each admission; it is a comparison or two where nothing is due.
 */
export const advance = (state: State, now: number): [Move | undefined, State] => {
  const sends = state.stepSends
  const elapsed = Math.min(now, state.sentAt + patience(state)) - state.stepAt
  if (state.rate >= state.ceiling || state.stepPaced * 2 < sends) return [undefined, state]
  const back = Return.begin(state, now)
  if (back !== undefined) return back
  switch (state.phase) {
    case "start": {
      const seconds = doubling(state) / 4
      if (elapsed < seconds || sends < 1) return [undefined, state]
      // a provider may answer 503 where others refuse: what it fails by chance comes back, and is made up for
      const failing = state.stepBack > defaults.startBack * sends
      if (failing && usedOf(state, now, seconds) < defaults.startUse * state.rate) return [undefined, state]
      const steps = Math.min(4, Math.floor(elapsed / seconds))
      return move(state, now, "start-grew", { rate: state.rate * 2 ** (steps / 4) })
    }
    case "settle":
      return searched(state, elapsed, now)
    case "hold": {
      const least = state.eager > 0 ? defaults.eagerSeconds : defaults.probeSeconds
      const slow = state.eager > 0 && sends >= defaults.eagerLeast && elapsed >= defaults.eagerSlow * state.interval
      const dear = state.eager > 0 ? 0 : defaults.probeLost * lost(state)
      const due = slow || sends >= Math.max(dear, state.interval * state.perEpisode)
      if (due && sends >= Pause.earning(state) && elapsed >= least) {
        const limit = state.rate
        const useBefore = Math.min(limit, usedOf(state, now, defaults.useSeconds))
        return move(state, now, "probe-began", {
          phase: "probe",
          limit,
          rate: limit * (1 + firstExcess(state)),
          useBefore
        })
      }
      const rate = state.limit * Math.exp(state.trend * elapsed)
      return rate > state.rate * 1.01 ? [undefined, { ...state, rate }] : [undefined, state]
    }
    case "probe": {
      // no faster than refusals are heard of, or a probe sends many in vain
      const rising = state.rises > 0 ? defaults.probeDoublingRising : defaults.probeDoubling
      const seconds = Math.max(rising, defaults.probeLag * state.lag)
      const doublingSends = isClose(state) ? defaults.probeDoublingSendsClose : defaults.probeDoublingSends
      const excess = Math.min(elapsed / seconds, sends / doublingSends, 60)
      const wanted = state.limit * (1 + firstExcess(state) * 2 ** excess)
      const net = usedOf(state, now, defaults.useSeconds)
      // more was sent for long, and came back: the limit was met, though no refusal said so
      const isMet = state.stepBack > defaults.probeBack * sends && sends >= defaults.probeBackSends &&
        state.rate > defaults.probeMet * state.limit && net < defaults.probeUse * state.useBefore
      if (isMet) {
        return move(state, now, "probe-confirmed", { phase: "hold", rate: net, limit: net, trend: 0, ...rarer(state) })
      }
      // a rate that nobody uses would run away
      const used = Math.max(state.rate, defaults.useGrowth * net)
      const rate = Math.min(wanted, state.rate * 1.5, used, state.ceiling)
      return rate > state.rate * (1 + firstExcess(state) / 5) ? [undefined, { ...state, rate }] : [undefined, state]
    }
  }
}

const firstExcess = (state: State): number => isClose(state) ? defaults.probeExcessClose : defaults.probeExcess

/** Raises the rate in a search: as soon as what went through proves it, or the search took long enough. */
const searched = (state: State, elapsed: number, now: number): [Move | undefined, State] => {
  if (state.inVain >= defaults.emptied && state.stepSends > 0 && now - state.sentAt > heard(state)) {
    const rate = Math.max(state.rate, afterVain(state))
    return move(state, now, "probe-began", { phase: "probe", limit: state.rate, rate, early: 0, inVain: 0 })
  }
  const gap = (state.bad - state.rate) / state.rate
  // what was sent since may still be refused
  if (state.stepSends < 4 || elapsed < state.lag) return [undefined, state]
  const good = floorOf(state, state.sent - state.refused, state.mean, now)
  const slow = state.eager > 0 && elapsed > defaults.settleSlow && gap < defaults.settleGap
  const long = slow || (elapsed > defaults.settleSeconds && state.stepSends > Pause.longSends(state))
  if (gap < defaults.precision || long) {
    const burst = Math.max(state.burst, state.metUnits - state.rate * state.metSeconds)
    return move(state, now, "settled", { phase: "hold", rate: state.rate, good, limit: state.rate, burst })
  }
  if (good < state.rate / (1 + gap / 2)) return [undefined, state]
  return move(state, now, "bracket-raised", { rate: state.rate * (1 + gap * 0.4), good, early: 0 })
}

/**
 * Learns from a limit that the provider states.
 *
 * **Details**: taken at once, unless it was said before the last cut, or was said before and nothing else since. Once
 * the provider refused much less than it states, as much or more is ignored.
 */
export const told = (state: State, stated: number, sentAt: number, now: number): [Move | undefined, State] => {
  const same = Math.abs(stated - state.told) <= state.told * 0.02
  if (!(stated > 0) || !Number.isFinite(stated) || sentAt <= state.cutAt || same) return [undefined, state]
  if (
    state.overstated > 0 && stated >= defaults.asMuch * state.overstated &&
    believed(state) < defaults.overstated * stated
  ) return [undefined, state]
  const limit = Math.max(state.lowest, stated)
  return move(state, now, "provider-said", {
    phase: "hold",
    rate: limit,
    limit,
    good: limit,
    bad: Infinity,
    told: stated,
    high: { ...state.high, rate: Math.min(state.high.rate, limit) },
    returning: undefined,
    early: 0,
    interval: defaults.probeSends
  })
}
