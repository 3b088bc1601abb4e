/**
 * The two ways of an exchange, past the `HttpClient` and through it, on a clock that the test moves.
 */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Redacted, Schedule, Stream } from "effect"
import { Chat, Together } from "effect-together"
import { VirtualClock } from "effect-together/testing"
import { FetchHttpClient, HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as Shortcut from "../../src/together/Shortcut.ts"
import * as Transport from "../../src/together/Transport.ts"

const exchange = { operation: "chat", model: "m", method: "POST", path: "/chat", json: { a: 1 } } as const

/** A client whose far side is the test. */
const scripted = (way: "short" | "long") => {
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
      sent.push({ ...outgoing, url: outgoing.url.href })
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
      baseUrl: "http://localhost/v1",
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
      to.onHeaders(200, {})
      yield* settle
      yield* TestClock.adjust("4999 millis")
      expect([fiber.pollUnsafe(), given()]).toEqual([undefined, 0])
      yield* TestClock.adjust("1 millis")
      const error = yield* Effect.flip(Fiber.join(fiber))
      expect(error).toMatchObject({ _tag: "RequestTimeoutError", phase: "body" })
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
      to.onHeaders(200, {})
      yield* settle
      to.onFailure(Object.assign(new Error("socket hang up"), { code: "ECONNRESET" }))
      const error = yield* Effect.flip(Fiber.join(fiber))
      expect(error).toMatchObject({ _tag: "ConnectionError", permanent: false })
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

  it.effect("sends nothing to another host", () =>
    Effect.gen(function*() {
      const far = scripted(way)
      const transport = yield* far.transport
      const error = yield* Effect.flip(transport.exchange({ ...exchange, path: "https://example.com/v1/chat" }))
      expect([error._tag, far.sent.length]).toEqual(["InvalidRequestError", 0])
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
      const { answer, close, fiber, write } = yield* begin({ file: true })
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
      const { answer, fiber, write } = yield* begin({ file: true })
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

  it.effect("takes a Fetch that throws, or whose body fails, for a failed connection", () =>
    Effect.gen(function*() {
      const cut = new ReadableStream({ start: (controller) => controller.error(new Error("cut")) })
      const fetches: ReadonlyArray<typeof fetch> = [
        () => {
          throw new Error("thrown")
        },
        () => Promise.reject(new Error("rejected")),
        () => Promise.resolve(new Response(cut))
      ]
      for (const one of fetches) {
        const error = yield* Effect.flip(Effect.provideService(chat, FetchHttpClient.Fetch, one)).pipe(
          Effect.provide(Together.layer({ ...options, retry: Schedule.recurs(0) }))
        )
        expect(error).toMatchObject({ _tag: "ConnectionError", attempts: 1 })
        expect(error.message).toMatch(/thrown|rejected|cut/)
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

  it.effect("prefers the Fetch of the call's context", () =>
    Effect.gen(function*() {
      const [outer, inner]: [Array<RequestInit | undefined>, Array<RequestInit | undefined>] = [[], []]
      const layer = Together.layer(options).pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetchWith(outer))))
      yield* Effect.provideService(chat, FetchHttpClient.Fetch, fetchWith(inner)).pipe(Effect.provide(layer))
      expect([outer.length, inner.length]).toEqual([0, 1])
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
