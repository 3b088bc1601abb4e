/**
 * Makes calls of routes: checks the request, guards the exchange, reads the answer.
 *
 * The service is built from these functions: `call` for a route that answers
 * once, `stream` for one that streams; and for any path `request` with the
 * caller's own schema, `events` for a stream of JSON, `bytes` and `text` for an
 * answer that is not JSON, `pieces` for one that is too large to be held.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as HttpMethod from "effect/http/HttpMethod"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Call, TokenEstimate } from "../domain/Call.ts"
import { DecodeError, type InvalidRequestError, isBeforeWork, type TogetherError } from "../domain/TogetherError.ts"
import * as Fallback from "../guard/Fallback.ts"
import { CurrentPolicy } from "../guard/retry/Retry.ts"
import * as AnswerDecoder from "./AnswerDecoder.ts"
import type { CallOptions, PathRequest, RawRequest, StreamEvent } from "./CallOptions.ts"
import * as EventDecoder from "./stream/EventDecoder.ts"
import * as EventStream from "./stream/EventStream.ts"
import * as FileStream from "./stream/FileStream.ts"
import * as GuardedCalls from "./GuardedCalls.ts"
import * as JsonEventDecoder from "./stream/JsonEventDecoder.ts"
import * as ModelFallback from "./ModelFallback.ts"
import type * as Pipeline from "./Pipeline.ts"
import type * as PreparedCall from "./PreparedCall.ts"
import * as Pricing from "./Pricing.ts"
import type { Secrets } from "./redact/Redact.ts"
import * as RequestCheck from "./RequestCheck.ts"
import type { Asking, Route } from "./Routes.ts"
import * as Subject from "./error/Subject.ts"
import type { Answered, Exchange, Opened as Answer, Transport } from "./transport/Transport.ts"

/** Holds what the calls of one client share. */
export interface Shared extends PreparedCall.Shared {
  readonly transport: Transport
}

/** Makes calls. */
export interface Client {
  readonly call: <Req, Res>(
    route: Route<Req, Res>
  ) => (request: Req, options?: CallOptions) => Effect.Effect<Res, TogetherError>
  readonly stream: <Req, Chunk>(
    route: Asking<Req>,
    operation: string,
    shape: EventDecoder.Shape<Chunk>
  ) => (request: Req, options?: CallOptions) => Stream.Stream<Chunk, TogetherError>
  readonly request: <A>(request: PathRequest<A>, options?: CallOptions) => Effect.Effect<A, TogetherError>
  /** Like `request`, for an answer that is a stream of events. */
  readonly events: <A>(
    request: PathRequest<A>,
    options?: CallOptions
  ) => Stream.Stream<StreamEvent<A>, TogetherError>
  /** Like `request`, for an answer that is not JSON: its bytes as they came. */
  readonly bytes: (request: RawRequest, options?: CallOptions) => Effect.Effect<Uint8Array, TogetherError>
  /** Like `bytes`, piece by piece. */
  readonly pieces: (request: RawRequest, options?: CallOptions) => Stream.Stream<Uint8Array, TogetherError>
  /** Like `request`, for an answer that is not JSON: its text as it came. */
  readonly text: (request: RawRequest, options?: CallOptions) => Effect.Effect<string, TogetherError>
}

/** If an answer is awaited whole, it is not asked for as a stream, whatever the request says. */
const wholly = (request: unknown): unknown => {
  if (!Predicate.hasProperty(request, "stream") || !request.stream) return request
  const { stream: _, ...rest } = request
  if (!("stream_options" in rest)) return rest
  const { stream_options: __, ...whole } = rest
  return whole
}

/**
 * Finds the schedule of the calling fiber, if it has one, else this one. It is looked up at a call's first failure, not
 * before.
 */
export const nearest = (own: Schedule.Schedule<unknown>): Schedule.Schedule<unknown> =>
  Schedule.fromStep(
    Effect.contextWith((context: Context.Context<never>) =>
      Schedule.toStep(Context.getOrUndefined(context, CurrentPolicy) ?? own)
    )
  )

/** A repeat of these does no harm. */
const safeMethods: ReadonlySet<HttpMethod.HttpMethod> = new Set<HttpMethod.HttpMethod>(["GET", "HEAD", "PUT", "DELETE"])

/** A request as it is sent, and what it is about. */
interface Requested {
  readonly exchange: Exchange
  readonly subject: PreparedCall.Subject
}

/** Makes what checks a request and writes what it sends, before anything is waited or paid for. */
const requesting = <Req>(
  { prices, transport }: Shared,
  route: Asking<Req>,
  operation: string,
  jsonOf: (request: Req) => unknown
) => {
  const check = RequestCheck.make(route, operation)
  const { idempotent, method, path } = route
  return (request: Req): Result.Result<Requested, InvalidRequestError> => {
    const refusal = check(request)
    if (refusal !== undefined) return Result.fail(refusal)
    return Result.map(
      transport.prepare({ operation, model: route.model(request), method, path, json: jsonOf(request) }),
      (exchange) => ({
        exchange,
        subject: { operation, idempotent, known: Pricing.ofRoute(route, request, prices) }
      })
    )
  }
}

/** Writes what a call by path sends. */
const requestedByPath = (
  { prices, transport }: Shared,
  request: RawRequest
): Result.Result<Requested, InvalidRequestError> => {
  const { operation = "request" } = request
  const method = request.method ?? (request.body === undefined && request.form === undefined ? "GET" : "POST")
  const { body, form, formTexts, model = "", path, query } = request
  const written = transport.prepare({ operation, model, method, path, query, json: body, form, formTexts })
  return Result.map(written, (exchange) => {
    const known = Pricing.ofPath(exchange, request, prices, transport.base)
    const idempotent = request.idempotent ?? safeMethods.has(method)
    return { exchange: { ...exchange, model: known.model }, subject: { operation, idempotent, known } }
  })
}

/** Makes an exchange for one attempt, and reads its answer. */
const exchanged = <A>(
  transport: Transport,
  exchange: Exchange,
  observed: Pipeline.Observed,
  read: (answer: Answered) => Effect.Effect<A, TogetherError>
): Effect.Effect<A, TogetherError> =>
  Effect.flatMap(
    transport.exchange({ ...exchange, onHeaders: (headers) => void (observed.headers = headers) }),
    (answer) => {
      seen(observed, answer)
      return read(answer)
    }
  )

type Attempt<A> = (observed: Pipeline.Observed) => Effect.Effect<A, TogetherError>

const exchangeDecoded = <A>(
  transport: Transport,
  exchange: Exchange,
  estimate: TokenEstimate,
  decode: AnswerDecoder.Decode<A>,
  complaint?: AnswerDecoder.Asked<A>["complaint"]
): Attempt<A> => {
  const asked = { exchange, estimate, decode, complaint }
  return (observed) =>
    exchanged(transport, exchange, observed, (answer) => {
      const read = AnswerDecoder.read(asked, answer, transport.secrets)
      if (Result.isFailure(read)) return Effect.fail(read.failure)
      observed.usage = read.success.usage
      return Effect.succeed(read.success.value)
    })
}

/**
 * Takes a 404 for the success of a deletion if an attempt before it may have deleted, and its answer was lost; unless the
 * caller's schema wants something in the answer.
 */
const deleting = <A>(attempt: Attempt<A>, decode: AnswerDecoder.Decode<A>): Attempt<A> => {
  let isDoubtful = false
  return (observed) =>
    Effect.catch(attempt(observed), (error) => {
      const done = isDoubtful && error._tag === "NotFoundError" ? decode(undefined) : undefined
      if (done !== undefined && Result.isSuccess(done)) return Effect.succeed(done.success)
      isDoubtful ||= !isBeforeWork(error)
      return Effect.fail(error)
    })
}

/** Opens an answer for one attempt, and reads its beginning. */
const begun = <Chunk>(
  transport: Transport,
  exchange: Exchange,
  begin: (answer: Answer) => Effect.Effect<EventStream.Opened<Chunk>, TogetherError, Scope.Scope>
) =>
(observed: Pipeline.Observed) =>
  Effect.flatMap(
    transport.open({ ...exchange, onHeaders: (headers) => void (observed.headers = headers) }),
    (answer) => {
      seen(observed, answer.response)
      return begin(answer)
    }
  )

/** Opens a stream for one attempt, with a decoder of its own. */
const opening = <Chunk>(
  transport: Transport,
  exchange: Exchange,
  decoder: () => EventDecoder.EventDecoder<Chunk>
) => begun(transport, exchange, (answer) => EventStream.open(answer, decoder(), exchange, transport))

/** Makes the stream of a request that can be sent. */
const streaming = <A>(
  request: () => Result.Result<Requested, InvalidRequestError>,
  run: (requested: Requested) => Stream.Stream<A, TogetherError>
): Stream.Stream<A, TogetherError> =>
  Stream.suspend(() => {
    const asked = request()
    return Result.isFailure(asked) ? Stream.fail(asked.failure) : run(asked.success)
  })

/** Makes the calls of one client. */
export const make = (shared: Shared): Client => {
  const { transport } = shared
  const { answered, deadlineOf, streamed } = GuardedCalls.make(shared)
  const throughModels = ModelFallback.make(deadlineOf)

  const answering = <A>(
    requested: Result.Result<Requested, InvalidRequestError>,
    options: CallOptions | undefined,
    attempt: (exchange: Exchange, call: Call) => Attempt<A>
  ): Effect.Effect<A, TogetherError> => {
    if (Result.isFailure(requested)) return Effect.fail(requested.failure)
    const { exchange, subject } = requested.success
    return answered(subject, options, (call) => attempt(exchange, call))
  }

  const call = <Req, Res>(route: Route<Req, Res>) => {
    const requested = requesting(
      shared,
      route,
      route.operation,
      (request) => route.method === "GET" ? undefined : wholly(request)
    )
    const decode = AnswerDecoder.recognizing(route.recognize?.response, Schema.decodeUnknownResult(route.response))
    const { complaint } = route
    const once = (request: Req, options: CallOptions | undefined): Effect.Effect<Res, TogetherError> =>
      Effect.suspend(() => {
        const wrong = complaint && ((response: Res) => complaint(request, response))
        return answering(
          requested(request),
          options,
          (exchange, call) => exchangeDecoded(transport, exchange, call.estimate, decode, wrong)
        )
      })
    return throughModels(
      route,
      once,
      Effect.flatMap(({ callOf, models, when }) => Fallback.run(models, callOf, { when }))
    )
  }

  const stream = <Req, Chunk>(route: Asking<Req>, operation: string, shape: EventDecoder.Shape<Chunk>) => {
    const requested = requesting(
      shared,
      route,
      operation,
      (request) => ({ ...request, stream: true, stream_options: streamOptions(request) })
    )
    const once = (request: Req, options: CallOptions | undefined) =>
      streaming(() => requested(request), ({ exchange, subject }) => {
        const choices = choicesOf(request)
        return streamed(subject, options, opening(transport, exchange, () => EventDecoder.make(shape, { choices })))
      })
    return throughModels(
      route,
      once,
      (walk) => Stream.unwrap(Effect.map(walk, ({ callOf, models, when }) => Fallback.stream(models, callOf, { when })))
    )
  }

  const byPath = <A>(
    request: RawRequest,
    options: CallOptions | undefined,
    attempt: (exchange: Exchange, call: Call) => Attempt<A>
  ): Effect.Effect<A, TogetherError> =>
    Effect.suspend(() => answering(requestedByPath(shared, request), options, attempt))

  const file = (request: RawRequest, options: CallOptions | undefined, file: "bytes" | "text") =>
    byPath(
      request,
      options,
      (exchange) => (observed) =>
        exchanged(
          transport,
          { ...exchange, file },
          observed,
          (answer) => Effect.as(AnswerDecoder.refusePage(exchange, answer), answer)
        )
    )

  const pieces: Client["pieces"] = (request, options) =>
    streaming(() => requestedByPath(shared, request), (asked) => {
      const exchange: Exchange = { ...asked.exchange, file: "bytes" }
      const begin = (answer: Answer) =>
        Effect.andThen(AnswerDecoder.refusePage(exchange, answer), FileStream.open(answer, exchange, transport))
      return streamed(asked.subject, options, begun(transport, exchange, begin))
    })

  const events: Client["events"] = (request, options) => {
    const decode = Schema.decodeUnknownResult(request.response)
    return streaming(() => requestedByPath(shared, request), ({ exchange, subject }) => {
      const open = opening(transport, exchange, JsonEventDecoder.make)
      let last: Pipeline.Observed | undefined
      const guarded = streamed(subject, options, (observed) => {
        last = observed
        return open(observed)
      })
      return Stream.mapEffect(guarded, ({ data, event }) => {
        const read = decode(data)
        return Result.isSuccess(read)
          ? Effect.succeed({ event, data: read.success })
          : Effect.fail(unfit(exchange, last, read.failure, transport.secrets(exchange)))
      })
    })
  }

  return {
    call,
    stream,
    request: (request, options) => {
      const decode = Schema.decodeUnknownResult(request.response)
      return byPath(request, options, (exchange, call) => {
        const attempt = exchangeDecoded(transport, exchange, call.estimate, decode)
        return exchange.method === "DELETE" ? deleting(attempt, decode) : attempt
      })
    },
    events,
    pieces,
    bytes: (request, options) => Effect.map(file(request, options, "bytes"), (answer) => answer.bytes ?? noBytes),
    text: (request, options) => Effect.map(file(request, options, "text"), (answer) => answer.text)
  }
}

const noBytes = new Uint8Array(0)

const unfit = (
  exchange: Exchange,
  seen: Pipeline.Observed | undefined,
  error: Schema.SchemaError,
  secrets: Secrets
): DecodeError =>
  new DecodeError({
    ...Subject.ofCall(exchange),
    status: seen?.status,
    requestId: seen?.requestId,
    attempts: seen?.attempt,
    message: `An event of ${exchange.operation} does not fit its schema: ${
      AnswerDecoder.issueOf(error, secrets)
    }. Correct the schema.`
  })

/** Reads how many choices a request asks for. */
const choicesOf = (request: unknown): number | undefined =>
  Predicate.hasProperty(request, "n") && typeof request.n === "number" ? request.n : undefined

/** Remembers what the text of an answer does not say. */
const seen = (
  observed: Pipeline.Observed,
  answer: Subject.Head
): void => {
  observed.status = answer.status
  observed.requestId = Subject.idOf(answer.headers)
}

/** Usage is always asked for; the caller's other stream options stay. */
const streamOptions = (request: unknown): object => {
  const own = Predicate.hasProperty(request, "stream_options") ? request.stream_options : undefined
  return { ...(typeof own === "object" ? own : undefined), include_usage: true }
}
