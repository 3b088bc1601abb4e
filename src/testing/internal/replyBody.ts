/**
 * The shape of a reply, and answers of any provider: text, JSON, lines, events.
 *
 * The module is re-exported by `Reply`.
 */
import type * as Duration from "effect/Duration"
import * as Millis from "../../guard/Millis.ts"
import * as Argument from "./argument.ts"

/** Holds one piece of a body and the time before it. */
export interface Part {
  readonly data: string | Uint8Array
  readonly waitMillis: number
}

/** Holds an answer with a status. */
export interface Answer {
  readonly _tag: "Answer"
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  readonly parts: ReadonlyArray<Part>
  /** Says what follows the last part: the end, silence for ever, or a reset of the connection. */
  readonly end: "complete" | "stall" | "cut"
  /** Time before the headers. */
  readonly waitMillis: number
}

/** Stands for a provider that takes the request and never answers. */
export interface Hang {
  readonly _tag: "Hang"
}

/** Lists the ways in which a connection fails before an answer. */
export const brokenKinds = ["reset", "refused", "dns", "tls", "connect-timeout"] as const

/** Names the ways in which a connection fails before an answer. */
export type BrokenKind = typeof brokenKinds[number]

/** Stands for a connection that fails before an answer. */
export interface Broken {
  readonly _tag: "Broken"
  readonly kind: BrokenKind
  readonly waitMillis: number
}

/** Describes what the provider does with one request. */
export type Reply = Answer | Hang | Broken

/** Sets status and headers of an answer. */
export interface AnswerOptions {
  /** HTTP status. Default: 200. */
  readonly status?: number | undefined
  /** Headers beside the usual ones, which they replace. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** Writes header names in lower case. */
export const lower = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

const answer = (
  parts: ReadonlyArray<Part>,
  contentType: string | undefined,
  options: AnswerOptions | undefined
): Answer => ({
  _tag: "Answer",
  status: Argument.status("Reply", options?.status ?? 200),
  headers: {
    ...(contentType === undefined ? undefined : { "content-type": contentType }),
    ...lower(options?.headers ?? {})
  },
  parts,
  end: "complete",
  waitMillis: 0
})

/** Answers with any text or bytes. */
export const raw = (
  data: string | Uint8Array,
  options?: AnswerOptions & { readonly contentType?: string | undefined }
): Answer => answer(data.length === 0 ? [] : [{ data, waitMillis: 0 }], options?.contentType, options)

/** Answers with JSON. */
export const json = (body: unknown, options?: AnswerOptions): Answer =>
  answer([{ data: JSON.stringify(body) ?? "null", waitMillis: 0 }], "application/json", options)

/** Answers with a status and nothing else. */
export const empty = (status = 200, headers?: Readonly<Record<string, string>>): Answer =>
  answer([], undefined, { status, headers })

/** Answers with JSON lines: the content of a result file. */
export const jsonl = (rows: ReadonlyArray<unknown>, options?: AnswerOptions): Answer =>
  raw(rows.map((row) => `${JSON.stringify(row)}\n`).join(""), { ...options, contentType: "application/jsonl" })

/** Writes an event. */
export const eventText = (data: string): string => `data: ${data}\n\n`

/** Answers with events: each string or value is the data of one. */
export const events = (
  data: ReadonlyArray<unknown>,
  options?: AnswerOptions & { readonly every?: Duration.Input | undefined }
): Answer => {
  const waitMillis = Millis.notNegative("Reply.events: every", options?.every ?? 0)
  return answer(
    data.map((item, index) => ({
      data: eventText(typeof item === "string" ? item : JSON.stringify(item)),
      waitMillis: index === 0 ? 0 : waitMillis
    })),
    "text/event-stream;charset=utf-8",
    options
  )
}
