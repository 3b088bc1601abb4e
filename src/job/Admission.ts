/**
 * What becomes of a line of the input, by what the journal knows of its id. The same for calls and for batches.
 *
 * | the journal | the row |
 * | --- | --- |
 * | does not know the id | is sent |
 * | holds its answer | is done |
 * | holds its failure | is done, unless `retryErrors` |
 * | holds an answer to another request of that id | `changed` says: stop the job, keep the answer, send the row again |
 * | saw the id on an earlier line of this input | is a bad line: a duplicate |
 */
import * as Hash from "./Hash.ts"
import { JournalError } from "./JobError.ts"
import type * as Journal from "./Journal.ts"
import * as Report from "./Report.ts"
import * as Row from "./Row.ts"

/** Says which rows are sent again. */
export interface Options {
  /** Whether rows that failed in an earlier run are sent again. Default: false. */
  readonly retryErrors?: boolean | undefined
  /** What to do with a row whose request has changed since it was answered. Default: `stop`. */
  readonly changed?: "stop" | "keep" | "resend" | undefined
}

/** Holds the defaults of this module. */
export const defaults = { retryErrors: false, changed: "stop" } as const

/** Is what becomes of a line. */
export type Decision =
  | { readonly _tag: "Send"; readonly row: Row.Row; readonly hash: number }
  | { readonly _tag: "Done"; readonly row: Row.Row; readonly ok: boolean; readonly ordinal: number }
  | { readonly _tag: "Bad"; readonly line: Row.Bad }
  | { readonly _tag: "Refused"; readonly error: JournalError }

/** Hashes a request, to see on resuming that a row has changed. */
export const hashOf = (row: Row.Row): number => Hash.text32(`${row.operation}${JSON.stringify(row.body)}`)

const rowChanged = (row: Row.Row, journal: Journal.Journal) =>
  new JournalError({
    message: `line ${row.line} (custom_id ${JSON.stringify(row.id)}) asks for something else than when it was ` +
      "answered: the input or the request options have changed. Restore them, or say how to go on: keep the answers " +
      "of changed rows, or send changed rows again.",
    reason: "row-changed",
    path: journal.path
  })

const duplicate = (row: Row.Row, first: number): Row.Bad =>
  Row.bad(
    row.line,
    "duplicate",
    `line ${row.line}: custom_id ${JSON.stringify(row.id)} was used on line ${first} already; it is not sent. Give ` +
      "each row its own custom_id",
    row.id,
    row.id
  )

/** Decides about a row by what is known of its id; neither counts it nor marks it as seen. */
export const judge = (row: Row.Row, journal: Journal.Journal, options: Options): Decision => {
  const known = journal.known(row.id)
  if (known._tag === "Seen") return { _tag: "Bad", line: duplicate(row, known.line) }
  if (known._tag === "New") return { _tag: "Send", row, hash: hashOf(row) }
  const changed = options.changed ?? defaults.changed
  const hash = changed === "keep" ? known.hash : hashOf(row)
  if (hash !== known.hash && changed === "stop") return { _tag: "Refused", error: rowChanged(row, journal) }
  return hash !== known.hash || (!known.ok && options.retryErrors === true)
    ? { _tag: "Send", row, hash }
    : { _tag: "Done", row, ok: known.ok, ordinal: known.ordinal }
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
