/**
 * The lanes of the context: what `Lane.run` runs in, and what `Lanes` makes.
 *
 * `Lanes` exports all of it.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Lane } from "./LaneContract.ts"
import { Learned } from "./LaneLearned.ts"

/** Checks what all lanes have learned, by key. */
export const Saved = Schema.Record(Schema.String, Learned)
/** Holds what all lanes have learned, by key. */
export interface Saved extends Schema.Schema.Type<typeof Saved> {}
/** Reads and writes `Saved` as JSON text. */
export const SavedFromJson = Schema.fromJsonString(Saved)

/** Gives the lanes of a provider, one per key. */
export interface Service {
  /** Gets the lane of a key, and makes it at first. */
  readonly get: (key: string) => Effect.Effect<Lane>
  /** Lists the lanes made so far. */
  readonly all: Effect.Effect<ReadonlyArray<Lane>>
  /** Reads what all lanes have learned, and what earlier runs learned of lanes that this one did not use. */
  readonly save: Effect.Effect<Saved>
}

/** Holds one lane per key. */
export class Lanes extends Context.Service<Lanes, Service>()("effect-together/Lanes") {}
