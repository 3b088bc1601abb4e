/**
 * Brings one row to its verdict: answered, failed, or left undone because the job has to stop.
 *
 * The client retries calls; this module decides what a failure that came through means for the job:
 *
 * | failure | meaning |
 * | --- | --- |
 * | `AuthError`, `InsufficientCreditsError` | everything will fail: stop, leave the row undone |
 * | `BudgetExceededError` | wait until rows in flight have settled and try again; nothing in flight: stop |
 * | `ModelUnavailableError`, `NotFoundError`, `PermissionDeniedError` | the row fails; after 20 of a model without one answer, its other rows are not sent |
 * | `ConnectionError` that is permanent, before any answer | wrong address: stop |
 * | what is retryable, `CircuitOpenError`, a full lane | wait and try again, see Patience.ts |
 * | any other | the row fails |
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as TogetherError from "../domain/TogetherError.ts"
import type * as Answer from "./Answer.ts"
import * as Patience from "./Patience.ts"
import type * as Row from "./Row.ts"
import type { Stop } from "./Stop.ts"

/** Sends one row and returns its answer; retries within a call are its own affair. */
export type Send<R = never> = (row: Row.Row) => Effect.Effect<Answer.Reply, TogetherError.TogetherError, R>

/** Is what became of a row. */
export type Verdict =
  | { readonly _tag: "Answered"; readonly reply: Answer.Reply }
  | { readonly _tag: "Failed"; readonly error: TogetherError.TogetherError; readonly attempts: number }
  | { readonly _tag: "Undone"; readonly error?: TogetherError.TogetherError | undefined }

/** Brings rows to their verdicts. */
export interface Dispatch<R> {
  readonly run: (row: Row.Row) => Effect.Effect<Verdict, never, R>
  /** Waits for a reason to stop. */
  readonly stopped: Effect.Effect<Stop>
  /** Gives a reason to stop; the first one counts. */
  readonly stop: (reason: Stop) => Effect.Effect<void>
  readonly isStopped: () => Stop | undefined
  /** Models whose rows are not sent any more, with the error that said so and the rows left out. */
  readonly abandoned: ReadonlyMap<string, { readonly error: TogetherError.TogetherError; rows: number }>
}

/** Holds the defaults of this module. */
export const defaults = {
  /** Rows of one model that must fail alike, none answered, before the others are not sent. */
  abandonAfter: 20
} as const

interface ModelState {
  answers: number
  refusals: number
}

/** Makes a dispatch around `send`. */
export const make = Effect.fnUntraced(function*<R>(
  send: Send<R>,
  options: Partial<Patience.Options> & { readonly abandonAfter?: number | undefined } = {}
): Effect.fn.Return<Dispatch<R>> {
  const patience: Patience.Options = { ...Patience.defaults, ...options }
  const abandonAfter = options.abandonAfter ?? defaults.abandonAfter
  const clock = yield* Effect.clockWith(Effect.succeed)
  // monotonic: a clock that is set forward, or a machine that slept, is no silence of the provider
  const seconds = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e9
  const stopped = yield* Deferred.make<Stop>()
  const settled = Latch.makeUnsafe()
  let reason: Stop | undefined
  let sending = 0
  const models = new Map<string, ModelState>()
  const abandoned = new Map<string, { readonly error: TogetherError.TogetherError; rows: number }>()
  const health = { startedAt: seconds(), lastAnswerAt: undefined as number | undefined, answers: 0 }

  const stop = (why: Stop) =>
    Effect.suspend(() => {
      reason ??= why
      return Effect.asVoid(Deferred.succeed(stopped, reason))
    })

  const modelOf = (model: string): ModelState => {
    let state = models.get(model)
    if (state === undefined) models.set(model, state = { answers: 0, refusals: 0 })
    return state
  }

  /** Waits until another row has settled; false where none is being sent. */
  const another = Effect.suspend(() => sending === 0 ? Effect.succeed(false) : Effect.as(settled.await, true))

  const once = (row: Row.Row) =>
    Effect.suspend(() => {
      sending++
      return send(row)
    }).pipe(
      Effect.ensuring(Effect.sync(() => {
        sending--
      })),
      Effect.result,
      // a refusal by the budget frees nothing: rows that wait for room must not wake each other with it
      Effect.tap((result) =>
        result._tag === "Failure" && result.failure._tag === "BudgetExceededError" ? Effect.void : settled.release
      )
    )

  const undone = (error: TogetherError.TogetherError, why: Stop) =>
    Effect.as(stop(why), { _tag: "Undone" as const, error })

  const wait = (error: TogetherError.TogetherError, state: Patience.Row) =>
    Effect.suspend((): Effect.Effect<Patience.Row | Verdict> => {
      const [decision, next] = Patience.decide(state, health, seconds(), patience)
      switch (decision._tag) {
        case "Wait":
          return Effect.as(Effect.sleep(decision.seconds * 1000), next)
        case "GiveUp":
          return Effect.succeed({ _tag: "Failed", error, attempts: error.attempts ?? 1 })
        case "Stop":
          return undone(error, { _tag: "Unreachable", error })
      }
    })

  const refusedModel = (row: Row.Row, error: TogetherError.TogetherError): Verdict => {
    const state = modelOf(row.model)
    state.refusals++
    if (state.answers === 0 && state.refusals >= abandonAfter && !abandoned.has(row.model)) {
      abandoned.set(row.model, { error, rows: 0 })
    }
    return { _tag: "Failed", error, attempts: error.attempts ?? 1 }
  }

  const judge = (
    row: Row.Row,
    error: TogetherError.TogetherError,
    state: Patience.Row
  ): Effect.Effect<Patience.Row | Verdict> => {
    switch (error._tag) {
      case "AuthError":
      case "InsufficientCreditsError":
        return undone(error, { _tag: "Refused", error })
      case "BudgetExceededError":
        return Effect.flatMap(
          another,
          (again): Effect.Effect<Patience.Row | Verdict> =>
            again ? Effect.succeed(state) : undone(error, { _tag: "MaxCost", error })
        )
      case "ModelUnavailableError":
      case "NotFoundError":
      case "PermissionDeniedError":
        return Effect.sync(() => refusedModel(row, error))
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
          : Effect.succeed({ _tag: "Failed", error, attempts: error.attempts ?? 1 })
    }
  }

  const run = Effect.fnUntraced(function*(row: Row.Row) {
    let state = Patience.begin(health)
    while (true) {
      if (reason !== undefined) return { _tag: "Undone" } satisfies Verdict
      const given = abandoned.get(row.model)
      if (given !== undefined) {
        given.rows++
        return { _tag: "Undone", error: given.error } satisfies Verdict
      }
      const result = yield* once(row)
      if (result._tag === "Success") {
        health.answers++
        health.lastAnswerAt = seconds()
        modelOf(row.model).answers++
        return { _tag: "Answered", reply: result.success } satisfies Verdict
      }
      const judged = yield* judge(row, result.failure, state)
      if ("_tag" in judged) return judged
      state = judged
    }
  })

  return { run, stopped: Deferred.await(stopped), stop, isStopped: () => reason, abandoned }
})
