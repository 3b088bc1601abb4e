/**
 * How many calls must be in flight to use a rate: `L = λ·W`.
 *
 * At 100 requests per second and 20 s of latency 2,000 calls are in flight: a
 * connection pool, a semaphore or a worker count below that is the real limit.
 *
 * ```ts
 * import { LittlesLaw } from "effect-together/policy"
 *
 * LittlesLaw.concurrency(100, 20) // => 2000
 * LittlesLaw.ceiling(10, 5) // => 60
 * ```
 *
 * **Source**: John Little (1961).
 */
import * as OptionCheck from "../OptionCheck.ts"
import * as Rounding from "../Rounding.ts"

/** Computes the calls in flight at a rate and a mean latency. */
export const inFlight = (ratePerSecond: number, latencySeconds: number): number =>
  OptionCheck.nonNegative("LittlesLaw.inFlight", "ratePerSecond", ratePerSecond) *
  OptionCheck.nonNegative("LittlesLaw.inFlight", "latencySeconds", latencySeconds)

/** Computes the fewest whole calls in flight that reach a rate: 0 for a rate or a latency of 0. */
export const concurrency = (ratePerSecond: number, latencySeconds: number): number =>
  Math.max(0, Rounding.ceil(inFlight(ratePerSecond, latencySeconds)))

/**
 * Computes a hard ceiling from the p95 latency: `⌈λ·W₉₅·headroom⌉`, with a fifth of headroom by default.
 *
 * **Details**: at least 1, for a ceiling of 0 would let no call through to measure a latency.
 */
export const ceiling = (ratePerSecond: number, latencyP95Seconds: number, headroom = 1.2): number => {
  OptionCheck.positive("LittlesLaw.ceiling", "headroom", headroom)
  return Math.max(1, concurrency(ratePerSecond, latencyP95Seconds * headroom))
}

/** Computes the rate that a number of calls in flight reaches at a mean latency. */
export const rate = (calls: number, latencySeconds: number): number =>
  calls / OptionCheck.positive("LittlesLaw.rate", "latencySeconds", latencySeconds)
