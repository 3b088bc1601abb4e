/**
 * A lane paces all calls that share one provider limit, and finds that limit by itself.
 *
 * ```
 *   acquire ─▶ queue by priority ─▶ pause? outage? in flight? requests/s? tokens/s? ─▶ permit
 *                                                                                        │
 *   decisions ◀── the sums learn (policy/LaneKernel) ◀──────────── settle(sample) ◀──────┘
 * ```
 *
 * Nothing has to be configured: the lane starts at ten requests per second, doubles while nobody objects, measures the
 * limit when the provider does, and from then on stays just under it, follows it, and tells every move on `decisions`.
 * Caps (`requestsPerMinute`, `tokensPerMinute`, `maxInFlight`) are ceilings. `start` gives what is known already.
 *
 * An uncontended admission is synchronous: no fiber, no timer. What waits is a callback in an array; one timer wakes
 * the head of the queue. Interruption anywhere gives back the place in the queue, or the permit.
 *
 * Retry is not here: wrap `run` in it, and pass `retry: true` from the second attempt on. Then a waiting retry holds
 * no permit, and goes ahead of fresh work of its class.
 *
 * **Example** (A lane around any effect)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Lane } from "effect-together"
 *
 * const program = Effect.gen(function*() {
 *   const lane = yield* Lane.make({ key: "demo" })
 *   const answer = yield* lane.run(Effect.succeed("hello"), { tokens: 20 }, () => ({ _tag: "Success" }))
 *   const { inFlight, queued } = yield* lane.status
 *   return { answer, inFlight, queued }
 * })
 *
 * Effect.runPromise(program).then(console.log) // { answer: "hello", inFlight: 0, queued: 0 }
 * ```
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { priorityLevel } from "../domain/Call.ts"
import { LaneOverflowError } from "../domain/TogetherError.ts"
import * as Kernel from "../policy/LaneKernel.ts"
import * as Queue from "../policy/LaneQueue.ts"
import {
  type Decision,
  defaults,
  type Lane,
  type LaneRequest,
  type LaneStatus,
  type Options,
  type Permit,
  type Sample
} from "./LaneContract.ts"
import { checked, kernelOptions, kernelSample } from "./LaneInput.ts"
import * as LaneMetrics from "./LaneMetrics.ts"
import * as Learned from "./LaneLearned.ts"
import * as LaneStore from "./LaneStore.ts"

export {
  type Decision,
  defaults,
  type Lane,
  type LaneRequest,
  type LaneStatus,
  type Options,
  type Permit,
  type Sample,
  type ThrottleScope
} from "./LaneContract.ts"

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Goes on with what waited for a ticket. */
type Use = (ticket: Kernel.Ticket, waitedSeconds: number) => Effect.Effect<unknown, unknown, unknown>

interface Waiter extends Queue.Entry {
  /** Wakes the fiber; absent until it sleeps. */
  resume: ((effect: Effect.Effect<void, LaneOverflowError>) => void) | undefined
  readonly use: Use
  /** Milliseconds of the monotonic clock: a small integer takes no space of its own. */
  readonly since: number
  readonly deadlineAt: number | undefined
  ticket: Kernel.Ticket | undefined
}

const ignored: Sample = { _tag: "Ignored", sent: true }
const neverSent: Sample = { _tag: "Ignored", sent: false }

const monotonic = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e9

class LaneImpl implements Lane {
  readonly key: string
  readonly #cell: LaneStore.Cell
  readonly #queue = Queue.make<Waiter>()
  readonly #maxQueue: number
  readonly #metrics: LaneMetrics.Bound
  readonly #pubsub: PubSub.PubSub<Decision>
  #listeners = 0
  #last: Decision | undefined
  #blocker: Kernel.Blocker | undefined
  #timer: Fiber.Fiber<void> | undefined
  #timerAt = Infinity

  readonly #options: Options

  constructor(options: Options, key: string, cell: LaneStore.Cell, pubsub: PubSub.PubSub<Decision>) {
    this.key = key
    this.#options = options
    this.#cell = cell
    this.#maxQueue = options.maxQueue ?? defaults.maxQueue
    this.#metrics = LaneMetrics.bind(key)
    this.#pubsub = pubsub
  }

  #decided(decisions: ReadonlyArray<Kernel.Decision>, fiber: Fiber.Fiber<unknown, unknown>): void {
    if (decisions.length === 0) return
    const at = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    for (const decision of decisions) {
      this.#last = { ...decision, lane: this.key, at }
      this.#metrics.decided(decision, fiber.context)
      if (this.#listeners > 0) PubSub.publishUnsafe(this.#pubsub, this.#last)
    }
    this.#metrics.gauges(this.#cell.read(), this.#queue.size, fiber.context)
  }

  /** Lets time teach; then the state in the cell is that of now. */
  #advance(now: number, fiber: Fiber.Fiber<unknown, unknown>): Kernel.State {
    const before = this.#cell.read()
    const [decisions, state] = Kernel.advance(before, now)
    if (state !== before) this.#cell.write(state)
    this.#decided(decisions, fiber)
    return state
  }

  #admit(state: Kernel.State, tokens: number, blocker: Kernel.Blocker | undefined, now: number): Kernel.Ticket {
    const [ticket, next] = Kernel.admit(state, tokens, blocker, now)
    this.#cell.write(next)
    return ticket
  }

  #settle(ticket: Kernel.Ticket, sample: Sample, fiber: Fiber.Fiber<unknown, unknown>): void {
    const now = monotonic(fiber.getRef(Clock.Clock))
    const [decisions, state] = Kernel.settle(this.#cell.read(), ticket, kernelSample(sample), now)
    this.#cell.write(state)
    this.#metrics.ended(sample, fiber.context)
    this.#decided(decisions, fiber)
    if (this.#queue.size > 0) this.#dispatch(now, fiber)
  }

  /** Sends whoever may be sent now, and sets the timer for the next. */
  #dispatch(now: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    while (true) {
      const head = Queue.peek(this.#queue)
      if (head === undefined) {
        this.#blocker = undefined
        return this.#wake(Infinity, now, fiber)
      }
      if (head.deadlineAt !== undefined && head.deadlineAt < fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()) {
        Queue.remove(this.#queue, head)
        this.#resume(head, Effect.fail(this.#late(0)), fiber)
        continue
      }
      const state = this.#advance(now, fiber)
      const [wait, by] = Kernel.wait(state, now, head.tokens)
      if (wait > 0) {
        this.#blocker = by
        return this.#wake(wait, now, fiber)
      }
      Queue.take(this.#queue)
      head.ticket = this.#admit(state, head.tokens, this.#blocker, now)
      this.#metrics.waited(Math.max(0, now - head.since / 1000), fiber.context)
      this.#resume(head, Effect.void, fiber)
    }
  }

  /** Wakes a waiter in a turn of its own: its work must not run inside the dispatcher. */
  #resume(waiter: Waiter, effect: Effect.Effect<void, LaneOverflowError>, fiber: Fiber.Fiber<unknown, unknown>): void {
    fiber.currentDispatcher.scheduleTask(() => waiter.resume?.(effect), 0)
  }

  /** Sets the one timer of the lane, or clears it. */
  #wake(wait: number, now: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    const at = now + wait
    if (this.#timer !== undefined) {
      if (Math.abs(at - this.#timerAt) < 5e-4) return
      this.#timer.interruptUnsafe()
      this.#timer = undefined
    }
    this.#timerAt = at
    if (wait === Infinity) return
    // in whole milliseconds, for timers have no finer grain; what is too late is made up for by the next
    const millis = Math.max(1, Math.ceil(wait * 1000 - 1e-6))
    this.#timer = Effect.runForkWith(fiber.context)(Effect.andThen(
      Effect.sleep(millis),
      Effect.withFiber((own) => {
        this.#timer = undefined
        this.#timerAt = Infinity
        this.#dispatch(monotonic(own.getRef(Clock.Clock)), own)
        return Effect.void
      })
    ))
  }

  #late(estimate: number): LaneOverflowError {
    const deadline = estimate === 0
      ? "its deadline passed"
      : `it would be sent in ${estimate.toFixed(1)} s, after its deadline`
    return new LaneOverflowError({
      message: `Lane ${this.key} cannot send this call in time: ${deadline}. ` +
        `${this.#queue.size} calls wait before it; send less, raise its priority or its deadline.`,
      lane: this.key,
      reason: "deadline",
      estimate: Duration.millis(estimate * 1000),
      queued: this.#queue.size
    })
  }

  /** Refuses a call that must not wait, or returns nothing. */
  #overflow(
    request: LaneRequest,
    state: Kernel.State,
    now: number,
    clock: Clock.Clock
  ):
    | LaneOverflowError
    | undefined
  {
    const queue = this.#queue
    const estimate = Kernel.estimate(state, queue.size, queue.tokens, now)
    if (queue.size >= this.#maxQueue) {
      return new LaneOverflowError({
        message: `The queue of lane ${this.key} is full: ${queue.size} calls wait, which takes ` +
          `${estimate.toFixed(1)} s at the learned rate. Send less, or raise maxQueue (${this.#maxQueue}).`,
        lane: this.key,
        reason: "queue-full",
        estimate: Duration.millis(estimate * 1000),
        queued: queue.size
      })
    }
    const deadlineAt = request.deadlineAt
    if (deadlineAt === undefined || clock.currentTimeMillisUnsafe() + estimate * 1000 <= deadlineAt) return undefined
    return this.#late(estimate)
  }

  /** Admits at once where nobody waits and nothing stands against it. */
  #try(request: LaneRequest, now: number, fiber: Fiber.Fiber<unknown, unknown>): Kernel.Ticket | undefined {
    if (this.#queue.size > 0) return undefined
    const state = this.#advance(now, fiber)
    return Kernel.wait(state, now, request.tokens)[0] > 0
      ? undefined
      : this.#admit(state, request.tokens, undefined, now)
  }

  /**
   * Gets a ticket and goes on with `use`; an end before that leaves nothing behind. To be run uninterruptibly.
   *
   * A million may wait here, so the effects they sleep in are shared (`#asleep`), and what is their own sits in one
   * object that is found by the fiber.
   */
  #enter<A, E, R>(
    request: LaneRequest,
    restore: Restore,
    use: (ticket: Kernel.Ticket, waitedSeconds: number) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | LaneOverflowError, R> {
    return Effect.withFiber((fiber) => {
      const clock = fiber.getRef(Clock.Clock)
      const now = monotonic(clock)
      const ticket = this.#try(request, now, fiber)
      if (ticket !== undefined) return use(ticket, 0)
      const overflow = this.#overflow(request, this.#cell.read(), now, clock)
      if (overflow !== undefined) return Effect.fail(overflow)
      this.#asleepBy.set(fiber, {
        level: priorityLevel(request.priority ?? defaults.priority),
        retry: request.retry ?? defaults.retry,
        tokens: request.tokens,
        order: 0,
        gone: true,
        resume: undefined,
        use,
        since: Math.floor(now * 1000),
        deadlineAt: request.deadlineAt,
        ticket: undefined
      })
      // it ends as `use` ends, or as the wait fails
      return this.#asleep(restore) as Effect.Effect<A, E | LaneOverflowError, R>
    })
  }

  readonly #asleepBy = new Map<Fiber.Fiber<unknown, unknown>, Waiter>()

  #woken(fiber: Fiber.Fiber<unknown, unknown>): Waiter {
    // `#enter` put it there, and nothing else takes it out
    const waiter = this.#asleepBy.get(fiber) as Waiter
    this.#asleepBy.delete(fiber)
    return waiter
  }

  readonly #join: Effect.Effect<void, LaneOverflowError> = Effect.withFiber((fiber) =>
    Effect.callback<void, LaneOverflowError>((resume) => {
      const waiter = this.#asleepBy.get(fiber) as Waiter
      waiter.resume = resume
      waiter.gone = false
      Queue.add(this.#queue, waiter)
      if (Queue.peek(this.#queue) === waiter) this.#dispatch(monotonic(fiber.getRef(Clock.Clock)), fiber)
    })
  )

  /** Two sleeps: of callers that may be interrupted, and of callers that may not. */
  readonly #sleeps = new WeakMap<Restore, Effect.Effect<unknown, unknown, unknown>>()

  #asleep(restore: Restore): Effect.Effect<unknown, unknown, unknown> {
    const known = this.#sleeps.get(restore)
    if (known !== undefined) return known
    const made = this.#sleep(restore)
    this.#sleeps.set(restore, made)
    return made
  }

  readonly #sleep = (restore: Restore): Effect.Effect<unknown, unknown, unknown> =>
    Effect.matchCauseEffect(restore(this.#join), {
      onSuccess: () =>
        Effect.withFiber((fiber) => {
          const waiter = this.#woken(fiber)
          // only the dispatcher wakes with success, and it puts the ticket there first
          const ticket = waiter.ticket as Kernel.Ticket
          return waiter.use(ticket, Math.max(0, monotonic(fiber.getRef(Clock.Clock)) - waiter.since / 1000))
        }),
      onFailure: (cause) =>
        Effect.withFiber((fiber) => {
          const waiter = this.#woken(fiber)
          if (waiter.ticket !== undefined) this.#settle(waiter.ticket, neverSent, fiber)
          else this.#leave(waiter, fiber)
          return Effect.failCause(cause)
        })
    })

  #leave(waiter: Waiter, fiber: Fiber.Fiber<unknown, unknown>): void {
    if (waiter.gone) return
    const wasHead = Queue.peek(this.#queue) === waiter
    Queue.remove(this.#queue, waiter)
    if (wasHead) this.#dispatch(monotonic(fiber.getRef(Clock.Clock)), fiber)
  }

  #permit(ticket: Kernel.Ticket, waited: number): Permit {
    let open = true
    return {
      waited: Duration.millis(waited * 1000),
      settle: (sample) =>
        Effect.withFiber((fiber) => {
          if (open) {
            open = false
            this.#settle(ticket, sample, fiber)
          }
          return Effect.void
        })
    }
  }

  readonly #granted = (ticket: Kernel.Ticket, waited: number): Effect.Effect<Permit> =>
    Effect.succeed(this.#permit(ticket, waited))

  acquire(request: LaneRequest): Effect.Effect<Permit, LaneOverflowError> {
    return Effect.uninterruptibleMask((restore) => this.#enter(request, restore, this.#granted))
  }

  acquireScoped(request: LaneRequest): Effect.Effect<Permit, LaneOverflowError, Scope.Scope> {
    // one mask around both: an interruption between the permit and its finalizer would lose the permit
    return Effect.uninterruptibleMask((restore) =>
      Effect.tap(
        this.#enter(request, restore, this.#granted),
        (permit) => Effect.addFinalizer(() => permit.settle(ignored))
      )
    )
  }

  tryAcquire(request: LaneRequest): Effect.Effect<Option.Option<Permit>> {
    return Effect.withFiber((fiber) => {
      const ticket = this.#try(request, monotonic(fiber.getRef(Clock.Clock)), fiber)
      return Effect.succeed(ticket === undefined ? Option.none() : Option.some(this.#permit(ticket, 0)))
    })
  }

  run<A, E, R>(
    attempt: Effect.Effect<A, E, R>,
    request: LaneRequest,
    classify: (exit: Exit.Exit<A, E>) => Sample
  ): Effect.Effect<A, E | LaneOverflowError, R> {
    return Effect.uninterruptibleMask((restore) =>
      this.#enter(request, restore, (ticket) =>
        Effect.withFiber((fiber) => {
          let open = true
          const settle = (sample: Sample): void => {
            open = false
            this.#settle(ticket, sample, fiber)
          }
          return Effect.onExitPrimitive(
            Effect.onExitPrimitive(restore(attempt), (exit) => {
              settle(Exit.hasInterrupts(exit) ? ignored : classify(exit))
              return undefined
            }),
            // a `classify` that throws must not keep the permit
            () => {
              if (open) settle(ignored)
              return undefined
            }
          )
        }))
    )
  }

  readonly status: Effect.Effect<LaneStatus> = Effect.withFiber((fiber) => {
    const now = monotonic(fiber.getRef(Clock.Clock))
    const state = this.#advance(now, fiber)
    const pause = state.pausedUntil - now
    return Effect.succeed({
      key: this.key,
      phase: state.requests.phase,
      requestsPerSecond: state.requests.rate,
      tokensPerSecond: state.tokensPaced ? state.tokens.rate : undefined,
      inFlightLimit: Number.isFinite(Math.min(state.inFlight.limit, state.inFlight.max))
        ? Math.min(state.inFlight.limit, state.inFlight.max)
        : undefined,
      inFlight: state.count,
      queued: this.#queue.size,
      queuedTokens: this.#queue.tokens,
      pause: pause > 0 ? Duration.millis(pause * 1000) : undefined,
      outage: state.outage.down,
      waitsFor: this.#queue.size > 0 ? this.#blocker : undefined,
      estimate: Duration.millis(Kernel.estimate(state, this.#queue.size, this.#queue.tokens, now) * 1000),
      lastDecision: this.#last
    })
  })

  readonly decisions: Stream.Stream<Decision> = Stream.unwrap(Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        this.#listeners++
      }),
      () =>
        Effect.sync(() => {
          this.#listeners--
        })
    ),
    () => Stream.fromPubSub(this.#pubsub)
  ))

  readonly save: Effect.Effect<Learned.Learned> = Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    return Effect.succeed(Learned.fromState(this.#cell.read(), clock.currentTimeMillisUnsafe()))
  })

  load(learned: Learned.Learned): Effect.Effect<void> {
    return Effect.withFiber((fiber) => {
      const now = monotonic(fiber.getRef(Clock.Clock))
      this.#cell.write(Learned.toState(learned, this.#cell.read(), kernelOptions(this.#options), now))
      if (this.#queue.size > 0) this.#dispatch(now, fiber)
      return Effect.void
    })
  }
}

/**
 * Makes a lane.
 *
 * **Details**: `store` says where its state lives; this process by default.
 *
 * **Errors**: throws a `RangeError` for an option out of range.
 */
export const make = (
  options: Options = {},
  store: LaneStore.LaneStore["Service"] = LaneStore.memory
): Effect.Effect<Lane> =>
  Effect.suspend(() => {
    const kernel = kernelOptions(checked(options))
    const key = options.key ?? defaults.key
    return Effect.flatMap(
      Clock.clockWith((clock) => store.open(key, () => Kernel.make(kernel, monotonic(clock)))),
      (cell) => Effect.map(PubSub.sliding<Decision>(256), (pubsub): Lane => new LaneImpl(options, key, cell, pubsub))
    )
  })

/** Computes the span attributes that tell what an attempt met in its lane. */
export const spanAttributes = (lane: Lane, permit: Permit): Record<string, unknown> => ({
  "lane.key": lane.key,
  "lane.waited_ms": Duration.toMillis(permit.waited)
})
