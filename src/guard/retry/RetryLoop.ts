/**
 * The retries of one call: attempts, waits and what is counted, until it succeeds or a retry is not worth it.
 *
 * If a call is made again after a suspension of its account, its retries go on where they were: attempts are counted
 * on, the schedule continues after the failures that it was asked about, the suspension is not part of the call's time,
 * and the budget gets only one deposit. This is for the client alone: to guard other calls, put `Retry.run` outside of
 * `Credits.run`.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import * as TogetherError from "../../domain/TogetherError.ts"
import * as BoundMetric from "../BoundMetric.ts"
import * as Deadline from "../Deadline.ts"
import type { FailOrWait } from "../FailOrWait.ts"
import * as Millis from "../Millis.ts"
import * as Monotonic from "../Monotonic.ts"
import type { RetryBudget } from "./RetryBudget.ts"
import * as RetrySchedule from "./RetrySchedule.ts"

/** Holds the number of the attempt in progress, the first being 1. */
export const CurrentAttempt: Context.Reference<number> = Context.Reference<number>(
  "effect-together/Retry/CurrentAttempt",
  { defaultValue: () => 1 }
)

/**
 * Says why a call was not retried further.
 *
 * - `not-retryable`: a repeat cannot cure the error
 * - `schedule`: the policy has ended: by attempts, by time, or because a hint is over its cap
 * - `deadline`: the wait, also one for a hint, would leave no time for an attempt
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

/** Configures `Retry.run` for errors that are all of the union `TogetherError`. */
export interface Options<in out E, out R = never> {
  /** Tells whether a repeat may cure an error. Default: `TogetherError.isRetryable`. */
  readonly isRetryable?: ((error: E) => boolean) | undefined
  /** A budget shared by all calls to one provider: a retry that finds it empty is not made. Default: none. */
  readonly budget?: RetryBudget | undefined
  /** What a retry does when the budget is empty: fail now, or wait for it, as long as the deadline allows. Default `"fail"`. */
  readonly whenBudgetEmpty?: FailOrWait | undefined
  /** Runs before each wait. */
  readonly onRetry?: ((event: RetryEvent<E>) => Effect.Effect<void, never, R>) | undefined
  /** Makes the final error. Default: sets `attempts` on a `TogetherError`, leaves any other error as it is. */
  readonly onStop?: ((event: StopEvent<E>) => E) | undefined
}

/** Configures `Retry.run` for errors of any type: `isRetryable` must say which of them a repeat may cure. */
export interface GenericOptions<in out E, out R = never> extends Options<E, R> {
  readonly isRetryable: (error: E) => boolean
}

const retries = BoundMetric.make(Metric.counter("effect_together_retry_waits_total", {
  description: "Retries by the tag of the error",
  incremental: true
}))
const stops = BoundMetric.make(Metric.counter("effect_together_retry_stops_total", {
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

/** Waits for the budget, unless the deadline would be missed by that. */
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

interface Step<E, SE, SR> {
  (now: number, error: E): RetrySchedule.Stepped<Schedule.Metadata, SE, SR>
}

/** How far the retries of one call have come. Mutable, owned by the call. */
interface Progress<E, SE, SR> {
  /** Milliseconds that the runs before took: the time between two is not the call's own. */
  spent: number
  deposited: boolean
  /** The attempt in progress, or the next one. */
  attempt: number
  /** What the schedule said of the wait before it. */
  metadata: Schedule.Metadata
  step: Step<E, SE, SR> | undefined
  /** When the last wait is over, as the schedule asked: a timer may fire up to a millisecond before. */
  due: number
}

/** One run of these retries: when they began, had nothing come in between, by the time of day and by the monotonic clock. */
interface Run<E, SE, SR> {
  readonly clock: Clock.Clock
  readonly began: number
  readonly start: number
  readonly progress: Progress<E, SE, SR>
}

const stop = <E, SE, SR, R2>(
  { progress }: Run<E, SE, SR>,
  options: GenericOptions<E, R2>,
  error: E,
  reason: StopReason,
  elapsed: number
): Effect.Effect<never, E> => {
  const event = { error, attempts: progress.attempt, reason, elapsed: Duration.millis(elapsed) }
  progress.spent = elapsed
  // what a guard of ours refused was not sent: that attempt is still to be made
  if (!(TogetherError.isTogetherError(error) && TogetherError.isOwnRefusal(error))) progress.attempt++
  return Effect.andThen(countStop(reason), Effect.fail((options.onStop ?? withAttempts)(event)))
}

/** Waits until the next attempt is due, or fails where there is none. */
const failed = Effect.fnUntraced(function*<E, SE, SR, R2>(
  run: Run<E, SE, SR>,
  policyOf: Effect.Effect<Schedule.Schedule<unknown, E, SE, SR>>,
  options: GenericOptions<E, R2>,
  error: E
): Effect.fn.Return<void, E | SE, SR | R2> {
  const { began, clock, progress, start } = run
  const elapsed = Monotonic.millis(clock) - start
  // a clock that is set back or forward meanwhile neither prolongs nor ends the call
  const now = began + elapsed
  if (!options.isRetryable(error)) return yield* stop(run, options, error, "not-retryable", elapsed)
  progress.step ??= yield* Schedule.toStep(Schedule.map(yield* policyOf, (metadata) => Effect.succeed(metadata)))
  // in whole milliseconds, and never before the end of its last wait: a schedule that waits for a boundary would
  // find what is left of it, and retry twice there
  const scheduled = Math.max(progress.due, Millis.whole(now))
  const decision = yield* RetrySchedule.decisionOf(
    Effect.provideService(progress.step(scheduled, error), RetrySchedule.CallStart, began)
  )
  if (decision === undefined) return yield* stop(run, options, error, "schedule", elapsed)
  const [metadata, asked] = decision
  const delay = Duration.millis(Millis.whole(Duration.toMillis(asked)))
  progress.due = scheduled + Duration.toMillis(delay)
  const room = Deadline.roomMillis(yield* Deadline.CurrentDeadline, now)
  if (Duration.toMillis(delay) >= room) return yield* stop(run, options, error, "deadline", elapsed)
  if (options.budget !== undefined) {
    const granted = options.whenBudgetEmpty === "wait"
      ? yield* awaitBudget(options.budget, room - Duration.toMillis(delay))
      : yield* options.budget.tryWithdraw
    if (!granted) return yield* stop(run, options, error, "budget", elapsed)
  }
  yield* countRetry(tagOf(error))
  yield* spanEvent(clock, error, progress.attempt, delay)
  if (options.onRetry !== undefined) {
    yield* options.onRetry({ error, attempt: progress.attempt, delay, elapsed: Duration.millis(elapsed) })
  }
  yield* Effect.sleep(delay)
  progress.metadata = metadata
  progress.attempt++
})

/**
 * Makes the retries of one call, which go on where they are run again. Nothing but the first attempt happens for a call
 * that succeeds at once. For one fiber at a time.
 */
export const make = <A, E, R, SE = never, SR = never, R2 = never>(
  self: Effect.Effect<A, E, R>,
  policyOf: Effect.Effect<Schedule.Schedule<unknown, E, SE, SR>>,
  options: GenericOptions<E, R2>
): Effect.Effect<A, E | SE, R | SR | R2> => {
  const progress: Progress<E, SE, SR> = {
    spent: 0,
    deposited: false,
    attempt: 1,
    metadata: Schedule.CurrentMetadata.defaultValue(),
    step: undefined,
    due: 0
  }

  return Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const run = {
      clock,
      began: clock.currentTimeMillisUnsafe() - progress.spent,
      start: Monotonic.millis(clock) - progress.spent,
      progress
    }
    const numbered = () => {
      const { attempt, metadata } = progress
      // costs a first attempt nothing, unless it is made inside of a later one of another call
      if (attempt === 1 && fiber.getRef(CurrentAttempt) === 1) return self
      const context = Context.add(Context.make(CurrentAttempt, attempt), Schedule.CurrentMetadata, metadata)
      return Effect.provideContext(self, context)
    }
    const next = (): Effect.Effect<A, E | SE, R | SR | R2> =>
      Effect.catch(numbered(), (error) => Effect.andThen(failed(run, policyOf, options, error), next))
    if (options.budget === undefined || progress.deposited) return next()
    progress.deposited = true
    return Effect.andThen(options.budget.deposit, next)
  })
}
