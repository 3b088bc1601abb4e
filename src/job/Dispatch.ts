/**
 * Brings one row to its verdict: answered, failed, or left undone because the job has to stop.
 *
 * The client retries calls; this module decides what a failure that came through means for the job:
 *
 * | failure | meaning |
 * | --- | --- |
 * | `AuthError`, `InsufficientCreditsError` | everything will fail: stop, leave the row undone |
 * | `BudgetExceededError` | wait until rows in flight have settled and try again; nothing in flight: stop |
 * | `BudgetExceededError` for want of a price | the rows of the model and operation are not sent; all others are |
 * | `BudgetExceededError` where the ledger cannot be written | stop, leave the row undone |
 * | `ModelUnavailableError`, `NotFoundError`, `PermissionDeniedError`, `DecodeError` | the row fails; after 20 of a model and operation without one answer, the other rows are not sent, nor those that wait in a lane |
 * | `ConnectionError` that is permanent, before any answer | wrong address: stop |
 * | what is retryable, `CircuitOpenError`, a full lane | wait and try again, see Patience.ts; never earlier than the provider asked, and not at all where it asked for longer than an outage may last |
 * | any other | the row fails |
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Usage from "../domain/Usage.ts"
import * as Monotonic from "../guard/Monotonic.ts"
import * as CallWatch from "../together/CallWatch.ts"
import type * as Answer from "./Answer.ts"
import * as BudgetRoom from "./BudgetRoom.ts"
import * as CallsUnderWay from "./CallsUnderWay.ts"
import * as RowKinds from "./RowKinds.ts"
import * as Patience from "./Patience.ts"
import type * as Row from "./Row.ts"
import type { Stop } from "./Stop.ts"

/** Sends one row and returns its answer; retries within a call are its own affair. */
export type Send<R = never> = (row: Row.Row) => Effect.Effect<Answer.Reply, TogetherError.TogetherError, R>

/** What became of a row. Reply and error tell the attempts of all its tries, the reply also what all of them took. */
export type Verdict =
  | { readonly _tag: "Answered"; readonly reply: Answer.Reply }
  | {
    readonly _tag: "Failed"
    readonly error: TogetherError.TogetherError
    /** What was billed though it is no answer; absent where no failure says so. */
    readonly reply?: Answer.Reply | undefined
  }
  | { readonly _tag: "Undone"; readonly error?: TogetherError.TogetherError | undefined }

/** Brings rows to their verdicts. */
export interface Dispatch<R> {
  readonly run: (row: Row.Row) => Effect.Effect<Verdict, never, R>
  /** Waits for a reason to stop. */
  readonly stopped: Effect.Effect<Stop>
  /**
   * Gives a reason to stop; the first one counts. Rows of which nothing is on the wire (CallWatch.ts) are interrupted
   * at once: they would only be sent in order to be cut off, and would be billed.
   */
  readonly stop: (reason: Stop) => Effect.Effect<void>
  readonly stopReason: () => Stop | undefined
  /** Sums up by model which rows were left out: of an operation that is not sent any more, with the error that said so. */
  readonly abandoned: () => ReadonlyMap<string, RowKinds.LeftOut>
  /** Counts the attempts of rows that have come to no answer or failure, and so tell of none themselves. */
  readonly unsettledAttempts: () => number
}

/** Tells whether a budget refused a call for which other calls may make room. The refused call itself frees none. */
const lacksRoom = (error: TogetherError.TogetherError): boolean =>
  error._tag === "BudgetExceededError" && (error.reason ?? "no-room") === "no-room"

/** Makes the error of rows that are not sent for want of a price. */
const unpriced = ({ model, operation }: Row.Row, error: TogetherError.BudgetExceededError) =>
  new TogetherError.BudgetExceededError({
    message:
      `the price of ${model}${
        operation === "chat" ? "" : ` for ${operation}`
      } is unknown, and a budget cannot hold what has no price. State the price, or send these ` +
      "rows in a run without a budget.",
    model,
    reason: "unknown-price",
    budget: error.budget,
    limitNanoUsd: error.limitNanoUsd,
    neededNanoUsd: error.neededNanoUsd,
    remainingNanoUsd: error.remainingNanoUsd
  })

/** Puts the attempts of all tries on the answer, and what those before it took. */
const answered = (
  reply: Answer.Reply,
  attempts: number,
  took: CallWatch.Took | undefined,
  requestMillis: number | undefined
): Verdict => ({
  _tag: "Answered",
  reply: attempts === reply.attempts && took === undefined && requestMillis === undefined ? reply : {
    ...reply,
    requestMillis,
    usage: took === undefined || reply.usage === undefined ? reply.usage : Usage.add(reply.usage, took.usage),
    nanoUsd: took === undefined || reply.nanoUsd === undefined ? reply.nanoUsd : reply.nanoUsd + (took.nanoUsd ?? 0n),
    attempts
  }
})

/** Puts the attempts of all tries on the error of the last one, and beside it what they took. */
const failed = (
  error: TogetherError.TogetherError,
  attempts: number,
  took: CallWatch.Took | undefined
): Verdict => ({
  _tag: "Failed",
  error: attempts === (error.attempts ?? 0) ? error : TogetherError.annotate(error, { attempts }),
  reply: took && { status: error.status ?? 200, body: null, ...took, attempts }
})

/** Makes a dispatch around `send`. */
export const make = Effect.fnUntraced(function*<R>(
  send: Send<R>,
  patience: Patience.Settings
): Effect.fn.Return<Dispatch<R>> {
  const clock = yield* Clock.Clock
  // monotonic: a clock that is set forward, or a machine that slept, is not silence of the provider
  const seconds = () => Monotonic.seconds(clock)
  const stopped = yield* Deferred.make<Stop>()
  let reason: Stop | undefined
  /** Tells whether nothing more of a kind is to be sent. */
  const isLeft = (kind: RowKinds.Kind): boolean => reason !== undefined || kind.abandoned !== undefined
  const room = BudgetRoom.make()
  const kinds = RowKinds.make()
  const health = {
    failingSince: undefined as number | undefined,
    lastAnswerAt: undefined as number | undefined,
    answers: 0,
    responded: false,
    get onWire(): boolean {
      return calls.someOnWire()
    }
  }

  /** Notes an attempt that came to nothing, though it may come to something another time. */
  const heard = (error: TogetherError.TogetherError): void => {
    health.failingSince ??= seconds()
    health.responded ||= error.status !== undefined
  }

  /** Stops if nothing but failures came back for too long. */
  const onFailed = (error: unknown): Effect.Effect<void> =>
    Effect.suspend(() => {
      // for credit a job waits as long as it takes
      if (!TogetherError.isTogetherError(error) || error._tag === "InsufficientCreditsError") {
        health.failingSince = undefined
        return Effect.void
      }
      heard(error)
      return Patience.isOver(health, seconds(), patience) ? stop({ _tag: "Unreachable", error }) : Effect.void
    })
  const calls: CallsUnderWay.CallsUnderWay<R> = CallsUnderWay.make({ send, clock, isLeft, onFailed })

  const stop = (why: Stop) =>
    // a call that stops the job is itself among those interrupted
    Effect.uninterruptible(Effect.suspend(() => {
      reason ??= why
      room.close()
      calls.interrupt(() => true)
      return Effect.asVoid(Deferred.succeed(stopped, reason))
    }))

  const abandon = (kind: RowKinds.Kind, error: TogetherError.TogetherError): void => {
    if (kind.abandoned !== undefined) return
    kind.abandoned = error
    // once a row of the kind was answered, its calls run in their callers' fibers, which must not be interrupted
    if (kind.answers === 0) calls.interrupt((each) => each === kind)
  }

  const undone = (error: TogetherError.TogetherError, why: Stop) =>
    Effect.as(stop(why), { _tag: "Undone" as const, error })

  const wait = (error: TogetherError.TogetherError, state: Patience.Row) =>
    Effect.suspend((): Effect.Effect<Patience.Row | Verdict> => {
      // its retries may have ended with the job: this is not the final word on the row
      if (reason !== undefined) return Effect.succeed({ _tag: "Undone", error })
      heard(error)
      const [decision, next] = Patience.decide(state, health, seconds(), patience, Patience.asked(error))
      switch (decision._tag) {
        case "Wait":
          return Effect.as(Effect.timeoutOption(Deferred.await(stopped), decision.seconds * 1000), next)
        case "Stop":
          return undone(error, { _tag: "Unreachable", error })
        case "GiveUp":
          return Effect.succeed({ _tag: "Failed", error })
      }
    })

  const refused = (row: Row.Row, error: TogetherError.TogetherError): Verdict => {
    const kind = kinds.of(row)
    kind.refusals++
    if (kind.answers === 0 && kind.refusals >= patience.abandonAfter) abandon(kind, error)
    return { _tag: "Failed", error }
  }

  const judge = (
    row: Row.Row,
    error: TogetherError.TogetherError,
    state: Patience.Row,
    before: number
  ): Effect.Effect<Patience.Row | Verdict> => {
    switch (error._tag) {
      case "AuthError":
      case "InsufficientCreditsError":
        return undone(error, { _tag: "Refused", error })
      case "BudgetExceededError":
        if (error.reason === "unknown-price") {
          return Effect.as(Effect.sync(() => abandon(kinds.of(row), unpriced(row, error))), state)
        }
        if (error.reason === "ledger-unwritable") return undone(error, { _tag: "Refused", error })
        return Effect.flatMap(
          room.freed(before),
          (again): Effect.Effect<Patience.Row | Verdict> =>
            again ? Effect.succeed(state) : undone(error, { _tag: "MaxCost", error })
        )
      case "ModelUnavailableError":
      case "NotFoundError":
      case "PermissionDeniedError":
      // an address that answers all rows with something else is not Together's
      case "DecodeError":
        return Effect.sync(() => refused(row, error))
      case "ConnectionError":
        return error.permanent && health.answers === 0
          ? undone(error, { _tag: "Unreachable", error })
          : wait(error, state)
      case "CircuitOpenError":
      case "LaneOverflowError":
        return wait(error, state)
      default:
        return TogetherError.isRetryable(error)
          ? wait(error, state)
          : Effect.succeed({ _tag: "Failed", error })
    }
  }

  /** Tries a row, and again until it has its verdict; `attempts` and `took` are those of the tries before. */
  const tries = (
    row: Row.Row,
    kind: RowKinds.Kind,
    state: Patience.Row,
    attempts: number,
    took: CallWatch.Took | undefined
  ): Effect.Effect<Verdict, never, R> => {
    if (reason !== undefined) return Effect.succeed({ _tag: "Undone" })
    if (kind.abandoned !== undefined) {
      kind.leftOut++
      room.pass()
      return Effect.succeed({ _tag: "Undone", error: kind.abandoned })
    }
    const before = room.ended()
    room.begin()
    return Effect.flatMap(calls.send(row, kind), (called): Effect.Effect<Verdict, never, R> => {
      const { result } = called
      room.end(Result.isSuccess(result) || !lacksRoom(result.failure))
      const made = attempts + called.made
      const taken = CallWatch.both(took, called.took)
      if (Result.isSuccess(result)) {
        if (result.success === undefined) return tries(row, kind, state, made, taken)
        health.answers++
        health.lastAnswerAt = seconds()
        health.failingSince = undefined
        health.responded = true
        kind.answers++
        calls.settled(made)
        return Effect.succeed(answered(result.success, made, taken, called.requestMillis))
      }
      return Effect.flatMap(judge(row, result.failure, state, before), (judged) => {
        if (!("_tag" in judged)) return tries(row, kind, judged, made, taken)
        if (judged._tag !== "Failed") return Effect.succeed(judged)
        calls.settled(made)
        return Effect.succeed(failed(judged.error, made, taken))
      })
    })
  }

  return {
    run: (row) => Effect.suspend(() => tries(row, kinds.of(row), Patience.begin(health), 0, undefined)),
    stopped: Deferred.await(stopped),
    stop,
    stopReason: () => reason,
    abandoned: kinds.leftOut,
    unsettledAttempts: calls.unsettledAttempts
  }
})
