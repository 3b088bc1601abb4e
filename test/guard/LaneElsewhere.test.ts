import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Fallback from "../../src/guard/Fallback.ts"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const started = { startImmediately: true } as const
const down = Effect.fail(new TogetherError.OverloadedError({ message: "503" }))
const elsewhere = Effect.provideService(Fallback.CurrentIsLast, false)

/** Makes a lane whose provider fails everything: seven failures in a row are an outage. */
const inOutage = Effect.gen(function*() {
  const lane = yield* Lane.make({ start: { requestsPerMinute: 60_000 } })
  for (let i = 0; i < 7; i++) yield* Effect.exit(lane.run(down, { tokens: 1 }))
  expect((yield* lane.status).outage).toBe(true)
  return lane
})

describe("Lane, where a call has another target", () => {
  it.effect("refuses it at once while the provider is down, and lets it probe when a probe is due", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* inOutage
      let sent = 0
      const call = elsewhere(lane.run(Effect.andThen(Effect.sync(() => sent++), down), { tokens: 1 }))
      const begun = yield* Clock.currentTimeMillis
      const refused = yield* Effect.flip(call)
      expect(refused).toMatchObject({ _tag: "LaneOverflowError", reason: "outage", queued: 0 })
      expect(refused.message).toMatch(/fails everything, and this call does not wait until it is up again/)
      expect([sent, (yield* Clock.currentTimeMillis) - begun]).toEqual([0, 0])
      yield* Effect.sleep(refused._tag === "LaneOverflowError" ? refused.estimate ?? 0 : 0)
      expect([(yield* Effect.flip(call))._tag, sent]).toEqual(["OverloadedError", 1])
    })))

  it.effect("refuses it where an outage begins while it waits, and keeps those that have none", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      // one is sent per second, and all fail half a second before the eighth would be sent
      const lane = yield* Lane.make({ requestsPerMinute: 60 })
      const begun = yield* Clock.currentTimeMillis
      const failing = Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => Effect.andThen(Effect.sleep(begun + 6500 - now), down)
      )
      yield* Effect.forEach(
        Array.from({ length: 7 }),
        () => Effect.forkChild(lane.run(failing, { tokens: 1 }), started)
      )
      yield* Effect.sleep("6100 millis")
      const moves = yield* Effect.forkChild(
        Effect.flip(elsewhere(lane.run(Effect.succeed("sent"), { tokens: 1, deadlineAt: 1e15 }))),
        started
      )
      const stays = yield* Effect.forkChild(lane.run(Effect.succeed("sent"), { tokens: 1 }), started)
      const leaves = yield* Effect.forkChild(elsewhere(lane.run(Effect.void, { tokens: 1 })), started)
      yield* Fiber.interrupt(leaves)
      expect((yield* lane.status).queued).toBe(2)
      expect(yield* Fiber.join(moves)).toMatchObject({ reason: "outage" })
      const { outage, queued } = yield* lane.status
      expect([outage, queued]).toEqual([true, 1])
      expect(yield* Fiber.join(stays)).toBe("sent")
      expect((yield* lane.status).outage).toBe(false)
    })))

  it.effect("lets it wait for anything but an outage", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ requestsPerMinute: 60 })
      const calls = Effect.all([1, 2, 3].map((n) => elsewhere(lane.run(Effect.succeed(n), { tokens: 1 }))), {
        concurrency: "unbounded"
      })
      expect(yield* calls).toEqual([1, 2, 3])
    })))

  it.effect("is told so by a fallback, for every target but the last of all", () =>
    Effect.gen(function*() {
      const seen: Array<readonly [string, boolean]> = []
      const target = (name: string) =>
        Effect.flatMap(Fallback.CurrentIsLast, (isLast) => {
          seen.push([name, isLast])
          return down
        })
      yield* Effect.exit(
        Fallback.run(["a", "b"], (outer) => Fallback.run(["1", "2"], (inner) => target(`${outer}${inner}`)))
      )
      expect(seen).toEqual([["a1", false], ["a2", false], ["b1", false], ["b2", true]])
      seen.length = 0
      yield* Effect.exit(Stream.runDrain(Fallback.stream(["s", "t"], (name) => Stream.fromEffect(target(name)))))
      expect(seen).toEqual([["s", false], ["t", true]])
    }))

  it.effect("reaches the next target within a moment, however long the outage is", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* inOutage
      const begun = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(
        Fallback.run(["down", "up"], (name) => name === "up" ? Effect.succeed(name) : lane.run(down, { tokens: 1 }))
      )
      expect(exit).toStrictEqual(Exit.succeed("up"))
      expect((yield* Clock.currentTimeMillis) - begun).toBeLessThan(Duration.toMillis("1 second"))
    })))
})
