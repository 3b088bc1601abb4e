import { describe, expect, it } from "@effect/vitest"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Monotonic from "../../src/guard/Monotonic.ts"
import { hour, stepped } from "./steps.ts"

/** Is a clock of a class with private fields, which only the object itself can read. */
class Counting implements Clock.Clock {
  #millis = 5
  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())
  currentTimeMillisUnsafe() {
    return 1e12 + this.#millis
  }
  currentTimeNanosUnsafe() {
    return BigInt(this.currentTimeMillisUnsafe()) * 1_000_000n
  }
  monotonicTimeNanosUnsafe() {
    return BigInt(this.#millis) * 1_000_000n
  }
  sleep(duration: Duration.Duration) {
    return Effect.sync(() => {
      this.#millis += Duration.toMillis(duration)
    })
  }
}

describe("Monotonic", () => {
  it.effect("is a clock that no step of the time of day moves", () =>
    stepped((set) =>
      Effect.clockWith((wall) =>
        Effect.gen(function*() {
          const clock = Monotonic.clock(wall)
          const began = clock.currentTimeMillisUnsafe()
          set(-hour)
          yield* clock.sleep(Duration.seconds(2))
          expect(clock.currentTimeMillisUnsafe() - began).toBe(2000)
          expect(yield* clock.currentTimeMillis).toBe(Monotonic.millis(wall))
          expect(yield* clock.currentTimeNanos).toBe(clock.currentTimeNanosUnsafe())
        })
      )
    ))

  it.effect("takes any clock, one with private fields too", () =>
    Effect.gen(function*() {
      const clock = Monotonic.clock(new Counting())
      yield* clock.sleep(Duration.millis(2))
      expect([clock.currentTimeMillisUnsafe(), Monotonic.millis(clock)]).toEqual([7, 7])
      expect([yield* clock.monotonicTimeNanos, yield* clock.currentTimeNanos]).toEqual([7_000_000n, 7_000_000n])
    }))
})
