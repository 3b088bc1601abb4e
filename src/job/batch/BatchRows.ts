/**
 * Which rows of the input are in the parts of earlier runs, and which of them have to be answered still.
 *
 * A row left unanswered by one part is in a later one, too: there it is waited for. One that is settled counts in all of them.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Admission from "../Admission.ts"
import type * as Row from "../Row.ts"
import * as Parts from "./BatchParts.ts"

/** A part of an earlier run, and its rows in the input as it is read now. */
export interface Reopened {
  readonly part: Parts.Part
  /** Rows that have to be answered. */
  readonly rows: ReadonlyArray<Row.Row>
  /** Rows that are settled. */
  readonly settled: ReadonlyArray<Row.Row>
  /** Whether the input lacks rows that the part was made of: they cost, and nobody counts it. */
  readonly lacking: boolean
}

/**
 * Finds the rows of parts, the latest part first.
 *
 * @param judge decides about a row of a part
 */
export const find = Effect.fnUntraced(function*<E, R>(
  parts: ReadonlyArray<Parts.Part>,
  input: Stream.Stream<Row.Row | Row.Bad, E, R>,
  judge: (row: Row.Row, part: Parts.Part) => Admission.Decision
): Effect.fn.Return<ReadonlyArray<Reopened>, E, R> {
  if (parts.length === 0) return []
  const ids = new Set<string>()
  const all = parts.map((part) => ({
    part,
    has: Parts.has(part),
    rows: new Array<Row.Row>(),
    settled: new Array<Row.Row>(),
    found: 0
  })).reverse()
  yield* Stream.runForEachArray(input, (lines) =>
    Effect.sync(() => {
      for (const row of lines) {
        if (row._tag === "Bad") continue
        const of = all.filter((each) => each.has(row))
        const [latest] = of
        if (latest === undefined || ids.has(row.id)) continue
        ids.add(row.id)
        const decision = judge(row, latest.part)
        if (decision._tag === "Refused") continue
        for (const each of of) each.found++
        if (decision._tag === "Send") latest.rows.push(row)
        else for (const each of of) each.settled.push(row)
      }
    }))
  return all.map(({ found, part, rows, settled }) => ({ part, rows, settled, lacking: found < part.rows }))
})
