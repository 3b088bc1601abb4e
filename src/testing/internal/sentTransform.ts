/**
 * Wraps a client with what must see each request as the provider does.
 */
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import * as Sent from "../Sent.ts"

type Exchange<E, R> = Effect.Effect<HttpClientResponse.HttpClientResponse, E, R>

/** Wraps each exchange. A request is read once: a body that can be read but once goes on as what was read. */
export const overSent = <E, R, E1>(
  client: HttpClient.HttpClient.With<E, R>,
  change: (exchange: Exchange<E, R>, sent: Sent.Sent) => Exchange<E | E1, R>
): HttpClient.HttpClient.With<E | E1 | HttpClientError.HttpClientError, R> =>
  HttpClient.makeWith(
    Effect.flatMap((request: HttpClientRequest.HttpClientRequest): Exchange<
      E | E1 | HttpClientError.HttpClientError,
      R
    > => {
      const url = HttpClientRequest.toUrl(request)
      // an address that is none fails in the client, as without a wrapper
      return Option.isNone(url)
        ? client.postprocess(Effect.succeed(request))
        : Effect.flatMap(
          Sent.make(request, url.value),
          (sent) => change(client.postprocess(Effect.succeed(sent.request)), sent)
        )
    }),
    client.preprocess
  )
