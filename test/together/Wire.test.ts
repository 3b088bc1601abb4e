import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Batches from "../../src/together/Batches.ts"
import * as Chat from "../../src/together/Chat.ts"
import * as Completions from "../../src/together/Completions.ts"
import * as Embeddings from "../../src/together/Embeddings.ts"
import * as Files from "../../src/together/Files.ts"
import * as FineTunes from "../../src/together/FineTunes.ts"
import * as Images from "../../src/together/Images.ts"
import * as Models from "../../src/together/Models.ts"
import * as PriceTable from "../../src/together/PriceTable.ts"
import * as Rerank from "../../src/together/Rerank.ts"
import { Together } from "../../src/together/Together.ts"
import { lenient, maybe, omitNull, open } from "../../src/together/Wire.ts"
import { Reply, TogetherTest, VirtualClock } from "../../src/testing/index.ts"

const choice = { index: 0, finish_reason: "stop", message: { role: "assistant", content: "hi" } }
const embedding = { embedding: [0.1], index: 0 }
const result = { index: 0, relevance_score: 0.5 }

describe("Wire", () => {
  const Answer = open({
    content: maybe(Schema.String),
    price: lenient(Schema.Finite),
    id: omitNull(Schema.String)
  })
  const decode = Schema.decodeUnknownSync(Answer)

  it("keeps what it does not know", () => {
    expect(decode({ content: "a", brand_new: 7 })).toEqual({ content: "a", brand_new: 7 })
  })

  it("reads an lenient of another type as absent, and null where it may be said", () => {
    expect(decode({ content: null, price: null, id: null })).toEqual({ content: null, price: null })
    expect(decode({ content: "a", price: "1", id: 7 })).toEqual({ content: "a" })
    expect(() => decode({ content: 7 })).toThrow("content")
  })

  it("encodes to what it came from", () => {
    const wire = { content: "a", price: 1, id: "x", more: null }
    expect(Schema.encodeSync(Answer)(decode(wire))).toEqual(wire)
  })
})

describe("a paid answer", () => {
  it.each<[string, Schema.Codec<unknown, unknown>, object, object]>([
    ["chat", Chat.ChatResponse, { choices: [choice] }, { created: "today", usage: "none", warnings: ["w"], prompt: 7 }],
    ["completions", Completions.CompletionResponse, { choices: [{ text: "hi" }] }, { id: 7, usage: [], created: "x" }],
    ["embeddings", Embeddings.EmbeddingsResponse, { data: [embedding] }, { object: null, model: null, usage: 1 }],
    ["rerank", Rerank.RerankResponse, { results: [result] }, { id: null, object: 7, model: null, usage: false }],
    ["images", Images.ImagesResponse, { data: [{ url: "u" }] }, { id: null, model: null, object: null }],
    ["files", Files.File, { id: "f" }, { object: null, created_at: null, bytes: "9", Processed: "yes" }],
    ["batches", Batches.BatchJob, { id: "b", status: "COMPLETED" }, { created_at: 7, error: {}, progress: "100" }],
    ["fine-tunes", FineTunes.FineTune, { id: "t" }, { created_at: 7, events: [1], progress: "1", total_price: "9" }]
  ])("of %s is read whatever its ornaments are", (_, schema, answer, strays) => {
    const read = Schema.decodeSync(schema)({ ...answer, ...strays })
    expect(read).toMatchObject(answer)
    expect(Object.values(read as object).filter((value) => value !== null && value !== undefined))
      .toHaveLength(Object.keys(answer).length)
  })

  it("keeps the counts of its usage that can be read", () => {
    const { usage } = Schema.decodeUnknownSync(Chat.ChatResponse)({
      choices: [choice],
      usage: { prompt_tokens: 3, completion_tokens: "x", cached_tokens: 2 }
    })
    expect(usage).toEqual({ prompt_tokens: 3, cached_tokens: 2 })
  })

  it.each([undefined, null, 7])("is the assistant's, where its role is %s", (role) => {
    const read = Schema.decodeUnknownSync(Chat.ChatResponse)({
      choices: [{ message: { content: "hi", ...(role === undefined ? {} : { role }) }, logprobs: [] }]
    })
    expect(read.choices).toEqual([{ message: { role: "assistant", content: "hi" } }])
  })

  it("never loses the arguments of a call", () => {
    const decode = Schema.decodeUnknownSync(Chat.ChatResponse)
    const called = (args: unknown) => ({ choices: [{ message: { function_call: { name: "f", arguments: args } } }] })
    expect(decode(called({ a: 1 })).choices[0]?.message?.function_call?.arguments).toBe("{\"a\":1}")
    expect(() => decode(called(7))).toThrow("function_call")
  })

  it("of rerank is read where a document came back as text", () => {
    const answer = { results: [{ ...result, document: "a" }] }
    expect(Schema.decodeUnknownSync(Rerank.RerankResponse)(answer).results).toEqual([result])
  })
})

describe("a list of models", () => {
  const decode = Schema.decodeUnknownSync(Models.ModelList)

  it("keeps every entry that is a model, without what cannot be read of it", () => {
    const entries = [
      { id: "a", object: null, created: "x", type: 7, pricing: { input: 1, output: 2 } },
      { id: "b", pricing: { input: "0.1", output: 2 } },
      { object: "model" },
      null
    ]
    expect(decode(entries)).toEqual([{ id: "a", pricing: { input: 1, output: 2 } }, { id: "b" }])
    expect(decode([])).toEqual([])
  })

  it("is none where no entry is a model", () => {
    expect(() => decode([{ object: "model" }, 7])).toThrow("id")
    expect(() => decode({ data: [] })).toThrow()
  })

  it.effect("refreshes prices in spite of an odd entry", () =>
    Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.json([{ id: "odd", pricing: { input: "x" } }, {
        id: "even/model",
        pricing: { input: 1, output: 2 }
      }]))
      const models = Effect.flatMap(Together, (together) => together.models())
      const table = yield* PriceTable.make({ models })
      yield* table.refresh
      expect([table.lookup("odd"), table.lookup("even/model")?.source]).toEqual([undefined, expect.any(String)])
    }).pipe(Effect.provide(TogetherTest.layer()), VirtualClock.wrap))
})

describe("a request", () => {
  it.each<[string, Schema.Codec<unknown, unknown>, object]>([
    ["max_tokens", Chat.ChatRequest, {
      model: "m",
      messages: [{ role: "user", content: "?" }],
      echo: true,
      logprobs: 1
    }],
    ["max_tokens", Completions.CompletionRequest, { model: "m", prompt: "?", echo: true, logprobs: 1 }],
    ["top_n", Rerank.RerankRequest, { model: "m", query: "?", documents: ["a"] }]
  ])("may ask for a %s of 0", (field, schema, request) => {
    const accepts = (n: number) => Schema.is(schema)({ ...request, [field]: n })
    expect([accepts(0), accepts(1), accepts(-1), accepts(0.5)]).toEqual([true, true, false, false])
  })
})

describe("ImagesResponse", () => {
  it("is no answer without any image, and one where some are missing", () => {
    const read = (data: unknown) => Schema.decodeUnknownExit(Images.ImagesResponse)({ data })
    for (const none of [[], [{ index: 0 }], [{ url: null, b64_json: "" }]]) expect(read(none)._tag).toBe("Failure")
    for (const some of [[{ index: 0, url: null }, { index: 1, url: "u" }], [{ b64_json: "QUJD" }]]) {
      expect(read(some)).toMatchObject({ _tag: "Success", value: { data: some } })
    }
  })
})
