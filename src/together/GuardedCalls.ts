/**
 * Runs the calls of one client, each in its lane, with its money, under its guards and in a span of its own.
 *
 * `Client` says what a call is about and how it is attempted; here it becomes a `Call`, and finds what guards it.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Call, isPriority, priorities, type Priority } from "../domain/Call.ts"
import { annotate, InvalidRequestError, type TogetherError } from "../domain/TogetherError.ts"
import type * as Credits from "../guard/credits/Credits.ts"
import * as Hedge from "../guard/Hedge.ts"
import * as Lanes from "../guard/lane/Lanes.ts"
import * as Millis from "../guard/Millis.ts"
import * as Monotonic from "../guard/Monotonic.ts"
import * as Price from "../policy/Price.ts"
import type { CallOptions } from "./CallOptions.ts"
import * as CallWatch from "./CallWatch.ts"
import * as ContextGuards from "./ContextGuards.ts"
import type { Opened } from "./stream/EventStream.ts"
import * as OutputHistory from "./OutputHistory.ts"
import * as Pipeline from "./Pipeline.ts"
import type * as Pricing from "./Pricing.ts"
import { ofCall } from "./error/Subject.ts"

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

/** A call that is ready, and how it is guarded. */
interface Prepared {
  readonly call: Call
  readonly guards: Pipeline.Guards
}

/** Runs guarded calls. */
export interface GuardedCalls {
  readonly deadlineOf: (options: CallOptions | undefined) => Duration.Duration | undefined
  /** Runs a call that answers once. */
  readonly answered: <A>(
    subject: Subject,
    options: CallOptions | undefined,
    attempt: (call: Call) => (observed: Pipeline.Observed) => Effect.Effect<A, TogetherError>
  ) => Effect.Effect<A, TogetherError>
  /** Makes the stream of a call. It runs once: to run it again, make it again. */
  readonly streamed: <Chunk>(
    subject: Subject,
    options: CallOptions | undefined,
    open: (observed: Pipeline.Observed) => Effect.Effect<Opened<Chunk>, TogetherError, Scope.Scope>
  ) => Stream.Stream<Chunk, TogetherError>
}

const spanOptions = (call: Call) => ({
  // only this span leaves the process, and its kind lets a trace show who was called
  kind: "client" as const,
  attributes: {
    "together.model": call.model,
    "together.lane": call.lane,
    ...(call.label === undefined ? {} : { "together.label": call.label })
  },
  captureStackTrace: false
})

/** Tells the watch of a call what its failure consumed, which a failed generation may say. */
const tellsFailure = <A>(
  self: Effect.Effect<A, TogetherError>,
  { watch }: Pipeline.Guards,
  { pricing }: Pricing.Known
): Effect.Effect<A, TogetherError> =>
  watch === undefined || pricing === undefined ? self : Effect.tapError(self, (error) =>
    Effect.sync(() => {
      const usage = Pipeline.usageOf(error)
      if (usage !== undefined) CallWatch.failed(watch, usage, pricing.after(usage))
    }))

/** Remembers which attempt of a call was made last. */
const numbering = <A>(attempt: (observed: Pipeline.Observed) => A) => {
  let made: number | undefined
  return {
    attempt: (observed: Pipeline.Observed): A => {
      made = observed.attempt
      return attempt(observed)
    },
    made: () => made
  }
}

/** Adds to an error what was called and how often it was attempted, which guards do not know. */
const told = (call: Call, error: TogetherError, attempts: number | undefined): TogetherError =>
  error.operation !== undefined && error.attempts !== undefined
    ? error
    : annotate(error, { ...ofCall(call), attempts: error.attempts ?? attempts })

/** Says what is wrong with the options of a call, or nothing. */
const complaintOf = (priority: Priority, { deadline, hedge }: CallOptions): string | undefined => {
  if (!isPriority(priority)) return `priority must be ${priorities}, got ${priority}`
  return (deadline === undefined ? undefined : Millis.complaint("deadline", deadline)) ??
    (hedge && Hedge.delayComplaint("hedge.delay", hedge.delay))
}

/** Makes what runs the calls of one client. */
export const make = (shared: Shared): GuardedCalls => {
  const outputs = OutputHistory.make()

  const deadlineOf = (options: CallOptions | undefined): Duration.Duration | undefined => {
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
    const lane = Lanes.key({ account: shared.account, model, pool })
    const expected = outputs.expect({ lane, label }, estimate, nowSeconds)
    return { operation, model, lane, priority, estimate: expected, idempotent, label }
  }

  const guardsOf = (
    call: Call,
    { known: { pricing } }: Subject,
    options: CallOptions | undefined,
    context: Context.Context<never>
  ): Effect.Effect<Pipeline.Guards> => {
    const { breaker, credits, lanes = shared.lanes, retryBudget } = ContextGuards.of(context, shared.given)
    return Effect.map(lanes.get(call.lane), (lane) => {
      const { onAnswered } = options ?? {}
      return {
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
    })
  }

  const prepared = (subject: Subject, options: CallOptions | undefined): Effect.Effect<Prepared, InvalidRequestError> =>
    Effect.withFiber((fiber) => {
      const priority = options?.priority ?? shared.priority
      const wrong = options && complaintOf(priority, options)
      if (wrong !== undefined) {
        const { known: { model }, operation } = subject
        const message = `The request was not sent: ${wrong}. Correct the option.`
        return Effect.fail(new InvalidRequestError({ operation, model, sent: false, message }))
      }
      const call = callOf(subject, options, priority, Monotonic.seconds(fiber.getRef(Clock.Clock)))
      return Effect.map(guardsOf(call, subject, options, fiber.context), (guards) => ({ call, guards }))
    })

  return {
    deadlineOf,
    answered: (subject, options, attempt) =>
      Effect.flatMap(prepared(subject, options), ({ call, guards }) => {
        const numbered = numbering(attempt(call))
        return Effect.withSpan(
          Effect.mapError(
            tellsFailure(Pipeline.answer(call, guards, numbered.attempt), guards, subject.known),
            (error) => told(call, error, numbered.made())
          ),
          `Together.${call.operation}`,
          spanOptions(call)
        )
      }),
    streamed: (subject, options, open) => {
      const numbered = numbering(open)
      let begun: Call | undefined
      const guarded = Effect.flatMap(prepared(subject, options), ({ call, guards }) => {
        begun = call
        // a span of its own, which ends with the stream: one around the stream would be set and unset at every pull
        const span = Effect.makeSpanScoped(`Together.${call.operation}`, spanOptions(call))
        return Effect.map(span, (span) => Pipeline.stream(call, guards, numbered.attempt, span))
      })
      // outside of `unwrap`: what a channel is made of can live until a full collection of garbage, and inside that is
      // the stream under way
      return Stream.mapError(Stream.unwrap(guarded), (error) => begun ? told(begun, error, numbered.made()) : error)
    }
  }
}
