/**
 * The dispatcher of a lane: who waits, who is sent next and when, and who can no longer be sent in time.
 *
 * ```
 *   enter ─▶ free at once? ─ yes ─────────────────────────────────────▶ ticket ─▶ use
 *               │ no                                                      ▲
 *               ▼                                                         │
 *            in time? ─ yes ─▶ queue by priority ─▶ head: wait over? ─ yes ┘
 *               │ no             │      ▲             │ no
 *               ▼                ▼      └── timer ◀───┘   (at the head's wait, or at the earliest deadline)
 *             refused ◀── deadline before the pause ends, or passed, or, by the learned limits, long before its turn;
 *                         or the provider is down, and the call has another target
 * ```
 *
 * What waits is a callback in an array; one timer per lane looks again. The fiber that happens to look lends its clock and
 * its scheduler, and nothing else: what is measured of a call is written by that call's own fiber. `Lane` is what users see
 * of it.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"
import type { LaneOverflowError } from "../../domain/TogetherError.ts"
import * as Estimate from "../../policy/lane/LaneEstimate.ts"
import * as Kernel from "../../policy/lane/LaneKernel.ts"
import * as Queue from "../../policy/lane/LaneQueue.ts"
import type { LaneRequest, Sample } from "./LaneContract.ts"
import { Expiry, type Timed } from "./LaneExpiry.ts"
import { Forecast } from "./LaneForecast.ts"
import { kernelSample, type Wanted, wanted } from "./LaneInput.ts"
import type * as LaneMetrics from "./LaneMetrics.ts"
import * as Overflow from "./LaneOverflow.ts"
import { LaneSleep, type Waiter as Sleeper } from "./LaneSleep.ts"
import type * as LaneStore from "./LaneStore.ts"
import * as Streams from "./LaneStreams.ts"
import * as Millis from "../Millis.ts"
import * as Monotonic from "../Monotonic.ts"
import type { Restore } from "../Restore.ts"

/** Goes on, in the fiber that asked for it, with what waited for a ticket. */
type Use<A, E, R> = (
  ticket: Kernel.Ticket,
  waitedSeconds: number,
  fiber: Fiber.Fiber<unknown, unknown>
) => Effect.Effect<A, E, R>

interface Waiter extends Queue.Entry, Timed, Sleeper<LaneOverflowError> {
  readonly use: Use<unknown, unknown, unknown>
  readonly elsewhere: boolean
  ticket: Kernel.Ticket | undefined
}

type Decided = (decisions: ReadonlyArray<Kernel.Decision>, clock: Clock.Clock) => void

const neverSent: Sample = { _tag: "Ignored", sent: false }

const passed = (deadlineAt: number | undefined, clock: Clock.Clock): boolean =>
  deadlineAt !== undefined && !(clock.currentTimeMillisUnsafe() <= deadlineAt)

/** Sends the calls of one lane, each when its turn has come. */
export class Dispatcher implements LaneMetrics.Counts, Overflow.Refusing {
  readonly key: string
  readonly #cell: LaneStore.Cell
  readonly maxQueue: number
  readonly #metrics: LaneMetrics.Bound
  readonly #decided: Decided
  readonly #queue = Queue.make<Waiter>()
  readonly #expiry = new Expiry<Waiter>()
  /** Those of the queue that have another target. */
  readonly #elsewhere = new Set<Waiter>()
  readonly #streams = new Streams.Streams()
  readonly #forecast = new Forecast()
  #blocker: Kernel.Blocker | undefined
  #timer: Fiber.Fiber<void> | undefined
  #timerAt = Infinity
  #timerContext: Context.Context<never> | undefined

  constructor(key: string, cell: LaneStore.Cell, maxQueue: number, metrics: LaneMetrics.Bound, decided: Decided) {
    this.key = key
    this.#cell = cell
    this.maxQueue = maxQueue
    this.#metrics = metrics
    this.#decided = decided
  }

  get inFlight(): number {
    return this.#cell.read().count
  }

  get queued(): number {
    return this.#queue.size
  }

  get queuedTokens(): number {
    return this.#queue.tokens
  }

  /** What the head of the queue waits for. */
  get blocker(): Kernel.Blocker | undefined {
    return this.#queue.size > 0 ? this.#blocker : undefined
  }

  /** Lets time teach; then the state in the cell is that of now. */
  advance(now: number, clock: Clock.Clock): Kernel.State {
    this.#notice(now)
    const before = this.#cell.read()
    const [decisions, state] = Kernel.advance(before, now)
    if (state !== before) this.#cell.write(state)
    this.#decided(decisions, clock)
    return state
  }

  /** Notes that the program stood still, where the timer of the lane is late: whoever looks first may see it. */
  #notice(now: number): void {
    const late = now - this.#timerAt
    // what no timer can help is made up for by the pace
    if (late <= Kernel.defaults.lag) return
    this.#timerAt = now
    this.#cell.write(Kernel.stoodStill(this.#cell.read(), late))
  }

  /** Gives back what an attempt took, and lets its end teach. */
  settle(ticket: Kernel.Ticket, sample: Sample, fiber: Fiber.Fiber<unknown, unknown>): void {
    const clock = fiber.getRef(Clock.Clock)
    const now = Monotonic.seconds(clock)
    const ended = kernelSample(sample)
    this.#notice(now)
    const [decisions, state] = Kernel.settle(this.#cell.read(), ticket, ended, now)
    this.#cell.write(state)
    this.#forecast.ended(ticket, this.#streams.ended(ticket), ended, now)
    this.#metrics.ended(sample, fiber.context)
    this.#decided(decisions, clock)
    this.look(now, fiber)
  }

  /** Looks whether someone may be sent now; needed where a state was written from elsewhere. */
  look(now: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    if (this.#queue.size > 0) this.#dispatch(now, fiber)
  }

  /** Admits at once where nobody waits that could go, and nothing stands against it. */
  try(request: LaneRequest, now: number, fiber: Fiber.Fiber<unknown, unknown>): Kernel.Ticket | undefined {
    const call = wanted(request, fiber)
    const clock = fiber.getRef(Clock.Clock)
    return passed(call.deadlineAt, clock) ? undefined : this.#atOnce(call, now, clock)
  }

  /** Estimates the seconds until a call would be sent that joins behind all that wait. */
  estimate(state: Kernel.State, now: number): number {
    return this.#forecast.whole(state, this.#queue, this.#streams, now)
  }

  /** Gets a ticket and goes on with `use`; an end before that leaves nothing behind. To be run uninterruptibly. */
  enter<A, E, R>(
    request: LaneRequest,
    restore: Restore,
    use: Use<A, E, R>
  ): Effect.Effect<A, E | LaneOverflowError, R> {
    return Effect.withFiber((fiber) => {
      const call = wanted(request, fiber)
      const clock = fiber.getRef(Clock.Clock)
      const now = Monotonic.seconds(clock)
      if (passed(call.deadlineAt, clock)) return Effect.fail(Overflow.late(this, 0))
      const ticket = this.#atOnce(call, now, clock)
      if (ticket !== undefined) {
        this.#admitted(0, fiber)
        return use(ticket, 0, fiber)
      }
      const overflow = this.#overflow(call, this.#cell.read(), now, clock)
      if (overflow !== undefined) return Effect.fail(overflow)
      const waiter: Waiter = {
        level: call.level,
        retry: call.retry,
        stream: call.stream,
        tokens: call.tokens,
        order: 0,
        gone: true,
        resume: undefined,
        use,
        // a small integer takes no space of its own
        since: Math.floor(now * 1000),
        deadlineAt: call.deadlineAt,
        lookAt: -1,
        elsewhere: call.elsewhere,
        ticket: undefined
      }
      // it ends as `use` ends, or as the wait fails
      return this.#sleep.enter(waiter, fiber, restore) as Effect.Effect<A, E | LaneOverflowError, R>
    })
  }

  #atOnce(call: Wanted, now: number, clock: Clock.Clock): Kernel.Ticket | undefined {
    this.#metrics.show(this)
    if (this.#queue.size > this.#queue.streams) return undefined
    const state = this.advance(now, clock)
    if (call.stream || this.#queue.size > 0) {
      const room = this.#room(state, now)
      // streams that wait stand in nobody's way while none of them may be sent
      if (room ? this.#queue.size > 0 : call.stream) return undefined
    }
    return Kernel.wait(state, now, call.tokens)[0] > 0 ? undefined : this.#admit(state, call, undefined, now)
  }

  /** Says whether one more stream may be sent, as far as short calls are concerned. */
  #room(state: Kernel.State, now: number): boolean {
    return this.#streams.room(state, this.#queue.size > this.#queue.streams, now)
  }

  /** Reads who is next of those that may be sent. */
  #head(now: number): Waiter | undefined {
    const state = this.#cell.read()
    return this.#next(state, this.#room(state, now))
  }

  #next(state: Kernel.State, streams: boolean): Waiter | undefined {
    return state.outage.down ? Queue.probe(this.#queue, streams) : Queue.peek(this.#queue, streams)
  }

  #admit(
    state: Kernel.State,
    call: { readonly tokens: number; readonly stream: boolean; readonly retry: boolean },
    blocker: Kernel.Blocker | undefined,
    now: number
  ): Kernel.Ticket {
    const [ticket, next] = Kernel.admit(state, call.tokens, blocker, now, !call.retry && !call.stream)
    this.#cell.write(next)
    this.#streams.sent(ticket, call.stream, now)
    this.#forecast.sent(call.stream, now)
    return ticket
  }

  /** Tells of an admission, where its own call is told of. */
  #admitted(waitedSeconds: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    this.#metrics.waited(waitedSeconds, fiber.context)
    const { span } = fiber.cache
    if (span?._tag !== "Span" || span.status._tag === "Ended") return
    span.attribute("lane.key", this.key)
    span.attribute("lane.waited_ms", waitedSeconds * 1000)
  }

  /** Sends whoever may be sent now, and sets the timer for the next. */
  #dispatch(now: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    this.#expire(now, fiber)
    this.#foresee(now, fiber)
    const clock = fiber.getRef(Clock.Clock)
    while (this.#queue.size > 0) {
      const state = this.advance(now, clock)
      if (state.outage.down && this.#elsewhere.size > 0) {
        this.#turnAway(state, now, fiber)
        continue
      }
      const streams = this.#room(state, now)
      const head = this.#next(state, streams)
      if (head === undefined) {
        // none but streams wait, and they leave what is free to short calls
        this.#blocker = "in-flight"
        return this.#wake(this.#streams.keeps(false, now), now, fiber)
      }
      const [wait, by] = Kernel.wait(state, now, head.tokens)
      if (wait > 0) {
        this.#blocker = by
        return this.#wake(wait, now, fiber)
      }
      if (state.outage.down) Queue.remove(this.#queue, head)
      else Queue.take(this.#queue, streams)
      this.#expiry.gone(head)
      this.#elsewhere.delete(head)
      head.ticket = this.#admit(state, head, this.#blocker, now)
      this.#resume(head, Effect.void, fiber)
    }
    this.#blocker = undefined
    this.#wake(Infinity, now, fiber)
  }

  /** Refuses whoever cannot be sent in time any more: nobody is sent before the end of a pause. */
  #expire(now: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    if (this.#expiry.first === undefined) return
    const pause = Math.max(0, this.#cell.read().pausedUntil - now)
    const wall = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    // in whole milliseconds: a deadline at the very end of the pause can be kept
    const soonest = Math.max(wall, Math.floor(wall + pause * 1000))
    const expired = this.#expiry.expired(soonest, (one) => Queue.remove(this.#queue, one))
    if (expired.length === 0) return
    const state = this.advance(now, fiber.getRef(Clock.Clock))
    for (const one of expired) {
      this.#elsewhere.delete(one)
      // once all of them are out: whoever comes again joins those that are left
      const again = this.#forecast.joining(one, state, this.#queue, this.#streams, now)
      const waited = Math.max(0, now - one.since / 1000)
      this.#resume(one, Effect.fail(Overflow.late(this, again, waited)), fiber)
    }
  }

  /** Looks at those whose time it is, and refuses who cannot be sent in time by the learned limits. No timer: much happens. */
  #foresee(now: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    const due = this.#expiry.due(now)
    if (due.length === 0) return
    const clock = fiber.getRef(Clock.Clock)
    const wall = clock.currentTimeMillisUnsafe()
    const state = this.advance(now, clock)
    const vain: Array<readonly [Waiter, number, number]> = []
    for (const one of due) {
      const waited = Math.max(0, now - one.since / 1000)
      const left = (one.deadlineAt! - wall) / 1000
      const estimate = this.#forecast.joining(one, state, this.#queue, this.#streams, now, one.order)
      if (Estimate.isVain(state, estimate, waited, left)) vain.push([one, estimate, waited])
      else this.#expiry.lookAgain(one, waited, left)
    }
    for (const [one, estimate, waited] of vain) {
      this.#out(one)
      this.#resume(one, Effect.fail(Overflow.late(this, estimate, waited, false)), fiber)
    }
  }

  /** Refuses all that have another target: the provider is down. Whoever comes when a probe is due is the probe. */
  #turnAway(state: Kernel.State, now: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    const [wait] = Kernel.wait(state, now)
    for (const one of this.#elsewhere) {
      this.#out(one)
      this.#resume(one, Effect.fail(Overflow.down(this, wait)), fiber)
    }
  }

  /** Takes one out of the queue that is not sent. */
  #out(waiter: Waiter): void {
    Queue.remove(this.#queue, waiter)
    this.#expiry.gone(waiter)
    this.#elsewhere.delete(waiter)
  }

  /** Wakes a waiter in a turn of its own: its work must not run inside the dispatcher. */
  #resume(waiter: Waiter, effect: Effect.Effect<void, LaneOverflowError>, fiber: Fiber.Fiber<unknown, unknown>): void {
    fiber.currentDispatcher.scheduleTask(() => waiter.resume?.(effect), 0)
  }

  /** Sets the one timer of the lane, or clears it. `wait` is that of the head; a deadline may come before. */
  #wake(wait: number, now: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    const deadline = this.#expiry.left(fiber.getRef(Clock.Clock))
    const at = now + Math.min(wait, deadline)
    if (this.#timer !== undefined) {
      // a timer before the next deadline stays, for it looks again: deadlines that pass by cost no timer each
      if (Math.abs(at - this.#timerAt) < 5e-4 || (deadline < wait && this.#timerAt < at)) return
      this.#timer.interruptUnsafe()
      this.#timer = undefined
    }
    this.#timerAt = at
    if (at === Infinity) return
    // what is too late by the rounding is made up for by the next
    const millis = Math.max(1, Millis.whole((at - now) * 1000))
    this.#timer = Effect.runForkWith(this.#contextOf(fiber))(Effect.andThen(
      Effect.sleep(millis),
      Effect.withFiber((own) => {
        this.#timer = undefined
        this.#dispatch(Monotonic.seconds(own.getRef(Clock.Clock)), own)
        return Effect.void
      })
    ))
  }

  /** Makes the context of the timer: nothing else of the fiber's own, for the timer outlives it, and serves others. */
  #contextOf(fiber: Fiber.Fiber<unknown, unknown>): Context.Context<never> {
    const clock = fiber.getRef(Clock.Clock)
    const scheduler = fiber.getRef(Scheduler.Scheduler)
    const known = this.#timerContext
    if (
      known !== undefined && Context.get(known, Clock.Clock) === clock &&
      Context.get(known, Scheduler.Scheduler) === scheduler
    ) return known
    return this.#timerContext = Context.add(Context.make(Clock.Clock, clock), Scheduler.Scheduler, scheduler)
  }

  /** Refuses a call that must not wait, or returns nothing. */
  #overflow(call: Wanted, state: Kernel.State, now: number, clock: Clock.Clock): LaneOverflowError | undefined {
    if (call.elsewhere && state.outage.down) return Overflow.down(this, Kernel.wait(state, now, call.tokens)[0])
    if (this.#queue.size >= this.maxQueue) return Overflow.full(this, this.estimate(state, now))
    if (call.deadlineAt === undefined) return undefined
    const estimate = this.#forecast.joining(call, state, this.#queue, this.#streams, now)
    return clock.currentTimeMillisUnsafe() + estimate * 1000 <= call.deadlineAt
      ? undefined
      : Overflow.late(this, estimate)
  }

  readonly #sleep = new LaneSleep<Waiter, LaneOverflowError>({
    asleep: (waiter, fiber) => this.#join(waiter, fiber),
    awake: (waiter, fiber) => {
      // only the dispatcher wakes with success, and it puts the ticket there first
      const ticket = waiter.ticket as Kernel.Ticket
      const waited = Math.max(0, Monotonic.seconds(fiber.getRef(Clock.Clock)) - waiter.since / 1000)
      this.#admitted(waited, fiber)
      return waiter.use(ticket, waited, fiber)
    },
    left: (waiter, fiber) => {
      if (waiter.ticket !== undefined) this.settle(waiter.ticket, neverSent, fiber)
      else this.#leave(waiter, fiber)
    }
  })

  #join(waiter: Waiter, fiber: Fiber.Fiber<unknown, unknown>): void {
    waiter.gone = false
    Queue.add(this.#queue, waiter)
    this.#expiry.add(waiter, fiber.getRef(Clock.Clock))
    if (waiter.elsewhere) this.#elsewhere.add(waiter)
    const now = Monotonic.seconds(fiber.getRef(Clock.Clock))
    const head = this.#head(now)
    // only who is first, in the queue or by deadline, moves the timer; or a stream for which places are kept
    if (head === waiter || head === undefined || this.#expiry.first === waiter) {
      this.#dispatch(now, fiber)
    }
  }

  #leave(waiter: Waiter, fiber: Fiber.Fiber<unknown, unknown>): void {
    if (waiter.gone) return
    const now = Monotonic.seconds(fiber.getRef(Clock.Clock))
    const wasHead = this.#head(now) === waiter
    this.#out(waiter)
    if (wasHead || this.#head(now) === undefined) this.#dispatch(now, fiber)
  }
}
