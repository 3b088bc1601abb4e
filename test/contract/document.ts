/**
 * Reads an OpenAPI document, and checks values against its schemas, as far as an emulator must keep to them.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"

/** Is any JSON object of the document. */
export type Node = Readonly<Record<string, unknown>>

/** Reads a value as an object; what is none has no fields. */
export const node = (value: unknown): Node =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value as Node : {}

/** Reads a value as a list of strings. */
export const strings = (value: unknown): ReadonlyArray<string> => Array.isArray(value) ? value.map(String) : []

const fileName = "together-openapi.json"

/** Lists what stands beside the repository, or nothing where it may not be read. */
const beside = (): ReadonlyArray<string> => {
  const parent = resolve(import.meta.dirname, "../../..")
  try {
    return readdirSync(parent).map((name) => join(parent, name))
  } catch {
    return []
  }
}

/** Finds the document: at TOGETHER_OPENAPI, or in a folder beside the repository. */
export const find = (): string | undefined => {
  const named = process.env["TOGETHER_OPENAPI"]
  const candidates = named === undefined ? beside().map((folder) => join(folder, fileName)) : [named]
  return candidates.find((path) => existsSync(path))
}

/** Is an OpenAPI document. */
export interface Document {
  readonly paths: Node
  /** Follows a reference to its end. */
  readonly resolved: (value: unknown) => Node
  /** Lists where a value breaks a schema, as paths with reasons. */
  readonly violations: (schema: unknown, value: unknown) => ReadonlyArray<string>
}

const typeOf = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : Number.isInteger(value) ? "integer" : typeof value

/** Reads a document. */
export const read = (path: string): Document => {
  const root = node(JSON.parse(readFileSync(path, "utf8")))
  const resolved = (value: unknown): Node => {
    const own = node(value)
    if (typeof own["$ref"] !== "string") return own
    const target = own["$ref"].split("/").slice(1).reduce<unknown>((at, key) => node(at)[key], root)
    return { ...resolved(target), ...(own["nullable"] === true ? { nullable: true } : {}) }
  }
  const alternatives = (list: unknown, value: unknown, at: string): ReadonlyArray<string> => {
    const all = (Array.isArray(list) ? list : []).map((option) => check(option, value, at))
    return all.some((found) => found.length === 0) ? [] : all.sort((a, b) => a.length - b.length)[0] ?? []
  }
  const check = (schema: unknown, value: unknown, at: string): ReadonlyArray<string> => {
    const own = resolved(schema)
    const parts = Array.isArray(own["allOf"]) ? own["allOf"] : []
    const nullable = own["nullable"] === true || parts.some((part) => node(part)["nullable"] === true)
    if (value === null && nullable) return []
    const out: Array<string> = parts.flatMap((part) => [...check(part, value, at)])
    if (own["oneOf"] !== undefined) out.push(...alternatives(own["oneOf"], value, at))
    if (own["anyOf"] !== undefined) out.push(...alternatives(own["anyOf"], value, at))
    const types = Array.isArray(own["type"])
      ? own["type"].map(String)
      : own["type"] === undefined
      ? []
      : [String(own["type"])]
    const type = typeOf(value)
    if (types.length > 0 && !types.includes(type) && !(type === "integer" && types.includes("number"))) {
      return [...out, `${at}: is ${type}, not ${types.join(" or ")}`]
    }
    if ("const" in own && own["const"] !== value) out.push(`${at}: is not the constant`)
    if (Array.isArray(own["enum"]) && !own["enum"].includes(value)) {
      out.push(`${at}: ${JSON.stringify(value)} is not listed`)
    }
    if (type === "array" && Array.isArray(value)) {
      for (const item of value) out.push(...check(own["items"] ?? {}, item, `${at}[]`))
    }
    if (type === "object") {
      const fields = node(value)
      for (const name of strings(own["required"])) if (!(name in fields)) out.push(`${at}.${name}: is missing`)
      for (const [name, property] of Object.entries(node(own["properties"]))) {
        if (fields[name] !== undefined) out.push(...check(property, fields[name], `${at}.${name}`))
      }
    }
    return out
  }
  return {
    paths: node(root["paths"]),
    resolved,
    violations: (schema, value) => [...new Set(check(schema, value, "$"))]
  }
}
