/**
 * Money as whole nano-dollars in a `bigint`, and prices as exact fractions.
 *
 * A token costs fractions of a micro-dollar and a job counts billions of them,
 * so neither `number` (drifts) nor cents (too coarse) will do. One nano-dollar
 * is 10⁻⁹ USD, the unit Together itself uses for the price of a fine-tune.
 *
 * | value | type | exact |
 * | --- | --- | --- |
 * | an amount | `NanoUsd`, a `bigint` | yes |
 * | a price per token, megapixel, minute | `Ratio` of nano-dollars | yes, `$0.0375` per million is 75/2 per token |
 * | an amount on screen | `string` from `format` | for reading only |
 *
 * Sums of `quantity × price` stay fractions until `round`, which is called once
 * per answer: upwards for what is reserved, to the nearest for what was spent.
 * No `number` takes part after parsing, so there is no drift at any size.
 */
import * as BigInts from "effect/BigInt"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"

/** Counts nano-dollars: 1 USD is `1_000_000_000n`. */
export type NanoUsd = bigint

/** An amount as people write it: nano-dollars, or US dollars as text (`"$25"`, `"0.0375"`). */
export type Input = NanoUsd | string

/** Counts the nano-dollars of one dollar. */
export const nanoPerUsd = 1_000_000_000n

/** Zero dollars. */
export const zero: NanoUsd = 0n

/** Decodes an amount from the decimal text of its nano-dollars, the form of the ledger file. */
export const NanoUsdFromString = Schema.BigIntFromString

/** Holds an exact fraction: `denominator` is positive and shares no factor with `numerator`. */
export interface Ratio {
  readonly numerator: bigint
  readonly denominator: bigint
}

/**
 * Makes a fraction in lowest terms.
 *
 * **Errors**: `RangeError` for a denominator that is not positive.
 */
export const ratio = (numerator: bigint, denominator: bigint = 1n): Ratio => {
  if (denominator <= 0n) throw new RangeError(`Money.ratio: denominator must be > 0, got ${denominator}`)
  const divisor = BigInts.gcd(BigInts.abs(numerator), denominator)
  return { numerator: numerator / divisor, denominator: denominator / divisor }
}

const decimalPattern = /^([+-]?)(\d+)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/

/** Reads a decimal as an exact fraction, or nothing where the text is no decimal. */
const decimal = (text: string): Ratio | undefined => {
  const match = decimalPattern.exec(text)
  if (match === null) return undefined
  const [, sign, whole, fraction = "", exponent = "0"] = match
  const shift = Number(exponent) - fraction.length
  const digits = BigInt(`${whole}${fraction}`) * (sign === "-" ? -1n : 1n)
  return shift >= 0 ? ratio(digits * 10n ** BigInt(shift)) : ratio(digits, 10n ** BigInt(-shift))
}

/**
 * Reads a decimal number or text as the exact fraction it is written as: `0.1` is 1/10.
 *
 * **Errors**: `RangeError` for what is not a finite decimal.
 */
export const ratioFrom = (value: number | string | bigint): Ratio => {
  const read = typeof value === "bigint" ? ratio(value) : decimal(String(value).trim())
  if (read === undefined) throw new RangeError(`Money.ratioFrom: value must be a finite decimal, got ${value}`)
  return read
}

/** Adds two fractions. */
export const add = (a: Ratio, b: Ratio): Ratio =>
  a.denominator === b.denominator
    ? ratio(a.numerator + b.numerator, a.denominator)
    : ratio(a.numerator * b.denominator + b.numerator * a.denominator, a.denominator * b.denominator)

/** Multiplies two fractions. */
export const multiply = (a: Ratio, b: Ratio): Ratio => ratio(a.numerator * b.numerator, a.denominator * b.denominator)

/** Multiplies a fraction by a whole number. */
export const times = (a: Ratio, count: bigint): Ratio => ratio(a.numerator * count, a.denominator)

/** Orders two fractions: negative, zero or positive. */
export const compare = (a: Ratio, b: Ratio): number => {
  const difference = a.numerator * b.denominator - b.numerator * a.denominator
  return difference < 0n ? -1 : difference > 0n ? 1 : 0
}

/** Says where a fraction of a nano-dollar goes: `up` reserves enough, `nearest` (half up) bills fairly. */
export type Rounding = "up" | "down" | "nearest"

/** Rounds an exact fraction of nano-dollars to a whole amount. */
export const round = (value: Ratio, rounding: Rounding): NanoUsd => {
  const { denominator, numerator } = value
  const shifted = rounding === "up"
    ? numerator + denominator - 1n
    : rounding === "down"
    ? numerator
    : numerator * 2n + denominator
  const divisor = rounding === "nearest" ? denominator * 2n : denominator
  const quotient = shifted / divisor
  return shifted < 0n && shifted % divisor !== 0n ? quotient - 1n : quotient // floor, not towards zero
}

/**
 * Prices one unit in nano-dollars, from a price in dollars per so many units.
 *
 * **Details**: `perUnits(0.05, 1_000_000)` is a token at $0.05 per million: 50 nano-dollars.
 *
 * **Errors**: `RangeError` for a price that is negative or no decimal.
 */
export const perUnits = (usd: number | string, units: number): Ratio => {
  const price = ratioFrom(usd)
  if (price.numerator < 0n) throw new RangeError(`Money.perUnits: usd must be >= 0, got ${usd}`)
  return ratio(price.numerator * nanoPerUsd, price.denominator * BigInt(units))
}

/** Prices one token in nano-dollars, from dollars per million tokens: the unit of `GET /models`. */
export const perMillion = (usd: number | string): Ratio => perUnits(usd, 1_000_000)

const dollarText = /^\s*(-?)\s*\$?\s*(\d{1,3}(?:,\d{3})+|\d+)(\.\d{1,9}0*)?\s*(?:USD)?\s*$/i

/**
 * Reads an amount in US dollars as written by people, or nothing where it is none.
 *
 * **Details**: `"25"`, `"$25"`, `"$1,000.50"`, `"0.0375 USD"`. Digits beyond the
 * nano-dollar are refused, not rounded.
 */
export const parse = (text: string): NanoUsd | undefined => {
  const match = dollarText.exec(text)
  if (match === null) return undefined
  const fraction = (match[3] ?? ".").slice(1, 10)
  const amount = BigInt(match[2]!.replaceAll(",", "")) * nanoPerUsd + BigInt(fraction.padEnd(9, "0"))
  return match[1] === "-" ? -amount : amount
}

/**
 * Takes an amount as nano-dollars or as text in dollars.
 *
 * **Errors**: `RangeError` for text that is no amount. A `number` is not taken: it would leave the unit open.
 */
export const from = (input: Input): NanoUsd => {
  const amount = typeof input === "bigint" ? input : typeof input === "string" ? parse(input) : undefined
  if (amount === undefined) {
    throw new RangeError(`Money.from: amount must be nano-dollars (bigint) or dollars like "$25", got ${input}`)
  }
  return amount
}

/**
 * Makes an amount from a number of dollars, by its shortest decimal form.
 *
 * **Gotchas**: a fraction of a nano-dollar is rounded to the nearest.
 *
 * **Errors**: `RangeError` for `NaN` and infinities.
 */
export const usd = (dollars: number): NanoUsd => round(times(ratioFrom(dollars), nanoPerUsd), "nearest")

/** Writes an amount as a plain decimal of dollars, exact, without a sign of currency: `"0.0000375"`. */
export const toUsd = (amount: NanoUsd): string => {
  const positive = BigInts.abs(amount)
  const fraction = (positive % nanoPerUsd).toString().padStart(9, "0").replace(/0+$/, "")
  return `${amount < 0n ? "-" : ""}${positive / nanoPerUsd}${fraction === "" ? "" : `.${fraction}`}`
}

/** Gives dollars as a `number`, for metrics and plots only: it may be rounded. */
export const toNumber = (amount: NanoUsd): number => Number(amount) / 1e9

/**
 * Writes an amount for people: cents from one dollar up, two significant digits below.
 *
 * **Details**: `$1,234.50`, `$25.00`, `$0.0042`, `$0.000000050`, `-$3.10`. What is
 * not nothing never reads as `$0.00`. Use `toUsd` where every digit matters.
 */
export const format = (amount: NanoUsd): string => {
  const positive = BigInts.abs(amount)
  const unit = positive >= nanoPerUsd ? 10_000_000n : 10n ** BigInt(Math.max(0, positive.toString().length - 2))
  const rounded = ((positive + unit / 2n) / unit) * unit // may carry into the next digit, even into a dollar
  const whole = (rounded / nanoPerUsd).toString().replace(/\B(?=(?:\d{3})+$)/g, ",")
  const fraction = (rounded % nanoPerUsd).toString().padStart(9, "0").replace(/0+$/, "").padEnd(2, "0")
  return `${amount < 0n ? "-" : ""}$${whole}.${fraction}`
}

/** Gives the larger of two amounts. */
export const max = (a: NanoUsd, b: NanoUsd): NanoUsd => a > b ? a : b

/** Gives the smaller of two amounts. */
export const min = (a: NanoUsd, b: NanoUsd): NanoUsd => a < b ? a : b

/** Decodes an amount in dollars as people write it (`"$25"`, `"0.0375"`), the form of configuration. */
export const UsdFromString = Schema.String.check(
  Schema.isPattern(dollarText, { expected: "an amount in dollars, like $2.50" })
).pipe(
  Schema.decodeTo(Schema.BigInt, SchemaTransformation.transform({ decode: from, encode: toUsd }))
)

/** Divides upwards: how often `part` fits into `amount`, the last time perhaps not wholly. `part` must be positive. */
export const divideUp = (amount: NanoUsd, part: NanoUsd): bigint => amount <= 0n ? 0n : (amount + part - 1n) / part
