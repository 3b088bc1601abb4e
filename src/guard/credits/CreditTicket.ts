/**
 * What a call under way holds: leave to send, and money. It goes with the fiber that makes the call, so that the
 * attempts inside find it. Whoever makes the call (`CreditCall`) takes its refusals and its end by it.
 *
 * `Credits` re-exports what users need of it.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type BudgetExceededError, InsufficientCreditsError } from "../../domain/TogetherError.ts"
import type * as Price from "../../policy/Price.ts"
import type * as AccountGate from "./AccountGate.ts"
import type { Leave } from "./AccountTurns.ts"
import * as CreditPurse from "./CreditPurse.ts"
import * as Deadline from "../Deadline.ts"
import * as Monotonic from "../Monotonic.ts"
import type { Restore } from "../Restore.ts"

/** What a ticket stands for. */
interface Held {
  readonly account: AccountGate.Gate
  readonly leave: Leave
  readonly purse: CreditPurse.Purse
  /** When the call asked for leave, in milliseconds; of a probe that was refused, when it did so first. */
  readonly since: number
  /** What it asks for leave as, each time. */
  readonly lane: string | undefined
  readonly whenSuspended: AccountGate.WhenSuspended
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

/** Finds the refusal for want of credit that a call ended with. */
export const refusal = (exit: Exit.Exit<unknown, unknown>): InsufficientCreditsError | undefined => {
  const error = Exit.findErrorOption(exit)
  return Option.isSome(error) && error.value instanceof InsufficientCreditsError ? error.value : undefined
}

/**
 * Computes what is left of a wait after so many milliseconds, since a call that probed does not begin to wait anew. The
 * deadline of the call also ends the wait, as soon as it leaves no time for an attempt; the call then fails with what
 * it waited for, not with a timeout.
 */
export const leftOf = (
  policy: AccountGate.WhenSuspended,
  waited: number,
  fiber: Fiber.Fiber<unknown, unknown>
): AccountGate.WhenSuspended => {
  if (policy === "fail") return policy
  const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
  const room = Deadline.roomMillis(fiber.getRef(Deadline.CurrentDeadline), now)
  const stated = policy === "wait" ? Infinity : Duration.toMillis(Duration.fromInputUnsafe(policy.wait)) - waited
  const millis = Math.min(stated, room)
  if (millis === Infinity) return "wait"
  return millis > 0 ? { wait: millis } : "fail"
}

/** Takes a refusal: enters again, or fails by policy. The reservation that no attempt has used up is kept while waiting. */
export const again = (
  ticket: Ticket,
  error: InsufficientCreditsError,
  restore: Restore
): Effect.Effect<Ticket, InsufficientCreditsError> => {
  const held = Ticket.held(ticket)
  const { account, lane, purse, whenSuspended } = held
  const { probe } = held.leave.admission
  const entered = Effect.withFiber<Ticket, InsufficientCreditsError>((fiber) => {
    const now = Monotonic.millis(fiber.getRef(Clock.Clock))
    const since = probe > 0 ? held.since : now
    const policy = leftOf(whenSuspended, now - since, fiber)
    if (policy === "fail") return Effect.fail(error)
    return Effect.map(account.enter({ policy, lane }, restore), (leave) => new Ticket({ ...held, leave, since }))
  })
  return account.conclude(held.leave, "refused").pipe(
    Effect.andThen(CreditPurse.charge(purse)),
    Effect.andThen(entered),
    Effect.onError(() => CreditPurse.refuse(purse))
  )
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): AccountGate.Outcome =>
  Exit.isSuccess(exit)
    ? "answered"
    : refusal(exit) !== undefined
    ? "refused"
    : Exit.hasInterrupts(exit)
    ? "abandoned"
    : "failed"

/** Ends a call: tells its account how, and settles its money. */
export const end = (
  ticket: Ticket,
  exit: Exit.Exit<unknown, unknown>,
  cost: (purse: CreditPurse.Purse) => Price.Cost | undefined
): Effect.Effect<void> => {
  const { account, leave, purse } = Ticket.held(ticket)
  return Effect.ensuring(
    account.conclude(leave, outcomeOf(exit)),
    CreditPurse.end(purse, exit, () => cost(purse))
  )
}
