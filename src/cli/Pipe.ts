/**
 * Opens pipes and devices without blocking, so that one that nobody reads does not keep a run from stopping, or the
 * process from ending.
 *
 * A blocking open of a pipe without a reader, or a blocking write to a full one, holds a thread of Node's, and a process
 * whose threads are held does not exit. Opened with `O_NONBLOCK` both return at once, and are tried again.
 */
import * as Effect from "effect/Effect"
import * as PlatformError from "effect/PlatformError"
import type * as Projection from "../job/files/Projection.ts"
import { closeSync, constants, openSync, statSync, writeSync } from "node:fs"

/** Holds the defaults of this module. */
export const defaults = {
  /** Milliseconds between two looks whether a pipe has a reader. */
  openEvery: 100,
  /** Milliseconds between two tries to write to a full pipe. */
  writeEvery: 5
} as const

const codeOf = (cause: unknown): unknown => cause instanceof Error && "code" in cause ? cause.code : undefined

/** Does something on a file opened without blocking; returns nothing if it would have blocked. */
const attempt = <A>(method: string, path: string, blocked: (code: unknown) => boolean, run: () => A) =>
  Effect.suspend((): Effect.Effect<A | undefined, PlatformError.PlatformError> => {
    try {
      return Effect.succeed(run())
    } catch (cause) {
      return blocked(codeOf(cause)) ? Effect.undefined : Effect.fail(
        PlatformError.systemError({ _tag: "Unknown", module: "FileSystem", method, pathOrDescriptor: path, cause })
      )
    }
  })

/** Opens a pipe or a device for the life of the scope; a pipe without a reader as soon as one comes. */
export const open: Projection.OpenStream = Effect.fnUntraced(function*(path) {
  const { O_APPEND, O_NONBLOCK, O_WRONLY } = constants
  const hasNoReader = (code: unknown) =>
    code === "ENXIO" && statSync(path, { throwIfNoEntry: false })?.isFIFO() === true
  const tried = attempt("open", path, hasNoReader, () => openSync(path, O_WRONLY | O_APPEND | O_NONBLOCK))
  // interrupted between two looks only: what was opened is closed
  const opened = Effect.gen(function*() {
    let file = yield* tried
    while (file === undefined) {
      yield* Effect.interruptible(Effect.sleep(defaults.openEvery))
      file = yield* tried
    }
    return file
  })
  const fd = yield* Effect.acquireRelease(opened, (file) => Effect.sync(() => closeSync(file)))
  return {
    writeAll: Effect.fnUntraced(function*(bytes) {
      let at = 0
      while (at < bytes.length) {
        const written = yield* attempt("write", path, (code) => code === "EAGAIN", () => writeSync(fd, bytes, at))
        if (written === undefined) yield* Effect.sleep(defaults.writeEvery)
        else at += written
      }
    })
  }
})
