import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Row from "../../src/job/Row.ts"
import * as RowCheck from "../../src/job/RowCheck.ts"
import * as Sender from "../../src/job/Sender.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import { ids, line, model, numbered, price, prompts, run, world } from "./batches.ts"
import { setup, stopAfter } from "./jobs.ts"

const client = Together.layerHttp({ apiKey: Redacted.make("k") }).pipe(
  Layer.provide(SimulatedProvider.layer({ unknownModels: "accept" }, 1))
)

const row = (url: string, body: object): Row.Row => {
  const read = Row.fromJson({ custom_id: "a", url, body: { model, ...body } }, 1)
  if (read._tag === "Bad") throw new Error(read.message)
  return read
}

const messages = [{ role: "user", content: "Hi" }]

const wrong: ReadonlyArray<object> = [
  { max_tokens: -1 },
  { max_tokens: 1e30 },
  { max_tokens: "many" },
  { n: -2 },
  { n: "two" },
  { stop: "." },
  { temperature: "hot" }
]

describe("RowCheck", () => {
  it.effect("refuses what a call refuses before it is sent, in the same words", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const send = yield* Sender.together()
        const rows = [
          ...wrong.map((fields) => row("/v1/chat/completions", { messages, ...fields })),
          row("/v1/completions", { prompt: "Hi", max_tokens: -1 }),
          row("/v1/embeddings", { input: [1, 2] }),
          row("/v1/rerank", { query: "q", documents: [1] }),
          row("/v1/images/generations", { prompt: "a boat", n: "two" })
        ]
        for (const each of rows) {
          const refusal = RowCheck.refusal(each)
          expect([each.body, refusal]).toEqual([each.body, yield* Effect.flip(send(each))])
        }
        const right = [{ messages }, { messages, max_tokens: 9, n: 2, tools: [], made_up: 1 }]
        for (const body of right) expect(RowCheck.refusal(row("/v1/chat/completions", body))).toBeUndefined()
      }).pipe(Effect.provide(client))
    ))

  describe("in a job through batches", () => {
    const odd = (id: string, fields: object) =>
      `${JSON.stringify({ custom_id: id, body: { model, max_tokens: 20, messages, ...fields } })}\n`
    const input = `${prompts(3)}${wrong.map((fields, at) => odd(`w${at}`, fields)).join("")}${line(4)}\n`

    it.effect("fails alone, before anything is uploaded, and is not sent again", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(input)
        const provider = world()
        // a budget that holds the rows that can be answered
        const { report, stop } = yield* run(disk, provider, { price, maxCost: 1_000_000_000n })
        expect([stop, report.ok, report.failed]).toEqual([undefined, 4, wrong.length])
        expect(Array.from(report.codes)).toEqual([["invalid_request", wrong.length]])
        expect(report.failures.every(({ retryable }) => !retryable)).toBe(true)
        expect([ids(disk, "in.results.jsonl"), ids(disk, "in.errors.jsonl")]).toEqual([
          numbered(1, 4),
          wrong.map((_, at) => `w${at}`)
        ])
        expect([provider.seen.get("POST /v1/files/upload"), provider.seen.get("POST /v1/batches")]).toEqual([1, 1])
        const again = world()
        const second = yield* run(disk, again)
        expect([second.report.resumedOk, second.report.resumedFailed, again.seen.size]).toEqual([4, wrong.length, 0])
        yield* run(disk, again, { retryErrors: true })
        expect(again.seen.size).toBe(0)
      })))

    it.effect("keeps nobody from the answers of batches that run", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const provider = world()
        yield* run(disk, provider, { price, stop: stopAfter("5 seconds") })
        yield* disk.fs.writeFileString("in.jsonl", `${prompts(3)}${odd("w", { max_tokens: -1 })}`)
        const { report, stop } = yield* run(disk, provider, { price, changed: "keep" })
        expect([stop, report.ok, report.failed, provider.seen.get("POST /v1/batches")]).toEqual([undefined, 3, 1, 1])
      })))

    it.effect("ends a job that is to end at the first row that fails", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(odd("w", { n: 0 }) + prompts(3))
        const { report, stop } = yield* run(disk, world(), { failFast: true })
        expect([stop, report.failed, report.ok]).toEqual([Stop.failedRow, 1, 0])
      })))

    it.effect("is not batched again where an earlier version has batched it", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(2))
        const provider = world()
        yield* run(disk, provider, { stop: stopAfter("5 seconds") })
        // as if the batch had held a row that its check refuses now, which it has not answered
        const journal = disk.text("in.results.jsonl.journal").replaceAll(/"asks":"[0-9a-f]*",?/g, "")
        yield* disk.fs.writeFileString("in.results.jsonl.journal", journal)
        const other = `${line(1)}\n${odd("r2", { n: "two" })}`
        yield* disk.fs.writeFileString("in.jsonl", other.replace("r2", "x"))
        const { report } = yield* run(disk, provider, { changed: "keep" })
        expect([report.ok, report.failed, provider.seen.get("POST /v1/batches")]).toEqual([1, 1, 1])
        expect(Array.from(report.codes)).toEqual([["invalid_request", 1]])
      })))
  })
})
