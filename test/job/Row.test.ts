import { describe, expect, it } from "@effect/vitest"
import * as Row from "../../src/job/Row.ts"

const messages = [{ role: "user", content: "Hi" }]

const row = (value: unknown, options?: Row.Options): Row.Row => {
  const read = Row.parse(JSON.stringify(value), 7, options)
  if (read._tag === "Bad") throw new Error(read.message)
  return read
}

const bad = (text: string, options?: Row.Options): Row.Bad => {
  const read = Row.parse(text, 7, options)
  if (read._tag === "Row") throw new Error("the line is not bad")
  return read
}

describe("Row", () => {
  describe("parse", () => {
    it("reads the Batch API's form and keeps the caller's fields apart", () => {
      expect(
        row({ custom_id: "a", method: "post", url: "/v1/chat/completions", body: { model: "m", messages }, tag: 1 })
      ).toEqual({
        _tag: "Row",
        line: 7,
        id: "a",
        assigned: false,
        operation: "chat",
        model: "m",
        body: { model: "m", messages },
        extra: { tag: 1 }
      })
    })

    it("reads a prompt as a chat message, request fields into the body, others to the caller", () => {
      const read = row({ prompt: "Hi", model: "m", max_tokens: 5, source: "x" })
      expect(read.body).toEqual({ model: "m", max_tokens: 5, messages })
      expect(read.extra).toEqual({ source: "x" })
      expect([read.id, read.assigned]).toEqual(["line-7", true])
    })

    it("reads chat messages", () => {
      expect(row({ custom_id: "b", messages, model: "m" }).body).toEqual({ messages, model: "m" })
    })

    it("fills in defaults only where the row says nothing", () => {
      const options: Row.Options = { model: "d", system: "Be brief.", body: { max_tokens: 9, temperature: 0 } }
      expect(row({ prompt: "Hi", max_tokens: 5 }, options).body).toEqual({
        model: "d",
        max_tokens: 5,
        temperature: 0,
        messages: [{ role: "system", content: "Be brief." }, ...messages]
      })
      const system = [{ role: "system", content: "Mine." }, ...messages]
      expect(row({ messages: system, model: "m" }, options).body).toMatchObject({ model: "m", messages: system })
    })

    it("takes a field that is null for one that is not set, where the row is no body of a request", () => {
      const options = { model: "m", body: { max_tokens: 20 } }
      expect(Row.parse(`{"prompt":"Hi","messages":null,"model":null,"max_tokens":null,"note":null}`, 1, options))
        .toMatchObject({
          model: "m",
          body: { model: "m", max_tokens: 20, messages: [{ role: "user", content: "Hi" }] },
          extra: { note: null }
        })
    })

    it("reads each endpoint by its url, with and without the version", () => {
      expect(row({ url: "/v1/embeddings", body: { model: "m", input: ["a"] } }).operation).toBe("embeddings")
      expect(row({ url: "/completions", body: { model: "m", prompt: "a" } }).operation).toBe("completions")
      expect(row({ url: "/v1/rerank", body: { model: "m", query: "q", documents: [] } }).operation).toBe("rerank")
      expect(row({ url: "/v1/images/generations", body: { model: "m", prompt: "a" } }).operation).toBe("images")
    })

    it.each([
      ["{\"prompt\": ", "json", "line 7 is not JSON"],
      ["[1]", "shape", "line 7 is not a JSON object"],
      ["{}", "shape", "the row has neither body, messages nor prompt"],
      [JSON.stringify({ prompt: "" }), "shape", "prompt must not be empty"],
      [JSON.stringify({ prompt: ["a", "b"] }), "shape", "prompt must be text, got an array"],
      [JSON.stringify({ messages: "a" }), "shape", "messages must be an array, got a value of type string"],
      [
        JSON.stringify({ custom_id: 5, prompt: "a" }),
        "id",
        "custom_id must be a non-empty string, got a value of type number"
      ],
      [JSON.stringify({ prompt: "a" }), "model", "the row names no model"],
      [JSON.stringify({ body: 1 }), "shape", "body must be an object"],
      [JSON.stringify({ body: { model: "m" } }), "shape", "body.messages must be a non-empty array"],
      [
        JSON.stringify({ body: { model: "m", messages: [1] } }),
        "shape",
        "body.messages[0] must be an object with a role"
      ],
      [JSON.stringify({ body: { model: "m", messages, stream: true } }), "shape", "body.stream must not be true"],
      [
        JSON.stringify({ method: "GET", body: { model: "m", messages } }),
        "shape",
        "method must be \"POST\", got \"GET\""
      ],
      [JSON.stringify({ url: "/v1/x", body: { model: "m" } }), "shape", "url must be one of /v1/chat/completions"],
      [JSON.stringify({ url: "/v1/embeddings", body: { model: "m" } }), "shape", "body.input must be"],
      [JSON.stringify({ url: "/v1/rerank", body: { model: "m" } }), "shape", "body.query must be"],
      [JSON.stringify({ url: "/v1/completions", body: { model: "m" } }), "shape", "body.prompt must be"]
    ])("says what is wrong with %s", (text, reason, message) => {
      const read = bad(text)
      expect(read.reason).toBe(reason)
      expect(read.message).toContain(message)
      expect(read.message).toMatch(/^line 7/)
    })

    it.each([
      ["{\"custom_id\":\"y\",\"prompt\": SECRET patient data}", "Unexpected token, character 28"],
      ["{\"prompt\": SECRET}", "Unexpected token, character 12"],
      ["[1,,2]", "Unexpected token, character 4"],
      ["SECRET", "Unexpected token, character 1"],
      ["{\"prompt\": \"SECRET\" \"SECRET\"}", "Expected ',' or '}' after property value, character 21"],
      ["{SECRET: 1}", "Expected property name or '}', character 2"],
      ["{\"prompt\": \"SECRET", "Unterminated string, character 19"],
      ["{\"prompt\": \"SECRET\tpatient\"}", "Bad control character in string literal, character 19"],
      ["{\"prompt\": \"SECRET\"} SECRET", "Unexpected non-whitespace character after JSON, character 22"],
      ["{\"prompt\": \"SECRET\"", "character 20"],
      ["{\"prompt\": [\"SECRET\"", "character 21"],
      ["{\"SECRET\": ", "it ends too early"]
    ])("says where %s breaks, and nothing of what it holds", (text, message) => {
      const read = bad(text)
      expect(read.message).toContain(message)
      expect(read.message).not.toContain("SECRET")
    })

    it("names the type of a wrong id or url, not its value", () => {
      const secret = ["SECRET patient data"]
      for (
        const [wrong, got] of [
          [{ custom_id: secret, prompt: "a" }, "got an array"],
          [{ custom_id: null, prompt: "a" }, "got null"],
          [{ custom_id: "", prompt: "a" }, "got an empty one"],
          [{ url: secret[0], body: { model: "m", messages } }, "got a value of type string"],
          [{ method: { secret }, body: { model: "m", messages } }, "got a value of type object"]
        ] as const
      ) {
        const { message } = bad(JSON.stringify(wrong))
        expect(message).toContain(got)
        expect(message).not.toContain("SECRET")
      }
    })

    it("keeps the caller's fields to the last digit, and any name", () => {
      const text =
        "{\"model\":\"m\",\"prompt\":\"Hi\",\"seed\":7,\"id\":1234567890123456789,\"__proto__\":{\"x\":1},\"n_\":1.0}"
      const read = Row.parse(text, 7)
      if (read._tag === "Bad") throw new Error(read.message)
      expect(JSON.stringify(read.extra)).toBe("{\"id\":1234567890123456789,\"__proto__\":{\"x\":1},\"n_\":1.0}")
      expect(read.body).toEqual({ model: "m", seed: 7, messages })
    })

    it("refuses a row that nests deeper than JSON is safely written, wherever", () => {
      const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels)
      const line = (fields: string) => `{"custom_id":"a","model":"m","prompt":"Hi",${fields}}`
      expect(row(JSON.parse(line(`"tag":${nested(499)}`))).id).toBe("a")
      for (const levels of [500, 100_000]) {
        for (const field of ["tag", "response_format"]) {
          const read = bad(line(`"${field}":${nested(levels)}`))
          expect([read.id, read.reason]).toEqual(["a", "shape"])
          expect(read.message).toBe("line 7: the row nests more than 500 levels deep: flatten it")
        }
      }
      const endless: Record<string, unknown> = { model: "m", prompt: "Hi" }
      endless["tag"] = endless
      expect(Row.fromJson(endless, 7)).toMatchObject({ _tag: "Bad", reason: "shape" })
    })

    it("says what a file is that is no JSON Lines", () => {
      const message = (text: string, line: number) => {
        const read = Row.parse(text, line)
        return read._tag === "Bad" ? read.message : ""
      }
      expect(message("[", 1)).toBe(
        "line 1 is not JSON (it ends too early): the input begins a JSON array, and JSON Lines are wanted: write one " +
          "object per line, such as with jq -c '.[]'"
      )
      expect(message("custom_id,\"prompt\"", 1)).toContain("the input seems to be CSV, and JSON Lines are wanted")
      expect(message("custom_id,prompt", 2)).toContain("write one JSON object per line")
      expect(message("Name a river, please.", 1)).not.toContain("CSV")
      expect(message("[{\"prompt\":\"Hi\"}]", 1)).toContain("is not a JSON object: the input begins a JSON array")
      expect(message("[", 2)).toContain("write one JSON object per line")
      expect(message("{\"prompt\":\"a\"}\r{\"prompt\":\"b\"}\r", 1)).toContain(
        "end lines in LF, such as with tr '\\r' '\\n'"
      )
    })

    it("takes a prompt beside messages for a field of the caller's", () => {
      const read = row({ prompt: "a", messages, model: "m" })
      expect([read.body, read.extra]).toEqual([{ messages, model: "m" }, { prompt: "a" }])
    })

    it("bounds a row by the job's max_tokens that has a limit by the name that Together does not document", () => {
      const given = { max_completion_tokens: 5, model: "m" }
      const both = { ...given, max_tokens: 9, messages }
      expect(row({ prompt: "Hi", ...given }, { body: { max_tokens: 9 } }).body).toEqual(both)
      expect(row({ body: { ...given, messages } }, { body: { max_tokens: 9 } }).body).toEqual(both)
      expect(row({ prompt: "Hi", ...given }).body).toEqual({ ...given, messages })
    })

    it("gives embeddings, rerank and images no default that only a generation knows", () => {
      const options: Row.Options = {
        model: "d",
        system: "s",
        body: { max_tokens: 9, temperature: 0, seed: 1, dimensions: 8 }
      }
      const read = (url: string, body: object) => row({ url, body }, options).body
      expect(read("/v1/embeddings", { input: "a" })).toEqual({ model: "d", input: "a", dimensions: 8 })
      expect(read("/v1/images/generations", { prompt: "a" })).toEqual({
        model: "d",
        prompt: "a",
        seed: 1,
        dimensions: 8
      })
      expect(read("/v1/rerank", { query: "a", documents: [] })).not.toHaveProperty("temperature")
      expect(read("/v1/completions", { prompt: "a" })).toMatchObject({ max_tokens: 9, temperature: 0 })
    })

    it("keeps the id of a bad line that has one", () => {
      expect(bad(JSON.stringify({ custom_id: "a", body: {} })).id).toBe("a")
    })
  })
})

describe("Row.parse of a file that is no UTF-8 with LF", () => {
  const message = (text: string) => {
    const read = Row.parse(text, 3)
    return read._tag === "Bad" ? read.message : ""
  }
  const wide = (text: string) => Array.from(text, (character) => `${character}\0`).join("")

  it("tells UTF-16 before anything else, carriage returns or not", () => {
    for (const text of ["{\"prompt\":\"a\"}\r", "{\"prompt\":\"a\"}", "[{\"prompt\":\"a\"}]\r"]) {
      expect(message(wide(text))).toMatch(/: it holds NUL characters, as UTF-16 does: save the file as UTF-8$/)
    }
  })

  it("advises to part a line at carriage returns only where all of its pieces are JSON", () => {
    const advice = "end lines in LF, such as with tr"
    expect(message("{\"prompt\":\"a\"}\r{\"prompt\":\"b\"}\r\r")).toContain(advice)
    expect(message("5")).toBe("line 3 is not a JSON object: write {\"custom_id\": …, \"body\": …}")
    for (
      const text of [
        "{\"prompt\":\"a\rb\"}",
        "{\"prompt\":\r\"a\",}",
        "{\"prompt\":\"a\"}\r{\"prompt\":",
        "\"a\rb\"\r1"
      ]
    ) {
      expect([text, message(text)]).toEqual([text, expect.stringContaining("write one JSON object per line")])
    }
  })
})
