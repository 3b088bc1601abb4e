/**
 * Chat completions: requests, answers and stream chunks, as on the wire.
 *
 * Field names and shapes are Together's own, so that a request can be pasted
 * from its documentation and a batch line can be sent as it stands. Requests
 * take extra provider fields; answers keep theirs.
 *
 * **Source**: Together's API reference, `POST /chat/completions`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Delta from "./stream/Delta.ts"
import type { Shape } from "./stream/EventDecoder.ts"
import { bytesOf, lenient, maybe, omitNull, open, request, Usage, Warning } from "./Wire.ts"

/** Calls a function on behalf of the assistant. */
export const ToolCall = request({
  index: maybe(Schema.Int),
  id: maybe(Schema.String),
  type: maybe(Schema.String),
  function: maybe(request({ name: maybe(Schema.String), arguments: maybe(Schema.String) }))
})

/** Reads arguments as text: some models send them as an object. */
const ArgumentsText = Schema.Union([Schema.String, Schema.Record(Schema.String, Schema.Unknown)]).pipe(
  Schema.decodeTo(
    Schema.String,
    SchemaTransformation.transform({
      decode: (args) => typeof args === "string" ? args : JSON.stringify(args),
      encode: (text): string | { readonly [key: string]: unknown } => text
    })
  )
)

/** Names a function and its arguments, as models answer them. */
const Called = open({ name: maybe(Schema.String), arguments: maybe(ArgumentsText) })

/** A tool call as models answer it. */
const AnsweredToolCall = open({
  index: omitNull(Schema.Int),
  id: omitNull(Schema.String),
  type: omitNull(Schema.String),
  function: maybe(Called)
})

/** One part of a multi-part user message: text, image, video or audio. */
export const ContentPart = request({
  type: Schema.optional(Schema.String),
  text: Schema.optional(Schema.String),
  image_url: Schema.optional(request({ url: Schema.String })),
  video_url: Schema.optional(request({ url: Schema.String })),
  audio_url: Schema.optional(request({ url: Schema.String })),
  input_audio: Schema.optional(request({ data: Schema.String, format: Schema.String }))
})

/** One message of a conversation: `role` is `system`, `user`, `assistant`, `tool` or `function`. */
export const Message = request({
  role: Schema.String,
  content: maybe(Schema.Union([Schema.String, Schema.Array(ContentPart)])),
  name: Schema.optional(Schema.String),
  tool_call_id: Schema.optional(Schema.String),
  tool_calls: maybe(Schema.Array(ToolCall)),
  reasoning: maybe(Schema.String),
  reasoning_content: maybe(Schema.String)
})
/** One message of a conversation. */
export interface Message extends Schema.Schema.Type<typeof Message> {}

/** Chooses the form of the answer. `pattern` goes with `regex`, `json_schema` with its namesake. */
export const ResponseFormat = request({
  type: Schema.String,
  json_schema: Schema.optional(request({
    name: Schema.String.check(Schema.isMaxLength(64)),
    description: Schema.optional(Schema.String),
    schema: Schema.optional(Schema.Unknown),
    strict: maybe(Schema.Boolean)
  })),
  pattern: Schema.optional(Schema.String)
})

const between = (minimum: number, maximum: number) => Schema.Finite.check(Schema.isBetween({ minimum, maximum }))
const intBetween = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/**
 * Lists the fields that steer sampling, shared by chat and plain completions.
 *
 * @internal
 */
export const samplingFields = {
  /** Tokens the answer may take at the most; 0, with `echo` and `logprobs`, asks for the prompt's alone. */
  max_tokens: Schema.optional(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
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
export const ChatRequest = request({
  model: Schema.NonEmptyString,
  messages: Schema.Array(Message).check(Schema.isMinLength(1)),
  ...samplingFields,
  /** `truncate` or `error`. */
  context_length_exceeded_behavior: Schema.optional(Schema.String),
  response_format: Schema.optional(ResponseFormat),
  tools: Schema.optional(Schema.Array(request({
    type: Schema.optional(Schema.String),
    function: Schema.optional(request({
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
  reasoning: Schema.optional(request({ enabled: Schema.optional(Schema.Boolean) }))
})
/** Asks for a chat completion. */
export interface ChatRequest extends Schema.Schema.Type<typeof ChatRequest> {}

/** Says how likely the tokens were: a list for each, or one number. */
export const Logprobs = Schema.Union([
  Schema.Finite,
  open({
    token_ids: lenient(Schema.Array(Schema.Finite)),
    tokens: lenient(Schema.Array(Schema.String)),
    token_logprobs: lenient(Schema.Array(Schema.NullOr(Schema.Finite)))
  })
])

/**
 * A prompt that came back because of `echo`.
 *
 * @internal
 */
export const EchoedPrompt = open({ text: lenient(Schema.String), logprobs: lenient(Logprobs) })

/** Reads the role of an answer, which some models leave out. */
const AnswerRole = Schema.String.pipe(
  Schema.withDecodingDefaultKey(Effect.succeed("assistant")),
  Schema.catchDecoding(() => Effect.succeedSome("assistant"))
)

/** One of the `n` answers. `finish_reason`: `stop`, `eos`, `length`, `tool_calls`, `function_call`, `error`, … */
export const ChatChoice = open({
  index: omitNull(Schema.Int),
  text: maybe(Schema.String),
  /** May exceed the safe integers: never send it back as an exact seed. */
  seed: lenient(Schema.Finite),
  finish_reason: maybe(Schema.String),
  message: maybe(open({
    role: AnswerRole,
    content: maybe(Schema.String),
    reasoning: maybe(Schema.String),
    reasoning_content: maybe(Schema.String),
    tool_calls: maybe(Schema.Array(AnsweredToolCall)),
    /** The older form of `tool_calls`. */
    function_call: maybe(Called)
  })),
  logprobs: lenient(Logprobs)
})

/** Answers a chat completion. */
export const ChatResponse = open({
  id: omitNull(Schema.String),
  object: omitNull(Schema.String),
  created: omitNull(Schema.Finite),
  model: omitNull(Schema.String),
  /** An answer without any is none. */
  choices: Schema.Array(ChatChoice).check(Schema.isMinLength(1)),
  usage: lenient(Usage),
  /** Only where the request asked for an `echo`. */
  prompt: lenient(Schema.Array(EchoedPrompt)),
  warnings: lenient(Schema.Array(Warning))
})
/** Answers a chat completion. */
export interface ChatResponse extends Schema.Schema.Type<typeof ChatResponse> {}

/** The part of a choice that one chunk adds. */
export const ChatDelta = open({
  role: maybe(Schema.String),
  content: maybe(Schema.String),
  reasoning: maybe(Schema.String),
  reasoning_content: maybe(Schema.String),
  tool_calls: maybe(Schema.Array(open({
    index: maybe(Schema.Int),
    id: maybe(Schema.String),
    type: maybe(Schema.String),
    function: maybe(Called)
  }))),
  token_id: lenient(Schema.Finite),
  function_call: maybe(Called)
})

/**
 * One event of a chat stream. `choices` is empty on a trailing usage chunk; of several choices (`n`) each chunk
 * carries one, of any index. Unlike an answer it comes as it stands on the wire, `null` included; but the `arguments` of a
 * tool call are text, as there, whatever the model sent.
 */
export const ChatChunk = open({
  id: maybe(Schema.String),
  object: maybe(Schema.String),
  created: maybe(Schema.Finite),
  model: maybe(Schema.String),
  system_fingerprint: lenient(Schema.String),
  choices: Schema.Array(open({
    index: maybe(Schema.Int),
    text: maybe(Schema.String),
    /** May exceed the safe integers, as in an answer. */
    seed: lenient(Schema.Finite),
    finish_reason: maybe(Schema.String),
    logprobs: lenient(Logprobs),
    delta: maybe(ChatDelta)
  })),
  usage: lenient(Usage),
  warnings: lenient(Schema.Array(Warning))
})
/** One event of a chat stream. */
export interface ChatChunk extends Schema.Schema.Type<typeof ChatChunk> {}

/**
 * Finds choice 0: the one of this index, or without any.
 *
 * **When to use**: to read a chunk of a stream with several choices (`n`): its only choice may be any of them.
 */
export const firstChoice = <Choice extends { readonly index?: number | null | undefined }>(
  choices: ReadonlyArray<Choice>
): Choice | undefined => {
  const head = choices[0]
  return head === undefined || isFirst(head) ? head : choices.find(isFirst)
}

const isFirst = (choice: { readonly index?: number | null | undefined }): boolean => (choice.index ?? 0) === 0

/** Reads the answer's text: the content of choice 0, `""` where there is none. */
export const text = (response: ChatResponse): string => {
  const choice = firstChoice(response.choices) ?? response.choices[0]
  return choice?.message?.content ?? choice?.text ?? ""
}

/** Reads the text that a chunk adds to choice 0. */
export const deltaText = (chunk: ChatChunk): string => firstChoice(chunk.choices)?.delta?.content ?? ""

/** Reads the reasoning that a chunk adds to choice 0, under either of its two names. */
export const deltaReasoning = (chunk: ChatChunk): string => Delta.reasoning(firstChoice(chunk.choices)?.delta)

/**
 * Tells the stream decoder where a chat chunk keeps its parts.
 *
 * @internal
 */
export const shape: Shape<ChatChunk> = {
  text: deltaText,
  reasoning: deltaReasoning,
  pieces: (chunk) => {
    let count = 0
    for (const { delta } of chunk.choices) if (Delta.hasToken(delta)) count++
    return count
  },
  bytes: (chunk) => {
    let sum = 0
    for (const { delta } of chunk.choices) sum += bytesOf(delta?.content) + Delta.bytesBesides(delta)
    return sum
  },
  textual: Delta.textual
}
