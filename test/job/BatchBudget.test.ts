import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as BatchBudget from "../../src/job/batch/BatchBudget.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Input from "../../src/job/Input.ts"
import * as Price from "../../src/policy/Price.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { boundOf, ids, line, numbered, price, prompts, run, world } from "./batches.ts"
import { setup, slow, stopAfter } from "./jobs.ts"

const spending = (limit: bigint | undefined) => {
  let spent = 0n
  const budget = BatchBudget.make(limit, () => spent)
  return {
    budget,
    /** Settles a part: its cost is spent, its reserve given back. */
    settle: (reserve: BatchBudget.Reserve, cost: bigint, unknown = false) =>
      Effect.suspend(() => {
        spent += cost
        return reserve.end(cost, unknown)
      })
  }
}

const reserve = (budget: BatchBudget.BatchBudget, high: bigint) => budget.reserve("m", Price.exactly(high))

describe("BatchBudget", () => {
  describe("reserve", () => {
    it.effect("waits for the parts that run, and fails where none does", () =>
      Effect.gen(function*() {
        const { budget, settle } = spending(100n)
        const first = yield* reserve(budget, 60n)
        const second = yield* Effect.forkChild(reserve(budget, 60n), { startImmediately: true })
        yield* Effect.yieldNow
        expect(second.pollUnsafe()).toBeUndefined()
        yield* settle(first, 30n)
        yield* settle(yield* Fiber.join(second), 50n)
        const error = yield* Effect.flip(reserve(budget, 21n))
        expect([error.limitNanoUsd, error.neededNanoUsd, error.remainingNanoUsd]).toEqual([100n, 21n, 20n])
        yield* settle(yield* reserve(budget, 20n), 20n)
      }))

    it.effect("counts a part whose cost is unknown with its bound", () =>
      Effect.gen(function*() {
        const { budget, settle } = spending(100n)
        expect(yield* settle(yield* reserve(budget, 60n), 10n, true)).toBe(50n)
        expect((yield* Effect.flip(reserve(budget, 41n))).remainingNanoUsd).toBe(40n)
        yield* settle(yield* reserve(budget, 40n), 50n, true)
        expect((yield* Effect.flip(reserve(budget, 1n))).remainingNanoUsd).toBe(-10n)
      }))

    it.effect("refuses what has no price, and lets nothing run beside what has none", () =>
      Effect.gen(function*() {
        const { budget, settle } = spending(100n)
        const unknown = Price.unknown("no price")
        expect((yield* Effect.flip(budget.reserve("m", unknown))).message).toBe(
          "the price of m is unknown: no price. State it, or send these rows without a budget"
        )
        const held = budget.hold(unknown)
        const waiting = yield* Effect.forkChild(reserve(budget, 1n), { startImmediately: true })
        yield* Effect.yieldNow
        expect(waiting.pollUnsafe()).toBeUndefined()
        yield* settle(held, 0n)
        yield* Fiber.join(waiting)
      }))

    it.effect("waits for nothing without a limit, and assumes what a bound says, nothing where it is unknown", () =>
      Effect.gen(function*() {
        const { budget, settle } = spending(undefined)
        const unknown = Price.unknown("no price")
        const parts = [budget.hold(unknown), yield* budget.reserve("m", unknown), yield* reserve(budget, 50n)]
        expect(yield* Effect.forEach(parts, (part) => settle(part, 5n, true))).toEqual([0n, 0n, 45n])
      }))
  })

  describe("of a job", () => {
    /** Runs four rows twice: one changes while their batch is under way, and nobody takes what answers it as it was. */
    const withLostAnswer = Effect.gen(function*() {
      const disk = yield* setup(prompts(4))
      const provider = world()
      yield* run(disk, provider, { price, stop: stopAfter("3 seconds") })
      yield* disk.fs.writeFileString("in.jsonl", prompts(4).replace("question 2", "another question"))
      return { disk, provider, ...(yield* run(disk, provider, { price, changed: "resend" })) }
    })

    it.effect("notes what an answer that nobody takes may have cost", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { disk, report, uncertainNanoUsd } = yield* withLostAnswer
        expect(report.ok).toBe(4)
        const noted = /"name":"uncertain","value":(\d+)/.exec(disk.text("in.results.jsonl.journal"))
        expect(Number(noted?.[1])).toBeGreaterThan(0)
        expect(Number(noted?.[1])).toBeLessThan(Number(boundOf(10, 10) * 4n))
        // the run that incurs it says so
        expect(uncertainNanoUsd).toBe(BigInt(noted?.[1] ?? 0))
      })))

    it.effect("counts what an earlier run may have cost beyond its rows", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { disk, provider, report, uncertainNanoUsd } = yield* withLostAnswer
        expect(uncertainNanoUsd > 0n).toBe(true)
        yield* disk.fs.writeFileString("in.jsonl", prompts(5).replace("question 2", "another question"))
        const paid = report.nanoUsd + report.resumedNanoUsd
        const late = { price, changed: "keep" as const, maxCost: paid + boundOf(5, 5) }
        expect((yield* run(disk, provider, late)).stop?._tag).toBe("MaxCost")
        const allowed = yield* run(disk, provider, { ...late, maxCost: late.maxCost + uncertainNanoUsd })
        expect([allowed.stop, allowed.report.ok]).toEqual([undefined, 1])
      })))

    it.effect("batches as many rows as there is room for, then others with what those left", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(60))
        const provider = world()
        const maxCost = boundOf(10, 10) * 40n
        const { report, stop } = yield* run(disk, provider, { price, maxCost })
        const needed = stop?._tag === "MaxCost" ? stop.error.neededNanoUsd : 0n
        expect(needed).toBeGreaterThan(maxCost - report.nanoUsd)
        expect(needed).toBeLessThan(boundOf(10, 10) * 2n)
        // each row costs less than its bound, so more rows are answered than had room at first
        expect(report.ok).toBeGreaterThan(40)
        expect(report.nanoUsd).toBeLessThanOrEqual(maxCost)
        const again = yield* run(disk, provider, { price })
        expect([again.stop, again.report.resumedOk + again.report.ok]).toEqual([undefined, 60])
        expect([again.report.resumedOk, ids(disk, "in.results.jsonl")]).toEqual([report.ok, numbered(1, 60)])
      })))

    it.effect("leaves no batch open whose row is settled, where a row that waited for it finds no room", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(`${line(1)}\n${line(2, "another/model")}\n`)
        const slowDisk = { ...disk, fs: slow(disk.fs, 5) }
        const { report, running, stop } = yield* run(slowDisk, world(), { price, maxCost: boundOf(1, 1) })
        expect([stop?._tag, report.ok, running]).toEqual(["MaxCost", 1, undefined])
        const send = () => Effect.succeed({ status: 200, body: {}, attempts: 1 })
        const byCalls = yield* JobFiles.run({ input: Input.file("in.jsonl"), send }).pipe(
          Effect.provideService(FileSystem.FileSystem, disk.fs)
        )
        expect([byCalls.report.resumedOk, byCalls.report.ok]).toEqual([1, 1])
      })))
  })

  describe("end", () => {
    it.effect("charges the ledger before who waits for room is woken, as assumed where it is", () =>
      Effect.gen(function*() {
        const charged: Array<Price.Cost> = []
        const ledger: BatchBudget.Ledger = (estimate) =>
          Effect.succeed({
            id: 1,
            estimate,
            isOfDayBefore: () => false,
            settle: (cost) => Effect.andThen(Effect.yieldNow, Effect.sync(() => void charged.push(cost))),
            refund: () => Effect.void
          })
        const budget = BatchBudget.make(100n, () => 0n, ledger)
        const [first, second] = [yield* reserve(budget, 60n), yield* reserve(budget, 40n)]
        const third = yield* Effect.forkChild(
          Effect.andThen(reserve(budget, 40n), Effect.sync(() => charged.length)),
          { startImmediately: true }
        )
        expect([yield* second.end(30n, false), yield* Fiber.join(third)]).toEqual([0n, 1])
        expect(yield* first.end(20n, true)).toBe(40n)
        expect(charged).toEqual([Price.known(30n), Price.assumed(Price.known(60n), expect.any(String))])
      }))
  })
})
