/**
 * A way past `HttpClient` for the one exchange that is on every call's path: text out, text back.
 *
 * An `HttpClient` builds a request, a URL, a response, a scope and a signal,
 * each for generality that a JSON call does not use. A client of ours carries
 * a shortcut besides: callbacks, a string in, a string out. `Transport` takes
 * it where it finds it. Whoever wraps the client gets a new one, without the
 * shortcut, and every exchange goes through the wrapping.
 */
import type * as Context from "effect/Context"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpMethod from "effect/http/HttpMethod"

/** Describes what is sent. */
export interface Sent {
  readonly method: HttpMethod.HttpMethod
  readonly url: URL
  /** False where a redirect led to a host that no header of the caller may reach. */
  readonly ours: boolean
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | undefined
}

/** Receives what comes back: headers, then the text or a failure; or a failure at once. Its methods need their `this`. */
export interface Receiver {
  onHeaders(status: number, headers: Readonly<Record<string, string>>): void
  /** Takes the whole body. */
  onText(text: string): void
  onFailure(cause: unknown): void
}

/** Sends one exchange; what it returns gives the exchange up and frees its socket. */
export type Shortcut = (sent: Sent, receiver: Receiver, context: Context.Context<never>) => () => void

const shortcuts = new WeakMap<HttpClient.HttpClient, Shortcut>()

/** Gives a client a shortcut. */
export const attach = (client: HttpClient.HttpClient, shortcut: Shortcut): HttpClient.HttpClient => {
  shortcuts.set(client, shortcut)
  return client
}

/** Reads the shortcut of a client, where it has one. */
export const of = (client: HttpClient.HttpClient): Shortcut | undefined => shortcuts.get(client)
