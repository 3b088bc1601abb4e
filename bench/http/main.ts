/**
 * Compares the whole client with bare transports and with other SDKs: time per sequential call, calls per second at 64
 * in flight. All clients take turns in one process against one server process; only ratios mean something.
 *
 *     node bench/http/main.ts [--rounds 7] [--json file]
 *
 * Each client is warmed up for six seconds.
 */
import { createTogetherAI } from "@ai-sdk/togetherai"
import { generateText } from "ai"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { Chat, Together, UndiciHttpClient } from "../../src/index.ts"
import { median } from "../measure.ts"
import { fork } from "node:child_process"
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import OpenAI from "openai"
import TogetherSdk from "together-ai"
import { Agent, request as undiciRequest } from "undici"

const { values } = parseArgs({ options: { rounds: { type: "string", default: "7" }, json: { type: "string" } } })
const rounds = Number(values.rounds)
const child = fork(new URL("./server.ts", import.meta.url))
const port = await new Promise<number>((resolve) => child.once("message", (message) => resolve(Number(message))))
const baseUrl = `http://127.0.0.1:${port}/v1`
const url = `${baseUrl}/chat/completions`
const request = { model: "m", messages: [{ role: "user" as const, content: "What is two and two?" }], max_tokens: 16 }
const headers = { authorization: "Bearer k", "content-type": "application/json" }
const inFlight = 64

interface Client {
  readonly name: string
  readonly sequential: (calls: number) => Promise<void>
  readonly parallel: (calls: number) => Promise<void>
}

const promised = (name: string, call: () => Promise<unknown>): Client => ({
  name,
  sequential: async (calls) => {
    for (let i = 0; i < calls; i++) await call()
  },
  parallel: async (calls) => {
    let left = calls
    await Promise.all(Array.from({ length: inFlight }, async () => {
      while (left-- > 0) await call()
    }))
  }
})

const ours = (name: string, layer: Layer.Layer<Together.Together, Together.LayerError>): Client => {
  const runtime = ManagedRuntime.make(layer)
  const many = (calls: number, concurrency: number) =>
    runtime.runPromise(
      Effect.flatMap(Together.Together, (together) =>
        Effect.forEach(Array.from({ length: calls }), () =>
          Effect.map(together.chat(request), Chat.text), {
          concurrency,
          discard: true
        }))
    )
  return { name, sequential: (calls) => many(calls, 1), parallel: (calls) => many(calls, inFlight) }
}

const agent = new Agent({ connections: 256 })
const together = new TogetherSdk({ apiKey: "k", baseURL: baseUrl, maxRetries: 0 })
const openai = new OpenAI({ apiKey: "k", baseURL: baseUrl, maxRetries: 0 })
const vercel = createTogetherAI({ apiKey: "k", baseURL: baseUrl })
const options = { apiKey: Redacted.make("k"), baseUrl }

const clients: ReadonlyArray<Client> = [
  promised("bare fetch", async () => {
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(request) })
    return response.json()
  }),
  promised("undici.request", async () => {
    const response = await undiciRequest(url, {
      method: "POST",
      headers,
      body: JSON.stringify(request),
      dispatcher: agent
    })
    return response.body.json()
  }),
  promised("together-ai", () => together.chat.completions.create(request)),
  promised("openai", () => openai.chat.completions.create(request)),
  promised(
    "ai + @ai-sdk/togetherai",
    () => generateText({ model: vercel("m"), prompt: "What is two and two?", maxRetries: 0 })
  ),
  ours("effect-together, Fetch", Together.layer(options)),
  ours("effect-together, Undici", Together.layerHttp(options).pipe(Layer.provide(UndiciHttpClient.layer(agent))))
]

const seconds = async (run: () => Promise<void>) => {
  const began = performance.now()
  await run()
  return (performance.now() - began) / 1000
}

const sequentialCalls = 300
const parallelCalls = 2000
const rows = clients.map(({ name }) => ({ name, perCall: [] as Array<number>, perSecond: [] as Array<number> }))
// connections are open, code is compiled, and a lane has found that there is no limit: it starts at 10 a second
for (const client of clients) {
  await client.sequential(sequentialCalls)
  const until = performance.now() + 6000
  while (performance.now() < until) await client.parallel(parallelCalls)
}
for (let round = 0; round < rounds; round++) {
  for (const [i, client] of clients.entries()) {
    rows[i]?.perCall.push(await seconds(() => client.sequential(sequentialCalls)) / sequentialCalls * 1e6)
    rows[i]?.perSecond.push(parallelCalls / await seconds(() => client.parallel(parallelCalls)))
  }
}

const table = rows.map((row) => ({
  client: row.name,
  perCallMicros: median(row.perCall),
  perSecond: median(row.perSecond),
  // ratios round by round, so that a drifting machine cancels out
  perCallToFetch: median(row.perCall.map((value, i) => value / (rows[0]?.perCall[i] ?? NaN))),
  perSecondToFetch: median(row.perSecond.map((value, i) => value / (rows[0]?.perSecond[i] ?? NaN)))
}))
console.log(`median of ${rounds} rounds; ratios to bare fetch in the same round`)
console.log("| client | time per sequential call | ratio | calls per second at 64 in flight | ratio |")
console.log("| --- | --- | --- | --- | --- |")
for (const row of table) {
  console.log(
    `| ${row.client} | ${row.perCallMicros.toFixed(0)} µs | ${row.perCallToFetch.toFixed(2)} | ${
      row.perSecond.toFixed(0)
    } | ${row.perSecondToFetch.toFixed(2)} |`
  )
}
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(table, null, 2))
child.kill()
process.exit(0)
