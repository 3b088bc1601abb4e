/**
 * Price sheets, and what work costs by them: before it is done as a range, after it as one amount.
 *
 *     tokens   (input − cached) × input + cached × cachedInput + output × output
 *     images   count × width × height ÷ 10⁶ × perMegapixel × max(1, steps ÷ defaultSteps), or count × perImage
 *     minutes  minutes × replicas × perMinute
 *     batch    any of these × batchShare
 *
 * Reasoning tokens are part of the output and cached tokens part of the input:
 * each token is counted once. A cached token without a cached price costs the
 * full input price, never nothing. Prices are exact fractions and an answer is
 * rounded once: `Money.round`, upwards in estimates, to the nearest in costs.
 *
 * A cost is `Known`, or `Assumed`: an amount that nobody measured, such as that
 * of a stream that was left before it said its usage.
 *
 * What has no price is `Unknown` with the reason, a value that no sum turns
 * into zero. A guard can then refuse it or count it, but cannot overlook it.
 *
 * **Source**: Together's serverless catalog (prices per million tokens and per
 * megapixel; steps below the default do not make an image cheaper), the
 * `pricing` object of `GET /models`, and `POST /fine-tunes/estimate-price`.
 */
import type { TokenEstimate } from "../domain/Call.ts"
import * as Money from "../domain/Money.ts"
import type { Usage } from "../domain/Usage.ts"
import * as OptionCheck from "./OptionCheck.ts"

/** Prices one model, in nano-dollars per unit. A kind of work without a field has no known price. */
export interface ModelPrice {
  readonly model: string
  /** Per token. Without `cachedInput`, cached tokens cost as much as others. */
  readonly tokens?: {
    readonly input: Money.Ratio
    readonly output: Money.Ratio
    readonly cachedInput?: Money.Ratio | undefined
  } | undefined
  /** Per megapixel at the default number of steps, without which steps do not matter; or per image, of any size. */
  readonly image?:
    | { readonly perMegapixel: Money.Ratio; readonly defaultSteps?: number | undefined; readonly perImage?: undefined }
    | { readonly perImage: Money.Ratio; readonly perMegapixel?: undefined }
    | undefined
  /** Per minute of one replica of a dedicated endpoint. */
  readonly perMinute?: Money.Ratio | undefined
  /** Per minute of transcribed audio. */
  readonly perAudioMinute?: Money.Ratio | undefined
  /** Per character of synthesized speech. */
  readonly perCharacter?: Money.Ratio | undefined
  /** The most tokens that one answer can have: the model's context. Absent: not known. */
  readonly contextTokens?: number | undefined
  /** Share of the price that a batch row costs: 1/2 for half price. Absent: the full price. */
  readonly batchShare?: Money.Ratio | undefined
  /** Says where the price comes from and of which day it is. */
  readonly source: string
}

/** Finds the price of a model. */
export type Lookup = (model: string) => ModelPrice | undefined

/** What something costs: an amount, one that was assumed, or an explicit unknown. */
export type Cost =
  | { readonly _tag: "Known"; readonly nanoUsd: Money.NanoUsd }
  | { readonly _tag: "Assumed"; readonly nanoUsd: Money.NanoUsd; readonly reason: string }
  | { readonly _tag: "Unknown"; readonly reason: string }

/**
 * What something may cost: `low ≤ expected ≤ high`, or an explicit unknown.
 *
 * **Details**: a reservation takes `high`.
 */
export type Estimate =
  | {
    readonly _tag: "Known"
    readonly low: Money.NanoUsd
    readonly expected: Money.NanoUsd
    readonly high: Money.NanoUsd
  }
  | { readonly _tag: "Unknown"; readonly reason: string }

/** A cost or an estimate that is not known, with the reason. */
export type Unknown = { readonly _tag: "Unknown"; readonly reason: string }

/**
 * Makes a known cost.
 *
 * **Errors**: `RangeError` for less than nothing: a ledger would take it for money that came back.
 */
export const known = (nanoUsd: Money.NanoUsd): Cost => {
  if (nanoUsd < 0n) OptionCheck.refuse("Price.known", "nanoUsd", ">= 0", nanoUsd)
  return { _tag: "Known", nanoUsd }
}

/** Marks a cost as assumed, with the reason; one that is unknown stays so. */
export const assumed = (cost: Cost, reason: string): Cost =>
  cost._tag === "Unknown" ? cost : { _tag: "Assumed", nanoUsd: cost.nanoUsd, reason }

/** Makes an unknown cost or estimate. */
export const unknown = (reason: string): Unknown => ({ _tag: "Unknown", reason })

/** A known cost of nothing. */
export const free: Cost = known(0n)

/**
 * Makes an estimate from its bounds; `expected` defaults to `high`.
 *
 * **Errors**: `RangeError` unless `0 ≤ low ≤ expected ≤ high`.
 */
export const range = (low: Money.NanoUsd, high: Money.NanoUsd, expected: Money.NanoUsd = high): Estimate => {
  if (low < 0n || low > expected || expected > high) {
    OptionCheck.refuse("Price.range", "bounds", "0 <= low <= expected <= high", `${low}, ${expected}, ${high}`)
  }
  return { _tag: "Known", low, expected, high }
}

/** Makes an estimate that is certain. */
export const exactly = (nanoUsd: Money.NanoUsd): Estimate => range(nanoUsd, nanoUsd)

/** Takes a cost as a certain estimate. */
export const toEstimate = (cost: Cost): Estimate => cost._tag === "Unknown" ? cost : exactly(cost.nanoUsd)

/** Adds estimates; one unknown makes the sum unknown. */
export const sum = (estimates: Iterable<Estimate>): Estimate => {
  let [low, expected, high] = [0n, 0n, 0n]
  for (const estimate of estimates) {
    if (estimate._tag === "Unknown") return estimate
    low += estimate.low
    expected += estimate.expected
    high += estimate.high
  }
  return range(low, high, expected)
}

/** Multiplies an estimate by a number of equal calls. */
export const repeat = (estimate: Estimate, count: number): Estimate => {
  const n = whole("Price.repeat", "count", count)
  if (estimate._tag === "Unknown") return estimate
  return range(estimate.low * n, estimate.high * n, estimate.expected * n)
}

/** Holds the defaults of this module. */
export const defaults = {
  /**
   * Share by which the estimated input is raised for the upper bound, and lowered for the lower one, in [0, ∞). 0.25: a count from characters is
   * within about a fifth for prose; dense code or another script needs more, or a real tokenizer and 0.
   */
  inputMargin: 0.25
}

/** Says how work is billed. */
export interface Options {
  /** The work runs through the Batch API, at the model's batch price. */
  readonly batch?: boolean | undefined
  /** See {@link defaults}. Only for estimates. */
  readonly inputMargin?: number | undefined
}

const noPrice = (price: ModelPrice | undefined, model: string, what: string): Unknown =>
  unknown(
    price === undefined
      ? `no price is known for model ${model}`
      : `model ${model} has no price per ${what} (${price.source})`
  )

const inBatch = (price: ModelPrice, full: Money.Ratio, options: Options | undefined): Money.Ratio =>
  options?.batch === true && price.batchShare !== undefined ? Money.multiply(full, price.batchShare) : full

const whole = (where: string, name: string, value: number): bigint => BigInt(OptionCheck.integer(where, name, value, 0))

const ofTokens = (
  where: string,
  price: ModelPrice,
  tokens: NonNullable<ModelPrice["tokens"]>,
  counts: { readonly input: number; readonly cached: number; readonly output: number },
  options: Options | undefined
): Money.Ratio => {
  const input = whole(where, "inputTokens", counts.input)
  const cached = Money.min(whole(where, "cachedInputTokens", counts.cached), input)
  const full = Money.add(
    Money.add(Money.times(tokens.input, input - cached), Money.times(tokens.cachedInput ?? tokens.input, cached)),
    Money.times(tokens.output, whole(where, "outputTokens", counts.output))
  )
  return inBatch(price, full, options)
}

/**
 * Prices an answered call by its real usage.
 *
 * @param model the model as sent, for the reason where there is no price
 *
 * **Errors**: `RangeError` for a count that is no whole number of tokens; `Usage.fromWire` gives none.
 */
export const ofUsage = (
  price: ModelPrice | undefined,
  model: string,
  usage: Usage | undefined,
  options?: Options
): Cost => {
  const tokens = price?.tokens
  if (price === undefined || tokens === undefined) return noPrice(price, model, "token")
  if (usage === undefined) return unknown(`the answer of model ${model} said no usage`)
  const counts = { input: usage.inputTokens, cached: usage.cachedInputTokens, output: usage.outputTokens }
  return known(Money.round(ofTokens("Price.ofUsage", price, tokens, counts, options), "nearest"))
}

const mostOutput = (price: ModelPrice, { learned, maxOutputTokens, openChoices = 0 }: TokenEstimate): number => {
  if (openChoices === 0 || price.contextTokens === undefined) return maxOutputTokens
  const context = Math.min(price.contextTokens * openChoices, Number.MAX_SAFE_INTEGER)
  return learned === true ? Math.min(maxOutputTokens, context) : context
}

/**
 * Prices a call before it is sent.
 *
 * **Details**: `low` takes the input lowered by `inputMargin`, all of it from the
 * cache where that is cheaper, and no output; `expected` no cache and the
 * expected output; `high` the input raised by `inputMargin`, cached where that is
 * dearer, and the largest output the call allows: of a choice
 * that sets no `max_tokens` what the estimate has learned from answers, else the
 * model's context, where the price knows it, else what the estimate assumes. An
 * answer may exceed what was learned or assumed.
 */
export const ofCall = (
  price: ModelPrice | undefined,
  model: string,
  estimate: TokenEstimate,
  options?: Options
): Estimate => {
  const where = "Price.ofCall"
  const margin = options?.inputMargin ?? defaults.inputMargin
  OptionCheck.nonNegative(where, "inputMargin", margin)
  const tokens = price?.tokens
  if (price === undefined || tokens === undefined) return noPrice(price, model, "token")
  const input = Math.ceil(estimate.inputTokens)
  const most = Math.ceil(Math.max(mostOutput(price, estimate), estimate.outputTokens))
  const dearer = tokens.cachedInput !== undefined && Money.compare(tokens.cachedInput, tokens.input) > 0
  const lowered = Math.floor(input / (1 + margin))
  const low = ofTokens(where, price, tokens, { input: lowered, cached: dearer ? 0 : lowered, output: 0 }, options)
  const expected = ofTokens(
    where,
    price,
    tokens,
    { input, cached: 0, output: Math.ceil(estimate.outputTokens) },
    options
  )
  const raised = Math.ceil(input * (1 + margin))
  const high = ofTokens(where, price, tokens, { input: raised, cached: dearer ? raised : 0, output: most }, options)
  return range(Money.round(low, "down"), Money.round(high, "up"), Money.round(expected, "up"))
}

/** Describes an image request. */
export interface Images {
  readonly width: number
  readonly height: number
  readonly count: number
  /** Absent: the model's default. */
  readonly steps?: number | undefined
}

/**
 * Prices images, exactly, before or after: the size and steps asked for decide.
 *
 * **Gotchas**: fewer steps than the default cost as much as the default.
 */
export const ofImages = (price: ModelPrice | undefined, model: string, images: Images): Cost => {
  const image = price?.image
  if (image === undefined) return noPrice(price, model, "image")
  const count = (name: string, value: number): bigint => whole("Price.ofImages", name, value)
  if (image.perImage !== undefined) {
    return known(Money.round(Money.times(image.perImage, count("count", images.count)), "nearest"))
  }
  const pixels = count("width", images.width) * count("height", images.height) * count("count", images.count)
  const atDefault = Money.multiply(image.perMegapixel, Money.ratio(pixels, 1_000_000n))
  const steps = images.steps === undefined ? undefined : count("steps", images.steps)
  const usual = image.defaultSteps === undefined ? undefined : count("defaultSteps", image.defaultSteps)
  const total = steps === undefined || usual === undefined || steps <= usual
    ? atDefault
    : Money.multiply(atDefault, Money.ratio(steps, usual))
  return known(Money.round(total, "nearest"))
}

/** Names a function that prices by a unit: what it calls the quantity, and what is missing where there is no price. */
interface Unit {
  readonly where: string
  readonly field: string
  readonly what: string
}

const perUnit = (
  unit: Unit,
  price: ModelPrice | undefined,
  model: string,
  rate: Money.Ratio | undefined,
  quantity: number,
  options?: Options
): Cost => {
  if (price === undefined || rate === undefined) return noPrice(price, model, unit.what)
  const amount = OptionCheck.nonNegative(unit.where, unit.field, quantity)
  return known(Money.round(inBatch(price, Money.multiply(rate, Money.ratioFrom(amount)), options), "nearest"))
}

const minute: Unit = { where: "Price.ofMinutes", field: "minutes", what: "minute" }
const audioMinute: Unit = { where: "Price.ofAudioMinutes", field: "minutes", what: "minute of audio" }
const character: Unit = { where: "Price.ofCharacters", field: "characters", what: "character" }

/** Prices a dedicated endpoint by the minutes that its replicas run. */
export const ofMinutes = (price: ModelPrice | undefined, model: string, minutes: number, replicas: number = 1): Cost =>
  perUnit(
    minute,
    price,
    model,
    price?.perMinute === undefined
      ? undefined
      : Money.times(price.perMinute, whole(minute.where, "replicas", replicas)),
    minutes
  )

/** Prices transcribed audio by its length. */
export const ofAudioMinutes = (
  price: ModelPrice | undefined,
  model: string,
  minutes: number,
  options?: Options
): Cost => perUnit(audioMinute, price, model, price?.perAudioMinute, minutes, options)

/** Prices synthesized speech by its characters. */
export const ofCharacters = (price: ModelPrice | undefined, model: string, characters: number): Cost =>
  perUnit(character, price, model, price?.perCharacter, characters)

/** An answer of `POST /fine-tunes/estimate-price`, as it comes over the wire. */
export interface FineTuneEstimate {
  readonly estimation_available?: boolean | null | undefined
  /** In dollars. */
  readonly estimated_total_price?: number | null | undefined
  readonly unavailable_reason?: string | null | undefined
}

/** Reads a fine-tune's price from the provider's own estimate, which is in dollars. */
export const ofFineTune = (answer: FineTuneEstimate): Estimate => {
  const price = answer.estimated_total_price
  if (price === undefined || price === null || answer.estimation_available === false) {
    return unknown(`Together gave no price for this fine-tune: ${answer.unavailable_reason ?? "no reason was given"}`)
  }
  return price >= 0 && Number.isFinite(Number(price))
    ? exactly(Money.round(Money.times(Money.ratioFrom(price), Money.nanoPerUsd), "up"))
    : unknown(`Together's estimate for this fine-tune is no price: ${price}`)
}

/** States what tokens cost, in dollars per million. */
export interface StatedTokens {
  readonly inputUsdPerMillion: number | string
  readonly outputUsdPerMillion: number | string
  readonly cachedInputUsdPerMillion?: number | string | undefined
}

/** States what images cost: by their size, at so many steps where steps matter, or each the same. */
export type StatedImages =
  | { readonly usdPerMegapixel: number | string; readonly defaultSteps?: number | undefined }
  | { readonly usdPerImage: number | string }

/**
 * States a model's price by hand, of tokens, of images or of both: a contract, a dedicated endpoint (0 and 0, since its
 * minutes are billed), a new model.
 *
 * **Errors**: `RangeError` for a price that is no amount, and for a context or steps that are no whole number above 0.
 *
 * **Example**: `Price.stated({ model: "acme/llama", inputUsdPerMillion: "0.60", outputUsdPerMillion: "0.60" })`
 */
export const stated = (
  price: {
    readonly model: string
    /** See {@link ModelPrice}. */
    readonly contextTokens?: number | undefined
    readonly batchShare?: Money.Ratio | undefined
  } & (StatedTokens | StatedImages | (StatedTokens & StatedImages))
): ModelPrice => ({
  model: price.model,
  ...("inputUsdPerMillion" in price ? { tokens: statedTokens(price) } : {}),
  ...("usdPerMegapixel" in price || "usdPerImage" in price ? { image: statedImages(price) } : {}),
  ...(price.contextTokens === undefined
    ? {}
    : { contextTokens: OptionCheck.integer("Price.stated", "contextTokens", price.contextTokens, 1) }),
  batchShare: price.batchShare,
  source: "stated by the user"
})

const statedTokens = (price: StatedTokens): ModelPrice["tokens"] => ({
  input: Money.perMillion(price.inputUsdPerMillion),
  output: Money.perMillion(price.outputUsdPerMillion),
  cachedInput: price.cachedInputUsdPerMillion === undefined
    ? undefined
    : Money.perMillion(price.cachedInputUsdPerMillion)
})

const statedImages = (price: StatedImages): ModelPrice["image"] =>
  "usdPerImage" in price ? { perImage: Money.perUnits(price.usdPerImage, 1) } : {
    perMegapixel: Money.perUnits(price.usdPerMegapixel, 1),
    defaultSteps: price.defaultSteps === undefined
      ? undefined
      : OptionCheck.integer("Price.stated", "defaultSteps", price.defaultSteps, 1)
  }
