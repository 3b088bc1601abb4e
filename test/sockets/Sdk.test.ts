/**
 * The official SDKs against the emulator, over a real socket: what they send is understood, what they read is right.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { describe, expect, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { createServer } from "node:http"
import * as OpenaiSdk from "openai"
import * as TogetherAi from "together-ai"
import * as Emulator from "../../src/testing/Emulator.ts"
import * as Simulation from "../../src/testing/Simulation.ts"

const model = "openai/gpt-oss-20b"
const messages = [{ role: "user" as const, content: "What is the capital of France?" }]

const quick: Simulation.Options = {
  keys: { secret: "acme" },
  limits: {},
  firstToken: { kind: "constant", value: 0.005 },
  tokensPerSecond: { kind: "constant", value: 2000 },
  outputTokens: { kind: "constant", value: 20 },
  refusalSeconds: 0.002
}

class Address extends Context.Service<Address, { readonly baseURL: string }>()("Address") {}

const server = Emulator.layer({ options: quick, seed: 7 }).pipe(
  Layer.provideMerge(Layer.effect(
    Address,
    Effect.map(HttpServer.HttpServer, ({ address }) => ({
      baseURL: `http://127.0.0.1:${"port" in address ? address.port : 0}/v1`
    }))
  )),
  Layer.provideMerge(NodeHttpServer.layerServer(createServer, { port: 0, host: "127.0.0.1" }))
)

/** Gives a test a clean emulator, and the SDKs that talk to it. */
const sdks = (options: Simulation.Options = quick) =>
  Effect.gen(function*() {
    const emulator = yield* Emulator.Emulator
    const { baseURL } = yield* Address
    yield* emulator.reset({ ...quick, ...options }, 7)
    return {
      emulator,
      baseURL,
      together: new TogetherAi.Together({ apiKey: "secret", baseURL, maxRetries: 0 }),
      openai: new OpenaiSdk.OpenAI({ apiKey: "secret", baseURL, maxRetries: 0 })
    }
  })

const failure = (run: () => PromiseLike<unknown>) =>
  Effect.promise(() => Promise.resolve(run()).then(() => undefined, (error: unknown) => error))

/** Looks every 20 ms until something is so. */
const until = (condition: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.flatMap(condition, (so) => so ? Effect.void : Effect.andThen(Effect.sleep("20 millis"), until(condition)))

layer(server, { excludeTestServices: true })("Official SDKs at the emulator", (it) => {
  describe("chat", () => {
    it.effect("answers both SDKs alike", () =>
      Effect.gen(function*() {
        const { together, openai } = yield* sdks()
        const a = yield* Effect.promise(() => together.chat.completions.create({ model, messages }))
        const b = yield* Effect.promise(() => openai.chat.completions.create({ model, messages }))
        expect(a.choices[0]?.message?.content).toMatch(/^\w+ /)
        expect(b.choices[0]?.message.content).toBe(a.choices[0]?.message?.content)
        expect(a.usage).toMatchObject({ completion_tokens: 20 })
        expect(b.choices[0]?.finish_reason).toBe("stop")
      }))

    it.effect("streams both SDKs the same text as without a stream", () =>
      Effect.gen(function*() {
        const { together, openai } = yield* sdks()
        const whole = yield* Effect.promise(() => together.chat.completions.create({ model, messages }))
        const streamed = yield* Effect.promise(async () => {
          let text = ""
          let usage: unknown
          // not in the SDK's types, and needed for usage
          const options = { stream_options: { include_usage: true } }
          const stream = await together.chat.completions.create({ model, messages, stream: true, ...options })
          for await (const chunk of stream) {
            text += chunk.choices[0]?.delta?.content ?? ""
            usage = chunk.usage ?? usage
          }
          return { text, usage }
        })
        const other = yield* Effect.promise(async () => {
          let text = ""
          for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
            text += chunk.choices[0]?.delta.content ?? ""
          }
          return text
        })
        expect(streamed.text).toBe(whole.choices[0]?.message?.content)
        expect(streamed.usage).toMatchObject({
          completion_tokens: 20,
          total_tokens: (whole.usage?.prompt_tokens ?? 0) + 20
        })
        expect(other).toBe(streamed.text)
      }))

    it.effect("calls a tool, whole and streamed", () =>
      Effect.gen(function*() {
        const { openai } = yield* sdks()
        const tools = [{
          type: "function" as const,
          function: {
            name: "get_weather",
            parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
          }
        }]
        const request = { model, messages, tools, tool_choice: "required" as const }
        const whole = yield* Effect.promise(() => openai.chat.completions.create(request))
        const call = whole.choices[0]?.message.tool_calls?.[0]
        expect(call?.type === "function" && JSON.parse(call.function.arguments)).toEqual({ city: "text" })
        const final = yield* Effect.promise(() => openai.chat.completions.stream(request).finalChatCompletion())
        expect(final.choices[0]?.message.tool_calls?.[0]).toMatchObject({ function: { name: "get_weather" } })
      }))

    it.effect("answers in the shape of a JSON schema", () =>
      Effect.gen(function*() {
        const { openai } = yield* sdks()
        const answer = yield* Effect.promise(() =>
          openai.chat.completions.create({
            model,
            messages,
            response_format: {
              type: "json_schema",
              json_schema: {
                name: "city",
                schema: { type: "object", properties: { name: { type: "string" }, people: { type: "integer" } } }
              }
            }
          })
        )
        expect(JSON.parse(answer.choices[0]?.message.content ?? "")).toEqual({ name: expect.any(String), people: 0 })
      }))
  })

  describe("other operations", () => {
    it.effect("answers embeddings, completions, rerank, images and models", () =>
      Effect.gen(function*() {
        const { together, openai } = yield* sdks()
        const vectors = yield* Effect.promise(() =>
          together.embeddings.create({ model: "BAAI/bge-base-en-v1.5", input: ["a", "b", "a"] })
        )
        expect(vectors.data.map((item) => item.embedding.length)).toEqual([768, 768, 768])
        expect(vectors.data[0]?.embedding).toEqual(vectors.data[2]?.embedding)
        const viaOpenai = yield* Effect.promise(() =>
          openai.embeddings.create({ model: "BAAI/bge-base-en-v1.5", input: "a", encoding_format: "float" })
        )
        expect(viaOpenai.data[0]?.embedding).toEqual(vectors.data[0]?.embedding)
        const completion = yield* Effect.promise(() =>
          together.completions.create({ model, prompt: "Once", max_tokens: 5 })
        )
        expect(completion.choices[0]?.text?.split(" ")).toHaveLength(5)
        const ranking = yield* Effect.promise(() =>
          together.rerank.create({
            model: "Salesforce/Llama-Rank-V1",
            query: "red fox",
            documents: ["blue whale", "a red fox"],
            top_n: 1
          })
        )
        expect(ranking.results.map((result) => result.index)).toEqual([1])
        const image = yield* Effect.promise(() =>
          together.images.generate({
            model: "black-forest-labs/FLUX.1-schnell",
            prompt: "a fox",
            response_format: "base64"
          })
        )
        expect(image.data[0]).toMatchObject({ type: "b64_json" })
        const models = yield* Effect.promise(() => together.models.list())
        expect(models.map((item) => item.id)).toContain(model)
      }))
  })

  describe("errors", () => {
    it.effect("are the SDKs' own classes: 401, 404, 400, 402, 429, 503", () =>
      Effect.gen(function*() {
        const { together, openai, baseURL, emulator } = yield* sdks({
          credits: { balanceUsd: 1 },
          limits: { requestsPerSecond: 0.01 },
          models: {
            [model]: { inputUsd: 0.05, outputUsd: 0.2, contextLength: 2000 },
            closed: { availability: "dedicated" }
          }
        })
        const chat = (name = model, more = {}) => () =>
          together.chat.completions.create({ model: name, messages, ...more })

        const wrong = new TogetherAi.Together({ apiKey: "wrong", baseURL, maxRetries: 0 })
        const e401 = yield* failure(() => wrong.chat.completions.create({ model, messages }))
        expect(e401).toBeInstanceOf(TogetherAi.AuthenticationError)
        expect(e401).toMatchObject({ status: 401, error: { error: { code: "invalid_api_key" } } })
        const f401 = yield* failure(() =>
          new OpenaiSdk.OpenAI({ apiKey: "wrong", baseURL, maxRetries: 0 }).models.list()
        )
        expect(f401).toBeInstanceOf(OpenaiSdk.AuthenticationError)

        expect(yield* failure(chat("no/such"))).toBeInstanceOf(TogetherAi.NotFoundError)
        const e400 = yield* failure(chat("closed"))
        expect(e400).toBeInstanceOf(TogetherAi.BadRequestError)
        expect(e400).toMatchObject({ error: { error: { code: "model_not_available" } } })
        expect(yield* failure(chat(model, { max_tokens: 5000 }))).toMatchObject({
          status: 400,
          error: { error: { param: "max_tokens" } }
        })

        yield* Effect.promise(chat())
        const e429 = yield* failure(chat())
        expect(e429).toBeInstanceOf(TogetherAi.RateLimitError)
        expect(e429 instanceof TogetherAi.APIError && e429.headers.get("x-ratelimit-reset")).toMatch(/^(100|9\d)$/)
        expect(e429).toMatchObject({ error: { error: { type: "dynamic_request_limited" } } })
        const f429 = yield* failure(() => openai.chat.completions.create({ model, messages }))
        expect(f429).toBeInstanceOf(OpenaiSdk.RateLimitError)
        expect(f429).toMatchObject({ type: "dynamic_request_limited" })

        yield* emulator.update((state, at) => Simulation.setBalance(state, "acme", 0n, at))
        expect(yield* failure(chat())).toMatchObject({
          status: 402,
          error: { error: { type: "credit_limit", message: expect.stringContaining("Credit limit exceeded") } }
        })

        yield* emulator.update((state, at) => Simulation.configure(state, { outages: [{ kind: 503 }] }, at))
        expect(yield* failure(chat())).toBeInstanceOf(TogetherAi.InternalServerError)
      }))

    it.effect("end a stream that is cut, and one that carries an error frame", () =>
      Effect.gen(function*() {
        const read = (kind: "cut" | "error-frame") =>
          Effect.gen(function*() {
            const { together } = yield* sdks({ faults: [{ probability: 1, kind }] })
            return yield* failure(async () => {
              for await (const chunk of await together.chat.completions.create({ model, messages, stream: true })) {
                expect(chunk.object).toBe("chat.completion.chunk")
              }
            })
          })
        expect(yield* read("cut")).toBeInstanceOf(Error)
        expect(yield* read("error-frame")).toBeInstanceOf(TogetherAi.APIError)
      }))

    it.effect("tell a connection that is reset from an answer", () =>
      Effect.gen(function*() {
        const { together } = yield* sdks({ faults: [{ probability: 1, kind: "reset" }] })
        const error = yield* failure(() => together.chat.completions.create({ model, messages }))
        expect(error).toBeInstanceOf(TogetherAi.APIConnectionError)
      }))
  })

  describe("retries", () => {
    it.effect("of the SDKs get through a short limit", () =>
      Effect.gen(function*() {
        const { baseURL, emulator } = yield* sdks({ limits: { requestsPerSecond: 4 }, burstSeconds: 0.25 })
        const patient = new TogetherAi.Together({ apiKey: "secret", baseURL, maxRetries: 5 })
        yield* Effect.promise(() =>
          Promise.all([1, 2, 3].map((n) =>
            patient.chat.completions.create({ model, messages: [{ role: "user", content: `Count to ${n}` }] })
          ))
        )
        const { counters } = yield* emulator.state
        expect(counters.admitted).toBe(3)
        expect(counters.refused.requests).toBeGreaterThan(0)
      }))
  })

  describe("a client that leaves", () => {
    it.effect("cancels its call, streamed or not", () =>
      Effect.gen(function*() {
        const { together, openai, emulator } = yield* sdks({ tokensPerSecond: { kind: "constant", value: 1 } })
        const admitted = until(Effect.map(emulator.state, ({ counters }) => counters.admitted === 1))
        const controller = yield* Effect.sync(() => new AbortController())
        const waiting = failure(() =>
          together.chat.completions.create({ model, messages }, { signal: controller.signal })
        )
        const left = Effect.andThen(admitted, Effect.sync(() => controller.abort()))
        yield* Effect.all([waiting, left], { concurrency: "unbounded" })
        const stream = yield* Effect.promise(() => openai.chat.completions.create({ model, messages, stream: true }))
        yield* Effect.promise(async () => {
          for await (const _ of stream) break
        })
        yield* until(Effect.map(emulator.state, ({ counters }) => counters.inFlight === 0))
        const { counters } = yield* emulator.state
        expect(counters).toMatchObject({ admitted: 2, cancelled: 2, inFlight: 0, succeeded: 0 })
      }))
  })

  describe("files and batches", () => {
    it.effect("run a batch through together-ai", () =>
      Effect.gen(function*() {
        const { together, baseURL, emulator } = yield* sdks({ batch: { validatingSeconds: 0.02, rowsPerSecond: 100 } })
        const rows = [1, 2, 3].map((n) => ({
          custom_id: `row-${n}`,
          body: { model, messages: [{ role: "user", content: `Row ${n}` }], max_tokens: 8 }
        }))
        const form = new FormData()
        form.set("purpose", "batch-api")
        form.set("file_name", "rows.jsonl")
        form.set("file", new Blob([rows.map((row) => JSON.stringify(row)).join("\n")]), "rows.jsonl")
        const uploaded = yield* Effect.promise(async () => {
          const response = await fetch(`${baseURL}/files/upload`, {
            method: "POST",
            headers: { authorization: "Bearer secret" },
            body: form
          })
          return await response.json() as { readonly id: string }
        })
        expect(yield* Effect.promise(() => together.files.retrieve(uploaded.id))).toMatchObject({ LineCount: 3 })
        const created = yield* Effect.promise(() =>
          together.batches.create({ endpoint: "/v1/chat/completions", input_file_id: uploaded.id })
        )
        const id = created.job?.id ?? ""
        yield* until(Effect.map(Effect.promise(() => together.batches.retrieve(id)), (seen) => seen.progress === 100))
        const job = yield* Effect.promise(() => together.batches.retrieve(id))
        expect(job).toMatchObject({ status: "COMPLETED", progress: 100 })
        const text = yield* Effect.promise(async () => (await together.files.content(job.output_file_id ?? "")).text())
        expect(text.trim().split("\n").map((line) => JSON.parse(line).custom_id)).toEqual(["row-1", "row-2", "row-3"])
        const again = yield* failure(() => together.batches.cancel(id))
        expect(again).toMatchObject({ status: 409, error: { error: expect.stringContaining("terminal state") } })
        expect(yield* Effect.promise(() => together.batches.list())).toHaveLength(1)
        expect((yield* emulator.state).counters.billedNanoUsd).toBeGreaterThan(0n)
      }))
  })
})
