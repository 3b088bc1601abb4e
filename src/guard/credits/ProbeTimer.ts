/**
 * When the next probe of a suspended account is due: what the schedule says, and the timer that waits for it.
 *
 * A schedule is asked once for each refusal. Its interval is also the time that the next probe has: a probe that has
 * shown nothing when it is over loses its turn.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"

/** What a probe schedule is told before each probe. */
export interface ProbeInput {
  /** Probes sent so far in this suspension. */
  readonly probes: number
  readonly suspendedSeconds: number
}

/** A schedule of probes: only its delays count, and where it ends, probing ends. */
export type ProbeSchedule = Schedule.Schedule<unknown, ProbeInput>

/** Times the probes of one account. */
export interface ProbeTimer {
  /** Asks the schedule how many seconds to wait from now on; `undefined` where it ends. Dies where the schedule does. */
  readonly next: (nowMillis: number, input: ProbeInput) => Effect.Effect<number | undefined>
  /** Waits that long, and tells when it was due. Ends the wait before. */
  readonly start: (nowSeconds: number, onDue: (at: number) => void) => Effect.Effect<void>
  /** Reads when the present wait is over, or the last one was. */
  readonly dueAt: () => number
  /** Ends the wait; the schedule begins anew. */
  readonly reset: Effect.Effect<void>
}

/** Makes a timer that lives in the given scope. */
export const make = (schedule: ProbeSchedule, scope: Scope.Scope): ProbeTimer => {
  let step: ((now: number, input: ProbeInput) => Pull.Pull<[unknown, Duration.Duration], never, unknown>) | undefined
  let interval = Duration.zero
  let dueAt = 0
  let timer: Fiber.Fiber<void> | undefined

  // one that has fired is none to end
  const stop = Effect.sync(() => timer?.interruptUnsafe())

  return {
    next: (nowMillis, input) =>
      Effect.gen(function*() {
        step ??= yield* Schedule.toStep(schedule)
        interval = (yield* step(nowMillis, input))[1]
        return Duration.toSeconds(interval)
      }).pipe(Pull.catchDone(() => Effect.undefined)),
    start: (nowSeconds, onDue) =>
      Effect.suspend(() => {
        const at = dueAt = nowSeconds + Duration.toSeconds(interval)
        const waiting = Effect.andThen(Effect.sleep(interval), Effect.sync(() => onDue(at)))
        return stop.pipe(
          Effect.andThen(Effect.forkIn(Effect.interruptible(waiting), scope)),
          Effect.andThen((fiber) => Effect.sync(() => void (timer = fiber)))
        )
      }),
    dueAt: () => dueAt,
    reset: Effect.andThen(stop, Effect.sync(() => void (step = undefined)))
  }
}
