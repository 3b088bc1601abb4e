/**
 * Runs an effect to its end in virtual time: sleeping costs no real time.
 *
 * `TestClock` stands still until a test moves it, so the test has to know how far. `VirtualClock` moves by itself:
 * whenever every fiber is idle it jumps to the next timer. An hour of retries, pauses and dynamic limits takes
 * milliseconds, and the same program with the same seed takes the same steps each time.
 *
 * ```
 *           tasks left?           quiet turn over?             timer left?
 *   drain ──────────────▶ drain ──────────────────▶ jump ──▶ wake the timers of that instant ──▶ drain
 *     │ none                  ▲                       │ none
 *     └──▶ one turn of the ───┘                       └──▶ main fiber done? result : hang
 *          event loop (promises settle)
 * ```
 *
 * Two services do it: a `Clock` whose timers sit in a heap, and a `Scheduler` with one queue for all fibers, which
 * therefore knows when nothing is runnable. Before each jump the event loop turns at least once, so promises (web
 * streams, `Effect.promise`) settle first. Real input and output takes real time: wrap it in {@link io}, and the
 * clock waits for it.
 *
 * A program that can never end is reported, not waited for: see {@link HangError}.
 *
 * **Example** (An hour in a moment)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { VirtualClock } from "effect-together/testing"
 *
 * const { elapsed } = await Effect.runPromise(VirtualClock.run(Effect.sleep("1 hour")))
 * console.log(elapsed) // 3600000 milliseconds
 * ```
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Millis from "../guard/Millis.ts"
import * as Argument from "./internal/argument.ts"
import { Driver, HangError, type Settings, type VirtualClock } from "./internal/virtualDriver.ts"

export { HangError, type HangReason, type VirtualClock } from "./internal/virtualDriver.ts"

/** Configures a virtual run. */
export interface Options {
  /**
   * Sets the wall clock at the start, in milliseconds since 1970. Default 1767225600000 (2026-01-01T00:00:00Z): a real
   * date, so that code which takes 0 for "never" is tested as it will run.
   */
  readonly startMillis?: number | undefined
  /** Seeds Effect's `Random` inside the run. Default: "effect-together", unless the caller already chose a `Random`. */
  readonly seed?: string | number | undefined
  /** Bounds the virtual time of the run. Default 365 days: longer than any test means, short enough to find a poller. */
  readonly limit?: Duration.Input | undefined
  /** Bounds the tasks that may run while the clock stands still. Range 1 and up. Default 10000000. */
  readonly maxSpins?: number | undefined
  /**
   * Counts the turns of the event loop that must pass without work before the clock jumps. Range 1 and up. Default 1:
   * one turn settles every promise chain. Raise it where effects are also run on a foreign scheduler.
   */
  readonly quietTurns?: number | undefined
  /**
   * Says who may wake the program when nothing is runnable and no timer is set. Default `"nobody"`: it is a hang.
   * `"outside"`: something beyond this run (a socket, a user) may, so the run waits in real time.
   */
  readonly wakeup?: "nobody" | "outside" | undefined
}

/** Holds every default of this module. */
export const defaults = {
  startMillis: 1_767_225_600_000,
  seed: "effect-together",
  limit: Duration.days(365),
  maxSpins: 10_000_000,
  quietTurns: 1,
  wakeup: "nobody"
} as const

/** Reports how a virtual run went. */
export interface Result<A, E> {
  /** Holds what the effect ended with. A hang is a `Die` with a {@link HangError}. */
  readonly exit: Exit.Exit<A, E>
  /** Measures the virtual time that passed. */
  readonly elapsed: Duration.Duration
  /** Counts the timers still set at the end: sleeping fibers that nobody waits for. */
  readonly timersLeft: number
  /** Counts the fibers still alive at the end: detached work that outlived the effect. */
  readonly fibersLeft: number
  /** Counts the jumps of the clock. */
  readonly jumps: number
}

/**
 * Runs an effect to its end in virtual time and reports its exit, how long it took, and what it left behind.
 *
 * **Details**
 *
 * The run ends with the effect: detached work that is runnable then has a moment to end, and is left behind if it never
 * sleeps. A run inside a virtual run takes none of the outer one's time: the outer clock stands still until it ends,
 * unless `wakeup` is `"outside"`, for then the outer run may be what it waits for.
 *
 * **Gotchas**
 *
 * Each run begins anew, at `startMillis` and with a monotonic clock at 0. A layer that outlives a run sees time go
 * backwards at the next: its pauses and rates seem to lie in the future, and it may wait for them. Provide the layer
 * inside the run, or share a {@link layer} with it and run the effects on that.
 */
export const run = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options?: Options
): Effect.Effect<Result<A, E>, never, R> => {
  const settings = check(options)
  const running = Effect.contextWith((context: Context.Context<R>) =>
    Effect.callback<Result<A, E>>((resume) => {
      const driver = new Driver(settings)
      const seeded = options?.seed === undefined && context.mapUnsafe.has(Random.Random.key)
        ? effect
        : Random.withSeed(effect, settings.seed)
      const fiber = Effect.runForkWith(Context.merge(context, driver.context()))(seeded)
      driver.watch(fiber, (exit) =>
        resume(Effect.succeed({
          // the driver hands back either this fiber's own exit or a defect, and a defect inhabits every Exit
          exit: exit as Exit.Exit<A, E>,
          elapsed: Duration.millis(driver.elapsed),
          timersLeft: driver.timersLeft,
          fibersLeft: driver.fibers,
          jumps: driver.jumps
        })))
      return Effect.callback<void>((interrupted) => {
        fiber.addObserver(() => interrupted(Effect.void))
        fiber.interruptUnsafe()
      })
    })
  )
  return settings.wakeup === "outside" ? running : io(running)
}

/**
 * Runs an effect in virtual time and ends as it ends, so that it can stand wherever the effect stood.
 *
 * **Errors**
 *
 * Those of the effect. A hang is a defect: {@link HangError}.
 */
export const wrap = <A, E, R>(effect: Effect.Effect<A, E, R>, options?: Options): Effect.Effect<A, E, R> =>
  Effect.flatMap(run(effect, options), (result) => result.exit)

/**
 * Gives the fibers it is provided to a clock that moves by itself.
 *
 * **Gotchas**
 *
 * A layer does not know which fiber is the main one, so it cannot detect a hang. Prefer {@link run}, unless several
 * effects share a layer whose time must go on from one to the next.
 */
export const layer = (options?: Options): Layer.Layer<never> => {
  const settings = check({ ...options, wakeup: "outside" })
  return Layer.effectContext(Effect.sync(() => new Driver(settings).context()))
}

/**
 * Holds the virtual clock while an effect does real input or output.
 *
 * **Details**
 *
 * Outside a virtual run it does nothing.
 */
export const io = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) => {
    if (!isVirtual(clock)) return effect
    const driver = clock["~effect-together/VirtualClock"]
    return Effect.acquireUseRelease(
      Effect.sync(() => driver.hold()),
      () => effect,
      () => Effect.sync(() => driver.release())
    )
  })

/** Tells whether a clock is a virtual one. */
export const isVirtual = (clock: Clock.Clock): clock is VirtualClock => "~effect-together/VirtualClock" in clock

/** Finds the hang in an exit, if that is how it ended. */
export const hang = <A, E>(exit: Exit.Exit<A, E>): HangError | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  for (const reason of exit.cause.reasons) {
    if (Cause.isDieReason(reason) && reason.defect instanceof HangError) return reason.defect
  }
  return undefined
}

const check = (options: Options | undefined): Settings => {
  return {
    startMillis: Argument.finite("VirtualClock.run", "startMillis", options?.startMillis ?? defaults.startMillis),
    seed: options?.seed ?? defaults.seed,
    limitMillis: Millis.positive("VirtualClock.run: limit", options?.limit ?? defaults.limit),
    maxSpins: Argument.integer("VirtualClock.run", "maxSpins", options?.maxSpins ?? defaults.maxSpins, 1),
    quietTurns: Argument.integer("VirtualClock.run", "quietTurns", options?.quietTurns ?? defaults.quietTurns, 1),
    wakeup: options?.wakeup ?? defaults.wakeup
  }
}
