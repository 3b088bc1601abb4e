/**
 * Runs the calls of one client, each in its lane, with its money, under its guards and in a span of its own.
 *
 * `Client` says what a call is about and how it is attempted, `PreparedCall` what it becomes and what guards it.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { constUndefined } from "effect/Function"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type { Call } from "../domain/Call.ts"
import { annotate, type TogetherError } from "../domain/TogetherError.ts"
import type { CallOptions } from "./CallOptions.ts"
import * as CallWatch from "./CallWatch.ts"
import { ofCall } from "./error/Subject.ts"
import * as Pipeline from "./Pipeline.ts"
import * as PreparedCall from "./PreparedCall.ts"
import type * as Pricing from "./Pricing.ts"
import type { Opened } from "./stream/EventStream.ts"

/** Runs guarded calls. */
export interface GuardedCalls {
  readonly deadlineOf: (options: CallOptions | undefined) => Duration.Duration | undefined
  /** Runs a call that answers once. */
  readonly answered: <A>(
    subject: PreparedCall.Subject,
    options: CallOptions | undefined,
    attempt: (call: Call) => (observed: Pipeline.Observed) => Effect.Effect<A, TogetherError>
  ) => Effect.Effect<A, TogetherError>
  /** Makes the stream of a call. It runs once: to run it again, make it again. */
  readonly streamed: <Chunk>(
    subject: PreparedCall.Subject,
    options: CallOptions | undefined,
    open: (observed: Pipeline.Observed) => Effect.Effect<Opened<Chunk>, TogetherError, Scope.Scope>
  ) => Stream.Stream<Chunk, TogetherError>
}

const spanOptions = (call: Call) => ({
  // only this span leaves the process, and its kind lets a trace show who was called
  kind: "client" as const,
  attributes: call.label === undefined
    ? { "together.model": call.model, "together.lane": call.lane }
    : { "together.model": call.model, "together.lane": call.lane, "together.label": call.label },
  captureStackTrace: false
})

/**
 * Runs a call in a span of its own. Does what `Effect.withSpan` does, but puts the span and its line of a stack trace into
 * the context at once: a fiber reads a dozen services anew for each of the two, which every call would pay for.
 */
const inSpan = <A, E>(call: Call, self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.useSpan(`Together.${call.operation}`, spanOptions(call), (span) =>
    Effect.updateContext(self, (context) => {
      const parent = Context.get(context, References.CurrentStackFrame)
      return Context.add(
        Context.add(context, Tracer.ParentSpan, span),
        References.CurrentStackFrame,
        { name: span.name, stack: constUndefined, parent }
      )
    }))

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

/** Makes what runs the calls of one client. */
export const make = (shared: PreparedCall.Shared): GuardedCalls => {
  const { deadlineOf, prepared } = PreparedCall.make(shared)
  return {
    deadlineOf,
    answered: (subject, options, attempt) =>
      Effect.flatMap(prepared(subject, options), ({ call, guards }) => {
        const numbered = numbering(attempt(call))
        return inSpan(
          call,
          Effect.mapError(
            tellsFailure(Pipeline.answer(call, guards, numbered.attempt), guards, subject.known),
            (error) => told(call, error, numbered.made())
          )
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
