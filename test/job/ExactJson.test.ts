import { describe, expect, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as ExactJson from "../../src/job/ExactJson.ts"

const again = (text: string) => JSON.stringify(ExactJson.parse(text))
const asWritten = (text: string) => JSON.stringify(ExactJson.parseAsWritten(text))

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

    it("reads what nests deeper than the stack", () => {
      const deep = "[".repeat(100_000) + "1e400" + "]".repeat(100_000)
      expect(ExactJson.parse(deep)).toBeInstanceOf(Array)
      expect(ExactJson.parseAsWritten(deep)).toBeInstanceOf(Array)
    })
  })

  describe("parseAsWritten", () => {
    it.each([
      "{\"a\":1.10,\"b\":1e3,\"c\":-0,\"d\":0.1000,\"e\":1.0,\"f\":-0.0}",
      "[0.00000012,1E5,-2.5e-7,100.0,0e0,-0]",
      "{\"a\":12345678901234567890,\"b\":1e400,\"c\":[0.5,10,-1,100]}"
    ])("writes %s again as it was", (text) => {
      expect(asWritten(text)).toBe(text)
      expect(asWritten(text.replace(/:|,/g, "$& "))).toBe(text)
    })

    it("leaves texts alone, and plain numbers plain", () => {
      const text = "{\"a\":\"x, 1.0\",\"b\":1.05,\"c\":-10,\"d\":0.1}"
      expect(ExactJson.parseAsWritten(text)).toEqual({ a: "x, 1.0", b: 1.05, c: -10, d: 0.1 })
    })

    it.prop("writes every number again as it was", [Arbitrary.schema(Schema.Finite)], ([n]) => {
      const forms = [n.toString(), n.toExponential(), n.toFixed(3), n.toPrecision(12)]
      expect(forms.map((form) => asWritten(`{"n":${form}}`))).toEqual(
        forms.map((form) => `{"n":${form}}`)
      )
    })
  })

  describe("hasOther", () => {
    it("does not take plain numbers for others", () => {
      expect(ExactJson.hasOther("{\"a\":1,\"b\":-1.05,\"c\":0.001,\"d\":[100,0],\"e\":\"-0x\",\"f\":-0.5}")).toBe(false)
    })
  })

  describe("hasLong", () => {
    it("does not take a word for a number", () => {
      expect(ExactJson.hasLong("{\"id\":\"9f3e1234-0000-4e12-8e99-123456789012\",\"n\":12}")).toBe(false)
      expect(ExactJson.hasLong("{\"n\": 1234567890123456}")).toBe(true)
    })
  })
})
