/**
 * What a run may have cost beyond what its rows say. It is in the journal before it can be spent, so a process that is
 * killed leaves it there for the next run to count.
 *
 * ```text
 * due = charged by the ledger − told by the rows in the journal + what is on the wire
 * enough = due + an eighth + the largest attempt, at most what the calls under way have reserved
 *
 *       noted < due                            raised to enough
 *       noted well above the due of a second   taken back to its enough
 * ```
 *
 * | when | what is noted |
 * | --- | --- |
 * | an attempt is about to be sent | what is missing; it is sent when that is durable |
 * | a row is appended | what is missing, in the line of the row: no write and no `fsync` of its own |
 * | a second has passed | what is missing, as by attempts that are lost, or what is too much |
 * | the job stops | also what calls have reserved that no client of ours makes: nobody tells which of them are on the wire |
 * | the calls have ended | the rest; what was noted too much is taken back |
 *
 * More than is due is noted, and kept for a second: so a run of many equal rows notes while it begins, and hardly ever after.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Dispatch from "../Dispatch.ts"
import type { JournalError } from "../JobError.ts"
import type * as Journal from "../journal/Journal.ts"
import * as Outlays from "./Outlays.ts"
import type { Stop } from "../Stop.ts"

/** Says what the calls of a run cost, in nano-dollars, as a ledger counts them. */
export interface Spending {
  /** All that was charged. */
  readonly settled: bigint
  /** The part of it that was assumed: of attempts cut off, and of answers without usage. */
  readonly uncertain: bigint
  /** What calls under way may cost. */
  readonly reserved: bigint
}

/** Keeps what a run may have cost beyond its rows; a journal's rows say it as `besides`. */
export interface UncertainCost {
  /** Reads what was noted so far, in nano-dollars. */
  readonly noted: () => bigint
  /** Notes more. */
  readonly add: (nanoUsd: bigint) => Effect.Effect<void, JournalError>
  /** Notes what calls spend while they run, and when they have ended. */
  readonly follow: <A, E, R>(
    following: Following,
    calls: (followed: Followed) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
}

/** Says what is followed. */
export interface Following {
  readonly spending: Effect.Effect<Spending>
  readonly stop: Effect.Effect<Stop>
}

/** What calls that are followed work with. */
export interface Followed {
  /** Takes their rows; it is lost as soon as nothing can be noted in it any more. */
  readonly journal: Journal.Journal
  /** Has attempts wait until what they may cost is noted. */
  readonly sending: <R>(send: Dispatch.Send<R>) => Dispatch.Send<R>
}

/** Holds the times of this module: from a stop on, `leave` lets what only waits give back what it has reserved. */
export const defaults = { note: "1 second", leave: "10 millis" } as const

const larger = (a: bigint, b: bigint): bigint => a > b ? a : b
const smaller = (a: bigint, b: bigint): bigint => a < b ? a : b

/** Begins with nothing noted. */
export const make = (journal: Journal.Journal): UncertainCost => {
  let noted = 0n
  /** Raises that have their place in the journal, and how many of them are durable: lines become so in their order. */
  let raised = 0
  let durable = 0

  /**
   * Changes what is noted in the same step in which its line gets its place in the journal. So nothing counts as noted
   * without a place, if the fiber is interrupted before; and once it has its place it stays, if the fiber is
   * interrupted while it waits.
   */
  const change = <A>(
    by: bigint,
    line: (placed: () => void) => Effect.Effect<A, JournalError>
  ): Effect.Effect<A, JournalError> => {
    if (by <= 0n) return line(() => void (noted += by))
    let turn = 0
    const placed = () => {
      noted += by
      turn = ++raised
    }
    return Effect.tap(line(placed), () => Effect.sync(() => void (durable = Math.max(durable, turn))))
  }

  /** Waits until every raise is durable, also one that nobody waits for any more. */
  const flushed = Effect.suspend(() => {
    const turn = raised
    return turn === durable
      ? Effect.void
      : Effect.andThen(journal.flush, Effect.sync(() => void (durable = Math.max(durable, turn))))
  })

  const add: UncertainCost["add"] = (nanoUsd) =>
    nanoUsd === 0n
      ? Effect.void
      : change(nanoUsd, (placed) => journal.note("uncertain", Number(nanoUsd), placed))

  const follow: UncertainCost["follow"] = (following, calls) =>
    Effect.flatMap(following.spending, (before) => {
      const broken = Deferred.makeUnsafe<never, JournalError>()
      /** What rows say that are in the journal. */
      let told = 0n
      let stopped = false
      const charged = ({ settled, uncertain }: Spending): bigint =>
        larger(settled - before.settled - told, uncertain - before.uncertain)

      /** The most that was enough at once since the last look at what is noted too much. */
      let peak = 0n
      /** Says what is due, and what is enough; `row` is what a row costs whose line says so. */
      const look = (spending: Spending, row = 0n) => {
        const spent = larger(charged(spending) - row, 0n)
        const onWire = outlays.onWire()
        const due = spent + (stopped ? larger(spending.reserved, onWire) : onWire)
        const most = larger(due, spent + spending.reserved)
        const enough = due === 0n ? 0n : smaller(due + due / 8n + outlays.largest(), most)
        peak = larger(peak, enough)
        return { due, enough }
      }
      /** Says how much is missing in what is noted. */
      const missing = (spending: Spending, row?: bigint): bigint => {
        const { due, enough } = look(spending, row)
        return noted < due ? enough - noted : 0n
      }
      /** Says how much is missing, or less than zero where it is too much since the last time. */
      const amiss = (spending: Spending): bigint => {
        const { due, enough } = look(spending)
        const least = peak
        peak = enough
        return noted < due || noted > least + least / 8n ? least - noted : 0n
      }

      const adjust = Effect.flatMap(following.spending, (spending) => add(amiss(spending)))
      const written = Effect.suspend(() =>
        Effect.flatMap(following.spending, (spending) => {
          const by = missing(spending)
          return by > 0n ? add(by) : flushed
        })
      ).pipe(Effect.catch((error) => Effect.andThen(Deferred.fail(broken, error), Effect.never)))
      const outlays = Outlays.make(written)

      const append: Journal.Journal["append"] = (meta, answer, bad) =>
        Effect.flatMap(following.spending, (spending) => {
          const row = BigInt(meta.nano ?? 0)
          const by = missing(spending, row)
          const line = by === 0n
            ? journal.append(meta, answer, bad)
            : change(by, (placed) => journal.append({ ...meta, besides: Number(by) }, answer, bad, placed))
          return Effect.tap(line, () => Effect.sync(() => void (told += row)))
        })

      const growing = Effect.forever(Effect.andThen(Effect.sleep(defaults.note), adjust))
      const stopping = following.stop.pipe(
        Effect.andThen(Effect.sleep(defaults.leave)),
        Effect.andThen(Effect.suspend(() => {
          stopped = true
          return adjust
        }))
      )
      // of a row that stays undone, a failure may have said what it cost
      const ended = Effect.flatMap(following.spending, (spending) => add(charged(spending) - noted))
      return Effect.gen(function*() {
        // the job itself waits for the journal to fail
        yield* Effect.forkScoped(Effect.ignore(growing))
        yield* Effect.forkScoped(Effect.ignore(stopping))
        const lost = Effect.raceFirst(journal.lost, Deferred.await(broken))
        return yield* calls({ journal: { ...journal, append, lost }, sending: outlays.sending })
      }).pipe(Effect.scoped, Effect.ensuring(Effect.ignore(ended)))
    })

  return { noted: () => noted, add, follow }
}
