/**
 * Puts settled rows back into the order in which they were read, within a bounded window.
 *
 * The reader takes a place for each row before the row goes on, and waits while the window is full; so a row that takes
 * long holds back at most `window` answers behind it, and memory stays bounded whatever the input's length.
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as OptionCheck from "../policy/OptionCheck.ts"

/** Puts values back into the order of their sequence numbers, which begin at 0. */
export interface Sorter<A> {
  /** Takes a place in the window, in reading order. */
  readonly enter: Effect.Effect<void>
  /** Adds a value, and hands back what is complete from the front. A row that stays undone is added as `undefined`. */
  readonly add: (sequence: number, value: A | undefined) => Effect.Effect<ReadonlyArray<A>>
  /** Hands back, in order, what is held behind rows that will never be added. */
  readonly rest: () => ReadonlyArray<A>
}

/** Makes a sorter. */
export const make = <A>(window: number): Sorter<A> => {
  const places = Semaphore.makeUnsafe(OptionCheck.integer("Sorter.make", "window", window, 1))
  const held = new Map<number, A | undefined>()
  let next = 0
  return {
    enter: Effect.asVoid(Semaphore.take(places, 1)),
    add: (sequence, value) =>
      Effect.suspend(() => {
        held.set(sequence, value)
        const out: Array<A> = []
        const before = next
        while (held.has(next)) {
          const ready = held.get(next)
          held.delete(next)
          next++
          if (ready !== undefined) out.push(ready)
        }
        return next === before ? Effect.succeed(out) : Effect.as(Semaphore.release(places, next - before), out)
      }),
    rest: () => {
      const out = Array.from(held).sort(([a], [b]) => a - b).flatMap(([, value]) => value === undefined ? [] : [value])
      held.clear()
      return out
    }
  }
}
