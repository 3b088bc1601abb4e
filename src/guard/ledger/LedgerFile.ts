/**
 * A ledger in one append-only file.
 *
 *     open → repair → append(batch) → append(batch) → compact → append(batch) → … → close
 *
 *     open      the file is created where there is none, and read a piece at a time, whatever its size
 *     repair    its torn end is cut off, or a long file is replaced by a short one that says the same
 *     append    appends of many fibers that meet share one write and one `fsync`
 *     compact   between two batches a file that has grown long is replaced, as at opening
 *     close     what is still queued is written, then the file is closed
 *
 * Of two programs on one file the second to write is stopped, before a call is sent that the other one's budget does not
 * know of: `LedgerHandle` looks before and after each write. There is no lock that a killed program could leave behind.
 *
 * A long file is replaced by a rename: whenever the program stops, one of the two is there, whole. Where it cannot be
 * replaced (no room, or mounted by itself into a container), it stays long.
 *
 * **Details**: opening may find a program at work that it takes for dead. So before it cuts or replaces, it appends one
 * byte, its claim, and reads again: all that was acknowledged stands before the claim. Decision 0038 has the cases.
 */
import type * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import type * as Ledger from "../../policy/Ledger.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import * as FileName from "../FileName.ts"
import * as LedgerCompactor from "./LedgerCompactor.ts"
import { encode, header, LedgerStoreError, makeReader } from "./LedgerFormat.ts"
import * as LedgerHandle from "./LedgerHandle.ts"
import { ioError } from "./LedgerHandle.ts"

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

/** A device may never end, and keeps nothing. */
const irregular = (path: string) =>
  new LedgerStoreError({
    reason: "io",
    message: `${path} is no regular file, so it keeps no ledger. Give the path of a file.`
  })

/** Says which file a reader found to be no ledger, or damaged. */
const of = (path: string) => ({ message, reason }: LedgerStoreError) =>
  new LedgerStoreError({ reason, message: `${path}: ${message}` })

const chunkBytes = 256 * 1024

/** Counts the entries up to which a ledger is held in memory as it stands in its file, not in few that say the same. */
const entriesHeld = 20_000

/** Reads what a ledger file says. */
const read = Effect.fnUntraced(function*(path: string, compactAbove: number) {
  const fs = yield* FileSystem.FileSystem
  const compactor = LedgerCompactor.make(compactAbove)
  const entries: Array<Ledger.Entry> = []
  let count = 0
  const reader = makeReader((entry) => {
    count++
    compactor.add(entry)
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
          return failure === undefined ? Effect.void : Effect.fail(of(path)(failure))
        }),
        Effect.repeat({ until: (bytes) => Number(bytes) === 0 })
      )
    ),
    Effect.scoped
  )
  const goodBytes = yield* Effect.mapError(Effect.fromResult(reader.end()), of(path))
  return { entries: count <= entriesHeld ? entries : compactor.entries(), compactor, goodBytes, size }
})

/** Reads a ledger file, created where there is none; cuts off its torn end, or replaces it by a short one. */
const repair = Effect.fnUntraced(function*(path: string, compactAbove: number) {
  const opened = yield* Effect.mapError(LedgerHandle.open(path, "a+"), ioError(path, "opened"))
  const info = yield* Effect.mapError(opened.file.stat, ioError(path, "read"))
  if (info.type !== "File") return yield* irregular(path)
  const first = yield* read(path, compactAbove)
  const held: LedgerHandle.Held = { path, ...opened, ino: LedgerHandle.inoOf(info), size: first.size }
  const tornBytes = first.size - first.goodBytes
  if (tornBytes === 0 && first.compactor.due() === undefined) return { ...first, held, tornBytes }
  yield* LedgerHandle.writeClaim(held)
  const found = yield* read(path, compactAbove)
  const short = found.compactor.due()
  const repaired = yield* LedgerHandle.shorten({ ...held, size: found.size }, found.goodBytes, short)
  if (!repaired.replaced || short === undefined) return { ...found, held: repaired.held, tornBytes }
  found.compactor.shortened(short.length)
  return { ...found, entries: short, held: repaired.held, tornBytes }
})

/** Opens a ledger file to write to it. */
const open = Effect.fnUntraced(function*(path: string, compactAbove: number) {
  const { compactor, entries, held, tornBytes } = yield* repair(path, compactAbove)
  const handle = yield* LedgerHandle.make(held)
  if (held.size === 0) yield* Effect.andThen(handle.append(`${header}\n`), FileName.sync(path))
  return { compactor, entries, handle, tornBytes }
})

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
  const compactAbove = OptionCheck.integerOrInfinity(
    "LedgerStore.makeFile",
    "compactAbove",
    options.compactAbove ?? defaults.compactAbove,
    1
  )
  // the first to come is the last to close: until its queue has ended, the writer writes, and may open a short file
  const files = yield* Effect.acquireRelease(Scope.make(), Scope.close)
  const { compactor, entries, handle, tornBytes } = yield* open(path, compactAbove).pipe(
    Scope.provide(files),
    Effect.onError((cause) => Scope.close(files, Exit.failCause(cause)))
  )

  /** Writes batches, tells them, and replaces a file that has grown long; what is still to be written waits. */
  const write = Effect.fnUntraced(function*(batches: ReadonlyArray<Batch>) {
    yield* handle.append(batches.map(({ lines }) => lines).join(""))
    for (const { done } of batches) Deferred.doneUnsafe(done, Exit.void)
    if (compactAbove === Infinity) return
    for (const entry of batches.flatMap((batch) => batch.entries)) compactor.add(entry)
    const short = compactor.due()
    if (short !== undefined && (yield* handle.shorten(short))) compactor.shortened(short.length)
  })
  /** Writes batches, or tells them why not: who waits for a writer that has died waits for ever. */
  const settle = (batches: ReadonlyArray<Batch>) =>
    write(batches).pipe(
      Effect.catchDefect(handle.die),
      Effect.catch((error) =>
        Effect.sync(() => {
          for (const { done } of batches) Deferred.doneUnsafe(done, Exit.fail(error))
        })
      )
    )
  const queue = yield* Queue.unbounded<Batch, Cause.Done>()
  const writer = Queue.takeAll(queue).pipe(
    Effect.flatMap(settle),
    Effect.forever,
    Effect.ignore,
    Effect.forkDetach
  )
  yield* Effect.acquireRelease(writer, (fiber) => Effect.andThen(Queue.end(queue), Fiber.await(fiber)))
  return {
    entries,
    tornBytes,
    append: (entries) =>
      Effect.suspend(() => {
        const broken = handle.broken()
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
