/**
 * Learns how many units per second (requests, or tokens) a provider admits, from nothing but its refusals.
 *
 * A provider's limit is modelled as a bucket that refills at an unknown rate. A refusal is then a measurement: at that
 * moment the bucket was empty. What was admitted between two such moments is the limit itself, times the time between
 * them, whatever the burst; and what was admitted since the last one, without a refusal, is a floor under the limit.
 * So the learner searches between a rate known good and a rate known bad, and the bracket closes with each episode.
 * Two refusals and more also bound the limit whatever the depth of the bucket (`BucketBounds`): where it is shallow, much
 * of a pause is lost, and what was admitted alone would measure too little.
 *
 * ```
 *            refused                     bracket < 2 %                 interval over
 *   start ─────────────▶ settle ──────────────────────▶ hold ────────────────────────▶ probe
 *   ×2 per 0.5 s            │ ▲                         │  ▲       refused, same limit   │
 *                           └─┘ halve the bracket       │  └─────────────────────────────┤
 *                             ▲    refused early: fell  │                                │
 *                             └─────────────────────────┴────────────────────────────────┘
 *                                                         refused far above: the limit rose
 * ```
 *
 * - **start**: nothing is known; the rate doubles while it meets no refusal and the caller uses it.
 * - **settle**: the rate halves the distance to the lowest rate refused, as soon as enough units went through to prove
 *   the present one.
 *   Where refusal followed refusal with nothing admitted in between, the bucket was empty rather than slow, or a window
 *   was used up: once it admits again, half of the rate before is tried.
 * - **hold**: the rate stays just under the limit, where a refusal is rare.
 * - **probe**: the excess over the limit doubles every half second, from 5 %, until a refusal tells where the limit is; more
 *   slowly while the limit keeps rising, and where refusals are heard of late.
 *   The interval between probes doubles with each probe that finds nothing, is short after a fall, and is the longer the
 *   more refusals one costs, and the more of the limit is lost in the pause that follows.
 *
 * Time in which nobody wants anything measures nothing: the bucket is full and turns units away. So the learner's clock
 * stops two seconds after the last attempt, until the next one, unless that one had to wait. A lane comes back from a
 * silence at the rate it had, and its next refusal is measured against the time in use. Where calls trickle more slowly
 * than the limit allows, what is proved is measured from the moment at which they last fell behind by two seconds.
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

import * as BucketBounds from "./BucketBounds.ts"
import { defaults, type Move, type Reason, type Stamp, type State } from "./AdaptiveRateState.ts"

export {
  defaults,
  make,
  type Move,
  type Options,
  type Phase,
  type Reason,
  type Stamp,
  type State
} from "./AdaptiveRateState.ts"

const move = (
  state: State,
  now: number,
  reason: Reason,
  next: Partial<State> & { readonly rate: number }
): [Move, State] => {
  const to = Math.min(state.ceiling, Math.max(state.lowest, next.rate))
  return [
    { from: state.rate, to, reason },
    { ...state, ...next, rate: to, stepAt: now, stepSent: state.sent, stepSends: 0, stepPaced: 0 }
  ]
}

/** Counts an attempt as sent; `paced` says that it had to wait for this limit. */
export const send = (before: State, cost: number, paced: boolean, now: number): State => {
  const idle = paced ? 0 : Math.max(0, now - before.sentAt - patience(before))
  const state = idle > 0 ? rested(before, idle) : before
  const paid = now > state.sentAt ? believed(state) * (now - state.sentAt) : 0
  const slack = Math.max(0, state.slack + paid)
  const unused = !paced && slack > patience(state) * believed(state)
  return {
    ...state,
    ...(unused
      ? { slack: 0, usedAt: now, usedAdmitted: state.sent - state.refused }
      : { slack: Math.max(0, slack - cost) }),
    // no limit, no bucket
    bucket: state.rate === Infinity ? state.bucket : BucketBounds.send(state.bucket, cost, now),
    heap: Math.max(0, state.heap - paid) + cost,
    pause: paced && state.sentAt <= state.cutAt ? now - state.cutAt : state.pause,
    sent: state.sent + cost,
    sentAt: now,
    stepSends: idle > 0 ? state.stepSends : state.stepSends + 1,
    stepPaced: paced ? state.stepPaced + 1 : state.stepPaced,
    largest: Math.max(cost, state.largest * 0.995),
    mean: state.mean === 0 ? cost : state.mean * 0.98 + cost * 0.02
  }
}

/** Reads the seconds of silence, or of slack, from which a bucket is taken for full: it turns units away from then on. */
const patience = (state: State): number =>
  Math.max(defaults.restSeconds, (defaults.restSlots * state.mean) / believed(state))

/** Takes the time in which nobody wanted anything out of all that is measured; attempts before it teach nothing. */
const rested = (state: State, idle: number): State => ({
  ...state,
  madeAt: state.madeAt + idle,
  stepAt: state.stepAt + idle,
  emptyAt: state.emptyAt < 0 ? state.emptyAt : state.emptyAt + idle,
  sinceAt: state.sinceAt < 0 ? state.sinceAt : state.sinceAt + idle,
  cutAt: Math.max(state.cutAt, state.sentAt)
})

/** Reads the seconds in which the rate doubles while nothing is known: a bucket of hundreds takes long to empty. */
const doubling = (state: State): number => {
  const attempts = state.rate / Math.max(1, state.mean)
  return attempts > defaults.fast && attempts < defaults.faster ? 2 * defaults.doubling : defaults.doubling
}

/** Reads the seconds after which an attempt that was not refused was admitted. */
const heard = (state: State): number => Math.max(defaults.silenceSeconds, defaults.silence * state.lag)

/** Reads the attempts that a refusal costs, by the pause that follows it: those that the bucket does not save. */
const lost = (state: State): number => Math.max(0, state.pause * state.rate - 2 * state.depth) / state.mean

/** Reads the rate that is taken for the limit. */
const believed = (state: State): number => state.phase === "probe" ? state.limit : state.rate

/** Corrects the units of an attempt once its real cost is known. */
export const correct = (state: State, difference: number): State => ({ ...state, sent: state.sent + difference })

/** Takes an attempt back that was sent at `at` and that the provider did not count. */
export const withdraw = (state: State, cost: number, at: number): State => ({
  ...correct(state, -cost),
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
  switch (state.phase) {
    case "start": {
      const step = doubling(state) / 4
      if (elapsed < step || sends < 1) return [undefined, state]
      const steps = Math.min(4, Math.floor(elapsed / step))
      return move(state, now, "start-grew", { rate: state.rate * 2 ** (steps / 4) })
    }
    case "settle":
      return searched(state, elapsed, now)
    case "hold": {
      const least = state.eager > 0 ? defaults.eagerSeconds : defaults.probeSeconds
      const slow = state.eager > 0 && sends >= defaults.eagerLeast && elapsed >= defaults.eagerSlow * state.interval
      const dear = state.eager > 0 ? 0 : defaults.probeLost * lost(state)
      if ((slow || sends >= Math.max(dear, state.interval * state.perEpisode)) && elapsed >= least) {
        const limit = state.rate
        return move(state, now, "probe-began", { phase: "probe", limit, rate: limit * (1 + defaults.probeExcess) })
      }
      const rate = state.limit * Math.exp(state.trend * elapsed)
      return rate > state.rate * 1.01 ? [undefined, { ...state, rate }] : [undefined, state]
    }
    case "probe": {
      // no faster than refusals are heard of, or a probe sends many in vain
      const rising = state.rises > 0 ? defaults.probeDoublingRising : defaults.probeDoubling
      const seconds = Math.max(rising, defaults.probeLag * state.lag)
      const excess = Math.min(elapsed / seconds, sends / defaults.probeDoublingSends, 60)
      // no more than twice what was really sent, or a rate that nobody uses would run away
      const used = elapsed < 2 ? Infinity : (2 * (state.sent - state.stepSent)) / elapsed
      const wanted = state.limit * (1 + defaults.probeExcess * 2 ** excess)
      const rate = Math.min(wanted, state.rate * 1.5, Math.max(used, state.rate), state.ceiling)
      return rate > state.rate * 1.01 ? [undefined, { ...state, rate }] : [undefined, state]
    }
  }
}

/** Raises the rate in a search: as soon as what went through proves it, or the search took long enough. */
const searched = (state: State, elapsed: number, now: number): [Move | undefined, State] => {
  if (state.inVain >= defaults.emptied && state.stepSends > 0 && now - state.sentAt > heard(state)) {
    const rate = Math.max(state.rate, state.fellFrom * defaults.emptiedTo)
    return move(state, now, "probe-began", { phase: "probe", limit: state.rate, rate, early: 0, inVain: 0 })
  }
  const gap = (state.bad - state.rate) / state.rate
  // what was sent since may still be refused
  if (state.stepSends < 4 || elapsed < state.lag) return [undefined, state]
  const good = floorOf(state, state.sent - state.refused, state.mean, now)
  const slow = state.eager > 0 && elapsed > defaults.settleSlow && gap < defaults.settleGap
  const long = slow || (elapsed > defaults.settleSeconds && state.stepSends > defaults.settleSends)
  if (gap < defaults.precision || long) {
    const burst = Math.max(state.burst, state.metUnits - state.rate * state.metSeconds)
    return move(state, now, "settled", { phase: "hold", rate: state.rate, good, limit: state.rate, burst })
  }
  if (good < state.rate / (1 + gap / 2)) return [undefined, state]
  return move(state, now, "bracket-raised", { rate: state.rate * (1 + gap * 0.4), good, early: 0 })
}

/**
 * Learns from a refusal.
 *
 * **Details**: returns no move for an attempt that was sent before the last cut: it belongs to an episode that was
 * already answered.
 */
export const refuse = (before: State, stamp: Stamp, now: number): [Move | undefined, State] => {
  const admitted = stamp.sent - before.refused
  const state: State = { ...before, refused: before.refused + stamp.cost }
  const empty = { emptyAt: stamp.at, emptyAdmitted: admitted }
  if (stamp.at <= state.cutAt) {
    const bucket = BucketBounds.withdraw(state.bucket, stamp.at)
    return [undefined, { ...state, bucket, ...(stamp.at > state.emptyAt ? empty : {}), episode: state.episode + 1 }]
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
    bucket,
    depth: steady ? bounds.depth : Infinity,
    lag: state.lag === 0 ? heardAfter : state.lag * 0.8 + heardAfter * 0.2,
    episode: 1,
    perEpisode: (state.perEpisode + state.episode) / 2,
    inVain: units < 1 ? state.inVain + 1 : 0,
    fellFrom: state.inVain === 0 ? bad : state.fellFrom,
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
  const held = refusedInSprint(refusal) ?? (state.phase === "probe"
    ? refusedInProbe(refusal)
    : state.phase === "hold"
    ? refusedInHold(refusal)
    : undefined)
  return held ?? bracketed(refusal)
}

/** Computes a rate that the refusals of late prove: the lowest that explains them, a little more over a shallow bucket. */
const possible = (bounds: BucketBounds.Bounds | undefined, bad: number, steady: boolean): number => {
  if (bounds === undefined || bounds.lowest > bad) return 0
  const shallow = steady && bounds.depth < defaults.shallow * bounds.lowest
  const inside = shallow ? defaults.inside * (Math.min(bounds.highest, bad) - bounds.lowest) : 0
  return Math.min(bounds.lowest + inside, bad * 0.98)
}

/** Is one refusal that begins an episode, and what it measures. */
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

/** Answers a refusal that was met though little of the limit was in use: calls that came at once, not the rate. */
const refusedInSprint = ({ bad, floor, next, now, state, units }: Refusal): [Move, State] | undefined => {
  const mine = state.stepPaced >= 0.9 * state.stepSends
  if (
    !mine && state.phase !== "settle" && state.emptyAt >= 0 && units >= defaults.fellWithin &&
    floor < defaults.unusedBelow * Math.min(bad, state.limit)
  ) {
    const limit = floor + defaults.unused * (Math.min(bad, state.limit) - floor)
    return move(state, now, "limit-drifted", {
      ...next,
      phase: "hold",
      limit,
      rate: limit,
      good: floor,
      bad,
      early: 0,
      sprint: state.sprint > 0 ? Math.min(state.sprint * 0.9, state.heap) : state.heap / 2
    })
  }
  return undefined
}

const refusedInProbe = ({ admitted, bad, depth, floor, next, now, stamp, state }: Refusal): [Move, State] => {
  const limit = Math.min(Math.max(state.limit * (1 + state.creep), floor), bad)
  const excess = admitted - (state.stepSent - state.refused) - state.limit * (stamp.at - state.stepAt)
  const unsure = Math.min(defaults.roseUnits, defaults.roseLeast + defaults.roseSeconds * state.limit / state.mean)
  if (
    bad > state.limit * (1 + defaults.roseAt) &&
    excess > state.burst * 1.2 + unsure * Math.max(stamp.cost, state.mean)
  ) {
    const rate = Math.min(bad, Math.max(state.limit, floor, bad * defaults.roseTo))
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
const refusedInHold = ({ bad, floor, next, now, state, units }: Refusal): [Move, State] | undefined => {
  if (state.trend > 0) {
    const limit = Math.min(bad * 0.97, Math.max(floor, bad * 0.9))
    return move(state, now, "limit-drifted", {
      ...next,
      limit,
      rate: limit,
      good: limit,
      bad,
      early: 0,
      trend: state.trend / 2
    })
  }
  if (units >= defaults.fellWithin) {
    // a bucket that holds a burst loses nothing to pauses: what went through is the limit itself
    const measured = state.burst > 3 * state.largest ? floor * 1.005 : Math.max(floor, bad * (1 - 1 / units))
    const limit = Math.min(bad * 0.999, Math.max(measured, bad * 0.9))
    return move(state, now, "limit-drifted", {
      ...next,
      limit,
      rate: limit,
      good: limit,
      bad,
      early: 0,
      ...rarer(state),
      creep: state.creep / 4
    })
  }
  if (state.early === 0) {
    return move(state, now, "limit-drifted", {
      ...next,
      rate: bad * 0.97,
      limit: bad * 0.97,
      bad,
      early: 1,
      creep: state.creep / 4,
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
    const mine = state.stepPaced >= 0.9 * state.stepSends
    const rate = low + (mine ? 0.15 : 0.4) * (bad - low)
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
    ...(fell ? { interval: defaults.eagerSends, eager: defaults.eagerAfterFall } : {})
  })
}

/** Puts the next probe off: not while probes are eager. */
const rarer = (state: State): Pick<State, "eager" | "interval"> =>
  state.eager > 1
    ? { eager: state.eager - 1, interval: state.interval * defaults.eagerGrowth }
    : {
      eager: 0,
      interval: Math.min(defaults.probeSends, Math.max(defaults.firstProbeSends, state.interval * defaults.rarer))
    }

/**
 * Computes the rate that is proved by what was admitted since the bucket was last empty, or, where the limit was not in
 * use for some of that time, since it is in use again; the bucket is taken for full then.
 */
const floorOf = (state: State, admitted: number, cost: number, at: number): number => {
  const elapsed = at - state.emptyAt
  if (state.emptyAt < 0 || elapsed <= 0) return 0
  const since = Math.max(0, admitted - state.emptyAdmitted - cost) / elapsed
  const used = at - state.usedAt
  return state.usedAt <= state.emptyAt || used <= 0
    ? since
    : Math.max(since, (admitted - state.usedAdmitted - cost) / (used + patience(state)))
}

/**
 * Learns from a limit that the provider states.
 *
 * **Details**: taken at once, unless it was said before the last cut, or the provider refused less than that since it
 * last said it: then it is ignored until it says something else.
 */
export const told = (state: State, limit: number, sentAt: number, now: number): [Move | undefined, State] => {
  const same = Math.abs(limit - state.told) <= state.told * 0.02
  if (!(limit > 0) || !Number.isFinite(limit) || sentAt <= state.cutAt || same) return [undefined, state]
  return move(state, now, "provider-said", {
    phase: "hold",
    rate: limit,
    limit,
    good: limit,
    bad: Infinity,
    told: limit,
    early: 0,
    interval: defaults.probeSends
  })
}
