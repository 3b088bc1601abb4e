import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Schedule, Schema } from "effect"
import { Credits, Price, Retry, Together, TogetherError } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"

const request = { model: "m", messages: [{ role: "user", content: "Name three rivers." }], max_tokens: 4000 }
const price = Price.stated({ model: "m", inputUsdPerMillion: "1", outputUsdPerMillion: "1" })

const chat = Together.Together.use((together) => together.chat(request))
const completions = Together.Together.use((together) => together.completions({ model: "m", prompt: "?" }))

/** Runs a call whose every answer is this one; hands back its end, the attempts and what was charged. */
const answered = <A>(
  body: unknown,
  call: Effect.Effect<A, TogetherError.TogetherError, Together.Together>,
  headers: Readonly<Record<string, string>> = {}
) => replied(Reply.json(body, { headers }), call)

const replied = <A>(reply: Reply.Reply, call: Effect.Effect<A, TogetherError.TogetherError, Together.Together>) =>
  VirtualClock.wrap(
    Effect.gen(function*() {
      yield* TogetherTest.always("*", reply)
      const end = yield* Effect.result(call)
      const { accounts } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
      return {
        value: end._tag === "Success" ? end.success : undefined,
        error: end._tag === "Failure" ? end.failure : undefined,
        attempts: (yield* TogetherTest.log).length,
        charged: accounts.map(({ tally }) => tally.settled)
      }
    }).pipe(Effect.provide(Layer.provideMerge(
      TogetherTest.layer({ verifyOnClose: false, together: { prices: () => price, retry: Schedule.recurs(2) } }),
      Credits.layer()
    )))
  )

describe("an answer that is none", () => {
  it.effect("is charged at the usage that it tells, which its error holds, and else at the upper bound", () =>
    Effect.gen(function*() {
      const usage = { prompt_tokens: 6, completion_tokens: 10, total_tokens: 16 }
      for (const body of [{ id: "1", choices: [], usage }, { error: { message: "gave up", code: "x" }, usage }]) {
        const { attempts, charged, error } = yield* answered(body, chat)
        expect([error?._tag, attempts, charged]).toEqual(["DecodeError", 1, [16_000n]])
        expect(error).toMatchObject({ usage: { inputTokens: 6, outputTokens: 10 } })
      }
      const silent = yield* answered({ id: "1", choices: [] }, chat)
      expect(silent.charged[0]).toBeGreaterThan(4_000_000n)
      expect(silent.error).not.toHaveProperty("usage.inputTokens")
    }))
})

describe("an answer to embeddings", () => {
  const embeddings = (input: string | ReadonlyArray<string>) =>
    Together.Together.use((together) => together.embeddings({ model: "m", input }))
  const vector = (index: number) => ({ index, embedding: [1] })
  const usage = { prompt_tokens: 7, total_tokens: 7 }

  it.effect.each<[string, string | ReadonlyArray<string>, number]>([
    ["1 vector for 2 texts", ["a", "b"], 1],
    ["0 vectors for 1 text", "a", 0],
    ["2 vectors for 1 text", ["a"], 2]
  ])("is none where it holds %s, and is charged", ([saying, input, count]) =>
    Effect.gen(function*() {
      const data = Array.from({ length: count }, (_, index) => vector(index))
      const { attempts, charged, error } = yield* answered({ data, usage }, embeddings(input))
      expect([error?._tag, attempts, charged]).toEqual(["DecodeError", 1, [7000n]])
      expect(error?.message).toContain(saying)
    }))

  it.effect("may hold its vectors in any order", () =>
    Effect.gen(function*() {
      const { value } = yield* answered({ data: [vector(1), vector(0)] }, embeddings(["a", "b"]))
      expect(value?.data.map(({ index }) => index)).toEqual([1, 0])
    }))
})

describe("a generation that the provider gave up", () => {
  it.effect("takes a usage without output beside a text for none, and charges the bound", () =>
    Effect.gen(function*() {
      const usage = { prompt_tokens: 4, completion_tokens: 0, total_tokens: 4 }
      const choice = (content: string) => ({ index: 0, finish_reason: "stop", message: { role: "assistant", content } })
      const said = yield* answered({ choices: [choice("Aare")], usage }, chat)
      expect(said.charged[0]).toBeGreaterThan(4_000_000n)
      const silent = yield* answered({ choices: [choice("")], usage }, chat)
      expect(silent.charged).toEqual([4000n])
    }))

  const choice = (content: string, more: object = {}) => ({
    index: 0,
    finish_reason: "error",
    message: { role: "assistant", content, ...more }
  })
  const usage = { prompt_tokens: 5, completion_tokens: 2 }

  it.effect.each<[string, typeof chat | typeof completions, object]>([
    ["chat", chat, choice("")],
    ["completions", completions, { index: 0, finish_reason: "error", text: "" }]
  ])("fails and is tried again where it holds nothing: %s", ([operation, call, failed]) =>
    Effect.gen(function*() {
      const { attempts, error } = yield* answered({ id: "1", choices: [failed] }, call, { "cf-ray": "ray" })
      expect(error).toMatchObject({
        _tag: "StreamError",
        operation,
        model: "m",
        started: false,
        status: 200,
        requestId: "ray",
        message:
          "The generation failed (200): the provider ended the answer with finish_reason \"error\". It holds nothing: try again."
      })
      expect(attempts).toBe(3)
      expect(TogetherError.mayBeBilled(error!)).toBe(true)
    }))

  it.effect.each<[string, object, object]>([
    ["text", choice("Rhi"), { text: "Rhi" }],
    ["reasoning", choice("", { reasoning_content: "hm" }), { reasoning: "hm" }],
    ["a tool call", choice("", { tool_calls: [{ id: "1", function: { name: "f", arguments: "{" } }] }), {}],
    ["an old tool call", choice("", { function_call: { name: "f", arguments: "{" } }), {}]
  ])("fails once and keeps what it holds: %s", ([, failed, partial]) =>
    Effect.gen(function*() {
      const { attempts, error } = yield* answered({ choices: [failed], usage }, chat)
      expect(error).toMatchObject({ _tag: "StreamError", started: true })
      expect(error?._tag === "StreamError" && error.partial).toEqual({
        text: "",
        reasoning: "",
        usage: { inputTokens: 5, outputTokens: 2, cachedInputTokens: 0, reasoningTokens: 0 },
        ...partial
      })
      expect(attempts).toBe(1)
    }))

  it.effect("says that a part arrived, whichever choice it is of", () =>
    Effect.gen(function*() {
      const messageOf = (...choices: ReadonlyArray<object>) =>
        Effect.map(answered({ choices }, chat), ({ error }) => error?.message)
      expect(yield* messageOf(choice("Rhi"))).toContain("Part of the answer arrived; a repeat would generate and bill")
      expect(yield* messageOf(choice(""), { ...choice("Rhi"), index: 1 })).toContain("Part of the answer arrived;")
    }))

  it.effect("is charged by the usage that came along", () =>
    Effect.gen(function*() {
      expect((yield* answered({ choices: [choice("Rhi")], usage }, chat)).charged).toEqual([7000n])
    }))

  it.effect("is an answer where another choice did not fail", () =>
    Effect.gen(function*() {
      const good = { index: 1, finish_reason: "stop", message: { role: "assistant", content: "Rhine" } }
      expect((yield* answered({ choices: [choice(""), good] }, chat)).value?.choices).toHaveLength(2)
      expect((yield* answered({ choices: [choice(""), choice("")] }, chat)).error?._tag).toBe("StreamError")
    }))

  it.effect("is worth another model", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.json({ choices: [choice("")] }), Reply.chat("Rhine"))
        const answer = yield* Together.Together.use((together) =>
          together.chat(request, { fallback: ["other"], retry: Retry.policy({ maxAttempts: 1 }) })
        )
        expect(answer.choices[0]?.message?.content).toBe("Rhine")
      }).pipe(Effect.provide(TogetherTest.layer()))
    ))
})

describe("an answer that ends early", () => {
  const encoded = { "content-encoding": "gzip" }
  const begun = "{\"id\":\"\\\"}\",\"choices\":[{\"message\":{\"content\":\"Rhi"

  it.effect.each([begun, begun.slice(0, 9), "{\"choices\":[1]", ""])(
    "is a cut connection where it was compressed: %j",
    (text) =>
      Effect.gen(function*() {
        const { attempts, charged, error } = yield* replied(Reply.raw(text, { headers: encoded }), chat)
        expect(error).toMatchObject({ _tag: "ConnectionError", status: 200, operation: "chat", permanent: false })
        expect(attempts).toBe(3)
        expect(TogetherError.mayHaveArrived(error!)).toBe(true)
        expect(charged[0]).toBeGreaterThan(3 * 4_000_000)
      })
  )

  it.effect.each<[string, string, Readonly<Record<string, string>>]>([
    ["is in no encoding", begun, { "content-encoding": "identity" }],
    ["says none", begun, {}],
    ["is no JSON", "<p>\"{", encoded],
    ["goes on after its end", "{\"a\":[1]}}", encoded]
  ])("is none that can be read where it %s", ([, text, headers]) =>
    Effect.gen(function*() {
      const { attempts, error } = yield* replied(Reply.raw(text, { headers }), chat)
      expect([error?._tag, attempts]).toEqual(["DecodeError", 1])
    }))
})

describe("an answer that is an error", () => {
  const execute = Together.Together.use((together) =>
    together.request({ path: "/tci/execute", body: { code: "1" }, cost: "free", response: Schema.Unknown })
  )

  it.effect.each<[string, unknown, string]>([
    ["as texts", { data: null, errors: ["boom"] }, "is an error: boom."],
    ["as objects", { data: null, errors: [{ message: "boom" }] }, "is an error: boom."]
  ])("is one where the code interpreter lists it: %s", ([, body, says]) =>
    Effect.gen(function*() {
      const { error } = yield* answered(body, execute)
      expect(error).toMatchObject({ _tag: "DecodeError", message: expect.stringContaining(says) })
    }))

  it.effect.each([{ data: { outputs: [] }, errors: null }, { data: null, errors: [] }])(
    "is none where it lists nothing: %s",
    (body) =>
      Effect.gen(function*() {
        expect((yield* answered(body, execute)).value).toEqual(body)
      })
  )

  it.effect.each<[string, unknown, Readonly<Record<string, string>>, string | undefined]>([
    ["as the header does", { id: "o3", error: { message: "x", type: "y" } }, { "x-request-id": "header" }, "header"],
    ["as the body does", { id: "o3", error: { message: "x", type: "y" } }, { "cf-ray": "ray" }, "o3"],
    ["as the edge does", { nothing: true }, { "cf-ray": "ray" }, "ray"]
  ])("names the request %s", ([, body, headers, requestId]) =>
    Effect.gen(function*() {
      expect((yield* answered(body, chat, headers)).error).toMatchObject({ _tag: "DecodeError", requestId })
    }))
})
