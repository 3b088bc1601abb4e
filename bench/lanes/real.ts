/**
 * The whole client in real time, over sockets, beside the same client in virtual time: what the virtual benchmarks show
 * holds for users only where both agree.
 *
 * `node bench/lanes/real.ts [--only cap] [--seed 1] [--calls 400]`
 *
 * The emulator runs in a process of its own, one port for each scenario; all scenarios run side by side, since they mostly
 * wait. Takes a minute or two. The ideal is that of the client who knows all.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { fork } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:http"
import { parseArgs } from "node:util"
import * as Emulator from "../../src/testing/Emulator.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import { percent } from "./drawn.ts"
import * as Outcome from "./outcome.ts"
import { base, modelName, type Scenario, sizes, type Work, workload } from "./scenarios.ts"

const { values } = parseArgs({
  options: {
    calls: { type: "string", default: "400" },
    only: { type: "string", default: "" },
    seed: { type: "string", default: "1" },
    serve: { type: "boolean", default: false }
  }
})
const calls = Number(values.calls)
const seed = Number(values.seed)

const common = { ...base, latency: { kind: "lognormal", mean: 0.5, sigma: 0.4 } } as const
const ten = { ...common, limits: { requestsPerSecond: 10 } }
const scenario = (name: string, options: Simulation.Options, more: Partial<Scenario> = {}): Scenario => ({
  name,
  title: name,
  options,
  ratio: 1.05,
  waste: 0.03,
  ...more
})
const scenarios = [
  scenario("requests", ten),
  scenario("no headers", { ...ten, headers: "none" }),
  scenario("tokens", { ...common, limits: { requestsPerSecond: 10, tokensPerSecond: 3000 } }, { sizes: sizes.two }),
  scenario("cap 8", { ...common, limits: { maxInFlight: 8 } }),
  scenario("30 % answer 503", { ...ten, faults: [{ probability: 0.3, kind: 503 }] }),
  scenario("outage of 8 s", { ...ten, outages: [{ from: 15, to: 23, kind: 503 }] }),
  scenario("falls 10 → 3", { ...ten, changes: [{ at: 15, requestsPerSecond: 3 }, { at: 40, requestsPerSecond: 10 }] }),
  scenario("dynamic", {
    ...common,
    limits: {},
    dynamic: { growth: 2, windowSeconds: 20, slots: 20, floorRequestsPerSecond: 5, capRequestsPerSecond: 100 }
  })
].filter(({ name }) => name.includes(values.only))

/** Serves an emulator on a free port, and reads that. */
const listen = Effect.fnUntraced(function*({ options }: Scenario) {
  const context = yield* Layer.build(NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" }))
  const app = Emulator.app({ options: { ...options, unknownModels: "accept" }, seed })
  yield* Effect.provide(HttpServer.serveEffect(app), context)
  const { address } = Context.get(context, HttpServer.HttpServer)
  return "port" in address ? address.port : 0
})

/** Serves the emulators until the parent is gone. */
const serve = Effect.gen(function*() {
  const ports = yield* Effect.forEach(scenarios, listen)
  process.send?.(ports)
  yield* Effect.promise(() => once(process, "disconnect"))
})

/** Sends all calls, as a program would; counts what ends as a failure, and the seconds. */
const program = (work: ReadonlyArray<Work>) =>
  Effect.gen(function*() {
    const together = yield* Together.Together
    const start = yield* Clock.currentTimeMillis
    const call = ({ id, inputTokens, maxTokens }: Work) =>
      Effect.isFailure(together.chat({
        model: modelName,
        max_tokens: maxTokens,
        messages: [{ role: "user", content: String(id).padEnd(4 * (inputTokens - 4), " word") }]
      }))
    const lost = yield* Effect.forEach(work, call, { concurrency: "unbounded" })
    return { lost: lost.filter(Boolean).length, seconds: ((yield* Clock.currentTimeMillis) - start) / 1000 }
  })

const apiKey = Redacted.make("k")

const inVirtualTime = ({ options }: Scenario, work: ReadonlyArray<Work>) =>
  Effect.gen(function*() {
    const ended = yield* program(work)
    const { counters } = yield* SimulatedProvider.SimulatedProvider
    return { ...ended, counters: yield* counters }
  }).pipe(
    Effect.provide(
      Together.layerHttp({ apiKey }).pipe(
        Layer.provideMerge(SimulatedProvider.layer({ ...options, unknownModels: "accept" }, seed))
      )
    ),
    VirtualClock.wrap
  )

const inRealTime = (port: number, work: ReadonlyArray<Work>) =>
  Effect.gen(function*() {
    const ended = yield* program(work)
    const answer = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/__emulator/state`))
    const { counters }: Pick<Simulation.State, "counters"> = yield* Effect.promise(() => answer.json())
    return { ...ended, counters }
  }).pipe(Effect.provide(Together.layer({ apiKey, baseUrl: `http://127.0.0.1:${port}/v1` })))

const compare = Effect.gen(function*() {
  const server = fork(import.meta.filename, [...process.argv.slice(2), "--serve"])
  const [ports]: Array<Array<number>> = yield* Effect.promise(() => once(server, "message"))
  const played = yield* Effect.forEach(scenarios, (scenario, i) => {
    const work = workload(scenario, calls, seed)
    return Effect.map(inRealTime(ports?.[i] ?? 0, work), (real) => ({ scenario, work, real }))
  }, { concurrency: "unbounded" })
  server.disconnect()
  console.log("| scenario | real: time ÷ ideal | wasted | lost | virtual: time ÷ ideal | wasted | lost |")
  console.log("| --- | --- | --- | --- | --- | --- | --- |")
  for (const { real, scenario, work } of played) {
    const ideal = Outcome.ideal(scenario, seed, work)
    const virtual = yield* inVirtualTime(scenario, work)
    const columns = [real, virtual].flatMap(({ counters, lost, seconds }) => {
      const { wasted } = Outcome.counted({ counters: () => counters }, calls, lost)
      return [(seconds / ideal).toFixed(3), percent(wasted / calls), lost]
    })
    console.log(`| ${[scenario.name, ...columns].join(" | ")} |`)
  }
})

await (values.serve ? Effect.runPromise(Effect.scoped(serve)) : Effect.runPromise(compare))
