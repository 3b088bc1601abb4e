import { describe, expect, it } from "@effect/vitest"
import * as Subject from "../../src/together/error/Subject.ts"

describe("Subject", () => {
  const call = { operation: "chat", model: "openai/gpt-oss-20b" }

  describe("ofCall", () => {
    it("names no model where the operation has none", () => {
      expect(Subject.ofCall(call)).toEqual(call)
      expect(Subject.ofCall({ operation: "models", model: "" })).toEqual({ operation: "models", model: undefined })
    })
  })

  describe("ofAnswer", () => {
    const ray = { "cf-ray": "ray" }
    it.each([
      [{ ...ray, "x-request-id": "own" }, "said", "own"],
      [ray, "said", "said"],
      [ray, undefined, "ray"],
      [ray, "a sentence in its place", "ray"],
      [{}, undefined, undefined]
    ])("finds in %j and the body's %j the id %j", (headers, said, requestId) => {
      expect(Subject.ofAnswer(call, { status: 500, headers }, { prompts: [] }, said))
        .toEqual({ ...call, status: 500, requestId })
    })

    it("takes no id that holds a secret", () => {
      const headers = { "x-request-id": "the-secret-key-itself" }
      const secrets = { apiKey: "the-secret-key-itself", prompts: [] }
      expect(Subject.ofAnswer(call, { status: 500, headers }, secrets).requestId).toBeUndefined()
    })
  })
})
