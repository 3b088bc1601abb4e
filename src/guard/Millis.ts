/**
 * Durations that a user gives, in milliseconds, refused where they are out of range: in one wording for all modules, as
 * `Retry.capped: max must be above 0, got 0 ms`. And waits in whole milliseconds.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/** Reads a duration; nothing if it is invalid. Effect would take `NaN` for 0. */
export const read = (input: Duration.Input): Option.Option<Duration.Duration> =>
  Number.isNaN(input) ? Option.none() : Duration.fromInput(input)

/** Says what is wrong with an invalid duration, or with one outside a range that is given in words; or nothing. */
export const complaint = (
  where: string,
  input: Duration.Input,
  range = "a duration",
  accepts: (millis: number) => boolean = () => true
): string | undefined => {
  const duration = read(input)
  if (Option.isNone(duration)) return `${where} must be a duration, got ${String(input)}`
  const millis = Duration.toMillis(duration.value)
  return accepts(millis) ? undefined : `${where} must be ${range}, got ${millis} ms`
}

/** Requires a duration that is accepted, or any, one below 0 too. `where` names function and field. */
export const accepted = (
  where: string,
  input: Duration.Input,
  range?: string,
  accepts?: (millis: number) => boolean
): number => {
  const wrong = complaint(where, input, range, accepts)
  if (wrong !== undefined) throw new RangeError(wrong)
  return Duration.toMillis(Duration.fromInputUnsafe(input))
}

/** The range of what is above 0; `Infinity` too. */
export const aboveZero = ["above 0", (millis: number) => millis > 0] as const

/** Requires a duration above 0; `Infinity` too. */
export const positive = (where: string, input: Duration.Input): number => accepted(where, input, ...aboveZero)

/** Requires a duration of at least 0; `Infinity` too. */
export const notNegative = (where: string, input: Duration.Input): number =>
  accepted(where, input, "at least 0", (n) => n >= 0)

/** Requires a duration above 0 that ends. */
export const finite = (where: string, input: Duration.Input): number =>
  accepted(where, input, "above 0 and finite", (n) => n > 0 && n < Infinity)

/** Requires a duration of so many milliseconds at least and at most. */
export const within = (where: string, input: Duration.Input, least: number, most: number): number =>
  accepted(where, input, `in [${least}, ${most}] ms`, (n) => n >= least && n <= most)

/** Requires a duration that is not below another field, of so many milliseconds. */
export const notBelow = (where: string, input: Duration.Input, field: string, least: number): number =>
  accepted(where, input, `at least ${field}, which is ${least} ms`, (n) => n >= least)

/** Rounds a wait up to whole milliseconds, since a timer drops fractions. Ignores the rounding errors of sums. */
export const whole = (millis: number): number => Math.ceil(millis - 1e-6)
