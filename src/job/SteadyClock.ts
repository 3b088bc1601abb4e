/**
 * The time of day as it was when a job began, plus what has passed since on the monotonic clock.
 *
 * Reports and progress are drawn by it: a clock that is set forward or back during a run moves no point of a timeline,
 * and no row seems to have taken a day or less than nothing.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Monotonic from "../guard/Monotonic.ts"

/** Tells milliseconds since the epoch. */
export type SteadyClock = () => number

/** Starts a steady clock from a clock. */
export const from = (clock: Clock.Clock): SteadyClock => {
  const offset = clock.currentTimeMillisUnsafe() - Monotonic.millis(clock)
  return () => Math.round(offset + Monotonic.millis(clock))
}

/** Starts a steady clock from the clock of the fiber. */
export const make: Effect.Effect<SteadyClock> = Effect.clockWith((clock) => Effect.sync(() => from(clock)))
