/**
 * Effect's Fetch client with a shortcut for exchanges of text.
 *
 * Both ways honour `FetchHttpClient.Fetch` and `FetchHttpClient.RequestInit`,
 * from the context of the call before that of the layer, and both follow no
 * redirect, unless a `RequestInit` says so (`FetchRule`). To another host no
 * header of a `RequestInit` goes.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as FetchRule from "./FetchRule.ts"
import * as Shortcut from "./Shortcut.ts"

const initOf = (inner: Context.Context<never>, outer: Context.Context<never>): RequestInit | undefined =>
  Context.getOrUndefined(inner, FetchHttpClient.RequestInit) ??
    Context.getOrUndefined(outer, FetchHttpClient.RequestInit)

const shortcut = (outer: Context.Context<never>): Shortcut.Shortcut => (sent, receiver, inner) => {
  const fetch = Context.getOrUndefined(inner, FetchHttpClient.Fetch) ?? Context.get(outer, FetchHttpClient.Fetch)
  const init = initOf(inner, outer)
  const controller = new AbortController()
  const headers = init?.headers === undefined || !sent.ours
    ? sent.headers
    : { ...Headers.fromInput(pairs(init.headers)), ...sent.headers }
  // a fetch of somebody's own may throw where it should reject
  const answered = new Promise<Response>((resolve) =>
    resolve(
      fetch(sent.url.href, {
        ...FetchRule.init(sent.body !== undefined, init),
        method: sent.method,
        headers,
        body: sent.body ?? null,
        signal: controller.signal
      })
    )
  )
  // and may return something that is not a response: that is a failure of the call, and must not be lost
  answered.then((response) => {
    const headers: Record<string, string> = {}
    response.headers.forEach((value, name) => {
      headers[name] = value
    })
    receiver.onHeaders(response.status, headers)
    return response.text()
  }).then((text) => receiver.onText(text), (cause) => receiver.onFailure(cause))
  return () => controller.abort()
}

const pairs = (headers: HeadersInit): Headers.Input => new globalThis.Headers(headers)

/** Provides Effect's Fetch client with a shortcut. */
export const layer: Layer.Layer<HttpClient.HttpClient> = Layer.effect(
  HttpClient.HttpClient,
  Effect.contextWith((context: Context.Context<never>) =>
    Effect.map(HttpClient.HttpClient, (client) => Shortcut.attach(client, shortcut(context)))
  )
).pipe(Layer.provide(FetchHttpClient.layer))
