/**
 * Reads from the shape of another library's error what it says about the provider, so that a lane and a retry can act
 * on it.
 *
 * | the error, else its `reason`, else its `cause` | means |
 * | --- | --- |
 * | `_tag` of the union `TogetherError` | what that class means |
 * | `status`, `statusCode`, or those of its `response`: 429 | `Throttled` |
 * | 503, 529 | `Overloaded` |
 * | 408 | `TimedOut` |
 * | other 5xx | `Failed` |
 * | other 4xx | `Ignored`: it says nothing of a limit |
 * | `code` of a transport, its own or of a cause | `TimedOut` for silence, `Failed` for a connection |
 * | `_tag`, `name` or class: `RateLimited`, `TooManyRequests` | `Throttled` |
 * | `…Timeout`, `…TimeoutError` | `TimedOut` |
 * | `…ConnectionError`, `NetworkError`, `TransportError`, `InternalServerError`, `InternalProviderError` | `Failed` |
 *
 * The wait is a `retryAfter` that is a `Duration`, else what the `headers` of the error or of its `response` say. A
 * retry follows that of every error, a lane that of a refusal. A bare number is ignored, since its unit is not known.
 * For responses of Together, `Together.errorFromResponse` reads more.
 */
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as ForeignHeaders from "./ForeignHeaders.ts"
import * as Hint from "./Hint.ts"
import { RateLimitScope, tags } from "./TogetherError.ts"
import * as TransportCodes from "./TransportCodes.ts"

/** Says what an error means for whoever shares the provider's limits. */
export type Meaning =
  | {
    readonly _tag: "Throttled"
    readonly scope: RateLimitScope
    readonly retryAfter: Duration.Duration | undefined
  }
  | { readonly _tag: "Overloaded"; readonly retryAfter: Duration.Duration | undefined }
  | { readonly _tag: "Failed" }
  | { readonly _tag: "TimedOut" }
  | { readonly _tag: "Ignored"; readonly sent: true }

/** Bounds how deep the reasons and causes of an error are searched. */
const deepest = 4

/** Reads a field; one that cannot be read is as good as absent. */
const field = (u: unknown, key: string): unknown =>
  Result.getOrElse(Result.try(() => Predicate.hasProperty(u, key) ? u[key] : undefined), () => undefined)

const isStatus = (u: unknown): u is number => typeof u === "number" && u >= 400 && u <= 599

const statusOf = (error: unknown): number | undefined => {
  const response = field(error, "response")
  return [
    field(error, "status"),
    field(error, "statusCode"),
    field(response, "status"),
    field(response, "statusCode")
  ].find(isStatus)
}

/**
 * Reads the wait that an error asks for by its shape, or nothing. `x-ratelimit-reset` is one only if the error is a
 * refusal: on other answers many providers tell by it when their window ends.
 */
const hintOf = (error: unknown, isRefusal = true): Duration.Duration | undefined => {
  const given = field(error, "retryAfter")
  if (Duration.isDuration(given)) return Duration.isFinite(given) && !Duration.isNegative(given) ? given : undefined
  return [field(error, "headers"), field(field(error, "response"), "headers")]
    .map((headers) => Hint.fromHeaders(ForeignHeaders.read(headers), ForeignHeaders.noClock))
    .find((hint) => hint !== undefined && (isRefusal || hint.source !== "x-ratelimit-reset"))?.wait
}

const scopeOf = (error: unknown): RateLimitScope => {
  const scope = field(error, "scope")
  return RateLimitScope.literals.find((literal) => literal === scope) ?? "unknown"
}

const throttled = (error: unknown): Meaning => ({
  _tag: "Throttled",
  scope: scopeOf(error),
  retryAfter: hintOf(error)
})

const overloaded = (error: unknown): Meaning => ({ _tag: "Overloaded", retryAfter: hintOf(error) })

const failed: Meaning = { _tag: "Failed" }
const timedOut: Meaning = { _tag: "TimedOut" }
const ignored: Meaning = { _tag: "Ignored", sent: true }

const ofTag = (tag: unknown, error: unknown): Meaning => {
  switch (tag) {
    case "RateLimitError":
      return throttled(error)
    case "OverloadedError":
      return overloaded(error)
    case "ServerError":
    case "ConnectionError":
    case "StreamError":
      return failed
    case "RequestTimeoutError":
      return timedOut
    default:
      return ignored
  }
}

const ofStatus = (status: number, error: unknown): Meaning => {
  if (status === 429) return throttled(error)
  if (status === 503 || status === 529) return overloaded(error)
  if (status === 408) return timedOut
  return status >= 500 ? failed : ignored
}

const ofCodes = (error: unknown): Meaning | undefined => {
  const codes = Result.getOrElse(Result.try(() => TransportCodes.of(error)), () => [])
  if (TransportCodes.timeoutPhase(codes) !== undefined) return timedOut
  return codes.some(TransportCodes.isConnection) ? failed : undefined
}

const saysThrottled = /^(?:RateLimited|TooManyRequests)(?:Error)?$/
const saysTimedOut = /Timeout(?:Error|Exception)?$/
const saysFailed = /ConnectionError$|^(?:Network|Transport|InternalServer|InternalProvider)Error$/

const ofNames = (tag: unknown, error: unknown): Meaning | undefined => {
  const names = [tag, field(error, "name"), field(field(error, "constructor"), "name")].filter(Predicate.isString)
  if (names.some((name) => saysThrottled.test(name))) return throttled(error)
  if (names.some((name) => saysTimedOut.test(name))) return timedOut
  return names.some((name) => saysFailed.test(name)) ? failed : undefined
}

const isOurTag = (tag: unknown): boolean => tags.some((ours) => ours === tag)

/**
 * Reads what an error means, or nothing where its shape says nothing of the provider.
 *
 * **Errors**: never throws, whatever the value.
 */
export const read = (error: unknown, depth = 0): Meaning | undefined => {
  if (!Predicate.isObject(error) || depth > deepest) return undefined
  const tag = field(error, "_tag")
  if (isOurTag(tag)) return ofTag(tag, error)
  const status = statusOf(error)
  if (status !== undefined) return ofStatus(status, error)
  return ofCodes(error) ?? ofNames(tag, error) ??
    read(field(error, "reason"), depth + 1) ?? read(field(error, "cause"), depth + 1)
}

/** Reads the wait that an error asks for which is no refusal, or whose shape says nothing else. */
const askedOf = (error: unknown, depth = 0): Duration.Duration | undefined =>
  Predicate.isObject(error) && depth <= deepest
    ? hintOf(error, false) ?? askedOf(field(error, "reason"), depth + 1) ?? askedOf(field(error, "cause"), depth + 1)
    : undefined

/** Reads the wait that an error asks for, or nothing. */
export const retryAfter = (error: unknown): Duration.Duration | undefined => {
  const meaning = read(error)
  return meaning?._tag === "Throttled" || meaning?._tag === "Overloaded" ? meaning.retryAfter : askedOf(error)
}

/**
 * Tells whether a repeat may cure an error: the table names it, and it does not say itself that a repeat is in vain or
 * harmful (`permanent`, `started`, a `phase` of `deadline`, `shouldRetry`), in the words of `TogetherError`.
 */
export const isRetryable = (error: unknown): boolean => {
  const meaning = read(error)
  return meaning !== undefined && meaning._tag !== "Ignored" &&
    field(error, "permanent") !== true && field(error, "started") !== true &&
    field(error, "phase") !== "deadline" && field(error, "shouldRetry") !== false
}
