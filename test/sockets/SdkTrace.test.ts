/**
 * The same seed gives the same trace in process and over a real port.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import * as Emulator from "../../src/testing/Emulator.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const options: Simulation.Options = {
  limits: {},
  firstToken: { kind: "uniform", min: 0.01, max: 0.03 },
  tokensPerSecond: { kind: "constant", value: 10_000 },
  refusalSeconds: 0.001,
  faults: [{ probability: 0.2, kind: 503 }, { probability: 0.1, kind: "reset" }, { probability: 0.1, kind: 524 }]
}

const ask = (i: number) =>
  HttpClientRequest.post("/v1/chat/completions").pipe(
    HttpClientRequest.bearerToken("key"),
    HttpClientRequest.bodyJsonUnsafe({
      model: "openai/gpt-oss-20b",
      messages: [{ role: "user", content: `Prompt ${i % 15}` }]
    })
  )

/** Sends 40 requests one after another; gives what came back, but for the clock's time of creation. */
const trace = Effect.gen(function*() {
  const client = yield* HttpClient.HttpClient
  return yield* Effect.forEach(Array.from({ length: 40 }, (_, i) => i), (i) =>
    client.execute(ask(i)).pipe(
      Effect.flatMap((response) =>
        Effect.map(response.text, (text) => [response.status, text.replace(/"created":\d+/, "\"created\":0")])
      ),
      Effect.catch((error) => Effect.succeed([error.reason._tag]))
    ))
})

it.live("gives the same trace in process and over a port", () =>
  Effect.gen(function*() {
    const inProcess = yield* VirtualClock.run(
      Effect.flatMap(HttpClient.HttpClient, (client) =>
        Effect.provideService(
          trace,
          HttpClient.HttpClient,
          HttpClient.mapRequest(client, HttpClientRequest.prependUrl("http://emulator.test"))
        )).pipe(Effect.provide(SimulatedProvider.layer(options, 12)))
    )
    const overPort = yield* trace.pipe(
      Effect.provide(
        Layer.provideMerge(Emulator.layer({ options, seed: 12 }), NodeHttpServer.layerTest)
      )
    )
    const expected = yield* inProcess.exit
    expect(overPort).toEqual(expected)
    expect(new Set(expected.map(([first]) => first))).toEqual(new Set([200, 503, 524, "TransportError"]))
  }))
