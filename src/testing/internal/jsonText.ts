/**
 * Reads the texts of JSON where they stand, and puts others in their place, without touching anything else.
 *
 * A document may be cut short, or be one of many in lines or events: what surrounds a text is known all the same.
 */
import * as Option from "effect/Option"
import * as Json from "../../together/Json.ts"

/** Holds a text, a name or a number of JSON. */
export interface Literal {
  readonly kind: "text" | "name" | "number"
  /** Place in the document, without the quotes. */
  readonly from: number
  readonly to: number
  readonly value: string
  /** Name of the field it stands in; in a list, that of the list. */
  readonly name: string
  /** Names of the fields around that one, from the outermost on: the first {@link deepest} of them. */
  readonly around: ReadonlyArray<string>
}

/** Bounds the fields around a text that are told: no answer that means something is deeper. */
export const deepest = 64

/** Puts a text in the place of a stretch of the document. */
export interface Edit {
  readonly from: number
  readonly to: number
  readonly text: string
}

/**
 * Picks the names and ids of events, strings, each with the colon that makes it a name, numbers and brackets; a line may
 * be cut short.
 */
const parts =
  /^(event|id):[ \t]*([\w.:-]{1,64})[ \t]*\r?$|"((?:[^"\\\n]|\\.?)*)(?:"(\s*:)?|$)|(-?\d[\d.eE+-]*)|[{}[\]]/gm
const documentStart = /(?:^|\n)(?:data:[ \t]*)?$/

const parse = Option.liftThrowable((text: string): unknown => JSON.parse(text))

/** Bounds the levels of JSON that is read. */
const deepestRead = 500

/** Reads JSON of at most 500 levels. */
export const read = (text: string): Option.Option<unknown> =>
  Option.filter(parse(text), (value) => !Json.isDeeper(value, deepestRead))

/** Undoes the escapes of a string, of one cut short as far as they go. */
const valueOf = (inner: string): string =>
  inner.includes("\\")
    ? String(Option.getOrElse(
      Option.orElse(parse(`"${inner}"`), () => parse(`"${inner.replace(/\\(?:u[0-9a-f]{0,3})?$/i, "")}"`)),
      () => inner
    ))
    : inner

/** Lists the literals of a document in their order. */
export const literals = (text: string): ReadonlyArray<Literal> => {
  const found: Array<Literal> = []
  const open: Array<readonly [around: ReadonlyArray<string>, name: string]> = []
  let around: ReadonlyArray<string> = []
  let name = ""
  for (const match of text.matchAll(parts)) {
    const [part, field, word, inner, colon, digits] = match
    if (field !== undefined && word !== undefined) {
      const from = match.index + part.indexOf(word, field.length + 1)
      found.push({ kind: "text", from, to: from + word.length, value: word, name: field, around: [] })
    } else if (digits !== undefined) {
      found.push({ kind: "number", from: match.index, to: match.index + part.length, value: digits, name, around })
    } else if (inner !== undefined) {
      const from = match.index + 1
      const kind = colon === undefined ? "text" : "name"
      const value = valueOf(inner)
      found.push({ kind, from, to: from + inner.length, value, name, around })
      if (colon !== undefined) name = value
    } else if (part === "{" || part === "[") {
      // the document before this one may have been cut short
      if (documentStart.test(text.slice(Math.max(0, match.index - 16), match.index))) {
        open.length = 0
        ;[around, name] = [[], ""]
      } else {
        open.push([around, name])
        if (around.length < deepest) around = [...around, name]
      }
    } else [around, name] = open.pop() ?? [[], ""]
  }
  return found
}

/** Tells JSON, lines of it and events from other text. */
export const isJson = (text: string): boolean => /^\s*(?:[[{]|"|(?:data|event|id|retry):|:)/.test(text)

/** Writes a text as the inside of a string. */
export const inside = (text: string): string => JSON.stringify(text).slice(1, -1)

/**
 * Carries edits out, on a document that is cut at `ends`, into as many pieces. Edits are in order and do not overlap;
 * where one reaches over an end, its text goes to the later piece.
 */
export const edited = (
  text: string,
  edits: ReadonlyArray<Edit>,
  ends: ReadonlyArray<number>
): ReadonlyArray<string> => {
  const out = ends.map(() => "")
  let [piece, at] = [0, 0]
  const copy = (to: number): void => {
    while (at < to) {
      while (piece < ends.length - 1 && (ends[piece] ?? 0) <= at) piece++
      const end = piece === ends.length - 1 ? to : Math.min(to, ends[piece] ?? to)
      out[piece] += text.slice(at, end)
      at = end
    }
  }
  for (const edit of edits) {
    copy(edit.from)
    while (piece < ends.length - 1 && (ends[piece] ?? 0) < edit.to) piece++
    out[piece] += edit.text
    at = edit.to
  }
  copy(text.length)
  return out
}

/** Replaces a text wherever it stands. */
export const replacing = (search: string, text: string): Find => (whole) => {
  const found: Array<Edit> = []
  for (let from = whole.indexOf(search); from >= 0; from = whole.indexOf(search, from + search.length)) {
    found.push({ from, to: from + search.length, text })
  }
  return found
}

/** Finds what to change in a text. */
export type Find = (text: string) => ReadonlyArray<Edit>

/** Changes texts that follow each other as if they were one, by one search after the other. */
export const across = (texts: ReadonlyArray<string>, searches: Iterable<Find>): ReadonlyArray<string> => {
  let out = texts
  for (const search of searches) {
    const whole = out.join("")
    const edits = search(whole)
    let end = 0
    if (edits.length > 0) out = edited(whole, edits, out.map((text) => end += text.length))
  }
  return out
}
