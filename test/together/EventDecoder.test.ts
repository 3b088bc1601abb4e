import { describe, expect, it } from "@effect/vitest"
import * as Chat from "../../src/together/Chat.ts"
import * as Completions from "../../src/together/Completions.ts"
import * as EventDecoder from "../../src/together/stream/EventDecoder.ts"

const utf8 = new TextEncoder()

const run = (
  text: string,
  options: { readonly step?: number; readonly maxEventSize?: number; readonly choices?: number } = {}
) => {
  const decoder = EventDecoder.make(Chat.shape, options)
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
    [
      "inside the first choice, an empty one at the top",
      delta("a", { finish_reason: "stop", usage }).replace("\"id\"", "\"usage\":{},\"id\"") + done
    ],
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

  it("takes [DONE] behind neither a choice nor usage for no answer", () => {
    for (const text of [done, `: hello\n\n${done}`, data({ choices: [] }) + done]) {
      expect(run(text).end).toMatchObject({ _tag: "Failed", reason: "cut" })
    }
    for (const event of [{ choices: [], usage }, { choices: [{ delta: { content: "" } }] }]) {
      expect(run(data(event) + done).end).toEqual({ _tag: "Done" })
    }
  })

  it("accepts an end without [DONE] after a finish reason", () => {
    expect(run(delta("a", { finish_reason: "length" })).end).toEqual({ _tag: "Done" })
  })

  it.each([
    "data:",
    "data: [DO",
    "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_to",
    "data: {\"id\":\"\u00fc"
  ])(
    "discards an event that was cut: %s",
    (tail) => {
      const whole = run(delta("a", { finish_reason: "stop" }) + tail)
      expect([whole.end, whole.text, whole.decoder.usage()]).toEqual([{ _tag: "Done" }, "a", undefined])
      expect(run(delta("a") + tail).end).toMatchObject({ _tag: "Failed", reason: "cut" })
    }
  )

  it("still says what fails behind a finish reason", () => {
    const finished = delta("a", { finish_reason: "stop" })
    expect(run(`${finished}data: {"error":{"message":"late"}}`).end).toMatchObject({ reason: "error-frame" })
    expect(run(`${finished}data: {"cut\n\n`).end).toMatchObject({ reason: "malformed" })
  })

  it("is whole once every choice that began has finished", () => {
    const decoder = EventDecoder.make(Chat.shape)
    const whole = [delta("a"), delta("", { index: 1 }), delta("", { finish_reason: "stop" })].map((event) => {
      decoder.feed(utf8.encode(event), [])
      return decoder.whole()
    })
    decoder.feed(utf8.encode(delta("", { index: 1, finish_reason: "length" })), [])
    expect([...whole, decoder.whole(), decoder.end()]).toEqual([false, false, false, true, undefined])
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

  it.each<readonly [string, string, EventDecoder.Failure["reason"], string]>([
    ["an error that is true", data({ error: true, message: "boom" }), "error-frame", "boom"],
    ["an error that is a list", data({ error: ["boom"] }), "error-frame", "boom"],
    ["an error that is a status", data({ error: 500, message: "boom" }), "error-frame", "boom"],
    ["an error with a detail", data({ error: { detail: "boom" } }), "error-frame", "boom"],
    ["a bare message with a type", data({ message: "boom", type: "server_error", code: 500 }), "error-frame", "boom"],
    ["a bare message with a code", data({ message: "boom", choices: null, code: 500 }), "error-frame", "boom"],
    ["a bare message with an error_type", data({ message: "boom", error_type: "rate_limit" }), "error-frame", "boom"],
    ["a bare message with a code as text", data({ message: "boom", code: "503" }), "error-frame", "boom"],
    ["a bare message with a code of another kind", data({ message: "boom", code: 13 }), "error-frame", "boom"],
    [
      "a state with the number of an error",
      data({ message: "boom", type: "status", code: 500 }),
      "error-frame",
      "boom"
    ],
    ...["bad_request", "billing", "conflict", "internal", "server", "busy"].map((type) =>
      [`a bare message of type ${type}`, data({ message: "boom", type, code: null }), "error-frame", "boom"] as const
    ),
    ...["model_not_available", "endpoints_v1_create_access_disabled", "payment_required"].map((code) =>
      [`a bare message of code ${code}`, data({ message: "boom", type: "", code }), "error-frame", "boom"] as const
    ),
    ["a bare detail", data({ detail: [{ msg: "boom" }] }), "error-frame", "boom"],
    ["an object named error", data({ object: "error", message: "boom", choices: [] }), "error-frame", "boom"],
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

  it("keeps the whole error frame, its siblings included", () => {
    const frame = { error: "Invalid key", code: "invalid_api_key", request_id: "r-1" }
    const { end } = run(data(frame))
    expect(JSON.parse((end as EventDecoder.Failure).frame ?? "")).toEqual(frame)
  })

  it.each([
    ["a false error", { error: false, choices: [] }],
    ["a message beside choices", { message: "hi", type: "chunk", choices: [] }],
    ["a message alone", { message: "hi" }],
    ["a sign of life", { type: "ping", message: "keep-alive" }],
    ["a state", { type: "status", message: "warming up", code: "loading" }],
    ["a place in a queue", { message: "third", code: "queued" }],
    ["a number of no error", { message: "hi", code: 200 }],
    ["a number of no error, as text", { message: "hi", code: "0" }]
  ])("does not take %s for a failure", (_, frame) => {
    expect(run(delta("a", { finish_reason: "stop" }) + data(frame) + done).end).toEqual({ _tag: "Done" })
  })

  it("ignores a named event with a message", () => {
    const event = `event: notice\n${data({ message: "hi", type: "notice" })}`
    expect(run(event + delta("a", { finish_reason: "stop" }) + done).text).toBe("a")
  })

  it("does not take an empty or null error for a failure", () => {
    expect(run(delta("a", { finish_reason: "stop" }).replace("\"id\"", "\"error\":null,\"id\"") + done).end)
      .toEqual({ _tag: "Done" })
  })

  it.each([
    ["in pieces", delta("x".repeat(5000)), 100],
    ["in one piece", delta("x".repeat(5000)), 10_000],
    ["in one piece, of several lines", delta("x".repeat(5000)).replace("\"x\"", "\ndata: \"x\""), 10_000],
    ["in one piece, its lines ended by CR", delta("x".repeat(5000)).replaceAll("\n", "\r"), 10_000]
  ])("bounds one event that comes %s", (_, text, step) => {
    const { end } = run(text, { maxEventSize: 1000, step })
    expect(end).toMatchObject({ _tag: "Failed", reason: "too-large" })
  })

  it("bounds no piece that holds many events", () => {
    const { end } = run(delta("a").repeat(50) + done, { maxEventSize: 1000 })
    expect(end).toEqual({ _tag: "Done" })
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
    expect([thinking.started(), thinking.partial().reasoning, thinking.generated().bytes]).toEqual([true, "hm", 2])
  })

  it("counts the old form of tool calls like the new", () => {
    const call = (args: unknown, more: object = {}) =>
      data({
        choices: [{ index: 0, delta: { content: null, function_call: { name: "f", arguments: args } }, ...more }]
      })
    const { chunks, decoder, end } = run(call("{\"a\":") + call({ a: 1 }, { finish_reason: "function_call" }))
    expect([decoder.started(), decoder.generated().bytes]).toEqual([true, 1 + 5 + 1 + 7])
    expect(chunks.map((chunk) => chunk.choices[0]?.delta?.function_call?.arguments)).toEqual(["{\"a\":", "{\"a\":1}"])
    expect(end).toMatchObject({ reason: "cut", message: expect.stringContaining("tool call") })
    expect(run(data({ choices: [{ index: 0, delta: { function_call: null } }] })).decoder.started()).toBe(false)
  })

  it.each<[string, object, number]>([
    ["reasoning", { reasoning: "hm" }, 2],
    ["reasoning under its other name", { reasoning_content: "hm" }, 2],
    ["a tool call", { tool_calls: [{ index: 0, function: { name: "f", arguments: { a: 1 } } }] }, 8],
    ["an old tool call", { function_call: { name: "f", arguments: "{}" } }, 3]
  ])("counts %s of a completion as a token", (_, delta, characters) => {
    const decoder = EventDecoder.make(Completions.shape)
    const chunks: Array<Completions.CompletionChunk> = []
    decoder.feed(utf8.encode(data({ token: null, choices: [{ index: 0, delta }] })), chunks)
    expect([decoder.started(), decoder.generated().bytes, chunks.map(Completions.deltaText)]).toEqual([
      true,
      characters,
      [
        ""
      ]
    ])
    expect(decoder.partial().reasoning).toBe(characters === 2 ? "hm" : "")
  })

  it("counts the names and arguments of tool calls, objects included", () => {
    const decoder = EventDecoder.make(Chat.shape)
    const feed = (call: object) => decoder.feed(utf8.encode(data({ choices: [{ delta: { tool_calls: [call] } }] })), [])
    feed({ index: 0, id: "x", function: { name: "weather", arguments: "" } })
    expect(decoder.generated().bytes).toBe(7)
    feed({ index: 0, function: { arguments: "{\"city\":" } })
    expect(decoder.generated().bytes).toBe(7 + 8)
    feed({ index: 1, function: { name: "f", arguments: { a: 1 } } })
    expect(decoder.generated().bytes).toBe(7 + 8 + 1 + 7)
    for (const hostile of [{}, { function: null }, { function: { name: 7, arguments: null } }]) feed(hostile)
    expect([decoder.generated().bytes, decoder.end()]).toEqual([23, undefined])
  })

  it("hands on arguments as text, where a model sent an object, too", () => {
    const call = (args: unknown) => data({ choices: [{ delta: { tool_calls: [{ function: { arguments: args } }] } }] })
    const { chunks } = run(call("{\"a\":") + call({ a: 1 }) + call(null) + done)
    const args = chunks.map((chunk) => chunk.choices[0]?.delta?.tool_calls?.[0]?.function?.arguments)
    expect(args).toEqual(["{\"a\":", "{\"a\":1}", null])
  })

  describe("of tool calls", () => {
    const call = (args: string, more: object = {}) =>
      data({ choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: args } }] }, ...more }] })
    const finish = (more: object = {}) =>
      data({ choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }], ...more })
    const finished = call("{\"a\":1}", { finish_reason: "tool_calls" })

    it.each([
      ["a finish reason with its last piece", finished],
      ["a finish reason behind its last piece", call("{}") + finish()],
      ["usage with its last piece", call("{}", { finish_reason: "tool_calls", usage })],
      ["usage before the finish reason", call("{}") + data({ choices: [], usage }) + finish()],
      ["another piece behind all that", finished + finish({ usage }) + call("}")],
      ["half an event behind it", finished + finish().slice(0, 40)]
    ])("is cut where nothing follows %s", (_, text) => {
      const { decoder, end } = run(text)
      expect([decoder.whole(), end]).toMatchObject([false, { _tag: "Failed", reason: "cut" }])
    })

    it.each([
      ["a finish reason that came again", finished + finish()],
      ["usage on a finish reason behind its last piece", call("{}") + finish({ usage })],
      ["usage behind all", finished + data({ choices: [], usage })],
      ["[DONE]", finished + done]
    ])("is whole by %s", (_, text) => {
      expect(run(text).end).toEqual({ _tag: "Done" })
    })
  })

  describe("of several choices", () => {
    const of = (index: number, content: string, finish: string | null = null) =>
      data({ choices: [{ index, delta: { content }, finish_reason: finish }] })
    const whole = of(0, "A") + of(1, "B") + of(0, "a", "stop") + of(1, "b", "stop")

    it("keeps choice 0 apart and counts all", () => {
      const { decoder, end, text } = run(whole)
      expect([text, decoder.partial().text, decoder.generated().bytes, end]).toEqual(["Aa", "Aa", 4, { _tag: "Done" }])
    })

    it("finds choice 0 behind another in the same chunk", () => {
      const { decoder, text } = run(data({
        choices: [
          { index: 1, delta: { content: "B" }, finish_reason: "stop" },
          { index: 0, delta: { content: "A", reasoning: "hm" }, finish_reason: "stop" }
        ]
      }))
      expect([text, decoder.partial(), decoder.generated().bytes]).toMatchObject([
        "A",
        { text: "A", reasoning: "hm" },
        4
      ])
    })

    it("begins with the first token of any", () => {
      expect(run(of(1, "B")).decoder.started()).toBe(true)
    })

    it("notices the cut of one that began and did not finish", () => {
      expect(run(of(1, "B") + of(0, "A", "stop")).end).toMatchObject({ reason: "cut" })
      expect(run(of(1, "B") + of(0, "A", "stop") + done).end).toEqual({ _tag: "Done" })
    })

    it("notices the cut of one that was asked for and did not begin", () => {
      const first = of(0, "A", "stop")
      expect(run(first, { choices: 2 }).end).toMatchObject({
        reason: "cut",
        message: expect.stringContaining("2 choices")
      })
      expect(run(first + of(1, "B", "stop"), { choices: 2 }).end).toEqual({ _tag: "Done" })
      expect(run(first + done, { choices: 2 }).end).toEqual({ _tag: "Done" })
    })

    it("fails when the provider gives up any", () => {
      expect(run(of(0, "A") + of(1, "B", "error") + done).end).toMatchObject({ reason: "finish-error" })
    })

    it("keeps the choices of a completion apart", () => {
      const decoder = EventDecoder.make(Completions.shape)
      const chunks: Array<Completions.CompletionChunk> = []
      const piece = (index: number, text: string, finish_reason: string | null = null) =>
        data({ choices: [{ index, text }], token: { text }, finish_reason })
      decoder.feed(utf8.encode(piece(0, "A") + piece(1, "B") + piece(0, "a", "stop")), chunks)
      decoder.finish(chunks)
      expect(chunks.map(Completions.deltaText)).toEqual(["A", "", "a"])
      expect([decoder.partial().text, decoder.generated().bytes, decoder.end()]).toMatchObject(["Aa", 3, {
        reason: "cut"
      }])
    })
  })

  it("looks behind an empty piece for the same under another name", () => {
    expect(Chat.deltaReasoning({ choices: [{ delta: { reasoning: "", reasoning_content: "hm" } }] })).toBe("hm")
    expect(Completions.deltaText({ choices: [{ text: "", delta: { content: "Hi" } }] })).toBe("Hi")
    // an empty text is what a special token says
    expect(Completions.deltaText({ choices: [{ text: "" }], token: { text: "</s>" } })).toBe("")
    expect(Completions.deltaText({ choices: [], token: { text: "Hi" } })).toBe("Hi")
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

describe("EventDecoder, however the bytes are cut", () => {
  const plain = [
    delta("a"),
    delta("é😀"),
    delta("b").replaceAll("\n", "\r\n"),
    ": ping\n\n",
    "\n",
    "\n\n",
    "data: {\"choices\":\ndata: []}\n\n",
    "event: message\n" + delta("c"),
    "event: ping\ndata: zz\n\n",
    "id: 1\nretry: 5\n\n",
    "data:" + JSON.stringify({ choices: [{ delta: { content: "d" } }] }) + "\n\n",
    delta("e").replaceAll("\n", "\r"),
    delta("x data: y")
  ]
  const failing = [
    "event: error\ndata: {\"message\":\"overloaded\"}\n\n",
    "event: error\ndata: overloaded\n\n",
    data({ error: { message: "overloaded" } }),
    "data: {\"choices\":[\n\n",
    delta("z", { finish_reason: "error" })
  ]

  let state = 12345
  const next = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  const textOf = (pieces: ReadonlyArray<string>) =>
    Array.from({ length: 1 + next(12) }, () => pieces[next(pieces.length)] ?? "").join("") + done
  const decode = (bytes: Uint8Array, size: () => number) => {
    const decoder = EventDecoder.make(Chat.shape)
    const chunks: Array<Chat.ChatChunk> = []
    for (let at = 0; at < bytes.length;) {
      const taken = size()
      decoder.feed(bytes.subarray(at, at + taken), chunks)
      at += taken
    }
    decoder.finish(chunks)
    return { chunks, end: decoder.end(), events: decoder.events() }
  }
  /** Cuts of one byte, of a few, and of whole events. */
  const cuts = [() => 1, () => 1 + next(3), () => next(3) === 0 ? 1 : 1 + next(40), () => 1 + next(400)]

  it("decodes the chunks of any mixture of forms", () => {
    for (let round = 0; round < 150; round++) {
      const text = delta("") + textOf(plain)
      const expected = Array.from(text.replaceAll(/\r\n?/g, "\n").matchAll(/"content":"([^"]*)"/g), (m) => m[1]).join(
        ""
      )
      for (const cut of [() => Infinity, ...cuts]) {
        const { chunks, end } = decode(utf8.encode(text), cut)
        expect([chunks.map(Chat.deltaText).join(""), end]).toEqual([expected, { _tag: "Done" }])
      }
    }
  })

  it("decodes, ends and fails as if it came in one piece", () => {
    for (let round = 0; round < 250; round++) {
      const bytes = utf8.encode(textOf([...plain, ...failing]))
      const whole = decode(bytes, () => Infinity)
      for (const cut of cuts) expect(decode(bytes, cut)).toEqual(whole)
    }
  })

  it.each([
    ["a line feed by itself", ["event: error", "\n", "data: {\"message\":\"overloaded\"}\n\n", done]],
    ["a character by itself", ["event: erro", "r", "\ndata: {\"message\":\"overloaded\"}\n\n", done]]
  ])("fails on an error event cut around %s", (_, pieces) => {
    const decoder = EventDecoder.make(Chat.shape)
    for (const piece of pieces) decoder.feed(utf8.encode(piece), [])
    expect(decoder.end()).toMatchObject({ _tag: "Failed", reason: "error-frame", message: "overloaded" })
  })
})
