import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as FaultMatrix from "../../src/testing/FaultMatrix.ts"
import * as Recorder from "../../src/testing/Recorder.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const key = "tgp_v1_0123456789abcdefghij"
const prompt = "Tell me the secret of my grandmother's soup"

const chat = (content: string, extra?: object) =>
  HttpClientRequest.post("https://api.together.ai/v1/chat/completions", {
    headers: { authorization: `Bearer ${key}`, "x-custom": "private" },
    urlParams: { api_key: "hidden", page: "2" }
  }).pipe(HttpClientRequest.bodyJsonUnsafe({ model: "m", ...extra, messages: [{ role: "user", content }] }))

/** Answers with the prompt, the key and more in it. */
const provider = FaultMatrix.answering((sent) =>
  sent.operation === "chatStream"
    ? Reply.after(Reply.stream(["Salt", " and ", "time"], { every: "100 millis" }), "1 second")
    : Reply.chat(`You asked: ${prompt}, with ${key}`, { headers: { "x-request-id": "r-1", "set-cookie": "a=b" } })
)

const textOf = (client: HttpClient.HttpClient, request: HttpClientRequest.HttpClientRequest) =>
  Effect.flatMap(client.execute(request), (response) => response.text)

const recorded = (options?: Recorder.RecordOptions) =>
  VirtualClock.wrap(Effect.gen(function*() {
    const recording = Recorder.record(yield* provider, options)
    const answers = [
      yield* textOf(recording.client, chat(prompt)),
      yield* textOf(recording.client, chat(prompt, { stream: true }))
    ]
    return { answers, cassette: yield* recording.cassette }
  }))

const defectOf = <A, E>(exit: Exit.Exit<A, E>): string =>
  Exit.isFailure(exit) ? String(exit.cause.reasons.find(Cause.isDieReason)?.defect) : "succeeds"

describe("Recorder", () => {
  describe("record", () => {
    it.effect("changes nothing for the program", () =>
      Effect.gen(function*() {
        const { answers } = yield* recorded()
        expect(answers[0]).toContain(key)
        expect(answers[1]).toContain("[DONE]")
      }))

    it.effect("stores no key and no prompt, wherever they stand", () =>
      Effect.gen(function*() {
        const text = JSON.stringify((yield* recorded()).cassette)
        expect(text).not.toContain(key)
        expect(text).not.toContain("grandmother")
        expect(text).not.toContain("private")
        expect(text).not.toContain("hidden")
        expect(text).not.toContain("a=b")
        expect(text).toContain(`[${prompt.length} characters]`)
        expect(text).toContain("You asked: [prompt], with [key]")
        expect(text).toContain("r-1")
      }))

    it.effect("keeps prompts where asked, and still no key", () =>
      Effect.gen(function*() {
        const text = JSON.stringify((yield* recorded({ prompts: "keep" })).cassette)
        expect(text).toContain("grandmother")
        expect(text).not.toContain(key)
      }))

    it.effect("stores no secret of a field, a parameter, a header or a path, nor where an answer repeats it", () =>
      Effect.gen(function*() {
        const secrets = ["wandb-0123456789", "hf_abcdef", "signature-1234", "other-key-1234", "sk-0123456789abcdefghij"]
        const [wandb, hugging, signature, header, path] = secrets
        const provider = yield* FaultMatrix.answering((sent) =>
          Reply.json({ path: sent.path, query: sent.query, body: sent.body, header: sent.headers["x-api-key"] })
        )
        const request = (wandbKey: string) =>
          HttpClientRequest.post(`https://api.together.ai/v1/keys/${path}`, {
            headers: { "x-api-key": header! },
            urlParams: { "X-Amz-Signature": signature!, page: "2" }
          }).pipe(
            HttpClientRequest.bodyJsonUnsafe({
              wandb_api_key: wandbKey,
              nested: [{ hf_api_token: hugging }],
              model: "m"
            })
          )
        const recording = Recorder.record(provider, { prompts: "keep" })
        yield* textOf(recording.client, request(wandb!))
        const cassette = yield* recording.cassette
        const text = JSON.stringify(cassette)
        for (const secret of secrets) expect(text).not.toContain(secret)
        expect(text).toContain("\"page\":\"2\"")
        // another key is no other request: a replay needs none
        const replayed = yield* Recorder.replay(cassette)
        expect(yield* textOf(replayed, request("none"))).toContain("[key]")
      }))

    it.effect("stores no secret that only the answer holds, and its tokens all the same", () =>
      Effect.gen(function*() {
        const secrets = {
          field: "local-0123456789abcdef",
          listed: "listed-0123456789",
          header: "plain-secret-in-header",
          session: "FwoGZXIvYXdzEJr%2FsecretSession",
          credential: "AKIAIOSFODNN7EXAMPLE%2F2026",
          signature: "short-signature"
        }
        const body = {
          wandb_api_key: secrets.field,
          api_keys: [secrets.listed, "tiny"],
          message: `${secrets.field} was refused by ${secrets.header}`,
          url: `https://b.test/x?size=1&X-Amz-Signature=${secrets.signature}`,
          choices: [{ logprobs: { tokens: ["Hel", "lo"], content: [{ token: "Hello" }] }, api_key: null }],
          usage: { completion_tokens: 2 }
        }
        const headers = {
          "x-api-key": secrets.header,
          "x-echo": `saw ${secrets.field}`,
          location:
            `https://b.test/x?a=1&X-Amz-Credential=${secrets.credential}&X-Amz-Security-Token=${secrets.session}`
        }
        const whole = JSON.stringify(body)
        const replies: ReadonlyArray<Reply.Answer> = [
          Reply.raw(whole, { headers }),
          Reply.raw(JSON.stringify(body, null, 2), { headers }),
          Reply.raw(`{"custom_id":"1"}\n${whole}\n`, { headers }),
          Reply.raw(`event: message\ndata: ${whole}\n\ndata: [DONE]\n\n`, { headers })
        ]
        for (const reply of replies) {
          const recording = Recorder.record(yield* FaultMatrix.answering(() => reply))
          yield* textOf(recording.client, HttpClientRequest.get("https://api.together.ai/v1/fine-tunes/ft-1"))
          const text = JSON.stringify(yield* recording.cassette)
          for (const secret of Object.values(secrets)) expect(text).not.toContain(secret)
          expect(text).not.toContain("tiny")
          expect(text).toContain("[key] was refused by [key]")
          expect(text).toContain("?a=1&X-Amz-Credential=[key]&X-Amz-Security-Token=[key]")
          for (const kept of ["size=1", "Hello", "Hel", "api_key", "completion_tokens"]) expect(text).toContain(kept)
        }
      }))

    it.effect("stores no secret of an answer that was cut short", () =>
      Effect.gen(function*() {
        const secret = "local-0123456789abcdef"
        const encoder = new TextEncoder()
        for (const tail of [encoder.encode(""), encoder.encode("\\"), new Uint8Array([0xc3])]) {
          const bytes = new Uint8Array([...encoder.encode(`{"id":"ft-1","wandb_api_key":"${secret}`), ...tail])
          const recording = Recorder.record(yield* FaultMatrix.answering(() => Reply.raw(bytes)))
          yield* textOf(recording.client, HttpClientRequest.get("https://api.together.ai/v1/fine-tunes/ft-1"))
          const { response } = (yield* recording.cassette).exchanges[0]!
          const parts = "parts" in response ? response.parts : []
          const stored = parts.map((part) => "text" in part ? part.text : atob(part.base64)).join("")
          expect(stored).toContain("ft-1")
          expect(stored).not.toContain(secret)
        }
      }))

    it.effect("stores no prompt in a name or an id, nor in names that the user gave to fields", () =>
      Effect.gen(function*() {
        const recording = Recorder.record(yield* provider)
        const type = { type: "object", properties: { "Private diagnosis": { type: "string", enum: ["private"] } } }
        yield* textOf(
          recording.client,
          chat(prompt, {
            metadata: { id: "a private note", private: 7 },
            user: { name: "private person", type: "private" },
            tools: [{ type: "function", function: { name: "look_up", description: "private", parameters: type } }],
            tool_choice: { type: "function", function: { name: "look_up" } },
            response_format: { type: "json_schema", json_schema: { name: "private", schema: type } }
          })
        )
        const { request } = (yield* recording.cassette).exchanges[0]!
        expect(JSON.stringify(request.body)).not.toMatch(/private/i)
        expect(request.body).toMatchObject({
          model: "m",
          metadata: expect.stringMatching(/^\[\d+ characters\]$/),
          tools: [{ type: "function", function: { name: "look_up" } }],
          tool_choice: { type: "function", function: { name: "look_up" } },
          response_format: { type: "json_schema" },
          messages: [{ role: "user" }]
        })
      }))

    it.effect("notices another file of the same size in an upload", () =>
      Effect.gen(function*() {
        const upload = (content: string) => {
          const form = new FormData()
          form.append("file", new File([content], "rows.jsonl"))
          return HttpClientRequest.post("https://api.together.ai/v1/files/upload").pipe(
            HttpClientRequest.bodyFormData(form)
          )
        }
        const recording = Recorder.record(yield* FaultMatrix.answering(() => Reply.json({ id: "file-1" })))
        yield* textOf(recording.client, upload("{\"n\":1}"))
        const cassette = yield* recording.cassette
        expect(yield* textOf(yield* Recorder.replay(cassette), upload("{\"n\":1}"))).toContain("file-1")
        const changed = yield* Effect.exit(textOf(yield* Recorder.replay(cassette), upload("{\"n\":2}")))
        expect(defectOf(changed)).toContain("It differs in a prompt or a file")
      }))

    it.effect("finds a key that lies across two pieces, and one in binary", () =>
      Effect.gen(function*() {
        const pieces = (data: ReadonlyArray<string | Uint8Array>): Reply.Answer => ({
          ...Reply.raw("x"),
          parts: data.map((piece) => ({ data: piece, waitMillis: 0 }))
        })
        const binary = new Uint8Array([0xff, 0xfe, ...new TextEncoder().encode(key), 0xff])
        for (const reply of [pieces([`a ${key.slice(0, 9)}`, key.slice(9)]), pieces([binary])]) {
          const recording = Recorder.record(yield* FaultMatrix.answering(() => reply))
          yield* textOf(recording.client, chat(prompt))
          const { exchanges } = yield* recording.cassette
          const { response } = exchanges[0]!
          const parts = "parts" in response ? response.parts : []
          const stored = parts.map((part) => "text" in part ? part.text : atob(part.base64)).join("")
          expect(stored).not.toContain(key)
          expect(stored).toContain("[key]")
        }
      }))

    it.effect("stores binary bodies, broken connections, and answers given up", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const bytes = new Uint8Array([0xff, 0x00, 0xfe])
        let n = 0
        const recording = Recorder.record(
          yield* FaultMatrix.answering(() =>
            [
              Reply.raw(bytes),
              Reply.broken("dns"),
              Reply.broken("tls"),
              Reply.broken("refused"),
              Reply.stream(["a", "b"])
            ][n++]!
          )
        )
        for (let i = 0; i < 4; i++) yield* Effect.ignore(textOf(recording.client, chat("x")))
        const stream = yield* recording.client.execute(chat("x"))
        yield* Stream.runDrain(Stream.take(stream.stream, 1))
        const { exchanges } = yield* recording.cassette
        expect(
          exchanges.map(({ response }) => "parts" in response ? response.end : "broken" in response && response.broken)
        ).toStrictEqual([
          "complete",
          "dns",
          "tls",
          "refused",
          "complete"
        ])
        const replayed = yield* Recorder.replay({ version: 1, exchanges })
        const body = yield* Effect.flatMap(replayed.execute(chat("x")), (response) => response.arrayBuffer)
        expect(new Uint8Array(body)).toStrictEqual(bytes)
        const error = yield* Effect.flip(replayed.execute(chat("x")))
        expect(error.reason.cause).toMatchObject({ cause: { code: "ENOTFOUND" } })
      })))
  })

  describe("replay", () => {
    it.effect("answers as recorded, at once or in the recorded time", () =>
      Effect.gen(function*() {
        const { answers, cassette } = yield* recorded()
        const replayed = (options?: Recorder.ReplayOptions) =>
          VirtualClock.run(Effect.gen(function*() {
            const client = yield* Recorder.replay(cassette, options)
            yield* textOf(client, chat(prompt))
            return yield* textOf(client, chat(prompt, { stream: true }))
          }))
        const instant = yield* replayed()
        expect(instant.exit).toStrictEqual(Exit.succeed(answers[1]))
        expect(Duration.toMillis(instant.elapsed)).toBe(0)
        const paced = yield* replayed({ pace: "recorded" })
        expect(paced.exit).toStrictEqual(Exit.succeed(answers[1]))
        expect(Duration.toMillis(paced.elapsed)).toBe(1400)
      }))

    it.effect("refuses another order when strict, takes it when matching, each exchange once", () =>
      Effect.gen(function*() {
        const { cassette } = yield* recorded()
        const streamed = chat(prompt, { stream: true })
        const strict = yield* Recorder.replay(cassette)
        const early = defectOf(yield* Effect.exit(strict.execute(streamed)))
        expect(early).toContain("at position 1")
        expect(early).toContain("It was recorded at position 2: { mode: \"match\" } replays in any order.")
        const matching = yield* Recorder.replay(cassette, { mode: "match" })
        expect((yield* matching.execute(streamed)).status).toBe(200)
        expect((yield* matching.execute(chat(prompt))).status).toBe(200)
        const late = defectOf(yield* Effect.exit(matching.execute(streamed)))
        expect(late).toContain("holds no further exchange")
        expect(late).toContain("It was recorded, but not so often")
      }))

    it.effect("shows what changed in the request", () =>
      Effect.gen(function*() {
        const { cassette } = yield* recorded()
        const client = yield* Recorder.replay(cassette)
        const message = defectOf(yield* Effect.exit(client.execute(chat(prompt, { max_tokens: 5 }))))
        expect(message).toContain("+    \"max_tokens\": 5")
        expect(message).toContain("Record it again if the change is meant.")
        expect(message).not.toContain(key)
        expect(message).not.toContain("grandmother")
      }))

    it.effect("says what to do where the program sends on an answer that a prompt was removed from", () =>
      Effect.gen(function*() {
        const converse = Effect.fnUntraced(function*(client: HttpClient.HttpClient) {
          const said = yield* textOf(client, chat(prompt))
          return yield* textOf(client, chat(`Shorter, please: ${said}`))
        })
        const replayed = Effect.fnUntraced(function*(options?: Recorder.RecordOptions) {
          const recording = Recorder.record(yield* provider, options)
          yield* converse(recording.client)
          return yield* Effect.exit(converse(yield* Recorder.replay(yield* recording.cassette)))
        })
        const advice = "It sends on an answer that a prompt was removed from: record with { prompts: \"keep\" }."
        expect(defectOf(yield* replayed())).toContain(advice)
        // the key of the answer is removed even then
        expect(defectOf(yield* replayed({ prompts: "keep" }))).not.toContain(advice)
      }))

    it.effect("notices a changed prompt of the same length, although it stores none", () =>
      Effect.gen(function*() {
        const { cassette } = yield* recorded()
        const client = yield* Recorder.replay(cassette, { mode: "match" })
        const changed = chat(prompt.replace("soup", "stew"))
        expect(defectOf(yield* Effect.exit(client.execute(changed)))).toContain("It differs in a prompt")
      }))

    it.effect("shows a changed prompt where prompts are kept", () =>
      Effect.gen(function*() {
        const { cassette } = yield* recorded({ prompts: "keep" })
        const client = yield* Recorder.replay(cassette)
        const message = defectOf(yield* Effect.exit(client.execute(chat(prompt.replace("soup", "stew")))))
        expect(message).toContain("grandmother's stew")
      }))

    it.effect("does not mind the order of fields", () =>
      Effect.gen(function*() {
        const recording = Recorder.record(yield* FaultMatrix.answering(() => Reply.raw("ok")))
        const request = (body: unknown) =>
          HttpClientRequest.post("http://localhost/v1/x").pipe(HttpClientRequest.bodyJsonUnsafe(body))
        yield* textOf(recording.client, request({ a: 1, b: { c: [1], d: 2 } }))
        const client = yield* Recorder.replay(yield* recording.cassette)
        expect(yield* textOf(client, request({ b: { d: 2, c: [1] }, a: 1 }))).toBe("ok")
      }))
  })

  describe("replay of a cassette that does not say whether it holds prompts", () => {
    it.effect("shows the prompt that changed where the requests hold theirs, and says how old the cassette is", () =>
      Effect.gen(function*() {
        for (const prompts of ["keep", "redact"] as const) {
          const { cassette } = yield* recorded({ prompts })
          const client = yield* Recorder.replay({ version: 1, exchanges: cassette.exchanges })
          const message = defectOf(yield* Effect.exit(client.execute(chat(prompt.replace("soup", "stew")))))
          expect(message.includes("grandmother's stew")).toBe(prompts === "keep")
          expect(message.includes("It looks the same.")).toBe(prompts === "redact")
          expect(message).toContain("recorded by an older version")
          expect(message).not.toContain("It differs in a prompt")
        }
      }))
  })

  describe("replay of what differs, and of what nobody waited for", () => {
    const address = "https://api.together.ai/v1"
    const post = (body: HttpBody.HttpBody) => HttpClientRequest.post(`${address}/files/x`, { body })
    const form = (...entries: ReadonlyArray<readonly [string, string | File]>) => {
      const data = new FormData()
      for (const [name, value] of entries) data.append(name, value)
      return post(HttpBody.formData(data))
    }
    const bytes = (...values: ReadonlyArray<number>) => new Uint8Array(values)

    it.effect("tells files, bytes, blobs, repeated fields and repeated parameters apart", () =>
      Effect.gen(function*() {
        const pairs: ReadonlyArray<
          readonly [HttpClientRequest.HttpClientRequest, HttpClientRequest.HttpClientRequest]
        > = [
          [form(["f", new File([bytes(0xff, 0x80)], "a")]), form(["f", new File([bytes(0xfe, 0xc0)], "a")])],
          [post(HttpBody.uint8Array(bytes(0xff))), post(HttpBody.uint8Array(bytes(0xfe)))],
          [post(HttpBody.raw(new Blob(["aaa"]))), post(HttpBody.raw(new Blob(["bbb"])))],
          [form(["g", "one"], ["g", "two"]), form(["g", "other"], ["g", "two"])],
          [HttpClientRequest.get(`${address}/files?id=a&id=b`), HttpClientRequest.get(`${address}/files?id=c&id=b`)]
        ]
        for (const [sent, other] of pairs) {
          const recording = Recorder.record(yield* FaultMatrix.answering(() => Reply.raw("ok")))
          yield* textOf(recording.client, sent)
          const cassette = yield* recording.cassette
          expect(yield* textOf(yield* Recorder.replay(cassette), sent)).toBe("ok")
          expect(defectOf(yield* Effect.exit(textOf(yield* Recorder.replay(cassette), other)))).toContain(
            "not what was"
          )
        }
      }))

    it.effect("replays a request that was left before its answer, or does without it", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const recording = Recorder.record(
          yield* FaultMatrix.answering((sent) => sent.operation === "whoami" ? Reply.hang : Reply.raw("ok"))
        )
        const patient = (client: HttpClient.HttpClient) =>
          Effect.gen(function*() {
            const who = yield* Effect.timeoutOption(
              client.execute(HttpClientRequest.get(`${address}/whoami`)),
              "1 second"
            )
            return [who._tag, yield* textOf(client, HttpClientRequest.get(`${address}/models`))]
          })
        expect(yield* patient(recording.client)).toStrictEqual(["None", "ok"])
        const cassette = yield* recording.cassette
        expect(cassette.exchanges[0]?.response).toStrictEqual({ left: true, waitMillis: 1000 })
        expect(yield* patient(yield* Recorder.replay(cassette))).toStrictEqual(["None", "ok"])
        const hasty = yield* Recorder.replay(cassette)
        expect(yield* textOf(hasty, HttpClientRequest.get(`${address}/models`))).toBe("ok")
      })))

    it.effect("misses a request whose answer was not read, but for its status", () =>
      Effect.gen(function*() {
        const recording = Recorder.record(yield* FaultMatrix.answering(() => Reply.raw("ok")))
        const models = HttpClientRequest.get(`${address}/models`)
        const program = (client: HttpClient.HttpClient) =>
          Effect.gen(function*() {
            const { status } = yield* client.execute(HttpClientRequest.delete(`${address}/files/a`))
            return [status, yield* textOf(client, models)]
          })
        expect(yield* program(recording.client)).toStrictEqual([200, "ok"])
        const cassette = yield* recording.cassette
        expect(yield* program(yield* Recorder.replay(cassette))).toStrictEqual([200, "ok"])
        const hasty = yield* Effect.exit(textOf(yield* Recorder.replay(cassette), models))
        expect(Exit.hasDies(hasty)).toBe(true)
      }))

    it.effect("replays an answer that was left after its headers as one that hangs where it was left, or does without it", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const slow: Reply.Answer = {
          ...Reply.raw("x"),
          parts: [{ data: "begun", waitMillis: 0 }, { data: " and ended", waitMillis: 5000 }]
        }
        const recording = Recorder.record(
          yield* FaultMatrix.answering((sent) => sent.operation === "whoami" ? slow : Reply.raw("ok"))
        )
        const patient = (client: HttpClient.HttpClient) =>
          Effect.gen(function*() {
            const seen: Array<number> = []
            const who = yield* client.execute(HttpClientRequest.get(`${address}/whoami`))
            const read = Stream.runForEach(who.stream, (bytes) => Effect.sync(() => seen.push(bytes.length)))
            const end = yield* Effect.timeoutOption(read, "1 second")
            return [end._tag, seen, yield* textOf(client, HttpClientRequest.get(`${address}/models`))]
          })
        expect(yield* patient(recording.client)).toStrictEqual(["None", [5], "ok"])
        const cassette = yield* recording.cassette
        expect(cassette.exchanges[0]?.response).toMatchObject({ parts: [{ text: "begun" }], end: "stall" })
        for (const pace of ["instant", "recorded"] as const) {
          expect(yield* patient(yield* Recorder.replay(cassette, { pace }))).toStrictEqual(["None", [5], "ok"])
        }
        const hasty = yield* Recorder.replay(cassette)
        expect(yield* textOf(hasty, HttpClientRequest.get(`${address}/models`))).toBe("ok")
      })))

    it.effect("replays a connection that broke within the answer as broken", () =>
      Effect.gen(function*() {
        const broken: Reply.Answer = { ...Reply.raw("begun"), end: "cut" }
        const recording = Recorder.record(yield* FaultMatrix.answering(() => broken))
        const request = HttpClientRequest.get(`${address}/models`)
        yield* Effect.ignore(textOf(recording.client, request))
        const cassette = yield* recording.cassette
        expect(cassette.exchanges[0]?.response).toMatchObject({ end: "cut" })
        expect(Exit.isFailure(yield* Effect.exit(textOf(yield* Recorder.replay(cassette), request)))).toBe(true)
      }))

    it.effect("gives a second reader the same, and records it once", () =>
      Effect.gen(function*() {
        let reads = 0
        const body = Stream.suspend(() => ++reads === 1 ? Stream.succeed(new TextEncoder().encode("{}")) : Stream.empty)
        const recording = Recorder.record(
          HttpClient.make((request) =>
            Effect.succeed(HttpServerResponse.toClientResponse(HttpServerResponse.stream(body), { request }))
          )
        )
        const response = yield* recording.client.execute(HttpClientRequest.get(`${address}/models`))
        expect([yield* response.json, yield* response.text]).toStrictEqual([{}, "{}"])
        expect((yield* recording.cassette).exchanges[0]?.response).toMatchObject({ parts: [{ text: "{}" }] })
      }))

    it.effect("prints no prompt of a new request, also where the cassette holds none to compare", () =>
      Effect.gen(function*() {
        const recording = Recorder.record(yield* FaultMatrix.answering(() => Reply.models()))
        yield* textOf(recording.client, HttpClientRequest.get(`${address}/models`))
        const cassette = yield* recording.cassette
        for (const tape of [cassette, { version: 1, exchanges: cassette.exchanges } as const]) {
          const client = yield* Recorder.replay(tape)
          expect(defectOf(yield* Effect.exit(client.execute(chat(prompt))))).not.toContain("grandmother")
        }
      }))
  })

  describe("files", () => {
    const memory = () => {
      const files = new Map<string, string>()
      const folders: Array<string> = []
      return {
        files,
        folders,
        layer: FileSystem.layerNoop({
          makeDirectory: (path) => Effect.sync(() => void folders.push(path)),
          exists: (path) => Effect.sync(() => files.has(path)),
          writeFileString: (path, text) => Effect.sync(() => void files.set(path, text)),
          readFileString: (path) => Effect.sync(() => files.get(path) ?? "")
        })
      }
    }

    it.effect("writes when the scope closes, reads back the same, and replays", () =>
      Effect.gen(function*() {
        const { files, layer } = memory()
        const call = Effect.flatMap(HttpClient.HttpClient, (client) => textOf(client, chat(prompt)))
        const recorder = Recorder.layerRecord("tape.json").pipe(
          Layer.provide(Layer.effect(HttpClient.HttpClient, provider)),
          Layer.provide(layer)
        )
        yield* call.pipe(Effect.provide(recorder))
        expect(files.get("tape.json")).toContain("\"version\": 1")
        expect(files.get("tape.json")).not.toContain(key)
        const replayed = yield* call.pipe(Effect.provide(Layer.provide(Recorder.layerReplay("tape.json"), layer)))
        expect(replayed).toContain("You asked: [prompt]")
      }))

    it.effect("has the virtual clock wait for its files", () =>
      Effect.gen(function*() {
        const { files, layer } = memory()
        // a disk that takes turns of the event loop, as a real one does
        const turns = Effect.repeat(Effect.promise(() => new Promise(setImmediate)), { times: 20 })
        const disk = Layer.effect(
          FileSystem.FileSystem,
          Effect.map(FileSystem.FileSystem, (fs): FileSystem.FileSystem => ({
            ...fs,
            makeDirectory: (path, options) => Effect.andThen(turns, fs.makeDirectory(path, options)),
            exists: (path) => Effect.andThen(turns, fs.exists(path)),
            writeFileString: (path, text, options) => Effect.andThen(turns, fs.writeFileString(path, text, options)),
            readFileString: (path, encoding) => Effect.andThen(turns, fs.readFileString(path, encoding))
          }))
        ).pipe(Layer.provide(layer))
        const call = Effect.flatMap(HttpClient.HttpClient, (client) => textOf(client, chat(prompt)))
        const recorder = Recorder.layerRecord("some/tape.json").pipe(
          Layer.provide(Layer.effect(HttpClient.HttpClient, provider)),
          Layer.provide(disk)
        )
        yield* VirtualClock.wrap(Effect.provide(call, recorder))
        expect(files.get("some/tape.json")).toContain("fingerprint")
        const replaying = Layer.provide(Recorder.layerReplay("some/tape.json"), disk)
        expect(yield* VirtualClock.wrap(Effect.provide(call, replaying))).toContain("You asked: [prompt]")
      }))

    it.effect("makes the folder when the layer is built, and leaves a cassette that is there to a whole recording", () =>
      Effect.gen(function*() {
        const { files, folders, layer } = memory()
        const call = Effect.flatMap(HttpClient.HttpClient, (client) => textOf(client, chat(prompt)))
        const recorder = Recorder.layerRecord("some/where/tape.json").pipe(
          Layer.provide(Layer.effect(HttpClient.HttpClient, provider)),
          Layer.provide(layer)
        )
        const path = "some/where/tape.json"
        yield* Effect.exit(Effect.andThen(call, Effect.fail("after a paid answer")).pipe(Effect.provide(recorder)))
        expect(folders).toStrictEqual(["some/where"])
        expect(files.get(path)).toContain("fingerprint")
        files.set(path, "good")
        yield* Effect.exit(Effect.andThen(call, Effect.fail("too early")).pipe(Effect.provide(recorder)))
        yield* Effect.void.pipe(Effect.provide(recorder))
        expect(files.get(path)).toBe("good")
        yield* call.pipe(Effect.provide(recorder))
        expect(files.get(path)).toContain("fingerprint")
      }))

    it.effect("says when a file is no cassette", () =>
      Effect.gen(function*() {
        const { files, layer } = memory()
        files.set("tape.json", "{\"version\":9}")
        const error = yield* Effect.flip(Recorder.load("tape.json").pipe(Effect.provide(layer)))
        expect(error._tag).toBe("CassetteError")
        expect(error.message).toContain("tape.json is not a cassette")
        const { cassette } = yield* recorded()
        const spoiled = JSON.stringify(cassette).replace(/"text":"(?:[^"\\]|\\.)*"/, "\"base64\":\"!!!\"")
        files.set("tape.json", spoiled)
        expect((yield* Effect.flip(Recorder.load("tape.json").pipe(Effect.provide(layer)))).message).toContain("base64")
      }))

    it.effect("says what to do when there is no file", () =>
      Effect.gen(function*() {
        // every other method of such a file system fails with NotFound
        const error = yield* Effect.flip(Recorder.load("tape.json").pipe(Effect.provide(FileSystem.layerNoop({}))))
        expect(error).toMatchObject({
          _tag: "CassetteError",
          message: "tape.json does not exist: make it with Recorder.layerRecord"
        })
      }))

    describe("when the scope closes", () => {
      const replayed = <A>(
        program: (client: HttpClient.HttpClient) => Effect.Effect<A, unknown>,
        options?: Recorder.ReplayOptions
      ) =>
        Effect.gen(function*() {
          const { files, layer } = memory()
          files.set("tape.json", JSON.stringify((yield* recorded()).cassette))
          const replaying = Layer.provide(Recorder.layerReplay("tape.json", options), layer)
          return yield* Effect.exit(Effect.provide(Effect.flatMap(HttpClient.HttpClient, program), replaying))
        })
      const first = (client: HttpClient.HttpClient) => textOf(client, chat(prompt))
      const other = (client: HttpClient.HttpClient) => textOf(client, chat("Something else"))

      it.effect("fails a program that succeeds without asking for all that was recorded, in either order", () =>
        Effect.gen(function*() {
          for (const mode of ["strict", "match"] as const) {
            const defect = defectOf(yield* replayed(first, { mode }))
            expect(defect).toContain("ReplayError: Recorder: 1 of 2 recorded exchanges not asked for\n")
            expect(defect).toContain("  position 2: chatStream (POST /chat/completions)\n  Record it again if")
          }
        }))

      it.effect("fails a program that catches whatever a changed request dies with", () =>
        Effect.gen(function*() {
          const defect = defectOf(yield* replayed((client) => Effect.catchCause(other(client), () => Effect.void)))
          expect(defect).toContain("ReplayError: Recorder: chat (POST /chat/completions")
          expect(defect).toContain("is not what was recorded at position 1")
        }))

      it.effect("says nothing of a program that fails by itself, and nothing where told so", () =>
        Effect.gen(function*() {
          const exit = yield* replayed((client) => Effect.andThen(first(client), Effect.fail("mine")))
          expect(exit).toStrictEqual(Exit.fail("mine"))
          expect(Exit.isSuccess(yield* replayed(first, { verifyOnClose: false }))).toBe(true)
        }))

      it.effect("lists ten of many", () =>
        Effect.gen(function*() {
          const { files, layer } = memory()
          const { cassette } = yield* recorded()
          const exchanges = Array.from({ length: 12 }, () => ({ ...cassette.exchanges[0]! }))
          files.set("tape.json", JSON.stringify({ ...cassette, exchanges }))
          const replaying = Layer.provide(Recorder.layerReplay("tape.json"), layer)
          const defect = defectOf(yield* Effect.exit(Effect.provide(HttpClient.HttpClient, replaying)))
          expect(defect).toContain("12 of 12 recorded exchanges")
          expect(defect).toContain("  position 10: chat (POST /chat/completions)\n  … and 2 more\n")
        }))

      it.effect("does not miss what was left while recording", () =>
        Effect.gen(function*() {
          const { files, layer } = memory()
          const { cassette } = yield* recorded()
          const left = { ...cassette.exchanges[1]!, response: { left: true, waitMillis: 5 } }
          files.set("tape.json", JSON.stringify({ ...cassette, exchanges: [cassette.exchanges[0], left] }))
          const replaying = Layer.provide(Recorder.layerReplay("tape.json"), layer)
          const exit = yield* Effect.exit(Effect.provide(Effect.flatMap(HttpClient.HttpClient, first), replaying))
          expect(Exit.isSuccess(exit)).toBe(true)
        }))
    })
  })
})
