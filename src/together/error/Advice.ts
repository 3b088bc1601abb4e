/**
 * Says in words what an error of each tag means, and what to do about it: advice that fits the operation, its model and
 * the wait that the provider asked for.
 */
import * as Duration from "effect/Duration"
import * as Remedy from "../../domain/Remedy.ts"
import type * as TogetherError from "../../domain/TogetherError.ts"

/** What advice is about. */
export interface About {
  readonly status: number
  readonly operation?: string | undefined
  /** Empty where the operation has none. */
  readonly model?: string | undefined
}

/** Writes a wait, if it is long enough to be mentioned. */
const seconds = (wait: Duration.Duration | undefined): string | undefined => {
  const value = wait === undefined ? 0 : Duration.toSeconds(wait)
  return value < 0.01 ? undefined : `${value < 10 ? Number(value.toFixed(2)) : Math.round(value)} s`
}

const generations = new Set(["chat", "chatStream", "completions", "completionsStream"])

/** Tells whether an operation generates text, so that its answer can be streamed or shortened; true where none is named. */
export const generates = (operation: string | undefined): boolean =>
  operation === undefined || generations.has(operation)

/**
 * Says what to do about an error of a tag, without a full stop. An operation that nobody named counts as a generation.
 */
export const remedy = (
  tag: TogetherError.TogetherError["_tag"],
  { model, operation, status }: About,
  wait?: Duration.Duration | undefined
): string => {
  const hasModel = operation === undefined || (model !== undefined && model !== "")
  const time = seconds(wait)
  switch (tag) {
    case "RateLimitError":
      return time === undefined
        ? "Send at a steady, lower rate and back off"
        : `Wait ${time} before the next request`
    case "AuthError":
      return "Check TOGETHER_API_KEY, or make a key at https://api.together.ai/settings/api-keys"
    case "InsufficientCreditsError":
      return Remedy.insufficientCredits().replace(/\.$/, "")
    case "OverloadedError":
      return `Try again after a brief wait${time === undefined ? "" : ` of ${time}`}${
        hasModel ? ", or use another model" : ""
      }`
    case "ServerError":
      return status === 524 && generates(operation)
        ? "Stream the answer or lower max_tokens: the edge gives up on silent requests after about 100 s"
        : "Try again after a brief wait; contact Together's support if it lasts longer than 30 minutes"
    case "ContextLengthError":
      return "Shorten the prompt or lower max_tokens: together they must fit the model's context"
    case "PermissionDeniedError":
      return `Check that this key's project may use this ${
        hasModel ? "model and endpoint" : "endpoint"
      }, and that requests carry a User-Agent`
    case "NotFoundError":
      return `Check the ${hasModel ? "model name" : "id"} and the base URL`
    case "ModelUnavailableError":
      return "Choose a serverless model, or start a dedicated endpoint for this one"
    case "ConflictError":
      return "Read the object's state again before changing it"
    case "PayloadTooLargeError":
      return "Send a smaller body"
    case "RequestTimeoutError":
      return "Try again"
    default:
      return "Correct the request"
  }
}

/** Says what a repeat would cost after the first token, without a full stop. */
export const arrived = "Part of the answer arrived; a repeat would generate and bill it again"

/** Says what an answer of each tag means. */
export const what = {
  RateLimitError: "Rate limited",
  AuthError: "The API key was refused",
  InsufficientCreditsError: "The account has no usable credit",
  OverloadedError: "The service is overloaded",
  ServerError: "The provider failed",
  RequestTimeoutError: "The request timed out",
  ContextLengthError: "The prompt and max_tokens exceed the model's context",
  InvalidRequestError: "The request was refused",
  PermissionDeniedError: "Access was denied",
  NotFoundError: "Not found",
  ModelUnavailableError: "The model is not available",
  ConflictError: "The request conflicts with the object's state",
  PayloadTooLargeError: "The request body is too large"
}
