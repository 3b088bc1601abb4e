/**
 * Where a ledger keeps its entries, so that a restart remembers what was spent.
 *
 *     memory      nothing is kept: the ledger itself is the memory (default)
 *     layerFile   one append-only file, a JSON object per line
 *
 * An append to the file returns once its lines are on disk: written whole, then
 * `fsync`. Appends of many fibers that meet share one write and one `fsync`, so
 * a thousand calls in flight cost a few of them.
 *
 * The program may stop at any byte. A last line without its line feed is torn:
 * it was never acknowledged, so opening cuts it off and goes on. The same holds
 * for junk at the end (a block that the file system had reserved, not written).
 * Junk *between* good lines is no crash but damage, and refused.
 *
 * **Gotchas**: one file belongs to one process at a time; nothing locks it.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as PlatformError from "effect/PlatformError"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Ledger from "../policy/Ledger.ts"

/** Fails where the store cannot be read or written. */
export class LedgerStoreError extends Schema.TaggedError<LedgerStoreError>()("LedgerStoreError", {
  message: Schema.String,
  /** `corrupt`: a line in the middle is no entry. `version`: written by another version. `io`: the file system said no. */
  reason: Schema.Literals(["corrupt", "version", "io"]),
  cause: Schema.optional(Schema.Defect())
}) {}

/** Keeps the entries of one ledger. */
export interface Store {
  /** What was there when the store was opened, in order. */
  readonly entries: ReadonlyArray<Ledger.Entry>
  /** Bytes of a torn end that opening cut off; never part of an acknowledged entry. */
  readonly tornBytes: number
  /** Appends entries, in order; returns once they are durable. */
  readonly append: (entries: ReadonlyArray<Ledger.Entry>) => Effect.Effect<void, LedgerStoreError>
}

/** Keeps nothing. */
export const memory: Store = { entries: [], tornBytes: 0, append: () => Effect.void }

/** Holds the store that `Credits` writes to: {@link memory} unless a layer provides another. */
export const LedgerStore: Context.Reference<Store> = Context.Reference<Store>("effect-together/LedgerStore", {
  defaultValue: () => memory
})

const decodeLine = Schema.decodeUnknownResult(Schema.fromJsonString(Ledger.Entry))

/** Is the first line of a ledger file. */
export const header = "{\"ledger\":\"effect-together\",\"version\":1}"

/**
 * Encodes entries as lines of the file, each ended by a line feed.
 *
 * **Details**: writes by hand what the schema would write (amounts as decimal text): this is the hot path, reading is not.
 */
export const encode = (entries: ReadonlyArray<Ledger.Entry>): string =>
  entries.map((entry) =>
    `${JSON.stringify(entry, (_, value: unknown) => typeof value === "bigint" ? value.toString() : value)}\n`
  ).join("")

/** Holds what a ledger file says. */
export interface Decoded {
  readonly entries: ReadonlyArray<Ledger.Entry>
  /** Bytes that hold; what follows is torn. */
  readonly goodBytes: number
}

const lineFeed = 10

/**
 * Decodes the bytes of a ledger file.
 *
 * **Errors**: `LedgerStoreError` with `corrupt` for junk between good lines, `version` for another first line.
 */
export const decode = (bytes: Uint8Array): Result.Result<Decoded, LedgerStoreError> => {
  const text = new TextDecoder()
  const entries: Array<Ledger.Entry> = []
  let goodBytes = 0
  let badLine = 0
  let line = 0
  for (let start = 0, end = bytes.indexOf(lineFeed); end >= 0; start = end + 1, end = bytes.indexOf(lineFeed, start)) {
    line++
    const content = text.decode(bytes.subarray(start, end))
    if (line === 1) {
      if (content === header) goodBytes = end + 1
      else {
        return Result.fail(
          new LedgerStoreError({
            reason: "version",
            message: `The file is no ledger of this version: its first line is ${
              content.slice(0, 80)
            }. Use another path.`
          })
        )
      }
      continue
    }
    const decoded = decodeLine(content)
    if (Result.isFailure(decoded)) {
      badLine = badLine === 0 ? line : badLine
    } else if (badLine > 0) {
      return Result.fail(
        new LedgerStoreError({
          reason: "corrupt",
          message:
            `Line ${badLine} of the ledger is no entry, but line ${line} is: the file is damaged, not cut off. ` +
            "Repair that line, or move the file away and state the balance anew."
        })
      )
    } else {
      entries.push(decoded.success)
      goodBytes = end + 1
    }
  }
  return Result.succeed({ entries, goodBytes })
}

const ioError = (path: string, what: string) => (cause: PlatformError.PlatformError) =>
  new LedgerStoreError({
    reason: "io",
    message: `The ledger file ${path} cannot be ${what}: ${cause.message}. Nothing is sent that it cannot record.`,
    cause
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
 * **Errors**: `LedgerStoreError`.
 */
export const makeFile = Effect.fn("LedgerStore.makeFile")(function*(options: {
  /** Path of the file; its directory must exist. */
  readonly path: string
}): Effect.fn.Return<Store, LedgerStoreError, FileSystem.FileSystem | Scope.Scope> {
  const { path } = options
  const fs = yield* FileSystem.FileSystem
  const bytes = yield* fs.exists(path).pipe(
    Effect.flatMap((exists) => exists ? fs.readFile(path) : Effect.succeed(new Uint8Array())),
    Effect.mapError(ioError(path, "read"))
  )
  const decoded = yield* Effect.fromResult(decode(bytes))
  const tornBytes = bytes.length - decoded.goodBytes
  const file = yield* fs.open(path, { flag: "a" }).pipe(Effect.mapError(ioError(path, "opened")))
  let size = decoded.goodBytes
  if (tornBytes > 0) yield* fs.truncate(path, size).pipe(Effect.mapError(ioError(path, "repaired")))

  let broken: LedgerStoreError | undefined
  const write = (lines: string): Effect.Effect<void, LedgerStoreError> => {
    if (broken !== undefined) return Effect.fail(broken)
    const data = new TextEncoder().encode(lines)
    return file.writeAll(data).pipe(
      Effect.andThen(file.sync),
      Effect.mapError(ioError(path, "written")),
      Effect.tap(() => Effect.sync(() => void (size += data.length))),
      // half a line may stand there now: cut it off, or write no more behind it
      Effect.tapError((error) =>
        Effect.catch(fs.truncate(path, size), () =>
          Effect.sync(() => {
            broken = error
          }))
      )
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
    entries: decoded.entries,
    tornBytes,
    append: (entries) =>
      Effect.suspend(() => {
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

/**
 * Provides the file store to `Credits.layer`: `Credits.layer(options).pipe(Layer.provide(LedgerStore.layerFile({ path })))`.
 *
 * **Errors**: `LedgerStoreError` where the file cannot be opened or is damaged.
 */
export const layerFile = (
  options: { readonly path: string }
): Layer.Layer<never, LedgerStoreError, FileSystem.FileSystem> => Layer.effect(LedgerStore, makeFile(options))
