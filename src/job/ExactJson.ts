/**
 * JSON whose numbers are written again as they were read.
 *
 * A double holds 15 to 17 digits and ends at 1e308: `1234567890123456789` comes out of `JSON.parse` as another number.
 * A job hands on what it does not own (the caller's fields, a batch's answers), so such numbers keep their source text
 * and `JSON.stringify` writes that. All others are plain numbers, and a text without long ones is parsed as usual.
 *
 * **Source**: the TC39 proposal "JSON.parse source text access", in every Node.js that the package supports. Where an
 * engine lacks it, numbers are as `JSON.parse` makes them.
 */

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

const keep = (_: string, value: unknown, context?: Context): unknown => {
  if (typeof value !== "number") return value
  const source = context?.source
  return source === undefined || !long.test(source) || String(value) === source ? value : rawJSON!(source)
}

/** Tells whether a text may hold a number that a double does not; quick, and true for some that do not. */
export const hasLong = (text: string): boolean => rawJSON !== undefined && anyLong.test(text)

/**
 * Parses a text as `JSON.parse` does, long numbers as objects that only `JSON.stringify` understands.
 *
 * **Errors**: throws what `JSON.parse` throws.
 */
export const parse = (text: string): unknown => hasLong(text) ? parseWith(text, keep) : JSON.parse(text)
