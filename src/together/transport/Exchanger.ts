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

/** Hears what comes back, through the client too. */
interface Listener extends Shortcut.Receiver {
  /** Hears that more of a file has come. */
  onPiece(): void
  onBytes(bytes: Uint8Array): void
  onCause(cause: Cause.Cause<never>): void
}

/** Begins an exchange that reports to a listener; what it returns gives the exchange up. */
type Start = (listener: Listener, fiber: Fiber.Fiber<unknown, unknown>) => Effect.Effect<void>

/** Sends past the client: callbacks, and nothing in between. */
const short = (
  shortcut: Shortcut.Shortcut,
  sent: SentHeaders.SentHeaders,
  { body, method }: Exchange,
  { ours, url }: Target
): Start =>
(listener, fiber) => {
  const headers = body !== undefined ? sent.json : ours ? sent.plain : sent.bare
  return Effect.sync(shortcut({ method, url, ours, headers, body }, listener, fiber.context))
}

/** Sends through the client, in a fiber of its own that can be given up. */
const long = (execute: Options["execute"], exchange: Exchange, target: Target): Start => (listener, fiber) => {
  // A scope, so that an interruption or a failure between the headers and the end of the body frees the socket.
  // After a whole body nothing is open, and aborting it all the same would cost a tenth of the call.
  const scope = Scope.makeUnsafe()
  const body = Effect.flatMap(execute(exchange, target), (response): Effect.Effect<
    string | Uint8Array,
    HttpClientError.HttpClientError | RangeError
  > => {
    listener.onHeaders(response.status, response.headers)
    return exchange.file === undefined ? response.text : fileOf[exchange.file](response, () => listener.onPiece())
  })
  const child = Effect.runForkWith(fiber.context)(
    Effect.onExit(
      Scope.provide(body, scope),
      (exit) => Exit.isSuccess(exit) ? Effect.void : Scope.close(scope, exit)
    )
  )
  child.addObserver((exit) => {
    if (Exit.isSuccess(exit)) {
      return typeof exit.value === "string" ? listener.onText(exit.value) : listener.onBytes(exit.value)
    }
    const error = Cause.findError(exit.cause)
    if (Result.isSuccess(error)) listener.onFailure(error.success)
    else listener.onCause(error.failure)
  })
  return Fiber.interrupt(child)
}

type End = Effect.Effect<Answered, TogetherError.TogetherError>

/** What is known of an answer before its headers. */
const unseen: Subject.Head = { status: 0, headers: {} }

/** One exchange on its way: both of its silences are bounded, and its first end counts. */
class UnderWay implements Listener {
  readonly #options: Options
  readonly #exchange: Exchange
  readonly #target: Target
  readonly #clock: Clock.Clock
  readonly #follow: Exchanger
  readonly #resume: (end: End) => void
  #phase: "headers" | "body" | "over" = "headers"
  #head = unseen
  #wait: Watchdog.Wait | undefined
  #giveUp: Effect.Effect<void> = Effect.void

  constructor(
    options: Options,
    exchange: Exchange,
    target: Target,
    clock: Clock.Clock,
    follow: Exchanger,
    resume: (end: End) => void
  ) {
    this.#options = options
    this.#exchange = exchange
    this.#target = target
    this.#clock = clock
    this.#follow = follow
    this.#resume = resume
  }

  /** Begins; what it returns gives the exchange up. */
  begin(start: Start, fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<void> {
    this.#giveUp = start(this, fiber)
    if (this.#phase !== "over") {
      this.#wait = this.#options.watchdog.watch(fiber, this.#silentUntil(), () => this.#timedOut())
    }
    return Effect.suspend(() => {
      this.#close()
      return this.#giveUp
    })
  }

  onHeaders(status: number, headers: Subject.Head["headers"]): void {
    if (this.#phase !== "headers") return
    this.#phase = "body"
    this.#head = { status, headers }
    this.#wait?.move(this.#silentUntil())
    // a host that is not ours says nothing of our limits
    if (this.#target.ours) this.#exchange.onHeaders?.(headers)
    const next = redirectOf(this.#exchange, this.#target, this.#head)
    if (next === undefined) return
    // nobody reads the body of a redirect
    this.#end(
      Effect.suspend(() => Effect.andThen(this.#giveUp, this.#follow({ ...this.#exchange, query: undefined }, next)))
    )
  }

  onPiece(): void {
    // a refusal is no file, and has its time as a whole
    if (isOk(this.#head)) this.#wait?.move(this.#silentUntil())
  }

  onText(text: string): void {
    const { headers, status } = this.#head
    this.#end(isOk(this.#head) ? Effect.succeed({ status, headers, text }) : this.#refused(text))
  }

  onBytes(bytes: Uint8Array): void {
    const { headers, status } = this.#head
    this.#end(
      isOk(this.#head)
        ? Effect.succeed({ status, headers, text: "", bytes })
        : this.#refused(new TextDecoder().decode(bytes.subarray(0, longestRefusal)))
    )
  }

  onFailure(cause: unknown): void {
    this.#end(this.#failed((head) => this.#options.failureOf(this.#exchange, cause, head)))
  }

  onCause(cause: Cause.Cause<never>): void {
    this.#end(Effect.failCause(cause))
  }

  /** Reads the moment, in the watchdog's time, up to which silence is borne from now on. */
  #silentUntil(): number {
    const { timeouts } = this.#options
    const millis = this.#phase === "headers"
      ? headersMillis(this.#exchange, timeouts)
      : Duration.toMillis(timeouts.body)
    return Watchdog.now(this.#clock) + millis
  }

  #timedOut(): void {
    const { timeouts } = this.#options
    const result = this.#failed((head) =>
      head === undefined
        ? TransportFailure.timedOut(this.#exchange, "headers", Duration.millis(headersMillis(this.#exchange, timeouts)))
        : TransportFailure.timedOut(this.#exchange, "body", timeouts.body, head)
    )
    // ended before the exchange is given up, since giving up may be reported as a failure, which then comes too late
    this.#end(Effect.andThen(this.#giveUp, result))
  }

  /** A refusal by its status is a refusal, whatever happens to its body. */
  #failed(error: (head: Subject.Head | undefined) => TogetherError.TogetherError): End {
    if (this.#phase !== "body") return Effect.fail(error(undefined))
    return isOk(this.#head) ? Effect.fail(error(this.#head)) : this.#refused("")
  }

  #refused(text: string): End {
    const now = this.#clock.currentTimeMillisUnsafe()
    return Effect.fail(this.#options.refusal(this.#exchange, this.#target, this.#head, text, now))
  }

  #end(end: End): void {
    if (this.#phase === "over") return
    this.#close()
    this.#resume(end)
  }

  #close(): void {
    this.#phase = "over"
    this.#wait?.release()
  }
}

/** Makes what exchanges requests for their answers. */
export const make = (options: Options): Exchanger => {
  const { client, execute, sent } = options
  const shortcut = Shortcut.of(client)

  const exchangeWith: Exchanger = (exchange, target) => {
    const { file, form, query } = exchange
    const start = shortcut === undefined || query !== undefined || form !== undefined || file !== undefined
      ? long(execute, exchange, target)
      : short(shortcut, sent, exchange, target)
    return Effect.withFiber((fiber) =>
      Effect.callback((resume) =>
        new UnderWay(options, exchange, target, fiber.getRef(Clock.Clock), exchangeWith, resume).begin(start, fiber)
      )
    )
  }

  return exchangeWith
}

/** Bounds the time until the headers, in which an upload comes first. */
export const headersMillis = ({ form }: Exchange, { headers }: Timeouts): number =>
  Duration.toMillis(headers) + (form === undefined ? 0 : uploadMillis(form))

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
