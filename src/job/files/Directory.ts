/** Makes the directories that a job's files stand in. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"

/** Reads what may be above a path: only its system knows whether a backslash parts directories, so that comes last. */
const above = (path: string): ReadonlyArray<string> =>
  [/\/[^/]*$/, /\\[^\\]*$/].map((end) => path.replace(end, "")).filter((each) => each !== "" && each !== path)

/**
 * Makes a directory and those above it, where they are not there yet.
 *
 * **Details**: level by level, for Node's own recursion never ends below a directory that takes none, as `/proc`.
 */
export const make: (
  path: string
) => Effect.Effect<void, PlatformError.PlatformError, FileSystem.FileSystem> = Effect.fnUntraced(function*(path) {
  const fs = yield* FileSystem.FileSystem
  const isThere = Effect.orElseSucceed(Effect.map(fs.stat(path), ({ type }) => type === "Directory"), () => false)
  const once = Effect.catch(
    fs.makeDirectory(path),
    (error) => Effect.flatMap(isThere, (there) => there ? Effect.void : Effect.fail(error))
  )
  yield* Effect.catch(
    once,
    Effect.fnUntraced(function*() {
      for (const each of above(path)) {
        if (!(yield* fs.exists(each))) return yield* Effect.andThen(make(each), make(path))
      }
      // what is above it may have been made meanwhile
      return yield* once
    })
  )
})
