/**
 * Chat completions: requests, answers and stream chunks, as on the wire.
 *
 * Field names and shapes are Together's own, so that a request can be pasted
 * from its documentation and a batch line can be sent as it stands. Requests
 * take extra provider fields; answers keep theirs.
 *
 * **Source**: Together's API reference, `POST /chat/completions`.
 */
import * as Schema from "effect/Schema"
import type { Shape } from "./EventDecoder.ts"
import { maybe, open, Warning } from "./Wire.ts"

/** Calls a function on behalf of the assistant. */
export const ToolCall = open({
  index: Schema.optional(Schema.Int),
  id: Schema.optional(Schema.String),
  type: Schema.optional(Schema.String),
  function: maybe(open({ name: maybe(Schema.String), arguments: maybe(Schema.String) }))
})

/** Is one part of a multi-part user message: text, image, video or audio. */
export const ContentPart = open({
  type: Schema.optional(Schema.String),
  text: Schema.optional(Schema.String),
  image_url: Schema.optional(open({ url: Schema.String })),
  video_url: Schema.optional(open({ url: Schema.String })),
  audio_url: Schema.optional(open({ url: Schema.String })),
  input_audio: Schema.optional(open({ data: Schema.String, format: Schema.String }))
})

/** Is one message of a conversation: `role` is `system`, `user`, `assistant`, `tool` or `function`. */
export const Message = open({
  role: Schema.String,
  content: maybe(Schema.Union([Schema.String, Schema.Array(ContentPart)])),
  name: Schema.optional(Schema.String),
  tool_call_id: Schema.optional(Schema.String),
  tool_calls: maybe(Schema.Array(ToolCall)),
  reasoning: maybe(Schema.String),
  reasoning_content: maybe(Schema.String)
})
/** Is one message of a conversation. */
export type Message = typeof Message.Type

/** Chooses the form of the answer. `pattern` goes with `regex`, `json_schema` with its namesake. */
export const ResponseFormat = open({
  type: Schema.String,
  json_schema: Schema.optional(open({
    name: Schema.String.check(Schema.isMaxLength(64)),
    description: Schema.optional(Schema.String),
    schema: Schema.optional(Schema.Unknown),
    strict: maybe(Schema.Boolean)
  })),
  pattern: Schema.optional(Schema.String)
})

const between = (minimum: number, maximum: number) => Schema.Finite.check(Schema.isBetween({ minimum, maximum }))
const intBetween = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** Lists the fields that steer sampling, shared by chat and plain completions. */
export const samplingFields = {
  /** Tokens the answer may take at the most. */
  max_tokens: Schema.optional(Schema.Int.check(Schema.isGreaterThan(0))),
  /** Always an array: a bare string is refused by the provider. */
  stop: Schema.optional(Schema.Array(Schema.String)),
  temperature: Schema.optional(Schema.Finite),
  top_p: Schema.optional(Schema.Finite),
  top_k: Schema.optional(Schema.Int),
  min_p: Schema.optional(Schema.Finite),
  repetition_penalty: Schema.optional(Schema.Finite),
  /** From −2 to 2. */
  presence_penalty: Schema.optional(between(-2, 2)),
  /** From −2 to 2. */
  frequency_penalty: Schema.optional(between(-2, 2)),
  logit_bias: Schema.optional(Schema.Record(Schema.String, Schema.Finite)),
  seed: Schema.optional(Schema.Finite),
  /** Choices to generate, 1 to 128. */
  n: Schema.optional(intBetween(1, 128)),
  echo: Schema.optional(Schema.Boolean),
  /** 0 to 20. */
  logprobs: Schema.optional(intBetween(0, 20)),
  safety_model: Schema.optional(Schema.String)
}

/** Asks for a chat completion. */
export const ChatRequest = open({
  model: Schema.NonEmptyString,
  messages: Schema.Array(Message).check(Schema.isMinLength(1)),
  ...samplingFields,
  /** `truncate` or `error`. */
  context_length_exceeded_behavior: Schema.optional(Schema.String),
  response_format: Schema.optional(ResponseFormat),
  tools: Schema.optional(Schema.Array(open({
    type: Schema.optional(Schema.String),
    function: Schema.optional(open({
      name: Schema.optional(Schema.String),
      description: Schema.optional(Schema.String),
      parameters: Schema.optional(Schema.Unknown)
    }))
  }))),
  tool_choice: Schema.optional(Schema.Unknown),
  compliance: Schema.optional(Schema.String),
  chat_template_kwargs: Schema.optional(Schema.Unknown),
  /** `low`, `medium`, `high`; some models know more. */
  reasoning_effort: Schema.optional(Schema.String),
  reasoning: Schema.optional(open({ enabled: Schema.optional(Schema.Boolean) }))
})
/** Asks for a chat completion. */
export type ChatRequest = typeof ChatRequest.Type

const Logprobs = Schema.NullOr(Schema.Union([Schema.Finite, open({})]))

/** Is one of the `n` answers. `finish_reason`: `stop`, `eos`, `length`, `tool_calls`, `function_call`, `error`, … */
export const ChatChoice = open({
  index: Schema.optional(Schema.Int),
  text: maybe(Schema.String),
  /** May exceed the safe integers: never send it back as an exact seed. */
  seed: maybe(Schema.Finite),
  finish_reason: maybe(Schema.String),
  message: maybe(open({
    role: Schema.String,
    content: maybe(Schema.String),
    reasoning: maybe(Schema.String),
    reasoning_content: maybe(Schema.String),
    tool_calls: maybe(Schema.Array(ToolCall))
  })),
  logprobs: Schema.optional(Logprobs)
})

/** Answers a chat completion. */
export const ChatResponse = open({
  id: Schema.optional(Schema.String),
  object: Schema.optional(Schema.String),
  created: Schema.optional(Schema.Finite),
  model: Schema.optional(Schema.String),
  choices: Schema.Array(ChatChoice),
  usage: maybe(open({})),
  warnings: maybe(Schema.Array(Warning))
})
/** Answers a chat completion. */
export type ChatResponse = typeof ChatResponse.Type

/** Is the part of a choice that one chunk adds. */
export const ChatDelta = open({
  role: maybe(Schema.String),
  content: maybe(Schema.String),
  reasoning: maybe(Schema.String),
  reasoning_content: maybe(Schema.String),
  tool_calls: maybe(Schema.Array(ToolCall))
})

/** Is one event of a chat stream. `choices` is empty on a trailing usage chunk. */
export const ChatChunk = open({
  id: Schema.optional(Schema.String),
  object: Schema.optional(Schema.String),
  created: Schema.optional(Schema.Finite),
  model: Schema.optional(Schema.String),
  choices: Schema.Array(open({
    index: Schema.optional(Schema.Int),
    text: maybe(Schema.String),
    finish_reason: maybe(Schema.String),
    delta: maybe(ChatDelta)
  })),
  usage: maybe(open({}))
})
/** Is one event of a chat stream. */
export type ChatChunk = typeof ChatChunk.Type

/** Reads the answer's text: the content of the first choice, `""` where there is none. */
export const text = (response: ChatResponse): string =>
  response.choices[0]?.message?.content ?? response.choices[0]?.text ?? ""

/** Reads the text that a chunk adds to the first choice. */
export const deltaText = (chunk: ChatChunk): string => chunk.choices[0]?.delta?.content ?? ""

/** Reads the reasoning that a chunk adds, under either of its two names. */
export const deltaReasoning = (chunk: ChatChunk): string =>
  chunk.choices[0]?.delta?.reasoning ?? chunk.choices[0]?.delta?.reasoning_content ?? ""

/** Tells the stream decoder where a chat chunk keeps its parts. */
export const shape: Shape<ChatChunk> = {
  text: deltaText,
  reasoning: deltaReasoning,
  hasToken: (chunk) => {
    const delta = chunk.choices[0]?.delta
    return delta !== undefined && delta !== null &&
      (notEmpty(delta.content) || notEmpty(delta.reasoning) || notEmpty(delta.reasoning_content) ||
        (Array.isArray(delta.tool_calls) && delta.tool_calls.length > 0))
  },
  finishReason: (chunk) => chunk.choices[0]?.finish_reason
}

const notEmpty = (text: string | null | undefined): boolean => text !== undefined && text !== null && text !== ""
