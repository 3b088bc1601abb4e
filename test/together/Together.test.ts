import { describe, expect, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Fiber, Redacted, Schedule, Schema, Stream } from "effect"
import { Breaker, Budget, Chat, Credits, Deadline, Price, Together } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import * as Layer from "effect/Layer"

const request = { model: "big", messages: [{ role: "user", content: "Name three rivers." }] }
const notServerless = Reply.error(400, {
  body: { error: { type: "invalid_request_error", code: "model_not_available", message: "Unable to access" } }
})
const use = <A, E, R>(f: (together: Together.Service) => Effect.Effect<A, E, R>) => Effect.flatMap(Together.Together, f)

describe("Together", () => {
  it.effect("turns to the next model when one is not available", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(
          notServerless,
          Reply.chat("Rhine")
        )
        const answer = yield* use((together) => together.chat(request, { fallback: ["small"] }))
        expect(Chat.text(answer)).toBe("Rhine")
        const log = yield* TogetherTest.log
        expect(log.map((entry) => entry.sent.model)).toEqual(["big", "small"])
      }).pipe(Effect.provide(TogetherTest.layer()))
    ))

  it.effect("turns to the next model for a stream that has not begun", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(
          notServerless,
          Reply.stream(["Rhi", "ne"])
        )
        const chunks = yield* use((together) =>
          Stream.runCollect(together.chatStream(request, { fallback: ["small"] }))
        )
        expect(chunks.map(Chat.deltaText).join("")).toBe("Rhine")
      }).pipe(Effect.provide(TogetherTest.layer()))
    ))

  it.effect("asks a slow answer a second time and takes what comes first", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.after(Reply.chat("slow"), "1 minute"), Reply.chat("quick"))
        const answer = yield* use((together) => together.chat(request, { hedge: { delay: "2 seconds" } }))
        expect(Chat.text(answer)).toBe("quick")
      }).pipe(Effect.provide(TogetherTest.layer()))
    ))

  it.effect("gives the whole call one deadline, waits and fallbacks included", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.hang)
        const error = yield* Effect.flip(
          use((together) => together.chat(request, { fallback: ["small"], deadline: "5 seconds" }))
        )
        expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "deadline" })
      }).pipe(Effect.provide(TogetherTest.layer()))
    ))

  it.effect("sees a deadline set around it", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.hang)
        const error = yield* Effect.flip(use((together) => together.chat(request)).pipe(Deadline.run("5 seconds")))
        expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "deadline" })
      }).pipe(Effect.provide(TogetherTest.layer()))
    ))

  it.effect("breaks a circuit for interactive calls", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.error(500), Reply.error(500))
        const call = use((together) => together.chat(request, { priority: "interactive", retry: Schedule.recurs(0) }))
        yield* Effect.flip(call)
        yield* Effect.flip(call)
        expect((yield* Effect.flip(call))._tag).toBe("CircuitOpenError")
      }).pipe(
        Effect.provide(TogetherTest.layer()),
        Effect.provide(Breaker.layer({ size: 2, minimumCalls: 2 }))
      )
    ))

  const prices: Price.Lookup = (model) => Price.stated({ model, inputUsdPerMillion: 1, outputUsdPerMillion: 2 })

  const withCredits = (options: Credits.Options) =>
    TogetherTest.layer({ together: { prices } }).pipe(
      Layer.provideMerge(Credits.layer(options))
    )

  it.effect("reserves before, settles with the real usage after, and refuses what a budget cannot hold", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.chat("Rhine", { usage: { prompt_tokens: 10, completion_tokens: 5 } }))
        const small = { ...request, max_tokens: 100 }
        yield* use((together) => together.chat(small))
        const report = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        // 10 input tokens at $1 and 5 output tokens at $2 per million
        expect(report.budgets[0]?.tally.settled).toBe(20_000n)
        const error = yield* Effect.flip(use((together) => together.chat({ ...request, max_tokens: 1_000_000 })))
        expect(error._tag).toBe("BudgetExceededError")
      }).pipe(
        Effect.provide(withCredits({ budgets: [Budget.perRun("$0.01")] }))
      )
    ))

  it.effect("charges an interrupted stream for what arrived, and frees its permit", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.stream(["a long word ", "more", "and more"], { every: "1 second" }))
        yield* use((together) => Stream.runDrain(Stream.take(together.chatStream({ ...request, max_tokens: 50 }), 1)))
        const report = yield* Effect.flatMap(Credits.Credits, (credits) => credits.report)
        expect(report.budgets[0]?.tally.settled).toBeGreaterThan(0n)
        expect(report.budgets[0]?.tally.reserved).toBe(0n)
      }).pipe(
        Effect.provide(withCredits({ budgets: [Budget.perRun("$1")] }))
      )
    ))

  it.effect("waits out an empty balance and loses nothing", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.outOfCredits, Reply.chat("Rhine"))
        const answer = yield* use((together) => together.chat(request))
        expect(Chat.text(answer)).toBe("Rhine")
      }).pipe(Effect.provide(withCredits({ whenSuspended: "wait" })))
    ))

  it.effect("refuses a request that does not fit, before anything is sent, without quoting it", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const error = yield* Effect.flip(use((together) =>
          together.chat({ model: "m", messages: [{ role: "user", content: "my private diary" }], max_tokens: -1 })
        ))
        expect(error._tag).toBe("InvalidRequestError")
        expect(error.message).toContain("max_tokens")
        expect(error.message).not.toContain("diary")
      }).pipe(Effect.provide(TogetherTest.layer()))
    ))

  it.effect.each(["https://elsewhere.example/v1/models", "http://api.together.ai/v1/models", "file:///etc/passwd"])(
    "sends the key to no other host: %s",
    (path) =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          const error = yield* Effect.flip(use((together) => together.request({ path, response: Schema.Unknown })))
          expect(error._tag).toBe("InvalidRequestError")
          expect(yield* TogetherTest.log).toHaveLength(0)
        }).pipe(Effect.provide(TogetherTest.layer()))
      )
  )

  it.effect.each(["Transfer-Encoding", "keep-alive", "upgrade", "expect"])(
    "takes no header that is for the transport to say, on which every call would break: %s",
    (name) =>
      Effect.gen(function*() {
        const headers = { "x-tenant": "acme", [name]: "chunked" }
        const error = yield* Effect.flip(Layer.build(Together.layer({ apiKey: Redacted.make("k"), headers })))
        expect(error).toMatchObject({
          _tag: "InvalidRequestError",
          message: `The header ${name} is for the transport to say. Correct the option headers or userAgent.`
        })
      }).pipe(Effect.scoped)
  )

  it.effect("reaches Together's other hosts by their whole address", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.json({ ok: true }))
        const path = "https://api-inference.together.ai/v2/supported-models"
        expect(yield* use((together) => together.request({ path, response: Schema.Unknown }))).toEqual({ ok: true })
      }).pipe(Effect.provide(TogetherTest.layer()))
    ))

  it.effect("frees everything when a waiting call is interrupted", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        yield* TogetherTest.reply(Reply.hang)
        const fiber = yield* Effect.forkChild(use((together) => together.chat(request)), { startImmediately: true })
        yield* Effect.sleep("1 second")
        yield* Fiber.interrupt(fiber)
        yield* TogetherTest.reply(Reply.chat("Rhine"))
        expect(Chat.text(yield* use((together) => together.chat(request)))).toBe("Rhine")
      }).pipe(Effect.provide(TogetherTest.layer()))
    ))

  it.effect("names the variable of the caller that is missing, and its own", () =>
    Effect.gen(function*() {
      const failureOf = (options: Together.ConfigOptions, env: Record<string, string>) =>
        Effect.flip(Effect.provide(
          Together.Together,
          Together.layerConfig(options).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env))))
        ))
      const noKey = yield* failureOf({ apiKey: Config.Redacted("MY_KEY") }, { TOGETHER_API_KEY: "other" })
      expect([noKey._tag, noKey.message]).toEqual(["ConfigError", expect.stringContaining("MY_KEY")])
      const noUrl = yield* failureOf({ baseUrl: Config.String("MY_URL") }, { TOGETHER_API_KEY: "key" })
      expect([noUrl._tag, noUrl.message]).toEqual(["ConfigError", expect.stringContaining("MY_URL")])
      const none = yield* failureOf({}, {})
      expect([none._tag, none.message]).toEqual(["AuthError", expect.stringContaining("TOGETHER_API_KEY")])
    }))
})
