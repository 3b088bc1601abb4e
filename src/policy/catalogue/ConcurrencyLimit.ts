/**
 * One shape for every algorithm that learns how many calls may be in flight.
 *
 * An algorithm starts with `initial(options)` and moves with
 * `sample(state, sample, now, random)`. Each sample gives a decision with a
 * reason, so that a changed limit can always be explained. The modules
 * `AimdLimit`, `InspectAimdLimit`, `Gradient2Limit`, `VegasLimit`,
 * `EnvoyGradientLimit` and `FailsafeLimit` are such algorithms: pass the module
 * itself where an `Algorithm` is asked for.
 *
 * ```ts
 * import { AimdLimit, ConcurrencyLimit, VegasLimit } from "effect-together/policy"
 *
 * const run = <Options, State extends ConcurrencyLimit.Estimated>(
 *   algorithm: ConcurrencyLimit.Algorithm<Options, State>,
 *   calls: ReadonlyArray<ConcurrencyLimit.Sample>
 * ) =>
 *   ConcurrencyLimit.limit(
 *     calls.reduce((state, call, i) => algorithm.sample(state, call, i, 0.5)[1], algorithm.initial())
 *   )
 *
 * const calls = Array.from({ length: 5 }, () => ({ rttSeconds: 1, inFlight: 20, dropped: false }))
 * run(AimdLimit, calls) // => 25
 * run(VegasLimit, calls) // => 44
 * ```
 *
 * **When to use**: against a language model the latency of a call follows the
 * length of its answer, so a limit that reads total latency drifts. There use
 * `AimdLimit` or `InspectAimdLimit` on refusals, with a hard ceiling from
 * `LittlesLaw`; feed the gradient algorithms time to first token, or time per
 * output token, or use them where latency means load.
 *
 * **Gotchas**: a dropped sample never raises a limit, in any of them. Calls that say nothing about load
 * (interrupted, answered from a cache, refused for their content) are not sampled at all.
 */

/** Describes one call that ended. */
export interface Sample {
  /** How long it took, in seconds. */
  readonly rttSeconds: number
  /** Calls in flight when it started, itself included. */
  readonly inFlight: number
  /** True when the backend refused or lost it for load. */
  readonly dropped: boolean
}

/** Says why a limit moved or stayed. */
export type Reason =
  /** The backend refused or lost the call. */
  | "dropped"
  /** The call took longer than the timeout of the algorithm. */
  | "timed-out"
  /** Enough calls were in flight, and nothing was wrong. */
  | "saturated"
  /** Too few calls were in flight to learn anything. */
  | "unsaturated"
  /** Doubling while no limit is known. */
  | "slow-start"
  /** Growing by a share of itself once a limit is known. */
  | "steady-growth"
  /** The round is not complete yet. */
  | "round-open"
  /** A cut was made a moment ago. */
  | "cooldown"
  /** The ratio of long-term to present latency set the limit. */
  | "gradient"
  /** The estimated queue is empty, short, within bounds, or long. */
  | "no-queue"
  | "short-queue"
  | "queue-in-bounds"
  | "long-queue"
  /** The lowest latency was learned anew, or is being measured. */
  | "min-rtt-updated"
  | "measuring-min-rtt"
  | "min-rtt-measured"
  /** The window of samples is not complete yet. */
  | "window-open"
  /** The call started before the measurement began. */
  | "stale"
  /** More calls in flight lowered the throughput, or only raised the latency. */
  | "throughput-falls"
  | "latency-rises"
  | "throughput-flat"
  /** The limit is far above what is in flight. */
  | "above-in-flight"
  /** The limit stands at its bound. */
  | "at-max"
  | "at-min"
  /** The sample has no latency, or one that is not finite. */
  | "no-latency"

/** Says how the limit moved; `from` and `to` are whole calls. */
export interface Decision {
  readonly _tag: "Raised" | "Lowered" | "Held"
  readonly from: number
  readonly to: number
  readonly reason: Reason
}

/** Holds what every state does: the estimate, before it is cut to whole calls. */
export interface Estimated {
  readonly estimate: number
}

/** Learns how many calls may be in flight, by one algorithm. */
export interface Algorithm<in Options, State extends Estimated> {
  readonly initial: (options?: Options) => State
  /** Moves the limit; `now` in seconds, `random` uniform in [0, 1). */
  readonly sample: (state: State, sample: Sample, now: number, random: number) => readonly [Decision, State]
}

/** Reads how many calls may be in flight. */
export const limit = (state: Estimated): number => Math.floor(state.estimate)

/** Says whether a sample has a latency to learn from: above 0 and finite. */
export const hasLatency = (sample: Sample): boolean =>
  sample.rttSeconds > 0 && sample.rttSeconds < Number.POSITIVE_INFINITY

/** Pairs a state with the decision that explains the move from `before`. */
export const decide = <State extends Estimated>(
  before: Estimated,
  after: State,
  reason: Reason
): readonly [Decision, State] => {
  const from = limit(before)
  const to = limit(after)
  return [{ _tag: to > from ? "Raised" : to < from ? "Lowered" : "Held", from, to, reason }, after]
}

/** Moves the estimate to a target, as far as the bounds let it; the reason is the bound where that holds it in its place. */
export const move = <State extends Estimated & { readonly settings: { readonly min: number; readonly max: number } }>(
  before: Estimated,
  after: State,
  target: number,
  reason: Reason
): readonly [Decision, State] => {
  const { max, min } = after.settings
  const estimate = Math.min(max, Math.max(1, min, target))
  const isHeld = estimate === before.estimate && target !== estimate
  return decide(before, { ...after, estimate }, isHeld ? (target > estimate ? "at-max" : "at-min") : reason)
}

/** Computes `max(1, ⌊log10 n⌋)`: the step of the queue-based algorithms. */
export const log10Step = (n: number): number => Math.max(1, Math.floor(Math.log10(Math.max(1, Math.floor(n)))))
