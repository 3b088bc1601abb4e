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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as TogetherError from "../../domain/TogetherError.ts"
import * as FailOrWait from "../FailOrWait.ts"
import { config } from "./RetryDocument.ts"
import * as RetryLoop from "./RetryLoop.ts"
import type { GenericOptions, Options } from "./RetryLoop.ts"
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
export {
  CurrentAttempt,
  type GenericOptions,
  type Options,
  type RetryEvent,
  type StopEvent,
  type StopReason
} from "./RetryLoop.ts"
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

/**
 * Stands for the errors that {@link run} can judge by itself: the union `TogetherError`. For any other give `isRetryable`.
 *
 * **Details**: the compiler goes by the tag, so an error of another library with an equal tag counts: it is retried as the
 * class of that tag is. It is not the union itself, so that the compiler's message about a foreign error is this name.
 */
export interface TogetherErrorElseGiveIsRetryable extends Error {
  readonly _tag: TogetherError.TogetherError["_tag"]
}

type Policy<E, SE, SR> = Schedule.Schedule<unknown, NoInfer<E>, SE, SR> | undefined

/** Options after a schedule, or alone. */
type With<E, SE, SR, Given> = [policy: Policy<E, SE, SR>, options: Given] | [options: Given]

/**
 * Retries an effect while its errors are worth it, its schedule goes on, its deadline allows and the budget lasts.
 *
 * **Details**: `Retry.run(schedule, options)`; each may be left out. Without a schedule it uses {@link CurrentPolicy}.
 * The effect sees the number of its attempt in {@link CurrentAttempt}, and from the second on what the schedule said in
 * `Schedule.CurrentMetadata`. Defects and interruption are never retried.
 *
 * **Gotchas**: a retry runs the effect anew. Put what belongs to one attempt (permit, timeout) inside of it, and what
 * belongs to the call (deadline, reservation) outside.
 *
 * **Errors**: the error of the last attempt, with `attempts` where it is a `TogetherError`. It keeps its `retryAfter`,
 * so a caller whose hint was over the cap knows when to come back.
 */
export const run: {
  // the first two data-last forms know the errors of their pipe, so that functions not written in place widen none; the third
  // is made before there is an effect
  <E, SE = never, SR = never, R2 = never>(
    ...how: With<E, SE, SR, GenericOptions<NoInfer<E>, R2>>
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SE, R | SR | R2>
  <E extends TogetherErrorElseGiveIsRetryable = TogetherError.TogetherError, SE = never, SR = never, R2 = never>(
    ...how: With<E, SE, SR, Options<NoInfer<E>, R2>> | [policy?: Policy<E, SE, SR>]
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SE, R | SR | R2>
  <E, SE = never, SR = never, R2 = never>(
    ...how: With<E, SE, SR, GenericOptions<E, R2>>
  ): <A, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SE, R | SR | R2>
  <A, E, R, SE = never, SR = never, R2 = never>(
    self: Effect.Effect<A, E, R>,
    ...how: With<E, SE, SR, GenericOptions<E, R2>>
  ): Effect.Effect<A, E | SE, R | SR | R2>
  <A, E extends TogetherErrorElseGiveIsRetryable, R, SE = never, SR = never, R2 = never>(
    self: Effect.Effect<A, E, R>,
    ...how: With<E, SE, SR, Options<E, R2>> | [policy?: Policy<E, SE, SR>]
  ): Effect.Effect<A, E | SE, R | SR | R2>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R, SE, SR, R2>(
    self: Effect.Effect<A, E, R>,
    first?: Schedule.Schedule<unknown, E, SE, SR> | Options<E, R2>,
    second?: Options<E, R2>
  ): Effect.Effect<A, E | SE, R | SR | R2> => {
    const [policy, options] = first === undefined || Schedule.isSchedule(first) ? [first, second] : [undefined, first]
    FailOrWait.checked("Retry.run", "whenBudgetEmpty", options?.whenBudgetEmpty)
    const policyOf = policy === undefined ? Effect.service(CurrentPolicy) : Effect.succeed(policy)
    const isRetryable = options?.isRetryable ?? RetrySchedule.isRetryable
    return Effect.suspend(() => RetryLoop.make(self, policyOf, { ...options, isRetryable }))
  }
)
