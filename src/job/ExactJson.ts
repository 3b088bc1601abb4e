/**
 * JSON whose numbers are written again as they were read.
 *
 * A double holds 15 to 17 digits and ends at 1e308: `1234567890123456789` comes out of `JSON.parse` as another number,
 * and `1.0` is written again as `1`. A job hands on what it does not own, so such numbers keep their source text and
 * `JSON.stringify` writes that:
 *
 * | | keeps the source of |
 * | --- | --- |
 * | {@link parse}, for a batch's answers, which are read, too | numbers that a double does not hold |
 * | {@link parseAsWritten}, for the caller's fields | all that `JSON.stringify` would write otherwise |
 *
 * All others are plain numbers, and a text without such ones is parsed as usual.
 *
 * **Source**: the TC39 proposal "JSON.parse source text access", in every Node.js that the package supports. Where an
 * engine lacks it, numbers are as `JSON.parse` makes them.
 */

import * as Result from "effect/Result"

/** Says what a reviver is told besides the value. */
interface Context {
  readonly source?: string | undefined
}

// ES2023, which the types are of, knows neither function in full
const { parse: parseWith, rawJSON } = JSON as unknown as {
  readonly parse: (text: string, reviver: (key: string, value: unknown, context?: Context) => unknown) => unknown
  readonly rawJSON?: (source: string) => unknown
}

const long = /^-?(?:[\d.]{16}|[\d.]+[eE][+-]?\d{3})/
const anyLong = /[:,[\s]-?(?:[\d.]{16}|[\d.]+[eE][+-]?\d{3})/

/**
 * The same, and numbers that would be written differently: an exponent, a zero at the end of a fraction, many zeros at
 * its start, `-0`.
 */
const anyOther = /[:,[\s]-?\d(?:[\d.]{15}|[\d.]*[eE]|\d*\.\d*0(?!\d)|(?<=0)\.0{6}|(?<=-0)(?![\d.]))/

const keep = (_: string, value: unknown, context?: Context): unknown => {
  if (typeof value !== "number") return value
  const source = context?.source
  return source === undefined || String(value) === source ? value : rawJSON!(source)
}

const keepLong = (key: string, value: unknown, context?: Context): unknown =>
  long.test(context?.source ?? "") ? keep(key, value, context) : value

/** Tells whether a text may hold a number that a double does not; quick, and true for some that do not. */
export const hasLong = (text: string): boolean => rawJSON !== undefined && anyLong.test(text)

/** Tells whether a text may hold a number that `JSON.stringify` writes otherwise; quick, and true for some that do not. */
export const hasOther = (text: string): boolean => rawJSON !== undefined && anyOther.test(text)

/**
 * Parses with a reviver, which works only as deep as the stack allows; a text that is nested deeper is parsed as usual.
 */
const revived = (text: string, keep: Parameters<typeof parseWith>[1]): unknown =>
  Result.getOrElse(Result.try(() => parseWith(text, keep)), (): unknown => JSON.parse(text))

/**
 * Parses a text as `JSON.parse` does, long numbers as objects that only `JSON.stringify` understands.
 *
 * **Errors**: throws what `JSON.parse` throws.
 */
export const parse = (text: string): unknown => hasLong(text) ? revived(text, keepLong) : JSON.parse(text)

/**
 * Parses a text as `JSON.parse` does, every number that `JSON.stringify` would write otherwise as an object that only
 * this understands.
 *
 * **Errors**: throws what `JSON.parse` throws.
 */
export const parseAsWritten = (text: string): unknown => hasOther(text) ? revived(text, keep) : JSON.parse(text)
