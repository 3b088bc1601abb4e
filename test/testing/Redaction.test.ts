import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as FaultMatrix from "../../src/testing/FaultMatrix.ts"
import { edited, literals } from "../../src/testing/internal/jsonText.ts"
import * as Recorder from "../../src/testing/Recorder.ts"
import * as Reply from "../../src/testing/Reply.ts"

const address = "https://api.together.ai/v1"
const prompt = "Straße \"quoted\" / <b> secret diagnosis"

const post = (body: unknown, path = "/completions") =>
  HttpClientRequest.post(`${address}${path}`, { body: HttpBody.jsonUnsafe(body) })

const tape = (reply: Reply.Answer, request: HttpClientRequest.HttpClientRequest, options?: Recorder.RecordOptions) =>
  Effect.gen(function*() {
    const recording = Recorder.record(yield* FaultMatrix.answering(() => reply), options)
    yield* Effect.flatMap(recording.client.execute(request), (response) => response.text)
    const cassette = yield* recording.cassette
    const { response } = cassette.exchanges[0]!
    const parts = "parts" in response ? response.parts.map((part) => "text" in part ? part.text : "") : []
    return { all: JSON.stringify(cassette), parts, cassette }
  })

const escaped = (text: string): string =>
  text.replace(/[\u0080-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .replaceAll("<", "\\u003c").replaceAll("/", "\\/")

describe("Recorder, with prompts redacted", () => {
  it.effect("keeps of an error its kind and the provider's words, however the prompt is quoted", () =>
    Effect.gen(function*() {
      const error = (message: string) => ({ error: { message, type: "invalid_request_error", code: "too_long" } })
      const quotes = [
        JSON.stringify(error(`Input validation error: ${prompt} is too long`)),
        escaped(JSON.stringify(error(`Input validation error: ${prompt} is too long`))),
        JSON.stringify(error(`Input validation error: ${JSON.stringify({ input: prompt })} is too long`)),
        JSON.stringify(error(`Input validation error: ${prompt.slice(0, 25)}… is too long`)),
        JSON.stringify(error(`Input validation error: ${encodeURIComponent(prompt)} is too long`)),
        JSON.stringify(error("Input validation error: Stra&szlig;e &quot;quoted&quot; secret diagnosis is too long"))
      ]
      for (const text of quotes) {
        const answer = Reply.raw(text, { status: 400, contentType: "application/json" })
        const { all, parts } = yield* tape(answer, post({ model: "m", prompt }))
        expect(all).not.toMatch(/Stra|quoted|secret|diagnosis/)
        expect(JSON.parse(parts.join(""))).toMatchObject({
          error: {
            message: expect.stringMatching(/^Input validation error: .*is too long$/),
            type: "invalid_request_error",
            code: "too_long"
          }
        })
      }
    }))

  it.effect("keeps no row of an uploaded file that an error quotes, and no word of a page", () =>
    Effect.gen(function*() {
      const form = new FormData()
      form.append("file", new File([`${JSON.stringify({ body: { prompt } })}\n`], "patient.jsonl"))
      const upload = HttpClientRequest.post(`${address}/files/upload`, { body: HttpBody.formData(form) })
      const refusal = Reply.json({ filename: "patient.jsonl", error: `line 1: '${prompt}' refused` }, { status: 400 })
      expect((yield* tape(refusal, upload)).all).not.toMatch(/diagnosis|patient/)
      const page = Reply.raw(`<html><title>Bad gateway</title><p>${prompt}</p></html>`, { status: 502 })
      const { all } = yield* tape(page, post({ model: "m", prompt }))
      expect(all).toContain("Bad gateway")
      expect(all).not.toContain("diagnosis")
    }))

  it.effect("keeps nothing of a prompt that the provider hands back, short ones and its tokens too", () =>
    Effect.gen(function*() {
      const logprobs = { tokens: ["pin", " 4711"], token_ids: [31, 4711] }
      const reply = Reply.json({ prompt: [{ text: "pin 4711", logprobs }], choices: [{ text: "pin 4711 it is" }] })
      const { all, parts } = yield* tape(reply, post({ model: "m", prompt: "pin 4711", echo: true, logprobs: 1 }))
      expect(all).not.toContain("4711")
      expect(parts.join("")).toContain("\"token_ids\":[0,0]")
    }))

  it.effect("finds a prompt across events and across tokens, and keeps the pieces and all else", () =>
    Effect.gen(function*() {
      const frame = (content: string) => ({ id: "r", choices: [{ index: 0, delta: { content }, finish_reason: null }] })
      const said = ["You asked: Alpha ", "Bravo Charlie", " Delta. Paris"]
      const { all, parts } = yield* tape(
        Reply.events([...said.map(frame), "[DONE]"]),
        post({ model: "m", messages: [{ role: "user", content: "Alpha Bravo Charlie Delta" }] }, "/chat/completions")
      )
      expect(all).not.toContain("Bravo")
      expect(parts).toStrictEqual([
        ...["You asked: ", "", "[prompt]. Paris"].map((content) => `data: ${JSON.stringify(frame(content))}\n\n`),
        "data: [DONE]\n\n"
      ])
      const tokens = Reply.json({ choices: [{ logprobs: { tokens: ["Alpha", " Bravo", " Charlie", " Delta", "!"] } }] })
      const second = yield* tape(tokens, post({ model: "m", prompt: "Alpha Bravo Charlie Delta" }))
      expect(second.parts.join("")).toBe(
        JSON.stringify({ choices: [{ logprobs: { tokens: ["", "", "", "[prompt]", "!"] } }] })
      )
    }))

  it.effect("keeps what a replay needs: answers, tools, counts, ids, to the byte", () =>
    Effect.gen(function*() {
      const text =
        "{\"id\":\"r-1\",\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,\"seed\":9756250502253193001," +
        "\"finish_reason\":\"tool_calls\",\"message\":{\"role\":\"assistant\",\"content\":\"The answer\",\"tool_calls\":[{\"id\":\"c\"," +
        "\"type\":\"function\",\"function\":{\"name\":\"look_up\",\"arguments\":\"{\\\"token\\\":\\\"abc\\\"}\"}}]}}]," +
        "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}"
      const { parts } = yield* tape(Reply.raw(text, { contentType: "application/json" }), post({ model: "m", prompt }))
      expect(parts).toStrictEqual([text])
    }))

  it.effect("keeps no value of a query, and no unknown header, that a prompt may stand in", () =>
    Effect.gen(function*() {
      const request = HttpClientRequest.get(`${address}/files`, {
        urlParams: { q: prompt, limit: "5", name: "patient" }
      })
      const { all, cassette } = yield* tape(
        Reply.json({}, { headers: { "x-echo": prompt, "x-request-id": "r" } }),
        request
      )
      expect(all).not.toMatch(/diagnosis|patient/)
      expect(cassette.exchanges[0]?.request.query).toMatchObject({ limit: "5" })
      expect(cassette.exchanges[0]?.response).toMatchObject({ headers: { "x-request-id": "r" } })
    }))
})

describe("Recorder, whatever is kept", () => {
  it.effect("stores no secret of any name, place or scheme", () =>
    Effect.gen(function*() {
      const answer = Reply.json({
        secret: { value: "hidden-in-object" },
        api_keys: [{ value: "hidden-in-list" }],
        key: { plain: "hidden-in-key" },
        note: "saw hidden-session, https://user:hidden-userinfo@host/x and ?token=hidden-parameter"
      }, { headers: { "x-access-signature": "hidden-signature", location: "https://user:hidden-location@host/" } })
      const body = {
        credentials: { user: "hidden-user" },
        passwd: "hidden-passwd",
        passphrase: "hidden-passphrase",
        private_key_pem: "hidden-pem",
        aws_access_key_id: "hidden-access",
        header: "Authorization: Basic aGlkZGVuOmhpZGRlbg==",
        other: "Token hidden-1234567",
        hook: "https://hook.test/?token=hidden-hook",
        lines: "{\"api_key\":\"hidden-line\"}\n{\"a\":1}",
        form: "api_key=hidden-form&a=1"
      }
      const request = HttpClientRequest.setHeader(post(body, "/x"), "x-session", "hidden-session")
      for (const prompts of ["redact", "keep"] as const) {
        const { all } = yield* tape(answer, request, { prompts })
        expect(all).not.toMatch(/hidden-|aGlkZGVu/)
      }
    }))

  it.effect("finds the own key, however the answer escapes it", () =>
    Effect.gen(function*() {
      const request = HttpClientRequest.bearerToken(post({ model: "m" }, "/x"), "abcd-efgh/ijkl")
      const answer = Reply.raw("{\"choices\":[{\"text\":\"abcd\\u002defgh\\/ijkl\"}]}", {
        contentType: "application/json"
      })
      for (const prompts of ["redact", "keep"] as const) {
        expect((yield* tape(answer, request, { prompts })).parts).toStrictEqual([
          "{\"choices\":[{\"text\":\"[key]\"}]}"
        ])
      }
    }))
})

describe("jsonText", () => {
  it("names the fields around a text, in lines, in events and in what is cut short", () => {
    const names = (text: string) =>
      literals(text).filter(({ kind }) => kind === "text").map(({ around, name, value }) => [...around, name, value])
    expect(names("{\"a\":{\"b\":[\"x\",{\"c\":\"y\"}]}}")).toStrictEqual([["a", "b", "b", "x"], [
      "a",
      "b",
      "b",
      "c",
      "y"
    ]])
    expect(names("data: {\"a\":{\"b\":\"cut \\u00\ndata: {\"d\":\"z\"}")).toStrictEqual([["a", "b", "cut "], [
      "d",
      "z"
    ]])
  })

  it("cuts edits where the pieces end", () => {
    expect(edited("abcdef", [{ from: 1, to: 4, text: "_" }], [2, 6])).toStrictEqual(["a", "_ef"])
    expect(edited("abcdef", [], [2, 6])).toStrictEqual(["ab", "cdef"])
  })
})
