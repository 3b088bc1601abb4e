/** The fields that every error takes from its call and its answer, whatever went wrong. */
import type * as Hint from "../../domain/Hint.ts"
import { isClean, type Secrets } from "../redact/Redact.ts"

/** What is known of a call. */
export interface Call {
  readonly operation?: string | undefined
  /** Empty where the operation has none. */
  readonly model?: string | undefined
}

/** What an answer says before its body. */
export interface Head {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Hint.Headers
}

/** An id is one word; a sentence in its place may quote anything. */
const isId = /^[\w.:+/=-]{1,128}$/

/**
 * Finds the id of a request: from its headers, from its body, or else that of the edge. A value that cannot be an id,
 * or holds a secret, is ignored.
 */
export const idOf = (headers: Hint.Headers, said?: string, secrets?: Secrets): string | undefined =>
  [headers["x-request-id"], said, headers["cf-ray"]].find((id) =>
    id !== undefined && isId.test(id) && (secrets === undefined || isClean(id, secrets))
  )

/** Says which call it is. */
export const ofCall = ({ model, operation }: Call) => ({ operation, model: model === "" ? undefined : model })

/** Says which call it is, and which answer to it; `said` is the id that its body names. */
export const ofAnswer = (call: Call, { headers, status }: Head, secrets?: Secrets, said?: string) => ({
  ...ofCall(call),
  status,
  requestId: idOf(headers, said, secrets)
})
