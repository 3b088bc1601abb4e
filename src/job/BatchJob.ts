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
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Price from "../policy/Price.ts"
import * as Batches from "../together/Batches.ts"
import * as PriceTable from "../together/PriceTable.ts"
import * as Routes from "../together/Routes.ts"
import * as Together from "../together/Together.ts"
import * as Admission from "./Admission.ts"
import * as BatchBudget from "./BatchBudget.ts"
import * as Output from "./BatchOutput.ts"
import * as Parts from "./BatchParts.ts"
import * as JobFiles from "./JobFiles.ts"
import * as Hash from "./Hash.ts"
import type * as Job from "./Job.ts"
import type { JobError } from "./JobError.ts"
import * as Report from "./Report.ts"
import * as Row from "./Row.ts"
import * as RowTokens from "./RowTokens.ts"
import * as Settled from "./Settled.ts"
import * as SteadyClock from "./SteadyClock.ts"
import * as Stop from "./Stop.ts"

/** Configures a job through batches. */
export interface Options extends Omit<JobFiles.Options<never>, "send"> {
  /** What models cost. Default: the shipped table. */
  readonly price?: Price.Lookup | undefined
  /** Nano-dollars that the job may cost, earlier runs included. Default: any. */
  readonly maxCost?: bigint | undefined
  /** Time between two looks at a batch. Default: 30 seconds. */
  readonly poll?: Duration.Input | undefined
  /** How often rows are batched that a batch left unanswered. Default: 3. */
  readonly rounds?: number | undefined
  /** Limits of one part. Default: see BatchParts.ts. */
  readonly limits?: { readonly maxRows: number; readonly maxBytes: number } | undefined
  /** Batches that run at a time. Default: 20. */
  readonly parallel?: number | undefined
}

/** Holds the defaults of this module. */
export const defaults = { poll: Duration.seconds(30), rounds: 3, parallel: 20 } as const

/** How often the upload of a file, and the creation of a batch, is tried. */
const tries = 5
/** Waits between two tries of an upload. */
const pauses = Schedule.exponential("2 seconds")
/** Rows that are settled at a time. */
const group = 256

/**
 * Tells whether an answer to a creation says for sure that no batch came of it: not where a timeout or a conflict may be
 * the word on a request that was taken before.
 */
const denied = ({ _tag, status }: TogetherError.TogetherError): boolean =>
  status !== undefined && status >= 400 && status < 500 && _tag !== "RequestTimeoutError" && _tag !== "ConflictError"

/** Runs a job from file to file through batches. */
export const run = (
  options: Options
): Effect.Effect<JobFiles.Result, JobError, Together.Together | FileSystem.FileSystem> => {
  const [parallel, rounds] = [checked(options, "parallel"), checked(options, "rounds")]
  // a row that failed before may be answered by a batch that an earlier run sent it again in
  return JobFiles.around(
    { ...options, retryErrors: true },
    (context) => drive(context, { ...options, parallel, rounds })
  )
}

/** Is a part under way: its rows that have to be answered, and what it holds of the budget. */
interface UnderWay {
  readonly part: Parts.Part
  readonly rows: ReadonlyArray<Row.Row>
  readonly reserve: BatchBudget.Reserve
  /** Whether the input, as it is read now, lacks rows that the part was made of: they cost, and nobody counts it. */
  readonly lacking: boolean
}

const checked = (options: Options, name: "parallel" | "rounds"): number => {
  const value = options[name] ?? defaults[name]
  if (Number.isInteger(value) && value >= 1) return value
  throw new RangeError(`BatchJob.run: ${name} must be an integer of 1 or more, got ${value}`)
}

const drive = (
  context: JobFiles.Context,
  options: Options & { readonly parallel: number; readonly rounds: number }
): Effect.Effect<Job.Ending, JobError, Together.Together | FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const client = yield* Together.Together
    const { journal, report } = context
    const { parallel, rounds } = options
    const now = yield* SteadyClock.make
    const lookup = options.price ?? PriceTable.shippedLookup
    const settler = Settled.settler(journal, report, now)
    const stopped = yield* Deferred.make<Stop.Stop>()
    const places = yield* Semaphore.make(parallel)
    // one creation at a time: where all are refused, the stop leaves none of the others in doubt
    const creation = yield* Semaphore.make(1)
    const budget = BatchBudget.make(options.maxCost, () => report.resumedNanoUsd + report.nanoUsd)
    let serial = 0
    const missedBefore = Parts.open(journal.notes).some((part) => part.missing === true)

    const stop = (why: Stop.Stop) => Effect.andThen(Deferred.succeed(stopped, why), Effect.never)

    /** Ends the job by an error of the provider that concerns all of it. */
    const refuse = (error: TogetherError.TogetherError): Effect.Effect<never> =>
      stop(
        error._tag === "AuthError" || error._tag === "InsufficientCreditsError" ||
          error._tag === "PermissionDeniedError"
          ? { _tag: "Refused", error }
          : { _tag: "Unreachable", error }
      )

    const outcomeOf = (row: Row.Row, said: Output.Said): Settled.Outcome => {
      if (said._tag === "Refused") {
        const code = said.status === undefined ? said.code : undefined
        return { _tag: "Failed", error: Output.errorOf(row, said, now()), code }
      }
      const usage = RowTokens.used(row, said.body)
      const cost = Price.ofUsage(lookup(row.model), row.model, usage, { batch: true })
      return {
        _tag: "Answered",
        reply: {
          status: said.status,
          body: said.body,
          usage,
          nanoUsd: cost._tag === "Known" ? cost.nanoUsd : undefined,
          attempts: 1
        }
      }
    }

    /** Settles rows in groups: one is written whole, whatever stops the job in between. */
    const settleAll = Effect.fnUntraced(function*(rows: ReadonlyArray<readonly [Row.Row, Output.Said]>) {
      const all: Array<Settled.Settled> = []
      for (let from = 0; from < rows.length; from += group) {
        const settled = yield* Effect.uninterruptible(
          Effect.forEach(
            rows.slice(from, from + group),
            ([row, said]) => settler.row(row, Admission.hashOf(row), outcomeOf(row, said), 0),
            { concurrency: "unbounded" }
          ).pipe(Effect.map((done) => done.map((each) => each.settled)), Effect.tap(context.emit))
        )
        if (options.failFast === true && settled.some((each) => each.kind === "failed")) {
          return yield* stop(Stop.failedRow)
        }
        all.push(...settled)
      }
      return all
    })

    /** Settles a bad line, and writes it whatever stops the job in between. */
    const settleBad = (line: Row.Bad) =>
      Effect.uninterruptible(
        Effect.flatMap(settler.bad(line), (settled) => settled.resumed ? Effect.void : context.emit([settled]))
      )

    /** Reads what is said about the rows of a finished batch. */
    const collect = Effect.fnUntraced(function*(job: Batches.BatchJob) {
      const said = new Map<string, Output.Said>()
      for (const file of [job.error_file_id, job.output_file_id]) {
        if (file === undefined || file === null || file === "") continue
        const text = yield* Effect.catch(client.files.content(file), refuse)
        for (const line of text.split("\n")) {
          const read = line === "" ? undefined : Output.readLine(line)
          if (read !== undefined) said.set(read[0], read[1])
        }
      }
      return said
    })

    /** Waits for a batch to end; nothing where there is no such batch. */
    const poll = Effect.fnUntraced(function*(batchId: string) {
      while (true) {
        const job = yield* client.batches.get(batchId).pipe(
          Effect.catchTag("NotFoundError", () => Effect.succeed(undefined)),
          Effect.catch(refuse)
        )
        if (job === undefined || Batches.isTerminal(job.status)) return job
        yield* Effect.sleep(options.poll ?? defaults.poll)
      }
    })

    /** Finds the batch that an earlier try may have created, also where its file was removed since. */
    const adopt = Effect.fnUntraced(function*(part: Parts.Part) {
      const files = yield* Effect.catch(client.files.list, refuse)
      const file = files.find((each) =>
        part.fileId === undefined ? each.filename === part.name : each.id === part.fileId
      )
      const fileId = part.fileId ?? file?.id
      if (fileId === undefined) return { fileId, batchId: undefined }
      const batches = yield* Effect.catch(client.batches.list, refuse)
      const batch = batches.find((each) => each.input_file_id === fileId)
      return { fileId: file?.id, batchId: batch?.id ?? undefined }
    })

    /** Notes that a part is over: rows of it that are not settled are open again. */
    const over = (part: Parts.Part) => journal.note("batch-done", { name: part.name })

    /** Ends the job by a refusal that leaves no batch of a part behind. */
    const giveUp = (part: Parts.Part, error: TogetherError.TogetherError) => Effect.andThen(over(part), refuse(error))

    /**
     * Creates the batch of a part, in no case twice: after an ambiguous failure it looks before it tries again, and after
     * a success without an id it only looks. A part whose batch was refused for sure is over.
     */
    const create = Effect.fnUntraced(function*(part: Parts.Part, fileId: string) {
      let created = false
      let doubtful = false
      for (let attempt = 1; attempt <= tries; attempt++) {
        if (!created) {
          const made = yield* Effect.result(
            client.batches.create({
              input_file_id: fileId,
              endpoint: Routes.chat.path.replace(/^(\/v1)?/, "/v1"),
              completion_window: "24h"
            })
          )
          if (Result.isFailure(made)) {
            doubtful ||= !denied(made.failure)
            if (!TogetherError.isRetryable(made.failure) || attempt === tries) {
              return yield* doubtful ? refuse(made.failure) : giveUp(part, made.failure)
            }
          } else {
            const id = made.success.job?.id
            if (typeof id === "string" && id !== "") return id
            created = true
          }
        }
        yield* Effect.sleep(Math.min(30_000, 1000 * 2 ** attempt))
        const { batchId } = yield* adopt({ ...part, fileId })
        if (batchId !== undefined) return batchId
      }
      const message = `Together created a batch for the file ${part.name}, told no id of it and does not list it. ` +
        "Run the job again to look for it."
      return yield* refuse(new TogetherError.DecodeError({ message, model: part.model, operation: "batches.create" }))
    })

    /** Notes what became of a part. What its rows ask for is long, and is noted once, when the part is begun. */
    const note = (part: Parts.Part) => {
      const { asks: _, ...known } = part
      return Effect.as(journal.note("batch", known), known)
    }

    const submit = Effect.fnUntraced(function*({ part, rows }: Parts.Full) {
      yield* journal.note("batch", part)
      // a file that was stored twice costs nothing
      const upload = client.files.upload({
        content: rows.map(Parts.line).join(""),
        name: part.name,
        purpose: "batch-api"
      })
      const file = yield* upload.pipe(
        Effect.retry({ schedule: pauses, times: tries - 1, while: TogetherError.isRetryable }),
        Effect.catch((error) => giveUp(part, error))
      )
      return yield* creation.withPermit(Effect.gen(function*() {
        const stored = yield* note({ ...part, fileId: file.id })
        return yield* note({ ...stored, batchId: yield* create(part, file.id) })
      }))
    })

    /** Finds the batch of a part of an earlier run, or creates it where it was asked for and is not there. */
    const batchOf = Effect.fnUntraced(function*(part: Parts.Part) {
      if (part.batchId !== undefined) return part.batchId
      const found = yield* adopt(part)
      const batchId = found.batchId ??
        (part.fileId === undefined || found.fileId === undefined ? undefined : yield* create(part, found.fileId))
      if (batchId !== undefined) yield* note({ ...part, batchId })
      return batchId
    })

    /** Stops the first run that finds a batch missing: it may have asked for another account. */
    const miss = Effect.fnUntraced(function*(part: Parts.Part, batchId: string) {
      const what = `Together knows no batch ${batchId}, which an earlier run began for ${part.rows} rows`
      if (missedBefore) return Report.warn(report, `${what}; those without an answer are batched again`)
      yield* note({ ...part, batchId, missing: true })
      return yield* stop({
        _tag: "Refused",
        error: new TogetherError.NotFoundError({
          message: `${what}. Was it begun with the key of another account, use that key. Where it is gone for good, ` +
            "run the job again: its rows are batched again then.",
          model: part.model,
          operation: "batches.get"
        })
      })
    })

    /** Waits for the batch of a part and reads what it said; nothing where there is no such batch. */
    const outcome = Effect.fnUntraced(function*(part: Parts.Part) {
      const batchId = yield* creation.withPermit(batchOf(part))
      if (batchId === undefined) return undefined
      const job = yield* poll(batchId)
      if (job === undefined) {
        yield* miss(part, batchId)
        return { said: new Map<string, Output.Said>(), hopeless: undefined, gone: true }
      }
      const said = yield* collect(job)
      const hopeless: Output.Said | undefined = job.status === "FAILED" && said.size === 0
        ? { _tag: "Refused", code: "batch_failed", message: job.error ?? "the batch failed", status: undefined }
        : undefined
      return { said, hopeless, gone: false }
    })

    /** Settles the rows of a part, and batches again those that it has no last word on. */
    const finish: (underWay: UnderWay) => Effect.Effect<void, JobError> = Effect.fnUntraced(
      function*({ lacking, part, reserve, rows }) {
        const found = yield* outcome(part)
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
        const settled = yield* settleAll(last)
        const costs = settled.flatMap((each) => each.kind === "ok" ? [each.reply?.nanoUsd] : [])
        const spent = costs.reduce<bigint>((sum, cost) => sum + (cost ?? 0n), 0n)
        const unknown = lacking || found?.gone === true || costs.includes(undefined)
        const uncertain = reserve.release(spent, found !== undefined && unknown)
        report.inFlight = Math.max(0, report.inFlight - part.rows)
        // rows that were not selected are for another run to collect
        if (!lacking || options.select === undefined) {
          if (uncertain > 0n) yield* journal.note("uncertain", Number(uncertain))
          yield* over(part)
        }
        const gatherer = Parts.gatherer(round, name, options.limits)
        const parts = again.flatMap((row) => gatherer.add(row) ?? [])
        yield* Effect.forEach(
          [...parts, ...gatherer.rest()],
          (full) => work(full, part.retried === true),
          { discard: true }
        )
      }
    )

    /** Creates the batch of a part, as soon as the budget allows, and finishes it. */
    const work = Effect.fnUntraced(function*({ part, rows }: Parts.Full, retried = options.retryErrors === true) {
      const bound = BatchBudget.bound(lookup, part.model, rows)
      const reserve = yield* Effect.catch(
        budget.reserve(part.model, bound),
        (error) => stop({ _tag: "MaxCost", error })
      )
      report.inFlight += part.rows
      const begun: Parts.Part = {
        ...part,
        ...(bound._tag === "Known" ? { nano: Number(bound.high) } : {}),
        ...(retried ? { retried } : {})
      }
      yield* finish({ part: yield* submit({ part: begun, rows }), rows, reserve, lacking: false })
    })

    const name = (model: string, from: number) =>
      `job-${Hash.hex32(Hash.text32(`${journal.path}:${model}:${from}:${now()}:${serial++}`))}.jsonl`

    /** Ids of rows that are in a part of an earlier run and have to be answered. */
    const awaited = new Set<string>()

    /**
     * Finds the rows of the parts of earlier runs. A row that failed before and was sent again then is waited for, too:
     * its answer is paid. A part stays open while the input's selection leaves out rows of it.
     */
    const reopen = Effect.fnUntraced(function*(open: ReadonlyArray<Parts.Part>) {
      if (open.length === 0) return []
      const ids = new Set<string>()
      // a row left unanswered by one part is in a later one, too
      const parts = open.map((part) => ({ part, has: Parts.has(part), rows: new Array<Row.Row>(), found: 0 })).reverse()
      yield* Stream.runForEachArray(context.rows, (lines) =>
        Effect.sync(() => {
          for (const row of lines) {
            if (row._tag === "Bad") continue
            const of = parts.filter((each) => each.has(row))
            const [latest] = of
            if (latest === undefined || ids.has(row.id)) continue
            ids.add(row.id)
            for (const each of of) each.found++
            const retryErrors = options.retryErrors === true || latest.part.retried === true
            if (Admission.judge(row, journal, { ...options, retryErrors })._tag !== "Send") continue
            awaited.add(row.id)
            latest.rows.push(row)
          }
        }))
      return parts.map(({ found, part, rows }): UnderWay => {
        const bound = part.nano === undefined
          ? BatchBudget.bound(lookup, part.model, rows)
          : Price.exactly(BigInt(Math.ceil(part.nano)))
        report.inFlight += part.rows
        return { part, rows, reserve: budget.hold(bound), lacking: found < part.rows }
      })
    })

    const nothing = Effect.void as Effect.Effect<undefined> // void's only value is undefined
    const gatherer = Parts.gatherer(0, name, options.limits)

    const admit = (line: Row.Row | Row.Bad): Effect.Effect<Parts.Full | undefined, JobError> => {
      const waits = line._tag === "Row" && awaited.has(line.id)
      const decision = Admission.admit(line, journal, report, waits ? { ...options, retryErrors: true } : options)
      switch (decision._tag) {
        case "Bad":
          return Effect.as(settleBad(decision.line), undefined)
        case "Refused":
          return Admission.refuse(decision, journal)
        case "Done":
          return nothing
        case "Send": {
          if (waits) return nothing
          const { row } = decision
          const refusal = Parts.refusal(row)
          if (refusal === undefined) return Effect.succeed(gatherer.add(row))
          const bad = Row.bad(row.line, "batch", `line ${row.line}: ${refusal}`, row.id, row.id)
          return Effect.as(settleBad(bad), undefined)
        }
      }
    }

    const open = yield* reopen(Parts.open(journal.notes))
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
      options.stop ?? Effect.never,
      options.maxTime === undefined ? Effect.never : Effect.as(Effect.sleep(options.maxTime), Stop.maxTime)
    ])
    const ended = yield* Effect.raceAllFirst([
      Effect.as(all, undefined),
      Effect.map(reason, (stop): Stop.Stop | undefined => stop),
      journal.lost
    ])
    yield* journal.flush
    return { stop: ended, abandoned: new Map() }
  })
