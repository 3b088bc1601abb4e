/**
 * One call under the credits guard, from the leave to send until its money is settled.
 *
 *     open     enter the account's gate → reserve → … → settle or refund when the scope closes
 *     run      the same around an effect: the call is made again after a suspension
 *     stream   the same around a stream: whenever it stops, what arrived is charged
 *     attempt  one of the attempts that a call makes inside of these: each that may be billed is paid for
 *
 * A reservation ends once, whatever happens: success, failure, interruption, closed scope. A call that is refused for
 * want of credit keeps its reservation while it waits. The module is re-exported by `Credits`.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type BudgetExceededError, InsufficientCreditsError } from "../../domain/TogetherError.ts"
import * as Price from "../../policy/Price.ts"
import type * as AccountGate from "./AccountGate.ts"
import { checkWhenSuspended, defaults } from "./CreditOptions.ts"
import type { WhenSuspended } from "./CreditOptions.ts"
import * as CreditPurse from "./CreditPurse.ts"
import type { Reservation } from "./CreditPurse.ts"
import * as CreditTicket from "./CreditTicket.ts"
import { CurrentTicket, Ticket } from "./CreditTicket.ts"
import type * as LedgerBook from "../ledger/LedgerBook.ts"
import type { Restore } from "../Restore.ts"
import * as Monotonic from "../Monotonic.ts"

/** Describes the money side of one call. */
export interface Request {
  /** The caller's name for the account that pays. Default: `"default"`. */
  readonly account?: string | undefined
  /** The caller's word for a group of calls, for budgets. Default: `""`. */
  readonly label?: string | undefined
  /**
   * The name of calls that may fail together, as those of one model: after a probe that showed nothing, waiting calls
   * of other lanes probe first. Default: none, and calls of none are one lane.
   */
  readonly lane?: string | undefined
  /** What the call may cost; its upper bound is reserved. */
  readonly estimate: Price.Estimate
  /** Like `whenSuspended` of the guard; an invalid value throws a `RangeError`. Default: the guard's. */
  readonly whenSuspended?: WhenSuspended | undefined
  /**
   * True if every attempt runs by {@link Calls.attempt}. Then a call that ends before its first attempt, in a queue of
   * yours, is known not to be billed. Default: false, so the call counts as sent.
   */
  readonly tellsAttempts?: boolean | undefined
}

/** Says how {@link Calls.run} learns what a call cost. */
export interface RunOptions<A, E> extends Request {
  /** Prices the answer; an unknown cost is charged as the reserved upper bound, marked as assumed. */
  readonly cost: (value: A) => Price.Cost
  /**
   * Prices a failure that delivered something, such as `StreamError.partial`, and with it the last attempt that was
   * lost. Default: nothing, so the reservation is refunded; see {@link Calls.attempt} for failures that may be billed.
   */
  readonly costOnFailure?: ((error: E) => Price.Cost | undefined) | undefined
}

/** Says how {@link Calls.stream} learns what a stream cost. */
export interface StreamOptions<A> extends Request {
  /** Prices everything that arrived up to and including this element; `undefined` if it says nothing new. */
  readonly cost: (element: A) => Price.Cost | undefined
  /** Prices the whole stream, once it has ended by itself. Default: the price of its last element. */
  readonly costAtEnd?: (() => Price.Cost) | undefined
}

/** A call that has leave and money. */
interface Begun {
  readonly reservation: Reservation
  readonly ticket: Ticket
}

/** A call opened in a scope, for those who cannot use `run` or `stream`. */
export interface Opened {
  /** The reservation of the first attempt. */
  readonly reservation: Reservation
  /** Provide this as `CurrentTicket` to the call, so that `check` and `attempt` know it. */
  readonly ticket: () => Ticket
  /** Tells that the provider answered: a probe then lifts the suspension before the answer is complete. */
  readonly accepted: Effect.Effect<void>
  /** Tells the cost of all that arrived so far: charged if the scope closes now. A later word replaces an earlier one. */
  readonly arrived: (cost: Price.Cost) => Effect.Effect<void>
  /** Takes a refusal for want of credit; returns when the call may be made again, or fails by policy. */
  readonly refused: (error: InsufficientCreditsError) => Effect.Effect<void, InsufficientCreditsError>
}

/** Guards calls. */
export interface Calls {
  /** Runs a call: admission, reservation, settlement, and again after a suspension. */
  readonly run: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options: RunOptions<A, E>
  ) => Effect.Effect<A, E | BudgetExceededError | InsufficientCreditsError, R>
  /** Runs a stream likewise; whenever it stops, what arrived is charged. Runs again only before the first element. */
  readonly stream: <A, E, R>(
    stream: Stream.Stream<A, E, R>,
    options: StreamOptions<A>
  ) => Stream.Stream<A, E | BudgetExceededError | InsufficientCreditsError, R>
  /** Opens a call in a scope; closing it settles what arrived, or refunds. */
  readonly open: (
    request: Request
  ) => Effect.Effect<Opened, BudgetExceededError | InsufficientCreditsError, Scope.Scope>
  /** Reserves money, nothing else. Whoever reserves must settle or refund, interruption included. */
  readonly reserve: (request: Request) => Effect.Effect<Reservation, BudgetExceededError>
  /**
   * Runs one attempt of the call in progress (see `CurrentTicket`), for calls that make several: retries, hedges.
   * One that fails or is interrupted and was `billed` is charged its upper bound, marked as assumed; the last of these
   * only when the call ends, unless `costOnFailure` or `arrived` prices it. Whatever is sent after it or beside it
   * reserves anew.
   *
   * **Errors**: `BudgetExceededError` where there is no room for that, with the last failure as its `cause`, or where
   * the ledger cannot be written; this attempt is not sent then.
   *
   * @param billed whether an attempt that ended so may have been billed. Default: `Credits.mayBeBilled`
   */
  readonly attempt: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    billed?: (exit: Exit.Exit<A, E>) => boolean
  ) => Effect.Effect<A, E | BudgetExceededError, R>
  /**
   * Reserves for one more attempt of the call in progress, beside the one under way; false where no budget has room,
   * the ledger cannot be written, or the call is over. The end of the scope gives back what no attempt has taken.
   */
  readonly another: Effect.Effect<boolean, never, Scope.Scope>
}

/** Holds what the calls of one guard share. */
export interface Options {
  readonly book: LedgerBook.Book
  readonly gate: (account?: string) => AccountGate.Gate
  /** What a call does that does not say what to do. */
  readonly whenSuspended: WhenSuspended
}

/** Prices the end of a call; nothing if its cost is not known. */
const costOf = <A, E>(
  request: RunOptions<A, E>,
  purse: CreditPurse.Purse,
  exit: Exit.Exit<A, E>
): Price.Cost | undefined => {
  if (Exit.isSuccess(exit)) return CreditPurse.isUnanswered(purse) ? undefined : request.cost(exit.value)
  const error = Exit.findErrorOption(exit)
  return Option.isSome(error) ? request.costOnFailure?.(error.value) : undefined
}

const reserve = (
  { book }: Options,
  { account = defaults.account, estimate, label = defaults.label }: Request,
  after: LedgerBook.After | undefined,
  restore: Restore
): Effect.Effect<Reservation, BudgetExceededError> =>
  Effect.map(book.reserve({ account, label, estimate }, after, restore), (entry): Reservation => ({
    id: entry.id,
    estimate,
    isOfDayBefore: (now) => book.isOfDayBefore(entry, now),
    settle: (cost) => book.settle(entry, cost),
    refund: (how) => book.refund(entry, how?.mayBeBilled ?? false)
  }))

/** Gets leave and money; to be called uninterruptibly. */
const begin = (options: Options, request: Request, restore: Restore) => {
  const { lane, tellsAttempts = false, whenSuspended = options.whenSuspended } = request
  const account = options.gate(request.account)
  const reserving: CreditPurse.Purse["reserve"] = (after, restore) => reserve(options, request, after, restore)
  return Effect.withFiber<Begun, BudgetExceededError | InsufficientCreditsError>((fiber) => {
    const since = Monotonic.millis(fiber.getRef(Clock.Clock))
    const outer = fiber.getRef(CurrentTicket)
    const held = outer && Ticket.held(outer)
    const within = held?.account === account ? held.leave : undefined
    const policy = CreditTicket.leftOf(whenSuspended, 0, fiber)
    return Effect.flatMap(
      account.enter({ policy, lane, within }, restore),
      (leave) =>
        reserving(undefined, restore).pipe(
          Effect.map((reservation) => {
            const purse = CreditPurse.make(reserving, reservation, tellsAttempts)
            return { reservation, ticket: new Ticket({ account, leave, purse, since, lane, whenSuspended }) }
          }),
          Effect.onError(() => account.conclude(leave, "abandoned"))
        )
    )
  })
}

const run = <A, E, R>(
  options: Options,
  effect: Effect.Effect<A, E, R>,
  request: RunOptions<A, E>
): Effect.Effect<A, E | BudgetExceededError | InsufficientCreditsError, R> =>
  Effect.uninterruptibleMask((restore) => {
    const sent = (ticket: Ticket): Effect.Effect<A, E | InsufficientCreditsError, R> =>
      Effect.flatMap(Effect.exit(restore(Effect.provideService(effect, CurrentTicket, ticket))), (exit) => {
        const error = CreditTicket.refusal(exit)
        return error === undefined
          ? Effect.andThen(CreditTicket.end(ticket, exit, (purse) => costOf(request, purse, exit)), exit)
          : Effect.flatMap(CreditTicket.again(ticket, error, restore), sent)
      })
    return Effect.flatMap(begin(options, request, restore), ({ ticket }) => sent(ticket))
  })

const open = (
  options: Options,
  request: Request
): Effect.Effect<Opened, BudgetExceededError | InsufficientCreditsError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(begin(options, request, restore), ({ reservation, ticket: first }) => {
      let ticket = first
      let arrived: Price.Cost | undefined
      const opened: Opened = {
        reservation,
        ticket: () => ticket,
        accepted: Effect.suspend(() => CreditTicket.accepted(ticket)),
        arrived: (cost) => Effect.sync(() => void (arrived = cost)),
        refused: (error) =>
          Effect.uninterruptibleMask((restore) =>
            Effect.map(CreditTicket.again(ticket, error, restore), (next) => void (ticket = next))
          )
      }
      const costAtEnd = (exit: Exit.Exit<unknown, unknown>) =>
        arrived ?? (Exit.isSuccess(exit) ? Price.unknown("the stream said no usage") : undefined)
      return Effect.as(
        Effect.addFinalizer((exit) => CreditTicket.end(ticket, exit, () => costAtEnd(exit))),
        opened
      )
    })
  )

/** Charges a stream of an opened call for what arrived, and runs it again where it is refused before its first element. */
const charged = <A, E, R>(
  opened: Opened,
  self: Stream.Stream<A, E, R>,
  { cost, costAtEnd }: StreamOptions<A>
): Stream.Stream<A, E | InsufficientCreditsError, R> => {
  let started = false
  const attempt: Stream.Stream<A, E | InsufficientCreditsError, R> = Stream.suspend(() =>
    Stream.provideService(self, CurrentTicket, opened.ticket())
  ).pipe(
    Stream.tap((element) => {
      const soFar = cost(element)
      const arrived = soFar === undefined ? Effect.void : opened.arrived(soFar)
      if (started) return arrived
      started = true
      return Effect.andThen(opened.accepted, arrived)
    }),
    Stream.catch((error) =>
      error instanceof InsufficientCreditsError && !started
        ? Stream.unwrap(Effect.as(opened.refused(error), attempt))
        : Stream.fail(error)
    )
  )
  return costAtEnd === undefined
    ? attempt
    : Stream.onEnd(attempt, Effect.suspend(() => opened.arrived(costAtEnd())))
}

/** Makes the calls of one guard from its ledger and its accounts. */
export const make = (options: Options): Calls => ({
  run: (effect, request) => {
    checkWhenSuspended("Credits.run", request.whenSuspended)
    return run(options, effect, request)
  },
  stream: (self, request) => {
    checkWhenSuspended("Credits.stream", request.whenSuspended)
    return Stream.unwrap(Effect.map(open(options, request), (opened) => charged(opened, self, request)))
  },
  open: (request) => {
    checkWhenSuspended("Credits.open", request.whenSuspended)
    return open(options, request)
  },
  reserve: (request) => Effect.uninterruptibleMask((restore) => reserve(options, request, undefined, restore)),
  attempt: CreditTicket.attempt,
  another: CreditTicket.another
})
