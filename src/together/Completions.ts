/**
 * Plain completions: requests, answers and stream chunks, as on the wire.
 *
 * **Gotchas**: a stream chunk may say `finish_reason` at its top level, unlike chat.
 *
 * **Source**: Together's API reference, `POST /completions`.
 */
import * as Schema from "effect/Schema"
import { samplingFields } from "./Chat.ts"
import type { Shape } from "./EventDecoder.ts"
import { maybe, open } from "./Wire.ts"

/** Asks for the continuation of a prompt. */
export const CompletionRequest = open({
  model: Schema.NonEmptyString,
  prompt: Schema.String,
  ...samplingFields
})
/** Asks for the continuation of a prompt. */
export type CompletionRequest = typeof CompletionRequest.Type

/** Answers a plain completion. */
export const CompletionResponse = open({
  id: Schema.optional(Schema.String),
  object: Schema.optional(Schema.String),
  created: Schema.optional(Schema.Finite),
  model: Schema.optional(Schema.String),
  choices: Schema.Array(open({
    index: Schema.optional(Schema.Int),
    text: maybe(Schema.String),
    seed: maybe(Schema.Finite),
    finish_reason: maybe(Schema.String)
  })),
  usage: maybe(open({}))
})
/** Answers a plain completion. */
export type CompletionResponse = typeof CompletionResponse.Type

/** Is one event of a completion stream. */
export const CompletionChunk = open({
  id: Schema.optional(Schema.String),
  object: Schema.optional(Schema.String),
  created: Schema.optional(Schema.Finite),
  choices: Schema.Array(open({
    index: Schema.optional(Schema.Int),
    text: maybe(Schema.String),
    finish_reason: maybe(Schema.String),
    delta: maybe(open({ content: maybe(Schema.String) }))
  })),
  token: maybe(open({ text: maybe(Schema.String) })),
  finish_reason: maybe(Schema.String),
  usage: maybe(open({}))
})
/** Is one event of a completion stream. */
export type CompletionChunk = typeof CompletionChunk.Type

/** Reads the continuation: the text of the first choice. */
export const text = (response: CompletionResponse): string => response.choices[0]?.text ?? ""

/** Reads the text that a chunk adds to the first choice, from whichever place the model uses. */
export const deltaText = (chunk: CompletionChunk): string =>
  chunk.choices[0]?.text ?? chunk.choices[0]?.delta?.content ?? chunk.token?.text ?? ""

/** Tells the stream decoder where a completion chunk keeps its parts. */
export const shape: Shape<CompletionChunk> = {
  text: deltaText,
  reasoning: () => "",
  hasToken: (chunk) => deltaText(chunk) !== "",
  finishReason: (chunk) => chunk.choices[0]?.finish_reason ?? chunk.finish_reason
}
