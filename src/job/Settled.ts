/**
 * Settled rows: what a job hands on once an answer, a failure or a bad line is durable.
 *
 * Every way of answering rows (calls, batches) settles them here, so that journal, report and output row always tell
 * the same: the journal first, and only when it is durable the count and the row.
 */
import * as Effect from "effect/Effect"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Answer from "./Answer.ts"
import type { JournalError } from "./JobError.ts"
import * as Journal from "./Journal.ts"
import type { Settled as Recorded } from "./JournalScan.ts"
import * as Report from "./Report.ts"
import type * as Row from "./Row.ts"

/** Is a settled row: its output text, and what it was made of where this run made it. */
export interface Settled {
  readonly kind: "ok" | "failed" | "bad"
  readonly line: number
  /** The row's id; of a bad line, where it had one. */
  readonly id: string | undefined
  /** The row of the output file, without its line feed. */
  readonly text: string
  readonly reply?: Answer.Reply | undefined
  readonly error?: TogetherError.TogetherError | undefined
  /** True where an earlier run had settled it. */
  readonly resumed: boolean
}

/** Reads a record of the journal as the settled row of an earlier run. */
export const ofRecord = ({ answer, bad, meta }: Recorded): Settled => ({
  kind: bad ? "bad" : meta.ok ? "ok" : "failed",
  line: meta.n,
  id: bad ? undefined : meta.id,
  text: answer,
  resumed: true
})

/** Is what a row came to. */
export type Outcome =
  | { readonly _tag: "Answered"; readonly reply: Answer.Reply; readonly from?: "cache" | "twin" | undefined }
  /** `code` is the word for the output row and the report; default: that of the error. */
  | { readonly _tag: "Failed"; readonly error: TogetherError.TogetherError; readonly code?: string | undefined }

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
  /** Settles a bad line. One that an earlier run has settled is counted again, and not journaled twice. */
  readonly bad: (line: Row.Bad) => Effect.Effect<Settled, JournalError>
}

/** Makes a settler; `now` tells the time in milliseconds. */
export const settler = (journal: Journal.Journal, report: Report.Report, now: () => number): Settler => ({
  row: Effect.fnUntraced(function*(
    row,
    hash,
    outcome,
    millis
  ): Effect.fn.Return<{ readonly settled: Settled; readonly ordinal: number }, JournalError> {
    const ok = outcome._tag === "Answered"
    const reply = ok ? outcome.reply : undefined
    const error = ok ? undefined : outcome.error
    const text = ok ? Answer.answered(row, outcome.reply) : Answer.failed(row, outcome.error, outcome.code)
    const attempts = reply?.attempts ?? error?.attempts ?? 0
    const usage = reply?.usage
    const ordinal = yield* journal.append({
      id: row.id,
      n: row.line,
      ok,
      h: hash,
      a: attempts,
      ms: Math.round(millis),
      in: usage?.inputTokens,
      out: usage?.outputTokens,
      nano: reply?.nanoUsd === undefined ? undefined : Number(reply.nanoUsd),
      tag: error?._tag
    }, text)
    Report.settle(report, now(), {
      kind: ok ? "ok" : "failed",
      line: row.line,
      id: row.id,
      code: ok ? undefined : outcome.code ?? Answer.codeOf(outcome.error._tag),
      message: error?.message,
      retryable: error !== undefined && TogetherError.isRetryable(error),
      model: row.model,
      attempts,
      millis,
      inputTokens: usage?.inputTokens ?? 0,
      outputTokens: usage?.outputTokens ?? 0,
      nanoUsd: reply?.nanoUsd,
      from: ok ? outcome.from : undefined
    })
    return {
      settled: { kind: ok ? "ok" : "failed", line: row.line, id: row.id, text, reply, error, resumed: false },
      ordinal
    }
  }, Effect.uninterruptible),
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
      code: `bad_row_${line.reason.replace("-", "_")}`,
      message: line.message,
      attempts: 0,
      millis: 0,
      inputTokens: 0,
      outputTokens: 0
    })
    return { kind: "bad", line: line.line, id: line.id, text, resumed }
  }, Effect.uninterruptible)
})
