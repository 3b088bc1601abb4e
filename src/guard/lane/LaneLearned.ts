/**
 * What a lane has learned, as data: if it is saved at the end of a run, the next run can start from it.
 *
 * Only the limits are kept, since queues, pauses and debts do not outlive a run. A limit that was never met is not
 * saved, since the rate that was reached says nothing about it.
 */
import * as Schema from "effect/Schema"
import * as AdaptiveRate from "../../policy/rate/AdaptiveRate.ts"
import * as BucketMirror from "../../policy/mirror/BucketMirror.ts"
import * as Kernel from "../../policy/lane/LaneKernel.ts"

const Above0 = Schema.Finite.check(Schema.isGreaterThan(0))

/** Checks what a lane has learned. */
export const Learned = Schema.Struct({
  version: Schema.Literal(1),
  /** Epoch milliseconds. */
  savedAt: Schema.Finite,
  requestsPerSecond: Schema.optionalKey(Above0),
  tokensPerSecond: Schema.optionalKey(Above0),
  inFlight: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThan(0)))
})
/** Holds what a lane has learned. */
export interface Learned extends Schema.Schema.Type<typeof Learned> {}

/**
 * Reads the limit as well as it is known: the measured one while the learner holds, else the rate at which it searches,
 * but not a rate that was learned while everything was refused.
 */
const best = (rate: AdaptiveRate.State, mirror: BucketMirror.State | undefined): number =>
  Math.max(
    rate.phase === "hold" || rate.phase === "probe" ? rate.limit : rate.rate,
    mirror === undefined
      ? AdaptiveRate.afterVain(rate)
      : BucketMirror.afterVain(mirror)
  )

const met = (rate: AdaptiveRate.State): boolean => rate.phase !== "start" && Number.isFinite(rate.rate)

/** Takes what was learned out of a lane's state. */
export const fromState = (state: Kernel.State, savedAt: number): Learned => ({
  version: 1,
  savedAt,
  ...(met(state.requests) ? { requestsPerSecond: best(state.requests, state.requestMirror) } : {}),
  ...(state.tokensPaced && met(state.tokens)
    ? { tokensPerSecond: best(state.tokens, state.tokenMirror) }
    : {}),
  ...(state.inFlight.kind === "cap" ? { inFlight: state.inFlight.limit } : {})
})

/**
 * A learned limit above the cap begins at the cap, which may have been lowered since, or the provider may state more.
 */
const warm = (options: Kernel.Options["requests"], learned: number | undefined): Kernel.Options["requests"] =>
  learned === undefined
    ? options
    : { ...options, initial: Math.min(learned, options?.ceiling ?? Infinity), known: true }

/** Puts what was learned into a lane's state; attempts under way keep counting. */
export const toState = (learned: Learned, state: Kernel.State, options: Kernel.Options, now: number): Kernel.State => {
  const { requestsPerSecond, tokensPerSecond, inFlight } = learned
  const fresh = Kernel.make({
    ...options,
    requests: warm(options.requests, requestsPerSecond),
    tokens: warm(options.tokens, tokensPerSecond),
    inFlight: inFlight ?? options.inFlight
  }, now)
  return {
    ...fresh,
    requests: { ...fresh.requests, cutAt: now },
    tokens: { ...fresh.tokens, cutAt: now },
    count: state.count,
    next: state.next,
    use: state.use,
    outage: state.outage,
    overdue: state.overdue,
    pausedUntil: state.pausedUntil
  }
}
