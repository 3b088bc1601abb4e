/**
 * Makes calls of routes: checks the request, guards the exchange, reads the answer.
 *
 * The service is built from four functions: `call` for a route that answers
 * once, `stream` for one that streams, `request` for any path with the
 * caller's own schemas, `text` for an answer that is not JSON.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpMethod from "effect/http/HttpMethod"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Call, type Estimate, isPriority, priorities, type Priority } from "../domain/Call.ts"
import { InvalidRequestError, type TogetherError } from "../domain/TogetherError.ts"
import type * as Breaker from "../guard/Breaker.ts"
import type * as Credits from "../guard/Credits.ts"
import * as Fallback from "../guard/Fallback.ts"
import * as Lanes from "../guard/Lanes.ts"
import * as Monotonic from "../guard/Monotonic.ts"
import { CurrentPolicy } from "../guard/Retry.ts"
import type { RetryBudget } from "../guard/RetryBudget.ts"
import * as Price from "../policy/Price.ts"
import * as AnswerDecoder from "./AnswerDecoder.ts"
import type { CallOptions, PathRequest } from "./CallOptions.ts"
import { idOf } from "./Classify.ts"
import type { Shape } from "./EventDecoder.ts"
import * as EventStream from "./EventStream.ts"
import * as Outputs from "./Outputs.ts"
import * as Pipeline from "./Pipeline.ts"
import * as Pricing from "./Pricing.ts"
import { promptsOf } from "./Redact.ts"
import type { Route } from "./Routes.ts"
import type { Exchange, Transport } from "./Transport.ts"

/** Holds what the calls of one client share. */
export interface Shared {
  readonly transport: Transport
  readonly lanes: Lanes.Lanes["Service"]
  readonly account: string
  /** For calls that bring none, and whose fiber has none of its own. */
  readonly retry: Schedule.Schedule<unknown, TogetherError>
  readonly retryBudget: RetryBudget | undefined
  readonly priority: Priority
  readonly deadline: Duration.Duration | undefined
  readonly hedge: Pipeline.HedgeOptions | undefined
  readonly breaker: Breaker.Breaker | undefined
  readonly credits: Credits.Service | undefined
  readonly prices: Price.Lookup
  readonly inputMargin: number
}

/** Makes calls. */
export interface Client {
  readonly call: <Req, Res>(
    route: Route<Req, Res>
  ) => (request: Req, options?: CallOptions) => Effect.Effect<Res, TogetherError>
  readonly stream: <Req, Chunk>(
    route: Route<Req, unknown>,
    operation: string,
    shape: Shape<Chunk>
  ) => (request: Req, options?: CallOptions) => Stream.Stream<Chunk, TogetherError>
  readonly request: <A>(request: PathRequest<A>, options?: CallOptions) => Effect.Effect<A, TogetherError>
  /** Like `request`, for an answer that is not JSON: its text as it came. */
  readonly text: (
    request: Omit<PathRequest<unknown>, "response">,
    options?: CallOptions
  ) => Effect.Effect<string, TogetherError>
}

const spanOptions = (call: Call) => ({
  attributes: {
    "together.model": call.model,
    "together.lane": call.lane,
    ...(call.label === undefined ? {} : { "together.label": call.label })
  },
  captureStackTrace: false
})

type RequestOf<R> = R extends Route<infer Req, infer _> ? Req : never
type AnswerOf<R> = R extends Route<infer _, infer Res> ? Res : never

/** Walks over the models of a call, the one asked for first. They share a deadline: each has what is left of it. */
interface Walk {
  readonly models: readonly [string, ...Array<string>]
  readonly options: () => CallOptions
  readonly when: (error: TogetherError) => boolean
}

/** An answer that is awaited whole is not asked for in pieces, whatever the request says. */
const wholly = (request: unknown): unknown => {
  if (!Predicate.hasProperty(request, "stream") || !request.stream) return request
  const { stream: _, ...rest } = request
  if (!("stream_options" in rest)) return rest
  const { stream_options: __, ...whole } = rest
  return whole
}

// every request that has a model has it under this name, and nothing else of it changes
const withModel = <Req>(request: Req, model: string): Req => ({ ...request, model })

/** Is the schedule that the calling fiber has of its own, else this one; asked at a call's first failure, not before. */
export const nearest = (own: Schedule.Schedule<unknown>): Schedule.Schedule<unknown> =>
  Schedule.fromStep(
    Effect.contextWith((context: Context.Context<never>) =>
      Schedule.toStep(Context.getOrUndefined(context, CurrentPolicy) ?? own)
    )
  )

/** A repeat of these does no harm. */
const safeMethods: ReadonlySet<HttpMethod.HttpMethod> = new Set<HttpMethod.HttpMethod>(["GET", "HEAD", "PUT", "DELETE"])

/** What a call is made of, besides the caller's options. */
interface Subject {
  readonly operation: string
  readonly idempotent: boolean
  readonly known: Pricing.Known
}

/** Is a request as it is sent, and what it is about. */
interface Requested {
  readonly exchange: Exchange
  readonly subject: Subject
}

/** A call that is ready, and how it is guarded. */
interface Prepared {
  readonly call: Call
  readonly guards: Pipeline.Guards
}

/** Makes the calls of one client. */
export const make = (shared: Shared): Client => {
  const { transport } = shared
  const outputs = Outputs.make()

  const deadlineOf = (options: CallOptions | undefined): Duration.Duration | undefined =>
    options?.deadline === undefined ? shared.deadline : Duration.fromInputUnsafe(options.deadline)

  const moneyOf = (call: Call, pricing: Pricing.Pricing | undefined): Pipeline.Money | undefined => {
    const { account, credits, inputMargin } = shared
    return credits === undefined || pricing === undefined ? undefined : {
      credits,
      request: { key: account, label: call.label, estimate: pricing.before(call.estimate, { inputMargin }) },
      cost: pricing.after
    }
  }

  const callOf = (
    { idempotent, known, operation }: Subject,
    options: CallOptions | undefined
  ): Effect.Effect<Call, InvalidRequestError> =>
    Clock.clockWith((clock) => {
      const { estimate, model } = known
      const priority = options?.priority ?? shared.priority
      if (!isPriority(priority)) {
        const message = `The request was not sent: priority must be ${priorities}, got ${priority}. Correct the option.`
        return Effect.fail(new InvalidRequestError({ operation, model, sent: false, message }))
      }
      const lane = Lanes.key({ account: shared.account, model, pool: options?.pool })
      return Effect.succeed({
        operation,
        model,
        lane,
        priority,
        estimate: outputs.expect({ lane, label: options?.label }, estimate, clock.currentTimeMillisUnsafe() / 1000),
        idempotent,
        label: options?.label
      })
    })

  const guardsOf = (call: Call, { known }: Subject, options: CallOptions | undefined): Effect.Effect<Pipeline.Guards> =>
    Effect.map(shared.lanes.get(call.lane), (lane) => {
      const { pricing } = known
      const { onAnswered } = options ?? {}
      return {
        lane,
        money: moneyOf(call, pricing),
        breaker: shared.breaker,
        hedge: options?.hedge ?? shared.hedge,
        outputs,
        retry: options?.retry ?? shared.retry,
        retryBudget: shared.retryBudget,
        deadline: deadlineOf(options),
        onAnswered: onAnswered && (({ attempt, requestId, status, usage }) =>
          onAnswered({
            operation: call.operation,
            model: call.model,
            attempts: attempt,
            status,
            requestId,
            usage,
            cost: pricing === undefined ? Price.free : pricing.after(usage)
          }))
      }
    })

  const prepared = (subject: Subject, options: CallOptions | undefined): Effect.Effect<Prepared, InvalidRequestError> =>
    Effect.flatMap(
      callOf(subject, options),
      (call) => Effect.map(guardsOf(call, subject, options), (guards) => ({ call, guards }))
    )

  /** Runs a call that answers once, in a span of its own. */
  const answered = <A>(
    subject: Subject,
    options: CallOptions | undefined,
    attempt: (call: Call) => (observed: Pipeline.Observed) => Effect.Effect<A, TogetherError>
  ): Effect.Effect<A, TogetherError> =>
    Effect.flatMap(prepared(subject, options), ({ call, guards }) =>
      Effect.withSpan(
        Pipeline.answer(call, guards, attempt(call)),
        `Together.${call.operation}`,
        spanOptions(call)
      ))

  const invalid = (operation: string, error: Schema.SchemaError, request: unknown) =>
    new InvalidRequestError({
      operation,
      sent: false,
      message: `The request was not sent, it does not fit ${operation}: ${
        AnswerDecoder.issueOf(error, { prompts: promptsOf(request) })
      }. Correct the request.`
    })

  /** Finds the models to try; nothing where there is no other than the one asked for. */
  const throughModels = <Req>(
    route: Route<Req, unknown>,
    request: Req,
    options: CallOptions | undefined
  ): Effect.Effect<Walk> | undefined => {
    const others = options?.fallback ?? []
    if (others.length === 0) return undefined
    const models: Walk["models"] = [route.model(request), ...others]
    const deadline = deadlineOf(options)
    return Clock.clockWith((clock) => {
      const now = () => Monotonic.millis(clock)
      const endsAt = deadline === undefined ? Infinity : now() + Duration.toMillis(deadline)
      return Effect.succeed<Walk>({
        models,
        options: () =>
          deadline === undefined ? { ...options } : { ...options, deadline: Duration.millis(endsAt - now()) },
        when: (error) => Fallback.isCurable(error) && now() < endsAt
      })
    })
  }

  /** Writes what a request sends, before anything is waited or paid for. */
  const requested = <Req>(
    route: Route<Req, unknown>,
    operation: string,
    request: Req,
    json: unknown
  ): Result.Result<Requested, InvalidRequestError> =>
    Result.map(
      transport.prepare({ operation, model: route.model(request), method: route.method, path: route.path, json }),
      (exchange) => ({
        exchange,
        subject: { operation, idempotent: route.idempotent, known: Pricing.ofRoute(route, request, shared.prices) }
      })
    )

  const exchanged = (exchange: Exchange, observed: Pipeline.Observed) =>
    Effect.map(
      transport.exchange({ ...exchange, onHeaders: (headers) => void (observed.headers = headers) }),
      (answer) => {
        seen(observed, answer)
        return answer
      }
    )

  const exchangeDecoded = <A>(exchange: Exchange, estimate: Estimate, decode: AnswerDecoder.Decode<A>) => {
    const asked = { exchange, estimate, decode }
    return (observed: Pipeline.Observed): Effect.Effect<A, TogetherError> =>
      Effect.flatMap(exchanged(exchange, observed), (answer) => {
        const read = AnswerDecoder.read(asked, answer, transport.secrets)
        if (Result.isFailure(read)) return Effect.fail(read.failure)
        observed.usage = read.success.usage
        return Effect.succeed(read.success.value)
      })
  }

  const call: Client["call"] = (route) => {
    const check = AnswerDecoder.recognizing(route.recognize?.request, Schema.decodeUnknownResult(route.request))
    const decode = AnswerDecoder.recognizing(route.recognize?.response, Schema.decodeUnknownResult(route.response))
    const once = (
      request: RequestOf<typeof route>,
      options: CallOptions | undefined
    ): Effect.Effect<AnswerOf<typeof route>, TogetherError> =>
      Effect.suspend(() => {
        const checked = check(request)
        if (Result.isFailure(checked)) return Effect.fail(invalid(route.operation, checked.failure, request))
        const json = route.method === "GET" ? undefined : wholly(request)
        const asked = requested(route, route.operation, request, json)
        if (Result.isFailure(asked)) return Effect.fail(asked.failure)
        const { exchange, subject } = asked.success
        return answered(subject, options, (call) => exchangeDecoded(exchange, call.estimate, decode))
      })
    return (request, options) => {
      const walk = throughModels(route, request, options)
      if (walk === undefined) return once(request, options)
      return Effect.flatMap(
        walk,
        ({ models, options, when }) =>
          Fallback.run(models, (model) => once(withModel(request, model), options()), { when })
      )
    }
  }

  const stream: Client["stream"] = (route, operation, shape) => {
    const check = AnswerDecoder.recognizing(route.recognize?.request, Schema.decodeUnknownResult(route.request))
    const once = (request: RequestOf<typeof route>, options: CallOptions | undefined) =>
      Stream.suspend(() => {
        const checked = check(request)
        if (Result.isFailure(checked)) return Stream.fail(invalid(operation, checked.failure, request))
        const json = { ...request, stream: true, stream_options: streamOptions(request) }
        const asked = requested(route, operation, request, json)
        if (Result.isFailure(asked)) return Stream.fail(asked.failure)
        const { exchange, subject } = asked.success
        const guarded = Effect.gen(function*() {
          const { call, guards } = yield* prepared(subject, options)
          // a span of its own, which ends with the stream: one around the stream would be set and unset at every pull
          const span = yield* Effect.makeSpanScoped(`Together.${operation}`, spanOptions(call))
          return Pipeline.stream(call, guards, (observed) =>
            Effect.flatMap(
              transport.open({ ...exchange, onHeaders: (headers) => void (observed.headers = headers) }),
              (opened) => {
                seen(observed, opened.response)
                return EventStream.open(opened, shape, exchange, transport)
              }
            ), span)
        })
        return Stream.unwrap(guarded)
      })
    return (request, options) => {
      const walk = throughModels(route, request, options)
      if (walk === undefined) return once(request, options)
      return Stream.unwrap(
        Effect.map(
          walk,
          ({ models, options, when }) =>
            Fallback.stream(models, (model) => once(withModel(request, model), options()), { when })
        )
      )
    }
  }

  const byPath = <A>(
    request: Omit<PathRequest<unknown>, "response">,
    options: CallOptions | undefined,
    attempt: (exchange: Exchange, call: Call) => (observed: Pipeline.Observed) => Effect.Effect<A, TogetherError>
  ): Effect.Effect<A, TogetherError> =>
    Effect.suspend(() => {
      const { operation = "request" } = request
      const method = request.method ?? (request.body === undefined && request.form === undefined ? "GET" : "POST")
      const { body, form, formTexts, model = "", path, query } = request
      const written = transport.prepare({ operation, model, method, path, query, json: body, form, formTexts })
      if (Result.isFailure(written)) return Effect.fail(written.failure)
      const known = Pricing.ofPath(written.success, request, shared.prices, transport.base)
      const exchange: Exchange = { ...written.success, model: known.model }
      const idempotent = request.idempotent ?? safeMethods.has(method)
      return answered({ operation, idempotent, known }, options, (call) => attempt(exchange, call))
    })

  return {
    call,
    stream,
    request: (request, options) => {
      const decode = Schema.decodeUnknownResult(request.response)
      return byPath(request, options, (exchange, call) => exchangeDecoded(exchange, call.estimate, decode))
    },
    text: (request, options) =>
      byPath(
        request,
        options,
        (exchange) => (observed) =>
          Effect.map(exchanged({ ...exchange, file: true }, observed), (answer) => answer.text)
      )
  }
}

/** Remembers of an answer what its text does not say. */
const seen = (
  observed: Pipeline.Observed,
  answer: { readonly status: number; readonly headers: Readonly<Record<string, string | undefined>> }
): void => {
  observed.status = answer.status
  observed.requestId = idOf(answer.headers)
}

/** Usage is always asked for; the caller's other stream options stay. */
const streamOptions = (request: unknown): object => {
  const own = Predicate.hasProperty(request, "stream_options") ? request.stream_options : undefined
  return { ...(typeof own === "object" ? own : undefined), include_usage: true }
}
