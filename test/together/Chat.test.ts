import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Chat from "../../src/together/Chat.ts"
import * as Completions from "../../src/together/Completions.ts"

const decode = Schema.decodeUnknownSync(Chat.ChatResponse)
const decodeCompletion = Schema.decodeUnknownSync(Completions.CompletionResponse)
const answer = (message: object, more?: object) => ({
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "hi", ...message } }],
  ...more
})

describe("Chat", () => {
  describe("ChatResponse", () => {
    it.each(["id", "object", "created", "model"])("reads a %s that is null as absent", (field) => {
      expect(decode(answer({}, { [field]: null }))).toEqual(decode(answer({})))
      expect(decodeCompletion({ choices: [{ text: "hi" }], [field]: null })).toEqual({ choices: [{ text: "hi" }] })
    })

    it("refuses an answer without a choice", () => {
      expect(() => decode({ choices: [] })).toThrow("at least 1")
      expect(() => decodeCompletion({ choices: [] })).toThrow("at least 1")
    })

    it.each(["id", "index", "type"])("reads a tool call's %s that is null as absent", (field) => {
      const call = { index: 0, id: "x", type: "function", function: { name: "f", arguments: "{}" } }
      const { [field as "id"]: _, ...rest } = call
      expect(decode(answer({ tool_calls: [{ ...call, [field]: null }] })).choices[0]?.message?.tool_calls)
        .toEqual([rest])
    })

    it("accepts a tool call whose function is null", () => {
      const call = { index: 0, id: "x", function: null }
      expect(decode(answer({ tool_calls: [call] })).choices[0]?.message?.tool_calls).toEqual([call])
    })

    it("has fields that are a value or absent, and encodes to what it came from", () => {
      const wire = answer({ tool_calls: [{ index: 0, id: "x", type: "function" }] }, {
        id: "a",
        created: 1,
        model: "m"
      })
      const read = decode(wire)
      const id: string | undefined = read.id
      const created: number | undefined = read.created
      const model: string | undefined = read.model
      const index: number | undefined = read.choices[0]?.index
      const call: number | undefined = read.choices[0]?.message?.tool_calls?.[0]?.index
      expect([id, created, model, index, call]).toEqual(["a", 1, "m", 0, 0])
      expect(Schema.encodeSync(Chat.ChatResponse)(read)).toEqual(wire)
      const completed = (answer: Completions.CompletionResponse): string | undefined => answer.id
      expect(completed({ id: "c", choices: [] })).toBe("c")
    })

    it("has chunks that come as on the wire, null included", () => {
      const call = { index: null, id: null, type: null, function: null }
      const head = { id: null, object: null, created: null }
      const chunk: Chat.ChatChunk = { ...head, model: null, choices: [{ index: null, delta: { tool_calls: [call] } }] }
      const completion: Completions.CompletionChunk = { ...head, choices: [{ index: null, text: "hi" }] }
      expect(Schema.decodeSync(Chat.ChatChunk)(chunk)).toEqual(chunk)
      expect(Schema.decodeSync(Completions.CompletionChunk)(completion)).toEqual(completion)
    })

    it("has chunks whose arguments are text, where a model sent an object, too", () => {
      const decode = Schema.decodeUnknownSync(Chat.ChatChunk)
      for (const [args, expected] of [["{\"a\":", "{\"a\":"], [{ a: 1 }, "{\"a\":1}"]]) {
        const { choices } = decode({
          choices: [{ index: 0, delta: { tool_calls: [{ function: { name: "f", arguments: args } }] } }]
        })
        const piece: string | null | undefined = choices[0]?.delta?.tool_calls?.[0]?.function?.arguments
        expect(piece).toBe(expected)
      }
    })

    it("accepts a choice whose index is null", () => {
      expect(Chat.text(decode({ choices: [{ index: null, message: { role: "assistant", content: "hi" } }] }))).toBe(
        "hi"
      )
    })

    it.each<[string, unknown, unknown]>([
      ["text", "{\"a\":1}", "{\"a\":1}"],
      ["text that is no JSON", "{\"a\":", "{\"a\":"],
      ["an object", { a: [1, { b: null }] }, "{\"a\":[1,{\"b\":null}]}"],
      ["null", null, null]
    ])("reads arguments that are %s as text", (_, wire, expected) => {
      const tool_calls = [{ function: { name: "f", arguments: wire } }]
      const read = decode(answer({ tool_calls })).choices[0]?.message?.tool_calls?.[0]?.function?.arguments
      expect(read).toBe(expected)
    })

    it("still refuses arguments that are neither", () => {
      expect(() => decode(answer({ tool_calls: [{ function: { arguments: 7 } }] }))).toThrow("arguments")
    })
  })

  it("sends tool calls with arguments as text only", () => {
    const request = (args: unknown) => ({
      model: "m",
      messages: [{ role: "assistant", tool_calls: [{ id: null, function: { name: "f", arguments: args } }] }]
    })
    const accepts = (u: unknown) => Schema.decodeUnknownResult(Chat.ChatRequest)(u)._tag
    expect([accepts(request("{}")), accepts(request({}))]).toEqual(["Success", "Failure"])
  })

  it("reads the text of choice 0, wherever it stands, and of the only choice whatever its index", () => {
    const choice = (index: number | undefined, content: string) => ({ index, message: { role: "assistant", content } })
    expect(Chat.text({ choices: [choice(1, "b"), choice(0, "a")] })).toBe("a")
    expect(Chat.text({ choices: [choice(1, "b"), choice(undefined, "a")] })).toBe("a")
    expect(Chat.text({ choices: [choice(1, "b")] })).toBe("b")
    expect(Chat.text({ choices: [] })).toBe("")
    expect(Completions.text({ choices: [{ index: 1, text: "b" }, { index: 0, text: "a" }] })).toBe("a")
    expect(Completions.text({ choices: [] })).toBe("")
  })
})
