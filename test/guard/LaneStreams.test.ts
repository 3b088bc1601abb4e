import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as HttpClient from "effect/http/HttpClient"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as LaneStreams from "../../src/guard/lane/LaneStreams.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import { seeded } from "../policy/events.ts"

const classify = (): Lane.Sample => ({ _tag: "Success" })
const started = { startImmediately: true } as const

const under = (maxInFlight: number): Lane.Options => ({ maxInFlight, start: { requestsPerMinute: 60e6 } })

/** Starts a stream, and gives it a moment to be admitted. */
const stream = (lane: Lane.Lane, seconds: number) =>
  Effect.forkChild(
    Effect.scoped(Effect.andThen(
      lane.acquireScoped({ tokens: 1, stream: true }),
      Effect.sleep(seconds * 1000)
    )),
    started
  ).pipe(Effect.tap(Effect.sleep(2)))

const short = (lane: Lane.Lane, request: Partial<Lane.LaneRequest> = {}) =>
  lane.run(Effect.sleep("1 second"), { tokens: 1, ...request, classify })

/** Runs an effect and reports after how many whole seconds it ended. */
const took = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([took]) => Math.round(Duration.toSeconds(took)))

describe("LaneStreams", () => {
  it("keeps one place in every four, and at least one where there are two", () => {
    expect([1, 2, 3, 4, 7, 8, 16, Infinity].map(LaneStreams.most)).toEqual([1, 1, 2, 3, 6, 6, 12, Infinity])
  })

  it.effect("keep a place free while short calls are about", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(under(4))
      yield* short(lane)
      for (let i = 0; i < 8; i++) yield* stream(lane, 600)
      expect(yield* lane.status).toMatchObject({ inFlight: 3, queued: 5, waitsFor: "in-flight" })
      for (const priority of ["interactive", "normal", "bulk"] as const) {
        expect(yield* took(short(lane, { priority }))).toBe(1)
      }
      const hedge = yield* lane.tryAcquire({ tokens: 1 })
      expect(Option.isSome(hedge)).toBe(true)
      if (Option.isSome(hedge)) yield* hedge.value.settle({ _tag: "Success" })
      expect(Option.isNone(yield* lane.tryAcquire({ tokens: 1, stream: true }))).toBe(true)
    })))

  it.effect("take every place again a minute after the last short call was sent", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(under(4))
      yield* short(lane)
      for (let i = 0; i < 8; i++) yield* stream(lane, 600)
      yield* Effect.sleep("58 seconds")
      expect((yield* lane.status).inFlight).toBe(3)
      yield* Effect.sleep("1100 millis")
      expect((yield* lane.status).inFlight).toBe(4)
    })))

  it.effect("take every place where no short call is about, and where there is no cap", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(under(4))
      for (let i = 0; i < 8; i++) yield* stream(lane, 600)
      expect((yield* lane.status).inFlight).toBe(4)
      const open = yield* Lane.make({ start: { requestsPerMinute: 60e6 } })
      yield* short(open)
      for (let i = 0; i < 8; i++) yield* stream(open, 600)
      expect((yield* open.status).inFlight).toBe(8)
    })))

  it.effect("leave the next places to short calls that came after them, and go on when those are gone", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(under(2))
      yield* stream(lane, 10)
      yield* stream(lane, 20)
      yield* stream(lane, 600)
      const waits = yield* Effect.forkChild(took(short(lane, { priority: "bulk" })), started)
      const leaves = yield* Effect.forkChild(short(lane, { priority: "bulk" }), started)
      yield* Effect.sleep("5 seconds")
      yield* Fiber.interrupt(leaves)
      expect(yield* Fiber.join(waits)).toBe(11)
      expect(yield* lane.status).toMatchObject({ inFlight: 1, queued: 1 })
      yield* Effect.sleep("10 seconds")
      expect(yield* lane.status).toMatchObject({ inFlight: 1, queued: 0 })
    })))

  it.effect("go at once when the only short call gives up, if none was ever sent", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(under(2))
      const first = yield* lane.acquire({ tokens: 1, stream: true })
      yield* stream(lane, 600)
      yield* stream(lane, 600)
      const gives = yield* Effect.forkChild(short(lane), started)
      const deadlineAt = (yield* Clock.currentTimeMillis) + 5000
      const late = yield* Effect.forkChild(Effect.flip(short(lane, { deadlineAt })), started)
      yield* Fiber.interrupt(gives)
      expect((yield* Fiber.join(late)).reason).toBe("deadline")
      yield* first.settle({ _tag: "Success" })
      yield* Effect.sleep(10)
      expect(yield* lane.status).toMatchObject({ inFlight: 2, queued: 0 })
    })))

  it.effect("leave no timer behind where the last that waits gives up", () =>
    Effect.gen(function*() {
      const { elapsed, timersLeft } = yield* VirtualClock.run(Effect.gen(function*() {
        const lane = yield* Lane.make(under(2))
        yield* short(lane)
        yield* lane.acquire({ tokens: 1, stream: true })
        const waits = yield* Effect.forkChild(lane.acquire({ tokens: 1, stream: true }), started)
        yield* Effect.sleep("1 second")
        expect((yield* lane.status).queued).toBe(1)
        yield* Fiber.interrupt(waits)
      }))
      expect([Duration.toSeconds(elapsed), timersLeft]).toEqual([2, 0])
    }))

  it.effect("are refused before their deadline by the time that streams hold their places", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(under(4))
      yield* Effect.andThen(Effect.flatMap(stream(lane, 100), Fiber.join), short(lane))
      for (let i = 0; i < 6; i++) yield* stream(lane, 100)
      const now = yield* Clock.currentTimeMillis
      const refused = yield* Effect.flip(lane.acquire({ tokens: 1, stream: true, deadlineAt: now + 30_000 }))
      expect([refused.reason, refused.queued]).toEqual(["deadline", 3])
      // three in flight, three before it, three at a time for a minute, then four
      expect(Math.round(Duration.toSeconds(refused.estimate ?? 0))).toBe(90)
      expect(yield* took(short(lane, { deadlineAt: now + 30_000 }))).toBe(1)
    })))

  it.effect("are marked by the client", () =>
    VirtualClock.wrap(Effect.scoped(Effect.gen(function*() {
      const asked: Array<boolean | undefined> = []
      const lane = yield* Lane.make()
      const watched: Lane.Lane = {
        key: lane.key,
        status: lane.status,
        decisions: lane.decisions,
        save: lane.save,
        load: (learned) => lane.load(learned),
        acquire: (request) => lane.acquire(request),
        tryAcquire: (request) => lane.tryAcquire(request),
        acquireScoped: (request) => {
          asked.push(request.stream)
          return lane.acquireScoped(request)
        },
        run: (attempt, options) => {
          asked.push(options.stream)
          return lane.run(attempt, options)
        }
      }
      const together = yield* Together.make({ apiKey: Redacted.make("key") }).pipe(
        Effect.provideService(HttpClient.HttpClient, SimulatedProvider.make().client),
        Effect.provideService(Lanes.Lanes, {
          get: () => Effect.succeed(watched),
          all: Effect.succeed([watched]),
          save: Effect.succeed({})
        })
      )
      const request = {
        model: "openai/gpt-oss-20b",
        max_tokens: 5,
        messages: [{ role: "user", content: "q" }]
      } as const
      yield* together.chat(request)
      yield* Stream.runDrain(together.chatStream(request))
      expect(asked).toEqual([undefined, true])
    }))))

  it.effect("never take what is kept, and everyone is served, in any mix", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      for (let seed = 1; seed <= 25; seed++) {
        const random = seeded(seed)
        const cap = 1 + Math.floor(random() * 9)
        const lane = yield* Lane.make(under(cap))
        const waiting = new Set<number>()
        const served: Array<number> = []
        let streams = 0
        let shortAt = -Infinity
        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
        const isStream = random() * 0.8
        for (let i = 0; i < 120; i++) {
          yield* Effect.sleep(Math.floor(random() * 2000))
          const arrived = yield* Clock.currentTimeMillis
          if (random() < isStream) {
            const work = Effect.acquireUseRelease(
              Effect.map(Clock.currentTimeMillis, (now) => {
                streams++
                // what happened in this very millisecond may have come after the admission
                const about = now - shortAt < 60_000 && shortAt < now || [...waiting].some((since) => since < now)
                if (about) expect(streams, `seed ${seed}, cap ${cap}`).toBeLessThanOrEqual(LaneStreams.most(cap))
              }),
              () => Effect.sleep(20_000 + Math.floor(random() * 100_000)),
              () => Effect.sync(() => streams--)
            )
            fibers.push(yield* Effect.forkChild(lane.run(work, { tokens: 1, stream: true, classify }), started))
          } else {
            const since = arrived + i / 1000
            waiting.add(since)
            const work = Effect.andThen(
              Effect.map(Clock.currentTimeMillis, (now) => {
                waiting.delete(since)
                served.push(since)
                shortAt = now
              }),
              Effect.sleep(Math.floor(random() * 3000))
            )
            fibers.push(yield* Effect.forkChild(lane.run(work, { tokens: 1, classify }), started))
          }
        }
        for (const fiber of fibers) yield* Fiber.join(fiber)
        expect(served).toEqual(served.toSorted((a, b) => a - b))
        expect(yield* lane.status).toMatchObject({ inFlight: 0, queued: 0 })
      }
    })))
})
