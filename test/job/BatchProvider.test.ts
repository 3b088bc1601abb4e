import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as BatchProvider from "../../src/job/BatchProvider.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import { prompts, run, setup, world as simulated } from "./batches.ts"

const part = { name: "job-1.jsonl", model: "m", from: 1, to: 2, rows: 2, round: 0 }

interface Answer {
  readonly status?: number
  readonly body: unknown
}

/** Makes a provider whose creations are answered one after another, and that lists what it is told to. */
const world = (creations: ReadonlyArray<Answer>, batches: ReadonlyArray<object> = []) => {
  const asked: Array<string> = []
  const client = HttpClient.make((request, url) =>
    Effect.sync(() => {
      const path = `${request.method} ${url.pathname.replace("/v1", "")}`
      asked.push(path)
      const created = asked.filter((each) => each === "POST /batches").length
      const { body, status = 200 }: Answer = path === "POST /batches"
        ? creations[Math.min(created, creations.length) - 1]!
        : { body: path === "GET /files" ? { data: [{ id: "file-1", filename: part.name }] } : batches }
      return HttpClientResponse.fromWeb(request, Response.json(body, { status }))
    })
  )
  const layer = Together.layerHttp({ apiKey: Redacted.make("k"), retry: Schedule.recurs(0) }).pipe(
    Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
  )
  const create = VirtualClock.wrap(
    Effect.gen(function*() {
      const provider = BatchProvider.make(yield* Together.Together, Duration.seconds(1))
      return yield* Effect.result(provider.create(part, "file-1"))
    }).pipe(Effect.provide(layer))
  )
  return { asked, create, creations: () => asked.filter((each) => each === "POST /batches").length }
}

const refused = (status: number): Answer => ({ status, body: { error: { message: "no" } } })
const listed = [{ id: "batch-1", input_file_id: "file-1", status: "IN_PROGRESS" }]

/** Is a world whose first downloads end early, in the middle of a line. */
const cutting = (downloads: number) => {
  let seen = 0
  return simulated(
    {},
    (client) =>
      HttpClient.transform(client, (effect, request) =>
        request.url.endsWith("/content") && seen++ < downloads
          ? Effect.flatMap(effect, (response) =>
            Effect.map(
              response.text,
              (text) => HttpClientResponse.fromWeb(request, new Response(text.slice(0, text.length / 2)))
            ))
          : effect)
  )
}

describe("BatchProvider", () => {
  describe("create", () => {
    it.effect("hands out the id of the batch", () =>
      Effect.gen(function*() {
        const { asked, create } = world([{
          body: { job: { id: "batch-7", input_file_id: "file-1", status: "VALIDATING" } }
        }])
        expect(yield* create).toEqual(Result.succeed("batch-7"))
        expect(asked).toEqual(["POST /batches"])
      }))

    it.effect("is denied for sure by a refusal, and asks no more", () =>
      Effect.gen(function*() {
        for (const status of [400, 401, 403, 404]) {
          const { asked, create } = world([refused(status)])
          expect([status, yield* create]).toEqual([
            status,
            Result.fail({ denied: true, error: expect.objectContaining({ status }) })
          ])
          expect(asked).toEqual(["POST /batches"])
        }
      }))

    it.effect("looks before it creates again, and takes the batch that it finds", () =>
      Effect.gen(function*() {
        for (const status of [408, 500, 503]) {
          const { create, creations } = world([refused(status)], listed)
          expect([status, yield* create, creations()]).toEqual([status, Result.succeed("batch-1"), 1])
        }
      }))

    it.effect("stays in doubt where a refusal comes after a failure that may have been taken", () =>
      Effect.gen(function*() {
        const { asked, create } = world([refused(500), refused(403)])
        expect(yield* create).toEqual(Result.fail({ denied: false, error: expect.objectContaining({ status: 403 }) }))
        expect(asked).toEqual(["POST /batches", "GET /files", "GET /batches", "POST /batches"])
      }))

    it.effect("gives up after five creations that failed, in doubt", () =>
      Effect.gen(function*() {
        const { create, creations } = world([refused(500)])
        expect(yield* create).toEqual(Result.fail({ denied: false, error: expect.objectContaining({ status: 500 }) }))
        expect(creations()).toBe(5)
      }))

    it.effect("only looks after a success that told no id", () =>
      Effect.gen(function*() {
        const found = world([{ body: {} }], listed)
        expect([yield* found.create, found.creations()]).toEqual([Result.succeed("batch-1"), 1])
        const lost = world([{ body: {} }])
        expect(yield* lost.create).toEqual(
          Result.fail({ denied: false, error: expect.objectContaining({ _tag: "DecodeError" }) })
        )
        expect(lost.creations()).toBe(1)
      }))
  })

  describe("collect", () => {
    it.effect("reads a file again that ended early, and batches no row again that it answers", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(40))
        const provider = cutting(1)
        const { report, stop } = yield* run(disk, provider)
        expect([stop, report.ok, provider.seen.get("POST /v1/batches")]).toEqual([undefined, 40, 1])
      })))

    it.effect("leaves a batch open whose file ends early each time, and reads it in a later run", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(40))
        const provider = cutting(5)
        const cut = yield* run(disk, provider)
        expect(cut.stop).toMatchObject({ _tag: "Unreachable", error: { _tag: "ConnectionError" } })
        expect([cut.report.ok, cut.running?.rows]).toEqual([0, 40])
        const { report, stop } = yield* run(disk, provider)
        expect([stop, report.ok, provider.seen.get("POST /v1/batches")]).toEqual([undefined, 40, 1])
      })))
  })
})
