/**
 * Reads the headers of an answer that another client received, in whatever form that client holds them.
 */
import * as Result from "effect/Result"
import type { Headers } from "./Hint.ts"

/**
 * Stands in for a clock. A date in `Retry-After` is read against the answer's own `Date`; if there is none, the date
 * is earlier than this moment, and so it is no hint.
 */
export const noClock = Date.UTC(9999, 11, 31)

/**
 * Reads a `Headers`, a list of pairs, or a record, into a record of lower-case names.
 *
 * **Details**: a header that comes several times is joined by commas. Never throws: if a read does, what was read
 * before counts.
 */
export const read = (headers: unknown): Headers => {
  const all: Record<string, string | undefined> = {}
  const add = (value: unknown, name: unknown): void => {
    if (value === undefined || value === null) return
    if (Array.isArray(value)) return value.forEach((one) => add(one, name))
    const key = String(name).toLowerCase()
    all[key] = all[key] === undefined ? String(value) : `${all[key]}, ${String(value)}`
  }
  Result.try(() => {
    if (typeof headers !== "object" || headers === null) return
    if (Array.isArray(headers)) { for (const [name, value] of headers) add(value, name) }
    // not `instanceof`: an SDK may bring a `Headers` of its own
    else if ("forEach" in headers && typeof headers.forEach === "function") headers.forEach(add)
    else Object.entries(headers).forEach(([name, value]) => add(value, name))
  })
  return all
}
