import { describe, expect, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Schedule, Stream } from "effect"
import { AiFailure, Budget, Credits, Price, Together, TogetherError, TogetherLanguageModel } from "effect-together"
import { LanguageModel } from "effect/ai"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"

const request = { model: "m", messages: [{ role: "user", content: "Name three rivers." }], max_tokens: 4000 }

const streamed = (options?: Parameters<Together.Service["chatStream"]>[1]) =>
  Together.Together.use((together) => Stream.runDrain(together.chatStream(request, options)))

/** Fails by what the provider streams, the same for each attempt, and counts the attempts. */
const failing = (reply: Reply.Reply, options?: Parameters<typeof streamed>[0]) =>
  VirtualClock.wrap(
    Effect.gen(function*() {
      yield* TogetherTest.always("*", reply)
      const error = yield* Effect.flip(streamed({ retry: Schedule.recurs(2), ...options }))
      return { error, attempts: (yield* TogetherTest.log).length }
    }).pipe(Effect.provide(TogetherTest.layer()))
  )

const frame = (value: unknown, headers: Readonly<Record<string, string>> = {}) =>
  Reply.withHeaders(Reply.events([value, "[DONE]"]), headers)

describe("EventStream", () => {
  describe("of an error frame before the first token", () => {
    const error = (message: string, type: string | null = null, code: unknown = null) => ({
      error: { message, type, code }
    })

    it.effect.each<[string, unknown, string]>([
      ["a context code", error("too long", null, "context_length_exceeded"), "Shorten the prompt"],
      [
        "a context sentence",
        error("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097", "invalid_request_error"),
        "Shorten the prompt"
      ],
      ["a status by number", error("bad schema", "BadRequestError", 400), "Correct the request"],
      ["a status by word", error("bad schema", null, "422"), "Correct the request"],
      ["a kind that blames the request", error("bad schema", "invalid_request_error"), "Correct the request"],
      ["a context sentence alone", { error: "The prompt exceeds the maximum context length" }, "Shorten the prompt"],
      ["a length alone", { error: "The prompt is too long" }, "Shorten the prompt"],
      ["a context in a message", error("This model's maximum context length is 4096 tokens."), "Shorten the prompt"],
      ["tokens in a bare sentence", {
        error: "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097."
      }, "Shorten the prompt"],
      ["a bad key beside it", { error: "Invalid API key", code: "invalid_api_key" }, "Check TOGETHER_API_KEY"],
      [
        "a model that is not there",
        error("Unable to access", null, "model_not_available"),
        "Choose a serverless model"
      ],
      ["a bare error", { object: "error", message: "no", type: "NotFoundError", code: 404 }, "Check the model name"]
    ])("gives up at once on %s", ([, value, advice]) =>
      Effect.gen(function*() {
        const { attempts, error } = yield* failing(frame(value))
        expect([attempts, error._tag, error.shouldRetry]).toEqual([1, "StreamError", false])
        expect(error.message).toContain(advice)
        expect(JSON.parse(error.body ?? "")).toEqual(value)
      }))

    it.effect.each<[string, unknown]>([
      ["an overload", error("overloaded", "overloaded_error")],
      ["a failure by number", { message: "boom", type: "server_error", code: 500 }],
      ["a rate limit", error("slow down", "dynamic_request_limited")],
      ["a failed hop inside the provider", error("All connection attempts failed", "invalid_request_error")],
      ["a model that is away", error("The model is temporarily unavailable, please try again", "server_error")],
      ["a context of the engine", error("Failed to allocate context window buffers", "server_error")],
      ["words about money", error("upstream: top-up of the kv cache failed, credit limit exceeded", "server_error")],
      ["a service behind it", error("x", "permission_service_unavailable")],
      ["a timeout", error("x", "validation_timeout")],
      ["a model that is away, in a sentence", { error: "The model is temporarily unavailable, please try again" }],
      ["a rate in a sentence", { error: "You exceeded your limit of tokens per minute" }],
      ["a rate under the kind of credit", error("Your rate limit is 60 queries per minute", "credit_limit")],
      ["nothing in particular", { error: true, message: "boom" }]
    ])("tries again after %s", ([, value]) =>
      Effect.gen(function*() {
        const { attempts, error } = yield* failing(frame(value))
        expect([attempts, error._tag, error.shouldRetry]).toEqual([3, "StreamError", undefined])
        expect(error.message).toContain("try again")
      }))

    it.effect.each<[string, unknown, true | undefined]>([
      ["a rate limit", error("slow down", null, 429), true],
      ["a rate limit by kind", error("slow down", "dynamic_request_limited"), true],
      ["an overload", error("overloaded", null, 503), true],
      ["a bad key by kind", { error: "Invalid API key", code: "invalid_api_key" }, true],
      ["a context in a sentence", { error: "The prompt exceeds the maximum context length" }, true],
      ["a failure that names no status", error("boom", "server_error"), undefined],
      ["nothing in particular", { error: true, message: "boom" }, undefined]
    ])("tells a refusal, which is not billed: %s", ([, value, refused]) =>
      Effect.gen(function*() {
        const { error } = yield* failing(frame(value))
        expect(error).toMatchObject({ _tag: "StreamError", started: false })
        expect("refused" in error ? error.refused : undefined).toBe(refused)
        expect(Credits.mayBeBilled(Exit.fail(error))).toBe(refused !== true)
      }))

    it.effect.each<[string, unknown]>([
      ["its status", error("no", null, 402)],
      ["its kind", error("Credit limit exceeded. Please add credit", "credit_limit")],
      ["a sentence", error("Credit limit exceeded. Please add credit")],
      ["a sentence about the balance", error("Your account balance is insufficient.")]
    ])("fails for want of credit as the status does: by %s", ([, value]) =>
      Effect.gen(function*() {
        const { attempts, error } = yield* failing(frame(value))
        expect([attempts, error._tag, error.status]).toEqual([1, "InsufficientCreditsError", 402])
        expect(error.message).toContain("https://api.together.ai/settings/billing")
        expect(JSON.parse(error.body ?? "")).toEqual(value)
        expect(Credits.mayBeBilled(Exit.fail(error))).toBe(false)
      }))

    it.effect("takes the request id from the header first, from the frame next, from the edge last", () =>
      Effect.gen(function*() {
        const value = { error: "Invalid API key", code: "invalid_api_key", request_id: "r-1" }
        const ids = yield* Effect.forEach([
          frame(value, { "x-request-id": "header", "cf-ray": "ray" }),
          frame(value, { "cf-ray": "ray" }),
          frame({ error: "boom" }, { "cf-ray": "ray" })
        ], (reply) => Effect.map(failing(reply), ({ error }) => error.requestId))
        expect(ids).toEqual(["header", "r-1", "ray"])
      }))
  })

  it.effect.each<[string, Reply.Answer, string]>([
    ["an error frame", Reply.events([{ error: "boom" }]), "StreamError"],
    ["a cut", Reply.endAt(Reply.stream(["one ", "two "]), 1), "StreamError"],
    ["silence before the first token", Reply.stallAt(Reply.stream(["one "]), 0), "RequestTimeoutError"],
    ["silence after it", Reply.stallAt(Reply.stream(["one ", "two "]), 1), "RequestTimeoutError"],
    ["another content type", Reply.json({ choices: [] }), "DecodeError"]
  ])("says status and request id of %s", ([, reply, tag]) =>
    Effect.gen(function*() {
      const { error } = yield* failing(Reply.withHeaders(reply, { "x-request-id": "r-1" }))
      expect([error._tag, error.status, error.requestId]).toEqual([tag, 200, "r-1"])
    }))

  describe("out of time after the first token", () => {
    const partial = { text: "one two ", reasoning: "" }
    const stalled = Reply.stallAt(Reply.stream(["one ", "two ", "three "]), 2)

    it.effect("fails once and keeps what arrived when the stream falls silent", () =>
      Effect.gen(function*() {
        const { attempts, error } = yield* failing(stalled)
        expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "idle", started: true, partial })
        expect([attempts, TogetherError.isRetryable(error)]).toEqual([1, false])
        expect(error.message).toMatch(/^The stream was silent for 30s after 2 events\. Part of the answer arrived/)
        const once = yield* failing(Reply.stallAt(Reply.stream(["one ", "two "]), 1))
        expect(once.error.message).toMatch(/^The stream was silent for 30s after 1 event\. /)
      }))

    it.effect("fails once and keeps what arrived when the deadline passes", () =>
      Effect.gen(function*() {
        const { attempts, error } = yield* failing(stalled, { deadline: "5 seconds" })
        expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "deadline", started: true, partial })
        expect([attempts, TogetherError.isRetryable(error)]).toEqual([1, false])
      }))

    it.effect("hears the silence also behind a consumer that was slow for longer", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          yield* TogetherTest.reply(stalled)
          const stream = Together.Together.use((together) =>
            Stream.runForEach(together.chatStream(request), () => Effect.sleep("1 hour"))
          )
          const [elapsed, error] = yield* Effect.timed(Effect.flip(stream))
          expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "idle", started: true, partial })
          expect(Duration.toSeconds(elapsed)).toBe(2 * 3600 + 30)
        }).pipe(Effect.provide(TogetherTest.layer()))
      ))

    it.effect("waits no more once it is interrupted", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          yield* TogetherTest.reply(stalled)
          const clock = yield* Clock.Clock
          let waits = 0
          const counting: Clock.Clock = Object.create(clock, {
            sleep: {
              value: (duration: Duration.Duration) =>
                Effect.acquireUseRelease(
                  Effect.sync(() => waits++),
                  () => clock.sleep(duration),
                  () => Effect.sync(() => waits--)
                )
            }
          })
          const stream = yield* Effect.forkChild(Effect.provideService(streamed(), Clock.Clock, counting))
          yield* Effect.sleep("1 second")
          expect(waits).toBe(1)
          yield* Fiber.interrupt(stream)
          yield* Effect.sleep("1 second")
          expect(waits).toBe(0)
        }).pipe(Effect.provide(TogetherTest.layer()))
      ))

    it.effect("is no network failure to repeat for effect/ai", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          yield* TogetherTest.reply(stalled)
          const error = yield* Effect.flip(Stream.runDrain(LanguageModel.streamText({ prompt: "?" })))
          expect([error.reason._tag, error.isRetryable]).toEqual(["InvalidResponseError", false])
          expect(AiFailure.details(error)).toMatchObject({
            tag: "RequestTimeoutError",
            phase: "idle",
            retryable: false
          })
        }).pipe(
          Effect.provide(Layer.provideMerge(TogetherLanguageModel.model("m"), TogetherTest.layer()))
        )
      ))

    it.effect("before it, silence holds no answer and is retried", () =>
      Effect.gen(function*() {
        const { attempts, error } = yield* failing(Reply.stallAt(Reply.stream(["one "]), 0))
        expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "first-token" })
        expect("partial" in error ? error.partial : undefined).toBeUndefined()
        expect(attempts).toBe(3)
      }))
  })

  describe("behind the finish reason of its choice", () => {
    const finished = Reply.events([
      { choices: [{ index: 0, delta: { content: "Rhine" } }] },
      { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] },
      { choices: [], usage: { prompt_tokens: 1, completion_tokens: 1 } },
      "[DONE]"
    ])

    it.effect.each<[string, Reply.Answer]>([
      ["silent", Reply.stallAt(finished, 2)],
      ["reset", Reply.cutAt(finished, 2)],
      ["at its end", Reply.endAt(finished, 2)]
    ])("is whole where it is %s", ([, reply]) =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          yield* TogetherTest.reply(reply)
          const chunks = yield* Together.Together.use((together) => Stream.runCollect(together.chatStream(request)))
          expect(chunks.map((chunk) => chunk.choices[0]?.finish_reason)).toEqual([undefined, "stop"])
          expect((yield* TogetherTest.log).length).toBe(1)
          expect(yield* TogetherTest.open).toEqual([])
        }).pipe(Effect.provide(TogetherTest.layer()))
      ))
  })

  describe("behind a finish reason that does not prove the answer whole", () => {
    const call = { tool_calls: [{ index: 0, function: { name: "pay", arguments: "{\"amount\": 1" } }] }
    const calling = Reply.events([{ choices: [{ index: 0, delta: call, finish_reason: "tool_calls" }] }, "[DONE]"])
    const first = Reply.events([{ choices: [{ index: 0, delta: { content: "a" }, finish_reason: "stop" }] }, "[DONE]"])

    it.effect.each<[string, Reply.Answer, number, string]>([
      ["a tool call is silent", Reply.stallAt(calling, 1), 1, "RequestTimeoutError"],
      ["a tool call is reset", Reply.cutAt(calling, 1), 1, "StreamError"],
      ["a tool call ends", Reply.endAt(calling, 1), 1, "StreamError"],
      ["one of two choices is silent", Reply.stallAt(first, 1), 2, "RequestTimeoutError"],
      ["one of two choices is reset", Reply.cutAt(first, 1), 2, "StreamError"],
      ["one of two choices ends", Reply.endAt(first, 1), 2, "StreamError"]
    ])("%s: fails, and keeps what arrived", ([, reply, n, tag]) =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          yield* TogetherTest.reply(reply)
          const error = yield* Effect.flip(
            Together.Together.use((together) => Stream.runDrain(together.chatStream({ ...request, n })))
          )
          expect(error).toMatchObject({ _tag: tag, started: true })
          expect(TogetherError.isRetryable(error)).toBe(false)
        }).pipe(Effect.provide(TogetherTest.layer()))
      ))
  })

  describe("without usage to the end", () => {
    const price = Price.stated({ model: "m", inputUsdPerMillion: "0", outputUsdPerMillion: "1" })
    const inputPrice = Price.stated({ model: "m", inputUsdPerMillion: "1", outputUsdPerMillion: "0" })

    /** Runs a call and says what its lane of money was charged, in nano-dollars. */
    const charged = (
      reply: Reply.Reply,
      prices: Price.ModelPrice,
      call: Effect.Effect<unknown, TogetherError.TogetherError, Together.Together> = streamed()
    ) =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          yield* TogetherTest.reply(reply)
          yield* Effect.ignore(call)
          const { accounts } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
          return accounts.map(({ tally }) => tally.settled)
        }).pipe(Effect.provide(Layer.provideMerge(
          TogetherTest.layer({ together: { prices: () => prices } }),
          Credits.layer()
        )))
      )

    it.effect("charges nothing for frames that refuse in place of an answer", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          const refusal = frame({ error: { message: "slow down", code: 429 } })
          yield* TogetherTest.reply(refusal, refusal, Reply.stream(["Rhine"]))
          yield* streamed({ retry: Schedule.recurs(2) })
          const { accounts } = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
          expect(accounts[0]?.tally).toMatchObject({ settled: 2000n, uncertain: 0n, reserved: 0n })
        }).pipe(Effect.provide(Layer.provideMerge(
          TogetherTest.layer({ together: { prices: () => price } }),
          Credits.layer({ budgets: [Budget.perRun("$0.004")] })
        )))
      ))

    const piece = (args: string, name?: string) => ({
      choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { name, arguments: args } }] } }]
    })

    it.effect("charges the tool calls that arrived", () =>
      Effect.gen(function*() {
        const cut = Reply.endAt(Reply.events([piece("", "weather"), piece("x".repeat(72 - 7)), "[DONE]"]), 2)
        // 72 characters are 20 tokens, at 1,000 nano-dollars each
        expect(yield* charged(cut, price)).toEqual([20_000n])
      }))

    it.effect("charges the estimated input where usage counts the output alone", () =>
      Effect.gen(function*() {
        const usage = { completion_tokens: 9 }
        const chunk = { choices: [{ index: 0, delta: { content: "Rhine" }, finish_reason: "stop" }], usage }
        // 18 characters and the frame of one message: 9 tokens
        expect(yield* charged(Reply.events([chunk, "[DONE]"]), inputPrice)).toEqual([9000n])
        const whole = Together.Together.use((together) => together.chat(request))
        expect(yield* charged(Reply.chat("Rhine", { usage }), inputPrice, whole)).toEqual([9000n])
      }))

    it.effect("charges what the first choice of a whole answer counts", () =>
      Effect.gen(function*() {
        const usage = { prompt_tokens: 50, completion_tokens: 1 }
        const choice = { index: 0, message: { role: "assistant", content: "Rhine" }, usage }
        const whole = Together.Together.use((together) => together.chat(request))
        expect(yield* charged(Reply.json({ choices: [choice] }), inputPrice, whole)).toEqual([50_000n])
      }))
  })

  it.effect("takes [DONE] alone for no answer, and asks again", () =>
    Effect.gen(function*() {
      const { attempts, error } = yield* failing(Reply.events(["[DONE]"]))
      expect([attempts, error._tag]).toEqual([3, "StreamError"])
      expect(error.message).toBe(
        "The stream failed before any event: the stream ended with [DONE], without a choice or usage. " +
          "Nothing had arrived yet: try again."
      )
    }))

  it.effect("does not ask again for an event that is too large to be read", () =>
    Effect.gen(function*() {
      const picture = { choices: [{ index: 0, delta: { image: "x".repeat(4 * 1024 * 1024) } }] }
      const { attempts, error } = yield* failing(frame(picture))
      expect([attempts, error._tag, error.message]).toEqual([
        1,
        "StreamError",
        "The stream failed before any event: one event is larger than 4194304 characters. " +
        "Call without streaming, where no such limit holds."
      ])
    }))

  it.effect("keeps the prompt out of what it says of another content type", () =>
    Effect.gen(function*() {
      const reply = Reply.raw("what is this", { contentType: `text/${encodeURIComponent("Name three rivers.")}` })
      const { error } = yield* failing(reply)
      expect(error.message).toContain("is text/[prompt], not text/event-stream. It says: what is this.")
    }))

  it.effect("keeps the answer out of what it says of a stream with another content type", () =>
    Effect.gen(function*() {
      for (const before of ["", "\uFEFF: hello\n\n", "event: chunk\n"]) {
        const events = `${before}data: {"choices":[{"index":0,"delta":{"content":"The Nile"}}]}\n\ndata: [DONE]\n\n`
        const { attempts, error } = yield* failing(Reply.raw(events, { contentType: "text/plain" }))
        expect([attempts, error._tag, error.message]).toEqual([
          1,
          "DecodeError",
          "The answer to a streaming call is text/plain, not text/event-stream. Check the base URL, or call without streaming."
        ])
      }
    }))
})
