/**
 * A ledger in one append-only file: opened, repaired and compacted once, then written batch by batch.
 *
 * Appends of many fibers that meet share one write and one `fsync`. Before and after each write the file must be as
 * this store left it: the same file, of the same size. So of two programs on one file the second to write is stopped,
 * before a call is sent that the other one's budget does not know of. No lock that a killed program could leave behind.
 *
 * A long file is replaced by a short one that says the same, by a rename: whenever the program stops, one of the two
 * is there, whole. Where it cannot be replaced (no room, or mounted by itself into a container), it stays long.
 *
 * Opening may find a program at work that it takes for dead. So before it cuts or replaces, it appends one byte, its
 * claim, and reads again: what the other one acknowledged came before the claim and is read, what comes after it is
 * not acknowledged. A program that is killed in between leaves the claim, and the next one cuts it off with all that
 * follows. Of two that do so in one moment mostly one gives up, as it finds the claim of the other, and seldom both;
 * where both go on, the second to write is stopped.
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
import { claim, decode, encode, header, LedgerStoreError } from "./LedgerFormat.ts"

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

/** Tells one state of a file: who writes to it changes its size, who replaces it its inode. */
interface Stamp {
  readonly ino: bigint | undefined
  readonly size: number
}

const inoOf = (info: FileSystem.File.Info): bigint | undefined => Option.getOrUndefined(info.ino)

/** Tells whether the file at a path is as it was. */
const bears = (
  fs: FileSystem.FileSystem,
  path: string,
  stamp: Stamp
): Effect.Effect<boolean, PlatformError.PlatformError> =>
  Effect.map(fs.stat(path), (info) => Number(info.size) === stamp.size && inoOf(info) === stamp.ino)

/** Reads what a ledger file says, and how it is said in few entries where that is due. */
const read = Effect.fnUntraced(function*(path: string, compactAbove: number) {
  const fs = yield* FileSystem.FileSystem
  const bytes = yield* Effect.mapError(fs.readFile(path), ioError(path, "read"))
  const { entries, goodBytes } = yield* Effect.fromResult(decode(bytes))
  const compacted = entries.length > compactAbove ? LedgerCompaction.compact(entries) : undefined
  return {
    entries,
    short: compacted !== undefined && compacted.length * 2 <= entries.length ? compacted : undefined,
    goodBytes,
    size: bytes.length
  }
})

/** Puts a file with these entries, and the same permissions, in the place of the one that was read. */
const replace = Effect.fnUntraced(function*(path: string, entries: ReadonlyArray<Ledger.Entry>, stamp: Stamp) {
  const fs = yield* FileSystem.FileSystem
  const data = new TextEncoder().encode(`${header}\n${encode(entries)}`)
  // a link stays one
  const target = yield* fs.realPath(path)
  const beside = `${target}.compact`
  const written = Effect.gen(function*() {
    const { mode } = yield* fs.stat(target)
    // a killed program may have left one behind
    yield* fs.remove(beside, { force: true })
    const file = yield* fs.open(beside, { flag: "wx" })
    yield* fs.chmod(beside, mode & 0o777)
    yield* file.writeAll(data)
    yield* file.sync
    return { ino: inoOf(yield* file.stat), size: data.length }
  })
  const put = Effect.gen(function*() {
    const made = yield* Effect.scoped(written)
    if (!(yield* bears(fs, beside, made)) || !(yield* bears(fs, path, stamp))) return yield* foreign(path)
    yield* fs.rename(beside, target)
    return made
  })
  return yield* Effect.tapError(put, (error) =>
    // what could not be put in place must not fill the disk
    error._tag === "PlatformError" ? Effect.ignore(fs.remove(beside, { force: true })) : Effect.void)
})

/** Reads a ledger file, created where there is none; cuts off its torn end, or replaces it by a short one. */
const repair = Effect.fnUntraced(function*(path: string, compactAbove: number) {
  const fs = yield* FileSystem.FileSystem
  const file = yield* Effect.mapError(fs.open(path, { flag: "a" }), ioError(path, "opened"))
  const ino = inoOf(yield* Effect.mapError(file.stat, ioError(path, "read")))
  const first = yield* read(path, compactAbove)
  const tornBytes = first.size - first.goodBytes
  if (tornBytes === 0 && first.short === undefined) return { entries: first.entries, ino, size: first.size, tornBytes }
  yield* Effect.mapError(file.writeAll(Uint8Array.of(claim)), ioError(path, "repaired"))
  const { entries, goodBytes, short, size } = yield* read(path, compactAbove)
  if (short !== undefined) {
    const made = yield* Effect.catchTag(replace(path, short, { ino, size }), "PlatformError", () => Effect.undefined)
    if (made !== undefined) return { entries: short, ...made, tornBytes }
  }
  if (!(yield* Effect.mapError(bears(fs, path, { ino, size }), ioError(path, "read")))) return yield* foreign(path)
  yield* Effect.mapError(file.truncate(goodBytes), ioError(path, "repaired"))
  return { entries, ino, size: goodBytes, tornBytes }
}, Effect.scoped)

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
  const found = yield* repair(path, compactAbove)
  const { entries, ino, tornBytes } = found
  let { size } = found
  const file = yield* fs.open(path, { flag: "a" }).pipe(Effect.mapError(ioError(path, "opened")))

  let broken: LedgerStoreError | undefined
  const breaks = (error: LedgerStoreError) => Effect.sync(() => void (broken = error))
  const owned = (size: number) =>
    Effect.flatMap(
      Effect.mapError(bears(fs, path, { ino, size }), ioError(path, "read")),
      (same): Effect.Effect<void, LedgerStoreError> =>
        same ? Effect.void : Effect.tapError(Effect.fail(foreign(path)), breaks)
    )
  /** Cuts off what a failed write left, unless another program wrote behind it. */
  const cut = (bytes: number): Effect.Effect<void, PlatformError.PlatformError | LedgerStoreError> =>
    Effect.flatMap(
      file.stat,
      (info): ReturnType<typeof cut> =>
        Number(info.size) <= size + bytes ? file.truncate(size) : Effect.fail(foreign(path))
    )
  const write = (lines: string): Effect.Effect<void, LedgerStoreError> => {
    if (broken !== undefined) return Effect.fail(broken)
    const data = new TextEncoder().encode(lines)
    return owned(size).pipe(
      Effect.andThen(
        file.writeAll(data).pipe(
          Effect.andThen(file.sync),
          Effect.mapError(ioError(path, "written")),
          Effect.andThen(owned(size + data.length)),
          // half a line may stand there now: cut it off, or write no more behind it
          Effect.tapError((error) =>
            error.reason === "foreign" ? Effect.void : Effect.catch(cut(data.length), () => breaks(error))
          )
        )
      ),
      Effect.andThen(Effect.sync(() => void (size += data.length)))
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
    tornBytes,
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
