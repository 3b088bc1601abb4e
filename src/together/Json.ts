/**
 * Reads and writes JSON without a throw: what is none, or can be none, is `undefined`.
 *
 * Plain functions, since a stream reads every event by one.
 */

/** Reads a text; `undefined` where it is no JSON. */
export const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Writes a value; `undefined` where JSON cannot hold it. */
export const stringify = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
