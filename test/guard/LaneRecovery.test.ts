import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { seeded } from "../policy/events.ts"
import { type Attempt, bucket, calls, player, type Provider, throttled } from "./lanes.ts"

const success: Lane.Sample = { _tag: "Success" }
const hints = [1, undefined] as const

/** Lets a bucket decide, one of requests or of tokens; what it does not hold is refused. */
const limited = (
  scope: "requests" | "tokens",
  take: ReturnType<typeof bucket>,
  hint: number | undefined
): Provider =>
({ now, tokens }) => take(now, scope === "tokens" ? tokens : 1) ? success : throttled(scope, hint)

/** Reads the most attempts in a window of 60 seconds. */
const busiestMinute = (attempts: ReadonlyArray<Attempt>): number =>
  Math.max(...attempts.map((from, i) => attempts.slice(i).filter(({ at }) => at < from.at + 60).length))

const refused = (attempts: ReadonlyArray<Attempt>): number =>
  attempts.filter(({ sample }) => sample._tag === "Throttled").length

/** Looks at a lane every second, as long as `use` takes. */
const watched = <A>(lane: Lane.Lane, see: (status: Lane.LaneStatus) => void, use: Effect.Effect<A>) =>
  Effect.gen(function*() {
    const watch = yield* Effect.forkChild(
      Effect.forever(Effect.andThen(Effect.sleep(1000), Effect.map(lane.status, see)))
    )
    const result = yield* use
    yield* Fiber.interrupt(watch)
    return result
  })

describe("Lane, after bad times", () => {
  it.effect.each(hints)(
    "finds a limit that fell to a tenth and came back threefold, with a hint of %s",
    (hint) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make()
        const take = bucket((now) => now < 20 ? 10 : now < 60 ? 1 : 30, 10)
        const { play, seconds } = yield* player(lane, limited("requests", take, hint))
        const work = yield* Effect.forkChild(play(calls(800)))
        const after = (seen: (status: Lane.LaneStatus) => boolean) =>
          Effect.gen(function*() {
            while (!seen(yield* lane.status)) yield* Effect.sleep(200)
            return yield* seconds
          })
        yield* Effect.sleep("1 minute")
        expect((yield* lane.status).requestsPerSecond).toBeLessThan(6)
        expect(yield* after((status) => status.requestsPerSecond > 15)).toBeLessThan(85)
        yield* Fiber.interrupt(work)
      }))
  )

  it.effect.each(["requests", "unknown"] as const)(
    "finds a limit with few refusals where each asks for 30 s, of a scope %s",
    (scope) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make()
        const take = bucket(10, 10)
        const { attempts, play, seconds } = yield* player(lane, ({ now }) => take(now) ? success : throttled(scope, 30))
        yield* play(calls(600))
        expect(refused(attempts)).toBeLessThan(6)
        expect(yield* seconds).toBeLessThan(180)
        expect((yield* lane.status).requestsPerSecond).toBeGreaterThan(9)
      }))
  )

  it.effect.each([{ seconds: 60, hint: 1 }, { seconds: 600, hint: 1 }, { seconds: 600, hint: undefined }])(
    "goes on once tokens are admitted that were refused for $seconds s, with a hint of $hint",
    ({ hint, seconds }) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make()
        const admits = limited("tokens", bucket(2000, 4000), hint)
        const isShut = (now: number) => now > 60 && now < 60 + seconds
        const { play } = yield* player(lane, (seen) => isShut(seen.now) ? throttled("tokens", hint) : admits(seen), 2)
        let least = Infinity
        const took = yield* watched(
          lane,
          (status) => least = Math.min(least, status.tokensPerSecond ?? Infinity),
          play(calls(200, 1000))
        )
        expect(took).toBeLessThan(1.3 * (seconds + 100))
        // the lowest rate of requests, 0.02 per second, times the tokens of a call
        expect(least).toBeGreaterThanOrEqual(20)
      }))
  )

  it.effect("finds a limit of tokens that is shut for the first two seconds", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const admits = limited("tokens", bucket(4000, 4000), undefined)
      const { play } = yield* player(lane, (seen) => seen.now < 2 ? throttled("tokens") : admits(seen))
      // 32 s are the ideal
      expect(yield* play(calls(600, 200))).toBeLessThan(70)
    })))

  it.effect("goes back to a limit of tokens that shuts for five of each ten seconds", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const admits = limited("tokens", bucket(4000, 4000), 1)
      const { attempts, play } = yield* player(
        lane,
        (seen) => seen.now % 10 >= 5 ? throttled("tokens", 1) : admits(seen)
      )
      for (let n = 0; n < 10; n++) yield* play(calls(80, 200))
      // 8 s a turn are the ideal
      expect(yield* play(calls(80, 200))).toBeLessThan(30)
      expect(refused(attempts)).toBeLessThan(0.2 * attempts.length)
    })))

  it.effect.each(
    [
      { scope: "requests", every: 10, burst: 300 },
      { scope: "requests", every: 50, burst: 300 },
      { scope: "tokens", every: 10, burst: 300 },
      { scope: "tokens", every: 50, burst: 300 }
    ] as const
  )("keeps its rate of $scope where a call a minute goes, of which 1 in $every is refused", (
    { burst, every, scope }
  ) =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const rate = Effect.map(lane.status, ({ requestsPerSecond, tokensPerSecond }) =>
        scope === "tokens" ? tokensPerSecond ?? Infinity : requestsPerSecond)
      const admits = limited(scope, scope === "tokens" ? bucket(10_000, 10_000) : bucket(10, 10), 1)
      let isStray = false
      const { play } = yield* player(lane, (seen) => {
        const stray = isStray
        isStray = false
        return stray ? throttled(scope, 1) : admits(seen)
      })
      const fresh = yield* play(calls(burst, 1000))
      const before = yield* rate
      for (let i = 1; i <= 300; i++) {
        isStray = i % every === 0
        yield* play(calls(1, 1000))
        yield* Effect.sleep("1 minute")
        // the first one comes when the rate was in use a while ago, and costs a tenth
        expect(yield* rate).toBeGreaterThanOrEqual(0.45 * before - 1e-9)
      }
      expect(yield* play(calls(burst, 1000))).toBeLessThan(1.4 * fresh)
    })))

  it.effect.each([{ every: 10, warm: true }, { every: 50, warm: true }, { every: 10, warm: false }, {
    every: 50,
    warm: false
  }])(
    "takes a stray refusal of tokens for no limit of what trickles: 1 in $every, warm $warm",
    ({ every, warm }) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make()
        const admits = limited("requests", bucket(10, 10), 1)
        let isStray = false
        const { play } = yield* player(lane, (seen) => {
          const stray = isStray
          isStray = false
          return stray ? throttled("tokens", 1) : admits(seen)
        })
        if (warm) yield* play(calls(300, 1000))
        for (let i = 1; i <= 150; i++) {
          isStray = i % every === 0
          yield* play(calls(1, 1000))
          yield* Effect.sleep("1 minute")
        }
        // 29 s are the ideal
        expect(yield* play(calls(300, 1000))).toBeLessThan(45)
      }))
  )

  it.effect.each(
    [
      { scope: "requests", hint: 1, seconds: 30, most: 1.2 },
      { scope: "requests", hint: undefined, seconds: 30, most: 1.2 },
      { scope: "tokens", hint: 1, seconds: 300, most: 1.6 }
    ] as const
  )("saves what it knew of $scope before all was refused for $seconds s, with a hint of $hint", (
    { hint, most, scope, seconds }
  ) =>
    VirtualClock.wrap(Effect.gen(function*() {
      const provider = () => limited(scope, scope === "tokens" ? bucket(10_000, 10_000) : bucket(10, 10), hint)
      const rateOf = (
        of: { readonly requestsPerSecond?: number | undefined; readonly tokensPerSecond?: number | undefined }
      ) => (scope === "tokens" ? of.tokensPerSecond : of.requestsPerSecond) ?? NaN
      const lane = yield* Lane.make()
      const admits = provider()
      const first = yield* player(lane, (seen) => seen.now < 30 ? admits(seen) : throttled(scope, hint))
      const work = yield* Effect.forkChild(first.play(calls(400, 1000)))
      yield* Effect.sleep("30 seconds")
      const before = rateOf(yield* lane.status)
      yield* Effect.sleep(seconds * 1000)
      const saved = yield* lane.save
      yield* Fiber.interrupt(work)
      expect(rateOf(saved)).toBeGreaterThan(0.45 * before)
      expect(rateOf(saved)).toBeLessThanOrEqual(before)
      const next = yield* Lane.make()
      yield* next.load(saved)
      const { play } = yield* player(next, provider())
      expect(yield* play(calls(300, 1000))).toBeLessThan(most * 29)
    })))

  it.effect.each(
    [
      { of: "requests", start: { requestsPerMinute: 18 }, count: 3000, most: 1.6 },
      { of: "tokens", start: { requestsPerMinute: 18, tokensPerMinute: 18_000 }, count: 2000, most: 3 }
    ] as const
  )(
    "recovers from a start that is a hundred times too low, of $of",
    ({ count, most, of, start }) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ start })
        const { play } = yield* player(lane, limited(of, of === "tokens" ? bucket(30_000, 30_000) : bucket(30, 30), 1))
        expect(yield* play(calls(count, 1000))).toBeLessThan(most * (count / 30 - 1))
      }))
  )

  it.effect("learns a limit of one a minute, below its lowest rate", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      let next = 0
      const rates: Array<number> = []
      const { attempts, play } = yield* player(lane, ({ now }) => {
        if (now < next) return throttled("requests", next - now)
        next = now + 60
        return success
      })
      yield* watched(
        lane,
        (status) => {
          if (refused(attempts) >= 14) rates.push(status.requestsPerSecond)
        },
        play(calls(30))
      )
      expect(rates[0]).toBeLessThan(0.019)
      expect(Math.min(...rates)).toBeGreaterThan(0.019 / 16)
      expect(refused(attempts)).toBeLessThan(20)
    })))

  it.effect.each(["concurrency", "unknown"] as const)(
    "follows a cap of calls in flight that rises from 4 to 64, of which refusals say: %s",
    (scope) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make()
        const { play } = yield* player(
          lane,
          ({ inFlight, now }) => inFlight > (now < 60 ? 4 : 64) ? throttled(scope, 1) : success
        )
        const work = yield* Effect.forkChild(play(calls(1600)))
        yield* Effect.sleep("60 seconds")
        expect((yield* lane.status).inFlight).toBeLessThanOrEqual(5)
        let most = 0
        yield* watched(lane, ({ inFlight }) => most = Math.max(most, inFlight), Effect.sleep("60 seconds"))
        yield* Fiber.interrupt(work)
        expect(most).toBeGreaterThan(50)
      }))
  )
})

describe("Lane, whose provider times out", () => {
  it.effect("changes no limit for a timeout alone", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const before = yield* lane.status
      yield* lane.run(Effect.sleep("1 second"), { tokens: 10, classify: () => ({ _tag: "TimedOut" }) })
      const { inFlightLimit, requestsPerSecond, tokensPerSecond } = yield* lane.status
      expect(inFlightLimit).toBeUndefined()
      expect(tokensPerSecond).toBeUndefined()
      expect(requestsPerSecond).toBe(before.requestsPerSecond)
    })))

  it.effect("lets as many be in flight after an outage as when it was told", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ requestsPerMinute: 1200 })
      const { play } = yield* player(lane, ({ now }) => now > 30 && now < 150 ? { _tag: "TimedOut" } : success, 5)
      const limits: Array<number> = []
      const took = yield* watched(
        lane,
        ({ inFlightLimit, outage }) => {
          if (outage) limits.push(inFlightLimit ?? Infinity)
        },
        play(calls(1500))
      )
      expect(limits.length).toBeGreaterThan(100)
      expect(limits[0]).toBeLessThan(100)
      expect(Math.min(...limits)).toBe(limits[0])
      expect(took).toBeLessThan(1.2 * (75 + 120))
    })))
})

describe("Lane, half of whose calls hang", () => {
  it.effect("sends as many at once as before, after a trial", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const random = seeded(7)
      const once = Effect.suspend(() => {
        const hangs = random() < 0.5
        return lane.run(
          Effect.as(Effect.sleep(hangs ? "20 seconds" : "1 second"), hangs),
          { tokens: 10, classify: (): Lane.Sample => ({ _tag: hangs ? "TimedOut" : "Success" }) }
        )
      })
      const call = Effect.repeat(once, { while: (hangs) => hangs })
      const [took] = yield* Effect.timed(Effect.forEach(calls(600), () => call, { concurrency: 200 }))
      expect(Duration.toSeconds(took)).toBeLessThan(300)
      expect((yield* lane.status).inFlightLimit).toBeUndefined()
    })))
})

describe("Lane, under caps of the user", () => {
  it.effect.each(["Failed", "Overloaded"] as const)(
    "counts attempts that ended %s",
    (_tag) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make({ requestsPerMinute: 60 })
        let n = 0
        const { attempts, play } = yield* player(lane, () => n++ % 3 === 0 ? success : { _tag })
        yield* play(calls(100))
        expect(attempts.length).toBeGreaterThan(290)
        expect(busiestMinute(attempts)).toBeLessThanOrEqual(61)
        expect(busiestMinute(attempts)).toBeGreaterThanOrEqual(59)
      }))
  )

  it.effect("counts the tokens of attempts that failed, and of others what they really used", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ tokensPerMinute: 60_000 })
      let n = 0
      const { attempts, play } = yield* player(
        lane,
        () => n++ % 3 === 0 ? { _tag: "Success", tokens: 400 } : { _tag: "Failed" }
      )
      const work = yield* Effect.forkChild(play(calls(300, 1000)))
      yield* Effect.sleep("3 minutes")
      yield* Fiber.interrupt(work)
      const tokens = attempts.reduce((sum, { sample }) => sum + (sample._tag === "Success" ? 400 : 1000), 0)
      expect(tokens).toBeLessThan(180_000 + 2 * 1000)
      expect(tokens).toBeGreaterThan(0.98 * 180_000)
    })))

  it.effect("has a place again where an attempt was never sent", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ requestsPerMinute: 60, tokensPerMinute: 60_000 })
      let n = 0
      const { attempts, play } = yield* player(lane, () => {
        const i = n++ % 3
        return i === 0 ? success : i === 1 ? { _tag: "Failed" } : { _tag: "Ignored", sent: false }
      })
      const work = yield* Effect.forkChild(play(calls(300, 1000)))
      yield* Effect.sleep("3 minutes")
      yield* Fiber.interrupt(work)
      const sent = attempts.filter(({ sample }) => sample._tag !== "Ignored")
      expect(busiestMinute(sent)).toBeLessThanOrEqual(61)
      expect(sent.length).toBeGreaterThan(0.98 * 180)
    })))
})

describe("Lane, whose provider states a limit", () => {
  const statements: ReadonlyArray<readonly [name: string, stated: (now: number) => number]> = [
    ["60 times too high, and never twice the same", (now) => 600 * (1 + 0.05 * Math.sin(now))],
    ["right and 60 times too high in turn", (now) => Math.floor(now) % 2 === 0 ? 600 : 10]
  ]

  it.effect.each(statements)(
    "does not believe again what refusals disproved: %s",
    ([, stated]) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const lane = yield* Lane.make()
        const take = bucket(10, 10)
        const { attempts, play } = yield* player(lane, ({ now }) => {
          const headers = { requestsPerSecond: stated(now) }
          return take(now) ? { _tag: "Success", headers } : throttled("requests", 1)
        })
        expect(yield* play(calls(1000))).toBeLessThan(1.1 * 99)
        expect(refused(attempts) / 1000).toBeLessThan(0.12)
      }))
  )

  it.effect("saves its lowest rate where the stated one is below that", () =>
    Effect.gen(function*() {
      const lane = yield* Lane.make()
      yield* lane.run(Effect.void, {
        tokens: 1,
        classify: () => ({ _tag: "Success", headers: { requestsPerSecond: 0.001 } })
      })
      expect((yield* lane.status).requestsPerSecond).toBe(0.02)
      expect((yield* lane.save).requestsPerSecond).toBe(0.02)
    }))
})
