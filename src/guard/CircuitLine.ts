/**
 * The calls that wait at a circuit until it admits them.
 *
 * They stand in a line, one line for each circuit, and only the first call looks whether the circuit lets it through;
 * the others follow one after the other. A call with a deadline looks by itself, since in the line its deadline could
 * pass before its turn. It fails at once if the circuit will not admit calls before that.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Random from "effect/Random"
import { CircuitOpenError } from "../domain/TogetherError.ts"
import * as Deadline from "./Deadline.ts"
import * as Turns from "./Turns.ts"

/** How long a waiting call leaves the probe of another call alone before it looks again. */
export const probeWait: Duration.Duration = Duration.seconds(1)

/** Describes a circuit that admits nobody: for how long, if that is known. */
export interface Shut {
  readonly key: string
  readonly retryAfter?: Duration.Duration | undefined
}

/** Makes the error of a call that is not sent. */
export const refusal = ({ key, retryAfter }: Shut): CircuitOpenError =>
  new CircuitOpenError({
    key,
    retryAfter,
    message: retryAfter === undefined
      ? `The circuit of ${key} is half open: another call is probing whether the provider recovered. Try again shortly.`
      : `The circuit of ${key} is open after repeated failures: nothing was sent. Try again in ${
        Duration.format(Duration.seconds(Math.ceil(Duration.toSeconds(retryAfter))))
      }.`
  })

/** Waits until a call may ask its circuit again; fails where its deadline comes before. */
export type CircuitLine = (shut: Shut) => Effect.Effect<void, CircuitOpenError>

/** A short random wait, so that calls do not all come at once. */
const spread = Effect.map(Random.next, (u) => Duration.times(probeWait, u))

/** Finds how long to wait at a circuit, or fails where the deadline comes before. */
const waitFor = Effect.fnUntraced(function*(shut: Shut) {
  const wait = Duration.sum(shut.retryAfter ?? probeWait, yield* spread)
  return (yield* Deadline.allows(wait)) ? wait : yield* refusal(shut)
})

/**
 * Waits until a circuit may admit a call. Returns how long the call still waits then: not at all if it is a probe, else
 * a short random time, so that waiting calls do not all come back at once.
 */
const untilAdmitting = (
  circuits: CircuitBreaker.CircuitBreaker,
  key: string
): Effect.Effect<Duration.Duration, CircuitOpenError> =>
  // the store is in memory, which cannot fail
  Effect.flatMap(Effect.orDie(circuits.state(key)), (state) => {
    if (state._tag === "Closed") return spread
    const isShut = state._tag === "Open" ? Duration.isPositive(state.retryAfter) : state.probing
    return isShut
      ? waitFor(state).pipe(Effect.flatMap(Effect.sleep), Effect.andThen(untilAdmitting(circuits, key)))
      : Effect.succeed(Duration.zero)
  })

/** Makes the lines of some circuits; a line lasts as long as somebody waits in it. */
export const make = (circuits: CircuitBreaker.CircuitBreaker): CircuitLine => {
  // no `RcMap`, which interrupts whoever comes once its scope has closed: a circuit goes on then
  const lines = new Map<string, { readonly turns: Turns.Turns; waiting: number }>()
  const inLine = <A, E>(key: string, self: Effect.Effect<A, E>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const line = lines.get(key) ?? { turns: Turns.make(), waiting: 0 }
        lines.set(key, line)
        line.waiting++
        return line
      }),
      ({ turns }) => turns.take(self),
      (line) => Effect.sync(() => --line.waiting === 0 && lines.delete(key))
    )
  return Effect.fnUntraced(function*(shut: Shut) {
    const shutFor = yield* waitFor(shut)
    const looks = (yield* Deadline.CurrentDeadline) !== undefined
    const wait = looks ? shutFor : yield* inLine(shut.key, untilAdmitting(circuits, shut.key))
    // a probe begins in this very step, so that the next in line finds it
    if (!Duration.isZero(wait)) yield* Effect.sleep(wait)
  })
}
