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
 * interrupted, and the provider may still bill what it generated.
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
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as HedgeBudget from "../policy/HedgeBudget.ts"
import * as HedgeDelay from "../policy/HedgeDelay.ts"

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
  /** How long the first try has the field to itself. See {@link learnedDelay} for a delay that follows the calls. */
  readonly delay: Duration.Input | LearnedDelay
  /** Whether a repeat of the call is safe. A call that is not is never sent twice, unless `allowUnsafe`. */
  readonly idempotent: boolean
  /** Sends even unsafe calls twice. Default `false`. */
  readonly allowUnsafe?: boolean | undefined
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
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const makeBudget = (options: HedgeBudget.Options = {}): Effect.Effect<Budget> => {
  const initial = HedgeBudget.make(options)
  return Effect.sync(() => {
    let state = initial
    return {
      tryWithdraw: Effect.sync(() => {
        const [decision, next] = HedgeBudget.acquire(state)
        state = next
        return decision._tag === "Granted"
      }),
      succeed: Effect.sync(() => {
        state = HedgeBudget.succeed(state)
      })
    }
  })
}

/**
 * Makes a delay that follows a quantile of recent calls: by default the p95 of the last 30 seconds.
 *
 * **Errors**: throws `RangeError` for an option out of range.
 */
export const learnedDelay = (options: HedgeDelay.Options = {}): Effect.Effect<LearnedDelay> => {
  const initial = HedgeDelay.make(options)
  return Clock.clockWith((clock) =>
    Effect.sync(() => {
      let state = initial
      const now = () => clock.currentTimeMillisUnsafe() / 1000
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
}

const isLearned = (delay: Duration.Input | LearnedDelay): delay is LearnedDelay =>
  typeof delay === "object" && "record" in delay

const outcomes = Metric.counter("hedge_outcomes_total", {
  description: "Calls that could be hedged, by what became of their second try",
  incremental: true
})
const counted: { readonly [K in Outcome]: Effect.Effect<void> } = {
  "not-needed": Metric.update(Metric.withAttributes(outcomes, { outcome: "not-needed" }), 1),
  "won": Metric.update(Metric.withAttributes(outcomes, { outcome: "won" }), 1),
  "lost": Metric.update(Metric.withAttributes(outcomes, { outcome: "lost" }), 1),
  "both-failed": Metric.update(Metric.withAttributes(outcomes, { outcome: "both-failed" }), 1),
  "no-permit": Metric.update(Metric.withAttributes(outcomes, { outcome: "no-permit" }), 1),
  "no-budget": Metric.update(Metric.withAttributes(outcomes, { outcome: "no-budget" }), 1)
}

/** Is what a second try that was due has come to: refused, or run to its end. */
type Second<A, E> = { readonly refused: "no-permit" | "no-budget" } | { readonly exit: Exit.Exit<A, E> }

/** Takes permit and budget, runs the second try, and returns the permit whatever happens. */
const secondTry = <A, E, R, R2>(
  self: Effect.Effect<A, E, R>,
  options: Options<R2>
): Effect.Effect<Second<A, E>, never, R | Exclude<R2, Scope.Scope>> =>
  Effect.scoped(Effect.gen(function*() {
    if (options.tryPermit !== undefined && !(yield* options.tryPermit)) return { refused: "no-permit" as const }
    if (options.budget !== undefined && !(yield* options.budget.tryWithdraw)) return { refused: "no-budget" as const }
    return { exit: yield* Effect.exit(Effect.provideService(self, CurrentTry, 2)) }
    // the scope of the permit is the only Scope that tryPermit sees
  })) as Effect.Effect<Second<A, E>, never, R | Exclude<R2, Scope.Scope>>

/** Races the two tries; the caller sees to it that both fibers end. */
const race = Effect.fnUntraced(function*<A, E, R>(
  first: Fiber.Fiber<A, E>,
  second: Effect.Effect<Fiber.Fiber<Second<A, E>>, never, R>,
  delay: Duration.Duration
) {
  const early = yield* Effect.timeoutOption(Fiber.await(first), delay)
  if (Option.isSome(early)) return { exit: early.value, outcome: "not-needed" as Outcome }
  const other = yield* second
  const winner = yield* Effect.raceFirst(
    Effect.map(Fiber.await(first), (exit) => ({ exit })),
    Effect.map(Fiber.join(other), (came) => ({ came }))
  )
  if ("exit" in winner) {
    if (winner.exit._tag === "Success") return { exit: winner.exit, outcome: "lost" as Outcome }
    const came = yield* Fiber.join(other)
    if ("refused" in came) return { exit: winner.exit, outcome: came.refused as Outcome }
    return came.exit._tag === "Success"
      ? { exit: came.exit, outcome: "won" as Outcome }
      : { exit: winner.exit, outcome: "both-failed" as Outcome }
  }
  const came = winner.came
  if ("exit" in came && came.exit._tag === "Success") return { exit: came.exit, outcome: "won" as Outcome }
  const exit = yield* Fiber.await(first)
  if ("refused" in came) return { exit, outcome: came.refused as Outcome }
  return { exit, outcome: (exit._tag === "Success" ? "lost" : "both-failed") as Outcome }
})

/**
 * Runs a call, and a second try of it if the first takes longer than the delay; the first answer wins.
 *
 * **Details**: the second try sees 2 in {@link CurrentTry}. Interruption ends both.
 *
 * **Gotchas**: put it inside of the lane's permit and outside of the attempt timeout. Both tries run in child fibers.
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
  const given = options.delay
  const learned = isLearned(given) ? given : undefined
  const fixed = isLearned(given) ? Option.none() : Option.some(Duration.fromInputUnsafe(given))
  if (Option.isSome(fixed) && !(Duration.toMillis(fixed.value) > 0)) {
    throw new RangeError(`Hedge.run: delay must be above 0, got ${Duration.toMillis(fixed.value)} ms`)
  }
  if (!options.idempotent && options.allowUnsafe !== true) return self
  return Clock.clockWith((clock) => {
    const began = clock.currentTimeMillisUnsafe()
    let firstEnded: number | undefined
    const timed = Effect.onExit(self, (exit) =>
      Effect.sync(() => {
        if (exit._tag === "Success") firstEnded = clock.currentTimeMillisUnsafe()
      }))
    const record = (outcome: Outcome): Effect.Effect<void> => {
      // a first try that a second one overtook has taken at least until now
      const ended = firstEnded ?? (outcome === "won" ? clock.currentTimeMillisUnsafe() : undefined)
      return learned === undefined || ended === undefined ? Effect.void : learned.record(Duration.millis(ended - began))
    }
    const finished = (outcome: Outcome, exit: Exit.Exit<A, E>) =>
      Effect.gen(function*() {
        yield* counted[outcome]
        yield* record(outcome)
        if (exit._tag === "Success" && options.budget?.succeed !== undefined) yield* options.budget.succeed
        if (options.onOutcome !== undefined) yield* options.onOutcome(outcome)
        return yield* exit
      })
    return Effect.flatMap(
      learned === undefined ? Effect.succeed(fixed) : learned.current,
      (delay) =>
        Option.isNone(delay)
          ? Effect.flatMap(Effect.exit(timed), (exit) => finished("not-needed", exit))
          : Effect.uninterruptibleMask((restore) =>
            Effect.gen(function*() {
              const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
              const fork = <A2, E2, R3>(effect: Effect.Effect<A2, E2, R3>) =>
                Effect.tap(
                  Effect.forkChild(restore(effect), { startImmediately: true }),
                  (fiber) => Effect.sync(() => fibers.push(fiber))
                )
              const first = yield* fork(timed)
              const { exit, outcome } = yield* restore(
                race(first, Effect.uninterruptible(fork(secondTry(self, options))), delay.value)
              ).pipe(Effect.onExit(() => Fiber.interruptAll(fibers)))
              return yield* finished(outcome, exit)
            })
          )
    )
  })
})
