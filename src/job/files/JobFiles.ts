/**
 * A job from file to file: input JSONL, results and errors apart, a journal beside them.
 *
 * ```text
 * prompts.jsonl ─▶ job ─▶ prompts.results.jsonl          answered rows
 *                    │    prompts.errors.jsonl           failed rows and bad lines
 *                    └──▶ prompts.results.jsonl.journal  the truth; delete it to begin anew
 * ```
 *
 * Running the same job again resumes it: results and errors are made to agree with the journal first, then only what
 * the journal does not know is sent. A finished job that is run again sends nothing.
 *
 * An output file that holds something and that the journal does not name is somebody else's: it is refused, not
 * overwritten, and so is one that another job is writing (Claim.ts).
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import * as Admission from "../Admission.ts"
import * as Answer from "../Answer.ts"
import * as BatchParts from "../batch/BatchParts.ts"
import * as Claim from "./Claim.ts"
import * as FileIdentity from "./FileIdentity.ts"
import type * as GroupCommit from "../journal/GroupCommit.ts"
import * as Input from "../Input.ts"
import * as Job from "../Job.ts"
import { InputError, type JobError, JournalError, type OutputError } from "../JobError.ts"
import * as Journal from "../journal/Journal.ts"
import type * as JournalScan from "../journal/JournalScan.ts"
import type * as Lock from "./Lock.ts"
import * as MovedRows from "./MovedRows.ts"
import * as Outputs from "./Outputs.ts"
import * as Report from "../Report.ts"
import type * as Row from "../Row.ts"
import * as Settled from "../Settled.ts"
import * as SteadyClock from "../SteadyClock.ts"
import * as Stop from "../Stop.ts"
import * as UncertainCost from "./UncertainCost.ts"

export type { Paths } from "./Claim.ts"
export type { Writer } from "./Outputs.ts"

/** Names the files of a job, and says how they are read and written. */
export interface FileOptions extends Lock.Options, GroupCommit.Options {
  /** Where the rows come from: `Input.file`, or `Input.bytes` such as standard input. */
  readonly input: Input.Source
  /** Where answered rows go. Default: beside the input, `.results.jsonl`. */
  readonly results?: string | Outputs.Writer | undefined
  /** Where failed rows and bad lines go. Default: beside the results, `.errors.jsonl`. */
  readonly errors?: string | undefined
  /** Where the journal is. Default: the results' path and `.journal`. */
  readonly journalPath?: string | undefined
  /** How lines become rows. */
  readonly row?: Row.Options | undefined
  /** Which lines are taken. Default: all. */
  readonly select?: ((line: number) => boolean) | undefined
  /** Tells apart inputs that are streams, such as by a hash of the first line. Default: a stream is not checked. */
  readonly fingerprint?: { readonly hash: string } | undefined
  /**
   * Who answers the rows: a base URL, or `Journal.emulator`, whose batches end with the run. A journal with the answers of
   * another is refused.
   */
  readonly target?: string | undefined
  /** The lock of the journal, where the caller holds it already. Default: it is taken for the time of the run. */
  readonly lock?: Lock.Lock | undefined
}

/** Configures a job from file to file, by calls. */
export interface Options<R> extends Omit<Job.Options<R>, "journal">, FileOptions {
  /**
   * What the calls of this run have cost so far, as their ledger counts it. Asked with each attempt, each row that settles,
   * each second and at the end; what the rows do not say of it, as of calls that are under way or were cut off, is noted in
   * the journal. Default: nothing.
   */
  readonly spending?: Effect.Effect<UncertainCost.Spending> | undefined
}

/** Derives the files of a job from its input and options. */
export const paths = (
  options: Pick<FileOptions, "input" | "results" | "errors" | "journalPath">
): Claim.Paths => {
  const name = options.input._tag === "File" ? options.input.path : options.input.name
  const stem = FileIdentity.stemOf(name)
  const results = options.results ?? `${stem}.results.jsonl`
  const base = typeof results === "string" ? results : `${stem}.results.jsonl`
  return {
    results: typeof results === "string" ? results : undefined,
    errors: options.errors ?? `${base.replace(/(\.results)?\.jsonl$/i, "")}.errors.jsonl`,
    journal: options.journalPath ?? `${base}.journal`
  }
}

/** Says how a job from file to file ended. */
export interface Result extends Job.Ending {
  readonly paths: Claim.Paths
  readonly report: Report.Report
  readonly recovered: Journal.Recovered
  /** Rows that results and errors hold: as many as are settled, or something was lost. */
  readonly written: number
  /** Nano-dollars that this run may have cost beyond its rows. */
  readonly uncertainNanoUsd: bigint
}

/** What a way of answering rows gets: rows, journal, report, and where settled rows go. */
export interface Context {
  /** Reads the input from its start; may be run more than once where the source is a file. */
  readonly rows: Stream.Stream<Row.Row | Row.Bad, JobError, FileSystem.FileSystem>
  readonly journal: Journal.Journal
  readonly report: Report.Report
  readonly emit: (settled: ReadonlyArray<Job.Settled>) => Effect.Effect<void, OutputError | JournalError>
  /** Notes nano-dollars that the run may have cost beyond its rows: in the journal, and in the result. */
  readonly uncertainCost: UncertainCost.UncertainCost
  /** Waits for the caller's reason to stop. It is asked for once, when the job begins. */
  readonly stop: Effect.Effect<Stop.Stop>
}

const emptyInput = (path: string, what: string) =>
  new InputError({
    message: `${path} ${what}: there is nothing to send. Write one JSON object per line.`,
    reason: "empty",
    path
  })

const warnOf = (report: Report.Report, name: string, recovered: Journal.Recovered): void => {
  if (recovered.tornBytes > 0) {
    const message = `the journal ended in ${recovered.tornBytes} torn bytes (a crash, a full disk); they were cut off`
    Report.warn(report, message)
  }
  if (recovered.damaged.length > 0) {
    const lines = recovered.damaged.join(", ")
    Report.warn(report, `damaged lines in the journal were skipped, their rows are sent again: ${lines}`)
  }
  if (recovered.inputChanged) Report.warn(report, `${name} has changed since the journal was begun`)
}

/** Hands on what earlier runs answered of the rows that come by, each once: for a writer beside a stream of rows. */
const answeredBefore = (
  journal: Journal.Journal,
  options: Admission.Options,
  emit: Context["emit"]
) => {
  const handedOn = new Uint8Array((journal.recovered.rows >>> 3) + 1)
  return Effect.fnUntraced(function*(rows: ReadonlyArray<Row.Row | Row.Bad>) {
    const settled: Array<Job.Settled> = []
    for (const row of rows) {
      if (row._tag === "Bad" || journal.known(row.id)._tag !== "Done") continue
      const decision = Admission.judge(row, journal, options)
      if (decision._tag !== "Done" || !decision.ok) continue
      const { ordinal } = decision
      const [at, bit] = [ordinal >>> 3, 1 << (ordinal & 7)]
      if ((handedOn[at]! & bit) !== 0) continue
      handedOn[at]! |= bit
      settled.push(Settled.ofRecord(yield* journal.entryAt(ordinal)))
    }
    if (settled.length > 0) yield* emit(settled)
  })
}

/**
 * Refuses rows that have moved up into the place of a removed line, where the answers of changed rows are kept. A row of
 * a batch that is not collected stands where it was sent from.
 */
const inPlace = <E, R>(
  rows: Stream.Stream<Row.Row | Row.Bad, E, R>,
  journal: Journal.Journal,
  { changed, select }: FileOptions & Admission.Options
): Stream.Stream<Row.Row | Row.Bad, E | JournalError, R> => {
  if (changed !== "keep" || journal.recovered.rows === 0) return rows
  const open = BatchParts.open(journal.notes).map(BatchParts.has)
  return MovedRows.refuse(rows, journal, (row) => select?.(row.line) === false || open.some((has) => has(row)))
}

/**
 * Says how a job ended that has read a file to its end: as it did, unless the file is not as it was when the job began. A
 * file that is gone was read whole: its bytes stayed until then.
 */
const endingOver = Effect.fnUntraced(function*(
  path: string,
  before: Input.Fingerprint,
  ending: Job.Ending,
  report: Report.Report
) {
  const after = yield* Effect.orElseSucceed(Input.fingerprint(path), () => before)
  if (after.hash === before.hash) return ending
  const changed = new JournalError({
    message:
      `${path} changed while the job read it (${before.bytes} bytes when it began, ${after.bytes} now): rows may be ` +
      "missing, or may have been read before they were whole. What was answered is in the results. Say how to go on with " +
      "the file as it is: keep the answers of changed rows, or send changed rows again.",
    reason: "input-changed",
    path
  })
  if (ending.stop === undefined) return { ...ending, stop: Stop.inputChanged(changed) }
  // the stop tells of rows that were left out
  Report.warn(report, changed.message)
  return ending
})

/** Lists the rows that earlier runs have failed and that this one came by and left so. */
const listFailedBefore = (journal: Journal.Journal, report: Report.Report) => {
  let left = report.resumedFailed
  return left === 0 ? Effect.void : Stream.runForEachArray(journal.settled, (settled) =>
    Effect.sync(() => {
      for (const { answer, bad, meta, ordinal } of settled) {
        if (left === 0 || bad || meta.ok || ordinal > journal.recovered.rows) continue
        const known = journal.known(meta.id)
        const failure = known._tag === "Seen" ? Answer.failureOf(answer) : undefined
        if (known._tag !== "Seen" || failure === undefined) continue
        left--
        const { code, message, retryable } = failure
        Report.listFailed(report, { line: known.line, id: meta.id, code, message, retryable })
      }
    }))
}

/**
 * Counts rows of earlier runs that stand behind the place at which a run stopped: they are settled, and left to nobody.
 * Only where each row of the journal is one of the input, is in an output file, and is not sent again.
 */
const countBehind = (
  { recovered }: Journal.Journal,
  report: Report.Report,
  { regular }: Outputs.Outputs,
  { changed = "stop", retryErrors = false, select, stopped }: FileOptions & Job.Common & { readonly stopped: boolean }
): void => {
  if (!stopped || report.total === undefined || changed !== "stop" || retryErrors || select !== undefined) return
  if (!regular.results || !regular.errors) return
  const behind = (all: number, seen: number) =>
    Math.max(0, Math.min(all - seen, Report.all(report) - Report.done(report)))
  report.resumedOk += behind(recovered.ok, report.resumedOk)
  report.resumedFailed += behind(recovered.failed, report.resumedFailed)
}

/** Asks for the caller's reason to stop from now on: all who wait for it wait for the same. */
const asked = (stop: Effect.Effect<Stop.Stop> = Effect.never) =>
  Effect.flatMap(
    Deferred.make<Stop.Stop>(),
    (told) => Effect.as(Effect.forkScoped(Deferred.into(stop, told)), Deferred.await(told))
  )

/**
 * Opens the files of a job, lets `answer` do the work, and makes results and errors agree with the journal before and
 * after.
 *
 * **Details**: what earlier runs have answered is in the results, with order `input` in its turn. A writer, a device or a
 * pipe takes nothing back, and gets every row once; where the input is a stream, only rows that it brings.
 *
 * **Errors**: `InputError`, `JournalError`, `OutputError`, and those of `answer`.
 *
 * @internal
 */
export const around = <E, R>(
  options: FileOptions & Job.Common & Pick<Options<never>, "order" | "dedupe">,
  answer: (context: Context) => Effect.Effect<Job.Ending, E, R>
): Effect.Effect<Result, E | JobError, R | FileSystem.FileSystem> =>
  Effect.scoped(Effect.gen(function*() {
    const where = paths(options)
    const now = yield* SteadyClock.make
    const report = options.report ?? Report.make(now())
    const told = yield* asked(options.stop)
    const file = options.input._tag === "File" ? options.input.path : undefined
    const name = options.input._tag === "File" ? options.input.path : options.input.name
    yield* Claim.refuseShared(where, file)
    const begun = file === undefined ? undefined : yield* Input.fingerprint(file)
    if (begun?.bytes === 0) return yield* emptyInput(name, "is empty")
    yield* Claim.refuseForeign(where)
    const inOrder = options.order === "input"
    const streamed = where.results === undefined || (yield* FileIdentity.kindOf(where.results)) === "stream"
    const asItComes = !inOrder && streamed && file === undefined
    const opened = yield* Journal.open({
      ...options,
      stop: told,
      path: where.journal,
      input: { path: name, fingerprint: begun ?? options.fingerprint },
      acceptChange: options.changed === "keep" || options.changed === "resend",
      offsets: inOrder || asItComes || options.dedupe === true
    })
    const journal = options.target === Journal.emulator
      ? { ...opened, notes: BatchParts.withoutBatches(opened.notes) }
      : opened
    const { recovered } = journal
    report.resumedNanoUsd = BigInt(Math.round(recovered.nanoUsd))
    warnOf(report, name, recovered)
    const claim = yield* Claim.make(where, journal, options)
    // a batch that is not collected may hold rows that were sent again
    const resent = options.changed === "resend" || BatchParts.open(journal.notes).length > 0
    const outputs = yield* Outputs.open(where, { ...options, stop: told, resent, report, journal, claim })
    const replay = (of: (each: JournalScan.Record) => boolean) =>
      Stream.runForEachArray(
        journal.settled,
        (settled) => outputs.emit(settled.filter(of).map(Settled.ofRecord))
      )
    // An output that cannot be rewritten gets the earlier outcome of a row only once it is known to count still.
    const lateOk = !outputs.regular.results && resent
    const lateFailed = !outputs.regular.errors && (resent || options.retryErrors === true)
    const late = !inOrder && (lateFailed || (lateOk && !asItComes))
    if (!inOrder) yield* replay((each) => each.meta.ok ? !lateOk && !asItComes : !lateFailed)
    const { select } = options
    const all = inPlace(Input.rows(options.input, options.row), journal, options)
    const selected = select === undefined ? all : Stream.filter(all, (row) => select(row.line))
    const before = answeredBefore(journal, options, outputs.emit)
    let lastLine = 0
    const rows = Stream.mapArrayEffect(selected, (rows) => {
      lastLine = rows[rows.length - 1]!.line
      return asItComes ? Effect.as(before(rows), rows) : Effect.succeed(rows)
    })
    const uncertainCost = UncertainCost.make(journal)
    const ending = yield* answer({ rows, journal, report, emit: outputs.emit, uncertainCost, stop: told })
    if (late) {
      yield* replay((each) => each.ordinal <= recovered.rows && (each.meta.ok ? lateOk && !asItComes : lateFailed))
    }
    report.endedAt = now()
    if (report.read === 0 && ending.stop === undefined) return yield* emptyInput(name, "holds no rows")
    // rows of an abandoned model are left out all over the input, and the input is read to its end
    const stopped = ending.stop !== undefined && ending.stop._tag !== "Abandoned"
    const written = yield* outputs.finish({ stopped, lastLine })
    yield* listFailedBefore(journal, report)
    countBehind(journal, report, outputs, { ...options, stopped })
    const whole = stopped || begun === undefined ? ending : yield* endingOver(name, begun, ending, report)
    return { ...whole, paths: where, report, recovered, written, uncertainNanoUsd: uncertainCost.noted() }
  }))

/**
 * Refuses to send by calls while batches of the job may answer, and bill, the same rows.
 *
 * **Details**: a damaged journal may have lost what it noted of a part: there every open one counts.
 */
const refuseInBatch = (journal: Journal.Journal): Effect.Effect<void, JournalError> => {
  const damaged = journal.recovered.damaged.length > 0
  const rows = BatchParts.open(journal.notes)
    .filter((part) => damaged || BatchParts.mayExist(part))
    .reduce((sum, part) => sum + part.rows, 0)
  const [what, they] = rows === 1 ? ["1 row is, or may be,", "it"] : [`${rows} rows are, or may be,`, "they"]
  return rows === 0 ? Effect.void : Effect.fail(
    new JournalError({
      message: `${what} in batches that an earlier run of the journal ${journal.path} began and ` +
        `that nobody collected: by calls ${they} would be billed twice. Nothing was sent. Go on through batches, also ` +
        "where they were cancelled: what they answered is collected first.",
      reason: "batch-running",
      path: journal.path
    })
  )
}

/**
 * Runs a job from file to file, by calls.
 *
 * **Errors**: `InputError`, `JournalError`, `OutputError`. Rows that fail are no error: see the report.
 */
export const run = <R>(options: Options<R>): Effect.Effect<Result, JobError, R | FileSystem.FileSystem> => {
  Job.checked(options)
  return around(options, ({ emit, journal, report, rows, stop, uncertainCost }) => {
    const { send, spending } = options
    const calls = ({ journal, sending }: UncertainCost.Followed) =>
      Job.drive(rows, { ...options, send: sending(send), journal, report, stop }, emit)
    return Effect.andThen(
      refuseInBatch(journal),
      spending === undefined
        ? calls({ journal, sending: (send) => send })
        : uncertainCost.follow({ spending, stop }, calls)
    )
  })
}
