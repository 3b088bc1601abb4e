import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as TransportFailure from "../../src/together/TransportFailure.ts"

describe("TransportFailure", () => {
  it.each([
    ["chat", "m", "No headers within 5s. Stream the answer, lower max_tokens, or raise timeouts.headers."],
    ["embeddings", "m", "No headers within 5s. Try again, or raise timeouts.headers."],
    ["files.get", "", "No headers within 5s. Try again, or raise timeouts.headers."]
  ])("advises on a silence what fits the operation: %s", (operation, model, message) => {
    const exchange = { operation, model, path: "/x" }
    expect(TransportFailure.timedOut(exchange, "headers", Duration.seconds(5)).message).toBe(message)
  })
})
