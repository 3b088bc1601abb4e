import { describe, expect, it } from "@effect/vitest"
import * as ExactJson from "../../src/job/ExactJson.ts"

const again = (text: string) => JSON.stringify(ExactJson.parse(text))

describe("ExactJson", () => {
  describe("parse", () => {
    it.each([
      "{\"a\":1234567890123456789}",
      "{\"a\":-12345678901234567890,\"b\":[18446744073709551615,{\"c\":9007199254740993}]}",
      "[0.1234567890123456789012]",
      "[1234567890.12345678901]",
      "{\"big\":1e400,\"small\":-2.5E-400}",
      "{\"__proto__\":{\"x\":12345678901234567890}}"
    ])("writes %s again as it was", (text) => {
      expect(again(text)).toBe(text)
    })

    it("makes plain numbers of those that a double holds", () => {
      const text = "{\"a\":1.0,\"b\":1e5,\"c\":9007199254740991,\"d\":0.1,\"e\":12345678901234567890}"
      expect(ExactJson.parse(text)).toMatchObject({ a: 1, b: 100_000, c: 9007199254740991, d: 0.1 })
    })

    it("leaves texts alone", () => {
      expect(ExactJson.parse("{\"a\":\"x 12345678901234567890\",\"b\":12345678901234567890}")).toMatchObject({
        a: "x 12345678901234567890"
      })
    })

    it("throws what JSON.parse throws", () => {
      expect(() => ExactJson.parse("{\"a\": 12345678901234567890")).toThrow(SyntaxError)
    })
  })

  describe("hasLong", () => {
    it("does not take a word for a number", () => {
      expect(ExactJson.hasLong("{\"id\":\"9f3e1234-0000-4e12-8e99-123456789012\",\"n\":12}")).toBe(false)
      expect(ExactJson.hasLong("{\"n\": 1234567890123456}")).toBe(true)
    })
  })
})
