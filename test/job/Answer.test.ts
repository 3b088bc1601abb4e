import { describe, expect, it } from "@effect/vitest"
import { ServerError } from "../../src/domain/TogetherError.ts"
import * as Answer from "../../src/job/Answer.ts"
import * as Row from "../../src/job/Row.ts"

const row = (fields: string): Row.Row => {
  const read = Row.parse(`{"custom_id":"a","prompt":"Hi","model":"m",${fields}}`, 7)
  if (read._tag === "Bad") throw new Error(read.message)
  return read
}

const answered = (fields: string) => Answer.answered(row(fields), { status: 200, body: 1, attempts: 1 })

describe("Answer", () => {
  describe("answered", () => {
    it("hands the caller's fields through as they were written, those with the names of ours apart", () => {
      expect(answered("\"tag\":1,\"row\":2")).toMatch(/"body":1\},"tag":1,"row":2\}$/)
      expect(answered("\"tag\":1,\"response\":2,\"row\":3,\"id\":\"own\",\"line\":4,\"error\":5")).toMatch(
        /^\{"id":"br_\w+","custom_id":"a","response":\{"status_code":200,"body":1\},"tag":1,"row":\{"response":2,"row":3,"id":"own","line":4,"error":5\}\}$/
      )
      expect(answered("\"tweet_id\":1234567890123456789,\"deep\":[{\"n\":0.12345678901234567891}]")).toMatch(
        /,"tweet_id":1234567890123456789,"deep":\[\{"n":0.12345678901234567891\}\]\}$/
      )
    })

    it("writes the caller's numbers as they were", () => {
      expect(answered("\"a\":1.10,\"b\":1e3,\"c\":-0")).toMatch(/,"a":1\.10,"b":1e3,"c":-0\}$/)
    })

    it("writes nothing where the answer nests deeper than JSON can be written", () => {
      const body: unknown = JSON.parse("[".repeat(100_000) + "]".repeat(100_000))
      expect(Answer.answered(row("\"tag\":1"), { status: 200, body, attempts: 1 })).toBeUndefined()
    })

    it("hands through a field named __proto__", () => {
      expect(answered("\"__proto__\":{\"x\":1}")).toMatch(/"body":1\},"__proto__":\{"x":1\}\}$/)
    })
  })

  describe("failed", () => {
    it("keeps the caller's line and id apart from its own", () => {
      const failed = Answer.failed(row("\"line\":\"x\",\"id\":9"), new ServerError({ message: "failed", status: 500 }))
      expect(JSON.parse(failed)).toMatchObject({ custom_id: "a", line: 7, row: { line: "x", id: 9 } })
    })

    it("names the class of the error, or a word that no class has", () => {
      const error = new ServerError({ message: "failed", status: 500, attempts: 2 })
      expect(JSON.parse(Answer.failed(row("\"tag\":1"), error))).toMatchObject({
        error: { code: "server", message: "failed", status: 500, attempts: 2, retryable: true },
        line: 7,
        tag: 1
      })
      expect(JSON.parse(Answer.failed(row("\"tag\":1"), error, "not_answered"))).toMatchObject({
        error: { code: "not_answered" }
      })
    })
  })
})
