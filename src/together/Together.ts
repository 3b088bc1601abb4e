/**
 * Together AI as an Effect service: typed calls, a closed union of errors, every guard in place.
 *
 * ```ts no-run
 * import { Effect } from "effect"
 * import { Chat, Together } from "effect-together"
 *
 * const program = Effect.gen(function*() {
 *   const together = yield* Together.Together
 *   const answer = yield* together.chat({
 *     model: "openai/gpt-oss-20b",
 *     messages: [{ role: "user", content: "Name three rivers." }]
 *   })
 *   return Chat.text(answer)
 * })
 *
 * await Effect.runPromise(program.pipe(Effect.provide(Together.layerConfig())))
 * ```
 *
 * | layer | transport |
 * | --- | --- |
 * | `layer(options)` | brings Fetch |
 * | `layerHttp(options)` | the `HttpClient` of the context: Undici, a test client, an emulator |
 * | `layerConfig(config?)`, `layerHttpConfig(config?)` | the same, from `TOGETHER_API_KEY`, `TOGETHER_BASE_URL`, … |
 *
 * A call is guarded by the options `lanes` and `retryBudget`, else by the `Lanes`, `Credits`, `Breaker` and
 * `RetryBudget` in the context of the client's layer, else by those of the calling fiber. If there are none, the client
 * makes its own lanes, keeps no ledger, and has no circuit breaker and no retry budget. The option `retry` comes before
 * the `Retry.CurrentPolicy` of the calling fiber, and this before that of the layer.
 *
 * **Errors**: `TogetherError`, always. A missing key fails the layer with
 * `AuthError` before anything is sent, and so does one that cannot be sent.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Stream from "effect/Stream"
import { isPriority, priorities, type Priority } from "../domain/Call.ts"
import { AuthError, InvalidRequestError, type TogetherError } from "../domain/TogetherError.ts"
import * as Hedge from "../guard/Hedge.ts"
import * as Lanes from "../guard/lane/Lanes.ts"
import * as Millis from "../guard/Millis.ts"
import * as Retry from "../guard/retry/Retry.ts"
import type { RetryBudget } from "../guard/retry/RetryBudget.ts"
import * as OptionCheck from "../policy/OptionCheck.ts"
import * as Price from "../policy/Price.ts"
import * as Address from "./transport/Address.ts"
import * as Batches from "./Batches.ts"
import * as Chat from "./Chat.ts"
import type { CallOptions, PathRequest, RawRequest, StreamEvent } from "./CallOptions.ts"
import * as Client from "./Client.ts"
import * as Completions from "./Completions.ts"
import * as ContextGuards from "./ContextGuards.ts"
import type * as Embeddings from "./Embeddings.ts"
import * as Evaluations from "./Evaluations.ts"
import * as FetchShortcut from "./transport/FetchShortcut.ts"
import * as Files from "./Files.ts"
import * as FineTunes from "./FineTunes.ts"
import type * as Images from "./Images.ts"
import type * as Models from "./Models.ts"
import * as PriceTable from "./PriceTable.ts"
import type * as Rerank from "./Rerank.ts"
import * as Routes from "./Routes.ts"
import * as SentHeaders from "./transport/SentHeaders.ts"
import * as Transport from "./transport/Transport.ts"

export type { Answered, CallOptions, CreationOptions, PathRequest, RawRequest, StreamEvent } from "./CallOptions.ts"
export { errorFromResponse, type ForeignResponse } from "./error/ForeignResponse.ts"

/** Configures a client. */
export interface Options {
  /** The key, redacted: it is never printed, logged or put on an error. An empty one fails the layer with `AuthError`. */
  readonly apiKey: Redacted.Redacted
  /** Host and path, without credentials, query and fragment. Default: `https://api.together.ai/v1`. */
  readonly baseUrl?: string | undefined
  /**
   * Names the organization in lane keys and reports, since limits belong to it, not to the key. Default: `"default"`.
   */
  readonly account?: string | undefined
  /** Sent as `user-agent`: Together's edge refuses what some libraries send. Default: `effect-together/VERSION`. */
  readonly userAgent?: string | undefined
  /** Sent with every request; they replace ours, except for the key and the content type. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /**
   * Bounds each silence of an attempt, above 0. An attempt that one ends fails with `RequestTimeoutError`, and is
   * retried unless its stream had begun. For a whole call set `deadline`.
   */
  readonly timeouts?: {
    /** Until the headers of the answer; of one that is not streamed, until it is generated. Default: 120 seconds. */
    readonly headers?: Duration.Input | undefined
    /** From the headers to the end of an answer that is not streamed; of a file, between two pieces. Default: 120 seconds. */
    readonly body?: Duration.Input | undefined
    /** Of a stream, from its headers to its first token. Default: 60 seconds. */
    readonly firstToken?: Duration.Input | undefined
    /** Of a stream, between two events; comments do not count. Default: 30 seconds. */
    readonly idle?: Duration.Input | undefined
  } | undefined
  /**
   * Time for every whole call, above 0: waits, retries and the rest of a stream included. A call that reaches it fails with
   * `RequestTimeoutError` of phase `"deadline"`. Default: none.
   */
  readonly deadline?: Duration.Input | undefined
  /**
   * When to retry, unless a call says another. Default: the `Retry.CurrentPolicy` of the calling fiber where it has one,
   * else the one where the client is made, which is `Retry.policy()` unless set. `Schedule.recurs(0)` turns retries off.
   */
  readonly retry?: Schedule.Schedule<unknown, TogetherError> | undefined
  /**
   * A budget that all retries draw on. Default: the `RetryBudget` service where the client is made, else the one of the
   * calling fiber, if there is one; else none, so that a job retries as its schedule says.
   */
  readonly retryBudget?: RetryBudget | undefined
  /** Rank of calls that state none: `"interactive"`, `"normal"`, `"bulk"`, or 0 (first) to 499. Default: `"normal"`. */
  readonly priority?: Priority | undefined
  /** Asks for a slow answer a second time. Default: never. */
  readonly hedge?: CallOptions["hedge"]
  /** Prices of models, for the ledger of a `Credits` service. Default: the shipped price table. */
  readonly prices?: Price.Lookup | undefined
  /**
   * Share by which the estimated input is raised for what is reserved of a budget, in [0, ∞). Default: 0.25, as a count
   * from characters is within about a fifth for prose; dense code or another script needs more.
   */
  readonly inputMargin?: number | undefined
  /**
   * Options for lanes of this client alone, which are then used instead of any `Lanes` service. Default: that service,
   * or else lanes of its own with default options.
   */
  readonly lanes?: Lanes.Options | undefined
}

/** Holds the defaults of this module; timeouts stand in `Transport.defaults`. */
export const defaults = {
  baseUrl: "https://api.together.ai/v1",
  account: Lanes.defaults.account,
  priority: "normal",
  /** Used if the context has no `Retry.CurrentPolicy`; that one's default is the same. */
  retry: () => Retry.policy(),
  prices: PriceTable.shippedLookup,
  inputMargin: Price.defaults.inputMargin
} as const

/**
 * Marks a request whose answer is awaited whole.
 *
 * **Details**: `stream: true` does not compile. If a caller without types sets it, it is not sent.
 */
export interface Whole {
  readonly stream?: false | undefined
}

/** Makes typed calls to Together. Every method fails with `TogetherError` only. */
export interface Service {
  /**
   * Asks for a chat completion, and answers with the whole of it; `chatStream` streams one.
   *
   * **Details**: `Chat.text(answer)` reads its text. Retried where a repeat may help, within the deadline.
   *
   * **Errors**: any `TogetherError`; docs/errors.md says when, and what to do.
   */
  readonly chat: (
    request: Chat.ChatRequest & Whole,
    options?: CallOptions
  ) => Effect.Effect<Chat.ChatResponse, TogetherError>
  /**
   * Streams a chat completion; `Chat.deltaText(chunk)` reads the text of a chunk.
   *
   * **Details**: retried unseen up to the first token, never after it. Usage is always asked for. The stream holds its place
   * in the provider's limits until its last event.
   *
   * **Errors**: after the first token `StreamError`, or `RequestTimeoutError` for a silence or the deadline; `partial` of
   * either holds what arrived.
   */
  readonly chatStream: (
    request: Chat.ChatRequest,
    options?: CallOptions
  ) => Stream.Stream<Chat.ChatChunk, TogetherError>
  /** Asks for the continuation of a prompt, and answers with the whole of it; `completionsStream` streams one. */
  readonly completions: (
    request: Completions.CompletionRequest & Whole,
    options?: CallOptions
  ) => Effect.Effect<Completions.CompletionResponse, TogetherError>
  /** Streams the continuation of a prompt, as `chatStream` does a chat. */
  readonly completionsStream: (
    request: Completions.CompletionRequest,
    options?: CallOptions
  ) => Stream.Stream<Completions.CompletionChunk, TogetherError>
  /** Asks for embeddings: `data[i].embedding` is the vector of the text number `data[i].index`. */
  readonly embeddings: (
    request: Embeddings.EmbeddingsRequest,
    options?: CallOptions
  ) => Effect.Effect<Embeddings.EmbeddingsResponse, TogetherError>
  /** Asks for the order of documents by relevance: `results[i].index` names one, `relevance_score` says how relevant. */
  readonly rerank: (
    request: Rerank.RerankRequest,
    options?: CallOptions
  ) => Effect.Effect<Rerank.RerankResponse, TogetherError>
  /** Asks for images: `data[i]` holds `b64_json` or `url`, as `response_format` of the request says. */
  readonly images: (
    request: Images.ImagesRequest,
    options?: CallOptions
  ) => Effect.Effect<Images.ImagesResponse, TogetherError>
  /** Lists models and their prices. Free of charge. */
  readonly models: (options?: CallOptions) => Effect.Effect<ReadonlyArray<Models.Model>, TogetherError>
  /** Says whose key this is. Free of charge. */
  readonly whoami: (options?: CallOptions) => Effect.Effect<Models.Whoami, TogetherError>
  /** Calls any path whose answer is JSON, with a schema of your own. */
  readonly request: <A>(request: PathRequest<A>, options?: CallOptions) => Effect.Effect<A, TogetherError>
  /** Calls any path whose answer is no JSON, such as sound, a picture or a text, and gives its bytes as they came. */
  readonly requestBytes: (request: RawRequest, options?: CallOptions) => Effect.Effect<Uint8Array, TogetherError>
  /**
   * Calls any path that answers with an event stream of JSON, with a schema of your own for its events.
   *
   * **Details**: you must ask the endpoint for a stream yourself, usually by `stream: true` in `body`. The stream ends at
   * `[DONE]` or with its bytes. It is retried unseen up to the first event and never after it, and only if a repeat does no
   * harm (`idempotent`). `timeouts.firstToken` and `timeouts.idle` bound its silences.
   *
   * **Gotchas**: if an endpoint sends no `[DONE]`, only you know its last event: check that it came.
   */
  readonly requestStream: <A>(
    request: PathRequest<A>,
    options?: CallOptions
  ) => Stream.Stream<StreamEvent<A>, TogetherError>
  /** Uploads, lists, reads and deletes files. Free of charge. */
  readonly files: Files.FilesApi
  /** Creates, reads, lists and cancels batches; `BatchJob` runs a whole job by them. */
  readonly batches: Batches.BatchesApi
  /** Starts, reads, lists and cancels fine-tunes. */
  readonly fineTunes: FineTunes.FineTunesApi
  /** Starts evaluations and reads them. */
  readonly evaluations: Evaluations.EvaluationsApi
}

/** Together AI in the context: typed calls, every guard in place. */
export class Together extends Context.Service<Together, Service>()("effect-together/Together") {}

const missingKey = new AuthError({
  reason: "missing",
  message:
    "There is no API key. Set TOGETHER_API_KEY, or pass apiKey; make a key at https://api.together.ai/settings/api-keys."
})

const checkedKey = (apiKey: string): Effect.Effect<string, AuthError> => {
  if (apiKey === "") return Effect.fail(missingKey)
  const at = SentHeaders.badCharacter(apiKey)
  return at === undefined
    ? Effect.succeed(apiKey)
    : Effect.fail(
      new AuthError({
        reason: "missing",
        message:
          `The API key has a character that cannot be sent, at place ${at} of ${apiKey.length}. Check it for a line break or a typographic dash, or make a key at https://api.together.ai/settings/api-keys.`
      })
    )
}

const refuse = (complaint: string | undefined, cure: string): Effect.Effect<void, InvalidRequestError> =>
  complaint === undefined ? Effect.void : Effect.fail(new InvalidRequestError({ message: `${complaint}. ${cure}.` }))

const duration = (field: string, input: Duration.Input): Duration.Duration =>
  Duration.millis(Millis.positive(`Together.make: ${field}`, input))

const checkedPriority = (priority: Priority): Priority =>
  isPriority(priority) ? priority : OptionCheck.refuse("Together.make", "priority", priorities, priority)

const checkedHedge = (hedge: Options["hedge"]): Options["hedge"] =>
  hedge && { ...hedge, delay: Hedge.checkedDelay("Together.make: hedge.delay", hedge.delay) }

/**
 * Makes a client over the `HttpClient` of the context.
 *
 * **Errors**: `AuthError` for a key that is empty or cannot be sent, `InvalidRequestError` for a base URL that is none or
 * holds more than host and path, and for headers that cannot be sent. Defects with `RangeError` for a deadline,
 * a timeout or the delay of a hedge that is not above 0, for a negative margin and for a priority that is none.
 */
export const make = Effect.fnUntraced(function*(options: Options) {
  const apiKey = Redacted.make(yield* checkedKey(Redacted.value(options.apiKey).trim()))
  const baseUrl = (options.baseUrl ?? defaults.baseUrl).trim()
  yield* refuse(Address.complaint(baseUrl), `Set TOGETHER_BASE_URL or baseUrl to one like ${defaults.baseUrl}`)
  const userAgent = options.userAgent ?? Transport.defaults.userAgent
  yield* refuse(
    SentHeaders.complaint({ ...options.headers, "user-agent": userAgent }),
    "Correct the option headers or userAgent"
  )
  const silence = (name: keyof Transport.Timeouts) =>
    duration(`timeouts.${name}`, options.timeouts?.[name] ?? Transport.defaults[name])
  const transport = yield* Transport.make({
    apiKey,
    baseUrl,
    userAgent,
    headers: options.headers ?? {},
    timeouts: {
      headers: silence("headers"),
      body: silence("body"),
      firstToken: silence("firstToken"),
      idle: silence("idle")
    }
  })
  const given = ContextGuards.of(yield* Effect.context<never>(), {
    lanes: options.lanes === undefined ? undefined : yield* Lanes.make(options.lanes),
    retryBudget: options.retryBudget
  })
  const client = Client.make({
    transport,
    given,
    lanes: given.lanes ?? (yield* Lanes.make()),
    account: options.account ?? defaults.account,
    retry: options.retry ?? Client.nearest(yield* Retry.CurrentPolicy),
    priority: checkedPriority(options.priority ?? defaults.priority),
    hedge: checkedHedge(options.hedge),
    prices: options.prices ?? defaults.prices,
    inputMargin: OptionCheck.nonNegative("Together.make", "inputMargin", options.inputMargin ?? defaults.inputMargin),
    deadline: options.deadline === undefined ? undefined : duration("deadline", options.deadline)
  })
  const models = client.call(Routes.models)
  const whoami = client.call(Routes.whoami)
  return Together.of({
    chat: client.call(Routes.chat),
    chatStream: client.stream(Routes.chat, "chatStream", Chat.shape),
    completions: client.call(Routes.completions),
    completionsStream: client.stream(Routes.completions, "completionsStream", Completions.shape),
    embeddings: client.call(Routes.embeddings),
    rerank: client.call(Routes.rerank),
    images: client.call(Routes.images),
    models: (callOptions) => models({}, callOptions),
    whoami: (callOptions) => whoami({}, callOptions),
    request: client.request,
    requestBytes: client.bytes,
    requestStream: client.events,
    files: Files.make(client),
    batches: Batches.make(client),
    fineTunes: FineTunes.make(client),
    evaluations: Evaluations.make(client)
  })
})

/** What a client's layer can fail with: no usable key, base URL or headers. */
export type LayerError = AuthError | InvalidRequestError

/**
 * Provides a client over the `HttpClient` of the context: Undici, a test client, an emulator.
 *
 * **Errors**: as {@link make}.
 */
export const layerHttp = (options: Options): Layer.Layer<Together, LayerError, HttpClient.HttpClient> =>
  Layer.effect(Together, make(options))

/**
 * Provides a client over Fetch, with a key that you pass; {@link layerConfig} reads it from the environment.
 *
 * **Errors**: as {@link make}.
 */
export const layer = (options: Options): Layer.Layer<Together, LayerError> =>
  Layer.provide(layerHttp(options), FetchShortcut.layer)

/** Says where a client's options are read from; the rest are given as they are. */
export interface ConfigOptions extends Omit<Options, "apiKey" | "baseUrl"> {
  /** Default: `TOGETHER_API_KEY`. */
  readonly apiKey?: Config.Config<Redacted.Redacted> | undefined
  /** Default: `TOGETHER_BASE_URL`, else Together's own address. */
  readonly baseUrl?: Config.Config<string> | undefined
}

const ourKey = Config.Redacted("TOGETHER_API_KEY").pipe(Config.withDefault(Redacted.make("")))
const ourBaseUrl = Config.String("TOGETHER_BASE_URL").pipe(Config.withDefault(defaults.baseUrl))

/**
 * Provides a client over the `HttpClient` of the context, its key and address from the configuration.
 *
 * **Errors**: as {@link make}. A missing `TOGETHER_API_KEY` is an `AuthError`; a missing variable of your own, and any
 * that cannot be read, a `ConfigError`.
 */
export const layerHttpConfig = (
  options: ConfigOptions = {}
): Layer.Layer<Together, LayerError | Config.ConfigError, HttpClient.HttpClient> =>
  Layer.effect(
    Together,
    Effect.gen(function*() {
      // a missing variable of the caller's own is a ConfigError, which names it
      const apiKey = yield* options.apiKey ?? ourKey
      const baseUrl = yield* options.baseUrl ?? ourBaseUrl
      return yield* make({ ...options, apiKey, baseUrl })
    })
  )

/**
 * Provides a client over Fetch, its key from `TOGETHER_API_KEY` and its address from `TOGETHER_BASE_URL`.
 *
 * **Errors**: as {@link layerHttpConfig}.
 */
export const layerConfig = (options?: ConfigOptions): Layer.Layer<Together, LayerError | Config.ConfigError> =>
  Layer.provide(layerHttpConfig(options), FetchShortcut.layer)
