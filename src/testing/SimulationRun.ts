/**
 * A simulation that runs: on the `Clock` service, at a scale, with its caller's waits and departures.
 *
 * ```text
 * arrive ─► sleep until the reply is due ─► finish
 *               └─ interrupted ──────────► cancel
 * ```
 *
 * Time begins with the first request and follows `Clock`, so a run inside
 * `TestClock` or `VirtualClock` costs no real time. `scale` lets it go faster
 * than the clock: at 60, a minute of the provider takes a second. A change of
 * it wakes whoever sleeps, to sleep on at the new pace.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { refuse } from "./internal/argument.ts"
import * as Simulation from "./Simulation.ts"

/** Holds a simulation that runs. */
export interface Run {
  /** Reads the state as the last event left it. */
  readonly state: () => Simulation.State
  /** Reads the simulation's time, in seconds since its first request. */
  readonly now: Effect.Effect<number>
  /** Reads the wall clock that goes with it, in epoch seconds. */
  readonly epoch: Effect.Effect<number>
  /** Sets the state from what it is now. */
  readonly update: (f: (state: Simulation.State, at: number) => Simulation.State) => Effect.Effect<void>
  /** Sets the state and returns something about it. */
  readonly modify: <A>(
    f: (state: Simulation.State, at: number) => readonly [A, Simulation.State]
  ) => Effect.Effect<A>
  /** Sleeps until a time of the simulation. */
  readonly sleepUntil: (at: number) => Effect.Effect<void>
  /** Begins again with new options, at time 0; the scale stays. */
  readonly reset: (options: Simulation.Options, seed: number) => void
  /** Changes how many seconds pass per second of the clock, from now on. */
  readonly setScale: (scale: number) => Effect.Effect<void>
  readonly scale: () => number
}

/** Tells whether time can run at a scale: beyond these bounds, waits cannot be expressed in milliseconds. */
export const isScale = (scale: number): boolean => scale >= 1e-6 && scale <= 1e6

const checked = (scale: number): number =>
  isScale(scale) ? scale : refuse("Emulator.layer", "scale", "in [1e-6, 1e6]", scale)

/**
 * Makes a run of a new simulation.
 *
 * **Errors**: throws a `RangeError` for options that `Simulation.make` refuses and for a scale that is not above 0.
 */
export const make = (options: Simulation.Options, seed: number, initialScale: number): Run => {
  let state = Simulation.make(options, seed)
  let scale = checked(initialScale)
  /** The clock's nanoseconds and the simulation's seconds that belong together. */
  let base: { readonly nanos: bigint; readonly at: number } | undefined
  let epochBase = 0
  /** Wakes whoever sleeps, for the time that is left has another length now. */
  const sleepers = new Set<() => void>()
  const read = (clock: Clock.Clock): number => {
    const nanos = clock.monotonicTimeNanosUnsafe()
    if (base === undefined) {
      base = { nanos, at: 0 }
      epochBase = clock.currentTimeMillisUnsafe() / 1000
    }
    return Math.max(state.now, base.at + Number(nanos - base.nanos) / 1e9 * scale)
  }
  const now = Clock.clockWith((clock) => Effect.sync(() => read(clock)))
  const modify: Run["modify"] = (f) =>
    Clock.clockWith((clock) =>
      Effect.sync(() => {
        const [result, next] = f(state, read(clock))
        state = next
        return result
      })
    )
  const sleep = (seconds: number): Effect.Effect<void> =>
    Effect.contextWith((context: Context.Context<never>) => {
      const clock = Context.get(context, Clock.Clock)
      const from = clock.monotonicTimeNanosUnsafe()
      const pace = scale
      const nap = Effect.callback<boolean>((resume) => {
        // one fiber for the timer, not the two of a race: a stream sleeps before every frame
        const timer = Effect.runForkWith(context)(clock.sleep(Duration.millis(seconds * 1000 / pace)))
        const end = (early: boolean) => {
          sleepers.delete(wake)
          resume(Effect.succeed(early))
          timer.interruptUnsafe()
        }
        const wake = () => end(true)
        sleepers.add(wake)
        timer.addObserver(() => end(false))
        return Effect.sync(wake)
      })
      return Effect.flatMap(nap, (early) => {
        const left = seconds - Number(clock.monotonicTimeNanosUnsafe() - from) / 1e9 * pace
        return early && left > 0 ? sleep(left) : Effect.void
      })
    })
  return {
    state: () => state,
    now,
    epoch: Effect.map(now, (at) => epochBase + at),
    modify,
    update: (f) => modify((current, at) => [undefined, f(current, at)]),
    sleepUntil: (at) =>
      at === Infinity
        ? Effect.never
        : Effect.flatMap(now, (from) => at > from ? sleep(at - from) : Effect.void),
    reset: (options, seed) => {
      // ids go on counting: a call from before that ends late must not end another
      state = { ...Simulation.make(options, seed), nextId: state.nextId }
      base = undefined
    },
    setScale: (next) =>
      Clock.clockWith((clock) =>
        Effect.sync(() => {
          const pace = checked(next)
          const at = read(clock)
          base = { nanos: clock.monotonicTimeNanosUnsafe(), at }
          scale = pace
          // a sleeper that wakes may sleep again at once
          const asleep = Array.from(sleepers)
          for (const wake of asleep) wake()
        })
      ),
    scale: () => scale
  }
}
