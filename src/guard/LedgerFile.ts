/**
 * A ledger in one append-only file: opened and repaired, then written batch by batch, and shortened when it has grown long.
 *
 * Appends of many fibers that meet share one write and one `fsync`. Before and after each write the file must be as
 * this store left it: the same file, of the same size. So of two programs on one file the second to write is stopped,
 * before a call is sent that the other one's budget does not know of. No lock that a killed program could leave behind.
 *
 * A long file is replaced by a short one that says the same, by a rename: whenever the program stops, one of the two
 * is there, whole. Where it cannot be replaced (no room, or mounted by itself into a container), it stays long. While a
 * file is open, its sums are kept in memory, so shortening it reads nothing. A file is read a piece at a time, whatever
 * its size.
 *
 * Opening may find a program at work that it takes for dead. So before it cuts or replaces, it appends one byte, its
 * claim, and reads again: what the other one acknowledged came before the claim and is read, what comes after it is
 * not acknowledged. A program at work claims its own file before it replaces it, and stops if another one wrote first. One
 * that is killed in between leaves the claim, and the next one cuts it off with all that follows. Of two that claim in one
 * moment mostly one gives up, as it finds the claim of the other, and seldom both; where both go on, the second to write is
 * stopped.
 */
import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import type * as Ledger from "../policy/Ledger.ts"
import * as LedgerCompaction from "../policy/LedgerCompaction.ts"
import { claim, encode, header, LedgerStoreError, makeReader } from "./LedgerFormat.ts"

/** Keeps the entries of one ledger. */
export interface Store {
  /** What was there when the store was opened, in order; of a long ledger, fewer entries that say the same. */
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
   * Entries above which the file is replaced by a short one that says the same, where that at least halves it, at opening
   * and while it is open. An integer of at least 1, or `Infinity` to keep every entry for ever. Default 20000: opening
   * then takes well below a second.
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

/** A device may never end, and keeps nothing. */
const irregular = (path: string) =>
  new LedgerStoreError({
    reason: "io",
    message: `${path} is no regular file, so it keeps no ledger. Give the path of a file.`
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

/** Says in few entries what a file says in so many, where that is due. */
const shorter = (compaction: LedgerCompaction.Compaction, count: number, compactAbove: number) => {
  if (count <= compactAbove) return undefined
  const short = compaction.entries()
  return short.length * 2 <= count ? short : undefined
}

const chunkBytes = 256 * 1024

/** Counts the entries up to which a ledger is held in memory as it stands in its file, not in few that say the same. */
const entriesHeld = 20_000

/** Reads what a ledger file says, and how it is said in few entries where there are more than so many. */
const read = Effect.fnUntraced(function*(path: string, compactAbove: number) {
  const fs = yield* FileSystem.FileSystem
  const entries: Array<Ledger.Entry> = []
  const compaction = LedgerCompaction.make()
  let count = 0
  const reader = makeReader((entry) => {
    count++
    compaction.add(entry)
    if (count <= entriesHeld) entries.push(entry)
    else if (count === entriesHeld + 1) entries.length = 0
  })
  const buffer = new Uint8Array(chunkBytes)
  let size = 0
  yield* Effect.mapError(fs.open(path, { flag: "r" }), ioError(path, "read")).pipe(
    Effect.flatMap((file) =>
      Effect.mapError(file.read(buffer), ioError(path, "read")).pipe(
        Effect.tap((bytes) => {
          size += Number(bytes)
          const failure = reader.push(buffer.subarray(0, Number(bytes)))
          return failure === undefined ? Effect.void : Effect.fail(failure)
        }),
        Effect.repeat({ until: (bytes) => Number(bytes) === 0 })
      )
    ),
    Effect.scoped
  )
  const goodBytes = yield* Effect.fromResult(reader.end())
  return {
    entries: count <= entriesHeld ? entries : compaction.entries(),
    compaction,
    count,
    short: shorter(compaction, count, compactAbove),
    goodBytes,
    size
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

/** Puts a short file in the place of one that was claimed; where there is none, or no room for it, cuts the claim off. */
const shorten = Effect.fnUntraced(function*(
  path: string,
  file: FileSystem.File,
  short: ReadonlyArray<Ledger.Entry> | undefined,
  stamp: Stamp,
  goodBytes: number
) {
  const fs = yield* FileSystem.FileSystem
  if (short !== undefined) {
    const made = yield* Effect.catchTag(replace(path, short, stamp), "PlatformError", () => Effect.undefined)
    if (made !== undefined) return { ...made, replaced: true }
  }
  if (!(yield* Effect.mapError(bears(fs, path, stamp), ioError(path, "read")))) return yield* foreign(path)
  yield* Effect.mapError(file.truncate(goodBytes), ioError(path, "repaired"))
  return { ino: stamp.ino, size: goodBytes, replaced: false }
})

/** Reads a ledger file, created where there is none; cuts off its torn end, or replaces it by a short one. */
const repair = Effect.fnUntraced(function*(path: string, compactAbove: number) {
  const fs = yield* FileSystem.FileSystem
  const file = yield* Effect.mapError(fs.open(path, { flag: "a" }), ioError(path, "opened"))
  const info = yield* Effect.mapError(file.stat, ioError(path, "read"))
  if (info.type !== "File") return yield* irregular(path)
  const ino = inoOf(info)
  const first = yield* read(path, compactAbove)
  const tornBytes = first.size - first.goodBytes
  if (tornBytes === 0 && first.short === undefined) return { ...first, ino, tornBytes }
  yield* Effect.mapError(file.writeAll(Uint8Array.of(claim)), ioError(path, "repaired"))
  const found = yield* read(path, compactAbove)
  const { replaced, ...stamp } = yield* shorten(path, file, found.short, { ino, size: found.size }, found.goodBytes)
  const [entries, count] = replaced && found.short !== undefined
    ? [found.short, found.short.length]
    : [found.entries, found.count]
  return { ...stamp, compaction: found.compaction, entries, count, tornBytes }
}, Effect.scoped)

interface Batch {
  readonly entries: ReadonlyArray<Ledger.Entry>
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
  const { compaction, entries, tornBytes, ...found } = yield* repair(path, compactAbove)
  let { count, ino, size } = found
  const scope = yield* Effect.scope
  /** Opens the file to write to it, and closes it with the scope or by hand. */
  const open = Effect.gen(function*() {
    const own = yield* Scope.fork(scope)
    const file = yield* Scope.provide(fs.open(path, { flag: "a" }), own)
    return { file, close: Scope.close(own, Exit.void) }
  }).pipe(Effect.mapError(ioError(path, "opened")))
  let { close, file } = yield* open

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
      Effect.suspend(() => file.stat),
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

  /** From how many entries on it is looked again whether the file can be shortened. */
  let tooMany = compactAbove
  const shortened = (short: ReadonlyArray<Ledger.Entry>) =>
    Effect.gen(function*() {
      const { replaced, ...stamp } = yield* shorten(path, file, short, { ino, size: size + 1 }, size)
      ;({ ino, size } = stamp)
      if (!replaced) return
      count = short.length
      tooMany = compactAbove
      const closeLong = close
      ;({ close, file } = yield* open)
      yield* closeLong
    })
  /** Replaces a file that has grown long, as opening does; what is still to be written waits. */
  const compact = Effect.suspend(() => {
    if (count <= tooMany || broken !== undefined) return Effect.void
    tooMany = 2 * count
    const short = shorter(compaction, count, compactAbove)
    return short === undefined ? Effect.void : owned(size).pipe(
      Effect.andThen(
        file.writeAll(Uint8Array.of(claim)).pipe(
          Effect.mapError(ioError(path, "written")),
          // where the claim stands and cannot be cut off, no more is written behind it
          Effect.matchEffect({
            onFailure: (error) => Effect.catch(cut(1), () => breaks(error)),
            onSuccess: () => Effect.tapError(shortened(short), breaks)
          })
        )
      ),
      Effect.ignore
    )
  }).pipe(Effect.provideService(FileSystem.FileSystem, fs))

  const queue = yield* Queue.unbounded<Batch, Cause.Done>()
  const remember = (batches: ReadonlyArray<Batch>): void => {
    if (compactAbove === Infinity) return
    for (const { entries } of batches) {
      count += entries.length
      for (const entry of entries) compaction.add(entry)
    }
  }
  const writer = yield* Queue.takeAll(queue).pipe(
    Effect.flatMap((batches) =>
      Effect.flatMap(Effect.exit(write(batches.map((batch) => batch.lines).join(""))), (exit) => {
        for (const batch of batches) Deferred.doneUnsafe(batch.done, exit)
        if (Exit.isFailure(exit)) return Effect.void
        remember(batches)
        return compact
      })
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
        return Queue.offerUnsafe(queue, { entries, lines: encode(entries), done })
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
