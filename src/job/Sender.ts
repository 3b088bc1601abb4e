/**
 * Sends rows through the `Together` service, and counts what each took.
 *
 * The client guards every call (deadline, credits, retries, lanes), prices its answer and tells what it took; this module
 * only chooses the method by the row's endpoint, ranks the call as bulk work, and listens to the retry schedule: each
 * retry counts with its reason and wait. Attempts are counted as they are sent, by the job (CallWatch.ts).
 *
 * Once the job has stopped, nothing is sent again: a call ends with the failure of its attempt.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Priority } from "../domain/Call.ts"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Retry from "../guard/retry/Retry.ts"
import type { Answered } from "../together/CallOptions.ts"
import * as CallWatch from "../together/CallWatch.ts"
import * as Together from "../together/Together.ts"
import type * as Answer from "./Answer.ts"
import type { Send } from "./Dispatch.ts"
import * as Report from "./Report.ts"

/** Says how rows are sent. */
export interface Options {
  /** When a call is retried. Default: `Retry.policy()`; when its attempts have run out, the job tries again later. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** Rank in the lanes' queues. Default: `bulk`, so that interactive calls of the same client go first. */
  readonly priority?: Priority | undefined
  /** Longest time of one call, its waits included. Default: unlimited. */
  readonly deadline?: Duration.Input | undefined
  /** The caller's word for these calls, for budgets and metrics. Default: `job`. */
  readonly label?: string | undefined
  /** Where retries are counted. */
  readonly report?: Report.Report | undefined
}

/** Holds the defaults of this module. */
export const defaults = { priority: "bulk", label: "job" } as const

/** Says more about a failure than its class does: its status, unless that is a success, or the system's code. */
const detailOf = (error: TogetherError.TogetherError): string | number | undefined =>
  error.status !== undefined && error.status >= 300 ? error.status : "code" in error ? error.code : undefined

/** Makes a sender over the `Together` service of the context. */
export const together = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Send, never, Together.Together> {
  const client = yield* Together.Together
  const policy = options.retry ?? Retry.policy()
  const { report } = options

  return (row) =>
    Effect.flatMap(CallWatch.Current, (watch) => {
      let told: Answered | undefined
      const counted = Schedule.tap(policy, ({ duration, input }) =>
        Effect.sync(() => {
          // the client makes none once the job has stopped
          if (report === undefined || watch?.isStopped() === true) return
          const known = TogetherError.isTogetherError(input)
          const detail = known ? detailOf(input) : undefined
          Report.retry(report, known ? input._tag : "unknown", Duration.toSeconds(duration), detail)
        }))
      // the client checks every request against its schema before it sends it; a body that does not fit fails the row
      const call: Effect.Effect<unknown, TogetherError.TogetherError> = client[row.operation](row.body as never, {
        priority: options.priority ?? defaults.priority,
        label: options.label ?? defaults.label,
        deadline: options.deadline,
        retry: counted,
        onAnswered: (answered) => Effect.sync(() => void (told = answered))
      })
      return Effect.map(call, (body): Answer.Reply => ({
        status: told?.status ?? 200,
        requestId: told?.requestId,
        body,
        usage: told?.usage,
        nanoUsd: told?.cost._tag === "Known" ? told.cost.nanoUsd : undefined,
        attempts: told?.attempts ?? 1
      }))
    })
})
