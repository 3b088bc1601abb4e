/**
 * Makes calls of routes: checks the request, guards the exchange, reads the answer.
 *
 * The service is built from three functions: `call` for a route that answers
 * once, `stream` for one that streams, `request` for any path with the
 * caller's own schemas.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpMethod from "effect/http/HttpMethod"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Call, Estimate, Priority } from "../domain/Call.ts"
import { DecodeError, InvalidRequestError, type TogetherError } from "../domain/TogetherError.ts"
import * as Usage from "../domain/Usage.ts"
import type * as Breaker from "../guard/Breaker.ts"
import type * as Credits from "../guard/Credits.ts"
import * as Deadline from "../guard/Deadline.ts"
import * as Fallback from "../guard/Fallback.ts"
import * as Lanes from "../guard/Lanes.ts"
import { CurrentPolicy } from "../guard/Retry.ts"
import type { RetryBudget } from "../guard/RetryBudget.ts"
import type * as Price from "../policy/Price.ts"
import * as AnswerError from "./AnswerError.ts"
import { sentence } from "./Classify.ts"
import * as ErrorBody from "./ErrorBody.ts"
import type { Shape } from "./EventDecoder.ts"
import * as EventStream from "./EventStream.ts"
import * as Outputs from "./Outputs.ts"
import * as Pipeline from "./Pipeline.ts"
import { promptsOf, redact } from "./Redact.ts"
import type { Route } from "./Routes.ts"
import type { Exchange, Transport } from "./Transport.ts"

/** Steers one call; what is absent is the client's default. */
export interface CallOptions {
  /** Rank in the lane's queue. Default: `"normal"`. */
  readonly priority?: Priority | undefined
  /** Time for the whole call: waits, retries, fallbacks and the stream's end included. Default: the client's, else none. */
  readonly deadline?: Duration.Input | undefined
  /** When to retry. Default: the client's schedule. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /**
   * Models to turn to, in this order, when the one asked for cannot serve the call. Each is priced, queued and retried
   * as a call of its own; the deadline is shared. Default: none.
   */
  readonly fallback?: ReadonlyArray<string> | undefined
  /** Asks for a slow answer a second time; streams are never hedged. Default: the client's, else never. */
  readonly hedge?: Pipeline.HedgeOptions | undefined
  /** Your own word for a group of calls: budgets and spans use it. */
  readonly label?: string | undefined
  /** Name of the provider's pool, where a model has several. Default: the serverless pool. */
  readonly pool?: string | undefined
}

/** Describes a call by path, for endpoints that have no method of their own. */
export interface PathRequest<A> {
  readonly method?: HttpMethod.HttpMethod | undefined
  /** Path below the base URL, or an absolute URL on its host or on another of Together's. */
  readonly path: string
  readonly query?: Exchange["query"]
  /** Sent as JSON. */
  readonly body?: unknown
  /** Sent as multipart; excludes `body`. */
  readonly form?: FormData | undefined
  /**
   * Collects the texts of `form`, which no error may quote. Default: none is known, so that an error says no more of an
   * answer than the words of its kind.
   */
  readonly formTexts?: Exchange["formTexts"]
  /** Decodes the JSON of the answer; an empty one is `undefined`, else `null`. */
  readonly response: Schema.Codec<A, unknown>
  /** Selects the lane. Default: the lane of calls without a model. */
  readonly model?: string | undefined
  /** Names the operation in errors, spans and metrics. Default: `"request"`. */
  readonly operation?: string | undefined
  /** True where a repeat after an ambiguous failure does no harm. Default: true for GET, HEAD, PUT and DELETE. */
  readonly idempotent?: boolean | undefined
  /** What the call may consume. Default: nothing. */
  readonly estimate?: Estimate | undefined
}

/** Holds what the calls of one client share. */
export interface Shared {
  readonly transport: Transport
  readonly lanes: Lanes.Lanes["Service"]
  readonly account: string
  /** For calls that bring none, and whose fiber has none of its own. */
  readonly retry: Schedule.Schedule<unknown>
  readonly retryBudget: RetryBudget | undefined
  readonly priority: Priority
  readonly deadline: Duration.Duration | undefined
  readonly hedge: Pipeline.HedgeOptions | undefined
  readonly breaker: Breaker.Breaker | undefined
  readonly credits: Credits.Service | undefined
  readonly prices: Price.Lookup
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

/** Says where a value went wrong, without the value: it may be a prompt. */
const issueOf = (error: Schema.SchemaError, value: unknown): string =>
  redact(error.message.split("\n").map((line) => line.trim()).join(" "), { prompts: promptsOf(value) }).slice(0, 500)

/** Decodes, but passes what is recognized as it stands: wire schemas change nothing they accept. */
const recognizing = <A>(
  recognize: ((u: unknown) => boolean) | undefined,
  decode: (u: unknown) => Result.Result<A, Schema.SchemaError>
) =>
  recognize === undefined
    ? decode
    // recognized means accepted by the schema, whose decoded and encoded forms are the same
    : (u: unknown): Result.Result<A, Schema.SchemaError> => recognize(u) ? Result.succeed(u as A) : decode(u)

const spanOptions = (call: Call) => ({
  attributes: { "together.model": call.model, "together.lane": call.lane, "together.label": call.label },
  captureStackTrace: false
})

type RequestOf<R> = R extends Route<infer Req, infer _> ? Req : never
type AnswerOf<R> = R extends Route<infer _, infer Res> ? Res : never

/** The models to try, the one asked for first; nothing where there is no other. */
const targets = <Req>(
  route: Route<Req, unknown>,
  request: Req,
  options: CallOptions | undefined
): readonly [string, ...Array<string>] | undefined =>
  options?.fallback === undefined || options.fallback.length === 0
    ? undefined
    : [route.model(request), ...options.fallback]

/** Options of one target. Where several share a deadline, none of them has its own. */
interface TargetOptions extends Omit<CallOptions, "deadline"> {
  readonly deadline?: Duration.Input | "none" | undefined
}

/** An answer that is awaited whole is not asked for in pieces, whatever the request says. */
const wholly = (request: unknown): unknown => {
  if (typeof request !== "object" || request === null || !("stream" in request) || !request.stream) return request
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

const nothing: Estimate = { inputTokens: 0, outputTokens: 0, maxOutputTokens: 0 }

const safeMethods: ReadonlySet<HttpMethod.HttpMethod> = new Set<HttpMethod.HttpMethod>(["GET", "HEAD", "PUT", "DELETE"])

/** Makes the calls of one client. */
export const make = (shared: Shared): Client => {
  const { transport } = shared
  const outputs = Outputs.make()

  const moneyOf = <Req>(route: Route<Req, unknown>, request: Req, call: Call): Pipeline.Money | undefined => {
    const { credits, prices } = shared
    const { money } = route
    if (credits === undefined || money === undefined) return undefined
    const price = prices(call.model)
    return {
      credits,
      request: { key: shared.account, label: call.label, estimate: money.before(price, request, call.estimate) },
      cost: (usage) => money.after(price, request, usage)
    }
  }

  const deadlineOf = (options: TargetOptions | undefined): Duration.Duration | undefined =>
    options?.deadline === undefined
      ? shared.deadline
      : options.deadline === "none"
      ? undefined
      : Duration.fromInputUnsafe(options.deadline)

  const guardsOf = (
    call: Call,
    options: TargetOptions | undefined,
    money: Pipeline.Money | undefined
  ): Effect.Effect<Pipeline.Guards> =>
    Effect.map(shared.lanes.get(call.lane), (lane) => ({
      lane,
      money,
      breaker: shared.breaker,
      hedge: options?.hedge ?? shared.hedge,
      outputs,
      retry: options?.retry ?? shared.retry,
      retryBudget: shared.retryBudget,
      deadline: deadlineOf(options)
    }))

  const callOf = (
    what: { readonly operation: string; readonly model: string; readonly idempotent: boolean },
    estimate: Estimate,
    options: TargetOptions | undefined
  ): Effect.Effect<Call> =>
    Clock.clockWith((clock) => {
      const lane = Lanes.key({ account: shared.account, model: what.model, pool: options?.pool })
      return Effect.succeed({
        operation: what.operation,
        model: what.model,
        lane,
        priority: options?.priority ?? shared.priority,
        estimate: outputs.expect(lane, estimate, clock.currentTimeMillisUnsafe() / 1000),
        idempotent: what.idempotent,
        label: options?.label
      })
    })

  const spanned = <A, E, R>(effect: Effect.Effect<A, E, R>, call: Call): Effect.Effect<A, E, R> =>
    Effect.withSpan(effect, `Together.${call.operation}`, spanOptions(call))

  const invalid = (operation: string, error: Schema.SchemaError, request: unknown) =>
    new InvalidRequestError({
      operation,
      message: `The request was not sent, it does not fit ${operation}: ${
        issueOf(error, request)
      }. Correct the request.`
    })

  const decodeAnswer = <A>(
    decode: (value: unknown) => Result.Result<A, Schema.SchemaError>,
    exchange: Exchange,
    text: string,
    status: number,
    requestId: string | undefined,
    observed: Pipeline.Observed,
    estimate: Estimate
  ): Effect.Effect<A, DecodeError> => {
    const fail = (problem: string) => {
      const body = text === "" ? undefined : redact(text, transport.secrets(exchange))
      return Effect.fail(
        new DecodeError({
          operation: exchange.operation,
          model: exchange.model,
          status,
          requestId,
          body,
          message:
            `The answer to ${exchange.operation} (${status}, ${text.length} characters) ${problem}. Check the base URL; if it is Together's, report the request id to its support.`
        })
      )
    }
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch {
      if (text.trim() !== "") return fail("is not JSON")
      const nothing = Result.orElse(decode(undefined), () => decode(null))
      return Result.isFailure(nothing) ? fail("is empty") : Effect.succeed(nothing.success)
    }
    if (AnswerError.is(value)) {
      const said = redact(ErrorBody.parse(text).message ?? "", transport.secrets(exchange))
      return fail(`is an error${said === "" ? "" : `: ${sentence(said).replace(/\.$/, "")}`}`)
    }
    const decoded = decode(value)
    if (Result.isFailure(decoded)) {
      return fail(`does not fit its schema: ${issueOf(decoded.failure, exchange.json)}`)
    }
    observed.usage = Usage.fromAnswer(value, { estimatedInput: estimate.inputTokens })
    return Effect.succeed(decoded.success)
  }

  const exchangeDecoded = <A>(
    exchange: Exchange,
    estimate: Estimate,
    decode: (value: unknown) => Result.Result<A, Schema.SchemaError>
  ) =>
  (observed: Pipeline.Observed): Effect.Effect<A, TogetherError> =>
    Effect.flatMap(
      transport.exchange({ ...exchange, onHeaders: (headers) => void (observed.headers = headers) }),
      (answer) =>
        decodeAnswer(decode, exchange, answer.text, answer.status, answer.headers["x-request-id"], observed, estimate)
    )

  const call: Client["call"] = (route) => {
    const check = recognizing(route.recognize?.request, Schema.decodeUnknownResult(route.request))
    const decode = recognizing(route.recognize?.response, Schema.decodeUnknownResult(route.response))
    const once = (
      request: RequestOf<typeof route>,
      options: TargetOptions | undefined
    ): Effect.Effect<AnswerOf<typeof route>, TogetherError> =>
      Effect.suspend(() => {
        const checked = check(request)
        if (Result.isFailure(checked)) return Effect.fail(invalid(route.operation, checked.failure, request))
        const model = route.model(request)
        const exchange: Exchange = {
          operation: route.operation,
          model,
          method: route.method,
          path: route.path,
          json: route.method === "GET" ? undefined : wholly(request)
        }
        return Effect.flatMap(
          callOf({ ...route, model }, route.estimate(request), options),
          (call) =>
            spanned(
              Effect.flatMap(
                guardsOf(call, options, moneyOf(route, request, call)),
                (guards) => Pipeline.answer(call, guards, exchangeDecoded(exchange, call.estimate, decode))
              ),
              call
            )
        )
      })
    return (request, options) => {
      const models = targets(route, request, options)
      if (models === undefined) return once(request, options)
      const one: TargetOptions = { ...options, deadline: "none" }
      const tried = Fallback.run(models, (model) => once(withModel(request, model), one))
      const deadline = deadlineOf(options)
      return deadline === undefined ? tried : Deadline.run(tried, deadline)
    }
  }

  const stream: Client["stream"] = (route, operation, shape) => {
    const check = recognizing(route.recognize?.request, Schema.decodeUnknownResult(route.request))
    const once = (request: RequestOf<typeof route>, options: TargetOptions | undefined) =>
      Stream.suspend(() => {
        const checked = check(request)
        if (Result.isFailure(checked)) return Stream.fail(invalid(operation, checked.failure, request))
        const model = route.model(request)
        const exchange: Exchange = {
          operation,
          model,
          method: route.method,
          path: route.path,
          json: { ...request, stream: true, stream_options: streamOptions(request) }
        }
        const guarded = Effect.gen(function*() {
          const call = yield* callOf({ ...route, operation, model }, route.estimate(request), options)
          const guards = yield* guardsOf(call, options, moneyOf(route, request, call))
          // a span of its own, which ends with the stream: one around the stream would be set and unset at every pull
          const span = yield* Effect.makeSpanScoped(`Together.${operation}`, spanOptions(call))
          return Pipeline.stream(call, guards, (observed) =>
            Effect.flatMap(
              transport.open({ ...exchange, onHeaders: (headers) => void (observed.headers = headers) }),
              (response) => EventStream.open(response, shape, exchange, transport)
            ), span)
        })
        return Stream.unwrap(guarded)
      })
    return (request, options) => {
      const models = targets(route, request, options)
      if (models === undefined) return once(request, options)
      const deadline = deadlineOf(options)
      if (deadline === undefined) return Fallback.stream(models, (model) => once(withModel(request, model), options))
      return Stream.unwrap(Clock.clockWith((clock) => {
        const now = () => clock.currentTimeMillisUnsafe()
        const endsAt = now() + Duration.toMillis(deadline)
        const within = (model: string) =>
          once(withModel(request, model), { ...options, deadline: Duration.millis(Math.max(1, endsAt - now())) })
        return Effect.succeed(
          Fallback.stream(models, within, { when: (error) => Fallback.isCurable(error) && now() < endsAt })
        )
      }))
    }
  }

  const pathExchange = (request: Omit<PathRequest<unknown>, "response">): Exchange => ({
    operation: request.operation ?? "request",
    model: request.model ?? "",
    method: request.method ?? (request.body === undefined && request.form === undefined ? "GET" : "POST"),
    path: request.path,
    query: request.query,
    json: request.body,
    form: request.form,
    formTexts: request.formTexts
  })

  const byPath = <A>(
    request: Omit<PathRequest<unknown>, "response">,
    options: CallOptions | undefined,
    attempt: (exchange: Exchange) => (observed: Pipeline.Observed) => Effect.Effect<A, TogetherError>
  ): Effect.Effect<A, TogetherError> => {
    const exchange = pathExchange(request)
    const idempotent = request.idempotent ?? safeMethods.has(exchange.method)
    return Effect.flatMap(callOf({ ...exchange, idempotent }, request.estimate ?? nothing, options), (call) =>
      spanned(
        Effect.flatMap(
          guardsOf(call, options, undefined),
          (guards) => Pipeline.answer(call, guards, attempt(exchange))
        ),
        call
      ))
  }

  return {
    call,
    stream,
    request: (request, options) => {
      const decode = Schema.decodeUnknownResult(request.response)
      return byPath(request, options, (exchange) => exchangeDecoded(exchange, request.estimate ?? nothing, decode))
    },
    text: (request, options) =>
      byPath(request, options, (exchange) => (observed) =>
        Effect.map(
          transport.exchange({ ...exchange, file: true, onHeaders: (headers) => void (observed.headers = headers) }),
          (answer) => answer.text
        ))
  }
}

/** Usage is always asked for; the caller's other stream options stay. */
const streamOptions = (request: unknown): object => {
  const own = typeof request === "object" && request !== null && "stream_options" in request
    ? request.stream_options
    : undefined
  return { ...(typeof own === "object" ? own : undefined), include_usage: true }
}
