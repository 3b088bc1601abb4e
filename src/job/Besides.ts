/**
 * What a run may have cost beyond what its rows say, in the journal as it arises: a process that is killed leaves it there.
 *
 * | when | what is noted |
 * | --- | --- |
 * | a row is appended | what has grown since the last, in the line of the row: no write and no `fsync` of its own |
 * | a second has passed | what has grown without a row, as by attempts that are lost |
 * | the job stops | also what calls under way may cost: the process may be ended before they are |
 * | the calls have ended | the rest; what was noted too much is taken back |
 */
import * as Effect from "effect/Effect"
import type { JournalError } from "./JobError.ts"
import type * as Journal from "./Journal.ts"
import type { Stop } from "./Stop.ts"

/** Says what the calls of a run cost, in nano-dollars, as a ledger counts them. */
export interface Spending {
  /** All that was charged. */
  readonly settled: bigint
  /** The part of it that was assumed: of attempts cut off, and of answers without usage. */
  readonly uncertain: bigint
  /** What calls under way may cost. */
  readonly reserved: bigint
}

/** Keeps what a run may have cost beyond its rows. */
export interface Besides {
  /** Reads what was noted so far, in nano-dollars. */
  readonly noted: () => bigint
  /** Notes more. */
  readonly add: (nanoUsd: bigint) => Effect.Effect<void, JournalError>
  /** Notes what calls spend while they run, and when they have ended; they append their rows to the journal they get. */
  readonly follow: <A, E, R>(
    following: Following,
    calls: (journal: Journal.Journal) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
}

/** Says what is followed. */
export interface Following {
  readonly spending: Effect.Effect<Spending>
  /** Adds up what rows say that they cost. */
  readonly told: () => bigint
  readonly stop: Effect.Effect<Stop>
}

/** Holds the times of this module: from a stop on, `leave` lets what only waits give back what it has reserved. */
export const defaults = { note: "1 second", leave: "10 millis" } as const

/** Begins with nothing noted. */
export const make = (journal: Journal.Journal): Besides => {
  let noted = 0n

  const add: Besides["add"] = (nanoUsd) =>
    Effect.suspend(() => {
      noted += nanoUsd
      return nanoUsd === 0n ? Effect.void : journal.note("uncertain", Number(nanoUsd))
    })

  const raise = (total: bigint) => Effect.suspend(() => total > noted ? add(total - noted) : Effect.void)

  /** Says on a row's line what has grown since the last. */
  const append = (spending: Effect.Effect<Spending>): Journal.Journal["append"] => (meta, answer, bad) =>
    Effect.flatMap(spending, ({ uncertain }) => {
      const grown = uncertain - noted
      if (grown <= 0n) return journal.append(meta, answer, bad)
      noted = uncertain
      return journal.append({ ...meta, besides: Number(grown) }, answer, bad)
    })

  return {
    noted: () => noted,
    add,
    follow: (following, calls) =>
      Effect.flatMap(following.spending, (before) => {
        const { stop, told } = following
        const toldBefore = told()
        const spending = Effect.map(following.spending, ({ reserved, settled, uncertain }): Spending => ({
          settled: settled - before.settled,
          uncertain: uncertain - before.uncertain,
          reserved
        }))
        const growing = Effect.forever(
          Effect.andThen(Effect.sleep(defaults.note), Effect.flatMap(spending, ({ uncertain }) => raise(uncertain)))
        )
        const stopping = stop.pipe(
          Effect.andThen(Effect.sleep(defaults.leave)),
          Effect.andThen(spending),
          Effect.flatMap(({ reserved, uncertain }) => raise(uncertain + reserved))
        )
        // of a row that stays undone, a failure may have said what it cost
        const ended = Effect.flatMap(spending, ({ settled, uncertain }) => {
          const beyond = settled - told() + toldBefore
          return add((beyond > uncertain ? beyond : uncertain) - noted)
        })
        return Effect.gen(function*() {
          // who waits for the journal to fail is the job itself
          yield* Effect.forkScoped(Effect.ignore(growing))
          yield* Effect.forkScoped(Effect.ignore(stopping))
          return yield* calls({ ...journal, append: append(spending) })
        }).pipe(Effect.scoped, Effect.ensuring(Effect.ignore(ended)))
      })
  }
}
