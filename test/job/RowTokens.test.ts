import { describe, expect, it } from "@effect/vitest"
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
})
