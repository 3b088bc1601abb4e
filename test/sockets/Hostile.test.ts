/**
 * The client before servers that keep to no protocol, written in raw bytes.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schedule } from "effect"
import { Chat, Together, TogetherError, UndiciHttpClient } from "effect-together"
import { createServer as createH2Server, type ServerHttp2Stream } from "node:http2"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { Agent } from "undici"
import * as UndiciAgent from "../../src/cli/UndiciAgent.ts"
import { chatAnswer } from "./server.ts"

const request = { model: "m", messages: [{ role: "user", content: "?" }] }
const whole = JSON.stringify(chatAnswer)

const over = (agent: Effect.Effect<Agent>) => (options: Together.Options) =>
  Together.layerHttp(options).pipe(
    Layer.provide(UndiciHttpClient.layerEffect(
      Effect.acquireRelease(agent, (agent) => Effect.promise(() => agent.destroy()))
    ))
  )

const transports = [
  ["Fetch", Together.layer],
  ["Undici", over(Effect.sync(() => new Agent()))]
] as const

const bound = <S extends Server>(server: S, end: () => void) =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as AddressInfo).port))) // it listens
    }),
    () =>
      Effect.sync(() => {
        end()
        server.close()
      })
  )

/** Serves sockets; hands out the port and the number of sockets so far. */
const serve = (handle: (socket: Socket, index: number) => void) =>
  Effect.suspend(() => {
    const sockets: Array<Socket> = []
    const server = createServer((socket) => {
      socket.on("error", () => {})
      handle(socket, sockets.push(socket) - 1)
    })
    const end = () => sockets.forEach((socket) => socket.destroy())
    return Effect.map(bound(server, end), (port) => ({ port, count: () => sockets.length }))
  })

const chat = Effect.flatMap(Together.Together, (together) => together.chat(request))

describe.concurrent.each(transports)("the client over %s", (_, layerOf) => {
  const at = (baseUrl: string, options: Partial<Together.Options> = {}) =>
    Effect.provide(layerOf({ apiKey: Redacted.make("k"), baseUrl, retry: Schedule.recurs(1), ...options }))

  it.live("asks again where an answer is cut whose length nothing told", () =>
    Effect.gen(function*() {
      const { count, port } = yield* serve((socket, index) =>
        socket.once("data", () => {
          const head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
          socket.end(head + (index === 0 ? whole.slice(0, 40) : whole))
        })
      )
      expect(Chat.text(yield* chat.pipe(at(`http://127.0.0.1:${port}/v1`)))).toBe("hello")
      expect(count()).toBe(2)
    }))

  it.live("takes what was sent whole and is no JSON for an answer that it cannot read", () =>
    Effect.gen(function*() {
      const { count, port } = yield* serve((socket) =>
        socket.once("data", () => {
          const head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n"
          socket.end(head + whole.slice(0, 40))
        })
      )
      const error = yield* Effect.flip(chat).pipe(at(`http://127.0.0.1:${port}/v1`))
      expect([error._tag, count()]).toEqual(["DecodeError", 1])
    }))

  it.live("waits no longer for a refusal that comes drop by drop in place of a file", () =>
    Effect.gen(function*() {
      const { port } = yield* serve((socket) =>
        socket.once("data", () => {
          socket.write("HTTP/1.1 500 Oh\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
          const drops = setInterval(() => socket.write("1\r\nx\r\n"), 20)
          socket.on("close", () => clearInterval(drops))
        })
      )
      const error = yield* Effect.flatMap(Together.Together, (together) => Effect.flip(together.files.content("f")))
        .pipe(
          at(`http://127.0.0.1:${port}/v1`, { timeouts: { body: "200 millis" }, retry: Schedule.recurs(0) })
        )
      expect(error).toMatchObject({ _tag: "ServerError", status: 500 })
    }), 3000)

  it.live("knows that nothing was sent where a server hangs up before TLS is set up", () =>
    Effect.gen(function*() {
      const { port } = yield* serve((socket) => void socket.once("data", () => socket.end()))
      const error = yield* Effect.flip(chat).pipe(at(`https://127.0.0.1:${port}/v1`))
      expect(error).toMatchObject({ _tag: "ConnectionError", code: "ECONNRESET", permanent: false, sent: false })
      expect([TogetherError.isBeforeWork(error), TogetherError.mayBeBilled(error)]).toEqual([true, false])
      expect(error.attempts).toBe(2)
    }))

  it.live("says in one line what OpenSSL says in several", () =>
    Effect.gen(function*() {
      const { port } = yield* serve((socket) => void socket.once("data", () => socket.end("HTTP/1.1 400 Bad\r\n\r\n")))
      const error = yield* Effect.flip(chat).pipe(at(`https://127.0.0.1:${port}/v1`))
      expect(error).toMatchObject({ _tag: "ConnectionError", permanent: true })
      expect(error.message).toMatch(
        /^The connection failed \(ERR_SSL_WRONG_VERSION_NUMBER\): .*\w\. Check the base URL.*$/
      )
    }))
})

describe("HTTP/2", () => {
  it.live("asks again where the stream of an answer is reset, which Undici takes for its end", () =>
    Effect.gen(function*() {
      let asked = 0
      const server = createH2Server()
      const sessions: Array<{ readonly destroy: () => void }> = []
      server.on("session", (session) => void sessions.push(session))
      server.on("stream", (stream: ServerHttp2Stream) => {
        stream.on("error", () => {})
        const cut = asked++ === 0
        stream.respond({ ":status": 200, "content-type": "application/json" })
        if (!cut) return void stream.end(whole)
        stream.write(whole.slice(0, 40))
        setTimeout(() => stream.close(2), 20)
      })
      const port = yield* bound(server, () => sessions.forEach((session) => session.destroy()))
      // the types of Undici do not know it
      const withoutTls = { connections: 1, useH2c: true }
      const h2 = over(Effect.sync(() => new Agent(withoutTls)))
      const baseUrl = `http://127.0.0.1:${port}/v1`
      const answer = yield* Effect.provide(chat, h2({ apiKey: Redacted.make("k"), baseUrl, retry: Schedule.recurs(1) }))
      expect([Chat.text(answer), asked]).toEqual(["hello", 2])
    }))

  it.live("is not what the command speaks: calls do not wait for one another's connection", () =>
    Effect.gen(function*() {
      const { count, port } = yield* serve(() => {})
      const layer = over(Effect.sync(() => UndiciAgent.make(undefined) as Agent))({ // there is no proxy
        apiKey: Redacted.make("k"),
        baseUrl: `https://127.0.0.1:${port}/v1`,
        timeouts: { headers: "300 millis" },
        retry: Schedule.recurs(0)
      })
      const errors = yield* Effect.provide(Effect.forEach([chat, chat, chat], Effect.flip, { concurrency: 3 }), layer)
      expect(errors.map(({ _tag }) => _tag)).toEqual(Array(3).fill("RequestTimeoutError"))
      expect(count()).toBe(3)
    }))
})
