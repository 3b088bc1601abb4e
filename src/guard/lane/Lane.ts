/**
 * A lane paces all calls that share one provider limit, and finds that limit by itself.
 *
 * ```text
 * acquire ─▶ queue by priority ─▶ pause? outage? in flight? requests/s? tokens/s? ─▶ permit ─▶ settle(sample)
 *    decisions ◀──────────────── the sums learn (policy/lane/LaneKernel) ◀──────────────────────────────┘
 * ```
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Lane } from "effect-together"
 *
 * const program = Effect.flatMap(Lane.make(), (lane) => lane.run(Effect.succeed("hello"), { tokens: 20 }))
 * await Effect.runPromise(program) // => "hello"
 * ```
 *
 * **Details**
 *
 * Nothing has to be configured: the lane starts at ten requests per second, doubles while nobody objects, measures the
 * limit when the provider does, and from then on stays just under it, follows it, and tells every move on `decisions`.
 * Caps (`requestsPerMinute`, `tokensPerMinute`, `maxInFlight`) are ceilings. `start` gives what is known already.
 *
 * {@link run} runs an attempt in the lane of a key, of the `Lanes` in the context. A wait ends with the `Deadline` around.
 *
 * An uncontended admission is synchronous: no fiber, no timer. What waits is a callback in an array; one timer wakes
 * the head of the queue. Interruption anywhere gives back the place in the queue, or the permit.
 *
 * Retry is not here: wrap `run` in it, and pass `retry: true` from the second attempt on. Then a waiting retry holds
 * no permit, and goes ahead of fresh work of its class. `sampleOf` reads what an attempt's exit means for the lane.
 *
 * The span around a call gets the attributes `lane.key` and `lane.waited_ms`, those of its last attempt.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { LaneOverflowError } from "../../domain/TogetherError.ts"
import * as Kernel from "../../policy/lane/LaneKernel.ts"
import {
  type Decision,
  defaults,
  type Lane,
  type LaneRequest,
  type LaneStatus,
  type Options,
  type Permit,
  type RunOptions,
  type Sample
} from "./LaneContract.ts"
import { Dispatcher } from "./LaneDispatcher.ts"
import { checked, kernelOptions } from "./LaneInput.ts"
import * as LaneMetrics from "./LaneMetrics.ts"
import * as Learned from "./LaneLearned.ts"
import { sampleOf } from "./LaneSample.ts"
import { Lanes } from "./LanesService.ts"
import * as LaneStore from "./LaneStore.ts"
import * as Monotonic from "../Monotonic.ts"

export * from "./LaneContract.ts"
export { sampleOf, type SampleOptions } from "./LaneSample.ts"

const ignored: Sample = { _tag: "Ignored", sent: true }

class LaneImpl implements Lane {
  readonly key: string
  readonly #options: Options
  readonly #cell: LaneStore.Cell
  readonly #metrics: LaneMetrics.Bound
  readonly #pubsub: PubSub.PubSub<Decision>
  readonly #dispatcher: Dispatcher
  #listeners = 0
  #last: Decision | undefined

  constructor(
    options: Options,
    key: string,
    cell: LaneStore.Cell,
    metrics: LaneMetrics.Bound,
    pubsub: PubSub.PubSub<Decision>
  ) {
    this.key = key
    this.#options = options
    this.#cell = cell
    this.#metrics = metrics
    this.#pubsub = pubsub
    this.#dispatcher = new Dispatcher(key, cell, options.maxQueue ?? defaults.maxQueue, metrics, this.#decided)
  }

  readonly #decided = (decisions: ReadonlyArray<Kernel.Decision>, clock: Clock.Clock): void => {
    if (decisions.length === 0) return
    const at = clock.currentTimeMillisUnsafe()
    for (const decision of decisions) {
      this.#last = { ...decision, lane: this.key, at }
      this.#metrics.decided(decision)
      if (this.#listeners > 0) PubSub.publishUnsafe(this.#pubsub, this.#last)
    }
    this.#metrics.limits(this.#cell.read())
  }

  #permit(ticket: Kernel.Ticket, waited: number): Permit {
    let open = true
    return {
      waited: Duration.millis(waited * 1000),
      settle: (sample) =>
        Effect.withFiber((fiber) => {
          if (open) {
            open = false
            this.#dispatcher.settle(ticket, sample, fiber)
          }
          return Effect.void
        })
    }
  }

  readonly #granted = (ticket: Kernel.Ticket, waited: number): Effect.Effect<Permit> =>
    Effect.succeed(this.#permit(ticket, waited))

  // properties, not methods, so that a lane can be destructured and spread as any service
  readonly acquire = (request: LaneRequest): Effect.Effect<Permit, LaneOverflowError> =>
    Effect.uninterruptibleMask((restore) => this.#dispatcher.enter(request, restore, this.#granted))

  readonly acquireScoped = (request: LaneRequest): Effect.Effect<Permit, LaneOverflowError, Scope.Scope> =>
    // one mask around both: an interruption between the permit and its finalizer would lose the permit
    Effect.uninterruptibleMask((restore) =>
      Effect.tap(
        this.#dispatcher.enter(request, restore, this.#granted),
        (permit) => Effect.addFinalizer(() => permit.settle(ignored))
      )
    )

  readonly tryAcquire = (request: LaneRequest): Effect.Effect<Option.Option<Permit>> =>
    Effect.withFiber((fiber) => {
      const ticket = this.#dispatcher.try(request, Monotonic.seconds(fiber.getRef(Clock.Clock)), fiber)
      return Effect.succeed(ticket === undefined ? Option.none() : Option.some(this.#permit(ticket, 0)))
    })

  readonly run = <A, E, R>(
    attempt: Effect.Effect<A, E, R>,
    options: RunOptions<A, E>
  ): Effect.Effect<A, E | LaneOverflowError, R> =>
    Effect.uninterruptibleMask((restore) =>
      this.#dispatcher.enter(options, restore, (ticket, _waited, fiber) => {
        let open = true
        const settle = (sample: Sample): void => {
          open = false
          this.#dispatcher.settle(ticket, sample, fiber)
        }
        return Effect.onExitPrimitive(
          Effect.onExitPrimitive(restore(attempt), (exit) => {
            settle(Exit.hasInterrupts(exit) ? ignored : (options.classify ?? sampleOf)(exit))
            return undefined
          }),
          // a `classify` that throws must not keep the permit
          () => {
            if (open) settle(ignored)
            return undefined
          }
        )
      })
    )

  readonly status: Effect.Effect<LaneStatus> = Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const now = Monotonic.seconds(clock)
    const { blocker, queued, queuedTokens } = this.#dispatcher
    const state = this.#dispatcher.advance(now, clock)
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
      queued,
      queuedTokens,
      pause: pause > 0 ? Duration.millis(pause * 1000) : undefined,
      outage: state.outage.down,
      waitsFor: blocker,
      estimate: Duration.millis(this.#dispatcher.estimate(state, now) * 1000),
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

  readonly load = (learned: Learned.Learned): Effect.Effect<void> =>
    Effect.withFiber((fiber) => {
      const now = Monotonic.seconds(fiber.getRef(Clock.Clock))
      this.#cell.write(Learned.toState(learned, this.#cell.read(), kernelOptions(this.#options), now))
      this.#dispatcher.look(now, fiber)
      return Effect.void
    })
}

/**
 * Makes a lane.
 *
 * **Details**: its state lives in the `LaneStore` of the context, which by default is this process.
 *
 * **Errors**: defects with `RangeError` for an option out of range.
 */
export const make = Effect.fnUntraced(function*(options: Options = {}): Effect.fn.Return<Lane> {
  const kernel = kernelOptions(checked(options))
  const key = options.key ?? defaults.key
  const clock = yield* Clock.Clock
  const store = yield* LaneStore.LaneStore
  const cell = yield* store.open(key, () => Kernel.make(kernel, Monotonic.seconds(clock)))
  const metrics = LaneMetrics.bind(key, yield* Effect.context())
  return new LaneImpl(options, key, cell, metrics, yield* PubSub.sliding<Decision>(256))
})

/**
 * Runs one attempt under a permit of a lane of the context; `Lanes.key` builds the key of a model's lane.
 *
 * **Details**: the lane is made at its first use. Waits for the permit as long as the `Deadline` around allows.
 *
 * **Errors**: `LaneOverflowError` when the queue is full, or the deadline cannot be met.
 *
 * **Example** (Any effect, through the lane of its model)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Deadline, Lane, Lanes } from "effect-together"
 *
 * const program = Effect.succeed("hello").pipe(
 *   Lane.run(Lanes.key({ model: "openai/gpt-oss-20b" }), { tokens: 20 }),
 *   Deadline.run("1 minute"),
 *   Effect.provide(Lanes.layer())
 * )
 *
 * await Effect.runPromise(program) // => "hello"
 * ```
 */
export const run: {
  // three data-last forms, so that a `classify` written in place reads the effect's types, and one that is not decides none
  (
    key: string,
    options: RunOptions<unknown, unknown> & { readonly classify?: undefined }
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LaneOverflowError, R | Lanes>
  <A, E>(
    key: string,
    options: RunOptions<NoInfer<A>, NoInfer<E>>
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LaneOverflowError, R | Lanes>
  <A, E>(
    key: string,
    options: RunOptions<A, E>
  ): <B extends A, F extends E, R>(self: Effect.Effect<B, F, R>) => Effect.Effect<B, F | LaneOverflowError, R | Lanes>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    key: string,
    options: RunOptions<A, E>
  ): Effect.Effect<A, E | LaneOverflowError, R | Lanes>
} = dual(
  3,
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    key: string,
    options: RunOptions<A, E>
  ): Effect.Effect<A, E | LaneOverflowError, R | Lanes> =>
    Effect.flatMap(
      Lanes,
      (lanes) => Effect.flatMap(lanes.get(key), (lane) => lane.run(self, options))
    )
)
