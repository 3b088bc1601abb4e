import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Chat from "../../src/together/Chat.ts"
import { isPlainRequest, isPlainResponse } from "../../src/together/ChatCheck.ts"

/** Is a small seeded generator: mulberry32. */
const generator = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

const junk = [undefined, null, "", "text", 0, 1, -1, 1.5, NaN, Infinity, 1e300, true, [], {}, [1], [{}], {
  role: "user"
}]

const request = { model: "m", messages: [{ role: "user", content: "hi" }], max_tokens: 5, temperature: 0.5 }
const response = {
  id: "x",
  object: "chat.completion",
  created: 1,
  model: "m",
  prompt: [],
  choices: [{
    index: 0,
    seed: 1,
    finish_reason: "stop",
    logprobs: null,
    message: { role: "assistant", content: "hello", tool_calls: [] }
  }],
  usage: { prompt_tokens: 1 }
}

const mutate = (value: unknown, random: () => number): unknown => {
  if (random() < 0.15) return junk[Math.floor(random() * junk.length)]
  if (Array.isArray(value)) return value.map((item) => mutate(item, random))
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, mutate(item, random)] as const)
  const extra = ["warnings", "logprobs", "tool_calls", "reasoning", "stop", "content", "seed"]
  if (random() < 0.3) {
    entries.push([extra[Math.floor(random() * extra.length)] ?? "", junk[Math.floor(random() * junk.length)]])
  }
  return Object.fromEntries(entries)
}

describe("ChatCheck", () => {
  it("recognizes the everyday shapes", () => {
    expect([isPlainRequest(request), isPlainResponse(response)]).toEqual([true, true])
  })

  it.each(
    [
      ["request", request, isPlainRequest, Schema.is(Chat.ChatRequest)],
      ["response", response, isPlainResponse, Schema.is(Chat.ChatResponse)]
    ] as const
  )("recognizes no %s that the schema refuses", (_, sample, recognize, accepts) => {
    const random = generator(7)
    let recognized = 0
    for (let i = 0; i < 20_000; i++) {
      const value = mutate(sample, random)
      if (!recognize(value)) continue
      recognized++
      if (!accepts(value)) expect.fail(`recognized but refused: ${JSON.stringify(value)}`)
    }
    expect(recognized).toBeGreaterThan(500)
  })
})
