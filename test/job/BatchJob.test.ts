import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import { isRetryable } from "../../src/domain/TogetherError.ts"
import * as BatchJob from "../../src/job/batch/BatchJob.ts"
import * as BatchOutput from "../../src/job/batch/BatchOutput.ts"
import * as Parts from "../../src/job/batch/BatchParts.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Row from "../../src/job/Row.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import { answering, boundOf, ids, line, model, numbered, price, prompts, run, world } from "./batches.ts"
import { forget, setup, slow, stopAfter } from "./jobs.ts"
import type * as MemoryDisk from "./MemoryDisk.ts"

interface Body {
  readonly choices: ReadonlyArray<object>
  readonly usage: unknown
}

/** Changes the answers of an output file. */
const changed = (file: string, change: (body: Body) => unknown) =>
  file.split("\n").map((text) => {
    if (text === "") return text
    const row = JSON.parse(text)
    row.response.body = change(row.response.body)
    return JSON.stringify(row)
  }).join("\n")

/** Is a world whose batches answer otherwise. */
const worldOf = (change: (body: Body) => unknown) =>
  world({}, (client) =>
    HttpClient.transform(client, (effect, request) =>
      request.url.endsWith("/content")
        ? Effect.flatMap(effect, (response) =>
          Effect.map(response.text, (text) => HttpClientResponse.fromWeb(request, new Response(changed(text, change)))))
        : effect))

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
    expect(
      all.map((
        { part, rows }
      ) => [part.model === "x" ? "x" : "m", part.from, part.to, part.rows, rows.map((r) => r.line)])
    )
      .toEqual([
        ["m", 1, 3, 2, [1, 3]],
        ["m", 4, 4, 1, [4]],
        ["x", 2, 5, 2, [2, 5]]
      ])
    const small = Parts.gatherer(0, () => "n", { maxRows: 100, maxBytes: 500 })
    expect([row(1), row(2), row(3)].flatMap((each) => small.add(each) ?? []).length).toBe(2)
    expect(gatherer.rest()).toEqual([])
  })

  it("finds the parts that were begun and not finished", () => {
    const part = { name: "a", model, from: 1, to: 3, rows: 2, round: 0, asks: "0011223344556677" }
    const note = (name: string, value: unknown) => ({ name, value })
    const { asks: _, ...later } = { ...part, fileId: "f" }
    const open = Parts.open([
      note("batch", part),
      note("batch", later),
      note("batch", { ...part, name: "b" }),
      note("batch-done", { name: "b" }),
      note("batch-done", 5),
      note("batch", { name: "c" })
    ])
    expect(open).toEqual([{ ...part, fileId: "f" }])
  })

  it("knows the rows of a part by what they ask for", () => {
    const gatherer = Parts.gatherer(0, () => "n")
    for (const id of [1, 3]) gatherer.add(row(id))
    const [full] = gatherer.rest()
    const has = Parts.has(full!.part)
    expect([row(1), row(2), row(3), row(4), row(3, "x"), { ...row(9), line: 3 }].map(has)).toEqual(
      [true, false, true, false, false, false]
    )
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
    expect(said({ custom_id: "a", response: { status_code: 200, body: { choices: [{ x: 1 }] } } })).toEqual([
      "a",
      { _tag: "Answered", status: 200, body: { choices: [{ x: 1 }] } }
    ])
    for (const body of [undefined, null, {}, { choices: [] }]) {
      expect(said({ custom_id: "a", response: { status_code: 200, body } })?.[1]).toMatchObject({
        code: "decode",
        billed: {}
      })
    }
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
    const choice = { finish_reason: "error", message: { role: "assistant", content: "" } }
    expect(said({ custom_id: "a", response: { status_code: 200, body: { choices: [choice] } } })?.[1]).toMatchObject({
      _tag: "Refused",
      status: 200,
      failed: { started: false }
    })
    const deep = "[".repeat(100_000) + "]".repeat(100_000)
    expect(BatchOutput.readLine(`{"custom_id":"a","response":{"body":{"choices":[1e400,${deep}]}}}`)?.[1])
      .toMatchObject({
        _tag: "Answered"
      })
    expect(BatchOutput.readLine(`{"custom_id":"a","error":${deep}}`)?.[1]).toMatchObject({ code: "batch_error" })
    expect(said({ nothing: 1 })).toBeUndefined()
    expect(BatchOutput.readLine("torn {")).toBeUndefined()
  })

  describe("errorOf", () => {
    const read = Row.parse(line(1), 1)
    const row = read._tag === "Row" ? read : undefined!
    const of = (code: string, status?: number, message = "no") => {
      const error = BatchOutput.errorOf(row, { _tag: "Refused", code, message, status }, 0)
      return [error._tag, isRetryable(error)]
    }

    it("makes the error that a call would have failed with", () => {
      expect(of("429", 429)).toEqual(["RateLimitError", true])
      expect(of("500", 500)).toEqual(["ServerError", true])
      expect(of("503", 503)).toEqual(["OverloadedError", true])
      expect(of("400", 400)).toEqual(["InvalidRequestError", false])
    })

    it("lets rows that a batch did not answer be retried", () => {
      expect(of("timeout")).toEqual(["RequestTimeoutError", true])
      expect(of("not_answered")).toEqual(["RequestTimeoutError", true])
      expect(of("batch_client_error")).toEqual(["InvalidRequestError", true])
      expect(of("batch_failed")).toEqual(["InvalidRequestError", false])
    })

    it("lets a generation that failed be tried again where it brought nothing", () => {
      const partial = { text: "", reasoning: "" }
      for (const started of [false, true]) {
        const said = { _tag: "Refused", code: "200", message: "", status: 200, failed: { started, partial } } as const
        const error = BatchOutput.errorOf(row, said, 0)
        expect([error._tag, error.status, error.attempts]).toEqual(["StreamError", 200, 1])
        expect([isRetryable(error), BatchOutput.transient(said)]).toEqual([!started, !started])
      }
    })

    it("tells an answer without a choice as a call does", () => {
      const said = BatchOutput.readLine(`{"custom_id":"a","response":{"status_code":200,"body":{}}}`)?.[1]
      const error = said?._tag === "Refused" ? BatchOutput.errorOf(row, said, 0) : undefined
      expect([error?._tag, said?._tag === "Refused" && BatchOutput.transient(said)]).toEqual(["DecodeError", false])
    })

    it("keeps the prompt out of the message", () => {
      const prompt = "a secret question about a patient"
      const secret = { ...row, body: { ...row.body, messages: [{ role: "user", content: prompt }] } }
      for (const status of [undefined, 400]) {
        const said = { _tag: "Refused", code: "x", message: `cannot read: ${prompt}`, status } as const
        expect(BatchOutput.errorOf(secret, said, 0).message).not.toContain("secret")
      }
    })
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
          stop: stopAfter("3 seconds")
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
        yield* run(disk, provider, { stop: stopAfter("5 seconds") })
        expect(provider.seen.get("POST /v1/batches")).toBe(1)
        // as if the process had died after the batch was created and before its note
        yield* forget(disk, "batchId")
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

    it.effect("names the line that had an id before, where a part of the input repeats it", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const other = line(1).replace("question 1", "another question")
        const disk = yield* setup([line(1), line(2), other].join("\n"))
        yield* run(disk, world(), { select: (n) => n <= 2 })
        const error = yield* Effect.flip(run(disk, world(), { select: (n) => n === 3 }))
        expect(error).toMatchObject({ _tag: "JournalError", reason: "id-reused" })
        expect(error.message).toContain("line 3: custom_id \"r1\" was answered on line 1 already")
      })))

    it.effect("prices an answer that says its usage in its first choice", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(2))
        const provider = worldOf(({ choices, usage, ...body }) => ({ ...body, choices: [{ ...choices[0], usage }] }))
        const { report } = yield* run(disk, provider)
        expect([report.ok, report.unpriced, report.nanoUsd > 0n]).toEqual([2, 0, true])
      })))

    it.effect("counts what an answer without a choice cost, or may have cost", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(2))
        const metered = yield* run(disk, worldOf((body) => ({ ...body, choices: [] })))
        expect([metered.report.failed, Array.from(metered.report.codes)]).toEqual([2, [["decode", 2]]])
        expect([metered.report.nanoUsd > 0n, metered.uncertainNanoUsd]).toEqual([true, 0n])
        const again = yield* run(disk, worldOf(() => ({ choices: [] })), { retryErrors: true })
        expect([again.report.failed, again.report.nanoUsd, again.uncertainNanoUsd > 0n]).toEqual([2, 0n, true])
        expect(again.report.resumedNanoUsd).toBe(metered.report.nanoUsd)
      })))

    it.effect("writes a bad line that becomes durable while the job stops", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(`no JSON\n${prompts(2)}`)
        const { report, written } = yield* BatchJob.run({
          input: Input.file("in.jsonl"),
          errors: "/dev/stderr",
          stop: stopAfter("7 seconds")
        }).pipe(
          Effect.provideService(FileSystem.FileSystem, slow(disk.fs)),
          Effect.provide(world().layer)
        )
        expect([report.bad, written, disk.text("/dev/stderr").split("\n").length]).toEqual([1, 1, 2])
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
        yield* run(disk, provider, { stop: stopAfter("3 seconds") })
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

    it.effect("stops before a row that may cost more than is left", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(10))
        const provider = world()
        const { report, stop } = yield* run(disk, provider, { maxCost: 100n })
        expect([stop?._tag, report.ok, provider.seen.get("POST /v1/batches")]).toEqual(["MaxCost", 0, undefined])
      })))

    it.effect("leaves the rows of a model without a price to a run without a budget, and answers the others", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup([1, 2, 3, 4].map((id) => `${line(id, id % 2 === 0 ? "no/price" : model)}\n`).join(""))
        const priced = (name: string) => name === model ? price() : undefined
        const options = { price: priced, maxCost: boundOf(1, 4) }
        const { abandoned, report, stop } = yield* run(disk, world(), options)
        expect([stop?._tag, report.ok, abandoned.get("no/price")?.rows]).toEqual(["Abandoned", 2, 2])
        expect(report.warnings.join()).toContain("2 rows of no/price were not sent: the price of no/price is unknown")
        const again = yield* run(disk, world(), { price: priced })
        expect([again.stop, again.report.resumedOk, again.report.ok]).toEqual([undefined, 2, 2])
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

    it.effect("lets no call send what a batch may answer", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        const provider = world()
        yield* run(disk, provider, { stop: stopAfter("3 seconds") })
        let calls = 0
        const send = () =>
          Effect.sync(() => {
            calls++
            return { status: 200, body: {}, attempts: 1 }
          })
        const byCalls = JobFiles.run({ input: Input.file("in.jsonl"), send }).pipe(
          Effect.provideService(FileSystem.FileSystem, disk.fs)
        )
        const error = yield* Effect.flip(byCalls)
        expect(error).toMatchObject({ _tag: "JournalError", reason: "batch-running" })
        expect([error.message.startsWith("6 rows are, or may be, in batches"), calls]).toEqual([true, 0])
        expect((yield* run(disk, provider)).report.ok).toBe(6)
        expect([(yield* byCalls).report.resumedOk, calls]).toEqual([6, 0])
      })))

    it.effect("counts batches left running against the budget of the next run", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(20))
        const provider = world()
        const options = { price, maxCost: boundOf(10, 10) * 12n, limits: { maxRows: 10, maxBytes: 1e7 }, parallel: 1 }
        yield* run(disk, provider, { ...options, stop: stopAfter("3 seconds") })
        expect(provider.seen.get("POST /v1/batches")).toBe(1)
        const { report, stop } = yield* run(disk, provider, { ...options, maxCost: boundOf(10, 10) * 10n, parallel: 2 })
        // the rows of the second batch had room only for what the first did not cost
        expect([stop?._tag, report.ok < 20, report.ok >= 10]).toEqual(["MaxCost", true, true])
        expect(report.nanoUsd).toBeLessThanOrEqual(boundOf(10, 10) * 10n)
      })))

    it("refuses to run no batch at a time, to look without a pause, and batches without a limit", () => {
      expect(() => BatchJob.run({ input: Input.file("in.jsonl"), parallel: 0 })).toThrow(
        "BatchJob.run: parallel must be an integer >= 1, got 0"
      )
      expect(() => BatchJob.run({ input: Input.file("in.jsonl"), poll: 0 })).toThrow(
        "BatchJob.run: poll must be above 0 and finite, got 0 ms"
      )
      const limited = (limits: { readonly maxRows: number; readonly maxBytes: number }) => () =>
        BatchJob.run({ input: Input.file("in.jsonl"), limits })
      expect(limited({ maxRows: 0, maxBytes: 1e6 })).toThrow(
        "BatchJob.run: limits.maxRows must be an integer >= 1, got 0"
      )
      expect(limited({ maxRows: 10, maxBytes: NaN })).toThrow(
        "BatchJob.run: limits.maxBytes must be an integer >= 1, got NaN"
      )
    })

    it.effect("tells of the batches that go on after a stop, and of what they may cost", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        const provider = world()
        const options = { price, limits: { maxRows: 4, maxBytes: 1e7 } }
        const stop = stopAfter("3 seconds")
        const stopped = yield* run(disk, provider, { ...options, stop })
        expect(stopped.running).toEqual({ batches: 2, doubtful: 0, rows: 6, nanoUsd: boundOf(1, 4) + boundOf(5, 6) })
        const unpriced = yield* setup(prompts(1))
        expect((yield* run(unpriced, world(), { ...options, price: () => undefined, stop })).running).toEqual({
          batches: 1,
          doubtful: 0,
          rows: 1,
          nanoUsd: undefined
        })
        const { report, running } = yield* run(disk, provider, options)
        expect([report.ok, running]).toEqual([6, undefined])
      })))

    it.effect("frees what a finished batch did not cost, and waits for that", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        for (const parallel of [1, 4]) {
          const disk = yield* setup(prompts(20))
          const provider = world()
          // every row costs less than its bound, so what is left is enough for the last one
          const options = { price, maxCost: boundOf(10, 10) * 20n, limits: { maxRows: 2, maxBytes: 1e7 }, parallel }
          const { report, stop } = yield* run(disk, provider, options)
          expect([stop, report.ok]).toEqual([undefined, 20])
          const tight = yield* setup(prompts(20))
          const few = yield* run(tight, world(), { ...options, maxCost: report.nanoUsd + boundOf(10, 10) * 2n })
          expect([few.stop, few.report.ok]).toEqual([undefined, 20])
        }
      })))

    it.effect("reads the input once, however many batches it takes", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(20))
        let opened = 0
        const counting = FileSystem.make({
          ...disk.fs,
          open: (path, options) => {
            if (path === "in.jsonl") opened++
            return disk.fs.open(path, options)
          }
        })
        const options = { limits: { maxRows: 2, maxBytes: 1e7 } }
        const { report } = yield* run({ ...disk, fs: counting }, world(), options)
        // for its fingerprint, for its rows, and for the fingerprint that it has then
        expect([report.ok, opened]).toEqual([20, 3])
      })))

    it.effect("runs no more batches at a time than allowed, those of earlier runs included", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(20))
        const provider = world()
        const options = { limits: { maxRows: 2, maxBytes: 1e7 }, parallel: 2, poll: "10 seconds" as const }
        for (const _ of [1, 2]) {
          const stop = stopAfter("3 seconds")
          yield* run(disk, provider, { ...options, stop })
          expect(provider.seen.get("POST /v1/batches")).toBe(2)
        }
        const { report } = yield* run(disk, provider, options)
        expect([report.ok, provider.seen.get("POST /v1/batches")]).toEqual([20, 10])
      })))

    it.effect("writes whole rows, though batches finish at the same time", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(40))
        const slow = FileSystem.make({
          ...disk.fs,
          open: (path, options) =>
            Effect.map(disk.fs.open(path, options), (file) => ({
              ...file,
              writeAll: (bytes: Uint8Array) => Effect.tap(file.writeAll(bytes), () => Effect.sleep("1 millis"))
            }))
        })
        const { report } = yield* run({ ...disk, fs: slow }, world(), { limits: { maxRows: 10, maxBytes: 1e7 } })
        expect(report.ok).toBe(40)
        expect(ids(disk, "in.results.jsonl")).toEqual(numbered(1, 40))
      })))

    it.effect("looks for a batch whose creation told no id, and does not create it again", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        for (const listed of [true, false]) {
          const disk = yield* setup(prompts(3))
          const provider = world(
            {},
            (client) =>
              HttpClient.transform(
                client,
                (effect, request) =>
                  request.url.endsWith("/batches") && (request.method === "POST" || !listed)
                    ? Effect.map(
                      effect,
                      () => HttpClientResponse.fromWeb(request, Response.json(request.method === "POST" ? {} : []))
                    )
                    : effect
              )
          )
          const { report, stop } = yield* run(disk, provider)
          expect([report.ok, stop?._tag]).toEqual(listed ? [3, undefined] : [0, "Unreachable"])
          expect(provider.seen.get("POST /v1/batches")).toBe(1)
        }
      })))

    it.effect("tries an upload again that may pass, for a minute where nothing ever came back", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const failure = new Response("{}", { status: 500 })
        for (const [faults, reply, sent] of [[3, failure, 4], [9, failure, 10], [9, undefined, 7]] as const) {
          const disk = yield* setup(prompts(3))
          let left: number = faults
          const provider = world(
            {},
            (client) =>
              HttpClient.transform(client, (effect, request) =>
                request.url.endsWith("/files/upload") && left-- > 0
                  ? Effect.andThen(
                    effect,
                    reply === undefined
                      ? Reply.send(Reply.broken("reset"), request)
                      : Effect.succeed(HttpClientResponse.fromWeb(request, reply.clone()))
                  )
                  : effect)
          )
          const { report, stop } = yield* run(disk, provider)
          expect([report.ok, stop?._tag]).toEqual(reply === undefined ? [0, "Unreachable"] : [3, undefined])
          // the waits of a job by calls: after 1, 2, 4, 8, 16 and 30 seconds
          expect(provider.seen.get("POST /v1/files/upload")).toBe(sent)
        }
      })))

    it.effect("adopts a batch whose file was removed meanwhile", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(5))
        const provider = world()
        yield* run(disk, provider, { stop: stopAfter("5 seconds") })
        yield* forget(disk, "batchId")
        const fileId = /"fileId":"([^"]+)"/.exec(disk.text("in.results.jsonl.journal"))![1]!
        yield* Effect.provide(
          Effect.flatMap(Together.Together, (client) => client.files.delete(fileId)),
          provider.layer
        )
        const { report } = yield* run(disk, provider)
        expect([report.ok, provider.seen.get("POST /v1/batches")]).toEqual([5, 1])
      })))

    it.effect("keeps a batch open while a selection leaves out rows of it", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        const provider = world()
        yield* run(disk, provider, { stop: stopAfter("5 seconds") })
        expect((yield* run(disk, provider, { select: (line) => line <= 2 })).report.ok).toBe(2)
        const { report } = yield* run(disk, provider)
        expect([report.resumedOk, report.ok, provider.seen.get("POST /v1/batches")]).toEqual([2, 4, 1])
        expect(ids(disk, "in.results.jsonl")).toEqual(numbered(1, 6))
      })))

    it.effect("collects rows that an earlier run sent again, without being told to send again", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        yield* run(disk, world({ batch: { rowsPerSecond: 0.001, expiresSeconds: 60 } }), { rounds: 1 })
        const provider = world()
        const stop = stopAfter("5 seconds")
        yield* run(disk, provider, { retryErrors: true, stop })
        const { report } = yield* run(disk, provider)
        expect([report.ok, report.resumedFailed, provider.seen.get("POST /v1/batches")]).toEqual([3, 0, 1])
        expect([ids(disk, "in.results.jsonl"), disk.files.has("in.errors.jsonl")]).toEqual([numbered(1, 3), false])
      })))

    it.effect("sends an id once, though it stands on another line of what was left out before", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup([line(1).replace("question", "another"), line(2), line(1)].join("\n"))
        const provider = world()
        const stop = stopAfter("5 seconds")
        yield* run(disk, provider, { select: (line) => line === 3, stop })
        const { report } = yield* run(disk, provider)
        expect([report.ok, report.duplicates.lines, provider.seen.get("POST /v1/batches")]).toEqual([2, [3], 2])
        expect(ids(disk, "in.results.jsonl")).toEqual(numbered(1, 2))
      })))

    it.effect("counts no round for a part that never became a batch", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const provider = world()
        yield* run(disk, provider, { stop: stopAfter("5 seconds") })
        // as if the process had died before the file was stored
        yield* forget(disk, "fileId")
        const { report } = yield* run(disk, world(), { rounds: 1 })
        expect([report.ok, report.failed]).toEqual([3, 0])
      })))

    const byCalls = (disk: MemoryDisk.Disk) =>
      JobFiles.run({
        input: Input.file("in.jsonl"),
        send: () => Effect.succeed({ status: 200, body: {}, attempts: 1 })
      }).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))

    it.effect("leaves the rows open, to calls too, where an upload or a creation was refused", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const many = { limits: { maxRows: 2, maxBytes: 1e7 }, parallel: 3 }
        for (const refused of ["/files/upload", "POST https://api.together.ai/v1/batches"]) {
          const disk = yield* setup(prompts(6))
          const { stop } = yield* run(disk, world({}, answering(() => 403, refused)), many)
          expect(stop?._tag).toBe("Refused")
          expect((yield* byCalls(disk)).report.ok).toBe(6)
          const provider = world()
          expect([(yield* run(disk, provider)).report.resumedOk, provider.seen.get("POST /v1/batches")]).toEqual([
            6,
            undefined
          ])
        }
      })))

    it.effect("keeps a part whose creation may have been taken before it was refused", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        let asked = 0
        const of = "POST https://api.together.ai/v1/batches"
        const { stop } = yield* run(disk, world({}, answering(() => asked++ === 0 ? 500 : 403, of)))
        expect([stop?._tag, asked]).toEqual(["Refused", 2])
        expect(yield* Effect.flip(byCalls(disk))).toMatchObject({ reason: "batch-running" })
        expect((yield* run(disk, world())).report.ok).toBe(3)
      })))

    it.effect("stops at a batch that the provider does not know, and batches its rows again in the next run", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        yield* run(disk, world(), { price, stop: stopAfter("5 seconds") })
        const other = world()
        const { stop } = yield* run(disk, other, { price })
        expect(stop).toMatchObject({ _tag: "Refused", error: { _tag: "NotFoundError" } })
        expect(other.seen.get("POST /v1/batches")).toBeUndefined()
        const { report } = yield* run(disk, other, { price })
        expect([report.ok, report.warnings.length, other.seen.get("POST /v1/batches")]).toEqual([3, 1, 1])
        // it may have been billed
        expect(disk.text("in.results.jsonl.journal")).toContain("\"name\":\"uncertain\"")
      })))

    it.effect("says the batch's own word in errors and report alike", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(line(1, "deepseek-ai/DeepSeek-V3.1"))
        const { report } = yield* run(disk, world())
        expect(Array.from(report.codes.keys())).toEqual(["batch_failed"])
        expect(JSON.parse(disk.text("in.errors.jsonl"))).toMatchObject({
          error: { code: "batch_failed", retryable: false }
        })
      })))

    it.effect("writes an answer's long numbers as they came", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(1))
        const seed = "12345678901234567891"
        const provider = world({}, (client) =>
          HttpClient.transform(client, (effect, request) =>
            request.url.endsWith("/content")
              ? Effect.flatMap(effect, (response) =>
                Effect.map(response.text, (text) =>
                  HttpClientResponse.fromWeb(request, new Response(text.replace(/"seed":\d+/, `"seed":${seed}`)))))
              : effect))
        expect((yield* run(disk, provider)).report.ok).toBe(1)
        expect(disk.text("in.results.jsonl")).toContain(`"seed":${seed},`)
      })))

    it.effect("stops at a key that is refused", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const { stop } = yield* run(disk, world({ keys: { other: "org" } }))
        expect(stop?._tag).toBe("Refused")
      })))
  })
})
