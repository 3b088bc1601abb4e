/**
 * Sends rows through the `Together` service, and counts what each took.
 *
 * The client guards every call (deadline, credits, retries, lanes); this module only chooses the method by the row's
 * endpoint, ranks the call as bulk work, and listens to the retry schedule: each retry counts with its reason and wait.
 * A call that is cut off counts the attempts that had ended; those of all others stand in their answer or error.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Priority } from "../domain/Call.ts"
import * as TogetherError from "../domain/TogetherError.ts"
import type { Usage } from "../domain/Usage.ts"
import * as Retry from "../guard/Retry.ts"
import * as Price from "../policy/Price.ts"
import type * as Client from "../together/Client.ts"
import * as PriceTable from "../together/PriceTable.ts"
import * as Together from "../together/Together.ts"
import type * as Answer from "./Answer.ts"
import type { Send } from "./Dispatch.ts"
import * as Report from "./Report.ts"
import type * as Row from "./Row.ts"
import * as RowTokens from "./RowTokens.ts"

/** Says how rows are sent. */
export interface Options {
  /** When a call is retried. Default: `Retry.policy({ maxAttempts: 8 })`: a job has time. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
  /** What models cost. Default: the shipped table. */
  readonly price?: Price.Lookup | undefined
  /** Rank in the lanes' queues. Default: `bulk`, so that interactive calls of the same client go first. */
  readonly priority?: Priority | undefined
  /** Longest time of one call, its waits included. Default: any. */
  readonly deadline?: Duration.Input | undefined
  /** The caller's word for these calls, for budgets and metrics. Default: `job`. */
  readonly label?: string | undefined
  /** Where retries are counted. */
  readonly report?: Report.Report | undefined
}

/** Holds the defaults of this module. */
export const defaults = { maxAttempts: 8, priority: "bulk", label: "job" } as const

/** The operating system's code of a connection that failed, as it stands in the error's message. */
const systemCode = /\((E[A-Z_]+)\)/

const costOf = (
  row: Row.Row,
  body: unknown,
  usage: Usage | undefined,
  lookup: Price.Lookup
): bigint | undefined => {
  const price = lookup(row.model)
  const size = (name: string): number => {
    const value = row.body[name]
    return typeof value === "number" ? value : 1024
  }
  const cost = row.operation === "images"
    ? Price.ofImages(price, row.model, {
      count: typeof row.body["n"] === "number" ? row.body["n"] : 1,
      width: size("width"),
      height: size("height"),
      steps: typeof row.body["steps"] === "number" ? row.body["steps"] : undefined
    })
    : Price.ofUsage(price, row.model, usage)
  return cost._tag === "Known" ? cost.nanoUsd : undefined
}

/** Makes a sender over the `Together` service of the context. */
export const together = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Send, never, Together.Together> {
  const client = yield* Together.Together
  const price = options.price ?? PriceTable.shippedLookup
  const policy = options.retry ?? Retry.policy({ maxAttempts: defaults.maxAttempts })
  const { report } = options

  const send = (row: Row.Row, call: Client.CallOptions): Effect.Effect<unknown, TogetherError.TogetherError> => {
    // The client checks every request against its schema before it sends it; a body that does not fit fails the row.
    const body = row.body as never
    switch (row.operation) {
      case "chat":
        return client.chat(body, call)
      case "completions":
        return client.completions(body, call)
      case "embeddings":
        return client.embeddings(body, call)
      case "rerank":
        return client.rerank(body, call)
      case "images":
        return client.images(body, call)
    }
  }

  return (row) =>
    Effect.suspend(() => {
      let retries = 0
      const counted = Schedule.tap(policy, ({ duration, input }) =>
        Effect.sync(() => {
          retries++
          if (report !== undefined) {
            const known = TogetherError.isTogetherError(input)
            const detail = known ? input.status ?? systemCode.exec(input.message)?.[1] : undefined
            Report.retry(report, known ? input._tag : "unknown", Duration.toSeconds(duration), detail)
          }
        }))
      const call = send(row, {
        priority: options.priority ?? defaults.priority,
        label: options.label ?? defaults.label,
        deadline: options.deadline,
        retry: counted
      })
      return Effect.map(
        report === undefined ? call : Effect.onInterrupt(call, () =>
          Effect.sync(() => {
            report.attempts += retries
          })),
        (body): Answer.Reply => {
          const usage = RowTokens.used(row, body)
          return {
            status: 200,
            body,
            usage,
            nanoUsd: costOf(row, body, usage, price),
            attempts: retries + 1
          }
        }
      )
    })
})
