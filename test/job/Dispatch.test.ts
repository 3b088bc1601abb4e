import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import {
  BudgetExceededError,
  DecodeError,
  InsufficientCreditsError,
  InvalidRequestError,
  NotFoundError,
  OverloadedError,
  RateLimitError,
  ServerError
} from "../../src/domain/TogetherError.ts"
import * as Dispatch from "../../src/job/Dispatch.ts"
import * as Job from "../../src/job/Job.ts"
import * as Patience from "../../src/job/Patience.ts"
import * as Price from "../../src/policy/Price.ts"
import * as Report from "../../src/job/Report.ts"
import * as Row from "../../src/job/Row.ts"
import * as SteadyClock from "../../src/job/SteadyClock.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as CallWatch from "../../src/together/CallWatch.ts"
import { errors, ids, line, numbered, prompts, provider, reply, results, row, run, setup, stopAfter } from "./jobs.ts"

const budget = (neededNanoUsd: bigint) =>
  new BudgetExceededError({
    message: "the call does not fit",
    reason: neededNanoUsd === 0n ? "unknown-price" : "no-room",
    budget: "run",
    limitNanoUsd: 100n,
    neededNanoUsd,
    remainingNanoUsd: 0n
  })

describe("Dispatch", () => {
  it.effect("leaves the rows of a model without a price unsent, and sends the others within the budget", () =>
    Effect.gen(function*() {
      const rows = numbered(1, 30).map((id, at) => line(id, id, at < 20 ? "unpriced" : "m")).join("")
      const disk = yield* setup(rows)
      const { send, sent } = provider((row) =>
        row.model === "unpriced" ? Effect.fail(budget(0n)) : Effect.delay(Effect.succeed(reply(row)), 100)
      )
      const { abandoned, report, stop } = yield* run(disk, { send })
      expect([stop?._tag, report.ok, report.failed, abandoned.get("unpriced")?.rows]).toEqual(["Abandoned", 10, 0, 20])
      expect(ids(results(disk)).toSorted()).toEqual(numbered(21, 30).toSorted())
      expect(report.warnings.join()).toContain(
        "20 rows of unpriced were not sent: the price of unpriced is unknown, and a budget cannot hold what has no price"
      )
      // a later run tries them again
      const later = provider()
      yield* run(disk, { send: later.send })
      expect(later.sent.toSorted()).toEqual(numbered(1, 20).toSorted())
      expect(sent.filter((id) => numbered(21, 30).includes(id)).length).toBe(10)
    }))

  it.effect("does not send all rows to an address that answers with something else, and all where some are answered", () =>
    Effect.gen(function*() {
      const page = Effect.fail(new DecodeError({ message: "the answer is not JSON", status: 200, attempts: 1 }))
      const { report, stop } = yield* run(yield* setup(prompts(100)), { send: provider(() => page).send })
      expect([stop?._tag, report.ok, report.failed < 30]).toEqual(["Abandoned", 0, true])
      expect(report.warnings.join()).toContain("for none had been answered by then: the answer is not JSON")
      const { send } = provider((row) => row.line === 1 ? Effect.succeed(reply(row)) : page)
      const other = yield* run(yield* setup(prompts(100)), { send, concurrency: 1 })
      expect([other.stop, other.report.failed]).toEqual([undefined, 99])
    }))

  it.effect("leaves out the rows of one operation, and sends those that ask the model for another, in any order", () =>
    Effect.gen(function*() {
      const image = `${
        JSON.stringify({ custom_id: "i", url: "/v1/images/generations", body: { model: "m", prompt: "x" } })
      }\n`
      for (const text of [image + prompts(5), prompts(5) + image]) {
        const { send, sent } = provider((row) =>
          row.operation === "images" ? Effect.fail(budget(0n)) : Effect.succeed(reply(row))
        )
        const { abandoned, report, stop } = yield* run(yield* setup(text), { send, concurrency: 1 })
        expect([stop?._tag, report.ok, abandoned.get("m")?.rows, sent.length]).toEqual(["Abandoned", 5, 1, 6])
        expect(report.warnings.join()).toContain("1 row of m was not sent: the price of m for images is unknown")
      }
      const gone = new NotFoundError({ message: "no such model", status: 404, attempts: 1 })
      const images = Array.from({ length: 30 }, (_, i) => image.replace("\"i\"", `"i${i}"`)).join("")
      const { send, sent } = provider((row) =>
        row.operation === "images" ? Effect.fail(gone) : Effect.succeed(reply(row))
      )
      const left = yield* run(yield* setup(prompts(1) + images + prompts(5).slice(prompts(1).length)), {
        send,
        concurrency: 1
      })
      expect([left.report.ok, left.report.failed, left.abandoned.get("m")?.rows, sent.length]).toEqual([5, 20, 10, 25])
    }))

  it.effect("loses no row that waits where its operation was answered before, and has no price any more", () =>
    Effect.gen(function*() {
      const waiting = (row: Row.Row) =>
        Effect.flatMap(CallWatch.Current, (watch) => {
          watch!.onWire = false // a job's row has a watch
          return Effect.delay(Effect.succeed(reply(row)), 200)
        })
      const { send } = provider((row) =>
        row.id === "r1"
          ? Effect.succeed(reply(row))
          : row.id === "r2"
          ? Effect.delay(Effect.fail(budget(0n)), 100)
          : waiting(row)
      )
      const { abandoned, report, stop } = yield* run(yield* setup(prompts(4)), { send, concurrency: 2 })
      expect([stop?._tag, report.ok, abandoned.get("m")?.rows]).toEqual(["Abandoned", 2, 2])
    }))

  it.effect("sums up by model what was left out of several operations", () =>
    Effect.gen(function*() {
      const of = (id: string, url: string) =>
        `${JSON.stringify({ custom_id: id, url, body: { model: "m", prompt: "x" } })}\n`
      const text = prompts(2) + of("i", "/v1/images/generations") + of("c", "/v1/completions")
      const { send } = provider(() => Effect.fail(budget(0n)))
      const { abandoned, report } = yield* run(yield* setup(text), { send })
      expect([abandoned.size, abandoned.get("m")?.rows, report.warnings.length]).toEqual([1, 4, 1])
    }))

  it.effect("says that rows were left out where a job over a stream left all of them", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const report = Report.make(0)
      const rows = Stream.map(Stream.range(1, 30), (n) => Row.parse(line(`r${n}`), n))
      const ending = yield* Job.drive(rows, { send: () => Effect.fail(budget(0n)), report }, () => Effect.void)
      expect([ending.stop?._tag, ending.abandoned.get("m")?.rows, Report.done(report)]).toEqual(["Abandoned", 30, 0])
      expect(report.warnings).toEqual([expect.stringMatching(/^30 rows of m were not sent: the price of m is unknown/)])
      expect(report.warnings[0]).not.toContain("--")
      const whole = yield* Job.drive(rows, { send: provider().send }, () => Effect.void)
      expect([whole.stop, whole.abandoned.size]).toEqual([undefined, 0])
    })))

  it.effect("fails no row for the want of patience that a stop leaves it", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const refusal = new RateLimitError({ message: "429", scope: "requests", retryAfter: Duration.hours(1) })
      for (const [after, failed] of [["2 seconds", 1], ["500 millis", 0]] as const) {
        const { send } = provider((row) =>
          row.id === "r1"
            ? Effect.delay(Effect.succeed(reply(row)), "100 millis")
            : Effect.delay(Effect.fail(refusal), "1 second")
        )
        const stop = stopAfter(after)
        const { report } = yield* run(yield* setup(prompts(2)), { send, stop, grace: "1 minute" })
        expect([after, report.ok, report.failed]).toEqual([after, 1, failed])
      }
    })))

  it.effect("breaks, and leaves no row unsaid, where a call is interrupted that no stop has ended", () =>
    Effect.gen(function*() {
      const { send } = provider((row) => row.id === "r1" ? Effect.interrupt : Effect.succeed(reply(row)))
      const exit = yield* Effect.exit(run(yield* setup(prompts(2)), { send }))
      expect(Exit.hasInterrupts(exit)).toBe(true)
    }))

  it.effect("stops where the ledger cannot be written: every further row would be refused", () =>
    Effect.gen(function*() {
      const disk = yield* setup(prompts(5))
      const { send, sent } = provider(() =>
        Effect.fail(
          new BudgetExceededError({
            message: "the ledger cannot be written",
            reason: "ledger-unwritable",
            budget: "",
            limitNanoUsd: 0n,
            neededNanoUsd: 0n,
            remainingNanoUsd: 0n
          })
        )
      )
      const { abandoned, stop } = yield* run(disk, { send, concurrency: 1 })
      expect([stop?._tag, abandoned.size, sent]).toEqual(["Refused", 0, ["r1"]])
    }))

  it.effect("counts no attempt that a guard of our own refused unsent", () =>
    Effect.gen(function*() {
      const disk = yield* setup(prompts(3))
      const told = { message: "no credit", attempts: 3 }
      const { send } = provider((row) =>
        Effect.fail(new InsufficientCreditsError(row.line === 1 ? { ...told, status: 402 } : told))
      )
      const { report, stop } = yield* run(disk, { send, concurrency: 1 })
      expect([stop?._tag, report.attempts]).toEqual(["Refused", 3])
      const local = provider((row) =>
        Effect.fail(new InsufficientCreditsError(row.line === 1 ? told : { ...told, status: 402 }))
      )
      expect((yield* run(yield* setup(prompts(1)), { send: local.send })).report.attempts).toBe(2)
    }))

  it.effect("stops rows that wait for room when the last call beside them has no price", () =>
    Effect.gen(function*() {
      const disk = yield* setup(line("a") + line("b", "b", "unpriced"))
      const { send } = provider((row) =>
        row.id === "a" ? Effect.fail(budget(40n)) : Effect.delay(Effect.fail(budget(0n)), 500)
      )
      const { report, stop } = yield* run(disk, { send, maxTime: "1 hour" })
      expect([stop?._tag, report.ok, report.failed]).toEqual(["MaxCost", 0, 0])
    }))

  it.effect("tries a row again that was refused while another one settled", () =>
    Effect.gen(function*() {
      const disk = yield* setup(prompts(2))
      let refused = false
      const { send } = provider((row) =>
        Effect.gen(function*() {
          if (row.id === "r1") return yield* Effect.delay(Effect.succeed(reply(row)), 100)
          if (refused) return reply(row)
          refused = true
          // refused before the other one settled, and told so after it
          return yield* Effect.delay(Effect.fail(budget(40n)), 200)
        })
      )
      const { report, stop } = yield* run(disk, { send })
      expect([stop, report.ok]).toEqual([undefined, 2])
    }))

  it.effect("asks a full budget no more than twice for each call that ends, however many rows wait", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      let [open, most, refused] = [0, 0, 0]
      const send = (row: Row.Row) =>
        Effect.suspend(() => {
          if (open >= 4) {
            refused++
            return Effect.fail(budget(3n))
          }
          most = Math.max(most, ++open)
          return Effect.ensuring(Effect.delay(Effect.succeed(reply(row)), 10), Effect.sync(() => open--))
        })
      const rows = Stream.map(Stream.range(1, 500), (n) => Row.parse(line(`r${n}`), n))
      const report = Report.make(0)
      const { stop } = yield* Job.drive(rows, { send, report }, () => Effect.void)
      expect([stop, report.ok, most]).toEqual([undefined, 500, 4])
      expect(refused).toBeLessThanOrEqual(2 * 500)
    })))

  describe("of rows that wait for room", () => {
    /** Sends `first` for a second, `beside` for ten where it is so, and the others for five once they are sent again. */
    const waiting = Effect.fnUntraced(function*(beside: boolean) {
      const sent: Array<string> = []
      const now = yield* SteadyClock.make
      const began = now()
      const refusedBefore = new Set<string>()
      const send = (row: Row.Row) =>
        Effect.gen(function*() {
          if (row.id === "first") return yield* Effect.delay(Effect.succeed(reply(row)), "1 second")
          if (row.id === "beside") return yield* Effect.delay(Effect.succeed(reply(row)), "10 seconds")
          if (!refusedBefore.has(row.id)) {
            refusedBefore.add(row.id)
            return yield* budget(3n)
          }
          sent.push(`${row.id} at ${(now() - began) / 1000}`)
          return yield* Effect.delay(Effect.succeed(reply(row)), "5 seconds")
        })
      const dispatch = yield* Dispatch.make(send, Patience.settings())
      const run = (id: string) => dispatch.run({ ...row, id })
      const started = { startImmediately: true } as const
      if (beside) yield* Effect.forkChild(run("beside"), started)
      const first = (then: Effect.Effect<void>) => Effect.forkChild(Effect.andThen(run("first"), then), started)
      return { sent, first, fork: (id: string) => Effect.forkChild(run(id), started) }
    })

    it.effect.each(
      [
        ["two are sent again beside others", true, ["a at 1", "b at 1", "c at 6"]],
        ["all are sent again beside none", false, ["a at 1", "b at 1", "c at 1"]]
      ] as const
    )("%s when a call has ended", ([, beside, expected]) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { first, fork, sent } = yield* waiting(beside)
        yield* first(Effect.void)
        for (const id of ["a", "b", "c"]) yield* fork(id)
        yield* Effect.sleep("9 seconds")
        expect(sent).toEqual(expected)
      })))

    it.effect("one that is interrupted before it could take its turn passes it on", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { first, fork, sent } = yield* waiting(true)
        const slow: { fiber?: Fiber.Fiber<unknown>; yields: boolean } = { yields: false }
        yield* first(Effect.sync(() => slow.fiber?.interruptUnsafe()))
        const scheduler = yield* Scheduler.Scheduler
        // it yields once, as it is woken, so that who woke it goes on first
        slow.fiber = yield* Effect.provideService(fork("a"), Scheduler.Scheduler, {
          executionMode: scheduler.executionMode,
          makeDispatcher: () => scheduler.makeDispatcher(),
          shouldYield: () => slow.yields && !(slow.yields = false)
        })
        for (const id of ["b", "c"]) yield* fork(id)
        yield* Effect.sleep("500 millis")
        slow.yields = true
        yield* Effect.sleep("8 seconds")
        expect(sent).toEqual(["b at 1", "c at 1"])
      })))
  })

  it.effect("never asks again earlier than the provider said", () =>
    Effect.gen(function*() {
      const disk = yield* setup(prompts(1))
      const at: Array<number> = []
      const busy = new OverloadedError({ message: "busy", status: 503, attempts: 1, retryAfter: Duration.seconds(90) })
      const { send } = provider((row) =>
        Effect.clockWith((clock) => {
          at.push(clock.currentTimeMillisUnsafe())
          return at.length < 2 ? Effect.fail(busy) : Effect.succeed(reply(row))
        })
      )
      const { report } = yield* run(disk, { send })
      expect([report.ok, at[1]! - at[0]!]).toEqual([1, 90_000])
    }))

  it.effect("waits for no hint that is longer than an outage: it stops, or gives the row up where others are answered", () =>
    Effect.gen(function*() {
      const later = new RateLimitError({
        message: "come back in an hour",
        status: 429,
        attempts: 1,
        scope: "unknown",
        retryAfter: Duration.hours(1)
      })
      const alone = yield* setup(prompts(3))
      const stopped = yield* run(alone, { send: provider(() => Effect.fail(later)).send })
      expect([stopped.stop?._tag, stopped.report.failed]).toEqual(["Unreachable", 0])
      expect(stopped.report.endedAt! - stopped.report.startedAt).toBeLessThan(10_000)
      const among = yield* setup(prompts(20))
      const { send } = provider((row) =>
        row.id === "r1" ? Effect.delay(Effect.fail(later), 1000) : Effect.delay(Effect.succeed(reply(row)), 100)
      )
      const { report, stop } = yield* run(among, { send })
      expect([stop, report.ok, report.failed]).toEqual([undefined, 19, 1])
    }))

  it.effect("counts the attempts of all rounds, of rows answered, failed and left undone", () =>
    Effect.gen(function*() {
      const failing = new ServerError({ message: "failed (500)", status: 500, attempts: 8 })
      const answered = yield* setup(prompts(1))
      let tries = 0
      const { send } = provider((row) => ++tries < 3 ? Effect.fail(failing) : Effect.succeed(reply(row)))
      expect((yield* run(answered, { send })).report.attempts).toBe(17)
      const failed = yield* setup(prompts(1))
      let first = true
      const twice = provider(() => {
        const error = first ? failing : new InvalidRequestError({ message: "bad field", status: 400, attempts: 1 })
        first = false
        return Effect.fail(error)
      })
      expect((yield* run(failed, { send: twice.send })).report.attempts).toBe(9)
      expect(errors(failed).map((row) => row.error?.attempts)).toEqual([9])
      const undone = yield* setup(prompts(2))
      const report = Report.make(0)
      const down = provider(() => Effect.fail(failing))
      yield* run(undone, { send: down.send, report, stop: stopAfter(5000) })
      expect([down.sent.length, report.attempts]).toEqual([6, 48])
    }))

  it.effect("adds to an answer what failed tries before it took", () =>
    Effect.gen(function*() {
      const usage = { inputTokens: 4, outputTokens: 6, cachedInputTokens: 1, reasoningTokens: 2 }
      const failing = Effect.flatMap(CallWatch.Current, (watch) => {
        CallWatch.failed(watch!, usage, Price.known(10n)) // a job's row has a watch
        return Effect.fail(new ServerError({ message: "given up", status: 500 }))
      })
      const { send } = provider((row, nth) => nth < 3 ? failing : Effect.succeed({ ...reply(row), usage }))
      const { report } = yield* run(yield* setup(prompts(1)), { send })
      expect([report.ok, report.nanoUsd, report.inputTokens, report.outputTokens]).toEqual([1, 25n, 12, 18])
    }))

  it.effect("does not keep a stop waiting for a row that only waits for its next try", () =>
    Effect.gen(function*() {
      const disk = yield* setup(prompts(1))
      const failing = new ServerError({ message: "failed (500)", status: 500, attempts: 8 })
      const { report } = yield* run(disk, {
        send: provider(() => Effect.fail(failing)).send,
        stop: stopAfter(9000),
        grace: "5 seconds"
      })
      expect(report.endedAt! - report.startedAt).toBe(9000)
    }))
})
