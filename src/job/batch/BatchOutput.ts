/**
 * Reads the rows of a batch's output and error files, in all the forms that they come in.
 *
 * **Source**: Together's Batch API guide; flat and nested errors as recorded from the API.
 */
import * as Result from "effect/Result"
import * as TogetherError from "../../domain/TogetherError.ts"
import * as Classify from "../../together/error/Classify.ts"
import * as FailedGeneration from "../../together/error/FailedGeneration.ts"
import * as Json from "../../together/Json.ts"
import { promptsOf, redact } from "../../together/redact/Redact.ts"
import * as ExactJson from "../ExactJson.ts"
import * as Row from "../Row.ts"

/** What a batch said about a row. */
export type Said =
  | { readonly _tag: "Answered"; readonly status: number; readonly body: unknown }
  | {
    readonly _tag: "Refused"
    readonly code: string
    readonly message: string
    /** Absent where the batch itself refused. */
    readonly status: number | undefined
    /** The generation that the provider gave up, where it did. */
    readonly failed?: FailedGeneration.FailedGeneration | undefined
    /** The body of a success that is no answer: it was billed. */
    readonly billed?: { readonly body: unknown } | undefined
  }

const messageOf = (u: unknown): string =>
  typeof u === "string"
    ? u
    : Row.isObject(u) && typeof u["message"] === "string"
    ? u["message"]
    : Json.stringify(u ?? null) ?? "words that nest too deep to be written"

/** Batches answer chats, and an answer to a chat has at least one choice. */
const hasChoice = (body: unknown): boolean =>
  Row.isObject(body) && Array.isArray(body["choices"]) && body["choices"].length > 0

/** Reads what counts as a success, but may not be an answer. */
const readSuccess = (status: number, body: unknown): Said => {
  const billed = { body }
  if (!hasChoice(body)) {
    const message = "The batch answered with no choice. Send the row again with retryErrors, or by calls."
    return { _tag: "Refused", code: "decode", message, status: undefined, billed }
  }
  const failed = FailedGeneration.of(body)
  if (failed === undefined) return { _tag: "Answered", status, body }
  const said = { _tag: "Refused", code: String(status), message: "the generation failed", status, failed } as const
  return failed.started ? { ...said, billed } : said
}

/** Reads one row of an output or error file: its id and what was said, absent where it is no such row. */
export const readLine = (text: string): readonly [id: string, said: Said] | undefined => {
  const row = Result.getOrUndefined(Result.try(() => ExactJson.parse(text)))
  if (!Row.isObject(row) || typeof row["custom_id"] !== "string") return undefined
  const id = row["custom_id"]
  const response = row["response"]
  if (Row.isObject(response)) {
    const status = typeof response["status_code"] === "number" ? response["status_code"] : 200
    const body = response["body"]
    if (status >= 200 && status < 300) return [id, readSuccess(status, body)]
    const message = messageOf(Row.isObject(body) && "error" in body ? body["error"] : body)
    return [id, { _tag: "Refused", code: String(status), message, status }]
  }
  const error = row["error"]
  const code = Row.isObject(error) && typeof error["code"] === "string" ? error["code"] : "batch_error"
  return [id, { _tag: "Refused", code, message: messageOf(error), status: undefined }]
}

/** What a batch said against a row. */
export type Refused = Extract<Said, { readonly _tag: "Refused" }>

/** Tells whether a refusal may pass: the row is worth another batch. */
export const transient = ({ code, failed, status }: Refused): boolean => {
  if (failed !== undefined) return !failed.started
  return status === undefined ? code === "timeout" || code === "batch_client_error" : status === 429 || status >= 500
}

/** Makes what is said of a row that no batch answered. */
export const notAnswered = (rounds: number): Refused => ({
  _tag: "Refused",
  code: "not_answered",
  message: `no batch answered this row in ${rounds} rounds. Send it again with retryErrors, or by calls`,
  status: undefined
})

/**
 * Makes the error of a row that a batch refused: by its status the one that a call would have failed with.
 *
 * **Details**: a refusal that may pass is retryable, and so is a row that was not answered.
 */
export const errorOf = (row: Row.Row, said: Refused, nowMillis: number): TogetherError.TogetherError => {
  const { billed, code, message, status } = said
  const secrets = { prompts: promptsOf(row.body) }
  const of = { operation: "batch", model: row.model }
  if (said.failed !== undefined) {
    const error = FailedGeneration.toError(said.failed, { ...of, status: status ?? 200 })
    return TogetherError.annotate(error, { attempts: 1 })
  }
  if (status !== undefined) {
    const body = JSON.stringify({ error: { message } })
    const error = Classify.fromAnswer({ ...of, status, headers: {}, body, nowMillis, secrets })
    return TogetherError.annotate(error, { attempts: 1 })
  }
  const fields = { ...of, message: redact(message, secrets), attempts: 1 }
  if (billed !== undefined) return new TogetherError.DecodeError(fields)
  return code === "timeout" || code === "not_answered"
    ? new TogetherError.RequestTimeoutError({ ...fields, phase: "body" })
    : new TogetherError.InvalidRequestError({ ...fields, shouldRetry: transient(said) })
}
