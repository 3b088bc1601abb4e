/**
 * (interface first; the inside is being filled)
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Lane from "./Lane.ts"

/** Configures all lanes, and some by key. */
export interface Options extends Omit<Lane.Options, "key"> {
  readonly overrides?: ((key: string) => Omit<Lane.Options, "key"> | undefined) | undefined
}

/** Holds one lane per key. */
export class Lanes extends Context.Service<Lanes, {
  readonly get: (key: string) => Effect.Effect<Lane.Lane>
  readonly all: Effect.Effect<ReadonlyArray<Lane.Lane>>
}>()("effect-together/Lanes") {}

/** Makes the lanes service. */
export const make = (options: Options = {}) =>
  Effect.sync(() => {
    const lanes = new Map<string, Lane.Lane>()
    return Lanes.of({
      get: (key) =>
        Effect.gen(function*() {
          const known = lanes.get(key)
          if (known) return known
          const lane = yield* Lane.make({ ...options, ...options.overrides?.(key), key })
          lanes.set(key, lane)
          return lane
        }),
      all: Effect.sync(() => [...lanes.values()])
    })
  })

/** Provides lanes. */
export const layer = (options?: Options): Layer.Layer<Lanes> => Layer.effect(Lanes, make(options))
