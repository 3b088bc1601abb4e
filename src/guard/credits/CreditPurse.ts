/**
 * The money of one call that may be sent several times: every attempt that may be billed is paid for.
 *
 * ```
 *   reserved ─▶ free ──attempt──▶ in use ──answered──▶ owed ──end──▶ settled with the cost
 *                ▲                  │  └──perhaps billed──▶ lost ──next attempt, end──▶ settled at its upper bound,
 *                └───not billed─────┘                                                   marked as assumed
 * ```
 *
 * A reservation pays for one attempt. An attempt that ended without an answer, and may have been billed all the same,
 * uses it up, and the next attempt reserves anew. An attempt on a later day than the reservation also reserves anew, or
 * else it would be paid from the budget of the day before; and so does a second attempt at the same time. If calls tell
 * their attempts, the bill cannot exceed the budget, however often they are sent.
 *
 * The last lost attempt is charged when the call ends, since only then the call may know what its failure cost. A call
 * that is refused for lack of credit begins anew, and what its attempts have used up until then is charged at its upper
 * bound, since it will not be priced any more.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as TogetherError from "../../domain/TogetherError.ts"
import * as Price from "../../policy/Price.ts"
import type * as LedgerBook from "../ledger/LedgerBook.ts"
import type { Restore } from "../Restore.ts"

/** Holds money for one call until it is settled or refunded; the first ending counts. */
export interface Reservation {
  readonly id: number
  readonly estimate: Price.Estimate
  /** Tells whether it was made on a day before that of this moment, in seconds. */
  readonly isOfDayBefore: (now: number) => boolean
  /** Charges the cost and gives back the rest. */
  readonly settle: (cost: Price.Cost) => Effect.Effect<void>
  /** Gives everything back; `mayBeBilled` remembers that the provider may have charged the call. */
  readonly refund: (options?: { readonly mayBeBilled?: boolean | undefined }) => Effect.Effect<void>
}

/** Holds the money of one call. Mutable, owned by the call. */
export interface Purse {
  /** Reserves for an attempt; `restore` lets an interruption undo a reservation that waits to be recorded. */
  readonly reserve: (
    after: LedgerBook.After | undefined,
    restore: Restore
  ) => Effect.Effect<Reservation, TogetherError.BudgetExceededError>
  /** Two reservations that no attempt is using or has used up. */
  free: Reservation | undefined
  spare: Reservation | undefined
  /** The reservation of the attempt that answered. */
  owed: Reservation | undefined
  /** The reservation of the attempt that was last lost. */
  lost: Reservation | undefined
  /** What the last failed attempt failed with. */
  failure: unknown
  /** True once an attempt was told, or where all will be: what is free is then known not to be billed. */
  told: boolean
  /** True once the call has ended: an attempt that outlives it finds no purse. */
  over: boolean
}

/** Begins with one reservation; `told` where every attempt will be told. */
export const make = (reserve: Purse["reserve"], first: Reservation, told: boolean): Purse => ({
  reserve,
  free: first,
  spare: undefined,
  owed: undefined,
  lost: undefined,
  failure: undefined,
  told,
  over: false
})

/** Tells whether the provider may have billed a call that was sent and failed so: no refusal came back. */
export const mayBeBilled = (exit: Exit.Exit<unknown, unknown>): boolean => {
  const error = Exit.findErrorOption(exit)
  if (Option.isNone(error)) return true // interrupted, or a defect after sending
  return !TogetherError.isTogetherError(error.value) || TogetherError.mayBeBilled(error.value)
}

const unanswered = Price.unknown("an attempt was sent and brought no answer")

/** Takes a reservation for an attempt, if there is one that no attempt uses. */
const take = (purse: Purse): Reservation | undefined => {
  const taken = purse.spare ?? purse.free
  if (taken === purse.spare) purse.spare = undefined
  else purse.free = undefined
  return taken
}

/** Puts back what an attempt did not use up. */
const putBack = (purse: Purse, reservation: Reservation): Effect.Effect<void> => {
  if (purse.over) return reservation.refund()
  if (purse.free === undefined) purse.free = reservation
  else if (purse.spare === undefined) purse.spare = reservation
  else return reservation.refund()
  return Effect.void
}

const settle = (reservation: Reservation | undefined): Effect.Effect<void> =>
  reservation === undefined ? Effect.void : reservation.settle(unanswered)

/** Charges the attempt that was last lost, for this one or for none. */
const lose = (purse: Purse, reservation: Reservation | undefined): Effect.Effect<void> =>
  Effect.suspend(() => {
    const before = purse.lost
    purse.lost = reservation
    return settle(before)
  })

/** Takes the end of an attempt. */
const attempted = <A, E>(
  purse: Purse,
  reservation: Reservation,
  exit: Exit.Exit<A, E>,
  billed: (exit: Exit.Exit<A, E>) => boolean
): Effect.Effect<void> => {
  if (Exit.isFailure(exit)) {
    purse.failure = Option.getOrUndefined(Exit.findErrorOption(exit))
    if (!billed(exit)) return putBack(purse, reservation)
    return purse.over ? settle(reservation) : lose(purse, reservation)
  }
  // a second answer is one too many: it is paid for, and the call is priced by the first
  if (purse.owed !== undefined || purse.over) return settle(reservation)
  purse.owed = reservation
  return Effect.void
}

/** Gives back what no attempt uses. */
const empty = (purse: Purse, atRisk: boolean): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { free, spare } = purse
    purse.free = undefined
    purse.spare = undefined
    const refunded = free === undefined ? Effect.void : free.refund({ mayBeBilled: atRisk })
    return spare === undefined ? refunded : Effect.andThen(spare.refund(), refunded)
  })

/** Tells whether what a call answers came from elsewhere than its attempts, so that it prices none of them. */
export const isUnanswered = (purse: Purse): boolean => purse.owed === undefined && purse.lost !== undefined

/** Charges what attempts have used up so far: the call is made anew, or not at all. */
export const charge = (purse: Purse): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { owed } = purse
    purse.owed = undefined
    return Effect.andThen(settle(owed), lose(purse, undefined))
  })

/** Ends a call that was refused for good: it owes no more than what was charged already, whatever happens later. */
export const refuse = (purse: Purse): Effect.Effect<void> =>
  Effect.suspend(() => {
    purse.over = true
    return empty(purse, false)
  })

/** Ends the reservations of a call by how it ended; `cost` prices its answer, or what its failure delivered. */
export const end = (
  purse: Purse,
  exit: Exit.Exit<unknown, unknown>,
  cost: () => Price.Cost | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    purse.over = true
    const { lost, owed, told } = purse
    const used = owed ?? lost
    const open = used ?? purse.free
    if (open === undefined) return empty(purse, false)
    const close = (charged: Price.Cost) => {
      const settled = open.settle(charged)
      if (open === purse.free) purse.free = undefined
      // beside an answer, what was lost is priced by nobody
      return Effect.andThen(used === lost ? settled : Effect.andThen(settled, settle(lost)), empty(purse, false))
    }
    return Effect.suspend(() => {
      const charged = cost() ?? (used === undefined ? undefined : unanswered)
      return charged === undefined ? empty(purse, !told && mayBeBilled(exit)) : close(charged)
      // a pricing function that throws must not keep the money reserved
    }).pipe(Effect.onError(() => close(Price.unknown("the cost function failed"))))
  })

/** Runs one attempt of the call: with what is free, or with money reserved anew. One that did not begin costs nothing. */
export const attempt = <A, E, R>(
  purse: Purse,
  effect: Effect.Effect<A, E, R>,
  billed: (exit: Exit.Exit<A, E>) => boolean
): Effect.Effect<A, E | TogetherError.BudgetExceededError, R> =>
  Effect.suspend(() => {
    let taken: Reservation | undefined
    let began = false
    const begun = Effect.suspend(() => {
      began = true
      return effect
    })
    const paid = Effect.clockWith((clock) => {
      purse.told = true
      const found = take(purse)
      // a budget of a day pays for the attempts of that day: what has waited over midnight reserves anew
      const stale = found?.isOfDayBefore(clock.currentTimeMillisUnsafe() / 1000) === true ? found : undefined
      taken = stale === undefined ? found : undefined
      if (taken !== undefined && purse.lost === undefined) return begun
      const reserved = Effect.uninterruptibleMask((restore) =>
        Effect.andThen(
          stale === undefined ? lose(purse, undefined) : Effect.andThen(lose(purse, undefined), stale.refund()),
          taken === undefined
            ? Effect.map(purse.reserve(purse, restore), (reservation) => void (taken = reservation))
            : Effect.void
        )
      )
      return Effect.andThen(reserved, begun)
    })
    return Effect.onExit(paid, (exit) => {
      if (taken === undefined) return Effect.void
      // where it began, it is the effect that ended
      return began ? attempted(purse, taken, exit as Exit.Exit<A, E>, billed) : putBack(purse, taken)
    })
  })

/** Gives a reservation back that no attempt has taken. */
const giveBack = (purse: Purse, reservation: Reservation): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (purse.free === reservation) purse.free = undefined
    else if (purse.spare === reservation) purse.spare = undefined
    else return Effect.void
    return reservation.refund()
  })

/**
 * Reserves for one more attempt beside the one under way, until the scope ends; false where no budget has room, the
 * reservation fails in another way, or the call is over: the attempt under way must not end with it.
 */
export const another = (purse: Purse): Effect.Effect<boolean, never, Scope.Scope> =>
  Effect.suspend(() => {
    if (purse.free !== undefined || purse.spare !== undefined) return Effect.succeed(true)
    return Effect.uninterruptibleMask((restore) =>
      Effect.matchCauseEffect(purse.reserve(purse, restore), {
        onFailure: () => Effect.succeed(false),
        onSuccess: (reservation) =>
          putBack(purse, reservation).pipe(
            Effect.andThen(Effect.addFinalizer(() => giveBack(purse, reservation))),
            Effect.as(!purse.over)
          )
      })
    )
  })
