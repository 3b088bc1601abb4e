/**
 * Answers kept across jobs, in a directory, by the SHA-256 of who answers, operation and body (the model is part of the
 * body).
 *
 * Opt-in: an answer from the cache is the same sample again, at no cost and without a call. An answer is only handed to
 * a job that asks the same target: what an emulator made up is never taken for an answer of a provider, nor an answer
 * of one provider for one of another. One file per answer, written aside and renamed into place, so that several jobs
 * can share a directory and a crash leaves no half answer. Nothing is ever evicted: delete the directory to forget.
 *
 * Answers are below `v2`. What stands beside it, in folders of two hexadecimal digits, was kept before answers told who
 * gave them; it is never read and may be deleted.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Json from "../together/Json.ts"
import * as Directory from "./files/Directory.ts"
import * as Twins from "./Twins.ts"
import type * as Row from "./Row.ts"

/** Keeps answers by request. */
export interface ResponseCache {
  /** Reads the body of the answer to an equal request, or nothing. A damaged file counts as nothing. */
  readonly get: (row: Row.Row) => Effect.Effect<unknown>
  /** Keeps the body of an answer; one that cannot be written is not kept. */
  readonly put: (row: Row.Row, body: unknown) => Effect.Effect<void, PlatformError.PlatformError>
}

const encoder = new TextEncoder()

const version = "v2"

/** Tells whether a directory holds answers of an older version, which are not read, and none of this one. */
export const isOlder = (directory: string): Effect.Effect<boolean, never, FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    fs.readDirectory(directory).pipe(
      Effect.map((names) => !names.includes(version) && names.some((name) => /^[0-9a-f]{2}$/.test(name))),
      Effect.orElseSucceed(() => false)
    ))

const keyOf = (target: string, row: Row.Row): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() =>
      crypto.subtle.digest("SHA-256", encoder.encode(`${JSON.stringify(target)}\n${Twins.canonical(row)}`))
    ),
    (digest) => Hex.encode(new Uint8Array(digest))
  )

/** Says where answers are kept, and whose they are. */
export interface Options {
  /** The directory of the answers, made with the first of them. */
  readonly directory: string
  /** Who answers the rows: a base URL, or `Journal.emulator`. Only answers of the same target are read. */
  readonly target: string
}

/** Opens the cache in a directory. */
export const make = (
  { directory, target }: Options
): Effect.Effect<ResponseCache, never, FileSystem.FileSystem> =>
  Effect.map(FileSystem.FileSystem, (fs) => {
    let writes = 0
    const folderOf = (key: string) => `${directory}/${version}/${key.slice(0, 2)}`
    return {
      get: (row) =>
        Effect.flatMap(keyOf(target, row), (key) =>
          fs.readFileString(`${folderOf(key)}/${key}.json`).pipe(
            Effect.map(Json.parse),
            Effect.orElseSucceed(() => undefined)
          )),
      put: Effect.fnUntraced(function*(row, body) {
        const text = Json.stringify(body)
        if (text === undefined) return
        const key = yield* keyOf(target, row)
        const folder = folderOf(key)
        const aside = `${folder}/${key}.${yield* Clock.currentTimeMillis}-${++writes}`
        yield* Effect.provideService(Directory.make(folder), FileSystem.FileSystem, fs)
        yield* Effect.tapError(
          Effect.andThen(fs.writeFileString(aside, text), fs.rename(aside, `${folder}/${key}.json`)),
          () => Effect.ignore(fs.remove(aside, { force: true }))
        )
      })
    }
  })
