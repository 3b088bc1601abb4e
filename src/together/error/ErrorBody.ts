/**
 * What an error answer says, whatever form its body takes.
 *
 * Together's error bodies come nested (`{"error":{"message",…}}`), flat
 * (`{"message"}`, `{"detail"}`, `{"code","message"}`), as a bare string under
 * `error`, as a list under `errors` or `error` or by itself, as a JSON string,
 * empty, or as an HTML or text page of the edge in front of it. Each is read
 * into the same fields.
 */
import * as Json from "../Json.ts"
import type { Fields } from "../Json.ts"

/** Holds what could be read from an error body. */
export interface ErrorBody {
  /** The provider's sentence, or the title of its page; absent where it said nothing. */
  readonly message?: string | undefined
  /** Every `type`, `error_type` and `code` found, lower case. */
  readonly kinds: ReadonlyArray<string>
  /** The HTTP status of an error that the body names by number, under `status` or `code`: 400 to 599. */
  readonly status?: number | undefined
  readonly param?: string | undefined
  /** The field that is blamed: `param`, or where the `loc` of a detail leads within the body. */
  readonly field?: string | undefined
  readonly requestId?: string | undefined
  /** True for a page instead of an API answer. */
  readonly page: boolean
}

const string = (u: unknown): string | undefined => {
  if (typeof u !== "string") return undefined
  const trimmed = u.trim()
  return trimmed === "" ? undefined : trimmed
}

/** The first item of a list, or a value that is not a list. */
const one = (u: unknown): unknown => Array.isArray(u) ? u[0] : u

const messageOf = (object: Fields): string | undefined => {
  const detail = one(object["detail"])
  const nested = Json.fieldsOf(detail)
  return string(object["message"]) ?? string(detail) ?? string(nested["msg"]) ?? string(nested["message"]) ??
    string(object["error_message"])
}

const kindsOf = (object: Fields): ReadonlyArray<string> =>
  ["type", "error_type", "code"].flatMap((key) => string(object[key])?.toLowerCase() ?? [])

const statusOf = ({ code, status }: Fields): number | undefined =>
  [status, code]
    .map((u) => typeof u === "number" || typeof u === "string" ? Number(u) : NaN)
    .find((status) => Number.isInteger(status) && status >= 400 && status <= 599)

/** Reads where a detail leads, without the part of the request that it begins with. */
const locationOf = (object: Fields): string | undefined => {
  const { loc } = Json.fieldsOf(one(object["detail"]))
  const path = Array.isArray(loc) ? loc : []
  const isPath = path.every((part) => typeof part === "string" || Number.isInteger(part))
  return isPath ? string((path[0] === "body" ? path.slice(1) : path).join(".")) : undefined
}

const fromJson = (value: unknown): ErrorBody => {
  const only = one(value)
  const top = Json.fieldsOf(only)
  const error = one(top["error"])
  const nested = Json.fieldsOf(error)
  const listed = one(top["errors"])
  const param = string(nested["param"]) ?? string(top["param"])
  return {
    message: string(only) ?? messageOf(nested) ?? string(error) ?? messageOf(top) ?? string(listed) ??
      messageOf(Json.fieldsOf(listed)),
    kinds: [...kindsOf(nested), ...kindsOf(top)],
    status: statusOf(nested) ?? statusOf(top),
    param,
    field: param ?? locationOf(nested) ?? locationOf(top),
    requestId: string(top["request_id"]) ?? string(top["id"]) ?? string(nested["request_id"]),
    page: false
  }
}

/** Bounds how far into a page its title is looked for, in characters. */
const head = 65_536

const fromPage = (text: string): ErrorBody => {
  const start = text.slice(0, head)
  const title = /<title[^<>]*>([^<]*)<\/title>/i.exec(start)?.[1] ?? /<h1[^<>]*>([^<]*)<\/h1>/i.exec(start)?.[1]
  return { message: string(title?.replace(/\s+/g, " ")), kinds: [], page: true }
}

/** Reads an error body of any form. Never throws. */
export const parse = (text: string): ErrorBody => {
  const trimmed = text.trim()
  if (trimmed === "") return { kinds: [], page: false }
  const json = Json.parse(trimmed)
  if (json !== undefined) return fromJson(json)
  if (trimmed.startsWith("<")) return fromPage(trimmed)
  return { message: trimmed.slice(0, 500), kinds: [], page: /error code: 1\d{3}/i.test(trimmed) }
}
