/**
 * Together as an `EmbeddingModel` of `effect/ai`: batched calls in front, every guard of the client behind.
 *
 * Concurrent `embed` calls go out as one request, and `embedMany` sends its texts as one, or in parts of `maxInputs`.
 * Vectors are put in order by their `index`, and each text must have exactly one.
 *
 * The model adds no retry of its own: the client's loop is the only one in the stack.
 *
 * | constructor | gives |
 * | --- | --- |
 * | `model(name, config?)` | an `AiModel.Model`: a layer that also says provider and model name |
 * | `model(name, { dimensions, … })` | the same with `EmbeddingModel.Dimensions` |
 * | `layer({ model, config? })` | a layer of `EmbeddingModel` |
 * | `make({ model, config? })` | the service |
 *
 * All need the `Together` service.
 *
 * **Errors**: `AiError`, as `AiFailure` maps it; `InvalidOutputError` for vectors that are doubled, of no text or of
 * another length than `dimensions`.
 *
 * **Example** (Three texts, one request)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { EmbeddingModel } from "effect/ai"
 * import { TogetherEmbeddingModel } from "effect-together"
 * import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
 *
 * const program = Effect.gen(function*() {
 *   yield* TogetherTest.reply(Reply.embeddings([[1, 0], [0, 1], [1, 1]]))
 *   const model = yield* EmbeddingModel.EmbeddingModel
 *   const answers = yield* Effect.forEach(["a", "b", "c"], model.embed, { concurrency: "unbounded" })
 *   return answers.map((answer) => answer.vector)
 * }).pipe(Effect.provide(TogetherEmbeddingModel.model("intfloat/multilingual-e5-large-instruct", { dimensions: 2 })))
 *
 * await Effect.runPromise(VirtualClock.wrap(Effect.provide(program, TogetherTest.layer()))) // => [[1, 0], [0, 1], [1, 1]]
 * ```
 */
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as AiModel from "effect/ai/Model"
import * as Telemetry from "effect/ai/Telemetry"
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import { fromWire } from "../../domain/Usage.ts"
import { CurrentDeadline } from "../../guard/Deadline.ts"
import { CurrentPolicy } from "../../guard/retry/Retry.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import * as AiBatch from "./AiBatch.ts"
import * as AiFailure from "./AiFailure.ts"
import type { CallOptions } from "../CallOptions.ts"
import * as ContextGuards from "../ContextGuards.ts"
import type { EmbeddingsResponse } from "../Embeddings.ts"
import { Together } from "../Together.ts"

/** Steers a model's requests, and how each call is guarded. */
export interface Config {
  /**
   * Length of every vector, for which a vector store is laid out. An answer with another length fails. It is not sent,
   * since a Together model has only one length. Default: any.
   */
  readonly dimensions?: number | undefined
  /** Texts one request may hold; more go out in parts, side by side. Default: no bound. */
  readonly maxInputs?: number | undefined
  /** Other fields of the request, sent as they are. Default: none. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined
  /** Priority, deadline, retry, fallback models, hedging and label of each call. Default: the client's. */
  readonly call?: CallOptions | undefined
}

/** Names a model and steers its requests. */
export interface Options {
  /** The model as Together names it: `"intfloat/multilingual-e5-large-instruct"`. */
  readonly model: string
  /** Steers its requests, where no region of the program overrides that. Default: nothing beside the model. */
  readonly config?: Config | undefined
}

/** What a region of the program may override: what a vector is stays the model's. */
export type Overrides = Pick<Config, "extra" | "call">

/** Holds the overrides of a region of the program. Default: none. */
export const CurrentConfig: Context.Reference<Overrides> = Context.Reference<Overrides>(
  "effect-together/TogetherEmbeddingModel/CurrentConfig",
  { defaultValue: () => ({}) }
)

const merge = (base: Config, over: Overrides): Config => ({
  ...base,
  extra: { ...base.extra, ...over.extra },
  call: { ...base.call, ...over.call }
})

/**
 * Overrides the configuration of every embedding model used inside an effect, field by field; inner regions win.
 *
 * **Details**: `embed` calls under different overrides, deadlines, retry policies or guards never share a request.
 */
export const withConfig: {
  (config: Overrides): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, config: Overrides): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, config: Overrides): Effect.Effect<A, E, R> =>
    Effect.updateService(self, CurrentConfig, (outer) => merge(outer, config))
)

const moduleName = "TogetherEmbeddingModel"
const where: AiFailure.Where = { module: moduleName, method: "embedMany", path: "/embeddings" }

const invalid = (description: string): AiError.AiError =>
  AiError.make({ module: moduleName, method: where.method, reason: new AiError.InvalidOutputError({ description }) })

/** Puts the vectors, one for each text, in the order of their texts; the index says which, not the position. */
const vectorsOf = (
  response: EmbeddingsResponse,
  inputs: number,
  dimensions: number | undefined
): Effect.Effect<ReadonlyArray<Array<number>>, AiError.AiError> => {
  const vectors = new Map<number, Array<number>>()
  for (const { embedding, index } of response.data) {
    if (index < 0 || index >= inputs) {
      return Effect.fail(invalid(`The answer holds a vector ${index}, but ${inputs} texts were sent.`))
    }
    if (vectors.has(index)) return Effect.fail(invalid(`The answer holds two vectors for text ${index}.`))
    if (dimensions !== undefined && embedding.length !== dimensions) {
      return Effect.fail(
        invalid(`The vector of text ${index} holds ${embedding.length} numbers, not the ${dimensions} of dimensions.`)
      )
    }
    vectors.set(index, [...embedding])
  }
  return Effect.succeed([...vectors].sort(([a], [b]) => a - b).map(([, vector]) => vector))
}

/** Writes on the span that effect/ai has made for this request. */
const annotated = (attributes: Telemetry.GenAITelemetryAttributeOptions): Effect.Effect<void> =>
  Effect.ignore(Effect.map(Effect.currentSpan, Telemetry.addGenAIAnnotations(attributes)))

const partsOf = (inputs: ReadonlyArray<string>, size: number | undefined): ReadonlyArray<ReadonlyArray<string>> =>
  size === undefined || inputs.length <= size
    ? [inputs]
    : Arr.chunksOf(inputs, size)

const checkCount = (field: "dimensions" | "maxInputs", value: number | undefined): void => {
  if (value !== undefined) OptionCheck.integer(`${moduleName}.make`, field, value, 1)
}

/**
 * Makes an `EmbeddingModel` of a Together model.
 *
 * **Errors**: throws a `RangeError` for an empty model name and for counts that are no positive integers.
 */
export const make = (options: Options): Effect.Effect<EmbeddingModel.EmbeddingModel, never, Together> => {
  const { config: base = {}, model } = options
  OptionCheck.name(`${moduleName}.make`, "model", model)
  checkCount("dimensions", base.dimensions)
  checkCount("maxInputs", base.maxInputs)

  return Effect.flatMap(Together, (together) => {
    const once = Effect.fnUntraced(function*(inputs: ReadonlyArray<string>) {
      const { call, dimensions, extra } = merge(base, yield* CurrentConfig)
      const response = yield* Effect.mapError(
        together.embeddings({ ...extra, model, input: inputs }, call),
        AiFailure.fromTogetherError(where)
      )
      const vectors = yield* vectorsOf(response, inputs.length, dimensions)
      return { vectors, inputTokens: fromWire(response.usage)?.inputTokens, model: response.model }
    })
    const embedMany = Effect.fnUntraced(function*(inputs: ReadonlyArray<string>) {
      // the lane decides how many of them are in flight
      const parts = yield* Effect.forEach(partsOf(inputs, base.maxInputs), once, { concurrency: "unbounded" })
      // if only some of the parts tell their usage, the sum would be too low
      const inputTokens = parts.reduce<number | undefined>(
        (sum, part) => sum === undefined || part.inputTokens === undefined ? undefined : sum + part.inputTokens,
        0
      )
      return { results: parts.flatMap((part) => part.vectors), usage: { inputTokens }, model: parts[0]?.model }
    })
    const service = EmbeddingModel.make({
      // a batch runs in the context of its first caller, so callers with other guards get a batch of their own. That
      // may be unneeded, if the client has guards that come first, which cannot be seen here; but one more request does
      // no harm, and a wrong budget would
      batchKey: (context) => [
        Context.get(context, CurrentConfig),
        Context.get(context, CurrentDeadline),
        Context.get(context, CurrentPolicy),
        ContextGuards.of(context)
      ],
      embedMany: ({ inputs }) =>
        annotated({ operation: { name: "embeddings" }, provider: { name: "together" }, request: { model } }).pipe(
          Effect.andThen(embedMany(inputs)),
          Effect.tap((answer) => annotated({ response: { model: answer.model }, usage: answer.usage }))
        )
    })
    return Effect.map(service, AiBatch.owned)
  })
}

/** Provides the `EmbeddingModel` of a Together model. */
export const layer = (options: Options): Layer.Layer<EmbeddingModel.EmbeddingModel, never, Together> =>
  Layer.effect(EmbeddingModel.EmbeddingModel, make(options))

/** Names a Together embedding model as a value that programs are provided with; with `dimensions`, it says them too. */
export function model(
  name: string,
  config: Config & { readonly dimensions: number }
): AiModel.Model<"together", EmbeddingModel.EmbeddingModel | EmbeddingModel.Dimensions, Together>
export function model(
  name: string,
  config?: Config
): AiModel.Model<"together", EmbeddingModel.EmbeddingModel, Together>
export function model(
  name: string,
  config: Config = {}
):
  | AiModel.Model<"together", EmbeddingModel.EmbeddingModel | EmbeddingModel.Dimensions, Together>
  | AiModel.Model<"together", EmbeddingModel.EmbeddingModel, Together>
{
  const service = layer({ model: name, config })
  return config.dimensions === undefined
    ? AiModel.make("together", name, service)
    : AiModel.make(
      "together",
      name,
      Layer.merge(service, Layer.succeed(EmbeddingModel.Dimensions, config.dimensions))
    )
}
