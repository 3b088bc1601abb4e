/**
 * Carries one attempt: one HTTP exchange with Together, its timeouts and its failures.
 *
 * It sends a request with the key and an explicit User-Agent, bounds every silence, reads the answer, and turns
 * whatever goes wrong into a `TogetherError`. It never retries, and it sends no trace headers to the provider.
 *
 * `Exchanger` reads whole answers, `Opener` hands streams over; `ClientSender` is the way to the `HttpClient` for both.
 *
 * | silence | phase | default |
 * | --- | --- | --- |
 * | until the headers | `headers` (`connect` where the transport tells) | 120 s, and what a form takes at 64 KiB/s |
 * | until the whole body; of a file, between two pieces | `body` | 120 s |
 * | of a stream, until its first token | `first-token` | 60 s |
 * | of a stream, between two events | `idle` | 30 s |
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import type * as HttpMethod from "effect/http/HttpMethod"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as TogetherError from "../../domain/TogetherError.ts"
import * as Address from "./Address.ts"
import * as Classify from "../error/Classify.ts"
import * as ClientSender from "./ClientSender.ts"
import * as Exchanger from "./Exchanger.ts"
import * as Json from "../Json.ts"
import * as Opener from "./Opener.ts"
import { promptsOf, promptsOfText, type Secrets } from "../redact/Redact.ts"
import * as SentHeaders from "./SentHeaders.ts"
import type * as Subject from "../error/Subject.ts"
import * as TransportFailure from "../error/TransportFailure.ts"
import * as Watchdog from "./Watchdog.ts"

/** Describes one exchange. */
export interface Exchange {
  readonly operation: string
  readonly model: string
  readonly method: HttpMethod.HttpMethod
  /** Path below the base URL, or an absolute URL on its host or on another of Together's. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined
  /** Sent as JSON. */
  readonly json?: unknown
  /** The text of `json`: `prepare` writes it, once for all attempts. */
  readonly body?: string | undefined
  /** Sent as multipart; excludes `json`. */
  readonly form?: FormData | undefined
  /**
   * Collects the texts of a form, which no error may quote; without it, an error quotes nothing of an answer about a
   * form.
   */
  readonly formTexts?: (() => Iterable<string>) | undefined
  /** Set where the answer is a file: it may take any time, as long as more of it keeps coming. */
  readonly file?: "bytes" | "text" | undefined
  /** Sees the headers of the answer, whatever its status. */
  readonly onHeaders?: ((headers: Readonly<Record<string, string | undefined>>) => void) | undefined
}

/** Holds a complete answer with a 2xx status. */
export interface Answered {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly text: string
  /** The body of a file that was asked for as bytes, whose `text` is empty. */
  readonly bytes?: Uint8Array | undefined
}

/** Bounds each silence of an attempt. */
export interface Timeouts {
  /**
   * Until the answer's headers. A generation that is not streamed sends them when it is done. Default: 120 s.
   *
   * **Details**: an upload may take longer by its size at 64 KiB/s.
   */
  readonly headers: Duration.Duration
  /** From the headers to the end of an answer that is not streamed; of a file, between two pieces. Default: 120 s. */
  readonly body: Duration.Duration
  /** Of a stream, from its headers to its first token. Default: 60 s. */
  readonly firstToken: Duration.Duration
  /** Of a stream, between two events; comments do not count. Default: 30 s. */
  readonly idle: Duration.Duration
}

/** Holds the defaults of this module. */
export const defaults: Timeouts & { readonly userAgent: string } = {
  headers: Duration.seconds(120),
  body: Duration.seconds(120),
  firstToken: Duration.seconds(60),
  idle: Duration.seconds(30),
  userAgent: "effect-together/0.1.0"
}

/** Configures a transport. */
export interface Options {
  readonly apiKey: Redacted.Redacted
  readonly baseUrl: string
  readonly timeouts: Timeouts
  readonly userAgent: string
  readonly headers: Readonly<Record<string, string>>
}

/** An answer with a 2xx status whose body is unread. */
export interface Opened extends Omit<Answered, "bytes" | "text"> {
  readonly response: HttpClientResponse.HttpClientResponse
  /** Ends with the scope that it was opened in, and frees the socket. */
  readonly scope: Scope.Scope
  /** Puts the end of `scope` off until this is done, while nobody waits for it. */
  readonly linger: (last: Effect.Effect<void>) => void
}

/** Carries attempts. */
export interface Transport {
  /**
   * Writes what an exchange sends, once for all its attempts, and refuses what cannot be sent.
   *
   * **Errors**: `InvalidRequestError` for a path that leads elsewhere, for a body that JSON cannot hold, and for a GET
   * or HEAD with a body, which Fetch does not carry. `exchange` and `open` refuse the same.
   */
  readonly prepare: (exchange: Exchange) => Result.Result<Exchange, TogetherError.InvalidRequestError>
  /** Makes one exchange and reads its whole answer. */
  readonly exchange: (exchange: Exchange) => Effect.Effect<Answered, TogetherError.TogetherError>
  /** Makes one exchange and hands its body over unread. */
  readonly open: (exchange: Exchange) => Effect.Effect<Opened, TogetherError.TogetherError, Scope.Scope>
  /** Turns a transport failure in the middle of a stream into an error: with no advice, or with that of the stream. */
  readonly streamFailure: (
    exchange: Exchange,
    error: unknown,
    head: Subject.Head,
    advice?: string
  ) => TogetherError.TogetherError
  /** Says what must not appear in errors about an exchange. Costly where it is used: for failures only. */
  readonly secrets: (exchange: Exchange) => Secrets
  readonly timeouts: Timeouts
  /** Below which paths are read. */
  readonly base: Address.Base
  /** Watches the silences of streams. */
  readonly watchdog: Watchdog.Watchdog
}

/** Makes a transport over the `HttpClient` of the context. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const client = yield* HttpClient.HttpClient
  const { timeouts } = options
  const base = Address.base(options.baseUrl)
  const apiKey = Redacted.value(options.apiKey)
  const sent = SentHeaders.make({ ...options, apiKey })

  const secrets = (exchange: Exchange): Secrets => ({
    apiKey,
    headers: sent.secrets,
    prompts: exchange.form !== undefined && exchange.formTexts === undefined ? "unknown" : () => textsOf(exchange)
  })

  const watchdog = Watchdog.make()
  const ownInit = Option.getOrUndefined(yield* Effect.serviceOption(FetchHttpClient.RequestInit))
  const execute = ClientSender.make({ client, ownInit, base, sent })

  const failureOf = (
    exchange: Exchange,
    error: unknown,
    head?: Subject.Head,
    advice?: string
  ): TogetherError.TogetherError =>
    TransportFailure.of(exchange, error, { baseUrl: options.baseUrl, secrets: () => secrets(exchange), head, advice })

  const refusal = (
    exchange: Exchange,
    { ours, redirects, url }: Exchanger.Target,
    { headers, status }: Subject.Head,
    body: string,
    nowMillis: number
  ): TogetherError.TogetherError => {
    const { model, operation } = exchange
    if (redirects === Address.maxRedirects && Address.redirect(url, status, headers["location"]) !== undefined) {
      const message = Classify.redirectedAgain(status, redirects)
      return new TogetherError.InvalidRequestError({ status, operation, message })
    }
    const answer = { status, headers, body, operation, model, nowMillis, secrets: secrets(exchange) }
    return ours ? Classify.fromAnswer(answer) : Classify.fromElsewhere(answer, url.host)
  }

  let lastPath: string | undefined
  let lastTarget: Exchanger.Target | undefined

  /** Calls go to few paths, mostly to the same as the one before. */
  const targetOf = (path: string): Exchanger.Target | undefined => {
    if (path !== lastPath) {
      const url = Address.resolve(base, path)
      lastTarget = url === undefined ? undefined : { url, ours: true, redirects: 0 }
      lastPath = path
    }
    return lastTarget
  }

  const prepare: Transport["prepare"] = (exchange) =>
    targetOf(exchange.path) === undefined ? Result.fail(TransportFailure.foreign(exchange)) : written(exchange)

  /** Begins an exchange that can be sent. */
  const sendable = <A, R>(
    exchange: Exchange,
    begin: (exchange: Exchange, target: Exchanger.Target) => Effect.Effect<A, TogetherError.TogetherError, R>
  ): Effect.Effect<A, TogetherError.TogetherError, R> =>
    Effect.suspend(() => {
      const target = targetOf(exchange.path)
      if (target === undefined) return Effect.fail(TransportFailure.foreign(exchange))
      const prepared = written(exchange)
      return Result.isFailure(prepared) ? Effect.fail(prepared.failure) : begin(prepared.success, target)
    })

  const exchangeWith = Exchanger.make({ client, execute, sent, timeouts, watchdog, failureOf, refusal })
  const openWith = Opener.make({ execute, timeouts, failureOf, refusal })

  return {
    prepare,
    exchange: (exchange) => sendable(exchange, exchangeWith),
    open: (exchange) => sendable(exchange, openWith),
    streamFailure: (exchange, error, head, advice = "") => failureOf(exchange, error, head, advice),
    secrets,
    timeouts,
    base,
    watchdog
  } satisfies Transport
})

/** Reads every text of an exchange: of its query, and of its body or form. */
function* textsOf({ body, formTexts, json, path, query }: Exchange): Generator<string> {
  const asked = path.indexOf("?")
  if (asked >= 0) yield* new URLSearchParams(path.slice(asked)).values()
  yield* promptsOf(query)
  if (formTexts !== undefined) yield* formTexts()
  // what was sent, if anything was: the object may hold something else, or else by now
  else yield* body === undefined ? promptsOf(json) : promptsOfText(body)
}

/** Writes the body of an exchange, if it is not written yet. */
const written = (exchange: Exchange): Result.Result<Exchange, TogetherError.InvalidRequestError> => {
  const { body, form, json, method } = exchange
  if (body !== undefined || (json === undefined && form === undefined)) return Result.succeed(exchange)
  if (Exchanger.reads(method)) return Result.fail(TransportFailure.readsWithBody(exchange, method))
  if (form !== undefined) return Result.succeed(exchange)
  const text = Json.stringify(json)
  return text === undefined
    ? Result.fail(TransportFailure.unwritable(exchange))
    : Result.succeed({ ...exchange, body: text })
}
