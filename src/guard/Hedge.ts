/**
 * Sends a second try of a slow call and takes the answer that comes first.
 *
 * ```text
 * first  ├──────────────── slow ───────────────✂ interrupted
 * second            ├──── quick ────▶ value
 *        │◀─ delay ─▶│ only with a free permit and budget; it never waits for either
 * ```
 *
 * Opt-in. It helps where a few calls stall for reasons of their own; where
 * latency follows the length of the answer it only costs. With the delay at
 * the p95 of recent calls, one call in twenty is sent twice. The loser is
 * interrupted and what it acquired in its scope is released; the provider may
 * still bill what it generated.
 *
 * A first try that fails before the delay fails the call: that is for
 * `Retry.run` outside. Once both are in flight, one failure waits for the
 * other try.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Hedge } from "effect-together"
 *
 * const ask = Effect.flatMap(Hedge.CurrentTry, (n) => n === 1 ? Effect.never : Effect.succeed("second"))
 *
 * const program = Hedge.run(ask, { delay: "5 millis", idempotent: true })
 *
 * await Effect.runPromise(program) // => "second"
 * ```
 *
 * **Source**: Dean and Barroso, "The Tail at Scale" (2013); gRPC proposal A6.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Scope from "effect/Scope"
import { isTogetherError } from "../domain/TogetherError.ts"
import * as HedgeBudget from "../policy/HedgeBudget.ts"
import * as HedgeDelay from "../policy/HedgeDelay.ts"
import * as BoundMetric from "./BoundMetric.ts"
import * as Complaint from "./Complaint.ts"
import * as Millis from "./Millis.ts"
import * as Monotonic from "./Monotonic.ts"
import type { Restore } from "./Restore.ts"

/** Holds the number of the try in progress: 1, or 2 for the hedge. */
export const CurrentTry: Context.Reference<number> = Context.Reference<number>("effect-together/Hedge/CurrentTry", {
  defaultValue: () => 1
})

/**
 * Says what became of the second try.
 *
 * - `not-needed`: the first ended before the delay
 * - `won`, `lost`: the second answered first; the first did
 * - `both-failed`: the error is that of the first
 * - `no-permit`, `no-budget`: it was due but refused
 */
export type Outcome = "not-needed" | "won" | "lost" | "both-failed" | "no-permit" | "no-budget"

/** Grants second tries. A `RetryBudget` is one, so that retries and hedges can share it. */
export interface Budget {
  /** Takes one second try if the budget has it. */
  readonly tryWithdraw: Effect.Effect<boolean>
  /**
   * Counts the second tries that the budget would allow now. If this is given, one is taken only once there is a
   * permit. If not, one is taken first, and is lost if there is no permit.
   */
  readonly balance?: Effect.Effect<number> | undefined
  /** Books the success of a call. */
  readonly succeed?: Effect.Effect<void> | undefined
}

/** Learns the delay from the latencies of recent calls. */
export interface LearnedDelay {
  /** The delay; nothing while there are too few samples. */
  readonly current: Effect.Effect<Option.Option<Duration.Duration>>
  readonly record: (latency: Duration.Duration) => Effect.Effect<void>
}

/** Configures {@link run}. */
export interface Options<out R = never> {
  /** How long the first try runs alone. See {@link learnedDelay} for a delay that follows the calls. */
  readonly delay: Duration.Input | LearnedDelay
  /** Whether a repeat of the call is safe; if it is not, the call is never sent twice. */
  readonly idempotent: boolean
  /** Bounds the load that second tries add. Default: none; see {@link makeBudget}. */
  readonly budget?: Budget | undefined
  /** Takes a permit for the second try if one is free; the scope returns it. Default: always free. */
  readonly tryPermit?: Effect.Effect<boolean, never, R> | undefined
  /** Runs at the end of each call. */
  readonly onOutcome?: ((outcome: Outcome) => Effect.Effect<void>) | undefined
}

/** Holds the defaults of {@link makeBudget} and {@link learnedDelay}. */
export const defaults = { budget: HedgeBudget.defaults, delay: HedgeDelay.defaults } as const

/**
 * Makes a budget that successes fill: with the defaults at most 4.8 % of all attempts are second tries.
 *
 * **Errors**: defects with `RangeError` for an option out of range.
 */
export const makeBudget = (options: HedgeBudget.Options = {}): Effect.Effect<Budget> =>
  Effect.sync(() => {
    let state = Complaint.of("Hedge.makeBudget", "HedgeBudget.make", () => HedgeBudget.make(options))
    return {
      tryWithdraw: Effect.sync(() => {
        const [decision, next] = HedgeBudget.acquire(state)
        state = next
        return decision._tag === "Granted"
      }),
      balance: Effect.sync(() => HedgeBudget.acquire(state)[0]._tag === "Granted" ? 1 : 0),
      succeed: Effect.sync(() => {
        state = HedgeBudget.succeed(state)
      })
    }
  })

/**
 * Makes a delay that follows a quantile of recent calls: by default the p95 of the last 30 seconds.
 *
 * **Errors**: defects with `RangeError` for an option out of range.
 */
export const learnedDelay = (options: HedgeDelay.Options = {}): Effect.Effect<LearnedDelay> =>
  Clock.clockWith((clock) =>
    Effect.sync(() => {
      let state = Complaint.of("Hedge.learnedDelay", "HedgeDelay.make", () => HedgeDelay.make(options))
      const now = () => Monotonic.seconds(clock)
      return {
        current: Effect.sync(() => {
          const [decision, next] = HedgeDelay.delay(state, now())
          state = next
          return decision._tag === "After" ? Option.some(Duration.seconds(decision.seconds)) : Option.none()
        }),
        record: (latency) =>
          Effect.sync(() => {
            state = HedgeDelay.record(state, Duration.toSeconds(latency), now())
          })
      }
    })
  )

const isLearned = (delay: Duration.Input | LearnedDelay): delay is LearnedDelay =>
  Predicate.hasProperty(delay, "record")

/**
 * Says what is wrong with a delay that is neither learned nor above 0, or nothing.
 *
 * @internal
 */
export const delayComplaint = (where: string, delay: Options["delay"]): string | undefined =>
  isLearned(delay) ? undefined : Millis.complaint(where, delay, ...Millis.aboveZero)

/**
 * Requires a delay that is learned, or above 0. `where` names function and field.
 *
 * @internal
 */
export const checkedDelay = (where: string, delay: Options["delay"]): Duration.Duration | LearnedDelay =>
  isLearned(delay) ? delay : Duration.millis(Millis.positive(where, delay))

const outcomes = BoundMetric.make(Metric.counter("effect_together_hedge_outcomes_total", {
  description: "Calls that could be hedged, by what became of their second try",
  incremental: true
}))

/** Says what a second try that was due has come to: refused, or run to its end. */
type Second<A, E> = { readonly refused: "no-permit" | "no-budget" } | { readonly exit: Exit.Exit<A, E> }

/** Numbers the first try, also within the second try of another call. */
const firstTry = Effect.provideService(CurrentTry, 1)

/** Takes budget and permit, runs the second try, and returns the permit whatever happens. */
const secondTry = <A, E, R, R2>(
  self: Effect.Effect<A, E, R>,
  { budget, tryPermit }: Options<R2>
): Effect.Effect<Second<A, E>, never, R | Exclude<R2, Scope.Scope>> =>
  Effect.scopedWith(Effect.fnUntraced(function*(permits) {
    // checked first, so that no permit is taken that an empty budget would leave unused
    const early = budget !== undefined && (budget.balance === undefined || (yield* budget.balance) < 1)
    if (early && !(yield* budget.tryWithdraw)) return { refused: "no-budget" as const }
    if (tryPermit !== undefined && !(yield* Scope.provide(tryPermit, permits))) return { refused: "no-permit" as const }
    if (budget !== undefined && !early && !(yield* budget.tryWithdraw)) return { refused: "no-budget" as const }
    return { exit: yield* Effect.exit(Effect.provideService(self, CurrentTry, 2)) }
  }))

/** Tells whether a try took too long for a timeout inside of it, ours or Effect's. */
const isTimeout = (exit: Exit.Exit<unknown, unknown>): boolean => {
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  return Cause.isTimeoutError(error) || isTogetherError(error) && error._tag === "RequestTimeoutError"
}

/** Gives each try a scope of its own within that of the caller, where it has one: the loser's ends before the call. */
const makeScopes = (outer: Option.Option<Scope.Scope>) => {
  const opened: Array<readonly [number, Scope.Closeable]> = []
  return {
    within: <A, E, R>(self: Effect.Effect<A, E, R>, number: 1 | 2): Effect.Effect<A, E, R> =>
      Option.isNone(outer) ? self : Effect.suspend(() => {
        const scope = Scope.forkUnsafe(outer.value)
        opened.push([number, scope])
        return Effect.provideService(self, Scope.Scope, scope)
      }),
    /**
     * Closes all scopes but the winner's. That one is closed too if it holds nothing, so that it is not kept as long as
     * the caller's.
     */
    close: (winner: 1 | 2 | undefined) =>
      Effect.forEach(
        opened,
        ([number, scope]) =>
          number === winner && scope.state._tag !== "Empty" ? Effect.void : Scope.close(scope, Exit.interrupt()),
        { discard: true }
      )
  }
}

/** Describes a call that ended, and what became of its second try. */
interface Ended<A, E> {
  readonly exit: Exit.Exit<A, E>
  readonly outcome: Outcome
}

/** Races the two tries; the caller sees to it that both fibers end. */
const race = Effect.fnUntraced(function*<A, E, R>(
  first: Fiber.Fiber<A, E>,
  second: Effect.Effect<Fiber.Fiber<Second<A, E>>, never, R>,
  delay: Duration.Duration
): Effect.fn.Return<Ended<A, E>, never, R> {
  const early = yield* Effect.timeoutOption(Fiber.await(first), delay)
  if (Option.isSome(early)) return { exit: early.value, outcome: "not-needed" }
  const other = yield* second
  const winner = yield* Effect.raceFirst(
    Effect.map(Fiber.await(first), (exit) => ({ exit })),
    Effect.map(Fiber.join(other), (came) => ({ came }))
  )
  if ("exit" in winner && Exit.isSuccess(winner.exit)) return { exit: winner.exit, outcome: "lost" }
  const came = "came" in winner ? winner.came : yield* Fiber.join(other)
  if ("exit" in came && Exit.isSuccess(came.exit)) return { exit: came.exit, outcome: "won" }
  const exit = yield* Fiber.await(first)
  return { exit, outcome: "refused" in came ? came.refused : Exit.isSuccess(exit) ? "lost" : "both-failed" }
})

/** Holds when the first try of a call began, and how it ended. Mutable, owned by the call. */
interface FirstTry {
  readonly began: number
  end: { readonly at: number; readonly exit: Exit.Exit<unknown, unknown> } | undefined
}

/** Notes how the first try ended. */
const noted = <A, E, R>(self: Effect.Effect<A, E, R>, first: FirstTry, clock: Clock.Clock): Effect.Effect<A, E, R> =>
  Effect.onExit(self, (exit) =>
    Effect.sync(() => {
      first.end = { at: Monotonic.millis(clock), exit }
    }))

/** Reads the latency of the first try, if it tells something about the provider. */
const latencyOf = ({ began, end }: FirstTry, outcome: Outcome, clock: Clock.Clock): Duration.Duration | undefined => {
  // a try that timed out, or that the second one overtook, has taken at least this long
  const counts = outcome === "won" || end !== undefined && (Exit.isSuccess(end.exit) || isTimeout(end.exit))
  return counts ? Duration.millis((end?.at ?? Monotonic.millis(clock)) - began) : undefined
}

const winnerOf = (exit: Exit.Exit<Ended<unknown, unknown>>): 1 | 2 | undefined => {
  if (Exit.isFailure(exit)) return undefined
  return exit.value.outcome === "won" ? 2 : 1
}

/** Runs both tries, and ends what is left of them as soon as one has answered. To be run uninterruptibly. */
const raced = Effect.fnUntraced(function*<A, E, R, R2>(
  first: Effect.Effect<A, E, R>,
  self: Effect.Effect<A, E, R>,
  delay: Duration.Duration,
  options: Options<R2>,
  restore: Restore
): Effect.fn.Return<Ended<A, E>, never, R | Exclude<R2, Scope.Scope>> {
  const scopes = makeScopes(yield* Effect.serviceOption(Scope.Scope))
  const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
  const fork = <A2, E2, R3>(effect: Effect.Effect<A2, E2, R3>) =>
    Effect.tap(
      Effect.forkChild(restore(effect), { startImmediately: true }),
      (fiber) => Effect.sync(() => fibers.push(fiber))
    )
  const running = yield* fork(scopes.within(first, 1))
  const second = Effect.uninterruptible(fork(secondTry(scopes.within(self, 2), options)))
  return yield* Effect.onExit(
    restore(race(running, second, delay)),
    (exit) => Effect.andThen(Fiber.interruptAll(fibers), scopes.close(winnerOf(exit)))
  )
})

/** Books what became of a call, and ends as it ended. */
const finished = Effect.fnUntraced(function*<A, E>(
  { exit, outcome }: Ended<A, E>,
  latency: Duration.Duration | undefined,
  { budget, delay, onOutcome }: Options<unknown>
): Effect.fn.Return<A, E> {
  yield* Metric.update(outcomes({ outcome }), 1)
  if (isLearned(delay) && latency !== undefined) yield* delay.record(latency)
  if (Exit.isSuccess(exit) && budget?.succeed !== undefined) yield* budget.succeed
  if (onOutcome !== undefined) yield* onOutcome(outcome)
  return yield* exit
})

/** Runs a call that may be sent twice. */
const hedged = Effect.fnUntraced(function*<A, E, R, R2>(
  self: Effect.Effect<A, E, R>,
  current: Effect.Effect<Option.Option<Duration.Duration>>,
  options: Options<R2>
): Effect.fn.Return<A, E, R | Exclude<R2, Scope.Scope>> {
  const clock = yield* Clock.Clock
  const first: FirstTry = { began: Monotonic.millis(clock), end: undefined }
  const timed = noted(firstTry(self), first, clock)
  const finish = (ended: Ended<A, E>) => finished(ended, latencyOf(first, ended.outcome, clock), options)
  const delay = yield* current
  if (Option.isNone(delay)) return yield* finish({ exit: yield* Effect.exit(timed), outcome: "not-needed" })
  // an answer is booked even if the call is interrupted then
  return yield* Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(raced(timed, self, delay.value, options, restore), finish)
  )
})

/**
 * Runs a call, and a second try of it if the first takes longer than the delay; the first answer wins.
 *
 * **Details**: the second try sees 2 in {@link CurrentTry}. Interruption ends both. Where the call needs a `Scope`, each
 * try has one of its own within the caller's: the loser's is closed before the answer is given, the winner's stays open
 * for as long as the caller's.
 *
 * **Gotchas**: put it inside of the lane's permit and outside of the attempt timeout. Both tries run in child fibers.
 * A call must acquire what it wants to keep before it answers: if the scope of a try is empty when it answers, it is
 * closed.
 *
 * **Errors**: the error of the first try.
 */
export const run: {
  <R2 = never>(
    options: Options<R2>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | Exclude<R2, Scope.Scope>>
  <A, E, R, R2 = never>(
    self: Effect.Effect<A, E, R>,
    options: Options<R2>
  ): Effect.Effect<A, E, R | Exclude<R2, Scope.Scope>>
} = dual(2, <A, E, R, R2>(
  self: Effect.Effect<A, E, R>,
  options: Options<R2>
): Effect.Effect<A, E, R | Exclude<R2, Scope.Scope>> => {
  const delay = checkedDelay("Hedge.run: delay", options.delay)
  const current = isLearned(delay) ? delay.current : Effect.succeedSome(delay)
  return options.idempotent ? hedged(self, current, options) : firstTry(self)
})
