import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as LaneMetrics from "../../src/guard/lane/LaneMetrics.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const classify = (): Lane.Sample => ({ _tag: "Success" })
const started = { startImmediately: true } as const

class Secret extends Context.Service<Secret, string>()("test/Secret") {}

const tenant = (name: string) => Effect.provideService(Metric.CurrentMetricAttributes, { tenant: name })

const waits = (lane: string, attributes: Record<string, string>) =>
  Effect.map(
    Metric.value(Metric.withAttributes(LaneMetrics.waitSeconds, { lane, ...attributes })),
    ({ count, max }) => [count, Math.round(max)]
  )

describe("Lane, whose context", () => {
  it.effect("measures each wait under the attributes of the call that waited, whoever woke it", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ key: "tenants", maxInFlight: 1 })
      const call = (name: string, seconds: number) =>
        Effect.forkChild(lane.run(Effect.sleep(seconds * 1000), { tokens: 1, classify }).pipe(tenant(name)), started)
      const fibers = [yield* call("a", 4), yield* call("b", 8), yield* call("c", 1)]
      for (const fiber of fibers) yield* Fiber.join(fiber)
      expect(yield* waits("tenants", { tenant: "a" })).toEqual([1, 0])
      expect(yield* waits("tenants", { tenant: "b" })).toEqual([1, 4])
      expect(yield* waits("tenants", { tenant: "c" })).toEqual([1, 12])
    })))

  it.effect("writes decisions and limits where the lane was made, without attributes of a caller", () =>
    Effect.gen(function*() {
      const home: Metric.MetricRegistry = new Map()
      const lanes = yield* Effect.provideService(Lanes.make(), Metric.MetricRegistry, home)
      const elsewhere: Metric.MetricRegistry = new Map()
      yield* Effect.gen(function*() {
        const lane = yield* lanes.get("a")
        const permit = yield* lane.acquire({ tokens: 1 })
        yield* permit.settle({ _tag: "Throttled", scope: "requests", retryAfter: Duration.seconds(1) })
      }).pipe(tenant("t"), Effect.provideService(Metric.MetricRegistry, elsewhere))
      const written = (registry: Metric.MetricRegistry) =>
        [...registry.values()].map(({ attributes, id }) => `${id} ${JSON.stringify(attributes)}`).toSorted()
      expect(written(home)).toEqual([
        `effect_together_lane_decisions_total {"lane":"a","subject":"pause","reason":"hint"}`,
        `effect_together_lane_decisions_total {"lane":"a","subject":"requests","reason":"start-refused"}`,
        `effect_together_lane_in_flight {"lane":"a"}`,
        `effect_together_lane_queued {"lane":"a"}`,
        `effect_together_lane_requests_per_second {"lane":"a"}`
      ])
      expect(written(elsewhere)).toEqual([
        `effect_together_lane_attempts_total {"tenant":"t","lane":"a","outcome":"throttled"}`,
        `effect_together_lane_wait_seconds {"tenant":"t","lane":"a"}`
      ])
    }))

  it.effect("sleeps with nothing of a caller's context but its clock and its scheduler", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const clock = yield* Clock.clockWith(Effect.succeed)
      const seen: Array<boolean> = []
      const watched: Clock.Clock = {
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
        currentTimeMillis: clock.currentTimeMillis,
        currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
        currentTimeNanos: clock.currentTimeNanos,
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
        monotonicTimeNanos: clock.monotonicTimeNanos,
        sleep: (duration) =>
          Effect.contextWith((context: Context.Context<never>) => {
            seen.push(context.mapUnsafe.has(Secret.key))
            return clock.sleep(duration)
          })
      }
      const lane = yield* Lane.make({ requestsPerMinute: 60 })
      const call = lane.run(Effect.void, { tokens: 1, classify })
      yield* Effect.all([call, call, call]).pipe(
        Effect.provideService(Secret, "key"),
        Effect.provideService(Clock.Clock, watched)
      )
      expect(seen).toEqual([false, false])
    })))

  it.effect("names itself, and the wait, in the span of the call", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make({ key: "spanned", requestsPerMinute: 60 })
      const call = Effect.gen(function*() {
        const span = yield* Effect.currentSpan
        yield* lane.run(Effect.void, { tokens: 1, classify })
        return [span.attributes.get("lane.key"), span.attributes.get("lane.waited_ms")]
      }).pipe(Effect.withSpan("call"))
      expect(yield* call).toEqual(["spanned", 0])
      expect(yield* call).toEqual(["spanned", expect.closeTo(1000, -1)])
    })))
})
