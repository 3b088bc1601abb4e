/**
 * What Fetch is told about redirects: to follow none, unless a `RequestInit` says so; and how it sends a form.
 *
 * Left to itself, Fetch sends a prompt on to any host, with every header but the key. `Exchanger` follows the redirects
 * that may be followed, over every client alike. Clients that are not Fetch follow none, and ignore the rule. A form is
 * written by `Multipart`, which says why.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Multipart from "./Multipart.ts"

/**
 * Node's Fetch keeps a second copy of a body, to send it again after a redirect or a sign-in.
 * With both ruled out it keeps none, which is a tenth of a call. Others follow none either, but do not know the rule.
 */
const once = globalThis.navigator?.userAgent.startsWith("Node.js/") === true
  ? { redirect: "error", window: null } as const
  : { redirect: "manual" } as const

const reading = { redirect: "manual" } as const

/** Puts the rule under what the user says, if anything. */
export const init = (hasBody: boolean, own: RequestInit | undefined): RequestInit => {
  const rule = hasBody ? once : reading
  return { ...rule, ...own, redirect: own?.redirect ?? rule.redirect }
}

/** Makes a Fetch that sends forms as `Multipart` writes them. */
export const writingForms = (fetch: typeof globalThis.fetch): typeof globalThis.fetch => (input, init) => {
  if (!(init?.body instanceof FormData)) return fetch(input, init)
  const { body, contentType } = Multipart.encode(init.body)
  const headers = new globalThis.Headers(init.headers)
  headers.set("content-type", contentType)
  return fetch(input, { ...init, headers, body })
}

/**
 * Makes a client whose every request has the rule.
 *
 * **Details**: a Fetch client has a context of its own from its layer, which only what runs inside of it sees: the request
 * does. So the rule is put there, under the `RequestInit` that is found.
 *
 * **Gotchas**: a client wrapped by `HttpClient.transform` hides the `RequestInit` that only Fetch's own layer was given.
 * The rule then stands in its place.
 *
 * @param own the `RequestInit` where none is found
 * @param amend what is taken of either
 */
export const client = (
  client: HttpClient.HttpClient,
  own: RequestInit | undefined,
  amend: (init: RequestInit | undefined) => RequestInit | undefined
): HttpClient.HttpClient => {
  const ruled = (request: HttpClientRequest.HttpClientRequest) =>
    Effect.withFiber((fiber) => {
      const found = Context.getOrUndefined(fiber.context, FetchHttpClient.RequestInit) ?? own
      const ruling = init(request.body._tag !== "Empty", amend(found))
      const context = Context.add(fiber.context, FetchHttpClient.RequestInit, ruling)
      fiber.setContext(
        request.body._tag === "FormData"
          ? Context.add(context, FetchHttpClient.Fetch, writingForms(fiber.getRef(FetchHttpClient.Fetch)))
          : context
      )
      return Effect.succeed(request)
    })
  return HttpClient.makeWith<HttpClientError.HttpClientError, never, HttpClientError.HttpClientError, never>(
    (request) => client.postprocess(Effect.flatMap(request, ruled)),
    client.preprocess
  )
}
