/**
 * Reads the body of a file piece by piece, for whoever pulls: none of it is kept, and backpressure reaches the socket.
 *
 * `open` waits for the first piece, so that what fails before it can be retried unseen. Each silence between two pieces is
 * bounded by `timeouts.body`.
 *
 * **Errors**: `RequestTimeoutError` for a silence, `ConnectionError` for a connection that breaks.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
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

const readAgain = " Read the file again: this is not all of it."

/** Reads a response up to its first piece. */
export const open = Effect.fnUntraced(function*(
  answer: Answer,
  exchange: Exchange,
  { streamFailure, timeouts }: Transport
): Effect.fn.Return<Opened<Uint8Array>, TogetherError.TogetherError, Scope.Scope> {
  const body = Exchanger.piecesOf(answer.response).pipe(
    Stream.mapError((error) => streamFailure(exchange, error, answer, readAgain)),
    Stream.timeoutOrElse({
      duration: timeouts.body,
      orElse: () => Stream.fail(TransportFailure.timedOut(exchange, "body", timeouts.body, answer))
    })
  )
  const next = yield* Scope.provide(Stream.toPull(body), answer.scope)
  const first = yield* Effect.exit(next)
  const done = Exit.isFailure(first) ? Pull.filterDone(first.cause) : undefined
  if (done !== undefined && Result.isFailure(done)) return yield* Effect.failCause(done.failure)
  let held: typeof next = first
  const pull = Effect.suspend(() => {
    const now = held
    held = next
    return now
  })
  return { ...nothing, pull }
})
