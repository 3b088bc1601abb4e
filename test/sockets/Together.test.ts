import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FileSystem, Layer, Redacted, Schedule, Schema, Stream } from "effect"
import { Chat, Together, type TogetherError, UndiciHttpClient } from "effect-together"
import { FetchHttpClient } from "effect/http"
import { openAsBlob } from "node:fs"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib"
import { Agent } from "undici"
import { nodeMajor } from "../engine.ts"
import { chatAnswer, delta, frame, json, serve } from "./server.ts"

const key = "tgp_v1_a-secret-key-that-must-not-leak"
const request = { model: "m", messages: [{ role: "user", content: "a private question about rivers" }] }
const quick = { retry: Schedule.recurs(2) }

const undici = UndiciHttpClient.layerEffect(
  Effect.acquireRelease(Effect.sync(() => new Agent()), (agent) => Effect.promise(() => agent.destroy()))
)

/** A server that takes connections and reads nothing. */
const deaf = Effect.map(
  Effect.acquireRelease(
    Effect.callback<{ readonly server: Server; readonly sockets: Set<Socket> }>((resume) => {
      const sockets = new Set<Socket>()
      const server = createServer({ pauseOnConnect: true }, (socket) => void sockets.add(socket))
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed({ server, sockets })))
    }),
    ({ server, sockets }) =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  ),
  // a listening TCP server has an address with a port
  ({ server }) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
)

const transports = [
  ["Fetch", Together.layer],
  ["Undici", (options: Together.Options) => Together.layerHttp(options).pipe(Layer.provide(undici))],
  [
    "Effect's Fetch",
    (options: Together.Options) => Together.layerHttp(options).pipe(Layer.provide(FetchHttpClient.layer))
  ],
  [
    "NodeHttpClient",
    (options: Together.Options) => Together.layerHttp(options).pipe(Layer.provide(NodeHttpClient.layerUndici))
  ]
] as const

describe.concurrent.each(transports)("Together over %s", (transport, layerOf) => {
  const client = (baseUrl: string, options: Partial<Together.Options> = {}) =>
    Effect.provide(layerOf({ apiKey: Redacted.make(key), baseUrl, ...quick, ...options }))

  const withTogether = <A, E>(f: (together: Together.Service) => Effect.Effect<A, E>) =>
    Effect.flatMap(Together.Together, f)

  it.live("sends the key, a User-Agent and no trace headers, and keeps unknown fields", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => json(response, 200, chatAnswer))
      const answer = yield* withTogether((together) => together.chat({ ...request, an_extra_field: 7 })).pipe(
        Effect.withSpan("outer"),
        client(server.baseUrl)
      )
      expect(Chat.text(answer)).toBe("hello")
      expect(answer).toEqual(chatAnswer)
      const [sent] = server.received
      expect(sent).toMatchObject({ method: "POST", url: "/v1/chat/completions" })
      expect(sent?.headers["authorization"]).toBe(`Bearer ${key}`)
      expect(sent?.headers["user-agent"]).toMatch(/^effect-together\/\d/)
      expect(Object.keys(sent?.headers ?? {})).not.toEqual(expect.arrayContaining(["traceparent"]))
      expect(sent?.headers["b3"]).toBeUndefined()
      expect(JSON.parse(sent?.body ?? "")).toEqual({ ...request, an_extra_field: 7 })
    }))

  it.live("gives the bytes of an answer that is no JSON, and the events of one that streams", () =>
    Effect.gen(function*() {
      const sound = Uint8Array.of(0x49, 0x44, 0x33, 0xff, 0xfb, 0x90, 0x00)
      const server = yield* serve((received, response) => {
        if (received.url === "/v1/audio/speech") {
          response.writeHead(200, { "content-type": "audio/mpeg" })
          response.write(sound.subarray(0, 4))
          return void response.end(sound.subarray(4))
        }
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write("event: response.created\ndata: {\"ty")
        response.end("pe\":1}\n\nevent: response.completed\ndata: {\"type\":2}\n\n")
      })
      const [bytes, events] = yield* withTogether((together) =>
        Effect.all([
          together.requestBytes({ path: "/audio/speech", body: { model: "m", input: "hi" } }),
          Stream.runCollect(
            together.requestStream({ path: "/responses", body: { stream: true }, response: Schema.Unknown })
          )
        ])
      ).pipe(client(server.baseUrl))
      expect([...bytes]).toEqual([...sound])
      expect(events).toEqual([
        { event: "response.created", data: { type: 1 } },
        { event: "response.completed", data: { type: 2 } }
      ])
    }))

  it.live("gives no bytes and no text of an answer without a body", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => void response.writeHead(204).end())
      const answers = yield* withTogether((together) =>
        Effect.all([together.requestBytes({ method: "DELETE", path: "/endpoints/e" }), together.files.content("f")])
      ).pipe(client(server.baseUrl))
      expect(answers).toEqual([new Uint8Array(0), ""])
    }))

  it.live("follows no redirect of a prompt, and says what to do", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => {
        response.writeHead(307, { location: "https://elsewhere.example/v1/chat/completions?token=x" })
        response.end()
      })
      const errors = yield* withTogether((together) =>
        Effect.all([Effect.flip(together.chat(request)), Effect.flip(Stream.runDrain(together.chatStream(request)))])
      ).pipe(client(server.baseUrl))
      for (const error of errors) {
        expect(error._tag).toBe("InvalidRequestError")
        expect(error.message).toMatch(/^The server redirects.* not followed.* TOGETHER_BASE_URL/)
        expect(error.message).not.toContain("token")
      }
      expect(server.received.length).toBe(2)
    }))

  it.live("follows a redirect of a file, with the key and headers of ours only on the own origin", () =>
    Effect.gen(function*() {
      const store = yield* serve((received, response) =>
        received.url === "/v1/back"
          ? void response.writeHead(302, { location: `${own}/files/f/last` }).end()
          : void response.writeHead(302, { location: "back" }).end()
      )
      const server = yield* serve((received, response) => {
        if (received.url.endsWith("/last")) return void response.writeHead(200).end("line 1\n")
        const location = received.url.endsWith("/content") ? "moved?part=1" : `${store.baseUrl}/file?token=x`
        response.writeHead(307, { location }).end()
      })
      const own = server.baseUrl
      const text = yield* withTogether((together) => together.files.content("f")).pipe(
        client(server.baseUrl, { headers: { "x-proxy-key": "s3cr3t" } })
      )
      expect(text).toBe("line 1\n")
      const went = [...server.received, ...store.received].map(({ headers, url }) => [
        url,
        headers.authorization === `Bearer ${key}` && headers["x-proxy-key"] === "s3cr3t",
        headers["user-agent"]?.startsWith("effect-together"),
        headers["accept-encoding"]
      ])
      expect(went).toEqual([
        ["/v1/files/f/content", true, true, "identity"],
        ["/v1/files/f/moved?part=1", true, true, "identity"],
        ["/v1/files/f/last", false, true, "identity"],
        ["/v1/file?token=x", false, true, "identity"],
        ["/v1/back", false, true, "identity"]
      ])
      for (const header of ["authorization", "x-proxy-key"]) {
        expect([...server.received, ...store.received].filter(({ headers }) => headers[header]).length).toBe(2)
      }
    }))

  it.live("follows no redirect without an end, and none that deletes", () =>
    Effect.gen(function*() {
      const server = yield* serve((received, response) =>
        void response.writeHead(302, { location: `${received.url}x` }).end()
      )
      const errors = yield* withTogether((together) =>
        Effect.all([Effect.flip(together.files.get("f")), Effect.flip(together.files.delete("f"))])
      ).pipe(client(server.baseUrl))
      for (const error of errors) {
        expect(error).toMatchObject({ _tag: "InvalidRequestError", attempts: 1 })
        expect(error.message).toContain("The server redirects")
      }
      expect(server.received.length).toBe(6 + 1)
    }))

  it.live("waits out a 429 by its reset, then answers", () =>
    Effect.gen(function*() {
      const at: Array<number> = []
      const server = yield* serve((_, response, index) => {
        at.push(Date.now())
        return index === 0
          ? json(response, 429, { error: { message: "slow", type: "dynamic_request_limited" } }, {
            "x-ratelimit-reset": "0.2"
          })
          : json(response, 200, chatAnswer)
      })
      yield* withTogether((together) => together.chat(request)).pipe(client(server.baseUrl, { retry: undefined }))
      expect(at.length).toBe(2)
      expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThanOrEqual(199)
    }))

  it.live("fails with the tag, the number and the attempts, and leaks neither key nor prompt", () =>
    Effect.gen(function*() {
      const server = yield* serve((received, response) =>
        json(response, 503, { error: { message: `busy with ${received.body} for ${received.headers.authorization}` } })
      )
      const error = yield* Effect.flip(
        withTogether((together) => together.chat(request)).pipe(client(server.baseUrl))
      )
      expect(error).toMatchObject({ _tag: "OverloadedError", status: 503, attempts: 3, operation: "chat", model: "m" })
      const printed = `${String(error)} ${JSON.stringify(error)} ${error.message}`
      expect(printed).not.toContain("private question")
      expect(printed).not.toContain(key)
    }))

  it.live("decodes every operation", () =>
    Effect.gen(function*() {
      const bodies: Record<string, unknown> = {
        "/v1/chat/completions": chatAnswer,
        "/v1/completions": { id: "c", choices: [{ text: "ok" }], usage: null },
        "/v1/embeddings": { object: "list", data: [{ object: "embedding", embedding: [0.5], index: 0 }] },
        "/v1/rerank": { results: [{ index: 1, relevance_score: 0.9, document: { text: null } }] },
        "/v1/images/generations": { data: [{ index: 0, url: "https://x", type: "url" }] },
        "/v1/models": [{ id: "m", object: "model", type: "a-new-type", pricing: { input: 0.05, output: 0.2 } }],
        "/v1/whoami": { organization_id: "org" },
        "/v1/hardware?model=m": { data: [] }
      }
      const server = yield* serve((received, response) => json(response, 200, bodies[received.url]))
      yield* withTogether((together) =>
        Effect.gen(function*() {
          expect(Chat.text(yield* together.chat(request))).toBe("hello")
          expect((yield* together.completions({ model: "m", prompt: "p" })).choices[0]?.text).toBe("ok")
          expect((yield* together.embeddings({ model: "m", input: ["a"] })).data[0]?.embedding).toEqual([0.5])
          expect((yield* together.rerank({ model: "m", query: "q", documents: ["a", "b"] })).results[0]?.index).toBe(1)
          expect((yield* together.images({ model: "m", prompt: "p" })).data.length).toBe(1)
          expect((yield* together.models())[0]?.type).toBe("a-new-type")
          expect((yield* together.whoami()).organization_id).toBe("org")
          const hardware = yield* together.request({
            path: "/hardware",
            query: { model: "m" },
            response: Schema.Struct({ data: Schema.Array(Schema.Unknown) })
          })
          expect(hardware.data).toEqual([])
        })
      ).pipe(client(server.baseUrl))
    }))

  it.live("takes an empty answer to a deletion for one", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => void response.writeHead(204).end())
      const deleted = yield* withTogether((together) => together.files.delete("f")).pipe(client(server.baseUrl))
      expect([deleted, server.received.map(({ method }) => method)]).toEqual([{}, ["DELETE"]])
    }))

  it.live("uploads a file as multipart and reads its content as text", () =>
    Effect.gen(function*() {
      const server = yield* serve((received, response) =>
        received.url.endsWith("/content")
          ? void response.writeHead(200, { "content-type": "text/plain" }).end("line 1\nline 2\n")
          : json(response, 200, { id: "file-1", object: "file" })
      )
      yield* withTogether((together) =>
        Effect.gen(function*() {
          const file = yield* together.files.upload({ content: "{\"a\":1}\n", name: "a.jsonl", purpose: "batch-api" })
          expect(yield* together.files.content(file.id)).toBe("line 1\nline 2\n")
        })
      ).pipe(client(server.baseUrl))
      expect(server.received[0]?.headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/)
      expect(server.received[0]?.body).toContain("batch-api")
    }))

  it.live("can give up an upload at any moment: nothing is thrown where nobody catches it", () =>
    Effect.gen(function*() {
      const thrown: Array<unknown> = []
      const note = (error: unknown) => void thrown.push(error)
      yield* Effect.acquireRelease(
        Effect.sync(() => process.on("unhandledRejection", note)),
        () => Effect.sync(() => process.off("unhandledRejection", note))
      )
      const baseUrl = yield* deaf
      const content = new Blob([new Uint8Array(12 * 1024 * 1024)])
      const upload = withTogether(({ files }) => files.upload({ content, name: "a.jsonl", purpose: "fine-tune" }))
      for (const after of [1, 5, 20, 60, 150]) {
        const result = yield* Effect.timeoutOption(Effect.exit(upload), after).pipe(client(baseUrl))
        expect(result._tag).toBe("None")
        yield* Effect.sleep("50 millis")
      }
      expect(thrown).toEqual([])
    }))

  it.live("says that a file was changed or removed before it was sent, and does not try again", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => json(response, 200, { id: "file-1" }))
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/rows.jsonl`
      const upload = (content: Blob) =>
        withTogether(({ files }) => Effect.flip(files.upload({ content, name: "a.jsonl", purpose: "fine-tune" })))
      for (const spoil of [fs.writeFileString(path, "shorter"), fs.remove(path)]) {
        yield* fs.writeFileString(path, "x".repeat(1_000_000))
        const content = yield* Effect.promise(() => openAsBlob(path))
        yield* spoil
        const error = yield* upload(content).pipe(client(server.baseUrl))
        expect(error).toMatchObject({ _tag: "InvalidRequestError", attempts: 1 })
        expect(error.message).toContain("changed or removed")
      }
      expect(server.received).toEqual([])
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.live("says how long an upload is", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => json(response, 200, { id: "file-1" }))
      const form = new FormData()
      form.append("file", new Blob(["sound"]), "a.wav")
      yield* withTogether(({ request }) => request({ path: "/audio/transcriptions", form, response: Schema.Unknown }))
        .pipe(client(server.baseUrl))
      const [sent] = server.received
      expect([sent?.headers["content-length"], sent?.headers["transfer-encoding"]]).toEqual([
        String(sent?.body.length),
        undefined
      ])
    }))

  it.live("streams, asks for usage, and retries unseen before the first token", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response, index) => {
        response.writeHead(200, { "content-type": "text/event-stream;charset=utf-8" })
        response.write(delta("", { role: "assistant" }))
        if (index === 0) return void setTimeout(() => response.destroy(), 20)
        response.write(delta("hel") + delta("lo", { finish_reason: "stop" }))
        response.end(frame({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } }) + "data: [DONE]\n\n")
      })
      const chunks = yield* withTogether((together) => Stream.runCollect(together.chatStream(request))).pipe(
        client(server.baseUrl)
      )
      expect(chunks.map(Chat.deltaText).join("")).toBe("hello")
      expect(chunks.length).toBe(4)
      expect(server.received.length).toBe(2)
      expect(JSON.parse(server.received[0]?.body ?? "")).toMatchObject({
        stream: true,
        stream_options: { include_usage: true }
      })
    }))

  // only a web body is known to have a socket behind it
  it.live.skipIf(transport === "NodeHttpClient")(
    "uses the connection of a stream again whose end comes behind [DONE]",
    () =>
      Effect.gen(function*() {
        const ports = new Set<number | undefined>()
        const server = yield* serve((_, response) => {
          ports.add(response.socket?.remotePort)
          response.writeHead(200, { "content-type": "text/event-stream" })
          response.write(`${delta("a", { finish_reason: "stop" })}data: [DONE]\n\n`)
          setImmediate(() => response.end())
        })
        yield* withTogether((together) =>
          Effect.repeat(Effect.andThen(Stream.runDrain(together.chatStream(request)), Effect.sleep("100 millis")), {
            times: 2
          })
        ).pipe(client(server.baseUrl))
        expect([server.received.length, ports.size]).toEqual([3, 1])
      }),
    // the end has 50 ms of real time to come, which a busy machine may not give it
    { retry: 3 }
  )

  it.effect("frees the connection of a stream that does not end behind [DONE], though the call's clock stands still", () =>
    Effect.gen(function*() {
      const closed = yield* Deferred.make<void>()
      const server = yield* serve((_, response) => {
        response.on("close", () => Deferred.doneUnsafe(closed, Effect.void))
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(`${delta("a", { finish_reason: "stop" })}data: [DONE]\n\n`)
      })
      const chunks = yield* withTogether((together) => Stream.runCollect(together.chatStream(request))).pipe(
        client(server.baseUrl)
      )
      expect(chunks.map(Chat.deltaText)).toEqual(["a"])
      yield* Deferred.await(closed)
    }))

  it.live("keeps what arrived when a stream is cut, and does not ask again", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(delta("half an "))
        setTimeout(() => response.destroy(), 50)
      })
      const seen: Array<string> = []
      const error = yield* Effect.flip(
        withTogether((together) =>
          Stream.runForEach(
            together.chatStream(request),
            (chunk) => Effect.sync(() => seen.push(Chat.deltaText(chunk)))
          )
        ).pipe(client(server.baseUrl))
      )
      expect(error).toMatchObject({ _tag: "StreamError", started: true, partial: { text: "half an " } })
      // it advises against a repeat, so it must not advise one as well
      expect(error.message).not.toMatch(/try again/i)
      expect(seen).toEqual(["half an "])
      expect(server.received.length).toBe(1)
    }))

  it.live("notices a stream that falls silent, comments or not", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(delta("a"))
        const timer = setInterval(() => response.write(": still here\n\n"), 20)
        response.on("close", () => clearInterval(timer))
      })
      const error = yield* Effect.flip(
        withTogether((together) => Stream.runDrain(together.chatStream(request))).pipe(
          client(server.baseUrl, { timeouts: { idle: "150 millis" } })
        )
      )
      expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "idle" })
    }))

  it.live("notices a first token that does not come, and headers that do not", () =>
    Effect.gen(function*() {
      const server = yield* serve((received, response) => {
        if (received.body.includes("\"stream\":true")) {
          response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders()
        }
      })
      const options = {
        timeouts: { firstToken: "80 millis", headers: "1 second" },
        retry: Schedule.recurs(0)
      } as const
      const errors = yield* withTogether((together) =>
        Effect.all([
          Effect.flip(Stream.runDrain(together.chatStream(request))),
          Effect.flip(together.chat(request))
        ])
      ).pipe(client(server.baseUrl, options))
      expect(errors).toMatchObject([{ phase: "first-token" }, { phase: "headers" }])
    }))

  it.live("refuses an answer that is no event stream, and one that is no JSON", () =>
    Effect.gen(function*() {
      const server = yield* serve((received, response) =>
        received.body.includes("\"stream\":true")
          ? json(response, 200, { error: "streams are off" })
          : void response.writeHead(200, { "content-type": "text/html" }).end("<title>Welcome</title>")
      )
      const errors = yield* withTogether((together) =>
        Effect.all([
          Effect.flip(Stream.runDrain(together.chatStream(request))),
          Effect.flip(together.chat(request))
        ])
      ).pipe(client(server.baseUrl))
      expect(errors).toMatchObject([{ _tag: "DecodeError" }, { _tag: "DecodeError", status: 200 }])
      expect(errors[0].message).toContain("streams are off")
    }))

  it.live.runIf(transport.includes("Fetch"))(
    "asks again where a compressed answer is cut",
    () =>
      Effect.gen(function*() {
        const packed = gzipSync(JSON.stringify(chatAnswer))
        const server = yield* serve((_, response, index) => {
          response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" })
          response.end(index === 0 ? packed.subarray(0, packed.length - 30) : packed)
        })
        const answer = yield* withTogether((together) => together.chat(request)).pipe(client(server.baseUrl))
        expect([Chat.text(answer), server.received.length]).toEqual(["hello", 2])
      })
  )

  it.live("reads a compressed stream, or asks for it once: it is billed each time", () =>
    Effect.gen(function*() {
      const events = `${delta("hel")}${delta("lo")}data: [DONE]\n\n`
      const packings = { gzip: gzipSync, br: brotliCompressSync, zstd: zstdCompressSync }
      for (const [encoding, pack] of Object.entries(packings)) {
        const packed = pack(events)
        const server = yield* serve((_, response) => {
          response.writeHead(200, { "content-type": "text/event-stream", "content-encoding": encoding })
          response.end(packed)
        })
        const text = withTogether((together) => Stream.runCollect(together.chatStream(request))).pipe(
          Effect.map((chunks) => chunks.map(Chat.deltaText).join("")),
          Effect.catchTag("DecodeError", ({ message }) => Effect.succeed(message)),
          client(server.baseUrl)
        )
        const isRead = transport.includes("Fetch") && (encoding !== "zstd" || nodeMajor >= 24)
        const read = isRead ? "hello" : `it has the content-encoding ${encoding}, which was not`
        expect([yield* text, server.received.length]).toEqual([expect.stringContaining(read), 1])
      }
    }))

  it.live.runIf(transport.includes("Fetch"))(
    "asks again where a compressed stream is cut before its first event",
    () =>
      Effect.gen(function*() {
        const events = `${delta("hel")}${delta("lo")}data: [DONE]\n\n`
        const server = yield* serve((_, response, index) => {
          response.writeHead(200, { "content-type": "text/event-stream", "content-encoding": "gzip" })
          response.end(gzipSync(index === 0 ? events.slice(0, 20) : events))
        })
        const count = yield* withTogether((together) => Stream.runCount(together.chatStream(request))).pipe(
          client(server.baseUrl)
        )
        expect([count > 0, server.received.length]).toEqual([true, 2])
      })
  )

  it.live("says what a refused connection is, and that it may pass", () =>
    Effect.gen(function*() {
      // a port that nobody listens at any more
      const { baseUrl } = yield* Effect.scoped(serve(() => undefined))
      const error = yield* Effect.flip(withTogether((together) => together.chat(request)).pipe(client(baseUrl)))
      expect(error.message).toContain("ECONNREFUSED")
      expect(error).toMatchObject({ _tag: "ConnectionError", permanent: false, attempts: 3 })
    }))

  it.live("frees the socket when a call is interrupted", () =>
    Effect.gen(function*() {
      let closed = 0
      const server = yield* serve((_, response) => {
        response.on("close", () => closed++)
      })
      yield* withTogether((together) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(together.chat(request), { startImmediately: true })
          while (server.received.length === 0) yield* Effect.sleep("5 millis")
          yield* Fiber.interrupt(fiber)
          for (let i = 0; i < 100 && closed === 0; i++) yield* Effect.sleep("5 millis")
        })
      ).pipe(client(server.baseUrl))
      expect(closed).toBe(1)
    }))

  it.live("frees the socket when a consumer stops early", () =>
    Effect.gen(function*() {
      let closed = 0
      const server = yield* serve((_, response) => {
        response.on("close", () => closed++)
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(delta("a") + delta("b"))
      })
      yield* withTogether((together) =>
        Effect.gen(function*() {
          yield* Stream.runDrain(Stream.take(together.chatStream(request), 1))
          for (let i = 0; i < 100 && closed === 0; i++) yield* Effect.sleep("5 millis")
        })
      ).pipe(client(server.baseUrl))
      expect(closed).toBe(1)
    }))

  it.live("does not repeat a call that creates something after an ambiguous failure", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response, index) =>
        index === 0 ? json(response, 500, {}) : json(response, 201, { job: { id: "b" } })
      )
      const error: TogetherError.TogetherError = yield* Effect.flip(
        withTogether((together) => together.batches.create({ endpoint: "/v1/chat/completions", input_file_id: "f" }))
          .pipe(client(server.baseUrl))
      )
      expect([error._tag, server.received.length]).toEqual(["ServerError", 1])
    }))
})

describe("Together.layer", () => {
  it.effect.each(["", "   "])("refuses the key %j before anything is sent", (empty) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Effect.provide(Together.Together, Together.layer({ apiKey: Redacted.make(empty) }))
      )
      expect(error._tag).toBe("AuthError")
      expect(error.message).toContain("TOGETHER_API_KEY")
    }))

  it.effect.each(["not a url", "ftp://x", ""])("refuses the base URL %j", (baseUrl) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(
        Effect.provide(Together.Together, Together.layer({ apiKey: Redacted.make("k"), baseUrl }))
      )
      expect(error._tag).toBe("InvalidRequestError")
      expect(error.message).toContain("TOGETHER_BASE_URL")
    }))
})
