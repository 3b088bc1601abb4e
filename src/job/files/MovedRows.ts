/**
 * Finds rows without an id that have moved up into the place of a removed line: sent again, they would be billed twice.
 *
 * A row without an id is known by its line. Where bad or blank lines above it were removed, its id is a new one, and the
 * journal holds its answer by the id of a line further down. So a new row that asks what a line below was answered for
 * is held back until that line is read: it still asks the same, and the two are alike and both count; or it does not,
 * and the row is the one that was answered there.
 *
 * ```text
 * answered: 1 one, 3 three (2 was bad)    now: one, three           line 3 is gone: line 2 has moved
 *                                         now: one, three, three    line 3 is there: line 2 is sent
 * ```
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Admission from "../Admission.ts"
import { JournalError } from "../JobError.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Row from "../Row.ts"

/** How many removed lines above a row are seen through: each of them costs a look at the journal. */
const seenThrough = 16

/** A line that waits for its turn; in doubt until the line that was answered for the same is read. */
interface Held {
  readonly line: Row.Row | Row.Bad
  doubt: { readonly line: number; readonly hash: number } | undefined
}

/** Finds the first line further down that was answered for what a new row asks. */
const doubtOf = (row: Row.Row, journal: Journal.Journal): Held["doubt"] => {
  if (!row.assigned || journal.known(row.id)._tag !== "New") return undefined
  const hash = Admission.hashOf(row)
  for (let line = row.line + 1; line <= row.line + seenThrough; line++) {
    const known = journal.known(Row.assignedId(line))
    if (known._tag === "Done" && known.ok && known.hash === hash) return { line, hash }
  }
  return undefined
}

const moved = (line: number, from: number, journal: Journal.Journal) =>
  new JournalError({
    message: `line ${line} has no custom_id and is known by its number, and asks what line ${from} was answered for, ` +
      "which is not there any more: a line above it was removed, and the row would be billed twice if it were sent " +
      "again. Put a blank line in the place of a removed one, which keeps the numbers, or send changed rows again. Give rows a custom_id, " +
      "and their answers stay with them.",
    reason: "row-moved",
    path: journal.path
  })

/**
 * Hands on the lines of an input, and fails at the first row that has moved.
 *
 * @param isOwn tells that a row need not be checked: it was not chosen, or is known to be where it was
 *
 * **Errors**: `JournalError` `row-moved`.
 */
export const refuse = <E, R>(
  rows: Stream.Stream<Row.Row | Row.Bad, E, R>,
  journal: Journal.Journal,
  isOwn: (row: Row.Row) => boolean
): Stream.Stream<Row.Row | Row.Bad, E | JournalError, R> =>
  Stream.suspend(() => {
    const held: Array<Held> = []

    /** Settles the doubts that a line decides; hands back the row that has moved. */
    const settle = (next: Row.Row | Row.Bad): Held | undefined =>
      held.find((each) => {
        const { doubt } = each
        if (doubt === undefined || doubt.line > next.line) return false
        const there = next._tag === "Row" && next.assigned && next.line === doubt.line &&
          Admission.hashOf(next) === doubt.hash
        if (there) each.doubt = undefined
        return !there
      })

    const refused = ({ doubt, line }: Held) => Effect.fail(moved(line.line, doubt!.line, journal)) // only a doubt is refused

    const checked = Stream.mapAccumArrayEffect(rows, () => held, (held, lines) =>
      Effect.suspend(() => {
        const free: Array<Row.Row | Row.Bad> = []
        for (const line of lines) {
          const found = settle(line)
          if (found !== undefined) return refused(found)
          held.push({ line, doubt: line._tag === "Bad" || isOwn(line) ? undefined : doubtOf(line, journal) })
          while (held[0] !== undefined && held[0].doubt === undefined) free.push(held.shift()!.line) // one is there
        }
        return Effect.succeed([held, free] as const)
      }))
    return Stream.concat(
      checked,
      Stream.suspend(() => held[0] === undefined ? Stream.empty : Stream.fromEffect(refused(held[0])))
    )
  })
