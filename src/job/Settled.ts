/**
 * Settled rows: what a job hands on once an answer, a failure or a bad line is durable.
 *
 * Every way of answering rows (calls, batches) settles them here, so that journal, report and output row always tell
 * the same: the journal first, and only when it is durable the count and the row. An answer that cannot be written fails
 * its row with `DecodeError`; what it cost counts.
 */
import * as Effect from "effect/Effect"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Answer from "./Answer.ts"
import type { JournalError } from "./JobError.ts"
import * as Journal from "./journal/Journal.ts"
import type { Record } from "./journal/JournalScan.ts"
import * as Report from "./Report.ts"
import type * as Row from "./Row.ts"

/** A settled row: its output text, and, if this run made it, what it was made from. */
export interface Settled {
  readonly kind: "ok" | "failed" | "bad"
  readonly line: number
  /** The row's id; of a bad line, where it had one. */
  readonly id: string | undefined
  /** The row of the output file, without its line feed. */
  readonly text: string
  /** The answer; beside an error, what was billed for an answer that cannot be written or is none. */
  readonly reply?: Answer.Reply | undefined
  readonly error?: TogetherError.TogetherError | undefined
  /** True where an earlier run had settled it. */
  readonly resumed: boolean
}

/** Reads a record of the journal as the settled row of an earlier run. */
export const ofRecord = ({ answer, bad, meta }: Record): Settled => ({
  kind: bad ? "bad" : meta.ok ? "ok" : "failed",
  line: meta.n,
  id: bad ? undefined : meta.id,
  text: answer,
  resumed: true
})

/** What a row came to. */
export type Outcome =
  | { readonly _tag: "Answered"; readonly reply: Answer.Reply; readonly from?: "cache" | "twin" | undefined }
  | {
    readonly _tag: "Failed"
    readonly error: TogetherError.TogetherError
    /** The word for the output row and the report. Default: that of the error. */
    readonly code?: string | undefined
    /** What was billed though it is no answer. Default: nothing. */
    readonly reply?: Answer.Reply | undefined
  }

/** Settles rows and bad lines. */
export interface Settler {
  /**
   * Settles a row that was sent, its request's hash being `hash`; hands back its ordinal in the journal, too. Not
   * interrupted half way: what is in the journal is counted.
   */
  readonly row: (
    row: Row.Row,
    hash: number,
    outcome: Outcome,
    millis: number
  ) => Effect.Effect<{ readonly settled: Settled; readonly ordinal: number }, JournalError>
  /** Settles a bad line. One that an earlier run has settled is counted again, but not written to the journal twice. */
  readonly bad: (line: Row.Bad) => Effect.Effect<Settled, JournalError>
}

type Failed = Extract<Outcome, { readonly _tag: "Failed" }>

const unwritable = (row: Row.Row, { attempts, requestId, status }: Answer.Reply): Failed => ({
  _tag: "Failed",
  error: new TogetherError.DecodeError({
    message: "The answer cannot be written as JSON: it is nested too deeply. Ask for a flatter one.",
    operation: row.operation,
    model: row.model,
    status,
    requestId,
    attempts
  })
})

/** Writes the output row of an outcome, and says what it is a failure of. */
const write = (row: Row.Row, outcome: Outcome): { readonly text: string; readonly failed: Failed | undefined } => {
  const answer = outcome._tag === "Answered" ? Answer.answered(row, outcome.reply) : undefined
  if (answer !== undefined) return { text: answer, failed: undefined }
  const failed = outcome._tag === "Answered" ? unwritable(row, outcome.reply) : outcome
  return { text: Answer.failed(row, failed.error, failed.code), failed }
}

/** Makes a settler; `now` tells the time in milliseconds. */
export const settler = (journal: Journal.Journal, report: Report.Report, now: () => number): Settler => ({
  // no generator: this runs for each row, and one keeps all of its variables for as long as the journal takes
  row: (row, hash, outcome, millis) =>
    Effect.uninterruptible(Effect.suspend(() => {
      const { failed, text } = write(row, outcome)
      const kind = failed === undefined ? "ok" : "failed"
      const { reply } = outcome
      const error = failed?.error
      const attempts = reply?.attempts ?? error?.attempts ?? 0
      const usage = reply?.usage
      const appended = journal.append({
        id: row.id,
        n: row.line,
        ok: failed === undefined,
        h: hash,
        a: attempts,
        ms: Math.round(millis),
        in: usage?.inputTokens,
        out: usage?.outputTokens,
        nano: reply?.nanoUsd === undefined ? undefined : Number(reply.nanoUsd),
        tag: error?._tag
      }, text)
      return Effect.map(appended, (ordinal) => {
        Report.settle(report, now(), {
          kind,
          line: row.line,
          id: row.id,
          code: failed && (failed.code ?? Answer.codeOf(failed.error._tag)),
          message: error?.message,
          retryable: error !== undefined && TogetherError.isRetryable(error),
          model: row.model,
          attempts,
          millis,
          requestMillis: reply?.requestMillis,
          inputTokens: usage?.inputTokens ?? 0,
          outputTokens: usage?.outputTokens ?? 0,
          nanoUsd: reply?.nanoUsd,
          unmetered: usage === undefined && row.operation !== "images",
          from: outcome._tag === "Answered" ? outcome.from : undefined
        })
        return { settled: { kind, line: row.line, id: row.id, text, reply, error, resumed: false }, ordinal }
      })
    })),
  bad: Effect.fnUntraced(function*(line): Effect.fn.Return<Settled, JournalError> {
    const key = Journal.badKey(line.line, line.hash)
    const text = Answer.bad(line)
    const resumed = journal.known(key)._tag !== "New"
    if (!resumed) {
      yield* journal.append(
        { id: key, n: line.line, ok: false, h: line.hash, a: 0, ms: 0, tag: line.reason },
        text,
        true
      )
    }
    Report.settle(report, now(), {
      kind: "bad",
      line: line.line,
      id: line.id,
      code: Answer.badCodeOf(line.reason),
      message: line.message,
      attempts: 0,
      millis: 0,
      inputTokens: 0,
      outputTokens: 0
    })
    return { kind: "bad", line: line.line, id: line.id, text, resumed }
  }, Effect.uninterruptible)
})
