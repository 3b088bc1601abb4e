import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import {
  BudgetExceededError,
  ConnectionError,
  DecodeError,
  NotFoundError,
  OverloadedError,
  RequestTimeoutError,
  StreamError
} from "../../src/domain/TogetherError.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as LedgerStore from "../../src/guard/ledger/LedgerStore.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Price from "../../src/policy/Price.ts"
import { call, cents, estimate, listen, probe, refused } from "./credits.ts"

/** Makes a guard whose ledger takes a second to write. */
const slow = (options: Credits.Options) =>
  Effect.provideService(Credits.make(options), LedgerStore.LedgerStore, {
    ...LedgerStore.memory,
    append: () => Effect.sleep("1 second")
  })

describe("Credits", () => {
  describe("make", () => {
    it.effect.each<[string, Credits.Options]>([
      ["Credits.make: whenSuspended.wait must be above 0, got 0 ms", { whenSuspended: { wait: 0 } }],
      [
        "Credits.make: whenSuspended must be one of fail, wait, got x",
        { whenSuspended: "x" as Credits.WhenSuspended }
      ],
      ["Credits.make: unknownPrice must be one of refuse, allow, got x", { unknownPrice: "x" as "allow" }],
      ["Credits.make: orphans must be one of charge, refund, got x", { orphans: "x" as "refund" }],
      ["Credits.make: whenUnwritable must be one of stop, continue, got x", { whenUnwritable: "x" as "continue" }],
      ["Credits.make: dayOffset must be above -24 h and below 24 h, got 86400000 ms", { dayOffset: "1 day" }],
      ["Credits.make: lowBalance must be at least 0, got -1000 ms", { lowBalance: "-1 second" }],
      ["Credits.stateBalance: free must be at least $0 and at most the balance of $5.00, got $9.00", {
        balance: [{ balance: "$5", free: "$9" }]
      }],
      ["Credits.stateBalance: free must be at least $0 and at most the balance of $5.00, got -$1.00", {
        balance: [{ balance: "$5", free: "-$1" }]
      }]
    ])("refuses at once: %s", ([message, options]) =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Credits.make(options))
        expect(Exit.isFailure(exit) && String(exit.cause.reasons[0])).toContain(message)
      }))
  })

  it.effect.each<[string, Credits.WhenSuspended]>([
    ["whenSuspended must be one of fail, wait, got x", "x" as Credits.WhenSuspended],
    ["whenSuspended.wait must be above 0, got 0 ms", { wait: 0 }],
    ["whenSuspended.wait must be a duration, got NaN", { wait: NaN }]
  ])("refuses for one call: %s", ([wrong, whenSuspended]) =>
    Effect.gen(function*() {
      const credits = yield* Credits.make()
      const request = { ...call(3), whenSuspended }
      for (
        const [name, make] of [
          ["run", () => credits.run(Effect.void, request)],
          ["stream", () => credits.stream(Stream.empty, request)],
          ["open", () => credits.open(request)]
        ] as const
      ) expect(make).toThrow(new RangeError(`Credits.${name}: ${wrong}`))
    }))

  describe("run", () => {
    it.effect("charges the real cost and gives back the rest of the reservation", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        yield* credits.run(Effect.succeed("x"), call(3))
        const { budgets } = yield* credits.report
        expect(budgets[0]?.tally).toMatchObject({ settled: cents(3), reserved: 0n, open: 0, calls: 1 })
        expect(budgets[0]?.remaining).toBe(cents(97))
      }))

    it.effect("pays for an attempt from the budget of its own day, whenever it was reserved", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perDay("$0.10")] })
        let sent = 0
        const late = credits.run(
          Effect.andThen(Effect.sleep("2 hours"), credits.attempt(Effect.sync(() => ++sent))),
          { ...call(3), tellsAttempts: true }
        )
        const today = Effect.map(credits.report, ({ budgets }) => budgets[0]!.tally)
        yield* TestClock.adjust("23 hours")
        yield* Effect.forkChild(late, { startImmediately: true })
        yield* TestClock.adjust("2 hours")
        expect([sent, yield* today]).toEqual([1, expect.objectContaining({ settled: cents(3), open: 0, calls: 1 })])
        expect(yield* credits.tally()).toMatchObject({ settled: cents(3), reserved: 0n, open: 0 })
        yield* TestClock.adjust("22 hours")
        const refusedLate = yield* Effect.forkChild(Effect.flip(late), { startImmediately: true })
        yield* TestClock.adjust("90 minutes")
        yield* credits.run(Effect.void, call(8))
        yield* TestClock.adjust("1 hour")
        expect(yield* Fiber.join(refusedLate)).toMatchObject({ _tag: "BudgetExceededError", reason: "no-room" })
        expect([sent, yield* today]).toEqual([1, expect.objectContaining({ settled: cents(8), reserved: 0n, open: 0 })])
      }))

    it.effect("tells amounts apart that would read alike", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const tooMuch = { ...call(1), estimate: Price.exactly(1_000_000_004n) }
        const { message } = yield* Effect.flip(credits.run(Effect.void, tooMuch))
        expect(message).toContain("may cost up to $1.000000004, but budget \"run\" has $1 of $1 left")
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
            "\"run\", wait for its next period if it has one, set or lower max_tokens (the reservation covers the largest " +
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
        expect((yield* open.report).accounts[0]?.tally).toMatchObject({ unpriced: 1, settled: 0n })
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
          [new ConnectionError({ message: "nobody listens", permanent: false, sent: false }), false],
          [new DecodeError({ message: "not JSON" }), true],
          [
            new StreamError({ message: "cut", started: true, partial: { text: "", reasoning: "" } }),
            true
          ],
          [new StreamError({ message: "cut", started: false, partial: { text: "", reasoning: "" } }), true],
          [
            new StreamError({ message: "429", started: false, refused: true, partial: { text: "", reasoning: "" } }),
            false
          ],
          [new NotFoundError({ message: "404" }), false],
          [new Error("of another SDK"), true]
        ]
        for (const [error, atRisk] of billed) {
          const credits = yield* Credits.make()
          yield* Effect.flip(credits.run(Effect.fail(error), call(3)))
          expect((yield* credits.report).accounts[0]?.tally.atRisk).toBe(atRisk ? cents(10) : 0n)
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
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(2), open: 0 })
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
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(10), uncertain: cents(10) })
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
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({
          open: 0,
          reserved: 0n,
          uncertain: cents(10)
        })
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

  describe("stream", () => {
    const perElement = { estimate, cost: (n: number) => Price.known(cents(n)) }

    it.effect("charges what the last element said", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        expect(yield* Stream.runCollect(credits.stream(Stream.make(1, 2, 3), perElement))).toEqual([1, 2, 3])
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(3), open: 0, uncertain: 0n })
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
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(2), open: 0 })
        yield* Stream.runDrain(Stream.take(credits.stream(Stream.make(1, 2, 3).pipe(Stream.rechunk(1)), perElement), 1))
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(3), open: 0 })
      }))

    it.effect("charges what arrived when it fails, and nothing when nothing arrived", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        const cut = Stream.concat(Stream.make(1, 4), Stream.fail("cut" as const))
        expect(yield* Effect.flip(Stream.runDrain(credits.stream(cut, perElement)))).toBe("cut")
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(4), open: 0 })
        yield* Effect.flip(Stream.runDrain(credits.stream(Stream.fail("early" as const), perElement)))
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({
          settled: cents(4),
          open: 0,
          atRisk: cents(10)
        })
      }))

    it.effect("charges at its end what the whole of it cost, and what was assumed before as assumed", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ probe })
        const guessed = {
          estimate,
          cost: (n: number) => Price.assumed(Price.known(cents(n)), "guess"),
          costAtEnd: () => Price.known(cents(7))
        }
        const whole = Stream.make(1, 2, 3).pipe(Stream.rechunk(1))
        yield* Stream.runDrain(credits.stream(whole, guessed))
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(7), uncertain: 0n, open: 0 })
        yield* Stream.runDrain(Stream.take(credits.stream(whole, guessed), 2))
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({
          settled: cents(9),
          uncertain: cents(2),
          open: 0
        })
        const cut = Stream.concat(Stream.make(1, 4), Stream.fail("cut" as const))
        yield* Effect.flip(Stream.runDrain(credits.stream(cut, guessed)))
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({
          settled: cents(13),
          uncertain: cents(6),
          open: 0
        })
      }))

    it.effect("waits and starts again when it is refused before its first element", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        let starts = 0
        const self = Stream.suspend(() => ++starts === 1 ? Stream.fail(refused) : Stream.make(1, 2))
        const fiber = yield* Effect.forkChild(Stream.runCollect(credits.stream(self, perElement)), {
          startImmediately: true
        })
        yield* TestClock.adjust("30 seconds")
        expect(yield* Fiber.join(fiber)).toEqual([1, 2])
        expect((yield* credits.account())._tag).toBe("Active")
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(2), open: 0 })
      }))

    it.effect("lifts a suspension with its first element", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ whenSuspended: "wait", probe })
        yield* credits.suspend()
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
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ open: 0, reserved: 0n, settled: 0n })
      }))
  })

  describe("attempt", () => {
    const tallyOf = (credits: Credits.Service) => Effect.map(credits.report, ({ budgets }) => budgets[0]?.tally)
    const timeout = new RequestTimeoutError({ message: "slow", phase: "headers" })
    const overloaded = new OverloadedError({ message: "503" })

    it.effect("charges the upper bound of one that was lost, and reserves anew for the next", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const seen: Array<unknown> = []
        const note = Effect.map(tallyOf(credits), (tally) => void seen.push([tally?.settled, tally?.reserved]))
        const attempts = Effect.flip(credits.attempt(Effect.andThen(note, Effect.fail(timeout)))).pipe(
          Effect.andThen(note),
          Effect.andThen(credits.attempt(note))
        )
        yield* credits.run(attempts, call(3))
        expect(seen).toEqual([[0n, cents(10)], [0n, cents(10)], [cents(10), cents(10)]])
        expect(yield* tallyOf(credits)).toMatchObject({
          settled: cents(13),
          uncertain: cents(10),
          atRisk: 0n,
          reserved: 0n,
          open: 0
        })
      }))

    it.effect("is not thought to be billed where the call ended before its first, and tells them all", () =>
      Effect.gen(function*() {
        for (const tellsAttempts of [true, undefined]) {
          const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
          const queued = Effect.andThen(Effect.never, credits.attempt(Effect.void))
          const calls = [
            credits.run(queued, { ...call(3), tellsAttempts }),
            Stream.runDrain(credits.stream(Stream.fromEffect(queued), { ...call(3), tellsAttempts }))
          ]
          for (const one of calls) {
            yield* Fiber.interrupt(yield* Effect.forkChild(one, { startImmediately: true }))
          }
          const atRisk = tellsAttempts ? 0n : cents(20)
          expect(yield* tallyOf(credits)).toMatchObject({ settled: 0n, atRisk, reserved: 0n, open: 0 })
        }
      }))

    it.effect("keeps the reservation of one that was refused", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$0.10")] })
        const attempts = Effect.andThen(
          Effect.flip(credits.attempt(Effect.fail(overloaded))),
          credits.attempt(Effect.void)
        )
        yield* credits.run(attempts, call(3))
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(3), uncertain: 0n, open: 0 })
        const unsent = credits.attempt(Effect.fail(timeout), () => false)
        yield* Effect.flip(credits.run(unsent, { ...call(0), estimate: Price.exactly(cents(7)) }))
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(3), atRisk: 0n, reserved: 0n, open: 0 })
      }))

    it.effect("is not sent where the one before used up the last of a budget", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$0.15")] })
        let sent = 0
        const attempt = credits.attempt(Effect.andThen(Effect.sync(() => sent++), Effect.fail(timeout)))
        const error = yield* Effect.flip(credits.run(Effect.andThen(Effect.flip(attempt), attempt), call(3)))
        expect([error._tag, sent]).toEqual(["BudgetExceededError", 1])
        expect(error.message).toMatch(
          /^The attempt may cost up to \$0.10, but budget "run" has \$0.05 of \$0.15 left. This attempt was not sent; what/
        )
        expect(error.cause).toBe(timeout)
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(10), reserved: 0n, open: 0 })
      }))

    it.effect("that was lost last is priced by what the call knows of its failure", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const attempt = credits.attempt(Effect.fail(timeout))
        const twice = Effect.andThen(Effect.flip(attempt), attempt)
        yield* Effect.flip(credits.run(twice, { ...call(3), costOnFailure: () => Price.known(cents(2)) }))
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(12), uncertain: cents(10), open: 0 })
        yield* Effect.flip(Effect.scoped(Effect.gen(function*() {
          const opened = yield* credits.open({ estimate })
          yield* opened.arrived(Price.known(cents(1)))
          return yield* Effect.provideService(attempt, Credits.CurrentTicket, opened.ticket())
        })))
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(13), uncertain: cents(10), open: 0 })
        // what another answers instead says nothing of it
        yield* credits.run(Effect.ignore(attempt), call(0))
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(23), uncertain: cents(20), open: 0 })
      }))

    it.effect("that did not begin costs nothing", () =>
      Effect.gen(function*() {
        const credits = yield* slow({ budgets: [Budget.perRun("$1")] })
        let sent = 0
        const attempt = credits.attempt(Effect.sync(() => void sent++))
        const left = Effect.gen(function*() {
          yield* attempt
          const second = yield* Effect.forkChild(attempt, { startImmediately: true })
          yield* Fiber.interrupt(second)
        })
        const fiber = yield* Effect.forkChild(credits.run(left, call(3)))
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(fiber)
        expect(sent).toBe(1)
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(3), uncertain: 0n, reserved: 0n, open: 0 })
      }))

    it.effect("that answered is paid for where its call is then refused for want of credit", () =>
      Effect.gen(function*() {
        for (const whenSuspended of ["fail", "wait"] as const) {
          const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")], whenSuspended, probe })
          let calls = 0
          const next = Effect.suspend(() => ++calls === 1 ? Effect.fail(refused) : Effect.void)
          const both = Effect.andThen(credits.attempt(Effect.void), next)
          const fiber = yield* Effect.forkChild(Effect.exit(credits.run(both, call(3))), { startImmediately: true })
          yield* TestClock.adjust("30 seconds")
          expect(Exit.isSuccess(yield* Fiber.join(fiber))).toBe(whenSuspended === "wait")
          expect(yield* tallyOf(credits)).toMatchObject({
            settled: cents(whenSuspended === "wait" ? 13 : 10),
            uncertain: cents(10),
            reserved: 0n,
            open: 0
          })
        }
      }))

    it.effect("runs beside another where a budget has room, and is paid for when it is interrupted", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$0.25")] })
        const twice = Effect.gen(function*() {
          const first = yield* Effect.forkChild(credits.attempt(Effect.never), { startImmediately: true })
          const granted = [yield* credits.another, yield* credits.another]
          yield* credits.attempt(Effect.void)
          expect((yield* tallyOf(credits))?.reserved).toBe(cents(20))
          yield* Fiber.interrupt(first)
          return granted
        })
        expect(yield* credits.run(twice, call(3))).toEqual([true, true])
        expect(yield* tallyOf(credits)).toMatchObject({
          settled: cents(13),
          uncertain: cents(10),
          reserved: 0n,
          open: 0
        })
        const noRoom = credits.attempt(credits.another)
        expect(yield* credits.run(noRoom, call(0))).toBe(false)
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(13), reserved: 0n, open: 0 })
      }))

    it.effect.each<[string, Effect.Effect<void, LedgerStore.LedgerStoreError>]>([
      ["fails", Effect.fail(new LedgerStore.LedgerStoreError({ reason: "io", message: "disk full" }))],
      ["dies", Effect.die("bug")]
    ])("goes on where the store %s as one more is reserved beside it", ([, second]) =>
      Effect.gen(function*() {
        let appends = 0
        const store: LedgerStore.Store = {
          ...LedgerStore.memory,
          append: () => Effect.suspend(() => ++appends === 2 ? second : Effect.void)
        }
        const credits = yield* Effect.provideService(
          Credits.make({ budgets: [Budget.perRun("$1")] }),
          LedgerStore.LedgerStore,
          store
        )
        expect(yield* credits.run(credits.attempt(credits.another), call(3))).toBe(false)
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(3), calls: 1 })
      }))

    it.effect("keeps two reservations of those that were refused together, and gives back what is more", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const latch = yield* Latch.make()
        const attempt = Effect.exit(credits.attempt(Effect.andThen(latch.await, Effect.fail(overloaded))))
        const reserved = Effect.map(tallyOf(credits), (tally) => tally?.reserved)
        const together = Effect.gen(function*() {
          const fibers = []
          for (let n = 0; n < 3; n++) fibers.push(yield* Effect.forkChild(attempt, { startImmediately: true }))
          const during = yield* reserved
          yield* latch.open
          for (const fiber of fibers) yield* Fiber.join(fiber)
          return [during, yield* reserved]
        })
        expect(yield* credits.run(together, call(3))).toEqual([cents(30), cents(20)])
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(3), reserved: 0n, open: 0 })
      }))

    it.effect("gives back what was reserved for one more that was not made", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const spare = credits.attempt(Effect.andThen(credits.another, Effect.fail(overloaded)))
        yield* Effect.flip(credits.run(spare, call(3)))
        expect(yield* tallyOf(credits)).toMatchObject({ settled: 0n, atRisk: 0n, reserved: 0n, open: 0 })
      }))

    it.effect("gives back at the end of the scope what was reserved for one more", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const reserved = Effect.map(tallyOf(credits), (tally) => tally?.reserved)
        const unused = Effect.andThen(Effect.scoped(Effect.andThen(credits.another, reserved)), (within) =>
          Effect.map(reserved, (after) => [within, after]))
        expect(yield* credits.run(credits.attempt(unused), call(3))).toEqual([cents(20), cents(10)])
        // one that an attempt took and did not use up goes back too
        const used = Effect.andThen(
          Effect.scoped(Effect.andThen(credits.another, Effect.flip(credits.attempt(Effect.fail(overloaded))))),
          reserved
        )
        expect(yield* credits.run(credits.attempt(used), call(3))).toBe(cents(10))
      }))

    it.effect("loses no reservation for one more, made at once or too late", () =>
      Effect.gen(function*() {
        const credits = yield* slow({ budgets: [Budget.perRun("$1")] })
        const atOnce = credits.attempt(Effect.all([credits.another, credits.another], { concurrency: 2 }))
        const fiber = yield* Effect.forkChild(Effect.scoped(credits.run(atOnce, call(3))))
        yield* TestClock.adjust("1 minute")
        expect(yield* Fiber.join(fiber)).toEqual([true, true])
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(3), reserved: 0n, open: 0 })
        const late = Effect.forkScoped(credits.another, { startImmediately: true })
        const left = yield* Effect.forkChild(
          credits.run(Effect.andThen(credits.attempt(Effect.void), late), call(3)),
          { startImmediately: true }
        )
        yield* TestClock.adjust("1 minute")
        expect(yield* Fiber.join(yield* Fiber.join(left))).toBe(false)
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(6), reserved: 0n, open: 0 })
      }))

    it.effect("that answers late is paid for as well", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        yield* credits.run(Effect.andThen(credits.attempt(Effect.void), credits.attempt(Effect.void)), call(3))
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(13), uncertain: cents(10), open: 0 })
        yield* Effect.flip(credits.run(Effect.andThen(credits.attempt(Effect.void), Effect.fail("later")), call(3)))
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(23), uncertain: cents(20), atRisk: 0n, open: 0 })
      }))

    it.effect("leaves no money behind, however many run at once and wherever they are interrupted", () =>
      Effect.gen(function*() {
        for (let step = 0; step < 30; step++) {
          const credits = yield* Credits.make({ budgets: [Budget.perRun("$0.35")] })
          let sent = 0
          const attempt = credits.attempt(
            Effect.sync(() => sent++).pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(Effect.fail(timeout)))
          )
          const many = Effect.forEach([1, 2, 3, 4, 5], () => Effect.exit(attempt), { concurrency: 5 })
          const fiber = yield* Effect.forkChild(credits.run(Effect.andThen(many, Effect.fail(overloaded)), call(3)))
          for (let i = 0; i < step; i++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          const tally = yield* tallyOf(credits)
          expect([step, tally?.open ?? 0, tally?.reserved ?? 0n]).toEqual([step, 0, 0n])
          expect(sent).toBeLessThanOrEqual(3)
          expect(tally?.settled ?? 0n).toBe(cents(10 * sent))
        }
      }))

    it.effect.each<[string, Exit.Exit<void, RequestTimeoutError | OverloadedError>, number]>([
      ["answers", Exit.void, 13],
      ["is lost", Exit.fail(timeout), 13],
      ["is refused", Exit.fail(overloaded), 3]
    ])("that outlives its call and %s ends its reservation itself", ([, exit, costCents]) =>
      Effect.gen(function*() {
        const credits = yield* Credits.make({ budgets: [Budget.perRun("$1")] })
        const late = credits.attempt(Effect.andThen(Effect.sleep("1 minute"), exit))
        const started = Effect.forkChild(Effect.exit(late), { startImmediately: true })
        yield* credits.run(Effect.andThen(started, credits.attempt(Effect.void)), call(3))
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(3), reserved: cents(10) })
        yield* TestClock.adjust("1 minute")
        expect(yield* tallyOf(credits)).toMatchObject({ settled: cents(costCents), reserved: 0n, open: 0 })
      }))

    it.effect("runs as it is outside of a call", () =>
      Effect.gen(function*() {
        const credits = yield* Credits.make()
        expect(yield* Effect.flip(credits.attempt(Effect.fail(timeout)))).toBe(timeout)
        expect(yield* credits.another).toBe(true)
        expect((yield* credits.report).accounts).toEqual([])
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
        expect((yield* credits.report).accounts[0]?.tally).toMatchObject({ settled: cents(7), calls: 1, open: 0 })
      }))
  })
})
