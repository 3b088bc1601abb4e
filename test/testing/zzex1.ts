import { Effect, Layer, Redacted } from "effect"
import { Chat, Together } from "../../src/index.ts"
import { SimulatedProvider, VirtualClock } from "../../src/testing/index.ts"

const program = Effect.gen(function*() {
  const together = yield* Together.Together
  const answer = yield* together.chat({
    model: "openai/gpt-oss-20b",
    messages: [{ role: "user", content: "Name three rivers." }],
    max_tokens: 4
  })
  const provider = yield* SimulatedProvider.SimulatedProvider
  return [Chat.text(answer).split(" ").length, (yield* provider.counters).succeeded]
})

const layer = Together.layerHttp({ apiKey: Redacted.make("any key") }).pipe(
  Layer.provideMerge(SimulatedProvider.layer({ faults: [{ probability: 0.5, kind: 503 }] }, 7))
)
const { exit } = await Effect.runPromise(VirtualClock.run(Effect.provide(program, layer)))

console.log(exit._tag === "Success" && exit.value, " // =>", '[4, 1]')
