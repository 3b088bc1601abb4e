import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Usage from "../../src/domain/Usage.ts"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const common = { message: "" }
const retryAfter = Duration.seconds(2)

describe("Lane.sampleOf", () => {
  it.each<[string, TogetherError.TogetherError, Lane.Sample]>([
    ["a rate limit", new TogetherError.RateLimitError({ ...common, scope: "tokens", retryAfter }), {
      _tag: "Throttled",
      scope: "tokens",
      retryAfter
    }],
    ["an overload", new TogetherError.OverloadedError({ ...common, retryAfter }), { _tag: "Overloaded", retryAfter }],
    ["a broken server", new TogetherError.ServerError(common), { _tag: "Failed" }],
    ["a broken connection", new TogetherError.ConnectionError({ ...common, permanent: false }), { _tag: "Failed" }],
    ["silence", new TogetherError.RequestTimeoutError({ ...common, phase: "headers" }), { _tag: "TimedOut" }],
    ["a refused request", new TogetherError.InvalidRequestError({ ...common, status: 400 }), {
      _tag: "Ignored",
      sent: true
    }],
    ["an open circuit", new TogetherError.CircuitOpenError({ ...common, key: "a" }), { _tag: "Ignored", sent: false }],
    ["a suspended account", new TogetherError.InsufficientCreditsError(common), { _tag: "Ignored", sent: false }],
    ["a missing key", new TogetherError.AuthError({ ...common, reason: "missing" }), { _tag: "Ignored", sent: false }],
    ["a request that could not be built", new TogetherError.InvalidRequestError({ ...common, sent: false }), {
      _tag: "Ignored",
      sent: false
    }]
  ])("reads %s", (_, error, sample) => {
    expect(Lane.sampleOf(Exit.fail(error))).toEqual(sample)
  })

  it("leaves the estimate where nothing tells what an answer consumed", () => {
    expect(Lane.sampleOf(Exit.succeed("hello"))).toEqual({ _tag: "Success" })
    expect(Lane.sampleOf(Exit.succeed("hello"), { usage: Usage.fromAnswer })).toEqual({ _tag: "Success" })
  })

  it("counts both sides of the usage", () => {
    const answer = { usage: { prompt_tokens: 20, completion_tokens: 30 } }
    expect(Lane.sampleOf(Exit.succeed(answer), { usage: Usage.fromAnswer })).toEqual({ _tag: "Success", tokens: 50 })
    const own = { used: 7 }
    const usage = ({ used }: typeof own): Usage.Usage => ({ ...Usage.zero, outputTokens: used })
    expect(Lane.sampleOf(Exit.succeed(own), { usage })).toEqual({ _tag: "Success", tokens: 7 })
  })

  it("reads an error of another library by its shape", () => {
    expect(Lane.sampleOf(Exit.fail({ _tag: "RateLimitError", scope: "requests", retryAfter }))).toEqual({
      _tag: "Throttled",
      scope: "requests",
      retryAfter
    })
    expect(Lane.sampleOf(Exit.fail({ status: 503 }))).toEqual({ _tag: "Overloaded", retryAfter: undefined })
    expect(Lane.sampleOf(Exit.fail({ status: 400 }))).toEqual({ _tag: "Ignored", sent: true })
  })

  it("reads a wait without end from our own errors alone", () => {
    const endless = { message: "m", scope: "requests", retryAfter: Duration.infinity } as const
    const wait = (error: unknown) => Lane.sampleOf(Exit.fail(error))
    expect(wait(new TogetherError.RateLimitError(endless))).toMatchObject({ retryAfter: Duration.infinity })
    expect(wait({ _tag: "RateLimitError", ...endless })).toMatchObject({ retryAfter: undefined })
  })

  it("takes what it does not know for sent", () => {
    const unread: Lane.Sample = { _tag: "Ignored", sent: true, unread: true }
    expect(Lane.sampleOf(Exit.fail("503"))).toEqual(unread)
    const revoked = Proxy.revocable({}, {})
    revoked.revoke()
    expect(Lane.sampleOf(Exit.fail(revoked.proxy))).toEqual(unread)
    const ignored: Lane.Sample = { _tag: "Ignored", sent: true }
    expect(Lane.sampleOf(Exit.die("bug"))).toEqual(ignored)
    expect(Lane.sampleOf(Exit.failCause(Cause.interrupt(1)))).toEqual(ignored)
  })
})

describe("Lane.run without `classify`", () => {
  it.effect("learns from an error of another library, and does not speed up on errors that nobody can read", () =>
    Effect.gen(function*() {
      const after = (error: unknown) =>
        Effect.gen(function*() {
          const lane = yield* Lane.make()
          const attempt = lane.run(Effect.fail(error), { tokens: 0 })
          yield* Effect.forEach(Array.from({ length: 30 }), () => Effect.ignore(attempt))
          return (yield* lane.status).requestsPerSecond
        })
      expect(yield* after({ status: 429 })).toBeLessThan(5)
      expect(yield* after(new Error("odd"))).toBe(10)
      expect(yield* after({ status: 400 })).toBeGreaterThan(20)
    }).pipe(VirtualClock.wrap))
})
