/**
 * What becomes of an output that nobody reads: a pipe whose reader pauses, or one that has none.
 *
 * As long as the job runs, it waits. Told to stop, it gives the reader a grace for what is being written, and ends: what
 * was not taken is in the journal. A file needs none of this: a disk takes a text or fails.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { OutputError } from "../JobError.ts"
import type * as Stop from "../Stop.ts"

/** Says when a reader is not waited for any more. */
export interface Options {
  /** Ends the wait, after the grace. Default: never. */
  readonly stop?: Effect.Effect<Stop.Stop> | undefined
}

/** Holds the defaults of this module. */
export const defaults = {
  /** Time for a text that is being written when the job is told to stop, and for each after that. */
  grace: Duration.seconds(1)
} as const

/** Bounds what waits for a reader by the stop of the job. */
export const bound =
  (path: string, { stop = Effect.never }: Options) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | OutputError, R> =>
    Effect.raceFirst(
      Effect.interruptible(self),
      Effect.interruptible(Effect.flatMap(Effect.andThen(stop, Effect.sleep(defaults.grace)), () =>
        Effect.fail(
          new OutputError({
            message: `nobody reads ${path}, and the run was asked to end. What was not taken is safe in the journal: ` +
              "run the same command again.",
            reason: "unread",
            path
          })
        )))
    )
