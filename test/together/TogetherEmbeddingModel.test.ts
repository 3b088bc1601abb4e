import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option, Schedule, Tracer } from "effect"
import { EmbeddingModel, Model } from "effect/ai"
import { Retry } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import * as AiBatch from "../../src/together/ai/AiBatch.ts"
import * as AiFailure from "../../src/together/ai/AiFailure.ts"
import * as TogetherEmbeddingModel from "../../src/together/ai/TogetherEmbeddingModel.ts"
import { recorded } from "./spans.ts"

const name = "intfloat/multilingual-e5-large-instruct"

type Provided =
  | EmbeddingModel.EmbeddingModel
  | TogetherTest.TogetherTest
  | Model.ProviderName
  | Model.ModelName

const run = <A, E, R extends Provided>(
  program: Effect.Effect<A, E, R>,
  config?: TogetherEmbeddingModel.Config
) =>
  VirtualClock.wrap(
    program.pipe(
      Effect.provide(Layer.provideMerge(TogetherEmbeddingModel.model(name, config), TogetherTest.layer()))
    )
  )

const embedMany = (inputs: ReadonlyArray<string>) =>
  EmbeddingModel.EmbeddingModel.use((model) => model.embedMany(inputs))
const embed = (input: string) => EmbeddingModel.EmbeddingModel.use((model) => model.embed(input))
const bodies = Effect.map(TogetherTest.sent, (sent) => sent.map((one) => one.body))

const answer = (data: ReadonlyArray<readonly [index: number, embedding: ReadonlyArray<number>]>) =>
  Reply.json({ data: data.map(([index, embedding]) => ({ object: "embedding", index, embedding })) })

/** Answers each text with its length. */
const lengths = TogetherTest.always(
  "*",
  ({ body }) =>
    Reply.embeddings(
      typeof body === "object" && body !== null && "input" in body && Array.isArray(body.input)
        ? body.input.map((text) => [String(text).length])
        : []
    )
)

describe("TogetherEmbeddingModel", () => {
  it.effect("sends many texts as one request and answers in their order", () =>
    run(Effect.gen(function*() {
      yield* TogetherTest.reply(answer([[1, [0, 1]], [0, [1, 0]]]))
      const got = yield* embedMany(["a", "b"])
      expect(got.embeddings.map((one) => one.vector)).toEqual([[1, 0], [0, 1]])
      expect(got.usage.inputTokens).toBeUndefined()
      expect(yield* bodies).toEqual([{ model: name, input: ["a", "b"] }])
    })))

  it.effect("sends texts asked for side by side as one request", () =>
    run(Effect.gen(function*() {
      yield* lengths
      const got = yield* Effect.forEach(["a", "bb", "ccc"], embed, { concurrency: "unbounded" })
      expect(got.map((one) => one.vector)).toEqual([[1], [2], [3]])
      expect(yield* bodies).toEqual([{ model: name, input: ["a", "bb", "ccc"] }])
    })))

  it.effect("sends nothing for no texts", () =>
    run(Effect.gen(function*() {
      expect((yield* embedMany([])).embeddings).toEqual([])
      expect(yield* TogetherTest.log).toEqual([])
    })))

  it.effect("splits what is more than one request may hold, keeps the order and adds the usage", () =>
    run(
      Effect.gen(function*() {
        yield* lengths
        const got = yield* embedMany(["a", "bb", "ccc", "dddd", "eeeee"])
        expect(got.embeddings.map((one) => one.vector)).toEqual([[1], [2], [3], [4], [5]])
        expect(got.usage.inputTokens).toBe(30)
        expect(yield* bodies).toMatchObject([{ input: ["a", "bb"] }, { input: ["ccc", "dddd"] }, { input: ["eeeee"] }])
      }),
      { maxInputs: 2 }
    ))

  it.effect("counts nothing where a part of the answer counts nothing", () =>
    run(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.embeddings([[1]]), answer([[0, [2]]]))
        expect((yield* embedMany(["a", "b"])).usage.inputTokens).toBeUndefined()
      }),
      { maxInputs: 1 }
    ))

  it.effect("says the dimensions it promises, and the names of provider and model", () =>
    Effect.gen(function*() {
      expect([yield* EmbeddingModel.Dimensions, yield* Model.ProviderName, yield* Model.ModelName]).toEqual([
        2,
        "together",
        name
      ])
    }).pipe(
      Effect.provide(Layer.provideMerge(TogetherEmbeddingModel.model(name, { dimensions: 2 }), TogetherTest.layer()))
    ))

  it.effect.each<[string, Reply.Reply, string]>([
    ["doubled", answer([[0, [1, 0]], [0, [1, 0]]]), "two vectors for text 0"],
    ["not asked for", answer([[0, [1, 0]], [2, [1, 0]]]), "a vector 2"],
    ["negative in index", answer([[0, [1, 0]], [-1, [1, 0]]]), "a vector -1"],
    ["of another length", answer([[0, [1, 0]], [1, [1, 0, 0]]]), "holds 3 numbers, not the 2"]
  ])("fails for vectors that are %s", ([, reply, saying]) =>
    run(
      Effect.gen(function*() {
        yield* TogetherTest.reply(reply)
        const error = yield* Effect.flip(embedMany(["a", "b"]))
        expect(error).toMatchObject({ module: "TogetherEmbeddingModel", reason: { _tag: "InvalidOutputError" } })
        expect(error.message).toContain(saying)
      }),
      { dimensions: 2 }
    ))

  it.effect("fails for a vector that is missing, as the client does", () =>
    run(Effect.gen(function*() {
      yield* TogetherTest.reply(answer([[0, [1]]]))
      const error = yield* Effect.flip(embedMany(["a", "b"]))
      expect(error.reason).toMatchObject({ _tag: "InvalidResponseError", isRetryable: false })
      expect(error.message).toContain("1 vector for 2 texts")
    })))

  it.effect("writes model and usage on the spans of effect/ai, whether a batch or many at once", () =>
    Effect.gen(function*() {
      const { spans, tracer } = recorded()
      yield* run(Effect.gen(function*() {
        yield* TogetherTest.reply(
          Reply.embeddings([[1], [2]], { model: "served", usage: { prompt_tokens: 7, total_tokens: 7 } }),
          Reply.json({ data: [{ embedding: [3], index: 0 }] }),
          Reply.error(400)
        )
        yield* Effect.forEach(["a", "b"], embed, { concurrency: "unbounded" })
        yield* embedMany(["c"])
        yield* Effect.flip(embedMany(["d"]))
      })).pipe(Effect.provideService(Tracer.Tracer, tracer))
      const written = spans.filter((span) => span.attributes.has("gen_ai.operation.name"))
      const asked = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "together",
        "gen_ai.request.model": name
      }
      expect(written.map((span) => [span.name, Object.fromEntries(span.attributes)])).toEqual([
        ["EmbeddingModel.resolver", {
          ...asked,
          batchSize: 2,
          "gen_ai.response.model": "served",
          "gen_ai.usage.input_tokens": 7
        }],
        ["EmbeddingModel.embedMany", asked],
        ["EmbeddingModel.embedMany", asked]
      ])
    }))

  it.effect("is retried by the client alone, and keeps the provider's hint when that is over", () =>
    run(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.overloaded, Reply.rateLimited({ reset: 4 }))
        const error = yield* Effect.flip(embedMany(["a"]))
        expect(error).toMatchObject({ method: "embedMany", reason: { _tag: "RateLimitError" } })
        expect(error.retryAfter && Duration.toSeconds(error.retryAfter)).toBe(4)
        expect(AiFailure.details(error)).toMatchObject({ attempts: 2, operation: "embeddings" })
        expect((yield* TogetherTest.log).length).toBe(2)
      }),
      { call: { retry: Schedule.recurs(1) } }
    ))

  it.effect("gives texts under other overrides or other guards a request of their own", () =>
    run(
      Effect.gen(function*() {
        yield* lengths
        yield* Effect.all([
          embed("a"),
          embed("b").pipe(TogetherEmbeddingModel.withConfig({ extra: { truncate: true } })),
          embed("c"),
          embed("d").pipe(Effect.provideService(Retry.CurrentPolicy, Schedule.recurs(0)))
        ], { concurrency: "unbounded" })
        const sent = yield* bodies
        expect(sent.length).toBe(3)
        expect(sent).toContainEqual({ model: name, input: ["a", "c"], user_field: 1 })
        expect(sent).toContainEqual({ model: name, input: ["b"], user_field: 1, truncate: true })
        expect(sent).toContainEqual({ model: name, input: ["d"], user_field: 1 })
      }),
      { extra: { user_field: 1, model: "other" } }
    ))

  it.effect("goes on with a request until the last of its callers has left, then gives back all that it holds", () =>
    run(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.hang)
      const first = yield* Effect.forkChild(embed("a"), { startImmediately: true })
      const last = yield* Effect.forkChild(embed("b"), { startImmediately: true })
      yield* Effect.sleep("1 second")
      expect(yield* bodies).toEqual([{ model: name, input: ["a", "b"] }])
      yield* Fiber.interrupt(first)
      expect(yield* TogetherTest.open).toHaveLength(1)
      yield* Fiber.interrupt(last)
      expect(yield* TogetherTest.open).toHaveLength(0)
    })))

  it.effect("lets its last caller leave once that is given back, however long it takes", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      let given = 0
      const giveBack = Effect.delay(Effect.sync(() => void given++), "2 seconds")
      const model = yield* EmbeddingModel.make({ embedMany: () => Effect.onInterrupt(Effect.never, () => giveBack) })
      const caller = yield* Effect.forkChild(AiBatch.owned(model).embed("a"), { startImmediately: true })
      yield* Effect.sleep("1 second")
      yield* Fiber.interrupt(caller)
      expect(given).toBe(1)
    })))

  it.effect("answers a caller that stays when another has left", () =>
    run(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.after(Reply.embeddings([[1], [2]]), "2 seconds"))
      const leaves = yield* Effect.forkChild(embed("a"), { startImmediately: true })
      const stays = yield* Effect.forkChild(embed("b"), { startImmediately: true })
      yield* Effect.sleep("1 second")
      yield* Fiber.interrupt(leaves)
      expect((yield* Fiber.join(stays)).vector).toEqual([2])
    })))

  it.effect("sends nothing for callers that leave before their texts are sent, and repeats nothing after them", () =>
    run(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.rateLimited({ reset: 30 }))
      const early = yield* Effect.forkChild(embed("a"), { startImmediately: true })
      yield* Fiber.interrupt(early)
      expect(yield* Effect.timeoutOption(embed("b"), "10 seconds")).toEqual(Option.none())
      yield* Effect.sleep("5 minutes")
      expect(yield* bodies).toEqual([{ model: name, input: ["b"] }])
    })))

  it("refuses counts that are none and a model without a name", () => {
    expect(() => TogetherEmbeddingModel.model(name, { dimensions: 0 })).toThrow(
      new RangeError("TogetherEmbeddingModel.make: dimensions must be an integer >= 1, got 0")
    )
    expect(() => TogetherEmbeddingModel.model(name, { maxInputs: 1.5 })).toThrow(
      new RangeError("TogetherEmbeddingModel.make: maxInputs must be an integer >= 1, got 1.5")
    )
    expect(() => TogetherEmbeddingModel.model("")).toThrow(RangeError)
  })
})
