/**
 * Opens an answer and hands its body over unread, as a stream needs it.
 *
 * The silence until the headers is bounded here, what comes after them by whoever reads. The socket is freed when the
 * scope around ends, or a little later where someone still reads the end of the body. A file is followed where it is
 * redirected to, an event stream is not.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Scope from "effect/Scope"
import type * as TogetherError from "../../domain/TogetherError.ts"
import * as TransportFailure from "../error/TransportFailure.ts"
import * as Exchanger from "./Exchanger.ts"
import type { Exchange, Opened } from "./Transport.ts"

/** Opens the answer to a request. */
export type Opener = (
  exchange: Exchange,
  target: Exchanger.Target
) => Effect.Effect<Opened, TogetherError.TogetherError, Scope.Scope>

/** Makes what opens answers. */
export const make = (
  { execute, failureOf, refusal, timeouts }: Pick<Exchanger.Options, "execute" | "failureOf" | "refusal" | "timeouts">
): Opener => {
  const refused = (
    exchange: Exchange,
    target: Exchanger.Target,
    response: HttpClientResponse.HttpClientResponse
  ): Effect.Effect<never, TogetherError.TogetherError> =>
    Effect.flatMap(
      Exchanger.refusedText(response, timeouts.body),
      (text) =>
        Clock.clockWith((clock) =>
          Effect.fail(refusal(exchange, target, response, text, clock.currentTimeMillisUnsafe()))
        )
    )

  const open: Opener = (exchange, target) =>
    Effect.suspend(() => {
      const scope = Scope.makeUnsafe()
      const limit = Duration.millis(Exchanger.headersMillis(exchange, timeouts))
      let last: Effect.Effect<void> | undefined
      const opened = Effect.mapError(execute(exchange, target), (error) => failureOf(exchange, error, undefined)).pipe(
        Effect.timeoutOrElse({
          duration: limit,
          orElse: () => Effect.fail(TransportFailure.timedOut(exchange, "headers", limit))
        }),
        Effect.flatMap((response): Effect.Effect<Exchanger.Target | Opened, TogetherError.TogetherError> => {
          // a host that is not ours says nothing of our limits
          if (target.ours) exchange.onHeaders?.(response.headers)
          const next = exchange.file === undefined ? undefined : Exchanger.redirectOf(exchange, target, response)
          if (next !== undefined) return Effect.succeed(next)
          return Exchanger.isOk(response)
            ? Effect.succeed<Opened>({
              status: response.status,
              headers: response.headers,
              response,
              scope,
              linger: (reading) => void (last = reading)
            })
            : refused(exchange, target, response)
        })
      )
      const close = (exit: Exit.Exit<unknown, unknown>) =>
        last === undefined
          ? Scope.close(scope, exit)
          : Effect.asVoid(Effect.forkDetach(Effect.andThen(last, Scope.close(scope, exit))))
      return Effect.andThen(
        Effect.addFinalizer(close),
        Effect.flatMap(Scope.provide(opened, scope), (found) =>
          "response" in found
            ? Effect.succeed(found)
            // nobody reads the body of a redirect
            : Effect.andThen(Scope.close(scope, Exit.void), open({ ...exchange, query: undefined }, found)))
      )
    })
  return open
}
