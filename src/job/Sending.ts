/**
 * What is known of a row's call while it is made: whether an attempt of it is on the wire, and whether the job has
 * stopped.
 *
 * ```text
 * call ─▶ waits (lane, budget, account) ─▶ on the wire ─▶ answered
 *           ▲                                   │
 *           └──────────── retry ◀───────────────┘
 * ```
 *
 * A job that stops leaves calls that wait at once, for nothing of them is billed, and gives only those on the wire a
 * grace. `Sender` says that a call waits; that it is sent only the transport knows, so {@link layer} watches it. Where
 * nobody does, a call counts as on the wire from its beginning to its end.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Shortcut from "../together/Shortcut.ts"

/** Describes one call of a row under way. */
export interface Sending {
  /** True while an attempt may be on the wire. */
  onWire: boolean
  /** Tells whether the job has stopped: nothing more is to be sent then. */
  readonly isStopped: () => boolean
}

/** Holds the call that a fiber makes for a row; nothing outside of one. */
export const Current: Context.Reference<Sending | undefined> = Context.Reference<Sending | undefined>(
  "effect-together/job/Sending/Current",
  { defaultValue: () => undefined }
)

/** Says that the transport of the context is watched. */
export class Watch extends Context.Service<Watch, { readonly watches: true }>()("effect-together/job/Sending/Watch") {}

const mark = (context: Context.Context<never>): void => {
  const sending = Context.get(context, Current)
  if (sending !== undefined) sending.onWire = true
}

/** Makes a client that marks the call of a row as on the wire with each request. */
export const watched = (client: HttpClient.HttpClient): HttpClient.HttpClient => {
  const watching = HttpClient.transform(client, (effect) =>
    Effect.contextWith((context: Context.Context<never>) => {
      mark(context)
      return effect
    }))
  const shortcut = Shortcut.of(client)
  return shortcut === undefined ? watching : Shortcut.attach(watching, (sent, receiver, context) => {
    mark(context)
    return shortcut(sent, receiver, context)
  })
}

/**
 * Watches the `HttpClient` of the context: give its client to the `Together` layer, and the rest to the program that
 * runs the job.
 */
export const layer: Layer.Layer<HttpClient.HttpClient | Watch, never, HttpClient.HttpClient> = Layer.merge(
  Layer.effect(HttpClient.HttpClient, Effect.map(HttpClient.HttpClient, watched)),
  Layer.succeed(Watch, { watches: true })
)
