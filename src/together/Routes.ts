/**
 * The one definition of Together's typed operations: method, path, schemas, and what each may consume.
 *
 * The client, the emulator's tests and the batch runner read this table; no
 * path or schema is written twice.
 */
import type * as HttpMethod from "effect/http/HttpMethod"
import * as Schema from "effect/Schema"
import { estimateTokens, type TokenEstimate } from "../domain/Call.ts"
import * as Usage from "../domain/Usage.ts"
import * as Price from "../policy/Price.ts"
import * as Chat from "./Chat.ts"
import { isPlainRequest, isPlainResponse } from "./ChatCheck.ts"
import * as Completions from "./Completions.ts"
import * as Embeddings from "./Embeddings.ts"
import * as Images from "./Images.ts"
import * as Models from "./Models.ts"
import * as Rerank from "./Rerank.ts"
import * as Wire from "./Wire.ts"

/** Defines one typed operation. */
export interface Route<Req, Res> {
  readonly operation: string
  readonly method: HttpMethod.HttpMethod
  /** Below the base URL. */
  readonly path: string
  readonly request: Schema.Codec<Req, unknown>
  readonly response: Schema.Codec<Res, unknown>
  /** Says what is wrong with an answer to a request that its schema cannot see, as a predicate; nothing where it fits. */
  readonly complaint?: (request: Req, response: Res) => string | undefined
  /** Recognizes common requests and answers without their schema; see `ChatCheck`. */
  readonly recognize?: {
    readonly request: (u: unknown) => boolean
    readonly response: (u: unknown) => boolean
  }
  /** True where a repeat after an ambiguous failure costs no more than tokens. */
  readonly idempotent: boolean
  readonly model: (request: Req) => string
  readonly estimate: (request: Req) => TokenEstimate
  /** Prices the request before it is sent and its usage after; absent where the operation is free. */
  readonly money?: {
    readonly before: (
      price: Price.ModelPrice | undefined,
      request: Req,
      estimate: TokenEstimate,
      options?: Price.Options
    ) => Price.Estimate
    readonly after: (price: Price.ModelPrice | undefined, request: Req, usage: Usage.Usage | undefined) => Price.Cost
  }
}

/** Says what is asked by a route, whatever it answers. */
export type Asking<Req> = Omit<Route<Req, unknown>, "complaint" | "response">

/** Says what a call by the path of a route may take. */
export type Priced<Req> = Pick<Route<Req, unknown>, "estimate" | "model" | "money" | "path" | "recognize" | "request">

/** Prices what is billed by its tokens. */
export const byTokens = {
  before: (
    price: Price.ModelPrice | undefined,
    request: { readonly model: string },
    estimate: TokenEstimate,
    options?: Price.Options
  ) => Price.ofCall(price, request.model, estimate, options),
  after: (price: Price.ModelPrice | undefined, request: { readonly model: string }, usage: Usage.Usage | undefined) =>
    Price.ofUsage(price, request.model, usage)
}

/** Prices what costs the same before and after. */
const byRequest = <Req>(cost: (price: Price.ModelPrice | undefined, request: Req) => Price.Cost) => ({
  before: (price: Price.ModelPrice | undefined, request: Req) => Price.toEstimate(cost(price, request)),
  after: cost
})

const imageCost = (price: Price.ModelPrice | undefined, request: Images.ImagesRequest): Price.Cost =>
  Price.ofImages(price, request.model, {
    width: request.width ?? defaults.imageSide,
    height: request.height ?? defaults.imageSide,
    count: request.n ?? 1,
    steps: request.steps
  })

/** Holds the defaults of this module. */
export const defaults = {
  /** Output tokens expected of a generation that sets no `max_tokens`. */
  outputTokens: 512,
  /** Most output tokens assumed for such a generation if the model's context is not known. An answer may exceed it. */
  maxOutputTokens: 8192,
  /** Tokens that frame one chat message. */
  tokensPerMessage: 4,
  /** Tokens of a picture, until usage tells: the most that Together bills for one, four tiles of 1,601. */
  tokensPerImage: 6404,
  /**
   * Tokens that frame one document of a rerank: the example in Together's reference bills 1,837 tokens for four short
   * documents, each of which is read with the query and instructions around both.
   */
  tokensPerDocument: 420,
  /** Tokens assumed for a video or a sound, whose length a request does not tell, until usage tells. */
  tokensPerFile: 1000,
  /** Most output tokens that a request can mean by `max_tokens`: no model has a longer context. A larger number bounds nothing. */
  longestContext: Usage.longestContext,
  /** Most choices that a request can ask for. */
  maxChoices: 128,
  /** Pixels of an image's side where the request does not say: the provider's default. */
  imageSide: 1024
} as const

/** What a call may consume that takes no tokens. */
export const nothing: TokenEstimate = { inputTokens: 0, outputTokens: 0, maxOutputTokens: 0 }

/** Reads a count from a row that was not checked; what the provider cannot read as a count is ignored. */
const countOf = (value: unknown, least: number, most: number): number | undefined => {
  const count = Number.isInteger(value) ? Number(value) : NaN
  return count >= least && count <= most ? count : undefined
}

const generation = (
  inputTokens: number,
  { max_tokens, n }: { readonly max_tokens?: unknown; readonly n?: unknown }
): TokenEstimate => {
  const maxTokens = countOf(max_tokens, 0, defaults.longestContext)
  const choices = countOf(n, 1, defaults.maxChoices) ?? 1
  return {
    inputTokens,
    outputTokens: Math.min(maxTokens ?? defaults.outputTokens, defaults.outputTokens) * choices,
    maxOutputTokens: (maxTokens ?? defaults.maxOutputTokens) * choices,
    ...(maxTokens === undefined ? { openChoices: choices } : {})
  }
}

/** Reads anything but text as its JSON, so that rows of a batch are estimated without looking at every field. */
const textTokens = (value: unknown): number =>
  value === null || value === undefined ? 0 : estimateTokens(typeof value === "string" ? value : JSON.stringify(value))

const contentTokens = (content: Chat.Message["content"]): number => {
  if (!Array.isArray(content)) return textTokens(content)
  let tokens = 0
  for (const part of content) {
    if (part?.text !== undefined) tokens += textTokens(part.text)
    else tokens += part?.image_url === undefined ? defaults.tokensPerFile : defaults.tokensPerImage
  }
  return tokens
}

const callTokens = (calls: Chat.Message["tool_calls"]): number => {
  if (!Array.isArray(calls)) return textTokens(calls)
  let tokens = 0
  for (const call of calls) tokens += textTokens(call?.function?.name) + textTokens(call?.function?.arguments)
  return tokens
}

const messageTokens = (message: Chat.Message): number =>
  contentTokens(message.content) + textTokens(message.reasoning) + textTokens(message.reasoning_content) +
  callTokens(message.tool_calls) + defaults.tokensPerMessage

/** Estimates what a chat request may consume: contents, reasoning and tool calls, tools and the schema of the answer. */
export const chatEstimate = (request: Chat.ChatRequest): TokenEstimate => {
  let input = 0
  for (const message of request.messages) input += messageTokens(message)
  input += textTokens(request.tools) + textTokens(request.response_format)
  return generation(input, request)
}

/** Estimates what a completion request may consume. */
const completionEstimate = (request: Completions.CompletionRequest): TokenEstimate =>
  generation(textTokens(request.prompt), request)

const textsEstimate = (texts: ReadonlyArray<unknown>): TokenEstimate => ({
  ...nothing,
  inputTokens: texts.reduce<number>((sum, text) => sum + textTokens(text), 0)
})

/** Holds what most operations that answer a prompt have in common. */
const answering = {
  method: "POST",
  idempotent: true,
  model: (request: { readonly model: string }): string => request.model,
  money: byTokens
} as const

/** Defines `chat`. */
export const chat: Route<Chat.ChatRequest, Chat.ChatResponse> = {
  ...answering,
  operation: "chat",
  path: "/chat/completions",
  request: Chat.ChatRequest,
  response: Chat.ChatResponse,
  recognize: { request: isPlainRequest, response: isPlainResponse },
  estimate: chatEstimate
}

/** Defines `completions`. */
export const completions: Route<Completions.CompletionRequest, Completions.CompletionResponse> = {
  ...answering,
  operation: "completions",
  path: "/completions",
  request: Completions.CompletionRequest,
  response: Completions.CompletionResponse,
  estimate: completionEstimate
}

/** Defines `embeddings`. */
export const embeddings: Route<Embeddings.EmbeddingsRequest, Embeddings.EmbeddingsResponse> = {
  ...answering,
  operation: "embeddings",
  path: "/embeddings",
  request: Embeddings.EmbeddingsRequest,
  response: Embeddings.EmbeddingsResponse,
  complaint: Embeddings.complaint,
  estimate: (request) => textsEstimate(typeof request.input === "string" ? [request.input] : request.input)
}

/** Defines `rerank`. */
export const rerank: Route<Rerank.RerankRequest, Rerank.RerankResponse> = {
  ...answering,
  operation: "rerank",
  path: "/rerank",
  request: Rerank.RerankRequest,
  response: Rerank.RerankResponse,
  estimate: ({ documents, query }) => {
    // the query is read anew with each document
    const each = textTokens(query) + defaults.tokensPerDocument
    return { ...nothing, inputTokens: textsEstimate(documents).inputTokens + documents.length * each }
  }
}

/** Defines `images`. */
export const images: Route<Images.ImagesRequest, Images.ImagesResponse> = {
  ...answering,
  operation: "images",
  path: "/images/generations",
  request: Images.ImagesRequest,
  response: Images.ImagesResponse,
  estimate: (request) => textsEstimate([request.prompt]),
  money: byRequest(imageCost)
}

const Speech = Wire.request({ model: Schema.NonEmptyString, input: Schema.String })
interface Speech extends Schema.Schema.Type<typeof Speech> {}

/** Defines what is known of speech, which has no method: it is called by path, and billed by its characters. */
export const speech: Priced<Speech> = {
  path: "/audio/speech",
  request: Speech,
  model: answering.model,
  estimate: () => nothing,
  money: byRequest((price, { input, model }) => Price.ofCharacters(price, model, input.length))
}

/** Holds the operations that answer a prompt, by name. */
export const inference = { chat, completions, embeddings, rerank, images } as const

const Empty = Schema.Struct({})

const read = <Res>(operation: string, path: string, response: Schema.Codec<Res, unknown>): Route<{}, Res> => ({
  operation,
  method: "GET",
  path,
  request: Empty,
  response,
  idempotent: true,
  model: () => "",
  estimate: () => nothing
})

/** Defines `models`. */
export const models = read("models", "/models", Models.ModelList)

/** Defines `whoami`. */
export const whoami = read("whoami", "/whoami", Models.Whoami)
