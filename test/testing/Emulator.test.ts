import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import * as Together from "../../src/together/Together.ts"
import * as Emulator from "../../src/testing/Emulator.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { batch, model, plain, question, row, send, upload, virtual } from "./emulator.ts"

describe("Emulator", () => {
  describe("answers as asked", () => {
    it.effect("cuts a structured answer at max_tokens, and says so", () =>
      virtual(Effect.gen(function*() {
        const properties = { answer: { type: "string" }, reason: { type: "string" } }
        const response_format = { type: "json_schema", json_schema: { schema: { type: "object", properties } } }
        const ask = (max_tokens: number) =>
          Effect.map(
            send("POST /chat/completions", { body: { ...question("x"), response_format, max_tokens } }),
            ({ json }) => [json.choices[0].finish_reason, json.choices[0].message.content]
          )
        expect(yield* ask(2)).toEqual(["length", "{\"answer"])
        const [reason, content] = yield* ask(100)
        expect([reason, Object.keys(JSON.parse(content))]).toEqual(["stop", ["answer", "reason"]])
      })))

    it.effect("answers 400 where the model serves something else", () =>
      virtual(Effect.gen(function*() {
        const embedding = "BAAI/bge-base-en-v1.5"
        const chat = yield* send("POST /chat/completions", { body: { ...question("x"), model: embedding } })
        expect([chat.status, chat.json.error.param]).toEqual([400, "model"])
        expect((yield* send("POST /embeddings", { body: { model, input: "x" } })).status).toBe(400)
        expect((yield* send("POST /embeddings", { body: { model: embedding, input: "x" } })).status).toBe(200)
      })))

    it.effect("answers 400 to JSON that is deeper than calls can be", () =>
      virtual(Effect.gen(function*() {
        const deep = "[".repeat(20_000) + "]".repeat(20_000)
        for (const path of ["/chat/completions", "/embeddings", "/batches", "/fine-tunes", "/evaluation"]) {
          const request = HttpClientRequest.post(`http://emulator.test/v1${path}`).pipe(
            HttpClientRequest.bearerToken("key"),
            HttpClientRequest.bodyText(`{"model":"m","messages":${deep}}`, "application/json")
          )
          const response = yield* HttpClient.HttpClient.use((client) => client.execute(request))
          expect([path, response.status]).toStrictEqual([path, 400])
        }
      })))

    it("refuses a scale out of range by name", () => {
      expect(() => Emulator.app({ scale: 0 })).toThrow("Emulator.layer: scale must be in [1e-6, 1e6], got 0")
    })

    it.effect("refuses amounts and scales beyond all reason", () =>
      virtual(
        Effect.gen(function*() {
          expect((yield* send("POST /__emulator/credits", { body: { topUpUsd: 1e300 } })).status).toBe(400)
          expect((yield* send("PUT /__emulator/scale", { body: { scale: 1e-320 } })).status).toBe(400)
        }),
        { credits: { balanceUsd: 1 } }
      ))
  })

  describe("keys and paths", () => {
    it.effect("answers 401 on every path but its own where the key is wrong or missing", () =>
      virtual(
        Effect.gen(function*() {
          for (const { method, path, checks } of Emulator.routes.filter(({ checks }) => checks !== "none")) {
            const line = `${method} ${path.replace(":id", "x")}`
            const body = method === "POST" ? { body: {} } : {}
            for (const key of ["", "wrong"]) {
              const { status, json } = yield* send(line, { key, ...body })
              expect([line, checks, status], `${line} with key "${key}"`).toEqual([line, checks, 401])
              expect(json.error).toMatchObject({ type: "invalid_request_error", code: "invalid_api_key" })
            }
          }
          expect((yield* send("GET /__emulator/state", { key: "" })).status).toBe(200)
        }),
        { keys: { right: "acme" } }
      ))

    it.effect("answers 404 to a path it does not know, and to one without a version", () =>
      virtual(Effect.gen(function*() {
        expect(yield* send("GET /nothing")).toMatchObject({ status: 404, json: { error: { code: "not_found" } } })
        expect((yield* send("PUT /models")).status).toBe(404)
        const bare = HttpClientRequest.get("http://emulator.test/models").pipe(HttpClientRequest.bearerToken("key"))
        expect((yield* HttpClient.HttpClient.use((client) => client.execute(bare))).status).toBe(404)
        expect((yield* send("GET /v1/models/")).status).toBe(200)
        expect((yield* send("GET /v2/videos/x")).status).toBe(404)
      })))

    it.effect("keeps what belongs to one organization from another", () =>
      virtual(
        Effect.gen(function*() {
          const mine = { key: "a" }
          const file = yield* upload([row("1")], mine)
          expect((yield* send(`GET /files/${file}`, mine)).status).toBe(200)
          expect((yield* send(`GET /files/${file}`, { key: "b" })).status).toBe(404)
          expect((yield* send("GET /files", { key: "b" })).json.data).toEqual([])
          const who = [yield* send("GET /whoami", mine), yield* send("GET /whoami", { key: "b" })]
          expect(new Set(who.map(({ json }) => json.organization_id)).size).toBe(2)
        }),
        { keys: { a: "acme", b: "bee" } }
      ))

    it.effect("lets every request meet outages", () =>
      virtual(
        Effect.map(send("GET /files"), ({ status }) => expect(status).toBe(503)),
        { outages: [{ kind: 503 }] }
      ))
  })

  describe("lists", () => {
    it.effect("shows the models with their prices, and those that are not serverless", () =>
      virtual(Effect.gen(function*() {
        const { json } = yield* send("GET /models")
        expect(json.find((item: { id: string }) => item.id === model)).toMatchObject({
          object: "model",
          type: "chat",
          context_length: 131_072,
          pricing: { input: 0.05, output: 0.2 }
        })
        const dedicated = yield* send("GET /models?dedicated=true")
        expect(dedicated.json.map((item: { id: string }) => item.id)).toEqual(["Qwen/Qwen2.5-72B-Instruct"])
        expect((yield* send("GET /evaluation/model-list")).json.model_list).toContain(model)
        const supported = yield* send("GET /fine-tunes/models/supported")
        expect(supported.json.detailed_models).toHaveLength(supported.json.models.length)
        expect((yield* send(`GET /fine-tunes/models/limits?model_name=${encodeURIComponent(model)}`)).json)
          .toMatchObject({
            model_name: model,
            max_num_checkpoints: 10
          })
        expect((yield* send("GET /fine-tunes/models/limits?model_name=none")).status).toBe(404)
      })))
  })

  describe("administration", () => {
    it.effect("shows counters, balances and lanes", () =>
      virtual(
        Effect.gen(function*() {
          yield* send("POST /chat/completions", { body: question("a") })
          const { json } = yield* send("GET /__emulator/state")
          expect(json).toMatchObject({
            scale: 1,
            counters: { arrivals: 1, succeeded: 1, inFlight: 0 },
            accounts: { default: { balanceNanoUsd: expect.stringMatching(/^\d+$/) } },
            lanes: { [`default/serverless/${model}`]: { requestsPerSecond: 10 } }
          })
          expect((yield* send("GET /__emulator/options")).json).toMatchObject({ limits: { requestsPerSecond: 10 } })
        }),
        { limits: { requestsPerSecond: 10 }, credits: { balanceUsd: 1 } }
      ))

    it.effect("sets limits, faults, credits and options, and refuses what is no option", () =>
      virtual(Effect.gen(function*() {
        const status = Effect.map(send("POST /chat/completions", { body: question("a") }), (answer) => answer.status)
        yield* send("PUT /__emulator/limits", { body: { requestsPerSecond: 0 } })
        expect(yield* status).toBe(429)
        yield* send("PATCH /__emulator/options", { body: { limits: {}, credits: { balanceUsd: 0 } } })
        expect(yield* status).toBe(402)
        expect((yield* send("POST /__emulator/credits", { body: { balanceUsd: 5 } })).status).toBe(200)
        expect(yield* status).toBe(200)
        // an account that exists, too
        yield* send("PATCH /__emulator/options", { body: { credits: { balanceUsd: 0 } } })
        expect(yield* status).toBe(402)
        yield* send("PATCH /__emulator/options", { body: { credits: { balanceUsd: 5 } } })
        expect(yield* status).toBe(200)
        yield* send("PUT /__emulator/faults", { body: { faults: [{ probability: 1, kind: 500 }] } })
        expect(yield* status).toBe(500)
        yield* send("PUT /__emulator/faults", { body: {} })
        expect(yield* status).toBe(200)
        const wrong = yield* send("PATCH /__emulator/options", { body: { limits: { requestsPerSecond: -1 } } })
        expect([wrong.status, wrong.json.error.message]).toEqual([
          400,
          "Expected a value greater than or equal to 0 at [\"limits\"][\"requestsPerSecond\"]"
        ])
        for (const body of [{}, { topUpUsd: -5 }, { balanceUsd: 1, topUpUsd: 5 }, { topUpUsd: 5, currency: "EUR" }]) {
          expect((yield* send("POST /__emulator/credits", { body })).status).toBe(400)
        }
        const misspelt = yield* send("PUT /__emulator/faults", { body: { fault: [] } })
        expect([misspelt.status, misspelt.json.error.message]).toEqual([
          400,
          "fault is no field of this: use faults, outages"
        ])
        expect((yield* send("POST /__emulator/credits", { body: { org: "x", topUpUsd: 1 } })).status).toBe(404)
        expect((yield* send("PUT /__emulator/scale", { body: { scale: 0 } })).status).toBe(400)
        const noObject = yield* send("PUT /__emulator/limits", { body: 7 })
        expect([noObject.status, noObject.json.error.message]).toEqual([400, "the body must be a JSON object"])
      })))

    it.effect("lets time pass faster", () =>
      Effect.gen(function*() {
        const { elapsed } = yield* VirtualClock.run(
          Effect.gen(function*() {
            yield* send("PUT /__emulator/scale", { body: { scale: 10 } })
            yield* send("POST /chat/completions", { body: question("a") })
          }).pipe(Effect.provide(SimulatedProvider.layer(plain)))
        )
        expect(Duration.toMillis(elapsed)).toBeCloseTo(100)
      }))

    it.effect("lets who waits already wait on at the new pace, faster and slower", () =>
      Effect.gen(function*() {
        const { elapsed } = yield* VirtualClock.run(
          Effect.gen(function*() {
            const asking = yield* Effect.forkChild(send("POST /chat/completions", { body: question("a") }))
            yield* Effect.sleep("10 seconds")
            yield* send("PUT /__emulator/scale", { body: { scale: 10 } })
            yield* Effect.sleep("1 second")
            yield* send("PUT /__emulator/scale", { body: { scale: 0.5 } })
            yield* Fiber.join(asking)
          }).pipe(Effect.provide(SimulatedProvider.layer({ ...plain, latency: { kind: "constant", value: 30 } })))
        )
        // 10 s at 1, 1 s at 10, and the 10 s that are left at 0.5
        expect(Duration.toMillis(elapsed)).toBeCloseTo(31_000)
      }))

    it.effect("leaves no timer of a wait that is interrupted", () =>
      Effect.gen(function*() {
        const { elapsed, fibersLeft, timersLeft } = yield* VirtualClock.run(
          Effect.gen(function*() {
            const asking = yield* Effect.forkChild(send("POST /chat/completions", { body: question("a") }))
            yield* Effect.sleep("10 seconds")
            yield* Fiber.interrupt(asking)
            yield* send("PUT /__emulator/scale", { body: { scale: 10 } })
            expect((yield* send("GET /__emulator/state")).json.counters).toMatchObject({ cancelled: 1, inFlight: 0 })
          }).pipe(Effect.provide(SimulatedProvider.layer({ ...plain, latency: { kind: "constant", value: 30 } })))
        )
        expect([Duration.toMillis(elapsed), fibersLeft, timersLeft]).toEqual([10_000, 0, 0])
      }))

    it.effect("keeps options, seed and scale at a reset that names no others", () =>
      virtual(Effect.gen(function*() {
        const reset = (body: object) => send("POST /__emulator/reset", { body })
        const first = yield* upload([row("1")])
        yield* send("PUT /__emulator/scale", { body: { scale: 10 } })
        yield* reset({ seed: 7, options: { ...plain, limits: { requestsPerSecond: 3 } } })
        const second = yield* upload([row("1")])
        yield* send("POST /__emulator/reset")
        expect(yield* upload([row("1")])).toBe(second)
        expect(second).not.toBe(first)
        expect((yield* send("GET /__emulator/options")).json.limits).toEqual({ requestsPerSecond: 3 })
        expect((yield* send("GET /__emulator/state")).json.scale).toBe(10)
        expect((yield* reset({ seed: 9, options: { limits: { requestsPerSecond: -1 } } })).status).toBe(400)
        expect((yield* send(`GET /files/${second}`)).status).toBe(200)
      })))

    it.effect("forgets everything at a reset, and gives the same ids again", () =>
      virtual(Effect.gen(function*() {
        const first = yield* upload([row("1")])
        yield* batch([row("1")])
        yield* send("POST /__emulator/reset", { body: {} })
        expect((yield* send("GET /__emulator/state")).json).toMatchObject({ files: 0, batches: 0, now: 0 })
        expect(yield* upload([row("1")])).toBe(first)
        yield* send("POST /__emulator/reset", { body: { seed: 9, options: { outages: [{ kind: 503 }] } } })
        expect((yield* send("GET /models")).status).toBe(503)
        expect((yield* send("POST /__emulator/reset", { body: { options: { seed: 1 } } })).status).toBe(400)
        expect((yield* send("POST /__emulator/reset", { body: { seed: "x" } })).status).toBe(400)
        expect((yield* send("POST /__emulator/reset")).json).toMatchObject({ now: 0, counters: { arrivals: 0 } })
      })))
  })

  describe("with the project's own client", () => {
    it.effect("reaches every operation", () =>
      Effect.gen(function*() {
        const program = Effect.gen(function*() {
          const together = yield* Together.Together
          const ask = question("hello")
          const whole = yield* together.chat(ask)
          const chunks = yield* Stream.runCollect(together.chatStream(ask))
          const text = chunks.map((chunk) => chunk.choices?.[0]?.delta?.content ?? "").join("")
          expect(text).toBe(whole.choices[0]?.message?.content)
          expect(yield* together.completions({ model, prompt: "Once" })).toMatchObject({
            usage: { completion_tokens: 5 }
          })
          expect((yield* Stream.runCollect(together.completionsStream({ model, prompt: "Once" }))).length)
            .toBeGreaterThan(4)
          expect((yield* together.embeddings({ model: "BAAI/bge-base-en-v1.5", input: "a" })).data).toHaveLength(1)
          const ranked = yield* together.rerank({
            model: "Salesforce/Llama-Rank-V1",
            query: "a",
            documents: ["b", "a"]
          })
          expect(ranked.results[0]?.index).toBe(1)
          const pictures = yield* together.images({ model: "black-forest-labs/FLUX.1-schnell", prompt: "a", n: 2 })
          expect(pictures.data).toHaveLength(2)
          expect((yield* together.models()).length).toBeGreaterThan(5)
          expect((yield* together.whoami()).organization_id).toMatch(/^org_/)
          const file = yield* together.files.upload({ content: row("a"), name: "rows.jsonl", purpose: "batch-api" })
          const { job } = yield* together.batches.create({ endpoint: "/v1/chat/completions", input_file_id: file.id })
          yield* Effect.sleep("1 minute")
          const done = yield* together.batches.get(job.id)
          expect(done.status).toBe("COMPLETED")
          expect(yield* together.files.content(done.output_file_id ?? "")).toContain("\"custom_id\":\"a\"")
          expect(yield* Effect.flip(together.batches.cancel(job.id))).toMatchObject({ _tag: "ConflictError" })
          const price = yield* together.fineTunes.estimatePrice({ model, training_file: file.id })
          expect(price.estimated_total_price).toBe(4)
          const tune = yield* together.fineTunes.create({ model, training_file: file.id })
          expect((yield* together.fineTunes.cancel(tune.id)).status).toBe("cancelled")
          expect(yield* together.fineTunes.list).toHaveLength(1)
          const judged = yield* together.evaluations.create({ type: "score", parameters: {} })
          expect((yield* together.evaluations.status(judged.workflow_id)).status).toBe("pending")
          expect((yield* together.files.delete(file.id)).deleted).toBe(true)
        })
        const { exit } = yield* VirtualClock.run(program.pipe(
          Effect.provide(
            Together.layerHttp({ apiKey: Redacted.make("key") }).pipe(Layer.provide(SimulatedProvider.layer(plain)))
          )
        ))
        yield* exit
      }))
  })
})
