/**
 * Every way a Together call can fail, as one closed union of tagged errors.
 *
 * Each class says one thing about the provider or about our own refusal, so
 * that a program handles what it can handle by `Effect.catchTag` and lets the
 * rest pass. All carry what applies of `status`, `requestId`, `model`,
 * `operation`, `attempts`, `retryAfter`, `body` and `cause`. `message` says what
 * happened, the number, and what to do.
 *
 * | retried | tags |
 * | --- | --- |
 * | yes | `RateLimitError`, `OverloadedError`, `ServerError` |
 * | unless its data says no | `RequestTimeoutError` (deadline, started), `ConnectionError` (permanent), `StreamError` (started) |
 * | no, but resumable | `InsufficientCreditsError` |
 * | no | all others |
 *
 * A provider's `x-should-retry` header overrides the table (`shouldRetry`).
 *
 * No error holds the API key or, by default, prompt text: `body` is the
 * provider's answer, bounded and redacted, never the request.
 */
import type * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { Usage } from "./Usage.ts"

const common = {
  /** What happened, the number, and what to do, in one or two sentences. */
  message: Schema.String,
  /** HTTP status of the last attempt, where there was one. */
  status: Schema.optional(Schema.Int),
  /** The provider's id of the last attempt: quote it to Together's support. */
  requestId: Schema.optional(Schema.String),
  model: Schema.optional(Schema.String),
  operation: Schema.optional(Schema.String),
  /** Attempts made for the call, the first included. */
  attempts: Schema.optional(Schema.Int),
  /** How long the provider asked to wait. Encoded as milliseconds. */
  retryAfter: Schema.optional(Schema.DurationFromMillis),
  /** The provider's answer, at most 2,000 characters, secrets redacted. */
  body: Schema.optional(Schema.String),
  /** The provider's own word on retrying (`x-should-retry`). */
  shouldRetry: Schema.optional(Schema.Boolean),
  cause: Schema.optional(Schema.Defect())
}

/** Names the limit that a 429 speaks of. */
export const RateLimitScope = Schema.Literals(["requests", "tokens", "model", "concurrency", "unknown"])
/** Names the limit that a 429 speaks of. */
export type RateLimitScope = typeof RateLimitScope.Type

/** Names the part of an exchange that took too long. */
export const TimeoutPhase = Schema.Literals(["connect", "headers", "body", "first-token", "idle", "deadline"])
/** Names the part of an exchange that took too long. */
export type TimeoutPhase = typeof TimeoutPhase.Type

/** Holds what a stream had delivered when it failed. */
export const PartialAnswer = Schema.Struct({
  text: Schema.String,
  reasoning: Schema.String,
  usage: Schema.optional(Usage)
})
/** Holds what a stream had delivered when it failed. */
export interface PartialAnswer extends Schema.Schema.Type<typeof PartialAnswer> {}

/**
 * Holds what had arrived, without a field for a usage that nobody said.
 *
 * @internal
 */
export const partialAnswer = (text: string, reasoning: string, usage: Usage | undefined): PartialAnswer =>
  usage === undefined ? { text, reasoning } : { text, reasoning, usage }

/** Fails a call that the provider refused with a 429 about requests, tokens, a model or concurrency. */
export class RateLimitError extends Schema.TaggedError<RateLimitError>()("RateLimitError", {
  ...common,
  /** The limit that was met. Default `unknown`. */
  scope: RateLimitScope.pipe(Schema.withConstructorDefault(Exit.succeed("unknown")))
}) {}

/** Fails a call whose key is missing or refused (401). */
export class AuthError extends Schema.TaggedError<AuthError>()("AuthError", {
  ...common,
  /** `missing`: there is no key, or one that cannot be sent, so nothing was. `refused`: the provider's word. */
  reason: Schema.optional(Schema.Literals(["missing", "refused"]))
}) {}

/** Fails a call that the account cannot pay for: 402, or a 429 that speaks of credit. Resumable after a top-up. */
export class InsufficientCreditsError
  extends Schema.TaggedError<InsufficientCreditsError>()("InsufficientCreditsError", common)
{}

/** Fails a call that the provider was too busy to serve (503, 529): its fault, not ours. */
export class OverloadedError extends Schema.TaggedError<OverloadedError>()("OverloadedError", common) {}

/** Fails a call that broke inside the provider (500, 502, 504, 520 to 524). */
export class ServerError extends Schema.TaggedError<ServerError>()("ServerError", common) {}

/** Fails a call that took too long; `phase` says where. A `deadline` is never retried, nor a stream that began. */
export class RequestTimeoutError extends Schema.TaggedError<RequestTimeoutError>()("RequestTimeoutError", {
  ...common,
  /** Default `headers`. */
  phase: TimeoutPhase.pipe(Schema.withConstructorDefault(Exit.succeed("headers"))),
  /** True where a stream fell silent, or ran out of time, after its first token. */
  started: Schema.optional(Schema.Boolean),
  /** What that stream had delivered. */
  partial: Schema.optional(PartialAnswer)
}) {}

/** Fails a call whose transport failed; `permanent` for name resolution, TLS and a port that Fetch refuses. */
export class ConnectionError extends Schema.TaggedError<ConnectionError>()("ConnectionError", {
  ...common,
  /** True if a retry would be in vain, so none is made. Default false. */
  permanent: Schema.Boolean.pipe(Schema.withConstructorDefault(Exit.succeed(false))),
  /** False if no connection was made, so nothing was sent. */
  sent: Schema.optional(Schema.Boolean),
  /** The transport's own word, such as `ECONNRESET` or `ENOTFOUND`, where it has one. */
  code: Schema.optional(Schema.String)
}) {}

/** Fails a call whose prompt and `max_tokens` exceed the model's context (400, 403 or 422). */
export class ContextLengthError extends Schema.TaggedError<ContextLengthError>()("ContextLengthError", common) {}

/** Fails a call that the provider could not accept as written (400, 405, 406, 415, 422, 431, …). */
export class InvalidRequestError extends Schema.TaggedError<InvalidRequestError>()("InvalidRequestError", {
  ...common,
  /** False where it was refused here, so that nothing was sent. */
  sent: Schema.optional(Schema.Boolean)
}) {}

/** Fails a call that this key or this client may not make (403 other than context length). */
export class PermissionDeniedError
  extends Schema.TaggedError<PermissionDeniedError>()("PermissionDeniedError", common)
{}

/** Fails a call for something that does not exist (404, 410). */
export class NotFoundError extends Schema.TaggedError<NotFoundError>()("NotFoundError", common) {}

/** Fails a call whose model cannot be called: not serverless, retired, or without a route. */
export class ModelUnavailableError
  extends Schema.TaggedError<ModelUnavailableError>()("ModelUnavailableError", common)
{}

/** Fails a call that conflicts with the state of its object (409). */
export class ConflictError extends Schema.TaggedError<ConflictError>()("ConflictError", common) {}

/** Fails a call whose body is too large (413). */
export class PayloadTooLargeError extends Schema.TaggedError<PayloadTooLargeError>()("PayloadTooLargeError", common) {}

/**
 * Fails a stream after its 200: an error frame, a cut, an early end. Fails a generation that the provider gave up
 * (`finish_reason: "error"`), streamed or not. `partial` holds what arrived.
 */
export class StreamError extends Schema.TaggedError<StreamError>()("StreamError", {
  ...common,
  /** True once a token was delivered: a repeat would print and bill it again. */
  started: Schema.Boolean,
  /** True where an error frame in place of an answer refused the call: nothing was generated. */
  refused: Schema.optional(Schema.Boolean),
  /** Default: nothing. */
  partial: PartialAnswer.pipe(Schema.withConstructorDefault(Exit.succeed({ text: "", reasoning: "" })))
}) {}

/** Fails a call whose 2xx answer is not what it should be. */
export class DecodeError extends Schema.TaggedError<DecodeError>()("DecodeError", {
  ...common,
  /** What the answer says that it took, where that could be read. */
  usage: Schema.optional(Usage)
}) {}

/** Refuses a call because its circuit is open; nothing was sent. */
export class CircuitOpenError extends Schema.TaggedError<CircuitOpenError>()("CircuitOpenError", {
  ...common,
  key: Schema.String
}) {}

/**
 * Refuses a call, or a further attempt of one, that would exceed a budget; it was not sent. Amounts in nano-dollars,
 * encoded as decimal text.
 */
export class BudgetExceededError extends Schema.TaggedError<BudgetExceededError>()("BudgetExceededError", {
  ...common,
  budget: Schema.String,
  /**
   * `no-room`: it may cost more than is left. `unknown-price`: nobody knows what it may cost. `ledger-unwritable`: what it
   * costs cannot be recorded; no budget is named then, and the limit and the rest are 0.
   */
  reason: Schema.optional(Schema.Literals(["no-room", "unknown-price", "ledger-unwritable"])),
  limitNanoUsd: Schema.BigIntFromString,
  neededNanoUsd: Schema.BigIntFromString,
  remainingNanoUsd: Schema.BigIntFromString
}) {}

/**
 * Refuses a call because its lane's queue is full, because it could not be admitted before its deadline, or because the
 * provider is down and the call has another target.
 */
export class LaneOverflowError extends Schema.TaggedError<LaneOverflowError>()("LaneOverflowError", {
  ...common,
  lane: Schema.String,
  reason: Schema.Literals(["queue-full", "deadline", "outage"]),
  /** When the lane expects to admit the call, as a wait from now. Encoded as milliseconds. */
  estimate: Schema.optional(Schema.DurationFromMillis),
  queued: Schema.optional(Schema.Int)
}) {}

/** Decodes and encodes any error of the union. */
export const TogetherError = Schema.Union([
  RateLimitError,
  AuthError,
  InsufficientCreditsError,
  OverloadedError,
  ServerError,
  RequestTimeoutError,
  ConnectionError,
  ContextLengthError,
  InvalidRequestError,
  PermissionDeniedError,
  NotFoundError,
  ModelUnavailableError,
  ConflictError,
  PayloadTooLargeError,
  StreamError,
  DecodeError,
  CircuitOpenError,
  BudgetExceededError,
  LaneOverflowError
])
/** Any way in which a Together call fails: a closed union, told apart by `_tag`. */
export type TogetherError = typeof TogetherError.Type

/** Names each tag of the union, in the order of the error table. */
export const tags: ReadonlyArray<TogetherError["_tag"]> = TogetherError.members.map((member) =>
  member.fields._tag.schema.literal
)

/** Marks the classes of the union: another library's errors may have the same tags. */
const typeId = "~effect-together/TogetherError"

const encode = Schema.encodeSync(TogetherError)

function toJSON(this: TogetherError): object {
  return encode(this)
}

for (const { prototype } of TogetherError.members) {
  Object.defineProperty(prototype, typeId, { value: typeId })
  // what a logger or `JSON.stringify` writes is what the schema encodes: JSON has no word for a `bigint`
  Object.defineProperty(prototype, "toJSON", { value: toJSON })
}

/** Tells whether a value is an error of the union, of this copy of the package or another; a tag alone makes none. */
export const isTogetherError = (u: unknown): u is TogetherError => Predicate.hasProperty(u, typeId)

/**
 * Tells whether a repeat of the same request may succeed.
 *
 * **Details**: the table of the module header. `x-should-retry` overrides it,
 * but for our own refusals, a deadline, and a stream that already delivered a
 * token: no header can make those safe.
 */
export const isRetryable = (error: TogetherError): boolean => {
  switch (error._tag) {
    case "RequestTimeoutError":
      return error.phase !== "deadline" && error.started !== true && (error.shouldRetry ?? true)
    case "StreamError":
      return !error.started && (error.shouldRetry ?? true)
    case "CircuitOpenError":
    case "BudgetExceededError":
    case "LaneOverflowError":
      return false
    case "ConnectionError":
      return error.shouldRetry ?? !error.permanent
    case "RateLimitError":
    case "OverloadedError":
    case "ServerError":
      return error.shouldRetry ?? true
    default:
      return error.shouldRetry ?? false
  }
}

/**
 * Tells whether it was a guard of ours that refused: nothing was sent for the attempt that it refused.
 *
 * **Details**: `CircuitOpenError`, `BudgetExceededError`, `LaneOverflowError`, and an `InsufficientCreditsError` without a
 * `status`: that of a suspended account.
 */
export const isOwnRefusal = (error: TogetherError): boolean => {
  switch (error._tag) {
    case "CircuitOpenError":
    case "BudgetExceededError":
    case "LaneOverflowError":
      return true
    case "InsufficientCreditsError":
      return error.status === undefined
    default:
      return false
  }
}

/**
 * Tells whether an attempt that failed with this error may have reached the provider; true if in doubt.
 *
 * **Details**: it cannot have if a guard refused it, if there was no key or no request that can be sent, or if no
 * connection was made.
 */
export const mayHaveArrived = (error: TogetherError): boolean => {
  switch (error._tag) {
    case "AuthError":
      return error.reason !== "missing"
    case "InvalidRequestError":
      return error.sent !== false
    case "ConnectionError":
      return !error.permanent && error.sent !== false
    case "RequestTimeoutError":
      return error.phase !== "connect"
    default:
      return !isOwnRefusal(error)
  }
}

/**
 * Tells whether an attempt failed before the provider did any work: a repeat is then safe even where the call is not
 * idempotent.
 *
 * **Details**: `RateLimitError`, `OverloadedError`, and where {@link mayHaveArrived} says no.
 */
export const isBeforeWork = (error: TogetherError): boolean =>
  error._tag === "RateLimitError" || error._tag === "OverloadedError" || !mayHaveArrived(error)

/**
 * Tells whether the provider may bill an attempt that failed with this error.
 *
 * **Details**: it may where it was sent and brought no answer: a timeout after connecting, also one of a gateway (504,
 * 524), a connection that broke, a stream that began or was not `refused`, a 2xx that cannot be read. What came back as a
 * refusal is not billed.
 */
export const mayBeBilled = (error: TogetherError): boolean => {
  switch (error._tag) {
    case "ConnectionError":
    case "RequestTimeoutError":
      return mayHaveArrived(error)
    case "StreamError":
      return error.started || error.refused !== true
    case "DecodeError":
      return true
    case "ServerError":
      // a gateway before the model stopped waiting for it, as our own timeouts do
      return error.status === 504 || error.status === 524
    default:
      return false
  }
}

/** Reads how long the provider asked to wait, if it did. */
export const retryAfter = (error: TogetherError): Duration.Duration | undefined => error.retryAfter

/** Says of an error what was called, and how often it was attempted. */
export interface Annotation {
  readonly attempts?: number | undefined
  readonly model?: string | undefined
  readonly operation?: string | undefined
}

/**
 * Copies an error with `attempts` replaced, where given, and with `model` and `operation` filled in where it has none.
 *
 * **When to use**: to put `attempts`, `operation` or `model` on an error made further in:
 * `Effect.mapError(TogetherError.annotate({ operation }))`.
 */
export const annotate: {
  (fields: Annotation): <E extends TogetherError>(error: E) => E
  <E extends TogetherError>(error: E, fields: Annotation): E
} = dual(2, <E extends TogetherError>(error: E, fields: Annotation): E => {
  const constructor = error.constructor as new(props: object) => E // the class that made this very error
  const props = {
    ...error,
    message: error.message,
    cause: error.cause,
    attempts: fields.attempts ?? error.attempts,
    model: error.model ?? fields.model,
    operation: error.operation ?? fields.operation
  }
  // with a field that is present but undefined, the error would come back from JSON as another one, and a cause as null
  return new constructor(Object.fromEntries(Object.entries(props).filter(([, value]) => value !== undefined)))
})
