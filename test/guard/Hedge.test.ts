import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Hedge from "../../src/guard/Hedge.ts"
import * as RetryBudget from "../../src/guard/RetryBudget.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

/** A try that takes some seconds and then ends as told; the log says what became of each. */
interface Try {
  readonly seconds: number
  readonly fails?: string
}

const scenario = (first: Try, second: Try, options: Partial<Hedge.Options<Scope.Scope>> = {}) =>
  Effect.gen(function*() {
    const log: Array<string> = []
    const outcomes: Array<Hedge.Outcome> = []
    const effect = Effect.flatMap(Hedge.CurrentTry, (n) => {
      const { fails, seconds } = n === 1 ? first : second
      log.push(`start ${n}`)
      return Effect.sleep(Duration.seconds(seconds)).pipe(
        Effect.andThen(fails === undefined ? Effect.succeed(n) : Effect.fail(fails)),
        Effect.onExit((exit) =>
          Effect.sync(() => {
            log.push(`${Exit.isSuccess(exit) ? "done" : Cause.hasInterruptsOnly(exit.cause) ? "cut" : "failed"} ${n}`)
          })
        )
      )
    })
    const result = yield* VirtualClock.run(Hedge.run(effect, {
      delay: "1 second",
      idempotent: true,
      onOutcome: (outcome) =>
        Effect.sync(() => {
          outcomes.push(outcome)
        }),
      ...options
    }))
    expect([result.timersLeft, result.fibersLeft]).toEqual([0, 0])
    return { exit: result.exit, log, outcome: outcomes[0], seconds: Duration.toSeconds(result.elapsed) }
  })

/** A pool of permits that counts. */
const pool = (free: number) => {
  let taken = 0
  const tryPermit = Effect.suspend(() => {
    if (taken >= free) return Effect.succeed(false)
    taken++
    return Effect.as(Effect.addFinalizer(() => Effect.sync(() => taken--)), true)
  })
  return { taken: () => taken, tryPermit }
}

describe("Hedge", () => {
  describe("run", () => {
    it.effect("sends no second try of a call that is quick", () =>
      Effect.gen(function*() {
        const seen = yield* scenario({ seconds: 0.9 }, { seconds: 0.1 })
        expect(seen).toEqual({ exit: Exit.succeed(1), log: ["start 1", "done 1"], outcome: "not-needed", seconds: 0.9 })
      }))

    it.effect("takes the second answer and interrupts the first", () =>
      Effect.gen(function*() {
        const seen = yield* scenario({ seconds: 10 }, { seconds: 0.5 })
        expect(seen).toEqual({
          exit: Exit.succeed(2),
          log: ["start 1", "start 2", "done 2", "cut 1"],
          outcome: "won",
          seconds: 1.5
        })
      }))

    it.effect("takes the first answer and interrupts the second", () =>
      Effect.gen(function*() {
        const seen = yield* scenario({ seconds: 1.2 }, { seconds: 5 })
        expect(seen).toEqual({
          exit: Exit.succeed(1),
          log: ["start 1", "start 2", "done 1", "cut 2"],
          outcome: "lost",
          seconds: 1.2
        })
      }))

    it.effect("fails at once with a first try that fails before the delay", () =>
      Effect.gen(function*() {
        const seen = yield* scenario({ seconds: 0.5, fails: "no" }, { seconds: 0.1 })
        expect(seen).toMatchObject({ exit: Exit.fail("no"), outcome: "not-needed", seconds: 0.5 })
      }))

    it.effect("lets one failure wait for the other try, whichever fails", () =>
      Effect.gen(function*() {
        expect(yield* scenario({ seconds: 2, fails: "a" }, { seconds: 3 })).toMatchObject({
          exit: Exit.succeed(2),
          outcome: "won",
          seconds: 4
        })
        expect(yield* scenario({ seconds: 4 }, { seconds: 1, fails: "b" })).toMatchObject({
          exit: Exit.succeed(1),
          outcome: "lost",
          seconds: 4
        })
      }))

    it.effect("fails with the error of the first when both fail", () =>
      Effect.gen(function*() {
        for (const seconds of [2, 4]) {
          expect(yield* scenario({ seconds, fails: "a" }, { seconds: 2, fails: "b" })).toMatchObject({
            exit: Exit.fail("a"),
            outcome: "both-failed"
          })
        }
      }))

    it.effect("never sends an unsafe call twice, unless allowed", () =>
      Effect.gen(function*() {
        const unsafe = yield* scenario({ seconds: 5 }, { seconds: 1 }, { idempotent: false })
        expect(unsafe).toMatchObject({ exit: Exit.succeed(1), log: ["start 1", "done 1"], seconds: 5 })
        const allowed = yield* scenario({ seconds: 5 }, { seconds: 1 }, { idempotent: false, allowUnsafe: true })
        expect(allowed).toMatchObject({ exit: Exit.succeed(2), seconds: 2 })
      }))

    it.effect("never waits for a permit or a budget", () =>
      Effect.gen(function*() {
        const none = pool(0)
        expect(yield* scenario({ seconds: 3 }, { seconds: 1 }, { tryPermit: none.tryPermit })).toMatchObject({
          exit: Exit.succeed(1),
          outcome: "no-permit",
          log: ["start 1", "done 1"],
          seconds: 3
        })
        const one = pool(1)
        const budget = yield* Hedge.makeBudget({ capacity: 1, initial: 0 })
        expect(yield* scenario({ seconds: 3 }, { seconds: 1 }, { budget, tryPermit: one.tryPermit })).toMatchObject({
          exit: Exit.succeed(1),
          outcome: "no-budget",
          seconds: 3
        })
        expect(one.taken()).toBe(0)
      }))

    it.effect("shares a budget with retries", () =>
      Effect.gen(function*() {
        const budget = yield* RetryBudget.make({ ratio: 1, minPerSecond: 0 })
        expect(yield* scenario({ seconds: 3 }, { seconds: 1 }, { budget })).toMatchObject({ outcome: "no-budget" })
        yield* budget.deposit
        expect(yield* scenario({ seconds: 3 }, { seconds: 1 }, { budget })).toMatchObject({ outcome: "won" })
      }))

    it.effect("has ended the loser when it answers", () =>
      Effect.gen(function*() {
        let running = 0
        const program = Effect.gen(function*() {
          const call = Effect.acquireUseRelease(
            Effect.sync(() => running++),
            () => Effect.flatMap(Hedge.CurrentTry, (n) => n === 1 ? Effect.never : Effect.sleep("1 second")),
            () => Effect.sync(() => running--)
          )
          yield* Hedge.run(call, { delay: "1 second", idempotent: true })
          return running
        })
        expect((yield* VirtualClock.run(program)).exit).toStrictEqual(Exit.succeed(0))
      }))

    it.effect("returns every permit, interrupted at any time", () =>
      Effect.gen(function*() {
        for (let at = 0; at <= 3000; at += 125) {
          const permits = pool(1)
          let running = 0
          const effect = Effect.acquireUseRelease(
            Effect.sync(() => running++),
            () => Effect.flatMap(Hedge.CurrentTry, (n) => Effect.sleep(Duration.seconds(n === 1 ? 3 : 1))),
            () => Effect.sync(() => running--)
          )
          const result = yield* VirtualClock.run(Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(
              Hedge.run(effect, { delay: "1 second", idempotent: true, tryPermit: permits.tryPermit }),
              { startImmediately: true }
            )
            yield* Effect.sleep(at)
            yield* Fiber.interrupt(fiber)
          }))
          expect(Exit.isSuccess(result.exit)).toBe(true)
          expect([at, running, permits.taken(), result.timersLeft, result.fibersLeft]).toEqual([at, 0, 0, 0, 0])
        }
      }))

    it("refuses a delay of zero", () => {
      expect(() => Hedge.run(Effect.void, { delay: 0, idempotent: true })).toThrow(
        "Hedge.run: delay must be above 0, got 0 ms"
      )
    })
  })

  describe("makeBudget", () => {
    it.effect("lets successes earn second tries: twenty for one", () =>
      Effect.gen(function*() {
        const budget = yield* Hedge.makeBudget({ capacity: 1 })
        const outcomes: Array<Hedge.Outcome> = []
        for (let i = 0; i < 63; i++) {
          const { outcome } = yield* scenario({ seconds: 2 }, { seconds: 0.5 }, { budget })
          if (outcome !== undefined) outcomes.push(outcome)
        }
        expect(outcomes.filter((outcome) => outcome === "won")).toHaveLength(4)
        expect([0, 20, 40, 60].map((i) => outcomes[i])).toEqual(["won", "won", "won", "won"])
      }))
  })

  describe("learnedDelay", () => {
    it.effect("hedges nothing until it has seen enough, then the slowest twentieth", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          const delay = yield* Hedge.learnedDelay()
          let seconds = 0
          let second = 0
          const call = Effect.flatMap(Hedge.CurrentTry, (n) => {
            if (n === 2) second++
            return Effect.sleep(Duration.millis(n === 1 ? seconds * 1000 : 50))
          })
          const run = Hedge.run(call, { delay, idempotent: true })
          seconds = 9
          yield* Hedge.run(Effect.fail("not a latency"), { delay, idempotent: true }).pipe(Effect.ignore)
          yield* run
          expect(second).toBe(0)
          for (let i = 0; i < 200; i++) {
            seconds = 0.1 + 0.1 * (yield* Random.next)
            yield* run
          }
          const learned = yield* delay.current
          expect(Option.map(learned, (d) => Duration.toMillis(d) > 150 && Duration.toMillis(d) < 250)).toEqual(
            Option.some(true)
          )
          expect(second).toBeLessThan(30)
          const before = yield* Clock.currentTimeMillis
          seconds = 60
          yield* run
          expect((yield* Clock.currentTimeMillis) - before).toBeLessThan(400)
        })
      ))
  })
})
