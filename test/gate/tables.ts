/**
 * Reads the tables of a Markdown text, and the defaults that a marked table promises.
 *
 * A table of options is marked on a line above it:
 *
 * | mark | says |
 * | --- | --- |
 * | `<!-- defaults: Retry -->` | the rows are the fields of `defaults` of the module `Retry` |
 * | `<!-- defaults: guard/Breaker -->` | the room too, where two rooms have a module of that name |
 * | `<!-- defaults: Together, timeouts=Transport -->` | rows `timeouts.x` are the fields of another module |
 * | `<!-- defaults: Together, userAgent=Transport.userAgent -->` | one row is one field of another module |
 * | `<!-- defaults: Retry, without Transport.userAgent -->` | a field that another table shows |
 */
import * as Duration from "effect/Duration"

/** Is one table of a text. */
export interface Table {
  /** Line of its head, from 1. */
  readonly line: number
  readonly head: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<string>>
}

const cells = (line: string): ReadonlyArray<string> =>
  line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim())

/** Reads the table that begins at or after a line, skipping empty lines. */
export const tableFrom = (lines: ReadonlyArray<string>, from: number): Table | undefined => {
  let at = from
  while (at < lines.length && (lines[at] ?? "").trim() === "") at++
  if (!(lines[at] ?? "").trim().startsWith("|")) return undefined
  const rows: Array<ReadonlyArray<string>> = []
  let end = at + 2
  while ((lines[end] ?? "").trim().startsWith("|")) rows.push(cells(lines[end++] ?? ""))
  return { line: at + 1, head: cells(lines[at] ?? ""), rows }
}

/** Is the mark above a table of options. */
export interface Mark {
  readonly line: number
  /** Modules whose fields are rows by their own name. */
  readonly modules: ReadonlyArray<string>
  /** Module, or module and field, by row prefix. */
  readonly named: ReadonlyArray<{ readonly row: string; readonly module: string; readonly field: string | undefined }>
  readonly without: ReadonlyArray<{ readonly module: string; readonly field: string }>
}

/** Finds the marks of a text. */
export const marksOf = (text: string): ReadonlyArray<Mark> =>
  text.split("\n").flatMap((line, index) => {
    const match = /^\s*<!--\s*defaults:\s*(.+?)\s*-->\s*$/.exec(line)
    if (match === null) return []
    const parts = (match[1] ?? "").split(",").map((part) => part.trim())
    const split = (path: string): [string, string | undefined] => {
      const dot = path.indexOf(".")
      return dot < 0 ? [path, undefined] : [path.slice(0, dot), path.slice(dot + 1)]
    }
    return [{
      line: index + 1,
      modules: parts.filter((part) => !part.includes("=") && !part.startsWith("without ")),
      named: parts.filter((part) => part.includes("=")).map((part) => {
        const [row = "", path = ""] = part.split("=").map((side) => side.trim())
        const [module, field] = split(path)
        return { row, module, field }
      }),
      without: parts.filter((part) => part.startsWith("without ")).map((part) => {
        const [module, field = ""] = split(part.slice("without ".length).trim())
        return { module, field }
      })
    }]
  })

/** Flattens defaults to paths: `{ a: { b: 1 } }` to `a.b`. Durations, arrays and class instances are values. */
export const flatten = (defaults: object, prefix = ""): ReadonlyMap<string, unknown> => {
  const found = new Map<string, unknown>()
  for (const [key, value] of Object.entries(defaults)) {
    const path = prefix === "" ? key : `${prefix}.${key}`
    const plain = typeof value === "object" && value !== null && !Duration.isDuration(value) &&
      Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length > 0
    if (plain) { for (const [inner, leaf] of flatten(value, path)) found.set(inner, leaf) }
    else found.set(path, value)
  }
  return found
}

/** What no `defaults` hold: nothing at all, or what is made when it is needed. */
const none = /^(?:none|no|—|-|undefined|not set|required|unlimited|∞|no limit|infinity|made (?:by|from) .+)?$/i

const units: Readonly<Record<string, number>> = {
  ms: 1,
  millisecond: 1,
  s: 1000,
  second: 1000,
  min: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  day: 86_400_000
}

const numberIn = (text: string): number | undefined => {
  const match = /^([−-]?[\d,_ ]*\.?\d+(?:e-?\d+)?)\s*(%|KiB|MiB|GiB|million)?/.exec(text)
  if (match === null) return undefined
  const value = Number((match[1] ?? "").replace(/[,_ ]/g, "").replace("−", "-"))
  const scale = { "%": 0.01, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, million: 1e6 }[match[2] ?? ""] ?? 1
  return value * scale
}

const millisIn = (text: string): number | undefined => {
  const match = /^([\d,_]*\.?\d+)\s*([a-z]+)\b/.exec(text)
  const word = match?.[2] ?? ""
  const unit = units[word] ?? units[word.replace(/s$/, "")]
  return match === null || unit === undefined ? undefined : Number((match[1] ?? "").replace(/[,_]/g, "")) * unit
}

const near = (a: number | undefined, b: number): boolean =>
  a !== undefined && (a === b || Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b)))

/** Tells whether the text of a cell says a value. */
export const says = (cell: string, key: string, value: unknown): boolean => {
  const text = cell.replace(/`/g, "").trim()
  const bare = text.replace(/^"(.*)"$/, "$1")
  if (value === undefined || value === null || value === Number.POSITIVE_INFINITY) return none.test(bare)
  if (Duration.isDuration(value)) {
    return Duration.isFinite(value)
      ? near(text === "0" ? 0 : millisIn(text), Duration.toMillis(value))
      : none.test(bare)
  }
  switch (typeof value) {
    case "number":
      return near(numberIn(text), value) || (key.endsWith("Seconds") && near(millisIn(text), value * 1000)) ||
        (key.endsWith("Millis") && near(millisIn(text), value))
    case "bigint":
      return near(numberIn(text), Number(value)) ||
        text.startsWith("$") && near(numberIn(text.slice(1)), Number(value) / 1e9)
    case "boolean":
      return (value ? ["true", "on", "yes"] : ["false", "off", "no"]).includes(bare)
    case "string":
      return bare === value || bare.split(" (")[0] === value
    case "object":
      return text.replace(/\s/g, "") === JSON.stringify(value).replace(/\s/g, "") ||
        (Array.isArray(value) && text.replace(/["\s[\]]/g, "") === value.join(","))
    default:
      return text !== ""
  }
}

/** Tells whether a cell says that there is no default. */
export const saysNone = (cell: string): boolean => none.test(cell.replace(/[`"]/g, "").trim())
