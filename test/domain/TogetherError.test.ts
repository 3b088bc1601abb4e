import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as Errors from "../../src/domain/TogetherError.ts"

const message = "Something happened (1). Do this."
const partial = { text: "half", reasoning: "" }
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
    new Errors.BudgetExceededError({
      message,
      budget: "run",
      limitNanoUsd: 5n,
      neededNanoUsd: 3n,
      remainingNanoUsd: 2n
    }),
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

  it("recognizes its own errors and no others", () => {
    expect(samples.every(([error]) => Errors.isTogetherError(error))).toBe(true)
    for (const other of [new Error("x"), { _tag: "AuthError" }, null, undefined, "AuthError"]) {
      expect(Errors.isTogetherError(other)).toBe(false)
    }
  })

  it.each(samples)("annotates without losing anything: $_tag", (error) => {
    const annotated = Errors.annotate(error, { attempts: 3, operation: "chat", model: "m" })
    expect(annotated).toBeInstanceOf(error.constructor)
    expect(annotated).toMatchObject({ ...error, attempts: 3, operation: "chat", model: "m" })
    expect(annotated.message).toBe(message)
    expect(annotated.cause).toBe(error.cause)
    expect(Errors.annotate(annotated, {}).attempts).toBe(3)
  })
})
