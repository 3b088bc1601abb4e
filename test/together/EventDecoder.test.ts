import { describe, expect, it } from "@effect/vitest"
import * as Chat from "../../src/together/Chat.ts"
import * as Completions from "../../src/together/Completions.ts"
import * as EventDecoder from "../../src/together/EventDecoder.ts"

const utf8 = new TextEncoder()

const run = (text: string, options: { readonly step?: number; readonly maxEventSize?: number } = {}) => {
  const decoder = EventDecoder.make(Chat.shape, { maxEventSize: options.maxEventSize })
  const chunks: Array<Chat.ChatChunk> = []
  const bytes = utf8.encode(text)
  const step = options.step ?? bytes.length
  for (let at = 0; at < bytes.length; at += step) decoder.feed(bytes.subarray(at, at + step), chunks)
  decoder.finish(chunks)
  return { decoder, chunks, text: chunks.map(Chat.deltaText).join(""), end: decoder.end() }
}

const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`
const delta = (content: string, more: object = {}) =>
  data({ id: "x", object: "chat.completion.chunk", choices: [{ index: 0, delta: { content }, ...more }] })
const usage = { prompt_tokens: 45, completion_tokens: 3, total_tokens: 48 }
const done = "data: [DONE]\n\n"

describe("EventDecoder", () => {
  it("decodes Together's own recording shape: usage on the finish chunk", () => {
    const { chunks, decoder, end, text } = run(
      data({
        id: "ogz",
        object: "chat.completion.chunk",
        created: 1777411129,
        choices: [{
          index: 0,
          text: "Hello",
          logprobs: null,
          finish_reason: null,
          seed: null,
          delta: { token_id: 9906, role: "assistant", content: "Hello" }
        }],
        model: "m",
        usage: null
      }) + data({
        id: "ogz",
        choices: [{
          index: 0,
          text: "",
          finish_reason: "stop",
          seed: 15924764223251450000,
          delta: { token_id: null, content: "" }
        }],
        usage: { ...usage, cached_tokens: 0 }
      }) + done
    )
    expect([text, chunks.length, end]).toEqual(["Hello", 2, { _tag: "Done" }])
    expect(decoder.usage()).toMatchObject({ inputTokens: 45, outputTokens: 3 })
    expect(chunks[0]).toMatchObject({ choices: [{ delta: { token_id: 9906 } }] })
  })

  it("decodes alike whatever the chunking, multi-byte characters included", () => {
    const text = `: hello\r\n\r\nretry: 10\r\n\r\n${delta("größe ")}${delta("日本 😀")}data:${
      JSON.stringify({ choices: [], usage })
    }\r\n\r\n${done}`
    const whole = run(text)
    expect(whole.text).toBe("größe 日本 😀")
    for (let step = 1; step <= 40; step++) {
      const cut = run(text, { step })
      expect([cut.text, cut.chunks.length, cut.end]).toEqual([whole.text, whole.chunks.length, whole.end])
    }
  })

  it.each([
    [
      "on a trailing chunk without choices",
      delta("a", { finish_reason: "stop" }) + data({ choices: [], usage }) + done
    ],
    ["on a trailing chunk that has no choices field", delta("a", { finish_reason: "stop" }) + data({ usage }) + done],
    ["inside the first choice", delta("a", { finish_reason: "stop", usage }) + done],
    ["after the finish reason", delta("a", { finish_reason: "stop" }) + data({ choices: [], usage }) + done]
  ])("finds usage %s", (_, text) => {
    const { decoder, end } = run(text)
    expect(end).toEqual({ _tag: "Done" })
    expect(decoder.usage()).toMatchObject({ inputTokens: 45, outputTokens: 3 })
  })

  it("stops reading at [DONE], in any case and spacing", () => {
    for (const sentinel of ["data: [DONE]\n\n", "data:[done]\n\n", "data: [Done] \n\n"]) {
      const { chunks, end } = run(delta("a") + sentinel + delta("b"))
      expect([chunks.length, end]).toEqual([1, { _tag: "Done" }])
    }
  })

  it("accepts an end without [DONE] after a finish reason", () => {
    expect(run(delta("a", { finish_reason: "length" })).end).toEqual({ _tag: "Done" })
  })

  it("completes an event whose blank line was cut off", () => {
    expect(run(delta("a") + "data: [DONE]").end).toEqual({ _tag: "Done" })
  })

  it("counts named message events, ignores pings, and counts no comment", () => {
    const { decoder, text } = run(
      `event: message\n${delta("a")}event: ping\ndata: {}\n\n: keep-alive\n\nid: 7\n${delta("b")}${done}`
    )
    expect([text, decoder.events()]).toEqual(["ab", 2])
  })

  it.each<[string, string, EventDecoder.Failure["reason"], string]>([
    ["an error object", data({ error: { message: "overloaded", type: "server_error" } }), "error-frame", "overloaded"],
    ["an error string", data({ error: "overloaded" }), "error-frame", "overloaded"],
    ["a named error event", "event: error\ndata: {\"message\":\"overloaded\"}\n\n", "error-frame", "overloaded"],
    ["a named error event that is text", "event: error\ndata: overloaded\n\n", "error-frame", "overloaded"],
    ["finish reason error", delta("", { finish_reason: "error" }), "finish-error", "finish_reason"],
    ["a frame that is not JSON", "data: {\"choices\":[\n\n", "malformed", "not JSON"],
    ["a frame that is a number", "data: 42\n\n", "malformed", "not a chunk"],
    ["choices that are no list", data({ choices: "x" }), "malformed", "not a chunk"],
    ["a choice that is no object", data({ choices: [1] }), "malformed", "not a chunk"],
    ["a delta that is no object", data({ choices: [{ delta: "x" }] }), "malformed", "not a chunk"]
  ])("fails on %s and keeps what arrived", (_, frame, reason, message) => {
    const { decoder, end, text } = run(delta("kept") + frame + delta("never") + done)
    expect(end).toMatchObject({ _tag: "Failed", reason })
    expect((end as EventDecoder.Failure).message).toContain(message)
    expect(text).toBe("kept")
    expect(decoder.partial().text).toBe("kept")
  })

  it.each([["nothing at all", ""], ["a role only", delta("")], ["half an answer", delta("a")]])(
    "notices a cut after %s",
    (_, text) => {
      expect(run(text).end).toMatchObject({ _tag: "Failed", reason: "cut" })
    }
  )

  it("does not take an empty or null error for a failure", () => {
    expect(run(delta("a", { finish_reason: "stop" }).replace("\"id\"", "\"error\":null,\"id\"") + done).end)
      .toEqual({ _tag: "Done" })
  })

  it("bounds one event", () => {
    const { end } = run(delta("x".repeat(5000)), { maxEventSize: 1000, step: 100 })
    expect(end).toMatchObject({ _tag: "Failed", reason: "too-large" })
  })

  it("counts reasoning and tool calls as tokens, a role as none", () => {
    const decoder = EventDecoder.make(Chat.shape)
    const chunks: Array<Chat.ChatChunk> = []
    const feed = (text: string) => decoder.feed(utf8.encode(text), chunks)
    feed(data({ choices: [{ index: 0, role: "assistant", delta: { role: "assistant" } }] }))
    expect(decoder.started()).toBe(false)
    feed(data({ choices: [{ delta: { tool_calls: [{ index: 0, function: { name: "f", arguments: "" } }] } }] }))
    expect(decoder.started()).toBe(true)
    const thinking = EventDecoder.make(Chat.shape)
    thinking.feed(utf8.encode(data({ choices: [{ delta: { reasoning_content: "hm" } }] })), chunks)
    expect([thinking.started(), thinking.partial().reasoning, thinking.characters()]).toEqual([true, "hm", 2])
  })

  it("reads the finish reason of a completion from its top level", () => {
    const decoder = EventDecoder.make(Completions.shape)
    const chunks: Array<Completions.CompletionChunk> = []
    decoder.feed(
      utf8.encode(
        data({ token: { text: "a" }, choices: [{ text: "a" }], finish_reason: null }) +
          data({ token: { text: "" }, choices: [], finish_reason: "stop", usage })
      ),
      chunks
    )
    decoder.finish(chunks)
    expect([chunks.map(Completions.deltaText).join(""), decoder.end()]).toEqual(["a", { _tag: "Done" }])
  })

  it("is linear in bytes: a long line in single bytes", () => {
    const text = delta("x".repeat(20_000), { finish_reason: "stop" }) + done
    const counts = [1, 7, 4096].map((step) => run(text, { step }).text.length)
    expect(counts).toEqual([20_000, 20_000, 20_000])
  })
})

describe("EventDecoder against the plain parser", () => {
  const pieces = [
    delta("a"),
    delta("é😀"),
    delta("b").replaceAll("\n", "\r\n"),
    ": ping\n\n",
    "\n",
    "\n\n",
    "data: {\"choices\":\ndata: []}\n\n",
    "event: message\n" + delta("c"),
    "id: 1\nretry: 5\n\n",
    "data:" + JSON.stringify({ choices: [{ delta: { content: "d" } }] }) + "\n\n",
    delta("e").replaceAll("\n", "\r")
  ]

  it("decodes the same chunks for any mixture of forms and any cut", () => {
    let state = 12345
    const next = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state % below
    }
    for (let round = 0; round < 300; round++) {
      const text = Array.from({ length: 1 + next(12) }, () => pieces[next(pieces.length)] ?? "").join("") + done
      const expected = Array.from(text.replaceAll(/\r\n?/g, "\n").matchAll(/"content":"([^"]*)"/g), (m) => m[1]).join(
        ""
      )
      const bytes = utf8.encode(text)
      const decoder = EventDecoder.make(Chat.shape)
      const chunks: Array<Chat.ChatChunk> = []
      for (let at = 0; at < bytes.length;) {
        const size = 1 + next(40)
        decoder.feed(bytes.subarray(at, at + size), chunks)
        at += size
      }
      decoder.finish(chunks)
      expect([chunks.map(Chat.deltaText).join(""), decoder.end()]).toEqual([expected, { _tag: "Done" }])
    }
  })
})
