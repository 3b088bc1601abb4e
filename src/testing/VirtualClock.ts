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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as TimerHeap from "./internal/timerHeap.ts"

/** Names why a run was given up. */
export type HangReason = "deadlock" | "livelock" | "time-limit"

/**
 * Says that a program can never end.
 *
 * **Details**
 *
 * `deadlock`: nothing is runnable, no timer is set, and the main fiber waits. `livelock`: {@link Options.maxSpins}
 * tasks ran without the clock moving, as a retry loop without a delay does. `time-limit`: {@link Options.limit} of
 * virtual time passed, as polling without an end does.
 */
export class HangError extends Data.TaggedError("HangError")<{
  readonly message: string
  readonly reason: HangReason
  readonly elapsed: Duration.Duration
}> {}

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

/** Describes a clock that moves by itself. */
export interface VirtualClock extends Clock.Clock {
  readonly "~effect-together/VirtualClock": Driver
}

/** Runs an effect to its end in virtual time and reports its exit, how long it took, and what it left behind. */
export const run = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options?: Options
): Effect.Effect<Result<A, E>, never, R> => {
  const settings = check(options)
  return Effect.contextWith((context: Context.Context<R>) =>
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
          timersLeft: driver.timers.size,
          fibersLeft: driver.fibers,
          jumps: driver.jumps
        })))
      return Effect.callback<void>((interrupted) => {
        fiber.addObserver(() => interrupted(Effect.void))
        fiber.interruptUnsafe()
      })
    })
  )
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
 * A layer does not know which fiber is the main one, so it cannot tell a hang: prefer {@link run}.
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

interface Settings {
  readonly startMillis: number
  readonly seed: string | number
  readonly limitMillis: number
  readonly maxSpins: number
  readonly quietTurns: number
  readonly wakeup: "nobody" | "outside"
}

const check = (options: Options | undefined): Settings => {
  const limit = Duration.fromInput(options?.limit ?? defaults.limit)
  const limitMillis = limit._tag === "Some" ? Duration.toMillis(limit.value) : Number.NaN
  if (!(limitMillis > 0)) {
    throw new RangeError(`VirtualClock.run: limit must be a positive duration, got ${String(options?.limit)}`)
  }
  const startMillis = options?.startMillis ?? defaults.startMillis
  if (!Number.isFinite(startMillis)) {
    throw new RangeError(`VirtualClock.run: startMillis must be a finite number, got ${startMillis}`)
  }
  return {
    startMillis,
    seed: options?.seed ?? defaults.seed,
    limitMillis,
    maxSpins: positive("maxSpins", options?.maxSpins ?? defaults.maxSpins),
    quietTurns: positive("quietTurns", options?.quietTurns ?? defaults.quietTurns),
    wakeup: options?.wakeup ?? defaults.wakeup
  }
}

const positive = (field: string, value: number): number => {
  if (!Number.isInteger(value) || value < 1) {
    throw new RangeError(`VirtualClock.run: ${field} must be an integer of at least 1, got ${value}`)
  }
  return value
}

// Effect's own way to a turn of the event loop: setImmediate where there is one, else a timer of zero.
const turnOfEventLoop = new Scheduler.MixedScheduler("async").setImmediate

// Turns without a sign of life before a run with no timer is called a hang: enough for a hop over a foreign scheduler.
const deadTurns = 16

// Tasks per turn, so that real timers and sockets around the run still get theirs.
const sliceOfTasks = 8192

type Task = () => void

/** Drives one virtual run: the queue of its fibers, the heap of its timers, and the rule for when time moves. */
export class Driver {
  readonly timers = TimerHeap.make<Task>()
  elapsed = 0
  jumps = 0
  fibers = 0
  private readonly settings: Settings
  private buckets: Array<readonly [priority: number, tasks: Array<Task>]> = []
  private turning = false
  private quiet = 0
  private held = 0
  private spins = 0
  private limitMillis: number
  private main: Fiber.Fiber<unknown, unknown> | undefined
  private report: ((exit: Exit.Exit<unknown, unknown>) => void) | undefined
  private hang: HangError | undefined
  private abandoned = false

  constructor(settings: Settings) {
    this.settings = settings
    this.limitMillis = settings.limitMillis
  }

  context(): Context.Context<never> {
    return Context.make(Clock.Clock, this.clock()).pipe(
      Context.add(Scheduler.Scheduler, this.scheduler()),
      Context.add(Metric.FiberRuntimeMetrics, {
        recordFiberStart: () => {
          this.fibers++
        },
        recordFiberEnd: () => {
          this.fibers--
        }
      })
    )
  }

  watch(fiber: Fiber.Fiber<unknown, unknown>, report: (exit: Exit.Exit<unknown, unknown>) => void): void {
    this.main = fiber
    this.report = report
    fiber.addObserver(() => this.requestTurn())
    this.requestTurn()
  }

  hold(): void {
    this.held++
  }

  release(): void {
    this.held--
    this.requestTurn()
  }

  private clock(): VirtualClock {
    const millis = () => this.settings.startMillis + this.elapsed
    const start = BigInt(Math.round(this.settings.startMillis * 1000)) * 1000n
    const monotonic = () => BigInt(Math.round(this.elapsed * 1_000_000))
    const nanos = () => start + monotonic()
    return {
      "~effect-together/VirtualClock": this,
      currentTimeMillisUnsafe: millis,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: monotonic,
      monotonicTimeNanos: Effect.sync(monotonic),
      sleep: (duration) => {
        const wait = Duration.toMillis(duration)
        if (wait <= 0) return Effect.yieldNow
        if (wait === Infinity) return Effect.never
        return Effect.callback((resume) => {
          const timer = this.timers.add(this.elapsed + wait, () => resume(Effect.void))
          this.requestTurn()
          return Effect.sync(() => this.timers.remove(timer))
        })
      }
    }
  }

  private scheduler(): Scheduler.Scheduler {
    const dispatcher: Scheduler.SchedulerDispatcher = {
      scheduleTask: (task, priority) => this.schedule(task, priority),
      flush: () => {
        while (this.buckets.length > 0) this.drain()
      }
    }
    return {
      executionMode: "async",
      shouldYield: (fiber) => fiber.currentOpCount >= fiber.cache.maxOpsBeforeYield,
      makeDispatcher: () => dispatcher
    }
  }

  private schedule(task: Task, priority: number): void {
    const buckets = this.buckets
    let index = 0
    while (index < buckets.length && buckets[index]![0] < priority) index++
    const bucket = buckets[index]
    if (bucket !== undefined && bucket[0] === priority) bucket[1].push(task)
    else buckets.splice(index, 0, [priority, [task]])
    this.requestTurn()
  }

  private requestTurn(): void {
    if (this.turning || this.abandoned) return
    this.turning = true
    turnOfEventLoop(this.turn)
  }

  private readonly turn = (): void => {
    // stays set while this turn works: whatever is scheduled meanwhile is picked up below
    const worked = this.drain()
    this.turning = false
    if (this.abandoned || this.finish()) return
    if (worked || this.held > 0) {
      this.quiet = 0
      if (this.buckets.length > 0 || this.held === 0) this.requestTurn()
      return
    }
    this.quiet++
    if (this.quiet < this.settings.quietTurns) return this.requestTurn()
    if (this.timers.size > 0) return this.jump()
    if (this.main === undefined || this.settings.wakeup === "outside") return
    if (this.quiet < deadTurns) return this.requestTurn()
    this.giveUp("deadlock", "nothing is runnable and no timer is set, so the effect can never end")
  }

  /** Runs tasks until none is left or the slice is used up; says whether it ran any. */
  private drain(): boolean {
    let ran = 0
    while (this.buckets.length > 0 && ran < sliceOfTasks) {
      const buckets = this.buckets
      this.buckets = []
      for (const [, tasks] of buckets) {
        for (let i = 0; i < tasks.length; i++) tasks[i]!()
        ran += tasks.length
      }
    }
    this.spins += ran
    if (this.spins > this.settings.maxSpins) {
      this.spins = 0
      this.giveUp(
        "livelock",
        `${this.settings.maxSpins} steps were taken without the clock moving, as by a loop that never sleeps`
      )
    }
    return ran > 0
  }

  private jump(): void {
    const at = this.timers.earliest()
    if (at > this.limitMillis) {
      return this.giveUp("time-limit", "the limit of virtual time is reached and the effect still runs")
    }
    this.elapsed = at
    this.jumps++
    this.spins = 0
    this.quiet = 0
    this.turning = true
    // every timer of this instant, in the order in which they were set, each followed by all it causes
    while (this.timers.size > 0 && this.timers.earliest() === at && this.buckets.length === 0 && !this.abandoned) {
      this.timers.pop()()
      this.drain()
    }
    this.turning = false
    if (!this.finish()) this.requestTurn()
  }

  private finish(): boolean {
    const exit = this.main?.pollUnsafe()
    if (exit === undefined || this.buckets.length > 0) return false
    this.report?.(this.hang === undefined ? exit : Exit.die(this.hang))
    this.report = undefined
    return true
  }

  private giveUp(reason: HangReason, why: string): void {
    const main = this.main
    if (main === undefined) return
    if (this.hang !== undefined) {
      // it does not yield to interruption either: leave it behind
      this.abandoned = true
      this.report?.(Exit.die(this.hang))
      this.report = undefined
      return
    }
    const where = main.cache.span?._tag === "Span" ? ` (in span "${main.cache.span.name}")` : ""
    this.hang = new HangError({
      reason,
      elapsed: Duration.millis(this.elapsed),
      message: `VirtualClock.run: ${reason} after ${
        Duration.format(Duration.millis(this.elapsed))
      } of virtual time: ${why}; ${this.fibers} fibers live${where}`
    })
    this.limitMillis += this.settings.limitMillis
    this.quiet = 0
    this.requestTurn()
    main.interruptUnsafe()
  }
}
