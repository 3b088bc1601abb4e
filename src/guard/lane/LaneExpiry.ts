/**
 * Keeps those waiters of a lane that have a deadline, by two moments: the deadline, and when to look whether it can be kept.
 *
 * ```
 *   joins ─▶ deadlines ─▶ expired: nobody is sent before its deadline
 *        └─▶ looks ────▶ due: can it be sent in time? ─ yes ─▶ looks again
 * ```
 *
 * ```
 *   joins ──1/8──1/4────1/2────────3/4───7/8──▶ deadline        looks, as shares of the time that it has
 * ```
 *
 * Who leaves the queue for another reason is marked in both.
 */
import type * as Clock from "effect/Clock"
import * as Heap from "../Heap.ts"

/** Says when what waits has to be sent. */
export interface Timed {
  /** Milliseconds of the monotonic clock. */
  readonly since: number
  /** Milliseconds of the clock of the wall. */
  readonly deadlineAt: number | undefined
  /** When to look, or soon after, whether the deadline can be kept, by the monotonic clock; -1 for never again. */
  lookAt: number
}

/** Share of its time after which a call is first looked at, and the seconds before its deadline from which it is no more. */
export const defaults = { first: 0.125, last: 0.5 } as const

/** Computes the seconds until the next look at a call that has waited so long, and has so long left; `Infinity` for none. */
export const nextLook = (waited: number, left: number): number => {
  if (left < defaults.last) return Infinity
  const first = defaults.first * (waited + left)
  return waited < first ? first - waited : Math.min(waited, left / 2)
}

/** Calls that are looked at in a row: of a million that come at once all are due at once. */
const looksMost = 256

/** Keeps the deadlines of one lane. */
export class Expiry<E extends Timed & Heap.Entry> {
  // in there are only those that have a deadline
  readonly #deadlines = Heap.make<E>((a, b) => a.deadlineAt! < b.deadlineAt!)
  readonly #looks = Heap.make<E>((a, b) => a.lookAt < b.lookAt)

  /** Reads the waiter whose deadline is first, or nothing. */
  get first(): E | undefined {
    return Heap.first(this.#deadlines)
  }

  /** Reads the seconds until the first deadline has passed. */
  left(clock: Clock.Clock): number {
    const deadlineAt = this.first?.deadlineAt
    return deadlineAt === undefined ? Infinity : (deadlineAt + 1 - clock.currentTimeMillisUnsafe()) / 1000
  }

  /** Adds a waiter, where it has a deadline. */
  add(waiter: E, clock: Clock.Clock): void {
    if (waiter.deadlineAt === undefined) return
    Heap.add(this.#deadlines, waiter)
    this.lookAgain(waiter, 0, (waiter.deadlineAt - clock.currentTimeMillisUnsafe()) / 1000)
  }

  /** Counts out a waiter that has left the queue. */
  gone(waiter: E): void {
    if (waiter.deadlineAt !== undefined) Heap.mark(this.#deadlines)
    if (waiter.lookAt >= 0) Heap.mark(this.#looks)
  }

  /** Takes those out whose deadline is before a moment; `leave` takes each out of the queue. */
  expired(soonest: number, leave: (waiter: E) => void): ReadonlyArray<E> {
    const expired: Array<E> = []
    for (let one = this.first; one?.deadlineAt !== undefined && one.deadlineAt < soonest; one = this.first) {
      Heap.takeFirst(this.#deadlines)
      leave(one)
      if (one.lookAt >= 0) Heap.mark(this.#looks)
      expired.push(one)
    }
    return expired
  }

  /** Takes some of those out of the looks whose time it is. */
  due(now: number): ReadonlyArray<E> {
    const due: Array<E> = []
    let one = Heap.first(this.#looks)
    while (one !== undefined && one.lookAt <= now * 1000 && due.length < looksMost) {
      Heap.takeFirst(this.#looks)
      one.lookAt = -1
      due.push(one)
      one = Heap.first(this.#looks)
    }
    return due
  }

  /** Looks at a waiter again in time, that has waited and has left so many seconds. */
  lookAgain(waiter: E, waited: number, left: number): void {
    const seconds = waited + nextLook(waited, left)
    if (seconds === Infinity) return
    waiter.lookAt = waiter.since + Math.ceil(seconds * 1000)
    Heap.add(this.#looks, waiter)
  }
}
