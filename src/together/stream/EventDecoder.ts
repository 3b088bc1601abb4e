/**
 * Decodes the bytes of a Together event stream into chunks, and says how it ended.
 *
 * One decoder serves one stream. Bytes may be cut anywhere: inside a line,
 * inside a character. Work is linear in bytes, and one event is bounded in size.
 *
 * | frame | effect |
 * | --- | --- |
 * | `data: {…}`, unnamed or named `message` | a chunk |
 * | `data: [DONE]` | the end; nothing after it is read; a failure where neither a choice nor usage came: that is no answer |
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
import { bytesPerToken } from "../../domain/Call.ts"
import { type PartialAnswer, partialAnswer } from "../../domain/TogetherError.ts"
import * as Usage from "../../domain/Usage.ts"
import * as Delta from "./Delta.ts"
import * as ErrorFrame from "./ErrorFrame.ts"
import * as EventFeed from "./EventFeed.ts"
import { type Fields, fieldsOf } from "../Json.ts"
import * as StreamChoices from "./StreamChoices.ts"

/** Tells the decoder where a kind of chunk keeps its parts. */
export interface Shape<Chunk> {
  /** Text that the chunk adds to choice 0. */
  readonly text: (chunk: Chunk) => string
  /** Reasoning that the chunk adds to choice 0. */
  readonly reasoning: (chunk: Chunk) => string
  /** Counts the choices of the chunk that carry a token of any kind: text, reasoning or a tool call. */
  readonly pieces: (chunk: Chunk) => number
  /** Counts what all of them carry, in UTF-8: text, reasoning, and the names and arguments of tool calls. */
  readonly bytes: (chunk: Chunk) => number
  /** Writes the arguments of tool calls as text, where a chunk that carries some has them otherwise. */
  readonly textual: (chunk: Chunk) => Chunk
}

/** Counts what a stream has generated. */
export interface Generated {
  /** Pieces of choices, each of a token at the least. */
  readonly pieces: number
  /** What they hold, in UTF-8. */
  readonly bytes: number
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
  /** Counts what was generated: text, reasoning and tool calls of every choice. */
  readonly generated: () => Generated
  readonly partial: () => PartialAnswer
  /** Reads the last usage seen; see `Usage.fromWire` for the input that stands in where it counts the output alone. */
  readonly usage: (estimatedInput?: number) => Usage.Usage | undefined
}

/** Holds the defaults of this module. */
export const defaults = {
  /** Characters one event may hold: 4 MiB. */
  maxEventSize: 4 * 1024 * 1024
} as const

/**
 * Estimates the tokens of what was generated: by its length, and never fewer than its pieces. Scripts, digits and code
 * have fewer bytes to a token than prose.
 */
export const tokensOf = ({ bytes, pieces }: Generated): number => Math.max(pieces, Math.ceil(bytes / bytesPerToken))

const none: ReadonlyArray<Fields> = []

const noInput: Usage.Options = { estimatedInput: 0 }

/** Makes a decoder for one stream. */
export const make = <Chunk>(shape: Shape<Chunk>, options?: {
  /** Characters one event may hold. Default: 4 MiB. */
  readonly maxEventSize?: number | undefined
  /** Choices that the request asked for (`n`). Default: 1, as for a request that does not say. */
  readonly choices?: number | undefined
}): EventDecoder<Chunk> => {
  let events = 0
  let pieces = 0
  let bytes = 0
  let started = false
  let withUsage: Fields | undefined
  const progress = StreamChoices.make(options?.choices ?? 1)
  const text: Array<string> = []
  const reasoning: Array<string> = []

  const usage = (estimatedInput?: number) =>
    withUsage === undefined ? undefined : Usage.fromAnswer(withUsage, { estimatedInput })

  /** Notes whether a choice has ended, and fails where the provider gave it up. */
  const note = (index: unknown, reason: unknown, hasCalls: boolean): void => {
    if (reason === "error") feed.fail("finish-error", "the provider ended the stream with finish_reason \"error\"")
    else progress.note(index, typeof reason === "string" && reason !== "", hasCalls)
  }

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
    if (feed.end() !== undefined) return
    if (hasCalls) chunk = shape.textual(chunk)
    const added = shape.pieces(chunk)
    if (added > 0) {
      // the shape's types are a promise of the wire, which may hold anything under these names
      const [piece, thought]: ReadonlyArray<unknown> = [shape.text(chunk), shape.reasoning(chunk)]
      if (typeof piece !== "string" || typeof thought !== "string") {
        return feed.fail("malformed", "a chunk's text is not a string")
      }
      started = true
      if (piece !== "") text.push(piece)
      if (thought !== "") reasoning.push(thought)
      pieces += added
      bytes += shape.bytes(chunk)
    }
    feed.push(chunk)
  }

  const feed: EventFeed.EventFeed<Chunk> = EventFeed.make({
    maxEventSize: options?.maxEventSize ?? defaults.maxEventSize,
    onEvent: (name, data, value) => {
      if (value === undefined) {
        if (name === "message") return feed.fail("malformed", `a frame of ${data.length} characters is not JSON`)
        if (name !== "error") return
      }
      if (name === "error" || (Predicate.isObject(value) && ErrorFrame.inChunks(value, name))) {
        return feed.failWith(data)
      }
      const choices = Predicate.isObject(value) ? value["choices"] ?? none : undefined
      if (name !== "message" && (choices === none || !Array.isArray(choices))) return
      if (!Predicate.isObject(value) || !wellFormed(choices)) {
        return feed.fail("malformed", "a frame is not a chunk: choices must be a list of objects")
      }
      events++
      onChunk(value, choices)
    },
    missing: () => {
      const missing = progress.missing()
      return missing && `the stream ended without [DONE] and ${missing}`
    },
    empty: () =>
      progress.begun() || withUsage !== undefined
        ? undefined
        : "the stream ended with [DONE], without a choice or usage"
  })

  return {
    feed: feed.feed,
    finish: feed.finish,
    end: feed.end,
    whole: () => progress.missing() === undefined,
    started: () => started,
    events: () => events,
    generated: () => ({ pieces, bytes }),
    partial: () => partialAnswer(text.join(""), reasoning.join(""), usage()),
    usage
  }
}

/** True where a choice carries a piece of a tool call. */
const callsOf = (choice: Fields): boolean => Delta.hasCalls(fieldsOf(choice["delta"]))

/** Checks what accessors rely on: choices are objects, and their delta is an object or nothing. */
export const wellFormed = (choices: unknown): choices is ReadonlyArray<Fields> =>
  Array.isArray(choices) && choices.every((choice) => {
    if (!Predicate.isObject(choice)) return false
    const delta = choice["delta"]
    return delta === undefined || delta === null || Predicate.isObject(delta)
  })
