/**
 * Time that only goes forward, for what is measured: no clock that is set forward or back moves it.
 *
 * It says nothing of the time of day. Both a test's clock and the machine's have it.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Reads the milliseconds of a clock since a moment of its own. */
export const millis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** Reads the seconds of a clock since a moment of its own. */
export const seconds = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e9

/** Gives a clock whose time of day only goes forward too, to what measures by it. */
export const clock = (clock: Clock.Clock): Clock.Clock => {
  const read = () => millis(clock)
  const nanos = () => clock.monotonicTimeNanosUnsafe()
  // each asks the clock itself: one that is an object of a class may have private fields
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
