import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import { Together, TogetherError } from "effect-together"
import * as TogetherAi from "together-ai"

const limited = { error: { message: "Rate limited", type: "dynamic_token_limited" } }

describe("Together.errorFromResponse", () => {
  it.each<[string, Together.ForeignResponse["headers"]]>([
    ["a Headers", new Headers({ "Retry-After": "2", "X-Request-Id": "r" })],
    ["a record, names in any case", { "Retry-After": "2", "X-REQUEST-ID": "r", "x-other": undefined, "x-none": null }],
    ["a Headers of another make", {
      forEach: (add: (value: string, name: string) => void) => {
        add("2", "Retry-After")
        add("r", "x-request-id")
      }
    } as unknown as Headers],
    ["a list of pairs", [["Retry-After", "2"], ["X-Request-Id", "r"]]],
    ["a record of numbers and lists", { "retry-after": 2, "x-request-id": ["r"], "x-empty": [] }],
    ["the longest wait of a list, and the first id", { "retry-after": ["1", "2"], "x-request-id": ["r", "s"] }],
    ["the longest wait of pairs", [["retry-after", "2"], ["Retry-After", "1"], ["x-request-id", "r"]]]
  ])("reads %s", (_, headers) => {
    const error = Together.errorFromResponse({ status: 429, headers, body: limited, model: "m", operation: "chat" })
    expect(error).toBeInstanceOf(TogetherError.RateLimitError)
    expect(error).toMatchObject({
      scope: "tokens",
      status: 429,
      requestId: "r",
      model: "m",
      operation: "chat",
      retryAfter: Duration.seconds(2)
    })
  })

  it("reads what the official SDK rejects with", () => {
    const headers = new Headers({ "x-ratelimit-reset": "3" })
    const thrown = TogetherAi.APIError.generate(429, limited, undefined, headers)
    const { error: body, status = 0 } = thrown
    const error = Together.errorFromResponse({ status, headers: thrown.headers, body })
    expect(error).toMatchObject({ _tag: "RateLimitError", scope: "tokens", retryAfter: Duration.seconds(3) })
  })

  it("reads the body as text and as JSON alike", () => {
    const asText = Together.errorFromResponse({ status: 400, body: JSON.stringify(limited) })
    expect(asText).toEqual(Together.errorFromResponse({ status: 400, body: limited }))
    expect(asText._tag).toBe("RateLimitError")
  })

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["null", null],
    ["a number", 7],
    ["what is no JSON", 7n],
    ["a function", () => 1],
    ["a symbol", Symbol("body")],
    ["a deep text", `{"error":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
    ["a page", "<html><title>Bad gateway</title></html>"]
  ])("survives %s for a body", (_, body) => {
    expect(Together.errorFromResponse({ status: 503, body })._tag).toBe("OverloadedError")
  })

  it.each<[string, unknown]>([
    ["null", null],
    ["a number", 7],
    ["a list of no pairs", [7]],
    ["a record that throws", {
      get "retry-after"() {
        throw new Error("no")
      }
    }],
    ["a value that is no text", { "retry-after": Object.create(null) }]
  ])("survives %s for headers", (_, headers) => {
    const response = { status: 503, headers } as Together.ForeignResponse
    expect(Together.errorFromResponse(response)).toMatchObject({ _tag: "OverloadedError", retryAfter: undefined })
  })

  it.each<[unknown]>([[undefined], [null], [NaN], [Infinity], [429.5]])(
    "takes the status %j for no answer",
    (status) => {
      const error = Together.errorFromResponse({ status, model: "m", operation: "chat" } as Together.ForeignResponse)
      expect(error).toMatchObject({ _tag: "ConnectionError", model: "m", operation: "chat" })
      expect(TogetherError.isRetryable(error)).toBe(true)
      expect(error.message).toContain(`reported no status (${String(status)})`)
    }
  )

  it("reads a date by the answer's own clock, and not by any other", () => {
    const date = "Sat, 28 Nov 2026 10:00:00 GMT"
    const later = "Sat, 28 Nov 2026 10:00:05 GMT"
    const read = (headers: Record<string, string>) => Together.errorFromResponse({ status: 503, headers }).retryAfter
    expect(read({ date, "retry-after": later })).toEqual(Duration.seconds(5))
    expect(read({ "retry-after": later })).toBeUndefined()
  })

  it("quotes of the answer what is no prompt, and where it cannot know, the words of its kind", () => {
    const prompt = "a secret recipe for soup"
    const body = { error: { message: `bad input: ${prompt}`, code: "bad_input" } }
    const request = { model: "m", messages: [{ role: "user", content: prompt }] }
    const known = Together.errorFromResponse({ status: 400, body, request })
    expect(known.message).toContain("bad input: [prompt]")
    const unknown = Together.errorFromResponse({ status: 400, body })
    expect(unknown.body).toContain("bad_input")
    for (const error of [known, unknown]) expect(JSON.stringify([error.message, error.body])).not.toContain(prompt)
  })

  const secret = "a \"secret\" recipe for soup"
  const circular: { prompt: string; self?: unknown } = { prompt: secret }
  circular.self = circular
  let deep: unknown = { prompt: secret }
  for (let depth = 0; depth < 20_000; depth++) deep = { deep }

  it.each<[string, unknown]>([
    ["its JSON text", JSON.stringify({ model: "m", messages: [{ role: "user", content: secret }] })],
    ["its JSON text, indented", JSON.stringify({ prompt: secret }, undefined, 2)],
    ["text that is no JSON", secret],
    ["one that contains itself", circular],
    ["a deep one", deep]
  ])("removes the prompts of a request that is %s", (_, request) => {
    const body = { error: { message: `bad input: ${secret}` } }
    const error = Together.errorFromResponse({ status: 400, body, request })
    expect(error.message).toContain("bad input: [prompt]")
  })

  it.each<[string, unknown]>([
    ["null", null],
    ["one that throws", {
      get prompt() {
        throw new Error("no")
      }
    }]
  ])("quotes nothing where the request is %s", (_, request) => {
    const error = Together.errorFromResponse({ status: 400, body: { error: { message: secret } }, request })
    expect(JSON.stringify([error.message, error.body])).not.toContain("recipe")
  })
})
