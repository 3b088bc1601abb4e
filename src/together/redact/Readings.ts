/**
 * Undoes the escapings under which a text may quote a secret: each reading of a text is a form in which a secret is sought.
 *
 * | writing | undone |
 * | --- | --- |
 * | JSON | `\n`, `\/`, `\u00e9`, `\xe9`; three levels, for JSON inside of JSON |
 * | bytes of Python | `\xc3\xa9` |
 * | HTML | `&lt;`, `&#60;`, `&#x3c;` |
 * | addresses and forms | `%3C`, `+`; an address inside of an address |
 * | Base64 | runs of 16 characters or more |
 *
 * Each reading is folded, as a writer may change case and space: lower case, and one blank for any white space.
 */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Result from "effect/Result"

/** A text as it reads, and where its characters stand in the original. */
export interface Reading {
  readonly text: string
  /** Finds where a character begins. */
  readonly from: (index: number) => number
  /** Finds where the character before this place ends. */
  readonly to: (index: number) => number
}

/** A way of writing characters by others. */
interface Writing {
  readonly pattern: RegExp
  readonly read: (match: RegExpMatchArray) => string
}

/** One character at a time, as its bytes in UTF-8, each behind a sign. */
const utf8Behind = (sign: string): string =>
  [
    "%[0-7]h",
    "%[cd]h%[89ab]h",
    "%eh(?:%[89ab]h){2}",
    "%f[0-7](?:%[89ab]h){3}"
  ].join("|").replaceAll("%", sign).replaceAll("h", "[0-9a-f]")
const utf8 = new TextDecoder()
const decoded = (bytes: string): string =>
  utf8.decode(Uint8Array.from(bytes.match(/[0-9a-f]{2}/gi) ?? [], (byte) => Number.parseInt(byte, 16)))

const controls: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }

/** Whichever characters the writer chose to escape. */
const json: Writing = {
  pattern: /\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|([^]))/gi,
  read: ([, unicode, byte, letter = ""]) => {
    const code = unicode ?? byte
    return code === undefined ? controls[letter] ?? letter : String.fromCharCode(Number.parseInt(code, 16))
  }
}

/** As Python shows bytes, which `json` takes for one character each. */
const bytes: Writing = {
  pattern: new RegExp(`${utf8Behind("\\\\x")}|${json.pattern.source}`, "gi"),
  read: (match) => match.slice(1).every((group) => group === undefined) ? decoded(match[0]) : json.read(match)
}

const entities: Readonly<Record<string, string>> = { amp: "&", apos: "'", gt: ">", lt: "<", nbsp: "\u00a0", quot: "\"" }

const html: Writing = {
  pattern: /&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(amp|apos|gt|lt|nbsp|quot));/gi,
  read: ([whole, decimal, hex, name = ""]) => {
    const code = decimal === undefined ? Number.parseInt(hex ?? "", 16) : Number(decimal)
    return code <= 0x10ffff ? String.fromCodePoint(code) : entities[name.toLowerCase()] ?? whole
  }
}

const percent = utf8Behind("%")

const address: Writing = { pattern: new RegExp(percent, "gi"), read: ([whole]) => decoded(whole) }

const form: Writing = {
  pattern: new RegExp(`\\+|${percent}`, "gi"),
  read: (match) => match[0] === "+" ? " " : address.read(match)
}

/** Bytes in Base64, of the alphabet of addresses or the other; what stands in one run is read as a whole. */
const base64: Writing = {
  pattern: /([\w+/-]{16,})={0,2}/g,
  read: ([all, run = ""]) => {
    // one character alone is no byte: the run was cut
    const whole = run.length % 4 === 1 ? run.slice(0, -1) : run
    return Result.getOrElse(Base64Url.decodeString(whole.replaceAll("+", "-").replaceAll("/", "_")), () => all)
  }
}

/** Changes what {@link fold} changes beside the case. */
const space: Writing = { pattern: /\s{2,}|[^\S ]/g, read: () => " " }
const upperCase: Writing = { pattern: /\p{Lu}/gu, read: ([letter]) => letter.toLowerCase() }

/** JSON inside of JSON inside of JSON. */
const deepestEscape = 3

/** Undoes one level of a writing. */
const undone = (reading: Reading, { pattern, read }: Writing): Reading => {
  if (reading.text.search(pattern) < 0) return reading
  const froms: Array<number> = []
  const tos: Array<number> = []
  let text = ""
  let at = 0
  const keep = (end: number): void => {
    text += reading.text.slice(at, end)
    for (let index = at; index < end; index++) {
      froms.push(reading.from(index))
      tos.push(reading.to(index + 1))
    }
  }
  for (const match of reading.text.matchAll(pattern)) {
    keep(match.index)
    const characters = read(match)
    const end = match.index + match[0].length
    text += characters
    for (let unit = 0; unit < characters.length; unit++) {
      froms.push(reading.from(match.index))
      tos.push(reading.to(end))
    }
    at = end
  }
  keep(reading.text.length)
  return { text, from: (index) => froms[index] ?? 0, to: (index) => tos[index - 1] ?? 0 }
}

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

const folded = (reading: Reading): Reading => {
  const text = reading.text.toLowerCase()
  // the lower case of few letters is longer
  const lower = text.length === reading.text.length ? { ...reading, text } : undone(reading, upperCase)
  return undone(lower, space)
}

/** Folds a text as readings are. */
export const fold = (text: string): string => text.toLowerCase().replace(space.pattern, " ")

/** Reads a text in every way that its characters allow. */
export const of = (text: string): ReadonlyArray<Reading> => {
  const plain: Reading = { text, from: (index) => index, to: (index) => index }
  const others: Array<Reading> = []
  const add = (reading: Reading, writing: Writing): Reading => {
    const other = undone(reading, writing)
    if (other.text !== reading.text) others.push(other)
    return other
  }
  if (text.includes("&")) add(plain, html)
  if (text.includes("%")) add(add(plain, address), address)
  if (text.includes("+")) add(plain, form)
  const levels = levelsOf(plain)
  for (const level of levels) {
    add(level, base64)
    if (level.text.includes("\\x")) add(level, bytes)
  }
  return [...levels, ...others.flatMap(levelsOf)].map(folded)
}
