import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema, Stream } from "effect"
import { Budget, Credits, Lanes, Price, Together, type TogetherError } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import { HttpClient, HttpClientResponse } from "effect/http"
import * as Routes from "../../src/together/Routes.ts"

const use = <A, E, R>(f: (together: Together.Service) => Effect.Effect<A, E, R>) => Effect.flatMap(Together.Together, f)

describe("money of calls by path", () => {
  const model = "openai/gpt-oss-20b"
  const chat = { model, messages: [{ role: "user", content: "x" }], max_tokens: 1000 }
  const response = Schema.Unknown
  const reply = Reply.json({ id: "x", status: "pending", job: { id: "x" }, data: [{ index: 0 }], results: [] })
  const usage = { prompt_tokens: 100, completion_tokens: 50 }

  const guarded = <A, E>(
    effect: Effect.Effect<A, E, Together.Together | TogetherTest.TogetherTest | Credits.Credits>,
    options: Credits.Options
  ) =>
    VirtualClock.wrap(
      Effect.provide(
        effect,
        TogetherTest.layer({ verifyOnClose: false }).pipe(Layer.provideMerge(Credits.layer(options)))
      )
    )

  const costly: ReadonlyArray<
    readonly [string, (t: Together.Service) => Effect.Effect<unknown, TogetherError.TogetherError>]
  > = [
    ["a priced path", (t) => t.request({ path: "/chat/completions", body: chat, response })],
    [
      "the address of a priced path",
      (t) => t.request({ path: "https://api.together.ai/v1/chat/completions?a=1", body: chat, response })
    ],
    ["a path by its estimate", (t) =>
      t.request({
        path: "/new",
        body: {},
        model,
        estimate: { inputTokens: 100, outputTokens: 1, maxOutputTokens: 1000 },
        response
      })],
    ["an unknown path", (t) => t.request({ path: "/endpoints", body: {}, response })],
    [
      "a body that its operation does not know",
      (t) => t.request({ path: "/chat/completions", body: { model }, response })
    ],
    ["batches.create", (t) => t.batches.create({ endpoint: "/v1/chat/completions", input_file_id: "f" })],
    ["fineTunes.create", (t) => t.fineTunes.create({ model: "m", training_file: "f" })],
    ["evaluations.create", (t) => t.evaluations.create({ type: "classify", parameters: {} })]
  ]

  it.effect.each(costly)("is guarded: %s", ([, call]) =>
    Effect.gen(function*() {
      const refused = yield* guarded(
        Effect.gen(function*() {
          yield* TogetherTest.always("*", reply)
          const error = yield* Effect.flip(use(call))
          return [error, yield* TogetherTest.log] as const
        }),
        { budgets: [Budget.perRun("$0.000001")] }
      )
      expect(refused).toEqual([expect.objectContaining({ _tag: "BudgetExceededError" }), []])
      yield* guarded(
        Effect.gen(function*() {
          yield* TogetherTest.always("*", Reply.outOfCredits)
          expect(yield* Effect.flip(use(call))).toMatchObject({ _tag: "InsufficientCreditsError", status: 402 })
          const later = yield* Effect.flip(use(call))
          expect([later._tag, later.status]).toEqual(["InsufficientCreditsError", undefined])
          expect(yield* TogetherTest.log).toHaveLength(1)
        }),
        {}
      )
    }))

  it.effect("is that of the operation whose path it is, in the same lane", () =>
    guarded(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.json({ choices: [], usage }))
        yield* use((t) => t.request({ path: "/chat/completions", body: chat, response }))
        const { budgets } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        // 100 tokens in at 5 cents, 50 out at 20 cents a million
        expect(budgets.map(({ tally }) => [tally.settled, tally.reserved])).toEqual([[15_000n, 0n]])
        expect((yield* TogetherTest.log)[0]?.sent.body).toEqual(chat)
      }),
      { budgets: [Budget.perRun("$1")] }
    ))

  it.effect("takes null for a field that is not there, and sends it", () =>
    guarded(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.json({ choices: [], usage }))
        const body = { ...chat, temperature: null, stop: null, tools: null }
        yield* use((t) => t.request({ path: "/chat/completions", body, response }))
        const { budgets } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        expect(budgets.map(({ tally }) => tally.settled)).toEqual([15_000n])
        expect((yield* TogetherTest.log)[0]?.sent.body).toEqual(body)
      }),
      { budgets: [Budget.perRun("$1")] }
    ))

  it.effect("says which field keeps it from being known, and no prompt", () =>
    guarded(
      Effect.gen(function*() {
        const body = {
          ...chat,
          messages: [{ role: "user", content: "the secret of the vault" }],
          stop: "the secret of the vault"
        }
        const error = yield* Effect.flip(use((t) => t.request({ path: "/chat/completions", body, response })))
        expect(error._tag).toBe("BudgetExceededError")
        expect(error.message).toContain("[\"stop\"]")
        expect(error.message).not.toContain("secret")
      }),
      { budgets: [Budget.perRun("$1")] }
    ))

  it.effect("is that of the operation by its whole address, too, below a base URL of its own path", () =>
    Effect.gen(function*() {
      const sent: Array<string> = []
      const client = HttpClient.make((request, url) => {
        sent.push(url.href)
        return Effect.succeed(HttpClientResponse.fromWeb(request, Response.json({ choices: [], usage })))
      })
      const layer = Together.layerHttp({
        apiKey: Redacted.make("a-test-key"),
        baseUrl: "https://proxy.corp/together/v1"
      }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
      yield* Effect.gen(function*() {
        const path = "https://proxy.corp/together/v1/chat/completions/"
        yield* use((t) => t.request({ path, body: chat, response }))
        const { budgets } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        expect([sent, budgets.map(({ tally }) => tally.settled)]).toEqual([[path], [15_000n]])
      }).pipe(Effect.provide(layer.pipe(Layer.provideMerge(Credits.layer({ budgets: [Budget.perRun("$1")] })))))
    }))

  it.effect("is what the caller states", () =>
    guarded(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", reply)
        const stated = Price.exactly(300n)
        const range = Price.range(0n, 200n)
        yield* use((t) => t.fineTunes.create({ model: "m", training_file: "f" }, { cost: stated }))
        yield* use((t) => t.request({ path: "/endpoints", body: {}, response, cost: range }))
        const error = yield* Effect.flip(
          use((t) => t.evaluations.create({ type: "score", parameters: {} }, { cost: Price.exactly(1001n) }))
        )
        expect(error).toMatchObject({ _tag: "BudgetExceededError", reason: "no-room" })
        const { budgets } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        // a range is charged at its upper end, as assumed
        expect(budgets.map(({ tally }) => [tally.settled, tally.uncertain])).toEqual([[500n, 200n]])
      }),
      { budgets: [Budget.perRun(1000n)] }
    ))

  it.effect("is sure at the end of a stream, and assumed of a part of one", () =>
    guarded(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.events([{ b64: "QUJD" }, { b64: "QUJD" }]))
        const events = use((t) =>
          Effect.succeed(t.requestStream({ path: "/x", body: {}, cost: Price.exactly(300n), response }))
        )
        const told: Array<Price.Cost> = []
        const onAnswered = ({ cost }: Together.Answered) => Effect.sync(() => void told.push(cost))
        yield* Stream.runDrain(Stream.unwrap(use((t) =>
          Effect.succeed(
            t.requestStream({ path: "/x", body: {}, cost: Price.exactly(300n), response }, { onAnswered })
          )
        )))
        const tally = Effect.map(
          Effect.flatMap(Credits.Credits, (credits) => credits.report),
          ({ budgets }) => budgets.map(({ tally }) => [tally.settled, tally.uncertain])
        )
        expect([yield* tally, told]).toEqual([[[300n, 0n]], [Price.known(300n)]])
        yield* Stream.runDrain(Stream.take(Stream.unwrap(events), 1))
        expect(yield* tally).toEqual([[600n, 300n]])
      }),
      { budgets: [Budget.perRun("$1")] }
    ))

  it.effect("is that of its characters for speech, in the lane of its model", () =>
    guarded(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", Reply.raw(Uint8Array.of(1, 2), { contentType: "audio/wav" }))
        const speak = (model: string) =>
          use((t) => t.requestBytes({ path: "/audio/speech", body: { model, input: "hello", voice: "v" } }))
        yield* speak("hexgrad/Kokoro-82M")
        const refused = yield* Effect.flip(speak("a/new-voice"))
        expect(refused.message).toContain("no price is known for model a/new-voice")
        const { budgets } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        // five characters at $4 a million
        expect(budgets.map(({ tally }) => [tally.settled, tally.uncertain])).toEqual([[20_000n, 0n]])
        expect((yield* Effect.flatMap(Lanes.Lanes, (lanes) => lanes.all)).map(({ key }) => key)).toContain(
          "default/hexgrad/Kokoro-82M"
        )
      }).pipe(Effect.provide(Lanes.layer())),
      { budgets: [Budget.perRun("$1")] }
    ))

  it.effect("has room for what a rerank takes: the query with each document, and what stands around both", () =>
    Effect.sync(() => {
      // the example in Together's reference, which was billed 1,837 tokens
      const documents = [
        "The llama is a domesticated South American camelid, widely used as a meat and pack animal by Andean cultures since the pre-Columbian era.",
        "The giant panda (Ailuropoda melanoleuca), also known as the panda bear or simply panda, is a bear species endemic to China.",
        "The guanaco is a camelid native to South America, closely related to the llama. Guanacos are one of two wild South American camelids; the other species is the vicuña, which lives at higher elevations.",
        "The wild Bactrian camel (Camelus ferus) is an endangered species of camel endemic to Northwest China and southwestern Mongolia."
      ]
      const query = "What animals can I find near Peru?"
      const { inputTokens } = Routes.rerank.estimate({ model: "m", query, documents })
      expect(inputTokens).toBeGreaterThan(1837 / 1.1)
      expect(inputTokens).toBeLessThan(1837 * 1.1)
      const longer = Routes.rerank.estimate({ model: "m", query: query.repeat(100), documents })
      expect(longer.inputTokens - inputTokens).toBeGreaterThan(4 * 99 * 6)
    }))

  it.effect("passes unknown where the guard allows it, and counts it as unpriced", () =>
    guarded(
      Effect.gen(function*() {
        yield* TogetherTest.always("*", reply)
        yield* use((t) => t.batches.create({ endpoint: "/v1/chat/completions", input_file_id: "f" }))
        const { budgets } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        expect(budgets.map(({ tally }) => [tally.settled, tally.unpriced])).toEqual([[0n, 1]])
      }),
      { budgets: [Budget.perRun("$0.000001")], unknownPrice: "allow" }
    ))

  it.effect("holds up nothing that is free", () =>
    guarded(
      Effect.gen(function*() {
        yield* TogetherTest.on({ operation: "chat" }, Reply.outOfCredits)
        yield* TogetherTest.always("*", Reply.json({ id: "x", data: [] }))
        yield* Effect.flip(use((t) => t.chat(chat)))
        yield* use((t) => t.batches.cancel("x"))
        yield* use((t) => t.fineTunes.estimatePrice({ model: "m", training_file: "f" }))
        yield* use((t) => t.files.upload({ content: "{}", name: "f", purpose: "batch-api" }))
        yield* use((t) => t.files.delete("x"))
        yield* use((t) => t.request({ path: "/endpoints", response }))
        yield* use((t) => t.request({ path: "/endpoints/x", method: "PATCH", body: {}, cost: "free", response }))
        expect(yield* TogetherTest.log).toHaveLength(7)
      }),
      { budgets: [Budget.perRun("$1")] }
    ))

  it.effect("is not touched by a request that JSON cannot hold", () =>
    guarded(
      Effect.gen(function*() {
        const bad = { ...chat, tools: [{ function: { name: "f", parameters: { x: 1n } } }] }
        for (
          const call of [
            use((t) => Effect.asVoid(t.chat(bad))),
            use((t) => Stream.runDrain(t.chatStream(bad))),
            use((t) => Effect.asVoid(t.request({ path: "/chat/completions", body: bad, response })))
          ]
        ) {
          expect((yield* Effect.flip(call))._tag).toBe("InvalidRequestError")
        }
        const { accounts } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        expect([accounts, yield* TogetherTest.log]).toEqual([[], []])
      }),
      { budgets: [Budget.perRun("$1")] }
    ))
})
