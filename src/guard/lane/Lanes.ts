/**
 * One lane per key, made at its first use.
 *
 * A key names what shares a limit: one key or organization, one model, one resource pool. Lanes never influence each
 * other. What they learned can be saved as one JSON document and loaded by the next run.
 *
 * ```
 *   get("org/model") ──▶ lane there? yes ─▶ the same lane
 *                           │ no
 *                           └─▶ Lane.make({ ...options, ...overrides(key), key }) ─▶ load what was learned
 * ```
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Lanes } from "effect-together"
 *
 * const program = Effect.gen(function*() {
 *   const lanes = yield* Lanes.Lanes
 *   const lane = yield* lanes.get(Lanes.key({ model: "openai/gpt-oss-20b" }))
 *   yield* lane.run(Effect.void, { tokens: 10 })
 *   return yield* lanes.save
 * })
 *
 * Effect.runPromise(Effect.provide(program, Lanes.layer())).then(console.log)
 * ```
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as ConfiguredGuard from "../ConfiguredGuard.ts"
import * as Lane from "./Lane.ts"
import { checked } from "./LaneInput.ts"
import { Lanes, Saved, SavedFromJson, type Service } from "./LanesService.ts"
import * as LaneStore from "./LaneStore.ts"

export { Lanes, Saved, SavedFromJson, type Service }

/** Holds the defaults of this module; those of a lane stand in `Lane.defaults`. */
export const defaults = {
  account: "default"
} as const

/** Names what shares a limit. */
export interface KeyParts {
  /** The organization whose limit it is; never an API key. Default `"default"`. */
  readonly account?: string | undefined
  /** The model as sent. Default none: the calls without a model have a lane of their own. */
  readonly model?: string | undefined
  /** The provider's pool, where a model has several. Default the one that has no name. */
  readonly pool?: string | undefined
}

const escaped = (part: string, signs: RegExp): string =>
  part.replace(signs, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)

/**
 * Builds the key of a lane from its parts: `account/model`, or `account/model#pool`.
 *
 * **Details**: different parts have different keys. Characters that would end a part too early are escaped as in an
 * address: `/`, `#` and `%` in an account, `#` and `%` in a model.
 *
 * **When to use**: to share the lane of a client with another SDK, or to name a lane in `overrides`.
 *
 * **Example**
 *
 * ```ts
 * import { Lanes } from "effect-together"
 *
 * Lanes.key({ model: "openai/gpt-oss-20b" }) // => "default/openai/gpt-oss-20b"
 * Lanes.key({ account: "acme", model: "openai/gpt-oss-20b", pool: "dedicated" }) // => "acme/openai/gpt-oss-20b#dedicated"
 * ```
 */
export const key = ({ account = defaults.account, model, pool }: KeyParts): string =>
  `${escaped(account, /[%/#]/g)}/${model ? escaped(model, /^-$|[%#]/g) : "-"}${pool === undefined ? "" : `#${pool}`}`

/** Configures all lanes, and some by key. */
export interface Options extends Omit<Lane.Options, "key"> {
  /** Options of one lane, over those of all; {@link key} builds the key to compare with. Default none. */
  readonly overrides?: ((key: string) => Omit<Lane.Options, "key"> | undefined) | undefined
  /** What an earlier run learned: lanes begin there. Default nothing. */
  readonly saved?: Saved | undefined
}

/** Makes the lanes. **Details**: their state lives in the `LaneStore` of the context, which by default is this process. */
export const make = Effect.fnUntraced(function*(options: Options = {}): Effect.fn.Return<Service> {
  const { overrides, saved, ...base } = options
  // lanes outlive the call that makes them, so their metrics and their store are those of the fiber that made all lanes
  const registry = yield* Metric.MetricRegistry
  const store = yield* LaneStore.LaneStore
  // a bad option is refused here, not at the first call
  checked(base, "Lanes.make")
  const lanes = new Map<string, Lane.Lane>()
  const create = Effect.fnUntraced(
    function*(key: string) {
      const own = checked({ ...base, ...overrides?.(key) }, `Lanes.make, overrides of ${key}`)
      const lane = yield* Lane.make({ ...own, key })
      const learned = saved?.[key]
      if (learned !== undefined) yield* lane.load(learned)
      // another fiber may have made it meanwhile, where the store had to wait
      const known = lanes.get(key)
      if (known !== undefined) return known
      lanes.set(key, lane)
      return lane
    },
    Effect.provideService(Metric.MetricRegistry, registry),
    Effect.provideService(LaneStore.LaneStore, store)
  )
  return Lanes.of({
    get: (key) =>
      Effect.suspend(() => {
        const known = lanes.get(key)
        return known === undefined ? create(key) : Effect.succeed(known)
      }),
    all: Effect.sync(() => [...lanes.values()]),
    save: Effect.map(
      Effect.suspend(() => Effect.forEach(lanes, ([key, lane]) => Effect.map(lane.save, (one) => [key, one] as const))),
      (learned) => ({ ...saved, ...Object.fromEntries(learned) })
    )
  })
})

/** Provides lanes. */
export const layer = (options?: Options): Layer.Layer<Lanes> => Layer.effect(Lanes, make(options))

/**
 * Reads the caps of all lanes: `TOGETHER_REQUESTS_PER_MINUTE`, `TOGETHER_TOKENS_PER_MINUTE` and `TOGETHER_MAX_IN_FLIGHT`,
 * each optional.
 */
export const config: Config.Config<Options> = Config.all({
  requestsPerMinute: Config.Finite("TOGETHER_REQUESTS_PER_MINUTE").pipe(Config.withDefault(undefined)),
  tokensPerMinute: Config.Finite("TOGETHER_TOKENS_PER_MINUTE").pipe(Config.withDefault(undefined)),
  maxInFlight: Config.Int("TOGETHER_MAX_IN_FLIGHT").pipe(Config.withDefault(undefined))
})

/**
 * Provides lanes whose options come from the configuration, by default from {@link config}.
 *
 * **Errors**: `ConfigError`, also for an option out of range.
 *
 * **Example** (Caps from variables, and what the program says itself)
 *
 * ```ts
 * import { Config, ConfigProvider, Effect, Layer } from "effect"
 * import { Lanes } from "effect-together"
 *
 * const lanes = Lanes.layerConfig(Config.map(Lanes.config, (caps) => ({ ...caps, maxQueue: 5 })))
 *
 * const env = ConfigProvider.fromEnvRecord({ TOGETHER_REQUESTS_PER_MINUTE: "60" })
 * const program = Effect.gen(function*() {
 *   const lane = yield* Effect.flatMap(Lanes.Lanes, ({ get }) => get("demo"))
 *   return (yield* lane.status).requestsPerSecond
 * }).pipe(Effect.provide(Layer.provide(lanes, ConfigProvider.layer(env))))
 *
 * await Effect.runPromise(program) // => 1
 * ```
 */
export const layerConfig = (options: Config.Wrap<Options> = config): Layer.Layer<Lanes, Config.ConfigError> =>
  Layer.effect(Lanes, ConfiguredGuard.make(Config.unwrap(options), make))
