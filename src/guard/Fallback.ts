/**
 * Turns to the next model or endpoint when one cannot serve a call.
 *
 * Opt-in, and built on Effect's `ExecutionPlan`: each target is a step of the
 * plan, entered only for errors that another target may cure. Targets are any
 * values: model names, endpoints, records of both. Put it outside of
 * `Retry.run`, so that each target gets its retries, and inside of
 * `Deadline.run`, so that all targets share one deadline.
 *
 * | error | next target? |
 * | --- | --- |
 * | `ModelUnavailableError`, `CircuitOpenError`, `LaneOverflowError` | yes |
 * | `OverloadedError`, `ServerError`, `RateLimitError`, `ConnectionError`, once their retries are used up | yes |
 * | `RequestTimeoutError` | unless the call's own deadline passed, or a stream had begun |
 * | `StreamError` | unless tokens were delivered |
 * | all others: the request, the key or the money is at fault | no |
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Fallback } from "effect-together"
 *
 * const ask = (model: string) => model === "big" ? Effect.fail("busy") : Effect.succeed(`${model} answers`)
 *
 * const program = Fallback.run(["big", "small"], ask, { when: () => true })
 *
 * await Effect.runPromise(program) // => "small answers"
 * ```
 *
 * While there is another target, a `Lane` inside does not hold the call back until an outage of its provider ends: it
 * refuses it, and {@link CurrentIsLast} is how it knows. Calls that come when a probe is due are still sent.
 *
 * **Gotchas**: `ExecutionPlan.CurrentMetadata` tells which step runs. A fallback answers with another model: note it
 * where results are compared.
 */
import type * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionPlan from "effect/ExecutionPlan"
import { dual } from "effect/Function"
import * as Metric from "effect/Metric"
import * as Stream from "effect/Stream"
import * as TogetherError from "../domain/TogetherError.ts"
import * as OptionCheck from "../policy/OptionCheck.ts"
import { CurrentIsLast } from "./LastTarget.ts"

export { CurrentIsLast } from "./LastTarget.ts"

/** Describes the move to the next target. */
export interface FallbackEvent<out T, out E> {
  /** The error that the target before it failed with. */
  readonly error: E
  readonly from: T
  readonly to: T
}

/** Configures {@link run} and {@link stream}. */
export interface Options<in T, in E, out R = never> {
  /** Tells whether another target may cure an error. Default: the table of the module header. */
  readonly when?: ((error: E) => boolean) | undefined
  /** Runs before the next target is tried. */
  readonly onFallback?: ((event: FallbackEvent<T, E>) => Effect.Effect<void, never, R>) | undefined
}

const moves = Metric.counter("effect_together_fallback_moves_total", {
  description: "Calls that turned to their next target",
  incremental: true
})

/** Tells whether another target may cure an error, by the table of the module header. */
export const isCurable = (error: unknown): boolean => {
  if (!TogetherError.isTogetherError(error)) return false
  switch (error._tag) {
    case "ModelUnavailableError":
    case "CircuitOpenError":
    case "LaneOverflowError":
    case "OverloadedError":
    case "ServerError":
    case "RateLimitError":
    case "ConnectionError":
      return true
    case "RequestTimeoutError":
      return error.phase !== "deadline" && error.started !== true
    case "StreamError":
      return !error.started
    default:
      return false
  }
}

const planOf = <E>(count: number, when: (error: E) => boolean) => {
  const step = { provide: Context.empty(), while: when }
  return ExecutionPlan.make(step, ...Array.from({ length: count - 1 }, () => step))
}

/** Refuses a list without a target, which the types rule out. */
const checked = (where: string, targets: ReadonlyArray<unknown>): void => {
  if (targets.length === 0) OptionCheck.refuse(where, "targets", "a list of one or more", "an empty one")
}

/** Says which target runs, and whether there is another one after it. */
interface Step<out T> {
  readonly target: T
  readonly isLast: boolean
}

/** Walks once over the targets: `next` is the step that runs; a move to it is reported. */
const begin = <T, E, R>(targets: Arr.NonEmptyReadonlyArray<T>, options: Options<T, E, R> | undefined) => {
  let last: { readonly error: E } | undefined
  const next: Effect.Effect<Step<T>, never, R> = Effect.flatMap(ExecutionPlan.CurrentMetadata, ({ stepIndex }) => {
    const from = targets[stepIndex - 1]
    const to = targets[stepIndex] ?? targets[0]
    const step: Step<T> = { target: to, isLast: stepIndex >= targets.length - 1 }
    if (last === undefined || from === undefined) return Effect.succeed(step)
    const told = options?.onFallback?.({ error: last.error, from, to }) ?? Effect.void
    return Metric.update(moves, 1).pipe(Effect.andThen(told), Effect.as(step))
  })
  return {
    next,
    failed: (error: E) => Effect.sync(() => void (last = { error })),
    plan: planOf<E>(targets.length, options?.when ?? isCurable)
  }
}

/**
 * Runs a call on the first target, and on the next one while errors say that another target may serve it.
 *
 * **Errors**: the error of the last target tried.
 */
export const run: {
  // two data-last forms: the first knows the targets of its pipe, the second is made before there are any
  <Targets extends Arr.NonEmptyReadonlyArray<unknown>, A, E, R, R2 = never>(
    f: (target: Targets[number]) => Effect.Effect<A, E, R>,
    options?: Options<Targets[number], E, R2>
  ): (targets: Targets) => Effect.Effect<A, E, R | R2>
  <T, A, E, R, R2 = never>(
    f: (target: T) => Effect.Effect<A, E, R>,
    options?: Options<T, E, R2>
  ): (targets: Arr.NonEmptyReadonlyArray<T>) => Effect.Effect<A, E, R | R2>
  <Targets extends Arr.NonEmptyReadonlyArray<unknown>, A, E, R, R2 = never>(
    targets: Targets,
    f: (target: Targets[number]) => Effect.Effect<A, E, R>,
    options?: Options<Targets[number], E, R2>
  ): Effect.Effect<A, E, R | R2>
} = dual(
  (args) => Array.isArray(args[0]),
  <T, A, E, R, R2 = never>(
    targets: Arr.NonEmptyReadonlyArray<T>,
    f: (target: T) => Effect.Effect<A, E, R>,
    options?: Options<T, E, R2>
  ): Effect.Effect<A, E, R | R2> => {
    checked("Fallback.run", targets)
    return Effect.suspend(() => {
      const walk = begin(targets, options)
      // the last target of a walk within another one is not the last of all: it keeps what it is told from outside
      const step = Effect.flatMap(
        walk.next,
        ({ isLast, target }) => isLast ? f(target) : Effect.provideService(f(target), CurrentIsLast, false)
      )
      return Effect.withExecutionPlan(Effect.tapError(step, walk.failed), walk.plan)
    })
  }
)

/**
 * Does the same for a stream. Once an element was delivered there is no next target: the reader would see two answers.
 *
 * **Errors**: the error of the last target tried.
 */
export const stream: {
  // two data-last forms, as of `run`
  <Targets extends Arr.NonEmptyReadonlyArray<unknown>, A, E, R, R2 = never>(
    f: (target: Targets[number]) => Stream.Stream<A, E, R>,
    options?: Options<Targets[number], E, R2>
  ): (targets: Targets) => Stream.Stream<A, E, R | R2>
  <T, A, E, R, R2 = never>(
    f: (target: T) => Stream.Stream<A, E, R>,
    options?: Options<T, E, R2>
  ): (targets: Arr.NonEmptyReadonlyArray<T>) => Stream.Stream<A, E, R | R2>
  <Targets extends Arr.NonEmptyReadonlyArray<unknown>, A, E, R, R2 = never>(
    targets: Targets,
    f: (target: Targets[number]) => Stream.Stream<A, E, R>,
    options?: Options<Targets[number], E, R2>
  ): Stream.Stream<A, E, R | R2>
} = dual(
  (args) => Array.isArray(args[0]),
  <T, A, E, R, R2 = never>(
    targets: Arr.NonEmptyReadonlyArray<T>,
    f: (target: T) => Stream.Stream<A, E, R>,
    options?: Options<T, E, R2>
  ): Stream.Stream<A, E, R | R2> => {
    checked("Fallback.stream", targets)
    return Stream.suspend(() => {
      const walk = begin(targets, options)
      const step = Stream.unwrap(Effect.map(
        walk.next,
        ({ isLast, target }) => isLast ? f(target) : Stream.provideService(f(target), CurrentIsLast, false)
      ))
      return Stream.withExecutionPlan(
        Stream.tapError(step, walk.failed),
        walk.plan,
        { preventFallbackOnPartialStream: true }
      )
    })
  }
)
