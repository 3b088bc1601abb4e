/**
 * When a learner of a rate looks for a higher limit, and how fast.
 *
 * ```
 *   interval  40 ─▶ 80 ─▶ … 300 attempts, doubled by each probe that finds nothing
 *   eager     16, and 10 % more with each, for the first probes after the limit was met, fell or rose
 *   excess    5 % over the limit, doubled each half second; 0.5 % over a bucket of one attempt
 * ```
 *
 * `AdaptiveRate` begins and raises a probe, a refusal ends it.
 */

/** Holds the constants of this module. */
export const defaults = {
  /** Share by which each probe that finds no new limit raises the estimate; the next refusal measures it again. */
  creep: 0.03,
  /** First excess of a probe, as a share; seconds, and attempts at least, in which it doubles. */
  excess: 0.05,
  doubling: 0.5,
  doublingSends: 2,
  /** The same for a close look at a bucket that holds hardly more than one attempt. */
  excessClose: 0.005,
  doublingSendsClose: 4,
  /**
   * The seconds while the limit keeps rising: probes are refused often then, and the faster a probe is, the more of it
   * is refused.
   */
  doublingRising: 1.1,
  /** Least time in which a probe's excess doubles, as a multiple of the time that a refusal takes to arrive. */
  lag: 4,
  /**
   * Highest rate of a probe, as a multiple of what was really sent of late; and its largest single step, as a multiple
   * of its rate.
   */
  useGrowth: 1.5,
  /**
   * Share of a probe's attempts given back, number of attempts, and multiple of the limit from which it ends if use
   * grew by less than `use`.
   */
  back: 0.25,
  backSends: 20,
  met: 1.3,
  use: 1.1,
  /** Attempts between probes: at most (it bounds waste), at first, and after the limit moved. */
  sends: 300,
  rarer: 2,
  firstSends: 40,
  eagerSends: 16,
  /** Attempts between eager probes where calls are slow, and the seconds that stand for each attempt of the interval. */
  eagerLeast: 4,
  eagerSlow: 0.375,
  /** Times by which the interval grows while probes are eager. */
  eagerGrowth: 1.1,
  /** Seconds between probes, at least, and while they are eager. */
  seconds: 6,
  eagerSeconds: 3,
  /** Early probes after the limit was first met, fell, or rose. */
  eagerAtStart: 1,
  eagerAfterFall: 10,
  eagerAfterRise: 2
} as const

/** Holds when the next probe comes, and what it starts from: plain data. */
export interface Probe {
  /** Attempts to let through before it. */
  readonly interval: number
  /** Early probes that are left, since the limit moved lately. */
  readonly eager: number
  /** Share by which one that finds no new limit raises the estimate. */
  readonly creep: number
  /** Units per second that were used before the present one. */
  readonly useBefore: number
}

/** Begins before the first: a limit that is known is probed eagerly. */
export const begin = (known: boolean): Probe => ({
  interval: known ? defaults.eagerSends : 0,
  eager: known ? defaults.eagerAtStart : 0,
  creep: defaults.creep,
  useBefore: 0
})

/** Lets the next so many come soon, for the limit moved. */
export const eagerly = (probe: Probe, eager: number): Probe => ({ ...probe, interval: defaults.eagerSends, eager })

/** Puts the next off: not while probes are eager. */
export const rarer = (probe: Probe): Probe =>
  probe.eager > 1
    ? { ...probe, eager: probe.eager - 1, interval: probe.interval * defaults.eagerGrowth }
    : {
      ...probe,
      eager: 0,
      interval: Math.min(defaults.sends, Math.max(defaults.firstSends, probe.interval * defaults.rarer))
    }

/** Lets the next find less: the last found too much. */
export const gentler = (probe: Probe): Probe => ({ ...probe, creep: probe.creep / 4 })
