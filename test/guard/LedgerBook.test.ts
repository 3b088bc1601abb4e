import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { RequestTimeoutError } from "../../src/domain/TogetherError.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as LedgerStore from "../../src/guard/ledger/LedgerStore.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as BudgetStatus from "../../src/policy/BudgetStatus.ts"
import * as Ledger from "../../src/policy/Ledger.ts"
import * as Price from "../../src/policy/Price.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { call, cents, estimate, listen } from "./credits.ts"
import { guarded, recording, settled, tally, temporaryFile } from "./ledgers.ts"

const virtual = <A, E, R>(effect: Effect.Effect<A, E, R>) => VirtualClock.wrap(Effect.scoped(effect))

const diskFull = Effect.fail(new LedgerStore.LedgerStoreError({ reason: "io", message: "disk full" }))

/** A store that records what is written, on a disk that can be full. */
const filling = () => {
  const { store, written } = recording()
  const disk = { full: false }
  const onDisk: LedgerStore.Store = { ...store, append: (entries) => disk.full ? diskFull : store.append(entries) }
  return { disk, store: onDisk, written }
}

describe("the ledger under the guard", () => {
  it.effect("is written before a call is sent and before its end is told", () =>
    Effect.gen(function*() {
      const { store, written } = recording()
      const credits = yield* Effect.provideService(Credits.make({ run: "r" }), LedgerStore.LedgerStore, store)
      yield* credits.run(Effect.sync(() => expect(written.map((entry) => entry._tag)).toEqual(["Reserve"])), call(3))
      expect(written.map((entry) => entry._tag)).toEqual(["Reserve", "Settle"])
    }))

  it.effect("stops sending when it cannot be written, or goes on by choice; an answer is never lost", () =>
    Effect.gen(function*() {
      let broken = false
      const store: LedgerStore.Store = {
        ...LedgerStore.memory,
        append: () => broken ? diskFull : Effect.void
      }
      const make = (options: Credits.Options) =>
        Effect.provideService(Credits.make(options), LedgerStore.LedgerStore, store)
      const [strict, lenient] = [yield* make({}), yield* make({ whenUnwritable: "continue" })]
      const alerts: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(strict.alerts, (alert) => Effect.sync(() => void alerts.push(alert._tag))),
        { startImmediately: true }
      )
      yield* Effect.yieldNow
      expect(
        yield* strict.run(
          Effect.sync(() => {
            broken = true
            return "answer"
          }),
          call(3)
        )
      ).toBe("answer")
      const error = yield* Effect.flip(strict.run(Effect.succeed(1), call(3)))
      expect(error).toMatchObject({
        _tag: "BudgetExceededError",
        reason: "ledger-unwritable",
        message: "The call was not sent: disk full",
        neededNanoUsd: cents(10)
      })
      expect(yield* tally(strict)).toMatchObject({ settled: cents(3), open: 0, reserved: 0n })
      expect(yield* lenient.run(Effect.succeed(1), call(3))).toBe(1)
      expect(alerts).toEqual(["LedgerUnwritable"])
      broken = false
      yield* strict.run(Effect.succeed(1), call(3))
      broken = true
      yield* Effect.flip(strict.run(Effect.succeed(1), call(3)))
      yield* Effect.yieldNow
      expect(alerts).toEqual(["LedgerUnwritable", "LedgerUnwritable"])
    }))

  it.effect("keeps a statement behind what was decided before it, also where that was refused at first", () =>
    virtual(Effect.gen(function*() {
      const { store, written } = recording()
      let appends = 0
      const unsteady: LedgerStore.Store = {
        ...store,
        append: (entries) => {
          const fails = ++appends === 2
          return Effect.andThen(
            Effect.sleep("1 second"),
            fails
              ? diskFull
              : store.append(entries)
          )
        }
      }
      const credits = yield* Effect.provideService(Credits.make(), LedgerStore.LedgerStore, unsteady)
      const reservation = yield* credits.reserve({ estimate })
      yield* Effect.all([
        reservation.settle(Price.known(cents(4))),
        credits.stateBalance({ balance: "$5" }),
        Effect.flatMap(credits.reserve({ estimate }), (next) => next.settle(Price.known(cents(1))))
      ], { concurrency: "unbounded" })
      expect(written.map((entry) => entry._tag)).toEqual(["Reserve", "Settle", "Stated", "Reserve", "Settle"])
      const replayed = written.reduce(Ledger.apply, Ledger.make({ budgets: [], run: "r" }))
      const now = (yield* Clock.currentTimeMillis) / 1000
      expect(Ledger.balance(replayed, "default", now)).toEqual(yield* credits.balance())
      expect(yield* credits.balance()).toMatchObject({ expected: cents(499), spentSince: cents(1) })
    })))

  it.effect("writes an ending that the store refused with the next entry that it takes", () =>
    Effect.gen(function*() {
      const { disk, store, written } = filling()
      const credits = yield* Effect.provideService(Credits.make(), LedgerStore.LedgerStore, store)
      const filled = Effect.andThen(Effect.yieldNow, Effect.sync(() => void (disk.full = true)))
      yield* Effect.all([credits.run(filled, call(3)), credits.run(filled, call(4))], { concurrency: 2 })
      expect(yield* Effect.flip(credits.run(Effect.void, call(5)))).toMatchObject({ reason: "ledger-unwritable" })
      disk.full = false
      yield* credits.run(Effect.void, call(6))
      expect(written.map((entry) => entry._tag)).toEqual([
        "Reserve",
        "Reserve",
        "Settle",
        "Settle",
        "Reserve",
        "Settle"
      ])
      expect(settled(written)).toBe(cents(13))
    }))

  describe("that goes on without the store", () => {
    const budgets = [Budget.perRun("$900")]

    /** A store that is asked before each append whether it can be written, and takes a second for it. */
    const failing = () => {
      const { store, written } = recording()
      const state = { full: false, appends: 0, most: 0 }
      const filling: LedgerStore.Store = {
        ...store,
        append: (entries) =>
          Effect.andThen(
            Effect.sleep("1 second"),
            Effect.suspend(() => {
              state.appends++
              state.most = Math.max(state.most, entries.length)
              return state.full
                ? diskFull
                : store.append(entries)
            })
          )
      }
      const made = Credits.make({ budgets, run: "r", whenUnwritable: "continue" }).pipe(
        Effect.provideService(LedgerStore.LedgerStore, filling)
      )
      /** Reads what a restart would know. */
      const replayed = () =>
        BudgetStatus.list(written.reduce(Ledger.apply, Ledger.make({ budgets, run: "r" })), 0)[0]?.tally
      return { made, replayed, state, written }
    }

    it.effect("writes a reservation that the store refused before its ending", () =>
      virtual(Effect.gen(function*() {
        const { made, replayed, state, written } = failing()
        const credits = yield* made
        state.full = true
        yield* credits.run(Effect.sync(() => void (state.full = false)), call(3))
        expect(written.map((entry) => entry._tag)).toEqual(["Reserve", "Settle"])
        expect(replayed()).toEqual((yield* credits.report).budgets[0]?.tally)
        expect(replayed()).toMatchObject({ settled: cents(3), calls: 1 })
      })))

    it.effect("keeps no more of a long outage than what is open and a sum", () =>
      virtual(Effect.gen(function*() {
        const { made, replayed, state, written } = failing()
        const credits = yield* made
        const before = yield* credits.reserve({ estimate })
        state.full = true
        yield* Effect.repeat(credits.run(Effect.void, call(3)), { times: 299 })
        yield* before.settle(Price.known(cents(2)))
        const open = yield* credits.reserve({ estimate })
        expect(state.most).toBeLessThan(9)
        state.full = false
        yield* credits.run(Effect.void, call(5))
        expect(written.length).toBeLessThan(11)
        expect(replayed()).toEqual((yield* credits.report).budgets[0]?.tally)
        expect(replayed()).toMatchObject({ settled: cents(907), calls: 302, open: 1, reserved: cents(10) })
        yield* open.refund()
        expect(replayed()).toMatchObject({ open: 0, reserved: 0n })
      })))

    it.effect("lets no ending get ahead of its reservation", () =>
      virtual(Effect.gen(function*() {
        const { made, replayed, state, written } = failing()
        const credits = yield* made
        state.full = true
        const first = yield* credits.reserve({ estimate })
        // tries to write the reservation again, and fails in half a second
        yield* Effect.forkChild(credits.reserve({ estimate }), { startImmediately: true })
        yield* Effect.sleep("500 millis")
        yield* Effect.forkChild(
          Effect.andThen(Effect.sleep("700 millis"), Effect.sync(() => void (state.full = false))),
          {
            startImmediately: true
          }
        )
        yield* first.settle(Price.known(cents(3)))
        yield* Effect.sleep("10 seconds")
        expect(written.map((entry) => entry._tag)).toEqual(["Reserve", "Reserve", "Settle"])
        expect(replayed()).toEqual((yield* credits.report).budgets[0]?.tally)
        expect(replayed()).toMatchObject({ settled: cents(3), open: 1 })
      })))

    it.effect("writes appends that meet beside each other again, once it has caught up", () =>
      virtual(Effect.gen(function*() {
        const { made, state } = failing()
        const credits = yield* made
        state.full = true
        yield* credits.run(Effect.void, call(3))
        state.full = false
        yield* credits.run(Effect.void, call(3))
        const start = yield* Clock.currentTimeMillis
        yield* Effect.forEach(Array.from({ length: 50 }), () => credits.run(Effect.void, call(3)), {
          concurrency: "unbounded"
        })
        expect((yield* Clock.currentTimeMillis) - start).toBe(2000)
      })))

    it.effect("writes beside each other again after a failure and a statement, also while calls keep coming", () =>
      virtual(Effect.gen(function*() {
        const { made, replayed, state } = failing()
        const credits = yield* made
        let calls = 0
        const worker = Effect.forever(
          Effect.andThen(credits.run(Effect.sleep("500 millis"), call(3)), Effect.sync(() => void calls++))
        )
        // they meet at every tenth of a second
        yield* Effect.forEach(
          Array.from({ length: 25 }, (_, i) => i),
          (i) => Effect.forkScoped(Effect.delay(worker, i * 100))
        )
        const during = (seconds: number) =>
          Effect.suspend(() => {
            const before = calls
            return Effect.map(Effect.sleep(seconds * 1000), () => calls - before)
          })
        yield* during(10)
        const usual = yield* during(100)
        expect(usual).toBe(25 * 40)
        state.full = true
        yield* Effect.sleep("300 millis")
        state.full = false
        yield* during(10)
        expect(yield* during(100)).toBe(usual)
        yield* Effect.forkScoped(credits.stateBalance({ balance: "$500" }))
        yield* during(10)
        expect(yield* during(100)).toBe(usual)
        const { accounts } = yield* credits.report
        expect(replayed()).toMatchObject({ calls: accounts[0]?.tally.calls })
      })))

    it.effect("offers few entries at a time, whatever it owes", () =>
      virtual(Effect.gen(function*() {
        const { made, replayed, state } = failing()
        const credits = yield* made
        state.full = true
        // nothing of this can be summed up
        yield* Effect.forEach(Array.from({ length: 600 }, (_, i) => `row ${i}`), (label) =>
          credits.run(Effect.void, { ...call(1), label }), { concurrency: 20 })
        expect(state.most).toBe(256)
        state.full = false
        yield* credits.run(Effect.void, call(5))
        expect(state.most).toBe(256)
        expect(replayed()).toEqual((yield* credits.report).budgets[0]?.tally)
        expect(replayed()).toMatchObject({ calls: 601, settled: cents(605) })
      })))
  })

  it.effect("takes the place of an entry in the step that decides it", () =>
    Effect.gen(function*() {
      // whoever is made to yield after a decision must not be overtaken by a later one
      for (let steps = 0; steps < 120; steps++) {
        const { store, written } = recording()
        const credits = yield* Effect.provideService(
          Credits.make({ run: "r", balance: [{ balance: "$5" }] }),
          LedgerStore.LedgerStore,
          store
        )
        const reservation = yield* credits.reserve({ estimate })
        const settling = Effect.gen(function*() {
          for (let i = 0; i < steps; i++) yield* Effect.sync(() => {})
          yield* reservation.settle(Price.known(cents(9)))
        })
        const both = Effect.gen(function*() {
          const fibers = [
            yield* Effect.forkChild(settling),
            yield* Effect.forkChild(credits.stateBalance({ balance: "$4" }))
          ]
          yield* Fiber.joinAll(fibers)
        })
        yield* Effect.provideService(both, Scheduler.MaxOpsBeforeYield, 100)
        const replayed = written.reduce(Ledger.apply, Ledger.make({ budgets: [], run: "r" }))
        expect(Ledger.balance(replayed, "default", 0)?.expected).toBe((yield* credits.balance())?.expected)
      }
    }))

  it.effect("writes a statement alone, with what was decided before it on the disk", () =>
    virtual(Effect.gen(function*() {
      const log: Array<string> = []
      const store: LedgerStore.Store = {
        ...LedgerStore.memory,
        append: (entries) => {
          const what = entries.map((entry) => entry._tag).join("+")
          log.push(`begin ${what}`)
          return Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => void log.push(`end ${what}`)))
        }
      }
      const credits = yield* Effect.provideService(Credits.make({ run: "r" }), LedgerStore.LedgerStore, store)
      const stated = credits.stateBalance({ balance: "$4" })
      // the second statement comes while a reservation waits behind the first
      yield* Effect.forEach([stated, credits.reserve({ estimate }), stated], Effect.asVoid, { concurrency: 3 })
      expect(log).toEqual(["Stated", "Reserve", "Stated"].flatMap((what) => [`begin ${what}`, `end ${what}`]))
    })))

  it.effect("lets a call be interrupted that waits behind a statement, and undoes its reservation", () =>
    virtual(Effect.gen(function*() {
      const { store, written } = recording()
      const slow: LedgerStore.Store = {
        ...store,
        append: (entries) =>
          Effect.delay(store.append(entries), entries.some(({ _tag }) => _tag === "Stated") ? "30 seconds" : 0)
      }
      const credits = yield* Effect.provideService(Credits.make({ run: "r" }), LedgerStore.LedgerStore, slow)
      yield* Effect.forkScoped(credits.stateBalance({ balance: "$5" }), { startImmediately: true })
      const start = yield* Clock.currentTimeMillis
      let sent = 0
      const calls = [
        credits.run(Effect.sync(() => ++sent), call(3)),
        Effect.asVoid(credits.reserve({ estimate })),
        Effect.scoped(Effect.andThen(credits.open({ estimate }), Effect.sync(() => ++sent)))
      ]
      yield* Effect.forEach(calls, (one) => Effect.flip(Effect.timeout(one, "1 second")), {
        concurrency: "unbounded"
      })
      expect((yield* Clock.currentTimeMillis) - start).toBe(1000)
      expect(yield* tally(credits)).toMatchObject({ open: 0, reserved: 0n, atRisk: 0n })
      yield* credits.run(Effect.void, call(3))
      expect((yield* Clock.currentTimeMillis) - start).toBe(30_000)
      // who has left the line keeps nobody waiting
      yield* credits.stateBalance({ balance: "$4" })
      expect(written.map((entry) => entry._tag)).toEqual(["Stated", "Reserve", "Settle", "Stated"])
      expect(sent).toBe(0)
    })))

  it.effect("loses nothing to a store that dies", () =>
    Effect.gen(function*() {
      const { store, written } = recording()
      let append: LedgerStore.Store["append"] = store.append
      const dying: LedgerStore.Store = { ...store, append: (entries) => append(entries) }
      const credits = yield* Effect.provideService(Credits.make({ run: "r" }), LedgerStore.LedgerStore, dying)
      const alerts = yield* listen(credits)
      const [first, second] = [yield* credits.reserve({ estimate }), yield* credits.reserve({ estimate })]
      append = () => Effect.die(new Error("driver bug"))
      yield* first.settle(Price.known(cents(3)))
      append = () => {
        throw new Error("driver bug")
      }
      yield* second.settle(Price.known(cents(4)))
      expect(yield* Effect.flip(credits.reserve({ estimate }))).toMatchObject({
        reason: "ledger-unwritable",
        message: "The call was not sent: The ledger's store broke: Error: driver bug"
      })
      append = () => Effect.interrupt
      expect(yield* Effect.flip(credits.reserve({ estimate }))).toMatchObject({ reason: "ledger-unwritable" })
      expect(yield* tally(credits)).toMatchObject({ settled: cents(7), open: 0, reserved: 0n })
      expect(alerts.map(({ _tag }) => _tag)).toEqual(["LedgerUnwritable"])
      append = store.append
      yield* credits.run(Effect.void, call(5))
      expect(settled(written)).toBe(cents(12))
    }))

  it.effect("says of a further attempt that cannot be recorded what was sent before it", () =>
    Effect.gen(function*() {
      const { disk, store } = filling()
      const credits = yield* Effect.provideService(Credits.make({ run: "r" }), LedgerStore.LedgerStore, store)
      const silence = new RequestTimeoutError({ message: "no answer", phase: "headers" })
      let sent = 0
      const once = credits.attempt(Effect.suspend(() => {
        sent++
        disk.full = true
        return Effect.fail(silence)
      }))
      const exit = yield* Effect.exit(credits.run(Effect.catch(once, () => once), call(3)))
      expect(sent).toBe(1)
      expect(Exit.findErrorOption(exit)).toMatchObject({
        value: {
          _tag: "BudgetExceededError",
          reason: "ledger-unwritable",
          message: "The attempt was not sent, and what was sent before it is charged: disk full",
          cause: silence
        }
      })
      expect(yield* tally(credits)).toMatchObject({ settled: cents(10), uncertain: cents(10), open: 0 })
    }))

  it.effect("records a reservation or nothing when its caller is interrupted", () =>
    Effect.gen(function*() {
      const store: LedgerStore.Store = { ...LedgerStore.memory, append: () => Effect.sleep("10 seconds") }
      const credits = yield* Effect.provideService(Credits.make(), LedgerStore.LedgerStore, store)
      const reserve = Effect.acquireUseRelease(
        credits.reserve({ estimate }),
        () => Effect.never,
        (reservation) => reservation.refund()
      )
      const fiber = yield* Effect.forkChild(reserve, { startImmediately: true })
      const settling = yield* credits.reserve({ estimate }).pipe(
        Effect.flatMap((reservation) => reservation.settle(call(3).cost())),
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("15 seconds")
      const both = yield* Effect.forkChild(Fiber.interruptAll([fiber, settling]), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(both)
      expect(yield* tally(credits)).toMatchObject({ open: 0, reserved: 0n, settled: cents(3), calls: 1 })
    }))

  it.effect("does not take a configured balance for a new one after a restart", () =>
    Effect.gen(function*() {
      const path = yield* temporaryFile
      const balance = [{ balance: "$5" }]
      yield* guarded(path, (credits) => credits.run(Effect.succeed(1), call(9)), { balance })
      yield* TestClock.adjust("1 hour")
      yield* guarded(path, (credits) =>
        Effect.gen(function*() {
          expect(yield* credits.balance()).toMatchObject({ expected: cents(491), ageSeconds: 3600 })
        }), { balance })
      yield* guarded(path, (credits) =>
        Effect.gen(function*() {
          expect(yield* credits.balance()).toMatchObject({ expected: cents(700), ageSeconds: 0 })
          yield* credits.run(Effect.succeed(1), call(9))
          yield* credits.stateBalance({ balance: "$7" })
          expect(yield* credits.balance()).toMatchObject({ expected: cents(700) })
        }), { balance: [{ balance: "$7" }] })
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.effect("does not take a configured balance for a new one where another was stated since", () =>
    Effect.gen(function*() {
      const path = yield* temporaryFile
      const balance = [{ balance: "$5" }]
      yield* guarded(path, (credits) =>
        Effect.gen(function*() {
          yield* credits.run(Effect.succeed(1), call(9))
          yield* credits.stateBalance({ balance: "$4" })
          yield* credits.run(Effect.succeed(1), call(9))
        }), { balance })
      const expected = (credits: Credits.Service) => Effect.map(credits.balance(), (carried) => carried?.expected)
      expect(yield* guarded(path, expected, { balance })).toBe(cents(391))
      // a ledger of few entries says the same
      const compacted = Effect.gen(function*() {
        return yield* expected(yield* Credits.make({ run: "r", balance }))
      }).pipe(Effect.provide(LedgerStore.layerFile({ path, compactAbove: 1 })))
      expect(yield* compacted).toBe(cents(391))
      expect(yield* guarded(path, expected, { balance: [{ balance: "$6" }] })).toBe(cents(600))
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.effect("does not take a configured balance for a new one in a ledger of an earlier version", () =>
    Effect.gen(function*() {
      const stated: Ledger.Stated = { _tag: "Stated", at: 0, account: "default", balance: cents(500), free: 0n }
      const open = (entries: ReadonlyArray<Ledger.Entry>, stating?: string) =>
        Effect.gen(function*() {
          const { store, written } = recording()
          const credits = yield* Effect.provideService(
            Credits.make({ run: "r", balance: [{ balance: "$5" }] }),
            LedgerStore.LedgerStore,
            { ...store, entries }
          )
          if (stating !== undefined) yield* credits.stateBalance({ balance: stating })
          return { expected: (yield* credits.balance())?.expected, entries: [...entries, ...written] }
        })
      const { entries } = yield* open([stated], "$4")
      expect(yield* open(entries)).toEqual({ expected: cents(400), entries })
      // one that marked only what stood in the configuration
      const marked = [{ ...stated, declared: true }, { ...stated, balance: cents(300) }]
      expect(yield* open(marked)).toEqual({ expected: cents(300), entries: marked })
      // what was stated by hand alone stood nowhere
      const byHand = { ...stated, balance: cents(500), declared: false }
      expect((yield* open([byHand])).entries).toHaveLength(2)
    }))

  it.effect("keeps a reservation whose caller was interrupted while it was being recorded out of the sums", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.sync(() => ({ release: () => {} }))
      const store: LedgerStore.Store = {
        ...LedgerStore.memory,
        append: (entries) =>
          entries[0]?._tag === "Reserve"
            ? Effect.callback((resume) => {
              gate.release = () => resume(Effect.void)
            })
            : Effect.void
      }
      const credits = yield* Effect.provideService(Credits.make(), LedgerStore.LedgerStore, store)
      let sent = 0
      const fiber = yield* Effect.forkChild(credits.run(Effect.sync(() => ++sent), call(3)), {
        startImmediately: true
      })
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      gate.release()
      yield* Fiber.join(interruption)
      expect(sent).toBe(0)
      expect(yield* tally(credits)).toMatchObject({ open: 0, reserved: 0n, settled: 0n })
    }))
})
