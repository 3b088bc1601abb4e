/**
 * Brings one part of a job through its batch: noted, stored, created, awaited, read. What is known of a part is noted in
 * the journal before anything depends on it, so a run that was killed anywhere is taken up by the next one.
 *
 * ```text
 * submit:  note ─▶ upload ─▶ note the file ─▶ create ─▶ note the batch
 * outcome: the batch that is noted, or one that is found, or a new one ─▶ poll ─▶ collect
 * ```
 *
 * A file that cannot be stored, or a batch that cannot be created, ends the job, but first every batch that is awaited is
 * looked at once more: what has ended is collected, however often the same creation fails, run after run.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Enumeration from "../../domain/Enumeration.ts"
import * as TogetherError from "../../domain/TogetherError.ts"
import type * as Output from "./BatchOutput.ts"
import * as Parts from "./BatchParts.ts"
import type * as BatchProvider from "./BatchProvider.ts"
import type * as Job from "../Job.ts"
import type { JournalError } from "../JobError.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Report from "../Report.ts"
import type * as Stop from "../Stop.ts"

/** What the batch of a part said. */
export interface Outcome {
  readonly said: ReadonlyMap<string, Output.Said>
  /** What is said of every row, where the whole batch failed. */
  readonly hopeless: Output.Said | undefined
  /** Whether Together no longer knows the batch, or a file of its answers, so that its cost is not known. */
  readonly gone: boolean
}

/** Brings parts through their batches. */
export interface BatchRun {
  /** Holds the parts that earlier runs began and did not finish. */
  readonly open: ReadonlyArray<Parts.Part>
  /** Stores a part and creates its batch; hands back the part with what is known then. */
  readonly submit: (full: Parts.Full) => Effect.Effect<Parts.Part, JournalError>
  /**
   * Waits for the batch of a part and reads what it said; nothing where there is no such batch. The rows are waited for
   * until `settled` tells of them.
   */
  readonly outcome: (part: Parts.Part) => Effect.Effect<Outcome | undefined, JournalError>
  /** Tells that what the batch of a part said is settled. */
  readonly settled: (part: Parts.Part) => Effect.Effect<void>
  /** Notes that a part is over: rows of it that are not settled are open again. */
  readonly over: (part: Parts.Part) => Effect.Effect<void, JournalError>
  /** Tells whether the batch of a part goes on, or may, at this instant. */
  readonly goesOn: (part: Parts.Part) => boolean
  /** Takes rows off a part that its batch need not answer any more, and nano-dollars that it cannot cost any more. */
  readonly less: (part: Parts.Part, rows: number, nanoUsd: bigint) => void
  /** Sums up the batches that go on, or may, at this instant. */
  readonly running: () => Job.Running | undefined
}

/** Says what a run of batches works with. */
export interface Options {
  readonly journal: Journal.Journal
  readonly report: Report.Report
  readonly provider: BatchProvider.BatchProvider
  /** Time between two looks at a batch. */
  readonly poll: Duration.Duration
  /** Ends the job. */
  readonly stop: (why: Stop.Stop) => Effect.Effect<never>
}

/** Longest time for which the job waits, at its end, for the last look at its batches. */
const lastLook = Duration.minutes(1)

/** Errors by which the provider, or the ledger that cannot be written, refuses all of a job. */
const refused: ReadonlySet<TogetherError.TogetherError["_tag"]> = new Set([
  "AuthError",
  "InsufficientCreditsError",
  "PermissionDeniedError",
  "BudgetExceededError"
])

/** Names the end of a job by an error of the provider that concerns all of it. */
const refusal = (error: TogetherError.TogetherError): Stop.Stop =>
  refused.has(error._tag) ? { _tag: "Refused", error } : { _tag: "Unreachable", error }

/** What is taken off a part: rows that are settled, or not of this input, and what is paid of its bound. */
interface Less {
  readonly rows: number
  readonly nanoUsd: bigint
}

const nothingLess: Less = { rows: 0, nanoUsd: 0n }

/** Sums up the batches that go on, or may: all that are not known to be missing. */
const runningOf = (parts: Iterable<Parts.Part>, less: ReadonlyMap<string, Less>): Job.Running | undefined => {
  const running = Array.from(parts).filter((part) => Parts.mayExist(part) && part.missing !== true)
  if (running.length === 0) return undefined
  let [rows, doubtful] = [0, 0]
  let nanoUsd: bigint | undefined = 0n
  for (const part of running) {
    const off = less.get(part.name) ?? nothingLess
    const bound = Parts.boundOf(part, off.nanoUsd)
    rows += part.rows - off.rows
    if (part.batchId === undefined) doubtful++
    nanoUsd = nanoUsd === undefined || bound === undefined ? undefined : nanoUsd + bound
  }
  return { batches: running.length, doubtful, rows, nanoUsd }
}

/** Makes what brings parts through their batches. */
export const make = ({ journal, poll, provider, report, stop }: Options): BatchRun => {
  // one creation at a time: if all are refused, the stop leaves no other one in doubt
  const creation = Semaphore.makeUnsafe(1)
  const open = Parts.open(journal.notes)
  /** Parts that the journal knows to be open. */
  const openParts = new Map(open.map((part) => [part.name, part]))
  const lessOf = new Map<string, Less>()
  /**
   * Holds the names of the open parts of earlier runs, if one of those runs reported missing answers: the user has read
   * it.
   */
  const told = new Set(open.some((part) => part.missing === true) ? open.map(({ name }) => name) : [])

  /** Parts whose batch is awaited, or read: each is told when it was looked at since the job ends, or is settled. */
  const awaited = new Map<string, Deferred.Deferred<void>>()
  const ends = Deferred.makeUnsafe<void>()

  const refuse = (error: TogetherError.TogetherError) => stop(refusal(error))

  const settled = ({ name }: Parts.Part) =>
    Effect.sync(() => {
      const looked = awaited.get(name)
      awaited.delete(name)
      if (looked !== undefined) Deferred.doneUnsafe(looked, Effect.void)
    })

  /** Ends the job where a batch cannot be made, when what the others have said is collected. */
  const end = (error: TogetherError.TogetherError) =>
    Effect.suspend(() => {
      Deferred.doneUnsafe(ends, Effect.void)
      return Effect.forEach(Array.from(awaited.values()), Deferred.await, { concurrency: "unbounded", discard: true })
    }).pipe(Effect.timeoutOption(lastLook), Effect.andThen(refuse(error)))

  /** Waits from one look at a batch to the next. When the job ends there is one more look, which is reported. */
  const pause = (looked: Deferred.Deferred<void>) =>
    Effect.suspend(() =>
      Deferred.isDoneUnsafe(ends)
        ? Effect.andThen(Deferred.succeed(looked, undefined), Effect.sleep(poll))
        : Effect.asVoid(Effect.timeoutOption(Deferred.await(ends), poll))
    )

  /** Notes that a part is over: rows of it that are not settled are open again. */
  const over = (part: Parts.Part) =>
    Effect.andThen(
      journal.note("batch-done", { name: part.name }),
      Effect.sync(() => void openParts.delete(part.name))
    )

  /** Ends the job by a refusal that leaves no batch of a part behind. */
  const giveUp = (part: Parts.Part, error: TogetherError.TogetherError) => Effect.andThen(over(part), end(error))

  const create = (part: Parts.Part, fileId: string) =>
    Effect.catch(
      provider.create(part, fileId),
      ({ denied, error }) => denied ? giveUp(part, error) : end(error)
    )

  /** Notes what became of a part. What its rows ask for is long, and is noted once, when the part is begun. */
  const note = (part: Parts.Part) => {
    const { asks: _, ...known } = part
    openParts.set(part.name, known)
    return Effect.as(journal.note("batch", known), known)
  }

  const submit = Effect.fnUntraced(function*(full: Parts.Full) {
    const { part } = full
    yield* journal.note("batch", part)
    const fileId = yield* Effect.catch(provider.upload(full), (error) => giveUp(part, error))
    return yield* creation.withPermit(Effect.gen(function*() {
      const stored = yield* note({ ...part, fileId })
      return yield* note({ ...stored, batchId: yield* create(part, fileId) })
    }))
  })

  /** Finds the batch of a part of an earlier run, or creates it where it was asked for and is not there. */
  const batchOf = Effect.fnUntraced(function*(part: Parts.Part) {
    const found = yield* Effect.catch(provider.adopt(part), refuse)
    const batchId = found.batchId ??
      (part.fileId === undefined || found.fileId === undefined ? undefined : yield* create(part, found.fileId))
    if (batchId !== undefined) yield* note({ ...part, batchId })
    return batchId
  })

  /**
   * Stops the first run that finds answers missing: they were billed, and may reappear, or belong to another account.
   */
  const miss = Effect.fnUntraced(function*(part: Parts.Part, batchId: string, lost: string, remedy: string) {
    const what = `Together knows no ${lost}, which was begun for ${Enumeration.counted(part.rows, "row")}`
    if (told.has(part.name)) return Report.warn(report, `${what}; those without an answer are batched again`)
    yield* note({ ...part, batchId, missing: true })
    return yield* stop({
      _tag: "Refused",
      error: new TogetherError.NotFoundError({
        message: `${what}. ${remedy} run the job again: rows without an answer are batched again then.`,
        model: part.model,
        operation: "batches.get"
      })
    })
  })

  /** Waits for the batch of a part and reads what it said; nothing where there is no such batch. */
  const outcome = Effect.fnUntraced(function*(part: Parts.Part): Effect.fn.Return<Outcome | undefined, JournalError> {
    const batchId = part.batchId ?? (yield* creation.withPermit(batchOf(part)))
    if (batchId === undefined) return undefined
    const looked = Deferred.makeUnsafe<void>()
    awaited.set(part.name, looked)
    const job = yield* Effect.catch(provider.poll(batchId, pause(looked)), refuse)
    if (job === undefined) {
      const remedy = "Was it begun with the key of another account, use that key. Where it is gone for good,"
      yield* miss(part, batchId, `batch ${batchId}`, remedy)
      return { said: new Map(), hopeless: undefined, gone: true }
    }
    const { lost, said } = yield* Effect.catch(provider.collect(job), refuse)
    if (lost !== undefined && said.size < part.rows) {
      yield* miss(part, batchId, lost, "Those answers may be billed. Look for them on Together's page, or")
      return { said, hopeless: undefined, gone: true }
    }
    const hopeless: Output.Said | undefined = job.status === "FAILED" && said.size === 0
      ? { _tag: "Refused", code: "batch_failed", message: job.error ?? "the batch failed", status: undefined }
      : undefined
    return { said, hopeless, gone: false }
  })

  const less = ({ name }: Parts.Part, rows: number, nanoUsd: bigint) => {
    const before = lessOf.get(name) ?? nothingLess
    lessOf.set(name, { rows: before.rows + rows, nanoUsd: before.nanoUsd + nanoUsd })
  }

  const goesOn = ({ name }: Parts.Part) => {
    const part = openParts.get(name)
    return part !== undefined && Parts.mayExist(part)
  }

  return { open, submit, outcome, settled, over, less, goesOn, running: () => runningOf(openParts.values(), lessOf) }
}
