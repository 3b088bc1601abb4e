/**
 * One row of a job's output, in the form of the Batch API's output files.
 *
 * | outcome | row |
 * | --- | --- |
 * | answered | `{"id", "custom_id", "response": {"status_code", "request_id"?, "body"}, …caller's fields}` |
 * | failed | `{"id", "custom_id", "error": {"code", "message", "status"?, "request_id"?, "attempts"?, "retryable"}, "line", …}` |
 * | bad line | `{"custom_id"?, "error": {"code", "message"}, "line"}` |
 *
 * The caller's fields come after ours. Where one of theirs has the name of one of ours (`id`, `line`, `response`,
 * `error`), those stand apart in a field `row`, with a `row` of theirs among them. `id` is made from the row's own id, so
 * the same row has the same one in every run.
 */
import * as TogetherError from "../domain/TogetherError.ts"
import type { Usage } from "../domain/Usage.ts"
import * as Hash from "../policy/Hash.ts"
import * as Json from "../together/Json.ts"
import * as Row from "./Row.ts"

/** What a row was answered with. */
export interface Reply {
  readonly status: number
  readonly requestId?: string | undefined
  /** The answer as JSON. */
  readonly body: unknown
  readonly usage?: Usage | undefined
  /** Cost in nano-dollars; absent where the price is unknown. */
  readonly nanoUsd?: bigint | undefined
  /** Attempts made, the first included; 0 where nothing was sent. Those of a `Together` client a job counts by itself. */
  readonly attempts: number
  /**
   * Milliseconds from the sending of the last attempt (of a hedged one, its second try) until the answer was read
   * whole. A job sets it; absent if no client of ours reports its attempts.
   */
  readonly requestMillis?: number | undefined
}

const ours = new Set(["id", "custom_id", "response", "error", "line"])

const ids = new Uint32Array(3)

const idOf = (customId: string): string => {
  Hash.text96(customId, ids)
  return `br_${Hash.hex32(ids[0]!)}${Hash.hex32(ids[1]!)}`
}

const apart = "row"

const withExtra = (row: Record<string, unknown>, extra: Row.Json = {}): Record<string, unknown> => {
  const clashes = Object.keys(extra).some((key) => ours.has(key))
  const own: Record<string, unknown> = {}
  for (const key in extra) {
    Row.setField(clashes && (key === apart || ours.has(key)) ? own : row, key, extra[key])
  }
  if (clashes) row[apart] = own
  return row
}

/** Names the class of an error in the words of an output row: `RateLimitError` is `rate_limit`. */
export const codeOf = (tag: string): string =>
  tag.replace(/Error$/, "").replace(/[A-Z]/g, (letter, at: number) => (at === 0 ? "" : "_") + letter.toLowerCase())

/** Writes the output row of an answered row; nothing if JSON cannot hold the answer, or if it is nested too deeply. */
export const answered = (row: Row.Row, reply: Reply): string | undefined =>
  Json.stringify(withExtra({
    id: idOf(row.id),
    custom_id: row.id,
    response: {
      status_code: reply.status,
      ...(reply.requestId === undefined ? {} : { request_id: reply.requestId }),
      body: reply.body
    }
  }, row.extra))

/** Writes the output row of a failed row; `code` is for failures without a class of error, in the words of a batch. */
export const failed = (row: Row.Row, error: TogetherError.TogetherError, code = codeOf(error._tag)): string =>
  JSON.stringify(withExtra({
    id: idOf(row.id),
    custom_id: row.id,
    error: {
      code,
      message: error.message,
      ...(error.status === undefined ? {} : { status: error.status }),
      ...(error.requestId === undefined ? {} : { request_id: error.requestId }),
      ...(error.attempts === undefined ? {} : { attempts: error.attempts }),
      retryable: TogetherError.isRetryable(error)
    },
    line: row.line
  }, row.extra))

/** Reads why a row failed from its output row; nothing if it is not the output row of a failed row. */
export const failureOf = (
  text: string
): { readonly code: string; readonly message: string; readonly retryable: boolean } | undefined => {
  const { error } = JSON.parse(text) as { // what `failed` has written
    readonly error?: { readonly code: string; readonly message: string; readonly retryable?: boolean }
  }
  return error === undefined ? undefined : { ...error, retryable: error.retryable === true }
}

/** Names why a line is bad in the words of an output row: `too-long` is `bad_row_too_long`. */
export const badCodeOf = (reason: Row.BadReason): string => `bad_row_${reason.replace("-", "_")}`

/** Writes the output row of a bad line. */
export const bad = (line: Row.Bad): string =>
  JSON.stringify({
    ...(line.id === undefined ? {} : { custom_id: line.id }),
    error: { code: badCodeOf(line.reason), message: line.message },
    line: line.line
  })
