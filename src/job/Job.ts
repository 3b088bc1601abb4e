/**
 * Bulk runs: a stream of rows in, a stream of settled rows out, each one durable before it is handed on.
 *
 * ```text
 * rows ─▶ reader ─▶ todo ─▶ workers ─▶ journal ─▶ settled rows
 *           │ done before: skipped        │ append, fsync in groups
 *           │ bad, duplicate: ────────────▶
 * ```
 *
 * The reader walks the input once and sends no row that the journal knows. A fixed number of workers take rows from a
 * bounded queue, bring each to its verdict (Dispatch.ts), append it to the journal and hand it on. No fiber is made for
 * a row and nothing is kept of a settled row but its id's hash, so memory does not grow with the input's length.
 *
 * A job that stops or fails takes up no further row and gives those under way a grace; what is answered meanwhile is
 * durable and handed on. Once a row has its answer, no interruption comes between it and the journal.
 *
 * How many requests are really in flight is the lanes' affair: `concurrency` only bounds it. A row counts as in flight
 * until its answer is durable, so after a crash no more than `concurrency` rows are sent twice.
 *
 * {@link stream} is for programs; JobFiles.ts adds the reading and writing of files.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type * as TogetherError from "../domain/TogetherError.ts"
import * as Admission from "./Admission.ts"
import * as Dispatch from "./Dispatch.ts"
import { type JobError, type JournalError, platformCode } from "./JobError.ts"
import * as Journal from "./Journal.ts"
import type * as Patience from "./Patience.ts"
import * as Report from "./Report.ts"
import type * as ResponseCache from "./ResponseCache.ts"
import type * as Row from "./Row.ts"
import * as Settled from "./Settled.ts"
import * as Sorter from "./Sorter.ts"
import * as SteadyClock from "./SteadyClock.ts"
import * as Stop from "./Stop.ts"
import * as Twins from "./Twins.ts"

export type { Settled } from "./Settled.ts"

/** Configures a job. */
export interface Options<R> extends Admission.Options {
  /** Sends one row. */
  readonly send: Dispatch.Send<R>
  /** Where answers become durable. Default: nowhere; a later run begins anew. */
  readonly journal?: Journal.Journal | undefined
  /** Most rows under way at a time. Default: 256; the lanes let fewer through where the provider does. */
  readonly concurrency?: number | undefined
  /** Order of the settled rows: as they settle, or as they were read. Default: `completion`. */
  readonly order?: "completion" | "input" | undefined
  /** How far reading may run ahead of the oldest row under way, with order `input`. Default: 8 times `concurrency`. */
  readonly window?: number | undefined
  /** Whether identical requests are sent once. Default: false. */
  readonly dedupe?: boolean | undefined
  /** Answers of other jobs. Default: none. */
  readonly cache?: ResponseCache.ResponseCache | undefined
  /** What to do when the client's retries have run out. Default: Patience.ts. */
  readonly patience?: Partial<Patience.Options> | undefined
  /** How long rows under way are waited for when the job stops or fails. Default: 1 second. */
  readonly grace?: Duration.Input | undefined
  /** A reason to stop, given from outside. Default: never. */
  readonly stop?: Effect.Effect<Stop.Stop> | undefined
  /** Longest time the job may take. Default: any. */
  readonly maxTime?: Duration.Input | undefined
  /** Whether the first row that fails stops the job. Default: false. */
  readonly failFast?: boolean | undefined
  /** Where to count. Default: a report nobody reads. */
  readonly report?: Report.Report | undefined
}

/** Holds the defaults of this module. */
export const defaults = {
  concurrency: 256,
  order: "completion",
  changed: Admission.defaults.changed,
  grace: Duration.seconds(1),
  windowPerConcurrency: 8
} as const

/** Says how a job ended. */
export interface Ending {
  /** Why rows were left undone, absent where every row was settled. */
  readonly stop: Stop.Stop | undefined
  /** Models whose rows were not all sent, since the model refuses them alike or has no price that a budget can hold. */
  readonly abandoned: ReadonlyMap<string, { readonly error: TogetherError.TogetherError; readonly rows: number }>
}

interface Task {
  readonly row: Row.Row
  readonly hash: number
  readonly sequence: number
}

interface Placed {
  readonly sequence: number
  /** A settled row, the ordinal of one settled before, or nothing where the row stays undone. */
  readonly settled: Settled.Settled | number | undefined
}

const checked = (options: { readonly concurrency?: number | undefined }): number => {
  const concurrency = options.concurrency ?? defaults.concurrency
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new RangeError(`Job.stream: concurrency must be an integer of 1 or more, got ${concurrency}`)
  }
  return concurrency
}

const untilDone = <A, E, R>(
  self: Effect.Effect<A, E | Cause.Done, R>
): Effect.Effect<void, Exclude<E, Cause.Done>, R> =>
  Effect.catchIf(Effect.asVoid(self), Cause.isDone, () => Effect.void) as Effect.Effect<void, Exclude<E, Cause.Done>, R> // `isDone` takes `Done` out, which the signature of `catchIf` cannot say for a generic E

/**
 * Runs a job to its end and hands settled rows to `emit`, one batch at a time.
 *
 * **Details**: rows settled by an earlier run are handed out again with order `input` only; with order `completion`
 * the caller reads them from the journal.
 *
 * **Errors**: those of `rows`, of `emit`, and `JournalError`. A failure waits out the grace like a stop, so that what is
 * answered meanwhile is in the journal; not so a journal that is lost, for it takes nothing any more.
 */
export const drive = <E, R, R2, E3, R3>(
  rows: Stream.Stream<Row.Row | Row.Bad, E, R>,
  options: Options<R2>,
  emit: (settled: ReadonlyArray<Settled.Settled>) => Effect.Effect<void, E3, R3>
): Effect.Effect<Ending, E | E3 | JournalError, R | R2 | R3> => {
  const concurrency = checked(options)
  return Effect.gen(function*() {
    const clock = yield* Effect.clockWith(Effect.succeed)
    const now = SteadyClock.from(clock)
    const tick = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    const journal = options.journal ?? Journal.memory({ answers: options.dedupe === true })
    const report = options.report ?? Report.make(now())
    const dispatch = yield* Dispatch.make(options.send, options.patience)
    const inOrder = (options.order ?? defaults.order) === "input"
    const sorter = Sorter.make<Settled.Settled | number>(options.window ?? concurrency * defaults.windowPerConcurrency)
    const twins = options.dedupe === true ? Twins.make(journal.answerAt) : undefined
    const settler = Settled.settler(journal, report, now)
    const todo = yield* Queue.make<Task, Cause.Done>({ capacity: concurrency })
    const out = yield* Queue.make<Placed, Cause.Done>({ capacity: Math.max(1024, concurrency) })
    const broken = yield* Deferred.make<never, E | E3 | JournalError>()
    let sequence = 0

    /** Settles a bad line and hands it on: what is in the journal is not left behind by a stop. */
    const settleBad = (line: Row.Bad, place: number) =>
      Effect.uninterruptible(Effect.flatMap(settler.bad(line), (settled) =>
        // with order `completion` the caller reads what earlier runs have settled from the journal
        settled.resumed && !inOrder ? Effect.void : Effect.asVoid(Queue.offer(out, { sequence: place, settled }))))

    /** Decides about one line of the input. Rows done before need no effect. */
    const read = (line: Row.Row | Row.Bad): Effect.Effect<void, JournalError> | undefined => {
      const place = sequence++
      const decision = Admission.admit(line, journal, report, options)
      switch (decision._tag) {
        case "Bad":
          return settleBad(decision.line, place)
        case "Refused":
          return Admission.refuse(decision, journal)
        case "Send":
          return Effect.asVoid(Queue.offer(todo, { row: decision.row, hash: decision.hash, sequence: place }))
        case "Done":
          if (decision.ok && decision.same && twins !== undefined) {
            twins.know(Twins.canonical(decision.row), decision.ordinal)
          }
          return inOrder ? Effect.asVoid(Queue.offer(out, { sequence: place, settled: decision.ordinal })) : undefined
      }
    }

    const reader = Stream.runForEachArray(rows, (lines) =>
      Effect.gen(function*() {
        for (const line of lines) {
          if (inOrder) yield* sorter.enter
          const effect = read(line)
          if (effect !== undefined) yield* effect
        }
      }))

    const settleRow = Effect.fnUntraced(function*(task: Task, outcome: Settled.Outcome, started: number) {
      const { ordinal, settled } = yield* settler.row(task.row, task.hash, outcome, tick() - started)
      if (outcome._tag === "Failed" && options.failFast === true) yield* dispatch.stop(Stop.failedRow)
      yield* Queue.offer(out, { sequence: task.sequence, settled })
      return ordinal
    })

    const borrow = (task: Task, body: unknown, from: "cache" | "twin", started: number) =>
      Effect.uninterruptible(settleRow(
        task,
        { _tag: "Answered", reply: { status: 200, body, attempts: 0, nanoUsd: 0n }, from },
        started
      ))

    const keep = (cache: ResponseCache.ResponseCache, row: Row.Row, body: unknown) =>
      Effect.catch(cache.put(row, body), (error) =>
        Effect.sync(() => {
          const why = `answers could not be kept in the cache (${platformCode(error)})`
          Report.warn(report, `${why}: another job will send the same requests again`)
        }))

    const conclude = Effect.fnUntraced(function*(
      task: Task,
      key: string | undefined,
      started: number,
      verdict: Dispatch.Verdict
    ) {
      let ordinal: number | undefined
      if (verdict._tag === "Answered") {
        ordinal = yield* settleRow(task, verdict, started)
        if (options.cache !== undefined) yield* keep(options.cache, task.row, verdict.reply.body)
      } else if (verdict._tag === "Failed") {
        yield* settleRow(task, verdict, started)
      } else if (inOrder) {
        yield* Queue.offer(out, { sequence: task.sequence, settled: undefined })
      }
      if (key !== undefined) yield* twins!.settle(key, ordinal)
    })

    const send = (task: Task, key: string | undefined, started: number) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(restore(dispatch.run(task.row)), (verdict) => conclude(task, key, started, verdict))
      )

    const work = (task: Task) =>
      Effect.gen(function*() {
        const started = tick()
        const cached = options.cache === undefined ? undefined : yield* options.cache.get(task.row)
        if (cached !== undefined) {
          yield* borrow(task, cached, "cache", started)
          return
        }
        const key = twins === undefined ? undefined : Twins.canonical(task.row)
        const twin = key === undefined ? undefined : yield* twins!.find(key)
        if (twin !== undefined) {
          yield* borrow(task, twin, "twin", started)
          return
        }
        yield* send(task, key, started)
      })

    const worker = untilDone(Effect.forever(Effect.flatMap(Queue.take(todo), (task) => {
      report.inFlight++
      return Effect.ensuring(work(task), Effect.sync(() => report.inFlight--))
    })))

    const fail = (cause: Cause.Cause<E | E3 | JournalError>) =>
      Effect.andThen(Deferred.failCause(broken, cause), dispatch.stop(Stop.interrupted))
    const breaking = <A, R4>(self: Effect.Effect<A, E | JournalError, R4>) => Effect.catchCause(self, fail)

    const reading = yield* Effect.forkScoped(Effect.ensuring(breaking(reader), Queue.end(todo)))
    const workers = yield* Effect.all(
      Array.from({ length: concurrency }, () => Effect.forkScoped(breaking(worker)))
    )
    const allDone = Effect.andThen(Fiber.await(reading), Fiber.awaitAll(workers))

    const halt = Effect.gen(function*() {
      yield* dispatch.stopped
      yield* Fiber.interrupt(reading)
      yield* Queue.clear(todo).pipe(Effect.ignore)
      yield* Effect.timeoutOption(Fiber.awaitAll(workers), options.grace ?? defaults.grace)
      yield* Fiber.interruptAll(workers)
    })
    yield* Effect.forkScoped(Effect.andThen(Effect.raceFirst(allDone, halt), Queue.end(out)))
    if (options.stop !== undefined) yield* Effect.forkScoped(Effect.flatMap(options.stop, dispatch.stop))
    if (options.maxTime !== undefined) {
      yield* Effect.forkScoped(Effect.andThen(Effect.sleep(options.maxTime), dispatch.stop(Stop.maxTime)))
    }

    const handOn = Effect.fnUntraced(function*(placed: ReadonlyArray<Settled.Settled | number>) {
      const ready: Array<Settled.Settled> = []
      for (const settled of placed) {
        ready.push(typeof settled === "number" ? Settled.ofRecord(yield* journal.entryAt(settled)) : settled)
      }
      if (ready.length > 0) yield* emit(ready)
    })

    const collect = Effect.gen(function*() {
      const batch = yield* Queue.takeAll(out)
      const ready: Array<Settled.Settled | number> = []
      for (const { sequence, settled } of batch) {
        if (inOrder) ready.push(...(yield* sorter.add(sequence, settled)))
        else if (settled !== undefined) ready.push(settled)
      }
      yield* handOn(ready)
    })

    const collecting = Effect.andThen(
      untilDone(Effect.forever(collect)),
      Effect.suspend(() => handOn(sorter.rest()))
    ).pipe(
      // rows that are settled in the grace must not wait for a place
      Effect.catchCause((cause) => Effect.andThen(fail(cause), untilDone(Effect.forever(Queue.takeAll(out)))))
    )
    // before the workers are interrupted: nobody takes what they would hand on
    yield* Effect.addFinalizer(() => Queue.shutdown(out))
    yield* Effect.raceFirst(collecting, journal.lost)
    report.attempts += dispatch.unsettledAttempts()
    if (Deferred.isDoneUnsafe(broken)) return yield* Deferred.await(broken)
    yield* journal.flush
    report.endedAt = now()
    const leftOut = Array.from(dispatch.abandoned).filter(([, { rows }]) => rows > 0)
    for (const [model, { error, rows }] of leftOut) {
      const before = error._tag === "BudgetExceededError" ? "" : ", all before them were refused"
      const count = rows === 1 ? `1 row of ${model} was` : `${rows} rows of ${model} were`
      Report.warn(report, `${count} not sent${before}: ${error.message}`)
    }
    return {
      stop: dispatch.isStopped() ?? (leftOut.length > 0 ? Stop.abandoned : undefined),
      abandoned: new Map(leftOut)
    }
  }).pipe(Effect.scoped)
}

/**
 * Runs a job as a stream: rows in, settled rows out.
 *
 * **Details**: rows that the journal has settled before come first with order `completion`, and in their turn with
 * order `input`. Each row of the stream is durable. Ending the stream early interrupts the rows under way; they stay
 * undone.
 *
 * **Errors**: those of `rows`, and `JournalError`.
 */
export const stream = <E, R, R2>(
  rows: Stream.Stream<Row.Row | Row.Bad, E, R>,
  options: Options<R2>
): Stream.Stream<Settled.Settled, E | JobError, R | R2> => {
  checked(options)
  const live = Stream.callback<Settled.Settled, E | JobError, R | R2>((queue) =>
    Effect.flatMap(
      drive(rows, options, (settled) => Effect.asVoid(Queue.offerAll(queue, settled))),
      () => Queue.end(queue)
    ), { bufferSize: 1024 })
  if (options.journal === undefined || options.order === "input") return live
  return Stream.concat(
    Stream.map(options.journal.settled, Settled.ofRecord),
    live
  )
}
