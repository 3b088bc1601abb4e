/** The workers of a job: one is hired for each row that is to be sent, up to a number, since a short job needs few. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

/** Holds the workers of one job. */
export interface Crew<R> {
  /** Adds a worker, unless there are as many as may be. */
  readonly hire: Effect.Effect<void, never, R>
  /** Waits until all that were hired have ended. */
  readonly done: Effect.Effect<void>
  /** Ends them. */
  readonly dismiss: Effect.Effect<void>
}

/** Makes a crew without workers; the end of the scope ends those that it has then. */
export const make = Effect.fnUntraced(function*<A, R>(
  worker: Effect.Effect<A, never, R>,
  most: number
): Effect.fn.Return<Crew<R>, never, Scope.Scope> {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const workers: Array<Fiber.Fiber<unknown>> = []
  const hired = Effect.uninterruptible(
    Effect.map(Effect.forkIn(Effect.interruptible(worker), scope), (fiber) => void workers.push(fiber))
  )
  return {
    hire: Effect.suspend(() => workers.length < most ? hired : Effect.void),
    done: Effect.suspend(() => Effect.asVoid(Fiber.awaitAll(workers))),
    dismiss: Effect.suspend(() => Fiber.interruptAll(workers))
  }
})
