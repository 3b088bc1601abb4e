/** Sets the scene for tests of the ledger file: where it is, disks that fail, a guard over it. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as PlatformError from "effect/PlatformError"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as LedgerStore from "../../src/guard/ledger/LedgerStore.ts"
import type * as Ledger from "../../src/policy/Ledger.ts"

/** Names a ledger file in a directory that goes with the scope. */
export const temporaryFile = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  return `${yield* fs.makeTempDirectoryScoped()}/ledger.jsonl`
})

/** Runs under a guard whose ledger is the file. */
export const guarded = <A, E, R>(
  path: string,
  use: (credits: Credits.Service) => Effect.Effect<A, E, R>,
  options?: Credits.Options
) =>
  Effect.gen(function*() {
    return yield* use(yield* Credits.Credits)
  }).pipe(
    Effect.provide(Credits.layer({ run: "r", ...options }).pipe(Layer.provide(LedgerStore.layerFile({ path }))))
  )

/** A file that does some things differently. */
export const altered = (file: FileSystem.File, changes: Partial<FileSystem.File>): FileSystem.File =>
  // a file inherits what is not changed, so all of it is there
  Object.create(file, Object.getOwnPropertyDescriptors(changes)) as FileSystem.File

/** Gives a file system whose files do some things differently. */
export const altering = (real: FileSystem.FileSystem, changes: (file: FileSystem.File) => Partial<FileSystem.File>) =>
  FileSystem.make({
    ...real,
    open: (path, options) => Effect.map(real.open(path, options), (file) => altered(file, changes(file)))
  })

/** Gives a file system where something happens when a file was read to its end; it may put more there, and says how much. */
export const atEnd =
  (real: FileSystem.FileSystem, then: (path: string, buffer: Uint8Array) => Effect.Effect<number>) =>
  (path: string, options?: Parameters<FileSystem.FileSystem["open"]>[1]) =>
    Effect.map(real.open(path, options), (file) => {
      let ended = false
      return altered(file, {
        read: (buffer) =>
          Effect.suspend(() =>
            ended ? Effect.succeed(0) : Effect.flatMap(file.read(buffer), (bytes) => {
              ended = bytes === 0
              return ended ? then(path, buffer) : Effect.succeed(bytes)
            })
          )
      })
    })

/** Is a disk that is full. */
export const full = PlatformError.systemError({
  _tag: "Unknown",
  module: "FileSystem",
  method: "write",
  description: "no space"
})

/** Sums up the first account. */
export const tally = (credits: Credits.Service) => Effect.map(credits.report, ({ accounts }) => accounts[0]?.tally)

/** Sums what entries settled for sure. */
export const settled = (entries: ReadonlyArray<Ledger.Entry>) =>
  entries.reduce((sum, entry) => entry._tag === "Settle" && entry.sure ? sum + (entry.cost ?? 0n) : sum, 0n)

/** A store in memory that counts what it was asked. */
export const recording = () => {
  const written: Array<Ledger.Entry> = []
  return {
    written,
    store: {
      ...LedgerStore.memory,
      append: (entries: ReadonlyArray<Ledger.Entry>) => Effect.sync(() => void written.push(...entries))
    }
  }
}
