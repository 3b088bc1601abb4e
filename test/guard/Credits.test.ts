import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import {
  BudgetExceededError,
  ConnectionError,
  DecodeError,
  InsufficientCreditsError,
  NotFoundError,
  RequestTimeoutError,
  StreamError
} from "../../src/domain/TogetherError.ts"
import type { Alert } from "../../src/guard/CreditAlerts.ts"
import * as Credits from "../../src/guard/Credits.ts"
import * as AutoRecharge from "../../src/policy/AutoRecharge.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Price from "../../src/policy/Price.ts"

/** Keeps the times of these tests round; the default schedule has its own test. */
const probe = Schedule.spaced("30 seconds")

const cents = (n: number) => BigInt(n) * 10_000_000n
const estimate = Price.range(0n, cents(10), cents(5))
const refused = new InsufficientCreditsError({ message: "Credit limit exceeded.", status: 402 })
const call = (costCents: number) => ({ estimate, cost: () => Price.known(cents(costCents)) })

/** Collects alerts into an array from now on. */
const listen = Effect.fnUntraced(function*(credits: Credits.Service) {
  const seen: Array<Alert> = []
  yield* Effect.forkScoped(Stream.runForEach(credits.alerts, (alert) => Effect.sync(() => void seen.push(alert))), {
    startImmediately: true
  })
  yield* Effect.yieldNow
  return seen
})

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
  describe("run", () => {
    it.effect("charges the real cost and gives back the rest of the reservation", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        yield* credits.run(Effect.succeed("x"), call(3))
        const { budgets } = yield* credits.report
        expect(budgets[0]?.tally).toMatchObject({ settled: cents(3), reserved: 0n, open: 0, calls: 1 })
        expect(budgets[0]?.remaining).toBe(cents(97))
      }))

    it.effect("refuses a call that a budget has no room for, before it is sent", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$0.25")] })
        let sent = 0
        const send = Effect.sync(() => ++sent).pipe(Effect.andThen(Effect.never))
        for (let i = 0; i < 2; i++) yield* Effect.forkChild(credits.run(send, call(3)), { startImmediately: true })
        const error = yield* Effect.flip(credits.run(send, call(3)))
        expect(error).toBeInstanceOf(BudgetExceededError)
        expect(error).toMatchObject({
          budget: "run",
          limitNanoUsd: cents(25),
          neededNanoUsd: cents(10),
          remainingNanoUsd: cents(5)
        })
        expect(error.message).toBe(
          "The call may cost up to $0.10, but budget \"run\" has $0.05 of $0.25 left. Nothing was sent. Raise the budget " +
            "\"run\", wait for its next period if it has one, lower max_tokens (the reservation covers the largest " +
            "answer), or handle BudgetExceededError."
        )
        expect(sent).toBe(2)
      }))

    it.effect("refuses a call without a known price under a budget, and sends it without one", () =>
      Effect.gen(function*() {
        const unpriced = { estimate: Price.unknown("no price is known for model m"), cost: () => Price.unknown("none") }
        const strict = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const error = yield* Effect.flip(strict.run(Effect.succeed(1), unpriced))
        expect(error.message).toMatch(/^no price is known for model m: nothing was sent/)
        const open = yield* Credits.make({ probe })
        expect(yield* open.run(Effect.succeed(1), unpriced)).toBe(1)
        expect((yield* open.report).keys[0]?.tally).toMatchObject({ unpriced: 1, settled: 0n })
        const lenient = yield* Credits.make({ budgets: [Budget.perRun("$1")], unknownPrice: "allow" })
        expect(yield* lenient.run(Effect.succeed(1), unpriced)).toBe(1)
      }))

    it.effect("refunds a failed call and remembers what the provider may have billed", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const timeout = new RequestTimeoutError({ message: "slow", phase: "body" })
        yield* Effect.flip(credits.run(Effect.fail(timeout), call(3)))
        yield* Effect.flip(
          credits.run(Effect.fail(new RequestTimeoutError({ message: "x", phase: "connect" })), call(3))
        )
        const { budgets } = yield* credits.report
        expect(budgets[0]?.tally).toMatchObject({ settled: 0n, reserved: 0n, open: 0, atRisk: cents(10) })
      }))

    it.effect("takes for maybe billed what was sent and got no refusal", () =>
      Effect.gen(function*() {
        const billed: ReadonlyArray<readonly [unknown, boolean]> = [
          [new ConnectionError({ message: "reset", permanent: false }), true],
          [new ConnectionError({ message: "no such host", permanent: true }), false],
          [new DecodeError({ message: "not JSON" }), true],
          [
            new StreamError({ message: "cut", started: true, partial: { text: "", reasoning: "" } }),
            true
          ],
          [new NotFoundError({ message: "404" }), false],
          [new Error("of another SDK"), true]
        ]
        for (const [error, atRisk] of billed) {
          const credits = yield* Credits.make()
          yield* Effect.flip(credits.run(Effect.fail(error), call(3)))
          expect((yield* credits.report).keys[0]?.tally.atRisk).toBe(atRisk ? cents(10) : 0n)
        }
      }))

    it.effect("tells cost and reservation to the span in progress", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make()
        yield* credits.run(Effect.void, { ...call(3), label: "evals" })
        const { attributes } = yield* Effect.currentSpan
        expect(Object.fromEntries(attributes)).toEqual({
          "credits.label": "evals",
          "credits.reserved_usd": 0.1,
          "credits.cost_usd": 0.03,
          "credits.cost_sure": true
        })
      }).pipe(Effect.withSpan("call")))

    it.effect("charges a failure that delivered something", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        yield* Effect.flip(
          credits.run(Effect.fail("cut" as const), { ...call(3), costOnFailure: () => Price.known(cents(2)) })
        )
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ settled: cents(2), open: 0 })
      }))

    it.effect("refunds an interrupted call", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const fiber = yield* Effect.forkChild(credits.run(Effect.never, call(3)), { startImmediately: true })
        expect((yield* credits.report).budgets[0]?.tally.reserved).toBe(cents(10))
        yield* Fiber.interrupt(fiber)
        expect((yield* credits.report).budgets[0]?.tally).toMatchObject({ reserved: 0n, settled: 0n, open: 0 })
      }))

    it.effect("charges the upper bound, as assumed, where the answer says no usage", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        yield* credits.run(Effect.succeed(1), { estimate, cost: () => Price.unknown("no usage") })
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ settled: cents(10), uncertain: cents(10) })
      }))

    it.effect("keeps no money reserved when the cost function throws", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        const exit = yield* Effect.exit(credits.run(Effect.succeed(1), {
          estimate,
          cost: () => {
            throw new Error("bug")
          }
        }))
        expect(Exit.hasDies(exit)).toBe(true)
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ open: 0, reserved: 0n, uncertain: cents(10) })
      }))

    it.effect("reports a call that costs more than its upper bound, and then admits no other", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$0.20")] })
        const alerts = yield* listen(credits)
        yield* credits.run(Effect.succeed(1), call(25))
        yield* Effect.yieldNow
        expect(alerts.map((alert) => alert._tag)).toEqual(["SettledAboveEstimate", "BudgetNearLimit"])
        const error = yield* Effect.flip(credits.run(Effect.succeed(1), call(1)))
        expect(error).toMatchObject({ remainingNanoUsd: 0n })
        expect((yield* credits.report).budgets[0]?.tally.overshoot).toBe(cents(15))
      }))
  })

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
        expect(state.sent).toBe(1)
      }))

    it.effect("makes calls wait by policy, elects one to probe, and loses none", () =>
      Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ onSuspended: "wait", probe })
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
        const credits = yield* Credits.make({ onSuspended: "wait", probe })
        const queued = Effect.sleep("10 seconds").pipe(Effect.andThen(credits.check()), Effect.andThen(send))
        state.open = false
        const behind = yield* Effect.forkChild(credits.run(queued, call(1)), { startImmediately: true })
        const ahead = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
        yield* TestClock.adjust("11 seconds")
        expect(state.sent).toBe(1)
        expect((yield* credits.report).keys[0]?.waiting).toBe(2)
        state.open = true
        yield* TestClock.adjust("60 seconds")
        expect(yield* Fiber.join(behind)).toBe("answer")
        expect(yield* Fiber.join(ahead)).toBe("answer")
      }))

    it.effect("lets the probe itself pass the check, and no other call", () =>
      Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ onSuspended: "wait", probe })
        const checked = Effect.andThen(credits.check(), send)
        yield* credits.onInsufficientCredits()
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
        const credits = yield* Credits.make({ onSuspended: "wait", probe })
        yield* credits.onInsufficientCredits()
        const fiber = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
        expect(yield* credits.resume()).toBe(true)
        expect(yield* credits.resume()).toBe(false)
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(fiber)).toBe("answer")
      }))

    it.effect("ignores a refusal from before the top-up", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ onSuspended: "wait", probe })
        let attempts = 0
        const late = Effect.suspend(() =>
          ++attempts === 1 ? Effect.andThen(Effect.sleep("1 minute"), refused) : Effect.succeed("answer")
        )
        const fiber = yield* Effect.forkChild(credits.run(late, call(1)), { startImmediately: true })
        yield* credits.onInsufficientCredits()
        yield* credits.resume()
        yield* TestClock.adjust("1 minute")
        expect((yield* credits.account())._tag).toBe("Active")
        expect(yield* Fiber.join(fiber)).toBe("answer")
      }))

    it.effect("elects the next waiter when the elected one is interrupted", () =>
      Effect.gen(function*() {
        const { send, state } = provider()
        const credits = yield* Credits.make({ onSuspended: "wait", probe })
        yield* credits.onInsufficientCredits()
        const first = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
        const second = yield* Effect.forkChild(credits.run(send, call(1)), { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        expect(state.sent).toBe(1)
        yield* Fiber.interrupt(first)
        expect(state.sent).toBe(2)
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(second)).toBe("answer")
        expect((yield* credits.report).keys[0]?.tally.open).toBe(0)
      }))

    it.effect("probes again after the same delay when a probe fails for another reason", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ onSuspended: "wait", probe })
        const alerts = yield* listen(credits)
        yield* credits.onInsufficientCredits()
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
          onSuspended: { wait: "10 seconds" },
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

    it.effect("ends with the probe schedule, until resumed", () =>
      Effect.gen(function*() {
        const twice = Schedule.upTo(Schedule.spaced("1 second"), { times: 2 })
        const credits = yield* Credits.make({ onSuspended: "wait", probe: twice })
        const alerts = yield* listen(credits)
        const fiber = yield* Effect.forkChild(Effect.flip(credits.run(Effect.fail(refused), call(1))), {
          startImmediately: true
        })
        const waiting = yield* Effect.forEach([1, 2], () =>
          Effect.forkChild(Effect.flip(credits.run(Effect.fail(refused), call(1))), { startImmediately: true }))
        yield* TestClock.adjust("1 minute")
        for (const one of [fiber, ...waiting]) {
          expect((yield* Fiber.join(one)).message).toMatch(/no further probe is planned/)
        }
        expect(alerts.map((alert) =>
          alert._tag
        )).toEqual(["Suspended", "ProbeFailed", "ProbeFailed", "ProbingEnded"])
        expect(yield* Effect.flip(credits.run(Effect.succeed(1), call(1)))).toBeInstanceOf(InsufficientCreditsError)
        yield* credits.resume()
        expect(yield* credits.run(Effect.succeed(1), call(1))).toBe(1)
      }))

    const probeTimes = Effect.fnUntraced(function*(options: Credits.Options, total: Duration.Input) {
      const credits = yield* Credits.make({ ...options, onSuspended: "wait" })
      const times: Array<number> = []
      yield* credits.onInsufficientCredits()
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

    it("refuses a probe schedule that is none", () => {
      const bounds = { atLeast: "10 seconds", share: 0.1, atMost: "5 minutes" } as const
      expect(() => Credits.probeAfterShare({ ...bounds, share: 2 })).toThrow(
        "Credits.probeAfterShare: share must be in [0, 1], got 2"
      )
      expect(() => Credits.probeAfterShare({ ...bounds, atLeast: "1 hour" })).toThrow(
        "Credits.probeAfterShare: atLeast must be > 0 and at most atMost (300 s), got 3600 s"
      )
    })

    it.effect("suspends one key and leaves another alone", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        yield* credits.onInsufficientCredits("a")
        expect((yield* credits.account("a"))._tag).toBe("Suspended")
        expect(yield* credits.run(Effect.succeed(1), { ...call(1), key: "b" })).toBe(1)
        yield* Effect.flip(credits.run(Effect.succeed(1), { ...call(1), key: "a" }))
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
            const credits = yield* Credits.make({ onSuspended: "wait", probe, budgets: [Budget.perRun("$1")] })
            if (kind === "probe" || kind === "waiting") yield* credits.onInsufficientCredits()
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
            const { budgets, keys } = yield* credits.report
            for (const { tally } of [...keys, ...budgets]) expect(tally).toMatchObject({ open: 0, reserved: 0n })
            const account = keys[0]?.account ?? (yield* credits.account())
            expect([kind, step, account._tag]).not.toEqual([kind, step, "Probing"])
            expect(keys[0]?.waiting ?? 0).toBe(0)
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

  describe("stream", () => {
    const perElement = { estimate, cost: (n: number) => Price.known(cents(n)) }

    it.effect("charges what the last element said", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        expect(yield* Stream.runCollect(credits.stream(Stream.make(1, 2, 3), perElement))).toEqual([1, 2, 3])
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ settled: cents(3), open: 0, uncertain: 0n })
      }))

    it.effect("charges what arrived when it is interrupted or left early", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        const endless = Stream.concat(Stream.make(1, 2), Stream.never)
        const fiber = yield* Effect.forkChild(Stream.runDrain(credits.stream(endless, perElement)), {
          startImmediately: true
        })
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(fiber)
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ settled: cents(2), open: 0 })
        yield* Stream.runDrain(Stream.take(credits.stream(Stream.make(1, 2, 3).pipe(Stream.rechunk(1)), perElement), 1))
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ settled: cents(3), open: 0 })
      }))

    it.effect("charges what arrived when it fails, and nothing when nothing arrived", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        const cut = Stream.concat(Stream.make(1, 4), Stream.fail("cut" as const))
        expect(yield* Effect.flip(Stream.runDrain(credits.stream(cut, perElement)))).toBe("cut")
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ settled: cents(4), open: 0 })
        yield* Effect.flip(Stream.runDrain(credits.stream(Stream.fail("early" as const), perElement)))
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ settled: cents(4), open: 0, atRisk: cents(10) })
      }))

    it.effect("waits and starts again when it is refused before its first element", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ onSuspended: "wait", probe })
        let starts = 0
        const self = Stream.suspend(() => ++starts === 1 ? Stream.fail(refused) : Stream.make(1, 2))
        const fiber = yield* Effect.forkChild(Stream.runCollect(credits.stream(self, perElement)), {
          startImmediately: true
        })
        yield* TestClock.adjust("30 seconds")
        expect(yield* Fiber.join(fiber)).toEqual([1, 2])
        expect((yield* credits.account())._tag).toBe("Active")
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ settled: cents(2), open: 0 })
      }))

    it.effect("lifts a suspension with its first element", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ onSuspended: "wait", probe })
        yield* credits.onInsufficientCredits()
        yield* Effect.forkChild(
          Stream.runDrain(credits.stream(Stream.concat(Stream.make(1), Stream.never), perElement)),
          { startImmediately: true }
        )
        yield* TestClock.adjust("30 seconds")
        expect((yield* credits.account())._tag).toBe("Active")
      }))

    it.effect("fails with its refusal by policy, and refunds", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        expect(yield* Effect.flip(Stream.runDrain(credits.stream(Stream.fail(refused), perElement)))).toBe(refused)
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ open: 0, reserved: 0n, settled: 0n })
      }))
  })

  describe("open", () => {
    it.effect("settles by hand once, whatever the scope does later", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        const scope = yield* Scope.make()
        const opened = yield* Scope.provide(credits.open({ estimate }), scope)
        yield* opened.reservation.settle(Price.known(cents(7)))
        yield* opened.reservation.settle(Price.known(cents(9)))
        yield* opened.reservation.refund()
        yield* Scope.close(scope, Exit.void)
        expect((yield* credits.report).keys[0]?.tally).toMatchObject({ settled: cents(7), calls: 1, open: 0 })
      }))
  })
})
