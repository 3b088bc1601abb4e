import { describe, expect, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Schedule, Schema, Stream, Tracer } from "effect"
import { AiError, Chat, LanguageModel, Model, Prompt, ResponseIdTracker, Tool, Toolkit } from "effect/ai"
import { Retry, TogetherError } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import * as AiFailure from "../../src/together/AiFailure.ts"
import * as TogetherLanguageModel from "../../src/together/TogetherLanguageModel.ts"

const name = "openai/gpt-oss-20b"

type Needs = LanguageModel.LanguageModel | TogetherTest.TogetherTest

const run = <A, E, R extends Needs | Model.ModelName | Model.ProviderName>(
  program: Effect.Effect<A, E, R>,
  config?: TogetherLanguageModel.Config
) =>
  VirtualClock.wrap(
    program.pipe(
      Effect.provide(TogetherLanguageModel.model(name, config)),
      Effect.provide(TogetherTest.layer())
    )
  )

const bodies = Effect.map(TogetherTest.sent, (sent) => sent.map((one) => one.body))

const bodyFor = (prompt: Prompt.RawInput, config?: TogetherLanguageModel.Config) =>
  run(
    Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.chat("ok"))
      yield* LanguageModel.generateText({ prompt })
      return (yield* bodies)[0]
    }),
    config
  )

const Weather = Tool.make("weather", {
  description: "Says the weather.",
  parameters: Schema.Struct({ city: Schema.String }),
  success: Schema.Struct({ celsius: Schema.Finite })
})
const Clock = Tool.make("clock", { success: Schema.String })
const Day = Tool.make("day", {
  parameters: Schema.Struct({ on: Schema.Date, zone: Schema.optional(Schema.String) }),
  success: Schema.String
})
const Careful = Tool.make("careful", {
  parameters: Schema.Struct({ n: Schema.Int }),
  success: Schema.String,
  failureMode: "return"
})
const toolkit = Toolkit.make(Weather, Clock, Day, Careful)
const handlers = toolkit.toLayer({
  weather: ({ city }) => Effect.succeed({ celsius: city.length }),
  clock: () => Effect.succeed("noon"),
  day: ({ on, zone }) => Effect.succeed(`${on.getUTCFullYear()} ${zone ?? "UTC"}`),
  careful: ({ n }) => Effect.succeed(`${n}`)
})

const call = (name: string | undefined, args: string | null, id: string | null = "call-1", index = 0) => ({
  index,
  ...(id === null ? undefined : { id }),
  type: "function",
  function: { ...(name === undefined ? undefined : { name }), arguments: args }
})

describe("TogetherLanguageModel", () => {
  describe("prompts", () => {
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

    it.effect("are sent whole, once, where an application tracks responses", () =>
      run(
        Effect.gen(function*() {
          yield* TogetherTest.reply(Reply.chat("Paris"), Reply.chat("Rome"))
          const chat = yield* Chat.empty
          yield* chat.generateText({ prompt: "Capital of France?" })
          yield* chat.generateText({ prompt: "And of Italy?" })
          const [, second] = yield* bodies
          expect(second).toMatchObject({
            messages: [{ role: "user" }, { role: "assistant", content: "Paris" }, { role: "user" }]
          })
          expect((yield* TogetherTest.log).length).toBe(2)
        }).pipe(Effect.provideServiceEffect(ResponseIdTracker.ResponseIdTracker, ResponseIdTracker.make))
      ))
  })

  describe("configuration", () => {
    it.effect("goes out in Together's own fields, under what the model writes", () =>
      Effect.gen(function*() {
        const body = yield* bodyFor("Hi", {
          temperature: 0,
          max_tokens: 50,
          reasoning_effort: "low",
          extra: { top_n_sigma: 1.5, model: "other" },
          strictJsonSchema: true,
          call: { priority: "bulk" }
        })
        expect(body).toEqual({
          model: name,
          messages: [{ role: "user", content: "Hi" }],
          temperature: 0,
          max_tokens: 50,
          reasoning_effort: "low",
          top_n_sigma: 1.5
        })
      }))

    it.effect("is overridden in a region, field by field, the inner region first", () =>
      run(
        Effect.gen(function*() {
          yield* TogetherTest.reply(Reply.chat("ok"), Reply.stream(["ok"]), Reply.chat("ok"))
          yield* LanguageModel.generateText({ prompt: "1" }).pipe(
            TogetherLanguageModel.withConfig({ seed: 3 }),
            TogetherLanguageModel.withConfig({ seed: 2, temperature: 1 })
          )
          yield* Stream.runDrain(LanguageModel.streamText({ prompt: "2" })).pipe(
            TogetherLanguageModel.withConfig({ max_tokens: 9 })
          )
          yield* LanguageModel.generateText({ prompt: "3" })
          expect(yield* bodies).toMatchObject([
            { temperature: 1, seed: 3, max_tokens: 5 },
            { temperature: 0, max_tokens: 9 },
            { temperature: 0, max_tokens: 5 }
          ])
        }),
        { temperature: 0, max_tokens: 5 }
      ))

    it.effect("takes the options of a call: a deadline, other models, a schedule", () =>
      run(
        Effect.gen(function*() {
          yield* TogetherTest.reply(Reply.error(404), Reply.chat("small", { model: "small" }), Reply.hang)
          const answer = yield* LanguageModel.generateText({ prompt: "?" })
          expect(answer.text).toBe("small")
          const error = yield* Effect.flip(
            TogetherLanguageModel.withConfig(LanguageModel.generateText({ prompt: "?" }), {
              call: { deadline: "5 seconds" }
            })
          )
          expect(AiFailure.details(error)).toMatchObject({ tag: "RequestTimeoutError", phase: "deadline" })
          expect((yield* TogetherTest.sent).map((sent) => sent.model)).toEqual([name, "small", name])
        }),
        { call: { fallback: ["small"], retry: Schedule.recurs(0) } }
      ))

    it("refuses a model without a name", () => {
      expect(() => TogetherLanguageModel.model(" ")).toThrow(
        new RangeError("TogetherLanguageModel.make: model must be a name, got \" \"")
      )
    })

    it.effect("names provider and model to whoever asks", () =>
      run(Effect.gen(function*() {
        expect([yield* Model.ProviderName, yield* Model.ModelName]).toEqual(["together", name])
      })))
  })

  describe("generateText", () => {
    it.effect("answers with text, reasoning, usage and what the answer says of itself", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("Paris", {
          reasoning: "France, so",
          usage: {
            prompt_tokens: 100,
            completion_tokens: 30,
            prompt_tokens_details: { cached_tokens: 40 },
            completion_tokens_details: { reasoning_tokens: 20 }
          }
        }))
        const answer = yield* LanguageModel.generateText({ prompt: "?" })
        expect([answer.text, answer.reasoningText, answer.finishReason]).toEqual(["Paris", "France, so", "stop"])
        expect(answer.usage).toMatchObject({
          inputTokens: { total: 100, uncached: 60, cacheRead: 40 },
          outputTokens: { total: 30, text: 10, reasoning: 20 }
        })
        const said = answer.content.find((part) => part.type === "response-metadata")
        expect(said).toMatchObject({ id: "reply-1", modelId: Reply.defaultModel })
        expect(JSON.stringify(said?.timestamp)).toContain("2026-01-01T00:00:00")
      })))

    it.effect("reads reasoning under its other name, and counts nothing where nothing is counted", () =>
      run(Effect.gen(function*() {
        const message = { role: "assistant", content: null, reasoning_content: "hm" }
        yield* TogetherTest.reply(Reply.json({ created: 1e300, choices: [{ index: 0, message }] }))
        const answer = yield* LanguageModel.generateText({ prompt: "?" })
        expect([answer.text, answer.reasoningText, answer.finishReason]).toEqual(["", "hm", "unknown"])
        expect(answer.usage.inputTokens.total).toBeUndefined()
      })))

    it.effect.each<[string | null, string]>([
      ["stop", "stop"],
      ["eos", "stop"],
      ["length", "length"],
      ["tool_calls", "tool-calls"],
      ["function_call", "tool-calls"],
      ["content_filter", "content-filter"],
      ["error", "error"],
      ["brand_new", "other"],
      ["", "unknown"],
      [null, "unknown"]
    ])("reads the finish reason %s as %s", ([wire, expected]) =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(
          Reply.json({ choices: [{ finish_reason: wire, message: { role: "assistant", content: "x" } }] })
        )
        const answer = yield* LanguageModel.generateText({ prompt: "?" })
        expect(answer.finishReason).toBe(expected)
        expect(answer.content.at(-1)?.metadata).toEqual({ together: { finishReason: wire || null } })
      })))

    it.effect("fails for an answer without a choice", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.json({ choices: [] }))
        const error = yield* Effect.flip(LanguageModel.generateText({ prompt: "?" }))
        expect(error.reason._tag).toBe("InvalidOutputError")
      })))

    it.effect("writes request, answer and usage on its span", () =>
      Effect.gen(function*() {
        const spans: Array<Tracer.NativeSpan> = []
        const tracer = Tracer.make({
          span: (options) => {
            const span = new Tracer.NativeSpan(options)
            spans.push(span)
            return span
          }
        })
        yield* run(
          Effect.gen(function*() {
            yield* TogetherTest.reply(Reply.chat("Paris"))
            yield* LanguageModel.generateText({ prompt: "?" })
          }).pipe(Effect.withTracer(tracer)),
          { temperature: 0.5 }
        )
        const [span] = spans.filter((span) => span.name === "LanguageModel.generateText")
        expect(Object.fromEntries(span?.attributes ?? [])).toMatchObject({
          "gen_ai.provider.name": "together",
          "gen_ai.request.model": name,
          "gen_ai.request.temperature": 0.5,
          "gen_ai.response.id": "reply-1",
          "gen_ai.response.finish_reasons": ["stop"],
          "gen_ai.usage.output_tokens": 2
        })
        const below = spans.find((span) => span.name === "Together.chat")
        expect(below?.parent).toMatchObject({ value: { spanId: span?.spanId } })
      }))
  })

  describe("tools", () => {
    const ask = <Options extends object>(options?: Options) =>
      LanguageModel.generateText({ prompt: "?", toolkit, ...options }).pipe(Effect.provide(handlers))

    it.effect("are offered with their JSON Schema, run, and answered", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("", {
          finishReason: "tool_calls",
          toolCalls: [call("weather", "{\"city\":\"Rome\"}"), call("clock", "", "call-2", 1)]
        }))
        const answer = yield* ask()
        expect(answer.finishReason).toBe("tool-calls")
        expect(answer.toolCalls.map(({ id, name, params }) => [id, name, params])).toEqual([
          ["call-1", "weather", { city: "Rome" }],
          ["call-2", "clock", {}]
        ])
        expect(answer.toolResults.map(({ id, result }) => [id, result])).toEqual([
          ["call-1", { celsius: 4 }],
          ["call-2", "noon"]
        ])
        const [body] = yield* bodies
        expect(body).toMatchObject({
          tool_choice: "auto",
          tools: [
            {
              type: "function",
              function: {
                name: "weather",
                description: "Says the weather.",
                parameters: {
                  type: "object",
                  properties: { city: { type: "string" } },
                  required: ["city"],
                  additionalProperties: false
                }
              }
            },
            { function: { name: "clock", parameters: { type: "object", properties: {} } } },
            { function: { name: "day" } },
            { function: { name: "careful" } }
          ]
        })
      })))

    it.effect("run where a model that calls them says that it stopped", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("", { finishReason: "eos", toolCalls: [call("clock", null)] }))
        const answer = yield* ask()
        expect([answer.finishReason, answer.toolResults[0]?.result]).toEqual(["tool-calls", "noon"])
      })))

    it.effect("do not run where the answer was cut off", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("", { finishReason: "length", toolCalls: [call("clock", "{}")] }))
        const answer = yield* ask()
        expect(answer.toolResults).toMatchObject([{ isFailure: true, result: { type: "execution-interrupted" } }])
      })))

    it.effect("take parameters that JSON knows in another form", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("", {
          finishReason: "tool_calls",
          toolCalls: [call("day", "{\"on\":\"2020-05-01T00:00:00.000Z\",\"zone\":null}")]
        }))
        expect((yield* ask()).toolResults[0]?.result).toBe("2020 UTC")
      })))

    it.effect.each<[unknown, unknown, number]>([
      ["none", "none", 4],
      ["required", "required", 4],
      [{ tool: "clock" }, { type: "function", function: { name: "clock" } }, 4],
      [{ oneOf: ["clock", "day"] }, "auto", 2],
      [{ mode: "required", oneOf: ["clock"] }, "required", 1]
    ])("are chosen as asked: %j", ([toolChoice, wire, tools]) =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("no tool"))
        yield* ask({ toolChoice })
        const [body] = yield* bodies
        expect(body).toMatchObject({ tool_choice: wire, tools: Array.from({ length: tools }, () => ({})) })
      })))

    it.effect("fail for a call to a tool that was not offered", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("", { finishReason: "tool_calls", toolCalls: [call("nuke", "{}")] }))
        const error = yield* Effect.flip(ask({ toolChoice: { oneOf: ["clock"] } }))
        expect(error).toMatchObject({
          reason: { _tag: "ToolNotFoundError", toolName: "nuke", availableTools: ["clock"] }
        })
      })))

    it.effect("fail for arguments that are no JSON, and say why", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(
          Reply.chat("", { finishReason: "length", toolCalls: [call("weather", "{\"city\":\"Ro")] })
        )
        const error = yield* Effect.flip(ask())
        expect(error).toMatchObject({ reason: { _tag: "ToolParameterValidationError", toolName: "weather" } })
        expect(String(error)).toContain("raise max_tokens")
      })))

    it.effect("tell the model about such arguments where the tool returns its failures", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("", { finishReason: "tool_calls", toolCalls: [call("careful", "{n:1}")] }))
        const answer = yield* ask()
        expect(answer.toolResults).toMatchObject([{ name: "careful", isFailure: true }])
      })))

    it.effect("fail for arguments that reach for a prototype", () =>
      run(Effect.gen(function*() {
        const args = "{\"city\":\"x\",\"__proto__\":{\"admin\":true}}"
        yield* TogetherTest.reply(Reply.chat("", { finishReason: "tool_calls", toolCalls: [call("weather", args)] }))
        const error = yield* Effect.flip(ask())
        expect(error).toMatchObject({ reason: { _tag: "ToolParameterValidationError" } })
      })))

    it.effect("are handed on unchecked where the caller checks them, with an id of our own where there is none", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("", {
          finishReason: "tool_calls",
          toolCalls: [call("nuke", "{\"at\":1}", null), call("weather", "{oops", "", 1)]
        }))
        const answer = yield* LanguageModel.generateText({
          prompt: "?",
          disableToolCallResolution: true,
          toolCallValidation: "deferred"
        })
        expect(answer.toolCalls.map(({ name, params }) => [name, params])).toEqual([
          ["nuke", { at: 1 }],
          ["weather", "{oops"]
        ])
        const ids = answer.toolCalls.map(({ id }) => id)
        expect(new Set(ids).size).toBe(2)
        expect(ids.every((id) => id.length > 3)).toBe(true)
      })))

    it.effect("of another provider are refused unsent", () =>
      run(Effect.gen(function*() {
        const Search = Tool.providerDefined({
          id: "other.search",
          customName: "search",
          providerName: "search"
        })(undefined)
        const error = yield* Effect.flip(
          LanguageModel.generateText({ prompt: "?", toolkit: Toolkit.make(Search), disableToolCallResolution: true })
        )
        expect(error).toMatchObject({ reason: { _tag: "ToolConfigurationError" } })
        expect(yield* TogetherTest.log).toEqual([])
      })))
  })

  describe("generateObject", () => {
    const Person = Schema.Struct({ name: Schema.String, born: Schema.Date, nick: Schema.optional(Schema.String) })

    it.effect("asks for the schema and decodes the answer", () =>
      run(
        Effect.gen(function*() {
          yield* TogetherTest.reply(
            Reply.chat("{\"name\":\"Ada\",\"born\":\"1815-12-10T00:00:00.000Z\",\"nick\":null}")
          )
          const { value } = yield* LanguageModel.generateObject({
            prompt: "?",
            schema: Person,
            objectName: "a person, as of today"
          })
          expect([value.name, value.born.getUTCFullYear(), value.nick]).toEqual(["Ada", 1815, undefined])
          const [body] = yield* bodies
          expect(body).toMatchObject({
            response_format: {
              type: "json_schema",
              json_schema: {
                name: "a_person_as_of_today",
                strict: true,
                schema: {
                  type: "object",
                  properties: { name: { type: "string" }, born: { type: "string" } },
                  required: ["name", "born"],
                  additionalProperties: false
                }
              }
            }
          })
        }),
        { strictJsonSchema: true }
      ))

    it.effect("sends the definitions of a schema with names", () =>
      run(Effect.gen(function*() {
        class Leaf extends Schema.Class<Leaf>("Leaf")({ text: Schema.String }) {}
        class Tree extends Schema.Class<Tree>("Tree")({ leaves: Schema.Array(Leaf) }) {}
        yield* TogetherTest.reply(Reply.chat("{\"leaves\":[{\"text\":\"a\"}]}"))
        const { value } = yield* LanguageModel.generateObject({ prompt: "?", schema: Tree })
        expect(value.leaves[0]).toBeInstanceOf(Leaf)
        const [body] = yield* bodies
        expect(body).toMatchObject({
          response_format: {
            json_schema: {
              name: "Tree",
              schema: { type: "object", properties: { leaves: { items: { $ref: "#/$defs/LeafEncoded" } } } }
            }
          }
        })
        expect(JSON.stringify(body)).toContain("\"$defs\":{")
      })))

    it.effect("fails for an answer that does not fit", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("{\"name\":7}"))
        const error = yield* Effect.flip(LanguageModel.generateObject({ prompt: "?", schema: Person }))
        expect(error.reason._tag).toBe("StructuredOutputError")
      })))
  })

  describe("streamText", () => {
    const chunk = (delta: object, finish: string | null = null, more?: object) => ({
      id: "s-1",
      model: name,
      created: 1_767_225_600,
      choices: [{ index: 0, delta, finish_reason: finish }],
      ...more
    })
    const stream = (...chunks: ReadonlyArray<unknown>) => Reply.events([...chunks, "[DONE]"])
    const parts = (options?: object) =>
      Stream.runCollect(LanguageModel.streamText({ prompt: "?", toolkit, ...options }).pipe(Stream.provide(handlers)))

    it.effect("hands on reasoning and text as blocks, and the usage of a trailing chunk", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(stream(
          chunk({ role: "assistant", content: "" }),
          chunk({ reasoning: "Fra" }),
          chunk({ reasoning_content: "nce" }),
          chunk({ content: "Pa" }),
          chunk({ content: "ris" }),
          chunk({}, "stop"),
          { id: "s-1", choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } }
        ))
        const got = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "?" }))
        expect(got.map((part) => [part.type, "id" in part ? part.id : "", "delta" in part ? part.delta : ""])).toEqual([
          ["response-metadata", "s-1", ""],
          ["reasoning-start", "reasoning-0", ""],
          ["reasoning-delta", "reasoning-0", "Fra"],
          ["reasoning-delta", "reasoning-0", "nce"],
          ["reasoning-end", "reasoning-0", ""],
          ["text-start", "text-1", ""],
          ["text-delta", "text-1", "Pa"],
          ["text-delta", "text-1", "ris"],
          ["text-end", "text-1", ""],
          ["finish", "", ""]
        ])
        expect(got.at(-1)).toMatchObject({
          reason: "stop",
          usage: { inputTokens: { total: 5 }, outputTokens: { total: 2 } }
        })
        expect(yield* bodies).toMatchObject([{ stream: true, stream_options: { include_usage: true } }])
      })))

    it.effect("hands on each piece when it arrives", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.stream(["Pa", "ris"], { every: "1 second" }))
        const times: Array<number> = []
        yield* LanguageModel.streamText({ prompt: "?" }).pipe(
          Stream.filter((part) => part.type === "text-delta"),
          Stream.runForEach(() =>
            Effect.clockWith((clock) => Effect.sync(() => times.push(clock.currentTimeMillisUnsafe())))
          )
        )
        expect((times[1] ?? 0) - (times[0] ?? 0)).toBe(1000)
      })))

    it.effect("merges the pieces of a call, its finish reason set before its last arguments", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(stream(
          chunk({ role: "assistant" }),
          chunk({ tool_calls: [call("weather", "", "call-1")] }),
          chunk({ tool_calls: [{ index: 0, function: { arguments: "{\"city\":" } }] }, "tool_calls"),
          chunk({ tool_calls: [{ index: 0, function: { arguments: "\"Rome\"}" } }] }, "tool_calls"),
          chunk({}, "tool_calls", { usage: { prompt_tokens: 5, completion_tokens: 2 } })
        ))
        const got = yield* parts()
        expect(got.map((part) => part.type)).toEqual([
          "response-metadata",
          "tool-params-start",
          "tool-params-delta",
          "tool-params-delta",
          "tool-params-end",
          "tool-call",
          "tool-result",
          "finish"
        ])
        expect(got.find((part) => part.type === "tool-call")).toMatchObject({ params: { city: "Rome" } })
        expect(got.find((part) => part.type === "tool-result")).toMatchObject({ result: { celsius: 4 } })
      })))

    const calls = (...deltas: ReadonlyArray<unknown>) =>
      Effect.gen(function*() {
        yield* TogetherTest.reply(stream(...deltas.map((tool_calls) => chunk({ tool_calls })), chunk({}, "tool_calls")))
        const got = yield* parts({ disableToolCallResolution: true, toolCallValidation: "deferred" })
        return got.flatMap((part) => part.type === "tool-call" ? [[part.name, part.params]] : [])
      })

    it.effect("keeps two calls apart, their pieces interleaved", () =>
      run(Effect.gen(function*() {
        expect(
          yield* calls(
            [call("weather", "{\"city\":", "a", 0), call("weather", "{\"city\":", "b", 1)],
            [{ index: 1, function: { arguments: "\"Oslo\"}" } }],
            [{ index: 0, function: { arguments: "\"Rome\"}" } }]
          )
        ).toEqual([["weather", { city: "Rome" }], ["weather", { city: "Oslo" }]])
      })))

    it.effect("keeps two calls apart that share an index or have none", () =>
      run(Effect.gen(function*() {
        expect(yield* calls([call("a", "{}", "x", 0)], [call("b", "{\"n\":1}", "y", 0)])).toEqual([
          ["a", {}],
          ["b", { n: 1 }]
        ])
        expect(
          yield* calls(
            [{ function: { name: "a", arguments: "{\"n\"" } }],
            [{ function: { arguments: ":1}" } }],
            [{ function: { name: "b", arguments: { n: 2 } } }]
          )
        ).toEqual([["a", { n: 1 }], ["b", { n: 2 }]])
      })))

    it.effect("waits for a call's name before announcing it", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(stream(
          chunk({ tool_calls: [{ index: 0, id: "a", function: { arguments: "{" } }] }),
          chunk({ tool_calls: [{ index: 0, function: { name: "clock", arguments: "}" } }] }),
          chunk({}, "stop")
        ))
        const got = yield* parts()
        expect(got.filter((part) => part.type.startsWith("tool-params"))).toMatchObject([
          { type: "tool-params-start", id: "a", name: "clock" },
          { type: "tool-params-delta", delta: "{}" },
          { type: "tool-params-end" }
        ])
        expect(got.at(-1)).toMatchObject({ type: "finish", reason: "tool-calls" })
      })))

    it.effect("fails at the end for a call without a name, after what had arrived", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(stream(
          chunk({ content: "Hm" }),
          chunk({ tool_calls: [{ index: 0, function: { arguments: "{}" } }] }, "tool_calls")
        ))
        const seen: Array<string> = []
        const error = yield* Effect.flip(
          Stream.runForEach(
            LanguageModel.streamText({ prompt: "?" }),
            (part) => Effect.sync(() => seen.push(part.type))
          )
        )
        expect(error.reason._tag).toBe("InvalidOutputError")
        expect(seen).toContain("text-delta")
      })))

    it.effect("is retried unseen before its first token, by the client alone", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.overloaded, Reply.endAt(Reply.stream(["Pa"]), 0), Reply.stream(["Paris"]))
        const got = yield* Stream.runCollect(LanguageModel.streamText({ prompt: "?" }))
        expect(got.filter((part) => part.type === "response-metadata").length).toBe(1)
        expect(got.flatMap((part) => part.type === "text-delta" ? [part.delta] : [])).toEqual(["Paris"])
        expect((yield* TogetherTest.log).length).toBe(3)
      })))

    it.effect("fails once after its first token, not to be repeated", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.cutAt(Reply.stream(["Pa", "ris"]), 1))
        const error = yield* Effect.flip(Stream.runDrain(LanguageModel.streamText({ prompt: "?" })))
        expect([error.reason._tag, error.isRetryable]).toEqual(["InvalidResponseError", false])
        expect(AiFailure.details(error)).toMatchObject({ tag: "StreamError", retryable: false })
      })))

    it.effect("ends its request when its reader leaves", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.stallAt(Reply.stream(["Pa", "ris"]), 1))
        const first = yield* LanguageModel.streamText({ prompt: "?" }).pipe(
          Stream.filter((part) => part.type === "text-delta"),
          Stream.take(1),
          Stream.runCollect
        )
        expect(first).toMatchObject([{ delta: "Pa" }])
        expect(yield* TogetherTest.open).toEqual([])
      })))
  })

  describe("failures", () => {
    const failing = (...replies: ReadonlyArray<Reply.Reply>) =>
      Effect.gen(function*() {
        yield* TogetherTest.reply(...replies)
        return yield* Effect.flip(LanguageModel.generateText({ prompt: "?" }))
      })
    const once = { call: { retry: Schedule.recurs(0) } }

    it.effect("keep the wait that the provider asked for, on a rate limit", () =>
      run(
        Effect.gen(function*() {
          const error = yield* failing(Reply.withHeaders(Reply.rateLimited({ reset: 7 }), { "x-request-id": "req-9" }))
          expect(error).toMatchObject({
            module: "TogetherLanguageModel",
            method: "generateText",
            reason: {
              _tag: "RateLimitError",
              http: { response: { status: 429, headers: { "x-request-id": "req-9" } } }
            }
          })
          expect(error.isRetryable).toBe(true)
          expect(error.retryAfter && Duration.toSeconds(error.retryAfter)).toBe(7)
          expect(AiFailure.details(error)).toMatchObject({
            tag: "RateLimitError",
            retryAfterMillis: 7000,
            attempts: 1,
            requestId: "req-9"
          })
        }),
        once
      ))

    it.effect.each<[string, Reply.Reply, string, boolean, string]>([
      ["503", Reply.overloaded, "InternalProviderError", true, "OverloadedError"],
      ["500", Reply.error(500), "InternalProviderError", true, "ServerError"],
      ["402", Reply.outOfCredits, "QuotaExhaustedError", false, "InsufficientCreditsError"],
      ["401", Reply.error(401), "AuthenticationError", false, "AuthError"],
      ["404", Reply.error(404), "InvalidRequestError", false, "ModelUnavailableError"],
      ["400", Reply.error(400), "InvalidRequestError", false, "InvalidRequestError"],
      ["422 about length", Reply.error(422), "InvalidRequestError", false, "ContextLengthError"],
      ["413", Reply.error(413), "InvalidRequestError", false, "PayloadTooLargeError"],
      ["an answer that is no JSON", Reply.raw("<html>"), "InvalidResponseError", false, "DecodeError"],
      ["a reset connection", Reply.broken("reset"), "NetworkError", true, "ConnectionError"],
      ["an unknown host", Reply.broken("dns"), "NetworkError", false, "ConnectionError"],
      ["silence", Reply.hang, "NetworkError", true, "RequestTimeoutError"]
    ])("of the provider are said in the words of effect/ai: %s", ([, reply, reason, retryable, tag]) =>
      run(
        Effect.gen(function*() {
          const error = yield* failing(reply)
          expect([error.reason._tag, error.isRetryable, AiFailure.details(error)?.tag]).toEqual([
            reason,
            retryable,
            tag
          ])
          expect(error.message).not.toContain("test-key")
        }),
        once
      ))

    it.effect("come after the client's retries, and are counted once", () =>
      run(
        Effect.gen(function*() {
          const error = yield* failing(Reply.overloaded, Reply.overloaded, Reply.overloaded)
          expect(AiFailure.details(error)).toMatchObject({ attempts: 3 })
          expect((yield* TogetherTest.log).length).toBe(3)
        }),
        { call: { retry: Schedule.recurs(2) } }
      ))

    it.effect("of the policy of a region follow the region", () =>
      run(
        failing(Reply.overloaded).pipe(
          Effect.provideService(Retry.CurrentPolicy, Schedule.recurs(0)),
          Effect.map((error) => expect(AiFailure.details(error)?.attempts).toBe(1))
        )
      ))

    it.effect("name the method that failed", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.error(400), Reply.error(400))
        const object = yield* Effect.flip(
          LanguageModel.generateObject({ prompt: "?", schema: Schema.Struct({ a: Schema.String }) })
        )
        const stream = yield* Effect.flip(Stream.runDrain(LanguageModel.streamText({ prompt: "?" })))
        expect([object.method, stream.method]).toEqual(["generateObject", "streamText"])
      })))

    const common = { message: "what happened" }
    const wait = { retryAfter: Duration.seconds(3) }
    const samples: ReadonlyArray<[TogetherError.TogetherError, AiError.AiErrorReason["_tag"]]> = [
      [new TogetherError.RateLimitError({ ...common, ...wait, scope: "tokens" }), "RateLimitError"],
      [new TogetherError.AuthError(common), "AuthenticationError"],
      [new TogetherError.InsufficientCreditsError(common), "QuotaExhaustedError"],
      [new TogetherError.OverloadedError({ ...common, ...wait }), "InternalProviderError"],
      [new TogetherError.ServerError(common), "InternalProviderError"],
      [new TogetherError.RequestTimeoutError({ ...common, phase: "idle" }), "NetworkError"],
      [new TogetherError.RequestTimeoutError({ ...common, phase: "deadline" }), "UnknownError"],
      [new TogetherError.ConnectionError({ ...common, permanent: false }), "NetworkError"],
      [new TogetherError.ConnectionError({ ...common, permanent: true }), "NetworkError"],
      [new TogetherError.ContextLengthError(common), "InvalidRequestError"],
      [new TogetherError.InvalidRequestError(common), "InvalidRequestError"],
      [new TogetherError.PermissionDeniedError(common), "AuthenticationError"],
      [new TogetherError.NotFoundError(common), "InvalidRequestError"],
      [new TogetherError.ModelUnavailableError(common), "InvalidRequestError"],
      [new TogetherError.ConflictError(common), "InvalidRequestError"],
      [new TogetherError.PayloadTooLargeError(common), "InvalidRequestError"],
      [
        new TogetherError.StreamError({ ...common, started: false, partial: { text: "", reasoning: "" } }),
        "InternalProviderError"
      ],
      [
        new TogetherError.StreamError({ ...common, started: true, partial: { text: "a", reasoning: "" } }),
        "InvalidResponseError"
      ],
      [new TogetherError.DecodeError(common), "InvalidResponseError"],
      [new TogetherError.CircuitOpenError({ ...common, ...wait, key: "k" }), "InternalProviderError"],
      [
        new TogetherError.BudgetExceededError({
          ...common,
          budget: "run",
          limitNanoUsd: 1n,
          neededNanoUsd: 2n,
          remainingNanoUsd: 0n
        }),
        "QuotaExhaustedError"
      ],
      [
        new TogetherError.LaneOverflowError({
          ...common,
          lane: "l",
          reason: "queue-full",
          estimate: Duration.seconds(3)
        }),
        "RateLimitError"
      ]
    ]

    it("have a reason for every tag, keep message and wait, and survive encoding", () => {
      expect(new Set(samples.map(([error]) => error._tag))).toEqual(new Set(TogetherError.tags))
      for (const [error, reason] of samples) {
        const ai = AiFailure.fromTogetherError({ module: "M", method: "m", path: "/p" })(error)
        const details = AiFailure.details(ai)
        expect([error._tag, ai.reason._tag]).toEqual([error._tag, reason])
        expect(details).toMatchObject({ tag: error._tag, message: "what happened" })
        expect(details?.retryAfterMillis).toBe(
          error.retryAfter !== undefined || error._tag === "LaneOverflowError" ? 3000 : undefined
        )
        const codec = Schema.toCodecJson(AiError.AiError)
        const wire: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(codec)(ai)))
        const back = Schema.decodeUnknownSync(codec)(wire)
        expect([back.reason._tag, back.message, back.retryAfter]).toEqual([ai.reason._tag, ai.message, ai.retryAfter])
      }
    })

    it("are worth repeating where the client repeats them, and where it refused by itself", () => {
      for (const [error] of samples) {
        const ai = AiFailure.fromTogetherError({ module: "M", method: "m", path: "/p" })(error)
        const refused = error._tag === "LaneOverflowError" || error._tag === "CircuitOpenError"
        expect([error._tag, ai.isRetryable]).toEqual([error._tag, TogetherError.isRetryable(error) || refused])
      }
    })

    it("without a Together failure behind them have no details", () => {
      const reason = new AiError.RateLimitError({})
      expect(AiFailure.details(AiError.make({ module: "M", method: "m", reason }))).toBeUndefined()
    })

    it.effect("let an interrupted caller go, and its request with it", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.hang)
        const exit = yield* Effect.exit(Effect.timeout(LanguageModel.generateText({ prompt: "?" }), "1 second"))
        expect(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)).toBe(false)
        expect(yield* TogetherTest.open).toEqual([])
      })))
  })
})
