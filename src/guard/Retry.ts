/**
 * Retries an effect by a `Schedule`, within a deadline and within a budget that all calls share.
 *
 * ```text
 * attempt ─ success ──────────────────────────────────────────▶ value
 *    ▲ │
 *    │ failure ─ retryable? ─ schedule ─ deadline ─ budget ─ no ▶ error, with `attempts`
 *    │                                                   │
 *    └──────────────────────── sleep ◀──────────────── yes
 * ```
 *
 * A policy is a plain Effect `Schedule`: made by `policy(options)`, composed
 * from the combinators that this module re-exports (`fullJitter`,
 * `retryAfter`, `byTag`, …), read from a document (`fromJson`, `config`), or
 * your own. `preview` lists the delays of any of them.
 *
 * A waiting retry holds nothing that the attempt took: put permits inside.
 * `Deadline.run` goes outside, `Deadline.attempt` inside.
 *
 * ```ts
 * import { Effect, Schedule } from "effect"
 * import { Retry } from "effect-together"
 *
 * // any SDK's promise: say which of its errors a repeat may cure
 * let calls = 0
 * const flaky = Effect.tryPromise(() => ++calls < 3 ? Promise.reject(new Error("reset")) : Promise.resolve("hello"))
 *
 * const program = flaky.pipe(Retry.run(Schedule.spaced("1 millis"), { isRetryable: () => true }))
 *
 * await Effect.runPromise(program) // => "hello"
 * ```
 *
 * **Gotchas**: only one retry loop in a stack. Set `maxRetries: 0` on an SDK inside, or its attempts multiply ours and
 * its 429s never reach our lanes.
 */
import type * as Config from "effect/Config"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import * as TogetherError from "../domain/TogetherError.ts"
import * as BoundMetric from "./BoundMetric.ts"
import * as Deadline from "./Deadline.ts"
import * as Millis from "./Millis.ts"
import * as Monotonic from "./Monotonic.ts"
import type { RetryBudget } from "./RetryBudget.ts"
import { config } from "./RetryDocument.ts"
import { policy } from "./RetryPolicy.ts"
import * as RetrySchedule from "./RetrySchedule.ts"

export {
  capped,
  decorrelatedJitter,
  delays,
  equalJitter,
  exponential,
  floored,
  fullJitter,
  proportionalJitter,
  type ProportionalOptions
} from "./RetryDelay.ts"
export { config, fromDocument, fromJson, RetryDocument, type RetryDocumentJson } from "./RetryDocument.ts"
export { defaultDocument, defaults, type Jitter, policy, type PolicyOptions } from "./RetryPolicy.ts"
export { preview, type PreviewOptions } from "./RetryPreview.ts"
export {
  byTag,
  maxAttempts,
  maxElapsed,
  type OwnTags,
  retryAfter,
  type RetryAfterOptions,
  type Tags,
  when,
  whileRetryable
} from "./RetrySchedule.ts"

/**
 * Holds the schedule that {@link run} uses where none is given: the default {@link policy}.
 *
 * **Gotchas**: any call may come to it, so its input must be `unknown`: a schedule that reads errors of one type goes to the
 * call or to the client, as their `retry`.
 *
 * **Example**: a region of a program with its own policy.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Retry } from "effect-together"
 *
 * const patient = Effect.provideService(Retry.CurrentPolicy, Retry.policy({ maxAttempts: 10 }))
 *
 * await Effect.runPromise(patient(Effect.succeed("done"))) // => "done"
 * ```
 */
export const CurrentPolicy: Context.Reference<Schedule.Schedule<unknown>> = Context.Reference<
  Schedule.Schedule<unknown>
>("effect-together/Retry/CurrentPolicy", { defaultValue: () => policy() })

/**
 * Provides the schedule that `run` uses where none is given, from the configuration.
 *
 * **Gotchas**: as for {@link layer}.
 */
export const layerConfig = (path: string): Layer.Layer<never, Config.ConfigError> =>
  Layer.effect(CurrentPolicy, config(path))

/**
 * Provides the schedule that `run` uses where none is given.
 *
 * **Details**: given to the layer of a `Together` client, it is that client's schedule. Given to the program, it is that
 * of every call made there.
 *
 * **Gotchas**: `run` by itself reads it from the fiber that calls, so it must reach the program, not only a layer below.
 * Its input must be `unknown`, as that of {@link CurrentPolicy}.
 */
export const layer = (schedule: Schedule.Schedule<unknown>): Layer.Layer<never> =>
  Layer.succeed(CurrentPolicy, schedule)

/** Holds the number of the attempt in progress, the first being 1. */
export const CurrentAttempt: Context.Reference<number> = Context.Reference<number>(
  "effect-together/Retry/CurrentAttempt",
  { defaultValue: () => 1 }
)

/**
 * Says why a call was not retried further.
 *
 * - `not-retryable`: a repeat cannot cure the error
 * - `schedule`: the policy is done: attempts, time, or a hint over its cap
 * - `deadline`: the wait, a hint's too, would leave no room for an attempt
 * - `budget`: the shared retry budget is empty
 */
export type StopReason = "not-retryable" | "schedule" | "deadline" | "budget"

/** Describes a retry that is about to wait. */
export interface RetryEvent<out E> {
  readonly error: E
  /** The attempt that failed, the first being 1. */
  readonly attempt: number
  readonly delay: Duration.Duration
  /** Time since the first attempt began. */
  readonly elapsed: Duration.Duration
}

/** Describes the end of a call that failed. */
export interface StopEvent<out E> {
  readonly error: E
  /** Attempts made, the first included. */
  readonly attempts: number
  readonly reason: StopReason
  readonly elapsed: Duration.Duration
}

/** Configures {@link run} for errors that are all of the union `TogetherError`. */
export interface Options<in out E, out R = never> {
  /** Tells whether a repeat may cure an error. Default: `TogetherError.isRetryable`. */
  readonly isRetryable?: ((error: E) => boolean) | undefined
  /** A budget shared by all calls to one provider: a retry that finds it empty is not made. Default: none. */
  readonly budget?: RetryBudget | undefined
  /** What a retry does when the budget is empty: fail now, or wait for it, as long as the deadline allows. Default `"fail"`. */
  readonly whenBudgetEmpty?: "fail" | "wait" | undefined
  /** Runs before each wait. */
  readonly onRetry?: ((event: RetryEvent<E>) => Effect.Effect<void, never, R>) | undefined
  /** Makes the final error. Default: sets `attempts` on a `TogetherError`, leaves any other error as it is. */
  readonly onStop?: ((event: StopEvent<E>) => E) | undefined
}

/**
 * Stands for the errors that {@link run} can judge by itself: the union `TogetherError`. For any other give `isRetryable`.
 *
 * **Details**: the compiler goes by the tag, a run by `TogetherError.isTogetherError`: an error of another library with an
 * equal tag is not retried. It is not the union itself, so that the compiler's message about a foreign error is this name.
 */
export interface TogetherErrorElseGiveIsRetryable extends Error {
  readonly _tag: TogetherError.TogetherError["_tag"]
}

/** Configures {@link run} for errors of any type: `isRetryable` must say which of them a repeat may cure. */
export interface GenericOptions<in out E, out R = never> extends Options<E, R> {
  readonly isRetryable: (error: E) => boolean
}

const retries = BoundMetric.make(Metric.counter("retry_waits_total", {
  description: "Retries by the tag of the error",
  incremental: true
}))
const stops = BoundMetric.make(Metric.counter("retry_stops_total", {
  description: "Calls that failed for good, by the reason for not retrying further",
  incremental: true
}))

const countRetry = (error: string): Effect.Effect<void> => Metric.update(retries({ error }), 1)
const countStop = (reason: StopReason): Effect.Effect<void> => Metric.update(stops({ reason }), 1)

const tagOf = (error: unknown): string =>
  Predicate.hasProperty(error, "_tag") && typeof error._tag === "string" ? error._tag : "Unknown"

const withAttempts = <E>(event: StopEvent<E>): E =>
  TogetherError.isTogetherError(event.error)
    // annotate returns an error of the class it was given, which is E
    ? TogetherError.annotate(event.error, { attempts: event.attempts }) as E
    : event.error

interface Step<E, SE, SR> {
  (now: number, error: E): RetrySchedule.Stepped<Schedule.Metadata, SE, SR>
}

/**
 * Makes the loop of one call, which goes on where it is run again. Nothing but the first attempt happens for a call that
 * succeeds at once.
 */
const loop = <A, E, R, SE, SR, R2>(
  self: Effect.Effect<A, E, R>,
  policyOf: Effect.Effect<Schedule.Schedule<unknown, E, SE, SR>>,
  options: GenericOptions<E, R2>
): Effect.Effect<Effect.Effect<A, E | SE, R | SR | R2>> =>
  Clock.clockWith((clock) => {
    // when the call began, on both clocks, and how long it took: the time between two runs is not its own
    let began = 0
    let start = 0
    let spent = 0
    let deposited = false
    let attempt = 1
    let metadata = Schedule.CurrentMetadata.defaultValue()
    let step: Step<E, SE, SR> | undefined
    // when the last wait is over, as the schedule asked: a timer may fire up to a millisecond before
    let due = 0

    const stop = (error: E, reason: StopReason, elapsed: number): Effect.Effect<never, E> => {
      const event = { error, attempts: attempt, reason, elapsed: Duration.millis(elapsed) }
      spent = elapsed
      // what a guard of ours refused was not sent: that attempt is still to be made
      if (!(TogetherError.isTogetherError(error) && TogetherError.isOwnRefusal(error))) attempt++
      return Effect.andThen(countStop(reason), Effect.fail((options.onStop ?? withAttempts)(event)))
    }

    // a plain function: made for every call, and called only for those that fail
    const onFailure = (error: E) =>
      Effect.gen(function*() {
        const elapsed = Monotonic.millis(clock) - start
        // a clock that is set back or forward meanwhile neither prolongs nor ends the call
        const now = began + elapsed
        if (!options.isRetryable(error)) return yield* stop(error, "not-retryable", elapsed)
        step ??= yield* Schedule.toStep(Schedule.map(yield* policyOf, (metadata) => Effect.succeed(metadata)))
        // in whole milliseconds, and never before the end of its last wait: a schedule that waits for a boundary would
        // find what is left of it, and retry twice there
        const scheduled = Math.max(due, Millis.whole(now))
        const decision = yield* RetrySchedule.decisionOf(
          Effect.provideService(step(scheduled, error), RetrySchedule.CallStart, began)
        )
        if (decision === undefined) return yield* stop(error, "schedule", elapsed)
        const [told, asked] = decision
        const next = Duration.millis(Millis.whole(Duration.toMillis(asked)))
        due = scheduled + Duration.toMillis(next)
        const room = Deadline.roomMillis(yield* Deadline.CurrentDeadline, now)
        if (Duration.toMillis(next) >= room) return yield* stop(error, "deadline", elapsed)
        if (options.budget !== undefined) {
          const granted = options.whenBudgetEmpty === "wait"
            ? yield* awaitBudget(options.budget, room - Duration.toMillis(next))
            : yield* options.budget.tryWithdraw
          if (!granted) return yield* stop(error, "budget", elapsed)
        }
        yield* countRetry(tagOf(error))
        yield* spanEvent(clock, error, attempt, next)
        if (options.onRetry !== undefined) {
          yield* options.onRetry({ error, attempt, delay: next, elapsed: Duration.millis(elapsed) })
        }
        yield* Effect.sleep(next)
        metadata = told
        attempt++
      })

    const again: Effect.Effect<A, E | SE, R | SR | R2> = Effect.catch(
      Effect.withFiber((fiber) => {
        // costs a first attempt nothing, unless it is made inside of a later one of another call
        if (attempt === 1 && fiber.getRef(CurrentAttempt) === 1) return self
        const context = Context.add(Context.make(CurrentAttempt, attempt), Schedule.CurrentMetadata, metadata)
        return Effect.provideContext(self, context)
      }),
      (error) => Effect.andThen(onFailure(error), again)
    )
    return Effect.succeed(Effect.suspend(() => {
      began = clock.currentTimeMillisUnsafe() - spent
      start = Monotonic.millis(clock) - spent
      if (options.budget === undefined || deposited) return again
      deposited = true
      return Effect.andThen(options.budget.deposit, again)
    }))
  })

/** Waits for the budget, but not so long that the deadline would be missed. */
const awaitBudget = (budget: RetryBudget, millis: number): Effect.Effect<boolean> =>
  Effect.map(Effect.timeoutOption(budget.withdraw, Duration.millis(millis)), Option.isSome)

/** Marks the retry on the span in progress, where there is one. */
const spanEvent = (clock: Clock.Clock, error: unknown, attempt: number, delay: Duration.Duration) =>
  Effect.map(Effect.option(Effect.currentSpan), (span) => {
    if (Option.isNone(span)) return
    span.value.event("retry", clock.currentTimeNanosUnsafe(), {
      "retry.attempt": attempt,
      "retry.delay_ms": Duration.toMillis(delay),
      "retry.error": tagOf(error)
    })
  })

const made = <A, E, R, SE, SR, R2>(
  self: Effect.Effect<A, E, R>,
  policy?: Schedule.Schedule<unknown, E, SE, SR> | undefined,
  options?: Options<E, R2>
): Effect.Effect<Effect.Effect<A, E | SE, R | SR | R2>> =>
  loop(self, policy === undefined ? Effect.service(CurrentPolicy) : Effect.succeed(policy), {
    ...options,
    isRetryable: options?.isRetryable ?? RetrySchedule.isRetryable
  })

/**
 * Retries an effect while its errors are worth it, its schedule goes on, its deadline allows and the budget lasts.
 *
 * **Details**: without a schedule it uses {@link CurrentPolicy}. The effect sees the number of its attempt in
 * {@link CurrentAttempt}, and from the second on what the schedule said in `Schedule.CurrentMetadata`. Defects and
 * interruption are never retried.
 *
 * **Gotchas**: a retry runs the effect anew. Put what belongs to one attempt (permit, timeout) inside of it, and what
 * belongs to the call (deadline, reservation) outside.
 *
 * **Errors**: the error of the last attempt, with `attempts` where it is a `TogetherError`. It keeps its `retryAfter`,
 * so a caller whose hint was over the cap knows when to come back.
 */
export const run: {
  <E, SE = never, SR = never, R2 = never>(
    policy: Schedule.Schedule<unknown, NoInfer<E>, SE, SR> | undefined,
    options: GenericOptions<E, R2>
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SE, R | SR | R2>
  <E extends TogetherErrorElseGiveIsRetryable = TogetherError.TogetherError, SE = never, SR = never, R2 = never>(
    policy?: Schedule.Schedule<unknown, NoInfer<E>, SE, SR> | undefined,
    options?: Options<E, R2>
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SE, R | SR | R2>
  <A, E, R, SE = never, SR = never, R2 = never>(
    self: Effect.Effect<A, E, R>,
    policy: Schedule.Schedule<unknown, NoInfer<E>, SE, SR> | undefined,
    options: GenericOptions<E, R2>
  ): Effect.Effect<A, E | SE, R | SR | R2>
  <A, E extends TogetherErrorElseGiveIsRetryable, R, SE = never, SR = never, R2 = never>(
    self: Effect.Effect<A, E, R>,
    policy?: Schedule.Schedule<unknown, NoInfer<E>, SE, SR> | undefined,
    options?: Options<E, R2>
  ): Effect.Effect<A, E | SE, R | SR | R2>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, SE, SR, R2>(
    self: Effect.Effect<A, E, R>,
    policy?: Schedule.Schedule<unknown, E, SE, SR> | undefined,
    options?: Options<E, R2>
  ): Effect.Effect<A, E | SE, R | SR | R2> => Effect.flatten(made(self, policy, options))
)

/**
 * Makes what retries one call as {@link run} does, and goes on where it is run again.
 *
 * **When to use**: a guard around the retries runs them again, as `Credits.run` does after a suspension.
 *
 * **Details**: attempts are counted on; one that a guard of ours refused unsent counts for nothing. The schedule goes on
 * after the failures that it was asked about, the time between two runs is not counted, and the budget gets one deposit.
 *
 * **Gotchas**: make one for each call, inside of it; it is for one fiber at a time.
 *
 * **Errors**: as {@link run}, at each end.
 */
export const resumable: {
  <A, E, R, SE = never, SR = never, R2 = never>(
    self: Effect.Effect<A, E, R>,
    policy: Schedule.Schedule<unknown, NoInfer<E>, SE, SR> | undefined,
    options: GenericOptions<E, R2>
  ): Effect.Effect<Effect.Effect<A, E | SE, R | SR | R2>>
  <A, E extends TogetherErrorElseGiveIsRetryable, R, SE = never, SR = never, R2 = never>(
    self: Effect.Effect<A, E, R>,
    policy?: Schedule.Schedule<unknown, NoInfer<E>, SE, SR> | undefined,
    options?: Options<E, R2>
  ): Effect.Effect<Effect.Effect<A, E | SE, R | SR | R2>>
} = made
