/**
 * The way of one call: which guard stands where, for answers and for streams alike.
 *
 * ```text
 * deadline → credits → retry ─┬─ breaker → lane → attempt → settle
 *                ▲            └─ wait (holds no permit)        │
 *                └──────────── settle with real usage ◀────────┘
 * ```
 *
 * A waiting retry holds no permit, and waits happen outside of every attempt
 * timeout. A stream holds its permit until its last event. Interruption at any
 * point returns the permit, the reservation and the socket.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Call } from "../domain/Call.ts"
import * as Hint from "../domain/Hint.ts"
import { isRetryable, RequestTimeoutError } from "../domain/TogetherError.ts"
import type * as TogetherError from "../domain/TogetherError.ts"
import type * as Usage from "../domain/Usage.ts"
import * as Deadline from "../guard/Deadline.ts"
import type * as Lane from "../guard/Lane.ts"
import * as Retry from "../guard/Retry.ts"
import type { RetryBudget } from "../guard/RetryBudget.ts"
import type { Opened } from "./EventStream.ts"

type Failure = TogetherError.TogetherError

/** Holds what one attempt learned besides its result. */
export interface Observed {
  headers: Hint.Headers | undefined
  usage: Usage.Usage | undefined
}

/** Says how a call is guarded. */
export interface Guards {
  readonly lane: Lane.Lane
  readonly retry: Schedule.Schedule<unknown> | undefined
  readonly retryBudget: RetryBudget | undefined
  readonly deadline: Duration.Duration | undefined
}

/** Reads how an attempt ended, as far as its lane is concerned. */
export const sampleOf = (exit: Exit.Exit<unknown, Failure>, observed: Observed): Lane.Sample => {
  const headers = observed.headers === undefined ? undefined : Hint.limitHeaders(observed.headers)
  if (Exit.isSuccess(exit)) {
    const { usage } = observed
    return { _tag: "Success", tokens: usage === undefined ? undefined : usage.inputTokens + usage.outputTokens, headers }
  }
  const reason = exit.cause.reasons.find(Cause.isFailReason)
  const error = reason?.error
  switch (error?._tag) {
    case "RateLimitError":
      return { _tag: "Throttled", scope: error.scope, retryAfter: error.retryAfter, headers }
    case "OverloadedError":
      return { _tag: "Overloaded", retryAfter: error.retryAfter }
    case "ServerError":
    case "ConnectionError":
    case "StreamError":
      return { _tag: "Failed" }
    case "RequestTimeoutError":
      return { _tag: "TimedOut" }
    default:
      return { _tag: "Ignored", sent: true }
  }
}

const laneRequest = (call: Call, attempt: number, deadline: Deadline.Deadline | undefined): Lane.LaneRequest => ({
  tokens: call.estimate.inputTokens + call.estimate.outputTokens,
  priority: call.priority,
  retry: attempt > 1,
  deadlineAt: deadline?.at
})

/** A refusal of these kinds was made before anything was done: a repeat is safe even where the call is not. */
const refusedBeforeWork = (error: Failure): boolean =>
  error._tag === "RateLimitError" || error._tag === "OverloadedError"

const retried = <A, R>(call: Call, guards: Guards, once: Effect.Effect<A, Failure, R>): Effect.Effect<A, Failure, R> =>
  Retry.run(once, guards.retry, {
    budget: guards.retryBudget,
    isRetryable: (error: Failure) => isRetryable(error) && (call.idempotent || refusedBeforeWork(error))
  })

/** Runs a call that answers once. */
export const answer = <A>(
  call: Call,
  guards: Guards,
  attempt: (observed: Observed) => Effect.Effect<A, Failure>
): Effect.Effect<A, Failure> => {
  const once = Effect.withFiber<A, Failure>((fiber) => {
    const observed: Observed = { headers: undefined, usage: undefined }
    return guards.lane.run(
      attempt(observed),
      laneRequest(call, fiber.getRef(Retry.CurrentAttempt), fiber.getRef(Deadline.CurrentDeadline)),
      (exit) => sampleOf(exit, observed)
    )
  })
  const whole = retried(call, guards, once)
  return guards.deadline === undefined ? whole : Deadline.run(whole, guards.deadline)
}

interface Held<Chunk> {
  readonly opened: Opened<Chunk>
  readonly permit: Lane.Permit
  readonly observed: Observed
}

/** Runs a call that streams: retried unseen up to its first token, never after it. */
export const stream = <Chunk>(
  call: Call,
  guards: Guards,
  open: (observed: Observed) => Effect.Effect<Opened<Chunk>, Failure, Scope.Scope>
): Stream.Stream<Chunk, Failure> =>
  Stream.unwrap(Effect.gen(function*() {
    const outer = yield* Effect.scope
    const startedAt = yield* Clock.currentTimeMillis

    const once = Effect.gen(function*() {
      const scope = yield* Scope.fork(outer)
      const observed: Observed = { headers: undefined, usage: undefined }
      const request = laneRequest(call, yield* Retry.CurrentAttempt, yield* Deadline.CurrentDeadline)
      return yield* guards.lane.acquireScoped(request).pipe(
        Effect.flatMap((permit) =>
          open(observed).pipe(
            Effect.onExit((exit) =>
              Exit.isSuccess(exit) ? Effect.void : permit.settle(sampleOf(exit, observed))
            ),
            Effect.map((opened): Held<Chunk> => ({ opened, permit, observed }))
          )
        ),
        Scope.provide(scope),
        Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))
      )
    })

    const whole = retried(call, guards, once)
    const { observed, opened, permit } = yield* guards.deadline === undefined
      ? whole
      : Deadline.run(whole, guards.deadline)

    const settled = Effect.tapCause(opened.pull, (cause) => {
      if (Pull.isDoneCause(cause)) {
        observed.usage = opened.usage()
        return permit.settle(sampleOf(Exit.void, observed))
      }
      // no end of the stream in it, so what is left are failures of the call
      return permit.settle(sampleOf(Exit.failCause(cause as Cause.Cause<Failure>), observed))
    })
    return Stream.fromPull(Effect.succeed(
      guards.deadline === undefined ? settled : before(settled, startedAt + Duration.toMillis(guards.deadline), call)
    ))
  }))

/** Bounds each pull by what is left of the whole call's deadline. */
const before = <A, E, R>(pull: Effect.Effect<A, E, R>, at: number, call: Call) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.timeoutOrElse(pull, {
      duration: Duration.millis(Math.max(0, at - now)),
      orElse: () =>
        Effect.fail(
          new RequestTimeoutError({
            phase: "deadline",
            operation: call.operation,
            model: call.model,
            message: "The stream did not end within the call's deadline. Raise the deadline or ask for less."
          })
        )
    }))
