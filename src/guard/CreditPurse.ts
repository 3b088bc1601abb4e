/**
 * The money of one call that may be sent several times: every attempt that may be billed is paid for.
 *
 * ```
 *   reserved ─▶ free ──attempt──▶ in use ──answered──▶ owed ──end──▶ settled with the cost
 *                ▲                  │  └──perhaps billed──▶ settled at its upper bound, marked as assumed
 *                └───not billed─────┘
 * ```
 *
 * A reservation pays for one attempt. One that ended without an answer, and may
 * have been billed all the same, uses it up, and the next attempt reserves anew.
 * So does a second attempt at the same time. Where calls tell their attempts, the
 * bill cannot pass the budget however often they are sent.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { type BudgetExceededError, isTogetherError } from "../domain/TogetherError.ts"
import * as Price from "../policy/Price.ts"

/** Holds money for one call until it is settled or refunded; the first ending counts. */
export interface Reservation {
  readonly id: number
  readonly estimate: Price.Estimate
  /** Charges the cost and gives back the rest. */
  readonly settle: (cost: Price.Cost) => Effect.Effect<void>
  /** Gives everything back; `maybeBilled` remembers that the provider may have charged the call. */
  readonly refund: (options?: { readonly maybeBilled?: boolean | undefined }) => Effect.Effect<void>
}

/** Holds the money of one call. Mutable, owned by the call. */
export interface Purse {
  readonly reserve: Effect.Effect<Reservation, BudgetExceededError>
  /** Two reservations that no attempt is using or has used up. */
  free: Reservation | undefined
  spare: Reservation | undefined
  /** The reservation of the attempt that answered. */
  owed: Reservation | undefined
  /** True once an attempt was told: what is free is then known not to be billed. */
  told: boolean
  /** True once the call has ended: an attempt that outlives it finds no purse. */
  over: boolean
}

/** Begins with one reservation. */
export const make = (reserve: Purse["reserve"], first: Reservation): Purse => ({
  reserve,
  free: first,
  spare: undefined,
  owed: undefined,
  told: false,
  over: false
})

/** Tells whether the provider may have billed a call that was sent and failed so: no refusal came back. */
export const maybeBilled = (exit: Exit.Exit<unknown, unknown>): boolean => {
  const error = Exit.findErrorOption(exit)
  if (error._tag === "None") return true // interrupted, or a defect after sending
  if (!isTogetherError(error.value)) return true
  switch (error.value._tag) {
    case "RequestTimeoutError":
      return error.value.phase !== "connect"
    case "ConnectionError":
      return !error.value.permanent
    case "StreamError":
    case "DecodeError":
      return true
    default:
      return false
  }
}

const lost = Price.unknown("an attempt was sent and brought no answer")

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

/** Takes the end of an attempt. */
const attempted = <A, E>(
  purse: Purse,
  reservation: Reservation,
  exit: Exit.Exit<A, E>,
  billed: (exit: Exit.Exit<A, E>) => boolean
): Effect.Effect<void> => {
  if (Exit.isFailure(exit)) return billed(exit) ? reservation.settle(lost) : putBack(purse, reservation)
  // a second answer is one too many: it is paid for, and the call is priced by the first
  if (purse.owed !== undefined || purse.over) return reservation.settle(lost)
  purse.owed = reservation
  return Effect.void
}

/** Gives back what no attempt uses. */
export const empty = (purse: Purse, atRisk: boolean): Effect.Effect<void> => {
  const { free, spare } = purse
  purse.free = undefined
  purse.spare = undefined
  const refunded = free === undefined ? Effect.void : free.refund({ maybeBilled: atRisk })
  return spare === undefined ? refunded : Effect.andThen(spare.refund(), refunded)
}

/** Ends the reservations of a call by how it ended: what its attempts used up has been charged already. */
export const end = (
  purse: Purse,
  exit: Exit.Exit<unknown, unknown>,
  cost: () => Price.Cost | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    purse.over = true
    const { owed, told } = purse
    const open = owed ?? purse.free
    if (open === undefined) return empty(purse, false)
    return Effect.suspend(() => {
      const charged = cost() ?? (owed === undefined ? undefined : lost)
      if (charged === undefined) return empty(purse, !told && maybeBilled(exit))
      if (owed === undefined) purse.free = undefined
      return Effect.andThen(open.settle(charged), empty(purse, false))
    }).pipe(
      // a pricing function that throws must not keep the money reserved
      Effect.onError(() => Effect.andThen(open.settle(Price.unknown("the cost function failed")), empty(purse, false)))
    )
  })

/** Runs one attempt of the call: with what is free, or with money reserved anew. */
export const attempt = <A, E, R>(
  purse: Purse,
  effect: Effect.Effect<A, E, R>,
  billed: (exit: Exit.Exit<A, E>) => boolean
): Effect.Effect<A, E | BudgetExceededError, R> => {
  let taken: Reservation | undefined
  return Effect.onExit(
    Effect.suspend(() => {
      purse.told = true
      taken = take(purse)
      if (taken !== undefined) return effect
      return Effect.andThen(
        Effect.uninterruptible(Effect.map(purse.reserve, (reservation) => void (taken = reservation))),
        effect
      )
    }),
    (exit) =>
      taken === undefined
        ? Effect.void
        // with a reservation taken, it is the effect that ended
        : attempted(purse, taken, exit as Exit.Exit<A, E>, billed)
  )
}

/** Reserves for one more attempt beside the one under way; false where no budget has room. */
export const another = (purse: Purse): Effect.Effect<boolean> => {
  if (purse.free !== undefined || purse.spare !== undefined) return Effect.succeed(true)
  return Effect.uninterruptible(Effect.match(purse.reserve, {
    onFailure: () => false,
    onSuccess: (reservation) => {
      purse.spare = reservation
      return true
    }
  }))
}
