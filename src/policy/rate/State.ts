/**
 * What the learner of a rate knows: phases, reasons, options, the state as plain data, and readings of the whole.
 *
 * ```
 *   rate, limit, bad, bounds of the rate                        what is believed
 *   step · traffic · use                                        what is sent, and how much of the rate is used
 *   episode · streak · bucket · bounds · told                   what refusals and the provider say of the limit
 *   probe · rise · high · returns                               how a higher limit is looked for
 * ```
 *
 * Each record has a module of its own, with its constants. `AdaptiveRate` moves the state, and exports what others
 * need. Rates are units per second, times are seconds, units are requests or tokens. A state is an immutable value:
 * keep one and it is a snapshot.
 */

import * as Bucket from "./Bucket.ts"
import * as Episode from "./Episode.ts"
import * as Failures from "./Failures.ts"
import * as Probe from "./Probe.ts"
import * as Returns from "./ReturnState.ts"
import * as Rise from "./Rise.ts"
import * as Step from "./Step.ts"
import * as Told from "./Told.ts"
import * as Traffic from "./Traffic.ts"
import * as Use from "./Use.ts"
import * as BucketBounds from "./BucketBounds.ts"
import * as WindowBounds from "./WindowBounds.ts"
import * as OptionCheck from "../OptionCheck.ts"
import * as Silence from "../Silence.ts"

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
  | "failures-counted"
  | "failures-free"

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
   * tier; or the ceiling, if that is lower.
   */
  readonly initial?: number | undefined
  /** Ceiling in units per second, the user's cap. Range above 0. Default none. */
  readonly ceiling?: number | undefined
  /**
   * Lowest rate in units per second. Finite, above 0, at most `ceiling`. Default 0.02: one call in 50 s, so that a lane
   * never stops learning; or the ceiling, if that is lower. If a limit proves to be lower still, because at this rate
   * refusals come between admissions, it is followed down to a sixteenth of this rate.
   */
  readonly lowest?: number | undefined
  /** True if `initial` is believed: the learner then begins in `hold`. Default false. */
  readonly known?: boolean | undefined
}

/** Holds the defaults of a learner, and how fast its rate grows while nothing is known. */
export const defaults = {
  initial: 10,
  ceiling: Infinity,
  lowest: 0.02,
  known: false,
  /** Share of the lowest rate down to which a limit is followed that proves to be lower than that. */
  lowestProved: 1 / 16,
  /** Seconds in which the rate doubles while nothing is known. */
  doubling: 0.5,
  /**
   * Attempts per second between which that takes twice as long, since doubling past a limit there sends much in vain.
   */
  fast: 200,
  faster: 1000,
  /** Share of the rate kept after the first refusal. */
  firstCut: 0.5
} as const

/** Holds what the learner knows: plain data. */
export interface State {
  readonly phase: Phase
  /** Units per second that may be sent now. */
  readonly rate: number
  /** Limit as measured in `hold` and `probe`. */
  readonly limit: number
  /** The lowest rate known bad; Infinity for none. */
  readonly bad: number
  /**
   * The rate is never above the first, nor below the second; the third is how low the second may become, if a lower
   * limit proves itself.
   */
  readonly ceiling: number
  readonly lowest: number
  readonly lowestProved: number
  /** Attempts sent before this moment teach nothing. */
  readonly cutAt: number
  /** What was sent since the rate last moved. */
  readonly step: Step.Step
  /** What was sent and refused in all. */
  readonly traffic: Traffic.Traffic
  /** How much of the rate is used. */
  readonly use: Use.Use
  /** The present episode of refusals, and how the last ones followed each other. */
  readonly episode: Episode.Episode
  readonly streak: Episode.Streak
  /** The bucket as measured. */
  readonly bucket: Bucket.Bucket
  /** What went out and was refused of late: it bounds the rate, whatever the depth of the bucket. */
  readonly bounds: BucketBounds.State
  /** The window in which the provider counts, where no bucket explains what it refuses. */
  readonly windows: WindowBounds.State
  /** Whether what the provider fails counts against its limit. */
  readonly failures: Failures.Failures
  /** What the provider stated. */
  readonly told: Told.Told
  /** When the next probe comes, and what it starts from. */
  readonly probe: Probe.Probe
  /** The rises of the limit that probes met in a row. */
  readonly rise: Rise.Rise
  /** The highest rate that held, and the returns to it. */
  readonly high: Returns.High
  readonly returns: Returns.Returns
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
    limit: initial,
    bad: Infinity,
    ceiling,
    lowest,
    lowestProved: lowest * defaults.lowestProved,
    cutAt: -Infinity,
    step: Step.begin(now, 0),
    traffic: Traffic.begin(now),
    use: Use.begin(now),
    episode: Episode.none,
    streak: Episode.noStreak,
    bucket: Bucket.unknown,
    bounds: BucketBounds.empty,
    windows: WindowBounds.empty,
    failures: Failures.none,
    told: Told.nothing,
    probe: Probe.begin(known),
    rise: Rise.none,
    high: Returns.guess(initial, now),
    returns: Returns.none
  }
}

/** Begins a new step. */
export const stepped = (state: State, at: number): State => ({ ...state, step: Step.begin(at, state.traffic.sent) })

/** Moves the rate of what is known by now, within its bounds: a new step begins. */
export const move = (state: State, now: number, reason: Reason, rate: number): [Move, State] => {
  const to = Math.min(state.ceiling, Math.max(state.lowest, rate))
  return [{ from: state.rate, to, reason }, { ...state, rate: to, step: Step.begin(now, state.traffic.sent) }]
}

/**
 * Moves the rate to what a probe found. The move is from the limit that was held before it, not from the rate that it
 * had reached.
 */
export const found = (
  state: State,
  before: number,
  now: number,
  reason: "limit-rose" | "probe-confirmed" | "settled",
  rate: number
): [Move, State] => {
  const [moved, next] = move(state, now, reason, rate)
  return [{ ...moved, from: before }, next]
}

/** Reads the rate that is worth a try once attempts are admitted again that were refused in vain; 0 where none were. */
export const afterVain = (state: State): number => Episode.afterVain(state.streak)

/** Reads the seconds after which an attempt that was not refused was admitted. */
export const heard = (state: State): number => Silence.seconds(state.episode.lag)

/** Says whether a probe looks closely: over a bucket of one attempt, each attempt that goes through proves its own rate. */
export const isClose = ({ bucket, probe }: State): boolean => bucket.single === "yes" && probe.eager === 0

/** Reads the rate that is taken for the limit. */
export const believed = (state: State): number => state.phase === "probe" ? state.limit : state.rate

/** Reads the seconds of silence from which the bucket is taken for full. */
export const patience = (state: State): number => Use.patience(state.traffic.mean, believed(state))

/** Reads the seconds in which the rate doubles while nothing is known: a bucket of hundreds takes long to empty. */
export const doubling = (state: State): number => {
  const attempts = state.rate / Math.max(1, state.traffic.mean)
  return attempts > defaults.fast && attempts < defaults.faster ? 2 * defaults.doubling : defaults.doubling
}

/** Computes the rate that is proved by what was admitted since the bucket was last empty. */
export const floorOf = ({ bucket: { empty } }: State, admitted: number, cost: number, at: number): number =>
  empty === undefined || at <= empty.at ? 0 : Math.max(0, admitted - empty.admitted - cost) / (at - empty.at)
