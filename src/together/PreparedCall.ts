/**
 * What a call of a client becomes before it runs: a `Call` in its lane, and the guards that it goes through.
 *
 * A guard of the caller's options goes before one of the fiber, and that before one of the client. An option that is out of
 * range is refused here, before anything is sent.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import { type Call, isPriority, priorities, type Priority } from "../domain/Call.ts"
import { InvalidRequestError, type TogetherError } from "../domain/TogetherError.ts"
import type * as Credits from "../guard/credits/Credits.ts"
import * as Hedge from "../guard/Hedge.ts"
import * as Lanes from "../guard/lane/Lanes.ts"
import * as Millis from "../guard/Millis.ts"
import * as Monotonic from "../guard/Monotonic.ts"
import * as Price from "../policy/Price.ts"
import type { CallOptions } from "./CallOptions.ts"
import * as CallWatch from "./CallWatch.ts"
import * as ContextGuards from "./ContextGuards.ts"
import * as OutputHistory from "./OutputHistory.ts"
import type * as Pipeline from "./Pipeline.ts"
import type * as Pricing from "./Pricing.ts"

/** Holds what the calls of one client share, besides their transport. */
export interface Shared {
  /**
   * Guards from the client's options, or else from the context where it is made. A call takes missing ones from its
   * fiber.
   */
  readonly given: ContextGuards.ContextGuards
  /** For calls that find no others. */
  readonly lanes: Lanes.Service
  readonly account: string
  /** For calls that bring none, and whose fiber has none of its own. */
  readonly retry: Schedule.Schedule<unknown, TogetherError>
  readonly priority: Priority
  readonly deadline: Duration.Duration | undefined
  readonly hedge: Pipeline.HedgeOptions | undefined
  readonly prices: Price.Lookup
  readonly inputMargin: number
}

/** What a call is made of, besides the caller's options. */
export interface Subject {
  readonly operation: string
  readonly idempotent: boolean
  readonly known: Pricing.Known
}

/** Holds a call that is ready, and how it is guarded. */
export interface PreparedCall {
  readonly call: Call
  readonly guards: Pipeline.Guards
}

/** Prepares the calls of one client. */
export interface Prepare {
  readonly deadlineOf: (options: CallOptions | undefined) => Duration.Duration | undefined
  /** **Errors**: `InvalidRequestError` for an option out of range. */
  readonly prepared: (
    subject: Subject,
    options: CallOptions | undefined
  ) => Effect.Effect<PreparedCall, InvalidRequestError>
}

/** Says what is wrong with the options of a call, or nothing. */
const complaintOf = (priority: Priority, { deadline, hedge }: CallOptions): string | undefined => {
  if (!isPriority(priority)) return `priority must be ${priorities}, got ${priority}`
  return (deadline === undefined ? undefined : Millis.complaint("deadline", deadline)) ??
    (hedge && Hedge.delayComplaint("hedge.delay", hedge.delay))
}

/** Makes what prepares the calls of one client; how much they generate is remembered for all. */
export const make = (shared: Shared): Prepare => {
  const outputs = OutputHistory.make()
  let lastParts: Lanes.KeyParts = {}
  let lastLane = ""

  /** Most calls go to the lane of the one before. */
  const laneOf = (model: string, pool: string | undefined): string => {
    if (model !== lastParts.model || pool !== lastParts.pool) {
      lastParts = { account: shared.account, model, pool }
      lastLane = Lanes.key(lastParts)
    }
    return lastLane
  }

  const deadlineOf: Prepare["deadlineOf"] = (options) => {
    const given = options?.deadline
    // an invalid duration is refused when a call is made
    return given === undefined ? shared.deadline : Option.getOrUndefined(Millis.read(given))
  }

  const moneyOf = (
    call: Call,
    pricing: Pricing.Pricing | undefined,
    credits: Credits.Service | undefined
  ): Pipeline.Money | undefined => {
    const { account, inputMargin } = shared
    return credits === undefined || pricing === undefined ? undefined : {
      credits,
      request: {
        account,
        label: call.label,
        lane: call.lane,
        estimate: pricing.before(call.estimate, { inputMargin }),
        tellsAttempts: true
      }
    }
  }

  const callOf = (
    { idempotent, known, operation }: Subject,
    options: CallOptions | undefined,
    priority: Priority,
    nowSeconds: number
  ): Call => {
    const { estimate, model } = known
    const { label, pool } = options ?? {}
    const lane = laneOf(model, pool)
    const expected = outputs.expect({ lane, label }, estimate, nowSeconds)
    return { operation, model, lane, priority, estimate: expected, idempotent, label }
  }

  const guarded = (
    call: Call,
    { known: { pricing } }: Subject,
    options: CallOptions | undefined,
    context: Context.Context<never>
  ): Effect.Effect<PreparedCall> => {
    const { breaker, credits, lanes = shared.lanes, retryBudget } = ContextGuards.of(context, shared.given)
    return Effect.map(lanes.get(call.lane), (lane) => {
      const { onAnswered } = options ?? {}
      const guards: Pipeline.Guards = {
        lane,
        money: moneyOf(call, pricing, credits),
        cost: pricing === undefined ? () => Price.free : pricing.after,
        breaker,
        hedge: options?.hedge ?? shared.hedge,
        outputs,
        watch: CallWatch.begin(context),
        retry: options?.retry ?? shared.retry,
        retryBudget,
        deadline: deadlineOf(options),
        onAnswered: onAnswered && (({ attempt, requestId, status, usage }, cost) =>
          onAnswered({
            operation: call.operation,
            model: call.model,
            attempts: attempt,
            status,
            requestId,
            usage,
            cost
          }))
      }
      return { call, guards }
    })
  }

  const prepared: Prepare["prepared"] = (subject, options) =>
    Effect.withFiber((fiber) => {
      const priority = options?.priority ?? shared.priority
      const wrong = options && complaintOf(priority, options)
      if (wrong !== undefined) {
        const { known: { model }, operation } = subject
        const message = `The request was not sent: ${wrong}. Correct the option.`
        return Effect.fail(new InvalidRequestError({ operation, model, sent: false, message }))
      }
      const call = callOf(subject, options, priority, Monotonic.seconds(fiber.getRef(Clock.Clock)))
      return guarded(call, subject, options, fiber.context)
    })

  return { deadlineOf, prepared }
}
