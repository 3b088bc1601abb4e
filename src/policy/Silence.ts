/**
 * What silence tells: a refusal comes at once and an answer late, so an attempt that was not refused for a while was
 * admitted.
 *
 * The learner, the mirrors and the limit of calls in flight must agree on how long that is: they judge the same attempts.
 */

/** Holds the constants of this module. */
const defaults = {
  /** Seconds without a refusal after which an attempt was admitted: times the latency of refusals, and at least. */
  latencies: 4,
  leastSeconds: 0.2
} as const

/** Reads the seconds after which an attempt that was not refused was admitted, by the latency of refusals. */
export const seconds = (refusalSeconds: number): number =>
  Math.max(defaults.leastSeconds, defaults.latencies * refusalSeconds)
