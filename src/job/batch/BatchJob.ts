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
import * as Credits from "../../guard/credits/Credits.ts"
import * as Millis from "../../guard/Millis.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import type * as Price from "../../policy/Price.ts"
import * as PriceTable from "../../together/PriceTable.ts"
import * as Together from "../../together/Together.ts"
import * as Admission from "../Admission.ts"
import * as BatchBudget from "./BatchBudget.ts"
import * as Parts from "./BatchParts.ts"
import * as BatchProvider from "./BatchProvider.ts"
import * as BatchRows from "./BatchRows.ts"
import * as BatchRun from "./BatchRun.ts"
import * as BatchSettle from "./BatchSettle.ts"
import * as BatchWork from "./BatchWork.ts"
import * as JobFiles from "../files/JobFiles.ts"
import * as Job from "../Job.ts"
import type { JobError } from "../JobError.ts"
import * as Journal from "../journal/Journal.ts"
import * as Report from "../Report.ts"
import type * as Row from "../Row.ts"
import * as Sender from "../Sender.ts"
import * as SteadyClock from "../SteadyClock.ts"
import * as Stop from "../Stop.ts"

/** Configures a job through batches. */
export interface Options extends Job.Common, JobFiles.FileOptions {
  /** What models cost. Default: the shipped table. */
  readonly price?: Price.Lookup | undefined
  /** Nano-dollars that the job may cost, earlier runs and what they may have cost included. Default: any. */
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

const drive = Effect.fnUntraced(
  function*(
    context: JobFiles.Context,
    options: Checked
  ): Effect.fn.Return<Job.Ending, JobError, Together.Together | FileSystem.FileSystem> {
    const { journal, report } = context
    const { parallel } = options
    const now = yield* SteadyClock.make
    const lookup = options.price ?? PriceTable.shippedLookup
    const stopped = yield* Deferred.make<Stop.Stop>()
    const places = yield* Semaphore.make(parallel)
    const credits = Option.getOrUndefined(yield* Effect.serviceOption(Credits.Credits))
    const uncertainBefore = BigInt(Math.round(journal.recovered.uncertainNanoUsd))
    const budget = BatchBudget.make(
      options.maxCost,
      () => report.resumedNanoUsd + uncertainBefore + report.nanoUsd,
      credits && ((estimate) => credits.reserve({ label: Sender.defaults.label, estimate }))
    )
    const stop = (why: Stop.Stop) => Effect.andThen(Deferred.succeed(stopped, why), Effect.never)

    const provider = BatchProvider.make(yield* Together.Together, credits)
    const batches = BatchRun.make({ journal, report, provider, poll: options.poll, stop })
    const settle = BatchSettle.make({ context, lookup, now, failFast: options.failFast === true, stop })
    const work = BatchWork.make({ context, options, lookup, now, budget, batches, settle, stop })

    /** Ids of rows that are in a part of an earlier run and have to be answered. */
    const awaited = new Set<string>()

    /**
     * Decides about a row that a part is known to hold: its answer is paid for, whatever the journal says about its id.
     */
    const awaiting = { retryErrors: true, changed: "resend" } as const

    /**
     * Decides about a row of a part: if the row still asks what the part notes, it was sent as it stands. If a damaged
     * journal lost what the rows of a part ask for, a changed row cannot be recognized.
     */
    const judge = (row: Row.Row, { asks, retried }: Parts.Part) =>
      Admission.judge(row, journal, {
        retryErrors: options.retryErrors === true || retried === true,
        changed: asks === undefined ? options.changed : awaiting.changed
      })

    const gatherer = work.gatherer(0)

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
          return waits ? Effect.undefined : work.gather(gatherer, decision.row)
      }
    }

    // a batch that may have to be created can end the job, so the others are looked at first, whatever `parallel` is
    const doubt = ({ part }: BatchWork.UnderWay) => part.batchId === undefined ? 1 : 0
    const found = yield* BatchRows.find(batches.open, context.rows, judge)
    for (const { rows } of found) {
      for (const { id } of rows) awaited.add(id)
    }
    const open = found.map(work.reopen).toSorted((a, b) => doubt(a) - doubt(b))
    const fresh = Stream.concat(
      Stream.filter(Stream.mapEffect(context.rows, admit), (full) => full !== undefined),
      Stream.suspend(() => Stream.fromIterable(gatherer.rest()))
    )
    const all = Effect.all([
      Effect.forEach(open, (each) => places.withPermit(work.finish(each)), { concurrency: "unbounded", discard: true }),
      Stream.runDrain(Stream.mapEffect(fresh, (full) => places.withPermit(work.run(full)), { concurrency: parallel }))
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
    const { unpriced } = work
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
