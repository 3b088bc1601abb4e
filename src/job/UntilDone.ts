/** Runs what reads a queue until the queue has ended. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"

/** Takes the end of a queue for success. */
export const run = <A, E, R>(
  self: Effect.Effect<A, E | Cause.Done, R>
): Effect.Effect<void, Exclude<E, Cause.Done>, R> =>
  Effect.catchIf(Effect.asVoid(self), Cause.isDone, () => Effect.void) as Effect.Effect<void, Exclude<E, Cause.Done>, R> // `isDone` takes `Done` out, which the signature of `catchIf` cannot say for a generic E
