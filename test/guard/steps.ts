/** Sets the wall clock of a virtual run forward or back, as a machine's may be while time goes on. */
import * as Clock from "effect/Clock"
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

/** Is an hour in milliseconds. */
export const hour = 3_600_000
