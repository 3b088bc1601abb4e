/**
 * What a job writes besides its journal: results, and errors apart.
 *
 * Both are projections of the journal (Projection.ts), so a file that exists is only touched where it is the job's own
 * (Claim.ts). What takes nothing back (a writer, a device, a pipe) gets every row once.
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type * as Claim from "./Claim.ts"
import type * as DiskFull from "./DiskFull.ts"
import type * as Job from "../Job.ts"
import type { JobError, JournalError, OutputError } from "../JobError.ts"
import type * as Journal from "../journal/Journal.ts"
import type * as JournalScan from "../journal/JournalScan.ts"
import * as Projection from "./Projection.ts"
import * as Report from "../Report.ts"
import * as Unread from "./Unread.ts"

/** Takes text that would go to a file: standard output, for one. */
export interface Writer {
  readonly _tag: "Writer"
  readonly write: (text: string) => Effect.Effect<void, OutputError>
}

/** Says how results and errors are written. */
export interface Options extends DiskFull.Options {
  readonly results?: string | Writer | undefined
  readonly order?: "completion" | "input" | undefined
  readonly retryErrors?: boolean | undefined
  /** Whether rows that were answered before may be answered again. */
  readonly resent: boolean
  readonly select?: ((line: number) => boolean) | undefined
  readonly report: Report.Report
  readonly journal: Journal.Journal
  readonly claim: Claim.Claim
}

/** Says what a job came to, as far as its outputs care. */
export interface Ended {
  /** Whether it ended before its input did. */
  readonly stopped: boolean
  /** Line up to which the input was read. */
  readonly lastLine: number
}

/** Writes results and errors. */
export interface Outputs {
  /** Writes settled rows, one group after another: a writer is never asked to take two texts at a time. */
  readonly emit: (settled: ReadonlyArray<Job.Settled>) => Effect.Effect<void, OutputError | JournalError>
  /** Tells whether results, and errors, are files that can be written again. */
  readonly regular: { readonly results: boolean; readonly errors: boolean }
  /**
   * Makes both agree with the journal: cuts leftovers, writes again what was deleted, replaced or cut and what this run did
   * not come by; returns the rows that both hold.
   */
  readonly finish: (ended: Ended) => Effect.Effect<number, JobError, FileSystem.FileSystem>
}

const lines = (texts: ReadonlyArray<string>): string => texts.length === 0 ? "" : `${texts.join("\n")}\n`

type Take = (texts: ReadonlyArray<string>) => Effect.Effect<void, OutputError | JournalError>

/** Hands on the rows of a journal in the order of its lines, which is that of completion; returns how many. */
const unsorted = Effect.fnUntraced(function*(
  journal: Journal.Journal,
  wanted: (each: JournalScan.Record) => boolean,
  take: Take
) {
  let rows = 0
  yield* Stream.runForEachArray(journal.settled, (settled) => {
    const texts = settled.filter(wanted).map((each) => each.answer)
    rows += texts.length
    return texts.length === 0 ? Effect.void : take(texts)
  })
  return rows
})

/** Finds the line of a row: where it stands in this input, else where it was answered. */
const lineOf = (journal: Journal.Journal, id: string, answeredOn: number): number => {
  const known = journal.known(id)
  return known._tag === "Seen" ? known.line : answeredOn
}

const lineNow = (journal: Journal.Journal, { bad, meta }: JournalScan.Record): number =>
  bad ? meta.n : lineOf(journal, meta.id, meta.n)

/** Hands on the rows of a journal in the order of the input; returns how many. */
const sorted = Effect.fnUntraced(function*(
  journal: Journal.Journal,
  wanted: (each: JournalScan.Record) => boolean,
  take: Take
) {
  const ordinals: Array<number> = []
  const at: Array<number> = []
  yield* Stream.runForEachArray(journal.settled, (settled) =>
    Effect.sync(() => {
      for (const each of settled) {
        if (!wanted(each)) continue
        at[each.ordinal] = lineNow(journal, each)
        ordinals.push(each.ordinal)
      }
    }))
  ordinals.sort((a, b) => at[a]! - at[b]! || a - b)
  const group = 256
  for (let from = 0; from < ordinals.length; from += group) {
    yield* Effect.flatMap(Effect.forEach(ordinals.slice(from, from + group), journal.answerAt), take)
  }
  return ordinals.length
})

/** Removes a file that holds nothing, and no link to one. */
const removeEmpty = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const own = yield* Effect.option(fs.lstat(path))
  if (Option.isSome(own) && own.value.type === "File" && ByteSize.toBigInt(own.value.size) === 0n) {
    yield* Effect.ignore(fs.remove(path, { force: true }))
  }
})

/** Opens the outputs for the life of the scope: an empty file of errors is removed at its end. */
export const open = Effect.fnUntraced(function*(
  where: Claim.Paths,
  options: Options
): Effect.fn.Return<Outputs, OutputError, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const { claim, journal, report, resent, select } = options
  const inOrder = options.order === "input"
  const results = typeof options.results === "object" ? undefined : yield* Projection.open(where.results!, options)

  /** Writes to a file as long as it is the job's own. */
  const into = (file: Projection.Projection) => (text: string) =>
    Effect.andThen(claim.writing(file.path), file.append(text))
  const waiting = Unread.bound("the results", options)
  const { results: given } = options
  const write = typeof given === "object" ? (text: string) => waiting(given.write(text)) : into(results!)
  if (claim.removable) {
    // however the job ends: it runs when the file is closed
    yield* Effect.addFinalizer(() => removeEmpty(where.errors).pipe(Effect.provideService(FileSystem.FileSystem, fs)))
  }
  const failures = yield* Projection.open(where.errors, options)
  const writeFailed = into(failures)
  const one = yield* Semaphore.make(1)
  const rows = { ok: 0, failed: 0 }
  let lastEmitted = 0
  const again = inOrder ? sorted : unsorted

  /** Finds the line of a row; one that an earlier run has settled tells that of then. */
  const placeOf = ({ id, kind, line, resumed }: Job.Settled): number =>
    inOrder && resumed && kind !== "bad" && id !== undefined ? lineOf(journal, id, line) : line

  // one generator function for all of them: decision 0064
  const emitNow = Effect.fnUntraced(function*(settled: ReadonlyArray<Job.Settled>) {
    const ok = settled.filter((each) => each.kind === "ok")
    if (ok.length > 0) yield* write(lines(ok.map((each) => each.text)))
    if (ok.length < settled.length) {
      yield* writeFailed(lines(settled.filter((each) => each.kind !== "ok").map((each) => each.text)))
    }
    rows.ok += ok.length
    rows.failed += settled.length - ok.length
    for (const each of settled) lastEmitted = Math.max(lastEmitted, placeOf(each))
  })

  const emit = (settled: ReadonlyArray<Job.Settled>) => one.withPermit(emitNow(settled))

  /** Writes one projection anew from the journal. */
  const rewrite = (path: string, ok: boolean) =>
    Effect.scoped(Effect.gen(function*() {
      const projection = yield* Projection.open(path, options)
      const add = into(projection)
      const count = yield* again(journal, (each) => each.meta.ok === ok, (texts) => add(lines(texts)))
      yield* projection.finish
      return count
    }))

  /** Ends a file; returns the number of its rows. */
  const close = Effect.fnUntraced(
    function*(file: Projection.Projection, ok: boolean, stale: boolean, emitted: number) {
      const intact = yield* file.intact
      if (!intact) {
        Report.warn(report, `${file.path} was deleted, replaced or cut while the job ran; it was written again`)
      }
      if (!intact || stale) return yield* rewrite(file.path, ok)
      yield* file.finish
      return emitted
    }
  )

  /** Hands on what stands behind a row that stayed undone; it comes after all that was handed on. */
  const rest = Effect.fnUntraced(function*({ lastLine, stopped }: Ended, ok: boolean, take: Take) {
    if (!inOrder || !stopped) return 0
    const held = (line: number) => line > lastEmitted && line <= lastLine && select?.(line) !== false
    return yield* sorted(journal, (each) => each.meta.ok === ok && held(lineNow(journal, each)), take)
  })

  /** Tells whether the journal holds rows that this run did not hand on, so that an order of the input lacks them. */
  const partial = ({ stopped }: Ended): boolean =>
    stopped || select !== undefined || journal.recovered.ok > report.resumedOk ||
    journal.recovered.failed > report.resumedFailed

  return {
    emit,
    regular: { results: results?.regular === true, errors: failures.regular },
    finish: Effect.fnUntraced(function*(ended) {
      // The files also hold earlier outcomes of rows that were sent again: the journal tells which ones count.
      const lacking = inOrder && partial(ended)
      const fewerBad = journal.recovered.bad > report.bad
      const ok = results?.regular === true
        ? yield* close(results, true, inOrder ? lacking : resent, rows.ok)
        : rows.ok + (yield* rest(ended, true, (texts) => write(lines(texts))))
      const failed = failures.regular
        ? yield* close(failures, false, lacking || resent || fewerBad || options.retryErrors === true, rows.failed)
        : rows.failed + (yield* rest(ended, false, (texts) => writeFailed(lines(texts))))
      return ok + failed
    })
  }
})
