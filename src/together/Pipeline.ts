/**
 * The way of one call: the order of its guards, for answers and for streams alike.
 *
 * ```text
 * fallback → deadline → credits → retry ─┬─ breaker → lane → hedge → attempt → settle
 *                           ▲            └─ wait (holds no permit)                │
 *                           └──────────── settle with real usage ◀────────────────┘
 * ```
 *
 * `Client` makes the fallback: a call of its own for each model, with what is left of the deadline. A waiting retry
 * holds no permit, and waits happen outside of every attempt timeout. A stream holds its permit until its last event.
 * Interruption at any point returns the permit, the reservation and the socket.
 *
 * Each attempt that may be billed is paid for: an attempt that was sent and brought no answer is charged its upper
 * bound, and an attempt after it or beside it has a reservation of its own.
 *
 * `onAnswered` comes last of all, outside of the deadline and after the settlement: whatever becomes of it, the permit
 * is back and the answer is paid for.
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { bulkLevel, type Call, priorityLevel } from "../domain/Call.ts"
import * as Hint from "../domain/Hint.ts"
import { isBeforeWork, isRetryable, mayHaveArrived } from "../domain/TogetherError.ts"
import type * as TogetherError from "../domain/TogetherError.ts"
import type * as Usage from "../domain/Usage.ts"
import type * as Breaker from "../guard/Breaker.ts"
import * as Credits from "../guard/credits/Credits.ts"
import * as Deadline from "../guard/Deadline.ts"
import * as Hedge from "../guard/Hedge.ts"
import type * as Lane from "../guard/lane/Lane.ts"
import * as LaneSample from "../guard/lane/LaneSample.ts"
import * as Monotonic from "../guard/Monotonic.ts"
import { CurrentProbe } from "../guard/Probe.ts"
import type { RetryBudget } from "../guard/retry/RetryBudget.ts"
import * as RetryLoop from "../guard/retry/RetryLoop.ts"
import * as Price from "../policy/Price.ts"
import * as CallWatch from "./CallWatch.ts"
import type { Opened } from "./stream/EventStream.ts"
import type { OutputHistory } from "./OutputHistory.ts"
import * as StreamDeadline from "./stream/StreamDeadline.ts"
import * as StreamUsage from "./stream/StreamUsage.ts"

type Failure = TogetherError.TogetherError

/** Holds what one attempt learned besides its result. */
export interface Observed {
  headers: Hint.Headers | undefined
  usage: Usage.Usage | undefined
  /** False while nothing can have reached the provider. */
  sent: boolean
  /** The attempt, the first being 1. */
  readonly attempt: number
  /** HTTP status and id of the answer, once it is there. */
  status: number | undefined
  requestId: string | undefined
}

/** Says what a call may cost, and who keeps count. */
export interface Money {
  readonly credits: Credits.Service
  readonly request: Credits.Request
}

/** Says when a slow answer is asked for a second time. */
export type HedgeOptions = Pick<Hedge.Options, "delay" | "budget" | "onOutcome">

/** Says how a call is guarded. */
export interface Guards {
  readonly lane: Lane.Lane
  readonly retry: Schedule.Schedule<unknown, Failure>
  readonly retryBudget: RetryBudget | undefined
  readonly deadline: Duration.Duration | undefined
  readonly breaker: Breaker.Breaker | undefined
  /** Says when to send a second try for a slow answer; absent if hedging is off. */
  readonly hedge: HedgeOptions | undefined
  /** Remembers what the calls of each lane generate. */
  readonly outputs: OutputHistory
  /** Absent where the call is free or nobody keeps a ledger. */
  readonly money: Money | undefined
  /** Prices what was consumed; `undefined` where the answer said nothing. */
  readonly cost: (usage: Usage.Usage | undefined) => Price.Cost
  /** Runs for every attempt that is sent, and for both tries of a hedged one. */
  readonly watch: CallWatch.CallWatch | undefined
  /** Runs after the attempt that answered; of a stream, at its end. */
  readonly onAnswered: ((observed: Observed, cost: Price.Cost) => Effect.Effect<void>) | undefined
}

/** Reads how an attempt ended, as far as its lane is concerned. */
export const sampleOf = (exit: Exit.Exit<unknown, Failure>, observed: Observed): Lane.Sample => {
  if (Exit.isSuccess(exit)) {
    const { headers, usage } = observed
    return {
      _tag: "Success",
      tokens: usage === undefined ? undefined : usage.inputTokens + usage.outputTokens,
      headers: headers && Hint.limitHeaders(headers)
    }
  }
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  return LaneSample.ofFailure(error, observed.sent && (error === undefined || mayHaveArrived(error)))
}

/**
 * Says what an attempt asks of its lane. The lane reads the deadline by itself, and leaves time for an attempt: one
 * that is sent later would cost tokens and could not end in time.
 */
const laneRequest = (call: Call, attempt: number): Lane.LaneRequest => ({
  tokens: call.estimate.inputTokens + call.estimate.outputTokens,
  priority: call.priority,
  retry: attempt > 1
})

/** Makes the attempts of a call. If they are made again, after a suspension of the account, their numbers go on. */
const retried = <A, R>(
  call: Call,
  guards: Guards,
  once: Effect.Effect<A, Failure, R>
): Effect.Effect<A, Failure, R> => {
  const { retry, retryBudget, watch } = guards
  const options = {
    budget: retryBudget,
    isRetryable: (error: Failure) => isRetryable(error) && (call.idempotent || isBeforeWork(error))
  }
  const policy = watch === undefined ? retry : CallWatch.retrying(retry, watch)
  const attempts = RetryLoop.make(once, Effect.succeed(policy), options)
  return watch === undefined ? attempts : CallWatch.sending(attempts, watch)
}

/** An interactive call fails at an open circuit; a job, whose rows can wait, waits. */
const circuitOf = (call: Call): Breaker.RunOptions<unknown, unknown> => ({
  key: call.lane,
  whenOpen: priorityLevel(call.priority) >= bulkLevel ? "wait" : "fail"
})

/**
 * Sends an attempt that is paid for, if its account is not suspended, which is checked last of all; and counts rate
 * limits for the alerts of that account.
 */
const paid = <A, R>(
  call: Call,
  guards: Guards,
  observed: Observed,
  attempt: Effect.Effect<A, Failure, R>
): Effect.Effect<A, Failure, R> => {
  const { money, watch } = guards
  const sent = Effect.suspend(() => {
    if (watch !== undefined && !CallWatch.sends(watch)) return Effect.interrupt
    observed.sent = true
    return attempt
  })
  if (money === undefined) return sent
  const { account, estimate } = money.request
  const billed = (exit: Exit.Exit<unknown, unknown>) => observed.sent && Credits.mayBeBilled(exit)
  const high = estimate._tag === "Known" ? estimate.high : 0n
  const outlaid = watch === undefined ? sent : CallWatch.outlaid(sent, watch, high, billed)
  const checked = Effect.andThen(money.credits.check(account), outlaid)
  return money.credits.attempt(checked, billed).pipe(
    Effect.tapError((error) =>
      error._tag === "RateLimitError" ? money.credits.rateLimited({ account, model: call.model }) : Effect.void
    )
  )
}

/**
 * The second try takes a permit of its own if one is free and a reservation of its own if it fits the budget, and
 * teaches the lane nothing.
 *
 * @param observed what the first try learned; if the second wins, what the second did
 */
const hedged = <A>(
  call: Call,
  guards: Guards,
  observed: Observed,
  attempt: (observed: Observed) => Effect.Effect<A, Failure>
): Effect.Effect<A, Failure> => {
  const { hedge, lane, money, watch } = guards
  const first = paid(call, guards, observed, attempt(observed))
  if (hedge === undefined) return first
  const other = observe(observed.attempt)
  const tryPermit = Effect.gen(function*() {
    if (watch?.isStopped() === true) return false
    const permit = yield* Effect.acquireRelease(
      lane.tryAcquire(laneRequest(call, 1)),
      (permit) => Option.isSome(permit) ? permit.value.settle({ _tag: "Ignored", sent: other.sent }) : Effect.void
    )
    if (Option.isNone(permit)) return false
    return money === undefined || (yield* money.credits.another)
  })
  return Effect.scoped(
    Hedge.run(Effect.flatMap(Hedge.CurrentTry, (n) => n === 1 ? first : paid(call, guards, other, attempt(other))), {
      ...hedge,
      idempotent: call.idempotent,
      tryPermit,
      onOutcome: (outcome) => {
        if (outcome === "won") Object.assign(observed, other)
        return hedge.onOutcome?.(outcome) ?? Effect.void
      }
    })
  )
}

/** Reads an attempt's end for its lane, and remembers what it generated. */
const learned = (
  call: Call,
  guards: Guards,
  fiber: Fiber.Fiber<unknown, unknown>,
  exit: Exit.Exit<unknown, Failure>,
  observed: Observed
): Lane.Sample => {
  const sample = sampleOf(exit, observed)
  if (sample._tag === "Success" && observed.usage !== undefined && call.estimate.maxOutputTokens > 0) {
    const { outputTokens } = observed.usage
    const open = (call.estimate.openChoices ?? 0) > 0
    guards.outputs.record(call, { outputTokens, open })
  } else if (sample._tag === "Throttled" && sample.scope === "tokens") {
    guards.outputs.refused(call, Monotonic.seconds(fiber.getRef(Clock.Clock)))
  }
  return sample
}

const observe = (attempt: number): Observed => ({
  headers: undefined,
  usage: undefined,
  sent: false,
  attempt,
  status: undefined,
  requestId: undefined
})

/** Reads what a call without an answer consumed: a failed generation may say it, or an answer that cannot be read. */
export const usageOf = (error: Failure): Usage.Usage | undefined =>
  error._tag === "StreamError" ? error.partial.usage : error._tag === "DecodeError" ? error.usage : undefined

/** Says what a call costs, or, if that is unknown, what the ledger assumes. */
const charged = (cost: Price.Cost, money: Money | undefined): Price.Cost => {
  const estimate = money?.request.estimate
  return cost._tag !== "Unknown" || estimate?._tag !== "Known"
    ? cost
    : Price.assumed(Price.known(estimate.high), `${cost.reason}: the upper bound is charged`)
}

/** Runs a call that answers once. */
export const answer = <A>(
  call: Call,
  guards: Guards,
  attempt: (observed: Observed) => Effect.Effect<A, Failure>
): Effect.Effect<A, Failure> => {
  let last = observe(1)
  const once = Effect.withFiber<A, Failure>((fiber) => {
    const observed = observe(fiber.getRef(RetryLoop.CurrentAttempt))
    last = observed
    const attempted = guards.lane.run(hedged(call, guards, observed, attempt), {
      ...laneRequest(call, observed.attempt),
      classify: (exit) => learned(call, guards, fiber, exit, observed)
    })
    return guards.breaker === undefined ? attempted : guards.breaker.run(attempted, circuitOf(call))
  })
  const { cost, money } = guards
  const attempts = retried(call, guards, once)
  const whole = money === undefined ? attempts : money.credits.run(attempts, {
    ...money.request,
    cost: () => cost(last.usage),
    costOnFailure: (error) => {
      const usage = usageOf(error)
      return usage && cost(usage)
    }
  })
  const timely = guards.deadline === undefined ? whole : Deadline.run(whole, guards.deadline)
  const { onAnswered } = guards
  return onAnswered === undefined
    ? timely
    : Effect.tap(timely, () => onAnswered(last, charged(cost(last.usage), money)))
}

interface Held<Chunk> {
  readonly opened: Opened<Chunk>
  readonly observed: Observed
  /** Tells lane and circuit how the stream ended; only the first end counts. */
  readonly settle: (exit: Exit.Exit<unknown, Failure>) => Effect.Effect<void>
}

/**
 * Begins a stream if its circuit lets it through. The circuit judges it at its end, since most streams that break have
 * begun.
 */
const throughCircuit = <A, R>(
  call: Call,
  { breaker }: Guards,
  begun: (circuit: Breaker.Permit | undefined) => Effect.Effect<A, Failure, R>
): Effect.Effect<A, Failure, R | Scope.Scope> =>
  breaker === undefined ? begun(undefined) : Effect.flatMap(
    breaker.acquireScoped(circuitOf(call)),
    (circuit) => circuit.probe ? Effect.provideService(begun(circuit), CurrentProbe, true) : begun(circuit)
  )

/** Runs a call that streams: retried unseen up to its first token, never after it. */
export const stream = <Chunk>(
  call: Call,
  guards: Guards,
  open: (observed: Observed) => Effect.Effect<Opened<Chunk>, Failure, Scope.Scope>,
  span: Tracer.AnySpan
): Stream.Stream<Chunk, Failure> => {
  let arrived: Opened<Chunk> | undefined
  let answered: Observed | undefined

  const begun = (observed: Observed, circuit: Breaker.Permit | undefined) =>
    Effect.flatMap(guards.lane.acquireScoped({ ...laneRequest(call, observed.attempt), stream: true }), (permit) => {
      const settle = (exit: Exit.Exit<unknown, Failure>) =>
        Effect.withFiber((fiber) => {
          const settled = permit.settle(learned(call, guards, fiber, exit, observed))
          return circuit === undefined ? settled : Effect.andThen(settled, circuit.settle(exit))
        })
      return paid(call, guards, observed, open(observed)).pipe(
        Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : settle(exit)),
        Effect.map((opened): Held<Chunk> => ({ opened, observed, settle }))
      )
    })

  const once = Effect.flatMap(
    Effect.scope,
    (outer) =>
      Effect.flatMap(Scope.fork(outer), (scope) =>
        Effect.flatMap(RetryLoop.CurrentAttempt, (attempt) => {
          const observed = observe(attempt)
          return throughCircuit(call, guards, (circuit) => begun(observed, circuit)).pipe(
            Scope.provide(scope),
            Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit))
          )
        }))
  )
  const attempts = retried(call, guards, once)

  const opening = Effect.map(attempts, ({ observed, opened, settle }) => {
    arrived = opened
    return Stream.fromPull(Effect.succeed(Effect.tapCause(opened.pull, (cause) => {
      const done = Pull.filterDone(cause)
      if (Result.isFailure(done)) return settle(Exit.failCause(done.failure))
      observed.usage = StreamUsage.measured(call, opened)
      answered = observed
      return settle(Exit.void)
    })))
  })
  const unpaid = Stream.unwrap(Effect.withParentSpan(opening, span))
  const { cost, money, onAnswered } = guards
  /** Prices a stream at its end: what it said, or what was stated before, else what arrived. */
  const costAtEnd = (): Price.Cost => {
    const usage = arrived && StreamUsage.measured(call, arrived)
    const known = cost(usage)
    return arrived === undefined || usage !== undefined || known._tag === "Known"
      ? known
      : costSoFar(call, guards, arrived)
  }
  const accounted = money === undefined ? unpaid : money.credits.stream(unpaid, {
    ...money.request,
    cost: () => arrived && costSoFar(call, guards, arrived),
    costAtEnd
  }).pipe(Stream.provideService(Tracer.ParentSpan, span)) // its cost is recorded on its own span
  const timely = StreamDeadline.enclosed(accounted, guards.deadline, call, () => arrived)
  return onAnswered === undefined
    ? timely
    : Stream.onEnd(
      timely,
      Effect.suspend(() => answered === undefined ? Effect.void : onAnswered(answered, charged(costAtEnd(), money)))
    )
}

/** Prices what a stream has consumed so far, of which there is no usage before its end. */
const costSoFar = (call: Call, { cost }: Guards, opened: Opened<unknown>): Price.Cost =>
  Price.assumed(cost(StreamUsage.soFar(call, opened)), "the stream said no usage of the whole answer")
