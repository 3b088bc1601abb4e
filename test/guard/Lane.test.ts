import * as V8 from "node:v8"
import * as VM from "node:vm"
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { RateLimitError } from "../../src/domain/TogetherError.ts"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as LaneStore from "../../src/guard/lane/LaneStore.ts"
import * as LaneMetrics from "../../src/guard/lane/LaneMetrics.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const success: Lane.Sample = { _tag: "Success" }
const classify = () => success
const throttled = (seconds: number): Lane.Sample => ({
  _tag: "Throttled",
  scope: "requests",
  retryAfter: Duration.seconds(seconds)
})
const started = { startImmediately: true } as const

/** Runs an effect and reports how it ended and after how many milliseconds. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(Effect.exit(effect)), ([took, exit]) => ({ exit, millis: Duration.toMillis(took) }))

const gauges = (lane: string) =>
  Effect.all([
    Metric.value(Metric.withAttributes(LaneMetrics.inFlight, { lane })),
    Metric.value(Metric.withAttributes(LaneMetrics.queued, { lane }))
  ]).pipe(Effect.map(([inFlight, queued]) => [inFlight.value, queued.value]))

/** Names the gauges of counts in a registry. */
const ids = (registry: Metric.MetricRegistry) =>
  [...registry.values()].flatMap(({ id }) =>
    id === "effect_together_lane_in_flight" || id === "effect_together_lane_queued" ? [id] : []
  )

/** Collects garbage now. */
const collect = (): void => {
  V8.setFlagsFromString("--expose-gc")
  VM.runInNewContext("gc")()
}

describe("Lane", () => {
  it.effect("can be destructured and spread", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { acquire, acquireScoped, load, run, save, tryAcquire } = { ...yield* Lane.make() }
      expect(Option.isSome(yield* tryAcquire({ tokens: 1 }))).toBe(true)
      expect(yield* run(Effect.succeed("done"), { tokens: 1 })).toBe("done")
      yield* Effect.flatMap(acquire({ tokens: 1 }), (permit) => permit.settle(success))
      yield* Effect.scoped(acquireScoped({ tokens: 1 }))
      yield* load(yield* save)
    })))

  describe("run over the lanes of the context", () => {
    it.effect("runs in the lane of its key, whichever side the effect comes from", () =>
      Effect.gen(function*() {
        const { get } = yield* Lanes.Lanes
        const lane = yield* get("a")
        const inFlight = Effect.map(lane.status, (status) => status.inFlight)
        expect(yield* Lane.run(inFlight, "a", { tokens: 1 })).toBe(1)
        expect(yield* inFlight.pipe(Lane.run("b", { tokens: 1 }))).toBe(0)
        expect(yield* inFlight).toBe(0)
        expect((yield* (yield* Lanes.Lanes).all).map(({ key }) => key)).toEqual(["a", "b"])
      }).pipe(Effect.provide(Lanes.layer())))

    it.effect("lets its options say what an end means", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const call = Effect.exit(Lane.run(Effect.fail("busy"), "a", { tokens: 1, classify: () => throttled(2) }))
        yield* call
        const { millis } = yield* timed(call)
        expect(millis).toBeGreaterThanOrEqual(2000)
      })).pipe(Effect.provide(Lanes.layer())))
  })

  describe("a store of lanes", () => {
    it.effect("stands in for that of this process through its layer, and sees every state", () =>
      Effect.gen(function*() {
        const written = new Map<string, number>()
        const counting: LaneStore.Service = {
          open: (key, initial) =>
            Effect.map(LaneStore.memory.open(key, initial), (cell) => ({
              read: cell.read,
              write: (state) => {
                written.set(key, Math.max(written.get(key) ?? 0, state.count))
                cell.write(state)
              }
            }))
        }
        const lanes = Lanes.layer().pipe(Layer.provide(Layer.succeed(LaneStore.LaneStore, counting)))
        const both = Effect.all([
          Lane.run(Effect.sleep("1 second"), "a", { tokens: 1 }),
          Lane.run(Effect.sleep("1 second"), "a", { tokens: 1 }),
          Lane.run(Effect.void, "b", { tokens: 1 })
        ], { concurrency: "unbounded" })
        yield* VirtualClock.wrap(Effect.provide(both, lanes))
        expect([...written]).toEqual([["a", 2], ["b", 1]])
      }))

    it.effect("may change a lane's limits between two calls", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const cells: Array<LaneStore.Cell> = []
        const shared: LaneStore.Service = {
          open: (key, initial) =>
            Effect.tap(LaneStore.memory.open(key, initial), (cell) => Effect.sync(() => cells.push(cell)))
        }
        const lane = yield* Lane.make({ maxInFlight: 1 }).pipe(Effect.provideService(LaneStore.LaneStore, shared))
        const [cell] = cells
        const permit = yield* lane.acquire({ tokens: 1 })
        yield* Effect.sleep("1 second")
        expect(Option.isSome(yield* lane.tryAcquire({ tokens: 1 }))).toBe(false)
        const state = cell!.read()
        cell!.write({ ...state, inFlight: { ...state.inFlight, max: 2 } })
        expect(Option.isSome(yield* lane.tryAcquire({ tokens: 1 }))).toBe(true)
        yield* permit.settle(success)
      })))
  })

  describe("run", () => {
    it.effect("admits at once where nothing stands against it", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make()
        expect(yield* lane.run(Effect.succeed(7), { tokens: 1, classify })).toBe(7)
        const { inFlight, queued } = yield* lane.status
        expect({ inFlight, queued }).toEqual({ inFlight: 0, queued: 0 })
      }))

    it.effect("spreads calls evenly: ten per second go out one per 100 ms", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ requestsPerMinute: 600 })
        const times: Array<number> = []
        const start = yield* Clock.currentTimeMillis
        const send = Effect.map(Clock.currentTimeMillis, (now) => void times.push(now - start))
        yield* Effect.all(Array.from({ length: 30 }, () => lane.run(send, { tokens: 1, classify })), {
          concurrency: "unbounded"
        })
        expect(times).toEqual(Array.from({ length: 30 }, (_, i) => i * 100))
      })))

    it.effect("lets all waiters wait out a pause, and then leaves one by one", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ start: { requestsPerMinute: 600 } })
        const permit = yield* lane.acquire({ tokens: 1 })
        yield* permit.settle(throttled(5))
        const start = yield* Clock.currentTimeMillis
        const times: Array<number> = []
        yield* Effect.all(
          Array.from(
            { length: 5 },
            () =>
              lane.run(
                Effect.map(Clock.currentTimeMillis, (now) => void times.push(now - start)),
                { tokens: 1, classify }
              )
          ),
          { concurrency: "unbounded" }
        )
        expect(times[0]).toBe(5000)
        for (let i = 1; i < 5; i++) expect((times[i] ?? 0) - (times[i - 1] ?? 0)).toBeGreaterThanOrEqual(80)
      })))

    it.effect("begins at the ceiling where more was known before", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({
          requestsPerMinute: 60,
          tokensPerMinute: 6000,
          start: { requestsPerMinute: 600, tokensPerMinute: 60_000 }
        })
        expect(yield* lane.status).toMatchObject({ requestsPerSecond: 1, tokensPerSecond: 100 })
      }))

    it.effect("never has more in flight than the cap, and reuses a place at once", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ maxInFlight: 3, start: { requestsPerMinute: 60e9 } })
        let now = 0
        let peak = 0
        const work = Effect.acquireUseRelease(
          Effect.sync(() => peak = Math.max(peak, ++now)),
          () => Effect.sleep("1 second"),
          () => Effect.sync(() => now--)
        )
        const start = yield* Clock.currentTimeMillis
        yield* Effect.all(Array.from({ length: 9 }, () => lane.run(work, { tokens: 1, classify })), {
          concurrency: "unbounded"
        })
        expect(peak).toBe(3)
        expect((yield* Clock.currentTimeMillis) - start).toBeLessThanOrEqual(3003)
      })))

    it.effect("serves by priority, and retried work before fresh", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ maxInFlight: 1 })
        const blocker = yield* lane.acquire({ tokens: 1 })
        const order: Array<string> = []
        const call = (name: string, request: Lane.LaneRequest) =>
          Effect.forkChild(lane.run(Effect.sync(() => order.push(name)), { ...request, classify }), started)
        const fibers = [
          yield* call("bulk", { tokens: 1, priority: "bulk" }),
          yield* call("fresh", { tokens: 1 }),
          yield* call("retried", { tokens: 1, retry: true }),
          yield* call("interactive", { tokens: 1, priority: "interactive" })
        ]
        yield* blocker.settle(success)
        for (const fiber of fibers) yield* Fiber.join(fiber)
        expect(order).toEqual(["interactive", "retried", "fresh", "bulk"])
      })))

    it.effect("keeps the error of the attempt, and settles it by its class", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ start: { requestsPerMinute: 600 } })
        const exit = yield* Effect.exit(lane.run(Effect.fail("no"), { tokens: 1, classify: () => throttled(2) }))
        expect(exit).toEqual(Exit.fail("no"))
        const { pause } = yield* lane.status
        expect(pause && Duration.toSeconds(pause)).toBe(2)
      }))

    it.effect("classifies by `sampleOf` where nothing else is given", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ start: { requestsPerMinute: 600 } })
        const limited = new RateLimitError({ message: "429", scope: "requests", retryAfter: Duration.seconds(3) })
        expect(yield* Effect.exit(lane.run(Effect.fail(limited), { tokens: 1 }))).toEqual(Exit.fail(limited))
        const { inFlight, pause } = yield* lane.status
        expect([inFlight, pause && Duration.toSeconds(pause)]).toEqual([0, 3])
      }))

    it.effect("returns the permit where `classify` throws", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make()
        const exit = yield* Effect.exit(lane.run(Effect.void, {
          tokens: 1,
          classify: () => {
            throw new Error("bug")
          }
        }))
        expect(Exit.hasDies(exit)).toBe(true)
        expect((yield* lane.status).inFlight).toBe(0)
      }))
  })

  describe("interruption", () => {
    it.effect("takes a waiter out of the queue", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ maxInFlight: 1 })
        const blocker = yield* lane.acquire({ tokens: 1 })
        const fiber = yield* Effect.forkChild(lane.run(Effect.void, { tokens: 1, classify }), started)
        expect((yield* lane.status).queued).toBe(1)
        yield* Fiber.interrupt(fiber)
        expect((yield* lane.status).queued).toBe(0)
        yield* blocker.settle(success)
        expect((yield* lane.status).inFlight).toBe(0)
      }))

    it.effect("gives the permit back at any step", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        for (let step = 0; step < 60; step++) {
          const lane = yield* Lane.make({ maxInFlight: 2, start: { requestsPerMinute: 6000, tokensPerMinute: 60_000 } })
          const work = Effect.andThen(Effect.sleep("20 millis"), Effect.yieldNow)
          const fibers = []
          for (let i = 0; i < 5; i++) fibers.push(yield* Effect.forkChild(lane.run(work, { tokens: 20, classify })))
          for (let i = 0; i < step % 6; i++) yield* Effect.yieldNow
          yield* Effect.sleep(Math.floor(step / 6) * 7)
          for (const fiber of fibers) fiber.interruptUnsafe()
          for (const fiber of fibers) yield* Fiber.await(fiber)
          const { inFlight, queued } = yield* lane.status
          expect({ step, inFlight, queued }).toEqual({ step, inFlight: 0, queued: 0 })
        }
      })))

    it.effect("respects an uninterruptible caller", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ maxInFlight: 1 })
        const blocker = yield* lane.acquire({ tokens: 1 })
        let ran = false
        const fiber = yield* Effect.forkChild(
          Effect.uninterruptible(lane.run(Effect.sync(() => ran = true), { tokens: 1, classify })),
          started
        )
        fiber.interruptUnsafe()
        yield* Effect.yieldNow
        expect((yield* lane.status).queued).toBe(1)
        yield* blocker.settle(success)
        yield* TestClock.adjust("1 second")
        yield* Fiber.await(fiber)
        expect(ran).toBe(true)
      }))

    it.effect("leaves no timer behind when the last waiter goes", () =>
      Effect.gen(function*() {
        const { fibersLeft, timersLeft } = yield* VirtualClock.run(Effect.gen(function*() {
          const lane = yield* Lane.make({ requestsPerMinute: 1 })
          yield* lane.run(Effect.void, { tokens: 1, classify })
          const fiber = yield* Effect.forkChild(lane.run(Effect.void, { tokens: 1, classify }), started)
          yield* Fiber.interrupt(fiber)
        }))
        expect({ fibersLeft, timersLeft }).toEqual({ fibersLeft: 0, timersLeft: 0 })
      }))
  })

  describe("acquire", () => {
    it.effect("settles a permit once, whatever is called after", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ start: { requestsPerMinute: 600 } })
        const permit = yield* lane.acquire({ tokens: 1 })
        yield* permit.settle(success)
        yield* permit.settle(throttled(9))
        const { inFlight, pause } = yield* lane.status
        expect({ inFlight, pause }).toEqual({ inFlight: 0, pause: undefined })
      }))

    it.effect("gives a scoped permit back when the scope ends", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make()
        yield* Effect.scoped(Effect.gen(function*() {
          yield* lane.acquireScoped({ tokens: 1 })
          expect((yield* lane.status).inFlight).toBe(1)
        }))
        expect((yield* lane.status).inFlight).toBe(0)
      }))

    it.effect("has nothing to give to a hedge while others wait", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ maxInFlight: 1 })
        const permit = yield* lane.acquire({ tokens: 1 })
        expect(Option.isNone(yield* lane.tryAcquire({ tokens: 1 }))).toBe(true)
        yield* permit.settle(success)
        yield* TestClock.adjust("1 second")
        expect(Option.isSome(yield* lane.tryAcquire({ tokens: 1 }))).toBe(true)
      }))
  })

  describe("overflow", () => {
    it.effect("refuses when the queue is full, with what it would take", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ key: "k", maxInFlight: 1, maxQueue: 1 })
        yield* lane.acquire({ tokens: 1 })
        yield* Effect.forkChild(lane.acquire({ tokens: 1 }), started)
        const error = yield* Effect.flip(lane.acquire({ tokens: 1 }))
        expect([error._tag, error.reason, error.lane, error.queued]).toEqual([
          "LaneOverflowError",
          "queue-full",
          "k",
          1
        ])
      }))

    it.effect("refuses at once what cannot be sent before its deadline", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ requestsPerMinute: 60 })
        yield* lane.run(Effect.void, { tokens: 1, classify })
        for (let i = 0; i < 10; i++) yield* Effect.forkChild(lane.acquire({ tokens: 1 }), started)
        const now = yield* Clock.currentTimeMillis
        const error = yield* Effect.flip(lane.acquire({ tokens: 1, deadlineAt: now + 5000 }))
        expect(error.reason).toBe("deadline")
        expect(error.estimate && Duration.toSeconds(error.estimate)).toBeCloseTo(11, 0)
        const fiber = yield* Effect.forkChild(lane.acquire({ tokens: 1, deadlineAt: now + 60_000 }), started)
        yield* TestClock.adjust("20 seconds")
        expect(Exit.isSuccess(yield* Fiber.await(fiber))).toBe(true)
      }))

    it.effect("refuses as soon as a pause begins who would be sent after its deadline, and nobody else", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ start: { requestsPerMinute: 600 } })
        const permit = yield* lane.acquire({ tokens: 1 })
        const now = yield* Clock.currentTimeMillis
        const wait = (deadlineAt: number | undefined) =>
          Effect.forkChild(timed(lane.acquire({ tokens: 1, deadlineAt })), started)
        const fibers = [
          yield* wait(undefined),
          yield* wait(now + 49_999),
          yield* wait(now + 50_000),
          yield* wait(now + 1000),
          yield* wait(now + 60_000)
        ]
        yield* permit.settle(throttled(50))
        expect((yield* lane.status).queued).toBe(3)
        const ends = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
        expect(ends.map(({ exit }) => Exit.isSuccess(exit))).toEqual([true, false, false, false, true])
        expect(ends.map(({ millis }) => Math.floor(millis / 1000))).toEqual([50, 0, 50, 0, 50])
        const late = yield* Effect.flip(ends[3]!.exit)
        expect(late).toMatchObject({ reason: "deadline", lane: "lane" })
        // the pause, and what is left before it, at about ten per second
        expect(late.estimate && Duration.toSeconds(late.estimate)).toBeCloseTo(50.3, 1)
        expect(yield* lane.status).toMatchObject({ inFlight: 2, queued: 0 })
      })))

    it.effect("refuses at its deadline whoever waits then, whatever its place in the queue", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ maxInFlight: 1, start: { requestsPerMinute: 60e9 } })
        const permit = yield* lane.acquire({ tokens: 1 })
        const now = yield* Clock.currentTimeMillis
        const wait = (millis: number | undefined) =>
          Effect.forkChild(
            timed(lane.acquire({ tokens: 1, deadlineAt: millis === undefined ? undefined : now + millis })),
            started
          )
        const fibers = [yield* wait(undefined), yield* wait(9000), yield* wait(2000), yield* wait(5000)]
        yield* Effect.sleep("7 seconds")
        expect((yield* lane.status).queued).toBe(2)
        yield* permit.settle(success)
        const first = yield* Fiber.join(fibers[0]!)
        yield* (yield* first.exit).settle(success)
        const ends = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
        expect(ends.map(({ exit, millis }) => [Exit.isSuccess(exit), millis])).toEqual([
          [true, 7000],
          [true, expect.closeTo(7000, -1)],
          [false, 2001],
          [false, 5001]
        ])
      })))

    it.effect("keeps the place of a call whose deadline is far beyond what a timer can hold", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ maxInFlight: 1 })
        const permit = yield* lane.acquire({ tokens: 1 })
        const fibers = []
        for (const deadlineAt of [Infinity, 1e16]) {
          fibers.push(yield* Effect.forkChild(lane.acquire({ tokens: 1, deadlineAt }), started))
        }
        yield* Effect.sleep("1 hour")
        expect((yield* lane.status).queued).toBe(2)
        for (const fiber of fibers) yield* Fiber.interrupt(fiber)
        yield* permit.settle(success)
      })))

    it.effect("leaves no timer behind when the last waiter with a deadline goes", () =>
      Effect.gen(function*() {
        const { fibersLeft, timersLeft } = yield* VirtualClock.run(Effect.gen(function*() {
          const lane = yield* Lane.make({ maxInFlight: 1 })
          const permit = yield* lane.acquire({ tokens: 1 })
          const deadlineAt = (yield* Clock.currentTimeMillis) + 60_000
          const served = yield* Effect.forkChild(lane.run(Effect.void, { tokens: 1, deadlineAt, classify }), started)
          const gone = yield* Effect.forkChild(lane.run(Effect.void, { tokens: 1, deadlineAt, classify }), started)
          yield* Fiber.interrupt(gone)
          yield* permit.settle(success)
          yield* Fiber.join(served)
        }))
        expect({ fibersLeft, timersLeft }).toEqual({ fibersLeft: 0, timersLeft: 0 })
      }))
  })

  describe("tokens", () => {
    it.effect.each([NaN, Infinity, -1, -1e12])(
      "of %d are a defect, and change nothing",
      (tokens) =>
        Effect.gen(function*() {
          const lane = yield* Lane.make({ tokensPerMinute: 6000 })
          const before = yield* lane.status
          const calls: ReadonlyArray<Effect.Effect<unknown, unknown, Scope.Scope>> = [
            lane.run(Effect.void, { tokens, classify }),
            lane.acquire({ tokens }),
            lane.acquireScoped({ tokens }),
            lane.tryAcquire({ tokens })
          ]
          for (const call of calls) {
            const exit = yield* Effect.exit(Effect.scoped(call))
            expect(Exit.isFailure(exit) && String(Cause.squash(exit.cause))).toBe(
              `RangeError: LaneRequest: tokens must be a finite number >= 0, got ${tokens}`
            )
          }
          expect(yield* lane.status).toEqual(before)
        })
    )

    it.effect("are a defect where the call would have to wait, too", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ maxInFlight: 1 })
        yield* lane.acquire({ tokens: 1 })
        const exit = yield* Effect.exit(lane.acquire({ tokens: NaN }))
        expect(Exit.hasDies(exit)).toBe(true)
        expect(yield* lane.status).toMatchObject({ queued: 0, queuedTokens: 0 })
      }))

    it.effect.each([NaN, Infinity, -Infinity, -1e6])(
      "really used of %d leave the estimate as it is",
      (tokens) =>
        VirtualClock.wrap(Effect.gen(function*() {
          const lane = yield* Lane.make({ tokensPerMinute: 6000 })
          yield* lane.run(Effect.void, { tokens: 100, classify: () => ({ _tag: "Success", tokens }) })
          const call = lane.run(Effect.void, { tokens: 1000, classify })
          const { millis } = yield* timed(Effect.all([call, call, call]))
          expect(millis / 1000).toBeCloseTo(21, 0)
        }))
    )
  })

  describe("observability", () => {
    it.effect("tells decisions with their reason to whoever listens", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ key: "k" })
        const fiber = yield* Effect.forkChild(Stream.runCollect(Stream.take(lane.decisions, 2)), started)
        yield* Effect.yieldNow
        const permit = yield* lane.acquire({ tokens: 1 })
        yield* TestClock.adjust("50 millis")
        yield* permit.settle(throttled(1))
        const decisions = yield* Fiber.join(fiber)
        expect(decisions.map(({ from, lane, reason, subject, to }) => ({ from, lane, reason, subject, to }))).toEqual([
          { subject: "requests", reason: "start-refused", from: 10, to: 5, lane: "k" },
          { subject: "pause", reason: "hint", from: 0, to: 1, lane: "k" }
        ])
        expect((yield* lane.status).lastDecision?.reason).toBe("hint")
      }))

    it.effect("tells the hint that was too long for its longest pause", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ maxPause: "1 minute" })
        const permit = yield* lane.acquire({ tokens: 1 })
        yield* permit.settle(throttled(15_372))
        const { lastDecision } = yield* lane.status
        expect(lastDecision).toMatchObject({ reason: "hint-too-long", from: 0, to: 60, hintSeconds: 15_372 })
      }))

    it.effect("counts attempts by outcome", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ key: "counted" })
        for (let i = 0; i < 3; i++) {
          yield* lane.run(Effect.void, { tokens: 1, classify }).pipe(Effect.andThen(TestClock.adjust(200)))
        }
        const state = yield* Metric.value(
          Metric.withAttributes(LaneMetrics.attempts, { lane: "counted", outcome: "success" })
        )
        expect(state.count).toBe(3)
      }))
  })

  describe("metrics", () => {
    it.effect("show what is in flight and queued now, without a decision", () =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ key: "gauged", maxInFlight: 2, start: { requestsPerMinute: 60e9 } })
        const permits = [yield* lane.acquire({ tokens: 1 }), yield* lane.acquire({ tokens: 1 })]
        expect(yield* gauges("gauged")).toEqual([2, 0])
        const fiber = yield* Effect.forkChild(lane.acquire({ tokens: 1 }), started)
        expect(yield* gauges("gauged")).toEqual([2, 1])
        yield* Fiber.interrupt(fiber)
        expect(yield* gauges("gauged")).toEqual([2, 0])
        for (const permit of permits) yield* permit.settle(success)
        expect(yield* gauges("gauged")).toEqual([0, 0])
      }))

    it.effect("show the sum of all lanes with one key", () =>
      Effect.gen(function*() {
        const first = yield* Lane.make({ key: "twin", maxInFlight: 1 })
        yield* first.acquire({ tokens: 1 })
        const second = yield* Lane.make({ key: "twin", maxInFlight: 1 })
        const permit = yield* second.acquire({ tokens: 1 })
        yield* Effect.forkChild(second.acquire({ tokens: 1 }), started)
        expect(yield* gauges("twin")).toEqual([2, 1])
        yield* Effect.forkChild(first.acquire({ tokens: 1 }), started)
        expect(yield* gauges("twin")).toEqual([2, 2])
        yield* permit.settle(success)
        expect(yield* gauges("twin")).toEqual([1, 2])
      }))

    it.effect("are those of the registry that the lanes were made in, without attributes of a caller", () =>
      Effect.gen(function*() {
        const home: Metric.MetricRegistry = new Map()
        const lanes = yield* Effect.provideService(Lanes.make(), Metric.MetricRegistry, home)
        yield* Effect.flatMap(lanes.get("a"), (lane) => lane.acquire({ tokens: 1 })).pipe(
          Effect.provideService(Metric.MetricRegistry, new Map()),
          Effect.provideService(Metric.CurrentMetricAttributes, { tenant: "t" })
        )
        expect(yield* Effect.provideService(gauges("a"), Metric.MetricRegistry, home)).toEqual([1, 0])
        expect([...home.values()].map(({ attributes, id }) => [id, attributes])).toEqual([
          ["effect_together_lane_in_flight", { lane: "a" }],
          ["effect_together_lane_queued", { lane: "a" }]
        ])
      }))

    it.live("go with the last lane of a key", () =>
      Effect.gen(function*() {
        const home: Metric.MetricRegistry = new Map()
        const use = Effect.flatMap(
          Lane.make({ key: "short" }),
          (lane) => lane.run(Effect.void, { tokens: 1, classify })
        )
        yield* Effect.provideService(use, Metric.MetricRegistry, home)
        yield* Effect.provideService(use, Metric.MetricRegistry, home)
        expect(ids(home)).toEqual(["effect_together_lane_in_flight", "effect_together_lane_queued"])
        for (let round = 0; round < 100 && ids(home).length > 0; round++) {
          collect()
          yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
        expect(ids(home)).toEqual([])
      }))

    it.effect("count a call that did not wait as a wait of 0", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ key: "waited", requestsPerMinute: 60 })
        for (let i = 0; i < 3; i++) yield* lane.run(Effect.void, { tokens: 1, classify })
        const state = yield* Metric.value(Metric.withAttributes(LaneMetrics.waitSeconds, { lane: "waited" }))
        expect([state.count, state.min, Math.round(state.max)]).toEqual([3, 0, 1])
      })))
  })

  describe("save and load", () => {
    it.effect("begins where an earlier run ended", () =>
      Effect.gen(function*() {
        const text = yield* Effect.gen(function*() {
          const lanes = yield* Lanes.Lanes
          const lane = yield* lanes.get("a")
          const permit = yield* lane.acquire({ tokens: 1 })
          yield* TestClock.adjust(50)
          yield* permit.settle(throttled(1))
          return yield* Schema.encodeEffect(Lanes.SavedFromJson)(yield* lanes.save)
        }).pipe(Effect.provide(Lanes.layer()))
        const saved = yield* Schema.decodeEffect(Lanes.SavedFromJson)(text)
        const status = yield* Effect.gen(function*() {
          const lanes = yield* Lanes.Lanes
          return yield* Effect.flatMap(lanes.get("a"), (lane) => lane.status)
        }).pipe(Effect.provide(Lanes.layer({ saved })))
        expect([status.phase, status.requestsPerSecond]).toEqual(["hold", 5])
      }))

    it.effect("loads into a lane at work: its pause goes on, and what was sent before teaches nothing", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ start: { requestsPerMinute: 6000 } })
        const send = Effect.andThen(Effect.sleep("1 second"), lane.acquire({ tokens: 10 }))
        const [first, second, third] = yield* Effect.all([send, send, send])
        yield* first.settle(throttled(30))
        yield* Effect.sleep(100)
        yield* lane.load({ version: 1, savedAt: 0, requestsPerSecond: 7, tokensPerSecond: 700 })
        yield* Effect.sleep(100)
        yield* second.settle(throttled(0))
        yield* third.settle({ _tag: "Throttled", scope: "tokens", retryAfter: Duration.zero })
        const { pause, requestsPerSecond, tokensPerSecond } = yield* lane.status
        expect([requestsPerSecond, tokensPerSecond]).toEqual([7, expect.closeTo(700, 6)])
        expect(pause && Duration.toMillis(pause)).toBeCloseTo(29_800, 3)
      })))

    it.effect("refuses a document that is none", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(
          Schema.decodeEffect(Lanes.SavedFromJson)(`{"a":{"version":1,"savedAt":0,"requestsPerSecond":-1}}`)
        )
        expect(Exit.isFailure(exit) && !Cause.hasDies(exit.cause)).toBe(true)
      }))
  })

  describe("options", () => {
    it.effect("are refused where out of range, in the name of who was given them", () =>
      Effect.gen(function*() {
        for (
          const [options, message] of [
            [{ requestsPerMinute: 0 }, "requestsPerMinute must be in (0, Infinity], got 0"],
            [{ maxInFlight: 1.5 }, "maxInFlight must be an integer >= 1 or Infinity, got 1.5"],
            [{ start: { tokensPerMinute: -1 } }, "start.tokensPerMinute must be in (0, Infinity], got -1"],
            [{ maxPause: 0 }, "maxPause must be above 0, got 0 ms"]
          ] as const
        ) {
          const lanes = Lanes.make({ overrides: () => options })
          for (
            const [where, made] of [
              ["Lane.make", Lane.make(options)],
              ["Lanes.make", Lanes.make(options)],
              ["Lanes.make, overrides of a", Effect.flatMap(lanes, ({ get }) => get("a"))]
            ] as const
          ) {
            const exit = yield* Effect.exit<unknown, never, never>(made)
            expect(Exit.isFailure(exit) && String(Cause.squash(exit.cause))).toBe(`RangeError: ${where}: ${message}`)
          }
        }
      }))
  })
})

describe("Lanes", () => {
  it.effect("gives the same lane for the same key, and lanes that do not influence each other", () =>
    Effect.gen(function*() {
      const lanes = yield* Lanes.Lanes
      const a = yield* lanes.get("a")
      const b = yield* lanes.get("b")
      expect(yield* lanes.get("a")).toBe(a)
      const before = yield* b.status
      for (let i = 0; i < 20; i++) {
        const permit = yield* a.acquire({ tokens: 1 })
        yield* permit.settle(i % 2 === 0 ? { _tag: "TimedOut" } : success)
        yield* TestClock.adjust("1 second")
      }
      const last = yield* a.acquire({ tokens: 1 })
      yield* last.settle(throttled(30))
      expect(yield* b.status).toEqual(before)
      expect((yield* lanes.all).map((lane) => lane.key)).toEqual(["a", "b"])
    }).pipe(Effect.provide(Lanes.layer())))

  it.effect("are one for each key, also where their store takes its time", () =>
    Effect.gen(function*() {
      const slow: LaneStore.Service = {
        open: (key, initial) => Effect.delay(LaneStore.memory.open(key, initial), "1 second")
      }
      const [one, other] = yield* Effect.gen(function*() {
        const { get } = yield* Lanes.Lanes
        return yield* Effect.all([get("a"), get("a")], { concurrency: 2 })
      }).pipe(
        Effect.provide(Lanes.layer().pipe(Layer.provide(Layer.succeed(LaneStore.LaneStore, slow)))),
        VirtualClock.wrap
      )
      expect(one).toBe(other)
    }))

  it.effect("begin at the cap where more was learned before", () =>
    Effect.gen(function*() {
      const saved: Lanes.Saved = { a: { version: 1, savedAt: 5, requestsPerSecond: 50, tokensPerSecond: 900 } }
      const lanes = yield* Lanes.make({ requestsPerMinute: 60, tokensPerMinute: 6000, saved })
      const lane = yield* lanes.get("a")
      expect(yield* lane.status).toMatchObject({ phase: "hold", requestsPerSecond: 1, tokensPerSecond: 100 })
    }))

  it.effect("saves what an earlier run learned of lanes that this one did not use", () =>
    Effect.gen(function*() {
      const saved: Lanes.Saved = {
        a: { version: 1, savedAt: 5, requestsPerSecond: 50 },
        b: { version: 1, savedAt: 5, requestsPerSecond: 20, tokensPerSecond: 100, inFlight: 3 }
      }
      const lanes = yield* Lanes.make({ saved })
      yield* lanes.get("a")
      yield* TestClock.adjust(1000)
      const { a, b } = yield* lanes.save
      expect(b).toEqual(saved["b"])
      expect(a).toEqual({ version: 1, savedAt: 1000, requestsPerSecond: 50 })
      yield* lanes.get("b")
      yield* lanes.get("c")
      const all = yield* lanes.save
      expect(all["b"]).toEqual({ ...saved["b"], savedAt: 1000 })
      expect(Object.keys(all)).toEqual(["a", "b", "c"])
    }))

  it.effect("takes overrides by key", () =>
    Effect.gen(function*() {
      const lanes = yield* Lanes.Lanes
      const [a, b] = yield* Effect.all([lanes.get("a"), lanes.get("b")])
      expect([(yield* a.status).inFlightLimit, (yield* b.status).inFlightLimit]).toEqual([4, 2])
    }).pipe(
      Effect.provide(Lanes.layer({ maxInFlight: 4, overrides: (key) => key === "b" ? { maxInFlight: 2 } : undefined }))
    ))
})
