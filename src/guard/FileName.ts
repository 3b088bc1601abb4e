/** The name of a file: it stands in a directory, which the `fsync` of the file need not reach. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"

/**
 * Makes the name of a new or renamed file safe against a power cut, by the `fsync` of its directory. Where a system
 * cannot sync directories, as Windows, it has done so by itself.
 */
export const sync = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const directory = path.replace(/[^/\\]*$/, "") || "."
  yield* Effect.ignore(Effect.scoped(Effect.flatMap(fs.open(directory, { flag: "r" }), (opened) => opened.sync)))
})
