/**
 * Keeps keys and prompts out of what a provider's answer may echo.
 *
 * An error body can quote the request: a refused key, an input that failed its
 * validation. Before a body or a message enters an error, every secret it is
 * told of and everything that looks like a key is replaced. This runs only when
 * a call has failed.
 *
 * A text is looked through as it stands and in every other reading of it (`Readings`): escapes undone, case and space
 * folded. A provider may quote a part: whatever stretch of 24 characters is also in a secret goes, and of 12 between its
 * ends and ellipses (`SecretMatches`). Which texts of a request are secrets, `Prompts` says. The work is linear in the
 * length of text and secrets; of the text no more than `maxReadLength` is read.
 */
import * as Result from "effect/Result"
import * as Readings from "./Readings.ts"
import * as SecretMatches from "./SecretMatches.ts"

export { promptsOf, promptsOfLines, promptsOfText } from "./Prompts.ts"

/** Bounds the body kept on an error, in characters. */
export const maxBodyLength = 2000

/** Bounds what is looked through, in characters. */
const maxReadLength = 4 * maxBodyLength

/** Whatever looks like these is a key. */
const keys = [/\btgp[-_][\w-]{16,}/gi, /\b[0-9a-f]{64}\b/gi]
/** These may be words and names: they are keys where the group looks drawn at random. */
const likeKeys = [/bearer\s+([\w.\-~+/]{8,}=*)/gi, /\b(?:sk|tok|key)[-_]([\w-]{16,})/gi]
/** The number of a version in a name. */
const version = /(?<![^-_./])v?\d{1,3}b?(?![^-_./])/gi

/** Words and names have no digits but those of a version, no capitals but at their start, and are shorter than that. */
const looksDrawn = (text: string): boolean => /\d|[a-z][A-Z]|[^\W_]{16}/.test(text.replace(version, ""))

/** Replaces what looks like a key. */
const withoutKeys = (text: string): string => {
  let out = text
  for (const pattern of keys) out = out.replace(pattern, "[key]")
  for (const pattern of likeKeys) {
    out = out.replace(pattern, (found: string, tail: string) => looksDrawn(tail) ? "[key]" : found)
  }
  return out
}

/** Where only a part is read, its end may hold the start of a prompt, each character as fifteen: its bytes, escaped twice. */
const margin = SecretMatches.giveaway * 15

type Piece = readonly [from: number, to: number, mark: string]

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

/** Finds the first piece that is in none of the others, all in their order. */
const firstOutside = (cutOff: ReadonlyArray<Piece>, others: ReadonlyArray<Piece>): Piece | undefined => {
  let next = 0
  return cutOff.toSorted((a, b) => a[0] - b[0]).find(([from, to]) => {
    while ((others[next]?.[1] ?? Infinity) <= from) next++
    const [start, end] = others[next] ?? [Infinity, Infinity]
    return from < start || end < to
  })
}

/** Shorter secrets are words: they are looked for as these, not inside of others. */
const shortestInside = 8

/** Finds a secret that is too short to be quoted in part. */
const findShort = ({ from, text, to }: Readings.Reading, secret: string, mark: string): ReadonlyArray<Piece> => {
  const pieces: Array<Piece> = []
  for (let at = text.indexOf(secret); at >= 0; at = text.indexOf(secret, at + 1)) {
    const end = at + secret.length
    const isInside = /\w/.test(text.charAt(at - 1)) || /\w/.test(text.charAt(end))
    if (secret.length >= shortestInside || !isInside) pieces.push([from(at), to(end), mark])
  }
  return pieces
}

/** Says which secrets, folded as readings are, a mark replaces. */
type Marked = readonly [mark: string, secrets: Iterable<string>]

/** Replaces secrets; what follows one that is cut off may still be of it, and goes too. */
const replaced = (text: string, marked: ReadonlyArray<Marked>): string => {
  const readings = Readings.of(text)
  const texts = SecretMatches.cut(readings.map((reading) => reading.text))
  const whole: Array<Piece> = []
  const cutOff: Array<Piece> = []
  for (const [mark, secrets] of marked) {
    const notes = new SecretMatches.Notes(texts)
    for (const secret of secrets) {
      if (secret.length >= SecretMatches.shortest) notes.add(secret)
      else whole.push(...readings.flatMap((reading) => findShort(reading, secret, mark)))
    }
    if (notes.isEmpty) continue
    for (const reading of readings) {
      for (const { from, isCutOff, to } of notes.quotesIn(reading.text)) {
        const pieces = isCutOff ? cutOff : whole
        pieces.push([reading.from(from), reading.to(to), mark])
      }
    }
  }
  const end = firstOutside(cutOff, joined(whole))
  let out = ""
  let at = 0
  for (const [from, to, mark] of joined([...whole, ...cutOff])) {
    if (end !== undefined && from >= end[0]) break
    out += text.slice(at, from) + mark
    at = to
  }
  return end === undefined ? out + text.slice(at) : out + text.slice(at, end[0]) + end[2]
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
  /** Looked for from 4 characters on: a shorter one guards nothing. One of less than 8 is found as a word by itself. */
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

function* folded(prompts: Exclude<Secrets["prompts"], "unknown">): Generator<string> {
  for (const prompt of typeof prompts === "function" ? prompts() : prompts) {
    const text = Readings.fold(prompt.trim())
    if (text.length >= SecretMatches.shortest) yield text
  }
}

/** Reads prompts that are many or long, once for all texts to be redacted, and keeps what these may quote. */
export const narrowed = (texts: ReadonlyArray<string>, secrets: Secrets): Secrets => {
  if (secrets.prompts === "unknown") return secrets
  const cut = SecretMatches.cut(
    texts.flatMap((text) => Readings.of(text.slice(0, maxReadLength)).map((reading) => reading.text))
  )
  const prompts: Array<string> = []
  if (cut.stretches.isEmpty) return { ...secrets, prompts }
  for (const prompt of folded(secrets.prompts)) {
    const kept = SecretMatches.quotable(cut, prompt)
    if (kept !== "") prompts.push(kept)
  }
  return { ...secrets, prompts }
}

const shortestHeader = shortestInside
const shortestKey = 4

/** Removes prompts from as much of a text as is read; unknown ones stay. */
export const withoutPrompts = (text: string, prompts: Secrets["prompts"]): string =>
  prompts === "unknown" ? text.slice(0, maxReadLength) : without(text, [["[prompt]", folded(prompts)]])

/** Removes keys and prompts from a text and bounds its length. */
export const redact = (text: string, secrets: Secrets): string => {
  const { apiKey = "", headers = [], prompts } = secrets
  if (prompts === "unknown") return withheld(text)
  const out = withoutKeys(without(text, [
    ["[prompt]", folded(prompts)],
    ["[header]", headers.filter((value) => value.length >= shortestHeader).map(Readings.fold)],
    ["[key]", apiKey.length < shortestKey ? [] : [Readings.fold(apiKey)]]
  ]))
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
