/**
 * Reads a complete answer: its JSON, checked by a schema, and what it says of its usage.
 *
 * An answer that is not what it should be fails with `DecodeError`, which says where it went wrong, without keys and
 * prompts. An answer whose generation the provider gave up fails with `StreamError`, as a stream does. An answer that
 * ends early means a connection that was cut without the transport noticing: of a compressed body, or one of unknown
 * length.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type { TokenEstimate } from "../domain/Call.ts"
import { type ConnectionError, DecodeError, type StreamError } from "../domain/TogetherError.ts"
import type * as Usage from "../domain/Usage.ts"
import * as AnswerError from "./error/AnswerError.ts"
import { sentence } from "./error/Classify.ts"
import * as ErrorBody from "./error/ErrorBody.ts"
import * as FailedGeneration from "./error/FailedGeneration.ts"
import * as Json from "./Json.ts"
import { redact, type Secrets } from "./redact/Redact.ts"
import * as Subject from "./error/Subject.ts"
import type { Answered, Exchange, Transport } from "./transport/Transport.ts"
import * as TransportFailure from "./error/TransportFailure.ts"

/** Checks a value against a schema. */
export type Decode<A> = (value: unknown) => Result.Result<A, Schema.SchemaError>

/** Says what was asked for. */
export interface Asked<A> {
  readonly exchange: Exchange
  readonly estimate: TokenEstimate
  readonly decode: Decode<A>
  /** Says what is wrong with a decoded answer, as a predicate; nothing where it fits what was asked for. Default: nothing. */
  readonly complaint?: ((value: A) => string | undefined) | undefined
}

/** What an answer said. */
export interface Read<A> {
  readonly value: A
  /** Absent where the answer names none. */
  readonly usage: Usage.Usage | undefined
}

/** Says where a value went wrong, without the value: it may be a prompt. */
export const issueOf = (error: Schema.SchemaError, secrets: Secrets): string =>
  redact(error.message.split("\n").map((line) => line.trim()).join(" "), secrets).slice(0, 500)

/** Decodes, but returns a recognized value as it is, since wire schemas change nothing that they accept. */
export const recognizing = <A>(recognize: ((u: unknown) => boolean) | undefined, decode: Decode<A>): Decode<A> =>
  recognize === undefined
    ? decode
    // recognized means accepted by the schema, whose decoded and encoded forms are the same
    : (u) => recognize(u) ? Result.succeed(u as A) : decode(u)

/**
 * Tells whether only the end of a body says how long it is: over HTTP/1 the end of the connection, over HTTP/2 that of
 * its stream, for which some transports take a reset.
 */
const isUnmeasured = (headers: Answered["headers"]): boolean =>
  headers["content-length"] === undefined && headers["transfer-encoding"] === undefined

/**
 * Refuses a web page as an answer that may be anything but JSON. No endpoint answers with one, but a proxy, a portal or the
 * edge does, and saved as a file it would pass for what was asked for.
 */
export const refusePage = (exchange: Exchange, head: Subject.Head): Effect.Effect<void, DecodeError> =>
  /^\s*text\/html\b/i.test(head.headers["content-type"] ?? "")
    ? Effect.fail(
      new DecodeError({
        ...Subject.ofAnswer(exchange, head),
        message: `The answer to ${exchange.operation} (${head.status}) is a web page. Check the base URL.`
      })
    )
    : Effect.void

/** Reads an answer, or says why it cannot be read. */
export const read = <A>(
  { complaint, decode, estimate, exchange }: Asked<A>,
  answer: Answered,
  secretsOf: Transport["secrets"]
): Result.Result<Read<A>, ConnectionError | DecodeError | StreamError> => {
  const { headers, status, text } = answer
  const fail = (problem: string, said?: string, usage?: Usage.Usage) => {
    const secrets = secretsOf(exchange)
    return Result.fail(
      new DecodeError({
        ...Subject.ofAnswer(exchange, answer, secrets, said),
        body: text === "" ? undefined : redact(text, secrets),
        usage,
        message:
          `The answer to ${exchange.operation} (${status}, ${text.length} characters) ${problem}. Check the base URL; if it is Together's, report the request id to its support.`
      })
    )
  }
  const value = Json.parse(text)
  if (value === undefined) {
    const isEmpty = text.trim() === ""
    const nothing = isEmpty ? Result.orElse(decode(undefined), () => decode(null)) : undefined
    if (nothing !== undefined && Result.isSuccess(nothing)) {
      return Result.succeed({ value: nothing.success, usage: undefined })
    }
    const isEncoded = TransportFailure.isEncoded(headers["content-encoding"])
    if ((isEmpty && isEncoded) || ((isEncoded || isUnmeasured(headers)) && Json.isCut(text))) {
      return Result.fail(TransportFailure.cutShort(exchange, answer, secretsOf(exchange)))
    }
    if (isEmpty) return fail("is empty")
    // such as the login of a network, or a proxy's notice
    const { message = "", page } = ErrorBody.parse(text)
    const title = redact(message, secretsOf(exchange))
    return fail(page ? `is a web page${title === "" ? "" : ` (${title})`}` : "is not JSON")
  }
  const usage = AnswerError.usageOf(value, { estimatedInput: estimate.inputTokens })
  if (AnswerError.is(value)) {
    const { message = "", requestId } = ErrorBody.parse(text)
    const said = redact(message, secretsOf(exchange))
    return fail(`is an error${said === "" ? "" : `: ${sentence(said).replace(/\.$/, "")}`}`, requestId, usage)
  }
  const decoded = decode(value)
  if (Result.isFailure(decoded)) {
    return fail(`does not fit its schema: ${issueOf(decoded.failure, secretsOf(exchange))}`, undefined, usage)
  }
  const wrong = complaint?.(decoded.success)
  if (wrong !== undefined) return fail(wrong, undefined, usage)
  const failed = FailedGeneration.of(value, usage)
  return failed === undefined
    ? Result.succeed({ value: decoded.success, usage })
    : Result.fail(FailedGeneration.toError(failed, Subject.ofAnswer(exchange, answer, secretsOf(exchange))))
}
