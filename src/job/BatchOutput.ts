/**
 * Reads the rows of a batch's output and error files, in all the forms that they come in.
 *
 * **Source**: Together's Batch API guide; flat and nested errors as recorded from the API.
 */
import * as Result from "effect/Result"
import type * as Row from "./Row.ts"

/** Is what a batch said about a row. */
export type Said =
  | { readonly _tag: "Answered"; readonly status: number; readonly body: unknown }
  | { readonly _tag: "Refused"; readonly code: string; readonly message: string; readonly status: number | undefined }

/** Tells whether a value is a JSON object. */
export const isObject = (u: unknown): u is Row.Json => typeof u === "object" && u !== null && !Array.isArray(u)

const messageOf = (u: unknown): string =>
  typeof u === "string" ? u : isObject(u) && typeof u["message"] === "string" ? u["message"] : JSON.stringify(u ?? null)

/** Reads one row of an output or error file: its id and what was said, absent where it is no such row. */
export const readLine = (text: string): readonly [id: string, said: Said] | undefined => {
  const row = Result.getOrUndefined(Result.try((): unknown => JSON.parse(text)))
  if (!isObject(row) || typeof row["custom_id"] !== "string") return undefined
  const id = row["custom_id"]
  const response = row["response"]
  if (isObject(response)) {
    const status = typeof response["status_code"] === "number" ? response["status_code"] : 200
    if (status >= 200 && status < 300) return [id, { _tag: "Answered", status, body: response["body"] }]
    const body = response["body"]
    const message = messageOf(isObject(body) && "error" in body ? body["error"] : body)
    return [id, { _tag: "Refused", code: String(status), message, status }]
  }
  const error = row["error"]
  const code = isObject(error) && typeof error["code"] === "string" ? error["code"] : "batch_error"
  return [id, { _tag: "Refused", code, message: messageOf(error), status: undefined }]
}

/** Tells whether a refusal may pass: the row is worth another batch. */
export const transient = ({ code, status }: Extract<Said, { _tag: "Refused" }>): boolean =>
  status === undefined ? code === "timeout" || code === "batch_client_error" : status === 429 || status >= 500
