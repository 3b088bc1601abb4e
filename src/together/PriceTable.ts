/**
 * Prices of Together's models: from `GET /models`, with a shipped table as fallback.
 *
 *     make      a lookup to plug in, and `refresh`, which reads GET /models; until it did, and while it fails: the last
 *               answer, else the shipped table
 *     shipped   read from Together's catalog page; `shippedAsOf` says when
 *
 * The live price of a model replaces its shipped one, field by field: the models endpoint knows tokens and dedicated
 * hours, the catalog also images and audio. A zero in `pricing` is no price (the endpoint fills what it does not know
 * with zeros), so such a side keeps its earlier price, or is unknown rather than free. A model that is nowhere is
 * unknown too; `Price.stated` gives it a price.
 *
 * **Source**: Together's serverless catalog (per-model rates, default steps), its
 * Batch API page (discounted models), API reference of `GET /models`.
 */
import * as Cache from "effect/Cache"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Money from "../domain/Money.ts"
import * as Millis from "../guard/Millis.ts"
import type * as Price from "../policy/Price.ts"
import type { Model } from "./Models.ts"

/** Says of which month the shipped prices are. */
export const shippedAsOf = "2026-10"

const source = `shipped table of ${shippedAsOf}`
const half = Money.ratio(1n, 2n)
const nothing = Money.ratio(0n)

/** USD per million tokens: input, output, cached input (or none), and whether batches cost half. */
const tokenPrices: ReadonlyArray<readonly [string, string, string, (string | undefined)?, boolean?]> = [
  ["MiniMaxAI/MiniMax-M3", "0.30", "1.20", "0.06"],
  ["Qwen/Qwen3.5-9B", "0.17", "0.25"],
  ["Qwen/Qwen3.6-Plus", "0.50", "3.00"],
  ["Qwen/Qwen3.7-Max", "1.50", "4.50", "0.50"],
  ["Qwen/Qwen3.7-Plus", "0.32", "1.28"],
  ["Qwen/Qwen3.8-2.4T-A95B", "2.00", "6.00", "0.50"],
  ["Qwen/Qwen3.8-Flash", "0.09", "0.282"],
  ["deepseek-ai/DeepSeek-V4-Flash-0731", "0.14", "0.28", "0.03"],
  ["deepseek-ai/DeepSeek-V4-Pro-0813", "1.32", "3.96", "0.13"],
  ["deepseek-ai/DeepSeek-V4.1-Flash", "0.30", "1.20", "0.006"],
  ["meta-llama/Llama-3.3-70B-Instruct-Turbo", "1.04", "1.04", undefined, true],
  ["meta-models/Muse-Glimmer-30B", "0.35", "1.50", "0.04"],
  ["moonshotai/Kimi-K3", "3.00", "15.00", "0.30"],
  ["openai/gpt-oss-120b", "0.15", "0.60"],
  ["openai/gpt-oss-20b", "0.05", "0.20"],
  ["thinkingmachines/Inkling", "1.00", "4.05", "0.17"],
  ["zai-org/GLM-5.2", "1.40", "4.40", "0.26"],
  ["zai-org/GLM-5.3", "1.40", "4.40", "0.26"],
  ["zai-org/GLM-5.3-Flash", "0.15", "0.50", "0.03"]
]

/** USD per megapixel, and the default steps where the catalog names them. Models priced per image are left out. */
const imagePrices: ReadonlyArray<readonly [string, string, number?]> = [
  ["ByteDance-Seed/Seedream-3.0", "0.018"],
  ["ByteDance-Seed/Seedream-4.0", "0.03"],
  ["Qwen/Qwen-Image", "0.0058"],
  ["RunDiffusion/Juggernaut-pro-flux", "0.0049"],
  ["Rundiffusion/Juggernaut-Lightning-Flux", "0.0017"],
  ["black-forest-labs/FLUX.1-kontext-max", "0.08", 28],
  ["black-forest-labs/FLUX.1-kontext-pro", "0.04", 28],
  ["black-forest-labs/FLUX.1.1-pro", "0.04"],
  ["black-forest-labs/FLUX.2-dev", "0.0154"],
  ["black-forest-labs/FLUX.2-flex", "0.03"],
  ["black-forest-labs/FLUX.2-max", "0.07", 50],
  ["black-forest-labs/FLUX.2-pro", "0.03"],
  ["stabilityai/stable-diffusion-xl-base-1.0", "0.0019"]
]

/** USD per minute of transcribed audio; batches of whisper-large-v3 cost half. */
const audioPrices: ReadonlyArray<readonly [string, string, boolean?]> = [
  ["nvidia/nemotron-3-asr-streaming-0.6b", "0.0015"],
  ["nvidia/parakeet-tdt-0.6b-v3", "0.0015"],
  ["openai/whisper-large-v3", "0.0015", true]
]

/** USD per million characters of speech. */
const speechPrices: ReadonlyArray<readonly [string, string]> = [
  ["canopylabs/orpheus-3b-0.1-ft", "15.00"],
  ["cartesia/sonic-2", "65.00"],
  ["cartesia/sonic-3", "65.00"],
  ["hexgrad/Kokoro-82M", "4.00"]
]

/** Holds the shipped prices, as of {@link shippedAsOf}. */
export const shipped: ReadonlyArray<Price.ModelPrice> = [
  ...tokenPrices.map(([model, input, output, cached, batch]): Price.ModelPrice => ({
    model,
    tokens: {
      input: Money.perMillion(input),
      output: Money.perMillion(output),
      cachedInput: cached === undefined ? undefined : Money.perMillion(cached)
    },
    batchShare: batch === true ? half : undefined,
    source
  })),
  ...imagePrices.map(([model, perMegapixel, defaultSteps]): Price.ModelPrice => ({
    model,
    image: { perMegapixel: Money.perUnits(perMegapixel, 1), defaultSteps },
    source
  })),
  ...audioPrices.map(([model, perMinute, batch]): Price.ModelPrice => ({
    model,
    perAudioMinute: Money.perUnits(perMinute, 1),
    batchShare: batch === true ? half : undefined,
    source
  })),
  ...speechPrices.map(([model, perMillion]): Price.ModelPrice => ({
    model,
    perCharacter: Money.perMillion(perMillion),
    source
  }))
]

const positive = (value: number | null | undefined): value is number =>
  typeof value === "number" && Number.isFinite(value) && value > 0

type Tokens = NonNullable<Price.ModelPrice["tokens"]>

/** Kinds of models that generate nothing: an output of zero is then a price, not a gap. */
const readers: ReadonlySet<string> = new Set(["embedding", "rerank"])

/** Reads the price of tokens; a side that says nothing keeps its earlier price. */
const tokensOf = ({ pricing, type }: Model, earlier: Tokens | undefined): Tokens | undefined => {
  if (!positive(pricing?.input) && !positive(pricing?.output)) return undefined
  const input = positive(pricing?.input) ? Money.perMillion(pricing.input) : earlier?.input
  const output = positive(pricing?.output)
    ? Money.perMillion(pricing.output)
    : readers.has(type ?? "")
    ? nothing
    : earlier?.output
  if (input === undefined || output === undefined) return undefined
  return {
    input,
    output,
    ...(positive(pricing?.cached_input) ? { cachedInput: Money.perMillion(pricing.cached_input) } : {})
  }
}

/**
 * Reads prices from an answer of `GET /models`; models without a price above zero are left out.
 *
 * **Details**: `input` and `output` are USD per million tokens. A zero means that the endpoint does not know a price,
 * so that side keeps its earlier price, or else the model's tokens have no price. Only in models of type `embedding`
 * and `rerank` is a zero for the output a price. `hourly` is USD per hour of a dedicated replica, `context_length`
 * tokens. `base` and `finetune` have no documented unit and are not read.
 *
 * @param asOf the day of the answer, for the source of the price
 * @param earlier what is known of prices without this answer. Default: the shipped table
 */
export const fromModels = (
  models: ReadonlyArray<Model>,
  asOf: string,
  earlier: Price.Lookup = shippedLookup
): ReadonlyArray<Price.ModelPrice> =>
  models.flatMap((model) => {
    const { context_length, id, pricing } = model
    const tokens = tokensOf(model, earlier(id)?.tokens)
    const hourly = pricing?.hourly
    if (tokens === undefined && !positive(hourly)) return []
    return [{
      model: id,
      ...(tokens === undefined ? {} : { tokens }),
      ...(positive(hourly) ? { perMinute: Money.perUnits(hourly, 60) } : {}),
      ...(positive(context_length) ? { contextTokens: Math.ceil(context_length) } : {}),
      source: `GET /models of ${asOf}`
    }]
  })

/** Keeps an earlier price of cached tokens if the later list names none, unless it is above the new price of input. */
const withCached = (earlier: Tokens, later: Tokens): Tokens => {
  const { cachedInput } = earlier
  return "cachedInput" in later || cachedInput === undefined || Money.compare(cachedInput, later.input) > 0
    ? later
    : { ...later, cachedInput }
}

const merged = (earlier: Price.ModelPrice | undefined, later: Price.ModelPrice): Price.ModelPrice =>
  earlier?.tokens === undefined || later.tokens === undefined
    ? { ...earlier, ...later }
    : { ...earlier, ...later, tokens: withCached(earlier.tokens, later.tokens) }

/**
 * Makes a lookup from lists of prices; a later list replaces an earlier one, field by field.
 *
 * **Details**: a field that is absent keeps its earlier value, one that is `undefined` takes it away: `Price.stated`
 * without a price of cached tokens states that they cost as much as others.
 */
export const lookup = (...lists: ReadonlyArray<ReadonlyArray<Price.ModelPrice>>): Price.Lookup => {
  const prices = new Map<string, Price.ModelPrice>()
  for (const list of lists) for (const price of list) prices.set(price.model, merged(prices.get(price.model), price))
  return (model) => prices.get(model)
}

/** Finds the shipped price of a model. */
export const shippedLookup: Price.Lookup = lookup(shipped)

/** Holds the defaults of this module. */
export const defaults = {
  /** 6 hours: prices change by the week, and a job should not straddle a stale one for a day. */
  timeToLive: Duration.hours(6),
  /** 1 minute: after a failure, ask again soon, but not for every call. */
  retryAfter: Duration.minutes(1)
}

/** Says where prices come from. */
export interface Options<E, R> {
  /** Asks `GET /models`. */
  readonly models: Effect.Effect<ReadonlyArray<Model>, E, R>
  /** Prices that override all others: contracts, dedicated endpoints, new models. */
  readonly stated?: ReadonlyArray<Price.ModelPrice> | undefined
  /** How long an answer of `GET /models` is used, at least 0. Default: 6 hours. */
  readonly timeToLive?: Duration.Input | undefined
  /** How long after a failure `GET /models` is not asked again, at least 0. Default: 1 minute. */
  readonly retryAfter?: Duration.Input | undefined
}

/** Holds prices that are read anew from time to time. */
export interface PriceTable<R> {
  /** Finds the latest price there is: that of the shipped table until the first refresh. The client's `prices`. */
  readonly lookup: Price.Lookup
  /** Reads the prices where the last ones are too old. Never fails. */
  readonly refresh: Effect.Effect<void, never, R>
}

/**
 * Makes a table of prices to plug into a client.
 *
 * **Details**: many callers of `refresh` that meet share one request. While `GET /models` fails, the prices are the
 * last ones that came, else the shipped ones; a warning says so once per failure.
 *
 * **Errors**: defects with `RangeError` for a time that is none, or below 0.
 *
 * **Example**
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { Money, PriceTable, Together } from "effect-together"
 * import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
 *
 * const models = Effect.flatMap(Together.Together, (together) => together.models())
 * const pricing = { input: 0.07, output: 0.28 }
 *
 * const test = Effect.gen(function*() {
 *   const { lookup, refresh } = yield* PriceTable.make({ models })
 *   // in production: Together.layerConfig({ prices: lookup })
 *   const live = TogetherTest.layer({ together: { prices: lookup } })
 *   const program = Effect.gen(function*() {
 *     yield* TogetherTest.reply(Reply.json([{ id: "new/model", pricing }]))
 *     yield* refresh
 *     return lookup("new/model")?.source
 *   })
 *   return yield* Effect.provide(program, live)
 * })
 * await Effect.runPromise(VirtualClock.wrap(test)) // => "GET /models of 2026-01-01"
 * ```
 */
export const make = <E, R>(options: Options<E, R>): Effect.Effect<PriceTable<R>> =>
  Effect.suspend(() => {
    const stated = options.stated ?? []
    const span = (field: "timeToLive" | "retryAfter") =>
      Millis.notNegative(`PriceTable.make: ${field}`, options[field] ?? defaults[field])
    const [timeToLive, retryAfter] = [span("timeToLive"), span("retryAfter")]
    let latest = lookup(shipped, stated)
    const ask = Effect.gen(function*() {
      const models = yield* options.models
      latest = lookup(shipped, fromModels(models, DateTime.formatIsoDateUtc(yield* DateTime.now)), stated)
    }).pipe(
      Effect.tapError((error) =>
        Effect.logWarning(
          `Prices could not be read from GET /models: using the last known (shipped: ${shippedAsOf})`,
          error
        )
      )
    )
    const cache = Cache.makeWith(() => ask, {
      capacity: 1,
      timeToLive: (exit) => Exit.isSuccess(exit) ? timeToLive : retryAfter,
      requireServicesAt: "lookup"
    })
    return Effect.map(cache, (prices) => ({
      lookup: (model) => latest(model),
      refresh: Effect.ignore(Cache.get(prices, "models"))
    }))
  })
