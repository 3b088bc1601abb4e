/**
 * Hands settled rows on, one batch at a time, as they come or in the order of the input.
 *
 * ```text
 * workers, reader ─▶ offer ─▶ queue ─▶ sorter (order `input`) ─▶ emit
 * ```
 *
 * Rows that an earlier run settled come as their ordinal and are read from the journal when it is their turn.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Queue from "effect/Queue"
import type { JournalError } from "./JobError.ts"
import type * as Journal from "./journal/Journal.ts"
import * as Settled from "./Settled.ts"
import * as Sorter from "./Sorter.ts"

/** What became of a line, with its place in the input. */
export interface Placed {
  /** Counts the lines read, from 0. */
  readonly sequence: number
  /** A settled row, the ordinal of one settled before, or nothing where the row stays undone. */
  readonly settled: Settled.Settled | number | undefined
}

/** Collects settled rows. */
export interface Collector<E, R> {
  /** Takes a place for the next line, in reading order; waits while the window of order `input` is full. */
  readonly enter: Effect.Effect<void>
  /** Hands a line's outcome in. */
  readonly offer: (placed: Placed) => Effect.Effect<void>
  /** Hands rows on until the {@link Collector.end}, and then what is held behind rows that stayed undone. */
  readonly collect: Effect.Effect<void, E | JournalError, R>
  /** Takes what is handed in and forgets it, until the end: nobody has to wait for a place. */
  readonly forget: Effect.Effect<void>
  /** Says that nothing more comes. */
  readonly end: Effect.Effect<void>
  /** Releases all who wait for a place: nobody takes what they hand in any more. */
  readonly close: Effect.Effect<void>
}

/** Says how rows are collected. */
export interface Options<E, R> {
  readonly journal: Journal.Journal
  /** Whether rows are handed on in the order of the input. */
  readonly inOrder: boolean
  /** Lines that may be held back behind one that is under way, with the order of the input. */
  readonly window: number
  /** Outcomes that may wait to be handed on, before handing in has to wait too. */
  readonly capacity: number
  readonly emit: (settled: ReadonlyArray<Settled.Settled>) => Effect.Effect<void, E, R>
}

/** Makes a collector. */
export const make = Effect.fnUntraced(function*<E, R>({ capacity, emit, inOrder, journal, window }: Options<E, R>) {
  const sorter = Sorter.make<Settled.Settled | number>(window)
  const out = yield* Queue.make<Placed, Cause.Done>({ capacity })

  const handOn = Effect.fnUntraced(function*(placed: ReadonlyArray<Settled.Settled | number>) {
    const ready: Array<Settled.Settled> = []
    for (const settled of placed) {
      ready.push(typeof settled === "number" ? Settled.ofRecord(yield* journal.entryAt(settled)) : settled)
    }
    if (ready.length > 0) yield* emit(ready)
  })

  const next = Effect.gen(function*() {
    const batch = yield* Queue.takeAll(out)
    const ready: Array<Settled.Settled | number> = []
    for (const { sequence, settled } of batch) {
      if (inOrder) ready.push(...(yield* sorter.add(sequence, settled)))
      else if (settled !== undefined) ready.push(settled)
    }
    yield* handOn(ready)
  })

  const collector: Collector<E, R> = {
    enter: inOrder ? sorter.enter : Effect.void,
    offer: (placed) => Effect.asVoid(Queue.offer(out, placed)),
    collect: Effect.andThen(
      Pull.catchDone(Effect.forever(next), () => Effect.void),
      Effect.suspend(() => handOn(sorter.rest()))
    ),
    forget: Pull.catchDone(Effect.forever(Queue.takeAll(out)), () => Effect.void),
    end: Effect.asVoid(Queue.end(out)),
    close: Effect.asVoid(Queue.shutdown(out))
  }
  return collector
})
