/**
 * The emulator against Together's OpenAPI document, where one is at hand: paths, methods, statuses, required fields.
 *
 * Every operation that the emulator serves is called once with a full request, its answer checked against the
 * document, and once without each required field, which must be refused. What deviates must be listed below with its
 * reason, and what is listed must deviate.
 */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import * as Emulator from "../../src/testing/Emulator.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Document from "./document.ts"

/** Lists what deviates from the document on purpose, and why. */
const expected: Readonly<Record<string, string>> = {
  "POST /files: not in the document": "first step of the official SDKs' upload helpers",
  "POST /files/{id}/preprocess: not in the document": "last step of the legacy Python SDK's upload",
  "POST /chat/completions (stream): $.choices[].delta.token_id: is null, not integer":
    "recorded streams have null where a chunk stands for no single token",
  "POST /chat/completions (stream): $.choices[].delta.tool_calls[].id: is missing":
    "recorded tool calls name their id in the first delta only",
  "POST /chat/completions (stream): $.choices[].delta.tool_calls[].type: is missing":
    "recorded tool calls name their type in the first delta only",
  "POST /chat/completions (stream): $.choices[].delta.tool_calls[].function.name: is missing":
    "recorded tool calls name their function in the first delta only",
  "POST /chat/completions (stream): $.choices[].delta.role: is missing":
    "recorded tool call deltas carry their role in the first frame only",
  "GET /models: $[].type: \"audio\" is not listed": "the catalogue has more types than the document's list",
  "GET /models: $[].type: \"transcribe\" is not listed": "the catalogue has more types than the document's list",
  "GET /models: $[].type: \"video\" is not listed": "the catalogue has more types than the document's list",
  "POST /batches/{id}/cancel: $.status: \"CANCELING\" is not listed": "seen live for some seconds before CANCELLED"
}

const model = "openai/gpt-oss-20b"
const messages = [{ role: "user", content: "hi" }]
const tools = [{ type: "function", function: { name: "f", parameters: { type: "object" } } }]

type Body = Readonly<Record<string, unknown>>

interface Call {
  readonly body?: Body
  readonly form?: Readonly<Record<string, string | Blob>>
  readonly query?: string
}

/** Holds the ids of objects that exist when a call is made. */
interface Ids {
  readonly file: string
  readonly batch: string
  readonly fineTune: string
  readonly evaluation: string
  readonly video: string
}

const sound = () => new Blob(["sound"])

const calls = (ids: Ids): Readonly<Record<string, Call>> => ({
  "POST /chat/completions": { body: { model, messages } },
  "POST /completions": { body: { model, prompt: "hi" } },
  "POST /embeddings": { body: { model: "BAAI/bge-base-en-v1.5", input: "hi" } },
  "POST /rerank": {
    body: { model: "Salesforce/Llama-Rank-V1", query: "hi", documents: ["a", "b"], return_documents: true }
  },
  "POST /images/generations": { body: { model: "black-forest-labs/FLUX.1-schnell", prompt: "hi" } },
  "POST /audio/speech": { body: { model: "cartesia/sonic-2", input: "hi", voice: "v" } },
  "POST /audio/transcriptions": { form: { file: sound(), response_format: "verbose_json" } },
  "POST /audio/translations": { form: { file: sound() } },
  "POST /files/upload": { form: { purpose: "eval", file_name: "a.jsonl", file: sound() } },
  "POST /batches": { body: { endpoint: "/v1/chat/completions", input_file_id: ids.file } },
  "POST /fine-tunes": { body: { model, training_file: ids.file } },
  "POST /fine-tunes/estimate-price": { body: { training_file: ids.file } },
  "GET /fine-tunes/models/limits": { query: `?model_name=${encodeURIComponent(model)}` },
  "GET /finetune/download": { query: `?ft_id=${ids.fineTune}` },
  "POST /evaluation": { body: { type: "score", parameters: {} } },
  "POST /videos": { body: { model: "Wan-AI/Wan2.2-T2V-A14B", prompt: "hi" } }
})

const idOf = (path: string, ids: Ids): string =>
  path.startsWith("/files")
    ? ids.file
    : path.startsWith("/batches")
    ? ids.batch
    : path.startsWith("/fine-tunes")
    ? ids.fineTune
    : path.startsWith("/evaluation")
    ? ids.evaluation
    : ids.video

const send = (method: string, path: string, call: Call = {}) =>
  Effect.gen(function*() {
    let request = HttpClientRequest.make(method as "GET")(`http://emulator.test/v1${path}${call.query ?? ""}`).pipe(
      HttpClientRequest.bearerToken("key")
    )
    if (call.body !== undefined) {
      request = HttpClientRequest.bodyText(request, JSON.stringify(call.body), "application/json")
    }
    if (call.form !== undefined) {
      const form = new FormData()
      for (const [name, value] of Object.entries(call.form)) {
        form.set(name, value)
      }
      request = HttpClientRequest.bodyFormData(request, form)
    }
    const response = yield* HttpClient.HttpClient.use((client) => client.execute(request))
    const text = yield* response.text
    const type = response.headers["content-type"]?.split(";")[0] ?? ""
    return { status: response.status, type, text, json: type === "application/json" ? JSON.parse(text) : undefined }
  })

const prepare = Effect.gen(function*() {
  const row = JSON.stringify({ custom_id: "a", body: { model, messages } })
  const file = yield* send("POST", "/files/upload", {
    form: { purpose: "batch-api", file_name: "a.jsonl", file: new Blob([row]) }
  })
  const id: string = file.json.id
  const batch = yield* send("POST", "/batches", { body: { endpoint: "/v1/chat/completions", input_file_id: id } })
  const fineTune = yield* send("POST", "/fine-tunes", { body: { model, training_file: id } })
  const evaluation = yield* send("POST", "/evaluation", { body: { type: "score", parameters: {} } })
  const video = yield* send("POST", "/videos", { body: { model: "Wan-AI/Wan2.2-T2V-A14B" } })
  return {
    file: id,
    batch: batch.json.job.id,
    fineTune: fineTune.json.id,
    evaluation: evaluation.json.workflow_id,
    video: video.json.id
  }
})

/** Runs against a new emulator whose objects exist, and whose jobs have ended where told so. */
const fresh = <A, E>(ended: boolean, use: (ids: Ids) => Effect.Effect<A, E, HttpClient.HttpClient>) =>
  Effect.flatMap(
    VirtualClock.run(
      Effect.flatMap(prepare, (ids) => Effect.andThen(Effect.sleep(ended ? "1 hour" : 0), use(ids))).pipe(
        Effect.provide(SimulatedProvider.layer({ limits: {}, outputTokens: { kind: "constant", value: 4 } }))
      )
    ),
    (result) => result.exit
  )

const specPath = (path: string) => path.replace(/:(\w+)/g, "{$1}")

const without = (fields: Body, name: string): Body =>
  Object.fromEntries(Object.entries(fields).filter(([key]) => key !== name))

interface Report {
  readonly deviations: Set<string>
  operations: number
  fields: number
}

/** Calls one operation, checks its answer, then calls it without each required field. */
const examine = (api: Document.Document, route: Emulator.Route, report: Report) =>
  Effect.gen(function*() {
    const path = specPath(route.path)
    const name = `${route.method} ${path}`
    const operation = Document.node(Document.node(api.paths[path])[route.method.toLowerCase()])
    if (operation["responses"] === undefined) {
      report.deviations.add(`${name}: not in the document`)
      return
    }
    report.operations++
    const ended = !name.endsWith("/cancel")
    const make = (change: (call: Call) => Call) =>
      fresh(ended, (ids) =>
        send(
          route.method,
          route.path.replace(/:\w+/, idOf(route.path, ids)),
          change(calls(ids)[`${route.method} ${route.path}`] ?? {})
        ))
    const answer = yield* make((call) => call)
    const response = api.resolved(Document.node(operation["responses"])[String(answer.status)])
    const content = Document.node(response["content"])
    if (response["description"] === undefined) report.deviations.add(`${name}: answers ${answer.status}`)
    else if (Object.keys(content).length > 0 && content[answer.type] === undefined) {
      report.deviations.add(`${name}: answers with ${answer.type}`)
    }
    if (answer.json !== undefined) {
      const { schema } = Document.node(content[answer.type])
      report.fields += Document.strings(api.resolved(schema)["required"]).length
      for (const violation of api.violations(schema, answer.json)) report.deviations.add(`${name}: ${violation}`)
    }
    const body = Document.node(api.resolved(operation["requestBody"])["content"])
    const schema = api.resolved(Document.node(Object.values(body)[0])["schema"])
    for (const field of Document.strings(schema["required"])) {
      report.fields++
      const refused = yield* make(({ body, form, ...rest }) => ({
        ...rest,
        ...(body === undefined ? {} : { body: without(body, field) }),
        ...(form === undefined ? {} : { form: without(form, field) as NonNullable<Call["form"]> })
      }))
      if (refused.status < 400) report.deviations.add(`${name}: accepts a request without ${field}`)
    }
  })

const frames = (api: Document.Document, path: string, more: Body, report: Report) =>
  Effect.gen(function*() {
    const operation = Document.node(Document.node(api.paths[path])["post"])
    const ok = api.resolved(Document.node(operation["responses"])["200"])
    const { schema } = Document.node(Document.node(ok["content"])["text/event-stream"])
    const { oneOf } = api.resolved(schema)
    // a stream is chunks or the sentinel: what is no sentinel must be a chunk
    const chunk = (Array.isArray(oneOf) ? oneOf : []).map((option) =>
      Document.node(api.resolved(option)["properties"])["data"]
    )
      .find((data) => api.resolved(data)["type"] === "object")
    expect(chunk).toBeDefined()
    const { text } = yield* fresh(false, () =>
      send("POST", path, { body: { model, stream: true, stream_options: { include_usage: true }, ...more } }))
    const sent = text.split("\n\n").filter((part) =>
      part !== ""
    ).map((part) => part.slice("data: ".length))
    expect(sent.at(-1)).toBe("[DONE]")
    for (const data of sent.slice(0, -1)) {
      for (const violation of api.violations(chunk, JSON.parse(data))) {
        report.deviations.add(`POST ${path} (stream): ${violation}`)
      }
    }
  })

const found = Document.find()

describe("The emulator and the OpenAPI document", () => {
  if (found === undefined) {
    it.skip("there is no together-openapi.json beside the repository, and TOGETHER_OPENAPI names none", () => {})
    return
  }
  it.effect("agree on paths, methods, statuses and required fields", () =>
    Effect.gen(function*() {
      const api = Document.read(found)
      const report: Report = { deviations: new Set(), operations: 0, fields: 0 }
      const served = Emulator.routes.filter(({ checks }) => checks !== "none")
      for (const route of served) yield* examine(api, route, report)
      yield* frames(api, "/chat/completions", { messages }, report)
      yield* frames(api, "/chat/completions", { messages, tools, tool_choice: "required" }, report)
      yield* frames(api, "/completions", { prompt: "hi" }, report)
      const total = Object.values(api.paths).flatMap((item) =>
        Object.keys(Document.node(item)).filter((key) => ["get", "post", "put", "patch", "delete"].includes(key))
      ).length
      const lines = [...report.deviations].sort().map((line) =>
        `  ${line}\n    ${expected[line] ?? "NOT EXPECTED"}`
      )
      console.log(
        `OpenAPI: ${report.operations} of ${total} operations served, ${report.fields} required fields checked, ` +
          `${report.deviations.size} deviations\n${lines.join("\n")}`
      )
      expect([...report.deviations].filter((line) => !(line in expected)), "unexpected deviations").toEqual([])
      expect(Object.keys(expected).filter((line) => !report.deviations.has(line)), "listed, but not found").toEqual([])
    }), 60_000)
})
