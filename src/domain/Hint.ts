/**
 * What a response's headers say about waiting and about limits.
 *
 * A wait hint is the first valid of `retry-after-ms`, `Retry-After` (seconds
 * with fractions, or one of the three HTTP dates) and `x-ratelimit-reset`
 * (seconds from now). A date is corrected by the response's own `Date`, so a
 * skewed clock on either side does not matter. Negative, empty, junk and past
 * values are no hint. Of a number that comes several times, joined by commas,
 * the longest wait counts, and of a date the first; `1,000` is neither.
 *
 * Limit headers come in four generations and none is promised; all that are
 * documented are read, none is required, and `remaining` may exceed `limit`.
 * `x-ratelimit-limit-tokens` is not: no page names it or its unit, and it has
 * stood on answers at 1000 beside limits of requests per second.
 *
 * **Source**: RFC 9110 sections 5.6.7 (dates) and 10.2.3 (Retry-After);
 * Together's rate limit page for the `x-` headers, which count per second.
 */
import * as Duration from "effect/Duration"

/** Names the header a wait came from. */
export type HintSource = "retry-after-ms" | "retry-after" | "x-ratelimit-reset"

/** Says how long the provider asked us to wait, and where it said so. */
export interface Hint {
  readonly wait: Duration.Duration
  readonly source: HintSource
}

/** Holds one generation of limits, in units per second. */
export interface Limits {
  readonly requestsPerSecond?: number | undefined
  readonly requestsRemaining?: number | undefined
  readonly tokensPerSecond?: number | undefined
  readonly tokensRemaining?: number | undefined
}

/** Holds what a response said about limits; a field that was not said is absent. */
export interface LimitHeaders extends Limits {
  /** `x-ratelimit-reset`: a suggested wait, not a window. */
  readonly resetSeconds?: number | undefined
  /** The `-dynamic` generation. */
  readonly dynamic?: Limits | undefined
}

/** A record of lower-case header names. */
export type Headers = Readonly<Record<string, string | undefined>>

/** Bounds a believable wait: a year. What is longer is a date or a mistake, not a wait. */
const longestWaitSeconds = 365 * 24 * 3600

/** A decimal number, of no more digits than a double prints: `Number` would also read junk of any length. */
const decimal = /^\d{1,15}(?:\.\d{1,40})?$/

const number = (text: string | undefined): number | undefined => {
  if (text === undefined) return undefined
  const trimmed = text.trim()
  return decimal.test(trimmed) ? Number(trimmed) : undefined
}

/** A number with commas as thousands separators, or waits that cannot be told from one. */
const grouped = /^\s*\d{1,3}(?:,\d{3})+(?:\.\d+)?\s*$/

/** Reads the longest of the waits in a header: one that came several times is joined by commas. */
const longest = (text: string | undefined): number | undefined => {
  if (text === undefined || grouped.test(text)) return undefined
  const waits = text.split(",").map(number)
  return waits.every((wait) => wait !== undefined) ? Math.max(...waits) : undefined
}

const months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
const day = "(?:mon|tue|wed|thu|fri|sat|sun)"
const imfFixdate = new RegExp(`^${day}, (\\d{2}) (\\w{3}) (\\d{4}) (\\d{2}):(\\d{2}):(\\d{2}) gmt$`)
const rfc850 = /^(?:mon|tues|wednes|thurs|fri|satur|sun)day, (\d{2})-(\w{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) gmt$/
const asctime = new RegExp(`^${day} (\\w{3}) ([ \\d]\\d) (\\d{2}):(\\d{2}):(\\d{2}) (\\d{4})$`)

const utc = (
  year: number,
  monthName: string | undefined,
  dayOfMonth: string | undefined,
  hour: string | undefined,
  minute: string | undefined,
  second: string | undefined
): number | undefined => {
  const month = months.indexOf(monthName ?? "")
  const [d, h, m, s] = [Number(dayOfMonth), Number(hour), Number(minute), Number(second)]
  if (month < 0 || d < 1 || d > 31 || h > 23 || m > 59 || s > 60) return undefined
  const millis = Date.UTC(year, month, d, h, m, s)
  return new Date(millis).getUTCMonth() === month || s === 60 ? millis : undefined
}

/**
 * Reads an HTTP date of any of the three forms, as epoch milliseconds.
 *
 * **Details**: a two-digit year that would lie more than 50 years after
 * `nowMillis` is taken from the century before.
 */
export const parseHttpDate = (text: string, nowMillis: number): number | undefined => {
  const input = text.trim().toLowerCase()
  const fixed = imfFixdate.exec(input)
  if (fixed) return utc(Number(fixed[3]), fixed[2], fixed[1], fixed[4], fixed[5], fixed[6])
  const asc = asctime.exec(input)
  if (asc) return utc(Number(asc[6]), asc[1], asc[2], asc[3], asc[4], asc[5])
  const old = rfc850.exec(input)
  if (!old) return undefined
  const thisYear = new Date(nowMillis).getUTCFullYear()
  const year = thisYear - (thisYear % 100) + Number(old[3])
  return utc(year > thisYear + 50 ? year - 100 : year, old[2], old[1], old[4], old[5], old[6])
}

/** Reads the date of a header; the first, where it came several times and is joined by commas. */
const dateOf = (text: string | undefined, nowMillis: number): number | undefined =>
  text === undefined ? undefined : parseHttpDate(text.replace(/(?<=gmt)\s*,.*/i, ""), nowMillis)

const seconds = (value: number | undefined, source: HintSource): Hint | undefined =>
  value === undefined || value > longestWaitSeconds
    ? undefined
    : { wait: Duration.millis(value * 1000), source }

const retryAfter = (headers: Headers, nowMillis: number): Hint | undefined => {
  const text = headers["retry-after"]
  if (text === undefined) return undefined
  const delta = longest(text)
  if (delta !== undefined) return seconds(delta, "retry-after")
  const at = dateOf(text, nowMillis)
  if (at === undefined) return undefined
  const wait = at - (dateOf(headers["date"], nowMillis) ?? nowMillis)
  return wait <= 0 ? undefined : seconds(wait / 1000, "retry-after")
}

/**
 * Reads the wait that a response asks for, or nothing.
 *
 * **Details**: a hint of zero is a hint ("now"); whoever waits still backs off.
 * On a success the same headers are advice on pacing only.
 *
 * @param nowMillis the client's clock, used only for a date where the response has no `Date` of its own
 */
export const fromHeaders = (headers: Headers, nowMillis: number): Hint | undefined => {
  const millis = longest(headers["retry-after-ms"])
  return (millis === undefined ? undefined : seconds(millis / 1000, "retry-after-ms")) ??
    retryAfter(headers, nowMillis) ??
    seconds(longest(headers["x-ratelimit-reset"]), "x-ratelimit-reset")
}

/** Names the headers of one generation. */
const generation = (suffix: "" | "-dynamic") => ({
  requestsLimit: `x-ratelimit-limit${suffix}`,
  requestsLeft: `x-ratelimit-remaining${suffix}`,
  tokensLimit: `x-tokenlimit-limit${suffix}`,
  tokensLeft: `x-tokenlimit-remaining${suffix}`
})

const plainHeaders = generation("")
const dynamicHeaders = generation("-dynamic")

const limits = (headers: Headers, names: ReturnType<typeof generation>): Limits | undefined => {
  const requestsPerSecond = number(headers[names.requestsLimit])
  const requestsRemaining = number(headers[names.requestsLeft])
  const tokensPerSecond = number(headers[names.tokensLimit])
  const tokensRemaining = number(headers[names.tokensLeft])
  return requestsPerSecond === undefined && requestsRemaining === undefined && tokensPerSecond === undefined &&
      tokensRemaining === undefined
    ? undefined
    : { requestsPerSecond, requestsRemaining, tokensPerSecond, tokensRemaining }
}

/** Reads what a response says about limits, or nothing where it says none of it. */
export const limitHeaders = (headers: Headers): LimitHeaders | undefined => {
  const plain = limits(headers, plainHeaders)
  const dynamic = limits(headers, dynamicHeaders)
  const resetSeconds = longest(headers["x-ratelimit-reset"])
  return plain === undefined && dynamic === undefined && resetSeconds === undefined
    ? undefined
    : { ...plain, resetSeconds, dynamic }
}
