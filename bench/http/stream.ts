/**
 * Compares the decoding of a chat stream of 2,000 chunks with a bare loop that splits lines and parses JSON.
 *
 * `decoder` is the decoding itself: bytes to checked chunks. `client` is the whole stack without a socket: lane, retry,
 * timeouts, Stream. Bytes arrive in pieces of 16 KiB, as a socket delivers a fast stream, or one event a piece, the
 * worst case. The client reads them from a web stream, as Fetch delivers them; so does the second bare loop.
 *
 *     node bench/http/stream.ts [--rounds 15] [--json file]
 */
import { Effect, Layer, ManagedRuntime, Redacted, Stream } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { Chat, Together } from "../../src/index.ts"
import * as EventDecoder from "../../src/together/stream/EventDecoder.ts"
import { median } from "../measure.ts"

const { values } = parseArgs({ options: { rounds: { type: "string", default: "15" }, json: { type: "string" } } })
const rounds = Number(values.rounds)
const events = Array.from({ length: 2000 }, (_, i) =>
  `data: ${
    JSON.stringify({
      id: "ogzjdpL-6Ng1vN-9f391a08f8af75e1",
      object: "chat.completion.chunk",
      created: 1777411129,
      choices: [{
        index: 0,
        text: ` word${i}`,
        logprobs: null,
        finish_reason: i === 1999 ? "stop" : null,
        seed: null,
        delta: { token_id: 9906 + i, role: "assistant", content: ` word${i}` }
      }],
      model: "meta-llama/Llama-3.3-70B-Instruct-Turbo",
      usage: i === 1999 ? { prompt_tokens: 45, completion_tokens: 2000, total_tokens: 2045 } : null
    })
  }\n\n`)
const utf8 = new TextEncoder()
const whole = utf8.encode(`${events.join("")}data: [DONE]\n\n`)
const pieces16k = Array.from(
  { length: Math.ceil(whole.length / 16384) },
  (_, i) => whole.subarray(i * 16384, (i + 1) * 16384)
)
const pieces1 = [...events, "data: [DONE]\n\n"].map((event) => utf8.encode(event))

/** Is what everyone writes first: no check of anything. */
const bare = (pieces: ReadonlyArray<Uint8Array>): number => {
  const decoder = new TextDecoder()
  let rest = ""
  let characters = 0
  for (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue
      characters += JSON.parse(line.slice(6)).choices[0].delta.content.length
    }
  }
  return characters
}

const streamOf = (pieces: ReadonlyArray<Uint8Array>): ReadableStream<Uint8Array> =>
  new ReadableStream<Uint8Array>({
    start: (controller) => {
      for (const piece of pieces) controller.enqueue(piece)
      controller.close()
    }
  })

const bareWeb = async (pieces: ReadonlyArray<Uint8Array>): Promise<number> => {
  const decoder = new TextDecoder()
  let rest = ""
  let characters = 0
  for await (const piece of streamOf(pieces)) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split("\n")
    rest = lines.pop() ?? ""
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue
      characters += JSON.parse(line.slice(6)).choices[0].delta.content.length
    }
  }
  return characters
}

const decoded = (pieces: ReadonlyArray<Uint8Array>): number => {
  const decoder = EventDecoder.make(Chat.shape)
  let characters = 0
  for (const piece of pieces) {
    const into: Array<Chat.ChatChunk> = []
    decoder.feed(piece, into)
    for (const chunk of into) characters += Chat.deltaText(chunk).length
  }
  return characters
}

const clientOf = (pieces: ReadonlyArray<Uint8Array>) => {
  const http = HttpClient.make((request) => {
    const response = new Response(streamOf(pieces), { headers: { "content-type": "text/event-stream" } })
    return Effect.succeed(HttpClientResponse.fromWeb(request, response))
  })
  const runtime = ManagedRuntime.make(
    Together.layerHttp({
      apiKey: Redacted.make("k"),
      lanes: { start: { requestsPerMinute: 6e7, tokensPerMinute: 6e12 } }
    }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, http)))
  )
  const request = { model: "m", messages: [{ role: "user", content: "Write." }] }
  return () =>
    runtime.runPromise(
      Effect.flatMap(Together.Together, (together) =>
        Stream.runFold(together.chatStream(request), () =>
          0, (sum, chunk) => sum + Chat.deltaText(chunk).length))
    )
}

const cases = [
  ["bare loop, 16 KiB", () => bare(pieces16k)],
  ["bare loop over a web stream, 16 KiB", () => bareWeb(pieces16k)],
  ["decoder, 16 KiB", () => decoded(pieces16k)],
  ["client, 16 KiB", clientOf(pieces16k)],
  ["bare loop, one event a piece", () => bare(pieces1)],
  ["bare loop over a web stream, one event a piece", () => bareWeb(pieces1)],
  ["decoder, one event a piece", () => decoded(pieces1)],
  ["client, one event a piece", clientOf(pieces1)]
] as const
const expected = bare(pieces16k)
const millis: Array<Array<number>> = cases.map(() => [])
for (let round = -5; round < rounds; round++) {
  for (const [i, [name, run]] of cases.entries()) {
    const began = performance.now()
    const got = await run()
    if (round >= 0) millis[i]?.push(performance.now() - began)
    if (got !== expected) throw new Error(`${name} decoded ${got} characters of ${expected}`)
  }
}
const rows = cases.map(([name], i) => {
  const base = millis[i < cases.length / 2 ? 0 : cases.length / 2] ?? []
  return {
    name,
    millis: median(millis[i] ?? []),
    ratio: median((millis[i] ?? []).map((ms, k) => ms / (base[k] ?? NaN)))
  }
})
console.log(`2,000 chunks, median of ${rounds} rounds; ratio to the bare loop on the same pieces in the same round`)
console.log("| case | time | ratio |\n| --- | --- | --- |")
for (const row of rows) console.log(`| ${row.name} | ${row.millis.toFixed(2)} ms | ${row.ratio.toFixed(2)} |`)
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(rows, null, 2))
process.exit(0)
