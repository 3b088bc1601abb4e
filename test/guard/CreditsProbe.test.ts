import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import type { InsufficientCreditsError } from "../../src/domain/TogetherError.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Price from "../../src/policy/Price.ts"
import { call, cents, estimate, listen, probe, refused } from "./credits.ts"

const answerAfter = (delay: Duration.Input) => Effect.delay(Effect.succeed("answer"), delay)

/** Suspends an account, and forks calls of it that note when they are sent, in seconds. */
const suspended = Effect.fnUntraced(function*(options?: Credits.Options) {
  const credits = yield* Credits.make({ whenSuspended: "wait", probe, ...options })
  const alerts = yield* listen(credits)
  yield* credits.suspend()
  const sent: Array<string> = []
  const noted = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
    Effect.flatMap(Clock.currentTimeMillis, (millis) => {
      sent.push(`${name} at ${millis / 1000}`)
      return effect
    })
  const fork = <E>(name: string, effect: Effect.Effect<string, E>, request: Partial<Credits.Request> = {}) =>
    Effect.forkChild(credits.run(noted(name, effect), { ...call(1), ...request }), { startImmediately: true })
  return { credits, alerts, sent, noted, fork }
})

describe("Credits", () => {
  describe("a probe that shows nothing", () => {
    it.effect("loses its turn, and not its call, when the next is due", () =>
      Effect.gen(function*() {
        const { alerts, credits, fork, sent } = yield* suspended()
        const slow = yield* fork("slow", answerAfter("5 minutes"))
        const quick = yield* fork("quick", answerAfter("1 second"))
        yield* TestClock.adjust("61 seconds")
        expect(yield* Fiber.join(quick)).toBe("answer")
        expect((yield* credits.account())._tag).toBe("Active")
        yield* TestClock.adjust("5 minutes")
        expect(yield* Fiber.join(slow)).toBe("answer")
        expect(sent).toEqual(["slow at 30", "quick at 60"])
        expect(alerts.map(({ _tag }) => _tag)).toEqual(["Suspended", "Resumed"])
      }))

    it.effect("leaves its turn to the next call that enters, where none waits", () =>
      Effect.gen(function*() {
        const { fork, sent } = yield* suspended()
        yield* TestClock.adjust("30 seconds")
        yield* fork("first", Effect.never, { whenSuspended: "fail" })
        yield* TestClock.adjust("29 seconds")
        yield* fork("early", Effect.never, { whenSuspended: "fail" })
        yield* TestClock.adjust("2 seconds")
        yield* fork("second", Effect.never, { whenSuspended: "fail" })
        // its turn began when it was sent
        yield* TestClock.adjust("29 seconds")
        yield* fork("early", Effect.never, { whenSuspended: "fail" })
        yield* TestClock.adjust("1 second")
        yield* fork("third", Effect.never, { whenSuspended: "fail" })
        expect(sent).toEqual(["first at 30", "second at 61", "third at 91"])
      }))

    it.effect("has waiting calls of other lanes go first", () =>
      Effect.gen(function*() {
        const { fork, sent } = yield* suspended()
        for (const name of ["a1", "a2", "a3"]) yield* fork(name, Effect.never, { lane: "a" })
        yield* fork("b1", Effect.fail("broken"), { lane: "b" })
        yield* fork("b2", Effect.never, { lane: "b" })
        yield* fork("c", answerAfter("1 second"), { lane: "c" })
        yield* TestClock.adjust("5 minutes")
        // b1 after a1, then what waits neither in a nor in b; with its answer all go, in the order of the queue
        expect(sent).toEqual(["a1 at 30", "b1 at 60", "c at 90", "a2 at 91", "a3 at 91", "b2 at 91"])
      }))

    it.effect("still lifts the suspension by its answer, and sends its own retries", () =>
      Effect.gen(function*() {
        const { credits, fork, noted, sent } = yield* suspended()
        const retried = Effect.delay(
          Effect.andThen(credits.check(), noted("retry", Effect.succeed("answer"))),
          "45 seconds"
        )
        const first = yield* fork("first", retried)
        const second = yield* fork("second", Effect.delay(Effect.fail(refused), "20 seconds"))
        yield* TestClock.adjust("75 seconds")
        expect(yield* Fiber.join(first)).toBe("answer")
        expect((yield* credits.account())._tag).toBe("Active")
        // the refusal of the other is news of before: it is made again, and only then suspends
        yield* TestClock.adjust("5 seconds")
        expect((yield* credits.account())._tag).toBe("Active")
        yield* TestClock.adjust("20 seconds")
        expect((yield* credits.account())._tag).toBe("Suspended")
        expect(sent).toEqual(["first at 30", "second at 60", "retry at 75", "second at 80"])
        yield* Fiber.interrupt(second)
      }))

    it.effect("is refused once, however late, and the next is not due at once", () =>
      Effect.gen(function*() {
        const { alerts, fork, sent } = yield* suspended()
        yield* fork("only", Effect.delay(Effect.fail(refused), "45 seconds"))
        yield* TestClock.adjust("75 seconds")
        yield* TestClock.adjust("29 seconds")
        expect(sent).toEqual(["only at 30"])
        yield* TestClock.adjust("46 seconds")
        expect(sent).toEqual(["only at 30", "only at 105"])
        expect(alerts.map((alert) => alert._tag === "ProbeFailed" ? alert.probes : alert._tag)).toEqual([
          "Suspended",
          1,
          2
        ])
      }))

    it.effect("says how many there were where probing ends with a late refusal", () =>
      Effect.gen(function*() {
        const { alerts, fork } = yield* suspended({ probe: Schedule.max([probe, Schedule.recurs(1)]) })
        yield* fork("first", Effect.delay(Effect.fail(refused), "45 seconds"))
        yield* fork("second", Effect.fail("broken"))
        yield* TestClock.adjust("80 seconds")
        expect(alerts.at(-1)).toMatchObject({ _tag: "ProbingEnded", probes: 2 })
      }))

    it.effect("is followed at once where a budget has no room for it", () =>
      Effect.gen(function*() {
        const { fork, sent } = yield* suspended({ budgets: [Budget.perRun("$0.15")] })
        const dear = yield* fork("dear", Effect.never, { estimate: Price.range(0n, cents(20), cents(20)) })
        yield* fork("next", Effect.never)
        yield* TestClock.adjust("30 seconds")
        expect(yield* Effect.flip(Fiber.join(dear))).toMatchObject({ _tag: "BudgetExceededError" })
        expect(sent).toEqual(["next at 30"])
      }))

    it.effect("is followed when the next is due, though it fails before", () =>
      Effect.gen(function*() {
        const { fork, sent } = yield* suspended()
        yield* Effect.forkChild(
          Effect.flip(Fiber.join(yield* fork("broken", Effect.delay(Effect.fail("broken"), "20 seconds"))))
        )
        yield* fork("next", Effect.never)
        yield* TestClock.adjust("2 minutes")
        expect(sent).toEqual(["broken at 30", "next at 60"])
      }))
  })

  describe("a probe schedule that dies", () => {
    const bug = new Error("a bug")
    const defectsOf = (exit: Exit.Exit<unknown, unknown>) =>
      Exit.isFailure(exit) ? exit.cause.reasons.filter(Cause.isDieReason).map(({ defect }) => defect) : []
    it.effect.each<[string, Credits.Options["probe"]]>([
      ["as it begins", Schedule.fromStep(Effect.die(bug))],
      ["as it is asked", Schedule.fromStep(Effect.succeed(() => Effect.die(bug)))]
    ])("is told to who was refused, and ends the probing: %s", ([, probe]) =>
      Effect.gen(function*() {
        const credits = yield* Credits.Credits
        const alerts = yield* listen(credits)
        for (
          const refusedCall of [
            credits.run(Effect.fail(refused), call(1)),
            Stream.runDrain(
              credits.stream(Stream.concat(Stream.make("some"), Stream.fail(refused)), {
                estimate,
                cost: () => undefined
              })
            )
          ]
        ) {
          expect(defectsOf(yield* Effect.exit(refusedCall))).toContain(bug)
          expect(alerts.splice(0).map(({ _tag }) => _tag)).toEqual(["Suspended", "ProbingEnded"])
          expect(yield* Effect.flip(credits.run(Effect.void, call(1)))).toMatchObject({
            _tag: "InsufficientCreditsError"
          })
          expect(yield* credits.tally()).toMatchObject({ reserved: 0n })
          yield* credits.resume()
          alerts.length = 0
        }
      }).pipe(Effect.scoped, Effect.provide(Credits.layer({ whenSuspended: "wait", probe }))))
  })

  describe("a call within a probe", () => {
    /** Runs a call within a call, as an agent's turn that is one reservation. */
    const nested = (
      credits: Credits.Service,
      effect: Effect.Effect<string, InsufficientCreditsError>,
      whenSuspended: "wait" | "fail"
    ) =>
      credits.run(credits.run(Effect.andThen(credits.check(), effect), { ...call(1), whenSuspended }), {
        ...call(1),
        whenSuspended
      })

    it.effect.each(["wait", "fail"] as const)("is that probe: %s", (whenSuspended) =>
      Effect.gen(function*() {
        const { credits, noted } = yield* suspended()
        yield* TestClock.adjust("30 seconds")
        expect(yield* nested(credits, noted("inner", Effect.succeed("answer")), whenSuspended)).toBe("answer")
        expect((yield* credits.account())._tag).toBe("Active")
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ open: 0, calls: 2 })
      }))

    it.effect("waits by itself once it was refused", () =>
      Effect.gen(function*() {
        const { credits, noted, sent } = yield* suspended()
        let credit = false
        const provider = Effect.suspend(() => credit ? Effect.succeed("answer") : refused)
        const turn = yield* Effect.forkChild(nested(credits, noted("inner", provider), "wait"))
        yield* TestClock.adjust("30 seconds")
        credit = true
        yield* TestClock.adjust("30 seconds")
        expect(yield* Fiber.join(turn)).toBe("answer")
        expect(sent).toEqual(["inner at 30", "inner at 60"])
      }))

    it.effect("waits where that is the probe of another guard", () =>
      Effect.gen(function*() {
        const [inner, outer] = [yield* suspended(), yield* suspended()]
        yield* inner.fork("other", Effect.never)
        yield* outer.fork("outer", inner.credits.run(inner.noted("inner", Effect.never), call(1)))
        yield* TestClock.adjust("30 seconds")
        expect([outer.sent, inner.sent]).toEqual([["outer at 30"], ["other at 30"]])
      }))
  })
})
