/**
 * What a lane is to whoever uses it: its options and their defaults, what goes in, and what it shows.
 *
 * `Lane` implements and exports all of it.
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Priority } from "../../domain/Call.ts"
import type { LimitHeaders } from "../../domain/Hint.ts"
import type { LaneOverflowError, RateLimitScope } from "../../domain/TogetherError.ts"
import type * as AdaptiveRate from "../../policy/rate/AdaptiveRate.ts"
import type * as Kernel from "../../policy/lane/LaneKernel.ts"
import type * as Learned from "./LaneLearned.ts"

/** Describes what an attempt needs from its lane. */
export interface LaneRequest {
  /** Tokens that the provider will charge, as estimated. Finite, at least 0; any other is a defect, a `RangeError`. */
  readonly tokens: number
  /** Place in the queue. A level that is no integer in [0, 499] is a defect, a `RangeError`. Default `normal`. */
  readonly priority?: Priority | undefined
  /** True for an attempt after the first: it goes ahead of fresh work of its class. Default false. */
  readonly retry?: boolean | undefined
  /**
   * True for an attempt that holds its permit for long, as a stream does. Where a cap of calls in flight binds, such
   * attempts leave one place in every four to others, while there are others. Default false.
   */
  readonly stream?: boolean | undefined
  /**
   * Epoch milliseconds by which the attempt must be sent. The lane refuses the attempt as soon as it cannot be sent in
   * time; a time in the past is always refused. Default: the `Deadline` around, less its `minAttempt`, or none.
   */
  readonly deadlineAt?: number | undefined
}

/**
 * Says how an attempt ended, as far as limits are concerned.
 *
 * | sample | of |
 * | --- | --- |
 * | `Success` | an answer |
 * | `Throttled` | a refusal because of a limit, as a 429 |
 * | `Overloaded` | a refusal for want of capacity, as a 503 |
 * | `Failed` | another 5xx, a broken connection |
 * | `TimedOut` | an attempt that was given up |
 * | `Ignored` | an end that says nothing of limits, as a 400; `sent` tells whether the provider saw it |
 */
export type Sample =
  | {
    readonly _tag: "Success"
    /** Tokens really used; without them, or if they are not finite or below 0, the estimate counts. */
    readonly tokens?: number | undefined
    /** Limits that the answer states; those on a refusal are not read. */
    readonly headers?: LimitHeaders | undefined
  }
  | {
    readonly _tag: "Throttled"
    readonly scope: RateLimitScope
    readonly retryAfter?: Duration.Duration | undefined
  }
  | { readonly _tag: "Overloaded"; readonly retryAfter?: Duration.Duration | undefined }
  | { readonly _tag: "Failed" }
  | { readonly _tag: "TimedOut" }
  | {
    readonly _tag: "Ignored"
    readonly sent: boolean
    /** True if the meaning of the end is not known: while three in four ends are such, no rate grows. Default false. */
    readonly unread?: boolean | undefined
  }

/** Holds a place in the provider's limits until it is settled. */
export interface Permit {
  /** Time that the attempt waited in the lane. */
  readonly waited: Duration.Duration
  /** Gives the place back and tells how the attempt ended; only the first call counts. */
  readonly settle: (sample: Sample) => Effect.Effect<void>
}

/** Says that a limit moved, or that the lane stopped or went on, and why. */
export type Decision = Kernel.Decision & {
  readonly lane: string
  /** Epoch milliseconds. */
  readonly at: number
}

/** Shows what a lane knows and does. */
export interface LaneStatus {
  /** Name of the lane, as `Lanes.key` makes it. */
  readonly key: string
  /** What the learner of requests is doing: `start`, `settle`, `hold` or `probe`. */
  readonly phase: AdaptiveRate.Phase
  /** Highest rate at which requests are sent now. */
  readonly requestsPerSecond: number
  /** Absent until the provider refused tokens, or a limit was given. */
  readonly tokensPerSecond: number | undefined
  /** Absent while no limit is known. */
  readonly inFlightLimit: number | undefined
  /** Attempts that hold a permit. */
  readonly inFlight: number
  /** Attempts that wait. */
  readonly queued: number
  /** Tokens of the attempts that wait, as estimated. */
  readonly queuedTokens: number
  /** Time until the pause ends, if there is one. */
  readonly pause: Duration.Duration | undefined
  /** True while the provider fails everything. */
  readonly outage: boolean
  /** What the head of the queue waits for. */
  readonly waitsFor: Kernel.Blocker | undefined
  /** When a call that joins the queue now, behind all that wait, would be sent, as a wait from now. */
  readonly estimate: Duration.Duration
  /** The last change of a limit, and why. */
  readonly lastDecision: Decision | undefined
}

/** Configures a lane. */
export interface Options {
  /** Names the lane in errors, decisions and metrics. Default `lane`. Never put an API key in it. */
  readonly key?: string | undefined
  /** Ceiling of requests per minute. Range above 0. Default none. */
  readonly requestsPerMinute?: number | undefined
  /** Ceiling of tokens per minute. Range above 0. Default none. */
  readonly tokensPerMinute?: number | undefined
  /** Ceiling of calls in flight. Integer, at least 1. Default none. */
  readonly maxInFlight?: number | undefined
  /**
   * Limits already known: the lane begins there, or at its ceiling where that is lower, in place of searching, and still
   * follows the provider. Default none.
   */
  readonly start?: {
    /** Above 0. */
    readonly requestsPerMinute?: number | undefined
    /** Above 0. */
    readonly tokensPerMinute?: number | undefined
    /** Integer, at least 1. */
    readonly inFlight?: number | undefined
  } | undefined
  /**
   * Calls that may wait. Integer, at least 0. Default 1,000,000: enough for any job. That many take about a gigabyte,
   * and as calls of the client, with their requests, seven or more: a service sets what it has room for.
   */
  readonly maxQueue?: number | undefined
  /** Longest pause that a hint can cause. Above zero. Default 60 seconds. */
  readonly maxPause?: Duration.Input | undefined
}

/** Holds every default of this module; rates that are absent are learned. */
export const defaults = {
  key: "lane",
  requestsPerMinute: Infinity,
  tokensPerMinute: Infinity,
  maxInFlight: Infinity,
  maxQueue: 1_000_000,
  maxPause: Duration.seconds(60),
  priority: "normal",
  retry: false,
  stream: false
} as const

/** Configures a run. */
export interface RunOptions<in A, in E> extends LaneRequest {
  /**
   * Says what the end of an attempt means for its lane; an interruption is always `Ignored`. Default: `sampleOf`, which
   * knows `TogetherError` and reads any other error by its shape.
   */
  readonly classify?: ((exit: Exit.Exit<A, E>) => Sample) | undefined
}

/** Paces all calls that share one provider limit. */
export interface Lane {
  readonly key: string
  /**
   * Waits for a permit.
   *
   * **Gotchas**: the caller settles it; `acquireScoped` and `run` do that by themselves.
   *
   * **Errors**: `LaneOverflowError` if the queue is full, or if the deadline cannot be met: because of the calls before
   * it and the learned limits, because of a pause that began while it waited, or because it has passed.
   */
  readonly acquire: (request: LaneRequest) => Effect.Effect<Permit, LaneOverflowError>
  /**
   * Waits for a permit that the end of the scope gives back, as `Ignored` if it was not settled. For streams, with
   * `stream: true`.
   */
  readonly acquireScoped: (request: LaneRequest) => Effect.Effect<Permit, LaneOverflowError, Scope.Scope>
  /** Takes a permit if one is free now and no waiting call could take it: for hedges. */
  readonly tryAcquire: (request: LaneRequest) => Effect.Effect<Option.Option<Permit>>
  /** Runs one attempt under a permit. */
  readonly run: <A, E, R>(
    attempt: Effect.Effect<A, E, R>,
    options: RunOptions<A, E>
  ) => Effect.Effect<A, E | LaneOverflowError, R>
  readonly status: Effect.Effect<LaneStatus>
  /** Tells every decision from now on, without an end; a slow reader loses the oldest. Costs nothing while nobody listens. */
  readonly decisions: Stream.Stream<Decision>
  /** Reads what was learned, as plain data for JSON. */
  readonly save: Effect.Effect<Learned.Learned>
  /** Begins anew from what an earlier run learned. */
  readonly load: (learned: Learned.Learned) => Effect.Effect<void>
}
