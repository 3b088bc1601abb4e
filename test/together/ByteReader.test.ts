import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Redacted, Scope, Stream } from "effect"
import { Chat, Together } from "effect-together"
import { HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import * as Layer from "effect/Layer"
import { VirtualClock } from "effect-together/testing"
import * as ByteReader from "../../src/together/stream/ByteReader.ts"

const utf8 = new TextEncoder()
const request = HttpClientRequest.get("http://localhost")

/** A web body whose far side is the test. */
const source = () => {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  let cancelled = 0
  const body = new ReadableStream<Uint8Array>({
    start: (started) => {
      controller = started
    },
    cancel: () => void cancelled++
  })
  return { body, cancelled: () => cancelled, to: controller! }
}

/** A response as Effect makes it, or the same with its stream wrapped. */
const response = (kind: "web" | "wrapped", body: ReadableStream<Uint8Array>): HttpClientResponse.HttpClientResponse => {
  const plain = HttpClientResponse.fromWeb(request, new Response(body))
  return kind === "web"
    ? plain
    : Object.create(plain, { stream: { get: () => Stream.map(plain.stream, (bytes) => bytes) } })
}

/** Demands once, and says what came of it. */
const taken = (reader: ByteReader.ByteReader<unknown>) =>
  Effect.callback<ReadonlyArray<string> | "end" | "failure">((resume) =>
    reader.demand({
      onPieces: (pieces) => resume(Effect.succeed(pieces.map((piece) => new TextDecoder().decode(piece)))),
      onEnd: () => resume(Effect.succeed("end")),
      onFailure: () => resume(Effect.succeed("failure"))
    })
  )

const settle = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 2)))

describe.each(["web", "wrapped"] as const)("ByteReader of a %s body", (kind) => {
  it.live("hands every piece over once, in order, and then the end", () =>
    Effect.gen(function*() {
      const { body, to } = source()
      const reader = yield* ByteReader.make(response(kind, body))
      const seen: Array<string> = []
      for (let i = 0; i < 200; i++) {
        if (i % 3 === 0) yield* Effect.yieldNow
        to.enqueue(utf8.encode(`${i}`))
      }
      to.close()
      for (;;) {
        const got = yield* taken(reader)
        if (typeof got === "string") {
          seen.push(got)
          break
        }
        expect(got.length).toBeLessThanOrEqual(ByteReader.defaults.maxPieces)
        seen.push(...got)
      }
      expect(seen).toEqual([...Array.from({ length: 200 }, (_, i) => `${i}`), "end"])
    }))

  it.live("keeps what comes after a demand was withdrawn for the next", () =>
    Effect.gen(function*() {
      const { body, to } = source()
      const reader = yield* ByteReader.make(response(kind, body))
      reader.demand({
        onPieces: () => expect.unreachable(),
        onEnd: () => expect.unreachable(),
        onFailure: () => expect.unreachable()
      })
      yield* settle
      reader.withdraw()
      to.enqueue(utf8.encode("late"))
      yield* settle
      expect(yield* taken(reader)).toEqual(["late"])
    }))

  it.live("hands over what arrived before it says that the body failed", () =>
    Effect.gen(function*() {
      const { body, to } = source()
      const reader = yield* ByteReader.make(response(kind, body))
      to.enqueue(utf8.encode("first"))
      expect(yield* taken(reader)).toEqual(["first"])
      to.error(new Error("cut"))
      expect(yield* taken(reader)).toBe("failure")
    }))

  it.live("cancels the body with the scope", () =>
    Effect.gen(function*() {
      const { body, cancelled, to } = source()
      const scope = yield* Scope.make()
      const reader = yield* Scope.provide(ByteReader.make(response(kind, body)), scope)
      to.enqueue(utf8.encode("first"))
      yield* taken(reader)
      expect(cancelled()).toBe(0)
      yield* Scope.close(scope, Exit.void)
      expect(cancelled()).toBe(1)
    }))
})

describe("ByteReader of a web body", () => {
  it.live("takes along what has arrived already, up to a limit, and waits for no more", () =>
    Effect.gen(function*() {
      const { body, to } = source()
      const reader = yield* ByteReader.make(response("web", body))
      for (let i = 0; i < 40; i++) to.enqueue(utf8.encode("x"))
      const sizes: Array<number> = []
      for (let i = 0; i < 2; i++) sizes.push((yield* taken(reader)).length)
      expect(sizes).toEqual([32, 8])
    }))

  it.live("reads nothing before somebody asks, and one piece ahead at the most afterwards", () =>
    Effect.gen(function*() {
      let pulls = 0
      const body = new ReadableStream<Uint8Array>({
        pull: (controller) => {
          pulls++
          return new Promise((resolve) => setTimeout(() => resolve(controller.enqueue(utf8.encode("x"))), 1))
        }
      }, { highWaterMark: 0 })
      const reader = yield* ByteReader.make(response("web", body))
      yield* settle
      expect(pulls).toBe(0)
      yield* taken(reader)
      yield* Effect.sleep("20 millis")
      expect(pulls).toBeLessThanOrEqual(2)
    }))
})

describe("a consumer who takes longer than the idle timeout over every chunk", () => {
  const event = (content: string, finish: string | null = null) =>
    utf8.encode(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`)

  it.effect.each(["web", "wrapped"] as const)(
    "has not met a silent provider: %s body",
    (kind) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const events = [event("a"), event("b"), event("c", "stop"), utf8.encode("data: [DONE]\n\n")]
        const client = HttpClient.make((sent) => {
          const body = new ReadableStream<Uint8Array>({
            pull: (controller) => {
              const next = events.shift()
              if (next === undefined) controller.close()
              else controller.enqueue(next)
            }
          }, { highWaterMark: 0 })
          const plain = HttpClientResponse.fromWeb(
            sent,
            new Response(body, { headers: { "content-type": "text/event-stream" } })
          )
          return Effect.succeed(
            kind === "web" ? plain : Object.create(plain, { stream: { get: () => Stream.map(plain.stream, (b) => b) } })
          )
        })
        const together = Together.layerHttp({
          apiKey: Redacted.make("k"),
          baseUrl: "http://localhost/v1",
          timeouts: { idle: "30 seconds" }
        }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
        const seen: Array<string> = []
        yield* Effect.flatMap(Together.Together, (client) =>
          Stream.runForEach(
            Stream.rechunk(client.chatStream({ model: "m", messages: [{ role: "user", content: "?" }] }), 1),
            (chunk) => Effect.andThen(Effect.sleep("1 minute"), Effect.sync(() => seen.push(Chat.deltaText(chunk))))
          )).pipe(Effect.provide(together))
        expect(seen).toEqual(["a", "b", "c"])
      }))
  )
})
