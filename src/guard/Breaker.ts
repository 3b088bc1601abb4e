/**
 * Stops calling a provider that is down, one circuit per lane.
 *
 * A thin layer over Effect's `CircuitBreaker`: it knows which of our errors speak of the provider's health, fails with
 * our own `CircuitOpenError`, and lets a job wait (`CircuitLine`) where an interactive call fails.
 *
 * ```text
 *            half of the last calls failed          open time over
 *  ┌────────┐ ───────────────────────────▶ ┌──────┐ ──────────────▶ ┌──────────┐
 *  │ Closed │                              │ Open │   one probe     │ HalfOpen │
 *  └────────┘                              └──────┘ ◀────────────── └──────────┘
 *       ▲                                            probe failed        │
 *       └────────────────────────────────────────────────────────────────┘
 *                                probe succeeded
 * ```
 *
 * | outcome | counts as |
 * | --- | --- |
 * | value, or the end of a stream | success |
 * | `ServerError`, `OverloadedError`, `ConnectionError`, `StreamError`, `RequestTimeoutError` (not `deadline`) | failure |
 * | `RateLimitError` and every other error, interruption | ignored |
 *
 * A 429 says that the provider is well and we are too fast: that is the lane's business. Put the breaker inside of
 * `Retry.run`: a rejected call is not retried, and every attempt is judged. Where the effect queues, the probe should
 * go first: it sees `CurrentProbe`, and a `Lane` inside heeds it.
 *
 * `run` judges an effect by its exit. What goes on after the effect that began it, as a stream does, goes through by
 * `acquireScoped`, and is judged when it is settled.
 *
 * **Gotchas**: outcomes of attempts that were admitted before the circuit opened change nothing. Once the scope of a
 * breaker has closed, its transitions are neither told nor counted; calls go through it as before.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type CircuitOpenError, isTogetherError } from "../domain/TogetherError.ts"
import * as OptionCheck from "../policy/OptionCheck.ts"
import * as CircuitLine from "./CircuitLine.ts"
import * as ConfiguredGuard from "./ConfiguredGuard.ts"
import * as FailOrWait from "./FailOrWait.ts"
import * as Millis from "./Millis.ts"
import * as Monotonic from "./Monotonic.ts"
import { CurrentProbe } from "./Probe.ts"
import * as RetryDelay from "./retry/RetryDelay.ts"

export { CurrentProbe } from "./Probe.ts"

/** Says what an attempt tells about the provider's health. */
export type Outcome = CircuitBreaker.Outcome

/** Configures a breaker. */
export interface Options {
  /** Share of failures among the last calls that opens the circuit, in (0, 1]. Default 0.5. */
  readonly threshold?: number | undefined
  /** How many of the last calls are looked at, at least 1. Default 50, or `minimumCalls` if that is more. */
  readonly size?: number | undefined
  /** Calls that must have been seen before the circuit can open, in [1, size]. Default 20, or `size` if that is less. */
  readonly minimumCalls?: number | undefined
  /**
   * First time open. It doubles with each opening in a row and is drawn within ±20 %, at most `maxOpenFor`. Default 5
   * seconds, or `maxOpenFor` if that is less.
   */
  readonly openFor?: Duration.Input | undefined
  /** Longest time open, hints of the provider included. Default 5 minutes, or `openFor` if that is more. */
  readonly maxOpenFor?: Duration.Input | undefined
  /** After this long without a call a circuit forgets what it has seen. Above 0. Default 2 minutes. */
  readonly idleTimeToLive?: Duration.Input | undefined
}

/** Holds the defaults of every option. */
export const defaults = {
  threshold: 0.5,
  size: 50,
  minimumCalls: 20,
  openFor: Duration.seconds(5),
  maxOpenFor: Duration.minutes(5),
  idleTimeToLive: Duration.minutes(2),
  /** How long a waiting call leaves the probe of another call alone before it looks again. */
  probeWait: CircuitLine.probeWait
} as const

/** Configures one call through a breaker. */
export interface RunOptions<in A, in E> {
  /** Key of the circuit: that of the lane. */
  readonly key: string
  /**
   * What a call does at an open circuit. `"fail"` (default, interactive calls): `CircuitOpenError` at once.
   * `"wait"` (jobs): waits until it is admitted; bound it with `Deadline.run`.
   */
  readonly whenOpen?: FailOrWait.FailOrWait | undefined
  /**
   * Judges an attempt: `{ _tag: "Success" }`, `{ _tag: "Ignored" }` or `{ _tag: "Failure", retryAfter? }`. Default: the
   * table of the module header.
   */
  readonly classify?: ((exit: Exit.Exit<A, E>) => Outcome) | undefined
}

/** Lets a call go through its circuit until it is settled. */
export interface Permit {
  /** True where the call is the probe of a half-open circuit: until it is settled, the circuit admits nobody else. */
  readonly probe: boolean
  /** Tells how the call ended, to be judged as by `run`; only the first end counts. */
  readonly settle: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void>
}

/**
 * Runs an attempt through the circuit of its key.
 *
 * **Details**: it has three data-last forms. So a `classify` that is written in place knows the effect's types, and one
 * that is not does not restrict them.
 */
export interface Run<out Needs = never> {
  (
    options: RunOptions<unknown, unknown> & { readonly classify?: undefined }
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpenError, R | Needs>
  <A, E>(
    options: RunOptions<NoInfer<A>, NoInfer<E>>
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | CircuitOpenError, R | Needs>
  <A, E>(
    options: RunOptions<A, E>
  ): <B extends A, F extends E, R>(self: Effect.Effect<B, F, R>) => Effect.Effect<B, F | CircuitOpenError, R | Needs>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: RunOptions<A, E>
  ): Effect.Effect<A, E | CircuitOpenError, R | Needs>
}

/** Guards calls by circuits, one per key. */
export interface Breaker {
  /** Runs an attempt through the circuit of its key. */
  readonly run: Run
  /**
   * Admits a call that goes on after the effect that began it, as a stream does. If it is not settled by the end of the
   * scope, it is settled as ignored: a stream that its consumer leaves is no failure, and as a probe it makes way for
   * the next call.
   *
   * **Gotchas**: to queue as a probe, what it runs needs `permit.probe` as its {@link CurrentProbe}.
   */
  readonly acquireScoped: (
    options: RunOptions<unknown, unknown>
  ) => Effect.Effect<Permit, CircuitOpenError, Scope.Scope>
  /** Reads a circuit. */
  readonly state: (key: string) => Effect.Effect<CircuitBreaker.State>
  /** Emits each change of a circuit, and ends with the scope of the breaker. */
  readonly transitions: Stream.Stream<CircuitBreaker.Transition>
}

/** Identifies the breaker of the context. */
export const Breaker: Context.Service<Breaker, Breaker> = Context.Service<Breaker>("effect-together/Breaker")

const transitionsTotal = Metric.counter("effect_together_breaker_transitions_total", {
  description: "Changes of circuits, by the states they left and entered",
  incremental: true
})
const rejections = Metric.counter("effect_together_breaker_rejections_total", {
  description: "Calls that an open circuit turned away or made wait",
  incremental: true
})

/** Judges an attempt by the table of the module header. */
export const classify = (exit: Exit.Exit<unknown, unknown>): Outcome => {
  if (Exit.isSuccess(exit)) return CircuitBreaker.success
  const error = Cause.findErrorOption(exit.cause)
  if (Option.isNone(error) || !isTogetherError(error.value)) return CircuitBreaker.ignored
  switch (error.value._tag) {
    case "RequestTimeoutError":
      return error.value.phase === "deadline" ? CircuitBreaker.ignored : CircuitBreaker.failure()
    case "ServerError":
    case "OverloadedError":
    case "ConnectionError":
    case "StreamError":
      return CircuitBreaker.failure({ retryAfter: error.value.retryAfter })
    default:
      return CircuitBreaker.ignored
  }
}

/** Reads the options; a default gives way to what was given for another field. */
const settingsOf = (options: Options) => {
  const where = "Breaker.make"
  const { idleTimeToLive: timeToLive, maxOpenFor: most, openFor: least } = options
  const given = {
    ...options,
    openFor: least === undefined ? undefined : Millis.finite(`${where}: openFor`, least),
    maxOpenFor: most === undefined ? undefined : Millis.positive(`${where}: maxOpenFor`, most),
    idleTimeToLive: timeToLive === undefined ? undefined : Millis.positive(`${where}: idleTimeToLive`, timeToLive)
  }
  const filled = OptionCheck.resolve<Readonly<Record<keyof Options, number>>>({
    ...defaults,
    openFor: Duration.toMillis(defaults.openFor),
    maxOpenFor: Duration.toMillis(defaults.maxOpenFor),
    idleTimeToLive: Duration.toMillis(defaults.idleTimeToLive)
  }, given)
  const threshold = OptionCheck.above(where, "threshold", filled.threshold, 0, 1)
  OptionCheck.integer(where, "size", filled.size, 1)
  OptionCheck.integer(where, "minimumCalls", filled.minimumCalls, 1)
  const { minimumCalls, size } = OptionCheck.ordered(where, filled, given, "minimumCalls", "size")
  const times = OptionCheck.ordered(`${where}, in milliseconds`, filled, given, "openFor", "maxOpenFor")
  const openFor = Duration.millis(times.openFor)
  const maxOpenFor = Duration.millis(times.maxOpenFor)
  const idleTimeToLive = Duration.millis(filled.idleTimeToLive)
  return {
    idleTimeToLive,
    policy: {
      tripPolicy: CircuitBreaker.rate({ threshold, size, minimumCalls }),
      openDuration: RetryDelay.exponential(openFor).pipe(
        RetryDelay.capped(maxOpenFor),
        RetryDelay.proportionalJitter(),
        // capped before the draw, so that it still spreads at the cap, and after it, so that it stays below
        RetryDelay.capped(maxOpenFor)
      ),
      maxOpenDuration: maxOpenFor
    }
  }
}

/** Runs what reads the clock by a monotonic one. */
const steady = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Clock.clockWith((clock) => Effect.provideService(self, Clock.Clock, Monotonic.clock(clock)))

/** Keeps circuits in memory. A clock that is set back keeps none of them open. */
const makeStore = (idleTimeToLive: Duration.Duration) =>
  Effect.map(Layer.build(CircuitBreaker.layerStoreMemory({ idleTimeToLive })), (context) => {
    const store = Context.get(context, CircuitBreaker.CircuitBreakerStore)
    return CircuitBreaker.CircuitBreakerStore.of({
      admit: (key) => steady(store.admit(key)),
      record: (options) => steady(store.record(options)),
      state: (key) => steady(store.state(key))
    })
  })

/**
 * Makes a breaker that keeps its circuits in the process.
 *
 * **Errors**: defects with `RangeError` for an option out of range.
 */
export const make = Effect.fnUntraced(
  function*(options: Options = {}): Effect.fn.Return<Breaker, never, Scope.Scope> {
    const { idleTimeToLive, policy } = settingsOf(options)
    const circuits = yield* CircuitBreaker.make(policy).pipe(
      Effect.provideServiceEffect(CircuitBreaker.CircuitBreakerStore, makeStore(idleTimeToLive))
    )
    const line = CircuitLine.make(circuits)
    yield* circuits.transitions.pipe(
      Stream.runForEach(({ from, to }) => Metric.update(Metric.withAttributes(transitionsTotal, { from, to }), 1)),
      Effect.forkScoped({ startImmediately: true })
    )
    return Breaker.of({
      run: dual(
        2,
        <A, E, R>(self: Effect.Effect<A, E, R>, options: RunOptions<A, E>) =>
          admit(circuits, line, self, checked("Breaker.run", options))
      ),
      acquireScoped: (options) => acquire(circuits, line, checked("Breaker.acquireScoped", options)),
      // the store is in memory, which cannot fail
      state: (key) => Effect.orDie(circuits.state(key)),
      transitions: circuits.transitions
    })
  }
)

/** Checks what the types rule out. */
const checked = <A, E>(where: string, options: RunOptions<A, E>): RunOptions<A, E> => {
  FailOrWait.checked(where, "whenOpen", options.whenOpen)
  return options
}

/** Runs an attempt as soon as its circuit admits it, or fails. */
const admit = <A, E, R>(
  circuits: CircuitBreaker.CircuitBreaker,
  line: CircuitLine.CircuitLine,
  self: Effect.Effect<A, E, R>,
  options: RunOptions<A, E>
): Effect.Effect<A, E | CircuitOpenError, R> => {
  const turn = (waited: boolean): Effect.Effect<A, E | CircuitOpenError, R> =>
    Effect.suspend(() => {
      // a rejection of this breaker comes before the effect starts: an equal error from inside passes untouched
      let started = false
      // the store is in memory, which cannot fail; admitted at a half-open circuit is its probe alone
      const marked = Effect.flatMap(Effect.orDie(circuits.state(options.key)), ({ _tag }) => {
        started = true
        return _tag === "HalfOpen" ? Effect.provideService(self, CurrentProbe, true) : self
      })
      return circuits.execute(marked, { key: options.key, classify: options.classify ?? classify }).pipe(
        Effect.catch((error): Effect.Effect<A, E | CircuitOpenError, R> => {
          if (started || !(error instanceof CircuitBreaker.CircuitBreakerError)) {
            return Effect.fail(error as E) // raised by the effect itself, whose errors are E
          }
          const reason = error.reason
          if (reason._tag === "CircuitBreakerStoreError") return Effect.die(error)
          // a call that waits may be turned away again and again, but counts as rejected once
          return waited ? rejected(reason) : Effect.andThen(Metric.update(rejections, 1), rejected(reason))
        })
      )
    })

  const rejected = (shut: CircuitLine.Shut) =>
    options.whenOpen === "wait"
      ? Effect.andThen(line(shut), turn(true))
      : Effect.fail(CircuitLine.refusal(shut))

  return turn(false)
}

/** Admits what ends when it is settled. Effect's breaker judges an effect: here one that waits for the end, in a fiber. */
const acquire = (
  circuits: CircuitBreaker.CircuitBreaker,
  line: CircuitLine.CircuitLine,
  options: RunOptions<unknown, unknown>
): Effect.Effect<Permit, CircuitOpenError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const admitted = yield* Deferred.make<boolean, CircuitOpenError>()
      const ended = yield* Deferred.make<unknown, unknown>()
      const held = Effect.flatMap(
        CurrentProbe,
        (probe) => Effect.andThen(Deferred.succeed(admitted, probe), Deferred.await(ended))
      )
      const call = admit(circuits, line, held, options)
      const fiber = yield* Effect.forkIn(
        // if the call was admitted, its end comes too late for this; otherwise it was refused
        Effect.onError(call, (cause) => Deferred.failCause(admitted, cause as Cause.Cause<CircuitOpenError>)).pipe(
          Effect.exit,
          // the probe of an outer circuit is not a probe of this one
          Effect.provideService(CurrentProbe, false)
        ),
        yield* Effect.scope,
        { startImmediately: true }
      )
      const probe = yield* Effect.onError(restore(Deferred.await(admitted)), () => Fiber.interrupt(fiber))
      const settle = (exit: Exit.Exit<unknown, unknown>) =>
        Effect.uninterruptible(Effect.andThen(Deferred.done(ended, exit), Fiber.await(fiber)))
      return { probe, settle: (exit) => Effect.asVoid(settle(exit)) }
    })
  )

/** Runs an attempt through the breaker of the context. */
export const run: Run<Breaker> = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: RunOptions<A, E>) =>
    Effect.flatMap(Breaker, (breaker) => breaker.run(self, options))
)

/** Provides a breaker to the context. */
export const layer = (options: Options = {}): Layer.Layer<Breaker> => Layer.effect(Breaker, make(options))

/**
 * Provides a breaker whose options come from the configuration.
 *
 * **Errors**: `ConfigError`, also for an option out of range.
 */
export const layerConfig = (options: Config.Wrap<Options>): Layer.Layer<Breaker, Config.ConfigError> =>
  Layer.effect(Breaker, ConfiguredGuard.make(Config.unwrap(options), make))
