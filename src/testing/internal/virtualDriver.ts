/**
 * Drives one virtual run: the queue of its fibers, the heap of its timers, and the rule for when time moves.
 *
 * A run is a clock and a scheduler that know each other. The scheduler runs every task it is given; when none is left
 * and a turn of the event loop brought no new one, the clock jumps to the next timer. Where there is no timer either,
 * the program can never end.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Scheduler from "effect/Scheduler"
import * as Enumeration from "../../domain/Enumeration.ts"
import * as Heap from "../../guard/Heap.ts"

/** Names why a run was given up. */
export type HangReason = "deadlock" | "livelock" | "time-limit"

/**
 * Says that a program can never end.
 *
 * **Details**
 *
 * `deadlock`: nothing is runnable, no timer is set, and the main fiber waits. `livelock`: {@link Settings.maxSpins}
 * tasks ran without the clock moving, as a retry loop without a delay does. `time-limit`: {@link Settings.limitMillis} of
 * virtual time passed, as polling without an end does.
 */
export class HangError extends Data.TaggedError("HangError")<{
  readonly message: string
  readonly reason: HangReason
  readonly elapsed: Duration.Duration
}> {}

/** Describes a clock that moves by itself. */
export interface VirtualClock extends Clock.Clock {
  readonly "~effect-together/VirtualClock": Driver
  /** Dies: what `TestClock.adjust` would call. */
  readonly adjust: (duration: Duration.Input) => Effect.Effect<never>
  /** Dies: what `TestClock.setTime` would call. */
  readonly setTime: (epochMillis: number) => Effect.Effect<never>
}

const movesItself = Effect.die(
  new Error("VirtualClock moves by itself: let the program sleep, or use TestClock alone, without VirtualClock")
)

/** Holds the checked options of a run. */
export interface Settings {
  readonly startMillis: number
  readonly seed: string | number
  readonly limitMillis: number
  readonly maxSpins: number
  readonly quietTurns: number
  readonly wakeup: "nobody" | "outside"
}

// Effect's own way to a turn of the event loop: setImmediate where there is one, else a timer of zero.
const turnOfEventLoop = new Scheduler.MixedScheduler("async").setImmediate

// Turns without a sign of life before a run with no timer is called a hang: enough for a hop over a foreign scheduler.
const deadTurns = 16

// Tasks per turn, so that real timers and sockets around the run still get theirs.
const sliceOfTasks = 8192

// Slices that detached work may still take once the main fiber has ended: enough to clean up, soon over if it never ends.
const slicesAfterMain = 4

type Task = () => void

interface Timer extends Heap.Entry {
  readonly at: number
  /** Timers of one instant fire in the order in which they were set. */
  readonly order: number
  readonly fire: Task
  gone: boolean
}

/** Drives one virtual run: see the module header. */
export class Driver {
  private readonly timers = Heap.make<Timer>((a, b) => a.at < b.at || (a.at === b.at && a.order < b.order))
  private timersSet = 0
  elapsed = 0
  jumps = 0
  fibers = 0
  private readonly settings: Settings
  private buckets: Array<readonly [priority: number, tasks: Array<Task>]> = []
  private turning = false
  private quiet = 0
  private held = 0
  private spins = 0
  private overtime = 0
  private limitMillis: number
  private main: Fiber.Fiber<unknown, unknown> | undefined
  private report: ((exit: Exit.Exit<unknown, unknown>) => void) | undefined
  private hang: HangError | undefined
  private abandoned = false

  constructor(settings: Settings) {
    this.settings = settings
    this.limitMillis = settings.limitMillis
  }

  /** Counts the timers that are set. */
  get timersLeft(): number {
    return Heap.size(this.timers)
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
      adjust: () => movesItself,
      setTime: () => movesItself,
      sleep: (duration) => {
        const wait = Duration.toMillis(duration)
        if (wait <= 0) return Effect.yieldNow
        if (wait === Infinity) return Effect.never
        return Effect.callback((resume) => {
          const at = this.elapsed + wait
          const timer = { at, order: this.timersSet++, fire: () => resume(Effect.void), gone: false }
          Heap.add(this.timers, timer)
          this.requestTurn()
          return Effect.sync(() => {
            if (timer.gone) return
            timer.gone = true
            Heap.mark(this.timers)
          })
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
    const next = Heap.first(this.timers)
    if (next !== undefined) return this.jump(next.at)
    if (this.main === undefined || this.settings.wakeup === "outside") return
    if (this.quiet < deadTurns) return this.requestTurn()
    this.giveUp(
      "deadlock",
      "nothing is runnable and no timer is set, so the effect can never end (what waits for real input or output " +
        "needs VirtualClock.io)"
    )
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

  private jump(at: number): void {
    if (at > this.limitMillis) {
      return this.giveUp("time-limit", "the limit of virtual time is reached and the effect still runs")
    }
    this.elapsed = at
    this.jumps++
    this.spins = 0
    this.quiet = 0
    this.turning = true
    // every timer of this instant, in the order in which they were set, each followed by all it causes
    let timer = Heap.first(this.timers)
    while (timer?.at === at && this.buckets.length === 0 && !this.abandoned) {
      Heap.takeFirst(this.timers)
      timer.gone = true
      timer.fire()
      this.drain()
      timer = Heap.first(this.timers)
    }
    this.turning = false
    if (!this.finish()) this.requestTurn()
  }

  private finish(): boolean {
    const exit = this.main?.pollUnsafe()
    if (exit === undefined) return false
    if (this.buckets.length > 0) {
      this.overtime++
      if (this.overtime < slicesAfterMain) return false
      // what is left never sleeps: leave it behind
      this.abandoned = true
    }
    this.report?.(this.hang === undefined ? exit : Exit.die(this.hang))
    this.report = undefined
    return true
  }

  private giveUp(reason: HangReason, why: string): void {
    const main = this.main
    if (main === undefined) return
    if (main.pollUnsafe() !== undefined) {
      this.overtime = slicesAfterMain
      return
    }
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
        Duration.format(Duration.millis(Math.round(this.elapsed)))
      } of virtual time: ${why}; ${Enumeration.counted(this.fibers, "fiber")} live${where}`
    })
    this.limitMillis += this.settings.limitMillis
    this.quiet = 0
    this.requestTurn()
    main.interruptUnsafe()
  }
}
