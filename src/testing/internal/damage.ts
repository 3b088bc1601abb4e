/**
 * Spoils a response: its headers, its bytes, the events of its stream.
 *
 * Every change builds a new response around the old one, so that reading the new one reads, and frees, the old one.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Stream from "effect/Stream"
import * as Hint from "../../domain/Hint.ts"
import * as Reply from "../Reply.ts"
import { readOnce } from "./readOnce.ts"

type Response = HttpClientResponse.HttpClientResponse
type Body = Stream.Stream<Uint8Array, HttpClientError.HttpClientError | Error>

/** Says what follows the bytes that are kept. */
export type End = "stall" | "cut" | "end"

/** Replaces headers and body. */
export const rebuild = (response: Response, headers: Headers.Headers, body: Body): Response =>
  HttpServerResponse.toClientResponse(
    HttpServerResponse.stream(readOnce(body), { status: response.status, headers, cookies: response.cookies }),
    { request: response.request }
  )

const overBody = (change: (body: Body) => Body) => (response: Response): Response =>
  // what is spoiled no longer has the length it was said to have
  rebuild(response, Headers.remove(response.headers, "content-length"), change(response.stream))

const ending: Readonly<Record<End, Body>> = {
  stall: Stream.never,
  cut: Stream.failSync(Reply.cutError),
  end: Stream.empty
}

/**
 * Opens a body and closes it again, so that what nobody will read is given up by whoever sends it.
 *
 * A body that was never opened holds its socket, or its place at a simulated provider, for ever.
 */
export const freed = (body: Body): Effect.Effect<void> => Effect.asVoid(Effect.scoped(Stream.toPull(body)))

/** Delays a response; whoever leaves meanwhile gives it up. */
export const late = (wait: Duration.Duration) => (response: Response): Effect.Effect<Response> =>
  Effect.as(Effect.onInterrupt(Effect.sleep(wait), () => freed(response.stream)), response)

/** Replaces a header. */
export const withHeader = (name: string, value: string) => (response: Response): Response =>
  rebuild(response, Headers.set(response.headers, name, value), response.stream)

/** Shifts the provider's clock. */
export const skew = (response: Response, nowMillis: number, byMillis: number): Response => {
  const shifted = (text: string | undefined): string | undefined => {
    const at = text === undefined ? undefined : Hint.parseHttpDate(text, nowMillis)
    return at === undefined ? undefined : new Date(at + byMillis).toUTCString()
  }
  const date = shifted(response.headers["date"]) ?? new Date(nowMillis + byMillis).toUTCString()
  const retryAfter = shifted(response.headers["retry-after"])
  const headers = Headers.set(response.headers, "date", date)
  return rebuild(
    response,
    retryAfter === undefined ? headers : Headers.set(headers, "retry-after", retryAfter),
    response.stream
  )
}

/** Delays every chunk. */
export const slowly = (millis: number) =>
  overBody((body) => body.pipe(Stream.rechunk(1), Stream.tap(() => Effect.sleep(Duration.millis(millis)))))

/** Keeps so many bytes. */
export const afterBytes = (limit: number, end: End) =>
  overBody((body) =>
    Stream.concat(
      limit === 0 ? Stream.fromEffectDrain(freed(body)) : body.pipe(
        Stream.rechunk(1),
        Stream.mapAccum(() => limit, (left, chunk: Uint8Array) => {
          const kept = chunk.subarray(0, left)
          return [left - kept.length, [{ kept, full: left <= kept.length }]]
        }),
        Stream.takeUntil(({ full }) => full),
        Stream.map(({ kept }) => kept)
      ),
      ending[end]
    )
  )

/** Cuts the body into pieces of so many bytes. */
export const chop = (size: number) =>
  overBody((body) =>
    Stream.flatMap(body, (chunk) =>
      Stream.fromIterable(
        Array.from({ length: Math.ceil(chunk.length / size) }, (_, i) => chunk.subarray(i * size, (i + 1) * size))
      ).pipe(Stream.rechunk(1)))
  )

/** Says what to do with the events of a stream. */
export interface EventChange {
  /** Counts from 1. */
  readonly at?: number
  readonly replace?: (event: string) => ReadonlyArray<string>
  /** Swaps event `at` with the next. */
  readonly swap?: boolean
  /** Keeps so many events, then `end`. */
  readonly keep?: number
  readonly end?: End
}

const boundary = /\r\n\r\n|\n\n|\r\r/

/** Splits text into events, each with its blank line; what follows the last one is an event of its own. */
const splitEvents = <E>(body: Stream.Stream<Uint8Array, E>): Stream.Stream<string, E> =>
  Stream.decodeText(body).pipe(
    Stream.rechunk(1),
    Stream.mapAccum(() => "", (rest, piece: string) => {
      let text = rest + piece
      const events: Array<string> = []
      for (let found = boundary.exec(text); found !== null; found = boundary.exec(text)) {
        const end = found.index + found[0].length
        events.push(text.slice(0, end))
        text = text.slice(end)
      }
      return [text, events]
    }, { onHalt: (rest) => rest === "" ? [] : [rest] })
  )

/** Changes the events of a stream. */
export const overEvents = (change: EventChange) =>
  overBody((body) => {
    const { at, replace, swap } = change
    const events = splitEvents(body)
    const kept = change.keep === 0
      ? Stream.fromEffectDrain(freed(body))
      : change.keep === undefined
      ? events
      : Stream.take(events, change.keep)
    const changed = at === undefined ? kept : kept.pipe(
      Stream.rechunk(1),
      Stream.mapAccum(
        (): { readonly seen: number; readonly held: ReadonlyArray<string> } => ({ seen: 0, held: [] }),
        ({ held, seen }, event: string) => {
          const index = seen + 1
          if (index !== at) return [{ seen: index, held: [] }, [event, ...held]]
          return swap === true
            ? [{ seen: index, held: [event] }, []]
            : [{ seen: index, held: [] }, replace === undefined ? [event] : replace(event)]
        },
        { onHalt: ({ held }) => held }
      )
    )
    const out: Body = Stream.map(Stream.rechunk(changed, 1), Reply.bytes)
    return change.end === undefined ? out : Stream.concat(out, ending[change.end])
  })
