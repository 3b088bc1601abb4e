/**
 * Settles what batches said: each row in the journal, then counted, then in the results, in groups that no stop cuts
 * through.
 */
import * as Effect from "effect/Effect"
import type { InvalidRequestError } from "../../domain/TogetherError.ts"
import * as Price from "../../policy/Price.ts"
import * as Admission from "../Admission.ts"
import type * as Answer from "../Answer.ts"
import * as Output from "./BatchOutput.ts"
import type { JobError } from "../JobError.ts"
import type * as JobFiles from "../files/JobFiles.ts"
import type * as Row from "../Row.ts"
import * as RowTokens from "../RowTokens.ts"
import * as Settled from "../Settled.ts"
import * as Stop from "../Stop.ts"

/** Rows that are settled at a time. */
const group = 256

/** Says how rows are settled. */
export interface Options {
  readonly context: JobFiles.Context
  /** What models cost. */
  readonly lookup: Price.Lookup
  /** Tells the time in milliseconds. */
  readonly now: () => number
  /** Whether the first row that fails ends the job. */
  readonly failFast: boolean
  /** Ends the job. */
  readonly stop: (why: Stop.Stop) => Effect.Effect<never>
}

/** Settles rows of batches, rows that are not batched, and bad lines. */
export interface BatchSettle {
  /** Settles rows in groups: one is written, and `done` told of it, whatever stops the job in between. */
  readonly rows: (
    said: ReadonlyArray<readonly [Row.Row, Output.Said]>,
    done: (settled: ReadonlyArray<Settled.Settled>) => void
  ) => Effect.Effect<void, JobError>
  /** Settles a row that no batch is asked about, for it would refuse it. */
  readonly refused: (row: Row.Row, error: InvalidRequestError) => Effect.Effect<void, JobError>
  /** Settles a bad line, and writes it whatever stops the job in between. */
  readonly bad: (line: Row.Bad) => Effect.Effect<void, JobError>
}

/** Makes a settler of what batches say. */
export const make = ({ context, failFast, lookup, now, stop }: Options): BatchSettle => {
  const settler = Settled.settler(context.journal, context.report, now)

  const replyOf = (row: Row.Row, status: number, body: unknown): Answer.Reply => {
    const usage = RowTokens.used(row, body)
    const cost = Price.ofUsage(lookup(row.model), row.model, usage, { batch: true })
    return { status, body, usage, nanoUsd: cost._tag === "Known" ? cost.nanoUsd : undefined, attempts: 1 }
  }

  const outcomeOf = (row: Row.Row, said: Output.Said): Settled.Outcome =>
    said._tag === "Answered" ? { _tag: "Answered", reply: replyOf(row, said.status, said.body) } : {
      _tag: "Failed",
      error: Output.errorOf(row, said, now()),
      code: said.status === undefined ? said.code : undefined,
      reply: said.billed && replyOf(row, 200, said.billed.body)
    }

  return {
    rows: Effect.fnUntraced(function*(said, done) {
      for (let from = 0; from < said.length; from += group) {
        const settled = yield* Effect.uninterruptible(
          Effect.forEach(
            said.slice(from, from + group),
            ([row, word]) => settler.row(row, Admission.hashOf(row), outcomeOf(row, word), 0),
            { concurrency: "unbounded" }
          ).pipe(
            Effect.map((rows) => rows.map((each) => each.settled)),
            Effect.tap((settled) => Effect.sync(() => done(settled))),
            Effect.tap(context.emit)
          )
        )
        if (failFast && settled.some((each) => each.kind === "failed")) return yield* stop(Stop.failedRow)
      }
    }),
    refused: Effect.fnUntraced(function*(row, error) {
      yield* Effect.uninterruptible(
        Effect.flatMap(
          settler.row(row, Admission.hashOf(row), { _tag: "Failed", error }, 0),
          ({ settled }) => context.emit([settled])
        )
      )
      if (failFast) return yield* stop(Stop.failedRow)
    }),
    bad: (line) =>
      Effect.uninterruptible(
        Effect.flatMap(settler.bad(line), (settled) => settled.resumed ? Effect.void : context.emit([settled]))
      )
  }
}
