/**
 * Lets what was written leave a server before a body breaks: a socket that is destroyed drops what it still holds.
 */
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Stream from "effect/Stream"

/** Holds the failure of a response's body back for a turn of the event loop, in which the server writes. */
export const drained = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const { body } = response
  return body._tag !== "Stream"
    ? response
    : HttpServerResponse.setBody(
      response,
      HttpBody.stream(
        Stream.catchCause(
          body.stream,
          (cause) => Stream.fromEffect(Effect.andThen(Effect.yieldNow, Effect.failCause(cause)))
        ),
        response.headers["content-type"] ?? body.contentType,
        body.contentLength
      )
    )
}
