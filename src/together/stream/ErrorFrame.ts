/**
 * Tells a frame of an event stream that is an error from one that is a chunk or an event; the forms are those of `ErrorBody`.
 */
import * as Predicate from "effect/Predicate"
import type { Fields } from "../Json.ts"

/** Names what only says that the other side is there. */
export const signOfLife = /^(?:ping|keep[-_]?alive|heartbeat|status|info|progress|queued?|waiting)$/i

/** True for a number of an HTTP error, as a number or as text. */
const isErrorStatus = (code: unknown): boolean =>
  (typeof code === "number" || typeof code === "string") && Number(code) >= 400

/** True for a number of success, as a number or as text: some write it as 0. */
const isSuccess = (code: unknown): boolean =>
  (typeof code === "number" || typeof code === "string") &&
  (Number(code) === 0 || (Number(code) >= 100 && Number(code) < 400))

const isSaid = (kind: unknown): boolean => Predicate.isNotNullish(kind) && kind !== ""

/** Tells whether the kind of a bare message says that it is an error: every kind does but a known sign of life. */
const namesError = ({ code, error_type, type }: Fields): boolean => {
  const kind = [type, error_type, code].find(isSaid)
  if (typeof kind === "string" && signOfLife.test(kind)) return isErrorStatus(code)
  return kind !== undefined && !isSuccess(kind)
}

/** Tells whether a bare message or detail is an error. */
const isFlat = (frame: Fields): boolean =>
  typeof frame["message"] === "string" ? namesError(frame) : Predicate.isNotNullish(frame["detail"])

/** Tells an error from a chunk of a generation, which has choices. */
export const inChunks = (frame: Fields, name: string): boolean => {
  if (Boolean(frame["error"]) || frame["object"] === "error") return true
  return name === "message" && Predicate.isNullish(frame["choices"]) && isFlat(frame)
}

/** The fields of an error that has none under `error`. */
const flatFields: ReadonlySet<string> = new Set([
  "message",
  "detail",
  "type",
  "error_type",
  "code",
  "status",
  "param",
  "id",
  "request_id"
])

/** Words for what went wrong, in the kinds of errors. */
const faultWords = /error|fail|invalid|denied|limit|exceeded|unauthori[sz]ed|forbidden|not_?found|unavailable|timeout/i

/** Tells whether a first event is an error by itself: the events of an unknown endpoint may be messages with a type, too. */
const isFlatEvent = (frame: Fields): boolean => {
  const { code, data, error_type, errors, type, ...others } = frame
  if (Array.isArray(errors) && errors.length > 0 && data === null) return true
  if (!Object.keys(frame).every((field) => flatFields.has(field)) || !isFlat(frame)) return false
  return isSaid(code) || isSaid(error_type) || !isSaid(type) || faultWords.test(String(type)) || "param" in others
}

/** Tells an error from an event of any shape; one without an `error` is one where it comes `first`. */
export const inEvents = (frame: Fields, first: boolean): boolean =>
  Boolean(frame["error"]) || frame["type"] === "error" || frame["object"] === "error" || (first && isFlatEvent(frame))
