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
 * | an `error` of any kind, `object: "error"`, a bare `detail` | failure |
 * | a bare `message` with a `type` or `code` that is no sign of life, such as `ping` or `status` | failure |
 * | `event: error`, finish reason `error` | failure |
 * | data that is not a JSON object | failure; nothing where the bytes end inside of it |
 * | comments, `retry:`, `id:`, other named events without choices | nothing, and no progress |
 * | end of bytes before `[DONE]`, unless nothing can be missing ({@link StreamChoices}) | failure |
 *
 * Usage may ride on the finish chunk, on a trailing chunk without choices, or
 * inside `choices[0]`: the last one seen is kept.
 *
 * Of several choices (`n`) each chunk carries one, of any index. The partial
 * answer is that of choice 0; all of them are counted, since all are billed.
 */
import * as Predicate from "effect/Predicate"
import type { PartialAnswer } from "../domain/TogetherError.ts"
import * as Usage from "../domain/Usage.ts"
import * as Delta from "./Delta.ts"
import * as ErrorBody from "./ErrorBody.ts"
import * as EventSplitter from "./EventSplitter.ts"
import * as Json from "./Json.ts"
import * as StreamChoices from "./StreamChoices.ts"

/** Tells the decoder where a kind of chunk keeps its parts. */
export interface Shape<Chunk> {
  /** Text that the chunk adds to choice 0. */
  readonly text: (chunk: Chunk) => string
  /** Reasoning that the chunk adds to choice 0. */
  readonly reasoning: (chunk: Chunk) => string
  /** True when any choice of the chunk carries a token of any kind: text, reasoning or a tool call. */
  readonly hasToken: (chunk: Chunk) => boolean
  /** Counts what all choices of the chunk carry: text, reasoning, and the names and arguments of tool calls. */
  readonly characters: (chunk: Chunk) => number
  /** Writes the arguments of tool calls as text, where a chunk that carries some has them otherwise. */
  readonly textual: (chunk: Chunk) => Chunk
}

/** Says why a stream failed, in a sentence, with the frame that said so. */
export interface Failure {
  readonly _tag: "Failed"
  readonly reason: "error-frame" | "finish-error" | "malformed" | "too-large" | "cut"
  readonly message: string
  /** The error frame as it came, for the classifier. */
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
  /** True once no token can be missing, whatever becomes of the rest: see `StreamChoices`. */
  readonly whole: () => boolean
  /** True once a token was decoded. */
  readonly started: () => boolean
  /** Counts the data events decoded: what an idle timeout watches. Comments do not count. */
  readonly events: () => number
  /** Counts the characters generated: text, reasoning and tool calls of every choice. */
  readonly characters: () => number
  readonly partial: () => PartialAnswer
  /** Reads the last usage seen; see `Usage.fromWire` for the input that stands in where it counts the output alone. */
  readonly usage: (estimatedInput?: number) => Usage.Usage | undefined
}

/** Holds the defaults of this module. */
export const defaults = {
  /** Characters one event may hold: 4 MiB. */
  maxEventSize: 4 * 1024 * 1024
} as const

type Fields = Readonly<Record<string, unknown>>

const done: End = { _tag: "Done" }

const none: ReadonlyArray<Fields> = []

const noInput: Usage.Options = { estimatedInput: 0 }

/** Makes a decoder for one stream. */
export const make = <Chunk>(shape: Shape<Chunk>, options?: {
  /** Characters one event may hold. Default: 4 MiB. */
  readonly maxEventSize?: number | undefined
  /** Choices that the request asked for (`n`). Default: 1, as for a request that does not say. */
  readonly choices?: number | undefined
}): EventDecoder<Chunk> => {
  const maxEventSize = options?.maxEventSize ?? defaults.maxEventSize
  const utf8 = new TextDecoder("utf-8")
  let end: End | undefined
  let events = 0
  let characters = 0
  let started = false
  let withUsage: Fields | undefined
  const progress = StreamChoices.make(options?.choices ?? 1)
  const text: Array<string> = []
  const reasoning: Array<string> = []
  let out: Array<Chunk> = []

  const usage = (estimatedInput?: number) =>
    withUsage === undefined ? undefined : Usage.fromAnswer(withUsage, { estimatedInput })

  const fail = (reason: Failure["reason"], message: string, frame?: string): void => {
    end = { _tag: "Failed", reason, message, frame }
  }

  /** Notes whether a choice has ended, and fails where the provider gave it up. */
  const note = (index: unknown, reason: unknown, hasCalls: boolean): void => {
    if (reason === "error") fail("finish-error", "the provider ended the stream with finish_reason \"error\"")
    else progress.note(index, typeof reason === "string" && reason !== "", hasCalls)
  }

  const ending = () => end

  const onChunk = (fields: Fields, choices: ReadonlyArray<Fields>): void => {
    // `choices` is an array: with it present any object is a chunk, all other fields being optional and kept
    let chunk = (fields["choices"] === choices ? fields : { ...fields, choices }) as Chunk
    // a completion may say it at the top
    const reason = fields["finish_reason"]
    if (choices.length === 0 && Predicate.isNotNullish(reason)) note(0, reason, false)
    let hasCalls = false
    for (const choice of choices) {
      const calls = callsOf(choice)
      if (calls) hasCalls = true
      note(choice["index"] ?? 0, choice["finish_reason"] ?? reason, calls)
    }
    // asked first, since nearly every chunk says nothing of it
    const said = fields["usage"] ?? choices[0]?.["usage"]
    if (Predicate.isNotNullish(said) && Usage.fromAnswer(fields, noInput) !== undefined) {
      withUsage = fields
      if (!hasCalls) progress.measured()
    }
    if (end !== undefined) return
    if (hasCalls) chunk = shape.textual(chunk)
    if (shape.hasToken(chunk)) {
      // the shape's types are a promise of the wire, which may hold anything under these names
      const [piece, thought]: ReadonlyArray<unknown> = [shape.text(chunk), shape.reasoning(chunk)]
      if (typeof piece !== "string" || typeof thought !== "string") {
        return fail("malformed", "a chunk's text is not a string")
      }
      started = true
      if (piece !== "") text.push(piece)
      if (thought !== "") reasoning.push(thought)
      characters += shape.characters(chunk)
    }
    out.push(chunk)
  }

  const onEvent = (name: string, data: string): void => {
    if (isDone(data)) {
      end = done
      return
    }
    const value = Json.parse(data)
    if (value === undefined) {
      if (name === "message") return fail("malformed", `a frame of ${data.length} characters is not JSON`)
      if (name !== "error") return
    }
    if (name === "error" || (Predicate.isObject(value) && isError(value, name))) {
      return fail("error-frame", ErrorBody.parse(data).message ?? "", data)
    }
    const choices = Predicate.isObject(value) ? value["choices"] ?? none : undefined
    if (name !== "message" && (choices === none || !Array.isArray(choices))) return
    if (!Predicate.isObject(value) || !wellFormed(choices)) {
      return fail("malformed", "a frame is not a chunk: choices must be a list of objects")
    }
    events++
    onChunk(value, choices)
  }

  const split = EventSplitter.make({
    maxEventSize,
    onEvent,
    onTooLarge: () => fail("too-large", `one event is larger than ${maxEventSize} characters`),
    isOver: () => end !== undefined
  })

  const push = (text: string, into: Array<Chunk>): void => {
    out = into
    split(text)
  }

  return {
    feed: (bytes, into) => {
      if (end === undefined) push(utf8.decode(bytes, { stream: true }), into)
    },
    finish: (into) => {
      if (end !== undefined) return
      // the blank line completes an event whose own blank line was cut off
      push(`${utf8.decode()}\n\n`, into)
      const last = ending()
      // what was cut itself is no event
      if (last !== undefined && (last._tag === "Done" || last.reason !== "malformed")) return
      end = undefined
      const missing = progress.missing()
      if (missing === undefined) end = done
      else fail("cut", `the stream ended without [DONE] and ${missing}`)
    },
    end: ending,
    whole: () => progress.missing() === undefined,
    started: () => started,
    events: () => events,
    characters: () => characters,
    partial: () => ({ text: text.join(""), reasoning: reasoning.join(""), usage: usage() }),
    usage
  }
}

/** Tells the last event of a stream, which holds no JSON. */
export const isDone = (data: string): boolean => data.length < 10 && data.trim().toUpperCase() === "[DONE]"

/** True where a choice carries a piece of a tool call. */
const callsOf = (choice: Fields): boolean => {
  const delta = choice["delta"]
  return Predicate.isObject(delta) && Delta.hasCalls(delta)
}

/** Names what only says that the other side is there. */
export const signOfLife = /^(?:ping|keep[-_]?alive|heartbeat|status|info|progress|queued?|waiting)$/i

/** True for a number of an HTTP error, as a number or as text. */
const isErrorStatus = (code: unknown): boolean =>
  (typeof code === "number" || typeof code === "string") && Number(code) >= 400

/** True for a number of success, as a number or as text: some write it as 0. */
const isSuccess = (code: unknown): boolean =>
  (typeof code === "number" || typeof code === "string") &&
  (Number(code) === 0 || (Number(code) >= 100 && Number(code) < 400))

/** Tells whether the kind of a bare message says that it is an error: every kind does but a known sign of life. */
const namesError = ({ code, error_type, type }: Fields): boolean => {
  const kind = [type, error_type, code].find((kind) => Predicate.isNotNullish(kind) && kind !== "")
  if (typeof kind === "string" && signOfLife.test(kind)) return isErrorStatus(code)
  return kind !== undefined && !isSuccess(kind)
}

/** Tells an error from a chunk: the forms are those of `ErrorBody`. */
const isError = (frame: Fields, name: string): boolean => {
  if (Boolean(frame["error"]) || frame["object"] === "error") return true
  if (name !== "message" || Predicate.isNotNullish(frame["choices"])) return false
  return typeof frame["message"] === "string" ? namesError(frame) : Predicate.isNotNullish(frame["detail"])
}

/** Checks what accessors rely on: choices are objects, and their delta is an object or nothing. */
const wellFormed = (choices: unknown): choices is ReadonlyArray<Fields> =>
  Array.isArray(choices) && choices.every((choice) => {
    if (!Predicate.isObject(choice)) return false
    const delta = choice["delta"]
    return delta === undefined || delta === null || Predicate.isObject(delta)
  })
