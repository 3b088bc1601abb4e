import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as FaultMatrix from "../../src/testing/FaultMatrix.ts"
import { edited, literals } from "../../src/testing/internal/jsonText.ts"
import * as Recorder from "../../src/testing/Recorder.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as Together from "../../src/together/Together.ts"

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
        note: "saw hidden-session, https://user:hidden-userinfo@host/x and ?token=hidden-parameter",
        address: `${"a-scheme".repeat(9)}://hidden-user:hidden-word@host/`
      }, { headers: { "x-access-signature": "hidden-signature", location: "https://user:hidden-location@host/" } })
      const body = {
        credentials: { user: "hidden-user" },
        passwd: "hidden-passwd",
        passphrase: "hidden-passphrase",
        private_key_pem: "hidden-pem",
        aws_access_key_id: "hidden-access",
        header: "Authorization: Basic aGlkZGVuOmhpZGRlbg==",
        other: "Token hidden-1234567",
        bearer: "Bearer hidden-+/==",
        hook: "https://hook.test/?token=hidden-hook",
        lines: "{\"api_key\":\"hidden-line\"}\n{\"a\":1}",
        form: "api_key=hidden-form&a=1"
      }
      const request = HttpClientRequest.setHeader(
        post(body, "/x/Bearer%20hidden-in-path"),
        "x-session",
        "hidden-session"
      )
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

/** Sentences of each kind of error. */
const sentences = [
  "This model's maximum context length is 8193 tokens.",
  "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000",
  "Credit limit exceeded. Please navigate to https://api.together.xyz/settings/billing to add credit or upgrade your plan.",
  "Your credit balance is too low",
  "You exceeded your current quota",
  "You have been rate limited. Your rate limit is 60 queries per minute. Please upgrade to a paid plan.",
  "You have reached the rate limit specific to this model X. The maximum rate limit for this model is 9 queries per minute.",
  "Request was rejected due to token rate limiting. Your rate limits are 600 RPM (10 QPS) and 180000 TPM (3000 TPS).",
  "Too many requests: add credits at https://x for higher limits",
  "Too many concurrent requests",
  "Invalid API key provided. You can find your API key at https://api.together.xyz/settings/api-keys.",
  "This API key has been revoked",
  "Access to this model is allowed for build tier 2 and above.",
  "Unable to access non-serverless model m. Please visit https://api.together.ai/models/m to start a dedicated endpoint.",
  "The model m has been deprecated and is no longer available",
  "All connection attempts failed",
  "Input should be a valid list, got: 'how do I add credits to my card'",
  "This request is geoblocked"
]

/** Bodies in which a provider says a sentence. */
const forms: ReadonlyArray<(message: string) => string> = [
  (message) => JSON.stringify({ error: { message, type: "invalid_request_error", param: null, code: null } }),
  (message) => JSON.stringify({ error: { message, type: "credit_limit", code: "x" } }),
  (message) => JSON.stringify({ error: { message, type: "invalid_request_error", param: "temperature" } }),
  (message) => JSON.stringify({ error_message: message, error_type: "y" }),
  (message) => JSON.stringify({ detail: [{ loc: ["body", "x"], msg: message, type: "value_error" }] }),
  ...[
    (message: string) => ({ message }),
    (message: string) => ({ detail: message }),
    (message: string) => ({ error: message }),
    (message: string) => ({ error: [message] }),
    (message: string) => ({ errors: [{ message }] }),
    (message: string) => ({ errors: [message] }),
    (message: string) => [{ message }],
    (message: string) => message
  ].map((form) => (message: string) => JSON.stringify(form(message))),
  (message) => message,
  (message) => `<html><title>${message}</title></html>`
]

describe("Recorder, of what a request declares", () => {
  const user = (content: string) => ({ model: "m", messages: [{ role: "user", content }] })
  const schema = {
    type: "object",
    properties: {
      temperature_celsius: { type: "number" },
      city: { type: "string", enum: ["San Francisco", "Los Angeles"], description: "Where it is" },
      kind: { const: "weather_report" },
      sky: { type: "string", default: "partly_cloudy" }
    },
    required: ["temperature_celsius"]
  }
  const answer = { temperature_celsius: 12, city: "San Francisco", kind: "weather_report", sky: "partly_cloudy" }
  const asSchema = { response_format: { type: "json_schema", json_schema: { name: "weather_report", schema } } }
  const asTool = { tools: [{ type: "function", function: { name: "get_weather_forecast", parameters: schema } }] }
  const calling = (name: string, args: string) =>
    Reply.chat("", {
      toolCalls: [{ index: 0, id: "call_1", type: "function", function: { name, arguments: args } }]
    })
  const stored = (reply: Reply.Answer, body: object, options?: Recorder.RecordOptions) =>
    Effect.map(tape(reply, post(body, "/chat/completions"), options), ({ parts }) => parts.join(""))
  const bodyOf = (reply: Reply.Answer) => reply.parts.map(({ data }) => String(data)).join("")

  it.effect("keeps tool calls and structured output, to the byte, though a prompt says the same", () =>
    Effect.gen(function*() {
      for (const content of ["How is the weather?", "San Francisco", "temperature_celsius"]) {
        const text = JSON.stringify(answer, null, 1)
        for (
          const [reply, extra] of [
            [Reply.chat(text), asSchema],
            [Reply.stream(text.match(/[^]{1,7}/g) ?? []), asSchema],
            [Reply.chat("weather_report"), asSchema],
            [calling("get_weather_forecast", text), asTool]
          ] as const
        ) expect(yield* stored(reply, { ...user(content), ...extra })).toBe(bodyOf(reply))
      }
    }))

  it.effect("keeps what is declared in JSON that is cut short, and takes out the prompt beside it", () =>
    Effect.gen(function*() {
      const body = { ...user("San Francisco"), ...asSchema }
      for (const content of ["{\"city\":\"San Francisco\",\"te", "{\"city\":\"San Francisco"]) {
        expect(yield* stored(Reply.chat(content), body)).toBe(bodyOf(Reply.chat(content)))
      }
      const beside = "[So: \"San Francisco\" as you said: San Francisco in"
      expect(yield* stored(Reply.chat(beside), body)).toContain("\\\"San Francisco\\\" as you said: [prompt] in")
    }))

  it.effect("keeps the name of a tool, whatever the prompt", () =>
    Effect.gen(function*() {
      const reply = calling("get_weather_forecast", "{}")
      expect(yield* stored(reply, user("get_weather_forecast"))).toBe(bodyOf(reply))
    }))

  it.effect("keeps the name of a tool that looks like a key, and none that is one", () =>
    Effect.gen(function*() {
      const key = "key_0123456789abcdefghij"
      const request = HttpClientRequest.bearerToken(post(user("x"), "/chat/completions"), key)
      const named = ["key_lookup_for_customers", `${key}_2`]
      for (const prompts of ["redact", "keep"] as const) {
        const { parts } = yield* tape(
          Reply.json({ choices: [{ message: { tool_calls: named.map((name) => ({ function: { name } })) } }] }),
          request,
          { prompts }
        )
        expect(parts.join("")).toBe(
          "{\"choices\":[{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"key_lookup_for_customers\"}}," +
            "{\"function\":{\"name\":\"[key]_2\"}}]}}]}"
        )
      }
    }))

  it.effect("takes a prompt out of texts of JSON, and leaves the rest of it", () =>
    Effect.gen(function*() {
      const record = "{\"patient\":\"Ada \\\"L\\\" Byron\",\"born\":18151210}"
      const body = (content: string) => ({ ...user(content), ...asSchema })
      const json = (text: string, content: string) =>
        Effect.map(stored(Reply.chat(text), body(content)), (all) =>
          JSON.parse(JSON.parse(all).choices[0].message.content))
      expect(yield* json(JSON.stringify({ note: `saw ${prompt}`, city: "San Francisco" }), prompt)).toStrictEqual({
        note: "saw [prompt]",
        city: "San Francisco"
      })
      expect(yield* json(escaped(JSON.stringify({ note: prompt })), prompt)).toStrictEqual({ note: "[prompt]" })
      expect(yield* json(JSON.stringify({ note: "\nine lives of a cat" }), "nine lives of a cat")).toStrictEqual({
        note: "\nine lives of a cat"
      })
      expect(yield* json(`{"was":${record},"temperature_celsius":1}`, record)).toStrictEqual({
        was: { "[prompt]": 0 },
        temperature_celsius: 1
      })
    }))

  it.effect("keeps what an assistant said before, which a model may say again", () =>
    Effect.gen(function*() {
      const said = JSON.stringify({ city: "San Marino in winter" })
      const reply = calling("look_up", said)
      const earlier = {
        role: "assistant",
        content: said,
        tool_calls: [{ id: "c", type: "function", function: { name: "look_up", arguments: said } }]
      }
      const body = { model: "m", messages: [{ role: "user", content: "And then?" }, earlier] }
      expect(yield* stored(reply, body)).toBe(bodyOf(reply))
      expect(yield* stored(Reply.chat(said), body)).toBe(bodyOf(Reply.chat(said)))
    }))

  it.effect("takes out what was written for a model to read, wherever it stands", () =>
    Effect.gen(function*() {
      const content = [{ type: "text", text: prompt }]
      for (
        const body of [
          { messages: [{ role: "user", content }] },
          { messages: [{ role: "tool", content: prompt }] },
          { messages: [{ role: "user", name: prompt, content: "x" }] },
          { messages: [], chat_template_kwargs: { persona: [prompt] } },
          { system: prompt },
          { prompt: "x", suffix: prompt },
          { prompt: "x", context: prompt },
          { input: [prompt] },
          { query: "x", documents: [{ title: prompt }] },
          { parameters: { judge: { system_template: prompt } } }
        ]
      ) expect(yield* stored(Reply.chat(`So: ${prompt}`), { model: "m", ...body })).not.toContain("diagnosis")
    }))

  it.effect("takes out one word of what was written, also where a field of a request has its name", () =>
    Effect.gen(function*() {
      const fields = { endpoint: "Hypothyroidism", purpose: "Hypothyroidism", hardware: "Hypothyroidism" }
      for (const body of [{ query: "x", documents: [fields] }, { content: fields }, { input: fields }]) {
        const all = yield* stored(Reply.chat("So: Hypothyroidism"), { model: "m", ...body })
        expect(all).toContain("\"So: [prompt]\"")
      }
    }))

  it.effect("takes nothing for a secret that a schema, or a name of many meanings, calls a key", () =>
    Effect.gen(function*() {
      const properties = {
        key: { type: "string", enum: ["temperature", "barometric-pressure"], description: "Setting to read" },
        api_key: { type: "string", description: "name of the key" },
        secret_word: { type: "string", enum: ["hippopotamus", "rhinoceros"] }
      }
      const said = "The barometric-pressure of the hippopotamus, descending: name of the key, BITCOIN-CASH"
      const form = { type: "object", properties }
      const body = {
        model: "m",
        metadata: { sort_key: "descending" },
        tools: [{ type: "function", function: { name: "f", parameters: form } }],
        response_format: { type: "json_schema", json_schema: { name: "x", schema: form } },
        messages: [
          { role: "tool", content: "{\"key\":\"barometric-pressure\"}" },
          {
            role: "assistant",
            tool_calls: [{ function: { name: "f", arguments: "{\"token\":\"BITCOIN-CASH\"}" } }]
          }
        ]
      }
      for (const prompts of ["redact", "keep"] as const) {
        expect(yield* stored(Reply.chat(said), body, { prompts })).toBe(bodyOf(Reply.chat(said)))
      }
    }))

  it.effect("takes for a secret what looks like one, or has a name that says so", () =>
    Effect.gen(function*() {
      const body = {
        ...user("x"),
        metadata: { sort_key: "Zx81QwErTyUiOpAs", hf_token: "only-of-letters" },
        tools: [{ type: "mcp", authorization: "a-plain-credential" }]
      }
      for (const prompts of ["redact", "keep"] as const) {
        const said = "Zx81QwErTyUiOpAs, only-of-letters, a-plain-credential"
        expect(yield* stored(Reply.chat(said), body, { prompts })).toContain("\"[key], [key], [key]\"")
      }
    }))

  it.effect("finds a secret across events, across tokens, and of each tool and choice apart", () =>
    Effect.gen(function*() {
      const secret = "Zx81QwErTyUiOpAsDfGhJkLmNbVcXz99"
      const request = HttpClientRequest.bearerToken(post(user("x"), "/chat/completions"), secret)
      const pieces = [
        "You set ?token=",
        "hidden",
        "-word and ",
        ...secret.match(/.{1,4}/g) ?? [],
        "sk-01234567",
        "89abcdefghij."
      ]
      const frame = (delta: object, index = 0) => ({ id: "r", choices: [{ index, delta, finish_reason: null }] })
      const call = (index: number, text: string) => ({ tool_calls: [{ index, function: { arguments: text } }] })
      const replies = [
        Reply.stream(pieces),
        Reply.json({ choices: [{ logprobs: { tokens: pieces } }] }),
        Reply.events(pieces.flatMap((text, i) => [frame(call(0, text)), frame(call(1, `${i}`))])),
        Reply.events(pieces.flatMap((text, i) => [frame({ content: text }), frame({ content: `${i}` }, 1)])),
        Reply.events(pieces.map((text) => ({ token: { id: 1, text }, choices: [{ index: 0, text }] })))
      ]
      for (const prompts of ["redact", "keep"] as const) {
        for (const reply of replies) {
          const { all } = yield* tape(reply, request, { prompts })
          expect(all).not.toMatch(/hidden|word|Zx81|XzQw|Xz99|01234567|89abc/)
          expect(all).toContain("[key]")
          expect(all).toContain(" and ")
        }
      }
    }))

  it.effect("finds a prompt across the parts of a text", () =>
    Effect.gen(function*() {
      const parts = [`So: ${prompt.slice(0, 20)}`, `${prompt.slice(20)}.`].map((text) => ({ type: "text", text }))
      for (const answer of [{ choices: [{ message: { content: parts } }] }, { segments: parts }]) {
        const all = yield* stored(Reply.json(answer), user(prompt))
        expect(all).toContain("So: \"")
        expect(all).toContain("[prompt].")
        expect(all).not.toMatch(/Stra|diagnosis/)
      }
    }))

  it.effect("keeps ids and whole texts apart that only stand beside each other", () =>
    Effect.gen(function*() {
      const id = "0123456789abcdef0123456789abcdef"
      const frame = (content: string) => ({ id, choices: [{ index: 0, delta: { content } }] })
      const rows = ["so ?token=", "nothing more"].map((content) =>
        JSON.stringify({ choices: [{ message: { content } }] })
      )
      for (const reply of [Reply.events([frame("a"), frame("b"), "[DONE]"]), Reply.raw(rows.join("\n"))]) {
        for (const prompts of ["redact", "keep"] as const) {
          expect(yield* stored(reply, user("x"), { prompts })).toBe(bodyOf(reply))
        }
      }
    }))
})

describe("Recorder, of an error", () => {
  const request = { model: "m", messages: [{ role: "user", content: prompt }] }
  const verdict = (status: number, body: string) => {
    const error = Together.errorFromResponse({ status, body, operation: "chat", model: "m", request })
    return [error._tag, "scope" in error ? error.scope : undefined]
  }

  it.effect("keeps what its tag and its scope are known by, whatever the form of its body", () =>
    Effect.gen(function*() {
      const differ: Array<string> = []
      const statuses = [400, 403, 422, 429, 503]
      for (const [i, sentence] of sentences.entries()) {
        for (const [j, form] of forms.entries()) {
          // each sentence and each form with each status
          const status = statuses[(i + j) % statuses.length]!
          const body = form(sentence)
          const { parts } = yield* tape(
            Reply.raw(body, { status, contentType: "application/json" }),
            post(request, "/chat/completions")
          )
          if (String(verdict(status, body)) !== String(verdict(status, parts.join("")))) {
            differ.push(`${status} ${body} => ${parts.join("")}`)
          }
        }
      }
      expect(differ).toStrictEqual([])
    }))

  it.effect("keeps a word that decides, unless the request holds it, and no other", () =>
    Effect.gen(function*() {
      const refusal = Reply.json({ error: { message: "Zanzibar is geoblocked" } }, { status: 403 })
      const stored = (content: string) =>
        Effect.map(
          tape(refusal, post({ model: "m", messages: [{ role: "user", content }] }, "/chat/completions")),
          ({ parts }) => parts.join("")
        )
      expect(yield* stored(prompt)).toBe("{\"error\":{\"message\":\"… is geoblocked\"}}")
      expect(yield* stored("am I geoblocked?")).toBe("{\"error\":{\"message\":\"… is …\"}}")
    }))

  it.effect("keeps no text of what it repeats of the request", () =>
    Effect.gen(function*() {
      const refusal = Reply.json({
        detail: [{ loc: ["body", "input"], msg: "Input is too long", type: "value_error", input: "the model is mine" }],
        request: { messages: [{ role: "user", content: "the model is mine" }] }
      }, { status: 422 })
      const { parts } = yield* tape(refusal, post({ model: "m", input: "the model is mine" }, "/embeddings"))
      expect(JSON.parse(parts.join(""))).toStrictEqual({
        detail: [{
          loc: ["[4 characters]", "[5 characters]"],
          msg: "Input is too long",
          type: "value_error",
          input: "[17 characters]"
        }],
        request: { messages: [{ role: "user", content: "[17 characters]" }] }
      })
    }))
})

describe("Recorder, of an answer", () => {
  it.effect("keeps what follows an object whose fields the user named", () =>
    Effect.gen(function*() {
      for (const name of ["metadata", "parameters", "schema", "labels", "properties", "json_schema"]) {
        for (const value of [null, {}, { mine: "private" }]) {
          const answer = {
            id: "r",
            [name]: value,
            status: "COMPLETED",
            choices: [{ text: "Paris" }],
            usage: { total: 2 }
          }
          const { parts } = yield* tape(Reply.json(answer), post({ model: "m", prompt }))
          expect(JSON.parse(parts.join(""))).toStrictEqual({
            ...answer,
            [name]: value !== null && "mine" in value ? { "[4 characters]": "[7 characters]" } : value
          })
        }
      }
    }))

  it.effect("keeps vectors, tokens, ids, pages, hashes and the words of a fine-tune, to the byte", () =>
    Effect.gen(function*() {
      const hash = "0123456789abcdef".repeat(4)
      const texts = [
        "{\"data\":[{\"embedding\":\"AAAAPwAAgD8=\"}]}",
        "{\"text\":\"a b\",\"tokens\":[\"a\",\" b\",\"12\"]}",
        "{\"id\":\"tok_abcdefghijklmnopqrst\",\"tool_call_id\":\"key-abcdefghijklmnopqrst\"}",
        "{\"data\":[],\"next_page_token\":\"abc\",\"nextPageToken\":\"abc\"}",
        `{"hash":"${hash}","level":"info","batch_size":"max","output_name":"me/m-1","lora_trainable_modules":"all-linear"}`,
        "{\"choices\":[{\"logprobs\":{\"token_logprobs\":[NaN,-Infinity,null]}}]}",
        "event: response.output_text.delta\nid: call_3f-7\ndata: {\"choices\":[]}\n\n"
      ]
      for (const text of texts) {
        for (const prompts of ["redact", "keep"] as const) {
          const answer = Reply.raw(text, { contentType: "application/json" })
          expect((yield* tape(answer, post({ model: "m", prompt }), { prompts })).parts).toStrictEqual([text])
        }
      }
    }))

  it.effect("stores what looks like a key in any other place as one, and secret tokens in a list", () =>
    Effect.gen(function*() {
      const answer = Reply.json({
        id: "tgp_v1_abcdefghijklmnopqrst",
        hash: "sk-abcdefghijklmnopqrst",
        text: "tok_abcdefghijklmnopqrst",
        model: "0123456789abcdef".repeat(4),
        tokens: ["hidden-token-of-an-account", "hidden7"]
      })
      for (const prompts of ["redact", "keep"] as const) {
        const { parts } = yield* tape(answer, post({ model: "m", prompt }), { prompts })
        expect(JSON.parse(parts.join(""))).toStrictEqual({
          id: "[key]",
          hash: "[key]",
          text: "[key]",
          model: "[key]",
          tokens: ["[key]", "[key]"]
        })
      }
    }))

  it.effect("reads a long text of hyphens, and brackets deeper than calls can be, in a time that grows with their length", () =>
    Effect.gen(function*() {
      const slug = Array.from({ length: 20_000 }, (_, row) => `row-${row}`).join("-")
      const nested = (depth: number, inner: string) => `${"[".repeat(depth)}${inner}${"]".repeat(depth)}`
      for (const prompts of ["redact", "keep"] as const) {
        for (const text of [JSON.stringify({ choices: [{ text: slug }] }), nested(20_000, "1")]) {
          const answer = Reply.raw(text, { contentType: "application/json" })
          expect((yield* tape(answer, post({ model: "m", prompt }), { prompts })).parts).toStrictEqual([text])
        }
        const deep = Reply.raw(nested(20_000, "{\"api_key\":\"hidden\",\"text\":\"hidden\"}"))
        const request = HttpClientRequest.post(`${address}/completions`, {
          body: HttpBody.text(nested(20_000, "{\"api_key\":\"hidden\"}"), "application/json")
        })
        const { all, cassette } = yield* tape(deep, request, { prompts })
        expect(all).not.toContain("hidden")
        const replayed = yield* Effect.flatMap(Recorder.replay(cassette), (client) => client.execute(request))
        expect(yield* replayed.text).toContain(
          nested(20_000, "{\"[7 characters]\":\"[6 characters]\",\"[4 characters]\":\"[6 characters]\"}")
        )
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
