/**
 * The calls that wait at the gate of a suspended account, in the order in which they came, or were put off.
 *
 * A waiter is resumed once, with its leave to send or with the reason why it gets none. One that was interrupted between
 * its leave and its first step still holds the leave, so that the gate can take it back.
 */
import * as Effect from "effect/Effect"
import type { InsufficientCreditsError } from "../../domain/TogetherError.ts"
import type { Leave } from "./AccountGate.ts"

/** Waits for leave. Mutable, owned by the queue. */
export interface Waiter {
  readonly lane: string | undefined
  resume: (effect: Effect.Effect<Leave, InsufficientCreditsError>) => void
  leave: Leave | undefined
}

/** Holds the waiting calls of one account. */
export interface Queue {
  readonly add: (waiter: Waiter) => void
  /** Takes a waiter out that waits no more; one that is not there is left alone. */
  readonly remove: (waiter: Waiter) => void
  readonly first: () => Waiter | undefined
  /** Puts the waiters of a lane behind all others, in the order in which they are. */
  readonly defer: (lane: string | undefined) => void
  readonly all: () => ReadonlyArray<Waiter>
  readonly size: () => number
  readonly give: (waiter: Waiter, leave: Leave) => void
  readonly turnAway: (waiter: Waiter, error: InsufficientCreditsError) => void
}

/** Makes an empty queue. */
export const make = (): Queue => {
  const waiters = new Set<Waiter>()
  return {
    add: (waiter) => void waiters.add(waiter),
    remove: (waiter) => void waiters.delete(waiter),
    first: () => {
      const [first] = waiters
      return first
    },
    defer: (lane) => {
      for (const waiter of Array.from(waiters)) {
        if (waiter.lane !== lane) continue
        waiters.delete(waiter)
        waiters.add(waiter)
      }
    },
    all: () => Array.from(waiters),
    size: () => waiters.size,
    give: (waiter, leave) => {
      waiters.delete(waiter)
      waiter.leave = leave
      waiter.resume(Effect.succeed(leave))
    },
    turnAway: (waiter, error) => {
      waiters.delete(waiter)
      waiter.resume(Effect.fail(error))
    }
  }
}
