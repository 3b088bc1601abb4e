import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as BatchJob from "../../src/job/BatchJob.ts"
import * as BatchOutput from "../../src/job/BatchOutput.ts"
import * as Parts from "../../src/job/BatchParts.ts"
import * as Input from "../../src/job/Input.ts"
import * as Row from "../../src/job/Row.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import * as MemoryDisk from "./MemoryDisk.ts"

const model = "meta-llama/Llama-3.3-70B-Instruct-Turbo"

const line = (id: number, of = model) =>
  JSON.stringify({
    custom_id: `r${id}`,
    tag: id,
    body: { model: of, max_tokens: 20, messages: [{ role: "user", content: `question ${id}` }] }
  })

const prompts = (count: number) => Array.from({ length: count }, (_, i) => `${line(i + 1)}\n`).join("")

/** A provider that counts the requests of each kind. */
const world = (
  options: Simulation.Options = {},
  spoil: (client: HttpClient.HttpClient) => HttpClient.HttpClient = (client) => client
) => {
  const client = spoil(SimulatedProvider.make({ unknownModels: "accept", ...options }, 1).client)
  const seen = new Map<string, number>()
  const counting = HttpClient.mapRequest(client, (request) => {
    const path = new URL(request.url).pathname.replace(/\/(file|batch)[^/]*-[^/]+|\/[0-9a-f]{8}-[0-9a-f-]+/g, "/…")
    const name = `${request.method} ${path}`
    seen.set(name, (seen.get(name) ?? 0) + 1)
    return request
  })
  return {
    seen,
    layer: Together.layerHttp({ apiKey: Redacted.make("k") }).pipe(
      Layer.provide(Layer.succeed(HttpClient.HttpClient, counting))
    )
  }
}

const run = (disk: MemoryDisk.Disk, world_: ReturnType<typeof world>, options: Partial<BatchJob.Options> = {}) =>
  BatchJob.run({ input: Input.file("in.jsonl"), ...options }).pipe(
    Effect.provideService(FileSystem.FileSystem, disk.fs),
    Effect.provide(world_.layer)
  )

const ids = (disk: MemoryDisk.Disk, path: string) =>
  disk.text(path).split("\n").filter((text) => text !== "")
    // what the test reads is what the job wrote
    .map((text) => (JSON.parse(text) as { readonly custom_id: string }).custom_id).sort()

const numbered = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `r${from + i}`).sort()

const setup = (text: string) =>
  Effect.gen(function*() {
    const disk = MemoryDisk.make()
    yield* disk.fs.writeFileString("in.jsonl", text)
    return disk
  })

describe("BatchParts", () => {
  const row = (id: number, of = model) => {
    const read = Row.parse(line(id, of), id)
    if (read._tag === "Bad") throw new Error(read.message)
    return read
  }

  it("splits by rows, by bytes and by model", () => {
    const gatherer = Parts.gatherer(0, (of, from) => `${of}@${from}`, { maxRows: 2, maxBytes: 1e6 })
    const full = [row(1), row(2, "x"), row(3), row(4), row(5, "x")].flatMap((each) => gatherer.add(each) ?? [])
    const all = [...full, ...gatherer.rest()]
    expect(all.map(({ lines, part }) => [part.model === "x" ? "x" : "m", part.from, part.to, part.rows, [...lines]]))
      .toEqual([
        ["m", 1, 3, 2, [1, 3]],
        ["m", 4, 4, 1, [4]],
        ["x", 2, 5, 2, [2, 5]]
      ])
    const small = Parts.gatherer(0, () => "n", { maxRows: 100, maxBytes: 500 })
    expect([row(1), row(2), row(3)].flatMap((each) => small.add(each) ?? []).length).toBe(2)
    expect(gatherer.rest()).toEqual([])
  })

  it("refuses what the Batch API does not take", () => {
    expect(Parts.refusal(row(1))).toBeUndefined()
    expect(Parts.refusal({ ...row(1), id: "x".repeat(65) })).toContain("65 characters")
    expect(Parts.refusal({ ...row(1), operation: "embeddings" })).toContain("chat completions only")
  })
})

describe("BatchOutput", () => {
  it("reads both forms of an output row", () => {
    const said = (row: unknown) => BatchOutput.readLine(JSON.stringify(row))
    expect(said({ custom_id: "a", response: { status_code: 200, body: { x: 1 } } })).toEqual([
      "a",
      { _tag: "Answered", status: 200, body: { x: 1 } }
    ])
    expect(said({ custom_id: "a", response: { status_code: 400, body: { error: { message: "no" } } } })?.[1]).toEqual({
      _tag: "Refused",
      code: "400",
      message: "no",
      status: 400
    })
    expect(said({ custom_id: "a", error: { code: "timeout", message: "late" } })?.[1]).toEqual({
      _tag: "Refused",
      code: "timeout",
      message: "late",
      status: undefined
    })
    expect(said({ custom_id: "a", error: "flat" })?.[1]).toMatchObject({ code: "batch_error", message: "flat" })
    expect(said({ nothing: 1 })).toBeUndefined()
    expect(BatchOutput.readLine("torn {")).toBeUndefined()
  })
})

describe("BatchJob", () => {
  describe("run", () => {
    it.effect("answers every row through batches, at the batch price, and knows them afterwards", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(25))
        const provider = world()
        const { report, stop, written } = yield* run(disk, provider, { limits: { maxRows: 10, maxBytes: 1e7 } })
        expect([stop, report.ok, report.failed, written]).toEqual([undefined, 25, 0, 25])
        expect(ids(disk, "in.results.jsonl")).toEqual(numbered(1, 25))
        expect(provider.seen.get("POST /v1/batches")).toBe(3)
        expect(report.nanoUsd).toBeGreaterThan(0n)
        expect(report.inFlight).toBe(0)
        const again = world()
        const second = yield* run(disk, again)
        expect([second.report.resumedOk, again.seen.get("POST /v1/batches")]).toEqual([25, undefined])
      })))

    it.effect("reports bad lines, and rows that cannot be batched", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const long = JSON.stringify({
          custom_id: "x".repeat(70),
          body: { model, messages: [{ role: "user", content: "a" }] }
        })
        const disk = yield* setup([line(1), "{", long, line(1), line(5)].join("\n"))
        const { report, written } = yield* run(disk, world())
        expect([report.ok, report.bad, written]).toEqual([2, 3, 5])
        expect(report.duplicates.lines).toEqual([4])
      })))

    it.effect("goes on after a stop with the batches that were left running, and creates none twice", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(20))
        const provider = world()
        const options = { limits: { maxRows: 8, maxBytes: 1e7 }, poll: "10 seconds" as const }
        const first = yield* run(disk, provider, {
          ...options,
          stop: Effect.as(Effect.sleep("3 seconds"), Stop.interrupted)
        })
        expect(first.stop).toEqual(Stop.interrupted)
        const created = provider.seen.get("POST /v1/batches")!
        expect(created).toBeGreaterThan(0)
        const { report } = yield* run(disk, provider, options)
        expect(first.report.ok + report.ok).toBe(20)
        expect(ids(disk, "in.results.jsonl")).toEqual(numbered(1, 20))
        expect(provider.seen.get("POST /v1/batches")).toBe(3)
      })))

    it.effect("adopts a batch whose creation was cut off by a crash", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        const provider = world()
        yield* run(disk, provider, { stop: Effect.as(Effect.sleep("5 seconds"), Stop.interrupted) })
        expect(provider.seen.get("POST /v1/batches")).toBe(1)
        // as if the process had died after the batch was created and before its note
        const notes = disk.text("in.results.jsonl.journal").split("\n").filter((text) => !text.includes("\"batchId\""))
        yield* disk.fs.writeFileString("in.results.jsonl.journal", notes.join("\n"))
        const { report } = yield* run(disk, provider)
        expect(report.ok).toBe(6)
        expect(provider.seen.get("POST /v1/batches")).toBe(1)
      })))

    it.effect("looks before it creates again, where the answer to a creation was lost", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(5))
        let lost = 0
        const provider = world(
          {},
          (client) =>
            HttpClient.transform(
              client,
              (effect, request) =>
                request.method === "POST" && request.url.endsWith("/batches") && lost++ === 0
                  ? Effect.andThen(
                    effect,
                    Effect.fail(
                      new HttpClientError.HttpClientError({
                        reason: new HttpClientError.TransportError({ request, cause: new Error("reset") })
                      })
                    )
                  )
                  : effect
            )
        )
        const { report } = yield* run(disk, provider)
        expect([report.ok, lost, provider.seen.get("POST /v1/batches")]).toEqual([5, 1, 1])
      })))

    it.effect("batches rows again that an expired batch left unanswered, and gives up in the end", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        const provider = world({ batch: { rowsPerSecond: 0.001, expiresSeconds: 60 } })
        const { report, written } = yield* run(disk, provider)
        expect([report.ok, report.failed, written]).toEqual([0, 4, 4])
        expect(provider.seen.get("POST /v1/batches")).toBe(BatchJob.defaults.rounds)
        expect(disk.text("in.errors.jsonl")).toContain("no batch answered this row in 3 rounds")
      })))

    it.effect("counts duplicates on a resume, too, and sends nothing", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup([line(1), line(2), line(1)].join("\n"))
        const provider = world()
        yield* run(disk, provider)
        const { report, written } = yield* run(disk, provider)
        expect([report.resumedOk, report.bad, report.duplicates.lines, written]).toEqual([2, 1, [3], 3])
        expect(provider.seen.get("POST /v1/batches")).toBe(1)
      })))

    it.effect("stops at a changed row, keeps its answer, or batches it again", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        const provider = world()
        const before = yield* run(disk, provider)
        expect(before.report.ok).toBe(4)
        yield* disk.fs.writeFileString("in.jsonl", prompts(4).replace("question 2", "another question"))
        expect((yield* Effect.flip(run(disk, provider)))._tag).toBe("JournalError")
        expect((yield* run(disk, provider, { changed: "keep" })).report.resumedOk).toBe(4)
        const { report } = yield* run(disk, provider, { changed: "resend" })
        expect([report.resumedOk, report.ok]).toEqual([3, 1])
        expect(ids(disk, "in.results.jsonl")).toEqual(numbered(1, 4))
        const stopped = yield* Effect.flip(run(disk, provider, { row: { body: { top_k: 3 } } }))
        expect(stopped).toMatchObject({ _tag: "JournalError", reason: "row-changed" })
      })))

    it.effect("does not give a changed row the answer that its batch makes to what it asked before", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        const provider = world()
        yield* run(disk, provider, { stop: Effect.as(Effect.sleep("3 seconds"), Stop.interrupted) })
        expect(provider.seen.get("POST /v1/batches")).toBe(1)
        yield* disk.fs.writeFileString("in.jsonl", prompts(4).replace("question 2", "another question"))
        const { report } = yield* run(disk, provider, { changed: "resend" })
        expect(report.ok).toBe(4)
        // the row that asks for something else now went into a batch of its own
        expect(provider.seen.get("POST /v1/batches")).toBe(2)
        expect(ids(disk, "in.results.jsonl")).toEqual(numbered(1, 4))
      })))

    it.effect("sends failed rows again when asked to", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const broken = yield* run(disk, world({ batch: { rowsPerSecond: 0.001, expiresSeconds: 60 } }), { rounds: 1 })
        expect(broken.report.failed).toBe(3)
        const idle = world()
        expect([(yield* run(disk, idle)).report.resumedFailed, idle.seen.get("POST /v1/batches")]).toEqual([
          3,
          undefined
        ])
        const { report } = yield* run(disk, world(), { retryErrors: true })
        expect([report.ok, report.failed]).toEqual([3, 0])
        expect([ids(disk, "in.results.jsonl"), disk.files.has("in.errors.jsonl")]).toEqual([numbered(1, 3), false])
      })))

    it.effect("stops before a batch that may cost more than is left", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(10))
        const provider = world()
        const { report, stop } = yield* run(disk, provider, { maxCost: 100n })
        expect([stop?._tag, report.ok, provider.seen.get("POST /v1/batches")]).toEqual(["MaxCost", 0, undefined])
      })))

    it.effect("fails the rows of a model that cannot be batched, and answers the others", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(
          [1, 2, 3, 4].map((id) => `${line(id, id % 2 === 0 ? "deepseek-ai/DeepSeek-V3.1" : model)}\n`).join("")
        )
        const { report, written } = yield* run(disk, world())
        expect([report.ok, report.failed, written]).toEqual([2, 2, 4])
        expect(ids(disk, "in.errors.jsonl")).toEqual(["r2", "r4"])
      })))

    it.effect("stops at the first failed row when told to, and goes on from there", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup([line(1, "deepseek-ai/DeepSeek-V3.1"), line(2), line(3)].join("\n"))
        const provider = world()
        const { report, stop } = yield* run(disk, provider, { failFast: true })
        expect([stop?._tag, report.failed]).toEqual(["FailedRow", 1])
        const again = yield* run(disk, provider)
        expect([again.stop, again.report.resumedFailed, again.written]).toEqual([undefined, 1, 3])
        // the batch that was left running was adopted
        expect(provider.seen.get("POST /v1/batches")).toBe(2)
      })))

    it.effect("stops at a key that is refused", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const { stop } = yield* run(disk, world({ keys: { other: "org" } }))
        expect(stop?._tag).toBe("Refused")
      })))
  })
})
