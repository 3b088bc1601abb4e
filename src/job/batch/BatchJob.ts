/**
 * The same job through Together's Batch API: cheaper where batches are discounted, from a separate pool of limits,
 * within a day.
 *
 * ```text
 * rows ─▶ parts (one model, ≤ 10,000 rows) ─▶ upload ─▶ note ─▶ create ─▶ note ─▶ poll ─▶ output and error file
 *   ▲                                                                                       │ by custom_id
 *   └─────────── requeue what was not answered (expired, cancelled, timed out) ◀────────────┴─▶ journal ─▶ results
 * ```
 *
 * The journal is that of a job by calls, so a job may be begun one way and finished the other, once no batch of it runs.
 * Each part is noted before and after its creation; a run that was killed in between looks for the batch by its file and
 * adopts it, so no part is batched and billed twice. Stopping leaves the batches running at Together; the next run
 * waits for them.
 *
 * The input is read once, and once before on a resume with batches running, whatever the number of parts. In memory are
 * the rows of the parts that run and of as many that wait to: see `parallel` and BatchParts.ts.
 *
 * **Source**: Together's Batch API guide and reference: creation accepts bad files and fails later, a completed batch
 * may have an error file too, the order of rows is arbitrary, only answered rows are billed.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { BudgetExceededError } from "../../domain/TogetherError.ts"
import * as Credits from "../../guard/credits/Credits.ts"
import * as Millis from "../../guard/Millis.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import * as Price from "../../policy/Price.ts"
import * as PriceTable from "../../together/PriceTable.ts"
import * as Together from "../../together/Together.ts"
import * as Admission from "../Admission.ts"
import * as BatchBudget from "./BatchBudget.ts"
import * as Output from "./BatchOutput.ts"
import * as Parts from "./BatchParts.ts"
import * as BatchProvider from "./BatchProvider.ts"
import * as BatchRows from "./BatchRows.ts"
import * as BatchRun from "./BatchRun.ts"
import * as BatchSettle from "./BatchSettle.ts"
import * as JobFiles from "../files/JobFiles.ts"
import * as Hash from "../Hash.ts"
import * as Job from "../Job.ts"
import type { JobError } from "../JobError.ts"
import * as Journal from "../journal/Journal.ts"
import * as Report from "../Report.ts"
import * as Row from "../Row.ts"
import * as RowCheck from "../RowCheck.ts"
import * as Sender from "../Sender.ts"
import * as SteadyClock from "../SteadyClock.ts"
import * as Stop from "../Stop.ts"

/** Configures a job through batches. */
export interface Options extends Job.Common, JobFiles.FileOptions {
  /** What models cost. Default: the shipped table. */
  readonly price?: Price.Lookup | undefined
  /** Nano-dollars that the job may cost, earlier runs included. Default: any. */
  readonly maxCost?: bigint | undefined
  /** Time between two looks at a batch, above 0. Default: 30 seconds. */
  readonly poll?: Duration.Input | undefined
  /** Most batches that one row goes through, the first included. Default: 3. */
  readonly rounds?: number | undefined
  /** Limits of one part: rows, an integer of at least 1, and bytes, an integer of at least 1. Default: 10,000 rows, 95 MB. */
  readonly limits?: { readonly maxRows: number; readonly maxBytes: number } | undefined
  /** Batches that run at a time. Default: 20. */
  readonly parallel?: number | undefined
}

/** Holds the defaults of this module. */
export const defaults = { poll: Duration.seconds(30), rounds: 3, parallel: 20 } as const

interface Checked extends Options {
  readonly poll: Duration.Duration
  readonly rounds: number
  readonly parallel: number
}

const checked = (options: Options): Checked => {
  const poll = Duration.millis(Millis.finite("BatchJob.run: poll", options.poll ?? defaults.poll))
  Job.checkMaxTime("BatchJob.run", options)
  const { maxBytes, maxRows } = options.limits ?? Parts.defaults
  OptionCheck.integer("BatchJob.run", "limits.maxRows", maxRows, 1)
  OptionCheck.integer("BatchJob.run", "limits.maxBytes", maxBytes, 1)
  return {
    ...options,
    poll,
    rounds: OptionCheck.integer("BatchJob.run", "rounds", options.rounds ?? defaults.rounds, 1),
    parallel: OptionCheck.integer("BatchJob.run", "parallel", options.parallel ?? defaults.parallel, 1)
  }
}

/** Runs a job from file to file through batches. */
export const run = (
  options: Options
): Effect.Effect<JobFiles.Result, JobError, Together.Together | FileSystem.FileSystem> => {
  const all = checked(options)
  // a row that failed before may be answered by a batch that an earlier run sent it again in
  return JobFiles.around({ ...options, retryErrors: true }, (context) => drive(context, all))
}

/** A part under way: its rows that have to be answered, and what it holds of the budget. */
interface UnderWay {
  readonly part: Parts.Part
  readonly rows: ReadonlyArray<Row.Row>
  readonly reserve: BatchBudget.Reserve
  /** Whether the input, as it is read now, lacks rows that the part was made of: they cost, and nobody counts it. */
  readonly lacking: boolean
}

const drive = Effect.fnUntraced(
  function*(
    context: JobFiles.Context,
    options: Checked
  ): Effect.fn.Return<Job.Ending, JobError, Together.Together | FileSystem.FileSystem> {
    const { journal, report } = context
    const { parallel, rounds } = options
    const now = yield* SteadyClock.make
    const lookup = options.price ?? PriceTable.shippedLookup
    const stopped = yield* Deferred.make<Stop.Stop>()
    const places = yield* Semaphore.make(parallel)
    const credits = Option.getOrUndefined(yield* Effect.serviceOption(Credits.Credits))
    const budget = BatchBudget.make(
      options.maxCost,
      () => report.resumedNanoUsd + report.nanoUsd,
      credits && ((estimate) => credits.reserve({ label: Sender.defaults.label, estimate }))
    )
    /** Models without a price that a budget can hold, with what said so and their rows. */
    const unpriced = new Map<string, { readonly error: BudgetExceededError; readonly rows: number }>()
    let serial = 0
    const stop = (why: Stop.Stop) => Effect.andThen(Deferred.succeed(stopped, why), Effect.never)

    const provider = BatchProvider.make(yield* Together.Together)
    const batches = BatchRun.make({ journal, report, provider, poll: options.poll, stop })
    const settle = BatchSettle.make({ context, lookup, now, failFast: options.failFast === true, stop })

    /** Settles the rows of a part, and batches again those that it has no last word on. */
    const finish: (underWay: UnderWay) => Effect.Effect<void, JobError> = Effect.fnUntraced(
      function*({ lacking, part, reserve, rows }) {
        const found = yield* batches.outcome(part)
        // a part that never became a batch was no round
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
        const uncertain = yield* reserve.end(spent, found !== undefined && unknown)
        report.inFlight -= again.length
        // rows that were not selected are for another run to collect
        if (!lacking || options.select === undefined) {
          yield* context.uncertainCost.add(uncertain)
          yield* batches.over(part)
        }
        yield* batches.settled(part)
        const gatherer = Parts.gatherer(round, name, options.limits)
        const parts = yield* Effect.forEach(again, (row) => gather(gatherer, row))
        yield* Effect.forEach(
          [...parts.filter((full) => full !== undefined), ...gatherer.rest()],
          (full) => work(full, part.retried === true),
          { discard: true }
        )
      }
    )

    /** Adds a row to the parts to come, or settles one that no batch would answer: it fails alone, and is not sent. */
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

    /** Creates the batch of a part, as soon as the budget allows, and finishes it. */
    const work = (full: Parts.Full, retried = options.retryErrors === true): Effect.Effect<void, JobError> => {
      const { part } = full
      const bound = BatchBudget.bound(lookup, part.model, full.rows)
      return Effect.uninterruptibleMask((restore) =>
        Effect.matchEffect(budget.reserve(part.model, bound), {
          onFailure: (error) =>
            error.reason === "unknown-price"
              ? Effect.sync(() => leaveOut(full, error))
              : restore(stop(
                error.reason === "ledger-unwritable" ? { _tag: "Refused", error } : { _tag: "MaxCost", error }
              )),
          onSuccess: (reserve) => Effect.ensuring(restore(send(full, retried, bound, reserve)), leave(part, reserve))
        })
      )
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

    const name = (model: string, from: number) =>
      `job-${Hash.hex32(Hash.text32(`${journal.path}:${model}:${from}:${now()}:${serial++}`))}.jsonl`

    /** Ids of rows that are in a part of an earlier run and have to be answered. */
    const awaited = new Set<string>()

    /** Decides about a row that a part is known to hold: its answer is paid, whatever the journal holds of its id. */
    const awaiting = { retryErrors: true, changed: "resend" } as const

    /**
     * Decides about a row of a part: by what the part was made of, its rows were sent as they stand. A part that lost
     * what its rows ask for, in a damaged journal, tells nothing of a row that has changed.
     */
    const judge = (row: Row.Row, { asks, retried }: Parts.Part) =>
      Admission.judge(row, journal, {
        retryErrors: options.retryErrors === true || retried === true,
        changed: asks === undefined ? options.changed : awaiting.changed
      })

    /**
     * Takes up a part of an earlier run. A row that failed before and was sent again then is waited for, too: its answer is
     * paid. A part stays open while the input's selection leaves out rows of it.
     */
    const reopen = ({ lacking, part, rows, settled }: BatchRows.Reopened): UnderWay => {
      for (const { id } of rows) awaited.add(id)
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

    const gatherer = Parts.gatherer(0, name, options.limits)

    const admit = (line: Row.Row | Row.Bad): Effect.Effect<Parts.Full | undefined, JobError> => {
      const waits = line._tag === "Row" && awaited.has(line.id)
      const decision = Admission.admit(line, journal, report, waits ? awaiting : options)
      switch (decision._tag) {
        case "Bad":
          return Effect.as(settle.bad(decision.line), undefined)
        case "Refused":
          return Admission.refuse(decision, journal)
        case "Done":
          return Effect.undefined
        case "Send":
          return waits ? Effect.undefined : gather(gatherer, decision.row)
      }
    }

    // one that may have to be created can end the job: whatever `parallel`, the others are looked at first
    const doubt = ({ part }: UnderWay) => part.batchId === undefined ? 1 : 0
    const found = yield* BatchRows.find(batches.open, context.rows, judge)
    const open = found.map(reopen).toSorted((a, b) => doubt(a) - doubt(b))
    const fresh = Stream.concat(
      Stream.filter(Stream.mapEffect(context.rows, admit), (full) => full !== undefined),
      Stream.suspend(() => Stream.fromIterable(gatherer.rest()))
    )
    const all = Effect.all([
      Effect.forEach(open, (each) => places.withPermit(finish(each)), { concurrency: "unbounded", discard: true }),
      Stream.runDrain(Stream.mapEffect(fresh, (full) => places.withPermit(work(full)), { concurrency: parallel }))
    ], { concurrency: 2 })
    const reason = Effect.raceAllFirst([
      Deferred.await(stopped),
      context.stop,
      options.maxTime === undefined ? Effect.never : Effect.as(Effect.sleep(options.maxTime), Stop.maxTime)
    ])
    const ended = yield* Effect.raceAllFirst([
      Effect.as(all, undefined),
      Effect.map(reason, (stop): Stop.Stop | undefined => stop),
      journal.lost
    ])
    yield* journal.flush
    Job.warnOfAbandoned(report, unpriced)
    const why = ended ?? (unpriced.size > 0 ? Stop.abandoned : undefined)
    const running = batches.running()
    if (running === undefined || options.target !== Journal.emulator) {
      return { stop: why, running, abandoned: unpriced }
    }
    const [what, whose] = running.batches === 1 ? ["a batch", "its"] : [`${running.batches} batches`, "their"]
    Report.warn(report, `${what} ended with the emulator: the same job run again batches ${whose} rows again`)
    return { stop: why, abandoned: unpriced }
  }
)
