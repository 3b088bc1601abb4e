/**
 * A ledger file that is held open, and the state in which this program left it.
 *
 *     append    look → write → fsync → look
 *     shorten   look → claim → look → rename a short file over it → look behind the claim
 *
 * If a look does not find the same file, of the same size, this program never writes again: another one wrote to the
 * file, or replaced it. A write that failed is cut off again, if nothing else stands there. A file that cannot be
 * replaced stays long, and its claim is cut off. If the file system dies, the state of the file is not known, and
 * nothing more is written to it.
 *
 * **Details**: a claim is one byte after everything that was acknowledged. A program that appends after it is refused,
 * so between the look and the rename nothing is acknowledged that the short file does not say. Only a program that
 * opens the file at that moment may take the claim for that of a dead program, cut it off, and have entries
 * acknowledged. They are moved into the short file, and this program stops, since its sums do not include them.
 * Decision 0038 has the cases.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Scope from "effect/Scope"
import * as PlatformCode from "../../domain/PlatformCode.ts"
import type * as Ledger from "../../policy/Ledger.ts"
import * as FileName from "../FileName.ts"
import { claim, decode, encode, header, LedgerStoreError } from "./LedgerFormat.ts"

/** Tells that the file system said no. */
export const ioError = (path: string, what: string) => (cause: PlatformError.PlatformError) =>
  new LedgerStoreError({
    reason: "io",
    message:
      `The ledger file ${path} cannot be ${what} (${PlatformCode.of(cause)}): ${cause.message}. Nothing is sent ` +
      "that it cannot record.",
    cause
  })

const died = (path: string, cause: unknown) =>
  new LedgerStoreError({
    reason: "io",
    message: `The ledger file ${path} cannot be kept any more: ${
      String(cause)
    }. Nothing is sent that it cannot record.`,
    cause
  })

const foreign = (path: string) =>
  new LedgerStoreError({
    reason: "foreign",
    message:
      `Another program wrote to the ledger file ${path}, or replaced it, since this one opened it. Nothing more ` +
      "is sent: stop one of them, or give each its own file."
  })

/** Tells one state of a file: who writes to it changes its size, who replaces it its inode. */
interface Stamp {
  readonly ino: bigint | undefined
  readonly size: number
}

/** Holds a file open, and knows in which state it was left. */
export interface Held extends Stamp {
  readonly path: string
  readonly file: FileSystem.File
  readonly close: Effect.Effect<void>
}

/** Names the inode of a file, where its system has any. */
export const inoOf = (info: FileSystem.File.Info): bigint | undefined => Option.getOrUndefined(info.ino)

/** Opens a file to append to it: it closes by hand, or with the scope. */
export const open = Effect.fnUntraced(function*(path: string, flag: "a+" | "ax+") {
  const fs = yield* FileSystem.FileSystem
  const own = yield* Scope.fork(yield* Effect.scope)
  const file = yield* Scope.provide(fs.open(path, { flag }), own)
  return { file, close: Scope.close(own, Exit.void) }
})

/** Tells whether the file at a path is as it was left. */
const bears = (fs: FileSystem.FileSystem, path: string, stamp: Stamp) =>
  Effect.map(fs.stat(path), (info) => Number(info.size) === stamp.size && inoOf(info) === stamp.ino)

const claimBytes = Uint8Array.of(claim)

/** Claims a file: appends the byte behind which nothing is acknowledged. */
export const writeClaim = ({ file, path }: Held): Effect.Effect<void, LedgerStoreError> =>
  Effect.mapError(file.writeAll(claimBytes), ioError(path, "written"))

const readFrom = ({ file }: Held, from: number, bytes: number) => file.readAlloc(bytes, { position: BigInt(from) })

/** Takes over what was acknowledged in a claimed file after the last look, into the one that replaced it, and stops. */
const takeOver = Effect.fnUntraced(function*(claimed: Held, goodBytes: number, made: Held) {
  const size = Number((yield* claimed.file.stat).size)
  if (size === claimed.size) return
  const behind = yield* readFrom(claimed, goodBytes, Math.max(0, size - goodBytes))
  const lines = Option.getOrElse(behind, () => new Uint8Array())
  const { entries } = yield* Effect.fromResult(
    decode(new TextEncoder().encode(`${header}\n${new TextDecoder().decode(lines)}`))
  )
  if (entries.length === 0) return
  yield* made.file.writeAll(new TextEncoder().encode(encode(entries)))
  yield* made.file.sync
  return yield* foreign(claimed.path)
})

/** Puts a file with these entries, and the same permissions, in the place of one that was claimed. */
const replace = Effect.fnUntraced(function*(claimed: Held, goodBytes: number, entries: ReadonlyArray<Ledger.Entry>) {
  const fs = yield* FileSystem.FileSystem
  const { path } = claimed
  const data = new TextEncoder().encode(`${header}\n${encode(entries)}`)
  // a link stays one
  const target = yield* fs.realPath(path)
  const beside = `${target}.compact`
  const put = Effect.fnUntraced(function*(opened: Pick<Held, "file" | "close">, mode: number) {
    yield* fs.chmod(beside, mode & 0o777)
    yield* opened.file.writeAll(data)
    yield* opened.file.sync
    const made: Held = { ...opened, path, ino: inoOf(yield* opened.file.stat), size: data.length }
    if (!(yield* bears(fs, beside, made)) || !(yield* bears(fs, path, claimed))) return yield* foreign(path)
    const over = Effect.catchTag(
      takeOver(claimed, goodBytes, made),
      "PlatformError",
      (error) => Effect.fail(ioError(path, "replaced")(error))
    )
    // an interruption in between would lose what is to be taken over
    yield* Effect.uninterruptible(
      Effect.tap(Effect.andThen(fs.rename(beside, target), over), () => FileName.sync(target))
    )
    return made
  })
  return yield* Effect.gen(function*() {
    const { mode } = yield* fs.stat(target)
    // a killed program may have left one behind
    yield* fs.remove(beside, { force: true })
    const opened = yield* open(beside, "ax+")
    return yield* Effect.onError(put(opened, mode), () => opened.close)
  }).pipe(Effect.tapError((error) =>
    // what could not be put in place must not fill the disk
    error._tag === "PlatformError" ? Effect.ignore(fs.remove(beside, { force: true })) : Effect.void
  ))
})

/**
 * Puts a short file in the place of one that was claimed; where there is none, or no room for it, cuts the claim off.
 *
 * **Errors**: `LedgerStoreError` where the file is no more as it was claimed, or cannot be cut.
 */
export const shorten = Effect.fnUntraced(function*(
  claimed: Held,
  goodBytes: number,
  short: ReadonlyArray<Ledger.Entry> | undefined
) {
  const fs = yield* FileSystem.FileSystem
  const { file, path } = claimed
  if (short !== undefined) {
    const made = yield* Effect.catchTag(replace(claimed, goodBytes, short), "PlatformError", () => Effect.undefined)
    if (made !== undefined) {
      yield* claimed.close
      return { held: made, replaced: true }
    }
  }
  if (!(yield* Effect.mapError(bears(fs, path, claimed), ioError(path, "read")))) return yield* foreign(path)
  yield* Effect.mapError(file.truncate(goodBytes), ioError(path, "repaired"))
  return { held: { ...claimed, size: goodBytes }, replaced: false }
})

/** Writes to a file as long as no other program does. */
export interface Handle {
  /** Gives the error that ended it: nothing more is written. */
  readonly broken: () => LedgerStoreError | undefined
  /** Appends lines; returns once they are durable. */
  readonly append: (lines: string) => Effect.Effect<void, LedgerStoreError>
  /** Replaces the file by one of these entries, which say the same; false where it stays long, or this handle broke. */
  readonly shorten: (short: ReadonlyArray<Ledger.Entry>) => Effect.Effect<boolean>
  /** Ends it, where what uses it has died. */
  readonly die: (defect: unknown) => Effect.Effect<never, LedgerStoreError>
}

/** Makes the handle of a file; whoever uses it, one after the other, need not be interrupted. */
export const make = Effect.fnUntraced(function*(opened: Held) {
  const context = yield* Effect.context<FileSystem.FileSystem | Scope.Scope>()
  const fs = yield* FileSystem.FileSystem
  const { path } = opened
  let held = opened
  let broken: LedgerStoreError | undefined
  const breaks = (error: LedgerStoreError) => Effect.sync(() => void (broken = error))

  /** Looks whether the file is as it was left, but for so many bytes more. */
  const look = Effect.fnUntraced(function*(more: number) {
    const expected = { ino: held.ino, size: held.size + more }
    if (yield* Effect.mapError(bears(fs, path, expected), ioError(path, "read"))) return
    broken = foreign(path)
    return yield* broken
  })
  /** Cuts off what a failed write of these bytes left; where it cannot, or another program wrote too, no more is written. */
  const cut = (data: Uint8Array, error: LedgerStoreError) =>
    Effect.gen(function*() {
      const left = Number((yield* held.file.stat).size) - held.size
      if (left === 0) return
      const found = left < 0 ? undefined : Option.getOrUndefined(yield* readFrom(held, held.size, left))
      if (found?.length !== left || !found.every((byte, at) => byte === data[at])) return yield* foreign(path)
      yield* held.file.truncate(held.size)
    }).pipe(Effect.catch(() => breaks(error)))

  const append = Effect.fnUntraced(function*(lines: string) {
    if (broken !== undefined) return yield* broken
    const data = new TextEncoder().encode(lines)
    yield* look(0)
    yield* Effect.andThen(held.file.writeAll(data), held.file.sync).pipe(
      Effect.mapError(ioError(path, "written")),
      Effect.andThen(look(data.length)),
      Effect.tapError((error) => error.reason === "foreign" ? Effect.void : cut(data, error))
    )
    held = { ...held, size: held.size + data.length }
  })

  const shortenClaimed = Effect.fnUntraced(function*(short: ReadonlyArray<Ledger.Entry>) {
    yield* look(0)
    yield* Effect.tapError(writeClaim(held), (error) => cut(claimBytes, error))
    const next = yield* Effect.tapError(shorten({ ...held, size: held.size + 1 }, held.size, short), breaks)
    held = next.held
    return next.replaced
  })

  const handle: Handle = {
    broken: () => broken,
    append,
    shorten: (short) => shortenClaimed(short).pipe(Effect.orElseSucceed(() => false), Effect.provideContext(context)),
    die: (defect) => Effect.suspend(() => Effect.fail(broken = died(path, defect)))
  }
  return handle
})
