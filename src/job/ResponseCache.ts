/**
 * Answers kept across jobs, in a directory, by the SHA-256 of operation and body (the model is part of the body).
 *
 * Opt-in: an answer from the cache is the same sample again, at no cost and without a call. One file per answer,
 * written aside and renamed into place, so that several jobs can share a directory and a crash leaves no half answer.
 * Nothing is ever evicted: delete the directory to forget.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Twins from "./Twins.ts"
import type * as Row from "./Row.ts"

/** Keeps answers by request. */
export interface ResponseCache {
  /** Reads the body of the answer to an equal request, or nothing. A damaged file counts as nothing. */
  readonly get: (row: Row.Row) => Effect.Effect<unknown>
  /** Keeps the body of an answer. */
  readonly put: (row: Row.Row, body: unknown) => Effect.Effect<void, PlatformError.PlatformError>
}

const encoder = new TextEncoder()

const keyOf = (row: Row.Row): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => crypto.subtle.digest("SHA-256", encoder.encode(Twins.canonical(row)))),
    (digest) => Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("")
  )

/** Opens the cache in `directory`, which is made on the first write. */
export const make = (directory: string): Effect.Effect<ResponseCache, never, FileSystem.FileSystem> =>
  Effect.map(FileSystem.FileSystem, (fs) => {
    let writes = 0
    return {
      get: (row) =>
        Effect.flatMap(keyOf(row), (key) =>
          fs.readFileString(`${directory}/${key.slice(0, 2)}/${key}.json`).pipe(
            Effect.map((text) => Result.getOrUndefined(Result.try((): unknown => JSON.parse(text)))),
            Effect.orElseSucceed(() => undefined)
          )),
      put: Effect.fnUntraced(function*(row, body) {
        const key = yield* keyOf(row)
        const folder = `${directory}/${key.slice(0, 2)}`
        const aside = `${folder}/${key}.${yield* Effect.clockWith((clock) => clock.currentTimeMillis)}-${++writes}`
        yield* fs.makeDirectory(folder, { recursive: true })
        yield* fs.writeFileString(aside, JSON.stringify(body))
        yield* fs.rename(aside, `${folder}/${key}.json`)
      })
    }
  })
