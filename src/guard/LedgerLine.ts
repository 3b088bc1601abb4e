/**
 * The line in which a ledger's entries wait to be written to its store.
 *
 *     store takes all   appends go beside each other: a store may write many at once
 *     store is behind   appends go one by one, what it owes first: no ending overtakes its reservation
 *     a statement       goes alone: what was decided before it stands before it, what comes after it behind
 *
 * What the store refused, and what was sent all the same, is written with the
 * next entry that it takes; until then it is kept in few entries, however long
 * that lasts. So a ledger that is read again folds to what this one knew: sums do
 * not depend on the order of calls, and a balance is carried from its statement.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Semaphore from "effect/Semaphore"
import type * as Ledger from "../policy/Ledger.ts"
import * as LedgerCompaction from "../policy/LedgerCompaction.ts"
import type { Alert } from "./CreditAlerts.ts"
import type * as LedgerStore from "./LedgerStore.ts"

/** Configures a line. */
export interface Options {
  readonly store: LedgerStore.Store
  /** Where the guard stops, a reservation that was not written is not owed: its call is not sent. */
  readonly onStoreFailure: "stop" | "continue"
  readonly publish: (alert: Alert) => Effect.Effect<void>
}

/** Writes entries. */
export interface Line {
  /** Appends entries decided at a time, in epoch seconds; gives the failure where the guard shall stop for it. */
  readonly append: (
    entries: ReadonlyArray<Ledger.Entry>,
    at: number
  ) => Effect.Effect<LedgerStore.LedgerStoreError | undefined>
}

/** Makes an empty line. */
export const make = ({ onStoreFailure, publish, store }: Options): Line => {
  const stops = onStoreFailure === "stop"
  /** What the store did not take. */
  let unwritten: ReadonlyArray<Ledger.Entry> = []
  /** Appends that go one by one, those that wait included, and those that go beside each other. */
  let lined = 0
  let beside = 0
  /** True since an append failed, until one succeeds: news is told once. */
  let unwritable = false
  const line = Semaphore.makeUnsafe(1)
  /** Open while no append goes beside another. */
  const quiet = Latch.makeUnsafe(true)

  const failed = (error: LedgerStore.LedgerStoreError, at: number) => {
    const news = unwritable ? Effect.void : publish({ _tag: "LedgerUnwritable", at, message: error.message })
    unwritable = true
    return Effect.as(news, stops ? error : undefined)
  }

  /** Appends entries behind what is unwritten. */
  const write = (entries: ReadonlyArray<Ledger.Entry>, at: number) =>
    Effect.suspend(() => {
      const late = unwritten
      unwritten = []
      return Effect.matchEffect(store.append(late.length === 0 ? entries : [...late, ...entries]), {
        onSuccess: () => {
          unwritable = false
          return Effect.undefined
        },
        onFailure: (error) => {
          const owed = stops ? entries.filter(({ _tag }) => _tag !== "Reserve") : entries
          unwritten = LedgerCompaction.compact([...late, ...unwritten, ...owed], "keep")
          return failed(error, at)
        }
      })
    })

  const writeBeside = (entries: ReadonlyArray<Ledger.Entry>, at: number) => {
    beside++
    quiet.closeUnsafe()
    return Effect.ensuring(
      write(entries, at),
      Effect.sync(() => {
        if (--beside === 0) quiet.openUnsafe()
      })
    )
  }

  const writeAlone = (entries: ReadonlyArray<Ledger.Entry>, at: number) => {
    lined++
    return Effect.ensuring(
      line.withPermit(Effect.andThen(quiet.await, write(entries, at))),
      Effect.sync(() => void lined--)
    )
  }

  return {
    append: (entries, at) =>
      Effect.suspend(() =>
        lined > 0 || unwritten.length > 0 || entries.some(({ _tag }) => _tag === "Stated")
          ? writeAlone(entries, at)
          : writeBeside(entries, at)
      )
  }
}
