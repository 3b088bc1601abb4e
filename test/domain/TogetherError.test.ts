import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import * as AiError from "effect/ai/AiError"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Errors from "../../src/domain/TogetherError.ts"

const message = "Something happened (1). Do this."
const partial = { text: "half", reasoning: "" }
const amounts = { limitNanoUsd: 5n, neededNanoUsd: 3n, remainingNanoUsd: 2n }
const samples: ReadonlyArray<readonly [Errors.TogetherError, boolean]> = [
  [new Errors.RateLimitError({ message, scope: "tokens", retryAfter: Duration.seconds(2) }), true],
  [new Errors.AuthError({ message, status: 401 }), false],
  [new Errors.InsufficientCreditsError({ message, status: 402 }), false],
  [new Errors.OverloadedError({ message, status: 503 }), true],
  [new Errors.ServerError({ message, status: 500, cause: new Error("inner") }), true],
  [new Errors.RequestTimeoutError({ message, phase: "idle" }), true],
  [new Errors.RequestTimeoutError({ message, phase: "idle", started: true, partial }), false],
  [new Errors.RequestTimeoutError({ message, phase: "deadline" }), false],
  [new Errors.ConnectionError({ message, permanent: false }), true],
  [new Errors.ConnectionError({ message, permanent: true }), false],
  [new Errors.ContextLengthError({ message }), false],
  [new Errors.InvalidRequestError({ message }), false],
  [new Errors.PermissionDeniedError({ message }), false],
  [new Errors.NotFoundError({ message }), false],
  [new Errors.ModelUnavailableError({ message }), false],
  [new Errors.ConflictError({ message }), false],
  [new Errors.PayloadTooLargeError({ message }), false],
  [new Errors.StreamError({ message, started: false, partial }), true],
  [new Errors.StreamError({ message, started: true, partial }), false],
  [new Errors.DecodeError({ message }), false],
  [new Errors.CircuitOpenError({ message, key: "lane" }), false],
  [
    new Errors.BudgetExceededError({ message, budget: "run", ...amounts }),
    false
  ],
  [new Errors.LaneOverflowError({ message, lane: "m", reason: "deadline", estimate: Duration.seconds(3) }), false]
]

describe("TogetherError", () => {
  it("lists every tag of the union once", () => {
    expect(new Set(Errors.tags).size).toBe(Errors.tags.length)
    expect(new Set(samples.map(([error]) => error._tag))).toEqual(new Set(Errors.tags))
  })

  it.each(samples)("decodes what it encodes: $_tag", (error) => {
    const codec = Schema.toCodecJson(Errors.TogetherError)
    const json = JSON.parse(JSON.stringify(Schema.encodeSync(codec)(error)))
    const back = Schema.decodeUnknownSync(codec)(json)
    expect(back).toBeInstanceOf(error.constructor)
    expect({ ...back, cause: undefined }).toEqual({ ...error, cause: undefined })
    expect(back.message).toBe(message)
  })

  it.each(samples)("says whether a repeat may help: $_tag", (error, expected) => {
    expect(Errors.isRetryable(error)).toBe(expected)
  })

  it("fills in what a fake of the provider need not know", () => {
    const message = "fake"
    expect(new Errors.RateLimitError({ message }).scope).toBe("unknown")
    expect(new Errors.RequestTimeoutError({ message }).phase).toBe("headers")
    expect(new Errors.ConnectionError({ message }).permanent).toBe(false)
    expect(new Errors.StreamError({ message, started: true }).partial).toEqual({ text: "", reasoning: "" })
  })

  it("obeys x-should-retry in both directions", () => {
    expect(Errors.isRetryable(new Errors.InvalidRequestError({ message, shouldRetry: true }))).toBe(true)
    expect(Errors.isRetryable(new Errors.ServerError({ message, shouldRetry: false }))).toBe(false)
    expect(Errors.isRetryable(new Errors.ConnectionError({ message, permanent: false, shouldRetry: false }))).toBe(
      false
    )
  })

  it("lets no header make a refusal, a deadline or a started stream retryable", () => {
    const forced = { message, shouldRetry: true }
    expect(Errors.isRetryable(new Errors.CircuitOpenError({ ...forced, key: "k" }))).toBe(false)
    expect(Errors.isRetryable(new Errors.RequestTimeoutError({ ...forced, phase: "deadline" }))).toBe(false)
    expect(Errors.isRetryable(new Errors.StreamError({ ...forced, started: true, partial }))).toBe(false)
    const silent = new Errors.RequestTimeoutError({ ...forced, phase: "idle", started: true, partial })
    expect(Errors.isRetryable(silent)).toBe(false)
  })

  it("recognizes its own errors and no others, whatever their tag", () => {
    expect(samples.every(([error]) => Errors.isTogetherError(error))).toBe(true)
    class ConnectionError extends Data.TaggedError("ConnectionError")<{ readonly permanent: boolean }> {}
    const foreign = [new ConnectionError({ permanent: false }), new AiError.RateLimitError({})]
    for (const other of [...foreign, new Error("x"), { _tag: "AuthError" }, null, undefined, "AuthError"]) {
      expect(Errors.isTogetherError(other)).toBe(false)
    }
  })

  it("recognizes what was decoded, and shows no mark of it", () => {
    const error = new Errors.ServerError({ message })
    const text = JSON.stringify(Schema.encodeSync(Errors.TogetherError)(error))
    expect(text).toBe(`{"_tag":"ServerError","message":"${message}"}`)
    const back = Schema.decodeUnknownSync(Errors.TogetherError)(JSON.parse(text))
    expect([Errors.isTogetherError(back), Object.keys(back)]).toEqual([true, Object.keys(error)])
  })

  it.each(samples)("is in JSON what its schema encodes: $_tag", (error) => {
    const encoded = JSON.stringify(Schema.encodeSync(Errors.TogetherError)(error))
    expect(JSON.stringify({ error })).toBe(`{"error":${encoded}}`)
  })

  it("encodes amounts as text, which JSON can hold", () => {
    const error = new Errors.BudgetExceededError({ message, budget: "run", reason: "no-room", ...amounts })
    const encoded = JSON.parse(JSON.stringify(Schema.encodeSync(Errors.TogetherError)(error)))
    expect(encoded).toMatchObject({ reason: "no-room", limitNanoUsd: "5", neededNanoUsd: "3", remainingNanoUsd: "2" })
    expect(Schema.decodeUnknownSync(Errors.TogetherError)(encoded)).toMatchObject(amounts)
  })

  // [our own refusal, may have arrived, failed before any work, may be billed]
  it.each<[Errors.TogetherError, ReadonlyArray<boolean>]>([
    [new Errors.RateLimitError({ message, scope: "tokens", status: 429 }), [false, true, true, false]],
    [new Errors.AuthError({ message, status: 401, reason: "refused" }), [false, true, false, false]],
    [new Errors.AuthError({ message, reason: "missing" }), [false, false, true, false]],
    [new Errors.InsufficientCreditsError({ message, status: 402 }), [false, true, false, false]],
    [new Errors.InsufficientCreditsError({ message }), [true, false, true, false]],
    [new Errors.OverloadedError({ message, status: 503 }), [false, true, true, false]],
    [new Errors.ServerError({ message, status: 500 }), [false, true, false, false]],
    [new Errors.ServerError({ message, status: 504 }), [false, true, false, true]],
    [new Errors.ServerError({ message, status: 524 }), [false, true, false, true]],
    [new Errors.RequestTimeoutError({ message, phase: "connect" }), [false, false, true, false]],
    [new Errors.RequestTimeoutError({ message, phase: "headers" }), [false, true, false, true]],
    [new Errors.RequestTimeoutError({ message, phase: "deadline" }), [false, true, false, true]],
    [new Errors.ConnectionError({ message, permanent: true }), [false, false, true, false]],
    [new Errors.ConnectionError({ message, permanent: false, sent: false }), [false, false, true, false]],
    [new Errors.ConnectionError({ message, permanent: false }), [false, true, false, true]],
    [new Errors.ContextLengthError({ message }), [false, true, false, false]],
    [new Errors.InvalidRequestError({ message }), [false, true, false, false]],
    [new Errors.InvalidRequestError({ message, sent: false }), [false, false, true, false]],
    [new Errors.PermissionDeniedError({ message }), [false, true, false, false]],
    [new Errors.NotFoundError({ message }), [false, true, false, false]],
    [new Errors.ModelUnavailableError({ message }), [false, true, false, false]],
    [new Errors.ConflictError({ message }), [false, true, false, false]],
    [new Errors.PayloadTooLargeError({ message }), [false, true, false, false]],
    [new Errors.StreamError({ message, started: false, refused: true, partial }), [false, true, false, false]],
    [new Errors.StreamError({ message, started: false, partial }), [false, true, false, true]],
    [new Errors.StreamError({ message, started: true, partial }), [false, true, false, true]],
    [new Errors.DecodeError({ message }), [false, true, false, true]],
    [new Errors.CircuitOpenError({ message, key: "lane" }), [true, false, true, false]],
    [new Errors.BudgetExceededError({ message, budget: "run", ...amounts }), [true, false, true, false]],
    [new Errors.LaneOverflowError({ message, lane: "m", reason: "queue-full" }), [true, false, true, false]]
  ])("knows what became of the attempt: %s", (error, expected) => {
    expect([
      Errors.isOwnRefusal(error),
      Errors.mayHaveArrived(error),
      Errors.isBeforeWork(error),
      Errors.mayBeBilled(error)
    ]).toEqual(expected)
  })

  it("annotates what it is given as what it is", () => {
    const failed: Effect.Effect<number, Errors.ServerError> = Effect.fail(new Errors.ServerError({ message }))
    expectTypeOf(Effect.mapError(failed, Errors.annotate({ operation: "chat" }))).toEqualTypeOf(failed)
    expectTypeOf(Effect.mapError(failed, (error) => Errors.annotate(error, { operation: "chat" })))
      .toEqualTypeOf(failed)
  })

  it.each(samples)("annotates without losing anything: $_tag", (error) => {
    const annotated = Errors.annotate(error, { attempts: 3, operation: "chat", model: "m" })
    expect(annotated).toBeInstanceOf(error.constructor)
    expect(annotated).toMatchObject({ ...error, attempts: 3, operation: "chat", model: "m" })
    expect(annotated.message).toBe(message)
    expect(annotated.cause).toBe(error.cause)
    expect(Errors.annotate(annotated, {}).attempts).toBe(3)
    expect(Errors.annotate({ attempts: 4 })(annotated).attempts).toBe(4)
  })
})
