/**
 * Records every exchange of an `HttpClient`: what was sent, when, as which attempt, how it ended, and whether its
 * socket is free again.
 *
 * Wraps any client: scripted, simulated, real. A socket is taken when a request starts and free again when the
 * request fails or is interrupted, when the body is read to its end, given up or interrupted, or when the scope of
 * `HttpClient.withScope` closes. A response whose body nobody reads keeps its socket: that is a leak, and
 * {@link Wiretap.open} shows it.
 *
 * **Details**
 *
 * The wire does not say which request repeats which, so attempts are inferred: a request equal to one that failed
 * (status outside 2xx, broken, interrupted) and was not yet repeated is its next attempt; any other is a new call. A
 * hedge, which repeats a request still in flight, counts as a call.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Stream from "effect/Stream"
import * as Hint from "../domain/Hint.ts"
import * as TransportCodes from "../domain/TransportCodes.ts"
import { textTable } from "./internal/textTable.ts"
import * as Sent from "./Sent.ts"

/** Holds one exchange: one attempt of a call. */
export interface Entry {
  /** Counts exchanges from 1, in the order in which they started. */
  readonly index: number
  /** Counts calls from 1. */
  readonly call: number
  /** Counts attempts of the call from 1. */
  readonly attempt: number
  /**
   * Names the limit the exchange counts against: its model, or its operation where it has none. No key of `Lanes`, which
   * holds the account and the pool too.
   */
  readonly lane: string
  readonly sent: Sent.Sent
  /** Epoch milliseconds, as all times here. */
  readonly startedAt: number
  readonly headersAt: number | undefined
  readonly endedAt: number | undefined
  readonly status: number | undefined
  /** Says how it broke: an error code, `interrupted`, or the first line of a defect. */
  readonly failure: string | undefined
  /** Holds the wait the answer asked for, in milliseconds. */
  readonly hintMillis: number | undefined
  /** Says where the exchange stands; all but `closed` hold a socket. */
  readonly state: "waiting" | "reading" | "closed"
}

/** Holds a recorded client and its record. */
export interface Wiretap {
  readonly client: HttpClient.HttpClient
  /** Lists all exchanges so far. */
  readonly entries: () => ReadonlyArray<Entry>
  /** Lists the exchanges that hold a socket now. */
  readonly open: () => ReadonlyArray<Entry>
}

type Mutable = { -readonly [K in keyof Entry]: Entry[K] }

const failed = (entry: Entry) =>
  entry.failure !== undefined || (entry.status !== undefined && (entry.status < 200 || entry.status > 299))

const nameFailure = <E>(cause: Cause.Cause<E>): string => {
  for (const reason of cause.reasons) {
    if (Cause.isFailReason(reason)) {
      const error: unknown = reason.error
      return HttpClientError.isHttpClientError(error)
        ? TransportCodes.deepest(error.reason.cause) ?? error.reason._tag
        : String(error)
    }
    if (Cause.isDieReason(reason)) return `defect: ${String(reason.defect).split("\n", 1)[0]}`
  }
  return "interrupted"
}

/** Records a client's exchanges from now on. */
export const make = (client: HttpClient.HttpClient): Wiretap => {
  const entries: Array<Mutable> = []
  const lastOfCall = new Map<string, Array<Mutable>>()
  let calls = 0

  const enter = (sent: Sent.Sent, startedAt: number): Mutable => {
    const key = JSON.stringify([sent.method, sent.path, sent.query, sent.text === "" ? sent.body : sent.text])
    // what ended well cannot be repeated: only exchanges in flight and failed ones are kept
    const same = (lastOfCall.get(key) ?? []).filter((entry) => entry.state !== "closed" || failed(entry))
    const index = same.findIndex((entry) => failed(entry))
    const previous = index < 0 ? undefined : same.splice(index, 1)[0]
    const entry: Mutable = {
      index: entries.length + 1,
      call: previous?.call ?? ++calls,
      attempt: (previous?.attempt ?? 0) + 1,
      lane: sent.model === "" ? sent.operation : sent.model,
      sent,
      startedAt,
      headersAt: undefined,
      endedAt: undefined,
      status: undefined,
      failure: undefined,
      hintMillis: undefined,
      state: "waiting"
    }
    lastOfCall.set(key, [...same, entry])
    entries.push(entry)
    return entry
  }

  const close = (entry: Mutable, now: number, failure?: string) => {
    if (entry.state === "closed") return
    entry.state = "closed"
    entry.endedAt = now
    if (failure !== undefined) entry.failure = failure
  }

  const tapBody = (
    response: HttpClientResponse.HttpClientResponse,
    entry: Mutable,
    clock: Clock.Clock
  ): HttpClientResponse.HttpClientResponse => {
    const onExit = (exit: Exit.Exit<unknown, unknown>) =>
      Effect.sync(() =>
        close(
          entry,
          clock.currentTimeMillisUnsafe(),
          Exit.isFailure(exit) ? nameFailure(exit.cause) : undefined
        )
      )
    const whole = (key: "arrayBuffer" | "text" | "json" | "formData" | "urlParamsBody") => ({
      // each of these is an effect over the same errors: what it yields does not matter here
      get: () => Effect.onExit(response[key] as Effect.Effect<unknown, HttpClientError.HttpClientError>, onExit)
    })
    // as Effect's own fetch client does: the original with its ways of reading watched
    return Object.create(response, {
      arrayBuffer: whole("arrayBuffer"),
      text: whole("text"),
      json: whole("json"),
      formData: whole("formData"),
      urlParamsBody: whole("urlParamsBody"),
      stream: { get: () => Stream.onExit(response.stream, onExit) }
    })
  }

  const tapped = HttpClient.make((request, url, signal) =>
    Effect.clockWith((clock) =>
      Effect.flatMap(Sent.make(request, url), (sent) => {
        const entry = enter(sent, clock.currentTimeMillisUnsafe())
        signal.addEventListener("abort", () => close(entry, clock.currentTimeMillisUnsafe()), { once: true })
        return client.execute(sent.request).pipe(
          // one span per exchange is enough: the outer client's
          Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
          Effect.onExit((exit) =>
            Effect.sync(() => {
              if (Exit.isFailure(exit)) return close(entry, clock.currentTimeMillisUnsafe(), nameFailure(exit.cause))
              entry.headersAt = clock.currentTimeMillisUnsafe()
              entry.status = exit.value.status
              const hint = failed(entry) ? Hint.fromHeaders(exit.value.headers, entry.headersAt) : undefined
              entry.hintMillis = hint === undefined ? undefined : Duration.toMillis(hint.wait)
              entry.state = "reading"
              if (entry.status === 204) close(entry, entry.headersAt)
            })
          ),
          Effect.map((response) => tapBody(response, entry, clock))
        )
      })
    )
  )

  return {
    client: tapped,
    entries: () => entries,
    open: () => entries.filter((entry) => entry.state !== "closed")
  }
}

const seconds = (millis: number) => `${(millis / 1000).toFixed(3)}s`

const outcome = (entry: Entry): string =>
  entry.status === undefined
    ? entry.failure ?? "no answer"
    : `${entry.status}${entry.failure === undefined ? "" : `, then ${entry.failure}`}${
      entry.state === "reading" ? ", body unread" : ""
    }${entry.hintMillis === undefined ? "" : `, asks to wait ${seconds(entry.hintMillis)}`}`

/** Prints exchanges as a table, one line each, times counted from the first. */
export const table = (entries: ReadonlyArray<Entry>): string => {
  if (entries.length === 0) return "no requests\n"
  const start = entries[0]!.startedAt
  return textTable(entries.map((entry) => [
    `#${entry.index}`,
    `call ${entry.call}`,
    `attempt ${entry.attempt}`,
    `at ${seconds(entry.startedAt - start)}`,
    entry.endedAt === undefined ? "open" : `took ${seconds(entry.endedAt - entry.startedAt)}`,
    Sent.describe(entry.sent),
    outcome(entry)
  ]))
}
