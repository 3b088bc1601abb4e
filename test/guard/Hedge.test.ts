import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { RequestTimeoutError } from "../../src/domain/TogetherError.ts"
import * as Hedge from "../../src/guard/Hedge.ts"
import * as RetryBudget from "../../src/guard/retry/RetryBudget.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { hour, stepped } from "./steps.ts"

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

    it.effect("never sends an unsafe call twice", () =>
      Effect.gen(function*() {
        const unsafe = yield* scenario({ seconds: 5 }, { seconds: 1 }, { idempotent: false })
        expect(unsafe).toMatchObject({ exit: Exit.succeed(1), log: ["start 1", "done 1"], seconds: 5 })
      }))

    it.effect("counts from 1 inside of a second try of another, whether it may hedge or not", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const slow = (name: string) =>
          Effect.flatMap(Hedge.CurrentTry, (n) => {
            seen.push(`${name} ${n}`)
            return Effect.sleep("3 seconds")
          })
        const inner = (idempotent: boolean) =>
          Hedge.run(slow(idempotent ? "safe" : "unsafe"), { delay: "1 second", idempotent })
        const outer = Effect.flatMap(
          Hedge.CurrentTry,
          (n) => n === 1 ? Effect.never : Effect.andThen(inner(true), inner(false))
        )
        yield* VirtualClock.run(Hedge.run(outer, { delay: "1 second", idempotent: true }))
        expect(seen).toEqual(["safe 1", "safe 2", "unsafe 1"])
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

    it.effect("asks an empty budget before it takes a permit, and spends no budget where no permit is free", () =>
      Effect.gen(function*() {
        const slow = { seconds: 3 }
        let asked = 0
        const tryPermit = Effect.sync(() => ++asked > 0)
        const empty = yield* Hedge.makeBudget({ capacity: 1, initial: 0 })
        expect(yield* scenario(slow, slow, { budget: empty, tryPermit })).toMatchObject({ outcome: "no-budget" })
        const bare = { tryWithdraw: Effect.succeed(false) }
        expect(yield* scenario(slow, slow, { budget: bare, tryPermit })).toMatchObject({ outcome: "no-budget" })
        expect(asked).toBe(0)
        const full = yield* Hedge.makeBudget({ capacity: 1, reward: 0 })
        const none = pool(0).tryPermit
        expect(yield* scenario(slow, slow, { budget: full, tryPermit: none })).toMatchObject({ outcome: "no-permit" })
        const shared = yield* RetryBudget.make({ ratio: 1, minPerSecond: 0 })
        yield* shared.deposit
        expect(yield* scenario(slow, slow, { budget: shared, tryPermit: none })).toMatchObject({ outcome: "no-permit" })
        expect([yield* full.tryWithdraw, yield* shared.tryWithdraw]).toEqual([true, true])
        // gone between the question and the permit
        const one = pool(1)
        const raced = { balance: Effect.succeed(1), tryWithdraw: Effect.succeed(false) }
        expect(yield* scenario(slow, slow, { budget: raced, tryPermit: one.tryPermit })).toMatchObject({
          outcome: "no-budget"
        })
        expect(one.taken()).toBe(0)
      }))

    describe("a call that needs a scope", () => {
      /** Each try acquires something in its scope, before or after it has waited. */
      const acquiring = (log: Array<string>, seconds: readonly [number, number]) =>
        Effect.flatMap(Hedge.CurrentTry, (n) =>
          Effect.acquireRelease(
            Effect.sync(() => void log.push(`open ${n}`)),
            () => Effect.sync(() => void log.push(`close ${n}`))
          ).pipe(Effect.andThen(Effect.sleep(Duration.seconds(seconds[n === 1 ? 0 : 1]))), Effect.as(n)))

      it.effect.each<[number, readonly [number, number], ReadonlyArray<string>]>([
        [2, [10, 1], ["open 1", "open 2", "close 1", "answered", "close 2"]],
        [1, [2, 10], ["open 1", "open 2", "close 2", "answered", "close 1"]],
        [1, [0.5, 1], ["open 1", "answered", "close 1"]]
      ])(
        "keeps what try %i acquired until the caller's scope ends, and nothing of the loser",
        ([n, seconds, expected]) =>
          Effect.gen(function*() {
            const log: Array<string> = []
            const result = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
              const winner = yield* Hedge.run(acquiring(log, seconds), { delay: "1 second", idempotent: true })
              log.push("answered")
              return winner
            })))
            expect([result.exit, log]).toEqual([Exit.succeed(n), expected])
          })
      )

      it.effect("releases what both acquired when it is interrupted", () =>
        Effect.gen(function*() {
          const log: Array<string> = []
          yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
            yield* Hedge.run(acquiring(log, [10, 10]), { delay: "1 second", idempotent: true }).pipe(
              Effect.timeoutOption("3 seconds")
            )
            expect(log.toSorted()).toEqual(["close 1", "close 2", "open 1", "open 2"])
          })))
          expect(log).toHaveLength(4)
        }))

      it.effect("ends the second try before its scope, also where that has interrupted the caller as it began", () =>
        Effect.gen(function*() {
          const log: Array<string> = []
          const ask = (caller: Fiber.Fiber<unknown, unknown>) =>
            Effect.flatMap(Hedge.CurrentTry, (n) =>
              n === 1 ? Effect.never : Effect.andThen(
                Effect.addFinalizer(() => Effect.sync(() => log.push("released"))),
                Effect.suspend(() => {
                  caller.interruptUnsafe()
                  return Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("ended")))
                })
              ))
          const call = Effect.withFiber<never, never, Scope.Scope>((caller) =>
            Hedge.run(ask(caller), { delay: "1 second", idempotent: true })
          )
          yield* VirtualClock.run(Effect.scoped(call))
          expect(log).toEqual(["ended", "released"])
        }))

      it.effect("leaves nothing behind in the scope of a caller whose call needs none", () =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          const run = Hedge.run(Effect.sleep("2 seconds"), { delay: "1 second", idempotent: true })
          yield* VirtualClock.run(Effect.provideService(run, Scope.Scope, scope))
          expect(scope.state._tag).toBe("Empty")
        }))
    })

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

  it.effect("refuses options out of range when a budget or a delay is made, in its own name", () =>
    Effect.gen(function*() {
      // composing throws nothing
      const makers: ReadonlyArray<readonly [Effect.Effect<unknown>, message: string]> = [
        [Hedge.makeBudget({ capacity: 0 }), "Hedge.makeBudget: capacity must be a finite number > 0, got 0"],
        [Hedge.learnedDelay({ maxExtraLoad: 2 }), "Hedge.learnedDelay: maxExtraLoad must be in (0, 1), got 2"]
      ]
      for (const [make, message] of makers) {
        const exit = yield* Effect.exit(make)
        expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toEqual(new RangeError(message))
      }
    }))

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
    it.effect("counts answers, timeouts and first tries that were overtaken, and no other failure", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          const seconds: Array<number> = []
          let delay = Option.none<Duration.Duration>()
          const learning: Hedge.LearnedDelay = {
            current: Effect.suspend(() => Effect.succeed(delay)),
            record: (latency) => Effect.sync(() => void seconds.push(Duration.toSeconds(latency)))
          }
          const slow = new RequestTimeoutError({ message: "slow", phase: "headers" })
          const call = (first: Effect.Effect<number, unknown>) =>
            Effect.exit(Hedge.run(
              Effect.flatMap(Hedge.CurrentTry, (n) => n === 1 ? first : Effect.as(Effect.sleep("4 seconds"), n)),
              { delay: learning, idempotent: true }
            ))
          yield* call(Effect.as(Effect.sleep("1 second"), 1))
          yield* call(Effect.andThen(Effect.sleep("2 seconds"), Effect.fail(slow)))
          yield* call(Effect.timeout(Effect.never, "3 seconds"))
          yield* call(Effect.andThen(Effect.sleep("9 seconds"), Effect.fail("no")))
          expect(seconds).toEqual([1, 2, 3])
          delay = Option.some(Duration.seconds(2))
          yield* call(Effect.never)
          yield* call(Effect.andThen(Effect.sleep("5 seconds"), Effect.fail("no")))
          expect(seconds).toEqual([1, 2, 3, 6, 5])
        })
      ))

    it.effect("goes on learning after the clock was set back, and takes no step of it for a latency", () =>
      stepped((set) =>
        Effect.gen(function*() {
          const delay = yield* Hedge.learnedDelay()
          const call = (seconds: number, step = 0) =>
            Hedge.run(
              Effect.sleep(Duration.seconds(seconds)).pipe(Effect.andThen(Effect.sync(() => set(step)))),
              { delay, idempotent: true }
            )
          for (let i = 0; i < 30; i++) yield* call(0.1)
          yield* call(0.1, -hour)
          yield* call(0.1, hour / 2)
          yield* Effect.sleep("31 seconds")
          for (let i = 0; i < 30; i++) yield* call(1)
          const millis = Option.map(yield* delay.current, Duration.toMillis)
          expect(Option.getOrElse(millis, () => 0)).toBeCloseTo(1000)
        })
      ))

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
