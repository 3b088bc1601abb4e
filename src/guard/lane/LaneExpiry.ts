/**
 * Keeps those waiters of a lane that have a deadline, by two moments: the deadline, and when to look whether it can be kept.
 *
 * ```
 *   joins ─▶ deadlines ─▶ expired: nobody is sent before its deadline
 *        └─▶ looks ────▶ due: can it be sent in time? ─ yes ─▶ looks again
 * ```
 *
 * Who leaves the queue for another reason is marked in both. `LaneDeadlines` is the heap.
 */
import type * as Clock from "effect/Clock"
import * as Deadlines from "./LaneDeadlines.ts"

/** Says when what waits has to be sent. */
export interface Timed {
  /** Milliseconds of the monotonic clock. */
  readonly since: number
  /** Milliseconds of the clock of the wall. */
  readonly deadlineAt: number | undefined
  /** When to look, or soon after, whether the deadline can be kept, by the monotonic clock; -1 for never again. */
  lookAt: number
}

/** Calls that are looked at in a row: of a million that come at once all are due at once. */
const looksMost = 256

/** Keeps the deadlines of one lane. */
export class Expiry<E extends Timed & Deadlines.Entry> {
  readonly #deadlines = Deadlines.make<E>(({ deadlineAt }) => deadlineAt ?? Infinity)
  readonly #looks = Deadlines.make<E>(({ lookAt }) => lookAt)

  /** Reads the waiter whose deadline is first, or nothing. */
  get first(): E | undefined {
    return Deadlines.first(this.#deadlines)
  }

  /** Reads the seconds until the first deadline has passed. */
  left(clock: Clock.Clock): number {
    const deadlineAt = this.first?.deadlineAt
    return deadlineAt === undefined ? Infinity : (deadlineAt + 1 - clock.currentTimeMillisUnsafe()) / 1000
  }

  /** Adds a waiter, where it has a deadline. */
  add(waiter: E, clock: Clock.Clock): void {
    if (waiter.deadlineAt === undefined) return
    Deadlines.add(this.#deadlines, waiter)
    this.lookAgain(waiter, 0, (waiter.deadlineAt - clock.currentTimeMillisUnsafe()) / 1000)
  }

  /** Counts out a waiter that has left the queue. */
  gone(waiter: E): void {
    if (waiter.deadlineAt !== undefined) Deadlines.mark(this.#deadlines)
    if (waiter.lookAt >= 0) Deadlines.mark(this.#looks)
  }

  /** Takes those out whose deadline is before a moment; `leave` takes each out of the queue. */
  expired(soonest: number, leave: (waiter: E) => void): ReadonlyArray<E> {
    const expired: Array<E> = []
    for (let one = this.first; one?.deadlineAt !== undefined && one.deadlineAt < soonest; one = this.first) {
      Deadlines.takeFirst(this.#deadlines)
      leave(one)
      if (one.lookAt >= 0) Deadlines.mark(this.#looks)
      expired.push(one)
    }
    return expired
  }

  /** Takes some of those out of the looks whose time it is. */
  due(now: number): ReadonlyArray<E> {
    const due: Array<E> = []
    let one = Deadlines.first(this.#looks)
    while (one !== undefined && one.lookAt <= now * 1000 && due.length < looksMost) {
      Deadlines.takeFirst(this.#looks)
      one.lookAt = -1
      due.push(one)
      one = Deadlines.first(this.#looks)
    }
    return due
  }

  /** Looks at a waiter again in time, that has waited and has left so many seconds. */
  lookAgain(waiter: E, waited: number, left: number): void {
    const seconds = waited + Deadlines.nextLook(waited, left)
    if (seconds === Infinity) return
    waiter.lookAt = waiter.since + Math.ceil(seconds * 1000)
    Deadlines.add(this.#looks, waiter)
  }
}
