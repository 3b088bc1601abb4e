/**
 * Carries a reply out: what an `HttpClient` hands back, with all its waits and failures, as Fetch and Undici have them.
 *
 * The module is re-exported by `Reply`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Stream from "effect/Stream"
import type { Answer, BrokenKind, Reply } from "./replyBody.ts"

const brokenCauses: Readonly<Record<BrokenKind, readonly [code: string, message: string]>> = {
  reset: ["ECONNRESET", "read ECONNRESET"],
  refused: ["ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:443"],
  dns: ["ENOTFOUND", "getaddrinfo ENOTFOUND api.together.ai"],
  tls: ["CERT_HAS_EXPIRED", "certificate has expired"],
  "connect-timeout": ["UND_ERR_CONNECT_TIMEOUT", "Connect Timeout Error"]
}

const systemError = (code: string, message: string): Error => Object.assign(new Error(message), { code })

/** Builds the failure of a connection that breaks before an answer, as Fetch and Undici report it. */
export const brokenError = (
  request: HttpClientRequest.HttpClientRequest,
  kind: BrokenKind
): HttpClientError.HttpClientError => {
  const [code, message] = brokenCauses[kind]
  return new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      cause: new TypeError("fetch failed", { cause: systemError(code, message) })
    })
  })
}

/** Builds the cause of a body that is cut off, as Fetch and Undici report it. */
export const cutError = (): Error =>
  new TypeError("terminated", { cause: systemError("UND_ERR_SOCKET", "other side closed") })

const encoder = new TextEncoder()

/** Encodes a piece of a body. */
export const bytes = (data: string | Uint8Array): Uint8Array => typeof data === "string" ? encoder.encode(data) : data

const sleepMillis = (millis: number): Effect.Effect<void> =>
  millis > 0 ? Effect.sleep(Duration.millis(millis)) : Effect.void

const bodyStream = (reply: Answer): Stream.Stream<Uint8Array, Error> => {
  const body = Stream.fromIterable(reply.parts).pipe(
    Stream.rechunk(1),
    Stream.mapEffect((part) => Effect.as(sleepMillis(part.waitMillis), bytes(part.data)))
  )
  return reply.end === "stall"
    ? Stream.concat(body, Stream.never)
    : reply.end === "cut"
    ? Stream.concat(body, Stream.failSync(cutError))
    : body
}

const isWhole = (reply: Answer) =>
  reply.end === "complete" && reply.parts.length <= 1 && (reply.parts[0]?.waitMillis ?? 0) === 0

/** Carries a reply out: what an `HttpClient` hands back for the request. */
export const send = (
  reply: Reply,
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> => {
  switch (reply._tag) {
    case "Hang":
      return Effect.never
    case "Broken":
      return Effect.andThen(
        sleepMillis(reply.waitMillis),
        Effect.suspend(() => Effect.fail(brokenError(request, reply.kind)))
      )
    case "Answer": {
      const { headers, status } = reply
      const make = () =>
        HttpServerResponse.toClientResponse(
          isWhole(reply)
            ? reply.parts.length === 0
              ? HttpServerResponse.empty({ status, headers })
              : HttpServerResponse.uint8Array(bytes(reply.parts[0]!.data), { status, headers })
            : HttpServerResponse.stream(bodyStream(reply), { status, headers }),
          { request }
        )
      return reply.waitMillis > 0 ? Effect.map(sleepMillis(reply.waitMillis), make) : Effect.sync(make)
    }
  }
}
