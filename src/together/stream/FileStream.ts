/**
 * Reads the body of a file piece by piece, for whoever pulls: none of it is kept, and backpressure reaches the socket.
 *
 * `open` waits for the first piece, so that what fails before it can be retried unseen. Each silence between two pieces is
 * bounded by `timeouts.body`.
 *
 * **Errors**: `RequestTimeoutError` for a silence, `ConnectionError` for a connection that breaks.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as TogetherError from "../../domain/TogetherError.ts"
import * as TransportFailure from "../error/TransportFailure.ts"
import * as Exchanger from "../transport/Exchanger.ts"
import type { Exchange, Opened as Answer, Transport } from "../transport/Transport.ts"
import type { Opened } from "./EventStream.ts"

/** A file is not generated: it counts as nothing. */
const nothing = {
  usage: () => undefined,
  generated: () => ({ pieces: 0, bytes: 0 }),
  partial: () => ({ text: "", reasoning: "" })
}

/** Reads a response up to its first piece. */
export const open = Effect.fnUntraced(function*(
  answer: Answer,
  exchange: Exchange,
  { streamFailure, timeouts }: Transport
): Effect.fn.Return<Opened<Uint8Array>, TogetherError.TogetherError, Scope.Scope> {
  const body = Stream.mapError(
    Exchanger.piecesOf(answer.response),
    (error) => streamFailure(exchange, error, answer)
  )
  const next = Effect.timeoutOrElse(yield* Scope.provide(Stream.toPull(body), answer.scope), {
    duration: timeouts.body,
    orElse: () => Effect.fail(TransportFailure.timedOut(exchange, "body", timeouts.body, answer))
  })
  const first = yield* Pull.matchEffect(next, {
    onSuccess: (pieces) => Effect.succeed(pieces),
    onFailure: (cause) => Effect.failCause(cause),
    onDone: () => Effect.undefined
  })
  let held = first
  const pull: Opened<Uint8Array>["pull"] = Effect.suspend(() => {
    if (held === undefined) return first === undefined ? Cause.done() : next
    const pieces = held
    held = undefined
    return Effect.succeed(pieces)
  })
  return { ...nothing, pull }
})
