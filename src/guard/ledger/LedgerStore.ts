/**
 * Where a ledger keeps its entries, so that a restart remembers what was spent.
 *
 *     memory      nothing is kept: the ledger itself is the memory (default)
 *     layerFile   one append-only file, a JSON object per line
 *
 * An append to the file returns once its lines are on disk: written whole, then
 * `fsync`. The program may stop at any byte: a torn end was never acknowledged,
 * and opening cuts it off (`LedgerFormat`). A file that has grown long is
 * replaced by a short one that says the same (`LedgerFile`).
 *
 * **Gotchas**: one file belongs to one program at a time. Where two write to it,
 * the second to write is stopped: its next append fails as `foreign`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import { type FileOptions, makeFile, type Store } from "./LedgerFile.ts"
import type { LedgerStoreError } from "./LedgerFormat.ts"

export { defaults, type FileOptions, makeFile, type Store } from "./LedgerFile.ts"
export { decode, type Decoded, encode, header, LedgerStoreError } from "./LedgerFormat.ts"

/** A store that keeps nothing. */
export const memory: Store = { entries: [], tornBytes: 0, append: () => Effect.void }

/** Holds the store that `Credits` writes to: {@link memory} unless a layer provides another. */
export const LedgerStore: Context.Reference<Store> = Context.Reference<Store>("effect-together/LedgerStore", {
  defaultValue: () => memory
})

/**
 * Provides the file store to `Credits.layer`: `Credits.layer(options).pipe(Layer.provide(LedgerStore.layerFile({ path })))`.
 *
 * **Gotchas**: merged beside the layer of `Credits`, or around the program, it compiles and does nothing: the guard takes its
 * store as it is made, and without one keeps its books in memory.
 *
 * **Errors**: `LedgerStoreError` where the file cannot be opened or is damaged.
 */
export const layerFile = (
  options: FileOptions
): Layer.Layer<never, LedgerStoreError, FileSystem.FileSystem> => Layer.effect(LedgerStore, makeFile(options))
