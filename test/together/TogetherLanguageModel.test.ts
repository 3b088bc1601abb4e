import { describe, expect, it } from "@effect/vitest"
import { Effect, Option, Schedule, Schema, Stream, Tracer } from "effect"
import { Chat, LanguageModel, Model, type Prompt, Tool, Toolkit } from "effect/ai"
import { Reply, TogetherTest } from "effect-together/testing"
import * as AiFailure from "../../src/together/ai/AiFailure.ts"
import * as TogetherLanguageModel from "../../src/together/ai/TogetherLanguageModel.ts"
import { bodies, bodyFor, call, handlers, name, run, toolkit } from "./languageModel.ts"
import { recorded } from "./spans.ts"

describe("TogetherLanguageModel", () => {
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
          const retired = Reply.error(400, {
            body: { error: { type: "invalid_request_error", code: "model_not_available", message: "Unable to access" } }
          })
          yield* TogetherTest.reply(retired, Reply.chat("small", { model: "small" }), Reply.hang)
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

    it.effect("take a null for an optional parameter as none, unless null is what it may be", () =>
      run(Effect.gen(function*() {
        const Find = Tool.make("find", {
          parameters: Schema.Struct({
            unit: Schema.optionalKey(Schema.String),
            at: Schema.optionalKey(Schema.Struct({ zone: Schema.optionalKey(Schema.Int) })),
            tags: Schema.optionalKey(Schema.NullOr(Schema.String))
          }),
          success: Schema.String
        })
        const tools = Toolkit.make(Find)
        const made = tools.toLayer({ find: (params) => Effect.succeed(JSON.stringify(params)) })
        const asked = (args: string) =>
          TogetherTest.reply(Reply.chat("", { finishReason: "tool_calls", toolCalls: [call("find", args)] })).pipe(
            Effect.andThen(LanguageModel.generateText({ prompt: "?", toolkit: tools })),
            Effect.provide(made),
            Effect.map(({ toolResults }) => toolResults[0]?.result)
          )
        expect(yield* asked("{\"unit\":null,\"at\":{\"zone\":null}}")).toBe("{\"at\":{}}")
        expect(yield* asked("{\"tags\":null}")).toBe("{\"tags\":null}")
        // each by itself: a null that the schema takes stays beside one that it does not
        expect(yield* asked("{\"unit\":null,\"tags\":null}")).toBe("{\"tags\":null}")
        const error = yield* Effect.flip(asked("{\"unit\":1,\"at\":null}"))
        expect(error).toMatchObject({ reason: { _tag: "ToolParameterValidationError" } })
      })))

    it.effect("have their calls sent back as the model wrote them, also where JSON knows another form", () =>
      run(Effect.gen(function*() {
        const parameters = Schema.Struct({
          wait: Schema.Duration,
          zone: Schema.optionalKey(Schema.Option(Schema.String)),
          most: Schema.NumberFromString
        })
        const Nap = Tool.make("nap", { parameters, success: Schema.String })
        const tools = Toolkit.make(Nap, Tool.dynamic("bare"))
        const made = tools.toLayer({ nap: ({ wait }) => Effect.succeed(String(wait)), bare: Effect.succeed })
        const wrote =
          "{\"wait\":{\"_tag\":\"Millis\",\"value\":5},\"zone\":{\"_tag\":\"Some\",\"value\":\"UTC\"},\"most\":\"12\"}"
        yield* TogetherTest.reply(
          Reply.chat("", {
            finishReason: "tool_calls",
            toolCalls: [call("nap", wrote), call("bare", "{\"any\":1}", "call-2", 1)]
          }),
          Reply.chat("rested")
        )
        const chat = yield* Chat.empty
        const turns = Effect.forEach(["?", []], (prompt) => chat.generateText({ prompt, toolkit: tools }))
        const [first] = yield* Effect.provide(turns, made)
        expect(first?.toolResults[0]?.result).toBe("5 millis")
        expect((yield* bodies)[1]).toMatchObject({
          messages: [
            {},
            { tool_calls: [{ function: { arguments: wrote } }, { function: { arguments: "{\"any\":1}" } }] },
            {},
            {}
          ]
        })
      })))

    it.effect("that are dynamic say an object, and take parameters that JSON knows in another form", () =>
      run(Effect.gen(function*() {
        const Day = Tool.dynamic("day", { parameters: Schema.Struct({ on: Schema.Date }), success: Schema.Finite })
        const Found = Tool.dynamic("found", { parameters: { type: "object", properties: { at: { type: "string" } } } })
        const dynamic = Toolkit.make(Day, Found, Tool.dynamic("bare"))
        const made = dynamic.toLayer({
          day: ({ on }) => Effect.succeed(on.getUTCFullYear()),
          found: Effect.succeed,
          bare: Effect.succeed
        })
        yield* TogetherTest.reply(Reply.chat("", {
          finishReason: "tool_calls",
          toolCalls: [
            call("day", "{\"on\":\"2020-05-01T00:00:00.000Z\"}"),
            call("found", "{\"at\":1}", "call-2", 1),
            call("bare", "{\"any\":null}", "call-3", 2)
          ]
        }))
        const answer = yield* Effect.provide(LanguageModel.generateText({ prompt: "?", toolkit: dynamic }), made)
        expect(answer.toolResults.map(({ result }) => result)).toEqual([2020, { at: 1 }, { any: null }])
        expect((yield* bodies)[0]).toMatchObject({
          tools: [
            { function: { parameters: { type: "object", properties: { on: { type: "string" } } } } },
            { function: { parameters: { type: "object", properties: { at: { type: "string" } } } } },
            { function: { parameters: { type: "object", properties: {} } } }
          ]
        })
      })))

    it.effect("whose parameters are one of several objects say that they are an object", () =>
      run(Effect.gen(function*() {
        const Find = Tool.make("find", {
          parameters: Schema.Union([Schema.Struct({ id: Schema.Int }), Schema.Struct({ name: Schema.String })]),
          success: Schema.String
        })
        yield* TogetherTest.reply(Reply.chat("no tool"))
        yield* LanguageModel.generateText({
          prompt: "?",
          toolkit: Toolkit.make(Find),
          disableToolCallResolution: true
        })
        expect((yield* bodies)[0]).toMatchObject({
          tools: [{ function: { parameters: { type: "object", properties: {}, anyOf: [{}, {}] } } }]
        })
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

    it.effect("are called and answered over streams, until the model has said all", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(
          Reply.stream(["Let me ", "see."], {
            reasoning: "Which city?",
            toolCalls: [call("weather", "{\"city\":\"Rome\"}"), call("clock", "", "call-2", 1)]
          }),
          Reply.stream(["Four ", "degrees."])
        )
        const chat = yield* Chat.empty
        const turn = (prompt: Prompt.RawInput) =>
          Stream.runCollect(chat.streamText({ prompt, toolkit })).pipe(Effect.provide(handlers))
        const first = yield* turn("How is Rome?")
        expect(first.flatMap((part) => part.type === "tool-call" ? [[part.id, part.params]] : [])).toEqual([
          ["call-1", { city: "Rome" }],
          ["call-2", {}]
        ])
        expect(first.flatMap((part) => part.type === "tool-result" ? [part.result] : [])).toEqual([
          { celsius: 4 },
          "noon"
        ])
        expect(first.flatMap((part) => part.type === "reasoning-delta" ? [part.delta] : [])).toEqual(["Which city?"])
        expect(first.at(-1)).toMatchObject({ type: "finish", reason: "tool-calls" })
        const second = yield* turn([])
        expect(second.flatMap((part) => part.type === "text-delta" ? [part.delta] : []).join("")).toBe("Four degrees.")
        const sent = (yield* bodies)[1]
        expect(sent).toMatchObject({
          messages: [
            { role: "user" },
            { role: "assistant", content: "Let me see.", tool_calls: [{ id: "call-1" }, { id: "call-2" }] },
            { role: "tool", tool_call_id: "call-1", content: "{\"celsius\":4}" },
            { role: "tool", tool_call_id: "call-2" }
          ]
        })
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

    it.effect("fail for such arguments without a word of them", () =>
      run(Effect.gen(function*() {
        const args = "{\"city\": Karl Maier}"
        yield* TogetherTest.reply(Reply.chat("", { finishReason: "tool_calls", toolCalls: [call("weather", args)] }))
        const error = yield* Effect.flip(ask())
        expect(error.message).toContain("The arguments (20 characters) are no JSON")
        expect(JSON.stringify(error)).not.toMatch(/Karl|city/)
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

  describe("spans", () => {
    it.effect("have the client's as their child, of streams too", () =>
      Effect.gen(function*() {
        const { spans, tracer } = recorded()
        yield* run(Effect.gen(function*() {
          yield* TogetherTest.reply(Reply.chat("ok"), Reply.stream(["ok"]))
          yield* LanguageModel.generateText({ prompt: "1" })
          yield* Stream.runDrain(LanguageModel.streamText({ prompt: "2" }))
        })).pipe(Effect.withSpan("handler"), Effect.provideService(Tracer.Tracer, tracer))
        const nameOf = (span: Tracer.AnySpan | undefined) => span?._tag === "Span" ? span.name : undefined
        expect(spans.map((span) => [span.name, nameOf(Option.getOrUndefined(span.parent))])).toEqual([
          ["handler", undefined],
          ["LanguageModel.generateText", "handler"],
          ["Together.chat", "LanguageModel.generateText"],
          ["LanguageModel.streamText", "handler"],
          ["Together.chatStream", "LanguageModel.streamText"]
        ])
      }))
  })

  describe("the span of an answer that cannot be read", () => {
    const unnamed = [call(undefined, "{}")]

    it.effect("carries what the answer says of itself and its usage, streamed or not", () =>
      Effect.gen(function*() {
        const { spans, tracer } = recorded()
        yield* run(Effect.gen(function*() {
          yield* TogetherTest.reply(
            Reply.chat("", { finishReason: "tool_calls", toolCalls: unnamed }),
            Reply.stream(["ok"], { toolCalls: unnamed })
          )
          const options = { prompt: "?", toolkit, disableToolCallResolution: true } as const
          yield* Effect.flip(LanguageModel.generateText(options))
          yield* Effect.flip(Stream.runDrain(LanguageModel.streamText(options)))
        })).pipe(Effect.provideService(Tracer.Tracer, tracer))
        const failed = spans.filter(({ name }) => name.startsWith("LanguageModel."))
        expect(failed.map(({ attributes }) => [
          attributes.get("gen_ai.response.id"),
          attributes.get("gen_ai.response.finish_reasons"),
          attributes.get("gen_ai.usage.input_tokens")
        ])).toEqual([["reply-1", ["tool-calls"], 10], ["reply-1", ["tool-calls"], 10]])
      }))
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

    it.effect("takes a null for an optional field as none, unless null is what it may be", () =>
      run(Effect.gen(function*() {
        const schema = Schema.Struct({
          at: Schema.optionalKey(Schema.Date),
          by: Schema.Array(Schema.Struct({ nick: Schema.optionalKey(Schema.String) }))
        })
        const read = <A, E extends Record<string, unknown>>(schema: Schema.Codec<A, E>, text: string) =>
          TogetherTest.reply(Reply.chat(text)).pipe(
            Effect.andThen(LanguageModel.generateObject({ prompt: "?", schema })),
            Effect.map(({ value }) => value)
          )
        expect(yield* read(schema, "{\"at\":null,\"by\":[{\"nick\":null},{\"nick\":\"x\"}]}")).toEqual({
          by: [{}, { nick: "x" }]
        })
        const kept = Schema.Struct({ a: Schema.NullOr(Schema.Int), b: Schema.optionalKey(Schema.NullOr(Schema.Int)) })
        expect(yield* read(kept, "{\"a\":null,\"b\":null}")).toEqual({ a: null, b: null })
        const Either = Schema.Union([
          Schema.Struct({ kind: Schema.tag("a"), x: Schema.optionalKey(Schema.Int), z: Schema.NullOr(Schema.Int) }),
          Schema.Struct({ kind: Schema.tag("b"), y: Schema.NullOr(Schema.Int) })
        ])
        const beside = Schema.Struct({ asked: Schema.NullOr(Schema.Int), of: Schema.Array(Either) })
        expect(
          yield* read(
            beside,
            "{\"asked\":null,\"of\":[{\"kind\":\"b\",\"y\":null},{\"kind\":\"a\",\"x\":null,\"z\":null}]}"
          )
        )
          .toEqual({ asked: null, of: [{ kind: "b", y: null }, { kind: "a", z: null }] })
        const error = yield* Effect.flip(read(Schema.Struct({ a: Schema.Int }), "{\"a\":null}"))
        expect(error.message).toContain("Expected number")
        expect(error.message).toContain("[\"a\"]")
      })))

    it.effect.each([
      ["{\"name\":\"Ad", { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 }, 5],
      ["", undefined, undefined]
    ])(
      "says that an answer was cut off, and what to raise: %j",
      ([text, usage, completionTokens]) =>
        run(Effect.gen(function*() {
          const message = { role: "assistant", content: text, reasoning: "Who was" }
          yield* TogetherTest.reply(Reply.json({ choices: [{ finish_reason: "length", message }], usage }))
          const error = yield* Effect.flip(LanguageModel.generateObject({ prompt: "?", schema: Person }))
          expect(error.message).toContain("raise max_tokens")
          expect(error.reason).toMatchObject({ _tag: "StructuredOutputError", responseText: text })
          if (error.reason._tag === "StructuredOutputError") {
            expect(error.reason.usage?.completionTokens).toBe(completionTokens)
          }
        }))
    )

    it.effect("takes an object that was whole where the answer was cut off", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("{\"a\":1}", { finishReason: "length" }))
        const answer = yield* LanguageModel.generateObject({ prompt: "?", schema: Schema.Struct({ a: Schema.Int }) })
        expect([answer.value.a, answer.finishReason]).toEqual([1, "length"])
      })))

    it.effect("fails for an answer that does not fit", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("{\"name\":7}"))
        const error = yield* Effect.flip(LanguageModel.generateObject({ prompt: "?", schema: Person }))
        expect(error.reason._tag).toBe("StructuredOutputError")
      })))
  })
})
