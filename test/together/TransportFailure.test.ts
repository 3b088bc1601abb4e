import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as TransportFailure from "../../src/together/error/TransportFailure.ts"

const about: TransportFailure.About = { baseUrl: "", secrets: () => ({ prompts: [] }) }

describe("TransportFailure", () => {
  it.each([
    ["chat", "m", "No headers within 5s. Stream the answer, lower max_tokens, or raise timeouts.headers."],
    ["embeddings", "m", "No headers within 5s. Try again, or raise timeouts.headers."],
    ["files.get", "", "No headers within 5s. Try again, or raise timeouts.headers."]
  ])("advises on a silence what fits the operation: %s", (operation, model, message) => {
    const exchange = { operation, model, path: "/x" }
    expect(TransportFailure.timedOut(exchange, "headers", Duration.seconds(5)).message).toBe(message)
  })

  it.each([
    [
      "UND_ERR_HEADERS_TIMEOUT",
      "No headers within the transport's own limit. Raise that limit (Node's Fetch has one of 300 s), or send by " +
      "UndiciHttpClient, which has none."
    ],
    [
      "UND_ERR_BODY_TIMEOUT",
      "No body within the transport's own limit. Raise that limit (Node's Fetch has one of 300 s), or send by " +
      "UndiciHttpClient, which has none."
    ],
    ["ETIMEDOUT", "No connection within the transport's own limit. Check the network and the base URL."]
  ])("advises on a limit of the transport what raises that one, not timeouts: %s", (code, message) => {
    const exchange = { operation: "chat", model: "m", path: "/x" }
    const cause = Object.assign(new Error("late"), { code })
    expect(TransportFailure.of(exchange, cause, about).message).toBe(message)
  })

  it.each([
    new RangeError("Invalid string length"),
    Object.assign(new Error("Cannot create a string longer than 0x1fffffe8 characters"), {
      code: "ERR_STRING_TOO_LONG"
    })
  ])("says that an answer is too long for a text: %s", (cause) => {
    const error = TransportFailure.of({ operation: "files.content", model: "", path: "/x" }, cause, about)
    expect(error._tag).toBe("DecodeError")
    expect(error.message).toContain("longer than a text can be, about 512 MB. Read a file as a stream")
  })

  it.each(["EMFILE", "ENFILE", "EADDRNOTAVAIL"])("knows that nothing was sent without a socket: %s", (code) => {
    const cause = Object.assign(new Error(`connect ${code}`), { code, syscall: "connect" })
    const error = TransportFailure.of({ operation: "chat", model: "m", path: "/x" }, cause, about)
    expect(error).toMatchObject({ _tag: "ConnectionError", permanent: false, sent: false, code })
    expect(error.message).toContain("ulimit -n")
  })

  describe("of a transport whose error holds the request", () => {
    const secrets = () => ({ apiKey: "tok_of-mine-that-is-long", prompts: ["the patient is Karl Maier"] })
    const exchange = { operation: "chat", model: "m", path: "/x" }
    const failed = (fields: object) =>
      TransportFailure.of(exchange, Object.assign(new Error("reset"), fields), { baseUrl: "http://localhost", secrets })

    it.each([
      { code: "the patient is Karl Maier" },
      { code: "tok_of-mine-that-is-long" },
      { code: "ECONNRESET", syscall: "the patient is Karl Maier" },
      { code: "ERR_CONTENT_ENCODING", message: "encoded: the patient is Karl Maier" },
      { request: { body: "the patient is Karl Maier", headers: { authorization: "tok_of-mine-that-is-long" } } }
    ])("keeps nothing of it: %o", (fields) => {
      const error = failed(fields)
      expect(`${error.message} ${JSON.stringify(error)}`).not.toMatch(/Karl|of-mine/)
    })

    it("keeps a code that is one", () => {
      expect(failed({ code: "ConnectionRefused" })).toMatchObject({
        _tag: "ConnectionError",
        code: "ConnectionRefused"
      })
      expect(failed({ code: "ETIMEDOUT", syscall: "read" }).message).toContain("(read ETIMEDOUT)")
    })
  })
})
