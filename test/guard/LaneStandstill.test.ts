import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as Kernel from "../../src/policy/lane/LaneKernel.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { bucket, calls, player, stalled, throttled } from "./lanes.ts"

const started = { startImmediately: true } as const

const queue = (lane: Lane.Lane, count: number, priority: "bulk" | "interactive") =>
  Effect.forEach(calls(count), (tokens) => Effect.forkChild(lane.run(Effect.never, { tokens, priority }), started))

/** Counts the refusals of a burst, by 40 per second, in a program that stands still for so long between 60 ms and 60 ms. */
const refused = (block: number) =>
  VirtualClock.wrap(
    stalled(block, 60)(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const take = bucket(40, 40)
      const { attempts, play } = yield* player(
        lane,
        ({ now }) => take(now) ? { _tag: "Success" } : throttled("requests", 1)
      )
      yield* play(calls(300))
      return attempts.filter(({ sample }) => sample._tag === "Throttled").length
    }))
  )

describe("Lane, in a program that stands still", () => {
  it.effect("is refused no more often than in one that runs", () =>
    Effect.gen(function*() {
      expect(yield* refused(600)).toBeLessThan(yield* refused(0))
    }))

  it.effect.each(["a look", "a new call"] as const)(
    "raises no rate for it, where %s comes before the late timer",
    (first) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const clock = yield* Clock.Clock
        yield* stalled(400, 1000)(Effect.gen(function*() {
          const lane = yield* Lane.make()
          const late = yield* Effect.forkChild(clock.sleep(Duration.millis(1400)), started)
          yield* queue(lane, 200, "bulk")
          yield* Effect.sleep("1 second")
          const { requestsPerSecond: before } = yield* lane.status
          yield* Fiber.join(late)
          if (first === "a new call") yield* queue(lane, 1, "interactive")
          const { requestsPerSecond: after } = yield* lane.status
          expect(before).toBeGreaterThan(20)
          // one step at most, of what the time before it lacked
          expect(after).toBeLessThan(1.2 * before)
        }))
      }))
  )

  it("ends a pause and an outage when it would have ended", () => {
    const [ticket, sent] = Kernel.admit(Kernel.make(), 10, undefined, 0)
    const [, state] = Kernel.settle(sent, ticket, { _tag: "Throttled", scope: "requests", retryAfter: 5 }, 0.1)
    const late = Kernel.stoodStill(state, 3)
    expect(Kernel.wait(late, 4)).toEqual(Kernel.wait(state, 4))
    expect(Kernel.wait(late, 5.2)).toEqual(Kernel.wait(state, 5.2))
    expect(late.outage).toBe(state.outage)
  })
})
