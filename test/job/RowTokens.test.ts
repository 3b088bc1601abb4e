import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as Row from "../../src/job/Row.ts"
import * as RowTokens from "../../src/job/RowTokens.ts"

const row = (url: string, body: object): Row.Row => {
  const read = Row.fromJson({ custom_id: "a", url, body: { model: "m", ...body } }, 1)
  if (read._tag === "Bad") throw new Error(read.message)
  return read
}

const chat = row("/v1/chat/completions", { max_tokens: 9, messages: [{ role: "user", content: "x".repeat(400) }] })

describe("RowTokens", () => {
  it("estimates the rows of each endpoint", () => {
    const rows = [
      chat,
      row("/v1/completions", { prompt: "Hi" }),
      row("/v1/embeddings", { input: "Hi" }),
      row("/v1/rerank", { query: "q", documents: ["a", "b"] })
    ]
    for (const each of rows) expect(RowTokens.estimate(each).inputTokens).toBeGreaterThan(0)
    expect(RowTokens.estimate(row("/v1/images/generations", { prompt: "a boat" })).outputTokens).toBe(0)
    expect(RowTokens.estimate(chat).maxOutputTokens).toBe(9)
  })

  it("counts a picture as the most tiles that Together bills, and what has no length that a request tells by a guess", () => {
    const tokens = (...content: ReadonlyArray<unknown>) =>
      RowTokens.estimate({ ...chat, body: { ...chat.body, messages: [{ role: "user", content }] } }).inputTokens
    const picture = { type: "image_url", image_url: { url: "https://x/a.png" } }
    const none = tokens()
    expect([tokens(picture) - none, tokens(picture, picture) - none]).toEqual([4 * 1601, 8 * 1601])
    expect(tokens({ type: "video_url", video_url: { url: "https://x/a.mp4" } }) - none).toBe(1000)
  })

  it("finds what an answer used at its top or in its first choice, the input by the estimate where it is not said", () => {
    const said = { prompt_tokens: 3, completion_tokens: 4 }
    const usage = { inputTokens: 3, outputTokens: 4, cachedInputTokens: 0, reasoningTokens: 0 }
    expect(RowTokens.used(chat, { usage: said })).toEqual(usage)
    expect(RowTokens.used(chat, { choices: [{ usage: said }] })).toEqual(usage)
    expect(RowTokens.used(chat, { usage: { completion_tokens: 4 } })).toEqual({
      ...usage,
      inputTokens: RowTokens.estimate(chat).inputTokens
    })
    for (const body of [{}, null, "text", { choices: [] }]) expect(RowTokens.used(chat, body)).toBeUndefined()
  })

  describe("estimate", () => {
    const of = (max_tokens: unknown, n?: unknown) =>
      RowTokens.estimate({ ...chat, body: { ...chat.body, max_tokens, n } })

    it("takes what is no count of tokens or choices for absent", () => {
      const open = of(undefined)
      expect(open).toMatchObject({ maxOutputTokens: 8192, openChoices: 1 })
      for (const wrong of [-1, 0.5, 1e30, 20_000_000, "9", null, true, [9], {}, NaN, Infinity]) {
        expect([wrong, of(wrong)]).toEqual([wrong, open])
        expect([wrong, of(9, wrong)]).toEqual([wrong, of(9)])
      }
      expect(of(0)).toMatchObject({ outputTokens: 0, maxOutputTokens: 0 })
      expect(of(9, 0)).toEqual(of(9))
      expect(of(9, 3).maxOutputTokens).toBe(27)
    })

    const json = Arbitrary.schema(Schema.Json)

    it.prop("is whole and never below zero, whatever a row holds", [
      Arbitrary.all({ model: Arbitrary.schema(Schema.NonEmptyString), max_tokens: json, n: json, tools: json }),
      Arbitrary.all({
        input: Arbitrary.array(json, { minLength: 1 }),
        documents: Arbitrary.array(json),
        content: json,
        prompt: json,
        query: json,
        tool_calls: json
      }),
      Arbitrary.schema(Schema.Literals(Object.keys(Row.urls)))
    ], ([common, { content, tool_calls, ...fields }, url]) => {
      const text = { prompt: "a", query: "b" }
      const messages = [{ role: "user", content, tool_calls, reasoning: content }]
      for (const body of [{ ...fields, ...common, messages }, { ...fields, ...common, ...text, messages }]) {
        const read = Row.fromJson({ url, body }, 1)
        if (read._tag === "Bad") continue
        const { inputTokens, maxOutputTokens, outputTokens } = RowTokens.estimate(read)
        for (const tokens of [inputTokens, outputTokens, maxOutputTokens]) {
          expect([body, Number.isSafeInteger(tokens) && tokens >= 0]).toEqual([body, true])
        }
      }
    })
  })
})
