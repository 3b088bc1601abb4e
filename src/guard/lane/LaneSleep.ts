/**
 * The sleep of the calls that wait in a lane: two effects, shared by all of them, one for callers that may be
 * interrupted and one for those that may not. What differs from waiter to waiter is in one object, found by its fiber.
 *
 * A million may wait, so a waiter has no effect, closure or finalizer of its own
 * ([why](../../docs/decisions/0005-shared-sleep.md)).
 *
 * **Invariant**: a fiber runs the effect that `enter` gives in the very step that asked for it, and runs it to its end. So
 * each fiber that sleeps has exactly one waiter here, from `enter` until it is awake, however it is woken.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Restore } from "../Restore.ts"

/** Describes what waits. */
export interface Waiter<E> {
  /** Wakes the fiber; absent until it sleeps. */
  resume: ((effect: Effect.Effect<void, E>) => void) | undefined
}

/** Says what is done at each step of a sleep, within the fiber that sleeps. */
export interface Steps<W> {
  /** Runs as the fiber falls asleep, once it can be woken. */
  readonly asleep: (waiter: W, fiber: Fiber.Fiber<unknown, unknown>) => void
  /** Goes on with a fiber that was woken with success. */
  readonly awake: (waiter: W, fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<unknown, unknown, unknown>
  /** Runs where it was interrupted, or woken with a failure, before it fails. */
  readonly left: (waiter: W, fiber: Fiber.Fiber<unknown, unknown>) => void
}

/** Puts fibers to sleep. */
export class LaneSleep<W extends Waiter<E>, E> {
  readonly #steps: Steps<W>
  /**
   * No `Map`: the tables that a map has outgrown lead to those after them, so one that outlives a collection of young objects
   * keeps alive all calls that have waited since.
   */
  readonly #waiters = new WeakMap<Fiber.Fiber<unknown, unknown>, W>()
  readonly #sleeps = new WeakMap<Restore, Effect.Effect<unknown, unknown, unknown>>()

  constructor(steps: Steps<W>) {
    this.#steps = steps
  }

  /** Gives the sleep of a fiber, to be run at once and uninterruptibly. */
  enter(
    waiter: W,
    fiber: Fiber.Fiber<unknown, unknown>,
    restore: Restore
  ): Effect.Effect<unknown, unknown, unknown> {
    this.#waiters.set(fiber, waiter)
    const known = this.#sleeps.get(restore)
    if (known !== undefined) return known
    const made = this.#sleep(restore)
    this.#sleeps.set(restore, made)
    return made
  }

  #of(fiber: Fiber.Fiber<unknown, unknown>): W {
    // by the invariant it is there
    return this.#waiters.get(fiber) as W
  }

  #woken(fiber: Fiber.Fiber<unknown, unknown>): W {
    const waiter = this.#of(fiber)
    this.#waiters.delete(fiber)
    return waiter
  }

  readonly #fall: Effect.Effect<void, E> = Effect.withFiber((fiber) =>
    Effect.callback<void, E>((resume) => {
      const waiter = this.#of(fiber)
      waiter.resume = resume
      this.#steps.asleep(waiter, fiber)
    })
  )

  #sleep(restore: Restore): Effect.Effect<unknown, unknown, unknown> {
    return Effect.matchCauseEffect(restore(this.#fall), {
      onSuccess: () => Effect.withFiber((fiber) => this.#steps.awake(this.#woken(fiber), fiber)),
      onFailure: (cause) =>
        Effect.withFiber((fiber) => {
          this.#steps.left(this.#woken(fiber), fiber)
          return Effect.failCause(cause)
        })
    })
  }
}
