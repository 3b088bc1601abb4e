/**
 * Sends through an `HttpClient`: what is an exchange to the transport is a request there, with its headers and its
 * body.
 *
 * To a host that is not ours goes no header of the client, and none of a `RequestInit`.
 */
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as Address from "./Address.ts"
import type * as Exchanger from "./Exchanger.ts"
import * as FetchRule from "./FetchRule.ts"
import * as SentHeaders from "./SentHeaders.ts"
import type { Exchange } from "./Transport.ts"
import * as TransportFailure from "../error/TransportFailure.ts"

/** Runs without a span of its own, so without trace headers too: the call's span says what happened. */
const untraced = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, HttpClient.TracerDisabledWhen, () => true)

const withoutHeaders = (init: RequestInit | undefined): RequestInit | undefined => {
  const { headers: _, ...rest } = init ?? {}
  return rest
}

/** Makes what sends exchanges; one that the client refuses by its status is an answer all the same. */
export const make = ({ base, client, ownInit, sent }: {
  readonly client: HttpClient.HttpClient
  /** The `RequestInit` of the context in which the transport was made. */
  readonly ownInit: RequestInit | undefined
  readonly base: Address.Base
  readonly sent: SentHeaders.SentHeaders
}): Exchanger.Options["execute"] => {
  const common = HttpClientRequest.setHeaders(HttpClientRequest.get(base.prefix), sent.plain)
  const bare = HttpClientRequest.setHeaders(HttpClientRequest.get(base.prefix), sent.bare)
  const toOurs = HttpClient.withScope(FetchRule.client(client, ownInit, (init) => init))
  const toOthers = HttpClient.withScope(FetchRule.client(client, ownInit, withoutHeaders))

  const request = (exchange: Exchange, { ours, url }: Exchanger.Target): HttpClientRequest.HttpClientRequest => {
    const method = HttpClientRequest.setMethod(ours ? common : bare, exchange.method)
    const accepting = exchange.file === undefined
      ? method
      : HttpClientRequest.setHeaders(method, SentHeaders.ofFile(method.headers))
    const plain = HttpClientRequest.setUrl(accepting, url.href)
    const asked = exchange.query === undefined ? plain : HttpClientRequest.setUrlParams(plain, exchange.query)
    if (exchange.form !== undefined) return HttpClientRequest.setBody(asked, HttpBody.formData(exchange.form))
    return exchange.body === undefined
      ? asked
      : HttpClientRequest.setBody(asked, HttpBody.text(exchange.body, "application/json"))
  }

  return (exchange, target) =>
    untraced((target.ours ? toOurs : toOthers).execute(request(exchange, target))).pipe(
      Effect.catch((error) => {
        const answer = TransportFailure.answerOf(error)
        return answer === undefined ? Effect.fail(error) : Effect.succeed(answer)
      })
    )
}
