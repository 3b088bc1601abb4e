/**
 * What the learner of a rate knows and is made of: phases, reasons, constants, the state as plain data, and readings of it.
 *
 * `AdaptiveRate` moves it; everything here is also exported there. Rates are units per second, times are seconds, units
 * are requests or tokens. A state is an immutable value: keep one and it is a snapshot.
 */

import * as BucketBounds from "./BucketBounds.ts"
import * as OptionCheck from "./OptionCheck.ts"
import * as Silence from "./Silence.ts"

/** Names what the learner is doing. */
export type Phase = "start" | "settle" | "hold" | "probe"

/** Names why a rate moved. */
export type Reason =
  | "start-grew"
  | "start-refused"
  | "bracket-raised"
  | "bracket-closed"
  | "settled"
  | "limit-fell"
  | "limit-drifted"
  | "probe-began"
  | "probe-confirmed"
  | "limit-rose"
  | "provider-said"

/** Says that a rate moved, from where to where, and why. */
export interface Move {
  readonly from: number
  readonly to: number
  readonly reason: Reason
}

/** Configures a learner. */
export interface Options {
  /**
   * Rate to begin with, in units per second. Range above 0, at most `ceiling`. Default 10: Together's lowest published
   * tier; the ceiling, where that is lower.
   */
  readonly initial?: number | undefined
  /** Ceiling in units per second, the user's cap. Range above 0. Default none. */
  readonly ceiling?: number | undefined
  /**
   * Lowest rate in units per second. Finite, above 0, at most `ceiling`. Default 0.02: one call in 50 s, so that a lane
   * never stops learning; the ceiling, where that is lower. A limit that proves to be lower still, because what it
   * refuses at this rate comes between what it admits, is followed down to a sixteenth of it.
   */
  readonly lowest?: number | undefined
  /** True if `initial` is believed: the learner then begins in `hold`. Default false. */
  readonly known?: boolean | undefined
}

/** Holds every default and constant of this module. */
export const defaults = {
  initial: 10,
  ceiling: Infinity,
  lowest: 0.02,
  known: false,
  /** Share of the lowest rate down to which a limit is followed that proves to be lower. */
  lowestProved: 1 / 16,
  /** Seconds in which the rate doubles while nothing is known. */
  doubling: 0.5,
  /** Attempts per second between which that takes twice as long: limits there are so high that much is sent in vain. */
  fast: 200,
  faster: 1000,
  /** While nothing is known: share of a step's attempts given back from which growth needs this share of the rate admitted. */
  startBack: 0.25,
  startUse: 0.5,
  /** Share of the rate kept after the first refusal. */
  firstCut: 0.5,
  /** Width of the bracket, as a share, at which searching ends. */
  precision: 0.03,
  /** Seconds and attempts after which searching ends without it. */
  settleSeconds: 4,
  settleSends: 20,
  /** Seconds, and width of the bracket, at which searching ends where calls are slow: an eager probe measures sooner. */
  settleSlow: 12,
  settleGap: 0.25,
  /** Shares of the rate kept by the first, second, … refusal that comes with next to nothing admitted in between. */
  earlyCuts: [0.9, 0.8, 0.6, 0.5],
  /** Refusals in a row, with nothing admitted between, after which a bucket was not slow but empty; share of the rate tried. */
  emptied: 6,
  emptiedTo: 0.5,
  /** Share of a stated limit under which what was learned disproves it, and from which another is as much as that one. */
  overstated: 0.75,
  asMuch: 0.9,
  /** Share by which each probe that finds no new limit raises the estimate: the next refusal measures it anew. */
  creep: 0.03,
  /** First excess of a probe, as a share; seconds, and attempts at least, in which it doubles. */
  probeExcess: 0.05,
  probeDoubling: 0.5,
  probeDoublingSends: 2,
  /** Mean attempts that a bucket holds at most that holds hardly more than one; the same of a close look at it. */
  single: 1.75,
  probeExcessClose: 0.005,
  probeDoublingSendsClose: 4,
  /** Seconds while the limit keeps rising: it is refused often, and the faster the probe, the more of it. */
  probeDoublingRising: 0.75,
  /** Seconds in which a probe's excess doubles at least, as multiples of the time after which a refusal is heard of. */
  probeLag: 4,
  /** Seconds of that time that make no difference. */
  lag: 0.05,
  /** Attempts to let through before a probe, for each that its refusal costs: it bounds the time lost. */
  probeLost: 100,
  /** Seconds of the limit below which a bucket is shallow; where between the possible rates the limit is taken to be then. */
  shallow: 0.5,
  inside: 0.3,
  /** Times what was really sent of late that a probe may reach; of how many seconds, and slots, at least. */
  useGrowth: 1.5,
  useSeconds: 2,
  useSlots: 4,
  /** Share of a probe's attempts given back, attempts, and times the limit, from which it ends where use grew by less than this. */
  probeBack: 0.25,
  probeBackSends: 20,
  probeMet: 1.3,
  probeUse: 1.1,
  /** Excess at which a refusal in a probe means that the limit rose, as a share. */
  roseAt: 0.5,
  /** Attempts above the limit that a bucket may explain: at least, at most, and the seconds of the limit that are added. */
  roseLeast: 0.9,
  roseUnits: 2,
  roseSeconds: 0.2,
  /** Probes that measure the bucket, and the share by which each one after them may find it deeper. */
  bucketProbes: 3,
  bucketGrowth: 1.05,
  /** Share of the refused rate that is kept when the limit rose, where less was proved. */
  roseTo: 0.6,
  /** Highest growth per second that is followed between probes: a limit that doubles in twelve seconds. */
  trendMax: 0.06,
  /** Share of the measured rate under which the limit was met in a sprint; share kept of what lies between. */
  unusedBelow: 0.85,
  unused: 0.5,
  /** Attempts between probes: at most (it bounds waste), at first, and after the limit moved. */
  probeSends: 300,
  rarer: 2,
  firstProbeSends: 40,
  eagerSends: 16,
  /** Attempts between eager probes where calls are slow, and the seconds that stand for each attempt of the interval. */
  eagerLeast: 4,
  eagerSlow: 0.375,
  /** Times by which the interval grows while probes are eager. */
  eagerGrowth: 1.1,
  /** Seconds between probes, at least, and while they are eager. */
  probeSeconds: 6,
  eagerSeconds: 3,
  /** Early probes after the limit was first met, fell, or rose. */
  eagerAtStart: 1,
  eagerAfterFall: 10,
  eagerAfterRise: 2,
  /** Share of the last limit under which the limit fell, so that its return is looked for. */
  fellBelow: 0.75,
  /** Seconds, and slots of the believed rate at least, after which an unused limit measures nothing. */
  restSeconds: 2,
  restSlots: 4,
  /**
   * Attempts admitted since the last refusal, none of which had to wait, and the share of the rate that they prove at
   * most, from which a refusal is one out of a trickle; share of the rate before the first of them that is kept.
   */
  idleUnits: 5,
  idleShare: 0.5,
  idleTo: 0.5,
  /** Admitted units under which a refusal in `hold` means that the limit fell, not drifted. */
  fellWithin: 30
} as const

/** Holds what the learner knows: plain data. */
export interface State {
  readonly phase: Phase
  /** Units per second that may be sent now. */
  readonly rate: number
  readonly ceiling: number
  readonly lowest: number
  /** The lowest that this may become where a lower limit proves itself. */
  readonly lowestProved: number
  /** Rate known good, and rate known bad. */
  readonly good: number
  readonly bad: number
  /** Limit as measured in `hold` and `probe`. */
  readonly limit: number
  /** When the present step began, and the units sent by then. */
  readonly stepAt: number
  readonly stepSent: number
  /** Attempts sent in this step, those of them that had to wait for this limit, and those given back meanwhile. */
  readonly stepSends: number
  readonly stepPaced: number
  readonly stepBack: number
  /** What was sent by two moments of late: a probe is no faster than the use since the first of them allows. */
  readonly mark: { readonly at: number; readonly sent: number }
  readonly nextMark: { readonly at: number; readonly sent: number }
  /** Smoothed units of an attempt. */
  readonly mean: number
  /** Largest units of an attempt, slowly forgotten. */
  readonly largest: number
  /** Probes left that come early, for the limit moved lately. */
  readonly eager: number
  /** Units sent and refused in all. */
  readonly sent: number
  readonly refused: number
  /** The last moment the bucket was known empty, and the units admitted by then; -1 before the first. */
  readonly emptyAt: number
  readonly emptyAdmitted: number
  /** The first such moment since the limit last moved. */
  readonly sinceAt: number
  readonly sinceAdmitted: number
  /** When the last attempt was sent. */
  readonly sentAt: number
  /** Units that the believed rate allowed and nobody used, since the limit is in use: since when, and admitted by then. */
  readonly slack: number
  readonly usedAt: number
  readonly usedAdmitted: number
  /** Attempts sent before this moment teach nothing. */
  readonly cutAt: number
  /** Seconds after which a refusal is heard of, smoothed; 0 before the first. */
  readonly lag: number
  /** Attempts to let through before the next probe. */
  readonly interval: number
  /** Refusals of the present episode, and of an episode as smoothed. */
  readonly episode: number
  readonly perEpisode: number
  /** Refusals in a row that came with next to nothing admitted in between. */
  readonly early: number
  /** Refusals in a row with nothing admitted in between, and the rate at which the first of them was refused. */
  readonly inVain: number
  readonly fellFrom: number
  /** The rate before the refusals out of a trickle, until an attempt had to wait again; 0 for none. */
  readonly idleFrom: number
  /** The highest rate that held, and when it was last proved; until one did, a guess, quartered by each return in vain. */
  readonly high: { readonly rate: number; readonly at: number; readonly proved: boolean }
  /** When an attempt was last refused, and when the first was sent since; Infinity before it. */
  readonly refusedAt: number
  readonly triedAt: number
  /** The return under way; the returns in vain since one held, and when the last of them was refused. */
  readonly returning: Returning | undefined
  readonly returnsInVain: number
  readonly vainAt: number
  /** Limit that the provider stated last, 0 for none. */
  readonly told: number
  /** The same, once refusals disproved it: as much is not believed again; 0 for none. */
  readonly overstated: number
  /** Share by which the next probe that finds no new limit raises the estimate. */
  readonly creep: number
  /** Rises in a row, when the last one was, from and to what, and the growth per second between the last two. */
  readonly rises: number
  readonly roseAt: number
  readonly roseFrom: number
  readonly roseTo: number
  readonly trend: number
  /** Units above the limit that the last probe got through, which may have been the bucket or a higher limit. */
  readonly excess: number
  /** When the learner was made. */
  readonly madeAt: number
  /** Units admitted before the first refusal, and the seconds that took. */
  readonly metUnits: number
  readonly metSeconds: number
  /** Units above the limit that the bucket was seen to hold, and the probes that measured it. */
  readonly burst: number
  readonly measured: number
  /** What went out and was refused of late: it bounds the rate, whatever the depth of the bucket. */
  readonly bucket: BucketBounds.State
  /** Depth of the bucket, less than this: known once the last episodes agree; and the pause after the last refusal. */
  readonly depth: number
  /** Whether the bucket holds hardly more than one attempt. */
  readonly single: "unknown" | "yes" | "no"
  readonly pause: number
  /** Seconds for which the provider asked to wait with the last refusal; 0 where it named none. */
  readonly asked: number
  /** Units per second that were used before the present probe. */
  readonly useBefore: number
}

/** Holds when a return began, the units sent by then, and what it left: a return in vain goes back to that. */
export interface Returning {
  readonly at: number
  readonly sent: number
  readonly left: Pick<State, "phase" | "rate" | "limit">
}

/** Stamps an attempt when it is sent. */
export interface Stamp {
  readonly at: number
  /** Units sent before it. */
  readonly sent: number
  readonly cost: number
  /** Of one that was refused: seconds for which the provider asked to wait. */
  readonly asked?: number | undefined
}

/**
 * Makes a learner that knows nothing yet, or starts from a known rate.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const make = (options: Options = {}, now = 0): State => {
  const where = "AdaptiveRate.make"
  const ceiling = OptionCheck.above(where, "ceiling", options.ceiling ?? defaults.ceiling, 0, Infinity)
  const lowest = options.lowest ?? Math.min(ceiling, defaults.lowest)
  OptionCheck.above(where, "lowest", lowest, 0, Math.min(ceiling, Number.MAX_VALUE))
  const first = options.initial ?? Math.min(ceiling, defaults.initial)
  const initial = OptionCheck.above(where, "initial", first, 0, ceiling)
  const known = options.known ?? defaults.known
  return {
    phase: known ? "hold" : "start",
    rate: initial,
    ceiling,
    lowest,
    lowestProved: lowest * defaults.lowestProved,
    good: known ? initial : 0,
    bad: Infinity,
    limit: initial,
    stepAt: now,
    stepSent: 0,
    stepSends: 0,
    stepPaced: 0,
    stepBack: 0,
    mark: { at: now, sent: 0 },
    nextMark: { at: now, sent: 0 },
    mean: 0,
    largest: 0,
    eager: known ? defaults.eagerAtStart : 0,
    sent: 0,
    refused: 0,
    emptyAt: -1,
    emptyAdmitted: 0,
    sinceAt: -1,
    sinceAdmitted: 0,
    sentAt: now,
    slack: 0,
    usedAt: now,
    usedAdmitted: 0,
    cutAt: -Infinity,
    lag: 0,
    interval: known ? defaults.eagerSends : 0,
    early: 0,
    inVain: 0,
    fellFrom: 0,
    idleFrom: 0,
    high: { rate: initial === Infinity ? 0 : initial, at: now, proved: false },
    refusedAt: -Infinity,
    triedAt: Infinity,
    returning: undefined,
    returnsInVain: 0,
    vainAt: -Infinity,
    episode: 1,
    perEpisode: 1,
    told: 0,
    overstated: 0,
    creep: defaults.creep,
    rises: 0,
    roseAt: 0,
    roseFrom: 0,
    roseTo: 0,
    trend: 0,
    excess: 0,
    madeAt: now,
    metUnits: 0,
    metSeconds: 0,
    burst: 0,
    measured: 0,
    bucket: BucketBounds.empty,
    depth: Infinity,
    single: "unknown",
    pause: 0,
    asked: 0,
    useBefore: 0
  }
}

/** Begins a new step. */
export const stepped = (state: State, at: number): State => ({
  ...state,
  stepAt: at,
  stepSent: state.sent,
  stepSends: 0,
  stepPaced: 0,
  stepBack: 0
})

/** Moves the rate, within its bounds: a new step begins. */
export const move = (
  state: State,
  now: number,
  reason: Reason,
  next: Partial<State> & { readonly rate: number }
): [Move, State] => {
  const to = Math.min(state.ceiling, Math.max(next.lowest ?? state.lowest, next.rate))
  return [{ from: state.rate, to, reason }, stepped({ ...state, ...next, rate: to }, now)]
}

/** Reads the rate that is worth a try once attempts are admitted again that were refused in vain; 0 where none were. */
export const afterVain = (state: State): number => state.inVain > 0 ? state.fellFrom * defaults.emptiedTo : 0

/** Reads the seconds after which an attempt that was not refused was admitted. */
export const heard = (state: State): number => Silence.seconds(state.lag)

/** Says whether a probe looks closely: over a bucket of one attempt, each attempt that goes through proves its own rate. */
export const isClose = (state: State): boolean => state.single === "yes" && state.eager === 0

/** Reads the rate that is taken for the limit. */
export const believed = (state: State): number => state.phase === "probe" ? state.limit : state.rate

/** Reads the seconds of silence, or of slack, from which a bucket is taken for full: it turns units away from then on. */
export const patience = (state: State): number =>
  Math.max(defaults.restSeconds, (defaults.restSlots * state.mean) / believed(state))

/** Reads the seconds in which the rate doubles while nothing is known: a bucket of hundreds takes long to empty. */
export const doubling = (state: State): number => {
  const attempts = state.rate / Math.max(1, state.mean)
  return attempts > defaults.fast && attempts < defaults.faster ? 2 * defaults.doubling : defaults.doubling
}

/**
 * Computes the rate that is proved by what was admitted since the bucket was last empty, or, where the limit was not in
 * use for some of that time, since it is in use again; the bucket is taken for full then.
 */
export const floorOf = (state: State, admitted: number, cost: number, at: number): number => {
  const elapsed = at - state.emptyAt
  if (state.emptyAt < 0 || elapsed <= 0) return 0
  const since = Math.max(0, admitted - state.emptyAdmitted - cost) / elapsed
  const used = at - state.usedAt
  return state.usedAt <= state.emptyAt || used <= 0
    ? since
    : Math.max(since, (admitted - state.usedAdmitted - cost) / (used + patience(state)))
}
