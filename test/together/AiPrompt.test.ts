import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { Chat, LanguageModel, ResponseIdTracker, Tool, Toolkit } from "effect/ai"
import { Reply, TogetherTest } from "effect-together/testing"
import { bodies, bodyFor, call, name, run } from "./languageModel.ts"

describe("AiPrompt", () => {
  it.effect("go out as messages, system and plain user text as strings", () =>
    Effect.gen(function*() {
      expect(yield* bodyFor([{ role: "system", content: "Be brief." }, { role: "user", content: "Hi" }])).toEqual({
        model: name,
        messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "Hi" }]
      })
    }))

  it.effect("carry images, video and sound by address, bytes and base64", () =>
    Effect.gen(function*() {
      const file = (mediaType: string, data: string | Uint8Array | URL) => ({
        type: "file" as const,
        mediaType,
        data
      })
      const body = yield* bodyFor([{
        role: "user",
        content: [
          { type: "text", text: "What is this?" },
          file("image/png", new URL("https://example.com/a.png")),
          file("image/*", new Uint8Array([1, 2, 3])),
          file("image/webp", "AQID"),
          file("image/gif", "data:image/gif;base64,AQID"),
          file("video/mp4", "https://example.com/a.mp4"),
          file("audio/wav", new Uint8Array([1, 2, 3])),
          file("audio/mpeg", "AQID")
        ]
      }])
      expect(body).toMatchObject({
        messages: [{
          role: "user",
          content: [
            { type: "text", text: "What is this?" },
            { type: "image_url", image_url: { url: "https://example.com/a.png" } },
            { type: "image_url", image_url: { url: "data:image/jpeg;base64,AQID" } },
            { type: "image_url", image_url: { url: "data:image/webp;base64,AQID" } },
            { type: "image_url", image_url: { url: "data:image/gif;base64,AQID" } },
            { type: "video_url", video_url: { url: "https://example.com/a.mp4" } },
            { type: "input_audio", input_audio: { data: "AQID", format: "wav" } },
            { type: "audio_url", audio_url: { url: "data:audio/mpeg;base64,AQID" } }
          ]
        }]
      })
    }))

  it.effect("refuse a file that no message can hold, and send nothing", () =>
    run(Effect.gen(function*() {
      const error = yield* Effect.flip(LanguageModel.generateText({
        prompt: [{ role: "user", content: [{ type: "file", mediaType: "application/pdf", data: "AQID" }] }]
      }))
      expect(error.reason).toMatchObject({ _tag: "InvalidUserInputError" })
      expect(error.message).toContain("application/pdf")
      expect(yield* TogetherTest.log).toEqual([])
    })))

  it.effect("carry an assistant's reasoning, tool calls and their results", () =>
    Effect.gen(function*() {
      const body = yield* bodyFor([
        { role: "user", content: "Weather in Rome and Oslo?" },
        {
          role: "assistant",
          content: [
            { type: "reasoning", text: "Two calls." },
            { type: "text", text: "Let me look." },
            { type: "tool-call", id: "a", name: "weather", params: { city: "Rome" } },
            { type: "tool-call", id: "b", name: "weather", params: { city: "Oslo" } }
          ]
        },
        {
          role: "tool",
          content: [
            { type: "tool-result", id: "a", name: "weather", isFailure: false, result: { celsius: 30 } },
            { type: "tool-result", id: "b", name: "weather", isFailure: true, result: "no such city" }
          ]
        }
      ])
      const wire = (index: number, id: string, city: string) => ({
        index,
        id,
        type: "function",
        function: { name: "weather", arguments: JSON.stringify({ city }) }
      })
      expect(body).toMatchObject({
        messages: [
          { role: "user", content: "Weather in Rome and Oslo?" },
          {
            role: "assistant",
            content: "Let me look.",
            reasoning: "Two calls.",
            tool_calls: [wire(0, "a", "Rome"), wire(1, "b", "Oslo")]
          },
          { role: "tool", tool_call_id: "a", name: "weather", content: "{\"celsius\":30}" },
          { role: "tool", tool_call_id: "b", name: "weather", content: "no such city" }
        ]
      })
    }))

  it.effect("end an assistant's turn at a result inside its message", () =>
    Effect.gen(function*() {
      const body = yield* bodyFor([
        { role: "user", content: "?" },
        {
          role: "assistant",
          content: [
            { type: "tool-call", id: "a", name: "search", params: {}, providerExecuted: true },
            { type: "tool-result", id: "a", name: "search", isFailure: false, result: null, providerExecuted: true },
            { type: "text", text: "Nothing found." }
          ]
        },
        { role: "user", content: "Again?" }
      ])
      expect(body).toMatchObject({
        messages: [
          { role: "user" },
          { role: "assistant", content: null, tool_calls: [{ id: "a" }] },
          { role: "tool", tool_call_id: "a", content: "null" },
          { role: "assistant", content: "Nothing found." },
          { role: "user" }
        ]
      })
    }))

  it.effect("show the model a tool's own output where it has one", () =>
    Effect.gen(function*() {
      const body = yield* bodyFor([
        { role: "user", content: "?" },
        { role: "assistant", content: [{ type: "tool-call", id: "a", name: "see", params: {} }] },
        {
          role: "tool",
          content: [{
            type: "tool-result",
            id: "a",
            name: "see",
            isFailure: false,
            result: { secret: 1 },
            modelOutput: [{ type: "text", text: "a cat" }, { type: "file", mediaType: "image/png", data: "AQID" }]
          }]
        }
      ])
      expect(body).toMatchObject({ messages: [{}, {}, { role: "tool", content: "a cat\n[image/png omitted]" }] })
    }))

  it.effect("put the results of a turn in the order of its calls, whichever tool was done first", () =>
    run(Effect.gen(function*() {
      const Wait = Tool.make("wait", { parameters: Schema.Struct({ seconds: Schema.Int }), success: Schema.String })
      const tools = Toolkit.make(Wait)
      const handlers = tools.toLayer({
        wait: ({ seconds }) => Effect.as(Effect.sleep(`${seconds} seconds`), `${seconds} s`)
      })
      yield* TogetherTest.reply(
        Reply.chat("", {
          finishReason: "tool_calls",
          toolCalls: [
            call("wait", "{\"seconds\":3}", "a"),
            call("wait", "{\"seconds\":1}", "b", 1),
            call("wait", "{\"seconds\":2}", "c", 2)
          ]
        }),
        Reply.chat("done")
      )
      const chat = yield* Chat.empty
      const { toolResults } = yield* Effect.provide(chat.generateText({ prompt: "?", toolkit: tools }), handlers)
      expect(toolResults.map(({ id }) => id)).toEqual(["b", "c", "a"])
      yield* chat.generateText({ prompt: "And?" })
      expect((yield* bodies)[1]).toMatchObject({
        messages: [
          { role: "user" },
          { role: "assistant", tool_calls: [{ id: "a" }, { id: "b" }, { id: "c" }] },
          { role: "tool", tool_call_id: "a", content: "3 s" },
          { role: "tool", tool_call_id: "b", content: "1 s" },
          { role: "tool", tool_call_id: "c", content: "2 s" },
          { role: "user" }
        ]
      })
    })))

  it.effect("leave a result without a call behind those of its turn", () =>
    Effect.gen(function*() {
      const result = (id: string) => ({ type: "tool-result", id, name: "f", isFailure: false, result: id }) as const
      const body = yield* bodyFor([
        { role: "tool", content: [result("x"), result("a")] },
        { role: "assistant", content: [{ type: "tool-call", id: "a", name: "f", params: {} }] },
        { role: "tool", content: [result("y"), result("a")] }
      ])
      expect(body).toMatchObject({
        messages: [{ content: "x" }, { content: "a" }, { role: "assistant" }, { content: "a" }, { content: "y" }]
      })
    }))

  it.effect("send arguments and results that JSON does not know as their schemas do", () =>
    run(Effect.gen(function*() {
      const fields = {
        big: Schema.BigInt,
        map: Schema.ReadonlyMap(Schema.String, Schema.Int),
        set: Schema.ReadonlySet(Schema.String),
        bytes: Schema.Uint8Array
      }
      const Echo = Tool.make("echo", { parameters: Schema.Struct(fields), success: Schema.Struct(fields) })
      const tools = Toolkit.make(Echo)
      const handlers = tools.toLayer({ echo: (params) => Effect.succeed(params) })
      const said = "{\"big\":\"12345678901234567890\",\"map\":[[\"a\",1]],\"set\":[\"x\"],\"bytes\":\"AQI=\"}"
      yield* TogetherTest.reply(
        Reply.chat("", { finishReason: "tool_calls", toolCalls: [call("echo", said)] }),
        Reply.chat("done")
      )
      const chat = yield* Chat.empty
      yield* Effect.provide(chat.generateText({ prompt: "?", toolkit: tools }), handlers)
      yield* chat.generateText({ prompt: "And?" })
      expect((yield* bodies)[1]).toMatchObject({
        messages: [{}, { tool_calls: [{ function: { arguments: said } }] }, { role: "tool", content: said }, {}]
      })
    })))

  it.effect("are sent whole, and once, where an application tracks responses", () =>
    run(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("Paris"), Reply.chat("Rome"), Reply.error(400))
        const chat = yield* Chat.empty
        yield* chat.generateText({ prompt: "Capital of France?" })
        yield* chat.generateText({ prompt: "And of Italy?" })
        yield* Effect.flip(Stream.runDrain(chat.streamText({ prompt: "And of Spain?" })))
        expect(yield* bodies).toMatchObject([
          { messages: [{ role: "user" }] },
          { messages: [{ role: "user" }, { role: "assistant", content: "Paris" }, { role: "user" }] },
          { messages: [{ role: "user" }, {}, {}, { role: "assistant", content: "Rome" }, { role: "user" }] }
        ])
      }).pipe(Effect.provideServiceEffect(ResponseIdTracker.ResponseIdTracker, ResponseIdTracker.make))
    ))
})
