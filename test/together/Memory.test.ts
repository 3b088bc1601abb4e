/**
 * What a stream leaves behind among the old objects, where only a full collection frees it: not the stream itself.
 */
import { describe, expect, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { nodeMajor } from "../engine.ts"

const source = (path: string) => new URL(`../../src/${path}`, import.meta.url).href

describe("chatStream", () => {
  // the web streams of Node 22 leave more themselves
  it.runIf(nodeMajor >= 24)("does not leave whole streams among the old objects", () => {
    const script = `
      import { Effect, Layer, ManagedRuntime, Redacted, Stream } from "effect"
      import { HttpClient, HttpClientResponse } from "effect/http"
      import { getHeapSpaceStatistics } from "node:v8"
      import * as Together from ${JSON.stringify(source("together/Together.ts"))}
      const chunk = (content, finish_reason) => "data: " + JSON.stringify({ id: "i", object: "chat.completion.chunk",
        created: 1, model: "m", choices: [{ index: 0, delta: { content }, finish_reason }] }) + "\\n\\n"
      const bytes = new TextEncoder().encode(chunk("a", null) + chunk("b", "stop") + "data: [DONE]\\n\\n")
      const http = HttpClient.make((request) => Effect.callback((resume) => {
        setImmediate(() => {
          const body = new ReadableStream({ start: (c) => { c.enqueue(bytes); c.close() } })
          const response = new Response(body, { headers: { "content-type": "text/event-stream" } })
          resume(Effect.succeed(HttpClientResponse.fromWeb(request, response)))
        })
      }))
      const client = Together.layerHttp({ apiKey: Redacted.make("k"), lanes: { start: { requestsPerMinute: 6e7 } } })
      const runtime = ManagedRuntime.make(Layer.provide(client, Layer.succeed(HttpClient.HttpClient, http)))
      const request = { model: "m", messages: [{ role: "user", content: "p" }] }
      const drain = (times) => runtime.runPromise(Effect.flatMap(Together.Together, (together) =>
        Effect.forEach(Array.from({ length: times }), () => Stream.runDrain(together.chatStream(request)), { discard: true })))
      const old = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === "old_space").space_used_size
      await drain(300)
      const grown = []
      for (let round = 0; round < 3; round++) {
        gc()
        const before = old()
        await drain(300)
        grown.push((old() - before) / 300)
      }
      console.log(Math.min(...grown))
    `
    const { stderr, stdout } = spawnSync(process.execPath, [
      "--expose-gc",
      "--no-allocation-site-pretenuring",
      "--input-type=module",
      "-e",
      script
    ], { encoding: "utf8" })
    expect(stderr).toBe("")
    // the least of three rounds, too short for a table to double in: 580 bytes, closures that V8 makes old at once among them;
    // 890 where a stream stays as a whole
    expect(Number(stdout)).toBeLessThan(740)
  }, 60_000)
})
