/**
 * Brings one row of a job to its end: an answer that is known already, from the cache or from an identical row, or a
 * verdict (Dispatch.ts). It is written to the journal and handed on.
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
  /** Whether a row that stays undone is handed in too, so that its place is freed. */
  readonly inOrder: boolean
  readonly failFast: boolean
  readonly cache: ResponseCache.ResponseCache | undefined
  /** Knows identical requests, where these are sent once. */
  readonly twins: Twins.Twins | undefined
  /** Counts milliseconds, never backwards. */
  readonly tick: () => number
}

const nobody: (ordinal: number | undefined) => Effect.Effect<void> = () => Effect.void

/** Makes what brings a row to its end. */
export const make = <R>(
  { cache, dispatch, failFast, inOrder, offer, report, settler, tick, twins }: Options<R>
): (task: Task) => Effect.Effect<unknown, JournalError, R> => {
  /** Settles a row; hands back its ordinal where it was answered. */
  const settle = (task: Task, outcome: Settled.Outcome, started: number) =>
    Effect.flatMap(settler.row(task.row, task.hash, outcome, tick() - started), ({ ordinal, settled }) => {
      const offered = offer({ sequence: task.sequence, settled })
      if (settled.kind !== "failed") return Effect.as(offered, ordinal)
      return Effect.as(failFast ? Effect.andThen(dispatch.stop(Stop.failedRow), offered) : offered, undefined)
    })

  const borrow = (task: Task, body: unknown, from: "cache" | "twin", started: number) =>
    Effect.asVoid(Effect.uninterruptible(
      settle(task, { _tag: "Answered", reply: { status: 200, body, attempts: 0, nanoUsd: 0n }, from }, started)
    ))

  const keep = (cache: ResponseCache.ResponseCache, row: Row.Row, body: unknown) =>
    Effect.catch(cache.put(row, body), (error) =>
      Effect.sync(() => {
        const why = `answers could not be kept in the cache (${platformCode(error)})`
        Report.warn(report, `${why}: another job will send the same requests again`)
      }))

  const conclude = (
    task: Task,
    verdict: Dispatch.Verdict,
    started: number
  ): Effect.Effect<number | undefined, JournalError> => {
    if (verdict._tag === "Undone") {
      return inOrder ? Effect.as(offer({ sequence: task.sequence, settled: undefined }), undefined) : Effect.undefined
    }
    const settled = settle(task, verdict, started)
    return cache === undefined || verdict._tag === "Failed" ? settled : Effect.tap(
      settled,
      (ordinal) => ordinal === undefined ? Effect.void : keep(cache, task.row, verdict.reply.body)
    )
  }

  /** Sends a row, and tells its ordinal to those identical to it, or that it has none. */
  const send = (task: Task, started: number, tell = nobody) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.onInterrupt(restore(dispatch.run(task.row)), () => tell(undefined)).pipe(
        Effect.flatMap((verdict) => conclude(task, verdict, started)),
        Effect.flatMap(tell)
      )
    )

  /** Takes an answer that is known already, or sends the row. */
  const lookUp = Effect.fnUntraced(function*(task: Task, started: number) {
    const cached = cache === undefined ? undefined : yield* cache.get(task.row)
    if (cached !== undefined) return yield* borrow(task, cached, "cache", started)
    if (twins === undefined) return yield* send(task, started)
    const key = Twins.canonical(task.row)
    const twin = yield* twins.find(key)
    yield* twin === undefined
      ? send(task, started, (ordinal) => twins.settle(key, ordinal))
      : borrow(task, twin, "twin", started)
  })

  const work: (task: Task, started: number) => Effect.Effect<unknown, JournalError, R> =
    cache === undefined && twins === undefined ? (task, started) => send(task, started) : lookUp
  const leave = Effect.sync(() => report.inFlight--)
  return (task) =>
    Effect.suspend(() => {
      report.inFlight++
      return Effect.ensuring(work(task, tick()), leave)
    })
}
