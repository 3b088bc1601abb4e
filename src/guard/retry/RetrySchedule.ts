/**
 * The decisions of a retry schedule: what a provider's hint makes of a delay, when to stop, which schedule an error gets.
 *
 * Each is one step of a pipeline and works on any `Schedule`, ours or yours.
 * The delay comes from the left, as `RetryDelay` makes it:
 *
 * ```text
 * (curve → ceiling → chance) → hint         → (floor)      → stop
 *                              retryAfter                    whileRetryable
 *                                                            maxElapsed
 *                                                            maxAttempts
 * ```
 *
 * | step | what it does with an error |
 * | --- | --- |
 * | `retryAfter` | with a hint h: waits h·(1 + spread·u), u = U(0, 1), or stops where that is too long |
 * | `whileRetryable` | stops where a repeat cannot cure it |
 * | `when`, `byTag` | chooses a schedule for it; each keeps its own count |
 *
 * The chance in a hint's wait comes from Effect's `Random`: same seed, same delays.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Pull from "effect/Pull"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as ForeignError from "../../domain/ForeignError.ts"
import * as TogetherError from "../../domain/TogetherError.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import * as WaitHint from "../../policy/WaitHint.ts"
import * as Deadline from "../Deadline.ts"
import * as Millis from "../Millis.ts"

/** Holds the defaults of this module. */
export const defaults = {
  /** `retryAfter`: a longer hint stops the schedule. */
  hintCap: Duration.seconds(60),
  /** `retryAfter`: how much later than asked a retry may come, as a share of the hint, against herds. */
  hintSpread: 0.25
} as const

/**
 * Epoch milliseconds at which the first attempt of the call in progress began, later by what was not the time of its
 * retries; set by `Retry.run` for its schedule.
 */
export const CallStart: Context.Reference<number | undefined> = Context.Reference<number | undefined>(
  "effect-together/Retry/CallStart",
  { defaultValue: () => undefined }
)

/** Runs one step of a schedule: it comes to an output and a delay, or its end. */
export type Stepped<O, E, R> = Pull.Pull<[O, Duration.Duration], E, unknown, R>

/** Reads the output and the delay of a step; nothing where the schedule is done. */
export const decisionOf = <O, E, R>(
  step: Stepped<O, E, R>
): Effect.Effect<readonly [O, Duration.Duration] | undefined, E, R> =>
  Pull.matchEffect(step, {
    onSuccess: (decision) => Effect.succeed<readonly [O, Duration.Duration] | undefined>(decision),
    onFailure: (cause) => Effect.failCause(cause),
    onDone: () => Effect.undefined
  })

/** Reads the wait that an error carries: one of ours, or another library's by its shape. */
export const hintOf = (error: unknown): Duration.Duration | undefined =>
  TogetherError.isTogetherError(error) ? TogetherError.retryAfter(error) : ForeignError.retryAfter(error)

/** Tells whether a repeat may cure an error: one of ours by its class, another library's by its shape. */
export const isRetryable = (error: unknown): boolean =>
  TogetherError.isTogetherError(error) ? TogetherError.isRetryable(error) : ForeignError.isRetryable(error)

/** Configures {@link retryAfter}. */
export interface RetryAfterOptions<in I = unknown> {
  /** A longer hint stops the schedule at once: the caller gets the error, with its hint. Default 60 seconds. */
  readonly cap?: Duration.Input | undefined
  /** How much later than asked a retry may come, as a share of the hint in [0, 0.25]. Default 0.25. */
  readonly spread?: number | undefined
  /** Reads the hint of an error. Default: its `retryAfter`, or what the headers on another library's error say. */
  readonly of?: ((error: I) => Duration.Duration | undefined) | undefined
}

/**
 * Waits what the provider asked, where it asked; the schedule's own delay otherwise.
 *
 * **Details**: hint·(1 + spread·u): never earlier than asked, up to 25 % later at random. Near the current
 * `Deadline` the random part shrinks, so that chance alone never makes a call miss it. A hint over the cap, or past
 * the deadline, stops the schedule at once: the caller gets the error, with its hint. Under `Retry.run` it is `run` that
 * stops at a hint past the deadline, and says so. A hint of zero asks for nothing, and leaves the schedule's own delay.
 *
 * **Gotchas**: put it after jitter and `capped`, which would shorten the hint.
 */
export const retryAfter: {
  <I = unknown>(
    options?: RetryAfterOptions<I>
  ): <O, I2, E, R>(self: Schedule.Schedule<O, I2, E, R>) => Schedule.Schedule<O, I & I2, E, R>
  <O, I2, E, R, I = unknown>(
    self: Schedule.Schedule<O, I2, E, R>,
    options?: RetryAfterOptions<I>
  ): Schedule.Schedule<O, I & I2, E, R>
} = dual(
  (args) => Schedule.isSchedule(args[0]),
  <O, I2, E, R, I = unknown>(
    self: Schedule.Schedule<O, I2, E, R>,
    options?: RetryAfterOptions<I>
  ): Schedule.Schedule<O, I & I2, E, R> => {
    // an infinite cap means every hint: the kernel wants a number, and no wait is longer than the largest
    const capSeconds = Math.min(
      Number.MAX_VALUE,
      Millis.positive("Retry.retryAfter: cap", options?.cap ?? defaults.hintCap) / 1000
    )
    const spreadRatio = OptionCheck.within(
      "Retry.retryAfter",
      "spread",
      options?.spread ?? defaults.hintSpread,
      0,
      0.25
    )
    const settings = WaitHint.make({ capSeconds, spreadRatio, spreadMaxSeconds: capSeconds * spreadRatio })
    const of = options?.of ?? hintOf
    // one function for all waits of a schedule: decision 0064
    const hinted = Effect.fnUntraced(function*(output: O, hintSeconds: number) {
      const room = Deadline.roomMillis(yield* Deadline.CurrentDeadline, yield* Clock.currentTimeMillis)
      const u = yield* Random.next
      // `Retry.run` stops at the deadline by itself, and then the reason is not the schedule
      const remainingSeconds = (yield* CallStart) === undefined ? room / 1000 : Infinity
      const event = { hintSeconds, backoffSeconds: 0, remainingSeconds }
      const decision = WaitHint.decide(settings, event, u)
      if (decision._tag === "GiveUp") return yield* Cause.done(output)
      // in whole milliseconds, one inside of the room, since a wait that fills it is refused
      const latest = Math.max(hintSeconds * 1000, Math.floor(room) - 1)
      return [output, Duration.millis(Math.min(decision.seconds * 1000, latest))] as [O, Duration.Duration]
    })
    return Schedule.fromStep(
      Effect.map(
        Schedule.toStep(self),
        (step) => (now: number, input: I & I2) =>
          Effect.flatMap(step(now, input), ([output, delay]) => {
            const hint = of(input)
            const hintSeconds = hint === undefined ? 0 : Duration.toSeconds(hint)
            if (!(hintSeconds > 0)) {
              return Effect.succeed<[O, Duration.Duration]>([output, delay])
            }
            return hinted(output, hintSeconds)
          })
      )
    )
  }
)

/**
 * Stops at the first error that a repeat cannot cure.
 *
 * **Details**: by default the rule of `TogetherError.isRetryable`; an error of another library passes where its shape says
 * that a repeat may help (`Lane.sampleOf` has the shapes), and any other value stops.
 */
export const whileRetryable: {
  <I = unknown>(
    isRetryable?: (error: I) => boolean
  ): <O, I2, E, R>(self: Schedule.Schedule<O, I2, E, R>) => Schedule.Schedule<O, I & I2, E, R>
  <O, I2, E, R, I = unknown>(
    self: Schedule.Schedule<O, I2, E, R>,
    isRetryable?: (error: I) => boolean
  ): Schedule.Schedule<O, I & I2, E, R>
} = dual(
  (args) => Schedule.isSchedule(args[0]),
  <O, I2, E, R, I = unknown>(
    self: Schedule.Schedule<O, I2, E, R>,
    predicate: (error: I) => boolean = isRetryable
  ): Schedule.Schedule<O, I & I2, E, R> =>
    Schedule.fromStep(
      Effect.map(Schedule.toStep(self), (step) => (now: number, input: I & I2) =>
        Effect.filterOrElse(step(now, input), () =>
          predicate(input), ([output]) => Cause.done(output)))
    )
)

/**
 * Stops at a `TogetherError` that no repeat can cure, and lets any other value pass.
 *
 * **Details**: under `Retry.run` it lets all pass, since `isRetryable` there has already decided.
 */
export const unlessIncurable = <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>): Schedule.Schedule<O, I, E, R> =>
  Schedule.while(self, ({ input }) =>
    !TogetherError.isTogetherError(input) || TogetherError.isRetryable(input) ||
    Effect.map(CallStart, (began) => began !== undefined))

/** Stops after this many attempts, the first included: `maxAttempts(3)` retries twice, `maxAttempts(1)` never. */
export const maxAttempts: {
  (attempts: number): <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>) => Schedule.Schedule<O, I, E, R>
  <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>, attempts: number): Schedule.Schedule<O, I, E, R>
} = dual(2, <O, I, E, R>(
  self: Schedule.Schedule<O, I, E, R>,
  attempts: number
): Schedule.Schedule<O, I, E, R> =>
  Schedule.upTo(self, { times: OptionCheck.integer("Retry.maxAttempts", "attempts", attempts, 1) - 1 }))

/**
 * Stops rather than begin a wait that would end later than `limit` after the start.
 *
 * **Details**: under `Retry.run` the start is that of the first attempt. Under `Effect.retry` a schedule only knows
 * the first failure, so time counts from there.
 */
export const maxElapsed: {
  (limit: Duration.Input): <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>) => Schedule.Schedule<O, I, E, R>
  <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>, limit: Duration.Input): Schedule.Schedule<O, I, E, R>
} = dual(2, <O, I, E, R>(
  self: Schedule.Schedule<O, I, E, R>,
  limit: Duration.Input
): Schedule.Schedule<O, I, E, R> => {
  const millis = Millis.positive("Retry.maxElapsed: limit", limit)
  return Schedule.while(
    self,
    ({ duration, now, start }) =>
      Effect.map(CallStart, (began) => now - (began ?? start) + Duration.toMillis(duration) <= millis)
  )
})

/**
 * Chooses a schedule by the error: `other` where the predicate holds, `self` elsewhere.
 *
 * **Details**: each of the two keeps its own count, so a burst of one kind of error does not lengthen the delays of
 * the other. When the chosen one is done, all is done.
 */
export const when: {
  <I, O2, I2, E2, R2>(
    predicate: (error: I) => boolean,
    other: Schedule.Schedule<O2, I2, E2, R2>
  ): <O, I1, E, R>(self: Schedule.Schedule<O, I1, E, R>) => Schedule.Schedule<O | O2, I & I1 & I2, E | E2, R | R2>
  <O, I1, E, R, I, O2, I2, E2, R2>(
    self: Schedule.Schedule<O, I1, E, R>,
    predicate: (error: I) => boolean,
    other: Schedule.Schedule<O2, I2, E2, R2>
  ): Schedule.Schedule<O | O2, I & I1 & I2, E | E2, R | R2>
} = dual(3, <O, I1, E, R, I, O2, I2, E2, R2>(
  self: Schedule.Schedule<O, I1, E, R>,
  predicate: (error: I) => boolean,
  other: Schedule.Schedule<O2, I2, E2, R2>
): Schedule.Schedule<O | O2, I & I1 & I2, E | E2, R | R2> =>
  Schedule.fromStep(
    Effect.zipWith(
      Schedule.toStep(self),
      Schedule.toStep(other),
      (otherwise, chosen) =>
      (now: number, input: I & I1 & I2): Pull.Pull<[O | O2, Duration.Duration], E | E2, O | O2, R | R2> =>
        predicate(input) ? chosen(now, input) : otherwise(now, input)
    )
  ))

/** Names one schedule per error tag, for errors of any type. */
export type Tags<I, E, R> = { readonly [tag: string]: Schedule.Schedule<unknown, I, E, R> }

/** Names one schedule per tag of a `TogetherError`; each may read what errors of its own tag hold. */
export type OwnTags<E, R> = {
  readonly [K in TogetherError.TogetherError["_tag"]]?: Schedule.Schedule<
    unknown,
    Extract<TogetherError.TogetherError, { readonly _tag: K }>,
    E,
    R
  >
}

/**
 * Chooses a schedule by the error's `_tag`; `self` for every tag not named.
 *
 * **Details**: a schedule under a tag of ours may read the errors of that tag; the result is then one for `TogetherError`.
 * Other tags are those of your own errors.
 *
 * **Gotchas**: nothing here knows which errors will come, so a misspelled tag is one of errors that never do.
 *
 * **Example**: short waits for an overloaded provider, long ones for a limit.
 *
 * ```ts
 * import { Effect, Schedule } from "effect"
 * import { Retry } from "effect-together"
 *
 * const schedule = Schedule.spaced("1 second").pipe(
 *   Retry.byTag({ OverloadedError: Schedule.spaced("100 millis"), RateLimitError: Schedule.spaced("5 seconds") }),
 *   Retry.maxAttempts(3)
 * )
 *
 * await Effect.runPromise(Effect.map(Retry.preview(schedule), (delays) => delays.map(String)))
 * // => ["1000 millis", "1000 millis"]
 * ```
 */
export const byTag: {
  <E2 = never, R2 = never>(
    tags: Tags<unknown, E2, R2>
  ): <O, I1, E, R>(self: Schedule.Schedule<O, I1, E, R>) => Schedule.Schedule<unknown, I1, E | E2, R | R2>
  <E2 = never, R2 = never>(
    tags: OwnTags<E2, R2>
  ): <O, I1, E, R>(
    self: Schedule.Schedule<O, I1, E, R>
  ) => Schedule.Schedule<unknown, I1 & TogetherError.TogetherError, E | E2, R | R2>
  <I, E2 = never, R2 = never>(
    tags: Tags<I, E2, R2>
  ): <O, I1, E, R>(self: Schedule.Schedule<O, I1, E, R>) => Schedule.Schedule<unknown, I & I1, E | E2, R | R2>
  <O, I1, E, R, E2 = never, R2 = never>(
    self: Schedule.Schedule<O, I1, E, R>,
    tags: Tags<unknown, E2, R2>
  ): Schedule.Schedule<unknown, I1, E | E2, R | R2>
  <O, I1, E, R, E2 = never, R2 = never>(
    self: Schedule.Schedule<O, I1, E, R>,
    tags: OwnTags<E2, R2>
  ): Schedule.Schedule<unknown, I1 & TogetherError.TogetherError, E | E2, R | R2>
  <O, I1, E, R, I, E2 = never, R2 = never>(
    self: Schedule.Schedule<O, I1, E, R>,
    tags: Tags<I, E2, R2>
  ): Schedule.Schedule<unknown, I & I1, E | E2, R | R2>
} = dual(2, <O, I1, E, R, I, E2 = never, R2 = never>(
  self: Schedule.Schedule<O, I1, E, R>,
  tags: Tags<I, E2, R2>
): Schedule.Schedule<unknown, I & I1, E | E2, R | R2> =>
  Object.entries(tags).reduce<Schedule.Schedule<unknown, I & I1, E | E2, R | R2>>(
    (schedule, [tag, other]) => when(schedule, Predicate.isTagged(tag), other),
    self
  ))
