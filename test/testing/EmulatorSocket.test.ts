import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { describe, expect, it } from "@effect/vitest"
import { type Context, Duration, Effect, Fiber, Layer, Stream } from "effect"
import {
  FetchHttpClient,
  HttpClient,
  HttpClientRequest,
  HttpServer,
  HttpServerRequest,
  type HttpServerResponse
} from "effect/http"
import { NetAddress } from "effect/net"
import { createServer } from "node:http"
import * as Emulator from "../../src/testing/Emulator.ts"
import * as Fault from "../../src/testing/Fault.ts"
import * as Faults from "../../src/testing/Faults.ts"
import { question } from "./emulator.ts"

const options = {
  limits: {},
  firstToken: { kind: "constant", value: 0.01 },
  tokensPerSecond: { kind: "constant", value: 100 },
  outputTokens: { kind: "constant", value: 6 }
} as const

const server = NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })

const ask = Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const port = "port" in address ? address.port : 0
  return yield* HttpClient.execute(
    HttpClientRequest.post(`http://127.0.0.1:${port}/v1/chat/completions`).pipe(
      HttpClientRequest.bearerToken("key"),
      HttpClientRequest.bodyJsonUnsafe({ ...question("x"), stream: true })
    )
  )
})

/** Counts the events that reach a client before its stream breaks. */
const events = Effect.gen(function*() {
  const seen: Array<string> = []
  const response = yield* ask
  const exit = yield* Effect.exit(
    Stream.runForEach(Stream.decodeText(response.stream), (text) => Effect.sync(() => void seen.push(text)))
  )
  return { end: exit._tag, events: seen.join("").split("\n\n").length - 1 }
})

describe("Emulator, over a socket", () => {
  it.live("hands over all that was written before a cut", () =>
    Effect.gen(function*() {
      const middleware = yield* Faults.middleware(Faults.plan([Fault.cutAtEvent(1)]))
      yield* HttpServer.serveEffect(middleware(Emulator.app({ options })))
      expect(yield* events).toStrictEqual({ end: "Failure", events: 1 })
    }).pipe(Effect.scoped, Effect.provide([server, FetchHttpClient.layer])))

  it.live("hands over every token that was made before its own cut", () =>
    Effect.gen(function*() {
      const { end, events: count } = yield* events
      const { counters } = yield* Emulator.Emulator.use(({ state }) => state)
      expect([end, count]).toStrictEqual(["Failure", counters.outputTokens])
      expect(count).toBeGreaterThan(0)
    }).pipe(Effect.provide([
      Emulator.layer({ options: { ...options, faults: [{ probability: 1, kind: "cut", stage: "engine" }] }, seed: 3 })
        .pipe(Layer.provideMerge(server)),
      FetchHttpClient.layer
    ])))

  it.live("closes at once, whatever is still open", () =>
    Effect.gen(function*() {
      const hang = { ...options, faults: [{ probability: 1, kind: "hang" }] } as const
      const slow = { ...options, tokensPerSecond: { kind: "constant", value: 0.01 } } as const
      for (const open of [hang, slow]) {
        const emulator = Emulator.layer({ options: open }).pipe(Layer.provideMerge(server))
        const [closing] = yield* Effect.timed(
          Effect.gen(function*() {
            const fiber = yield* Effect.forkDetach(Effect.exit(events), { startImmediately: true })
            yield* Effect.sleep("50 millis")
            return fiber
          }).pipe(Effect.provide(Layer.merge(emulator, FetchHttpClient.layer)), Effect.tap(Fiber.interrupt))
        )
        expect(Duration.toSeconds(closing)).toBeLessThan(15)
      }
    }), 40_000)

  it.effect("ends the connection of a client who asks once more, or a server that closes would wait for it", () =>
    Effect.gen(function*() {
      let serve: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, HttpServerRequest.HttpServerRequest> =
        Effect.die("nothing is served")
      const held = HttpServer.make({
        address: NetAddress.unixPathAddress("none"),
        serve: (app) =>
          Effect.contextWith((context: Context.Context<never>) =>
            Effect.sync(() => void (serve = Effect.provide(app as typeof serve, context)))
          )
      })
      yield* Effect.provide(
        Effect.void,
        Emulator.layer().pipe(Layer.provide(Layer.succeed(HttpServer.HttpServer, held)))
      )
      const request = HttpServerRequest.fromWeb(new Request("http://localhost/v1/models"))
      const response = yield* Effect.provideService(serve, HttpServerRequest.HttpServerRequest, request)
      expect([response.status, response.headers["connection"]]).toEqual([503, "close"])
    }))
})
