import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as FileName from "../../src/guard/FileName.ts"
import * as LedgerStore from "../../src/guard/ledger/LedgerStore.ts"
import * as Journal from "../../src/job/journal/Journal.ts"
import { altered } from "./ledgers.ts"

/** Counts how often a directory is synced. */
const counting = (real: FileSystem.FileSystem, directory: string) => {
  let count = 0
  const fs = FileSystem.make({
    ...real,
    open: (path, options) =>
      Effect.map(
        real.open(path, options),
        (file) =>
          path === directory ? altered(file, { sync: Effect.andThen(file.sync, Effect.sync(() => count++)) }) : file
      )
  })
  return <A, E>(effect: Effect.Effect<A, E, FileSystem.FileSystem>) =>
    Effect.andThen(
      Effect.provideService(effect, FileSystem.FileSystem, fs),
      Effect.sync(() => {
        const counted = count
        count = 0
        return counted
      })
    )
}

describe("FileName", () => {
  it.effect("is synced once with a new journal and a new ledger, and with a ledger that was made short", () =>
    Effect.gen(function*() {
      const real = yield* FileSystem.FileSystem
      const directory = `${yield* real.makeTempDirectoryScoped()}/`
      const syncs = counting(real, directory)
      const journal = Effect.scoped(Journal.open({ path: `${directory}j`, input: { path: "in" } }))
      const ledger = Effect.scoped(Effect.flatMap(
        LedgerStore.makeFile({ path: `${directory}l`, compactAbove: 1 }),
        (store) => store.append([1, 2, 3].map((id) => ({ _tag: "Refund", id, at: 0, atRisk: false })))
      ))
      expect([yield* syncs(journal), yield* syncs(journal), yield* syncs(ledger)]).toEqual([1, 0, 2])
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.effect("is left to systems that sync no directory", () =>
    FileName.sync("name").pipe(Effect.provide(FileSystem.layerNoop({}))))
})
