import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Stream } from "effect"
import { HttpClient, type HttpClientError, HttpClientRequest } from "effect/http"
import * as TestClock from "effect/testing/TestClock"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const model = "openai/gpt-oss-20b"

const plain: Simulation.Options = {
  limits: {},
  firstToken: { kind: "constant", value: 1 },
  tokensPerSecond: { kind: "constant", value: 10 },
  outputTokens: { kind: "constant", value: 11 }
}

const post = (path: string, body: unknown) =>
  HttpClientRequest.post(`https://api.together.ai/v1${path}`).pipe(
    HttpClientRequest.bearerToken("key"),
    HttpClientRequest.bodyText(typeof body === "string" ? body : JSON.stringify(body), "application/json")
  )

const question = { model, messages: [{ role: "user", content: "What is new?" }] }

const chat = (more: object = {}) => post("/chat/completions", { ...question, ...more })

const send = (request: HttpClientRequest.HttpClientRequest) =>
  HttpClient.HttpClient.use((client) => client.execute(request))

const json = (request: HttpClientRequest.HttpClientRequest) =>
  Effect.flatMap(send(request), (response) =>
    Effect.map(response.text, (text) => ({
      status: response.status,
      body: JSON.parse(text),
      headers: response.headers
    })))

const events = (request: HttpClientRequest.HttpClientRequest) =>
  Effect.flatMap(send(request), (response) =>
    Effect.map(
      Stream.mkString(Stream.decodeText(response.stream)),
      (text) => text.split("\n\n").filter((part) => part !== "").map((part) => part.replace(/^data: /, ""))
    ))

/** Runs in virtual time; gives the value and the virtual seconds. */
const virtual = <A, E>(
  options: Simulation.Options,
  effect: Effect.Effect<A, E, HttpClient.HttpClient | SimulatedProvider.SimulatedProvider>
) =>
  Effect.flatMap(
    VirtualClock.run(Effect.provide(effect, SimulatedProvider.layer({ ...plain, ...options }, 3))),
    (result) => Effect.map(result.exit, (value) => ({ value, seconds: Duration.toSeconds(result.elapsed) }))
  )

const counters = Effect.flatMap(SimulatedProvider.SimulatedProvider, (provider) => provider.counters)

const causeCode = (error: unknown) => {
  const reason = (error as HttpClientError.HttpClientError).reason
  return [reason._tag, (reason.cause as { readonly code?: string } | undefined)?.code]
}

describe("SimulatedProvider", () => {
  describe("chat", () => {
    it.effect("answers when the simulation says, on the clock of the test", () =>
      Effect.gen(function*() {
        const asking = yield* Effect.forkChild(json(chat()), { startImmediately: true })
        yield* TestClock.adjust("2099 millis")
        expect(asking.pollUnsafe()).toBeUndefined()
        yield* TestClock.adjust("2 millis")
        const { status, body, headers } = yield* Fiber.join(asking)
        expect(status).toBe(200)
        expect(headers["x-request-id"]).toBe(body.id)
        expect(body).toMatchObject({
          object: "chat.completion",
          model,
          prompt: [],
          choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant" } }],
          usage: { prompt_tokens: 8, completion_tokens: 11, total_tokens: 19, cached_tokens: 0 }
        })
      }).pipe(Effect.provide(SimulatedProvider.layer(plain))))

    it.effect("begins every answer with the mark of its question", () =>
      Effect.gen(function*() {
        const other = { model, prompt: "Once" }
        const { value: [first, second] } = yield* virtual(
          {},
          Effect.all([json(chat({ max_tokens: 1, n: 3 })), json(post("/completions", other))])
        )
        const mark = SimulatedProvider.mark("chat", question)
        expect(first.body.choices.map((choice: { message: { content: string } }) => choice.message.content)).toEqual(
          [mark, mark, mark]
        )
        expect(second.body.choices[0].text.split(" ")[0]).toBe(SimulatedProvider.mark("completions", other))
        expect(SimulatedProvider.mark("completions", other)).not.toBe(mark)
        expect(SimulatedProvider.mark("chat", {})).toBeUndefined()
      }))

    it.effect("gives as many choices as asked for, log probabilities and reasoning", () =>
      Effect.gen(function*() {
        const models = { [model]: { reasoningShare: 0.5, outputUsd: 1 } }
        const { value: { body } } = yield* virtual({ models }, json(chat({ n: 2, logprobs: 1 })))
        expect(body.choices).toHaveLength(2)
        expect(body.choices[0].message.content).not.toBe(body.choices[1].message.content)
        expect(body.choices[0].message.reasoning.split(" ")).toHaveLength(5)
        expect(body.choices[0].logprobs.tokens).toHaveLength(6)
        expect(body.usage).toMatchObject({
          completion_tokens: 22,
          completion_tokens_details: { reasoning_tokens: 10 }
        })
      }))

    it.effect("writes an instance of a JSON schema, references and all", () =>
      Effect.gen(function*() {
        const schema = {
          $defs: { node: { type: "object", properties: { next: { $ref: "#/$defs/node" }, tag: { const: "n" } } } },
          type: "object",
          properties: {
            a: { enum: ["x", "y"] },
            b: { type: "array", minItems: 2, items: { type: "boolean" } },
            c: { anyOf: [{ type: "null" }, { type: "string" }] },
            d: { type: "number", minimum: 3 },
            e: { type: ["string", "null"], minLength: 20, maxLength: 20 },
            f: { default: 5 },
            g: { $ref: "#/$defs/node" }
          }
        }
        const ask = (response_format: object) =>
          Effect.map(json(chat({ response_format })), ({ body }) => JSON.parse(body.choices[0].message.content))
        const { value } = yield* virtual(
          {},
          Effect.all([
            ask({ type: "json_schema", json_schema: { name: "x", schema } }),
            ask({ type: "json_object" })
          ])
        )
        expect(value[0]).toMatchObject({ a: "x", b: [true, true], c: null, d: 3, f: 5, g: { tag: "n" } })
        expect(value[0].e).toHaveLength(20)
        expect(value[1]).toEqual({ answer: expect.any(String) })
      }))

    it.effect("refuses what the provider refuses, by name and before any limit", () =>
      Effect.gen(function*() {
        const wrong: ReadonlyArray<readonly [object | string, string]> = [
          ["{", "body"],
          ["[]", "body"],
          [{ ...question, model: "" }, "model"],
          [{ model }, "messages"],
          [{ model, messages: [{ content: "no role" }] }, "messages"],
          [{ ...question, max_tokens: 0 }, "max_tokens"],
          [{ ...question, max_tokens: 1.5 }, "max_tokens"],
          [{ ...question, max_completion_tokens: -1 }, "max_completion_tokens"],
          [{ ...question, max_output_tokens: 5 }, "max_output_tokens"],
          [{ ...question, stop: "end" }, "stop"],
          [{ ...question, stop: ["1", "2", "3", "4", "5"] }, "stop"],
          [{ ...question, temperature: 9 }, "temperature"],
          [{ ...question, n: 129 }, "n"]
        ]
        const { value } = yield* virtual(
          { limits: { requestsPerSecond: 1 } },
          Effect.forEach(wrong, ([body]) => json(post("/chat/completions", body)))
        )
        expect(value.map(({ status, body }) => [status, body.error.param])).toEqual(
          wrong.map(([, param]) => [400, param])
        )
        const other = yield* virtual(
          {},
          Effect.all([
            json(post("/completions", { model })),
            json(post("/embeddings", { model, input: [] })),
            json(post("/rerank", { model, query: "q", documents: [] })),
            json(post("/images/generations", { model, prompt: "p", n: 5 })),
            json(post("/audio/speech", { model, input: "hi" })),
            json(post("/audio/transcriptions", "no form"))
          ])
        )
        expect(other.value.map(({ body }) => body.error.param)).toEqual([
          "prompt",
          "input",
          "documents",
          "n",
          "voice",
          "file"
        ])
      }))

    it.effect("checks the key before it reads the body", () =>
      Effect.gen(function*() {
        const { value } = yield* virtual({ keys: { other: "acme" } }, json(post("/chat/completions", "{")))
        expect(value).toMatchObject({ status: 401, body: { error: { code: "invalid_api_key" } } })
      }))
  })

  describe("streams", () => {
    it.effect("send each token when it is due, then the finish and [DONE]", () =>
      Effect.gen(function*() {
        const arrivals: Array<number> = []
        const { value, seconds } = yield* virtual(
          {},
          Effect.gen(function*() {
            const provider = yield* SimulatedProvider.SimulatedProvider
            const response = yield* send(chat({ stream: true }))
            expect(response.headers["content-type"]).toBe("text/event-stream;charset=utf-8")
            return yield* response.stream.pipe(
              Stream.decodeText,
              Stream.tap(() => Effect.map(provider.now, (at) => arrivals.push(at))),
              Stream.mkString
            )
          })
        )
        expect(value).toMatch(/^data: \{.*\}\n\n(data: \{.*\}\n\n){11}data: \[DONE\]\n\n$/)
        expect(arrivals[0]).toBeCloseTo(1)
        expect(arrivals[5]).toBeCloseTo(1 + 5 * 0.11)
        expect(seconds).toBeCloseTo(2.1)
      }))

    it.effect("say the same text as the whole answer", () =>
      Effect.gen(function*() {
        const { value: [whole, parts] } = yield* virtual(
          {},
          Effect.all([json(chat()), events(chat({ stream: true }))])
        )
        const text = parts.slice(0, -1).map((part) => JSON.parse(part).choices[0].delta.content).join("")
        expect(text).toBe(whole.body.choices[0].message.content)
      }))

    it.effect("carry the usage where the configuration says, and only if asked", () =>
      Effect.gen(function*() {
        const frames = (streamUsage: "finish" | "trailing" | "choice" | "none", include_usage = true) =>
          Effect.map(
            virtual({ streamUsage }, events(chat({ stream: true, stream_options: { include_usage } }))),
            ({ value }) => value.slice(0, -1).map((part) => JSON.parse(part))
          )
        const usage = { prompt_tokens: 8, completion_tokens: 11, total_tokens: 19, cached_tokens: 0 }
        expect((yield* frames("finish")).at(-1)).toMatchObject({ usage, choices: [{ finish_reason: "stop" }] })
        expect((yield* frames("trailing")).at(-1)).toMatchObject({ usage, choices: [] })
        expect((yield* frames("choice")).at(-1)).toMatchObject({ usage: null, choices: [{ usage }] })
        expect((yield* frames("none")).at(-1)).toMatchObject({ usage: null })
        expect((yield* frames("finish", false)).at(-1)).toMatchObject({ usage: null })
      }))

    it.effect("call a tool in four frames", () =>
      Effect.gen(function*() {
        const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }]
        const tool_choice = { type: "function", function: { name: "look" } }
        const { value } = yield* virtual({}, events(chat({ stream: true, tools, tool_choice })))
        const deltas = value.slice(0, -1).map((part) => JSON.parse(part).choices[0])
        expect(deltas.map((choice) => choice.finish_reason)).toEqual([null, null, "tool_calls", "tool_calls"])
        expect(deltas[1].delta.tool_calls[0]).toMatchObject({ index: 0, type: "function", function: { name: "look" } })
        expect(deltas[2].delta.tool_calls[0].function).toEqual({ arguments: "{}" })
      }))

    it.effect("group tokens into frames where told to", () =>
      Effect.gen(function*() {
        const { value } = yield* virtual({ tokensPerChunk: 4 }, events(chat({ stream: true })))
        expect(value).toHaveLength(3 + 1 + 1)
      }))

    it.effect("of completions finish at the top level", () =>
      Effect.gen(function*() {
        const { value } = yield* virtual(
          {},
          events(post("/completions", { model, prompt: "Once", stream: true, stream_options: { include_usage: true } }))
        )
        expect(value.at(-1)).toBe("[DONE]")
        expect(JSON.parse(value.at(-2) ?? "")).toMatchObject({
          finish_reason: "stop",
          usage: { completion_tokens: 11 }
        })
      }))

    it.effect("bring every choice, and the log probabilities of the whole answer as one number a token", () =>
      Effect.gen(function*() {
        const asked = { n: 3, logprobs: 1 }
        const prompt = { model, prompt: "Once", ...asked }
        const { value: [whole, parts, text, pieces] } = yield* virtual(
          {},
          Effect.all([
            json(chat(asked)),
            events(chat({ ...asked, stream: true })),
            json(post("/completions", prompt)),
            events(post("/completions", { ...prompt, stream: true }))
          ])
        )
        const frames = parts.slice(0, -1).map((part) => JSON.parse(part))
        const chunks = pieces.slice(0, -1).map((part) => JSON.parse(part))
        for (const index of [0, 1, 2]) {
          const own = frames.flatMap((frame) => frame.choices).filter((choice) => choice.index === index)
          expect(own.map(({ delta }) => delta.content).join("")).toBe(whole.body.choices[index].message.content)
          expect(own.slice(0, -1).map(({ logprobs }) => logprobs)).toEqual(
            whole.body.choices[index].logprobs.token_logprobs
          )
          const mine = chunks.filter(({ choices: [choice] }) => choice.index === index && choice.text !== "")
          expect(mine.map(({ choices: [choice] }) => choice.text).join("")).toBe(text.body.choices[index].text)
          expect(mine.map(({ token }) => token.logprob)).toEqual(text.body.choices[index].logprobs.token_logprobs)
        }
        expect(chunks.at(-1)).toMatchObject({
          finish_reason: "stop",
          choices: [{ index: 0 }, { index: 1 }, { index: 2 }]
        })
      }))

    it.effect("call a tool in every choice", () =>
      Effect.gen(function*() {
        const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }]
        const { value } = yield* virtual({}, events(chat({ stream: true, n: 2, tools, tool_choice: "required" })))
        const choices = value.slice(0, -1).flatMap((part) => JSON.parse(part).choices)
        for (const index of [0, 1]) {
          const own = choices.filter((choice) => choice.index === index)
          expect(own.map(({ finish_reason }) => finish_reason)).toEqual([null, null, "tool_calls", "tool_calls"])
          expect(own[1].delta.tool_calls[0].function.name).toBe("look")
          expect(own[2].delta.tool_calls[0].function.arguments).toBe("{}")
        }
      }))

    it.effect("wait for a slow reader without holding up the model", () =>
      Effect.gen(function*() {
        const { value } = yield* virtual(
          {},
          Effect.gen(function*() {
            const response = yield* send(chat({ stream: true }))
            yield* response.stream.pipe(Stream.take(2), Stream.tap(() => Effect.sleep("10 seconds")), Stream.runDrain)
            return yield* counters
          })
        )
        expect(value).toMatchObject({ succeeded: 1, cancelled: 0, inFlight: 0 })
      }))

    it.effect("have failed where they stall or are cut, also when their reader leaves later", () =>
      Effect.gen(function*() {
        const { value } = yield* virtual(
          {},
          Effect.gen(function*() {
            const provider = yield* SimulatedProvider.SimulatedProvider
            for (const kind of ["stall", "cut"] as const) {
              yield* provider.configure({ faults: [{ probability: 1, kind, stage: "engine" }] })
              yield* Effect.exit(Effect.timeout(events(chat({ stream: true })), "1 minute"))
            }
            return yield* counters
          })
        )
        expect(value).toMatchObject({ admitted: 2, succeeded: 0, failed: 2, cancelled: 0, inFlight: 0 })
        expect(value.refused.fault).toBe(0)
        expect(value.billedNanoUsd).toBeGreaterThan(0n)
      }))
  })

  describe("callers who leave", () => {
    it.effect("cancel a call by interruption, before the answer or in the middle of its stream", () =>
      Effect.gen(function*() {
        const { value } = yield* virtual(
          {},
          Effect.gen(function*() {
            yield* Effect.timeoutOption(send(chat()), "500 millis")
            const first = yield* counters
            yield* Effect.timeoutOption(events(chat({ stream: true })), "1500 millis")
            const second = yield* counters
            const response = yield* send(chat({ stream: true }))
            yield* response.stream.pipe(Stream.take(3), Stream.runDrain)
            return [first, second, yield* counters]
          })
        )
        expect(value.map(({ cancelled, inFlight }) => [cancelled, inFlight])).toEqual([[1, 0], [2, 0], [3, 0]])
        // a token takes 0.11 s after the first at 1 s: none at 0.5 s, 6 at 1.5 s, 3 when the third frame is out
        expect(value.at(-1)?.outputTokens).toBe(0 + 6 + 3)
      }))

    it.effect("leave nothing behind where they never read the body", () =>
      Effect.gen(function*() {
        const { value } = yield* virtual(
          {},
          Effect.gen(function*() {
            yield* send(chat({ stream: true }))
            yield* Effect.sleep("1 minute")
            return yield* counters
          })
        )
        expect(value).toMatchObject({ inFlight: 0, succeeded: 1 })
      }))
  })

  describe("faults", () => {
    const fault = (kind: Simulation.FaultKind, stage: "edge" | "engine" = "edge"): Simulation.Options => ({
      faults: [{ probability: 1, kind, stage }]
    })

    it.effect("break connections as a transport does", () =>
      Effect.gen(function*() {
        const code = (kind: "refused" | "reset") =>
          Effect.map(Effect.flip(virtual(fault(kind), send(chat()))), causeCode)
        expect(yield* code("refused")).toEqual(["TransportError", "ECONNREFUSED"])
        expect(yield* code("reset")).toEqual(["TransportError", "ECONNRESET"])
        const { value } = yield* virtual(fault("hang", "engine"), Effect.timeoutOption(send(chat()), "1 hour"))
        expect(value._tag).toBe("None")
      }))

    it.effect("cut, stall or spoil a stream after some tokens", () =>
      Effect.gen(function*() {
        const cut = yield* Effect.exit(virtual(fault("cut"), events(chat({ stream: true }))))
        expect(Exit.isFailure(cut)).toBe(true)
        const spoiled = yield* virtual(fault("error-frame"), events(chat({ stream: true })))
        expect(spoiled.value).not.toContain("[DONE]")
        expect(JSON.parse(spoiled.value.at(-1) ?? "")).toMatchObject({ error: { type: "server_error" } })
        const stalled = yield* virtual(
          fault("stall"),
          Effect.gen(function*() {
            const outcome = yield* Effect.timeoutOption(events(chat({ stream: true })), "1 hour")
            return [outcome._tag, (yield* counters).inFlight]
          })
        )
        expect(stalled.value).toEqual(["None", 0])
      }))

    it.effect("do the same to an answer in one piece", () =>
      Effect.gen(function*() {
        expect(causeCode(yield* Effect.flip(virtual(fault("cut"), send(chat()))))).toEqual([
          "TransportError",
          "ECONNRESET"
        ])
        expect((yield* virtual(fault("error-frame"), json(chat()))).value.status).toBe(500)
        const stalled = yield* virtual(fault("stall"), Effect.timeoutOption(send(chat()), "1 hour"))
        expect(stalled.value._tag).toBe("None")
      }))
  })

  describe("control", () => {
    it.effect("changes options, balances and time as the program runs", () =>
      Effect.gen(function*() {
        const { value } = yield* virtual(
          { credits: { balanceUsd: 0, purchaseLagSeconds: 2 } },
          Effect.gen(function*() {
            const provider = yield* SimulatedProvider.SimulatedProvider
            const status = Effect.map(send(chat()), (response) => response.status)
            const out = [yield* status]
            yield* provider.topUp(5)
            yield* Effect.sleep("2 seconds")
            out.push(yield* status)
            yield* provider.setBalance(-1)
            out.push(yield* status)
            yield* provider.setBalance(1)
            yield* provider.configure({ outages: [{ kind: 529 }] })
            out.push(yield* status)
            return { out, now: yield* provider.now, state: yield* provider.state }
          })
        )
        expect(value.out).toEqual([402, 200, 402, 529])
        expect(value.now).toBeCloseTo(0.05 + 2 + 2.1 + 0.05 + 0.05)
        expect(value.state.counters.arrivals).toBe(4)
      }))

    it.effect("counts what was sent twice by its tag", () =>
      Effect.gen(function*() {
        const { value } = yield* virtual(
          {},
          Effect.gen(function*() {
            const provider = yield* SimulatedProvider.SimulatedProvider
            const tagged = HttpClientRequest.setHeader(chat(), "idempotency-key", "row-1")
            yield* Effect.all([
              json(tagged),
              json(HttpClientRequest.setHeader(chat(), "x-simulation-tag", "row-2")),
              json(tagged)
            ])
            return (yield* provider.state).tags
          })
        )
        expect(Object.fromEntries(value)).toMatchObject({ "row-1": { succeeded: 2 }, "row-2": { succeeded: 1 } })
      }))

    it("refuses options that make no provider", () => {
      expect(() => SimulatedProvider.make({ burstSeconds: -1 })).toThrow("burstSeconds")
    })
  })

  describe("speed", () => {
    it.effect("passes an hour of a growing dynamic limit at once", () =>
      Effect.gen(function*() {
        const { value, seconds } = yield* virtual(
          {
            limits: { requestsPerSecond: 5 },
            dynamic: { windowSeconds: 600, slots: 20, floorRequestsPerSecond: 0.5 },
            outputTokens: { kind: "constant", value: 1 }
          },
          Effect.gen(function*() {
            for (let i = 0; i < 1200; i++) {
              yield* Effect.forkChild(
                json(post("/chat/completions", { ...question, messages: [{ role: "user", content: `${i}` }] }))
              )
              yield* Effect.sleep("3 seconds")
            }
            return yield* counters
          })
        )
        expect(seconds).toBe(3600)
        expect(value.succeeded).toBeGreaterThan(1150)
      }))
  })
})
