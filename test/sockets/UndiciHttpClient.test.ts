/**
 * The client over an Undici dispatcher, past the `HttpClient` and through it, over real sockets.
 */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Redacted, Schedule, Scope, Stream } from "effect"
import { Chat, Together, UndiciHttpClient } from "effect-together"
import { HttpBody, HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import { gzipSync } from "node:zlib"
import { Agent, MockAgent } from "undici"
import { chatAnswer, delta, json, pour, serve } from "./server.ts"

const request = { model: "m", messages: [{ role: "user", content: "?" }] }
const once = { retry: Schedule.recurs(0) }

const scopedAgent = (options?: Agent.Options) =>
  Effect.acquireRelease(Effect.sync(() => new Agent(options)), (agent) => Effect.promise(() => agent.destroy()))

const together = (baseUrl: string, options: Partial<Together.Options> = {}, agent?: Agent.Options) =>
  Effect.provide(
    Together.layerHttp({ apiKey: Redacted.make("k"), baseUrl, ...once, ...options }).pipe(
      Layer.provide(UndiciHttpClient.layerEffect(scopedAgent(agent)))
    )
  )

const chat = Effect.flatMap(Together.Together, (client) => client.chat(request))

/** Waits until something is so, within three seconds. */
const until = (condition: () => boolean) =>
  Effect.gen(function*() {
    for (let i = 0; i < 600 && !condition(); i++) yield* Effect.sleep("5 millis")
    expect(condition()).toBe(true)
  })

describe.concurrent("a call", () => {
  it.live("uses connections again, and closes them with the layer", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => json(response, 200, chatAnswer))
      yield* Effect.gen(function*() {
        yield* Effect.forEach(Array.from({ length: 20 }), () => chat)
        expect(server.received.length).toBe(20)
        // Undici leaves a connection alone for one turn of the loop after an answer
        expect(server.open()).toBeLessThanOrEqual(2)
      }).pipe(together(server.baseUrl))
      yield* until(() => server.open() === 0)
    }))

  it.live("reads an answer that comes in pieces cut inside a character", () =>
    Effect.gen(function*() {
      const bytes = Buffer.from(JSON.stringify({ choices: [{ message: { role: "assistant", content: "Grüße, 川" } }] }))
      const server = yield* serve((_, response) => {
        response.writeHead(200, { "content-type": "application/json" })
        const send = (at: number): void => {
          if (at >= bytes.length) return void response.end()
          response.write(bytes.subarray(at, at + 7))
          setTimeout(() => send(at + 7), 1)
        }
        send(0)
      })
      expect(Chat.text(yield* chat.pipe(together(server.baseUrl)))).toBe("Grüße, 川")
    }))

  it.live("says that the connection was reset, before the headers and in the body", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response, index) => {
        if (index === 0) return void response.socket?.resetAndDestroy()
        response.writeHead(200, { "content-type": "application/json", "content-length": 100 })
        response.write("{\"choices\"")
        setTimeout(() => response.socket?.destroy(), 10)
      })
      const errors = yield* Effect.all([Effect.flip(chat), Effect.flip(chat)]).pipe(together(server.baseUrl))
      expect(errors).toMatchObject([
        { _tag: "ConnectionError", permanent: false, attempts: 1 },
        { _tag: "ConnectionError", permanent: false, attempts: 1 }
      ])
      expect(errors[0].message).toMatch(/ECONNRESET|UND_ERR_SOCKET/)
      expect(errors[1].message).toContain("UND_ERR_SOCKET")
    }))

  it.live("gives up headers that do not come and a body that stalls, and frees both sockets", () =>
    Effect.gen(function*() {
      let closed = 0
      const server = yield* serve((_, response, index) => {
        response.on("close", () => closed++)
        if (index === 0) return
        response.writeHead(200, { "content-type": "application/json" })
        response.write("{")
      })
      yield* Effect.gen(function*() {
        const errors = yield* Effect.all([Effect.flip(chat), Effect.flip(chat)])
        expect(errors).toMatchObject([
          { _tag: "RequestTimeoutError", phase: "headers" },
          { _tag: "RequestTimeoutError", phase: "body" }
        ])
        yield* until(() => closed === 2)
      }).pipe(together(server.baseUrl, { timeouts: { headers: "400 millis", body: "60 millis" } }))
    }))

  it.live("frees the socket when it is interrupted, and the next call takes another", () =>
    Effect.gen(function*() {
      let closed = 0
      const server = yield* serve((_, response, index) => {
        response.on("close", () => closed++)
        if (index > 0) json(response, 200, chatAnswer)
      })
      yield* Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(chat, { startImmediately: true })
        yield* until(() => server.received.length === 1)
        yield* Fiber.interrupt(fiber)
        yield* until(() => closed === 1)
        expect(Chat.text(yield* chat)).toBe("hello")
      }).pipe(together(server.baseUrl, {}, { connections: 1 }))
    }))

  it.live("outlasts the timeouts of the dispatcher: only its own count", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response, index) => {
        if (index === 1) response.writeHead(200, { "content-type": "application/json" }).flushHeaders()
        setTimeout(() => {
          if (index === 0) json(response, 200, chatAnswer)
          else response.end(JSON.stringify(chatAnswer))
        }, 400)
      })
      const answers = yield* Effect.all([chat, chat]).pipe(
        together(server.baseUrl, {}, { headersTimeout: 100, bodyTimeout: 100 })
      )
      expect(answers.map(Chat.text)).toEqual(["hello", "hello"])
    }))

  it.live("says what a closed dispatcher and a refused connection are", () =>
    Effect.gen(function*() {
      const agent = new Agent()
      yield* Effect.promise(() => agent.destroy())
      const over = (dispatcher: UndiciHttpClient.Dispatcher) =>
        Effect.flip(chat).pipe(
          Effect.provide(
            Together.layerHttp({ apiKey: Redacted.make("k"), baseUrl: "http://127.0.0.1:9/v1", ...once }).pipe(
              Layer.provide(UndiciHttpClient.layer(dispatcher))
            )
          )
        )
      const live = yield* scopedAgent()
      expect((yield* over(agent)).message).toContain("UND_ERR_DESTROYED")
      expect((yield* over(live)).message).toContain("ECONNREFUSED")
    }))

  it.live.each<["chat" | "chatStream", number, string]>([
    ["chat", 200, "DecodeError"],
    ["chatStream", 200, "DecodeError"],
    ["chat", 503, "OverloadedError"],
    ["chatStream", 503, "OverloadedError"]
  ])("asks for no encoding, and reads none: %s, %s", ([operation, status, tag]) =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => {
        response.writeHead(status, {
          "content-type": operation === "chat" ? "application/json" : "text/event-stream",
          "content-encoding": "gzip",
          "x-request-id": "r-1"
        })
        response.end(gzipSync(operation === "chat" ? JSON.stringify(chatAnswer) : `${delta("hello")}data: [DONE]\n\n`))
      })
      const call = Effect.flatMap(Together.Together, (client) =>
        operation === "chat" ? Effect.asVoid(client.chat(request)) : Stream.runDrain(client.chatStream(request)))
      const options = { headers: { "Accept-Encoding": "gzip" }, retry: Schedule.recurs(status === 200 ? 2 : 0) }
      const error = yield* Effect.flip(call).pipe(together(server.baseUrl, options))
      expect(error).toMatchObject({ _tag: tag, status, requestId: "r-1", attempts: 1 })
      if (status === 200) {
        expect(error.message).toContain("it has the content-encoding gzip, which was not asked for")
      }
      expect(server.received.map(({ headers }) =>
        headers["accept-encoding"]
      )).toEqual(["identity"])
    }))

  it.live.each(["Identity", "identity, IDENTITY", ","])(
    "reads an answer that says that it is in none: %s",
    (encoding) =>
      Effect.gen(function*() {
        const server = yield* serve((_, response) => {
          response.writeHead(200, { "content-type": "application/json", "content-encoding": encoding })
          response.end(JSON.stringify(chatAnswer))
        })
        expect(Chat.text(yield* chat.pipe(together(server.baseUrl)))).toBe("hello")
      })
  )

  it.live("minds no encoding of an answer without a body", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => void response.writeHead(200, { "content-encoding": "gzip" }).end())
      const bytes = Effect.flatMap(Together.Together, (client) =>
        client.requestBytes({ method: "HEAD", path: "/files/f" }))
      expect(yield* bytes.pipe(together(server.baseUrl))).toHaveLength(0)
    }))

  it.live("takes any dispatcher", () =>
    Effect.gen(function*() {
      const mock = new MockAgent()
      mock.disableNetConnect()
      mock.get("http://localhost").intercept({ path: "/v1/chat/completions", method: "POST" }).reply(200, chatAnswer)
      const layer = Together.layerHttp({ apiKey: Redacted.make("k"), baseUrl: "http://localhost/v1" }).pipe(
        Layer.provide(UndiciHttpClient.layer(mock))
      )
      expect(Chat.text(yield* Effect.provide(chat, layer))).toBe("hello")
      yield* Effect.promise(() => mock.close())
    }))
})

describe("a stream", () => {
  it.live("frees the socket of a stream that is left early", () =>
    Effect.gen(function*() {
      let closed = 0
      const server = yield* serve((_, response) => {
        response.on("close", () => closed++)
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(delta("a"))
      })
      yield* Effect.gen(function*() {
        const client = yield* Together.Together
        yield* Stream.runDrain(Stream.take(client.chatStream(request), 1))
        yield* until(() => closed === 1)
      }).pipe(together(server.baseUrl))
    }))
})

describe("a stream that says it is done and does not end", () => {
  it.live("keeps nobody waiting, and frees its socket soon", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(`${delta("a", { finish_reason: "stop" })}data: [DONE]\n\n`)
      })
      yield* Effect.gen(function*() {
        const stream = (yield* Together.Together).chatStream(request)
        yield* Stream.runDrain(stream)
        expect(server.open()).toBe(1)
        yield* until(() => server.open() === 0)
      }).pipe(together(server.baseUrl))
    }))
})

describe.concurrent("the HttpClient", () => {
  const client = Effect.map(scopedAgent(), UndiciHttpClient.make)

  it.live("sends bodies of every kind", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => void response.writeHead(204).end())
      const http = yield* client
      const form = new FormData()
      form.set("a", new Blob(["file"]), "a.txt")
      const bodies = [
        HttpBody.text("text", "text/plain"),
        HttpBody.uint8Array(new TextEncoder().encode("bytes")),
        HttpBody.stream(Stream.fromArray(["st", "ream"].map((part) => new TextEncoder().encode(part)))),
        HttpBody.formData(form),
        HttpBody.empty
      ]
      for (const body of bodies) {
        const response = yield* http.execute(
          HttpClientRequest.post(`${server.baseUrl}/x?y=1`).pipe(HttpClientRequest.setBody(body))
        )
        expect([response.status, yield* response.text]).toEqual([204, ""])
      }
      expect(server.received.map((got) => got.url)).toEqual(bodies.map(() => "/v1/x?y=1"))
      expect(server.received.map((got) => got.body)).toEqual([
        "text",
        "bytes",
        "stream",
        expect.stringContaining("filename=\"a.txt\""),
        ""
      ])
      expect(server.received[3]?.headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/)
    }))

  it.live("holds the socket back while nobody reads", () =>
    Effect.gen(function*() {
      const total = 32 * 1024 * 1024
      let written = 0
      const server = yield* serve((_, response) => pour(response, total, (bytes) => void (written = bytes)))
      const http = yield* client
      const response = yield* http.get(server.baseUrl)
      let before = -1
      while (before !== written) {
        before = written
        yield* Effect.sleep("100 millis")
      }
      expect(written).toBeLessThan(total / 2)
      const size = yield* Stream.runFold(response.stream, () => 0, (sum, bytes) => sum + bytes.length)
      expect([size, written]).toEqual([total, total])
    }))

  it.live("fails a body that is cut, and frees one whose scope closes", () =>
    Effect.gen(function*() {
      let closed = 0
      const server = yield* serve((_, response, index) => {
        response.on("close", () => closed++)
        response.writeHead(200, { "content-type": "text/plain" }).write("part")
        if (index === 0) setTimeout(() => response.destroy(), 10)
      })
      const http = yield* client
      const cut = yield* Effect.flip(Effect.flatMap(http.get(server.baseUrl), (response) => response.text))
      expect(cut._tag).toBe("HttpClientError")
      const scope = yield* Scope.make()
      yield* Scope.provide(HttpClient.withScope(http).get(server.baseUrl), scope)
      expect(closed).toBe(1)
      yield* Scope.close(scope, Exit.void)
      yield* until(() => closed === 2)
    }))

  it.live("passes a status and headers on, and refuses an upgrade before it is sent", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) =>
        void response.writeHead(304, { etag: "e", "x-twice": ["a", "b"] }).end()
      )
      const http = yield* client
      const response = yield* http.get(server.baseUrl)
      expect([response.status, response.headers["etag"], response.headers["x-twice"]]).toEqual([304, "e", "a, b"])
      expect(HttpClientResponse.toWeb(response)._tag).toBe("Some")
      const upgrade = HttpClientRequest.get(server.baseUrl).pipe(HttpClientRequest.setHeader("upgrade", "websocket"))
      expect((yield* Effect.flip(http.execute(upgrade))).reason._tag).toBe("TransportError")
      expect(server.received.length).toBe(1)
    }))

  it.live("passes on a status that no web response can hold", () =>
    Effect.gen(function*() {
      const server = yield* serve((_, response) => void response.writeHead(620).end("odd"))
      const response = yield* (yield* client).get(server.baseUrl)
      expect([response.status, yield* response.text]).toEqual([620, "odd"])
    }))

  it.live("never sends what was interrupted while it waited for a connection", () =>
    Effect.gen(function*() {
      let answer = (): void => {}
      const server = yield* serve((_, response) => {
        answer = () => json(response, 200, {})
      })
      const http = UndiciHttpClient.make(yield* scopedAgent({ connections: 1 }))
      const get = Effect.flatMap(http.get(server.baseUrl), (response) => response.text)
      const first = yield* Effect.forkChild(get, { startImmediately: true })
      yield* until(() => server.received.length === 1)
      const second = yield* Effect.forkChild(get, { startImmediately: true })
      yield* Effect.sleep("20 millis")
      yield* Fiber.interrupt(second)
      answer()
      expect(yield* Fiber.join(first)).toBe("{}")
      yield* Effect.sleep("50 millis")
      expect(server.received.length).toBe(1)
    }))

  it.live("gives up a request that is interrupted before its headers", () =>
    Effect.gen(function*() {
      let closed = 0
      const server = yield* serve((_, response) => void response.on("close", () => closed++))
      const http = yield* client
      const late = yield* Effect.timeoutOption(http.get(server.baseUrl), Duration.millis(50))
      expect(late._tag).toBe("None")
      yield* until(() => closed === 1)
    }))
})
