/**
 * Turns a Together failure into the `AiError` of `effect/ai`, whose reason tells what a caller can do.
 *
 * | `TogetherError` | reason of the `AiError` | `isRetryable` |
 * | --- | --- | --- |
 * | `RateLimitError` | `RateLimitError`, with `retryAfter` | yes |
 * | `LaneOverflowError` | `RateLimitError`, with the lane's estimate | yes |
 * | `OverloadedError`, `ServerError`, `CircuitOpenError` | `InternalProviderError` | yes |
 * | `StreamError` before the first token | `InternalProviderError` | yes |
 * | `StreamError` or `RequestTimeoutError` after it, `DecodeError` | `InvalidResponseError` | no |
 * | `ConnectionError`, `RequestTimeoutError` | `NetworkError` | unless permanent |
 * | `RequestTimeoutError` at the deadline | `UnknownError` | no |
 * | `InsufficientCreditsError`, `BudgetExceededError` | `QuotaExhaustedError` | no |
 * | `BudgetExceededError` for an unknown price, or a ledger that cannot be written | `UnknownError` | no |
 * | `AuthError`, `PermissionDeniedError` | `AuthenticationError` | no |
 * | all others | `InvalidRequestError` | no |
 *
 * `isRetryable` is what `effect/ai` says about the reason: that the same request may succeed later. The client has
 * already made its retries: a second loop on top multiplies them. Two refusals of our own, a full lane and an open
 * circuit, are never repeated by the client and are still worth a later call.
 *
 * {@link Details} hold what a reason has no field for.
 */
import * as Duration from "effect/Duration"
import * as AiError from "effect/ai/AiError"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import {
  isRetryable,
  isTogetherError,
  RateLimitScope,
  TimeoutPhase,
  type TogetherError
} from "../../domain/TogetherError.ts"

/** Keeps of a Together failure what the reason of an `AiError` has no field for. */
export const Details = Schema.Struct({
  /** Tag of the `TogetherError`. */
  tag: Schema.String,
  message: Schema.String,
  /** Whether the client would retry it: false also if the provider forbade it (`x-should-retry`). */
  retryable: Schema.Boolean,
  status: Schema.optionalKey(Schema.Int),
  requestId: Schema.optionalKey(Schema.String),
  model: Schema.optionalKey(Schema.String),
  operation: Schema.optionalKey(Schema.String),
  attempts: Schema.optionalKey(Schema.Int),
  /** The wait that the provider, the circuit or the lane asked for. */
  retryAfterMillis: Schema.optionalKey(Schema.Finite),
  scope: Schema.optionalKey(RateLimitScope),
  phase: Schema.optionalKey(TimeoutPhase),
  /** Why a budget or a lane refused the call. */
  reason: Schema.optionalKey(Schema.String)
})
/** Keeps of a Together failure what the reason of an `AiError` has no field for. */
export interface Details extends Schema.Schema.Type<typeof Details> {}

/** Names the call that failed. */
export interface Where {
  /** Module of the provider, as in `AiError.module`. */
  readonly module: string
  /** Method of the service, as in `AiError.method`. */
  readonly method: string
  /** Path below the base URL. */
  readonly path: string
}

const waitOf = (error: TogetherError): Duration.Duration | undefined =>
  error.retryAfter ?? (error._tag === "LaneOverflowError" ? error.estimate : undefined)

const detailsOf = (error: TogetherError): Details => {
  const wait = waitOf(error)
  return {
    tag: error._tag,
    message: error.message,
    retryable: isRetryable(error),
    ...(error.status === undefined ? undefined : { status: error.status }),
    ...(error.requestId === undefined ? undefined : { requestId: error.requestId }),
    ...(error.model === undefined ? undefined : { model: error.model }),
    ...(error.operation === undefined ? undefined : { operation: error.operation }),
    ...(error.attempts === undefined ? undefined : { attempts: error.attempts }),
    ...(wait === undefined ? undefined : { retryAfterMillis: Duration.toMillis(wait) }),
    ...(error._tag === "RateLimitError" ? { scope: error.scope } : undefined),
    ...(error._tag === "RequestTimeoutError" ? { phase: error.phase } : undefined),
    ...(error._tag === "LaneOverflowError" ? { reason: error.reason } : undefined),
    ...(error._tag === "BudgetExceededError" && error.reason !== undefined ? { reason: error.reason } : undefined)
  }
}

const httpOf = (error: TogetherError): typeof AiError.HttpContext.Type | undefined =>
  error.status === undefined ? undefined : {
    response: {
      status: error.status,
      headers: error.requestId === undefined ? {} : { "x-request-id": error.requestId }
    },
    body: error.body
  }

const network = (error: TogetherError, where: Where, permanent: boolean) =>
  new AiError.NetworkError({
    // the one reason of a NetworkError that says "do not repeat" and "look at the address"
    reason: permanent ? "InvalidUrlError" : "TransportError",
    method: "POST",
    url: where.path,
    description: error.message,
    cause: error
  })

/** Finds the reason that tells a caller of `effect/ai` what a Together failure means. */
export const reason = (error: TogetherError, where: Where): AiError.AiErrorReason => {
  const metadata: AiError.ProviderMetadata = { together: detailsOf(error) }
  const told = { metadata, http: httpOf(error) }
  const described = { ...told, description: error.message }
  switch (error._tag) {
    case "RateLimitError":
    case "LaneOverflowError":
      return new AiError.RateLimitError({ ...told, retryAfter: waitOf(error) })
    case "OverloadedError":
    case "ServerError":
    case "CircuitOpenError":
      return new AiError.InternalProviderError(described)
    case "StreamError":
      return error.started
        ? new AiError.InvalidResponseError(described)
        : new AiError.InternalProviderError(described)
    case "DecodeError":
      return new AiError.InvalidResponseError(described)
    case "ConnectionError":
      return network(error, where, error.permanent)
    case "RequestTimeoutError":
      if (error.phase === "deadline") return new AiError.UnknownError(described)
      return error.started === true
        ? new AiError.InvalidResponseError(described)
        : network(error, where, false)
    case "InsufficientCreditsError":
      return new AiError.QuotaExhaustedError(told)
    case "BudgetExceededError":
      // a full disk or a missing price has nothing to do with a quota, whose advice would mislead and hide the message
      return error.reason === "ledger-unwritable" || error.reason === "unknown-price"
        ? new AiError.UnknownError(described)
        : new AiError.QuotaExhaustedError(told)
    case "AuthError":
      return new AiError.AuthenticationError({
        ...described,
        kind: error.status === undefined ? "MissingKey" : "InvalidKey"
      })
    case "PermissionDeniedError":
      return new AiError.AuthenticationError({ ...described, kind: "InsufficientPermissions" })
    case "NotFoundError":
    case "ModelUnavailableError":
      return new AiError.InvalidRequestError({ ...described, parameter: "model" })
    case "ContextLengthError":
    case "InvalidRequestError":
    case "ConflictError":
    case "PayloadTooLargeError":
      return new AiError.InvalidRequestError(described)
  }
}

/** Turns a Together failure into an `AiError`. */
export const fromTogetherError = (where: Where) => (error: TogetherError): AiError.AiError =>
  AiError.make({ module: where.module, method: where.method, reason: reason(error, where) })

const decodeDetails = Schema.decodeUnknownOption(Details)

/**
 * Reads back from an `AiError` what the Together failure behind it said; nothing where there is none.
 *
 * **When to use**: to log a request id, to count attempts, or to tell apart what one reason stands for
 * (`BudgetExceededError` from `InsufficientCreditsError`, for one).
 */
export const details = (error: AiError.AiError): Details | undefined => {
  const { reason } = error
  if (reason._tag === "NetworkError") return isTogetherError(reason.cause) ? detailsOf(reason.cause) : undefined
  return "metadata" in reason ? Option.getOrUndefined(decodeDetails(reason.metadata["together"])) : undefined
}
