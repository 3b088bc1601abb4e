/**
 * Which output files are a job's own to write.
 *
 * ```text
 * lock ─▶ look: empty ─────────────────────────▶ the journal names it before its first byte
 *               named, with rows of the journal ▶ its own
 *               anything else ──────────────────▶ refused, not touched
 * ```
 *
 * The lock, `FILE.lock` (Lock.ts), keeps another job off the file as long as this one runs, also while nothing is written
 * yet. The name in the journal tells the next run of the job. It alone does not prove that the file is the job's: it may
 * have been moved away since, and another job may have written one in its place. So the first row counts as well.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Json from "../../together/Json.ts"
import * as FileIdentity from "./FileIdentity.ts"
import { type JournalError, OutputError } from "../JobError.ts"
import type * as Journal from "../journal/Journal.ts"
import * as JournalScan from "../journal/JournalScan.ts"
import * as Lines from "../Lines.ts"
import * as Lock from "./Lock.ts"

/** Names the files of a job. */
export interface Paths {
  readonly results: string | undefined
  readonly errors: string
  readonly journal: string
}

/** What a job may do with its output files. */
export interface Claim {
  /** Whether the file of errors may be removed where nothing failed. */
  readonly removable: boolean
  /**
   * Must run before something is written to a file: lets the journal name it, and fails once another process has its
   * lock.
   */
  readonly writing: (path: string) => Effect.Effect<void, OutputError | JournalError>
}

const foreign = (path: string, why: string) =>
  new OutputError({
    message: `${path} exists, and ${why}. It is not overwritten: move it away, or give another path.`,
    reason: "unwritable",
    path
  })

/** Refuses directories, and files that hold something while there is no journal. */
export const refuseForeign = Effect.fnUntraced(function*(where: Paths) {
  const fs = yield* FileSystem.FileSystem
  for (const path of [where.results, where.errors]) {
    if (path === undefined || (yield* FileIdentity.kindOf(path)) !== "directory") continue
    const message = `${path} is a directory: give the path of a file.`
    return yield* new OutputError({ message, reason: "unwritable", path })
  }
  if (yield* Effect.orElseSucceed(fs.exists(where.journal), () => false)) return
  for (const path of [where.results, where.errors]) {
    if (path !== undefined && (yield* FileIdentity.bytesOf(path)) > 0n) {
      return yield* foreign(path, `there is no journal ${where.journal} that tells of it`)
    }
  }
})

/** Refuses two uses of one file. */
export const refuseShared = Effect.fnUntraced(function*(where: Paths, input: string | undefined) {
  const found = yield* FileIdentity.shared([
    ["input", input],
    ["journal", where.journal],
    ["results", where.results],
    ["errors", where.errors]
  ])
  if (found === undefined) return
  return yield* new OutputError({
    message: `${found.path} is given for the ${found.other} and for the ${found.use}: give each a file of its own.`,
    reason: "unwritable",
    path: found.path
  })
})

const AnyRow = Schema.Struct({
  id: Schema.String.check(Schema.isPattern(/^br_[0-9a-f]{16}$/)),
  custom_id: Schema.String
})

const BadLine = Schema.Struct({
  error: Schema.Struct({ code: Schema.String.check(Schema.isStartingWith("bad_row_")) })
})

const decodeRow = Schema.decodeUnknownOption(Schema.Union([AnyRow, BadLine]))

/**
 * Reads the first line of a file where that is one of our rows. The fields of a row may stand in any order: JSON puts
 * those first whose names are numbers.
 */
const firstRow = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const lines = Lines.stream(fs.stream(path), JournalScan.maxLineBytes, (bytes) => bytes && Lines.decode(bytes))
  const first = yield* Effect.orElseSucceed(Stream.runHead(lines), () => Option.none())
  return Option.getOrUndefined(decodeRow(Json.parse(Option.getOrUndefined(first) ?? "")))
})

/** Tells whether a journal names a file: by the way to it, or by its real path as journals named it before. */
const isNamed = ({ outputs }: Journal.Journal, { way, whole }: { readonly way: string; readonly whole: string }) =>
  outputs.has(way) || outputs.has(whole)

/**
 * Tells whether a file that holds something is the job's own. An edited one is, and made again; one that begins with a
 * row that the journal does not know is another job's.
 *
 * **Details**: a journal that holds rows and names no file was written before journals named them, and one that was
 * damaged may have lost a name: there a file counts as the job's own where it begins as one of ours.
 */
const isOwn = Effect.fnUntraced(function*(path: string, journal: Journal.Journal, named: boolean) {
  const { damaged, rows, tornBytes } = journal.recovered
  if (!named && !(rows > 0 && (journal.outputs.size === 0 || damaged.length > 0))) return false
  const first = yield* firstRow(path)
  if (first === undefined) return named
  if (damaged.length > 0 || tornBytes > 0) return true
  return "id" in first ? journal.known(first.custom_id)._tag !== "New" : named
})

const lockedFor = (path: string) => ({ cause, message, path: lock, reason }: JournalError): OutputError =>
  new OutputError({
    message: reason === "locked" ? `${message} Or give this job another path than ${path}.` : message,
    reason: reason === "locked" || reason === "lock-lost" || reason === "disk-full" ? reason : "unwritable",
    path: lock,
    cause
  })

/** Locks a file for the life of the scope; hands back why it is another process's, once it is. */
const locked = Effect.fnUntraced(function*(path: string, whole: string, options: Lock.Options) {
  const lock = yield* Effect.mapError(
    Lock.acquire(`${whole}.lock`, { ...options, what: "file" }),
    lockedFor(path)
  )
  let lost: OutputError | undefined
  const watching = Effect.catch(lock.lost, (error) => Effect.sync(() => void (lost = lockedFor(path)(error))))
  yield* Effect.forkScoped(watching)
  return () => lost
})

/**
 * Locks the output files for the life of the scope, and refuses those that hold something that is not the job's own.
 *
 * **Errors**: `OutputError` with `locked` where another job writes to one of them, `unwritable` where one is foreign.
 */
export const make = Effect.fnUntraced(function*(
  where: Paths,
  journal: Journal.Journal,
  options: Lock.Options
): Effect.fn.Return<Claim, OutputError | JournalError, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  const before = yield* Effect.orElseSucceed(fs.exists(where.errors), () => true)
  /** The way to each file that the journal does not name yet. */
  const unnamed = new Map<string, string>()
  const lost = new Map<string, () => OutputError | undefined>()

  const claim = Effect.fnUntraced(function*(path: string) {
    if ((yield* FileIdentity.kindOf(path)) === "stream") return
    const names = yield* FileIdentity.beside(path, journal.path)
    lost.set(path, yield* locked(path, names.whole, options))
    const named = isNamed(journal, names)
    const empty = (yield* FileIdentity.bytesOf(path)) === 0n
    if (!empty && !(yield* isOwn(path, journal, named))) {
      return yield* foreign(
        path,
        named
          ? `it begins with a row that the journal ${journal.path} does not hold: another job has written it since`
          : `the journal ${journal.path} does not name it among the files it has written`
      )
    }
    if (!named) unnamed.set(path, names.way)
    // what a run left empty that was killed is its own, too
    return named || !empty || journal.recovered.rows > 0
  })

  const own = yield* Effect.forEach(
    [where.errors, ...(where.results === undefined ? [] : [where.results])],
    claim,
    { concurrency: "unbounded" }
  )
  return {
    removable: own[0] === true || !before,
    writing: (path) =>
      Effect.suspend((): Effect.Effect<void, OutputError | JournalError> => {
        const taken = lost.get(path)?.()
        if (taken !== undefined) return Effect.fail(taken)
        const name = unnamed.get(path)
        if (name === undefined) return Effect.void
        return Effect.andThen(journal.note("output", name), Effect.sync(() => void unnamed.delete(path)))
      })
  }
})
