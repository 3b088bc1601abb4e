import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Schedule, Schema, Stream } from "effect"
import { AiError, LanguageModel } from "effect/ai"
import { Retry, TogetherError } from "effect-together"
import { Reply, TogetherTest } from "effect-together/testing"
import * as AiFailure from "../../src/together/ai/AiFailure.ts"
import { run } from "./languageModel.ts"

describe("AiFailure", () => {
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
    ["404", Reply.error(404), "InvalidRequestError", false, "NotFoundError"],
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

  it.effect("do not say that they hold what arrived, for which they have no field", () =>
    run(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.cutAt(Reply.stream(["one ", "two"]), 1))
      const error = yield* Effect.flip(Stream.runDrain(LanguageModel.streamText({ prompt: "?" })))
      expect(error.message).toContain("Part of the answer arrived; a repeat would generate and bill it again.")
      expect(AiFailure.details(error)?.message).toContain("Part of the answer arrived; a repeat")
    })))

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
    [new TogetherError.RequestTimeoutError({ ...common, phase: "idle", started: true }), "InvalidResponseError"],
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

  it("tell an unknown price and a ledger that cannot be written from a quota, and why a budget or a lane refused", () => {
    const said = (error: TogetherError.TogetherError) => {
      const ai = AiFailure.fromTogetherError({ module: "M", method: "m", path: "/p" })(error)
      return [ai.reason._tag, ai.isRetryable, AiFailure.details(ai)?.reason]
    }
    const amounts = { limitNanoUsd: 1n, neededNanoUsd: 2n, remainingNanoUsd: 0n }
    const refused = (reason: "no-room" | "unknown-price" | "ledger-unwritable") =>
      new TogetherError.BudgetExceededError({ message: "what to do", budget: "", reason, ...amounts })
    expect(said(refused("ledger-unwritable"))).toEqual(["UnknownError", false, "ledger-unwritable"])
    expect(said(refused("no-room"))).toEqual(["QuotaExhaustedError", false, "no-room"])
    expect(said(refused("unknown-price"))).toEqual(["UnknownError", false, "unknown-price"])
    const full = new TogetherError.LaneOverflowError({ message: "full", lane: "l", reason: "queue-full" })
    expect(said(full)).toEqual(["RateLimitError", true, "queue-full"])
    for (const reason of ["ledger-unwritable", "unknown-price"] as const) {
      const { message } = AiFailure.fromTogetherError({ module: "M", method: "m", path: "/p" })(refused(reason))
      expect(message).toContain("what to do")
    }
  })

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

  it.effect("of a caller who does not wait end the request", () =>
    run(Effect.gen(function*() {
      yield* TogetherTest.reply(Reply.hang)
      const error = yield* Effect.flip(Effect.timeout(LanguageModel.generateText({ prompt: "?" }), "1 second"))
      expect(error._tag).toBe("TimeoutError")
      expect(yield* TogetherTest.open).toEqual([])
    })))
})
