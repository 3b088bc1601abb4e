/**
 * Reads a complete answer: its JSON, checked by a schema, and what it says of its usage.
 *
 * An answer that is not what it should be fails with `DecodeError`, which says
 * where it went wrong and keeps keys and prompts out of it.
 */
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type { Estimate } from "../domain/Call.ts"
import { DecodeError } from "../domain/TogetherError.ts"
import * as Usage from "../domain/Usage.ts"
import * as AnswerError from "./AnswerError.ts"
import { sentence } from "./Classify.ts"
import * as ErrorBody from "./ErrorBody.ts"
import { redact, type Secrets } from "./Redact.ts"
import type { Answered, Exchange, Transport } from "./Transport.ts"

/** Checks a value against a schema. */
export type Decode<A> = (value: unknown) => Result.Result<A, Schema.SchemaError>

/** Says what was asked for. */
export interface Asked<A> {
  readonly exchange: Exchange
  readonly estimate: Estimate
  readonly decode: Decode<A>
}

/** Is what an answer said. */
export interface Read<A> {
  readonly value: A
  /** Absent where the answer names none. */
  readonly usage: Usage.Usage | undefined
}

/** Says where a value went wrong, without the value: it may be a prompt. */
export const issueOf = (error: Schema.SchemaError, secrets: Secrets): string =>
  redact(error.message.split("\n").map((line) => line.trim()).join(" "), secrets).slice(0, 500)

/** Decodes, but passes what is recognized as it stands: wire schemas change nothing they accept. */
export const recognizing = <A>(recognize: ((u: unknown) => boolean) | undefined, decode: Decode<A>): Decode<A> =>
  recognize === undefined
    ? decode
    // recognized means accepted by the schema, whose decoded and encoded forms are the same
    : (u) => recognize(u) ? Result.succeed(u as A) : decode(u)

/** Reads an answer, or fails with `DecodeError`. */
export const read = <A>(
  { decode, estimate, exchange }: Asked<A>,
  answer: Answered,
  secretsOf: Transport["secrets"]
): Result.Result<Read<A>, DecodeError> => {
  const { headers, status, text } = answer
  const fail = (problem: string) => {
    const body = text === "" ? undefined : redact(text, secretsOf(exchange))
    return Result.fail(
      new DecodeError({
        operation: exchange.operation,
        model: exchange.model,
        status,
        requestId: headers["x-request-id"],
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
    return Result.isFailure(nothing)
      ? fail("is empty")
      : Result.succeed({ value: nothing.success, usage: undefined })
  }
  if (AnswerError.is(value)) {
    const said = redact(ErrorBody.parse(text).message ?? "", secretsOf(exchange))
    return fail(`is an error${said === "" ? "" : `: ${sentence(said).replace(/\.$/, "")}`}`)
  }
  const decoded = decode(value)
  return Result.isFailure(decoded)
    ? fail(`does not fit its schema: ${issueOf(decoded.failure, secretsOf(exchange))}`)
    : Result.succeed({
      value: decoded.success,
      usage: Usage.fromAnswer(value, { estimatedInput: estimate.inputTokens })
    })
}
