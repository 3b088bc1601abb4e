/**
 * Counts simulated calls per minute of real time, on one core: `node bench/simulate/main.ts [calls] [in flight]`.
 *
 * Every call goes the whole way: `Together.chat`, schema, span, lane, retry, transport, the simulated provider with its
 * limits (dynamic, unknown to the client), latencies and token counts, and back. Time is virtual.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Reply from "../../src/testing/Reply.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"

const calls = Number(process.argv[2] ?? 100_000)
const inFlight = Number(process.argv[3] ?? 64)
const model = Reply.defaultModel

const work = (client: HttpClient.HttpClient) =>
  Effect.gen(function*() {
    const { chat } = yield* Together.Together
    let failed = 0
    yield* Effect.forEach(
      Array.from({ length: calls }, (_, index) => index),
      (index) =>
        Effect.catch(
          chat({ model, max_tokens: 50, messages: [{ role: "user", content: `Prompt number ${index}.` }] }),
          () => Effect.sync(() => void failed++)
        ),
      { concurrency: inFlight, discard: true }
    )
    return failed
  }).pipe(
    Effect.provide(
      Together.layerHttp({ apiKey: Redacted.make("key") }).pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
      )
    )
  )

const measure = async (name: string, client: HttpClient.HttpClient) => {
  const cpu = process.cpuUsage()
  const started = performance.now()
  const { elapsed, exit, jumps } = await Effect.runPromise(VirtualClock.run(work(client), { limit: "3650 days" }))
  const millis = performance.now() - started
  const used = process.cpuUsage(cpu)
  const cpuMillis = (used.user + used.system) / 1000
  if (Exit.isFailure(exit)) throw new Error(String(exit.cause))
  console.log(
    `${name}: ${calls} calls, ${exit.value} failed, ${(millis / 1000).toFixed(1)} s real, ${
      (cpuMillis / 1000).toFixed(1)
    } s of CPU, ${Duration.format(elapsed)} virtual, ${jumps} jumps: ${
      Math.round(calls / millis * 60_000)
    } calls per minute (${Math.round(calls / cpuMillis * 60_000)} per minute of CPU)`
  )
}

const scripted = HttpClient.make((request) =>
  Reply.send(Reply.after(Reply.chat("An answer of a few words."), "300 millis"), request)
)
await measure("scripted provider", scripted)
await measure("simulated provider, no limits", SimulatedProvider.make({ limits: {} }).client)
const limits = { requestsPerSecond: 40, tokensPerSecond: 20_000 }
await measure("simulated provider, limits unknown to the client", SimulatedProvider.make({ limits }).client)
