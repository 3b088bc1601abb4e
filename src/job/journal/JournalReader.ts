/**
 * Reads single lines of a journal by their offsets, through one open file.
 *
 * Rows done before are mostly asked for in the order in which they stand: a line that follows closely on the one before
 * is read together with what comes after it, and the next ones cost no reading. A line anywhere else is read alone.
 */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type { JournalError } from "../JobError.ts"
import * as Scan from "./JournalScan.ts"

/** Holds the defaults of this module. */
export const defaults = {
  /** Bytes read at a line that stands alone. */
  alone: 16 * 1024,
  /** Bytes read at a line that follows on the one before, and the gap up to which it counts as following. */
  ahead: 256 * 1024
} as const

/** Reads the line at an offset, absent where no line feed ends it; `anew` takes nothing that was read before. */
export type Reader = (offset: number, anew?: boolean) => Effect.Effect<Uint8Array | undefined, JournalError>

const lf = 10

/** Makes a reader of an open file. */
export const make = (file: FileSystem.File, path: string): Reader => {
  let start = 0
  let held: Uint8Array = new Uint8Array(0)

  /** Reads from an offset on until `bytes` are full or the file ends. */
  const fill = Effect.fnUntraced(function*(offset: number, bytes: Uint8Array) {
    let used = 0
    while (used < bytes.length) {
      const read = yield* Effect.mapError(
        file.read(bytes.subarray(used), { position: BigInt(offset + used) }),
        Scan.unreadable(path)
      )
      if (read === 0) break
      used += read
    }
    return bytes.subarray(0, used)
  })

  const load = Effect.fnUntraced(function*(offset: number) {
    const follows = offset >= start && offset <= start + held.length + defaults.ahead
    for (let size: number = follows ? defaults.ahead : defaults.alone;; size *= 4) {
      const bytes = yield* fill(offset, new Uint8Array(size))
      start = offset
      held = bytes
      const end = bytes.indexOf(lf)
      if (end >= 0) return bytes.subarray(0, end)
      if (bytes.length < size || size > Scan.maxLineBytes) return undefined
    }
  })

  return (offset, anew = false) =>
    Effect.suspend(() => {
      const at = offset - start
      const end = anew || at < 0 || at >= held.length ? -1 : held.indexOf(lf, at)
      return end < 0 ? load(offset) : Effect.succeed(held.subarray(at, end))
    })
}
