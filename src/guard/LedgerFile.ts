/**
 * A ledger in one append-only file: opened, repaired and compacted once, then written batch by batch.
 *
 * Appends of many fibers that meet share one write and one `fsync`. Before and after each write the file must be as
 * this store left it: the same file, of the same size. So of two programs on one file the second to write is stopped,
 * before a call is sent that the other one's budget does not know of. No lock that a killed program could leave behind.
 *
 * A long file is replaced by a short one that says the same, by a rename: whenever the program stops, one of the two
 * is there, whole.
 */
import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type * as Ledger from "../policy/Ledger.ts"
import * as LedgerCompaction from "../policy/LedgerCompaction.ts"
import { decode, encode, header, LedgerStoreError } from "./LedgerFormat.ts"

/** Keeps the entries of one ledger. */
export interface Store {
  /** What was there when the store was opened, in order. */
  readonly entries: ReadonlyArray<Ledger.Entry>
  /** Bytes of a torn end that opening cut off; never part of an acknowledged entry. */
  readonly tornBytes: number
  /** Appends entries, in order; returns once they are durable. */
  readonly append: (entries: ReadonlyArray<Ledger.Entry>) => Effect.Effect<void, LedgerStoreError>
}

/** Configures a ledger file. */
export interface FileOptions {
  /** Path of the file; its directory must exist. */
  readonly path: string
  /**
   * Entries from which on opening replaces the file by a short one that says the same, where that at least halves it.
   * An integer of at least 1, or `Infinity` to keep every entry for ever. Default 20000: opening then takes well below
   * a second.
   */
  readonly compactAbove?: number | undefined
}

/** Holds the defaults of this module. */
export const defaults = { compactAbove: 20_000 }

const ioError = (path: string, what: string) => (cause: PlatformError.PlatformError) =>
  new LedgerStoreError({
    reason: "io",
    message: `The ledger file ${path} cannot be ${what}: ${cause.message}. Nothing is sent that it cannot record.`,
    cause
  })

const foreign = (path: string) =>
  new LedgerStoreError({
    reason: "foreign",
    message:
      `Another program wrote to the ledger file ${path}, or replaced it, since this one opened it. Nothing more ` +
      "is sent: stop one of them, or give each its own file."
  })

const checked = (compactAbove: number): number => {
  if (!(Number.isInteger(compactAbove) && compactAbove >= 1) && compactAbove !== Infinity) {
    throw new RangeError(
      `LedgerStore.makeFile: compactAbove must be an integer of at least 1 or Infinity, got ${compactAbove}`
    )
  }
  return compactAbove
}

/** Reads what a ledger file says; a file that is not there says nothing. */
const read = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const bytes = yield* fs.exists(path).pipe(
    Effect.flatMap((exists) => exists ? fs.readFile(path) : Effect.succeed(new Uint8Array())),
    Effect.mapError(ioError(path, "read"))
  )
  const { entries, goodBytes } = yield* Effect.fromResult(decode(bytes))
  return { entries, goodBytes, tornBytes: bytes.length - goodBytes }
})

/** Puts a file with these entries, and the same permissions, in the place of the old one; gives its size. */
const replace = Effect.fnUntraced(function*(path: string, entries: ReadonlyArray<Ledger.Entry>) {
  const fs = yield* FileSystem.FileSystem
  const data = new TextEncoder().encode(`${header}\n${encode(entries)}`)
  const written = Effect.gen(function*() {
    // a link stays one
    const target = yield* fs.realPath(path)
    const { mode } = yield* fs.stat(target)
    const file = yield* fs.open(`${target}.compact`, { flag: "w" })
    yield* fs.chmod(`${target}.compact`, mode & 0o777)
    yield* file.writeAll(data)
    yield* file.sync
    return target
  })
  yield* Effect.scoped(written).pipe(
    Effect.flatMap((target) => fs.rename(`${target}.compact`, target)),
    Effect.mapError(ioError(path, "compacted"))
  )
  return data.length
})

interface Batch {
  readonly lines: string
  readonly done: Deferred.Deferred<void, LedgerStoreError>
}

/**
 * Opens a ledger file, creating it where there is none.
 *
 * **Details**: closing the scope first writes what is still queued.
 *
 * **Errors**: `LedgerStoreError`; a defect `RangeError` for a bad option.
 */
export const makeFile = Effect.fn("LedgerStore.makeFile")(function*(
  options: FileOptions
): Effect.fn.Return<Store, LedgerStoreError, FileSystem.FileSystem | Scope.Scope> {
  const { path } = options
  const compactAbove = checked(options.compactAbove ?? defaults.compactAbove)
  const fs = yield* FileSystem.FileSystem
  const found = yield* read(path)
  const compacted = found.entries.length > compactAbove ? LedgerCompaction.compact(found.entries) : found.entries
  const entries = compacted.length * 2 <= found.entries.length ? compacted : found.entries
  let size = found.goodBytes
  if (entries !== found.entries) size = yield* replace(path, entries)
  const file = yield* fs.open(path, { flag: "a" }).pipe(Effect.mapError(ioError(path, "opened")))
  if (entries === found.entries && found.tornBytes > 0) {
    yield* fs.truncate(path, size).pipe(Effect.mapError(ioError(path, "repaired")))
  }
  const look = Effect.mapError(fs.stat(path), ioError(path, "read"))
  const identity = Option.getOrUndefined((yield* look).ino)

  let broken: LedgerStoreError | undefined
  const breaks = (error: LedgerStoreError) => Effect.sync(() => void (broken = error))
  const owned = Effect.flatMap(
    look,
    (info) =>
      Number(info.size) === size && Option.getOrUndefined(info.ino) === identity
        ? Effect.void
        : Effect.tapError(Effect.fail(foreign(path)), breaks)
  )
  const write = (lines: string): Effect.Effect<void, LedgerStoreError> => {
    if (broken !== undefined) return Effect.fail(broken)
    const data = new TextEncoder().encode(lines)
    return owned.pipe(
      Effect.andThen(
        file.writeAll(data).pipe(
          Effect.andThen(file.sync),
          Effect.mapError(ioError(path, "written")),
          // half a line may stand there now: cut it off, or write no more behind it
          Effect.tapError((error) => Effect.catch(fs.truncate(path, size), () => breaks(error)))
        )
      ),
      Effect.andThen(Effect.suspend(() => {
        size += data.length
        return owned
      }))
    )
  }
  if (size === 0) yield* write(`${header}\n`)

  const queue = yield* Queue.unbounded<Batch, Cause.Done>()
  const writer = yield* Queue.takeAll(queue).pipe(
    Effect.flatMap((batches) =>
      Effect.flatMap(
        Effect.exit(write(batches.map((batch) => batch.lines).join(""))),
        (exit) => Effect.forEach(batches, (batch) => Deferred.done(batch.done, exit), { discard: true })
      )
    ),
    Effect.forever,
    Effect.ignore,
    Effect.uninterruptible,
    Effect.forkScoped
  )
  yield* Effect.addFinalizer(() => Effect.andThen(Queue.end(queue), Fiber.await(writer)))
  return {
    entries,
    tornBytes: found.tornBytes,
    append: (entries) =>
      Effect.suspend(() => {
        if (broken !== undefined) return Effect.fail(broken)
        const done = Deferred.makeUnsafe<void, LedgerStoreError>()
        return Queue.offerUnsafe(queue, { lines: encode(entries), done })
          ? Deferred.await(done)
          : Effect.fail(
            new LedgerStoreError({
              reason: "io",
              message: `The ledger file ${path} is closed: its layer was released.`
            })
          )
      })
  }
})
