/**
 * What is wrong with a line that is not a row: where it stops being JSON, and what its file should have been.
 *
 * No word of the line is quoted, since it may hold a prompt.
 */
import * as Result from "effect/Result"
import * as Json from "../together/Json.ts"

/** V8's own words about what it expected: those about a token quote the text around it. */
const told =
  /^((?:Bad|Expected|Exponent|No number|Unterminated|Unexpected (?:number|string|non-whitespace)) ?[^:"]*?)(?: in JSON)? at position (\d+)/

const messageOf = (text: string): string => {
  const parsed = Result.try((): unknown => JSON.parse(text))
  return Result.isFailure(parsed) && parsed.failure instanceof Error ? parsed.failure.message : ""
}

const unexpected = "Unexpected token"

/**
 * Says why a line is not JSON, and where, without quoting it.
 *
 * **Details**: at an unexpected token, engines quote the text around it and do not tell its place. The place is the
 * last character of the shortest beginning of the line that gives the same error.
 */
export const fault = (text: string): string => {
  const message = messageOf(text)
  if (message.startsWith("Unexpected end")) return "it ends too early"
  const known = told.exec(message)
  if (known !== null) return `${known[1]}, character ${Number(known[2]) + 1}`
  if (!message.startsWith(unexpected)) return "syntax error"
  let [before, until] = [0, text.length]
  while (until - before > 1) {
    const middle = (before + until) >>> 1
    if (messageOf(text.slice(0, middle)).startsWith(unexpected)) until = middle
    else before = middle
  }
  return `${unexpected}, character ${until}`
}

/** Tells whether carriage returns part a text into lines of JSON. */
const endsInReturns = (text: string): boolean => {
  const pieces = text.split("\r").filter((piece) => piece.trim() !== "")
  return pieces.length > 1 && pieces.every((piece) => Json.parse(piece) !== undefined)
}

/** Names of columns, such as of CSV. */
const header = /^"?[A-Za-z_][\w ]*"?(?:[,;\t]"?[A-Za-z_][\w ]*"?)+$/

/** Says how to write a line instead, by what it looks like, or nothing. */
export const advice = (text: string, line: number): string | undefined =>
  // this comes first: every other character of such a text is a NUL, also beside those that would end its lines
  text.includes("\0")
    ? "it holds NUL characters, as UTF-16 does: save the file as UTF-8"
    : line === 1 && text.trimStart().startsWith("[")
    ? "the input begins a JSON array, and JSON Lines are wanted: write one object per line, such as with jq -c '.[]'"
    : line === 1 && header.test(text.trim())
    ? "the input seems to be CSV, and JSON Lines are wanted: write one object per line, such as with mlr --icsv --ojsonl cat"
    : endsInReturns(text)
    ? "it holds carriage returns: end lines in LF, such as with tr '\\r' '\\n'"
    : undefined
