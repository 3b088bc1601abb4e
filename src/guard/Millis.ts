/**
 * Durations that a guard takes in milliseconds, refused where they are out of range, and waits in whole ones.
 */
import * as Duration from "effect/Duration"

const of = (where: string, input: Duration.Input, range: string, accepts: (millis: number) => boolean): number => {
  const millis = Duration.toMillis(Duration.fromInputUnsafe(input))
  if (!accepts(millis)) throw new RangeError(`${where} must be ${range}, got ${millis} ms`)
  return millis
}

/** Requires a duration above 0; `Infinity` too. */
export const positive = (where: string, input: Duration.Input): number => of(where, input, "above 0", (n) => n > 0)

/** Requires a duration of at least 0; `Infinity` too. */
export const notNegative = (where: string, input: Duration.Input): number =>
  of(where, input, "at least 0", (n) => n >= 0)

/** Rounds a wait up to what a timer can keep: it has no finer grain, and drops a fraction. What only a sum left over is none. */
export const whole = (millis: number): number => Math.ceil(millis - 1e-6)
