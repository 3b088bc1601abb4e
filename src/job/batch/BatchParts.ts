/**
 * How a job's rows become batches: files within the documented limits, one model each.
 *
 * One model for each file, for a batch whose model cannot be batched fails as a whole. A part is known by its model and
 * its first and last line, and by what each of its rows asks for: after a crash its rows are found again in the input by
 * these, whatever else is in between. The rows of a part stay in memory from the reading of the first to the answer of
 * the last.
 *
 * **Source**: Together's Batch API guide: 50,000 rows and 100 MB for each file, 64 characters for a `custom_id`.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Hash from "../../policy/Hash.ts"
import type * as Row from "../Row.ts"

/** Holds the defaults of this module. */
export const defaults = {
  /** Rows of one batch. The limit is 50,000, the advice 1,000 to 10,000: a batch that fails costs less time then. */
  maxRows: 10_000,
  /** Bytes of one file: 100 MB is the limit. */
  maxBytes: 95_000_000,
  /** Longest `custom_id`, in characters. */
  maxId: 64
} as const

/** A batch, as the journal notes it. */
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
  /** Whether rows that had failed before are among its rows. */
  retried: Schema.optionalKey(Schema.Boolean),
  /** Nano-dollars that it may cost at the most; absent where the price is unknown. */
  nano: Schema.optionalKey(Schema.Finite),
  /** The stored file: noted before its batch is asked for. */
  fileId: Schema.optionalKey(Schema.String),
  batchId: Schema.optionalKey(Schema.String),
  /** Whether an earlier run was told that there is no batch of this id. */
  missing: Schema.optionalKey(Schema.Boolean)
})
/** A batch, as the journal notes it. */
export interface Part extends Schema.Schema.Type<typeof Part> {}

const decode = Schema.decodeUnknownOption(Part)
const decodeDone = Schema.decodeUnknownOption(Schema.Struct({ name: Schema.String }))

/** Finds the parts that were begun and not finished, in the order they were begun. */
export const open = (
  notes: ReadonlyArray<{ readonly name: string; readonly value: unknown }>
): ReadonlyArray<Part> => {
  const open = new Map<string, Part>()
  for (const { name, value } of notes) {
    if (name === "batch") {
      const part = Option.getOrUndefined(decode(value))
      if (part !== undefined) open.set(part.name, { ...open.get(part.name), ...part })
    } else if (name === "batch-done") {
      const done = Option.getOrUndefined(decodeDone(value))
      if (done !== undefined) open.delete(done.name)
    }
  }
  return Array.from(open.values())
}

/** Leaves out what notes say about batches, since those of an emulator end with it. */
export const withoutBatches = <Note extends { readonly name: string }>(notes: ReadonlyArray<Note>) =>
  notes.filter(({ name }) => name !== "batch")

/** Tells whether a batch of a part may exist: none is asked for before its file is noted. */
export const mayExist = ({ batchId, fileId }: Part): boolean => batchId !== undefined || fileId !== undefined

/** Reads the nano-dollars that a part may still cost after `paid` of them; absent where the price is unknown. */
export const boundOf = ({ nano }: Part, paid: bigint): bigint | undefined => {
  if (nano === undefined) return undefined
  const bound = BigInt(Math.ceil(nano))
  return paid < bound ? bound - paid : 0n
}

const ask = (text: string): string => Hash.hex32(Hash.text32(text))

/**
 * Makes a test whether a row of the input is one that a part was made of. A row that was changed while its batch was
 * running is not: it must not take the answer to what it asked before.
 */
export const has = (part: Part): (row: Row.Row) => boolean => {
  const { asks, from, model, to } = part
  const within = (row: Row.Row) => row.model === model && row.line >= from && row.line <= to
  if (asks === undefined) return within
  const all = new Set<string>()
  for (let at = 0; at < asks.length; at += 8) all.add(asks.slice(at, at + 8))
  return (row) => within(row) && all.has(ask(line(row)))
}

/** Writes the line of a row for the uploaded file. */
export const line = (row: Row.Row): string => `${JSON.stringify({ custom_id: row.id, body: row.body })}\n`

/** Says why a row cannot be batched, or nothing. */
export const refusal = (row: Row.Row): string | undefined =>
  row.operation !== "chat"
    ? "the Batch API takes chat completions only: send this row by a call"
    : row.id.length > defaults.maxId
    ? `custom_id has ${row.id.length} characters, the Batch API takes ${defaults.maxId}: shorten it`
    : undefined

/** Gathers rows into parts. */
export interface Gatherer {
  /** Adds a row; hands back the part that was complete before it. */
  readonly add: (row: Row.Row) => Full | undefined
  /** Hands out what is left. */
  readonly rest: () => ReadonlyArray<Full>
}

/** A part with its rows. */
export interface Full {
  readonly part: Part
  /**
   * An id may be on a second line, which is not sent, so the range of lines alone does not tell which rows are in the
   * part.
   */
  readonly rows: ReadonlyArray<Row.Row>
}

interface Open {
  readonly rows: Array<Row.Row>
  readonly asks: Array<string>
  bytes: number
}

/** Makes a gatherer; `nameOf` makes the unique name of each file. */
export const gatherer = (
  round: number,
  nameOf: (model: string, from: number) => string,
  limits: { readonly maxRows: number; readonly maxBytes: number } = defaults
): Gatherer => {
  const open = new Map<string, Open>()
  const close = (model: string, { asks, rows }: Open): Full => {
    const [from, to] = [rows[0]!.line, rows.at(-1)!.line] // none is opened without a row
    return {
      part: { name: nameOf(model, from), model, from, to, rows: rows.length, round, asks: asks.join("") },
      rows
    }
  }
  return {
    add: (row) => {
      const text = line(row)
      const bytes = text.length * 3 // no more bytes than this in UTF-8, and counting is not worth the time
      const before = open.get(row.model)
      const full = before !== undefined &&
        (before.rows.length >= limits.maxRows || before.bytes + bytes > limits.maxBytes)
      const current = before === undefined || full ? { rows: [], asks: [], bytes: 0 } : before
      current.rows.push(row)
      current.asks.push(ask(text))
      current.bytes += bytes
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
