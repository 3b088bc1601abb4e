/**
 * What the client costs without HTTP: CPU time per call of the full default stack over a transport that answers at once.
 *
 *     node bench/http/stack.ts [--rounds 9] [--calls 20000]
 *
 * The transport hands over the same text for each call, in a turn of its own. Its own cost, with the reading of the JSON
 * that every client does, is measured beside it and taken off: what is left is schema, estimate, lane, retry, timeouts,
 * classification and span.
 */
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { HttpClient } from "effect/http"
import { Together } from "../../src/index.ts"
import * as Shortcut from "../../src/together/transport/Shortcut.ts"
import { cpuMicros, median } from "../measure.ts"
import { parseArgs } from "node:util"

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "9" }, calls: { type: "string", default: "20000" } }
})
const rounds = Number(values.rounds)
const calls = Number(values.calls)
const request = { model: "m", messages: [{ role: "user" as const, content: "What is two and two?" }], max_tokens: 16 }
const text = JSON.stringify({
  id: "o3LiXw4",
  object: "chat.completion",
  created: 1_700_000_000,
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "Four." }, finish_reason: "stop" }],
  usage: { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 }
})
const headers = { "content-type": "application/json", "x-request-id": "o3LiXw4" }

// the queue of a tick: a microtask would keep the event loop from everything else
let due: Array<() => void> = []
const soon = (run: () => void): void => {
  if (due.push(run) > 1) return
  setImmediate(() => {
    const now = due
    due = []
    for (const one of now) one()
  })
}

const never = HttpClient.make(() => Effect.die("every exchange takes the shortcut"))
const client = Shortcut.attach(never, (_sent, receiver) => {
  let open = true
  soon(() => {
    if (!open) return
    receiver.onHeaders(200, headers)
    receiver.onText(text)
  })
  return () => {
    open = false
  }
})

const runtime = ManagedRuntime.make(
  Together.layerHttp({
    apiKey: Redacted.make("k"),
    // past the search for a limit: none of the calls waits
    lanes: { start: { requestsPerMinute: 60e6 } }
  }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
)

const ours = (inFlight: number) => () =>
  runtime.runPromise(
    Effect.flatMap(Together.Together, (together) =>
      Effect.forEach(Array.from({ length: calls }), () =>
        together.chat(request), {
        concurrency: inFlight,
        discard: true
      }))
  )

/** The same exchange and its JSON, as an effect and nothing else. */
const bare = (inFlight: number) => () =>
  runtime.runPromise(
    Effect.forEach(Array.from({ length: calls }), () =>
      Effect.callback<unknown>((resume) => {
        const body = JSON.stringify(request)
        soon(() => resume(Effect.succeed([body, JSON.parse(text)])))
      }), { concurrency: inFlight, discard: true })
  )

const timed = async (run: () => Promise<void>): Promise<number> => {
  const began = cpuMicros()
  await run()
  return (cpuMicros() - began) / calls
}

for (const inFlight of [1, 64]) {
  for (let i = 0; i < 3; i++) await ours(inFlight)().then(bare(inFlight))
  const rows: Array<readonly [whole: number, bare: number]> = []
  for (let i = 0; i < rounds; i++) rows.push([await timed(ours(inFlight)), await timed(bare(inFlight))])
  const whole = median(rows.map((row) => row[0]))
  const transport = median(rows.map((row) => row[1]))
  console.log(
    `${String(inFlight).padStart(3)} in flight: ${whole.toFixed(1)} µs a call, ${
      transport.toFixed(1)
    } of it the transport:`,
    `${(whole - transport).toFixed(1)} µs (bar 25)`
  )
}
await runtime.dispose()
