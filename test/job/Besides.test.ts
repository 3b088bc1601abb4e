import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { ServerError } from "../../src/domain/TogetherError.ts"
import * as Credits from "../../src/guard/Credits.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Price from "../../src/policy/Price.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/JobFiles.ts"
import * as Journal from "../../src/job/Journal.ts"
import * as Sender from "../../src/job/Sender.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as PriceTable from "../../src/together/PriceTable.ts"
import * as Together from "../../src/together/Together.ts"
import { prompts, provider, reply, setup } from "./jobs.ts"

const path = "in.results.jsonl.journal"

/** Is a ledger that a test writes. */
const ledger = () => ({ settled: 0n, uncertain: 0n, reserved: 0n })

/** Reads what a run that began now would find of one that was killed now. */
const left = Effect.map(Journal.peek(path), ({ nanoUsd, uncertainNanoUsd }) => [nanoUsd, uncertainNanoUsd])

/** Counts the lines of a journal that are no rows. */
const notes = (journal: string) => journal.split("\n").filter((line) => line.includes("\"name\":\"uncertain\"")).length

/** A client whose provider gives up every generation at 4 tokens in and 6 out, each at a thousand nano-dollars. */
const givingUp = Together.layerHttp({
  apiKey: Redacted.make("k"),
  prices: PriceTable.lookup([Price.stated({ model: "m", inputUsdPerMillion: "1", outputUsdPerMillion: "1" })])
}).pipe(
  Layer.provide(Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => {
      const choices = [{ index: 0, finish_reason: "error", message: { role: "assistant", content: "Half" } }]
      const usage = { prompt_tokens: 4, completion_tokens: 6, total_tokens: 10 }
      return Reply.send(Reply.json({ choices, usage }), request)
    })
  )),
  Layer.provideMerge(Credits.layer({ budgets: [Budget.perRun("$0.05")] }))
)

describe("Besides", () => {
  it.effect("notes with each row what has grown, so that a run that is killed leaves it", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(20))
      const spent = ledger()
      // answers that tell no usage: the ledger assumes their bound
      const { send } = provider((row) =>
        Effect.delay(
          Effect.sync(() => {
            spent.uncertain += 9n
            return { ...reply(row), nanoUsd: undefined }
          }),
          30
        )
      )
      const input = Input.file("in.jsonl")
      const options = { input, send, concurrency: 2, spending: Effect.sync(() => ({ ...spent })) }
      yield* Effect.gen(function*() {
        const run = yield* Effect.forkChild(JobFiles.run(options))
        yield* Effect.sleep(100)
        expect([spent.uncertain, yield* left]).toEqual([54n, [0, 54]])
        expect((yield* Fiber.join(run)).uncertainNanoUsd).toBe(180n)
        expect([yield* left, notes(disk.text(path))]).toEqual([[0, 180], 0])
      }).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))
    })))

  it.effect("notes each second what attempts have cost whose row has not settled", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(1))
      const spent = ledger()
      const { send } = provider((row) =>
        Effect.gen(function*() {
          for (let lost = 0; lost < 40; lost++) {
            yield* Effect.sleep(100)
            spent.uncertain += 3n
          }
          return reply(row)
        })
      )
      yield* Effect.gen(function*() {
        const spending = Effect.sync(() => ({ ...spent }))
        const run = yield* Effect.forkChild(JobFiles.run({ input: Input.file("in.jsonl"), send, spending }))
        yield* Effect.sleep(3050)
        expect((yield* left)[1]).toBeGreaterThanOrEqual(87)
        yield* Fiber.join(run)
        expect(yield* left).toEqual([5, 120])
      }).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))
    })))

  it.effect("notes at a stop what calls under way may cost, and takes back what they did not", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(3))
      const spent = ledger()
      const { send } = provider((row) =>
        Effect.gen(function*() {
          spent.reserved += 50n
          yield* Effect.sleep(500)
          spent.reserved -= 50n
          spent.settled += 5n
          return reply(row)
        })
      )
      const stop = Effect.as(Effect.sleep(300), Stop.interrupted)
      const spending = Effect.sync(() => ({ ...spent }))
      yield* Effect.gen(function*() {
        const options = { input: Input.file("in.jsonl"), send, spending, stop, concurrency: 2 }
        const run = yield* Effect.forkChild(JobFiles.run(options))
        yield* Effect.sleep(320)
        expect(yield* left).toEqual([0, 100])
        expect((yield* Fiber.join(run)).uncertainNanoUsd).toBe(0n)
        expect(yield* left).toEqual([10, 0])
      }).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))
    })))

  it.effect("notes what a failure told of its cost where its row stays undone", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(2))
      const spent = ledger()
      const { send } = provider((row) =>
        Effect.suspend(() => {
          spent.settled += 7n
          return row.id === "r2" ? Effect.fail(new ServerError({ message: "given up", status: 500 })) : Effect.succeed({
            ...reply(row),
            nanoUsd: 7n
          })
        })
      )
      const stop = Effect.as(Effect.sleep(500), Stop.interrupted)
      const spending = Effect.sync(() => ({ ...spent }))
      yield* Effect.gen(function*() {
        yield* JobFiles.run({ input: Input.file("in.jsonl"), send, spending, stop })
        expect(yield* left).toEqual([7, 7])
      }).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))
    })))

  it.effect("has a row say what its failed generation cost, and counts nothing of it twice", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        const credits = yield* Credits.Credits
        const send = yield* Sender.together()
        const spending = credits.tally()
        const { report, uncertainNanoUsd } = yield* JobFiles.run({ input: Input.file("in.jsonl"), send, spending })
          .pipe(
            Effect.provideService(FileSystem.FileSystem, disk.fs)
          )
        expect([report.failed, report.nanoUsd, report.outputTokens, uncertainNanoUsd]).toEqual([4, 40_000n, 24, 0n])
        expect((yield* spending).settled).toBe(40_000n)
        expect(disk.text(path)).toContain("\"in\":4,\"out\":6,\"nano\":10000")
      }).pipe(Effect.provide(givingUp))
    ))
})
