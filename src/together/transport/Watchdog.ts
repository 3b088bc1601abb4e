/**
 * One timer for all that is awaited: it sleeps until the earliest moment at which somebody waited too long.
 *
 * A race with a sleep costs two fibers and a timer for each attempt, and for a
 * stream the same for each event. Here a wait is an entry in a list. One fiber
 * sleeps until the earliest entry is due, bites those that are, and sleeps on.
 * It ends with the last entry, a turn of the scheduler later, so nothing is left
 * behind, and no timer keeps a process alive.
 *
 * | event | cost |
 * | --- | --- |
 * | a wait begins, ends, or is put off while others wait | a step in the list |
 * | the only wait ends | a task of the scheduler; it interrupts the fiber unless another wait has begun by then |
 * | the only wait begins | a fiber is started, unless the one of the wait before still sleeps |
 * | a wait becomes due before the present wake-up | the fiber is started anew |
 * | the wake-up | a look at every wait |
 *
 * Time is that of the `Clock` of whoever waits: a test clock moves these waits like any other. It is monotonic: a clock
 * that is set back makes nobody wait longer.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import * as Monotonic from "../../guard/Monotonic.ts"

/** One wait. Its owner calls exactly one of: nothing more after the bite, or `release`. */
export interface Wait {
  /** Puts the moment of the bite off, or brings it forward; in milliseconds of {@link now}. */
  readonly move: (at: number) => void
  /** Ends the wait without a bite. */
  readonly release: () => void
}

/** Watches waits. */
export interface Watchdog {
  /**
   * Calls `bite` once {@link now} of the fiber's clock is `at`, unless the wait is moved or released before.
   *
   * **Gotchas**: a wait that is due already bites before this returns.
   */
  readonly watch: (fiber: Fiber.Fiber<unknown, unknown>, at: number, bite: () => void) => Wait
}

interface Entry extends Wait {
  at: number
  /** Where it stands in the list; -1 once it is over. */
  place: number
  readonly bite: () => void
}

/** Reads the time by which waits are told: whole milliseconds, so that no rest of one is slept for again and again. */
export const now = (clock: Clock.Clock): number => Math.floor(Monotonic.millis(clock))

/** The watch over the waits on one clock. */
class Watch {
  readonly #context: Context.Context<never>
  readonly #dispatcher: Scheduler.SchedulerDispatcher
  /**
   * In no order, so that whoever ends is replaced by the last. No `Set`: the tables that a set has outgrown lead to those
   * after them, so one that outlives a collection of young objects keeps alive all calls that have ended since.
   */
  readonly #entries: Array<Entry> = []
  #sleeper: Fiber.Fiber<void> | undefined
  /** When the sleeper looks next; while it looks, no time is earlier. */
  #wakesAt = Infinity
  #ending = false
  readonly #look: Effect.Effect<void>

  constructor(clock: Clock.Clock, scheduler: Scheduler.Scheduler) {
    // nothing else of a fiber's context: the watch may outlive it. Nor is the fiber asked later: one that has ended has none
    this.#context = Context.add(Context.make(Clock.Clock, clock), Scheduler.Scheduler, scheduler)
    this.#dispatcher = scheduler.makeDispatcher()
    this.#look = Effect.suspend(() => {
      this.#wakesAt = -Infinity
      const present = now(clock)
      // a bite may end other waits, put them off or begin new ones
      for (const entry of this.#entries.slice()) if (entry.at <= present && this.#leave(entry)) entry.bite()
      let next = Infinity
      for (const { at } of this.#entries) next = Math.min(next, at)
      this.#wakesAt = next
      if (next === Infinity) {
        this.#sleeper = undefined
        return Effect.void
      }
      return Effect.andThen(clock.sleep(Duration.millis(Math.max(0, next - present))), this.#look)
    })
  }

  watch(at: number, bite: () => void): Wait {
    const entry: Entry = {
      at,
      place: this.#entries.length,
      bite,
      move: (at) => {
        entry.at = at
        if (entry.place >= 0) this.#sleep(at)
      },
      release: () => {
        if (this.#leave(entry) && this.#entries.length === 0) this.#idle()
      }
    }
    this.#entries.push(entry)
    this.#sleep(at)
    return entry
  }

  /** Takes an entry out of the list; false where it is over already. */
  #leave(entry: Entry): boolean {
    const { place } = entry
    const last = this.#entries.at(-1)
    if (place < 0 || last === undefined) return false
    this.#entries[place] = last
    last.place = place
    this.#entries.pop()
    entry.place = -1
    return true
  }

  /** Makes sure that the next look is not later than this. */
  #sleep(at: number): void {
    if (at >= this.#wakesAt) return
    this.#wake()
    const sleeper = Effect.runForkWith(this.#context)(this.#look)
    if (this.#wakesAt !== Infinity) this.#sleeper = sleeper
  }

  /** Ends the sleep, unless a wait begins before the scheduler's next turn: in a sequence of calls the next one's does. */
  #idle(): void {
    if (this.#ending || this.#wakesAt === -Infinity) return
    this.#ending = true
    this.#dispatcher.scheduleTask(() => {
      this.#ending = false
      if (this.#entries.length === 0 && this.#wakesAt !== -Infinity) this.#wake()
    }, 0)
  }

  #wake(): void {
    this.#wakesAt = Infinity
    this.#sleeper?.interruptUnsafe()
    this.#sleeper = undefined
  }
}

/** Makes a watchdog. */
export const make = (): Watchdog => {
  const watches = new WeakMap<Clock.Clock, Watch>()
  return {
    watch: (fiber, at, bite) => {
      const clock = fiber.getRef(Clock.Clock)
      let watch = watches.get(clock)
      if (watch === undefined) {
        watch = new Watch(clock, fiber.getRef(Scheduler.Scheduler))
        watches.set(clock, watch)
      }
      return watch.watch(at, bite)
    }
  }
}
