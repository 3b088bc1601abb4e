/**
 * An output file that can be written again from its start at any time and ends up the same, byte for byte.
 *
 * The journal is the truth; results and errors are projections of it. A projection is always written from its first
 * byte on, but bytes that the file already holds are compared instead of written: at the first difference the rest is
 * cut off and writing begins. So resuming after a crash costs reading, a torn or missing tail heals, a file that was
 * deleted or edited is made again, and no row is ever in it twice.
 *
 * Texts that are added at the same time stand one after another: each is compared and written whole before the next.
 *
 * A device, a pipe or a socket takes text and gives none back: there everything is written, and nothing cut. One that
 * nobody reads does not keep a job from ending (Unread.ts).
 */
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as DiskFull from "./DiskFull.ts"
import * as FileIdentity from "./FileIdentity.ts"
import { advice, OutputError, platformFailure } from "../JobError.ts"
import * as Unread from "./Unread.ts"

/** An output file that is being made. */
export interface Projection {
  readonly path: string
  /** Tells whether it is a regular file, so that what it holds can be written again. */
  readonly regular: boolean
  /** Adds text after what was added before. */
  readonly append: (text: string) => Effect.Effect<void, OutputError>
  /** Cuts off what stands after the last text added. */
  readonly finish: Effect.Effect<void, OutputError>
  /** Tells whether the path still leads to what was written: not deleted, not replaced, not cut. */
  readonly intact: Effect.Effect<boolean>
  /** Counts the bytes added. */
  readonly bytes: () => number
}

const encoder = new TextEncoder()

const failed = (path: string) =>
  platformFailure(OutputError, path, {
    full: `the disk is full: ${path} cannot grow. The answers are safe in the journal; free some space and run the ` +
      "same command again.",
    other: (cause) => `cannot write ${path} ${advice(cause, "Check the directory and its permissions.")}`
  })

const commonLength = (a: Uint8Array, b: Uint8Array, length: number): number => {
  let at = 0
  while (at < length && a[at] === b[at]) at++
  return at
}

/** Opens a device, a pipe or a socket for writing, for the life of the scope. */
export type OpenStream = (
  path: string
) => Effect.Effect<
  Pick<FileSystem.File, "writeAll">,
  PlatformError.PlatformError,
  FileSystem.FileSystem | Scope.Scope
>

/**
 * How streams are opened. Default: as files are, which a pipe without a reader blocks until one comes; a platform that can
 * do better says so here.
 */
export const OpenStream = Context.Reference<OpenStream>("effect-together/job/OpenStream", {
  defaultValue: () => (path) => Effect.flatMap(FileSystem.FileSystem, (fs) => fs.open(path, { flag: "a" }))
})

/** Opens a device, a pipe or a socket as a projection. */
const openStream = Effect.fnUntraced(function*(path: string, options: Unread.Options) {
  const open = yield* OpenStream
  const bound = Unread.bound(path, options)
  const file = yield* bound(Effect.mapError(open(path), failed(path)))
  const one = Semaphore.makeUnsafe(1)
  let bytes = 0
  return {
    path,
    regular: false,
    append: (text: string) =>
      one.withPermit(Effect.suspend(() => {
        const encoded = encoder.encode(text)
        bytes += encoded.length
        return bound(Effect.mapError(file.writeAll(encoded), failed(path)))
      })),
    finish: Effect.void,
    intact: Effect.succeed(true),
    bytes: () => bytes
  }
})

/**
 * Opens a projection at its first byte, for the life of the scope. The file is created where it is missing.
 *
 * **Errors**: `OutputError` where the file cannot be written.
 */
export const open = Effect.fnUntraced(function*(
  path: string,
  options: DiskFull.Options = {}
): Effect.fn.Return<Projection, OutputError, FileSystem.FileSystem | Scope.Scope> {
  const fs = yield* FileSystem.FileSystem
  if ((yield* FileIdentity.kindOf(path)) === "stream") return yield* openStream(path, options)
  const whileFull = DiskFull.retry(path, options)
  yield* Effect.mapError(fs.writeFileString(path, "", { flag: "a" }), failed(path))
  const file = yield* Effect.mapError(fs.open(path, { flag: "r+" }), failed(path))
  const info = yield* Effect.mapError(file.stat, failed(path))
  const one = Semaphore.makeUnsafe(1)
  let size = Number(ByteSize.toBigInt(info.size))
  let position = 0
  let wasCut = false

  const holdsAll = (now: FileSystem.File.Info) => Number(ByteSize.toBigInt(now.size)) >= position

  /** Writes at the position and moves it. Not interrupted half way: what is in the file is counted. */
  const writeOnce = (bytes: Uint8Array) =>
    Effect.flatMap(file.stat, (now) => {
      // what is written behind the end of a file that somebody cut leaves a hole
      if (!holdsAll(now)) wasCut = true
      return Effect.andThen(file.seek(BigInt(position), "start"), file.writeAll(bytes))
    }).pipe(
      Effect.andThen(Effect.sync(() => {
        position += bytes.length
        size = Math.max(size, position)
      })),
      Effect.uninterruptible
    )

  const write = (bytes: Uint8Array) => whileFull(writeOnce(bytes))

  const cut = Effect.suspend(() => {
    size = position
    return file.truncate(position)
  })

  /** Compares with what is there; hands back the bytes that still have to be written. */
  const compare = Effect.fnUntraced(function*(bytes: Uint8Array) {
    const expected = Math.min(bytes.length, size - position)
    const there = new Uint8Array(expected)
    let read = 0
    while (read < expected) {
      const got = yield* file.read(there.subarray(read), { position: BigInt(position + read) })
      if (got === 0) break
      read += got
    }
    const same = commonLength(bytes, there, read)
    position += same
    if (same === bytes.length) return undefined
    yield* cut
    return bytes.subarray(same)
  })

  const append = (text: string) =>
    one.withPermit(Effect.suspend(() => {
      const bytes = encoder.encode(text)
      return position >= size
        ? write(bytes)
        : Effect.flatMap(compare(bytes), (rest) => rest === undefined ? Effect.void : write(rest))
    })).pipe(Effect.mapError(failed(path)))

  const own = `${info.dev}:${Option.getOrUndefined(info.ino)}`
  return {
    path,
    regular: true,
    append,
    finish: one.withPermit(Effect.suspend(() => size > position ? Effect.mapError(cut, failed(path)) : Effect.void)),
    intact: fs.stat(path).pipe(
      Effect.map((now) => !wasCut && holdsAll(now) && `${now.dev}:${Option.getOrUndefined(now.ino)}` === own),
      Effect.orElseSucceed(() => false)
    ),
    bytes: () => position
  }
})
