import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { createServer } from "node:http"
import * as Emulator from "../../src/testing/Emulator.ts"
const server = Layer.provideMerge(Emulator.layer({ options: { limits: {}, latency: {kind:"constant",value:0.005}, outputTokens: {kind:"constant",value:50} } }), NodeHttpServer.layerServer(createServer, { port: 0, host: "127.0.0.1" }))
await Effect.runPromise(Effect.gen(function*() {
  const { address } = yield* HttpServer.HttpServer
  const url = `http://127.0.0.1:${(address as any).port}/v1/chat/completions`
  const one = (i: number) => Effect.promise(async () => { const r = await fetch(url, { method: "POST", headers: { authorization: "Bearer x" }, body: JSON.stringify({ model: "openai/gpt-oss-20b", messages: [{ role: "user", content: "p" + i }] }) }); await r.text(); return r.status })
  const t = performance.now()
  const statuses = yield* Effect.forEach(Array.from({ length: 3000 }, (_, i) => i), one, { concurrency: 64 })
  console.log("3000 in ms", performance.now() - t, new Set(statuses))
}).pipe(Effect.provide(server)))
