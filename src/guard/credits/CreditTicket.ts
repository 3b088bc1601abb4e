/**
 * What a call under way holds: leave to send, and money. It goes with the fiber that makes the call, so that the
 * attempts inside find it.
 *
 * `Credits` re-exports what users need of it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { BudgetExceededError } from "../../domain/TogetherError.ts"
import type * as AccountGate from "./AccountGate.ts"
import type { Leave } from "./AccountTurns.ts"
import * as CreditPurse from "./CreditPurse.ts"

/** What a ticket stands for. */
interface Held {
  readonly account: AccountGate.Gate
  readonly leave: Leave
  readonly purse: CreditPurse.Purse
  /** When the call asked for leave, in milliseconds; of a probe that was refused, when it did so first. */
  readonly since: number
}

/** What a call under way holds: leave to send, and money. Opaque to all but the guard. */
export class Ticket {
  readonly #held: Held

  constructor(held: Held) {
    this.#held = held
  }

  /** Reads what a ticket stands for. */
  static held(ticket: Ticket): Held {
    return ticket.#held
  }
}

/** Holds what the call that a fiber runs may do; set by `run` and `stream`, read by `check`, `accepted` and `attempt`. */
export const CurrentTicket: Context.Reference<Ticket | undefined> = Context.Reference<Ticket | undefined>(
  "effect-together/Credits/CurrentTicket",
  { defaultValue: () => undefined }
)

/** Tells that the provider answered: a probe then lifts the suspension before its call ends. */
export const accepted = (ticket: Ticket): Effect.Effect<void> => {
  const { account, leave } = Ticket.held(ticket)
  return account.conclude(leave, "answered")
}

/** Runs one attempt of the call in progress: see `Calls.attempt`. */
export const attempt = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  billed: (exit: Exit.Exit<A, E>) => boolean = CreditPurse.mayBeBilled
): Effect.Effect<A, E | BudgetExceededError, R> =>
  Effect.flatMap(
    CurrentTicket,
    (ticket) => ticket === undefined ? effect : CreditPurse.attempt(Ticket.held(ticket).purse, effect, billed)
  )

/** Reserves for one more attempt of the call in progress: see `Calls.another`. */
export const another: Effect.Effect<boolean, never, Scope.Scope> = Effect.flatMap(
  CurrentTicket,
  (ticket) => ticket === undefined ? Effect.succeed(true) : CreditPurse.another(Ticket.held(ticket).purse)
)
