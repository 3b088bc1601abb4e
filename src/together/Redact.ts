/**
 * Keeps keys and prompts out of what a provider's answer may echo.
 *
 * An error body can quote the request: a refused key, an input that failed its
 * validation. Before a body or a message enters an error, every secret it is
 * told of and everything that looks like a key is replaced. This runs only when
 * a call has failed.
 *
 * A text is looked through as it stands and in every other reading of it (`Readings`): escapes undone, case and space
 * folded. A provider may quote a part: whatever stretch of 24 characters is also in a secret goes, and of 12 where an
 * ellipsis says that a secret was cut there. The work is linear in the length of text and secrets; of the text no more than
 * `maxReadLength` is read.
 */
import * as Result from "effect/Result"
import * as Json from "./Json.ts"
import * as Readings from "./Readings.ts"

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
/** A provider may quote a part: this much of a prompt gives it away. */
const giveaway = 24
/** Where only a part is read, its end may hold the start of a prompt, each character as nine of an address. */
const margin = giveaway * 9

const none: ReadonlyArray<number> = []

type Piece = readonly [from: number, to: number, mark: string]

interface Found {
  /** Pieces of the original that are secrets. */
  readonly pieces: Array<Piece>
  /** Pieces where a secret begins and is cut off. */
  readonly begun: Array<Piece>
}

/** Knows which characters of a reading are found to be secret, so that no stretch of them is gone through twice. */
class Covered {
  /** Of each character that is found, one towards the end of its stretch; itself where it is not found. */
  readonly #next: Uint32Array

  constructor(length: number) {
    this.#next = Uint32Array.from({ length: length + 1 }, (_, index) => index)
  }

  /** Finds the first character from here on that is not found to be secret. */
  end(index: number): number {
    const links = this.#next
    let end = index
    for (let next = links[end] ?? end; next !== end; next = links[end] ?? end) end = next
    // whoever follows them next has a shorter way
    for (let at = index; at !== end;) {
      const next = links[at] ?? end
      links[at] = end
      at = next
    }
    return end
  }

  add(from: number, to: number): void {
    for (let index = this.end(from); index < to; index = this.end(index)) this.#next[index] = index + 1
  }
}

/** Is a reading that is looked through, by the places of its words: all stretches of `shortestPrompt` characters. */
interface Searched {
  readonly reading: Readings.Reading
  readonly words: Map<string, Array<number>>
  readonly covered: Covered
  /** Counts how often a word was none of a secret. */
  readonly vain: Map<string, number>
}

/** So many times a word is taken for one of a secret in vain: it is a ruler, or stands everywhere. */
const patience = 1000

const searched = (reading: Readings.Reading): Searched => {
  const words = new Map<string, Array<number>>()
  for (let at = 0; at + shortestPrompt <= reading.text.length; at++) {
    const word = reading.text.slice(at, at + shortestPrompt)
    const places = words.get(word)
    if (places === undefined) words.set(word, [at])
    else places.push(at)
  }
  return { reading, words, covered: new Covered(reading.text.length), vain: new Map() }
}

/** Counts words of a text from one to the next, so that any `giveaway` characters hold one; the last is at its end. */
const nextWord = (text: string, at: number): number => {
  const last = text.length - shortestPrompt
  return at < last ? Math.min(at + shortestPrompt, last) : Infinity
}

const ellipsis = /^\W{0,2}(?:\.\.|…)/
const afterEllipsis = /(?:\.\.|…)\W{0,2}$/

/** Tells whether a stretch of a reading that is part of a secret as well gives it away. */
const isGivenAway = (text: string, from: number, to: number, starts: boolean, ends: boolean): boolean =>
  to - from >= giveaway || (starts && ends) ||
  (starts && ellipsis.test(text.slice(to, to + 4))) ||
  (ends && afterEllipsis.test(text.slice(Math.max(0, from - 4), from)))

/** Finds what stands in a reading and in a secret of at least `shortestPrompt` characters. */
const find = ({ covered, reading, vain, words }: Searched, secret: string, found: Found, mark: string): void => {
  const { text } = reading
  for (let at = 0; at < secret.length; at = nextWord(secret, at)) {
    const word = secret.slice(at, at + shortestPrompt)
    let isFound = false
    for (const place of words.get(word) ?? none) {
      if (covered.end(place) >= place + shortestPrompt) continue
      let before = 0
      while (before < Math.min(at, place) && text[place - before - 1] === secret[at - before - 1]) before++
      let after = shortestPrompt
      while (at + after < secret.length && text[place + after] === secret[at + after]) after++
      const [from, to, starts, ends] = [place - before, place + after, before === at, at + after === secret.length]
      if (!isGivenAway(text, from, to, starts, ends)) {
        vain.set(word, (vain.get(word) ?? 0) + 1)
        continue
      }
      isFound = true
      covered.add(from, to)
      // an ellipsis says where a shorter one ends
      const isBegun = starts && !ends && to - from >= giveaway
      found[isBegun ? "begun" : "pieces"].push([reading.from(from), reading.to(to), mark])
    }
    if (isFound || (vain.get(word) ?? 0) > patience) words.delete(word)
  }
}

/** Finds a secret of fewer characters. */
const findShort = ({ reading }: Searched, secret: string, found: Found, mark: string): void => {
  for (let at = reading.text.indexOf(secret); at >= 0; at = reading.text.indexOf(secret, at + secret.length)) {
    found.pieces.push([reading.from(at), reading.to(at + secret.length), mark])
  }
}

/** Joins pieces that overlap, in their order. */
const joined = (pieces: ReadonlyArray<Piece>): ReadonlyArray<Piece> => {
  const out: Array<Piece> = []
  for (const piece of pieces.toSorted((a, b) => a[0] - b[0])) {
    const last = out.at(-1)
    if (last !== undefined && piece[0] < last[1]) out[out.length - 1] = [last[0], Math.max(last[1], piece[1]), last[2]]
    else out.push(piece)
  }
  return out
}

/** Finds the first piece that begins in none of the others, all in their order. */
const firstOutside = (begun: ReadonlyArray<Piece>, pieces: ReadonlyArray<Piece>): Piece | undefined => {
  let next = 0
  return begun.toSorted((a, b) => a[0] - b[0]).find(([from]) => {
    while ((pieces[next]?.[1] ?? Infinity) <= from) next++
    return from < (pieces[next]?.[0] ?? Infinity)
  })
}

/** Lists all stretches of `shortestPrompt` characters. */
const wordsOf = (readings: ReadonlyArray<Readings.Reading>): ReadonlySet<string> => {
  const words = new Set<string>()
  for (const { text } of readings) {
    for (let at = 0; at + shortestPrompt <= text.length; at++) words.add(text.slice(at, at + shortestPrompt))
  }
  return words
}

/** Keeps the secrets that words may be a part of, the shorter first: one may begin like another. */
const quotable = (words: ReadonlySet<string>, secrets: Iterable<string>): ReadonlyArray<string> => {
  const kept: Array<string> = []
  for (const text of secrets) {
    let at = 0
    while (at < text.length && !words.has(text.slice(at, at + shortestPrompt))) at = nextWord(text, at)
    if (at < text.length || text.length < shortestPrompt) kept.push(text)
  }
  return kept.sort((a, b) => a.length - b.length)
}

/** Says which secrets, folded as readings are, a mark replaces. */
type Marked = readonly [mark: string, secrets: Iterable<string>]

/** Replaces secrets; what follows one that is cut off may still be of it, and goes too. */
const replaced = (text: string, marked: ReadonlyArray<Marked>): string => {
  const readings = Readings.of(text)
  const words = wordsOf(readings)
  const near = marked.map(([mark, secrets]) => [mark, quotable(words, secrets)] as const)
  if (near.every(([, secrets]) => secrets.length === 0)) return text
  const found: Found = { pieces: [], begun: [] }
  const looked = readings.map(searched)
  for (const [mark, secrets] of near) {
    for (const secret of secrets) {
      const look = secret.length < shortestPrompt ? findShort : find
      for (const reading of looked) look(reading, secret, found, mark)
    }
  }
  const pieces = joined(found.pieces)
  const cut = firstOutside(found.begun, pieces)
  let out = ""
  let at = 0
  for (const [from, to, mark] of pieces) {
    if (from >= (cut?.[0] ?? Infinity)) break
    out += text.slice(at, from) + mark
    at = to
  }
  return out + text.slice(at, cut?.[0]) + (cut?.[2] ?? "")
}

/** Replaces secrets in as much of a text as is read. */
const without = (text: string, marked: ReadonlyArray<Marked>): string => {
  const out = replaced(text.slice(0, maxReadLength), marked)
  if (text.length <= maxReadLength) return out
  const ends = marked.map(([mark]) => {
    const last = out.lastIndexOf(mark)
    return last < 0 ? 0 : last + mark.length
  })
  return out.slice(0, Math.max(out.length - margin, ...ends))
}

/** Names what must not appear. */
export interface Secrets {
  /** Looked for from 4 characters on: a shorter one guards nothing, and stands in many words. */
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

function* foldedPrompts(prompts: Exclude<Secrets["prompts"], "unknown">): Generator<string> {
  for (const prompt of typeof prompts === "function" ? prompts() : prompts) {
    const text = Readings.fold(prompt.trim())
    if (text.length >= shortestPrompt) yield text
  }
}

/** Reads prompts that are many, once for all texts to be redacted, and keeps those that these may quote. */
export const narrowed = (texts: ReadonlyArray<string>, secrets: Secrets): Secrets => {
  if (secrets.prompts === "unknown") return secrets
  const words = wordsOf(texts.flatMap((text) => Readings.of(text.slice(0, maxReadLength))))
  return { ...secrets, prompts: words.size === 0 ? [] : quotable(words, foldedPrompts(secrets.prompts)) }
}

const shortestHeader = 8
const shortestKey = 4

/** Removes prompts from as much of a text as is read; unknown ones stay. */
export const withoutPrompts = (text: string, prompts: Secrets["prompts"]): string =>
  prompts === "unknown" ? text.slice(0, maxReadLength) : without(text, [["[prompt]", foldedPrompts(prompts)]])

/** Removes keys and prompts from a text and bounds its length. */
export const redact = (text: string, secrets: Secrets): string => {
  const { apiKey = "", headers = [], prompts } = secrets
  if (prompts === "unknown") return withheld(text)
  let out = without(text, [
    ["[prompt]", foldedPrompts(prompts)],
    ["[header]", headers.filter((value) => value.length >= shortestHeader).map(Readings.fold)],
    ["[key]", apiKey.length < shortestKey ? [] : [Readings.fold(apiKey)]]
  ])
  for (const pattern of keyLike) out = out.replace(pattern, "[key]")
  return out.length > maxBodyLength || text.length > maxReadLength ? `${out.slice(0, maxBodyLength - 1)}…` : out
}

/** Tells whether a text holds no key and none of the prompts that are known. */
export const isClean = (text: string, secrets: Secrets): boolean =>
  redact(text, secrets.prompts === "unknown" ? { ...secrets, prompts: [] } : secrets) === text

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
