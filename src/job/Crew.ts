/**
 * The workers of a job: fibers that take tasks from one bounded queue, for as long as the job lasts.
 *
 * One is hired for each task, up to the size of the crew: a short job needs few. No fiber is made for a task once the
 * crew is complete.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Pull from "effect/Pull"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"

/** Works on tasks. */
export interface Crew<Task, R> {
  /** Hands a task in; waits for a place in the queue. */
  readonly give: (task: Task) => Effect.Effect<unknown, never, R>
  /** Says that no further task comes: a worker that finds none is done. */
  readonly end: Effect.Effect<unknown>
  /** Waits until all workers that were hired are done. */
  readonly done: Effect.Effect<void>
  /** Forgets the tasks that nobody has begun. */
  readonly forget: Effect.Effect<void>
  /** Interrupts all workers. */
  readonly dismiss: Effect.Effect<void>
}

/** Says who works, and on what. */
export interface Options<Task, E, R> {
  /** The most workers, and the most tasks that wait for one. */
  readonly size: number
  readonly work: (task: Task) => Effect.Effect<unknown, E, R>
  /** Hears why a worker broke; the others go on. */
  readonly broken: (cause: Cause.Cause<E>) => Effect.Effect<unknown>
}

/** Makes a crew in which nobody is hired yet, for the life of the scope. */
export const make = Effect.fnUntraced(function*<Task, E, R>(
  { broken, size, work }: Options<Task, E, R>
): Effect.fn.Return<Crew<Task, R>, never, Scope.Scope> {
  const queue = yield* Queue.make<Task, Cause.Done>({ capacity: size })
  const workers = yield* FiberSet.make()
  const worker = Effect.forever(Effect.flatMap(Queue.take(queue), work)).pipe(
    Pull.catchDone(() => Effect.void),
    Effect.catchCause(broken)
  )
  const hire = Effect.flatMap(
    FiberSet.size(workers),
    (hired) => hired < size ? FiberSet.run(workers, worker, { startImmediately: false }) : Effect.void
  )
  return {
    give: (task) => Effect.andThen(hire, Queue.offer(queue, task)),
    end: Queue.end(queue),
    done: FiberSet.awaitEmpty(workers),
    forget: Effect.ignore(Queue.clear(queue)),
    dismiss: FiberSet.clear(workers)
  }
})
