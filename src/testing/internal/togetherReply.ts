/**
 * Together's own answers and refusals, as replies.
 *
 * The module is re-exported by `Reply`.
 */
import type * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Argument from "./argument.ts"
import * as ProviderError from "./providerError.ts"
import { type Answer, type AnswerOptions, events, json, raw } from "./replyBody.ts"

/** Names the model that replies speak of unless told otherwise. */
export const defaultModel = "meta-llama/Llama-3.3-70B-Instruct-Turbo"

const created = 1_767_225_600

/** Sets what any answer about a model carries beside what was asked for. */
export interface ModelOptions extends AnswerOptions {
  /** The model that the answer names. Default: one that serves the operation. */
  readonly model?: string | undefined
  /** The id of the answer. Default: `reply-1`. */
  readonly id?: string | undefined
  /** Default: ten tokens of the prompt, and of a text one per four characters. */
  readonly usage?: Readonly<Record<string, unknown>> | undefined
}

/** Sets what a plain completion carries beside its text. */
export interface CompletionOptions extends ModelOptions {
  /** Default: `"stop"`; of a chat answer with tool calls `"tool_calls"`. */
  readonly finishReason?: string | undefined
}

/** Sets what a chat answer carries beside its text. */
export interface ChatOptions extends CompletionOptions {
  /** What the model thought before it answered. Default: nothing. */
  readonly reasoning?: string | undefined
  /** As in `message.tool_calls`, of which a stream makes chunks. What is of no such shape goes out as it is. */
  readonly toolCalls?: ReadonlyArray<unknown> | undefined
}

const usageOf = (text: string, usage: Readonly<Record<string, unknown>> | undefined) => {
  const completion = Math.ceil(text.length / 4)
  return usage ?? { prompt_tokens: 10, completion_tokens: completion, total_tokens: 10 + completion }
}

const finishOf = ({ finishReason, toolCalls = [] }: ChatOptions = {}): string =>
  finishReason ?? (toolCalls.length > 0 ? "tool_calls" : "stop")

/** Answers a chat request with a text. */
export const chat = (text: string, options?: ChatOptions): Answer =>
  json({
    id: options?.id ?? "reply-1",
    object: "chat.completion",
    created,
    model: options?.model ?? defaultModel,
    choices: [{
      index: 0,
      finish_reason: finishOf(options),
      message: {
        role: "assistant",
        content: text,
        ...(options?.reasoning === undefined ? undefined : { reasoning: options.reasoning }),
        ...(options?.toolCalls === undefined ? undefined : { tool_calls: options.toolCalls })
      }
    }],
    usage: usageOf(text, options?.usage)
  }, options)

/** Sets the pace and the ending of a streamed answer. */
export interface Pace {
  /** Time between two events. Default: none. */
  readonly every?: Duration.Input | undefined
  /** Ends with `[DONE]`. Default true. */
  readonly done?: boolean | undefined
}

/** Sets what a streamed chat answer carries beside its text, its pace and its ending. */
export interface StreamOptions extends ChatOptions, Pace {}

/** Sets what a streamed plain completion carries beside its text, its pace and its ending. */
export interface CompletionStreamOptions extends CompletionOptions, Pace {}

/** Holds what a chunk adds to its choice. */
interface Added {
  readonly text: string
  readonly delta: object
}

const streamed = (
  text: string,
  chunks: ReadonlyArray<Added>,
  last: Added,
  finish: string,
  options: CompletionStreamOptions | undefined
): Answer => {
  const frame = (added: Added, finish_reason: string | null, usage: unknown) => ({
    id: options?.id ?? "reply-1",
    object: "chat.completion.chunk",
    created,
    choices: [{ index: 0, ...added, logprobs: null, finish_reason }],
    model: options?.model ?? defaultModel,
    usage
  })
  return events([
    ...chunks.map((added) => frame(added, null, null)),
    frame(last, finish, usageOf(text, options?.usage)),
    ...(options?.done === false ? [] : ["[DONE]"])
  ], options)
}

const saying = (content: string): Added => ({ text: content, delta: { role: "assistant", content } })

const besides = (delta: object): Added => ({ text: "", delta: { role: "assistant", content: "", ...delta } })

/** Writes the chunks of a tool call: all but its arguments, then these in two pieces. */
const callChunks = (call: unknown, at: number): ReadonlyArray<Added> => {
  const told = Predicate.isObject(call) && Predicate.hasProperty(call, "function") ? call : undefined
  const called = told?.function
  if (!Predicate.isObject(called) || !Predicate.hasProperty(called, "arguments")) {
    return [besides({ tool_calls: [call] })]
  }
  const { arguments: text } = called
  if (typeof text !== "string") return [besides({ tool_calls: [{ index: at, ...told }] })]
  const half = Math.ceil(text.length / 2)
  const first = { index: at, ...told, function: { ...called, arguments: "" } }
  const pieces = [text.slice(0, half), text.slice(half)].filter((piece) => piece !== "")
  return [
    first,
    ...pieces.map((piece) => ({ index: first.index, function: { arguments: piece } }))
  ].map((one) => besides({ tool_calls: [one] }))
}

/**
 * Answers a streamed chat request with pieces of text, a finish chunk with usage, and `[DONE]`.
 *
 * **Details**: reasoning comes first, as one chunk. Tool calls come after the text, one after the other: index, id and name
 * in a chunk, then the arguments in two.
 */
export const stream = (pieces: ReadonlyArray<string>, options?: StreamOptions): Answer => {
  const { reasoning, toolCalls = [] } = options ?? {}
  const chunks = [
    ...(reasoning === undefined ? [] : [besides({ reasoning })]),
    ...pieces.map(saying),
    ...toolCalls.flatMap(callChunks)
  ]
  return streamed(pieces.join(""), chunks, saying(""), finishOf(options), options)
}

/** Answers a plain completion. */
export const completion = (text: string, options?: CompletionOptions): Answer =>
  json({
    id: options?.id ?? "reply-1",
    object: "text.completion",
    created,
    model: options?.model ?? defaultModel,
    choices: [{ index: 0, text, finish_reason: options?.finishReason ?? "stop" }],
    usage: usageOf(text, options?.usage)
  }, options)

/** Answers a streamed plain completion. */
export const completionStream = (pieces: ReadonlyArray<string>, options?: CompletionStreamOptions): Answer => {
  const saying = (content: string): Added => ({ text: content, delta: { content } })
  return streamed(pieces.join(""), pieces.map(saying), saying(""), options?.finishReason ?? "stop", options)
}

/** Answers an embeddings request with vectors. */
export const embeddings = (
  vectors: ReadonlyArray<ReadonlyArray<number>>,
  options?: Omit<ModelOptions, "id">
): Answer =>
  json({
    object: "list",
    model: options?.model ?? "intfloat/multilingual-e5-large-instruct",
    data: vectors.map((embedding, index) => ({ object: "embedding", index, embedding })),
    usage: options?.usage ?? { prompt_tokens: 10, total_tokens: 10 }
  }, options)

/** Answers a rerank request: index and score, best first. */
export const rerank = (
  results: ReadonlyArray<readonly [index: number, score: number]>,
  options?: ModelOptions
): Answer =>
  json({
    object: "rerank",
    id: options?.id ?? "reply-1",
    model: options?.model ?? "mixedbread-ai/Mxbai-Rerank-Large-V2",
    results: results.map(([index, relevance_score]) => ({ index, relevance_score })),
    usage: options?.usage ?? { prompt_tokens: 10, completion_tokens: 0, total_tokens: 10 }
  }, options)

/** Answers an image request with addresses. */
export const images = (urls: ReadonlyArray<string>, options?: Omit<ModelOptions, "usage">): Answer =>
  json({
    object: "list",
    id: options?.id ?? "reply-1",
    model: options?.model ?? "black-forest-labs/FLUX.1-schnell",
    data: urls.map((url, index) => ({ index, url, type: "url" }))
  }, options)

/** Answers the list of models. */
export const models = (ids: ReadonlyArray<string> = [defaultModel], options?: AnswerOptions): Answer =>
  json(
    ids.map((id) => ({
      id,
      object: "model",
      created,
      type: "chat",
      display_name: id,
      organization: id.split("/")[0],
      context_length: 131_072,
      pricing: { hourly: 0, input: 0.88, output: 0.88, base: 0, finetune: 0 }
    })),
    options
  )

/** Answers who the key belongs to. */
export const whoami = (options?: AnswerOptions): Answer =>
  json({
    api_key_id: "key-1",
    project_id: "project-1",
    project_name: "Test",
    organization_id: "organization-1",
    organization_name: "Test"
  }, options)

const bodies: Readonly<Record<number, readonly [type: string, code: string | null, message: string]>> = {
  400: ["invalid_request_error", null, "Input validation error"],
  401: [
    "invalid_request_error",
    "invalid_api_key",
    "Invalid API key provided. You can find your API key at https://api.together.ai/settings/api-keys."
  ],
  402: [
    "credit_limit",
    null,
    "Credit limit exceeded. Please navigate to https://api.together.ai/settings/billing to add credit or upgrade your plan."
  ],
  403: ["invalid_request_error", null, "Input token count + max_tokens must be less than the model's context length."],
  404: ["not_found", null, "The model or endpoint was not found."],
  408: ["timeout", null, "Request timeout"],
  409: ["conflict", null, "The object is in a state that does not allow this."],
  413: ["invalid_request_error", null, "Request entity too large"],
  422: ["invalid_request_error", null, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193."],
  429: ["dynamic_request_limited", null, "You are above the dynamic request limit of this model."],
  500: ["server_error", null, "Internal server error"],
  502: ["server_error", null, "Bad gateway"],
  503: ["server_error", null, "The service is overloaded. Please try again after a brief wait."],
  504: ["server_error", null, "Gateway timeout"],
  529: ["server_error", null, "The service is overloaded."]
}

/**
 * Answers with an error status and the body Together sends with it.
 *
 * **Details**
 *
 * `body` replaces the body: an object goes out as JSON, a string as it is.
 */
export const error = (
  status: number,
  options?: {
    readonly body?: unknown
    readonly headers?: Readonly<Record<string, string>> | undefined
  }
): Answer => {
  if (typeof options?.body === "string") {
    return raw(options.body, { status, headers: options.headers, contentType: "text/plain" })
  }
  const [type, code, message] = bodies[status] ?? ["server_error", null, `Status ${status}`]
  return json(options?.body ?? { id: "reply-1", error: ProviderError.make({ message, type, code }) }, {
    status,
    headers: options?.headers
  })
}

/** Answers 429 with Together's wait hint, `x-ratelimit-reset` in seconds; without `reset`, with no hint. */
export const rateLimited = (options?: {
  readonly reset?: number | undefined
  /** Default `dynamic_request_limited`. */
  readonly type?: string | undefined
}): Answer => {
  const reset = Argument.reset("Reply.rateLimited", options?.reset)
  return error(429, {
    body: {
      id: "reply-1",
      error: ProviderError.make({
        message: "You are above the dynamic limit of this model.",
        type: options?.type ?? "dynamic_request_limited"
      })
    },
    headers: reset === undefined ? undefined : { "x-ratelimit-reset": String(reset) }
  })
}

/** Answers 402: the account is out of credit. */
export const outOfCredits: Answer = error(402)

/** Answers 503: the provider is too busy. */
export const overloaded: Answer = error(503)
