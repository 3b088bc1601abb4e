/**
 * The credits guard: money is reserved before a call, settled after it, and an empty balance is survived.
 *
 *     enter   account active?  no → fail, or wait to be released or elected to probe
 *     reserve estimate's upper bound fits every budget?  no → BudgetExceededError, nothing sent
 *     run     the call; refused for want of credit → the account is suspended, this call enters again
 *     settle  real cost, or refund; interrupted streams pay for what arrived
 *
 * `run` does all of it around any effect, `stream` around any stream, `open` in a
 * scope; `reserve` and `check` are the parts. A client
 * that queues calls behind this guard asks `check` once more before it sends, so
 * that a suspension also stops what had passed already.
 *
 * Reserving is one synchronous step over a pure ledger (`policy/Ledger`): with
 * thousands of fibers, exactly the calls that fit are sent. A reservation ends
 * once, whatever happens: success, failure, interruption, closed scope.
 *
 * Without budgets the guard still counts, and still suspends.
 *
 * **Gotchas**: `key` is the caller's own short name for a key or an
 * organization, never the secret. Balances belong to organizations: calls of
 * several keys of one organization should share the name.
 */
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Money from "../domain/Money.ts"
import * as Remedy from "../domain/Remedy.ts"
import { type BudgetExceededError, InsufficientCreditsError, isTogetherError } from "../domain/TogetherError.ts"
import type * as Account from "../policy/Account.ts"
import * as BudgetAlert from "../policy/BudgetAlert.ts"
import type * as Forecast from "../policy/Forecast.ts"
import * as Ledger from "../policy/Ledger.ts"
import * as Preflight from "../policy/Preflight.ts"
import * as Price from "../policy/Price.ts"
import * as AccountGate from "./AccountGate.ts"
import { autoRechargeProbe, config, defaults, slowProbe } from "./CreditOptions.ts"
import type { BalanceStatement, OnSuspended, Options } from "./CreditOptions.ts"
import type { Alert } from "./CreditAlerts.ts"
import * as CreditAlerts from "./CreditAlerts.ts"
import * as Telemetry from "./CreditTelemetry.ts"
import * as LedgerBook from "./LedgerBook.ts"
import * as LedgerStore from "./LedgerStore.ts"

export {
  autoRechargeProbe,
  type BalanceStatement,
  config,
  defaults,
  type OnSuspended,
  type Options,
  probeAfterShare,
  slowProbe
} from "./CreditOptions.ts"

/** Describes the money side of one call. */
export interface Request {
  /** The caller's name for the key or organization. Default: `"default"`. */
  readonly key?: string | undefined
  /** The caller's word for a group of calls, for budgets. Default: `""`. */
  readonly label?: string | undefined
  /** What the call may cost; its upper bound is reserved. */
  readonly estimate: Price.Estimate
  /** Default: the guard's. */
  readonly onSuspended?: OnSuspended | undefined
}

/** Says how {@link Service.run} learns what a call cost. */
export interface RunOptions<A, E> extends Request {
  /** Prices the answer; an unknown cost is charged as the reserved upper bound, marked as assumed. */
  readonly cost: (value: A) => Price.Cost
  /** Prices a failure that delivered something, as `StreamError.partial`. Default: nothing, the reservation is refunded. */
  readonly costOnFailure?: ((error: E) => Price.Cost | undefined) | undefined
}

/** Says how {@link Service.stream} learns what a stream cost. */
export interface StreamOptions<A> extends Request {
  /** Prices all that arrived up to and including this element; `undefined` where it says nothing new. */
  readonly cost: (element: A) => Price.Cost | undefined
}

/** Holds money for one call until it is settled or refunded; the first ending counts. */
export interface Reservation {
  readonly id: number
  readonly estimate: Price.Estimate
  /** Charges the cost and gives back the rest. */
  readonly settle: (cost: Price.Cost) => Effect.Effect<void>
  /** Gives everything back; `maybeBilled` remembers that the provider may have charged the call. */
  readonly refund: (options?: { readonly maybeBilled?: boolean | undefined }) => Effect.Effect<void>
}

/** Is a call opened in a scope, for those who cannot use `run` or `stream`. */
export interface Opened {
  readonly reservation: Reservation
  /** Provide this as {@link CurrentTicket} to the call, so that `check` knows it. */
  readonly ticket: () => AccountGate.Ticket
  /** Tells that the provider answered: a probe then lifts the suspension before the answer is complete. */
  readonly accepted: Effect.Effect<void>
  /** Tells the cost of all that arrived so far: charged if the scope closes now. */
  readonly arrived: (cost: Price.Cost) => Effect.Effect<void>
  /** Takes a refusal for want of credit; returns when the call may be made again, or fails by policy. */
  readonly refused: (error: InsufficientCreditsError) => Effect.Effect<void, InsufficientCreditsError>
}

/** Sums up the ledger. */
export interface Report {
  readonly keys: ReadonlyArray<{
    readonly key: string
    readonly tally: Ledger.Tally
    readonly account: Account.State
    readonly waiting: number
    readonly balance: Ledger.Balance | undefined
  }>
  readonly budgets: ReadonlyArray<Ledger.BudgetStatus>
}

/** Guards money. */
export interface Service {
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
  /** Lets an attempt be sent, or fails it unsent because its account is suspended. Ask last before sending. */
  readonly check: (key?: string) => Effect.Effect<void, InsufficientCreditsError>
  /** Tells that the provider answered the current call (see {@link CurrentTicket}). */
  readonly accepted: Effect.Effect<void>
  /** Suspends an account by hand, as a 402 seen elsewhere does. */
  readonly onInsufficientCredits: (key?: string) => Effect.Effect<void>
  /** Lets calls pass again at once; false where they already do. */
  readonly resume: (key?: string) => Effect.Effect<boolean>
  /** Reads whether an account may send. */
  readonly account: (key?: string) => Effect.Effect<Account.State>
  /** Counts a rate limit, towards `RepeatedRateLimits`. */
  readonly rateLimited: (options: { readonly key?: string | undefined; readonly model: string }) => Effect.Effect<void>
  /** States a balance, read on the billing page just now. */
  readonly stateBalance: (statement: BalanceStatement) => Effect.Effect<void>
  /** Reads the balance carried forward from its last statement, if there is one. */
  readonly balance: (key?: string) => Effect.Effect<Ledger.Balance | undefined>
  /** Forecasts how long the balance lasts, if one was stated. */
  readonly forecast: (key?: string) => Effect.Effect<Forecast.Forecast | undefined>
  /** Judges whether the balance can pay for work. */
  readonly preflight: (
    work: Preflight.Work,
    options?: { readonly key?: string | undefined }
  ) => Effect.Effect<Preflight.Verdict>
  /** News, from the moment of subscription on. The latest 256 are kept for a slow reader. */
  readonly alerts: Stream.Stream<Alert>
  readonly report: Effect.Effect<Report>
}

/** Holds the leave to send of the call that a fiber runs; set by `run` and `stream`, read by `check`. */
export const CurrentTicket: Context.Reference<AccountGate.Ticket | undefined> = Context.Reference<
  AccountGate.Ticket | undefined
>("effect-together/Credits/CurrentTicket", { defaultValue: () => undefined })

const refusal = <E>(exit: Exit.Exit<unknown, E>): InsufficientCreditsError | undefined => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" && error.value instanceof InsufficientCreditsError ? error.value : undefined
}

/** Tells whether the provider may have billed a call that failed so: it was sent, and no refusal came back. */
const maybeBilled = (exit: Exit.Exit<unknown, unknown>): boolean => {
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

const outcomeOf = (exit: Exit.Exit<unknown, unknown>): AccountGate.Outcome =>
  Exit.isSuccess(exit)
    ? "answered"
    : refusal(exit) !== undefined
    ? "refused"
    : Exit.hasInterrupts(exit)
    ? "abandoned"
    : "failed"

/** Guards money: see the module header. */
export class Credits extends Context.Service<Credits, Service>()("effect-together/Credits") {}

const statements = (given: Options["balance"]): Effect.Effect<ReadonlyArray<BalanceStatement>> =>
  given === undefined ? Effect.succeed([]) : Effect.isEffect(given) ? given : Effect.succeed(given)

/**
 * Makes a guard over the store in context (`LedgerStore`, memory by default).
 *
 * **Details**: reads the balance once. Calls that a stopped program left open are ended first.
 *
 * **Errors**: defects with `RangeError` for bad options (two budgets of one name, …).
 */
export const make = Effect.fnUntraced(function*(options: Options = {}): Effect.fn.Return<Service, never, Scope.Scope> {
  const scope = yield* Scope.Scope
  const store = yield* LedgerStore.LedgerStore
  const openedAt = yield* Clock.currentTimeMillis
  const alerts = yield* PubSub.sliding<Alert>(256)
  const publish = (alert: Alert): Effect.Effect<void> => Effect.asVoid(PubSub.publish(alerts, alert))
  const rateLimitAlert = BudgetAlert.check(options.rateLimitAlert ?? defaults.rateLimitAlert)
  const onSuspendedDefault = options.onSuspended ?? defaults.onSuspended
  const book = yield* LedgerBook.make({
    store,
    budgets: options.budgets ?? [],
    run: options.run ?? `run-${openedAt}`,
    dayOffset: options.dayOffset ?? defaults.dayOffset,
    unknownPrice: options.unknownPrice ?? defaults.unknownPrice,
    orphans: options.orphans ?? defaults.orphans,
    onStoreFailure: options.onStoreFailure ?? defaults.onStoreFailure,
    lowBalance: options.lowBalance ?? defaults.lowBalance,
    autoRecharge: options.autoRecharge,
    publish
  })

  const onEvent = (key: string, remedy: (now: number) => string) => (event: AccountGate.Event): Effect.Effect<void> =>
    Effect.flatMap(Clock.currentTimeMillis, (millis) => {
      const at = millis / 1000
      return Effect.andThen(Telemetry.ofGate(event), publish(CreditAlerts.ofGate(key, event, at, remedy(at))))
    })

  const gates = new Map<string, AccountGate.Gate>()
  const gate = (key: string = defaults.key): AccountGate.Gate => {
    const existing = gates.get(key)
    if (existing !== undefined) return existing
    const remedy = (now: number): string => {
      const balance = book.balance(key, now)
      return Remedy.insufficientCredits({ balance: balance?.expected, free: balance?.free })
    }
    const made = AccountGate.make({
      key,
      scope,
      probe: options.probe ?? (options.autoRecharge === undefined ? slowProbe : autoRechargeProbe),
      onEvent: onEvent(key, remedy),
      remedy
    })
    gates.set(key, made)
    return made
  }

  const reserve = (request: Request): Effect.Effect<Reservation, BudgetExceededError> =>
    Effect.map(
      book.reserve({
        key: request.key ?? defaults.key,
        label: request.label ?? defaults.label,
        estimate: request.estimate
      }),
      (entry): Reservation => ({
        id: entry.id,
        estimate: request.estimate,
        settle: (cost) => book.settle(entry, cost),
        refund: (how) => book.refund(entry, how?.maybeBilled ?? false)
      })
    )

  /** Ends a reservation by how its call ended. */
  const end = (
    reservation: Reservation,
    exit: Exit.Exit<unknown, unknown>,
    cost: () => Price.Cost | undefined
  ): Effect.Effect<void> =>
    Effect.suspend(() => {
      const charged = cost()
      return charged === undefined
        ? reservation.refund({ maybeBilled: maybeBilled(exit) })
        : reservation.settle(charged)
    }).pipe(
      // a pricing function that throws must not keep the money reserved
      Effect.onError(() => reservation.settle(Price.unknown("the cost function failed")))
    )

  type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

  /** Gets leave and money; to be called uninterruptibly. */
  const begin = (request: Request, restore: Restore) => {
    const account = gate(request.key)
    return Effect.flatMap(
      account.enter(request.onSuspended ?? onSuspendedDefault, restore),
      (ticket) =>
        reserve(request).pipe(
          Effect.map((reservation) => ({ account, reservation, ticket })),
          Effect.onError(() => account.conclude(ticket, "abandoned"))
        )
    )
  }

  /** Takes a refusal: enters again, or fails by policy. The reservation is kept while waiting. */
  const again = (
    account: AccountGate.Gate,
    ticket: AccountGate.Ticket,
    request: Request,
    error: InsufficientCreditsError,
    restore: Restore
  ): Effect.Effect<AccountGate.Ticket, InsufficientCreditsError> => {
    const policy = request.onSuspended ?? onSuspendedDefault
    return Effect.andThen(
      account.conclude(ticket, "refused"),
      policy === "fail" ? Effect.fail(error) : account.enter(policy, restore)
    )
  }

  const run = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    request: RunOptions<A, E>
  ): Effect.Effect<A, E | BudgetExceededError | InsufficientCreditsError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(begin(request, restore), ({ account, reservation, ticket: first }) => {
        const attempt = (ticket: AccountGate.Ticket): Effect.Effect<A, E | InsufficientCreditsError, R> =>
          Effect.flatMap(Effect.exit(restore(Effect.provideService(effect, CurrentTicket, ticket))), (exit) => {
            const error = refusal(exit)
            if (error !== undefined) {
              return Effect.flatMap(
                Effect.onError(again(account, ticket, request, error, restore), () => reservation.refund()),
                attempt
              )
            }
            return account.conclude(ticket, outcomeOf(exit)).pipe(
              Effect.andThen(end(reservation, exit, () =>
                Exit.isSuccess(exit)
                  ? request.cost(exit.value)
                  : request.costOnFailure === undefined
                  ? undefined
                  : Option.getOrUndefined(Option.map(Exit.findErrorOption(exit), request.costOnFailure)))),
              Effect.andThen(exit)
            )
          })
        return attempt(first)
      })
    )

  const open = (
    request: Request
  ): Effect.Effect<Opened, BudgetExceededError | InsufficientCreditsError, Scope.Scope> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(begin(request, restore), ({ account, reservation, ticket: first }) => {
        let ticket = first
        let arrived: Price.Cost | undefined
        const opened: Opened = {
          reservation,
          ticket: () => ticket,
          accepted: Effect.suspend(() => account.conclude(ticket, "answered")),
          arrived: (cost) => Effect.sync(() => void (arrived = cost)),
          refused: (error) =>
            Effect.uninterruptibleMask((restore) =>
              Effect.map(again(account, ticket, request, error, restore), (next) => void (ticket = next))
            )
        }
        return Effect.as(
          Effect.addFinalizer((exit) =>
            Effect.andThen(
              account.conclude(ticket, outcomeOf(exit)),
              end(reservation, exit, () =>
                arrived ?? (Exit.isSuccess(exit) ? Price.unknown("the stream said no usage") : undefined))
            )
          ),
          opened
        )
      })
    )

  const stream = <A, E, R>(
    self: Stream.Stream<A, E, R>,
    request: StreamOptions<A>
  ): Stream.Stream<A, E | BudgetExceededError | InsufficientCreditsError, R> =>
    Stream.unwrap(Effect.map(open(request), (opened) => {
      let started = false
      const attempt: Stream.Stream<A, E | InsufficientCreditsError, R> = Stream.suspend(() =>
        Stream.provideService(self, CurrentTicket, opened.ticket())
      ).pipe(
        Stream.tap((element) => {
          const cost = request.cost(element)
          const arrived = cost === undefined ? Effect.void : opened.arrived(cost)
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
      return attempt
    }))

  const limits = new Map<string, BudgetAlert.State>()
  const rateLimited: Service["rateLimited"] = ({ key = defaults.key, model }) =>
    Effect.flatMap(Clock.currentTimeMillis, (millis) => {
      const at = millis / 1000
      const name = `${key}\u0000${model}`
      const [alert, next] = BudgetAlert.rateLimited(limits.get(name) ?? BudgetAlert.initial, rateLimitAlert, at)
      limits.set(name, next)
      const { count, windowSeconds } = rateLimitAlert
      return alert
        ? publish({
          _tag: "RepeatedRateLimits",
          at,
          key,
          model,
          count,
          windowSeconds,
          message:
            `${count} rate limits of ${model} within ${windowSeconds} s: the load is above what this account may ` +
            "send. Spread it, move it to the Batch API, or ask Together for provisioned throughput."
        })
        : Effect.void
    })

  const state = (given: BalanceStatement, declared: boolean): Effect.Effect<void> =>
    Effect.suspend(() =>
      book.stateBalance({
        key: given.key ?? defaults.key,
        balance: Money.from(given.balance),
        free: Money.from(given.free ?? 0n)
      }, declared)
    )
  yield* Effect.flatMap(statements(options.balance), Effect.forEach((given) => state(given, true), { discard: true }))

  const at = <A>(read: (now: number) => A): Effect.Effect<A> =>
    Effect.map(Clock.currentTimeMillis, (millis) => read(millis / 1000))

  return Credits.of({
    run,
    stream,
    open,
    reserve,
    check: (key) => Effect.flatMap(CurrentTicket, (ticket) => gate(key).check(ticket)),
    accepted: Effect.flatMap(
      CurrentTicket,
      (ticket) => ticket === undefined ? Effect.void : gate(ticket.key).conclude(ticket, "answered")
    ),
    onInsufficientCredits: (key) =>
      Effect.flatMap(
        gate(key).state,
        ({ generation }) =>
          gate(key).conclude(
            { key: key ?? defaults.key, admission: { generation, probe: false }, stopped: false },
            "refused"
          )
      ),
    resume: (key) => gate(key).resume,
    account: (key) => gate(key).state,
    rateLimited,
    stateBalance: (given) => state(given, false),
    balance: (key = defaults.key) => at((now) => book.balance(key, now)),
    forecast: (key = defaults.key) => at((now) => book.forecast(key, now)),
    preflight: (work, { key = defaults.key } = {}) => at((now) => Preflight.judge(work, book.balance(key, now))),
    alerts: Stream.fromPubSub(alerts),
    report: Effect.gen(function*() {
      const now = (yield* Clock.currentTimeMillis) / 1000
      const ledger = book.state()
      const names = new Set([...HashMap.keys(ledger.keys), ...HashMap.keys(ledger.statements), ...gates.keys()])
      const keys = yield* Effect.forEach(
        [...names].toSorted(),
        (key) =>
          Effect.map(Effect.all([gate(key).state, gate(key).waiting]), ([account, waiting]) => ({
            key,
            tally: Ledger.tally(ledger.keys, key),
            account,
            waiting,
            balance: book.balance(key, now)
          }))
      )
      return { keys, budgets: Ledger.budgetStatus(ledger) }
    })
  })
})

/** Provides the guard. */
export const layer = (options: Options = {}): Layer.Layer<Credits> => Layer.effect(Credits, make(options))

/**
 * Provides the guard from configuration, by default from {@link config}.
 *
 * **Errors**: `ConfigError` where a value is not what it should be.
 */
export const layerConfig = (options: Config.Config<Options> = config): Layer.Layer<Credits, Config.ConfigError> =>
  Layer.effect(Credits, Effect.flatMap(options, make))

/** Runs a handler on every alert for as long as the layer lives: `Credits.layerAlerts(CreditAlerts.log)`. */
export const layerAlerts = <R>(
  handler: (alert: Alert) => Effect.Effect<void, never, R>
): Layer.Layer<never, never, Credits | R> =>
  Layer.effectDiscard(
    Effect.flatMap(Credits, (credits) =>
      Effect.forkScoped(Stream.runForEach(credits.alerts, handler), { startImmediately: true }))
  )

/**
 * Runs a call under the guard in context: reserves, runs, settles, and survives an empty balance.
 *
 * **Errors**: those of the effect, `BudgetExceededError` before anything is sent, `InsufficientCreditsError` while the
 * account is suspended (policy `"fail"`, or a wait that ended).
 *
 * **Example**
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Credits, Money, Price } from "effect-together"
 *
 * const price = Price.stated({ model: "m", inputUsdPerMillion: "0.15", outputUsdPerMillion: "0.60" })
 * const call = Effect.succeed({ inputTokens: 980, outputTokens: 250, cachedInputTokens: 0, reasoningTokens: 0 })
 *
 * const program = Effect.gen(function*() {
 *   yield* Credits.run(call, {
 *     estimate: Price.ofCall(price, "m", { inputTokens: 1000, outputTokens: 300, maxOutputTokens: 1000 }),
 *     cost: (usage) => Price.ofUsage(price, "m", usage)
 *   })
 *   const credits = yield* Credits.Credits
 *   const { keys } = yield* credits.report
 *   return Money.toUsd(keys[0]?.tally.settled ?? 0n)
 * })
 *
 * await Effect.runPromise(Effect.provide(program, Credits.layer())) // => "0.000297"
 * ```
 */
export const run: {
  <A, E>(
    options: RunOptions<A, E>
  ): <R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | BudgetExceededError | InsufficientCreditsError, R | Credits>
  <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options: RunOptions<A, E>
  ): Effect.Effect<A, E | BudgetExceededError | InsufficientCreditsError, R | Credits>
} = dual(
  2,
  <A, E, R>(effect: Effect.Effect<A, E, R>, options: RunOptions<A, E>) =>
    Effect.flatMap(Credits, (credits) => credits.run(effect, options))
)

/** Runs a stream under the guard in context; whenever it stops, what arrived is charged. */
export const stream: {
  <A>(
    options: StreamOptions<A>
  ): <E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<A, E | BudgetExceededError | InsufficientCreditsError, R | Credits>
  <A, E, R>(
    self: Stream.Stream<A, E, R>,
    options: StreamOptions<A>
  ): Stream.Stream<A, E | BudgetExceededError | InsufficientCreditsError, R | Credits>
} = dual(
  2,
  <A, E, R>(self: Stream.Stream<A, E, R>, options: StreamOptions<A>) =>
    Stream.unwrap(Effect.map(Credits, (credits) => credits.stream(self, options)))
)

/** Lets calls of a suspended account pass again at once, by hand; false where they already do. */
export const resume = (key?: string): Effect.Effect<boolean, never, Credits> =>
  Effect.flatMap(Credits, (credits) => credits.resume(key))

/** Judges whether the balance can pay for work. */
export const preflight = (
  work: Preflight.Work,
  options?: { readonly key?: string | undefined }
): Effect.Effect<Preflight.Verdict, never, Credits> =>
  Effect.flatMap(Credits, (credits) => credits.preflight(work, options))
