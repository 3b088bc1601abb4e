/** Clocks that do what a machine's may do: a wall clock that is set while time goes on, timers that fire too soon. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

/** Runs in virtual time with a wall clock that can be set: by milliseconds, below 0 for back. */
export const stepped = <A, E, R>(use: (set: (millis: number) => void) => Effect.Effect<A, E, R>) =>
  VirtualClock.wrap(Effect.clockWith((clock) => {
    let skew = 0
    const millis = () => clock.currentTimeMillisUnsafe() + skew
    const nanos = () => clock.currentTimeNanosUnsafe() + BigInt(skew) * 1_000_000n
    // a clock inherits what is not changed, so all of it is there
    const set = Object.create(clock, {
      currentTimeMillisUnsafe: { value: millis },
      currentTimeMillis: { value: Effect.sync(millis) },
      currentTimeNanosUnsafe: { value: nanos },
      currentTimeNanos: { value: Effect.sync(nanos) }
    }) as Clock.Clock
    return Effect.provideService(use((by) => void (skew += by)), Clock.Clock, set)
  }))

/** Runs in virtual time with timers that fire too soon, by milliseconds, as those of Node do by up to one. */
export const hasty = <A, E, R>(millis: number, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  VirtualClock.wrap(Effect.clockWith((clock) =>
    Effect.provideService(
      self,
      Clock.Clock,
      Object.assign(Object.create(clock), {
        sleep: (duration: Duration.Duration) => clock.sleep(Duration.subtract(duration, Duration.millis(millis)))
      })
    )
  ))

/** Is an hour in milliseconds. */
export const hour = 3_600_000
