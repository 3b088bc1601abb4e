/**
 * A journal that is forgotten with the run: ids are checked for duplicates, nothing is durable.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as IdIndex from "./IdIndex.ts"
import type * as Journal from "./Journal.ts"
import * as Scan from "./JournalScan.ts"

/** Makes one; `answers` says whether they are kept, in memory, for {@link Journal.Journal.answerAt}. */
export const make = (options: { readonly answers: boolean }): Journal.Journal => {
  const index = IdIndex.make()
  const answers: Array<Scan.Record> = []
  let rows = 0
  return {
    path: "(none)",
    recovered: { ...Scan.noSums(), rows: 0, tornBytes: 0, damaged: [], inputChanged: false },
    known: (id) => {
      const line = index.get(id)
      return line === 0 ? { _tag: "New" } : { _tag: "Seen", line }
    },
    see: (id, line) => index.set(id, line),
    append: (meta, answer, bad = false, placed) =>
      Effect.sync(() => {
        rows++
        placed?.()
        if (options.answers) answers.push({ ordinal: rows, bad, meta, answer })
        return rows
      }),
    note: (_name, _value, placed) => Effect.sync(() => placed?.()),
    notes: [],
    outputs: new Set(),
    settled: Stream.empty,
    entryAt: (ordinal) => Effect.sync(() => answers[ordinal - 1]!),
    answerAt: (ordinal) => Effect.sync(() => answers[ordinal - 1]!.answer),
    lost: Effect.never,
    flush: Effect.void
  }
}
