/**
 * How a job's rows become batches: files within the documented limits, one model each.
 *
 * One model for each file, for a batch whose model cannot be batched fails as a whole. A part is known by its model and
 * its first and last line: after a crash its rows are found again in the input by these, whatever else is in between.
 *
 * **Source**: Together's Batch API guide: 50,000 rows and 100 MB for each file, 64 characters for a `custom_id`.
 */
import * as Schema from "effect/Schema"
import * as Hash from "./Hash.ts"
import type * as Row from "./Row.ts"

/** Holds the defaults of this module. */
export const defaults = {
  /** Rows of one batch. The limit is 50,000, the advice 1,000 to 10,000: a batch that fails costs less time then. */
  maxRows: 10_000,
  /** Bytes of one file: 100 MB is the limit. */
  maxBytes: 95_000_000,
  /** Longest `custom_id`, in characters. */
  maxId: 64
} as const

/** Is a batch, as the journal notes it. */
export const Part = Schema.Struct({
  /** Name of the uploaded file: unique, so that a batch whose creation was cut off by a crash is found again. */
  name: Schema.String,
  model: Schema.String,
  from: Schema.Int,
  to: Schema.Int,
  rows: Schema.Int,
  /** How often its rows were batched before. */
  round: Schema.Int,
  /** What its rows ask for, 8 hexadecimal digits each: noted once, when the part is begun. */
  asks: Schema.optionalKey(Schema.String),
  fileId: Schema.optionalKey(Schema.String),
  batchId: Schema.optionalKey(Schema.String)
})
/** Is a batch, as the journal notes it. */
export type Part = typeof Part.Type

/** Reads a part out of a note. */
export const decode = Schema.decodeUnknownOption(Part)

/** Tells whether a row belongs to a part. */
export const has = (part: Part, row: Row.Row): boolean =>
  row.model === part.model && row.line >= part.from && row.line <= part.to

const ask = (row: Row.Row): string => Hash.hex32(Hash.text32(line(row)))

/**
 * Makes a test whether a part asked for what a row asks for now: a row that was changed while its batch was running must
 * not take the answer to what it asked before.
 */
export const asked = (part: Part): (row: Row.Row) => boolean => {
  const { asks } = part
  if (asks === undefined) return () => true
  const all = new Set<string>()
  for (let at = 0; at < asks.length; at += 8) all.add(asks.slice(at, at + 8))
  return (row) => all.has(ask(row))
}

/** Writes the line of a row for the uploaded file. */
export const line = (row: Row.Row): string => `${JSON.stringify({ custom_id: row.id, body: row.body })}\n`

/** Says why a row cannot be batched, or nothing. */
export const refusal = (row: Row.Row): string | undefined =>
  row.operation !== "chat"
    ? `the Batch API takes chat completions only: send this row without --via batch`
    : row.id.length > defaults.maxId
    ? `custom_id has ${row.id.length} characters, the Batch API takes ${defaults.maxId}: shorten it`
    : undefined

/** Gathers rows into parts. */
export interface Gatherer {
  /** Adds a row; hands back the part that it completed, with its text. */
  readonly add: (row: Row.Row) => Full | undefined
  /** Hands out what is left. */
  readonly rest: () => ReadonlyArray<Full>
}

/** Is a part with the text of its file. */
export interface Full {
  readonly part: Part
  readonly text: string
  /** What its rows ask for: see {@link asked}. */
  readonly asks: string
  /** Lines of its rows: an id may stand on a second line, which is not sent. */
  readonly lines: ReadonlySet<number>
}

interface Open {
  from: number
  to: number
  rows: number
  bytes: number
  readonly text: Array<string>
  readonly lines: Set<number>
}

/** Makes a gatherer; `nameOf` makes the unique name of each file. */
export const gatherer = (
  round: number,
  nameOf: (model: string, from: number) => string,
  limits: { readonly maxRows: number; readonly maxBytes: number } = defaults
): Gatherer => {
  const open = new Map<string, Open>()
  const close = (model: string, gathered: Open): Full => ({
    part: {
      name: nameOf(model, gathered.from),
      model,
      from: gathered.from,
      to: gathered.to,
      rows: gathered.rows,
      round
    },
    text: gathered.text.join(""),
    asks: gathered.text.map((each) => Hash.hex32(Hash.text32(each))).join(""),
    lines: gathered.lines
  })
  return {
    add: (row) => {
      const text = line(row)
      const bytes = text.length * 3 // no more bytes than this in UTF-8, and counting is not worth the time
      const before = open.get(row.model)
      const full = before !== undefined && (before.rows >= limits.maxRows || before.bytes + bytes > limits.maxBytes)
      const current = before === undefined || full
        ? { from: row.line, to: row.line, rows: 0, bytes: 0, text: [], lines: new Set<number>() }
        : before
      current.to = row.line
      current.rows++
      current.bytes += bytes
      current.text.push(text)
      current.lines.add(row.line)
      open.set(row.model, current)
      return full ? close(row.model, before) : undefined
    },
    rest: () => {
      const all = Array.from(open, ([model, gathered]) => close(model, gathered))
      open.clear()
      return all
    }
  }
}
