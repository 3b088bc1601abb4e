/**
 * What becomes of a line of the input, by what the journal knows of its id. The same for calls and for batches.
 *
 * | the journal | the row |
 * | --- | --- |
 * | does not know the id | is sent |
 * | holds its answer | is done |
 * | holds its failure | is done, unless `retryErrors` |
 * | holds an answer to another request of that id | `changed` says: stop the job, keep the answer, send the row again |
 * | holds an answer to another request, from another line | the same; a stop says that the id may be used twice |
 * | holds an answer to another request, of a row without an id | is sent again with `resend`, else the job stops: `keep` would keep the answer of another row, where lines were added or removed |
 * | saw the id on an earlier line of this input | is a bad line: a duplicate |
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Hash from "../policy/Hash.ts"
import { JournalError } from "./JobError.ts"
import type * as Journal from "./journal/Journal.ts"
import * as Report from "./Report.ts"
import * as Row from "./Row.ts"

/** Says which rows are sent again. */
export interface Options {
  /** Whether rows that failed in an earlier run are sent again. Default: false. */
  readonly retryErrors?: boolean | undefined
  /**
   * What to do with a row whose request has changed since it was answered: stop, keep the answer, or send the row again.
   * Default: `stop`. A row without an id of its own, known by its line, keeps no answer to another request: there `keep`
   * stops, too.
   */
  readonly changed?: "stop" | "keep" | "resend" | undefined
}

/** Holds the defaults of this module. */
export const defaults = { retryErrors: false, changed: "stop" } as const

/** What becomes of a line. */
export type Decision =
  | { readonly _tag: "Send"; readonly row: Row.Row; readonly hash: number }
  /** `same` tells whether the row asks for what it asked when it was settled. */
  | {
    readonly _tag: "Done"
    readonly row: Row.Row
    readonly ok: boolean
    readonly ordinal: number
    readonly same: boolean
  }
  | { readonly _tag: "Bad"; readonly line: Row.Bad }
  | { readonly _tag: "Refused"; readonly row: Row.Row; readonly ordinal: number; readonly error: JournalError }

/** Hashes a request, to see on resuming that a row has changed. */
export const hashOf = (row: Row.Row): number => Hash.text32(`${row.operation}${JSON.stringify(row.body)}`)

const rowChanged = (row: Row.Row, journal: Journal.Journal) =>
  new JournalError({
    message: `line ${row.line} (custom_id ${JSON.stringify(row.id)}) asks for something else than when it was ` +
      "answered: the input or the request options have changed, or another version of this program makes another " +
      "request of the same row. Restore them, or say how to go on: keep the answers of changed rows, or send changed " +
      "rows again.",
    reason: "row-changed",
    path: journal.path
  })

const moved = (row: Row.Row, journal: Journal.Journal) =>
  new JournalError({
    message:
      `line ${row.line} has no custom_id and is known by its number, and ${JSON.stringify(row.id)} was answered ` +
      "for another request: a line above it was added or removed, or the row, the request options or the version of " +
      "this program have changed. Its answer may be that of another row, so it is not kept. Restore them (a blank line " +
      "in the place of a removed one keeps the numbers), or send changed rows again. Give rows a custom_id, and their " +
      "answers stay with them.",
    reason: "row-moved",
    path: journal.path
  })

const otherLine = (row: Row.Row, first: number, journal: Journal.Journal) =>
  new JournalError({
    message:
      `line ${row.line}: custom_id ${JSON.stringify(row.id)} was answered on line ${first} already, for another ` +
      "request. Give each row its own custom_id: sent again, this one would take the place of that answer. Where the " +
      "row has only moved, and it, the request options or the version of this program have changed, restore them, or " +
      "say how to go on: keep the answers of changed rows, or send changed rows again.",
    reason: "id-reused",
    path: journal.path
  })

/**
 * Fails for a refused row: with its own error, or with one that names the line on which its id was answered.
 *
 * **Details**: reads the journal, so it is for the end of a job only.
 */
export const refuse = (
  { error, ordinal, row }: Extract<Decision, { readonly _tag: "Refused" }>,
  journal: Journal.Journal
): Effect.Effect<never, JournalError> =>
  journal.settled.pipe(
    Stream.filter((record) => record.ordinal === ordinal),
    Stream.runHead,
    Effect.flatMap((found) =>
      Effect.fail(
        error.reason === "row-moved" || Option.isNone(found) || found.value.meta.n === row.line
          ? error
          : otherLine(row, found.value.meta.n, journal)
      )
    )
  )

const duplicateMessage = (row: Row.Row, first: number): string => {
  const id = JSON.stringify(row.id)
  if (row.assigned) {
    return `line ${row.line} has no custom_id, and ${id}, which it would get, is that of line ${first}; it is not ` +
      "sent. Give it a custom_id"
  }
  const assigned = row.id === Row.assignedId(first) ? " (a row without one gets line-<number>)" : ""
  return `line ${row.line}: custom_id ${id} was used on line ${first} already${assigned}; it is not sent. Give each ` +
    "row its own custom_id"
}

const duplicate = (row: Row.Row, first: number): Row.Bad =>
  Row.bad(row.line, "duplicate", duplicateMessage(row, first), row.id, row.id)

/** Decides about a row by what is known of its id; neither counts it nor marks it as seen. */
export const judge = (row: Row.Row, journal: Journal.Journal, options: Options): Decision => {
  const known = journal.known(row.id)
  if (known._tag === "Seen") return { _tag: "Bad", line: duplicate(row, known.line) }
  const changed = options.changed ?? defaults.changed
  const hash = hashOf(row)
  if (known._tag === "New") return { _tag: "Send", row, hash }
  const same = hash === known.hash
  const again = !known.ok && options.retryErrors === true
  // a failure holds no answer that could belong to another row
  if (!same && (changed === "stop" || (changed === "keep" && row.assigned && !again))) {
    const error = row.assigned ? moved(row, journal) : rowChanged(row, journal)
    return { _tag: "Refused", row, ordinal: known.ordinal, error }
  }
  return (!same && changed === "resend") || again
    ? { _tag: "Send", row, hash }
    : { _tag: "Done", row, ok: known.ok, ordinal: known.ordinal, same }
}

/** Decides about the next line of the input, counts it, and marks its id as seen. */
export const admit = (
  line: Row.Row | Row.Bad,
  journal: Journal.Journal,
  report: Report.Report,
  options: Options
): Decision => {
  report.read++
  if (line._tag === "Bad") return { _tag: "Bad", line }
  if (line.assigned) Report.note(report.missingIds, line.line)
  const decision = judge(line, journal, options)
  if (decision._tag === "Refused") return decision
  if (decision._tag === "Bad") {
    Report.note(report.duplicates, line.line)
    return decision
  }
  journal.see(line.id, line.line)
  if (decision._tag === "Done") {
    if (decision.ok) report.resumedOk++
    else report.resumedFailed++
  }
  return decision
}
