/** What runs again and again beside a job, and must not slow it down. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/**
 * Repeats a pass, with a pause behind each: of `every`, or 20 times as long as the pass took. A look at the lanes of a
 * hundred thousand models takes seconds, and the job needs them more.
 */
export const repeat = <A, E, R>(pass: Effect.Effect<A, E, R>, every: Duration.Input): Effect.Effect<never, E, R> =>
  Effect.forever(
    Effect.flatMap(
      Effect.timed(pass),
      ([took]) => Effect.sleep(Duration.max(Duration.fromInputUnsafe(every), Duration.times(took, 20)))
    )
  )
