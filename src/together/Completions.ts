/**
 * Plain completions: requests, answers and stream chunks, as on the wire.
 *
 * **Gotchas**: a stream chunk may say `finish_reason` at its top level, unlike chat. Of several choices (`n`) each
 * chunk carries one, of any index.
 *
 * **Source**: Together's API reference, `POST /completions`.
 */
import * as Schema from "effect/Schema"
import { EchoedPrompt, firstChoice, Logprobs, samplingFields } from "./Chat.ts"
import * as Delta from "./stream/Delta.ts"
import type { Shape } from "./stream/EventDecoder.ts"
import { bytesOf, lenient, maybe, omitNull, open, request, Usage } from "./Wire.ts"

/** Asks for the continuation of a prompt. */
export const CompletionRequest = request({
  model: Schema.NonEmptyString,
  prompt: Schema.String,
  ...samplingFields
})
/** Asks for the continuation of a prompt. */
export interface CompletionRequest extends Schema.Schema.Type<typeof CompletionRequest> {}

/** Answers a plain completion. */
export const CompletionResponse = open({
  id: omitNull(Schema.String),
  object: omitNull(Schema.String),
  created: omitNull(Schema.Finite),
  model: omitNull(Schema.String),
  /** An answer without any is none. */
  choices: Schema.Array(open({
    index: omitNull(Schema.Int),
    text: maybe(Schema.String),
    seed: lenient(Schema.Finite),
    finish_reason: maybe(Schema.String),
    logprobs: lenient(Logprobs)
  })).check(Schema.isMinLength(1)),
  /** Only where the request asked for an `echo`. */
  prompt: lenient(Schema.Array(EchoedPrompt)),
  usage: lenient(Usage)
})
/** Answers a plain completion. */
export interface CompletionResponse extends Schema.Schema.Type<typeof CompletionResponse> {}

/** One event of a completion stream, as it stands on the wire, `null` included. */
export const CompletionChunk = open({
  id: maybe(Schema.String),
  object: maybe(Schema.String),
  created: maybe(Schema.Finite),
  choices: Schema.Array(open({
    index: maybe(Schema.Int),
    text: maybe(Schema.String),
    finish_reason: maybe(Schema.String),
    delta: maybe(open({ content: maybe(Schema.String) }))
  })),
  token: maybe(open({
    id: lenient(Schema.Finite),
    text: maybe(Schema.String),
    logprob: lenient(Schema.Finite),
    special: lenient(Schema.Boolean)
  })),
  seed: lenient(Schema.Finite),
  finish_reason: maybe(Schema.String),
  usage: lenient(Usage)
})
/** One event of a completion stream. */
export interface CompletionChunk extends Schema.Schema.Type<typeof CompletionChunk> {}

/** Reads the continuation: the text of choice 0. */
export const text = (response: CompletionResponse): string =>
  (firstChoice(response.choices) ?? response.choices[0])?.text ?? ""

type Choice = CompletionChunk["choices"][number]

/** Reads what a chunk adds to one of its choices; an empty piece in one place does not hide the other. */
const pieceOf = (chunk: CompletionChunk, choice: Choice | undefined): string =>
  (choice?.text || choice?.delta?.content) ?? choice?.text ?? chunk.token?.text ?? ""

/** Reads the text that a chunk adds to choice 0, from whichever place the model uses. */
export const deltaText = (chunk: CompletionChunk): string => {
  const choice = firstChoice(chunk.choices)
  return choice === undefined && chunk.choices.length > 0 ? "" : pieceOf(chunk, choice)
}

/** Reads what a chunk adds to its choices; a chunk without any adds to one. */
const additions = (chunk: CompletionChunk): ReadonlyArray<readonly [text: string, delta: Choice["delta"]]> =>
  chunk.choices.length === 0
    ? [[pieceOf(chunk, undefined), undefined]]
    : chunk.choices.map((choice) => [pieceOf(chunk, choice), choice.delta])

/**
 * Tells the stream decoder where a completion chunk keeps its parts.
 *
 * @internal
 */
export const shape: Shape<CompletionChunk> = {
  text: deltaText,
  reasoning: (chunk) => Delta.reasoning(firstChoice(chunk.choices)?.delta),
  pieces: (chunk) => additions(chunk).filter(([text, delta]) => text !== "" || Delta.hasToken(delta)).length,
  bytes: (chunk) => additions(chunk).reduce((sum, [text, delta]) => sum + bytesOf(text) + Delta.bytesBesides(delta), 0),
  textual: Delta.textual
}
