/**
 * The delays of a retry schedule: a curve, its ceiling, chance, and a floor.
 *
 * Each is one step of a pipeline and works on any `Schedule`, ours or yours.
 * A delay is made from left to right:
 *
 * ```text
 * curve            → ceiling    → chance       → (hint)        → floor          → (stop)
 * exponential        capped       fullJitter                     floored (10 ms)
 * Schedule.fibonacci              equalJitter
 * decorrelatedJitter              proportional…
 * delays
 * ```
 *
 * What hints and stops make of it is in `RetrySchedule`.
 *
 * | jitter | delay for ceiling v and u = U(0, 1) | mean |
 * | --- | --- | --- |
 * | `fullJitter` | u·v | v/2 |
 * | `equalJitter` | v/2 + u·v/2 | 3v/4 |
 * | `proportionalJitter` | v·(min + u·(max − min)) | v·(min + max)/2 |
 * | `decorrelatedJitter` | min(cap, base + u·(3·previous − base)) | |
 *
 * All chance comes from Effect's `Random`: same seed, same delays.
 *
 * **Source**: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Backoff from "../../policy/Backoff.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import * as Millis from "../Millis.ts"

/** Holds the defaults of this module. */
export const defaults = {
  /** Growth of `exponential` from one retry to the next. */
  factor: 2,
  /** `floored`: the shortest wait. Full jitter may draw 0, and a retry at once only adds to the trouble. */
  floor: Duration.millis(10),
  /** `proportionalJitter`: the smallest and the largest factor. */
  proportional: { min: 0.8, max: 1.2 }
} as const

/** Draws each delay anew; an infinite one stays infinite whatever the draw. */
const drawn = <O, I, E, R>(
  self: Schedule.Schedule<O, I, E, R>,
  draw: (millis: number, u: number) => number
): Schedule.Schedule<O, I, E, R> =>
  Schedule.modifyDelay(
    self,
    ({ duration }) =>
      Effect.map(
        Random.next,
        (u) => Duration.isFinite(duration) ? Duration.millis(draw(Duration.toMillis(duration), u)) : duration
      )
  )

/**
 * Grows the delay by a factor from retry to retry, for ever: base, base·2, base·4, …
 *
 * **Gotchas**: put `capped` after it, and jitter after that.
 */
export const exponential = (
  base: Duration.Input,
  factor: number = defaults.factor
): Schedule.Schedule<Duration.Duration> => {
  const millis = Millis.positive("Retry.exponential: base", base)
  return Schedule.exponential(
    millis,
    OptionCheck.within("Retry.exponential", "factor", factor, 1, Number.MAX_VALUE)
  )
}

/**
 * Draws each delay between `base` and three times the one before, at most `cap`.
 *
 * **When to use**: few clients on one limit; it finishes sooner than full jitter there, and makes more calls when
 * clients are many.
 *
 * **Details**: delay = min(cap, base + u·(3·previous − base)), previous = base at first.
 */
export const decorrelatedJitter = (options: {
  readonly base: Duration.Input
  readonly cap: Duration.Input
}): Schedule.Schedule<Duration.Duration> => {
  const base = Millis.positive("Retry.decorrelatedJitter: base", options.base)
  const cap = Millis.notBelow("Retry.decorrelatedJitter: cap", options.cap, "base", base)
  return Schedule.fromStep(Effect.sync(() => {
    let previous = base
    return () =>
      Effect.map(Random.next, (u): [Duration.Duration, Duration.Duration] => {
        previous = Backoff.decorrelated(previous, u, base, cap)
        const delay = Duration.millis(previous)
        return [delay, delay]
      })
  }))
}

/** Waits exactly the listed delays, one per retry, then stops. */
export const delays = (list: ReadonlyArray<Duration.Input>): Schedule.Schedule<Duration.Duration> => {
  const all = list.map((input) => {
    Millis.notNegative("Retry.delays: every delay", input)
    return Duration.fromInputUnsafe(input)
  })
  return Schedule.fromStep(Effect.sync(() => {
    let index = 0
    return () => {
      const delay = all[index++]
      return delay === undefined
        ? Cause.done(Duration.zero)
        : Effect.succeed<[Duration.Duration, Duration.Duration]>([delay, delay])
    }
  }))
}

/**
 * Draws the delay between 0 and the schedule's own: u·v. The best spread for many clients, and our default.
 *
 * **Gotchas**: it may draw almost 0, so put `floored` after it.
 */
export const fullJitter = <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>): Schedule.Schedule<O, I, E, R> =>
  drawn(self, Backoff.full)

/** Keeps half of the delay and draws the other half: v/2 + u·v/2. Never shorter than half the backoff. */
export const equalJitter = <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>): Schedule.Schedule<O, I, E, R> =>
  drawn(self, Backoff.equal)

/** Configures {@link proportionalJitter}: factors of the delay, 0 ≤ min ≤ max. */
export interface ProportionalOptions {
  /** Smallest factor. Default 0.8. */
  readonly min?: number | undefined
  /** Largest factor. Default 1.2. */
  readonly max?: number | undefined
}

/**
 * Draws the delay around the schedule's own, between `min` and `max` times it.
 *
 * **Details**: the defaults are those of `Schedule.jittered` and of gRPC; `{ min: 0.75, max: 1 }` is what the
 * providers' SDKs do.
 */
export const proportionalJitter: {
  (options?: ProportionalOptions): <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>) => Schedule.Schedule<O, I, E, R>
  <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>, options?: ProportionalOptions): Schedule.Schedule<O, I, E, R>
} = dual(
  (args) => Schedule.isSchedule(args[0]),
  <O, I, E, R>(
    self: Schedule.Schedule<O, I, E, R>,
    options?: ProportionalOptions
  ): Schedule.Schedule<O, I, E, R> => {
    const where = "Retry.proportionalJitter"
    const min = OptionCheck.nonNegative(where, "min", options?.min ?? defaults.proportional.min)
    const max = options?.max ?? defaults.proportional.max
    if (!(max >= min && Number.isFinite(max))) {
      OptionCheck.refuse(where, "max", `finite and >= min, which is ${min}`, max)
    }
    return drawn(self, (millis, u) => millis * (min + u * (max - min)))
  }
)

/** Never waits longer than `max`. */
export const capped: {
  (max: Duration.Input): <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>) => Schedule.Schedule<O, I, E, R>
  <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>, max: Duration.Input): Schedule.Schedule<O, I, E, R>
} = dual(2, <O, I, E, R>(
  self: Schedule.Schedule<O, I, E, R>,
  max: Duration.Input
): Schedule.Schedule<O, I, E, R> => {
  const limit = Duration.millis(Millis.positive("Retry.capped: max", max))
  return Schedule.modifyDelay(self, ({ duration }) => Effect.succeed(Duration.min(duration, limit)))
})

/** Never waits shorter than `min`, by default 10 milliseconds. */
export const floored: {
  (min?: Duration.Input): <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>) => Schedule.Schedule<O, I, E, R>
  <O, I, E, R>(self: Schedule.Schedule<O, I, E, R>, min?: Duration.Input): Schedule.Schedule<O, I, E, R>
} = dual(
  (args) => Schedule.isSchedule(args[0]),
  <O, I, E, R>(
    self: Schedule.Schedule<O, I, E, R>,
    min: Duration.Input = defaults.floor
  ): Schedule.Schedule<O, I, E, R> => {
    const limit = Duration.millis(Millis.positive("Retry.floored: min", min))
    return Schedule.modifyDelay(self, ({ duration }) => Effect.succeed(Duration.max(duration, limit)))
  }
)
