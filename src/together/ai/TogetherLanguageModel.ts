/**
 * Together as a `LanguageModel` of `effect/ai`: portable code in front, every guard of the client behind.
 *
 * ```
 *  LanguageModel.generateText ─▶ AiPrompt ─▶ Together.chat       ─▶ AiParts ─▶ parts
 *  LanguageModel.streamText   ─▶    "     ─▶ Together.chatStream ─▶    "    ─▶ parts
 *                                             └ deadline ▸ credits ▸ retry ▸ breaker ▸ lane ▸ attempt
 * ```
 *
 * The model adds no retry of its own: the client's loop is the only one in the stack. Streams are retried unseen up
 * to their first token, never after it.
 *
 * | constructor | gives |
 * | --- | --- |
 * | `model(name, config?)` | an `AiModel.Model`: a layer that also says provider and model name |
 * | `layer({ model, config? })` | a layer of `LanguageModel` |
 * | `make({ model, config? })` | the service |
 *
 * All need the `Together` service.
 *
 * **Details**: an answer's first choice is read. Together keeps no responses, so a conversation is always sent whole.
 *
 * **Errors**: `AiError`, as `AiFailure` maps it.
 *
 * **Example** (A model under test)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { LanguageModel } from "effect/ai"
 * import { TogetherLanguageModel } from "effect-together"
 * import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
 *
 * const program = Effect.gen(function*() {
 *   yield* TogetherTest.reply(Reply.overloaded, Reply.chat("Paris"))
 *   const answer = yield* LanguageModel.generateText({ prompt: "Capital of France?" })
 *   return [answer.text, answer.finishReason, answer.usage.outputTokens.total]
 * }).pipe(Effect.provide(TogetherLanguageModel.model("openai/gpt-oss-20b")))
 *
 * await Effect.runPromise(VirtualClock.wrap(Effect.provide(program, TogetherTest.layer()))) // => ["Paris", "stop", 2]
 * ```
 */
import * as AiError from "effect/ai/AiError"
import { IdGenerator } from "effect/ai/IdGenerator"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as AiModel from "effect/ai/Model"
import type * as Response from "effect/ai/Response"
import * as Telemetry from "effect/ai/Telemetry"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { ParentSpan, type Span } from "effect/Tracer"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import * as AiFailure from "./AiFailure.ts"
import * as AiParts from "./AiParts.ts"
import * as AiPrompt from "./AiPrompt.ts"
import type * as Chat from "../Chat.ts"
import type { CallOptions } from "../CallOptions.ts"
import { Together } from "../Together.ts"

declare module "effect/ai/Response" {
  interface FinishPartMetadata {
    /** What a Together answer says of its end beside reason and usage; absent from answers of other providers. */
    readonly together?: {
      /** The provider's own word; `null` where it said none. */
      readonly finishReason: string | null
      /** What the provider warned of; absent where of nothing. */
      readonly warnings?: ReadonlyArray<string>
    } | null
  }
}

/** Steers a model's requests: Together's own fields, and how each call is guarded. */
export interface Config extends
  Pick<
    Chat.ChatRequest,
    | "max_tokens"
    | "stop"
    | "temperature"
    | "top_p"
    | "top_k"
    | "min_p"
    | "repetition_penalty"
    | "presence_penalty"
    | "frequency_penalty"
    | "logit_bias"
    | "seed"
    | "safety_model"
    | "context_length_exceeded_behavior"
    | "compliance"
    | "chat_template_kwargs"
    | "reasoning_effort"
    | "reasoning"
  >
{
  /** Other fields of the request, sent as they are; what the model itself writes comes before them. Default: none. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined
  /** Sent as `response_format.json_schema.strict`. Default: not sent. */
  readonly strictJsonSchema?: boolean | undefined
  /** Priority, deadline, retry, fallback models, hedging and label of each call. Default: the client's. */
  readonly call?: CallOptions | undefined
}

/** Names a model and steers its requests. */
export interface Options {
  /** The model as Together names it: `"openai/gpt-oss-20b"`. */
  readonly model: string
  /** Steers its requests, where no region of the program overrides that. Default: nothing beside the model. */
  readonly config?: Config | undefined
}

/** Holds the overrides of a region of the program. Default: none. */
export const CurrentConfig: Context.Reference<Config> = Context.Reference<Config>(
  "effect-together/TogetherLanguageModel/CurrentConfig",
  { defaultValue: () => ({}) }
)

const merge = (base: Config, over: Config): Config => ({
  ...base,
  ...over,
  ...(base.extra === undefined ? undefined : { extra: { ...base.extra, ...over.extra } }),
  ...(base.call === undefined ? undefined : { call: { ...base.call, ...over.call } })
})

/**
 * Overrides the configuration of every model used inside an effect, field by field; inner regions win.
 *
 * **Gotchas**: a stream reads it where it runs: wrap the effect that consumes it.
 */
export const withConfig: {
  (config: Config): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, config: Config): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, config: Config): Effect.Effect<A, E, R> =>
    Effect.updateService(self, CurrentConfig, (outer) => merge(outer, config))
)

const moduleName = "TogetherLanguageModel"
const path = "/chat/completions"

type Method = "generateText" | "generateObject" | "streamText"

const failed = (method: Method) => (reason: AiError.AiErrorReason): AiError.AiError =>
  AiError.make({ module: moduleName, method, reason })

const where = (method: Method): AiFailure.Where => ({ module: moduleName, method, path })

/**
 * This is refused without sending; the service then asks with the whole prompt, so only one request is sent, not two.
 */
const incremental = new AiError.InvalidRequestError({
  description: "Together keeps no responses: a conversation is sent whole."
})

const requestOf = (
  model: string,
  config: Config,
  options: LanguageModel.ProviderOptions
): Result.Result<Chat.ChatRequest, AiError.AiErrorReason> =>
  Result.gen(function*() {
    if (options.incrementalPrompt !== undefined) return yield* Result.fail(incremental)
    const { call: _call, extra, strictJsonSchema, ...fields } = config
    const messages = yield* AiPrompt.messages(options)
    const tools = yield* AiPrompt.tools(options)
    const format = yield* AiPrompt.responseFormat(options.responseFormat, strictJsonSchema)
    return { ...extra, ...fields, ...tools, ...format, model, messages }
  })

const annotateRequest = (span: Span, request: Chat.ChatRequest): void =>
  Telemetry.addGenAIAnnotations(span, {
    provider: { name: "together" },
    operation: { name: "chat" },
    request: {
      model: request.model,
      temperature: request.temperature,
      topK: request.top_k,
      topP: request.top_p,
      maxTokens: request.max_tokens,
      stopSequences: request.stop,
      frequencyPenalty: request.frequency_penalty,
      presencePenalty: request.presence_penalty,
      seed: request.seed
    }
  })

const annotateResponse = (
  span: Span,
  parts: ReadonlyArray<Response.PartEncoded | Response.StreamPartEncoded>
): void => {
  for (const part of parts) {
    if (part.type === "response-metadata") {
      Telemetry.addGenAIAnnotations(span, { response: { id: part.id, model: part.modelId } })
    } else if (part.type === "finish") {
      Telemetry.addGenAIAnnotations(span, {
        response: { finishReasons: [part.reason] },
        usage: { inputTokens: part.usage.inputTokens.total, outputTokens: part.usage.outputTokens.total }
      })
    }
  }
}

/**
 * Makes a `LanguageModel` of a Together model.
 *
 * **Errors**: throws a `RangeError` for an empty model name.
 */
export const make = (options: Options): Effect.Effect<LanguageModel.LanguageModel, never, Together> => {
  const { config: base = {}, model } = options
  OptionCheck.name(`${moduleName}.make`, "model", model)

  const prepare = Effect.fnUntraced(function*(asked: LanguageModel.ProviderOptions, method: Method) {
    const config = merge(base, yield* CurrentConfig)
    const request = yield* Effect.mapError(Effect.fromResult(requestOf(model, config, asked)), failed(method))
    annotateRequest(asked.span, request)
    const ids = yield* IdGenerator
    const reading: AiParts.Asked = {
      tools: asked.tools,
      deferred: asked.toolCallValidation === "deferred",
      object: asked.responseFormat.type === "json",
      idPrefix: yield* ids.generateId()
    }
    return { call: config.call, reading, request }
  })

  return Effect.flatMap(Together, (together) =>
    LanguageModel.make({
      codecTransformer: AiPrompt.codecTransformer,
      generateText: Effect.fnUntraced(function*(asked) {
        const method = asked.responseFormat.type === "json" ? "generateObject" : "generateText"
        const { call, reading, request } = yield* prepare(asked, method)
        const response = yield* Effect.mapError(
          together.chat(request, call),
          AiFailure.fromTogetherError(where(method))
        )
        // an answer that cannot be read was given all the same, and is paid for
        annotateResponse(asked.span, AiParts.endsOf(response))
        return yield* Effect.mapError(AiParts.fromResponse(response, reading), failed(method))
      }),
      streamText: (asked) =>
        Stream.unwrap(Effect.map(prepare(asked, "streamText"), ({ call, reading, request }) => {
          const assembler = AiParts.assembler(reading)
          const arriving = together.chatStream(request, call).pipe(
            Stream.provideService(ParentSpan, asked.span), // effect/ai sets its span around an effect only
            Stream.mapError(AiFailure.fromTogetherError(where("streamText"))),
            Stream.mapAccumArray(() => undefined, (_, chunks) => {
              const parts: Array<Response.StreamPartEncoded> = []
              for (const chunk of chunks) assembler.push(chunk, parts)
              annotateResponse(asked.span, parts)
              return [undefined, parts] as const
            })
          )
          const rest = Stream.fromArrayEffect(
            Effect.suspend(() => {
              annotateResponse(asked.span, [assembler.finish()])
              return Effect.mapError(assembler.end, failed("streamText"))
            })
          )
          return Stream.concat(arriving, rest)
        }))
    }))
}

/** Provides the `LanguageModel` of a Together model. */
export const layer = (options: Options): Layer.Layer<LanguageModel.LanguageModel, never, Together> =>
  Layer.effect(LanguageModel.LanguageModel, make(options))

/**
 * Names a Together model as a value that programs are provided with; `ExecutionPlan` takes it too.
 *
 * **Example** (Two models of one client)
 *
 * ```ts
 * import { TogetherLanguageModel } from "effect-together"
 *
 * const fast = TogetherLanguageModel.model("openai/gpt-oss-20b", { temperature: 0 })
 * const deep = TogetherLanguageModel.model("openai/gpt-oss-120b", { reasoning_effort: "high", max_tokens: 8000 })
 * const providers = [fast.provider, deep.provider] // => ["together", "together"]
 * ```
 */
export const model = (
  name: string,
  config?: Config
): AiModel.Model<"together", LanguageModel.LanguageModel, Together> =>
  AiModel.make("together", name, layer({ model: name, config }))
