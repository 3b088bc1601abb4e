/**
 * What a simulated model says: always the same for the same prompt, and recognizable.
 *
 * The first token of a text is the prompt's hash in base 36, so that a test can
 * tell whether an answer belongs to its question. The rest are words.
 */
import * as Predicate from "effect/Predicate"
import * as Random from "./SimulationRandom.ts"

const words = (
  "a the of and to in it is was for on are with they be at one have this from by hot word but what some we can out " +
  "other were all there when up use your how said an each she which do their time if will way about many then them " +
  "write would like so these her long make thing see him two has look more day could go come did number sound no most " +
  "people my over know water than call first who may down side been now find"
).split(" ")

/** Names the first token of the answer to a prompt. */
export const mark = (promptHash: number): string => promptHash.toString(36)

const spaced = words.map((word) => ` ${word}`)
const ending = words.map((word) => ` ${word}.`)

/** Makes the tokens of an answer; joined they are its text. */
export const tokens = (promptHash: number, seed: number, choice: number, count: number): ReadonlyArray<string> => {
  const from = Random.derive(Random.source(seed), choice)
  const out: Array<string> = count > 0 ? [mark(promptHash)] : []
  for (let i = 1; i < count; i++) {
    // every twelfth word ends a sentence
    out.push((i % 12 === 11 ? ending : spaced)[Random.word(from, i) % words.length] ?? "")
  }
  return out
}

/** Makes a unit vector from a text: the same text, the same vector. */
export const vector = (text: string, length: number): ReadonlyArray<number> => {
  const from = Random.source(Random.hash(text))
  const raw = Array.from({ length }, (_, i) => Random.normal(from, i))
  const norm = Math.sqrt(raw.reduce((sum, x) => sum + x * x, 0))
  return raw.map((x) => Math.round(x / norm * 1e6) / 1e6)
}

/** Holds the fields of an object. */
export type Fields = Readonly<Record<string, unknown>>

/** Reads a value as an object, or nothing where it is none. */
export const fields = (value: unknown): Fields | undefined => Predicate.isReadonlyObject(value) ? value : undefined

/** Bounds the depth to which an instance follows its schema: schemas may refer to themselves. */
const deepest = 16

/**
 * Makes a value that fits a JSON Schema: the smallest one, with `text` wherever a string may be.
 *
 * **Details**: follows `const`, `enum`, `default`, `anyOf`, `oneOf`, `allOf`,
 * `$ref` into the same document, required and optional properties, and the
 * minima of numbers, strings and arrays. `pattern` and `format` are not met.
 */
export const instance = (schema: unknown, text: string, root: unknown = schema, depth = 0): unknown => {
  const own = fields(schema)
  if (own === undefined || depth > deepest) return text
  if ("const" in own) return own["const"]
  if (Array.isArray(own["enum"])) return own["enum"][0]
  if ("default" in own) return own["default"]
  if (typeof own["$ref"] === "string") return instance(resolve(root, own["$ref"]), text, root, depth + 1)
  for (const key of ["anyOf", "oneOf", "allOf"]) {
    const options = own[key]
    if (Array.isArray(options)) return instance(options[0], text, root, depth + 1)
  }
  const type = Array.isArray(own["type"]) ? own["type"][0] : own["type"]
  switch (type) {
    case "object":
      return Object.fromEntries(
        Object.entries(fields(own["properties"]) ?? {}).map(([key, property]) => [
          key,
          instance(property, text, root, depth + 1)
        ])
      )
    case "array":
      return Array.from({ length: least(own["minItems"], 1) }, () => instance(own["items"], text, root, depth + 1))
    case "integer":
    case "number":
      return least(own["minimum"], 0)
    case "boolean":
      return true
    case "null":
      return null
    default:
      return text.padEnd(least(own["minLength"], 0), "x")
  }
}

const least = (value: unknown, otherwise: number): number => typeof value === "number" ? value : otherwise

const resolve = (root: unknown, reference: string): unknown =>
  reference.split("/").slice(1).reduce<unknown>((at, key) => fields(at)?.[key], root)
