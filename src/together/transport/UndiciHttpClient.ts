/**
 * An `HttpClient` over an Undici dispatcher: the fastest way to send from Node.
 *
 * Bring the dispatcher; this module needs no package besides `effect`. It is
 * any `Agent`, `Pool`, `ProxyAgent`, `MockAgent` or composition of Undici 7 or
 * later.
 *
 * ```ts no-run
 * import { Layer } from "effect"
 * import { Together, UndiciHttpClient } from "effect-together"
 * import { Agent } from "undici"
 *
 * export const live = Together.layerHttpConfig().pipe(
 *   Layer.provide(UndiciHttpClient.layer(new Agent({ connections: 256, allowH2: false })))
 * )
 * ```
 *
 * **Details**: the exchange of text takes a shortcut past `HttpClient`: one
 * `dispatch`, callbacks, one string. Streams, forms and every other use go
 * through a complete `HttpClient`, whose bodies hold the socket back while
 * nobody reads. Undici's own timeouts of headers and body are off: the client
 * bounds every silence.
 *
 * **Gotchas**: a dispatcher given to `layer` stays yours to close; `layerEffect` takes one that is acquired and
 * released. Every request says `accept-encoding: identity`, whatever the caller's headers say, since this module
 * decodes nothing: an encoded answer fails, unless the dispatcher decodes it, such as with Undici's interceptor
 * `decompress`. No redirect is followed. Undici 8 speaks HTTP/2 with servers that do, unless its option `allowH2` is
 * `false`. Over HTTP/2 a body whose stream was reset looks complete, so a file may be cut off, and if a connection
 * cannot be made, calls wait for it one after the other.
 *
 * **Errors**: `HttpClientError` with `TransportError`; its `cause` is Undici's error, `code` included.
 * `ERR_CONTENT_ENCODING` is our own code, of an answer that is encoded.
 */
import * as Effect from "effect/Effect"
import type * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Multipart from "./Multipart.ts"
import * as Shortcut from "./Shortcut.ts"
import * as TransportFailure from "../error/TransportFailure.ts"

/** The part of Undici's `Dispatcher` that is used. */
export interface Dispatcher {
  dispatch(options: DispatchOptions, handler: DispatchHandler): boolean
}

/** What a dispatcher is told about a request. */
export interface DispatchOptions {
  readonly origin?: string | URL
  readonly path: string
  readonly method: string
  readonly headers?: unknown
  /** A string, bytes, or an iterable of bytes. */
  readonly body?: unknown
  readonly headersTimeout?: number | null
  readonly bodyTimeout?: number | null
}

/** Steers an exchange that a dispatcher carries. */
export interface DispatchController {
  abort(reason: Error): void
  pause(): void
  resume(): void
}

/** What a dispatcher tells about an exchange. */
export interface DispatchHandler {
  onRequestStart(controller: DispatchController): void
  onResponseStart(controller: DispatchController, status: number, headers: IncomingHeaders): void
  onResponseData(controller: DispatchController, bytes: Uint8Array): void
  onResponseEnd(): void
  /** The controller is missing where nothing was started. */
  onResponseError(controller: DispatchController | null, error: Error): void
}

/** How Undici hands headers over: lower-case names, several values as a list. */
export type IncomingHeaders = Readonly<Record<string, string | ReadonlyArray<string> | undefined>>

/** Finds the failure of an answer that cannot be read here, since it is encoded. */
const encoded = (headers: IncomingHeaders): Error | undefined => {
  const encoding = headers["content-encoding"]?.toString()
  return TransportFailure.isEncoded(encoding) ? TransportFailure.encoded(encoding) : undefined
}

interface Handler extends Omit<DispatchHandler, "onRequestStart" | "onResponseError"> {
  readonly onFailure: (error: unknown) => void
}

/** Sends, and returns a function that gives the exchange up at any time; after that, only a failure is reported. */
const dispatch = (
  dispatcher: Dispatcher,
  sent: { readonly method: string; readonly url: URL; readonly headers: object; readonly body: unknown },
  handler: Handler
): (reason?: unknown) => void => {
  let controller: DispatchController | undefined
  let reason: Error | undefined
  /** Only a body with bytes is encoded: an answer to HEAD may name an encoding, but holds nothing. */
  let unreadable: Error | undefined
  let over = false
  dispatcher.dispatch({
    origin: sent.url.origin,
    path: sent.url.pathname + sent.url.search,
    method: sent.method,
    headers: { ...sent.headers, "accept-encoding": "identity" },
    body: sent.body,
    headersTimeout: 0,
    bodyTimeout: 0
  }, {
    onRequestStart: (started) => {
      controller = started
      // given up while it waited for a connection
      if (reason !== undefined) started.abort(reason)
    },
    onResponseStart: (started, status, headers) => {
      // an informational answer comes before the one that is awaited
      if (status < 200 || reason !== undefined) return
      unreadable = encoded(headers)
      handler.onResponseStart(started, status, headers)
    },
    onResponseData: (started, bytes) => {
      if (reason !== undefined) return
      if (unreadable === undefined) return handler.onResponseData(started, bytes)
      reason = unreadable
      started.abort(reason)
    },
    onResponseEnd: () => {
      over = true
      if (reason === undefined) handler.onResponseEnd()
    },
    onResponseError: (_, error) => {
      over = true
      handler.onFailure(error)
    }
  })
  return (cause) => {
    if (over || reason !== undefined) return
    reason = cause instanceof Error ? cause : new Error("The request was given up")
    controller?.abort(reason)
  }
}

const joined = (headers: IncomingHeaders): Record<string, string> => {
  const out: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined) out[name] = typeof value === "string" ? value : value.join(", ")
  }
  return out
}

const textOf = (parts: ReadonlyArray<Uint8Array>): string => {
  const [first] = parts
  if (first === undefined) return ""
  const utf8 = new TextDecoder()
  if (parts.length === 1) return utf8.decode(first)
  let text = ""
  for (const part of parts) text += utf8.decode(part, { stream: true })
  return text + utf8.decode()
}

const shortcut = (dispatcher: Dispatcher): Shortcut.Shortcut => (sent, receiver) => {
  const parts: Array<Uint8Array> = []
  return dispatch(dispatcher, sent, {
    onResponseStart: (_, status, headers) => receiver.onHeaders(status, joined(headers)),
    onResponseData: (_, bytes) => void parts.push(bytes),
    onResponseEnd: () => receiver.onText(textOf(parts)),
    onFailure: (cause) => receiver.onFailure(cause)
  })
}

interface Outgoing {
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

/** Turns a body into what a dispatcher takes; Undici knows only form data of its own making. */
const outgoing = (request: HttpClientRequest.HttpClientRequest): Effect.Effect<Outgoing> => {
  const headers = { ...request.headers }
  const { body }: { readonly body: HttpBody.HttpBody } = request
  switch (body._tag) {
    case "Empty":
      return Effect.succeed({ headers, body: null })
    case "Raw":
    case "Uint8Array":
      return Effect.succeed({ headers, body: body.body })
    case "FormData": {
      const { body: form, contentType } = Multipart.encode(body.formData)
      return Effect.succeed({
        headers: { ...headers, "content-type": contentType, "content-length": String(form.size) },
        body: Multipart.pieces(form)
      })
    }
    case "Stream":
      return Effect.map(Stream.toAsyncIterableEffect(body.stream), (body) => ({ headers, body }))
  }
}

const bodiless: ReadonlySet<number> = new Set([204, 205, 304])

/** A web response is made with no higher one. */
const highestStatus = 599

/** Bytes that are read ahead before the socket is held back. */
const readAhead = 64 * 1024

/** Answers with a web response whose body reads the socket as it is read itself. */
const exchange = (
  dispatcher: Dispatcher,
  request: HttpClientRequest.HttpClientRequest,
  url: URL,
  signal: AbortSignal
) =>
(out: Outgoing): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> =>
  Effect.callback((resume) => {
    let body: ReadableStreamDefaultController<Uint8Array> | undefined
    let abort: (reason?: unknown) => void = () => {}
    const onAbort = () => abort(signal.reason)
    signal.addEventListener("abort", onAbort, { once: true })
    abort = dispatch(dispatcher, { method: request.method, url, ...out }, {
      onResponseStart: (controller, status, headers) => {
        const stream = bodiless.has(status) ? null : new ReadableStream<Uint8Array>({
          start: (started) => {
            body = started
          },
          pull: () => controller.resume(),
          cancel: (reason) => abort(reason)
        }, { highWaterMark: readAhead, size: (bytes) => bytes.byteLength })
        const response = new Response(stream, {
          status: Math.min(status, highestStatus),
          headers: Object.entries(joined(headers))
        })
        if (status > highestStatus) Object.defineProperty(response, "status", { value: status })
        resume(Effect.succeed(HttpClientResponse.fromWeb(request, response)))
      },
      onResponseData: (controller, bytes) => {
        if (body === undefined) return
        body.enqueue(bytes)
        if ((body.desiredSize ?? 0) <= 0) controller.pause()
      },
      onResponseEnd: () => {
        signal.removeEventListener("abort", onAbort)
        body?.close()
      },
      onFailure: (cause) => {
        signal.removeEventListener("abort", onAbort)
        if (body === undefined) resume(Effect.fail(transportError(request, cause)))
        else body.error(cause)
      }
    })
    return Effect.sync(() => abort())
  })

const transportError = (request: HttpClientRequest.HttpClientRequest, cause: unknown) =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })

/** Makes a client over a dispatcher. */
export const make = (dispatcher: Dispatcher): HttpClient.HttpClient =>
  Shortcut.attach(
    HttpClient.make((request, url, signal) =>
      request.headers["upgrade"] === undefined
        ? Effect.flatMap(outgoing(request), exchange(dispatcher, request, url, signal))
        : Effect.fail(
          transportError(request, new Error("a connection cannot be upgraded here: use NodeHttpClient.layerUndici"))
        )
    ),
    shortcut(dispatcher)
  )

/** Provides a client over a dispatcher, which its owner has to close. */
export const layer = (dispatcher: Dispatcher): Layer.Layer<HttpClient.HttpClient> =>
  Layer.succeed(HttpClient.HttpClient, make(dispatcher))

/** Provides a client over a dispatcher that lives as long as the layer. */
export const layerEffect = <D extends Dispatcher, E, R>(
  dispatcher: Effect.Effect<D, E, R>
): Layer.Layer<HttpClient.HttpClient, E, Exclude<R, Scope.Scope>> =>
  Layer.effect(HttpClient.HttpClient, Effect.map(dispatcher, make))
