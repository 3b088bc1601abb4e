/** Ends a stream at the deadline of its call, whether anybody pulls or not. */
import type * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Call } from "../../domain/Call.ts"
import { RequestTimeoutError, type TogetherError } from "../../domain/TogetherError.ts"
import * as Deadline from "../../guard/Deadline.ts"
import * as Advice from "../error/Advice.ts"
import type { Opened } from "./EventStream.ts"

type Chunks<A> = readonly [A, ...Array<A>]

/** Builds the error of a stream that ran out of time. */
const expired = ({ model, operation }: Call, opened: Opened<unknown> | undefined): RequestTimeoutError => {
  const partial = opened?.partial()
  return new RequestTimeoutError({
    phase: "deadline",
    operation,
    model,
    ...(partial === undefined ? {} : { started: true, partial }),
    message: partial === undefined
      ? "The stream did not begin within the call's deadline. Raise the deadline or ask for less."
      : `The stream did not end within the call's deadline. ${Advice.arrived}. Raise the deadline or ask for less.`
  })
}

/**
 * Gives a stream a scope of its own, which closes as soon as it ends.
 *
 * **Details**: does what `Channel.fromTransformBracket` does. That makes a generator function for each stream, and such a
 * function is kept, with the whole stream that it refers to, until a full collection of garbage (decision 0064).
 */
const scoped = <A>(
  open: (scope: Scope.Closeable) => Effect.Effect<Pull.Pull<Chunks<A>, TogetherError>, TogetherError>
): Stream.Stream<A, TogetherError> =>
  Stream.fromChannel(Channel.fromTransform((_upstream, around) =>
    Effect.suspend(() => {
      const scope = Scope.forkUnsafe(around)
      const close = <E>(cause: Cause.Cause<E>) => Scope.close(scope, Pull.doneExitFromCause(cause))
      return Effect.map(Effect.onError(open(scope), close), (pull) => Effect.onError(pull, close))
    })
  ))

/**
 * Gives a stream a scope that closes as soon as it ends, and at the deadline of its call.
 *
 * **Details**: a consumer that is slow, or never pulls again, keeps neither permit nor socket beyond the deadline; its next
 * pull fails.
 */
export const enclosed = <A>(
  stream: Stream.Stream<A, TogetherError>,
  duration: Duration.Duration | undefined,
  call: Call,
  arrived: () => Opened<unknown> | undefined
): Stream.Stream<A, TogetherError> =>
  scoped((scope) => {
    if (duration === undefined) return Channel.toPullScoped(Stream.toChannel(stream), scope)
    const current = Effect.all([Deadline.CurrentDeadline, Deadline.remaining])
    return Effect.flatMap(Deadline.run(current, duration), ([deadline, left]) => {
      const held = Scope.forkUnsafe(scope)
      const late = Deferred.makeUnsafe<never, TogetherError>()
      let pulling = false
      const expire = Effect.suspend(() => {
        const error = Exit.fail(expired(call, arrived()))
        Deferred.doneUnsafe(late, error)
        // a pull under way fails first, and what it does ends before anything is given back
        return pulling ? Effect.void : Scope.close(held, error)
      })
      const timer = Effect.forkIn(Effect.delay(expire, left), scope, { startImmediately: true })
      const opened = Effect.andThen(timer, Channel.toPullScoped(Stream.toChannel(stream), held))
      return Effect.map(opened, (pull) => {
        const timely = Effect.raceFirst(
          Deferred.await(late),
          Effect.provideService(pull, Deadline.CurrentDeadline, deadline)
        )
        return Effect.suspend(() => {
          pulling = true
          return Effect.ensuring(timely, Effect.sync(() => void (pulling = false)))
        })
      })
    })
  })
