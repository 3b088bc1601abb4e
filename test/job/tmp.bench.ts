import { NodeServices } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Journal from "../../src/job/Journal.ts"
import * as fs from "node:fs"
fs.rmSync("/tmp/jj", {recursive:true, force:true}); fs.mkdirSync("/tmp/jj")
const N = 200000
const run = Effect.gen(function*() {
  const t = performance.now()
  yield* Effect.scoped(Effect.gen(function*() {
    const j = yield* Journal.open({ path: "/tmp/jj/j", input: { path: "x" } })
    let i = 0
    const worker = Effect.gen(function*() { while (i < N) { i++; yield* j.append({ id: "row-" + i, n: i, ok: i % 10 !== 0, h: i, a: 1, ms: 5 }, JSON.stringify({ id: "br_" + i, custom_id: "row-" + i, response: { status_code: 200, body: { text: "x".repeat(500) } } })) } })
    yield* Effect.all(Array.from({ length: 64 }, () => worker), { concurrency: "unbounded" })
  }))
  console.log("append/s", N / (performance.now() - t) * 1000)
  const t2 = performance.now()
  yield* Effect.scoped(Effect.gen(function*() {
    const j = yield* Journal.open({ path: "/tmp/jj/j", input: { path: "x" } })
    console.log(j.recovered, performance.now() - t2)
    const t3 = performance.now()
    console.log(yield* Stream.runCount(j.settled), performance.now() - t3)
    console.log(j.known("row-7"), j.known("zzz"))
  }))
})
Effect.runPromise(Effect.provide(run, NodeServices.layer)).then(() => console.log("ok"), console.error)
