import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Redacted from "effect/Redacted"
import * as Together from "../src/together/Together.ts"
import * as FaultMatrix from "../src/testing/FaultMatrix.ts"
import * as Reply from "../src/testing/Reply.ts"
const provider = FaultMatrix.answering((sent) => sent.operation === "chatStream" ? Reply.stream(["Pa", "ris"]) : Reply.chat("Paris"))
const client = Together.layerHttp({ apiKey: Redacted.make("k") })
const ask = (q: string) => Effect.gen(function*() {
  const t = yield* Together.Together
  const a = yield* t.chat({ model: "m", messages: [{ role: "user", content: q }] })
  return a.choices[0]?.message?.content
})
const program = Effect.forEach(["a", "b", "c"], ask, { concurrency: 2 }).pipe(Effect.provide(client))
let t = performance.now()
const m = await Effect.runPromise(FaultMatrix.run({ program, provider, pairs: 100 }))
console.log(FaultMatrix.format(m), performance.now() - t)
const streamed = Effect.gen(function*() {
  const t = yield* Together.Together
  const out: string[] = []
  yield* Stream.runForEach(t.chatStream({ model: "m", messages: [{ role: "user", content: "x" }] }), (c) => Effect.sync(() => { out.push(c.choices[0]?.delta?.content ?? "") }))
  return out.join("")
}).pipe(Effect.provide(client))
t = performance.now()
console.log(FaultMatrix.format(await Effect.runPromise(FaultMatrix.run({ program: streamed, provider }))), performance.now() - t)
