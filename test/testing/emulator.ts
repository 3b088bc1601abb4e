/** Small words for tests of the emulator: a request in process, a batch, virtual time. */
import { Effect } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

export const model = "openai/gpt-oss-20b"

export const plain: Simulation.Options = {
  limits: {},
  latency: { kind: "constant", value: 1 },
  outputTokens: { kind: "constant", value: 5 },
  batch: { validatingSeconds: 10, rowsPerSecond: 2 }
}

interface Sent {
  readonly key?: string
  readonly body?: unknown
  readonly form?: FormData
  readonly headers?: Readonly<Record<string, string>>
}

/** Sends any request to the emulator in process; reads the answer as JSON where it is that. */
export const send = (line: string, { key = "key", body, form, headers = {} }: Sent = {}) =>
  Effect.gen(function*() {
    const [method = "GET", path = "/"] = line.split(" ")
    const url = path.startsWith("/__emulator") || /^\/v\d/.test(path) ? path : `/v1${path}`
    let request = HttpClientRequest.make(method as "GET")(`http://emulator.test${url}`).pipe(
      HttpClientRequest.setHeaders(headers)
    )
    if (key !== "") request = HttpClientRequest.bearerToken(request, key)
    if (body !== undefined) request = HttpClientRequest.bodyText(request, JSON.stringify(body), "application/json")
    if (form !== undefined) request = HttpClientRequest.bodyFormData(request, form)
    const response = yield* HttpClient.HttpClient.use((client) => client.execute(request))
    const text = yield* response.text
    const json = response.headers["content-type"]?.startsWith("application/json") ? JSON.parse(text) : undefined
    return { status: response.status, headers: response.headers, text, json }
  })

export const virtual = <A, E>(
  effect: Effect.Effect<A, E, HttpClient.HttpClient | SimulatedProvider.SimulatedProvider>,
  options: Simulation.Options = {}
) =>
  Effect.flatMap(
    VirtualClock.run(Effect.provide(effect, SimulatedProvider.layer({ ...plain, ...options }, 3))),
    (result) => result.exit
  )

export const question = (content: string) => ({ model, messages: [{ role: "user", content }] })

export const row = (id: string, body: unknown = question(id)) => JSON.stringify({ custom_id: id, body })

export const upload = (lines: ReadonlyArray<string>, sent: Sent = {}, purpose = "batch-api") => {
  const form = new FormData()
  form.set("purpose", purpose)
  form.set("file_name", "rows.jsonl")
  form.set("file", new Blob([lines.join("\n")]), "rows.jsonl")
  return Effect.map(send("POST /files/upload", { ...sent, form }), ({ json }) => String(json.id))
}

export const batch = (lines: ReadonlyArray<string>, more: object = {}) =>
  Effect.gen(function*() {
    const input_file_id = yield* upload(lines)
    const created = yield* send("POST /batches", {
      body: { endpoint: "/v1/chat/completions", input_file_id, completion_window: "24h", ...more }
    })
    return { status: created.status, job: created.json.job, id: String(created.json.job?.id) }
  })

export const lines = (text: string) => text.trim().split("\n").map((line) => JSON.parse(line))
