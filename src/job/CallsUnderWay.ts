/**
 * The calls that a job has under way, each made so that it can be left.
 *
 * A job that stops, or gives a kind of rows up, ends the calls of which nothing is on the wire (`CallWatch`): they would only
 * be sent in order to be cut off, and would be billed. The attempts of a call are counted however it ends.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Monotonic from "../guard/Monotonic.ts"
import * as CallWatch from "../together/CallWatch.ts"
import type * as Answer from "./Answer.ts"
import type { Send } from "./Dispatch.ts"
import type * as Row from "./Row.ts"
import type { Kind } from "./RowKinds.ts"

/** What a call came to (nothing if a stop left it), the attempts that were sent, and what a failure took. */
export interface Called {
  readonly result: Result.Result<Answer.Reply | undefined, TogetherError.TogetherError>
  readonly made: number
  readonly took: CallWatch.Took | undefined
  /** Milliseconds from the sending of the last attempt; absent where nobody told of it. */
  readonly requestMillis?: number | undefined
}

/** Makes calls, and ends those that are left. */
export interface CallsUnderWay<R> {
  /** Sends a row. The call ends early where nothing more of its kind is to be sent. */
  readonly send: (row: Row.Row, kind: Kind) => Effect.Effect<Called, never, R>
  /** Ends the calls of some kinds of which nothing is on the wire. */
  readonly interrupt: (isOf: (kind: Kind) => boolean) => void
  /** Tells whether a client of ours has something on the wire; of any other sender nobody knows. */
  readonly someOnWire: () => boolean
  /** Says that a row has come to an answer or a failure, which tells of its attempts. */
  readonly settled: (attempts: number) => void
  /** Counts the attempts of rows that have come to neither, and so tell of none themselves. */
  readonly unsettledAttempts: () => number
}

/** Says how calls are made. */
export interface Options<R> {
  readonly send: Send<R>
  readonly clock: Clock.Clock
  /** Tells whether nothing more of a kind is to be sent. */
  readonly isLeft: (kind: Kind) => boolean
  /** Hears why an attempt failed that is to be made again. */
  readonly onFailed: (error: unknown) => Effect.Effect<void>
}

/** The outcome of a call that was left. */
const left: Called["result"] = Result.succeed(undefined)

/**
 * Counts the attempts of a call by its end, if no client of ours has reported each one. If a guard of ours refused the
 * last one, it was not sent.
 */
const attemptsOf = (result: Called["result"]): number => {
  if (Result.isSuccess(result)) return result.success?.attempts ?? 0
  const attempts = result.failure.attempts ?? 0
  return TogetherError.isOwnRefusal(result.failure) ? Math.max(0, attempts - 1) : attempts
}

/** A call under way. */
interface Call {
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly watch: CallWatch.CallWatch
  readonly kind: Kind
  /** Its place in the list. */
  at: number
}

/** Takes a call out of the list; the last one takes its place. */
const remove = (calls: Array<Call>, { at }: Call): void => {
  const last = calls.pop()!
  if (last.at === at) return
  calls[at] = last
  last.at = at
}

/** Begins without a call. */
export const make = <R>({ clock, isLeft, onFailed, send }: Options<R>): CallsUnderWay<R> => {
  // no map: it would make tables anew all the time, see decision 0064
  const calls: Array<Call> = []
  let unsettledAttempts = 0

  const here = (row: Row.Row, kind: Kind) =>
    Effect.withFiber<Called, never, R>((fiber) => {
      let sentAt: number | undefined
      const watch: CallWatch.CallWatch = {
        onWire: true,
        attempts: undefined,
        onSent: () => {
          sentAt = Monotonic.millis(clock)
        },
        onFailed,
        isStopped: () => isLeft(kind)
      }
      const call: Call = { fiber, watch, kind, at: calls.length }
      calls.push(call)
      const called = (result: Called["result"]): Called => ({
        result,
        made: watch.attempts ??= attemptsOf(result),
        took: watch.failed,
        requestMillis: sentAt === undefined ? undefined : Monotonic.millis(clock) - sentAt
      })
      return Effect.suspend(() => send(row)).pipe(
        Effect.provideService(CallWatch.Current, watch),
        Effect.matchCauseEffect({
          onSuccess: (reply) => Effect.succeed(called(Result.succeed(reply))),
          onFailure: (cause) => {
            if (watch.isStopped() && Cause.hasInterruptsOnly(cause)) return Effect.succeed(called(left))
            const failure = Cause.findError(cause)
            return Result.isFailure(failure)
              ? Effect.failCause(failure.failure)
              : Effect.succeed(called(Result.fail(failure.success)))
          }
        }),
        Effect.ensuring(Effect.sync(() => {
          remove(calls, call)
          unsettledAttempts += watch.attempts ?? 0
        }))
      )
    })

  /** Calls in a fiber of its own: then only the call ends where its kind is given up, and not the fiber that waits for it. */
  const apart = (row: Row.Row, kind: Kind) =>
    Effect.flatMap(
      Effect.flatMap(Effect.forkChild(here(row, kind), { startImmediately: true }), Fiber.await),
      (exit): Effect.Effect<Called> =>
        isLeft(kind) && Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
          ? Effect.succeed({ result: left, made: 0, took: undefined })
          : exit
    )

  return {
    // a kind that was answered is not given up for its refusals any more
    send: (row, kind) => kind.answers > 0 ? here(row, kind) : apart(row, kind),
    interrupt: (isOf) => {
      // the end of one may end others
      for (const call of calls.slice()) {
        const { at, fiber, kind, watch } = call
        if (calls[at] === call && !watch.onWire && isOf(kind)) fiber.interruptUnsafe()
      }
    },
    someOnWire: () => calls.some(({ watch }) => watch.onWire && watch.attempts !== undefined),
    settled: (attempts) => {
      unsettledAttempts -= attempts
    },
    unsettledAttempts: () => unsettledAttempts
  }
}
