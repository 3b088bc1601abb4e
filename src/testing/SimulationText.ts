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

/** Bounds the depth to which an instance holds what it need not hold: schemas may refer to themselves. */
const deep = 8

/** Bounds the depth to which an instance follows its schema at all. */
const deepest = 32

/** Tells which of two values of a keyword bounds more. */
const stricter: Readonly<Record<string, (a: number, b: number) => number>> = {
  minimum: Math.max,
  exclusiveMinimum: Math.max,
  maximum: Math.min,
  exclusiveMaximum: Math.min,
  minLength: Math.max,
  maxLength: Math.min,
  minItems: Math.max,
  maxItems: Math.min
}

/** Joins two schemas that hold both: the stricter bounds, the properties of either. */
const joined = (a: Fields, b: Fields): Fields => {
  const both: Record<string, unknown> = { ...a, ...b }
  for (const [key, inA] of Object.entries(a)) {
    const inB = b[key]
    const choose = stricter[key]
    if (choose !== undefined && typeof inA === "number" && typeof inB === "number") both[key] = choose(inA, inB)
    if (key === "properties") both[key] = { ...fields(inA), ...fields(inB) }
  }
  return both
}

/** Makes the number nearest to 0 that a schema allows. */
const numberOf = (own: Fields, whole: boolean): number => {
  const above = numeric(own["exclusiveMinimum"], -Infinity)
  const below = numeric(own["exclusiveMaximum"], Infinity)
  // between two bounds that are excluded there is room for a fraction only in their middle
  const step = whole ? 1 : Math.min(1, (below - above) / 2)
  const low = Math.max(numeric(own["minimum"], -Infinity), above + step)
  const high = Math.min(numeric(own["maximum"], Infinity), below - step)
  const value = Math.min(Math.max(0, low), high)
  const unit = numeric(own["multipleOf"], whole ? 1 : 0)
  return unit > 0 ? Math.ceil(value / unit) * unit : value
}

/**
 * Makes a value that fits a JSON Schema: a small one, with `text` wherever a string may be.
 *
 * **Details**: follows `const`, `enum`, `default`, the first of `anyOf` and `oneOf`, all of `allOf`, each together with
 * what stands beside it, `$ref` into the same document, required and optional properties, and the bounds of numbers,
 * strings and arrays. A schema that refers to itself is followed as long as it must be, and a little further. `pattern`,
 * `format` and `uniqueItems` are not met.
 */
export const instance = (schema: unknown, text: string, root: unknown = schema, depth = 0): unknown => {
  const own = fields(schema)
  if (own === undefined || depth > deepest) return text
  if ("const" in own) return own["const"]
  if (Array.isArray(own["enum"])) return own["enum"][0]
  if ("default" in own) return own["default"]
  const within = (inner: unknown): unknown => instance(inner, text, root, depth + 1)
  const { $ref, ...beside } = own
  if (typeof $ref === "string") return within(joined(fields(resolve(root, $ref)) ?? {}, beside))
  for (const key of ["anyOf", "oneOf", "allOf"]) {
    const { [key]: options, ...rest } = own
    if (!Array.isArray(options)) continue
    // the last of several is most often the one that ends a recursion, such as null
    const held = key === "allOf" ? options : [options.at(depth < deep ? 0 : -1)]
    return within(held.reduce<Fields>((all, option) => joined(all, fields(option) ?? {}), rest))
  }
  const type = Array.isArray(own["type"]) ? own["type"][0] : own["type"]
  switch (type) {
    case "object": {
      const required: ReadonlyArray<unknown> = Array.isArray(own["required"]) ? own["required"] : []
      return Object.fromEntries(
        Object.entries(fields(own["properties"]) ?? {}).flatMap(([key, property]) =>
          depth < deep || required.includes(key) ? [[key, within(property)]] : []
        )
      )
    }
    case "array": {
      const first: ReadonlyArray<unknown> = Array.isArray(own["prefixItems"]) ? own["prefixItems"] : []
      const length = Math.min(numeric(own["minItems"], depth < deep ? 1 : 0), numeric(own["maxItems"], Infinity))
      return Array.from({ length }, (_, at) => within(at < first.length ? first[at] : own["items"]))
    }
    case "integer":
    case "number":
      return numberOf(own, type === "integer")
    case "boolean":
      return true
    case "null":
      return null
    default:
      // Effect counts UTF-16 units, of which a character of JSON Schema may have two: it asks for half of what it checks
      return text.padEnd(2 * numeric(own["minLength"], 0), "x").slice(0, numeric(own["maxLength"], Infinity))
  }
}

const numeric = (value: unknown, otherwise: number): number => typeof value === "number" ? value : otherwise

const resolve = (root: unknown, reference: string): unknown =>
  reference.split("/").slice(1).reduce<unknown>((at, key) => fields(at)?.[key], root)
