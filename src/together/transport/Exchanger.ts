/**
 * Exchanges one request for one whole answer: past the client where that is possible, else through it.
 *
 * Both silences are bounded, until the headers and until the whole body. A redirect of a reading request is followed here,
 * over every client alike.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as HttpMethod from "effect/http/HttpMethod"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as TogetherError from "../../domain/TogetherError.ts"
import * as Address from "./Address.ts"
import type * as SentHeaders from "./SentHeaders.ts"
import * as Shortcut from "./Shortcut.ts"
import type * as Subject from "../error/Subject.ts"
import type { Answered, Exchange, Timeouts } from "./Transport.ts"
import * as TransportFailure from "../error/TransportFailure.ts"
import * as Watchdog from "./Watchdog.ts"

/** Says where an exchange goes, and whether the key and the caller's headers go along. */
export interface Target {
  readonly url: URL
  readonly ours: boolean
  /** Redirects that led here. */
  readonly redirects: number
}

/** Tells whether an answer is a success and not a refusal. */
export const isOk = (head: Pick<Subject.Head, "status">): boolean => head.status >= 200 && head.status <= 299

/** Tells whether a method only reads. */
export const reads = (method: HttpMethod.HttpMethod): boolean => method === "GET" || method === "HEAD"

/** Holds what exchanges are made with. */
export interface Options {
  readonly client: HttpClient.HttpClient
  /** Sends through the client; an answer is one whatever its status. */
  readonly execute: (
    exchange: Exchange,
    target: Target
  ) => Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError, Scope.Scope>
  readonly sent: SentHeaders.SentHeaders
  readonly timeouts: Timeouts
  readonly watchdog: Watchdog.Watchdog
  /** Builds the error of what the transport failed with; `head` of an answer whose body failed. */
  readonly failureOf: (
    exchange: Exchange,
    error: unknown,
    head: Subject.Head | undefined
  ) => TogetherError.TogetherError
  /** Builds the error of an answer outside 2xx. */
  readonly refusal: (
    exchange: Exchange,
    target: Target,
    head: Subject.Head,
    body: string,
    nowMillis: number
  ) => TogetherError.TogetherError
}

/** Exchanges a request for its answer. */
export type Exchanger = (exchange: Exchange, target: Target) => Effect.Effect<Answered, TogetherError.TogetherError>

/** Begins an exchange that reports to a receiver; what it returns gives the exchange up. */
type Start = (
  receiver: Shortcut.Receiver & {
    /** Hears that more of a file has come. */
    readonly onPiece: () => void
    readonly onBytes: (bytes: Uint8Array) => void
    readonly onCause: (cause: Cause.Cause<never>) => void
  },
  fiber: Fiber.Fiber<unknown, unknown>
) => Effect.Effect<void>

/** Sends past the client: callbacks, and nothing in between. */
const short = (
  shortcut: Shortcut.Shortcut,
  sent: SentHeaders.SentHeaders,
  { body, method }: Exchange,
  { ours, url }: Target
): Start =>
(receiver, fiber) => {
  const headers = body !== undefined ? sent.json : ours ? sent.plain : sent.bare
  return Effect.sync(shortcut({ method, url, ours, headers, body }, receiver, fiber.context))
}

/** Sends through the client, in a fiber of its own that can be given up. */
const long = (execute: Options["execute"], exchange: Exchange, target: Target): Start => (receiver, fiber) => {
  // A scope, so that an interruption or a failure between the headers and the end of the body frees the socket.
  // After a whole body nothing is open, and aborting it all the same would cost a tenth of the call.
  const scope = Scope.makeUnsafe()
  const body = Effect.flatMap(execute(exchange, target), (response): Effect.Effect<
    string | Uint8Array,
    HttpClientError.HttpClientError | RangeError
  > => {
    receiver.onHeaders(response.status, response.headers)
    return exchange.file === undefined ? response.text : fileOf[exchange.file](response, receiver.onPiece)
  })
  const child = Effect.runForkWith(fiber.context)(
    Effect.onExit(
      Scope.provide(body, scope),
      (exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)
    )
  )
  child.addObserver((exit) => {
    if (Exit.isSuccess(exit)) {
      return typeof exit.value === "string" ? receiver.onText(exit.value) : receiver.onBytes(exit.value)
    }
    const error = Cause.findError(exit.cause)
    if (Result.isSuccess(error)) receiver.onFailure(error.success)
    else receiver.onCause(error.failure)
  })
  return Fiber.interrupt(child)
}

/** Makes what exchanges requests for their answers. */
export const make = ({ client, execute, failureOf, refusal, sent, timeouts, watchdog }: Options): Exchanger => {
  const bodyMillis = Duration.toMillis(timeouts.body)
  const shortcut = Shortcut.of(client)

  /** Bounds both silences of an exchange, and reads how it ended. */
  const bounded = (exchange: Exchange, target: Target, start: Start) =>
    Effect.withFiber<Answered, TogetherError.TogetherError>((fiber) =>
      Effect.callback((resume) => {
        const clock = fiber.getRef(Clock.Clock)
        const now = () => Watchdog.now(clock)
        const seen: Seen = { phase: "headers", status: 0, headers: {} }
        let wait: Watchdog.Wait | undefined
        const end = (result: Effect.Effect<Answered, TogetherError.TogetherError>) => {
          if (seen.phase === "over") return
          seen.phase = "over"
          wait?.release()
          resume(result)
        }
        const refused = (text: string) =>
          Effect.fail(refusal(exchange, target, seen, text, clock.currentTimeMillisUnsafe()))
        /** A refusal by its status is a refusal, whatever happens to its body. */
        const failed = (error: (head: Subject.Head | undefined) => TogetherError.TogetherError) => {
          if (seen.phase !== "body") return Effect.fail(error(undefined))
          return isOk(seen) ? Effect.fail(error(seen)) : refused("")
        }
        const limit = headersMillis(exchange, timeouts)
        const giveUp = start({
          onHeaders: (status, headers) => {
            if (seen.phase !== "headers") return
            seen.phase = "body"
            seen.status = status
            seen.headers = headers
            wait?.move(now() + bodyMillis)
            // a host that is not ours says nothing of our limits
            if (target.ours) exchange.onHeaders?.(headers)
            const next = redirectOf(exchange, target, seen)
            // nobody reads the body of a redirect
            if (next !== undefined) {
              end(Effect.suspend(() => Effect.andThen(giveUp, exchangeWith({ ...exchange, query: undefined }, next))))
            }
          },
          // a refusal is no file, and has its time as a whole
          onPiece: () => isOk(seen) && wait?.move(now() + bodyMillis),
          onText: (text) => {
            const { headers, status } = seen
            end(isOk(seen) ? Effect.succeed({ status, headers, text }) : refused(text))
          },
          onBytes: (bytes) => {
            const { headers, status } = seen
            const text = () => new TextDecoder().decode(bytes.subarray(0, longestRefusal))
            end(isOk(seen) ? Effect.succeed({ status, headers, text: "", bytes }) : refused(text()))
          },
          onFailure: (cause) => end(failed((head) => failureOf(exchange, cause, head))),
          onCause: (cause) => end(Effect.failCause(cause))
        }, fiber)
        if (seen.phase !== "over") {
          wait = watchdog.watch(fiber, now() + (seen.phase === "headers" ? limit : bodyMillis), () => {
            const result = failed((head) =>
              head === undefined
                ? TransportFailure.timedOut(exchange, "headers", Duration.millis(limit))
                : TransportFailure.timedOut(exchange, "body", timeouts.body, head)
            )
            // ended before the exchange is given up, since giving up may be reported as a failure, which then comes too
            // late
            end(Effect.andThen(giveUp, result))
          })
        }
        return Effect.suspend(() => {
          seen.phase = "over"
          wait?.release()
          return giveUp
        })
      })
    )

  const exchangeWith: Exchanger = (exchange, target) => {
    const { file, form, query } = exchange
    return bounded(
      exchange,
      target,
      shortcut === undefined || query !== undefined || form !== undefined || file !== undefined
        ? long(execute, exchange, target)
        : short(shortcut, sent, exchange, target)
    )
  }

  return exchangeWith
}

/** Bounds the time until the headers, in which an upload comes first. */
export const headersMillis = ({ form }: Exchange, { headers }: Timeouts): number =>
  Duration.toMillis(headers) + (form === undefined ? 0 : uploadMillis(form))

interface Seen {
  phase: "headers" | "body" | "over"
  status: number
  headers: Subject.Head["headers"]
}

/** Follows the redirects of a reading request; once the host is a foreign one, without the key. */
export const redirectOf = (
  exchange: Exchange,
  { ours, redirects, url }: Target,
  { headers, status }: Subject.Head
): Target | undefined => {
  if (!reads(exchange.method) || redirects === Address.maxRedirects) return undefined
  const next = Address.redirect(url, status, headers["location"])
  return next === undefined
    ? undefined
    : { url: next, ours: ours && Address.isOurs(url, next), redirects: redirects + 1 }
}

/** Bytes of a refusal that are read where the answer would have been bytes: an error is a few sentences. */
const longestRefusal = 1024 * 1024

/** Bytes per second: the slowest line on which an upload is waited for. */
const slowestUpload = 64 * 1024

const uploadMillis = (form: FormData): number => {
  let bytes = 0
  form.forEach((value) => {
    bytes += typeof value === "string" ? value.length : value.size
  })
  return Math.ceil(bytes / slowestUpload) * 1000
}

/** Reads the body of an answer that is refused: empty where it breaks or does not come in time. */
export const refusedText = (
  response: HttpClientResponse.HttpClientResponse,
  limit: Duration.Duration
): Effect.Effect<string> =>
  Effect.timeoutOrElse(Effect.orElseSucceed(response.text, () => ""), {
    duration: limit,
    orElse: () => Effect.succeed("")
  })

/** The body of a file; without a body it is empty. */
export const piecesOf = (response: HttpClientResponse.HttpClientResponse) =>
  Stream.catch(
    response.stream,
    (error) => error.reason._tag === "EmptyBodyError" ? Stream.empty : Stream.fail(error)
  )

/** The body of a file, of which every piece is heard. */
const heard = (response: HttpClientResponse.HttpClientResponse, onPiece: () => void) =>
  Stream.tap(piecesOf(response), () => Effect.sync(onPiece))

const fileOf = {
  text: (response: HttpClientResponse.HttpClientResponse, onPiece: () => void) =>
    Stream.mkString(Stream.decodeText(heard(response, onPiece))).pipe(
      // the engine throws where a text gets too long for it
      Effect.catchDefect((defect) => defect instanceof RangeError ? Effect.fail(defect) : Effect.die(defect))
    ),
  bytes: (response: HttpClientResponse.HttpClientResponse, onPiece: () => void) =>
    Stream.mkUint8Array(heard(response, onPiece))
}
