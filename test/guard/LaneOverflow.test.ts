import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const classify = (): Lane.Sample => ({ _tag: "Success" })
const started = { startImmediately: true } as const

const queue = (lane: Lane.Lane, count: number, request: Partial<Lane.LaneRequest> = {}, seconds = 0) =>
  Effect.forEach(
    Array.from({ length: count }),
    () => Effect.forkChild(lane.run(Effect.sleep(seconds * 1000), { tokens: 1, ...request, classify }), started)
  )

const within = (seconds: number) => Effect.map(Clock.currentTimeMillis, (now) => now + seconds * 1000)

const estimated = (estimate: Duration.Duration | undefined): number =>
  Math.round(Duration.toSeconds(estimate ?? Duration.zero))

describe("Lane, deadlines", () => {
  it.effect("refuses nothing that a lane which has not met its limit yet may still serve in time", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const deadlineAt = yield* within(30)
      const call = lane.run(Effect.sleep("3 seconds"), { tokens: 1, deadlineAt, classify })
      const ends = yield* Effect.all(Array.from({ length: 1500 }, () => Effect.exit(call)), {
        concurrency: "unbounded"
      })
      expect(ends.filter(Exit.isFailure)).toEqual([])
    })))

  it.effect("refuses at its ceiling what a lane that searches cannot serve in time", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ requestsPerMinute: 600 })
      yield* queue(lane, 400)
      const late = yield* Effect.flip(lane.acquire({ tokens: 1, deadlineAt: yield* within(30) }))
      expect([late.reason, estimated(late.estimate)]).toEqual(["deadline", 40])
    })))

  it.effect("judges a call by what goes before it, not by all that waits", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ requestsPerMinute: 600 })
      yield* queue(lane, 1000, { priority: "bulk" })
      const deadlineAt = yield* within(5)
      const permit = yield* lane.acquire({ tokens: 1, priority: "interactive", deadlineAt })
      expect(Duration.toMillis(permit.waited)).toBe(100)
      yield* permit.settle({ _tag: "Success" })
      const retry = yield* lane.acquire({ tokens: 1, priority: "bulk", retry: true, deadlineAt })
      yield* retry.settle({ _tag: "Success" })
      const late = yield* Effect.flip(lane.acquire({ tokens: 1, priority: "bulk", deadlineAt }))
      expect([late.reason, late.queued, estimated(late.estimate)]).toEqual(["deadline", 999, 100])
    })))

  it.effect("counts the time that calls before it hold the places of a cap", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ maxInFlight: 2 })
      yield* queue(lane, 100, {}, 10)
      yield* Effect.sleep("60 seconds")
      const { estimate, queued } = yield* lane.status
      const late = yield* Effect.flip(lane.acquire({ tokens: 1, deadlineAt: yield* within(300) }))
      expect([late.reason, estimated(late.estimate)]).toEqual(["deadline", estimated(estimate)])
      const before = yield* Clock.currentTimeMillis
      const permit = yield* lane.acquire({ tokens: 1, deadlineAt: yield* within(600) })
      const waited = ((yield* Clock.currentTimeMillis) - before) / 1000
      expect([queued, Duration.toSeconds(permit.waited)]).toEqual([88, waited])
      expect(estimated(estimate) / waited).toBeGreaterThan(0.95)
      expect(estimated(estimate) / waited).toBeLessThan(1.05)
    })))

  it.effect("counts a pause behind a cap that binds", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ maxInFlight: 1, start: { requestsPerMinute: 60e6 } })
      const permit = yield* lane.acquire({ tokens: 1 })
      yield* permit.settle({ _tag: "Throttled", scope: "requests", retryAfter: Duration.seconds(50) })
      yield* queue(lane, 1)
      const late = yield* Effect.flip(lane.acquire({ tokens: 1, deadlineAt: yield* within(30) }))
      expect([late.reason, estimated(late.estimate)]).toEqual(["deadline", 50])
    })))

  it.effect("measures tokens by what calls use, not by what was estimated", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ tokensPerMinute: 60_000, start: { requestsPerMinute: 60e6 } })
      const call = lane.run(Effect.void, { tokens: 400, classify: () => ({ _tag: "Success", tokens: 100 }) })
      for (let i = 0; i < 20; i++) yield* call
      for (let i = 0; i < 200; i++) yield* Effect.forkChild(call, started)
      const { estimate, queuedTokens } = yield* lane.status
      const before = yield* Clock.currentTimeMillis
      yield* lane.run(Effect.void, { tokens: 400, deadlineAt: yield* within(30), classify })
      const waited = ((yield* Clock.currentTimeMillis) - before) / 1000
      expect(queuedTokens / 1000).toBeGreaterThan(70)
      expect(estimated(estimate)).toBe(Math.round(waited))
    })))

  it.effect.each(
    [
      ["free", { start: { requestsPerMinute: 60e6 } }],
      ["busy", { maxInFlight: 1 }]
    ] as const
  )("refuses a call whose deadline has passed where the lane is %s", ([, options]) =>
    Effect.gen(function*() {
      const lane = yield* Lane.make(options)
      yield* lane.acquire({ tokens: 1 })
      for (const deadlineAt of [yield* within(-0.001), NaN]) {
        const late = yield* Effect.flip(lane.acquire({ tokens: 1, deadlineAt }))
        expect([late.reason, estimated(late.estimate)]).toEqual(["deadline", 0])
        expect(Option.isNone(yield* lane.tryAcquire({ tokens: 1, deadlineAt }))).toBe(true)
      }
      expect(yield* lane.status).toMatchObject({ inFlight: 1, queued: 0 })
    }))

  it.effect("tells who has waited until its deadline for how long, and when it would be sent if it came again", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ maxInFlight: 1 })
      yield* queue(lane, 7, {}, 30)
      yield* queue(lane, 4, { priority: "interactive" }, 30)
      const deadlineAt = yield* within(20)
      const call = (priority: "interactive" | "normal") =>
        Effect.flip(lane.acquire({ tokens: 1, deadlineAt, priority }))
      const [soon, later] = yield* Effect.all([call("interactive"), call("normal")], { concurrency: 2 })
      // four calls before the one, ten before the other, of at least the twenty seconds that the first has taken
      expect([soon, later].map((late) => [late.reason, late.queued, estimated(late.estimate)])).toEqual([
        ["deadline", 10, 80],
        ["deadline", 10, 200]
      ])
      expect(soon.message).toContain("it has waited 20.0 s, and coming again now it would be sent in 80.0 s. 10 calls")
    })))

  /** Two thousand calls at once over a limit of ten per second: those that were sent, and when the others were refused. */
  const burst = (seconds: number, limit: (at: number) => number) =>
    Effect.gen(function*() {
      const lane = yield* Lane.make()
      const begin = yield* Clock.currentTimeMillis
      const since = Effect.map(Clock.currentTimeMillis, (now) => (now - begin) / 1000)
      let level = limit(0)
      let last = 0
      const attempt = Effect.gen(function*() {
        const at = yield* since
        level = Math.min(limit(at), level + (at - last) * limit(at)) - 1
        last = at
        if (level >= 0) return yield* Effect.as(Effect.sleep("1 second"), true)
        level += 1
        return yield* Effect.as(Effect.sleep("50 millis"), false)
      })
      const sample = (exit: Exit.Exit<boolean>): Lane.Sample =>
        Exit.isSuccess(exit) && !exit.value
          ? { _tag: "Throttled", scope: "requests", retryAfter: Duration.seconds(1) }
          : { _tag: "Success" }
      const deadlineAt = begin + seconds * 1000
      const call = (retry: boolean): Effect.Effect<void, TogetherError.LaneOverflowError> =>
        Effect.flatMap(
          lane.run(attempt, { tokens: 1, deadlineAt, retry, classify: sample }),
          (ok) => ok ? Effect.void : call(true)
        )
      const refused: Array<readonly [at: number, late: TogetherError.LaneOverflowError]> = []
      const one = Effect.catch(call(false), (late) => Effect.map(since, (at) => void refused.push([at, late])))
      yield* Effect.all(Array.from({ length: 2000 }, () => one), { concurrency: "unbounded" })
      return { sent: 2000 - refused.length, refused }
    })

  it.effect("refuses by half of their time most of those that a learned limit cannot send", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { refused, sent } = yield* burst(60, () => 10)
      // as many are sent as without refusing early: 10 per second, less what the lane learns from
      expect(sent).toBeGreaterThan(590)
      const early = refused.filter(([at]) => at <= 32)
      expect(early.length).toBeGreaterThan(0.8 * refused.length)
      const [at, late] = early.at(-1)!
      expect([late.reason, Duration.toSeconds(late.estimate!) > 60 - at]).toEqual(["deadline", true])
      expect(late.message).toMatch(/it has waited \d+\.\d s, and would be sent in \d+\.\d s more\./)
    })))

  it.effect("refuses nobody early that a limit which grows may still send", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { refused } = yield* burst(120, (at) => Math.min(100, 3 * 2 ** (at / 15)))
      expect(refused).toEqual([])
    })))

  it.effect("estimates at least the pause that sends nobody in time", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ maxInFlight: 2 })
      const throttled = (): Lane.Sample => ({ _tag: "Throttled", scope: "requests", retryAfter: Duration.seconds(40) })
      yield* Effect.forkChild(lane.run(Effect.sleep("5 seconds"), { tokens: 1, classify: throttled }), started)
      yield* queue(lane, 1, {}, 30)
      const late = yield* Effect.flip(lane.acquire({ tokens: 1, deadlineAt: yield* within(20) }))
      expect([late.reason, estimated(late.estimate)]).toEqual(["deadline", 40])
      expect(late.message).toContain("it has waited 5.0 s, and coming again now it would be sent in 40.0 s")
    })))

  it.effect("sends a call at the very end of its time", () =>
    Effect.gen(function*() {
      const lane = yield* Lane.make()
      yield* lane.acquire({ tokens: 1, deadlineAt: yield* within(0) })
      expect((yield* lane.status).inFlight).toBe(1)
    }))
})

describe("Lane, priorities", () => {
  it.effect.each([NaN, -1, 500, 1.5])(
    "of %d are a defect, whether the lane is free or busy",
    (priority) =>
      Effect.gen(function*() {
        const lane = yield* Lane.make({ maxInFlight: 1 })
        const request = { tokens: 1, priority }
        const calls: ReadonlyArray<Effect.Effect<unknown, unknown, Scope.Scope>> = [
          lane.run(Effect.void, { ...request, classify }),
          lane.acquire(request),
          lane.acquireScoped(request),
          lane.tryAcquire(request)
        ]
        const refused = Effect.forEach(calls, (call) => Effect.exit(Effect.scoped(call)))
        const free = yield* refused
        yield* lane.acquire({ tokens: 1 })
        for (const exit of [...free, ...yield* refused]) {
          expect(Exit.isFailure(exit) && String(Cause.squash(exit.cause))).toMatch(
            new RegExp(`^RangeError: .*: priority must be an integer in \\[0, 499\\].*, got ${priority}$`)
          )
        }
        expect(yield* lane.status).toMatchObject({ inFlight: 1, queued: 0 })
      })
  )

  it.effect("needs no timer for each deadline that passes by", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const clock = yield* Clock.clockWith(Effect.succeed)
      let timers = 0
      const counted: Clock.Clock = { ...clock, sleep: (duration) => (timers++, clock.sleep(duration)) }
      const lane = yield* Lane.make({ maxInFlight: 1 })
      const permit = yield* lane.acquire({ tokens: 1 })
      const now = yield* Clock.currentTimeMillis
      const fibers = yield* Effect.forEach([60, 61, 62, 63, 64], (seconds) => {
        const call = lane.run(Effect.void, { tokens: 1, deadlineAt: now + seconds * 1000, classify })
        return Effect.forkChild(Effect.provideService(call, Clock.Clock, counted), started)
      })
      for (const fiber of fibers.slice(0, -1)) yield* Fiber.interrupt(fiber)
      expect(timers).toBe(1)
      yield* Effect.sleep("63 seconds")
      expect([timers, (yield* lane.status).queued]).toEqual([2, 1])
      yield* Effect.sleep("2 seconds")
      expect([timers, (yield* lane.status).queued]).toEqual([2, 0])
      yield* permit.settle({ _tag: "Success" })
    })))
})
