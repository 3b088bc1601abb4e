/**
 * Together's own answers and refusals, as replies.
 *
 * The module is re-exported by `Reply`.
 */
import type * as Duration from "effect/Duration"
import * as Argument from "./argument.ts"
import * as ProviderError from "./providerError.ts"
import { type Answer, type AnswerOptions, events, json, raw } from "./replyBody.ts"

/** Names the model that replies speak of unless told otherwise. */
export const defaultModel = "meta-llama/Llama-3.3-70B-Instruct-Turbo"

const created = 1_767_225_600

/** Sets what a chat answer carries beside its text. */
export interface ChatOptions extends AnswerOptions {
  readonly model?: string | undefined
  readonly id?: string | undefined
  readonly finishReason?: string | undefined
  readonly reasoning?: string | undefined
  readonly toolCalls?: ReadonlyArray<unknown> | undefined
  /** Default: one token per four characters of the text, ten of the prompt. */
  readonly usage?: Readonly<Record<string, unknown>> | undefined
}

const usageOf = (text: string, usage: Readonly<Record<string, unknown>> | undefined) => {
  const completion = Math.ceil(text.length / 4)
  return usage ?? { prompt_tokens: 10, completion_tokens: completion, total_tokens: 10 + completion }
}

/** Answers a chat request with a text. */
export const chat = (text: string, options?: ChatOptions): Answer =>
  json({
    id: options?.id ?? "reply-1",
    object: "chat.completion",
    created,
    model: options?.model ?? defaultModel,
    choices: [{
      index: 0,
      finish_reason: options?.finishReason ?? "stop",
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
export interface StreamOptions extends ChatOptions {
  /** Time between two events. Default: none. */
  readonly every?: Duration.Input | undefined
  /** Ends with `[DONE]`. Default true. */
  readonly done?: boolean | undefined
}

const streamed = (
  pieces: ReadonlyArray<string>,
  options: StreamOptions | undefined,
  choice: (piece: string) => object
): Answer => {
  const base = { id: options?.id ?? "reply-1", object: "chat.completion.chunk", created }
  const model = options?.model ?? defaultModel
  const frame = (piece: string, finish: string | null, usage: unknown) => ({
    ...base,
    choices: [{ index: 0, ...choice(piece), logprobs: null, finish_reason: finish }],
    model,
    usage
  })
  const last = frame("", options?.finishReason ?? "stop", usageOf(pieces.join(""), options?.usage))
  return events([
    ...pieces.map((piece) => frame(piece, null, null)),
    last,
    ...(options?.done === false ? [] : ["[DONE]"])
  ], options)
}

/** Answers a streamed chat request with pieces of text, a finish chunk with usage, and `[DONE]`. */
export const stream = (pieces: ReadonlyArray<string>, options?: StreamOptions): Answer =>
  streamed(pieces, options, (piece) => ({ text: piece, delta: { role: "assistant", content: piece } }))

/** Answers a plain completion. */
export const completion = (text: string, options?: ChatOptions): Answer =>
  json({
    id: options?.id ?? "reply-1",
    object: "text.completion",
    created,
    model: options?.model ?? defaultModel,
    choices: [{ index: 0, text, finish_reason: options?.finishReason ?? "stop" }],
    usage: usageOf(text, options?.usage)
  }, options)

/** Answers a streamed plain completion. */
export const completionStream = (pieces: ReadonlyArray<string>, options?: StreamOptions): Answer =>
  streamed(pieces, options, (piece) => ({ text: piece, delta: { content: piece } }))

/** Answers an embeddings request with vectors. */
export const embeddings = (vectors: ReadonlyArray<ReadonlyArray<number>>, options?: ChatOptions): Answer =>
  json({
    object: "list",
    model: options?.model ?? "intfloat/multilingual-e5-large-instruct",
    data: vectors.map((embedding, index) => ({ object: "embedding", index, embedding })),
    usage: options?.usage ?? { prompt_tokens: 10, total_tokens: 10 }
  }, options)

/** Answers a rerank request: index and score, best first. */
export const rerank = (
  results: ReadonlyArray<readonly [index: number, score: number]>,
  options?: ChatOptions
): Answer =>
  json({
    object: "rerank",
    id: options?.id ?? "reply-1",
    model: options?.model ?? "mixedbread-ai/Mxbai-Rerank-Large-V2",
    results: results.map(([index, relevance_score]) => ({ index, relevance_score })),
    usage: options?.usage ?? { prompt_tokens: 10, completion_tokens: 0, total_tokens: 10 }
  }, options)

/** Answers an image request with addresses. */
export const images = (urls: ReadonlyArray<string>, options?: ChatOptions): Answer =>
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
