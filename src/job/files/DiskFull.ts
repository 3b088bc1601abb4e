/**
 * How a full disk is waited for: what could not be written is tried again at an even pace, until there is space, the
 * wait is over or the job is told to stop. Journal, results and errors wait alike.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as PlatformError from "effect/PlatformError"
import * as Millis from "../../guard/Millis.ts"
import { isDiskFull } from "../JobError.ts"
import type * as Stop from "../Stop.ts"

/** Says how long a full disk is waited for. */
export interface Options {
  /** How long a full disk is waited for, 0 for not at all. Default: 30 seconds. */
  readonly fullDiskWait?: Duration.Input | undefined
  /** Time between two tries on a full disk, above 0. Default: 1 second. */
  readonly fullDiskEvery?: Duration.Input | undefined
  /** Ends the wait. Default: never. */
  readonly stop?: Effect.Effect<Stop.Stop> | undefined
  /**
   * Hears of each try that found the disk full, with the milliseconds left, and of the end of a wait with 0. Where it throws,
   * the job breaks with that.
   */
  readonly onFullDisk?: ((path: string, millisLeft: number) => void) | undefined
}

/** Holds the defaults of this module. */
export const defaults = { fullDiskWait: Duration.seconds(30), fullDiskEvery: Duration.seconds(1) } as const

/**
 * Tries to write a file again while that fails for want of space: every `fullDiskEvery`, for `fullDiskWait`. No try is cut
 * short by the stop.
 */
export const retry = (path: string, options: Options) => {
  const finite = (millis: number) => millis >= 0 && millis < Infinity
  const fullDiskWait = options.fullDiskWait ?? defaults.fullDiskWait
  const wait = Millis.accepted("JobFiles.run: fullDiskWait", fullDiskWait, "at least 0 and finite", finite)
  const every = Millis.finite("JobFiles.run: fullDiskEvery", options.fullDiskEvery ?? defaults.fullDiskEvery)
  const stop = options.stop ?? Effect.never
  const tell = (millisLeft: number) => Effect.sync(() => options.onFullDisk?.(path, millisLeft))
  return <A, R>(self: Effect.Effect<A, PlatformError.PlatformError, R>) => {
    const again = (error: PlatformError.PlatformError, more: number): typeof self =>
      Effect.flatMap(
        Effect.andThen(tell(more * every), Effect.timeoutOption(stop, every)),
        (told) => Option.isSome(told) ? Effect.fail(error) : tries(more - 1)
      )
    const tries = (more: number): typeof self =>
      Effect.catchIf(self, (error) => more > 0 && isDiskFull(error), (error) => again(error, more))
    const most = Math.ceil(wait / every)
    return Effect.catchIf(
      self,
      (error) => most > 0 && isDiskFull(error),
      (error) => Effect.ensuring(again(error, most), tell(0))
    )
  }
}
