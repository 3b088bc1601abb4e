import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Deadline from "../../src/guard/Deadline.ts"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { seeded } from "../policy/events.ts"

/** A call of a scenario: when it comes, and the seconds for which it holds its place. */
interface Call {
  readonly at: number
  readonly seconds: number
  readonly request: Lane.LaneRequest
}

/** What a lane that had seen calls end said of one that came, and when it was sent: seconds from its coming. */
interface Told {
  readonly seen: number
  readonly estimate: number
  readonly waited: number
}

const drawn = (random: () => number) => {
  const pick = <A>(values: ReadonlyArray<A>): A => values[Math.floor(random() * values.length)] as A
  const options: Lane.Options = {
    requestsPerMinute: pick([undefined, 60, 600, 6000]),
    tokensPerMinute: pick([undefined, undefined, 60_000, 600_000]),
    maxInFlight: pick([undefined, 1, 2, 4, 4, 10])
  }
  const spread = pick([0, 0, 0.5, 1])
  const held = (mean: number): number => mean * (1 - spread + 2 * spread * random())
  const shortSeconds = pick([0.1, 1, 5])
  const streamSeconds = pick([10, 60])
  const streams = pick([0, 0.1, 0.3, 0.6, 1])
  const levels = pick([["normal"], ["normal"], ["interactive", "normal", "bulk"]] as const)
  const during = pick([0, 30, 120])
  const order = pick(["mixed", "streams first", "streams last"])
  const size = pick([50, 120])
  const calls = Array.from({ length: size }, (_, i): Call => {
    const stream = order === "mixed" ? random() < streams : (i < streams * size) === (order === "streams first")
    return {
      at: order === "mixed" ? during * random() : (during * i) / size,
      seconds: held(stream ? streamSeconds : shortSeconds),
      request: { tokens: pick([10, 100, 1000]), stream, priority: pick(levels), retry: random() < 0.1 }
    }
  })
  return { options, calls, used: pick([0.2, 1]), pause: random() < 0.3 ? pick([10, 50]) : undefined }
}

/** Plays a scenario: before each call comes one that has no time, and is told how long it would take. */
const play = ({ calls, options, pause, used }: ReturnType<typeof drawn>) =>
  Effect.gen(function*() {
    const lane = yield* Lane.make(options)
    const told: Array<Told> = []
    let ended = 0
    const one = ({ at, request, seconds }: Call) =>
      Effect.gen(function*() {
        yield* Effect.sleep(at * 1000)
        const came = yield* Clock.currentTimeMillis
        const seen = ended
        const unsent = (): Lane.Sample => ({ _tag: "Ignored", sent: false })
        const estimate = yield* lane.run(Effect.void, { ...request, deadlineAt: came, classify: unsent }).pipe(
          Effect.as(0),
          Effect.catchTag("LaneOverflowError", (late) =>
            // what was let in was not refused, though it came to nothing a moment later
            Effect.map(Clock.currentTimeMillis, (now) => now > came ? 0 : Duration.toSeconds(late.estimate ?? 0)))
        )
        const work = Effect.tap(Clock.currentTimeMillis, Effect.sleep(seconds * 1000))
        const sent = yield* lane.run(work, {
          ...request,
          classify: () =>
            ++ended === 20 && pause !== undefined
              ? { _tag: "Throttled", scope: "model", retryAfter: Duration.seconds(pause) }
              : { _tag: "Success", tokens: request.tokens * used }
        })
        told.push({ seen, estimate, waited: (sent - came) / 1000 })
      })
    yield* Effect.forEach(calls, one, { concurrency: "unbounded", discard: true })
    return told
  })

/** Runs work in the background, and gives it a moment to be admitted or to wait. */
const begun = <A, E, R>(work: Effect.Effect<A, E, R>) =>
  Effect.tap(Effect.forkChild(work, { startImmediately: true }), Effect.sleep(2))

const success = (): Lane.Sample => ({ _tag: "Success" })

const call = (lane: Lane.Lane, seconds: number, request: Partial<Lane.LaneRequest> = {}) =>
  lane.run(Effect.sleep(seconds * 1000), { tokens: 1, ...request, classify: success })

const open = (maxInFlight: number): Lane.Options => ({ maxInFlight, start: { requestsPerMinute: 60e6 } })

/** Reads the estimate for a call behind all that wait, in whole seconds. */
const estimated = (lane: Lane.Lane) =>
  Effect.map(lane.status, ({ estimate }) => Math.round(Duration.toSeconds(estimate)))

describe("LaneForecast", () => {
  it.effect(
    "refuses at most one in fifty that would be sent in time, and most that would not",
    () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const random = seeded(1)
        const inTime = { calls: 0, refused: 0 }
        const hopeless = { calls: 0, refused: 0 }
        for (let scenario = 0; scenario < 60; scenario++) {
          for (const { estimate, seen, waited } of yield* play(drawn(random))) {
            const deadline = waited * 2 * random()
            const of = deadline >= waited ? inTime : hopeless
            // nobody can know before calls have ended; and what is nearly in time is let in
            if (waited === 0 || (of === hopeless && (seen < 20 || deadline > waited / 2))) continue
            of.calls++
            if (estimate > deadline) of.refused++
          }
        }
        expect(Math.min(inTime.calls, hopeless.calls)).toBeGreaterThan(100)
        expect(inTime.refused / inTime.calls).toBeLessThan(0.02)
        expect(hopeless.refused / hopeless.calls).toBeGreaterThan(0.75)
      })),
    30_000
  )

  it.effect("lets a short call in that comes up once the streams before it have ended", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(open(4))
      yield* call(lane, 1)
      yield* call(lane, 20, { stream: true })
      for (let i = 0; i < 3; i++) yield* begun(call(lane, 20, { stream: true }))
      for (let i = 0; i < 200; i++) yield* Effect.forkChild(call(lane, 1))
      yield* Effect.sleep(2)
      const came = yield* Clock.currentTimeMillis
      const late = yield* Effect.flip(lane.acquire({ tokens: 1, deadlineAt: came + 50_000 }))
      expect(Math.round(Duration.toSeconds(late.estimate ?? 0))).toBe(65)
      const permit = yield* lane.acquire({ tokens: 1, deadlineAt: came + 80_000 })
      expect(Math.round(Duration.toSeconds(permit.waited))).toBe(65)
    })))

  it.effect("counts the streams before a short call where all wait for the only place", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(open(1))
      yield* call(lane, 1)
      yield* call(lane, 60, { stream: true })
      for (let i = 0; i < 5; i++) yield* begun(call(lane, 60, { stream: true }))
      const came = yield* Clock.currentTimeMillis
      const late = yield* Effect.flip(lane.acquire({ tokens: 1, deadlineAt: came + 10_000 }))
      expect([Math.round(Duration.toSeconds(late.estimate ?? 0)), yield* estimated(lane)]).toEqual([300, 300])
      const permit = yield* lane.acquire({ tokens: 1, deadlineAt: came + 301_000 })
      expect(Math.round(Duration.toSeconds(permit.waited))).toBe(300)
    })))

  it.effect("counts no more streams before a short call than have places", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ maxInFlight: 20, requestsPerMinute: 600, start: { requestsPerMinute: 600 } })
      for (let i = 0; i < 500; i++) yield* Effect.forkChild(call(lane, 600, { stream: true }))
      yield* Effect.sleep(2)
      const deadlineAt = (yield* Clock.currentTimeMillis) + 3000
      const permit = yield* lane.acquire({ tokens: 1, deadlineAt })
      // fifteen of them, ten per second
      expect(Duration.toSeconds(permit.waited)).toBeCloseTo(1.5, 1)
    })))

  it.effect("counts tokens as they are charged, where calls use many times what is estimated", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ tokensPerMinute: 6000, maxInFlight: 1 })
      const ten = (): Lane.Sample => ({ _tag: "Success", tokens: 100 })
      const one = lane.run(Effect.sleep("1 millis"), { tokens: 10, classify: ten })
      for (let i = 0; i < 20; i++) yield* one
      for (let i = 0; i < 60; i++) yield* Effect.forkChild(one)
      yield* Effect.sleep("1 millis")
      // 60 calls of 100 tokens, 100 of them a second
      expect(yield* estimated(lane)).toBeCloseTo(60, -1)
    })))

  it.effect("learns nothing from calls that were never sent", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(open(1))
      yield* call(lane, 60)
      for (let i = 0; i < 100; i++) {
        const permit = yield* lane.acquire({ tokens: 1 })
        yield* permit.settle({ _tag: "Ignored", sent: false })
      }
      for (let i = 0; i < 10; i++) yield* begun(call(lane, 60))
      expect(yield* estimated(lane)).toBe(600)
    })))

  it.effect.each([{ stream: false }, { stream: true }])(
    "forgets how long calls took a minute after the last of them, as %o",
    (kind) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make(open(2))
        yield* Effect.forEach(Array.from({ length: 10 }), () => call(lane, 60, kind), { concurrency: "unbounded" })
        const burst = Effect.forEach(
          Array.from({ length: 30 }),
          () => Effect.result(Deadline.run(call(lane, 0.5, kind), "20 seconds")),
          { concurrency: "unbounded" }
        )
        const sent = Effect.map(burst, (results) => results.filter(Result.isSuccess).length)
        yield* Effect.sleep("59 seconds")
        expect(yield* sent).toBe(2)
        yield* Effect.sleep("61 seconds")
        expect(yield* sent).toBe(30)
      }))
  )

  it.effect("forgets it where the first to come have to wait, too", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(open(1))
      yield* call(lane, 60)
      const limited = (): Lane.Sample => ({ _tag: "Throttled", scope: "model", retryAfter: Duration.seconds(70) })
      yield* lane.run(Effect.void, { tokens: 1, classify: limited })
      yield* Effect.sleep("61 seconds")
      for (let i = 0; i < 5; i++) yield* begun(call(lane, 1))
      expect(yield* estimated(lane)).toBeLessThan(10)
    })))

  it.effect("takes the age of the first in flight before one of its kind has ended", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make(open(1))
      const unsent = yield* lane.acquire({ tokens: 1 })
      yield* Effect.sleep("50 seconds")
      yield* unsent.settle({ _tag: "Ignored", sent: false })
      for (let i = 0; i < 6; i++) yield* begun(call(lane, 300))
      expect(yield* estimated(lane)).toBe(0)
      yield* Effect.sleep("30 seconds")
      expect(yield* estimated(lane)).toBe(150)
      const deadlineAt = (yield* Clock.currentTimeMillis) + 60_000
      expect((yield* Effect.flip(lane.acquire({ tokens: 1, deadlineAt }))).reason).toBe("deadline")
    })))
})
