/**
 * Describes what the provider answers to one request, as a value.
 *
 * A reply is plain data: a status, headers and the pieces of a body, each with the time it takes; or silence; or a
 * connection that breaks. Constructors know Together's shapes, combinators spoil them:
 *
 * ```
 * Reply.chat("Paris")                                   a chat answer
 * Reply.stream(["Pa", "ris"], { every: "50 millis" })   the same in chunks, with usage and [DONE]
 * Reply.rateLimited({ reset: 2 })                       429 with x-ratelimit-reset: 2
 * Reply.after(Reply.chat("Paris"), "3 seconds")         late headers
 * Reply.stallAt(Reply.stream(["Pa", "ris"]), 1)         silence after the first event
 * Reply.hang · Reply.broken("reset")                    no answer at all
 * ```
 *
 * {@link send} turns a reply into what an Effect `HttpClient` hands back; all its waits are sleeps on the `Clock`
 * service.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"

/** Holds one piece of a body and the time before it. */
export interface Part {
  readonly data: string | Uint8Array
  readonly waitMillis: number
}

/** Holds an answer with a status. */
export interface Answer {
  readonly _tag: "Answer"
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  readonly parts: ReadonlyArray<Part>
  /** Says what follows the last part: the end, silence for ever, or a reset of the connection. */
  readonly end: "complete" | "stall" | "cut"
  /** Time before the headers. */
  readonly waitMillis: number
}

/** Stands for a provider that takes the request and never answers. */
export interface Hang {
  readonly _tag: "Hang"
}

/** Names the ways in which a connection fails before an answer. */
export type BrokenKind = "reset" | "refused" | "dns" | "tls" | "connect-timeout"

/** Stands for a connection that fails before an answer. */
export interface Broken {
  readonly _tag: "Broken"
  readonly kind: BrokenKind
  readonly waitMillis: number
}

/** Is what the provider does with one request. */
export type Reply = Answer | Hang | Broken

/** Sets status, headers or the first delay of an answer. */
export interface AnswerOptions {
  readonly status?: number | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

const lower = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

const answer = (
  parts: ReadonlyArray<Part>,
  contentType: string | undefined,
  options: AnswerOptions | undefined
): Answer => {
  const status = options?.status ?? 200
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new RangeError(`Reply: status must be an integer in [200, 599], got ${status}`)
  }
  return {
    _tag: "Answer",
    status,
    headers: {
      ...(contentType === undefined ? undefined : { "content-type": contentType }),
      ...lower(options?.headers ?? {})
    },
    parts,
    end: "complete",
    waitMillis: 0
  }
}

/** Answers with any text or bytes. */
export const raw = (
  data: string | Uint8Array,
  options?: AnswerOptions & { readonly contentType?: string | undefined }
): Answer => answer(data.length === 0 ? [] : [{ data, waitMillis: 0 }], options?.contentType, options)

/** Answers with JSON. */
export const json = (body: unknown, options?: AnswerOptions): Answer =>
  answer([{ data: JSON.stringify(body) ?? "null", waitMillis: 0 }], "application/json", options)

/** Answers with a status and nothing else. */
export const empty = (status = 200, headers?: Readonly<Record<string, string>>): Answer =>
  answer([], undefined, { status, headers })

/** Answers with JSON lines: the content of a result file. */
export const jsonl = (rows: ReadonlyArray<unknown>, options?: AnswerOptions): Answer =>
  raw(rows.map((row) => `${JSON.stringify(row)}\n`).join(""), { ...options, contentType: "application/jsonl" })

// -----------------------------------------------------------------------------
// Together's answers
// -----------------------------------------------------------------------------

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

/** Answers with events: each string or value is the data of one. */
export const events = (
  data: ReadonlyArray<unknown>,
  options?: AnswerOptions & { readonly every?: Duration.Input | undefined }
): Answer => {
  const waitMillis = Duration.toMillis(Duration.fromInputUnsafe(options?.every ?? 0))
  return answer(
    data.map((item, index) => ({
      data: `data: ${typeof item === "string" ? item : JSON.stringify(item)}\n\n`,
      waitMillis: index === 0 ? 0 : waitMillis
    })),
    "text/event-stream;charset=utf-8",
    options
  )
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

// -----------------------------------------------------------------------------
// Together's refusals
// -----------------------------------------------------------------------------

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
  return json(options?.body ?? { id: "reply-1", error: { message, type, param: null, code } }, {
    status,
    headers: options?.headers
  })
}

/** Answers 429 with Together's wait hint, `x-ratelimit-reset` in seconds; without `reset`, with no hint. */
export const rateLimited = (options?: {
  readonly reset?: number | undefined
  /** Default `dynamic_request_limited`. */
  readonly type?: string | undefined
}): Answer =>
  error(429, {
    body: {
      id: "reply-1",
      error: {
        message: "You are above the dynamic limit of this model.",
        type: options?.type ?? "dynamic_request_limited",
        param: null,
        code: null
      }
    },
    headers: options?.reset === undefined ? undefined : { "x-ratelimit-reset": String(options.reset) }
  })

/** Answers 402: the account is out of credit. */
export const outOfCredits: Answer = error(402)

/** Answers 503: the provider is too busy. */
export const overloaded: Answer = error(503)

/** Takes the request and never answers. */
export const hang: Hang = { _tag: "Hang" }

/** Breaks the connection before an answer. */
export const broken = (kind: BrokenKind = "reset"): Broken => ({ _tag: "Broken", kind, waitMillis: 0 })

// -----------------------------------------------------------------------------
// combinators
// -----------------------------------------------------------------------------

/** Delays a reply: its headers, or its failure. */
export const after: {
  (wait: Duration.Input): <R extends Reply>(self: R) => R
  <R extends Reply>(self: R, wait: Duration.Input): R
} = dual(2, (self: Reply, wait: Duration.Input): Reply => {
  const waitMillis = Duration.toMillis(Duration.fromInputUnsafe(wait))
  return self._tag === "Hang" ? self : { ...self, waitMillis: self.waitMillis + waitMillis }
})

/** Adds headers to an answer. */
export const withHeaders: {
  (headers: Readonly<Record<string, string>>): (self: Answer) => Answer
  (self: Answer, headers: Readonly<Record<string, string>>): Answer
} = dual(2, (self: Answer, headers: Readonly<Record<string, string>>): Answer => ({
  ...self,
  headers: { ...self.headers, ...lower(headers) }
}))

/** Keeps the first `parts` pieces of a body (events, for a stream) and then falls silent for ever. */
export const stallAt: {
  (parts: number): (self: Answer) => Answer
  (self: Answer, parts: number): Answer
} = dual(2, (self: Answer, parts: number): Answer => ({ ...self, parts: self.parts.slice(0, parts), end: "stall" }))

/** Keeps the first `parts` pieces of a body (events, for a stream) and then resets the connection. */
export const cutAt: {
  (parts: number): (self: Answer) => Answer
  (self: Answer, parts: number): Answer
} = dual(2, (self: Answer, parts: number): Answer => ({ ...self, parts: self.parts.slice(0, parts), end: "cut" }))

/** Keeps the first `parts` pieces of a body (events, for a stream) and then ends it as if that were all. */
export const endAt: {
  (parts: number): (self: Answer) => Answer
  (self: Answer, parts: number): Answer
} = dual(2, (self: Answer, parts: number): Answer => ({ ...self, parts: self.parts.slice(0, parts), end: "complete" }))

// -----------------------------------------------------------------------------
// sending
// -----------------------------------------------------------------------------

const brokenCauses: Readonly<Record<BrokenKind, readonly [code: string, message: string]>> = {
  reset: ["ECONNRESET", "read ECONNRESET"],
  refused: ["ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:443"],
  dns: ["ENOTFOUND", "getaddrinfo ENOTFOUND api.together.ai"],
  tls: ["CERT_HAS_EXPIRED", "certificate has expired"],
  "connect-timeout": ["UND_ERR_CONNECT_TIMEOUT", "Connect Timeout Error"]
}

const systemError = (code: string, message: string): Error => Object.assign(new Error(message), { code })

/** Builds the failure of a connection that breaks before an answer, as Fetch and Undici report it. */
export const brokenError = (
  request: HttpClientRequest.HttpClientRequest,
  kind: BrokenKind
): HttpClientError.HttpClientError => {
  const [code, message] = brokenCauses[kind]
  return new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      cause: new TypeError("fetch failed", { cause: systemError(code, message) })
    })
  })
}

/** Builds the cause of a body that is cut off, as Fetch and Undici report it. */
export const cutError = (): Error =>
  new TypeError("terminated", { cause: systemError("UND_ERR_SOCKET", "other side closed") })

const encoder = new TextEncoder()

/** Encodes a piece of a body. */
export const bytes = (data: string | Uint8Array): Uint8Array => typeof data === "string" ? encoder.encode(data) : data

const sleepMillis = (millis: number): Effect.Effect<void> =>
  millis > 0 ? Effect.sleep(Duration.millis(millis)) : Effect.void

const bodyStream = (reply: Answer): Stream.Stream<Uint8Array, Error> => {
  const body = Stream.fromIterable(reply.parts).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((part) => Effect.as(sleepMillis(part.waitMillis), bytes(part.data)))
  )
  return reply.end === "stall"
    ? Stream.concat(body, Stream.never)
    : reply.end === "cut"
    ? Stream.concat(body, Stream.failSync(cutError))
    : body
}

const isWhole = (reply: Answer) =>
  reply.end === "complete" && reply.parts.length <= 1 && (reply.parts[0]?.waitMillis ?? 0) === 0

/** Carries a reply out: what an `HttpClient` hands back for the request. */
export const send = (
  reply: Reply,
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> => {
  switch (reply._tag) {
    case "Hang":
      return Effect.never
    case "Broken":
      return Effect.andThen(
        sleepMillis(reply.waitMillis),
        Effect.suspend(() => Effect.fail(brokenError(request, reply.kind)))
      )
    case "Answer": {
      const { headers, status } = reply
      const make = () =>
        HttpServerResponse.toClientResponse(
          isWhole(reply)
            ? reply.parts.length === 0
              ? HttpServerResponse.empty({ status, headers })
              : HttpServerResponse.uint8Array(bytes(reply.parts[0]!.data), { status, headers })
            : HttpServerResponse.stream(bodyStream(reply), { status, headers }),
          { request }
        )
      return reply.waitMillis > 0 ? Effect.map(sleepMillis(reply.waitMillis), make) : Effect.sync(make)
    }
  }
}
