/** Makes the directories that a job's files stand in. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as FileIdentity from "./FileIdentity.ts"

/**
 * Makes a directory and those above it, where they are not there yet.
 *
 * **Details**: level by level, for Node's own recursion never ends below a directory that takes none, as `/proc`.
 */
export const make: (
  path: string
) => Effect.Effect<void, PlatformError.PlatformError, FileSystem.FileSystem> = Effect.fnUntraced(function*(path) {
  const fs = yield* FileSystem.FileSystem
  const [above] = FileIdentity.split(path)
  if (above !== path && !(yield* fs.exists(above))) yield* make(above)
  const isThere = Effect.map(fs.stat(path), ({ type }) => type === "Directory")
  yield* Effect.catch(
    fs.makeDirectory(path),
    (error) => Effect.flatMap(Effect.orElseSucceed(isThere, () => false), (is) => is ? Effect.void : Effect.fail(error))
  )
})
