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
 * The journal is that of a job by calls, so a job may be begun one way and finished the other. Each part is noted
 * before and after its creation; a run that was killed in between looks for the batch by the name of its file and
 * adopts it, so no part is batched and billed twice. Stopping leaves the batches running at Together; the next run
 * waits for them.
 *
 * **Source**: Together's Batch API guide and reference: creation accepts bad files and fails later, a completed batch
 * may have an error file too, the order of rows is arbitrary, only answered rows are billed.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Usage from "../domain/Usage.ts"
import * as Price from "../policy/Price.ts"
import * as Batches from "../together/Batches.ts"
import * as PriceTable from "../together/PriceTable.ts"
import * as Routes from "../together/Routes.ts"
import * as Together from "../together/Together.ts"
import * as Admission from "./Admission.ts"
import * as Output from "./BatchOutput.ts"
import * as Parts from "./BatchParts.ts"
import * as JobFiles from "./JobFiles.ts"
import * as Hash from "./Hash.ts"
import type * as Job from "./Job.ts"
import type { JobError } from "./JobError.ts"
import * as Row from "./Row.ts"
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

const failure = (row: Row.Row, message: string, status?: number): TogetherError.TogetherError =>
  new TogetherError.InvalidRequestError({ message, model: row.model, operation: "batch", status, attempts: 1 })

/** Runs a job from file to file through batches. */
export const run = (
  options: Options
): Effect.Effect<JobFiles.Result, JobError, Together.Together | FileSystem.FileSystem> =>
  JobFiles.around(options, (context) => drive(context, options))

const drive = (
  context: JobFiles.Context,
  options: Options
): Effect.Effect<Job.Ending, JobError, Together.Together | FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const client = yield* Together.Together
    const { emit, journal, report } = context
    const now = yield* SteadyClock.make
    const lookup = options.price ?? PriceTable.shippedLookup
    const rounds = options.rounds ?? defaults.rounds
    const settler = Settled.settler(journal, report, now)
    const stopped = yield* Deferred.make<Stop.Stop>()
    let reserved = 0n
    let serial = 0

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
        return { _tag: "Failed", error: failure(row, said.message, said.status), code: said.code }
      }
      const usage = Output.isObject(said.body) ? Usage.fromWire(said.body["usage"]) : undefined
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

    const settle = Effect.fnUntraced(function*(row: Row.Row, said: Output.Said) {
      const { settled } = yield* settler.row(row, Admission.hashOf(row), outcomeOf(row, said), 0)
      yield* emit([settled])
      if (settled.kind === "failed" && options.failFast === true) return yield* stop(Stop.failedRow)
    })

    const settleBad = (line: Row.Bad) =>
      Effect.flatMap(settler.bad(line), (settled) => settled.resumed ? Effect.void : emit([settled]))

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

    const poll = Effect.fnUntraced(function*(batchId: string) {
      while (true) {
        const job = yield* Effect.catch(client.batches.get(batchId), refuse)
        if (Batches.isTerminal(job.status)) return job
        yield* Effect.sleep(options.poll ?? defaults.poll)
      }
    })

    /** Finds the batch that an earlier try may have created for an uploaded file. */
    const adopt = Effect.fnUntraced(function*(part: Parts.Part) {
      const files = yield* Effect.catch(client.files.list, refuse)
      const file = files.find((each) => each.filename === part.name)
      if (file === undefined) return { fileId: undefined, batchId: undefined }
      const batches = yield* Effect.catch(client.batches.list, refuse)
      const batch = batches.find((each) => each.input_file_id === file.id)
      return { fileId: file.id, batchId: batch?.id ?? undefined }
    })

    /** Creates the batch of a part, in no case twice: after an ambiguous failure it looks before it tries again. */
    const create = Effect.fnUntraced(function*(part: Parts.Part, fileId: string) {
      for (let attempt = 1;; attempt++) {
        const made = yield* Effect.result(
          client.batches.create({
            input_file_id: fileId,
            endpoint: Routes.chat.path.replace(/^(\/v1)?/, "/v1"),
            completion_window: "24h"
          })
        )
        if (Result.isSuccess(made)) {
          const id = made.success.job?.id
          if (typeof id === "string") return id
        } else if (!TogetherError.isRetryable(made.failure) || attempt >= 5) {
          return yield* refuse(made.failure)
        }
        yield* Effect.sleep(Math.min(30_000, 1000 * 2 ** attempt))
        const { batchId } = yield* adopt({ ...part, fileId })
        if (batchId !== undefined) return batchId
      }
    })

    const submit = Effect.fnUntraced(function*({ asks, part, text }: Parts.Full) {
      const noted = (more: Partial<Parts.Part>) =>
        Effect.as(journal.note("batch", { ...part, ...more }), { ...part, ...more })
      yield* journal.note("batch", { ...part, asks })
      const file = yield* Effect.catch(
        client.files.upload({ content: text, name: part.name, purpose: "batch-api" }),
        refuse
      )
      yield* noted({ fileId: file.id })
      return yield* noted({ fileId: file.id, batchId: yield* create(part, file.id) })
    })

    /** Waits for the batch of a part and reads what it said; nothing where there is no such batch. */
    const outcome = Effect.fnUntraced(function*(part: Parts.Part) {
      let { batchId } = part
      if (batchId === undefined) {
        const found = yield* adopt(part)
        batchId = found.batchId ?? (found.fileId === undefined ? undefined : yield* create(part, found.fileId))
      }
      const job = batchId === undefined ? undefined : yield* poll(batchId)
      const said = job === undefined ? new Map<string, Output.Said>() : yield* collect(job)
      const hopeless: Output.Said | undefined = job?.status === "FAILED" && said.size === 0
        ? { _tag: "Refused", code: "batch_failed", message: job.error ?? "the batch failed", status: undefined }
        : undefined
      return { said, hopeless }
    })

    /** Settles the rows that `wordOf` knows the last word on, and hands back the others that are `wanted`. */
    const settleAll = Effect.fnUntraced(function*(
      wanted: (row: Row.Row) => boolean,
      wordOf: (row: Row.Row) => Output.Said | undefined,
      last: boolean,
      upTo = Infinity
    ) {
      const again: Array<Row.Row> = []
      yield* context.rows.pipe(
        Stream.takeWhile((row) => row.line <= upTo),
        Stream.filter((row): row is Row.Row => row._tag === "Row" && wanted(row)),
        Stream.mapEffect((row) => {
          const word = wordOf(row)
          if ((word === undefined || (word._tag === "Refused" && Output.transient(word))) && !last) {
            again.push(row)
            return Effect.void
          }
          return settle(row, word ?? notAnswered)
        }, { concurrency: 64 }),
        Stream.runDrain
      )
      return again
    })

    const notAnswered: Output.Said = {
      _tag: "Refused",
      code: "not_answered",
      message: `no batch answered this row in ${rounds} rounds. Send it again with retryErrors, or by calls`,
      status: undefined
    }

    /** Finishes a part that this run made: its rows are known by their lines. */
    const finish = Effect.fnUntraced(function*(part: Parts.Part, lines: ReadonlySet<number>) {
      const { hopeless, said } = yield* outcome(part)
      const again = yield* settleAll(
        (row) => Parts.has(part, row) && lines.has(row.line),
        (row) => said.get(row.id) ?? hopeless,
        part.round + 1 >= rounds,
        part.to
      )
      report.inFlight = Math.max(0, report.inFlight - part.rows)
      yield* journal.note("batch-done", { name: part.name })
      return again
    })

    /**
     * Finishes the parts of earlier runs. Their ranges may overlap, so a row that one of them does not know may be
     * another one's: what is left is batched again only when all of them have spoken.
     */
    const finishOpen = Effect.fnUntraced(function*(open: ReadonlyArray<Parts.Part>, awaited: ReadonlySet<number>) {
      if (open.length === 0) return
      for (const part of open) report.inFlight += part.rows
      const settled = new Set<number>()
      const isOpen = (row: Row.Row) => awaited.has(row.line) && !settled.has(row.line)
      yield* Effect.forEach(open, (part) =>
        Effect.gen(function*() {
          const { said } = yield* outcome(part)
          const asked = Parts.asked(part)
          const final = (row: Row.Row): Output.Said | undefined => {
            const word = said.get(row.id)
            return word === undefined || (word._tag === "Refused" && Output.transient(word)) || !asked(row)
              ? undefined
              : word
          }
          yield* settleAll(
            (row) => {
              const mine = isOpen(row) && final(row) !== undefined
              if (mine) settled.add(row.line)
              return mine
            },
            final,
            false
          )
          report.inFlight = Math.max(0, report.inFlight - part.rows)
        }), { concurrency: options.parallel ?? defaults.parallel, discard: true })
      const left = yield* settleAll(isOpen, () => undefined, false)
      for (const part of open) yield* journal.note("batch-done", { name: part.name })
      yield* more(left, 1)
    })

    /** Lines whose rows have to be answered and may be in a part of an earlier run. */
    const awaitedBy = Effect.fnUntraced(function*(open: ReadonlyArray<Parts.Part>) {
      const lines = new Set<number>()
      if (open.length === 0) return lines
      const ids = new Set<string>()
      yield* Stream.runForEach(context.rows, (row) =>
        Effect.sync(() => {
          if (row._tag === "Bad" || ids.has(row.id) || !open.some((part) => Parts.has(part, row))) return
          ids.add(row.id)
          if (Admission.judge(row, journal, options)._tag === "Send" && Parts.refusal(row) === undefined) {
            lines.add(row.line)
          }
        }))
      return lines
    })

    const name = (model: string, from: number) =>
      `job-${Hash.hex32(Hash.text32(`${journal.path}:${model}:${from}:${now()}:${serial++}`))}.jsonl`

    const affordable = (full: Parts.Full): Effect.Effect<void> => {
      if (options.maxCost === undefined) return Effect.void
      const price = lookup(full.part.model)
      let high = 0n
      for (const text of full.text.split("\n")) {
        if (text === "") continue
        // the lines were written by `Parts.line`, whose body is a checked chat request
        const { body } = JSON.parse(text) as { readonly body: Parameters<typeof Routes.chatEstimate>[0] }
        const estimate = Price.ofCall(price, full.part.model, Routes.chatEstimate(body), { batch: true })
        if (estimate._tag === "Unknown") {
          return refuseCost(full.part, high, `the price of ${full.part.model} is unknown: ${estimate.reason}`)
        }
        high += estimate.high
      }
      if (report.resumedNanoUsd + report.nanoUsd + reserved + high > options.maxCost) {
        return refuseCost(
          full.part,
          high,
          "the next batch may cost more than is left. Raise --max-cost, or lower max_tokens"
        )
      }
      reserved += high
      return Effect.void
    }

    const refuseCost = (part: Parts.Part, needed: bigint, message: string) =>
      stop({
        _tag: "MaxCost",
        error: new TogetherError.BudgetExceededError({
          message,
          model: part.model,
          budget: "job",
          limitNanoUsd: options.maxCost ?? 0n,
          neededNanoUsd: needed,
          remainingNanoUsd: (options.maxCost ?? 0n) - report.resumedNanoUsd - report.nanoUsd - reserved
        })
      })

    /** Batches rows in rounds until none is left to batch. */
    const work: (full: Parts.Full) => Effect.Effect<void, JobError, FileSystem.FileSystem> = Effect.fnUntraced(
      function*(full) {
        yield* affordable(full)
        report.inFlight += full.part.rows
        const part = yield* submit(full)
        yield* more(yield* finish(part, full.lines), part.round + 1)
      }
    )

    const more = (
      rows: ReadonlyArray<Row.Row>,
      round: number
    ): Effect.Effect<void, JobError, FileSystem.FileSystem> => {
      const gatherer = Parts.gatherer(round, name, options.limits)
      const parts = rows.flatMap((row) => gatherer.add(row) ?? [])
      return Effect.forEach([...parts, ...gatherer.rest()], work, { discard: true })
    }

    const nothing = Effect.void as Effect.Effect<undefined> // void's only value is undefined
    const open = openParts(journal.notes)
    const awaited = yield* awaitedBy(open)
    const gatherer = Parts.gatherer(0, name, options.limits)

    const admit = (line: Row.Row | Row.Bad): Effect.Effect<Parts.Full | undefined, JobError> => {
      const decision = Admission.admit(line, journal, report, options)
      switch (decision._tag) {
        case "Bad":
          return Effect.as(settleBad(decision.line), undefined)
        case "Refused":
          return Effect.fail(decision.error)
        case "Done":
          return nothing
        case "Send": {
          const { row } = decision
          const refusal = Parts.refusal(row)
          if (refusal === undefined) return awaited.has(row.line) ? nothing : Effect.succeed(gatherer.add(row))
          const bad = Row.bad(row.line, "batch", `line ${row.line}: ${refusal}`, row.id, row.id)
          return Effect.as(settleBad(bad), undefined)
        }
      }
    }

    const fresh = Stream.concat(
      Stream.filter(Stream.mapEffect(context.rows, admit), (full) => full !== undefined),
      Stream.suspend(() => Stream.fromIterable(gatherer.rest()))
    )
    const parallel = { concurrency: options.parallel ?? defaults.parallel }
    const all = Effect.all([Stream.runDrain(Stream.mapEffect(fresh, work, parallel)), finishOpen(open, awaited)], {
      concurrency: 2
    })
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

/** Finds the parts that were begun and not finished. */
export const openParts = (
  notes: ReadonlyArray<{ readonly name: string; readonly value: unknown }>
): ReadonlyArray<Parts.Part> => {
  const open = new Map<string, Parts.Part>()
  for (const { name, value } of notes) {
    if (name === "batch") {
      const part = Option.getOrUndefined(Parts.decode(value))
      if (part !== undefined) open.set(part.name, { ...open.get(part.name), ...part })
    } else if (name === "batch-done" && Output.isObject(value) && typeof value["name"] === "string") {
      open.delete(value["name"])
    }
  }
  return Array.from(open.values())
}
