import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import { APIConnectionError, APIConnectionTimeoutError, RateLimitError as SdkRateLimitError } from "together-ai"
import * as ForeignError from "../../src/domain/ForeignError.ts"

const two = Duration.seconds(2)
class RateLimitError extends Data.TaggedError("RateLimitError")<{ retryAfter?: unknown; scope?: unknown }> {}
class HttpError extends Data.TaggedError("HttpError")<{ readonly status: number; readonly headers?: unknown }> {}

const throttled = (retryAfter?: Duration.Duration, scope = "unknown") => ({ _tag: "Throttled", scope, retryAfter })
const ignored = { _tag: "Ignored", sent: true }

const request = HttpClientRequest.get("https://example.com")
const response = HttpClientResponse.fromWeb(request, new Response("", { status: 429, headers: { "Retry-After": "2" } }))

const coded = (code: string, syscall?: string) =>
  new TypeError("fetch failed", { cause: Object.assign(new Error("socket"), { code, syscall }) })

const hostile = new Proxy({}, {
  get: () => {
    throw new Error("get")
  },
  has: () => {
    throw new Error("has")
  }
})
const throwing = {
  status: 429,
  get headers() {
    throw new Error("get")
  },
  get retryAfter() {
    throw new Error("get")
  }
}

describe("ForeignError.read", () => {
  it.each<[string, unknown, unknown]>([
    ["a tag of ours", new RateLimitError({ retryAfter: two }), throttled(two)],
    ["its scope", new RateLimitError({ scope: "tokens" }), throttled(undefined, "tokens")],
    ["a scope that is none as unknown", new RateLimitError({ scope: "daily" }), throttled()],
    ["no wait from a number", new RateLimitError({ retryAfter: 2 }), throttled()],
    ["no wait that is no time", new RateLimitError({ retryAfter: Duration.infinity }), throttled()],
    ["a plain object", { _tag: "RateLimitError", retryAfter: two }, throttled(two)],
    ["an overload", { _tag: "OverloadedError", retryAfter: two }, { _tag: "Overloaded", retryAfter: two }],
    ["a broken server", { _tag: "ServerError" }, { _tag: "Failed" }],
    ["a broken connection", { _tag: "ConnectionError" }, { _tag: "Failed" }],
    ["a timeout", { _tag: "RequestTimeoutError" }, { _tag: "TimedOut" }],
    ["a tag of ours that says nothing of limits", { _tag: "AuthError", status: 429 }, ignored],
    ["a status", new HttpError({ status: 429 }), throttled()],
    ["headers in any case", new HttpError({ status: 429, headers: { "Retry-After": "2" } }), throttled(two)],
    ["a Headers", new HttpError({ status: 429, headers: new Headers({ "retry-after-ms": "2000" }) }), throttled(two)],
    ["pairs", new HttpError({ status: 429, headers: [["x-ratelimit-reset", 2]] }), throttled(two)],
    ["headers that are none", new HttpError({ status: 429, headers: "Retry-After: 2" }), throttled()],
    ["a date by the answer's own", {
      statusCode: 429,
      headers: { "retry-after": "Mon, 30 Nov 2026 10:00:02 GMT", date: "Mon, 30 Nov 2026 10:00:00 GMT" }
    }, throttled(two)],
    ["a response", { response: { status: 503, headers: { "retry-after": "2" } } }, {
      _tag: "Overloaded",
      retryAfter: two
    }],
    ["529", { statusCode: 529 }, { _tag: "Overloaded", retryAfter: undefined }],
    ["500", { response: { statusCode: 500 } }, { _tag: "Failed" }],
    ["408", { status: 408 }, { _tag: "TimedOut" }],
    ["402", { status: 402 }, ignored],
    ["400", { status: 400 }, ignored],
    ["an error of the SDK", new SdkRateLimitError(429, undefined, "", new Headers({ "retry-after": "2" })), {
      ...throttled(two)
    }],
    ["a timeout of the SDK", new APIConnectionTimeoutError(), { _tag: "TimedOut" }],
    ["a connection of the SDK", new APIConnectionError({}), { _tag: "Failed" }],
    ["what a promise rejected with", new Cause.UnknownError({ status: 429 }), throttled()],
    [
      "an answer of the HttpClient",
      new HttpClientError.HttpClientError({ reason: new HttpClientError.StatusCodeError({ request, response }) }),
      throttled(two)
    ],
    [
      "a transport of the HttpClient",
      new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request }) }),
      { _tag: "Failed" }
    ],
    [
      "the silence of a transport",
      new HttpClientError.HttpClientError({
        reason: new HttpClientError.TransportError({ request, cause: coded("UND_ERR_HEADERS_TIMEOUT") })
      }),
      { _tag: "TimedOut" }
    ],
    ["a reason", { _tag: "AiError", reason: { _tag: "RateLimitError", retryAfter: two } }, throttled(two)],
    ["a timeout of Effect", new Cause.TimeoutError(), { _tag: "TimedOut" }],
    ["a timeout of a signal", new DOMException("", "TimeoutError"), { _tag: "TimedOut" }],
    ["a connection that was reset", coded("ECONNRESET"), { _tag: "Failed" }],
    ["a name that is not found", coded("ENOTFOUND"), { _tag: "Failed" }],
    ["a connection that fell silent", coded("ETIMEDOUT", "read"), { _tag: "Failed" }],
    ["a name that says it", { _tag: "TooManyRequests" }, throttled()]
  ])("reads %s", (_, error, meaning) => {
    expect(ForeignError.read(error)).toEqual(meaning)
  })

  it.each<[string, unknown]>([
    ["a text", "429"],
    ["nothing", null],
    ["an error without a shape", new Error("429")],
    ["a code of something else", coded("ENOENT")],
    ["a status that is none of HTTP", { status: 14 }],
    ["a status in words", { status: "429" }],
    ["what is thrown at whoever looks", hostile]
  ])("reads nothing from %s", (_, error) => {
    expect(ForeignError.read(error)).toBeUndefined()
  })

  it("reads what can be read of an error whose fields throw, and ends where causes run in a ring", () => {
    expect(ForeignError.read(throwing)).toEqual(throttled())
    const ring: { cause?: unknown } = {}
    ring.cause = ring
    expect(ForeignError.read(ring)).toBeUndefined()
  })
})

describe("ForeignError.retryAfter", () => {
  const limits = { "x-ratelimit-reset": "2" }
  it.each<[string, unknown, unknown]>([
    ["of a refusal", { status: 429, headers: limits }, two],
    ["of a server that failed", { status: 500, headers: { "retry-after": "2" } }, two],
    ["of an error that says nothing else", { _tag: "Mine", retryAfter: two }, two],
    ["of its cause", { _tag: "Mine", cause: { response: { headers: { "retry-after-ms": "2000" } } } }, two],
    ["of what a promise rejected with", new Cause.UnknownError({ status: 502, retryAfter: two }), two],
    ["but none in the end of a window", { status: 500, headers: limits }, undefined],
    ["but none in a number", { _tag: "Mine", retryAfter: 2 }, undefined],
    ["but none in a text", "429", undefined]
  ])("reads the wait %s", (_, error, wait) => {
    expect(ForeignError.retryAfter(error)).toEqual(wait)
  })

  it("ends where causes run in a ring", () => {
    const ring: { cause?: unknown } = {}
    ring.cause = ring
    expect(ForeignError.retryAfter(ring)).toBeUndefined()
  })
})

describe("ForeignError.isRetryable", () => {
  it.each<[unknown, boolean]>([
    [{ status: 429 }, true],
    [{ _tag: "ServerError" }, true],
    [{ _tag: "ConnectionError", permanent: true }, false],
    [{ _tag: "StreamError", started: true }, false],
    [{ _tag: "RequestTimeoutError", phase: "deadline" }, false],
    [{ _tag: "ServerError", shouldRetry: false }, false],
    [{ status: 400 }, false],
    [new Error("boom"), false]
  ])("%j: %s", (error, expected) => {
    expect(ForeignError.isRetryable(error)).toBe(expected)
  })
})
