import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import * as Simulation from "../../src/testing/Simulation.ts"
import { batch, lines, model, question, row, send, upload, virtual } from "./emulator.ts"

describe("Emulator: files and jobs", () => {
  describe("files", () => {
    it.effect("are uploaded, listed, read and deleted", () =>
      virtual(Effect.gen(function*() {
        const id = yield* upload(["{}", "{}", "{}"], {}, "fine-tune")
        expect((yield* send(`GET /files/${id}`)).json).toEqual({
          id,
          object: "file",
          created_at: 1_767_225_600,
          filename: "rows.jsonl",
          bytes: 8,
          purpose: "fine-tune",
          FileType: "jsonl",
          Processed: true,
          LineCount: 3,
          processing_status: "COMPLETED"
        })
        expect((yield* send("GET /files")).json.data).toHaveLength(1)
        expect((yield* send(`GET /files/${id}/content`)).text).toBe("{}\n{}\n{}")
        expect((yield* send(`DELETE /files/${id}`)).json).toEqual({ id, deleted: true })
        expect(yield* send(`GET /files/${id}/content`)).toMatchObject({
          status: 404,
          json: { error: { message: `File ${id} not found`, type: "not_found" } }
        })
      })))

    it.effect("are uploaded in two steps, as the SDKs' helpers do it", () =>
      virtual(Effect.gen(function*() {
        const begun = yield* send("POST /files?file_name=a.csv&file_type=csv&purpose=fine-tune")
        expect(begun.status).toBe(302)
        const id = begun.headers["x-together-file-id"]
        const path = new URL(begun.headers["location"] ?? "").pathname
        expect((yield* send(`PUT ${path}`, { key: "", body: [1] })).status).toBe(200)
        expect((yield* send(`POST /files/${id}/preprocess`)).json).toMatchObject({
          filename: "a.csv",
          FileType: "csv",
          bytes: 3
        })
        expect((yield* send("PUT /__emulator/upload/none", { body: 1 })).status).toBe(404)
        expect((yield* send("POST /files?purpose=fun")).status).toBe(400)
      })))

    it.effect("are refused without a form, a file or a purpose", () =>
      virtual(Effect.gen(function*() {
        expect((yield* send("POST /files/upload", { body: {} })).status).toBe(400)
        const form = new FormData()
        form.set("purpose", "batch-api")
        expect((yield* send("POST /files/upload", { form })).status).toBe(400)
        form.set("file", "text")
        expect((yield* send("POST /files/upload", { form })).status).toBe(400)
        form.set("file_name", "a.jsonl")
        expect((yield* send("POST /files/upload", { form })).json).toMatchObject({ filename: "a.jsonl", bytes: 4 })
        form.set("purpose", "fun")
        expect((yield* send("POST /files/upload", { form })).json.error.message).toContain("purpose")
      })))
  })

  describe("batches", () => {
    it.effect("go from VALIDATING to COMPLETED, with an answer to every row", () =>
      virtual(Effect.gen(function*() {
        const { status, job, id } = yield* batch(["a", "b", "c", "d"].map((name) => row(name)))
        expect(status).toBe(201)
        expect(job).toMatchObject({
          status: "VALIDATING",
          progress: 0,
          endpoint: "/v1/chat/completions",
          model_id: model
        })
        yield* Effect.sleep("11 seconds")
        expect((yield* send(`GET /batches/${id}`)).json).toMatchObject({ status: "IN_PROGRESS", progress: 50 })
        const early = yield* send("GET /__emulator/tags")
        expect(early.json).toEqual({})
        yield* Effect.sleep("1 second")
        const { json } = yield* send(`GET /batches/${id}`)
        expect(json).toMatchObject({ status: "COMPLETED", progress: 100, completed_at: "2026-01-01T00:00:12.000Z" })
        expect(json).not.toHaveProperty("error_file_id")
        const out = lines((yield* send(`GET /files/${json.output_file_id}/content`)).text)
        expect(out.map((line) => line.custom_id)).toEqual(["a", "b", "c", "d"])
        const serverless = yield* send("POST /chat/completions", { body: question("c") })
        expect(out[2].response.body.choices[0].message.content).toBe(serverless.json.choices[0].message.content)
        // half the price, once for each row
        const { json: billed } = yield* send("GET /__emulator/tags")
        const { prompt_tokens, completion_tokens } = out[0].response.body.usage
        expect(billed.a.billedNanoUsd).toBe(String((prompt_tokens * 50 + completion_tokens * 200) / 2))
        yield* send(`GET /batches/${id}`)
        expect((yield* send("GET /__emulator/tags")).json.a).toEqual(billed.a)
        expect((yield* send("GET /batches")).json).toHaveLength(1)
      })))

    it.effect.each(["__proto__", "constructor"])("takes a model named %s for one that is not listed", (name) =>
      virtual(
        Effect.gen(function*() {
          const { id } = yield* batch([row("a", { ...question("a"), model: name })])
          yield* Effect.sleep("1 hour")
          const { json, status } = yield* send(`GET /batches/${id}`)
          expect([status, json.status]).toEqual([200, "COMPLETED"])
          expect(lines((yield* send(`GET /files/${json.output_file_id}/content`)).text)).toHaveLength(1)
        }),
        { unknownModels: "accept" }
      ))

    it.effect("put rows that fail in the error file, and do not bill them", () =>
      virtual(
        Effect.gen(function*() {
          const names = Array.from({ length: 40 }, (_, i) => `r${i}`)
          const { id } = yield* batch([...names.map((name) => row(name)), row("bad", { model, messages: [] })])
          yield* Effect.sleep("1 hour")
          const { json } = yield* send(`GET /batches/${id}`)
          expect(json.status).toBe("COMPLETED")
          const good = lines((yield* send(`GET /files/${json.output_file_id}/content`)).text)
          const bad = lines((yield* send(`GET /files/${json.error_file_id}/content`)).text)
          expect([...good, ...bad].map((line) => line.custom_id).sort()).toEqual([...names, "bad"].sort())
          expect(bad.length).toBeGreaterThan(5)
          expect(bad.find((line) => line.custom_id === "bad").error.code).toBe("batch_client_error")
          expect(bad[0]).toMatchObject({ error: { code: "timeout" } })
          const { json: billed } = yield* send("GET /__emulator/tags")
          expect(Object.keys(billed)).toHaveLength(good.length)
        }),
        { batch: { validatingSeconds: 1, failedRows: 0.3 } }
      ))

    it.effect("are counted and billed when they end, though nobody asks", () =>
      virtual(
        Effect.gen(function*() {
          const provider = yield* SimulatedProvider.SimulatedProvider
          yield* batch(["a", "b"].map((name) => row(name)))
          const cost = Effect.map(provider.counters, ({ billedNanoUsd }) => billedNanoUsd)
          yield* Effect.sleep("10 seconds")
          expect(yield* cost).toBe(0n)
          yield* Effect.sleep("1 minute")
          const billed = yield* cost
          expect(billed).toBeGreaterThan(0n)
          expect((yield* provider.state).counters.billedNanoUsd).toBe(billed)
          // the batch ended after 11 s: by now its cost is in the balance
          expect(Simulation.balance(yield* provider.state)).toMatchObject({ unmeteredNanoUsd: 0n })
          expect((yield* send("POST /chat/completions", { body: question("more") })).status).toBe(402)
        }),
        { credits: { balanceUsd: 0.000_000_001, meteringLagSeconds: 20 } }
      ))

    it.effect("show in the state as soon as they have ended", () =>
      virtual(Effect.gen(function*() {
        const provider = yield* SimulatedProvider.SimulatedProvider
        yield* batch([row("a")])
        yield* Effect.sleep("1 minute")
        expect(Simulation.tag(yield* provider.state, "a")?.billedNanoUsd).toBeGreaterThan(0n)
      })))

    it.effect("are billed under the options of the time at which they end", () =>
      virtual(
        Effect.gen(function*() {
          const provider = yield* SimulatedProvider.SimulatedProvider
          yield* batch(Array.from({ length: 20 }, (_, i) => row(`slow${i}`)))
          yield* batch([row("fast")])
          yield* Effect.sleep("1 minute")
          yield* provider.configure({ batch: { validatingSeconds: 1000 } })
          const state = yield* provider.state
          expect(Simulation.tag(state, "slow19")?.billedNanoUsd).toBeGreaterThan(0n)
          expect(state.accounts["default"]).toMatchObject({ recharges: 1 })
        }),
        { credits: { balanceUsd: 1, autoRecharge: { mode: "target", thresholdUsd: 0.999_999, targetUsd: 2 } } }
      ))

    it.effect("fail later for a bad file or model, though they were accepted", () =>
      virtual(Effect.gen(function*() {
        const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
          [[], "the file is empty"],
          [["not json"], "line 1 is not a valid row"],
          [[row("a"), JSON.stringify({ custom_id: "b", body: {} })], "line 2 has no model"],
          [[row("a"), row("a")], "custom_id must be unique"],
          [[row("a", { ...question("x"), model: "no/such" })], "not found"],
          [[row("a", { ...question("x"), model: "Qwen/Qwen2.5-72B-Instruct" })], "not serverless"],
          [[row("a", { ...question("x"), model: "deepseek-ai/DeepSeek-V3.1" })], "not supported for batch"]
        ]
        for (const [rows, message] of cases) {
          const { status, id } = yield* batch(rows)
          expect(status).toBe(201)
          yield* Effect.sleep("10 seconds")
          const { json } = yield* send(`GET /batches/${id}`)
          expect(json).toMatchObject({ status: "FAILED", error: expect.stringContaining(message) })
          expect(json).not.toHaveProperty("output_file_id")
        }
      })))

    it.effect("are refused at once for a wrong request", () =>
      virtual(Effect.gen(function*() {
        expect((yield* send("POST /batches", { body: {} })).json).toEqual({
          error: "endpoint and input_file_id are required"
        })
        expect((yield* send("POST /batches", { body: { endpoint: "/v1/embeddings", input_file_id: "x" } })).status)
          .toBe(400)
        expect(
          (yield* send("POST /batches", { body: { endpoint: "/v1/chat/completions", input_file_id: "x" } })).status
        ).toBe(404)
        expect(yield* send("GET /batches/none")).toMatchObject({ status: 404, json: { error: "Job not found" } })
      })))

    it.effect("are cancelled with what is done, and only once", () =>
      virtual(Effect.gen(function*() {
        const { id } = yield* batch(Array.from({ length: 100 }, (_, i) => row(`r${i}`)))
        yield* Effect.sleep("12 seconds")
        expect((yield* send(`POST /batches/${id}/cancel`)).json.status).toBe("CANCELING")
        yield* Effect.sleep("1 second")
        expect((yield* send(`POST /batches/${id}/cancel`)).json.status).toBe("CANCELING")
        yield* Effect.sleep("14 seconds")
        const { json } = yield* send(`GET /batches/${id}`)
        expect(json).toMatchObject({ status: "CANCELLED", progress: 4 })
        expect(lines((yield* send(`GET /files/${json.output_file_id}/content`)).text)).toHaveLength(4)
        expect(yield* send(`POST /batches/${id}/cancel`)).toMatchObject({
          status: 409,
          json: { error: "Cannot cancel job - already in terminal state: CANCELLED" }
        })
      })))

    it.effect("expire with what is done", () =>
      virtual(
        Effect.gen(function*() {
          const { id } = yield* batch(Array.from({ length: 100 }, (_, i) => row(`r${i}`)))
          yield* Effect.sleep("1 day")
          expect((yield* send(`GET /batches/${id}`)).json).toMatchObject({ status: "EXPIRED", progress: 20 })
        }),
        { batch: { validatingSeconds: 10, rowsPerSecond: 2, expiresSeconds: 20 } }
      ))

    it.effect("transcribe audio too", () =>
      virtual(Effect.gen(function*() {
        const { id } = yield* batch([row("a", { model: "openai/whisper-large-v3", file: "https://x.test/a.mp3" })], {
          endpoint: "/v1/audio/transcriptions"
        })
        yield* Effect.sleep("1 minute")
        const { json } = yield* send(`GET /batches/${id}`)
        expect(lines((yield* send(`GET /files/${json.output_file_id}/content`)).text)[0].response.body).toEqual({
          text: expect.any(String)
        })
      })))
  })

  describe("fine-tunes", () => {
    const create = Effect.gen(function*() {
      const training_file = yield* upload(["{}"], {}, "fine-tune")
      return yield* send("POST /fine-tunes", { body: { model, training_file, suffix: "mine" } })
    })

    it.effect("run through their phases to a model that can be downloaded", () =>
      virtual(Effect.gen(function*() {
        const { json: { id } } = yield* create
        const look = Effect.map(send(`GET /fine-tunes/${id}`), ({ json }) => json)
        expect(yield* look).toMatchObject({ status: "queued", total_price: 4_000_000_000, model, suffix: "mine" })
        expect((yield* send(`GET /finetune/download?ft_id=${id}`)).status).toBe(400)
        yield* Effect.sleep("6 seconds")
        expect(yield* look).toMatchObject({ status: "running", started_at: "2026-01-01T00:00:05.000Z" })
        yield* Effect.sleep("62 seconds")
        expect((yield* look).status).toBe("uploading")
        yield* Effect.sleep("1 minute")
        const done = yield* look
        expect(done).toMatchObject({
          status: "completed",
          progress: { estimate_available: false, seconds_remaining: 0 }
        })
        expect(done.events.map((event: { type: string }) => event.type)).toContain("job_complete")
        expect((yield* send(`GET /fine-tunes/${id}/events`)).json.data).toEqual(done.events)
        expect((yield* send(`GET /fine-tunes/${id}/checkpoints`)).json.data).toHaveLength(1)
        expect((yield* send(`GET /fine-tunes/${id}/metrics`)).json.metrics).toHaveLength(1)
        expect((yield* send(`GET /finetune/download?ft_id=${id}`)).text).toContain(id)
        expect((yield* send("GET /fine-tunes")).json.data).toHaveLength(1)
        expect((yield* send(`DELETE /fine-tunes/${id}`)).json.message).toContain(id)
        expect((yield* send(`GET /fine-tunes/${id}`)).status).toBe(404)
      })))

    it.effect("are cancelled before their end only", () =>
      virtual(Effect.gen(function*() {
        const { json: { id } } = yield* create
        yield* Effect.sleep("10 seconds")
        expect((yield* send(`POST /fine-tunes/${id}/cancel`)).json.status).toBe("cancelled")
        expect((yield* send(`POST /fine-tunes/${id}/cancel`)).status).toBe(400)
        expect((yield* send(`GET /fine-tunes/${id}/checkpoints`)).json.data).toEqual([])
        expect((yield* send(`GET /fine-tunes/${id}/metrics`)).json.metrics).toEqual([])
      })))

    it.effect("need their whole price in the balance, and say it before", () =>
      virtual(
        Effect.gen(function*() {
          const training_file = yield* upload(["{}"], {}, "fine-tune")
          const estimate = Effect.map(
            send("POST /fine-tunes/estimate-price", { body: { training_file } }),
            ({ json }) => json
          )
          expect(yield* estimate).toMatchObject({ estimated_total_price: 4, allowed_to_proceed: false, user_limit: 3 })
          expect(yield* create).toMatchObject({ status: 402, json: { error: { type: "credit_limit" } } })
          yield* send("POST /__emulator/credits", { body: { topUpUsd: 2 } })
          expect(yield* estimate).toMatchObject({ allowed_to_proceed: true })
          expect((yield* create).status).toBe(200)
          expect(yield* estimate).toMatchObject({ allowed_to_proceed: false, user_limit: 1 })
        }),
        { credits: { balanceUsd: 3 } }
      ))

    it.effect("are refused for a missing field or file", () =>
      virtual(Effect.gen(function*() {
        expect((yield* send("POST /fine-tunes", { body: { model } })).json).toEqual({
          message: "Invalid request: training_file is required"
        })
        expect((yield* send("POST /fine-tunes", { body: { model, training_file: "x" } })).status).toBe(404)
        expect((yield* send("POST /fine-tunes/estimate-price", { body: { training_file: "x" } })).json).toEqual({
          estimation_available: false,
          unavailable_reason: "train_file_not_validated"
        })
        expect((yield* send("POST /fine-tunes/estimate-price", { body: {} })).status).toBe(400)
      })))
  })

  describe("evaluations", () => {
    it.effect("run to their end, and are listed by status", () =>
      virtual(Effect.gen(function*() {
        const { json } = yield* send("POST /evaluation", { body: { type: "score", parameters: {} } })
        expect(json).toEqual({ workflow_id: expect.any(String), status: "pending" })
        expect((yield* send(`GET /evaluation/${json.workflow_id}/status`)).json).toEqual({
          status: "pending",
          results: null
        })
        expect((yield* send("GET /evaluation?status=completed")).json).toEqual([])
        yield* Effect.sleep("2 minutes")
        expect((yield* send(`GET /evaluation/${json.workflow_id}`)).json).toMatchObject({
          status: "completed",
          type: "score"
        })
        expect((yield* send("GET /evaluation?status=completed&limit=5")).json).toHaveLength(1)
        expect((yield* send("POST /evaluation", { body: { type: "guess", parameters: {} } })).status).toBe(400)
        expect((yield* send("GET /evaluation/none")).status).toBe(404)
      })))
  })

  describe("videos and audio", () => {
    it.effect("makes a video in time", () =>
      virtual(Effect.gen(function*() {
        const { json } = yield* send("POST /v2/videos", { body: { model: "Wan-AI/Wan2.2-T2V-A14B", prompt: "a fox" } })
        expect(json).toMatchObject({ object: "video", status: "in_progress", size: "1280x720", seconds: "5" })
        yield* Effect.sleep("2 minutes")
        expect((yield* send(`GET /v2/videos/${json.id}`)).json).toMatchObject({
          status: "completed",
          outputs: { cost: 660_000_000, video_url: expect.stringContaining(json.id) }
        })
      })))

    it.effect("speaks, transcribes and translates", () =>
      virtual(Effect.gen(function*() {
        const speak = { model: "cartesia/sonic-2", input: "hello", voice: "v" }
        const spoken = yield* send("POST /audio/speech", { body: speak })
        expect(spoken.headers["content-type"]).toBe("audio/wav")
        expect(spoken.text.slice(0, 4)).toBe("RIFF")
        const streamed = yield* send("POST /audio/speech", { body: { ...speak, stream: true } })
        expect(streamed.text).toMatch(/^data: \{"object":"audio.tts.chunk".*\}\n\ndata: \[DONE\]\n\n$/)
        const form = new FormData()
        form.set("file", new Blob(["sound"]), "a.wav")
        const plain = yield* send("POST /audio/transcriptions", { form })
        expect(plain.json).toEqual({ text: expect.any(String) })
        form.set("response_format", "verbose_json")
        expect((yield* send("POST /audio/translations", { form })).json).toMatchObject({
          task: "translate",
          segments: [{ id: 0 }]
        })
      })))
  })
})
