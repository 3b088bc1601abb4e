import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { InsufficientCreditsError } from "../../src/domain/TogetherError.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Deadline from "../../src/guard/Deadline.ts"
import * as AutoRecharge from "../../src/policy/AutoRecharge.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Price from "../../src/policy/Price.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { call, cents, estimate, listen, probe, refused } from "./credits.ts"

/** A provider that refuses while `open` is false, and counts what reaches it. */
const provider = () => {
  const state = { open: true, sent: 0, refused: 0, answered: 0 }
  const send = Effect.gen(function*() {
    state.sent++
    yield* Effect.sleep("1 second")
    if (!state.open) {
      state.refused++
      return yield* refused
    }
    state.answered++
    return "answer"
  })
  return { state, send }
}

describe("Credits", () => {
  describe("suspension", () => {
    it.effect("fails waiting calls at once by default, with the remedy", () =>
      Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ probe })
        state.open = false
        const first = yield* Effect.forkChild(Effect.flip(credits.run(send, call(1))), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(first)).toBe(refused)
        const error = yield* Effect.flip(credits.run(send, call(1)))
        expect(error._tag).toBe("InsufficientCreditsError")
        expect(error.message).toMatch(
          /^Not sent: the credit of account "default" ran out 0 s ago \(next probe in 30 s\)\. Add credits at https:/
        )
        expect(error.message).toMatch(/free credits only/)
        expect(error.message).toMatch(/past due/)
        expect(error.message).not.toMatch(/resumes by itself/)
        expect(state.sent).toBe(1)
      }))

    it.effect("ends the wait of a call that probes in time", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ whenSuspended: { wait: "2 minutes" }, probe })
        state.open = false
        const ended = yield* Effect.timed(Effect.flip(credits.run(send, call(1))))
        // refused after a second, it probes three times, and does not begin anew to wait
        expect([Duration.toSeconds(ended[0]), state.sent]).toEqual([121, 4])
        const { accounts, budgets } = yield* credits.report
        expect([accounts[0]?.tally.reserved, accounts[0]?.waiting, budgets]).toEqual([0n, 0, []])
        // where the wait is over as a probe is refused, there is no further one
        const short = credits.run(send, { ...call(1), whenSuspended: { wait: "500 millis" } })
        yield* Effect.sleep("1 minute")
        expect(yield* Effect.flip(short)).toBe(refused)
      })))

    it.effect("lets another call probe where no budget had room for the one that was to", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$0.10")], probe })
        yield* Effect.flip(credits.run(Effect.fail(refused), call(1)))
        const reservation = yield* credits.reserve({ estimate })
        yield* TestClock.adjust("30 seconds")
        expect(yield* Effect.flip(credits.run(Effect.void, call(1)))).toMatchObject({ _tag: "BudgetExceededError" })
        yield* reservation.refund()
        yield* TestClock.adjust("30 seconds")
        expect(yield* credits.run(Effect.succeed("answer"), call(1))).toBe("answer")
      }))

    it.effect("counts no refusal of a call that was stopped before it was sent", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ whenSuspended: "fail", probe })
        const alerts = yield* listen(credits)
        const stopped = yield* Effect.forkChild(
          Effect.flip(credits.run(Effect.delay(credits.check(), "1 second"), call(1))),
          { startImmediately: true }
        )
        yield* credits.suspend()
        yield* TestClock.adjust("1 second")
        expect((yield* Fiber.join(stopped)).message).toMatch(/^Not sent/)
        yield* credits.resume()
        yield* Effect.yieldNow
        expect(alerts.at(-1)).toMatchObject({ _tag: "Resumed", refusals: 1 })
      }))

    it.effect("makes calls wait by policy, elects one to probe, and loses none", () =>
      Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        const alerts = yield* listen(credits)
        state.open = false
        const fibers = yield* Effect.forEach(
          Array.from({ length: 20 }),
          () => Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
        )
        yield* TestClock.adjust("1 second")
        expect(state).toMatchObject({ sent: 20, refused: 20 })
        yield* TestClock.adjust("29 seconds")
        expect(state.sent).toBe(20)
        yield* TestClock.adjust("1 second")
        expect(state.sent).toBe(21)
        yield* TestClock.adjust("31 seconds")
        expect(state).toMatchObject({ sent: 22, refused: 21 })
        state.open = true
        yield* TestClock.adjust("32 seconds")
        for (const fiber of fibers) expect(yield* Fiber.join(fiber)).toBe("answer")
        expect(state).toMatchObject({ answered: 20 })
        expect(state.refused).toBeLessThanOrEqual(22)
        yield* Effect.yieldNow
        expect(alerts.map((alert) => alert._tag).filter((tag) => tag === "Suspended")).toHaveLength(1)
        expect(alerts.at(-1)).toMatchObject({ _tag: "Resumed", by: "probe" })
      }))

    it.effect("stops what had passed the guard but was not sent yet", () =>
      Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        const queued = Effect.sleep("10 seconds").pipe(Effect.andThen(credits.check()), Effect.andThen(send))
        state.open = false
        const behind = yield* Effect.forkChild(credits.run(queued, call(1)), { startImmediately: true })
        const ahead = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
        yield* TestClock.adjust("11 seconds")
        expect(state.sent).toBe(1)
        expect((yield* credits.report).accounts[0]?.waiting).toBe(2)
        state.open = true
        yield* TestClock.adjust("60 seconds")
        expect(yield* Fiber.join(behind)).toBe("answer")
        expect(yield* Fiber.join(ahead)).toBe("answer")
      }))

    it.effect("lets the probe itself pass the check, and no other call", () =>
      Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        const checked = Effect.andThen(credits.check(), send)
        yield* credits.suspend()
        const fiber = yield* Effect.forkChild(credits.run(checked, call(1)), { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        expect(state.sent).toBe(1)
        expect((yield* Effect.flip(credits.check())).message).toMatch(/a probe is under way/)
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(fiber)).toBe("answer")
        expect((yield* credits.account())._tag).toBe("Active")
      }))

    it.effect("resumes by hand at once", () =>
      Effect.gen(function*() {
        const { send } = provider()
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        yield* credits.suspend()
        const fiber = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
        expect(yield* credits.resume()).toBe(true)
        expect(yield* credits.resume()).toBe(false)
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(fiber)).toBe("answer")
      }))

    it.effect("ignores a refusal from before the top-up", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        let attempts = 0
        const late = Effect.suspend(() =>
          ++attempts === 1 ? Effect.andThen(Effect.sleep("1 minute"), refused) : Effect.succeed("answer")
        )
        const fiber = yield* Effect.forkChild(credits.run(late, call(1)), { startImmediately: true })
        yield* credits.suspend()
        yield* credits.resume()
        yield* TestClock.adjust("1 minute")
        expect((yield* credits.account())._tag).toBe("Active")
        expect(yield* Fiber.join(fiber)).toBe("answer")
      }))

    it.effect("begins its schedule of probes anew with each outage", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe: Schedule.exponential("1 second") })
        for (const _ of [1, 2]) {
          yield* credits.suspend()
          expect(yield* credits.account()).toMatchObject({ _tag: "Suspended", probeAt: 1 })
          yield* credits.resume()
        }
      }))

    it.effect("does not run a stream again that has begun", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        let runs = 0
        const begun = Stream.suspend(() => Stream.concat(Stream.make(++runs), Stream.fromEffect(refused)))
        const ended = yield* Effect.forkChild(
          Effect.flip(Stream.runDrain(credits.stream(begun, { estimate, cost: () => undefined }))),
          { startImmediately: true }
        )
        yield* TestClock.adjust("1 minute")
        expect((yield* Fiber.join(ended))._tag).toBe("InsufficientCreditsError")
        expect(runs).toBe(1)
      }))

    it.effect("takes a refusal after the top-up for news, also of a call that had leave before", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        const late = Effect.sleep("1 minute").pipe(Effect.andThen(credits.check()), Effect.andThen(refused))
        const fiber = yield* Effect.forkChild(Effect.flip(credits.run(late, call(1))), { startImmediately: true })
        yield* credits.suspend()
        yield* credits.resume()
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(fiber)
        expect((yield* credits.account())._tag).toBe("Suspended")
      }))

    it.effect("elects the next waiter when the elected one is interrupted", () =>
      Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        yield* credits.suspend()
        const first = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
        const second = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        expect(state.sent).toBe(1)
        yield* Fiber.interrupt(first)
        expect(state.sent).toBe(2)
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(second)).toBe("answer")
        expect((yield* credits.report).accounts[0]?.tally.open).toBe(0)
      }))

    it.effect("elects the next waiter when the elected one is interrupted before it could go", () =>
      Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        yield* credits.suspend()
        const waiting = credits.run(send, call(1))
        const first = yield* Effect.forkChild(waiting, { startImmediately: true })
        // a wait of its own end is a fiber of its own: it has its leave, yields, and has not handed it over yet
        const bounded = credits.run(send, { ...call(1), whenSuspended: { wait: "1 hour" } })
        const elected = yield* Effect.forkChild(Effect.provideService(bounded, Scheduler.MaxOpsBeforeYield, 5))
        yield* Effect.repeat(credits.report, { until: ({ accounts }) => accounts[0]?.waiting === 2 })
        const last = yield* Effect.forkChild(waiting, { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        expect(state.sent).toBe(1)
        yield* Fiber.interruptAll([first, elected])
        expect([state.sent, (yield* credits.account())._tag]).toEqual([2, "Probing"])
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(last)).toBe("answer")
        expect((yield* credits.report).accounts[0]).toMatchObject({ waiting: 0, tally: { open: 0 } })
      }))

    it.effect("probes again after the same delay when a probe fails for another reason", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        const alerts = yield* listen(credits)
        yield* credits.suspend()
        const broken = yield* Effect.forkChild(Effect.flip(credits.run(Effect.fail("broken" as const), call(1))), {
          startImmediately: true
        })
        const next = yield* Effect.forkChild(credits.run(Effect.succeed("answer"), call(1)), { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        expect(yield* Fiber.join(broken)).toBe("broken")
        expect((yield* credits.account())._tag).toBe("Suspended")
        yield* TestClock.adjust("30 seconds")
        expect(yield* Fiber.join(next)).toBe("answer")
        expect(alerts.map((alert) => alert._tag)).toEqual(["Suspended", "ProbeFailed", "Resumed"])
      }))

    it.effect("gives a wait its own end", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({
          whenSuspended: { wait: "10 seconds" },
          probe,
          budgets: [Budget.perRun("$1")]
        })
        let first = true
        const send = Effect.suspend(() => first ? Effect.fail(refused) : Effect.succeed("answer"))
        const fiber = yield* Effect.forkChild(Effect.flip(credits.run(send, call(1))), { startImmediately: true })
        yield* TestClock.adjust("10 seconds")
        expect((yield* Fiber.join(fiber))._tag).toBe("InsufficientCreditsError")
        expect((yield* credits.report).budgets[0]?.tally).toMatchObject({ open: 0, reserved: 0n })
        first = false
        yield* TestClock.adjust("20 seconds")
        expect(yield* credits.run(send, call(1))).toBe("answer")
      }))

    it.effect("ends a wait as soon as the deadline leaves no time for an attempt, and tells what it waited for", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ whenSuspended: "wait", probe, budgets: [Budget.perRun("$1")] })
        const waits = (options: Partial<Credits.Request>, send: Effect.Effect<string, InsufficientCreditsError>) =>
          credits.run(send, { ...call(1), ...options }).pipe(
            Deadline.run("10 seconds", { minAttempt: "1 second" }),
            Effect.flip,
            Effect.forkChild({ startImmediately: true })
          )
        const calls = [
          yield* waits({}, Effect.fail(refused)),
          yield* waits({}, Effect.succeed("answer")),
          yield* waits({ whenSuspended: { wait: "1 minute" } }, Effect.succeed("answer"))
        ]
        yield* TestClock.adjust("8999 millis")
        expect((yield* credits.report).accounts[0]?.waiting).toBe(3)
        yield* TestClock.adjust("1 millis")
        for (const fiber of calls) {
          const error = yield* Fiber.join(fiber)
          expect([error._tag, Reflect.get(error, "status")]).toEqual(["InsufficientCreditsError", undefined])
        }
        const { accounts, budgets } = yield* credits.report
        expect([accounts[0]?.waiting, budgets[0]?.tally.open, budgets[0]?.tally.reserved]).toEqual([0, 0, 0n])
      }))

    it.effect("waits not at all where the deadline leaves no time for it, and gives the refusal itself", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        const late = credits.run(Effect.delay(Effect.fail(refused), "9500 millis"), call(1)).pipe(
          Deadline.run("10 seconds", { minAttempt: "1 second" }),
          Effect.flip
        )
        const fiber = yield* Effect.forkChild(late, { startImmediately: true })
        yield* TestClock.adjust("9500 millis")
        expect(yield* Fiber.join(fiber)).toBe(refused)
      }))

    it.effect("ends with the probe schedule, until resumed", () =>
      Effect.gen(function*() {
        const twice = Schedule.upTo(Schedule.spaced("1 second"), { times: 2 })
        const credits = yield* Credits.make({ whenSuspended: "wait", probe: twice })
        const alerts = yield* listen(credits)
        const fiber = yield* Effect.forkChild(Effect.flip(credits.run(Effect.fail(refused), call(1))), {
          startImmediately: true
        })
        const waiting = yield* Effect.forEach([1, 2], () =>
          Effect.forkChild(Effect.flip(credits.run(Effect.fail(refused), call(1))), { startImmediately: true }))
        yield* TestClock.adjust("1 minute")
        for (const one of [fiber, ...waiting]) {
          const { message } = yield* Fiber.join(one)
          expect(message).toMatch(/no further probe is planned/)
          expect(message).toMatch(/Sending does not resume by itself: call Credits\.resume\.$/)
          expect(message).not.toMatch(/next successful probe/)
        }
        expect(alerts.map((alert) =>
          alert._tag
        )).toEqual(["Suspended", "ProbeFailed", "ProbeFailed", "ProbingEnded"])
        expect(yield* Effect.flip(credits.run(Effect.succeed(1), call(1)))).toBeInstanceOf(InsufficientCreditsError)
        yield* credits.resume()
        expect(yield* credits.run(Effect.succeed(1), call(1))).toBe(1)
      }))

    const probeTimes = Effect.fnUntraced(function*(options: Credits.Options, total: Duration.Input) {
      const credits = yield* Credits.make({ ...options, whenSuspended: "wait" })
      const times: Array<number> = []
      yield* credits.suspend()
      yield* Effect.forkChild(
        credits.run(
          Effect.flatMap(Clock.currentTimeMillis, (millis) => {
            times.push(millis / 1000)
            return Effect.fail(refused)
          }),
          call(1)
        ),
        { startImmediately: true }
      )
      for (let i = 0; i < Duration.toSeconds(Duration.fromInputUnsafe(total)); i++) yield* TestClock.adjust("1 second")
      return times
    })

    it.effect("probes every 10 s at first, then after a sixtieth of the outage: late by that share at most", () =>
      Effect.gen(function*() {
        const times = yield* probeTimes({}, "1 hour")
        expect(times.slice(0, 3)).toEqual([10, 20, 30])
        expect(times.filter((at) => at <= 600)).toHaveLength(60)
        times.reduce((last, at) => {
          expect(at - last).toBeLessThanOrEqual(Math.max(10, last / 60) + 1)
          return at
        }, 0)
        expect(times.length).toBeLessThan(175)
      }))

    it.effect("probes sooner where auto-recharge is set", () =>
      Effect.gen(function*() {
        const autoRecharge = AutoRecharge.toTarget({ threshold: "$5", target: "$25" })
        expect(yield* probeTimes({ autoRecharge }, "7 seconds")).toEqual([2, 4, 6])
      }))

    it.effect.each<[string, Exit.Exit<void, InsufficientCreditsError>]>([
      ["well", Exit.void],
      ["with its refusal", Exit.fail(refused)]
    ])(
      "hears a call that was refused once, even where its scope ends %s after the account was lifted",
      ([, exit]) =>
        Effect.gen(function*() {
          const credits = yield* Credits.make({ probe })
          yield* credits.suspend()
          yield* TestClock.adjust("30 seconds")
          const scope = yield* Scope.make()
          const opened = yield* Scope.provide(credits.open({ estimate }), scope)
          expect(yield* Effect.flip(opened.refused(refused))).toBe(refused)
          yield* TestClock.adjust("30 seconds")
          yield* credits.run(Effect.void, call(1))
          expect((yield* credits.account())._tag).toBe("Active")
          yield* Scope.close(scope, exit)
          expect((yield* credits.account())._tag).toBe("Active")
          expect((yield* credits.report).accounts[0]?.tally).toMatchObject({
            settled: cents(1),
            calls: 1,
            open: 0,
            atRisk: 0n
          })
        })
    )

    it.effect("takes no late answer of one probe for that of the next", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        yield* credits.suspend()
        yield* TestClock.adjust("30 seconds")
        const scope = yield* Scope.make()
        const opened = yield* Scope.provide(credits.open({ estimate }), scope)
        yield* Effect.flip(opened.refused(refused))
        yield* TestClock.adjust("30 seconds")
        yield* Effect.forkChild(credits.run(Effect.never, call(1)), { startImmediately: true })
        expect((yield* credits.account())._tag).toBe("Probing")
        yield* opened.accepted
        expect((yield* credits.account())._tag).toBe("Probing")
      }))

    describe("a call that is to wait", () => {
      /** Sends a call that yields after so many operations, so between any two of its steps. */
      const yielding = (credits: Credits.Service, operations: number) =>
        Effect.forkChild(Effect.provideService(
          Effect.exit(credits.run(Effect.succeed("answer"), call(1))),
          Scheduler.MaxOpsBeforeYield,
          operations
        ))

      it.effect.each<[string, Credits.WhenSuspended]>([["for ever", "wait"], ["so long", { wait: "2 hours" }]])(
        "%s misses no wake-up between two of its steps",
        ([, whenSuspended]) =>
          Effect.gen(function*() {
            for (let operations = 3; operations < 60; operations++) {
              const { exit } = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
                const credits = yield* Credits.make({ whenSuspended, probe })
                yield* credits.suspend()
                const late = yield* yielding(credits, operations)
                yield* Effect.yieldNow
                yield* credits.resume()
                const ended = yield* Effect.timeoutOption(Fiber.join(late), "1 hour")
                return [ended, (yield* credits.report).accounts[0]?.waiting]
              })))
              expect([operations, exit]).toEqual([
                operations,
                Exit.succeed([Option.some(Exit.succeed("answer")), 0])
              ])
            }
          })
      )

      it.effect("fails where probing ends between two of its steps", () =>
        Effect.gen(function*() {
          const once = Schedule.upTo(Schedule.spaced("1 second"), { times: 1 })
          for (let operations = 3; operations < 40; operations++) {
            for (let turns = 0; turns < 6; turns++) {
              const { exit } = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
                const credits = yield* Credits.make({ whenSuspended: "wait", probe: once })
                yield* credits.suspend()
                yield* Effect.sleep("1 second")
                const turn = yield* Deferred.make<void>()
                const last = credits.run(Effect.andThen(Deferred.await(turn), refused), {
                  ...call(1),
                  whenSuspended: "fail"
                })
                yield* Effect.forkChild(Effect.exit(last), { startImmediately: true })
                const late = yield* yielding(credits, operations)
                for (let i = 0; i < turns; i++) yield* Effect.yieldNow
                yield* Deferred.succeed(turn, undefined)
                return Option.map(yield* Effect.timeoutOption(Fiber.join(late), "1 hour"), Exit.isFailure)
              })))
              expect([operations, turns, exit]).toEqual([operations, turns, Exit.succeed(Option.some(true))])
            }
          }
        }))
    })

    it.effect("elects the next call once its timer has fired, whatever the wall clock says by then", () =>
      Effect.gen(function*() {
        const clock = yield* Clock.clockWith(Effect.succeed)
        let stepMillis = 0
        const stepping: Clock.Clock = Object.assign(Object.create(clock), {
          currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + stepMillis,
          currentTimeMillis: Effect.sync(() => clock.currentTimeMillisUnsafe() + stepMillis)
        })
        yield* Effect.gen(function*() {
          const { send, state } = provider()
          const credits = yield* Credits.make({ whenSuspended: "wait", probe })
          yield* credits.suspend()
          stepMillis = -3_600_000
          yield* TestClock.adjust("30 seconds")
          const probing = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
          expect(state.sent).toBe(1)
          // a probe that ends without an answer, and nobody else waits
          yield* Fiber.interrupt(probing)
          stepMillis = -7_200_000
          const next = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
          yield* TestClock.adjust("1 second")
          expect(yield* Fiber.join(next)).toBe("answer")
          // by hand in between: the next outage waits for its own probe
          yield* credits.suspend()
          yield* TestClock.adjust("30 seconds")
          yield* credits.resume()
          yield* credits.suspend()
          const waiting = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
          yield* TestClock.adjust("29 seconds")
          expect(state.sent).toBe(2)
          yield* TestClock.adjust("2 seconds")
          expect(yield* Fiber.join(waiting)).toBe("answer")
        }).pipe(Effect.provideService(Clock.Clock, stepping))
      }))

    it.effect("keeps the probe of one account through a check of another", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        yield* credits.suspend("a")
        yield* TestClock.adjust("30 seconds")
        yield* credits.run(credits.check("b"), { ...call(1), account: "a" })
        expect((yield* credits.account("a"))._tag).toBe("Active")
        // the same generation of another account makes no probe
        yield* credits.suspend("a")
        yield* credits.suspend("b")
        yield* credits.resume("b")
        yield* credits.suspend("b")
        yield* TestClock.adjust("30 seconds")
        yield* Effect.forkChild(credits.run(Effect.never, { ...call(1), account: "b" }), { startImmediately: true })
        yield* Effect.flip(credits.run(credits.check("b"), { ...call(1), account: "a" }))
      }))

    it("refuses a probe schedule that is none", () => {
      const bounds = { atLeast: "10 seconds", share: 0.1, atMost: "5 minutes" } as const
      expect(() => Credits.probeAfterShare({ ...bounds, share: 2 })).toThrow(
        "Credits.probeAfterShare: share must be in [0, 1], got 2"
      )
      expect(() => Credits.probeAfterShare({ ...bounds, atLeast: "1 hour" })).toThrow(
        "Credits.probeAfterShare: atMost must be at least atLeast, which is 3600000 ms, got 300000 ms"
      )
    })

    it.effect("by hand is not lost where an outage begins and ends between two of its steps", () =>
      Effect.gen(function*() {
        let begun = true
        for (let turns = 0; begun; turns++) {
          const { exit } = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
            const credits = yield* Credits.make({ probe })
            // yields after so few operations, so between any two of its steps
            const late = yield* Effect.forkChild(
              Effect.provideService(credits.suspend(), Scheduler.MaxOpsBeforeYield, 3)
            )
            for (let i = 0; i < turns; i++) yield* Effect.yieldNow
            begun = (yield* credits.account())._tag === "Active"
            if (!begun) return "Suspended"
            yield* credits.suspend()
            yield* credits.resume()
            yield* Fiber.join(late)
            return (yield* credits.account())._tag
          })))
          expect([turns, exit]).toEqual([turns, Exit.succeed("Suspended")])
        }
      }))

    it.effect("suspends one account and leaves another alone", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        yield* credits.suspend("a")
        expect((yield* credits.account("a"))._tag).toBe("Suspended")
        expect(yield* credits.run(Effect.succeed(1), { ...call(1), account: "b" })).toBe(1)
        yield* Effect.flip(credits.run(Effect.succeed(1), { ...call(1), account: "a" }))
      }))
  })

  describe("interruption", () => {
    const yields = (times: number): Effect.Effect<void> =>
      times === 0 ? Effect.void : Effect.andThen(Effect.yieldNow, yields(times - 1))

    /** A call that yields at every step, and may be refused first. */
    const steppy = (refusals: number) => {
      let left = refusals
      return Effect.suspend(() =>
        yields(3).pipe(Effect.andThen(Effect.suspend(() => left-- > 0 ? refused : Effect.succeed(1))))
      )
    }

    it.effect("at any step returns the money and leaves no probe behind", () =>
      Effect.gen(function*() {
        let interrupted = 0
        for (let step = 0; step < 40; step++) {
          for (const kind of ["run", "refused", "probe", "stream", "waiting"] as const) {
            const credits = yield* Credits.make({ whenSuspended: "wait", probe, budgets: [Budget.perRun("$1")] })
            if (kind === "probe" || kind === "waiting") yield* credits.suspend()
            if (kind === "probe") yield* TestClock.adjust("30 seconds")
            const call_ = steppy(kind === "refused" ? 1 : 0)
            const under = kind === "stream"
              ? Stream.runDrain(
                credits.stream(Stream.fromEffect(call_), { estimate, cost: () => Price.known(cents(1)) })
              )
              : credits.run(call_, call(1))
            const fiber = yield* Effect.forkChild(under)
            yield* yields(step)
            yield* Fiber.interrupt(fiber)
            if (Exit.hasInterrupts(yield* Fiber.await(fiber))) interrupted++
            const { accounts, budgets } = yield* credits.report
            for (const { tally } of [...accounts, ...budgets]) expect(tally).toMatchObject({ open: 0, reserved: 0n })
            const state = accounts[0]?.state ?? (yield* credits.account())
            expect([kind, step, state._tag]).not.toEqual([kind, step, "Probing"])
            expect(accounts[0]?.waiting ?? 0).toBe(0)
            // the account is still usable by the next call
            const next = yield* Effect.forkChild(credits.run(Effect.succeed("next"), call(1)), {
              startImmediately: true
            })
            yield* TestClock.adjust("30 seconds")
            expect(yield* Fiber.join(next)).toBe("next")
          }
        }
        expect(interrupted).toBeGreaterThan(60)
      }))
  })
})
