/**
 * Bulk runs: a stream of rows in, a stream of settled rows out, each one durable before it is handed on.
 *
 * ```text
 * rows ─▶ reader ─▶ queue ─▶ workers ─▶ journal ─▶ settled rows
 *           │ done before: skipped        │ append, fsync in groups
 *           │ bad, duplicate: ────────────▶
 * ```
 *
 * The reader walks the input once and sends no row that the journal knows. A fixed number of workers (Crew.ts) take rows
 * from a bounded queue, bring each to its verdict (Dispatch.ts), append it to the journal and hand it on. No fiber is made
 * for a row and nothing is kept of a settled row but its id's hash, so memory does not grow with the input's length.
 *
 * A job that stops or fails takes up no further row, leaves those of which nothing is on the wire, and gives the others
 * under way a grace; what is answered meanwhile is durable and handed on. Once a row has its answer, no interruption
 * comes between it and the journal.
 *
 * How many requests are really in flight is the lanes' affair: `concurrency` only bounds it. A row counts as in flight
 * until its answer is durable, so after a crash no more than `concurrency` rows are sent twice.
 *
 * {@link stream} is for programs; JobFiles.ts adds the reading and writing of files.
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as Enumeration from "../domain/Enumeration.ts"
import type * as TogetherError from "../domain/TogetherError.ts"
import * as Millis from "../guard/Millis.ts"
import * as Monotonic from "../guard/Monotonic.ts"
import * as OptionCheck from "../policy/OptionCheck.ts"
import * as Admission from "./Admission.ts"
import * as Collector from "./Collector.ts"
import * as Crew from "./Crew.ts"
import * as Dispatch from "./Dispatch.ts"
import type { JournalError } from "./JobError.ts"
import type * as Journal from "./journal/Journal.ts"
import * as MemoryJournal from "./journal/MemoryJournal.ts"
import * as Patience from "./Patience.ts"
import * as Report from "./Report.ts"
import type * as ResponseCache from "./ResponseCache.ts"
import type * as Row from "./Row.ts"
import * as Settled from "./Settled.ts"
import * as SteadyClock from "./SteadyClock.ts"
import * as Stop from "./Stop.ts"
import * as Twins from "./Twins.ts"
import * as Worker from "./Worker.ts"

export type { Settled } from "./Settled.ts"

/** Configures a job, whatever answers its rows: calls, or batches. */
export interface Common extends Admission.Options {
  /** A reason to stop, given from outside; if the effect dies, the job breaks with its cause. Default: never. */
  readonly stop?: Effect.Effect<Stop.Stop> | undefined
  /** Longest time the job may take, above 0. Default: unlimited. */
  readonly maxTime?: Duration.Input | undefined
  /** Whether the first row that fails stops the job. Default: false. */
  readonly failFast?: boolean | undefined
  /** Where to count. Default: a report nobody reads. */
  readonly report?: Report.Report | undefined
}

/** Configures a job by calls. */
export interface Options<R> extends Common {
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
  /** Whether identical requests are sent once; where one fails, the next is sent. Default: false. */
  readonly dedupe?: boolean | undefined
  /** Answers of other jobs. Default: none. */
  readonly cache?: ResponseCache.ResponseCache | undefined
  /** What to do when the client's retries have run out. Default: {@link Patience.defaults}. */
  readonly patience?: Patience.Options | undefined
  /**
   * How long rows under way are waited for when the job stops or fails. Of those that the `Together` client sends, only
   * the ones on the wire are. Default: 1 second.
   */
  readonly grace?: Duration.Input | undefined
}

/** Holds the defaults of this module. */
export const defaults = {
  concurrency: 256,
  order: "completion",
  changed: Admission.defaults.changed,
  grace: Duration.seconds(1),
  windowPerConcurrency: 8
} as const

/** Says which batches go on at the provider after the job has ended: they are billed, and a later run collects them. */
export interface Running {
  readonly batches: number
  /** Batches among these that were asked for without an answer whether they exist: a later run looks for them. */
  readonly doubtful: number
  /** Their rows that are in the selected input and not settled. */
  readonly rows: number
  /** Nano-dollars that the batches may still cost at the most; absent where a price is unknown. */
  readonly nanoUsd: bigint | undefined
}

/** Says how a job ended. */
export interface Ending {
  /** Why rows were left undone, absent where every row was settled. */
  readonly stop: Stop.Stop | undefined
  /** Rows in batches that go on when the job ends, and what these may cost. Absent where there is none. */
  readonly running?: Running | undefined
  /**
   * Models whose rows were not all sent, since they fail alike, or since a budget cannot admit a model without a price.
   */
  readonly abandoned: ReadonlyMap<string, { readonly error: TogetherError.TogetherError; readonly rows: number }>
}

/**
 * Warns of models whose rows were left out.
 *
 * @internal
 */
export const warnOfAbandoned = (report: Report.Report, abandoned: Ending["abandoned"]): void => {
  for (const [model, { error, rows }] of abandoned) {
    const before = error._tag === "BudgetExceededError" ? "" : ", for none had been answered by then"
    const count = rows === 1 ? `1 row of ${model} was` : `${rows} rows of ${model} were`
    Report.warn(report, `${count} not sent${before}: ${error.message}`)
  }
}

/**
 * Fails a stream of settled rows at its end, where rows were left undone: the same job run again sends them.
 *
 * **Details**: `ending` is what {@link drive} returns; its `stop` is never absent.
 */
export class UndoneError extends Data.TaggedError("UndoneError")<{
  readonly message: string
  readonly ending: Ending & { readonly stop: Stop.Stop }
}> {}

/** Says why rows were left undone. */
const reasonOf = (stop: Stop.Stop, { abandoned }: Pick<Ending, "abandoned">): string => {
  switch (stop._tag) {
    case "Interrupted":
      return "the caller stopped the job"
    case "MaxTime":
      return "the job's time was up"
    case "FailedRow":
      return "a row failed"
    case "MaxCost":
    case "Refused":
    case "Unreachable":
    case "InputChanged":
      return stop.error.message
    case "Abandoned":
      return Enumeration.first(
        Array.from(abandoned, ([model, { error }]) => `of ${model}, ${error.message}`),
        10,
        (others) => `and of ${others} more models`
      ).join("; ")
  }
}

const undone = (stop: Stop.Stop, ending: Ending): UndoneError =>
  new UndoneError({ message: `Rows were left undone: ${reasonOf(stop, ending)}`, ending: { ...ending, stop } })

/** Holds options that were checked. */
export interface Checked {
  readonly concurrency: number
  readonly window: number
  readonly patience: Patience.Settings
}

/**
 * Refuses a time that no job could keep.
 *
 * @internal
 */
export const checkMaxTime = (where: string, { maxTime }: Common): void => {
  if (maxTime !== undefined) Millis.positive(`${where}: maxTime`, maxTime)
}

/**
 * Refuses options out of their range, and fills in the defaults.
 *
 * **Errors**: throws a `RangeError`.
 *
 * @internal
 */
export const checked = (options: Omit<Options<never>, "send" | "journal">): Checked => {
  const where = "Job.stream"
  const concurrency = OptionCheck.integer(where, "concurrency", options.concurrency ?? defaults.concurrency, 1)
  OptionCheck.oneOf(where, "order", options.order ?? defaults.order, ["completion", "input"])
  checkMaxTime(where, options)
  if (options.grace !== undefined) Millis.notNegative(`${where}: grace`, options.grace)
  return {
    concurrency,
    window: OptionCheck.integer(where, "window", options.window ?? concurrency * defaults.windowPerConcurrency, 1),
    patience: Patience.settings(options.patience)
  }
}

/**
 * Runs a job to its end and hands settled rows to `emit`, one batch at a time.
 *
 * **Details**: rows settled by an earlier run are handed out again with order `input` only; with order `completion`
 * the caller reads them from the journal.
 *
 * **Errors**: those of `rows`, of `emit`, and `JournalError`. A failure waits out the grace like a stop, so that what is
 * answered meanwhile is in the journal; except if the journal is lost, which takes nothing any more.
 */
export const drive = <E, R, R2, E3, R3>(
  rows: Stream.Stream<Row.Row | Row.Bad, E, R>,
  options: Options<R2>,
  emit: (settled: ReadonlyArray<Settled.Settled>) => Effect.Effect<void, E3, R3>
): Effect.Effect<Ending, E | E3 | JournalError, R | R2 | R3> => {
  const { concurrency, patience, window } = checked(options)
  return Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const now = SteadyClock.from(clock)
    const journal = options.journal ?? MemoryJournal.make({ answers: options.dedupe === true })
    const report = options.report ?? Report.make(now())
    const dispatch = yield* Dispatch.make(options.send, patience)
    const inOrder = (options.order ?? defaults.order) === "input"
    const twins = options.dedupe === true ? Twins.make(journal.answerAt) : undefined
    const settler = Settled.settler(journal, report, now)
    const collector = yield* Collector.make({
      journal,
      inOrder,
      window,
      emit,
      capacity: Math.max(1024, concurrency)
    })
    const broken = yield* Deferred.make<never, E | E3 | JournalError>()
    let sequence = 0

    const work = Worker.make({
      dispatch,
      settler,
      report,
      inOrder,
      twins,
      offer: collector.offer,
      failFast: options.failFast === true,
      cache: options.cache,
      tick: () => Monotonic.millis(clock)
    })
    const fail = (cause: Cause.Cause<E | E3 | JournalError>) =>
      Effect.andThen(Deferred.failCause(broken, cause), dispatch.stop(Stop.interrupted))
    const breaking = <A, R4>(self: Effect.Effect<A, E | JournalError, R4>) => Effect.catchCause(self, fail)

    const crew = yield* Crew.make({ size: concurrency, work, broken: fail })

    /** Settles a bad line and hands it on: what is in the journal is not left behind by a stop. */
    const settleBad = (line: Row.Bad, place: number) =>
      Effect.uninterruptible(Effect.flatMap(settler.bad(line), (settled) =>
        // with order `completion` the caller reads from the journal what earlier runs have settled
        settled.resumed && !inOrder ? Effect.void : collector.offer({ sequence: place, settled })))

    /** Decides about one line of the input. Rows done before need no effect. */
    const read = (line: Row.Row | Row.Bad): Effect.Effect<unknown, JournalError, R2> | undefined => {
      const place = sequence++
      const decision = Admission.admit(line, journal, report, options)
      switch (decision._tag) {
        case "Bad":
          return settleBad(decision.line, place)
        case "Refused":
          return Admission.refuse(decision, journal)
        case "Send":
          return crew.give({ row: decision.row, hash: decision.hash, sequence: place })
        case "Done":
          if (decision.ok && decision.same && twins !== undefined) {
            twins.know(Twins.canonical(decision.row), decision.ordinal)
          }
          return inOrder ? collector.offer({ sequence: place, settled: decision.ordinal }) : undefined
      }
    }

    // one generator function for all lines, not one for each array of them: decision 0064
    const reader = Stream.runForEachArray(
      rows,
      Effect.fnUntraced(function*(lines: ReadonlyArray<Row.Row | Row.Bad>) {
        for (const line of lines) {
          if (inOrder) yield* collector.enter
          const effect = read(line)
          if (effect !== undefined) yield* effect
        }
      })
    )

    const reading = yield* Effect.forkScoped(Effect.ensuring(breaking(reader), crew.end))
    // all workers are there once the reading has ended
    const allDone = Effect.andThen(Fiber.await(reading), crew.done)

    const halt = Effect.gen(function*() {
      yield* dispatch.stopped
      yield* Fiber.interrupt(reading)
      yield* crew.forget
      yield* Effect.timeoutOption(crew.done, options.grace ?? defaults.grace)
      yield* crew.dismiss
    })
    yield* Effect.forkScoped(Effect.andThen(Effect.raceFirst(allDone, halt), collector.end))
    if (options.stop !== undefined) yield* Effect.forkScoped(breaking(Effect.flatMap(options.stop, dispatch.stop)))
    if (options.maxTime !== undefined) {
      yield* Effect.forkScoped(Effect.andThen(Effect.sleep(options.maxTime), dispatch.stop(Stop.maxTime)))
    }

    // rows that are settled in the grace must not wait for a place
    const collecting = Effect.catchCause(collector.collect, (cause) => Effect.andThen(fail(cause), collector.forget))
    // before the workers are interrupted, since nobody takes what they would hand on
    yield* Effect.addFinalizer(() => collector.close)
    yield* Effect.raceFirst(collecting, journal.lost)
    report.attempts += dispatch.unsettledAttempts()
    if (Deferred.isDoneUnsafe(broken)) return yield* Deferred.await(broken)
    yield* journal.flush
    report.endedAt = now()
    const abandoned = dispatch.abandoned()
    warnOfAbandoned(report, abandoned)
    // a stop that came too late to leave a row undone does not count
    const isWhole = Exit.isSuccess(yield* Fiber.await(reading)) && Report.done(report) === report.read
    const stop = isWhole ? undefined : dispatch.stopReason()
    return {
      stop: stop ?? (abandoned.size > 0 ? Stop.abandoned : undefined),
      abandoned
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
 * **Errors**: those of `rows`, `JournalError`, and {@link UndoneError} behind the last row where rows were left undone,
 * whatever the reason.
 */
export const stream = <E, R, R2>(
  rows: Stream.Stream<Row.Row | Row.Bad, E, R>,
  options: Options<R2>
): Stream.Stream<Settled.Settled, E | JournalError | UndoneError, R | R2> => {
  checked(options)
  const live = Stream.callback<Settled.Settled, E | JournalError | UndoneError, R | R2>((queue) =>
    Effect.flatMap(
      drive(rows, options, (settled) => Effect.asVoid(Queue.offerAll(queue, settled))),
      (ending) => ending.stop === undefined ? Queue.end(queue) : Queue.fail(queue, undone(ending.stop, ending))
    ), { bufferSize: 1024 })
  if (options.journal === undefined || options.order === "input") return live
  return Stream.concat(
    Stream.map(options.journal.settled, Settled.ofRecord),
    live
  )
}
