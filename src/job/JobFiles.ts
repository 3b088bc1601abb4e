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
 * An output file that exists while the journal does not is somebody else's: it is refused, not overwritten.
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as GroupCommit from "./GroupCommit.ts"
import * as Input from "./Input.ts"
import * as Job from "./Job.ts"
import { InputError, type JobError, OutputError } from "./JobError.ts"
import * as Journal from "./Journal.ts"
import type * as JournalScan from "./JournalScan.ts"
import type * as Lock from "./Lock.ts"
import * as Projection from "./Projection.ts"
import * as Report from "./Report.ts"
import type * as Row from "./Row.ts"
import * as Settled from "./Settled.ts"
import * as SteadyClock from "./SteadyClock.ts"

/** Takes text that would go to a file: standard output, for one. */
export interface Writer {
  readonly _tag: "Writer"
  readonly write: (text: string) => Effect.Effect<void, OutputError>
}

/** Configures a job from file to file. */
export interface Options<R> extends Omit<Job.Options<R>, "journal">, Lock.Options, GroupCommit.Options {
  readonly input: Input.Source
  /** Where answered rows go. Default: beside the input, `.results.jsonl`. */
  readonly results?: string | Writer | undefined
  /** Where failed rows and bad lines go. Default: beside the results, `.errors.jsonl`. */
  readonly errors?: string | undefined
  /** Where the journal is. Default: the results' path and `.journal`. */
  readonly journalPath?: string | undefined
  /** How lines become rows. */
  readonly row?: Row.Options | undefined
  /** Which lines are taken. Default: all. */
  readonly select?: ((line: number) => boolean) | undefined
}

/** Names the files of a job. */
export interface Paths {
  readonly results: string | undefined
  readonly errors: string
  readonly journal: string
}

/** Derives the files of a job from its input and options. */
export const paths = (options: {
  readonly input: Input.Source
  readonly results?: string | Writer | undefined
  readonly errors?: string | undefined
  readonly journalPath?: string | undefined
}): Paths => {
  const name = options.input._tag === "File" ? options.input.path : options.input.name
  const stem = name.replace(/\.gz$/, "").replace(/\.(jsonl|ndjson|json)$/, "")
  const results = options.results ?? `${stem}.results.jsonl`
  const base = typeof results === "string" ? results : `${stem}.results.jsonl`
  return {
    results: typeof results === "string" ? results : undefined,
    errors: options.errors ?? `${base.replace(/(\.results)?\.jsonl$/, "")}.errors.jsonl`,
    journal: options.journalPath ?? `${base}.journal`
  }
}

/** Says how a job from file to file ended. */
export interface Result extends Job.Ending {
  readonly paths: Paths
  readonly report: Report.Report
  readonly recovered: Journal.Recovered
  /** Rows that results and errors hold: as many as are settled, or something was lost. */
  readonly written: number
}

const refuseForeign = Effect.fnUntraced(function*(path: string, journal: string) {
  const fs = yield* FileSystem.FileSystem
  const size = yield* fs.stat(path).pipe(
    Effect.map((info) => ByteSize.toBigInt(info.size)),
    Effect.orElseSucceed(() => 0n)
  )
  if (size === 0n) return
  return yield* new OutputError({
    message:
      `${path} exists, and there is no journal ${journal} that tells of it. It is not overwritten: move it away, ` +
      "or give another path for the results.",
    reason: "unwritable",
    path
  })
})

const refuseShared = (where: Paths, input: string): Effect.Effect<void, OutputError> => {
  const uses = new Map<string, string>()
  for (
    const [use, path] of [["input", input], ["journal", where.journal], ["results", where.results], [
      "errors",
      where.errors
    ]] as const
  ) {
    if (path === undefined) continue
    const place = path.replace(/^(\.\/+)+/, "").replace(/\/(\.?\/)+/g, "/")
    const other = uses.get(place)
    if (other !== undefined) {
      return Effect.fail(
        new OutputError({
          message: `${path} is given for the ${other} and for the ${use}: give each a file of its own.`,
          reason: "unwritable",
          path
        })
      )
    }
    uses.set(place, use)
  }
  return Effect.void
}

interface Outputs {
  readonly emit: (settled: ReadonlyArray<Job.Settled>) => Effect.Effect<void, OutputError>
  /** Cuts leftovers, and writes again what was deleted or replaced; returns the rows that both files hold. */
  readonly finish: (journal: Journal.Journal) => Effect.Effect<number, JobError, FileSystem.FileSystem>
}

const lines = (settled: ReadonlyArray<{ readonly text: string }>): string =>
  settled.length === 0 ? "" : settled.map((each) => each.text).join("\n") + "\n"

/** Writes one projection anew from the journal, which knows the order of completion only; returns its rows. */
const rewrite = (path: string, journal: Journal.Journal, ok: boolean) =>
  Effect.scoped(Effect.gen(function*() {
    const projection = yield* Projection.open(path)
    let rows = 0
    yield* Stream.runForEachArray(journal.settled, (settled) => {
      const wanted = settled.filter((each) => each.meta.ok === ok)
      rows += wanted.length
      return wanted.length === 0 ? Effect.void : projection.append(lines(wanted.map((each) => ({ text: each.answer }))))
    })
    yield* projection.finish
    return rows
  }))

const openOutputs = Effect.fnUntraced(function*(
  where: Paths,
  options: Pick<Options<never>, "results" | "order" | "retryErrors" | "changed" | "report">
): Effect.fn.Return<Outputs, OutputError, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const results = typeof options.results === "object" ? options.results : undefined
  const file = where.results === undefined ? undefined : yield* Projection.open(where.results)
  const write = results?.write ?? file!.append
  const failures = yield* Projection.open(where.errors)
  const rows = { ok: 0, failed: 0 }

  const emit = (settled: ReadonlyArray<Job.Settled>) =>
    Effect.gen(function*() {
      const ok = settled.filter((each) => each.kind === "ok")
      if (ok.length > 0) yield* write(lines(ok))
      if (ok.length < settled.length) yield* failures.append(lines(settled.filter((each) => each.kind !== "ok")))
      rows.ok += ok.length
      rows.failed += settled.length - ok.length
    })

  const restore = Effect.fnUntraced(
    function*(projection: Projection.Projection, journal: Journal.Journal, ok: boolean) {
      yield* projection.finish
      if (yield* projection.intact) return
      yield* rewrite(projection.path, journal, ok)
      if (options.report !== undefined) {
        const order = options.order === "input" && ok ? ", in order of completion: run again to sort them" : ""
        Report.warn(options.report, `${projection.path} was deleted while the job ran; it was written again${order}`)
      }
    }
  )

  return {
    emit,
    finish: Effect.fnUntraced(function*(journal) {
      // Rows that were sent again stand in the files with what they were answered before, too: the journal tells which.
      const resent = options.changed === "resend"
      const restoredOk = file === undefined ? undefined : yield* restore(file, journal, true)
      const restoredFailed = yield* restore(failures, journal, false)
      const ok = resent && file !== undefined && options.order !== "input"
        ? yield* rewrite(file.path, journal, true)
        : restoredOk
      const failed = (resent || options.retryErrors === true
        ? yield* rewrite(where.errors, journal, false)
        : restoredFailed) ?? rows.failed
      if (failed === 0) yield* Effect.ignore(fs.remove(where.errors, { force: true }))
      return (ok ?? rows.ok) + failed
    })
  }
})

/** Is what a way of answering rows gets: rows, journal, report, and where settled rows go. */
export interface Context {
  /** Reads the input from its start; may be run more than once where the source is a file. */
  readonly rows: Stream.Stream<Row.Row | Row.Bad, InputError, FileSystem.FileSystem>
  readonly journal: Journal.Journal
  readonly report: Report.Report
  readonly emit: (settled: ReadonlyArray<Job.Settled>) => Effect.Effect<void, OutputError>
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

/**
 * Opens the files of a job, lets `answer` do the work, and makes results and errors agree with the journal before and
 * after.
 *
 * **Errors**: `InputError`, `JournalError`, `OutputError`, and those of `answer`.
 */
export const around = <E, R, R2>(
  options: Omit<Options<R>, "send">,
  answer: (context: Context) => Effect.Effect<Job.Ending, E, R2>
): Effect.Effect<Result, E | JobError, R2 | FileSystem.FileSystem> =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const where = paths(options)
    const now = yield* SteadyClock.make
    const report = options.report ?? Report.make(now())
    const name = options.input._tag === "File" ? options.input.path : options.input.name
    yield* refuseShared(where, name)
    const fingerprint = options.input._tag === "File" ? yield* Input.fingerprint(options.input.path) : undefined
    if (fingerprint?.bytes === 0) return yield* emptyInput(name, "is empty")
    if (!(yield* Effect.orElseSucceed(fs.exists(where.journal), () => false))) {
      if (where.results !== undefined) yield* refuseForeign(where.results, where.journal)
      yield* refuseForeign(where.errors, where.journal)
    }
    const inOrder = options.order === "input"
    const journal = yield* Journal.open({
      ...options,
      path: where.journal,
      input: { path: name, fingerprint },
      acceptChange: options.changed === "keep" || options.changed === "resend",
      offsets: inOrder || options.dedupe === true
    })
    const { recovered } = journal
    report.resumedNanoUsd = BigInt(Math.round(recovered.nanoUsd))
    warnOf(report, name, recovered)
    const outputs = yield* openOutputs(where, { ...options, report })
    const replay = (of: (each: JournalScan.Settled) => boolean) =>
      Stream.runForEachArray(
        journal.settled,
        (settled) => outputs.emit(settled.filter(of).map(Settled.ofRecord))
      )
    // A writer takes nothing back: what a row was answered before is written when it is known that it still counts.
    const late = !inOrder && options.changed === "resend" && typeof options.results === "object"
    if (!inOrder && !late) yield* replay(() => true)
    const { select } = options
    const all = Input.rows(options.input, options.row)
    const rows = select === undefined ? all : Stream.filter(all, (row) => select(row.line))
    const ending = yield* answer({ rows, journal, report, emit: outputs.emit })
    if (late) yield* replay((each) => each.meta.ok && each.ordinal <= recovered.rows)
    report.endedAt = now()
    if (report.read === 0 && ending.stop === undefined) return yield* emptyInput(name, "holds no rows")
    const written = yield* outputs.finish(journal)
    for (const [model, { error, rows: left }] of ending.abandoned) {
      if (left === 0) continue
      Report.warn(report, `${left} rows of ${model} were not sent, all before them were refused: ${error.message}`)
    }
    return { ...ending, paths: where, report, recovered, written }
  }))

/**
 * Runs a job from file to file.
 *
 * **Errors**: `InputError`, `JournalError`, `OutputError`. Rows that fail are no error: see the report.
 */
export const run = <R>(options: Options<R>): Effect.Effect<Result, JobError, R | FileSystem.FileSystem> =>
  around(options, ({ emit, journal, report, rows }) => Job.drive(rows, { ...options, journal, report }, emit))
