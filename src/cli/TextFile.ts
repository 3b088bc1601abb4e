/** Small files that a flag names: read and written whole, and an error that says which flag's file is wrong. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { advice } from "../job/JobError.ts"
import { UsageError } from "./UsageError.ts"

/** Reads a file; `what` is said before its path where that fails. */
export const read = (path: string, what = ""): Effect.Effect<string, UsageError, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.mapError(
      fs.readFileString(path),
      (error) => new UsageError({ message: `cannot read ${what}${path} ${advice(error, "Check the path.")}` })
    ))

/** Writes a file. */
export const write = (path: string, text: string): Effect.Effect<void, UsageError, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    Effect.mapError(
      fs.writeFileString(path, text),
      (error) => new UsageError({ message: `cannot write ${path} ${advice(error, "Check the directory.")}` })
    ))
