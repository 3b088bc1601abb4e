/**
 * The two ways of an exchange, past the `HttpClient` and through it, on a clock that the test moves.
 */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Redacted, Schedule, Stream } from "effect"
import { Chat, Credits, Together } from "effect-together"
import { VirtualClock } from "effect-together/testing"
import { FetchHttpClient, HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as Shortcut from "../../src/together/transport/Shortcut.ts"
import * as Transport from "../../src/together/transport/Transport.ts"

const exchange = { operation: "chat", model: "m", method: "POST", path: "/chat", json: { a: 1 } } as const

/** A client whose far side is the test. */
const scripted = (way: "short" | "long", baseUrl = "http://localhost/v1") => {
  const receivers: Array<Shortcut.Receiver> = []
  const sent: Array<Readonly<Record<"method" | "headers" | "body" | "url", unknown>>> = []
  let given = 0
  const client = HttpClient.make((request, url, signal) =>
    Effect.callback((resume) => {
      signal.addEventListener("abort", () => given++, { once: true })
      const body = new TransformStream<Uint8Array, Uint8Array>()
      const writer = body.writable.getWriter()
      sent.push({
        method: request.method,
        url: url.href,
        headers: { ...request.headers },
        body: request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : undefined
      })
      receivers.push({
        onHeaders: (status, headers) =>
          resume(
            Effect.succeed(HttpClientResponse.fromWeb(request, new Response(body.readable, { status, headers })))
          ),
        onText: (text) =>
          void writer.write(new TextEncoder().encode(text)).then(() => writer.close()).catch(() => undefined),
        onFailure: (cause) => void writer.abort(cause).catch(() => undefined)
      })
    })
  )
  if (way === "short") {
    Shortcut.attach(client, (outgoing, receiver) => {
      const { ours: _, ...rest } = outgoing
      sent.push({ ...rest, url: outgoing.url.href })
      receivers.push(receiver)
      return () => {
        given++
        // as a dispatcher does: giving up is heard as a failure
        receiver.onFailure(new Error("given up"))
      }
    })
  }
  const transport = Effect.provideService(
    Transport.make({
      apiKey: Redacted.make("k"),
      baseUrl,
      timeouts: { ...Transport.defaults, headers: Duration.seconds(10), body: Duration.seconds(5) },
      userAgent: "test",
      headers: { "X-Own": "1" }
    }),
    HttpClient.HttpClient,
    client
  )
  return { transport, receivers, sent, given: () => given }
}

/** Lets promises of web streams settle. */
const settle = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))

describe.each(["short", "long"] as const)("Transport.exchange, the %s way", (way) => {
  const begin = Effect.gen(function*() {
    const far = scripted(way)
    const transport = yield* far.transport
    const fiber = yield* Effect.forkChild(transport.exchange(exchange), { startImmediately: true })
    yield* Effect.yieldNow
    return { ...far, fiber, to: far.receivers[0]! }
  })

  it.effect("sends method, address, lower-case headers and JSON, and hands status, headers and text back", () =>
    Effect.gen(function*() {
      const { fiber, given, sent, to } = yield* begin
      expect(sent).toEqual([{
        method: "POST",
        url: "http://localhost/v1/chat",
        headers: expect.objectContaining({
          "x-own": "1",
          authorization: "Bearer k",
          "user-agent": "test",
          accept: "application/json",
          "content-type": "application/json"
        }),
        body: "{\"a\":1}"
      }])
      to.onHeaders(200, { "x-request-id": "7" })
      to.onText("hello")
      expect(yield* Fiber.join(fiber)).toMatchObject({ status: 200, headers: { "x-request-id": "7" }, text: "hello" })
      expect(given()).toBe(0)
    }))

  it.effect("gives up at the headers' limit, and not before", () =>
    Effect.gen(function*() {
      const { fiber, given } = yield* begin
      yield* TestClock.adjust("9999 millis")
      expect([fiber.pollUnsafe(), given()]).toEqual([undefined, 0])
      yield* TestClock.adjust("1 millis")
      const error = yield* Effect.flip(Fiber.join(fiber))
      expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "headers" })
      expect(given()).toBe(1)
    }))

  it.effect("counts the body's limit from the headers", () =>
    Effect.gen(function*() {
      const { fiber, given, to } = yield* begin
      yield* TestClock.adjust("9 seconds")
      to.onHeaders(200, { "cf-ray": "ray" })
      yield* settle
      yield* TestClock.adjust("4999 millis")
      expect([fiber.pollUnsafe(), given()]).toEqual([undefined, 0])
      yield* TestClock.adjust("1 millis")
      const error = yield* Effect.flip(Fiber.join(fiber))
      expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "body", status: 200, requestId: "ray" })
      expect(given()).toBe(1)
    }))

  it.effect("says what the status says where the body of a refusal is cut or never comes", () =>
    Effect.gen(function*() {
      for (const end of ["cut", "silent"]) {
        const { fiber, to } = yield* begin
        to.onHeaders(503, {})
        yield* settle
        if (end === "cut") to.onFailure(new Error("cut"))
        else yield* TestClock.adjust("5 seconds")
        expect(yield* Effect.flip(Fiber.join(fiber))).toMatchObject({ _tag: "OverloadedError", status: 503 })
      }
    }))

  it.effect("says that a body was cut", () =>
    Effect.gen(function*() {
      const { fiber, to } = yield* begin
      to.onHeaders(200, { "x-request-id": "7" })
      yield* settle
      to.onFailure(Object.assign(new Error("socket hang up"), { code: "ECONNRESET" }))
      const error = yield* Effect.flip(Fiber.join(fiber))
      expect(error).toMatchObject({ _tag: "ConnectionError", permanent: false, status: 200, requestId: "7" })
      expect(error.message).toContain("ECONNRESET")
    }))

  it.effect("frees the socket when it is interrupted, before the headers and after", () =>
    Effect.gen(function*() {
      for (const after of [false, true]) {
        const { fiber, given, to } = yield* begin
        if (after) to.onHeaders(200, {})
        yield* settle
        yield* Fiber.interrupt(fiber)
        const exit = fiber.pollUnsafe()
        expect([exit !== undefined && Exit.hasInterrupts(exit), given()]).toEqual([true, 1])
        // what comes now comes too late
        to.onText("late")
        to.onFailure(new Error("late"))
      }
    }))

  it.effect("leaves nothing behind in virtual time", () =>
    Effect.gen(function*() {
      const result = yield* VirtualClock.run(Effect.gen(function*() {
        const { fiber, to } = yield* begin
        to.onHeaders(200, {})
        to.onText("x")
        yield* Fiber.join(fiber)
      }))
      expect([Exit.isSuccess(result.exit), result.timersLeft, result.fibersLeft]).toEqual([true, 0, 0])
      expect(Duration.toMillis(result.elapsed)).toBe(0)
    }))

  /** Asks for a file and is sent on to each location in turn; the bodies of the redirects never come. */
  const follow = (baseUrl: string, ...locations: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const far = scripted(way, baseUrl)
      const transport = yield* far.transport
      const seen: Array<string | undefined> = []
      const fiber = yield* Effect.forkChild(
        transport.exchange({
          operation: "files.get",
          model: "",
          method: "GET",
          path: "/files/f",
          onHeaders: (headers) => void seen.push(headers["x-ratelimit-reset"])
        }),
        { startImmediately: true }
      )
      for (const [index, location] of locations.entries()) {
        yield* settle
        far.receivers[index]!.onHeaders(302, { location, "x-ratelimit-reset": String(index) })
      }
      yield* settle
      return { ...far, fiber, seen, to: far.receivers.at(-1)! }
    })

  it.effect("follows a redirect by its headers, and frees its socket", () =>
    Effect.gen(function*() {
      const { fiber, given, sent, to } = yield* follow("http://localhost/v1", "/v1/files/g", "h")
      expect([sent.map(({ url }) => url), given()]).toEqual([
        ["http://localhost/v1/files/f", "http://localhost/v1/files/g", "http://localhost/v1/files/h"],
        2
      ])
      to.onHeaders(200, {})
      to.onText("here")
      expect(yield* Fiber.join(fiber)).toMatchObject({ text: "here" })
    }))

  it.effect("takes the key along between hosts of Together", () =>
    Effect.gen(function*() {
      const { fiber, sent, to } = yield* follow("https://api.together.xyz/v1", "https://api.together.ai/v1/files/f")
      expect(sent.map(({ headers }) => headers)).toEqual([
        expect.objectContaining({ authorization: "Bearer k", "x-own": "1" }),
        expect.objectContaining({ authorization: "Bearer k", "x-own": "1" })
      ])
      to.onHeaders(401, {})
      to.onText("")
      expect(yield* Effect.flip(Fiber.join(fiber))).toMatchObject({ _tag: "AuthError" })
    }))

  it.effect("takes no word of another host for one about the key, the credit or the limits", () =>
    Effect.gen(function*() {
      for (
        const [status, tag] of [[401, "PermissionDeniedError"], [402, "PermissionDeniedError"], [429, "ServerError"]]
      ) {
        const { fiber, seen, sent, to } = yield* follow("https://api.together.ai/v1", "https://store.example/f?token=x")
        expect(sent[1]?.headers).not.toHaveProperty("authorization")
        to.onHeaders(Number(status), { "x-ratelimit-reset": "9" })
        to.onText("{\"error\":\"Credit limit exceeded\"}")
        const error = yield* Effect.flip(Fiber.join(fiber))
        expect(error).toMatchObject({ _tag: tag, status })
        expect(error.message).toContain("store.example")
        expect(error.message).not.toContain("token")
        expect(seen).toEqual(["0"])
      }
    }))

  it.effect("says that redirects have no end, after the fifth", () =>
    Effect.gen(function*() {
      const { fiber, sent, to } = yield* follow("http://localhost/v1", "a", "b", "c", "d", "e", "f")
      to.onText("")
      const error = yield* Effect.flip(Fiber.join(fiber))
      expect([error._tag, sent.length]).toEqual(["InvalidRequestError", 6])
      expect(error.message).toMatch(/^The server redirects \(302\) again after 5 redirects, and no more are followed\./)
    }))

  it.effect("sends nothing to another host", () =>
    Effect.gen(function*() {
      const far = scripted(way)
      const transport = yield* far.transport
      const error = yield* Effect.flip(transport.exchange({ ...exchange, path: "https://example.com/v1/chat" }))
      expect([error._tag, far.sent.length]).toEqual(["InvalidRequestError", 0])
    }))
})

describe("a request that cannot be sent", () => {
  const circular: { self?: unknown } = {}
  circular.self = circular

  it.effect.each<[what: string, more: Partial<Transport.Exchange>, says: string]>([
    ["a BigInt", { json: { n: 1n } }, "what JSON cannot"],
    ["a reference to itself", { json: circular }, "what JSON cannot"],
    ["no value of JSON", { json: () => 1 }, "what JSON cannot"],
    ["a GET with a body", { method: "GET" }, "a GET has no body"],
    ["a HEAD with a form", { method: "HEAD", json: undefined, form: new FormData() }, "a HEAD has no body"],
    ["another host", { path: "https://example.com/v1/chat" }, "is not the host of the base URL"]
  ])("is refused before anything is sent: %s", ([, more, says]) =>
    Effect.gen(function*() {
      for (const way of ["short", "long"] as const) {
        const far = scripted(way)
        const transport = yield* far.transport
        const asked: Transport.Exchange = { ...exchange, ...more }
        const errors = yield* Effect.all([
          Effect.flip(Effect.fromResult(transport.prepare(asked))),
          Effect.flip(transport.exchange(asked)),
          Effect.flip(Effect.scoped(transport.open(asked)))
        ])
        for (const error of errors) {
          expect(error).toMatchObject({ _tag: "InvalidRequestError", sent: false, operation: "chat", model: "m" })
          expect(error.message).toContain(`Nothing was sent: `)
          expect(error.message).toContain(says)
        }
        expect(far.sent).toEqual([])
      }
    }))

  it.effect("is written once, however often it is sent", () =>
    Effect.gen(function*() {
      let written = 0
      const far = scripted("short")
      const transport = yield* far.transport
      const json = { toJSON: () => ++written }
      const prepared = yield* Effect.fromResult(transport.prepare({ ...exchange, json }))
      for (let i = 0; i < 2; i++) {
        const fiber = yield* Effect.forkChild(transport.exchange(prepared), { startImmediately: true })
        far.receivers[i]!.onHeaders(200, {})
        far.receivers[i]!.onText("")
        yield* Fiber.join(fiber)
      }
      expect([written, far.sent.map(({ body }) => body)]).toEqual([1, ["1", "1"]])
    }))
})

describe("Transport.exchange of a file", () => {
  const begin = (more: Partial<Transport.Exchange>) =>
    Effect.gen(function*() {
      const body = new TransformStream<Uint8Array, Uint8Array>()
      const writer = body.writable.getWriter()
      let answer = (): void => {}
      const client = HttpClient.make((request) =>
        Effect.callback((resume) => {
          answer = () => resume(Effect.succeed(HttpClientResponse.fromWeb(request, new Response(body.readable))))
        })
      )
      const transport = yield* Effect.provideService(
        Transport.make({
          apiKey: Redacted.make("k"),
          baseUrl: "http://localhost/v1",
          timeouts: { ...Transport.defaults, headers: Duration.seconds(10), body: Duration.seconds(5) },
          userAgent: "test",
          headers: {}
        }),
        HttpClient.HttpClient,
        client
      )
      const fiber = yield* Effect.forkChild(
        transport.exchange({ operation: "files", model: "", method: "GET", path: "/files", ...more }),
        { startImmediately: true }
      )
      yield* Effect.yieldNow
      const write = (text: string) => Effect.promise(() => writer.write(new TextEncoder().encode(text)))
      return { answer: Effect.sync(() => answer()), fiber, write, close: Effect.promise(() => writer.close()) }
    })

  it.effect("takes any time as long as more keeps coming", () =>
    Effect.gen(function*() {
      const { answer, close, fiber, write } = yield* begin({ file: "text" })
      yield* answer
      for (let piece = 0; piece < 10; piece++) {
        yield* write("é")
        yield* settle
        yield* TestClock.adjust("4999 millis")
      }
      yield* close
      expect(yield* Fiber.join(fiber)).toMatchObject({ text: "é".repeat(10) })
    }))

  it.effect("is given up once nothing more comes, with advice that fits", () =>
    Effect.gen(function*() {
      const { answer, fiber, write } = yield* begin({ file: "text" })
      yield* answer
      yield* write("a")
      yield* settle
      yield* TestClock.adjust("5 seconds")
      const error = yield* Effect.flip(Fiber.join(fiber))
      expect(error).toMatchObject({
        _tag: "RequestTimeoutError",
        phase: "body",
        message: "No more of the body within 5s. Try again, or raise timeouts.body."
      })
    }))

  /** Makes one exchange whose answer has this body. */
  const once = (status: number, body: string | RangeError, file: "bytes" | "text") =>
    Effect.gen(function*() {
      const client = HttpClient.make((request) => {
        const response = HttpClientResponse.fromWeb(request, new Response(`${body}`, { status }))
        return Effect.succeed(
          typeof body === "string" ? response : Object.defineProperty(response, "stream", { value: Stream.die(body) })
        )
      })
      const transport = yield* Effect.provideService(
        Transport.make({
          apiKey: Redacted.make("k"),
          baseUrl: "http://localhost/v1",
          timeouts: Transport.defaults,
          userAgent: "test",
          headers: {}
        }),
        HttpClient.HttpClient,
        client
      )
      return yield* Effect.flip(
        transport.exchange({ operation: "files.content", model: "", method: "GET", path: "/files", file })
      )
    })

  it.effect("says that a file is too long for a text", () =>
    Effect.gen(function*() {
      const error = yield* once(200, new RangeError("Invalid string length"), "text")
      expect(error._tag).toBe("DecodeError")
      expect(error.message).toContain("longer than a text can be")
    }))

  it.effect("reads the beginning of a refusal in place of bytes, whatever its length", () =>
    Effect.gen(function*() {
      const error = yield* once(500, `${" ".repeat(1024 * 1024)}the end of it`, "bytes")
      expect(error._tag).toBe("ServerError")
      expect(error.message).not.toContain("the end of it")
      const short = yield* once(500, "the engine is out", "bytes")
      expect(short.message).toContain("the engine is out")
    }))

  it.effect("allows an upload the time of its size at 64 KiB a second", () =>
    Effect.gen(function*() {
      const form = new FormData()
      form.append("file", new Blob(["x".repeat(640 * 1024)]), "a.jsonl")
      const { fiber } = yield* begin({ method: "POST", form })
      yield* TestClock.adjust("19999 millis")
      expect(fiber.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 millis")
      expect(yield* Effect.flip(Fiber.join(fiber))).toMatchObject({
        phase: "headers",
        message: "No headers within 20s. Try again, or raise timeouts.headers."
      })
    }))

  it.effect("allows it also where the answer is a stream", () =>
    Effect.gen(function*() {
      const form = new FormData()
      form.append("file", new Blob(["x".repeat(640 * 1024)]), "a.wav")
      const transport = yield* scripted("long").transport
      const opening = transport.open({ ...exchange, json: undefined, form })
      const fiber = yield* Effect.forkChild(Effect.scoped(opening), { startImmediately: true })
      yield* TestClock.adjust("19999 millis")
      expect(fiber.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 millis")
      expect(yield* Effect.flip(Fiber.join(fiber))).toMatchObject({ _tag: "RequestTimeoutError", phase: "headers" })
    }))
})

describe("an answer that is opened", () => {
  it.effect("hears of limits from its own host alone, also where a file is opened", () =>
    Effect.gen(function*() {
      const far = scripted("long", "https://api.together.ai/v1")
      const transport = yield* far.transport
      const seen: Array<string | undefined> = []
      const onHeaders = (headers: Readonly<Record<string, string | undefined>>) =>
        void seen.push(headers["x-ratelimit-reset"])
      const file = { operation: "files.get", model: "", method: "GET", path: "/files/f", file: "bytes" } as const
      const fiber = yield* Effect.forkChild(
        Effect.scoped(Effect.map(transport.open({ ...file, onHeaders }), ({ status }) => status)),
        { startImmediately: true }
      )
      far.receivers[0]!.onHeaders(302, { location: "https://store.example/f", "x-ratelimit-reset": "0" })
      for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
      far.receivers[1]!.onHeaders(200, { "x-ratelimit-reset": "1" })
      expect([yield* Fiber.join(fiber), seen]).toEqual([200, ["0"]])
    }))
})

const answer = { choices: [{ message: { role: "assistant", content: "hi" } }] }
const request = { model: "m", messages: [{ role: "user", content: "?" }] }
const options = { apiKey: Redacted.make("k"), baseUrl: "http://localhost/v1" }
const chat = Effect.flatMap(Together.Together, (together) => together.chat(request))

describe("Together.layer", () => {
  const fetchWith = (seen: Array<RequestInit | undefined>): typeof fetch => (_, init) => {
    seen.push(init)
    return Promise.resolve(Response.json(answer))
  }

  it.effect("uses the Fetch and the RequestInit of the layer's context", () =>
    Effect.gen(function*() {
      const seen: Array<RequestInit | undefined> = []
      const services = Layer.merge(
        Layer.succeed(FetchHttpClient.Fetch, fetchWith(seen)),
        Layer.succeed(FetchHttpClient.RequestInit, {
          keepalive: true,
          headers: { "X-Extra": "1", Authorization: "Bearer another" }
        })
      )
      const text = yield* Effect.map(chat, Chat.text).pipe(
        Effect.provide(Together.layer(options).pipe(Layer.provide(services)))
      )
      expect(text).toBe("hi")
      expect(seen).toMatchObject([{
        method: "POST",
        keepalive: true,
        headers: { "x-extra": "1", authorization: "Bearer k", "content-type": "application/json" }
      }])
    }))

  it.effect("takes no header of a RequestInit to another host, and all else of it", () =>
    Effect.gen(function*() {
      const init = { keepalive: true, headers: { "X-Extra": "1", Authorization: "Bearer another" } }
      const asks: ReadonlyArray<(files: Together.Service["files"]) => Effect.Effect<unknown, unknown>> = [
        (files) => files.get("f"),
        (files) => files.content("f")
      ]
      for (const ask of asks) {
        for (const place of ["layer", "call"]) {
          const seen: Array<RequestInit | undefined> = []
          const moving: typeof fetch = (_, init) => {
            seen.push(init)
            return Promise.resolve(
              seen.length === 1
                ? new Response(null, { status: 302, headers: { location: "http://store.example/f" } })
                : Response.json({ id: "f" })
            )
          }
          const services = Layer.merge(
            Layer.succeed(FetchHttpClient.Fetch, moving),
            place === "layer" ? Layer.succeed(FetchHttpClient.RequestInit, init) : Layer.empty
          )
          const asked = Effect.flatMap(Together.Together, ({ files }) => ask(files))
          yield* (place === "call" ? Effect.provideService(asked, FetchHttpClient.RequestInit, init) : asked).pipe(
            Effect.provide(Together.layer(options).pipe(Layer.provide(services)))
          )
          const headers = seen.map((sent) => new Headers(sent?.headers))
          expect(headers.map((sent) => [sent.get("x-extra"), sent.get("authorization")])).toEqual([
            ["1", "Bearer k"],
            [null, null]
          ])
          expect(seen).toMatchObject([{ keepalive: true }, { keepalive: true }])
        }
      }
    }))

  it.effect("takes a Fetch that throws, gives no response, or whose body fails, for a failed connection", () =>
    Effect.gen(function*() {
      const cut = new ReadableStream({ start: (controller) => controller.error(new Error("cut")) })
      const fetches: ReadonlyArray<typeof fetch> = [
        () => {
          throw new Error("thrown")
        },
        () => Promise.reject(new Error("rejected")),
        () => Promise.resolve(new Response(cut)),
        // what a mock gives that was not told what to answer
        () => Promise.resolve(undefined as never)
      ]
      for (const one of fetches) {
        const error = yield* Effect.flip(Effect.provideService(chat, FetchHttpClient.Fetch, one)).pipe(
          Effect.provide(Together.layer({ ...options, retry: Schedule.recurs(0) }))
        )
        expect(error).toMatchObject({ _tag: "ConnectionError", attempts: 1 })
        expect(error.message).toMatch(/thrown|rejected|cut|undefined/)
      }
    }))

  it.effect.each<[call: string | undefined, tag: string, phase: string | undefined]>([
    ["connect", "RequestTimeoutError", "connect"],
    [undefined, "RequestTimeoutError", "connect"],
    ["read", "ConnectionError", undefined]
  ])("takes a timeout of the system's call %s for %s", ([syscall, _tag, phase]) =>
    Effect.gen(function*() {
      const cause = Object.assign(new Error("ETIMEDOUT"), { code: "ETIMEDOUT", syscall })
      const fail: typeof fetch = () => Promise.reject(new TypeError("fetch failed", { cause }))
      const error = yield* Effect.flip(Effect.provideService(chat, FetchHttpClient.Fetch, fail)).pipe(
        Effect.provide(Together.layer({ ...options, retry: Schedule.recurs(0) }))
      )
      expect(error).toMatchObject(phase === undefined ? { _tag, permanent: false } : { _tag, phase })
    }))

  it.effect.each<[codes: ReadonlyArray<string>, syscall: string, sent: false | undefined]>([
    [["ECONNREFUSED"], "connect", false],
    [["ENETUNREACH", "ECONNREFUSED"], "connect", false],
    [["EAI_AGAIN"], "getaddrinfo", false],
    [["CERT_HAS_EXPIRED"], "connect", false],
    [["EHOSTUNREACH"], "read", undefined],
    [["ECONNREFUSED", "ECONNRESET"], "connect", undefined],
    [[], "connect", undefined]
  ])("knows whether anything was sent: %s of %s", ([codes, syscall, sent]) =>
    Effect.gen(function*() {
      const cause = new AggregateError(codes.map((code) => Object.assign(new Error(code), { code, syscall })))
      const fail: typeof fetch = () => Promise.reject(new TypeError("fetch failed", { cause }))
      const error = yield* Effect.flip(Effect.provideService(chat, FetchHttpClient.Fetch, fail)).pipe(
        Effect.provide(Together.layer({ ...options, retry: Schedule.recurs(0) }))
      )
      expect(error._tag === "ConnectionError" ? [error.sent, error.code] : error).toEqual([sent, codes[0]])
      expect(Credits.mayBeBilled(Exit.fail(error))).toBe(sent !== false)
    }))

  it.effect("takes a body that Fetch cannot send again for the 421 that asked for it", () =>
    Effect.gen(function*() {
      const cause = Object.assign(new Error("mismatch"), { code: "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH" })
      const fail: typeof fetch = () => Promise.reject(new TypeError("fetch failed", { cause }))
      const error = yield* Effect.flip(Effect.provideService(chat, FetchHttpClient.Fetch, fail)).pipe(
        Effect.provide(Together.layer(options))
      )
      expect(error).toMatchObject({ _tag: "InvalidRequestError", status: 421, attempts: 1 })
    }))

  it.live.each(["chat", "chatStream"] as const)(
    "takes a port that Fetch refuses for one never connected to: %s",
    (way) =>
      Effect.gen(function*() {
        const call = way === "chat"
          ? chat
          : Effect.flatMap(Together.Together, (together) => Stream.runDrain(together.chatStream(request)))
        const error = yield* Effect.flip(call).pipe(
          Effect.provide(Together.layer({ ...options, baseUrl: "http://127.0.0.1:1/v1" }))
        )
        expect(error).toMatchObject({ _tag: "ConnectionError", permanent: true, attempts: 1 })
        expect(error.message).toBe(
          "The connection failed (bad port): Fetch refuses this port of the base URL, and nothing was sent. Use another port, or the Undici transport (UndiciHttpClient)."
        )
        expect(Credits.mayBeBilled(Exit.fail(error))).toBe(false)
      })
  )

  it.effect("prefers the Fetch of the call's context", () =>
    Effect.gen(function*() {
      const [outer, inner]: [Array<RequestInit | undefined>, Array<RequestInit | undefined>] = [[], []]
      const layer = Together.layer(options).pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetchWith(outer))))
      yield* Effect.provideService(chat, FetchHttpClient.Fetch, fetchWith(inner)).pipe(Effect.provide(layer))
      expect([outer.length, inner.length]).toEqual([0, 1])
    }))
})

const streamed = Effect.flatMap(Together.Together, (together) => Stream.runDrain(together.chatStream(request)))

describe("Effect's Fetch", () => {
  const wrappings: ReadonlyArray<readonly [string, (client: HttpClient.HttpClient) => HttpClient.HttpClient]> = [
    ["as it is", (client) => client],
    ["behind mapRequest", HttpClient.mapRequest((request) => request)],
    ["behind transformResponse", HttpClient.transformResponse((response) => response)],
    ["behind transform", HttpClient.transform((response) => response)]
  ]

  /** What Fetch is told, with a `RequestInit` that only its own layer has. */
  const told = (wrap: (client: HttpClient.HttpClient) => HttpClient.HttpClient, init: RequestInit) =>
    Effect.gen(function*() {
      const seen: Array<RequestInit | undefined> = []
      const fetching: typeof fetch = (_, init) => {
        seen.push(init)
        return Promise.resolve(
          init?.method === "GET" && seen.length % 2 === 1
            ? new Response(null, { status: 302, headers: { location: "http://store.example/f" } })
            : Response.json(answer)
        )
      }
      const fetched = FetchHttpClient.layer.pipe(
        Layer.provide(Layer.merge(
          Layer.succeed(FetchHttpClient.Fetch, fetching),
          Layer.succeed(FetchHttpClient.RequestInit, init)
        ))
      )
      const wrapped = Layer.effect(HttpClient.HttpClient, Effect.map(HttpClient.HttpClient, wrap)).pipe(
        Layer.provide(fetched)
      )
      yield* Effect.flatMap(Together.Together, ({ chat, files }) => Effect.andThen(files.content("f"), chat(request)))
        .pipe(
          Effect.provide(Together.layerHttp(options).pipe(Layer.provide(wrapped)))
        )
      return seen.map((init) => [
        init?.method,
        init?.redirect,
        init?.keepalive,
        new Headers(init?.headers).get("x-extra")
      ])
    })

  it.effect.each(wrappings)("is told to follow no redirect: %s", ([name, wrap]) =>
    Effect.gen(function*() {
      const hidden = name === "behind transform"
      const [keepalive, extra] = hidden ? [undefined, null] : [true, "1"]
      expect(yield* told(wrap, { keepalive: true, headers: { "x-extra": "1" } })).toEqual([
        ["GET", "manual", keepalive, extra],
        ["GET", "manual", keepalive, null],
        ["POST", "error", keepalive, extra]
      ])
    }))

  it.effect("follows redirects where a RequestInit says so", () =>
    Effect.gen(function*() {
      const redirects = (yield* told((client) => client, { redirect: "follow" })).map(([, redirect]) => redirect)
      expect(redirects).toEqual(["follow", "follow", "follow"])
    }))
})

describe("a client that refuses by status", () => {
  it.effect.each<[status: number, tag: string]>([
    [401, "AuthError"],
    [402, "InsufficientCreditsError"],
    [404, "NotFoundError"],
    [429, "RateLimitError"]
  ])("says what a %d says", ([status, tag]) =>
    Effect.gen(function*() {
      for (const call of [chat, streamed]) {
        let sent = 0
        const client = HttpClient.filterStatusOk(HttpClient.make((request) => {
          sent++
          const headers = { "retry-after": "7", "x-request-id": "r" }
          return Effect.succeed(HttpClientResponse.fromWeb(request, new Response("{}", { status, headers })))
        }))
        const error = yield* Effect.flip(call).pipe(
          Effect.provide(
            Together.layerHttp({ ...options, retry: Schedule.recurs(0) }).pipe(
              Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
            )
          )
        )
        expect(error).toMatchObject({ _tag: tag, status, requestId: "r", retryAfter: Duration.seconds(7), attempts: 1 })
        expect([sent, Credits.mayBeBilled(Exit.fail(error))]).toEqual([1, false])
      }
    }))
})

describe("a client that somebody wrapped", () => {
  it.effect("carries every exchange through the wrapping", () =>
    Effect.gen(function*() {
      const requested: Array<string | undefined> = []
      const bare = Shortcut.attach(
        HttpClient.make((request) => {
          requested.push(request.headers["x-wrapped"])
          return Effect.succeed(HttpClientResponse.fromWeb(request, Response.json(answer)))
        }),
        () => {
          throw new Error("the shortcut was taken")
        }
      )
      const wrapped = HttpClient.mapRequest(bare, (request) => ({
        ...request,
        headers: { ...request.headers, "x-wrapped": "yes" }
      } as typeof request))
      yield* chat.pipe(
        Effect.provide(
          Together.layerHttp(options).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, wrapped)))
        )
      )
      expect(requested).toEqual(["yes"])
    }))

  it.effect("is read through its own stream where it wrapped the response", () =>
    Effect.gen(function*() {
      let pulled = 0
      const event = `data: ${
        JSON.stringify({ choices: [{ index: 0, delta: { content: "a" }, finish_reason: "stop" }] })
      }\n\n`
      const client = HttpClient.make((request) => {
        const response = HttpClientResponse.fromWeb(
          request,
          new Response(event, { headers: { "content-type": "text/event-stream" } })
        )
        return Effect.succeed<HttpClientResponse.HttpClientResponse>(Object.create(response, {
          stream: { get: () => Stream.tap(response.stream, () => Effect.sync(() => pulled++)) }
        }))
      })
      const chunks = yield* Effect.flatMap(
        Together.Together,
        (together) => Stream.runCollect(together.chatStream(request))
      ).pipe(
        Effect.provide(Together.layerHttp(options).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client))))
      )
      expect([chunks.length, pulled]).toEqual([1, 1])
    }))
})
