import { describe, expect, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { LanguageModel, Tool } from "effect/ai"
import { Reply, TogetherTest } from "effect-together/testing"
import * as AiFailure from "../../src/together/ai/AiFailure.ts"
import * as AiParts from "../../src/together/ai/AiParts.ts"
import { bodies, call, handlers, name, run, toolkit } from "./languageModel.ts"
import { recorded } from "./spans.ts"

describe("AiParts", () => {
  describe("of a whole answer", () => {
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

    it.effect("hands on the provider's own word and its warnings, with their types", () =>
      run(Effect.gen(function*() {
        const message = { role: "assistant", content: "x" }
        yield* TogetherTest.reply(
          Reply.json({ choices: [{ finish_reason: "eos", message }], warnings: [{ message: "deprecated" }] })
        )
        const answer = yield* LanguageModel.generateText({ prompt: "?" })
        const { together } = answer.content.find((part) => part.type === "finish")?.metadata ?? {}
        const word: string | null | undefined = together?.finishReason
        const warnings: ReadonlyArray<string> | undefined = together?.warnings
        expect([word, warnings]).toEqual(["eos", ["deprecated"]])
      })))

    it.effect("reads choice 0, wherever it stands, and the usage inside the first", () =>
      run(Effect.gen(function*() {
        const choice = (index: number, content: string) => ({ index, message: { role: "assistant", content } })
        yield* TogetherTest.reply(
          Reply.json({
            choices: [{ ...choice(1, "b"), usage: { prompt_tokens: 5, completion_tokens: 2 } }, choice(0, "a")],
            usage: {}
          })
        )
        const answer = yield* LanguageModel.generateText({ prompt: "?" })
        expect([answer.text, answer.usage.inputTokens.total, answer.usage.outputTokens.total]).toEqual(["a", 5, 2])
      })))

    it.effect("takes arguments that are an object", () =>
      run(Effect.gen(function*() {
        const message = {
          role: "assistant",
          content: null,
          tool_calls: [{ id: null, function: { name: "weather", arguments: { city: "Rome" } } }]
        }
        yield* TogetherTest.reply(
          Reply.json({ id: null, choices: [{ index: null, finish_reason: "tool_calls", message }] })
        )
        const answer = yield* LanguageModel.generateText({ prompt: "?", toolkit }).pipe(Effect.provide(handlers))
        expect(answer.toolResults).toMatchObject([{ name: "weather", result: { celsius: 4 } }])
      })))

    it.effect("reads the older form of a call, beside which tool_calls counts", () =>
      run(
        Effect.gen(function*() {
          const old = { function_call: { name: "weather", arguments: "{\"city\":\"Rome\"}" } }
          const both = {
            ...old,
            tool_calls: [{ id: "a", function: { name: "weather", arguments: "{\"city\":\"Bern\"}" } }]
          }
          const answers = yield* Effect.forEach([old, both], (message) =>
            Effect.gen(function*() {
              yield* TogetherTest.reply(Reply.json({
                choices: [{ finish_reason: "function_call", message: { role: "assistant", content: null, ...message } }]
              }))
              return yield* LanguageModel.generateText({ prompt: "?", toolkit })
            }))
          expect(answers.map((answer) => [answer.finishReason, answer.toolCalls.map((call) => call.params)])).toEqual([
            ["tool-calls", [{ city: "Rome" }]],
            ["tool-calls", [{ city: "Bern" }]]
          ])
          expect(answers[0]?.toolCalls[0]?.id).not.toBe("")
        }).pipe(Effect.provide(handlers))
      ))

    it.effect("fails for an answer without a choice", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.json({ choices: [] }))
        const error = yield* Effect.flip(LanguageModel.generateText({ prompt: "?" }))
        expect(error.reason._tag).toBe("InvalidResponseError")
      })))

    it.effect("writes request, answer and usage on its span", () =>
      Effect.gen(function*() {
        const { spans, tracer } = recorded()
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

  describe("of a stream", () => {
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

    it.effect("merges the pieces of a call in the older form", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(stream(
          chunk({ function_call: { name: "weather", arguments: "" } }),
          chunk({ function_call: { arguments: "{\"city\":" } }),
          chunk({ function_call: { name: "weather", arguments: "\"Rome\"}" } }),
          chunk({}, "function_call", { usage: { prompt_tokens: 5, completion_tokens: 2 } })
        ))
        const got = yield* parts()
        expect(got.filter((part) => part.type === "tool-call")).toMatchObject([{ params: { city: "Rome" } }])
        expect(got.filter((part) => part.type === "tool-result")).toMatchObject([{ result: { celsius: 4 } }])
        expect(got.at(-1)).toMatchObject({ type: "finish", reason: "tool-calls" })
      })))

    it.effect.each([{}, { name: "", arguments: "" }, { name: null, arguments: null }])(
      "takes an older form with nothing in it for no call: %j",
      (function_call) =>
        run(Effect.gen(function*() {
          const message = { role: "assistant", content: "Rome", function_call }
          yield* TogetherTest.reply(
            Reply.json({ choices: [{ finish_reason: "stop", message }] }),
            stream(chunk({ content: "Ro", function_call }), chunk({ content: "me", function_call }, "stop"))
          )
          const answer = yield* LanguageModel.generateText({ prompt: "?" })
          expect([answer.text, answer.finishReason, answer.toolCalls]).toEqual(["Rome", "stop", []])
          expect((yield* parts()).map((part) => part.type)).toEqual([
            "response-metadata",
            "text-start",
            "text-delta",
            "text-delta",
            "text-end",
            "finish"
          ])
        }))
    )

    it.effect("says its warnings at the end, each once", () =>
      run(Effect.gen(function*() {
        const warnings = [{ message: "truncated" }, { message: 7 }, null]
        yield* TogetherTest.reply(stream(
          chunk({ content: "Paris" }, null, { warnings }),
          chunk({}, "stop", { warnings: [...warnings, { message: "slow" }] }),
          { choices: [], warnings: "none" }
        ))
        expect((yield* parts()).at(-1)).toMatchObject({
          type: "finish",
          metadata: { together: { warnings: ["truncated", "slow"] } }
        })
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

    const piece = (
      args: unknown,
      name?: string,
      more: object = {}
    ) => [{ function: { name, arguments: args }, ...more }]

    it.effect.each<[string, ReadonlyArray<unknown>, ReadonlyArray<unknown>]>([
      [
        "two whole calls of one index without ids",
        [piece("{\"n\":1}", "a", { index: 0 }), piece("{\"n\":2}", "a", { index: 0 })],
        [["a", { n: 1 }], ["a", { n: 2 }]]
      ],
      [
        "two calls of one index without ids, of other names",
        [piece("", "a", { index: 0 }), piece("{}", "b", { index: 0 })],
        [["a", {}], ["b", {}]]
      ],
      [
        "two calls without index or ids, their arguments late",
        [piece("", "a"), piece("{\"n\":1}"), piece("", "a"), piece("{\"n\":2}")],
        [["a", { n: 1 }], ["a", { n: 2 }]]
      ],
      [
        "one call whose name comes with each piece",
        [piece("{\"n\":{", "a"), piece("\"m\":1}", "a"), piece("}", "a")],
        [["a", { n: { m: 1 } }]]
      ],
      [
        "one call whose id comes once and whose name comes with each piece",
        [piece("{\"n\"", "a", { id: "x" }), piece(":1}", "a")],
        [["a", { n: 1 }]]
      ],
      [
        "one call whose text begins anew inside a string",
        [piece("{\"n\":\"{}", "a", { index: 0 }), piece("{}\"}", "a", { index: 0 })],
        [["a", { n: "{}{}" }]]
      ],
      [
        "two calls without index, ids or arguments",
        [piece("", "a"), piece(null, "a"), piece("", "a")],
        [["a", {}], ["a", {}], ["a", {}]]
      ],
      [
        "one call that comes whole again at its end",
        [
          piece("", "a", { index: 0, id: "x" }),
          piece("{\"n\":1}", undefined, { index: 0 }),
          piece("{\"n\":1}", "a", { index: 0, id: "x" })
        ],
        [["a", { n: 1 }]]
      ],
      [
        "two calls of one index without ids that are alike",
        [piece("{\"n\":1}", "a", { index: 0 }), piece("{\"n\":1}", "a", { index: 0 })],
        [["a", { n: 1 }], ["a", { n: 1 }]]
      ],
      [
        "one call that comes whole again under its id",
        [piece("{\"n\":1}", "a", { id: "x" }), piece("{\"n\":1}", "a", { id: "x" })],
        [["a", { n: 1 }]]
      ],
      [
        "one call whose name comes in pieces",
        [
          piece("", "get_", { index: 0, id: "x" }),
          piece("", "weather", { index: 0 }),
          piece("{}", undefined, { index: 0 })
        ],
        [["get_weather", {}]]
      ],
      [
        "one call whose name comes in pieces, each with its id",
        [piece("", "get_", { id: "x" }), piece("", "weather", { id: "x" }), piece("{}", undefined, { id: "x" })],
        [["get_weather", {}]]
      ],
      [
        "one call of an offered tool whose name comes in pieces",
        [piece("", "wea"), piece("{}", "ther")],
        [["weather", {}]]
      ],
      [
        "two calls of offered tools, the first without arguments",
        [
          piece("", "clock", { index: 0, id: "x" }),
          piece("", "weather", { index: 0 }),
          piece("{}", undefined, { index: 0 })
        ],
        [["clock", {}], ["weather", {}]]
      ],
      [
        "one call that is named again at its end",
        [piece("{\"n\":1}", "a", { index: 0, id: "x" }), piece("", "a", { index: 0, id: "x" })],
        [["a", { n: 1 }]]
      ]
    ])("tells apart what belongs together: %s", ([, deltas, expected]) =>
      run(Effect.gen(function*() {
        expect(yield* calls(...deltas)).toEqual(expected)
      })))

    it.effect.each(
      [["an order", {}, {}, ["get", "all"]], ["an index", { index: 0 }, { index: 0 }, ["get", "all"]], [
        "an id",
        { id: "x" },
        { id: "x" },
        ["getall"]
      ]] as const
    )(
      "takes two names that are a third together for one only within an id: %s",
      ([, first, next, names]) =>
        Effect.gen(function*() {
          const tools = ["get", "all", "getall"].map((name) => Tool.make(name))
          const assembler = AiParts.assembler({ tools, deferred: true, object: false, idPrefix: "p" })
          const calls = [["get", first], ["all", next]] as const
          for (const [name, more] of calls) {
            const tool_calls = [{ function: { name, arguments: "" }, ...more }]
            assembler.push({ choices: [{ index: 0, delta: { tool_calls } }] }, [])
          }
          const parts = yield* assembler.end
          expect(parts.flatMap((part) => part.type === "tool-call" ? [part.name] : [])).toEqual(names)
        })
    )

    it.effect.each([["with", "tool_calls"], ["after", null]] as const)(
      "ignores a whole call that comes again %s the finish",
      ([, reason]) =>
        run(Effect.gen(function*() {
          const call = piece("{\"city\":\"Oslo\"}", "weather", { index: 0 })
          yield* TogetherTest.reply(stream(
            chunk({ tool_calls: call }),
            chunk({}, reason === null ? "tool_calls" : null),
            chunk({ tool_calls: call }, reason)
          ))
          const got = yield* parts({ disableToolCallResolution: true })
          expect(got.filter((part) => part.type === "tool-call")).toHaveLength(1)
        }))
    )

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

    it.effect("announces a name that came in pieces once it is whole", () =>
      run(Effect.gen(function*() {
        yield* TogetherTest.reply(stream(
          chunk({ tool_calls: piece("", "clo", { index: 0, id: "a" }) }),
          chunk({ tool_calls: piece("", "ck", { index: 0 }) }),
          chunk({ tool_calls: piece("{}", undefined, { index: 0 }) }),
          chunk({}, "stop")
        ))
        const got = yield* parts()
        expect(got.filter((part) => part.type.startsWith("tool-params"))).toMatchObject([
          { type: "tool-params-start", id: "a", name: "clock" },
          { type: "tool-params-delta", delta: "{}" },
          { type: "tool-params-end" }
        ])
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
})
