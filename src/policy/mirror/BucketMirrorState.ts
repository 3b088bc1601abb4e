/**
 * What a mirror of a bucket knows: its constants, the state as plain data, and how it begins.
 *
 * `BucketMirror` moves it, and exports what others need.
 */
import * as Guesses from "./BucketGuesses.ts"
import * as Return from "./BucketReturn.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Chance of a refusal that is taken while the rate is known, and on top of it while it is not. */
  risk: 0.03,
  riskUnknown: 0.35,
  /** Deviation of the rate, in logarithms, from which it is not known at all. */
  unknown: 0.3,
  /** Share of the cost that must be there on top of it; and of a call larger than the bucket. */
  margin: 0.1,
  marginLarge: 0.03,
  /** Calls that waited before the first probe, before the second, and between two at most. */
  firstProbe: 30,
  secondProbe: 120,
  probeMost: 480,
  /** The same while probes are eager; eager probes after a fall, after a rise, and from a rate that was known. */
  eagerProbe: 20,
  eagerAfterFall: 10,
  eagerAfterRise: 2,
  eagerAtStart: 1,
  /** Calls and seconds after which an eager probe comes, where calls are slow. */
  eagerLeast: 4,
  eagerSeconds: 15,
  /** First excess of a probe, and of an eager one; it doubles with the calls of half a second, six at least. */
  excess: 0.1,
  eagerExcess: 0.2,
  doublingSeconds: 0.5,
  doublingSends: 6,
  /** Shares of the rate before, from which it fell or rose; and calls in peace that make a rate the one before. */
  fell: 0.75,
  rose: 1.15,
  settled: 30,
  /** Share of the rate before it that is the least that is tried after a limit was shut. */
  emptiedTo: 0.5,
  /**
   * A limit is hardly in use below this `use` and this share of the rate. Where the rate never stood for a while, that
   * shows only after so many seconds since the last refusal. `useMost`: calls in use that are remembered.
   */
  idleUse: -5,
  idleShare: 0.5,
  idleSeconds: 30,
  useMost: 3,
  /** Evidence, in nats, by which the other mirror must explain the refusals better to be believed; of one refusal at most. */
  doubt: 6,
  doubtOfOne: 4,
  /**
   * Calls that a refusal costs from which it is dear: what an unknown rate adds to the risk is half as much, and the rates
   * that explain the refusals bound a limit of tokens too.
   */
  dear: 20,
  /** Calls that a bucket holds at least whose depth is known. */
  several: 2
} as const

/** An attempt under way, or units given back meanwhile (`seq` -1). */
export interface Pending extends Guesses.Event {
  readonly seq: number
}

/** Holds what is known: plain data. */
export interface State {
  readonly guesses: Guesses.Guesses
  /** What the buckets will hold once the pending are admitted. */
  readonly ahead: Guesses.Outlook
  /** Attempts that were sent, and neither refused nor silent for long enough, and what was given back since, in order. */
  readonly pending: ReadonlyArray<Pending>
  /** Smoothed cost of a call, 0 before the first. */
  readonly mean: number
  /** Calls that had to wait since the last refusal, and when that was; those between probes; those in the present probe, -1 for none. */
  readonly calm: number
  readonly calmAt: number
  readonly interval: number
  readonly probing: number
  /** Probes left that are eager, for the limit moved lately. */
  readonly eager: number
  /** The rate as it last stood for a while, 0 before. */
  readonly before: number
  /** Calls since the last refusal that had to wait for this limit, `useMost` at most, less those after them that had not. */
  readonly use: number
  /** Refusals in a row with nothing admitted in between, and the rate before the first of them. */
  readonly inVain: number
  readonly fellFrom: number
  /** Units by which what is under way may be counted wrongly. */
  readonly blur: number
  /** Seconds for which the provider last asked to wait; 0 where it named none. */
  readonly asked: number
  /** What held, and the way back to it. */
  readonly back: Return.State
  /** The same, were what fails taken the other way: from the first failure on. */
  readonly other: State | undefined
  /** By how much, in nats, the other explained the refusals better. */
  readonly doubt: number
}

/** Names what a refusal told. */
export type Reason = "limit-drifted" | "limit-fell" | "limit-rose" | "probe-confirmed"

const begun = (
  guesses: Guesses.Guesses,
  mean: number,
  interval: number,
  before: number,
  back: Return.State
): State => ({
  back,
  calmAt: guesses.at,
  guesses,
  ahead: guesses,
  pending: [],
  mean,
  calm: 0,
  interval,
  probing: -1,
  eager: 0,
  before,
  use: 0,
  inVain: 0,
  fellFrom: 0,
  blur: 0,
  asked: 0,
  other: undefined,
  doubt: 0
})

/**
 * Makes a mirror at the first refusal.
 *
 * @param known of it, `mean` is the cost of a call, `held` the rate that was proved, `sent` the one to try where none was,
 * `shut` whether nothing was admitted before
 */
export const make = (
  known: Guesses.Known & {
    readonly mean: number
    readonly held?: number | undefined
    readonly sent?: number | undefined
    readonly shut?: boolean | undefined
  },
  now: number
): State => {
  const { held = 0, mean, sent = 0, shut = false } = known
  const back = held > 0 ? Return.begun(held, true, shut, now) : Return.begun(sent, false, shut, now)
  return begun(Guesses.make(known, now), mean, defaults.firstProbe, 0, back)
}

/** Makes a mirror of a limit that is known before anything was sent. */
export const around = (known: Guesses.Stated, now: number): State => ({
  ...begun(Guesses.around(known, now), 0, defaults.firstProbe, known.rate, {
    ...Return.begun(known.rate, false, false, now),
    stuck: 0
  }),
  eager: defaults.eagerAtStart
})
