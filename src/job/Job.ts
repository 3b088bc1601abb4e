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
import * as Answer from "./Answer.ts"
import * as Dispatch from "./Dispatch.ts"
import { type JobError, JournalError } from "./JobError.ts"
import * as Hash from "./Hash.ts"
import * as Journal from "./Journal.ts"
import type * as Format from "./JournalFormat.ts"
import type * as Patience from "./Patience.ts"
import * as Report from "./Report.ts"
import type * as ResponseCache from "./ResponseCache.ts"
import type * as Row from "./Row.ts"
import * as Sorter from "./Sorter.ts"
import * as Stop from "./Stop.ts"
import * as Twins from "./Twins.ts"

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

/** Configures a job. */
export interface Options<R> {
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
  /** Whether rows that failed in an earlier run are sent again. Default: false. */
  readonly retryErrors?: boolean | undefined
  /** What to do with a row whose request has changed since it was answered. Default: `stop`. */
  readonly changed?: "stop" | "keep" | "resend" | undefined
  /** Whether identical requests are sent once. Default: false. */
  readonly dedupe?: boolean | undefined
  /** Answers of other jobs. Default: none. */
  readonly cache?: ResponseCache.ResponseCache | undefined
  /** What to do when the client's retries have run out. Default: Patience.ts. */
  readonly patience?: Partial<Patience.Options> | undefined
  /** How long rows under way are waited for when the job stops. Default: 1 second. */
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
  changed: "stop",
  grace: Duration.seconds(1),
  windowPerConcurrency: 8
} as const

/** Says how a job ended. */
export interface Ending {
  /** Why it ended early, absent where every row was settled. */
  readonly stop: Stop.Stop | undefined
  /** Models whose rows were not all sent, since the model refuses them alike. */
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
  readonly settled: Settled | number | undefined
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

/** Hash of a request, to see on resuming that a row has changed. */
export const hashOf = (row: Row.Row): number => Hash.text32(`${row.operation}${JSON.stringify(row.body)}`)

const rowChanged = (row: Row.Row, journal: Journal.Journal) =>
  new JournalError({
    message: `line ${row.line} (custom_id ${JSON.stringify(row.id)}) asks for something else than when it was ` +
      "answered: the input or the request options have changed. Restore them, or say how to go on: keep the answers " +
      "of changed rows, or send changed rows again.",
    reason: "row-changed",
    path: journal.path
  })

/**
 * Runs a job to its end and hands settled rows to `emit`, one batch at a time.
 *
 * **Details**: rows settled by an earlier run are handed out again with order `input` only; with order `completion`
 * the caller reads them from the journal.
 *
 * **Errors**: those of `rows`, of `emit`, and `JournalError`.
 */
export const drive = <E, R, R2, E3, R3>(
  rows: Stream.Stream<Row.Row | Row.Bad, E, R>,
  options: Options<R2>,
  emit: (settled: ReadonlyArray<Settled>) => Effect.Effect<void, E3, R3>
): Effect.Effect<Ending, E | E3 | JournalError, R | R2 | R3> => {
  const concurrency = checked(options)
  return Effect.gen(function*() {
    const clock = yield* Effect.clockWith(Effect.succeed)
    const now = () => clock.currentTimeMillisUnsafe()
    const journal = options.journal ?? Journal.memory({ answers: options.dedupe === true })
    const report = options.report ?? Report.make(now())
    const dispatch = yield* Dispatch.make(options.send, options.patience)
    const inOrder = (options.order ?? defaults.order) === "input"
    const sorter = Sorter.make<Settled | number>(options.window ?? concurrency * defaults.windowPerConcurrency)
    const twins = options.dedupe === true ? Twins.make(journal.answerAt) : undefined
    const changed = options.changed ?? defaults.changed
    const todo = yield* Queue.make<Task, Cause.Done>({ capacity: concurrency })
    const out = yield* Queue.make<Placed, Cause.Done>({ capacity: Math.max(1024, concurrency) })
    const broken = yield* Deferred.make<never, E | JournalError>()
    let sequence = 0

    const append = (meta: Format.Meta, text: string, bad: boolean) =>
      Effect.uninterruptible(journal.append(meta, text, bad))

    const settleBad = Effect.fnUntraced(function*(line: Row.Bad, place: number) {
      const key = Journal.badKey(line.line, line.hash)
      const text = Answer.bad(line)
      if (journal.known(key)._tag === "New") {
        yield* append({ id: key, n: line.line, ok: false, h: line.hash, a: 0, ms: 0, tag: line.reason }, text, true)
      } else if (!inOrder) {
        report.bad++
        return
      }
      Report.settle(report, now(), {
        kind: "bad",
        line: line.line,
        id: line.id,
        code: `bad_row_${line.reason}`,
        message: line.message,
        attempts: 0,
        millis: 0,
        inputTokens: 0,
        outputTokens: 0
      })
      yield* Queue.offer(out, {
        sequence: place,
        settled: { kind: "bad", line: line.line, id: line.id, text, resumed: false }
      })
    })

    const duplicate = (row: Row.Row, first: number): Row.Bad => {
      Report.note(report.duplicates, row.line)
      return {
        _tag: "Bad",
        line: row.line,
        id: row.id,
        reason: "duplicate",
        message: `line ${row.line}: custom_id ${JSON.stringify(row.id)} was used on line ${first} already; it is not ` +
          "sent. Give each row its own custom_id",
        hash: Hash.text32(row.id)
      }
    }

    /** Decides about one line of the input. Most are decided without an effect. */
    const read = (line: Row.Row | Row.Bad): Effect.Effect<void, JournalError> | undefined => {
      const place = sequence++
      report.read++
      if (line._tag === "Bad") return settleBad(line, place)
      if (line.assigned) Report.note(report.missingIds, line.line)
      const known = journal.known(line.id)
      if (known._tag === "Seen") return settleBad(duplicate(line, known.line), place)
      journal.see(line.id, line.line)
      if (known._tag === "New") {
        return Effect.asVoid(Queue.offer(todo, { row: line, hash: hashOf(line), sequence: place }))
      }
      const hash = changed === "keep" ? known.hash : hashOf(line)
      if (hash !== known.hash && changed === "stop") return Effect.fail(rowChanged(line, journal))
      if (hash !== known.hash || (!known.ok && options.retryErrors === true)) {
        return Effect.asVoid(Queue.offer(todo, { row: line, hash, sequence: place }))
      }
      if (known.ok) report.resumedOk++
      else report.resumedFailed++
      if (known.ok && twins !== undefined) twins.know(Twins.canonical(line), known.ordinal)
      return inOrder ? Effect.asVoid(Queue.offer(out, { sequence: place, settled: known.ordinal })) : undefined
    }

    const reader = Stream.runForEachArray(rows, (lines) =>
      Effect.gen(function*() {
        for (const line of lines) {
          if (inOrder) yield* sorter.enter
          const effect = read(line)
          if (effect !== undefined) yield* effect
        }
      }))

    const settleRow = Effect.fnUntraced(function*(
      task: Task,
      kind: "ok" | "failed",
      text: string,
      reply: Answer.Reply | undefined,
      error: TogetherError.TogetherError | undefined,
      from: "cache" | "twin" | undefined,
      started: number
    ) {
      const { row } = task
      const millis = now() - started
      const attempts = reply?.attempts ?? error?.attempts ?? 0
      const usage = reply?.usage
      const ordinal = yield* append(
        {
          id: row.id,
          n: row.line,
          ok: kind === "ok",
          h: task.hash,
          a: attempts,
          ms: Math.round(millis),
          ...(usage === undefined ? {} : { in: usage.inputTokens, out: usage.outputTokens }),
          ...(reply?.nanoUsd === undefined ? {} : { nano: Number(reply.nanoUsd) }),
          ...(error === undefined ? {} : { tag: error._tag })
        },
        text,
        false
      )
      Report.settle(report, now(), {
        kind,
        line: row.line,
        id: row.id,
        code: error === undefined ? undefined : Answer.codeOf(error._tag),
        message: error?.message,
        model: row.model,
        attempts,
        millis,
        inputTokens: usage?.inputTokens ?? 0,
        outputTokens: usage?.outputTokens ?? 0,
        nanoUsd: reply?.nanoUsd,
        from
      })
      if (kind === "failed" && options.failFast === true) yield* dispatch.stop(Stop.failedRow)
      yield* Queue.offer(out, {
        sequence: task.sequence,
        settled: { kind, line: row.line, id: row.id, text, reply, error, resumed: false }
      })
      return ordinal
    })

    const borrowed = (body: unknown): Answer.Reply => ({ status: 200, body, attempts: 0, nanoUsd: 0n })

    const send = Effect.fnUntraced(function*(task: Task, key: string | undefined, started: number) {
      const { row } = task
      const verdict = yield* dispatch.run(row)
      let ordinal: number | undefined
      if (verdict._tag === "Answered") {
        ordinal = yield* settleRow(
          task,
          "ok",
          Answer.answered(row, verdict.reply),
          verdict.reply,
          undefined,
          undefined,
          started
        )
        if (options.cache !== undefined) yield* Effect.ignore(options.cache.put(row, verdict.reply.body))
      } else if (verdict._tag === "Failed") {
        yield* settleRow(
          task,
          "failed",
          Answer.failed(row, verdict.error),
          undefined,
          verdict.error,
          undefined,
          started
        )
      } else if (inOrder) {
        yield* Queue.offer(out, { sequence: task.sequence, settled: undefined })
      }
      if (key !== undefined) yield* twins!.settle(key, ordinal)
    })

    const work = (task: Task) =>
      Effect.gen(function*() {
        const started = now()
        const cached = options.cache === undefined ? undefined : yield* options.cache.get(task.row)
        if (cached !== undefined) {
          const reply = borrowed(cached)
          yield* settleRow(task, "ok", Answer.answered(task.row, reply), reply, undefined, "cache", started)
          return
        }
        const key = twins === undefined ? undefined : Twins.canonical(task.row)
        const twin = key === undefined ? undefined : yield* twins!.find(key)
        if (twin !== undefined) {
          const reply = borrowed(twin)
          yield* settleRow(task, "ok", Answer.answered(task.row, reply), reply, undefined, "twin", started)
          return
        }
        yield* send(task, key, started)
      })

    const worker = untilDone(Effect.forever(Effect.flatMap(Queue.take(todo), (task) => {
      report.inFlight++
      return Effect.ensuring(work(task), Effect.sync(() => report.inFlight--))
    })))

    const breaking = <A, R4>(self: Effect.Effect<A, E | JournalError, R4>) =>
      Effect.catchCause(self, (cause) => Effect.asVoid(Deferred.failCause(broken, cause)))

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
    yield* Effect.forkScoped(breaking(journal.lost))
    if (options.stop !== undefined) yield* Effect.forkScoped(Effect.flatMap(options.stop, dispatch.stop))
    if (options.maxTime !== undefined) {
      yield* Effect.forkScoped(Effect.andThen(Effect.sleep(options.maxTime), dispatch.stop(Stop.maxTime)))
    }

    const load = (settled: Settled | number): Effect.Effect<Settled, JournalError> =>
      typeof settled !== "number"
        ? Effect.succeed(settled)
        : Effect.map(journal.entryAt(settled), ({ answer, meta }) => ({
          kind: meta.ok ? "ok" : "failed",
          line: meta.n,
          id: meta.id,
          text: answer,
          resumed: true
        }))

    const collect = Effect.gen(function*() {
      const batch = yield* Queue.takeAll(out)
      const ready: Array<Settled> = []
      for (const placed of batch) {
        const inTurn = inOrder
          ? yield* sorter.add(placed.sequence, placed.settled)
          : placed.settled === undefined
          ? []
          : [placed.settled]
        for (const settled of inTurn) ready.push(yield* load(settled))
      }
      if (ready.length > 0) yield* emit(ready)
    })
    yield* Effect.raceFirst(untilDone(Effect.forever(collect)), Deferred.await(broken))
    yield* journal.flush
    report.endedAt = now()
    return { stop: dispatch.isStopped(), abandoned: dispatch.abandoned }
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
): Stream.Stream<Settled, E | JobError, R | R2> => {
  checked(options)
  const live = Stream.callback<Settled, E | JobError, R | R2>((queue) =>
    Effect.flatMap(
      drive(rows, options, (settled) => Effect.asVoid(Queue.offerAll(queue, settled))),
      () => Queue.end(queue)
    ), { bufferSize: 1024 })
  if (options.journal === undefined || options.order === "input") return live
  return Stream.concat(
    Stream.map(options.journal.settled, (settled): Settled => ({
      kind: settled.bad ? "bad" : settled.meta.ok ? "ok" : "failed",
      line: settled.meta.n,
      id: settled.bad ? undefined : settled.meta.id,
      text: settled.answer,
      resumed: true
    })),
    live
  )
}
