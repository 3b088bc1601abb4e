/**
 * Brings one row of a job to its end: an answer that is known already, from the cache or from an identical row, or a
 * verdict (Dispatch.ts), in the journal and handed on.
 *
 * Once a row has its verdict, no interruption comes between it and the journal.
 */
import * as Effect from "effect/Effect"
import type * as Collector from "./Collector.ts"
import type * as Dispatch from "./Dispatch.ts"
import { type JournalError, platformCode } from "./JobError.ts"
import * as Report from "./Report.ts"
import type * as ResponseCache from "./ResponseCache.ts"
import type * as Row from "./Row.ts"
import type * as Settled from "./Settled.ts"
import * as Stop from "./Stop.ts"
import * as Twins from "./Twins.ts"

/** A row that has to be answered. */
export interface Task {
  readonly row: Row.Row
  /** Hash of its request. */
  readonly hash: number
  /** Its place in the input. */
  readonly sequence: number
}

/** Says what a worker works with. */
export interface Options<R> {
  readonly dispatch: Dispatch.Dispatch<R>
  readonly settler: Settled.Settler
  readonly report: Report.Report
  /** Where outcomes are handed in. */
  readonly offer: (placed: Collector.Placed) => Effect.Effect<void>
  /** Whether a row that stays undone is handed in, too: its place has to be freed. */
  readonly inOrder: boolean
  readonly failFast: boolean
  readonly cache: ResponseCache.ResponseCache | undefined
  /** Knows identical requests, where these are sent once. */
  readonly twins: Twins.Twins | undefined
  /** Counts milliseconds, never backwards. */
  readonly tick: () => number
}

/** Makes what brings a row to its end. */
export const make = <R>(
  { cache, dispatch, failFast, inOrder, offer, report, settler, tick, twins }: Options<R>
): (task: Task) => Effect.Effect<void, JournalError, R> => {
  const settle = Effect.fnUntraced(function*(task: Task, outcome: Settled.Outcome, started: number) {
    const { ordinal, settled } = yield* settler.row(task.row, task.hash, outcome, tick() - started)
    if (settled.kind === "failed" && failFast) yield* dispatch.stop(Stop.failedRow)
    yield* offer({ sequence: task.sequence, settled })
    return settled.kind === "failed" ? undefined : ordinal
  })

  const borrow = (task: Task, body: unknown, from: "cache" | "twin", started: number) =>
    Effect.asVoid(Effect.uninterruptible(
      settle(task, { _tag: "Answered", reply: { status: 200, body, attempts: 0, nanoUsd: 0n }, from }, started)
    ))

  const keep = (row: Row.Row, body: unknown) =>
    cache === undefined ? Effect.void : Effect.catch(cache.put(row, body), (error) =>
      Effect.sync(() => {
        const why = `answers could not be kept in the cache (${platformCode(error)})`
        Report.warn(report, `${why}: another job will send the same requests again`)
      }))

  const conclude = Effect.fnUntraced(function*(task: Task, verdict: Dispatch.Verdict, started: number) {
    if (verdict._tag === "Undone") {
      if (inOrder) yield* offer({ sequence: task.sequence, settled: undefined })
      return undefined
    }
    const ordinal = yield* settle(task, verdict, started)
    if (verdict._tag === "Failed" || ordinal === undefined) return undefined
    yield* keep(task.row, verdict.reply.body)
    return ordinal
  })

  /** Sends a row, and tells its ordinal to those identical to it, or that it has none. */
  const send = (task: Task, started: number, tell: (ordinal: number | undefined) => Effect.Effect<void>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.onInterrupt(restore(dispatch.run(task.row)), () => tell(undefined)).pipe(
        Effect.flatMap((verdict) => conclude(task, verdict, started)),
        Effect.flatMap(tell)
      )
    )

  const work = Effect.fnUntraced(function*(task: Task) {
    const started = tick()
    const cached = cache === undefined ? undefined : yield* cache.get(task.row)
    if (cached !== undefined) return yield* borrow(task, cached, "cache", started)
    if (twins === undefined) return yield* send(task, started, () => Effect.void)
    const key = Twins.canonical(task.row)
    const twin = yield* twins.find(key)
    yield* twin === undefined
      ? send(task, started, (ordinal) => twins.settle(key, ordinal))
      : borrow(task, twin, "twin", started)
  })

  return (task) =>
    Effect.suspend(() => {
      report.inFlight++
      return Effect.ensuring(work(task), Effect.sync(() => report.inFlight--))
    })
}
