import { describe, expect, it } from "@effect/vitest"
import type { StreamEvent } from "../../src/together/CallOptions.ts"
import * as JsonEventDecoder from "../../src/together/stream/JsonEventDecoder.ts"

const utf8 = new TextEncoder()

const run = (text: string, size: () => number = () => Infinity) => {
  const decoder = JsonEventDecoder.make()
  const events: Array<StreamEvent<unknown>> = []
  const bytes = utf8.encode(text)
  for (let at = 0; at < bytes.length;) {
    const taken = size()
    decoder.feed(bytes.subarray(at, at + taken), events)
    at += taken
  }
  decoder.finish(events)
  return { events, end: decoder.end(), usage: decoder.usage(), generated: decoder.generated() }
}

const first = { event: "message", data: { n: 1 } }
const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`

describe("JsonEventDecoder", () => {
  it.each([
    ["comments and fields of the protocol", ": hello\n\nid: 1\nretry: 5\n\n"],
    ["events without data", "data:\n\nevent: ping\ndata: \n\n"],
    ["signs of life that are no JSON", "event: keep-alive\ndata: ok\n\n"]
  ])("passes over %s", (_, text) => {
    expect(run(text + data({ n: 1 }))).toMatchObject({ events: [first], end: { _tag: "Done" } })
  })

  it.each([
    [
      "a chat",
      { choices: [{ index: 0, delta: { content: "Aare" } }, { index: 1, delta: { content: "\u6c34" } }] },
      2,
      7
    ],
    ["a completion", { id: "c", choices: [{ index: 0, text: "Aare" }] }, 1, 4],
    ["a chunk that adds nothing", { choices: [{ index: 0, delta: { role: "assistant" } }] }, 0, 0],
    ["a delta", { type: "response.output_text.delta", delta: "Aare" }, 1, 4],
    ["an event of another kind", { n: 12 }, 0, 8]
  ])("counts what is generated of %s", (_, event, pieces, bytes) => {
    expect(run(data(event)).generated).toEqual({ pieces, bytes })
  })

  it("counts once what the events of a stream say in pieces, and again as a whole", () => {
    const pieces = ["One ", "two"].map((delta) => data({ type: "response.output_text.delta", delta })).join("")
    const frame = data({ type: "response.created", response: { id: "r", instructions: "Count to two." } })
    const whole = data({ type: "response.output_text.done", text: "One two" }) +
      data({ type: "response.completed", response: { output: [{ content: [{ text: "One two" }] }] } })
    expect(run(frame + pieces + whole).generated).toEqual({ pieces: 2, bytes: 7 })
    const texts = data({ text: "One " }) + data({ text: "two" }) + data({ status: "done", all: "One two" })
    expect(run(texts).generated).toEqual({ pieces: 2, bytes: 7 })
  })

  it("gives JSON of any kind", () => {
    expect(run(data(null) + data(7) + data([]) + data("x")).events.map((event) => event.data))
      .toEqual([null, 7, [], "x"])
  })

  it.each([
    ["of a queue", { code: "queue_full", message: "no", param: null, type: "queue_error" }],
    ["with its type alone", { message: "no", type: "server_error" }],
    ["with its number alone", { message: "no", code: 500 }],
    ["of a detail", { detail: "no" }],
    ["of a list", { data: null, errors: ["no"] }]
  ])("fails for a first event that is an error: %s", (_, error) => {
    expect(run(data(error))).toMatchObject({
      events: [],
      end: { _tag: "Failed", reason: "error-frame", message: "no" }
    })
    // behind an event of the endpoint it may be one as well
    expect(run(data({ n: 1 }) + data(error)).events).toEqual([first, { event: "message", data: error }])
  })

  it.each([
    ["a message alone", { message: "hello" }],
    ["a message of a kind that is no fault", { type: "log", message: "hello" }],
    ["a sign of life", { type: "status", message: "queued" }],
    ["a message of success", { code: 0, message: "ok" }],
    ["a message among other fields", { message: "no", code: 500, delta: "Aare" }],
    ["an empty list of errors", { data: null, errors: [] }]
  ])("hands on a first event that is %s", (_, event) => {
    expect(run(data(event))).toMatchObject({ events: [{ event: "message", data: event }], end: { _tag: "Done" } })
  })

  it("keeps the last usage, of an event or of the answer that it holds", () => {
    const usage = (output_tokens: number) => ({ usage: { input_tokens: 7, output_tokens } })
    expect(run(data(usage(1)) + data({ n: 1 }) + data({ response: usage(3) })).usage)
      .toMatchObject({ inputTokens: 7, outputTokens: 3 })
  })

  it("decodes, ends and fails as if it came in one piece, however the bytes are cut", () => {
    const pieces = [
      data({ n: "é😀" }),
      data({ n: 2 }).replaceAll("\n", "\r\n"),
      data({ n: 3 }).replaceAll("\n", "\r"),
      "event: a\n" + data({ n: 4 }),
      "data: {\"n\":\ndata: 5}\n\n",
      ": ping\n\n",
      "data:\n\n",
      data({ error: { message: "boom" } }),
      "data: [DONE]\n\n",
      "data: {\"n\":"
    ]
    let state = 12345
    const next = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    for (let round = 0; round < 300; round++) {
      const text = Array.from({ length: 1 + next(8) }, () => pieces[next(pieces.length)] ?? "").join("")
      const whole = run(text)
      for (const cut of [() => 1, () => 1 + next(3), () => 1 + next(40)]) expect(run(text, cut)).toEqual(whole)
    }
  })
})
