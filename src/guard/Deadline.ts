/**
 * One point in time by which a whole call must be done, seen by every guard inside it.
 *
 * `run` sets it, in the fiber's context. Guards further in read it: `attempt`
 * never lets an attempt run past it, `Retry.run` never sleeps past it, a lane
 * refuses what it cannot admit before it. A nested deadline can only be
 * earlier, never later.
 *
 * | quantity | value |
 * | --- | --- |
 * | `remaining` | deadline − now |
 * | time of one attempt | min(timeout of the attempt, `remaining`) |
 * | start an attempt | only while `remaining` ≥ `minAttempt` |
 * | sleep for `wait` | only while `wait` < `remaining` − `minAttempt` |
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Deadline } from "effect-together"
 *
 * const answer = Effect.succeed("42").pipe(
 *   Deadline.attempt("30 seconds"),
 *   Deadline.run("1 minute")
 * )
 *
 * await Effect.runPromise(answer) // => "42"
 * ```
 *
 * **Source**: gRPC deadlines and Finagle's DeadlineFilter.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { RequestTimeoutError } from "../domain/TogetherError.ts"
import * as Millis from "./Millis.ts"

/** Says by when a call must be done, and the shortest attempt worth starting. */
export interface Deadline {
  /**
   * Epoch milliseconds, on the `Clock` service: a time of day. Once that clock was set forward or back, guards see too
   * little or too much time left; the call that {@link run} ends still ends on time.
   */
  readonly at: number
  /** Milliseconds: with less than this left, no attempt is started and no retry waited for. */
  readonly minAttempt: number
}

/**
 * Holds the deadline of the call in progress; `undefined` where there is none.
 *
 * **Gotchas**: a fiber that is forked inside of {@link run} keeps it, also once it has passed, and guards then refuse what
 * that fiber sends. Provide `undefined` around work that is to go on in the background.
 */
export const CurrentDeadline: Context.Reference<Deadline | undefined> = Context.Reference<Deadline | undefined>(
  "effect-together/Deadline",
  { defaultValue: () => undefined }
)

/** Holds the defaults of this module. */
export const defaults = {
  /** The longest default of `minAttempt`: a chat completion takes about this long. */
  minAttemptMax: Duration.seconds(2),
  /** The default of `minAttempt` as a share of the whole deadline, in (0, 1]. */
  minAttemptShare: 0.1
} as const

/** Configures {@link run}. */
export interface Options<E2> {
  /**
   * The shortest attempt worth starting.
   *
   * Default: a tenth of the deadline, at most 2 seconds, so that short deadlines still allow retries. Inside an earlier
   * deadline: that one's.
   */
  readonly minAttempt?: Duration.Input | undefined
  /** Builds the error of a call that ran out of time. Default: `RequestTimeoutError` with `phase: "deadline"`. */
  readonly onExpired?: ((duration: Duration.Duration) => E2) | undefined
}

/** Configures {@link attempt}. */
export interface AttemptOptions<E2> {
  /**
   * Builds the error of an attempt that ran out of time; `byDeadline` tells which limit cut it.
   *
   * Default: `RequestTimeoutError` with `phase: "deadline"` or `"body"`.
   */
  readonly onTimeout?:
    | ((info: { readonly duration: Duration.Duration; readonly byDeadline: boolean }) => E2)
    | undefined
}

const timeoutError = (phase: "deadline" | "body", duration: Duration.Duration) =>
  new RequestTimeoutError({
    phase,
    message: phase === "deadline"
      ? `The call did not finish in the ${
        Duration.format(duration)
      } that its deadline left: raise the deadline or ask for less.`
      : `The attempt did not finish within ${
        Duration.format(duration)
      }: raise the attempt timeout or ask for fewer tokens.`
  })

/**
 * Reads the time left of a deadline in milliseconds; infinite without one.
 *
 * @internal
 */
export const remainingMillis = (deadline: Deadline | undefined, now: number): number =>
  deadline === undefined ? Infinity : deadline.at - now

/**
 * Reads how long a wait may be before a further attempt, in milliseconds; infinite without a deadline.
 *
 * @internal
 */
export const roomMillis = (deadline: Deadline | undefined, now: number): number =>
  deadline === undefined ? Infinity : deadline.at - now - deadline.minAttempt

/**
 * Reads the timeout of an attempt that starts now, in milliseconds; `undefined` if it is not worth starting.
 *
 * @internal
 */
export const attemptMillis = (
  deadline: Deadline | undefined,
  now: number,
  perAttempt: number
): number | undefined => {
  if (deadline === undefined) return perAttempt
  const remaining = deadline.at - now
  return remaining <= 0 || remaining < deadline.minAttempt ? undefined : Math.min(perAttempt, remaining)
}

/** Reads the time left of the current deadline; infinite without one. */
export const remaining: Effect.Effect<Duration.Duration> = Effect.gen(function*() {
  const deadline = yield* CurrentDeadline
  return Duration.millis(Math.max(0, remainingMillis(deadline, yield* Clock.currentTimeMillis)))
})

/** Tells whether a wait leaves room for an attempt before the current deadline. */
export const allows = (wait: Duration.Input): Effect.Effect<boolean> => {
  const millis = Millis.accepted("Deadline.allows: wait", wait)
  return Effect.withFiber((fiber) => {
    const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    return Effect.succeed(millis < roomMillis(fiber.getRef(CurrentDeadline), now))
  })
}

/**
 * Gives a whole call a deadline: everything inside sees it, and at that time the call is interrupted.
 *
 * **Details**: with no time left, a duration of 0 or less, the effect is not run.
 *
 * **Gotchas**: put it outside of `Retry.run`, so that attempts and waits share one deadline. Inside another deadline
 * the earlier of the two holds, with its `minAttempt` where `options` state none.
 *
 * **Errors**: `RequestTimeoutError` with `phase: "deadline"`, which no retry repeats.
 */
export const run: {
  <E2 = RequestTimeoutError>(
    duration: Duration.Input,
    options?: Options<E2>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | E2, R>
  <A, E, R, E2 = RequestTimeoutError>(
    self: Effect.Effect<A, E, R>,
    duration: Duration.Input,
    options?: Options<E2>
  ): Effect.Effect<A, E | E2, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, E2 = RequestTimeoutError>(
    self: Effect.Effect<A, E, R>,
    duration: Duration.Input,
    options?: Options<E2>
  ): Effect.Effect<A, E | E2, R> => {
    const millis = Millis.accepted("Deadline.run: duration", duration)
    const stated = options?.minAttempt === undefined
      ? undefined
      : Millis.notNegative("Deadline.run: minAttempt", options.minAttempt)
    const share = Math.min(Duration.toMillis(defaults.minAttemptMax), millis * defaults.minAttemptShare)
    // E2 is RequestTimeoutError where no onExpired is given: that is its default
    const expired = (options?.onExpired ?? ((left) => timeoutError("deadline", left))) as (d: Duration.Duration) => E2
    return Clock.clockWith((clock) => {
      const now = clock.currentTimeMillisUnsafe()
      return Effect.flatMap(CurrentDeadline, (outer) => {
        const earlier = outer !== undefined && outer.at < now + millis ? outer : undefined
        const at = earlier?.at ?? now + millis
        const minAttempt = stated ?? earlier?.minAttempt ?? share
        const left = Duration.millis(at - now)
        if (at <= now) return Effect.fail(expired(Duration.zero))
        return self.pipe(
          Effect.provideService(CurrentDeadline, { at, minAttempt }),
          Effect.timeoutOrElse({ duration: left, orElse: () => Effect.fail(expired(left)) })
        )
      })
    })
  }
)

/**
 * Bounds one attempt by its own timeout and by what is left of the current deadline.
 *
 * **Details**: with less than `minAttempt` left nothing is started.
 *
 * **Errors**: `RequestTimeoutError`; `phase` is `"deadline"` when the deadline cut it, else `"body"`.
 */
export const attempt: {
  <E2 = RequestTimeoutError>(
    timeout: Duration.Input,
    options?: AttemptOptions<E2>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | E2, R>
  <A, E, R, E2 = RequestTimeoutError>(
    self: Effect.Effect<A, E, R>,
    timeout: Duration.Input,
    options?: AttemptOptions<E2>
  ): Effect.Effect<A, E | E2, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, E2 = RequestTimeoutError>(
    self: Effect.Effect<A, E, R>,
    timeout: Duration.Input,
    options?: AttemptOptions<E2>
  ): Effect.Effect<A, E | E2, R> => {
    const perAttempt = Millis.positive("Deadline.attempt: timeout", timeout)
    const failed = (byDeadline: boolean, duration: Duration.Duration): Effect.Effect<never, E2> =>
      Effect.fail(
        options?.onTimeout === undefined
          // E2 is RequestTimeoutError where no onTimeout is given: that is its default
          ? timeoutError(byDeadline ? "deadline" : "body", duration) as E2
          : options.onTimeout({ duration, byDeadline })
      )
    return Clock.clockWith((clock) =>
      Effect.flatMap(CurrentDeadline, (deadline) => {
        const now = clock.currentTimeMillisUnsafe()
        const millis = attemptMillis(deadline, now, perAttempt)
        if (millis === undefined) {
          return failed(true, Duration.millis(Math.max(0, remainingMillis(deadline, now))))
        }
        const duration = Duration.millis(millis)
        return Effect.timeoutOrElse(self, { duration, orElse: () => failed(millis < perAttempt, duration) })
      })
    )
  }
)
