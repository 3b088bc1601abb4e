import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as BatchProvider from "../../src/job/batch/BatchProvider.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import { boundOf, price, prompts, run, world as simulated } from "./batches.ts"
import { forget, setup, stopAfter } from "./jobs.ts"

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
      const provider = BatchProvider.make(yield* Together.Together)
      return yield* Effect.result(provider.create(part, "file-1"))
    }).pipe(Effect.provide(layer))
  )
  return { asked, create, creations: () => asked.filter((each) => each === "POST /batches").length }
}

const refused = (status: number): Answer => ({ status, body: { error: { message: "no" } } })
const listed = [{ id: "batch-1", input_file_id: "file-1", status: "IN_PROGRESS" }]

/** Is a world whose first downloads end early, in the middle of a line, or are answered otherwise. */
const cutting = (
  downloads: number,
  answer = (text: string) => new Response(text.slice(0, text.length / 2))
) => {
  let seen = 0
  return simulated(
    {},
    (client) =>
      HttpClient.transform(client, (effect, request) =>
        request.url.endsWith("/content") && seen++ < downloads
          ? Effect.flatMap(effect, (response) =>
            Effect.map(
              response.text,
              (text) => HttpClientResponse.fromWeb(request, answer(text))
            ))
          : effect)
  )
}

const unavailable = (headers: Readonly<Record<string, string>> = {}, status = 503) =>
  Reply.json({}, { status, headers })

/** Is a world that changes what it says of a batch, from one look on to another. */
const saying = (of: (looks: number, job: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>) => {
  let looks = 0
  return simulated(
    {},
    (client) =>
      HttpClient.transform(client, (effect, request) =>
        /GET .*\/batches\/./.test(`${request.method} ${request.url}`)
          ? Effect.flatMap(effect, (response) =>
            Effect.map(response.json, (job) => {
              // the simulation answers with an object
              const said = job as Readonly<Record<string, unknown>>
              const now = said["status"] === "COMPLETED" ? of(++looks, said) : said
              return HttpClientResponse.fromWeb(request, Response.json(now))
            }))
          : effect)
  )
}

/** Is a world that, from its sixth second on, answers some requests so for so many seconds, and counts them. */
const failing = (seconds: number, spoilt: (request: string) => boolean, answer: Reply.Reply = unavailable()) => {
  let failures = 0
  let began: number | undefined
  const provider = simulated(
    { batch: { validatingSeconds: 10 } },
    (client) =>
      HttpClient.transform(client, (effect, request) =>
        Effect.clockWith((clock) => {
          const time = clock.currentTimeMillisUnsafe() / 1000
          const now = time - (began ??= time)
          if (now < 6 || now >= 6 + seconds || !spoilt(`${request.method} ${request.url}`)) return effect
          failures++
          return Reply.send(answer, request)
        }))
  )
  return { provider, failures: () => failures }
}

const looks = (request: string) => /GET .*\/batches\/./.test(request)

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

  describe("poll", () => {
    it.effect("takes looks without an answer for no news, as long as a job by calls would wait", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        for (const [seconds, stopped] of [[500, undefined], [1000, "Unreachable"]] as const) {
          const disk = yield* setup(prompts(40))
          const { failures, provider } = failing(seconds, looks)
          const { report, stop } = yield* run(disk, provider, { poll: "5 seconds" })
          expect([seconds, stop?._tag, report.ok]).toEqual([seconds, stopped, stopped === undefined ? 40 : 0])
          expect(failures()).toBeGreaterThan(10)
        }
      })))

    it.effect("waits as long for a list in which a part of an earlier run is looked for, and for a download", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(40))
        const { failures, provider } = failing(45, (request) => /GET .*(\/content|\/files|\/batches)$/.test(request))
        yield* run(disk, provider, { stop: stopAfter("3 seconds") })
        yield* forget(disk, "batchId")
        const { report, stop } = yield* Effect.delay(run(disk, provider), "5 seconds")
        expect([stop, report.ok, provider.seen.get("POST /v1/batches")]).toEqual([undefined, 40, 1])
        expect(failures()).toBeGreaterThan(5)
      })))

    it.effect("takes a host without an address for an outage, once it was answered", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(40))
        const { failures, provider } = failing(60, looks, Reply.broken("dns"))
        const { report, stop } = yield* run(disk, provider, { poll: "5 seconds" })
        expect([stop, report.ok, failures() > 2]).toEqual([undefined, 40, true])
      })))

    it.effect("asks again no earlier than it is told, and not at all where that is longer than an outage", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        for (const [retryAfter, asked, stopped] of [["120", 3, undefined], ["3600", 1, "Unreachable"]] as const) {
          const disk = yield* setup(prompts(40))
          const { failures, provider } = failing(300, looks, unavailable({ "retry-after": retryAfter }))
          const { stop } = yield* run(disk, provider, { poll: "5 seconds" })
          expect([retryAfter, stop?._tag, failures()]).toEqual([retryAfter, stopped, asked])
        }
      })))

    it.effect("stops at once where it is refused", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(40))
        const { failures, provider } = failing(1000, looks, unavailable({}, 401))
        const { stop } = yield* run(disk, provider, { poll: "5 seconds" })
        expect([stop?._tag, failures()]).toEqual(["Refused", 1])
      })))
  })

  describe("collect", () => {
    it.effect("reads a file again that ended early, and batches no row again that it answers", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(40))
        const provider = cutting(1)
        const { report, stop } = yield* run(disk, provider)
        expect([stop, report.ok, provider.seen.get("POST /v1/batches")]).toEqual([undefined, 40, 1])
      })))

    it.effect("reads a file again in whose place something in between answers with a page, as long as that lasts", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        for (const [times, stopped] of [[3, undefined], [9, "Unreachable"]] as const) {
          const disk = yield* setup(prompts(40))
          const provider = cutting(
            times,
            () => new Response("<title>Back soon</title>", { headers: { "content-type": "text/html" } })
          )
          const { report, running, stop } = yield* run(disk, provider)
          expect([times, stop?._tag, report.ok, running?.rows]).toEqual(
            stopped === undefined ? [3, undefined, 40, undefined] : [9, stopped, 0, 40]
          )
          expect(provider.seen.get("POST /v1/batches")).toBe(1)
        }
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

    it.effect("looks again at a complete batch that names no file yet, and batches no row again", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const provider = saying((looks, job) => looks < 4 ? { ...job, output_file_id: null } : job)
        const { report, stop } = yield* run(disk, provider)
        expect([stop, report.ok, provider.seen.get("POST /v1/batches")]).toEqual([undefined, 3, 1])
      })))

    it.effect("stops where a complete batch never names a file, and then counts what it may have cost", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const provider = saying((looks, job) => looks <= 10 ? { ...job, output_file_id: null } : job)
        const first = yield* run(disk, provider, { price })
        expect(first.stop).toMatchObject({ _tag: "Refused", error: { _tag: "NotFoundError" } })
        expect([first.report.ok, provider.seen.get("POST /v1/batches")]).toEqual([0, 1])
        const { report, uncertainNanoUsd } = yield* run(disk, provider, { price })
        expect([report.ok, uncertainNanoUsd, provider.seen.get("POST /v1/batches")]).toEqual([3, boundOf(1, 3), 2])
      })))

    it.effect("lacks nothing where every row is answered, though a file is gone", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const provider = saying((_, job) => ({ ...job, error_file_id: "file-gone" }))
        const { report, stop } = yield* run(disk, provider)
        expect([stop, report.ok, provider.seen.get("POST /v1/batches")]).toEqual([undefined, 3, 1])
      })))

    it.effect("stops at a file of answers that is gone, and batches its rows again in the next run", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const provider = saying((looks, job) => looks <= 2 ? { ...job, output_file_id: "file-gone" } : job)
        const first = yield* run(disk, provider, { price })
        expect(first.stop).toMatchObject({ _tag: "Refused", error: { _tag: "NotFoundError" } })
        const { report, stop, uncertainNanoUsd } = yield* run(disk, provider, { price })
        expect([stop, report.ok, provider.seen.get("POST /v1/batches")]).toEqual([undefined, 3, 2])
        expect([report.warnings.length, uncertainNanoUsd]).toEqual([1, boundOf(1, 3)])
      })))

    it.effect("stops again where the answers of the next batch are gone as well", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const provider = saying((_, job) => ({ ...job, output_file_id: "file-gone" }))
        yield* run(disk, provider)
        const { stop } = yield* run(disk, provider)
        expect([stop?._tag, provider.seen.get("POST /v1/batches")]).toEqual(["Refused", 2])
      })))
  })
})
