/**
 * Decodes the bytes of a Together event stream into chunks, and says how it ended.
 *
 * One decoder serves one stream. Bytes may be cut anywhere: inside a line,
 * inside a character. Work is linear in bytes, and one event is bounded in size.
 *
 * | frame | effect |
 * | --- | --- |
 * | `data: {…}`, unnamed or named `message` | a chunk |
 * | `data: [DONE]` | the end; nothing after it is read |
 * | `error` as object or string, `event: error`, finish reason `error` | failure |
 * | data that is not a JSON object | failure |
 * | comments, `retry:`, `id:`, other named events without choices | nothing, and no progress |
 * | end of bytes before `[DONE]` and before a finish reason | failure |
 *
 * Usage may ride on the finish chunk, on a trailing chunk without choices, or
 * inside `choices[0]`: the last one seen is kept.
 */
import * as Sse from "effect/encoding/Sse"
import type { PartialAnswer } from "../domain/TogetherError.ts"
import * as Usage from "../domain/Usage.ts"

/** Tells the decoder where a kind of chunk keeps its parts. */
export interface Shape<Chunk> {
  readonly text: (chunk: Chunk) => string
  readonly reasoning: (chunk: Chunk) => string
  /** True when the chunk carries a token of any kind: text, reasoning or a tool call. */
  readonly hasToken: (chunk: Chunk) => boolean
  readonly finishReason: (chunk: Chunk) => string | null | undefined
}

/** Says why a stream failed, in a sentence, with the frame that said so. */
export interface Failure {
  readonly _tag: "Failed"
  readonly reason: "error-frame" | "finish-error" | "malformed" | "too-large" | "cut"
  readonly message: string
  /** JSON of the error frame, for the classifier. */
  readonly frame?: string | undefined
}

/** Says how a stream ended. */
export type End = { readonly _tag: "Done" } | Failure

/** Decodes one stream. */
export interface EventDecoder<Chunk> {
  /** Takes bytes and adds the chunks they complete to `into`. Once ended, takes nothing. */
  readonly feed: (bytes: Uint8Array, into: Array<Chunk>) => void
  /** Says that no more bytes come. */
  readonly finish: (into: Array<Chunk>) => void
  readonly end: () => End | undefined
  /** True once a token was decoded. */
  readonly started: () => boolean
  /** Counts the data events decoded: what an idle timeout watches. Comments do not count. */
  readonly events: () => number
  /** Counts the characters of text and reasoning decoded. */
  readonly characters: () => number
  readonly partial: () => PartialAnswer
  readonly usage: () => Usage.Usage | undefined
}

/** Holds the defaults of this module. */
export const defaults = {
  /** Characters one event may hold: 4 MiB. */
  maxEventSize: 4 * 1024 * 1024
} as const

type Fields = Readonly<Record<string, unknown>>

const done: End = { _tag: "Done" }

const isFields = (u: unknown): u is Fields => typeof u === "object" && u !== null && !Array.isArray(u)

const errorMessage = (error: unknown): string =>
  typeof error === "string" ? error : isFields(error) && typeof error["message"] === "string" ? error["message"] : ""

/** Makes a decoder for one stream. */
export const make = <Chunk>(shape: Shape<Chunk>, options?: {
  /** Characters one event may hold. Default: 4 MiB. */
  readonly maxEventSize?: number | undefined
}): EventDecoder<Chunk> => {
  const maxEventSize = options?.maxEventSize ?? defaults.maxEventSize
  const utf8 = new TextDecoder("utf-8")
  let end: End | undefined
  let events = 0
  let characters = 0
  let started = false
  let finished = false
  let usage: Usage.Usage | undefined
  const text: Array<string> = []
  const reasoning: Array<string> = []
  let out: Array<Chunk> = []

  const fail = (reason: Failure["reason"], message: string, frame?: string): void => {
    end = { _tag: "Failed", reason, message, frame }
  }

  const onChunk = (fields: Fields, choices: ReadonlyArray<unknown>): void => {
    // `choices` is an array: with it present any object is a chunk, all other fields being optional and kept
    const chunk = (fields["choices"] === choices ? fields : { ...fields, choices }) as Chunk
    const first = choices[0]
    const seen = fields["usage"] ?? (isFields(first) ? first["usage"] : undefined)
    if (seen !== undefined && seen !== null) usage = Usage.fromWire(seen) ?? usage
    const reason = shape.finishReason(chunk)
    if (reason === "error") {
      return fail("finish-error", "the provider ended the stream with finish_reason \"error\"")
    }
    if (typeof reason === "string" && reason !== "") finished = true
    if (shape.hasToken(chunk)) {
      // the shape's types are a promise of the wire, which may hold anything under these names
      const [piece, thought]: ReadonlyArray<unknown> = [shape.text(chunk), shape.reasoning(chunk)]
      if (typeof piece !== "string" || typeof thought !== "string") {
        return fail("malformed", "a chunk's text is not a string")
      }
      started = true
      if (piece !== "") text.push(piece)
      if (thought !== "") reasoning.push(thought)
      characters += piece.length + thought.length
    }
    out.push(chunk)
  }

  const onEvent = (name: string, data: string): void => {
    if (data.length < 10 && data.trim().toUpperCase() === "[DONE]") {
      end = done
      return
    }
    let value: unknown
    try {
      value = JSON.parse(data)
    } catch {
      if (name === "error") return fail("error-frame", data.slice(0, 300), JSON.stringify({ error: data }))
      if (name !== "message") return
      return fail("malformed", `a frame of ${data.length} characters is not JSON`)
    }
    if (name === "error" || (isFields(value) && isError(value["error"]))) {
      const error = isFields(value) ? value["error"] ?? value : value
      return fail("error-frame", errorMessage(error), JSON.stringify({ error }))
    }
    const choices = isFields(value) ? value["choices"] : undefined
    if (name !== "message" && !Array.isArray(choices)) return
    if (!isFields(value) || (choices !== undefined && choices !== null && !wellFormed(choices))) {
      return fail("malformed", "a frame is not a chunk: choices must be a list of objects")
    }
    events++
    onChunk(value, Array.isArray(choices) ? choices : [])
  }

  const parser = Sse.makeParser((event) => {
    if (end === undefined && event._tag === "Event") onEvent(event.event, event.data)
  }, { maxEventSize })

  /** True while the parser holds no part of an event: the text at hand begins with a new one. */
  let clean = true
  let endedLine = false

  const parse = (text: string): void => {
    const tooLarge = parser.feed(text)
    if (tooLarge !== undefined && end === undefined) {
      fail("too-large", `one event is larger than ${maxEventSize} characters`)
    }
  }

  /** Finds where the event that the parser holds ends in this text, or the text's end. */
  const endOfHeld = (text: string, at: number): number => {
    if (at === 0 && endedLine && text[0] === "\n") return 1
    const blank = text.indexOf("\n\n", at)
    return blank < 0 ? text.length : blank + 2
  }

  /**
   * Takes whole events of one `data:` line, which is what Together sends, straight from the text. The parser knows
   * every other form and takes what is left, up to the next blank line.
   */
  const push = (text: string, into: Array<Chunk>): void => {
    out = into
    let at = 0
    while (at < text.length && end === undefined) {
      const line = clean && text.startsWith("data: ", at) ? text.indexOf("\n", at) : -1
      if (line > 0 && text[line + 1] === "\n" && text[line - 1] !== "\r" && line - at <= maxEventSize) {
        onEvent("message", text.slice(at + 6, line))
        at = line + 2
      } else {
        const until = clean ? endOfHeld(text, at + 1) : endOfHeld(text, at)
        parse(text.slice(at, until))
        clean = (until === 1 && !clean) || text.endsWith("\n\n", until)
        at = until
      }
    }
    if (text !== "") endedLine = text.endsWith("\n")
  }

  return {
    feed: (bytes, into) => {
      if (end === undefined) push(utf8.decode(bytes, { stream: true }), into)
    },
    finish: (into) => {
      if (end !== undefined) return
      // the blank line completes an event whose own blank line was cut off
      push(`${utf8.decode()}\n\n`, into)
      if (end !== undefined) return
      if (finished) end = done
      else fail("cut", "the stream ended without [DONE] and without a finish reason")
    },
    end: () => end,
    started: () => started,
    events: () => events,
    characters: () => characters,
    partial: () => ({ text: text.join(""), reasoning: reasoning.join(""), usage }),
    usage: () => usage
  }
}

const isError = (error: unknown): boolean => (typeof error === "string" && error !== "") || isFields(error)

/** Checks what accessors rely on: choices are objects, and their delta is an object or nothing. */
const wellFormed = (choices: unknown): boolean =>
  Array.isArray(choices) && choices.every((choice) => {
    if (!isFields(choice)) return false
    const delta = choice["delta"]
    return delta === undefined || delta === null || isFields(delta)
  })
