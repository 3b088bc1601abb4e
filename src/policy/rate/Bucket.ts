/**
 * The provider's bucket, as refusals measured it: when it was empty, and how much it holds.
 *
 * ```
 *   ●──────────────●────────────●──▶ now
 *   since          …            empty         moments at which it was known empty, since the limit last moved
 * ```
 *
 * What was admitted between two such moments is the limit times the time between them, whatever the burst.
 */
import type { Moment } from "./Traffic.ts"

/** Holds the constants of this module. */
export const defaults = {
  /** Probes that measure the burst, and the share by which each one after them may find it deeper. */
  probes: 3,
  growth: 1.05,
  /** Share of a burst that the next probe keeps. */
  kept: 0.8,
  /** Times the measured burst that a probe may get through and the bucket still explains. */
  explains: 1.2,
  /** Mean attempts up to which a bucket counts as one that holds hardly more than one attempt. */
  single: 1.75
} as const

/** Holds what is measured: plain data. */
export interface Bucket {
  /** When it was last known empty; nothing before the first refusal. */
  readonly empty: Moment | undefined
  /** The first such moment since the limit last moved. */
  readonly since: Moment | undefined
  /** Units admitted before the first refusal, and the seconds that took. */
  readonly met: { readonly units: number; readonly seconds: number }
  /** Units above the limit that it was seen to hold, and the probes that measured it. */
  readonly burst: number
  readonly probes: number
  /** Units that it holds, less than this: known once the last episodes agree. */
  readonly depth: number
  /** The same as the last episodes that agree tell, two at least. */
  readonly most: number
  /** Units that it holds at least, as the last episodes prove; 0 where they prove nothing. */
  readonly holds: number
  /** Whether it holds hardly more than one attempt. */
  readonly single: "unknown" | "yes" | "no"
}

/** Nothing is measured yet. */
export const unknown: Bucket = {
  empty: undefined,
  since: undefined,
  met: { units: 0, seconds: 0 },
  burst: 0,
  probes: 0,
  depth: Infinity,
  most: Infinity,
  holds: 0,
  single: "unknown"
}

const later = (moment: Moment | undefined, seconds: number): Moment | undefined =>
  moment && { ...moment, at: moment.at + seconds }

/** Moves the moments forward by time that measures nothing. */
export const rested = (bucket: Bucket, seconds: number): Bucket => ({
  ...bucket,
  empty: later(bucket.empty, seconds),
  since: later(bucket.since, seconds)
})

const lower = (moment: Moment | undefined, cost: number, at: number): Moment | undefined =>
  moment !== undefined && at < moment.at ? { ...moment, admitted: moment.admitted - cost } : moment

/** Takes an attempt back that was sent at `at`: the moments after that counted it as admitted. */
export const less = (bucket: Bucket, cost: number, at: number): Bucket => ({
  ...bucket,
  empty: lower(bucket.empty, cost, at),
  since: lower(bucket.since, cost, at)
})

/**
 * Notes that an attempt was refused that belongs to an episode which was already answered. Refusals overtake each other:
 * one of an attempt that was counted as admitted by the last such moment is taken out of it.
 */
export const refusedAgain = (bucket: Bucket, moment: Moment, cost: number): Bucket => {
  const { empty } = bucket
  if (empty === undefined || moment.at > empty.at) return { ...bucket, empty: moment }
  return moment.admitted < empty.admitted ? less(bucket, cost, moment.at) : bucket
}

/** Measures the bucket by what a probe got through above the limit; it holds less than `depth`. */
export const probed = (bucket: Bucket, excess: number, depth: number): Bucket => {
  // a bucket does not grow: what goes through above it, and more each time, is a limit that rises slowly
  const deepest = bucket.probes < defaults.probes ? Infinity : bucket.burst * defaults.growth
  const burst = Math.min(depth, deepest, Math.max(0, excess, bucket.burst * defaults.kept))
  return { ...bucket, burst, probes: bucket.probes + 1 }
}
