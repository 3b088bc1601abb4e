/**
 * Keeps keys and prompts out of what a provider's answer may echo.
 *
 * An error body can quote the request: a refused key, an input that failed its
 * validation. Before a body or a message enters an error, every secret it is
 * told of and everything that looks like a key is replaced. This runs only when
 * a call has failed.
 *
 * Writers of JSON escape different characters: all beyond ASCII, `<`, `/`, none
 * of them; a page escapes for HTML, an address or a form by percent signs. So a
 * text is looked through as it stands, and again with its escapes undone, as
 * often as a quoted JSON inside of JSON needs it. What is cut off at its end is
 * known by its start, and what lacks its start by its end. The work is linear in
 * the length of the text, of which no more than `maxReadLength` is read.
 */
import * as Result from "effect/Result"
import * as Json from "./Json.ts"

/** Bounds the body kept on an error, in characters. */
export const maxBodyLength = 2000

/** Bounds what is looked through, in characters. */
export const maxReadLength = 4 * maxBodyLength

const keyLike = [
  /bearer\s+[\w.\-~+/]{8,}=*/gi,
  /\b(?:sk|tgp|tok|key|tgp_v1)[-_][\w-]{16,}/gi,
  /\b[0-9a-f]{64}\b/gi
]

/** Shorter pieces of a prompt are words, not text: they stay. */
const shortestPrompt = 12
/** A provider may cut what it echoes: this much of a prompt's start or end gives it away. */
const giveaway = 24
/** JSON inside of JSON inside of JSON. */
const deepestEscape = 3
/** Where only a part is read, its end may hold the start of a prompt, each character as nine of an address. */
const margin = giveaway * 9

/** Is a text as it reads, and where each of its characters, and its end, stands in the original. */
interface Reading {
  readonly text: string
  readonly at: (index: number) => number
}

/** Is a way of writing characters by others. */
interface Writing {
  readonly pattern: RegExp
  readonly read: (match: RegExpMatchArray) => string
}

const controls: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }

/** Whichever characters the writer chose to escape. */
const json: Writing = {
  pattern: /\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|([^]))/gi,
  read: ([, unicode, byte, letter = ""]) => {
    const code = unicode ?? byte
    return code === undefined ? controls[letter] ?? letter : String.fromCharCode(Number.parseInt(code, 16))
  }
}

const entities: Readonly<Record<string, string>> = { amp: "&", apos: "'", gt: ">", lt: "<", nbsp: "\u00a0", quot: "\"" }

const html: Writing = {
  pattern: /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|apos|gt|lt|nbsp|quot));/gi,
  read: ([whole, decimal, hex, name = ""]) => {
    const code = decimal === undefined ? Number.parseInt(hex ?? "", 16) : Number(decimal)
    return code <= 0x10ffff ? String.fromCodePoint(code) : entities[name.toLowerCase()] ?? whole
  }
}

/** One character at a time, as its bytes in UTF-8. */
const percent =
  /%[0-7][0-9a-f]|%[cd][0-9a-f]%[89ab][0-9a-f]|%e[0-9a-f](?:%[89ab][0-9a-f]){2}|%f[0-7](?:%[89ab][0-9a-f]){3}/
const utf8 = new TextDecoder()

const address: Writing = {
  pattern: new RegExp(percent, "gi"),
  read: ([whole]) => utf8.decode(Uint8Array.from(whole.slice(1).split("%"), (byte) => Number.parseInt(byte, 16)))
}

const form: Writing = {
  pattern: new RegExp(`\\+|${percent.source}`, "gi"),
  read: (match) => match[0] === "+" ? " " : address.read(match)
}

/** Undoes one level of a writing. */
const undone = (reading: Reading, { pattern, read }: Writing): Reading => {
  const places: Array<number> = []
  let text = ""
  let from = 0
  const keep = (to: number): void => {
    text += reading.text.slice(from, to)
    for (let index = from; index < to; index++) places.push(reading.at(index))
  }
  for (const match of reading.text.matchAll(pattern)) {
    keep(match.index)
    const characters = read(match)
    text += characters
    for (let unit = 0; unit < characters.length; unit++) places.push(reading.at(match.index))
    from = match.index + match[0].length
  }
  keep(reading.text.length)
  const end = reading.at(reading.text.length)
  return { text, at: (index) => places[index] ?? end }
}

type Piece = readonly [from: number, to: number]

/** Reads a text with the escapes of JSON undone, level by level. */
const levelsOf = (text: Reading): ReadonlyArray<Reading> => {
  let reading = text
  const readings = [reading]
  while (readings.length <= deepestEscape && reading.text.includes("\\")) {
    reading = undone(reading, json)
    readings.push(reading)
  }
  return readings
}

/** Reads a text as it stands, and as each writing means it. */
const readingsOf = (text: string): ReadonlyArray<Reading> => {
  const plain: Reading = { text, at: (index) => index }
  const readings = [plain]
  if (text.includes("&")) readings.push(undone(plain, html))
  if (text.includes("%")) readings.push(undone(plain, address))
  if (text.includes("+")) readings.push(undone(plain, form))
  return readings.filter((reading) => reading === plain || reading.text !== text).flatMap(levelsOf)
}

interface Found {
  /** Pieces of the original that are secrets. */
  readonly whole: Array<Piece>
  /** Places where a secret begins and is cut off. */
  readonly begun: Array<number>
}

/** Knows which characters of a reading are found to be secret, so that no stretch of them is gone through twice. */
class Covered {
  /** Of each character that is found, one towards the end of its stretch, itself where it is not found. */
  readonly #next: Uint32Array
  /** The same towards the start; counted from 1, so that 0 is before the first. */
  readonly #previous: Uint32Array

  constructor(length: number) {
    this.#next = new Uint32Array(length + 1)
    for (let index = 0; index <= length; index++) this.#next[index] = index
    this.#previous = this.#next.slice()
  }

  /** Finds the first character from here on that is not found to be secret. */
  end(index: number): number {
    return rootOf(this.#next, index)
  }

  /** Finds where the secret stretch before this character begins. */
  start(index: number): number {
    return rootOf(this.#previous, index)
  }

  add(from: number, to: number): void {
    for (let index = this.end(from); index < to; index = this.end(index)) {
      this.#next[index] = index + 1
      this.#previous[index + 1] = index
    }
  }
}

/** Follows links to their end, and shortens them for whoever follows them next. */
const rootOf = (links: Uint32Array, index: number): number => {
  let root = index
  for (let next = links[root] ?? root; next !== root; next = links[root] ?? root) root = next
  for (let at = index; at !== root;) {
    const next = links[at] ?? root
    links[at] = root
    at = next
  }
  return root
}

/** Finds what lacks its start: as much of the end as stands there. One that reaches back to another is one with it. */
const findEnd = ({ at, text }: Reading, secret: string, { whole }: Found, covered: Covered): void => {
  const tail = secret.slice(-giveaway)
  let before = 0
  let start = 0
  for (let index = text.indexOf(tail); index >= 0; index = text.indexOf(tail, before)) {
    const end = index + tail.length
    // all that this one could add is found already, and so it is with those behind it in the same stretch
    if (covered.start(end) <= before) {
      start = covered.start(end)
      before = Math.max(end, covered.end(index) - tail.length + 1)
      continue
    }
    let from = index
    while (from > before && end - from < secret.length && text[from - 1] === secret[secret.length - (end - from) - 1]) {
      from--
    }
    if (from > before || before === 0) start = from
    if (covered.start(end) > start) whole.push([at(start), at(end)])
    covered.add(start, end)
    before = end
  }
}

const find = (reading: Reading, secret: string, found: Found, covered: Covered): void => {
  const { at, text } = reading
  const head = secret.slice(0, giveaway)
  for (let index = text.indexOf(head); index >= 0;) {
    const length = text.startsWith(secret, index) ? secret.length : 0
    if (length > 0) {
      found.whole.push([at(index), at(index + length)])
      covered.add(index, index + length)
    } else found.begun.push(at(index))
    index = text.indexOf(head, index + Math.max(length, head.length))
  }
  if (secret.length > giveaway) findEnd(reading, secret, found, covered)
}

/** Joins pieces that overlap, in their order. */
const joined = (pieces: ReadonlyArray<Piece>): ReadonlyArray<Piece> => {
  const out: Array<Piece> = []
  for (const [from, to] of pieces.toSorted((a, b) => a[0] - b[0])) {
    const last = out.at(-1)
    if (last !== undefined && from < last[1]) out[out.length - 1] = [last[0], Math.max(last[1], to)]
    else out.push([from, to])
  }
  return out
}

/** Finds the first place that stands in none of the pieces, all in their order. */
const firstOutside = (places: ReadonlyArray<number>, pieces: ReadonlyArray<Piece>): number | undefined => {
  let next = 0
  return places.toSorted((a, b) => a - b).find((place) => {
    while ((pieces[next]?.[1] ?? Infinity) <= place) next++
    return place < (pieces[next]?.[0] ?? Infinity)
  })
}

/** Replaces secrets; what follows one that is cut off may still be of it, and goes too. */
const without = (text: string, secrets: ReadonlyArray<string>, mark: string): string => {
  const found: Found = { whole: [], begun: [] }
  if (secrets.length === 0) return text
  for (const reading of readingsOf(text)) {
    const covered = new Covered(reading.text.length)
    for (const secret of secrets) find(reading, secret, found, covered)
  }
  if (found.whole.length === 0 && found.begun.length === 0) return text
  const pieces = joined(found.whole)
  const cut = firstOutside(found.begun, pieces)
  let out = ""
  let at = 0
  for (const [from, to] of pieces) {
    if (from >= (cut ?? Infinity)) break
    out += text.slice(at, from) + mark
    at = to
  }
  return out + text.slice(at, cut) + (cut === undefined ? "" : mark)
}

/** Names what must not appear. */
export interface Secrets {
  readonly apiKey?: string | undefined
  /** Values of headers that may be secret; only those of 8 characters or more are looked for. */
  readonly headers?: ReadonlyArray<string> | undefined
  /**
   * Texts of the request; only those of 12 characters or more are looked for, without the space around them. A function
   * where they are many: it is called when something is to be redacted. `"unknown"` where they are not at hand: nothing of
   * an answer stays then but the words that name its kind.
   */
  readonly prompts: ReadonlyArray<string> | (() => Iterable<string>) | "unknown"
}

/** So few prompts are looked for as they are: to narrow them would take longer. */
const few = 64

/** Keeps the prompts that texts may quote: those whose first or last characters stand in one, however escaped. */
const quotable = (texts: ReadonlyArray<string>, prompts: Iterable<string>): ReadonlyArray<string> => {
  if (Array.isArray(prompts) && prompts.length <= few) return prompts
  const words = new Set<string>()
  for (const reading of texts.flatMap((text) => readingsOf(text.slice(0, maxReadLength)))) {
    for (let at = 0; at + shortestPrompt <= reading.text.length; at++) {
      words.add(reading.text.slice(at, at + shortestPrompt))
    }
  }
  const kept: Array<string> = []
  if (words.size === 0) return kept
  for (const prompt of prompts) {
    const text = prompt.trim()
    if (words.has(text.slice(0, shortestPrompt)) || words.has(text.slice(-shortestPrompt))) kept.push(prompt)
  }
  return kept
}

const listOf = (prompts: Exclude<Secrets["prompts"], "unknown">): Iterable<string> =>
  typeof prompts === "function" ? prompts() : prompts

/** Reads prompts that are many, once for all texts to be redacted, and keeps those that these may quote. */
export const narrowed = (texts: ReadonlyArray<string>, secrets: Secrets): Secrets =>
  secrets.prompts === "unknown" ? secrets : { ...secrets, prompts: quotable(texts, listOf(secrets.prompts)) }

const shortestHeader = 8

/** Removes prompts from as much of a text as is read; unknown ones stay. */
export const withoutPrompts = (text: string, prompts: Secrets["prompts"]): string => {
  if (prompts === "unknown") return text.slice(0, maxReadLength)
  const near = quotable([text], listOf(prompts))
  const texts = [...new Set(near.map((prompt) => prompt.trim()))].filter((prompt) => prompt.length >= shortestPrompt)
  const mark = "[prompt]"
  const out = without(text.slice(0, maxReadLength), texts, mark)
  if (text.length <= maxReadLength) return out
  const marked = out.lastIndexOf(mark)
  return out.slice(0, Math.max(out.length - margin, marked < 0 ? 0 : marked + mark.length))
}

/** Removes keys and prompts from a text and bounds its length. */
export const redact = (text: string, secrets: Secrets): string => {
  const { apiKey, headers = [], prompts } = secrets
  if (prompts === "unknown") return withheld(text)
  // prompts first: one may hold what looks like a key, and would not be known again without it
  let out = withoutPrompts(text, prompts)
  out = without(out, headers.filter((value) => value.length >= shortestHeader), "[header]")
  if (apiKey !== undefined && apiKey !== "") out = out.replaceAll(apiKey, "[key]")
  for (const pattern of keyLike) out = out.replace(pattern, "[key]")
  return out.length > maxBodyLength || text.length > maxReadLength ? `${out.slice(0, maxBodyLength)}…` : out
}

const kinds: ReadonlySet<string> = new Set(["type", "error_type", "code", "param", "status"])
const word = /^[\w.-]{1,64}$/

const skeleton = (value: unknown, key: string): unknown => {
  if (value === null || typeof value === "boolean") return value
  if (Array.isArray(value)) return value.map((item) => skeleton(item, key))
  if (typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).filter(([name]) => word.test(name)).map(([name, item]) => [name, skeleton(item, name)])
    )
  }
  return kinds.has(key) && word.test(String(value)) ? value : "[withheld]"
}

/** Keeps the shape of a JSON and the words that name a kind. */
const withheld = (text: string): string => {
  // it may be deeper than calls can be
  const kept = Result.try(() => JSON.stringify(skeleton(JSON.parse(text), "")))
  return Result.isFailure(kept) || kept.success.length > maxBodyLength ? "[withheld]" : kept.success
}

/** Hold no prompt. */
const promptless: ReadonlySet<string> = new Set(["model", "role", "type"])

/**
 * Collects every text of a request body, at any depth, except the fields that hold no prompt.
 *
 * **Details**: a body that contains itself is read once.
 */
export const promptsOf = (body: unknown): ReadonlyArray<string> => {
  const found: Array<string> = []
  // a list may stand under a name that holds no prompt, and under another
  const seen = { texts: new Set<object>(), names: new Set<object>() }
  // a stack of its own: a request may be deeper than calls can be
  const open: Array<readonly [value: unknown, key: string]> = [[body, ""]]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [value, key] = next
    if (typeof value === "string") {
      if (!promptless.has(key) && value.length >= shortestPrompt) found.push(value)
    } else if (typeof value === "object" && value !== null) {
      const known = promptless.has(key) ? seen.names : seen.texts
      if (known.has(value)) continue
      known.add(value)
      if (Array.isArray(value)) { for (let at = value.length - 1; at >= 0; at--) open.push([value[at], key]) }
      else for (const [name, item] of Object.entries(value).reverse()) open.push([item, name])
    }
  }
  return found
}

/** Reads every text of a request that was sent as JSON; of any other text, itself. */
export const promptsOfText = (text: string): ReadonlyArray<string> => {
  const value = Json.parse(text)
  return promptsOf(typeof value === "object" ? value : text)
}

/** Say at the top of a line which request it is, and hold no prompt. */
const envelope: ReadonlySet<string> = new Set(["custom_id", "method", "url"])

const promptsOfLine = (line: string): ReadonlyArray<string> => {
  const value = Json.parse(line)
  if (value === undefined) return line.length < shortestPrompt ? [] : [line]
  if (typeof value !== "object" || value === null || Array.isArray(value)) return promptsOf(value)
  return promptsOf(Object.entries(value).flatMap(([name, item]) => envelope.has(name) ? [] : [{ [name]: item }]))
}

/**
 * Reads every text of a file of lines, one by one: what each line of JSON holds, and other lines as they are.
 *
 * **Details**: of a line of a batch, `custom_id`, `method` and `url` are no texts: an error must be able to name them.
 */
export function* promptsOfLines(text: string): Generator<string> {
  for (let from = 0; from < text.length;) {
    const end = text.indexOf("\n", from)
    const to = end < 0 ? text.length : end
    yield* promptsOfLine(text.slice(from, to))
    from = to + 1
  }
}
