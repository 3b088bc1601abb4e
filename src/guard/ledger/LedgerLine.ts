/**
 * The line in which a ledger's entries wait to be written to its store.
 *
 *     store takes all   appends go beside each other: a store may write many at once
 *     store is behind   what it owes goes first, then all that waits in one append: no ending overtakes its reservation
 *     a statement       goes alone: what was decided before it stands before it, what comes after it behind
 *
 * A place in the line is taken in the step that decides, so that what is written
 * has the order of what was decided. Once the store has caught up and no statement
 * is before them, appends go beside each other again.
 *
 * What the store refused, although the calls were sent, is written with the next entry that it takes; until then it is
 * kept in few entries, however long that lasts. So a ledger that is read again has the same sums as this one: they do
 * not depend on the order of calls, and a balance is carried forward from its statement.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type * as Ledger from "../../policy/Ledger.ts"
import * as LedgerCompaction from "../../policy/LedgerCompaction.ts"
import type { Alert } from "../credits/CreditAlerts.ts"
import { LedgerStoreError } from "./LedgerFormat.ts"
import type * as LedgerStore from "./LedgerStore.ts"
import type { Restore } from "../Restore.ts"

/** Configures a line. */
export interface Options {
  readonly store: LedgerStore.Store
  /** If the guard stops, a reservation that was not written is not owed, since its call is not sent. */
  readonly whenUnwritable: "stop" | "continue"
  readonly publish: (alert: Alert) => Effect.Effect<void>
}

/** Writes entries. */
export interface Line {
  /**
   * Takes a place at once, as it is called, for entries decided at a time, in epoch seconds. The effect waits until they
   * are written, to be run uninterruptibly; it gives the failure where the guard shall stop for it.
   *
   * @param restore lets an interruption end the wait for the turn: nothing of the entries is written then. Default: none does
   */
  readonly append: (
    entries: ReadonlyArray<Ledger.Entry>,
    at: number,
    restore?: Restore
  ) => Effect.Effect<LedgerStoreError | undefined>
}

/** A place in the line. */
interface Place {
  readonly entries: ReadonlyArray<Ledger.Entry>
  readonly isStatement: boolean
  readonly told: Deferred.Deferred<Told>
}

/** Says to write for these places, itself the first, or how it was written: the failure where the guard shall stop for it. */
type Told =
  | { readonly _tag: "Write"; readonly places: ReadonlyArray<Place> }
  | { readonly _tag: "Written"; readonly failure: LedgerStoreError | undefined }

/** Bounds the owed entries in one append, so that a store that is down is not asked for all of them again and again. */
const offered = 256

/** The least number of entries owed that is worth summing up. */
const fewest = 8

const uninterruptible: Restore = (effect) => effect

/** A store that dies has not written, and what was decided must not be lost with it. */
const died = (cause: Cause.Cause<never>): LedgerStoreError =>
  new LedgerStoreError({
    reason: "io",
    message: `The ledger's store broke: ${Cause.pretty(cause).split("\n", 1)[0]}`,
    cause: Cause.squash(cause)
  })

/** Makes an empty line. */
export const make = ({ whenUnwritable, publish, store }: Options): Line => {
  const stops = whenUnwritable === "stop"
  /** What the store did not take, and from how many entries on it is summed up again. */
  let unwritten: Array<Ledger.Entry> = []
  let tooMany = fewest
  /** Places that wait, in order. */
  const waiting = new Set<Place>()
  /** Appends that go beside each other, or the one that goes alone. */
  let underWay = 0
  let alone = false
  /** True since an append failed, until one succeeds: news is told once. */
  let unwritable = false

  const owe = (entries: ReadonlyArray<Ledger.Entry>): void => {
    for (const entry of entries) unwritten.push(entry)
    if (unwritten.length < tooMany) return
    unwritten = [...LedgerCompaction.compact(unwritten, "keep")]
    tooMany = Math.max(fewest, 2 * unwritten.length)
  }

  /** Takes the places from the first on that a statement does not keep apart. */
  const take = (first: Place): ReadonlyArray<Place> => {
    const taken: Array<Place> = []
    for (const place of waiting) {
      if (place.isStatement && place !== first) break
      taken.push(place)
      waiting.delete(place)
      if (place.isStatement) break
    }
    return taken
  }

  const tell = (place: Place, told: Told): void => void Deferred.doneUnsafe(place.told, Exit.succeed(told))

  /** Lets those write whose turn it is. */
  const proceed = (): void => {
    const [first] = waiting
    if (first === undefined || alone) return
    if (!first.isStatement && unwritten.length === 0) {
      const places = take(first)
      // all are under way before the first is told: it may end at once
      underWay += places.length
      for (const place of places) tell(place, { _tag: "Write", places: [place] })
    } else if (underWay === 0) {
      alone = true
      underWay++
      tell(first, { _tag: "Write", places: take(first) })
    }
  }

  /** Appends entries; a failure of any kind is one of the store. */
  const offer = (entries: ReadonlyArray<Ledger.Entry>): Effect.Effect<LedgerStoreError | undefined> =>
    Effect.matchCause(Effect.suspend(() => store.append(entries)), {
      onSuccess: () => undefined,
      onFailure: (cause) => Result.getOrElse(Cause.findError(cause), died)
    })

  /** Appends what is owed, then entries behind it. */
  const offerAll = (entries: ReadonlyArray<Ledger.Entry>): Effect.Effect<LedgerStoreError | undefined> =>
    Effect.suspend(() => {
      if (unwritten.length === 0) {
        tooMany = fewest
        return offer(entries)
      }
      const late = unwritten.slice(0, offered)
      return Effect.flatMap(offer(late), (error) => {
        if (error !== undefined) return Effect.succeed(error)
        unwritten.splice(0, late.length)
        return offerAll(entries)
      })
    })

  const failed = (entries: ReadonlyArray<Ledger.Entry>, error: LedgerStoreError, at: number): Effect.Effect<void> => {
    owe(stops ? entries.filter(({ _tag }) => _tag !== "Reserve") : entries)
    if (unwritable) return Effect.void
    unwritable = true
    return publish({ _tag: "LedgerUnwritable", at, message: error.message })
  }

  /** Ends a turn: tells the others that it was for, and lets the next write. */
  const pass = (others: ReadonlyArray<Place>, failure: LedgerStoreError | undefined): LedgerStoreError | undefined => {
    for (const other of others) tell(other, { _tag: "Written", failure })
    underWay--
    if (underWay === 0) alone = false
    proceed()
    return failure
  }

  /** Writes entries of this place and of others, whose turn it is. */
  const write = (entries: ReadonlyArray<Ledger.Entry>, others: ReadonlyArray<Place>, at: number) =>
    Effect.flatMap(alone ? offerAll(entries) : offer(entries), (error) => {
      if (error !== undefined) {
        return Effect.map(failed(entries, error, at), () => pass(others, stops ? error : undefined))
      }
      unwritable = false
      return Effect.succeed(pass(others, undefined))
    })

  /** Waits for the turn of a place, or for another to write it. */
  const wait = (place: Place, restore: Restore) =>
    Effect.flatMap(Effect.exit(restore(Deferred.await(place.told))), (exit) =>
      // who was told before the interruption came has the turn all the same
      Exit.isSuccess(exit) || waiting.delete(place) ? exit : Deferred.await(place.told))

  return {
    append: (entries, at, restore = uninterruptible) => {
      const isStatement = entries.some(({ _tag }) => _tag === "Stated")
      if (!isStatement && !alone && waiting.size === 0 && unwritten.length === 0) {
        underWay++
        return write(entries, [], at)
      }
      const place: Place = { entries, isStatement, told: Deferred.makeUnsafe() }
      waiting.add(place)
      proceed()
      return Effect.flatMap(wait(place, restore), (told) => {
        if (told._tag === "Written") return Effect.succeed(told.failure)
        const [, ...others] = told.places
        return write(told.places.flatMap((each) => each.entries), others, at)
      })
    }
  }
}
