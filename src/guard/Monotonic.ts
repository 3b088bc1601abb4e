/**
 * Time that only goes forward, for measuring: setting the clock forward or back does not move it.
 *
 * It does not tell the time of day. A test's clock has it as well as the machine's.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Reads the milliseconds of a clock since a moment of its own. */
export const millis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** Reads the seconds of a clock since a moment of its own. */
export const seconds = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e9

/** Makes a clock whose time of day also only goes forward, for code that measures by the time of day. */
export const clock = (clock: Clock.Clock): Clock.Clock => {
  const read = () => millis(clock)
  const nanos = () => clock.monotonicTimeNanosUnsafe()
  // each method calls the clock itself, which may be an object with private fields
  return {
    currentTimeMillisUnsafe: read,
    currentTimeMillis: Effect.sync(read),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: clock.monotonicTimeNanos,
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) => clock.sleep(duration)
  }
}
