/**
 * Writes values that a schema of an OpenAPI document allows, by chance: optional fields there or not, `null` where it may
 * be, and fields that nobody lists.
 */
import { type Draw } from "../fuzz/generate.ts"
import { type Document, type Node, node, strings } from "./document.ts"

const texts = ["", "a", "hello", "é😀", "a\nb", "0"]
const unlisted = [1, "u", null, { a: [1] }]
const anything = [...unlisted, [1], true]

/** Below this depth optional fields and list items are left out, so that a schema that holds itself comes to an end. */
const deepest = 6

const list = (value: unknown): ReadonlyArray<unknown> => Array.isArray(value) ? value : []

const bound = (value: unknown, without: number): number => typeof value === "number" ? value : without

/** Writes one value that the schema allows. */
export const write = (api: Document, schema: unknown, draw: Draw, depth = 0): unknown => {
  const own = api.resolved(schema)
  const { allOf, anyOf, oneOf, ...rest } = own
  if (own["nullable"] === true && draw.chance(0.2)) return null
  if ("const" in own) return own["const"]
  if (Array.isArray(own["enum"])) return draw.pick(own["enum"])
  const alternatives = list(oneOf ?? anyOf)
  if (alternatives.length > 0) return together(api, [draw.pick(alternatives)], rest, draw, depth)
  if (list(allOf).length > 0) return together(api, list(allOf), rest, draw, depth)
  const type = Array.isArray(own["type"]) ? draw.pick(own["type"]) : own["type"]
  switch (type) {
    case "null":
      return null
    case "boolean":
      return draw.chance(0.5)
    case "integer":
    case "number": {
      const low = bound(own["minimum"], 1)
      const high = Math.min(bound(own["maximum"], Infinity), low + (type === "integer" ? 1000 : 1))
      return type === "integer" ? low + draw.below(high - low + 1) : low + (high - low) * draw.below(100) / 100
    }
    case "string":
      return textOf(own, draw)
    case "array": {
      const most = depth > deepest ? 0 : Math.min(bound(own["maxItems"], 2), 2)
      const length = Math.max(bound(own["minItems"], 0), draw.below(most + 1))
      return Array.from({ length }, () => write(api, own["items"], draw, depth + 1))
    }
    case "object":
      return fields(api, own, draw, depth)
    default:
      return own["properties"] === undefined ? draw.pick(anything) : fields(api, own, draw, depth)
  }
}

const textOf = (own: Node, draw: Draw): string =>
  own["format"] === "date-time"
    ? "2026-01-01T00:00:00Z"
    : draw.pick(texts).padEnd(bound(own["minLength"], 0), "x").slice(0, bound(own["maxLength"], 100))

/** Writes a value of all schemas at once; of what is no object, the first stands for all. */
const together = (api: Document, schemas: ReadonlyArray<unknown>, rest: Node, draw: Draw, depth: number): unknown => {
  // one of them may say no more than that it may be null
  const parts = schemas.filter((schema) => Object.keys(api.resolved(schema)).some((key) => key !== "nullable"))
  if (parts.length < schemas.length && draw.chance(0.2)) return null
  const [first, ...more] = parts.map((schema) => write(api, schema, draw, depth))
  if (first === null || typeof first !== "object" || Array.isArray(first)) return first
  const beside = rest["properties"] === undefined ? undefined : fields(api, rest, draw, depth)
  return Object.assign({}, beside, first, ...more)
}

const fields = (api: Document, own: Node, draw: Draw, depth: number): Node => {
  const required = new Set(strings(own["required"]))
  const share = depth > deepest ? 0 : draw.pick([0, 0.3, 0.7, 1])
  const written: Record<string, unknown> = {}
  for (const [name, property] of Object.entries(node(own["properties"]))) {
    if (!required.has(name) && !draw.chance(share)) continue
    // the document says number of what counts
    written[name] = name === "index" ? draw.below(3) : write(api, property, draw, depth + 1)
  }
  const others = own["additionalProperties"]
  if (typeof others === "object") written["other"] = write(api, others, draw, depth + 1)
  else if (others !== false && draw.chance(0.3)) written["x_unlisted"] = draw.pick(unlisted)
  return written
}

/** Lists where a value that was read differs from the one that was written; what is left out of it counts as `null`. */
export const differences = (written: unknown, read: unknown, at = "$"): ReadonlyArray<string> => {
  if (written === null || written === undefined) return read === null || read === undefined ? [] : [`${at}: came up`]
  if (typeof written !== "object") return written === read ? [] : [`${at}: ${JSON.stringify(written)} was lost`]
  if (typeof read !== "object" || read === null) return [`${at}: was lost`]
  if (Array.isArray(written) && written.length !== list(read).length) return [`${at}: has another length`]
  return Object.entries(written).flatMap(([key, value]) => differences(value, (read as Node)[key], `${at}.${key}`))
}
