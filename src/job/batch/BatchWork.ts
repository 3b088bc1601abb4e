/**
 * The way of one part of a job: room in the budget, its batch, the settlement of its rows, and another part for the
 * rows without a final verdict.
 *
 * ```text
 * row ─▶ gather ─▶ run: reserve ─▶ submit ───┐
 *          ▲       reopen: of an earlier run ─┴─▶ finish ─▶ settled
 *          └───────────────────────────────────────┘ no last word
 * ```
 */
import * as Effect from "effect/Effect"
import type { BudgetExceededError } from "../../domain/TogetherError.ts"
import * as Hash from "../../policy/Hash.ts"
import * as Price from "../../policy/Price.ts"
import * as BatchBudget from "./BatchBudget.ts"
import * as Output from "./BatchOutput.ts"
import * as Parts from "./BatchParts.ts"
import type * as BatchRows from "./BatchRows.ts"
import type * as BatchRun from "./BatchRun.ts"
import type * as BatchSettle from "./BatchSettle.ts"
import type * as JobFiles from "../files/JobFiles.ts"
import type * as Job from "../Job.ts"
import type { JobError } from "../JobError.ts"
import * as Row from "../Row.ts"
import * as RowCheck from "../RowCheck.ts"
import type * as SteadyClock from "../SteadyClock.ts"
import type * as Stop from "../Stop.ts"

/** A part under way: its rows that have to be answered, and what it holds of the budget. */
export interface UnderWay {
  readonly part: Parts.Part
  readonly rows: ReadonlyArray<Row.Row>
  readonly reserve: BatchBudget.Reserve
  /** Whether the input, as it is read now, lacks rows that the part was made of: they cost, and nobody counts it. */
  readonly lacking: boolean
}

/** Says what parts are worked on with. */
export interface Options {
  readonly context: Pick<JobFiles.Context, "journal" | "report" | "uncertainCost">
  readonly options: Pick<JobFiles.FileOptions & Job.Common, "retryErrors" | "select"> & {
    readonly rounds: number
    readonly limits?: { readonly maxRows: number; readonly maxBytes: number } | undefined
  }
  readonly lookup: Price.Lookup
  readonly now: SteadyClock.SteadyClock
  readonly budget: BatchBudget.BatchBudget
  readonly batches: BatchRun.BatchRun
  readonly settle: BatchSettle.BatchSettle
  /** Gives a reason to stop, and waits to be ended. */
  readonly stop: (why: Stop.Stop) => Effect.Effect<never>
}

/** Works on the parts of one job. */
export interface BatchWork {
  /** Makes what gathers rows for parts whose rows have been through so many batches. */
  readonly gatherer: (round: number) => Parts.Gatherer
  /** Adds a row to the parts to come, or settles one that no batch would answer: it fails alone, and is not sent. */
  readonly gather: (gatherer: Parts.Gatherer, row: Row.Row) => Effect.Effect<Parts.Full | undefined, JobError>
  /** Creates the batch of a part, as soon as the budget allows, and finishes it. */
  readonly run: (full: Parts.Full) => Effect.Effect<void, JobError>
  /**
   * Takes up a part of an earlier run. A row that failed before and was sent again then is waited for, too: its answer
   * is paid. A part stays open while the input's selection leaves out rows of it.
   */
  readonly reopen: (reopened: BatchRows.Reopened) => UnderWay
  /** Settles the rows of a part, and batches those again that have no final verdict. */
  readonly finish: (underWay: UnderWay) => Effect.Effect<void, JobError>
  /** Models without a price that a budget can hold, with what said so and their rows. */
  readonly unpriced: Job.Ending["abandoned"]
}

/** Makes what works on the parts of a job. */
export const make = (
  { batches, budget, context, lookup, now, options, settle, stop }: Options
): BatchWork => {
  const { journal, report } = context
  const { rounds } = options
  const unpriced = new Map<string, { readonly error: BudgetExceededError; readonly rows: number }>()
  let serial = 0

  const finish: (underWay: UnderWay) => Effect.Effect<void, JobError> = Effect.fnUntraced(
    function*({ lacking, part, reserve, rows }) {
      const found = yield* batches.outcome(part)
      // a part that never became a batch does not count as a round
      const round = found === undefined ? part.round : part.round + 1
      const again: Array<Row.Row> = []
      const last: Array<readonly [Row.Row, Output.Said]> = []
      for (const row of rows) {
        const word = found?.said.get(row.id) ?? found?.hopeless
        const open = word === undefined || (word._tag === "Refused" && Output.transient(word))
        if (open && round < rounds) again.push(row)
        else last.push([row, word ?? Output.notAnswered(rounds)])
      }
      let spent = 0n
      let unpriced = false
      yield* settle.rows(last, (settled) => {
        const costs = settled.flatMap(({ reply }) => reply === undefined ? [] : [reply.nanoUsd])
        const paid = costs.reduce<bigint>((sum, cost) => sum + (cost ?? 0n), 0n)
        spent += paid
        unpriced ||= costs.includes(undefined)
        batches.less(part, settled.length, paid)
        report.inFlight -= settled.length
      })
      const unknown = lacking || found?.gone === true || unpriced
      report.inFlight -= again.length
      // a row that waits for this room may find too little and stop the job: that must not leave the part open
      yield* Effect.uninterruptible(
        Effect.flatMap(reserve.end(spent, found !== undefined && unknown), (uncertain) =>
          // rows that were not selected are for another run to collect
          lacking && options.select !== undefined
            ? Effect.void
            : Effect.andThen(context.uncertainCost.add(uncertain), batches.over(part)))
      )
      yield* batches.settled(part)
      const gatherer = gathererOf(round)
      const parts = yield* Effect.forEach(again, (row) => gather(gatherer, row))
      yield* Effect.forEach(
        [...parts.filter((full) => full !== undefined), ...gatherer.rest()],
        (full) => run(full, part.retried === true),
        { discard: true }
      )
    }
  )

  const gather = (gatherer: Parts.Gatherer, row: Row.Row): Effect.Effect<Parts.Full | undefined, JobError> => {
    const refusal = Parts.refusal(row)
    if (refusal !== undefined) {
      const bad = Row.bad(row.line, "batch", `line ${row.line}: ${refusal}`, row.id, row.id)
      return Effect.as(settle.bad(bad), undefined)
    }
    const error = RowCheck.refusal(row)
    return error === undefined
      ? Effect.succeed(gatherer.add(row))
      : Effect.as(settle.refused(row, error), undefined)
  }

  const leaveOut = ({ part: { model, rows } }: Parts.Full, error: BudgetExceededError): undefined =>
    void unpriced.set(model, { error, rows: rows + (unpriced.get(model)?.rows ?? 0) })

  const run = (full: Parts.Full, retried = options.retryErrors === true): Effect.Effect<void, JobError> => {
    const { part, rows } = full
    const bound = BatchBudget.bound(lookup, part.model, rows)
    return Effect.uninterruptibleMask((restore) =>
      Effect.matchEffect(budget.reserve(part.model, bound), {
        onFailure: (error) => {
          if (error.reason === "unknown-price") return Effect.sync(() => leaveOut(full, error))
          if (error.reason === "ledger-unwritable") return restore(stop({ _tag: "Refused", error }))
          return restore(
            rows.length === 1 ? stop({ _tag: "MaxCost", error }) : runSplit(full, retried, error.remainingNanoUsd)
          )
        },
        onSuccess: (reserve) => Effect.ensuring(restore(send(full, retried, bound, reserve)), leave(part, reserve))
      })
    )
  }

  /**
   * Runs as many rows of a part as there is room for, then the others: by then it is known what the first ones cost. A
   * first row that finds no room stops the job.
   */
  const runSplit = ({ part, rows }: Parts.Full, retried: boolean, room: bigint): Effect.Effect<void, JobError> => {
    const head = Math.max(1, BatchBudget.fitting(lookup, part.model, rows, room))
    const parts = [rows.slice(0, head), rows.slice(head)].flatMap((each) => {
      const gatherer = gathererOf(part.round)
      for (const row of each) gatherer.add(row)
      return gatherer.rest()
    })
    return Effect.forEach(parts, (each) => run(each, retried), { discard: true })
  }

  /** Ends what the ledger still holds of a part: its batch goes on, and is billed, or there is none. */
  const leave = (part: Parts.Part, { reservation }: BatchBudget.Reserve) =>
    Effect.suspend(() =>
      reservation === undefined
        ? Effect.void
        : batches.goesOn(part)
        ? reservation.settle(Price.unknown("the batch goes on"))
        : reservation.refund()
    )

  const send = Effect.fnUntraced(function*(
    { part, rows }: Parts.Full,
    retried: boolean,
    bound: Price.Estimate,
    reserve: BatchBudget.Reserve
  ): Effect.fn.Return<void, JobError> {
    report.inFlight += rows.length
    const begun: Parts.Part = {
      ...part,
      ...(bound._tag === "Known" ? { nano: Number(bound.high) } : {}),
      ...(retried ? { retried } : {})
    }
    yield* finish({ part: yield* batches.submit({ part: begun, rows }), rows, reserve, lacking: false })
  })

  const name = (model: string, from: number): string =>
    `job-${Hash.hex32(Hash.text32(`${journal.path}:${model}:${from}:${now()}:${serial++}`))}.jsonl`

  const gathererOf = (round: number) => Parts.gatherer(round, name, options.limits)

  const reopen = ({ lacking, part, rows, settled }: BatchRows.Reopened): UnderWay => {
    const paid = BatchBudget.bound(lookup, part.model, settled)
    const nanoUsd = paid._tag === "Known" ? paid.high : 0n
    const bound = Parts.boundOf(part, nanoUsd)
    batches.less(part, part.rows - rows.length, nanoUsd)
    report.inFlight += rows.length
    const reserve = budget.hold(
      bound === undefined ? BatchBudget.bound(lookup, part.model, rows) : Price.exactly(bound)
    )
    return { part, rows, reserve, lacking }
  }

  return { gatherer: gathererOf, gather, run, reopen, finish, unpriced }
}
