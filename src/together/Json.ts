/**
 * Reads and writes JSON without throwing: text that is not JSON is read as `undefined`, and a value that JSON cannot
 * hold is written as `undefined`.
 *
 * Plain functions, since a stream calls one for every event.
 */
import * as Predicate from "effect/Predicate"

/** Reads a text; `undefined` where it is no JSON. */
export const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Holds the fields of an object. */
export type Fields = Readonly<Record<string, unknown>>

const none: Fields = {}

/** Reads the fields of an object; anything else has none. */
export const fieldsOf = (value: unknown): Fields => Predicate.isReadonlyObject(value) ? value : none

/** Tells whether a text that is not JSON is the beginning of an object or a list that was cut off. */
export const isCut = (text: string): boolean => {
  if (!/^\s*[[{]/.test(text)) return false
  let depth = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === "\"") quoted = !quoted
    else if (quoted && character === "\\") at++
    else if (!quoted && (character === "{" || character === "[")) depth++
    else if (!quoted && (character === "}" || character === "]")) depth--
  }
  return quoted || depth > 0
}

/** Tells whether a value nests deeper than so many levels: a walk over it may then be deeper than calls can be. */
export const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === "object" && value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)))

/** Writes a value; `undefined` where JSON cannot hold it. */
export const stringify = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
