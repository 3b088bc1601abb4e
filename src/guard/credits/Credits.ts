/**
 * The credits guard: money is reserved before a call, settled after it, and an empty balance is survived.
 *
 *     enter   account active?  no → fail, or wait to be released or elected to probe
 *     reserve estimate's upper bound fits every budget, and the ledger can be written?  no → BudgetExceededError, nothing sent
 *     run     the call; refused for want of credit → the account is suspended, this call enters again
 *     settle  real cost, or refund; interrupted streams pay for what arrived
 *
 * `run` does all of it around any effect, `stream` around any stream, `open` in a scope; `reserve` and `check` are the
 * parts. A client that queues calls behind this guard asks `check` once more before it sends, so that a suspension also
 * stops what had passed already. A client that sends a call several times runs each time by `attempt`, so that no
 * attempt goes unpaid.
 *
 * Reserving is one synchronous step over a pure ledger (`policy/Ledger`): with
 * thousands of fibers, exactly the calls that fit are sent. A reservation ends
 * once, whatever happens: success, failure, interruption, closed scope.
 *
 * Without budgets the guard still counts, and still suspends.
 *
 * **Gotchas**: `account` is a short name of the caller's own for the organization
 * that pays, never an API key. Keys of one organization share a balance, so their
 * calls share the name.
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Take from "effect/Take"
import * as Money from "../../domain/Money.ts"
import * as Remedy from "../../domain/Remedy.ts"
import type { BudgetExceededError, InsufficientCreditsError } from "../../domain/TogetherError.ts"
import type * as Account from "../../policy/Account.ts"
import * as BudgetAlert from "../../policy/BudgetAlert.ts"
import * as BudgetStatus from "../../policy/BudgetStatus.ts"
import type * as Forecast from "../../policy/Forecast.ts"
import * as Ledger from "../../policy/Ledger.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import * as Preflight from "../../policy/Preflight.ts"
import * as AccountGate from "./AccountGate.ts"
import type { Leave } from "./AccountTurns.ts"
import * as ConfiguredGuard from "../ConfiguredGuard.ts"
import type { Alert } from "./CreditAlerts.ts"
import * as CreditAlerts from "./CreditAlerts.ts"
import type { RunOptions, StreamOptions } from "./CreditCall.ts"
import * as CreditCall from "./CreditCall.ts"
import { autoRechargeProbe, check, config, defaults, slowProbe } from "./CreditOptions.ts"
import type { BalanceStatement, Options } from "./CreditOptions.ts"
import * as Telemetry from "./CreditTelemetry.ts"
import * as CreditTicket from "./CreditTicket.ts"
import * as LedgerBook from "../ledger/LedgerBook.ts"
import * as LedgerStore from "../ledger/LedgerStore.ts"

export { type Opened, type Request, type RunOptions, type StreamOptions } from "./CreditCall.ts"
export { mayBeBilled, type Reservation } from "./CreditPurse.ts"
export { CurrentTicket, type Ticket } from "./CreditTicket.ts"
export {
  autoRechargeProbe,
  type BalanceStatement,
  config,
  defaults,
  type Options,
  probeAfterShare,
  slowProbe,
  type WhenSuspended
} from "./CreditOptions.ts"

/** Sums up the ledger. */
export interface Report {
  readonly accounts: ReadonlyArray<{
    readonly account: string
    readonly tally: Ledger.Tally
    readonly state: Account.State
    readonly waiting: number
    readonly balance: Ledger.Balance | undefined
  }>
  /** What is left of each budget for the present run and day. */
  readonly budgets: ReadonlyArray<BudgetStatus.BudgetStatus>
}

/** Guards money: the calls, and what is known of accounts, balances and budgets. */
export interface Service extends CreditCall.Calls {
  /** Lets an attempt be sent, or fails it unsent because its account is suspended. Ask last before sending. */
  readonly check: (account?: string) => Effect.Effect<void, InsufficientCreditsError>
  /** Tells that the provider answered the current call (see {@link CurrentTicket}). */
  readonly accepted: Effect.Effect<void>
  /** Suspends an account by hand, as a 402 seen elsewhere does. */
  readonly suspend: (account?: string) => Effect.Effect<void>
  /** Lets calls pass again at once; false where they already do. */
  readonly resume: (account?: string) => Effect.Effect<boolean>
  /** Reads whether an account may send. */
  readonly account: (account?: string) => Effect.Effect<Account.State>
  /** Counts a rate limit, towards `RepeatedRateLimits`. */
  readonly rateLimited: (
    options: { readonly account?: string | undefined; readonly model: string }
  ) => Effect.Effect<void>
  /** States a balance, read on the billing page just now. */
  readonly stateBalance: (statement: BalanceStatement) => Effect.Effect<void>
  /** Reads what an account has spent and reserved: its part of the report, at the cost of a look. */
  readonly tally: (account?: string) => Effect.Effect<Ledger.Tally>
  /** Reads the balance carried forward from its last statement, if there is one. */
  readonly balance: (account?: string) => Effect.Effect<Ledger.Balance | undefined>
  /** Forecasts how long the balance lasts, if one was stated. */
  readonly forecast: (account?: string) => Effect.Effect<Forecast.Forecast | undefined>
  /** Judges whether the balance can pay for work. */
  readonly preflight: (
    work: Preflight.Work,
    options?: { readonly account?: string | undefined }
  ) => Effect.Effect<Preflight.Verdict>
  /** News, from the moment of subscription on, until the scope of the guard closes. The latest 256 are kept for a slow reader. */
  readonly alerts: Stream.Stream<Alert>
  readonly report: Effect.Effect<Report>
}

/** Guards money: see the module header. */
export class Credits extends Context.Service<Credits, Service>()("effect-together/Credits") {}

/** Reads the time of day in seconds. */
const nowSeconds: Effect.Effect<number> = Effect.map(Clock.currentTimeMillis, (millis) => millis / 1000)

const statements = (given: Options["balance"] = []): Effect.Effect<ReadonlyArray<BalanceStatement>> =>
  Effect.isEffect(given) ? given : Effect.succeed(given)

const leaveOf = (ticket: CreditTicket.Ticket | undefined): Leave | undefined =>
  ticket === undefined ? undefined : CreditTicket.Ticket.held(ticket).leave

/** Reads a statement, and refuses one whose free part is more than the whole. */
const stated = (given: BalanceStatement) => {
  const [balance, free] = [Money.from(given.balance), Money.from(given.free ?? 0n)]
  if (free < 0n || free > Money.max(0n, balance)) {
    const range = `at least $0 and at most the balance of ${Money.format(balance)}`
    OptionCheck.refuse("Credits.stateBalance", "free", range, Money.format(free))
  }
  return { account: given.account ?? defaults.account, balance, free }
}

/** Makes what counts rate limits, model by model, and alerts where they keep coming. */
const rateLimits = (
  given: BudgetAlert.Options,
  publish: (alert: Alert) => Effect.Effect<void>
): Service["rateLimited"] => {
  const options = BudgetAlert.check(given)
  const { count, windowSeconds } = options
  const states = new Map<string, BudgetAlert.State>()
  return ({ account = defaults.account, model }) =>
    Effect.flatMap(nowSeconds, (at) => {
      const name = `${account}\u0000${model}`
      const [alert, next] = BudgetAlert.rateLimited(states.get(name) ?? BudgetAlert.initial, options, at)
      states.set(name, next)
      if (!alert) return Effect.void
      return publish({
        _tag: "RepeatedRateLimits",
        at,
        account,
        model,
        count,
        windowSeconds,
        message: `${count} rate limits of ${model} within ${windowSeconds} s: the load is above what account ` +
          `"${account}" may send. Spread it, move it to the Batch API, or ask Together for provisioned throughput.`
      })
    })
}

/**
 * Makes a guard over the store in context (`LedgerStore`, memory by default).
 *
 * **Details**: reads the balance once. Calls that a stopped program left open are ended first.
 *
 * **Errors**: defects with `RangeError` for bad options (two budgets of one name, …).
 */
export const make = Effect.fnUntraced(function*(given: Options = {}): Effect.fn.Return<Service, never, Scope.Scope> {
  const options = check(given)
  const scope = yield* Scope.Scope
  const store = yield* LedgerStore.LedgerStore
  const openedAt = yield* Clock.currentTimeMillis
  const alerts = yield* PubSub.sliding<Take.Take<Alert>>(256)
  yield* Scope.addFinalizer(scope, PubSub.end(alerts, Exit.void))
  const publish = (alert: Alert): Effect.Effect<void> => Effect.asVoid(PubSub.publish(alerts, [alert]))
  const rateLimited = rateLimits(options.rateLimitAlert ?? defaults.rateLimitAlert, publish)
  const book = yield* LedgerBook.make({
    store,
    budgets: options.budgets ?? [],
    run: options.run ?? `run-${openedAt}`,
    dayOffset: options.dayOffset ?? defaults.dayOffset,
    unknownPrice: options.unknownPrice ?? defaults.unknownPrice,
    orphans: options.orphans ?? defaults.orphans,
    whenUnwritable: options.whenUnwritable ?? defaults.whenUnwritable,
    lowBalance: options.lowBalance ?? defaults.lowBalance,
    autoRecharge: options.autoRecharge,
    publish
  })

  const onEvent =
    (account: string, remedy: AccountGate.Options["remedy"]) => (event: AccountGate.Event): Effect.Effect<void> =>
      Effect.flatMap(nowSeconds, (at) => {
        const ended = event._tag === "ProbingEnded" || (event._tag === "Suspended" && event.probeAt === undefined)
        const alert = CreditAlerts.ofGate(account, event, at, remedy(at, ended))
        return Effect.andThen(Telemetry.ofGate(event), publish(alert))
      })

  const whenSuspended = options.whenSuspended ?? defaults.whenSuspended
  const gates = new Map<string, AccountGate.Gate>()
  const gate = (account: string = defaults.account): AccountGate.Gate => {
    const existing = gates.get(account)
    if (existing !== undefined) return existing
    const remedy = (now: number, ended: boolean): string => {
      const balance = book.balance(account, now)
      const cure = Remedy.insufficientCredits({ balance: balance?.expected, free: balance?.free })
      if (ended) return `${cure} ${Remedy.resumptionByHand}`
      return whenSuspended === "fail" ? cure : `${cure} ${Remedy.resumption}`
    }
    const made = AccountGate.make({
      account,
      scope,
      probe: options.probe ?? (options.autoRecharge === undefined ? slowProbe : autoRechargeProbe),
      onEvent: onEvent(account, remedy),
      remedy
    })
    gates.set(account, made)
    return made
  }

  const calls = CreditCall.make({ book, gate, whenSuspended })

  const state = (given: BalanceStatement, declared: boolean): Effect.Effect<void> =>
    Effect.suspend(() => book.stateBalance(stated(given), declared))
  yield* Effect.flatMap(statements(options.balance), Effect.forEach((given) => state(given, true), { discard: true }))

  return Credits.of({
    ...calls,
    check: (account) => Effect.flatMap(CreditTicket.CurrentTicket, (ticket) => gate(account).check(leaveOf(ticket))),
    accepted: Effect.flatMap(
      CreditTicket.CurrentTicket,
      (ticket) => ticket === undefined ? Effect.void : CreditTicket.accepted(ticket)
    ),
    suspend: (account) => gate(account).suspend,
    resume: (account) => gate(account).resume,
    account: (account) => gate(account).state,
    rateLimited,
    stateBalance: (given) => state(given, false),
    tally: (account = defaults.account) => Effect.sync(() => Ledger.tally(book.state().accounts, account)),
    balance: (account = defaults.account) => Effect.map(nowSeconds, (now) => book.balance(account, now)),
    forecast: (account = defaults.account) => Effect.map(nowSeconds, (now) => book.forecast(account, now)),
    preflight: (work, { account = defaults.account } = {}) =>
      Effect.map(nowSeconds, (now) => Preflight.judge(work, book.balance(account, now))),
    alerts: Stream.fromPubSubTake(alerts),
    report: Effect.gen(function*() {
      const now = yield* nowSeconds
      const ledger = book.state()
      const names = new Set([...HashMap.keys(ledger.accounts), ...HashMap.keys(ledger.statements), ...gates.keys()])
      const accounts = yield* Effect.forEach(
        [...names].toSorted(),
        (account) =>
          Effect.map(Effect.all([gate(account).state, gate(account).waiting]), ([state, waiting]) => ({
            account,
            tally: Ledger.tally(ledger.accounts, account),
            state,
            waiting,
            balance: book.balance(account, now)
          }))
      )
      return { accounts, budgets: BudgetStatus.list(ledger, now) }
    })
  })
})

/** Provides the guard. */
export const layer = (options: Options = {}): Layer.Layer<Credits> => Layer.effect(Credits, make(options))

/**
 * Provides the guard from configuration, by default from {@link config}; or give each option a variable of its own.
 *
 * **Errors**: `ConfigError` where a value is not what it should be, or is out of its range.
 */
export const layerConfig = (options: Config.Wrap<Options> = config): Layer.Layer<Credits, Config.ConfigError> =>
  Layer.effect(Credits, ConfiguredGuard.make(Config.unwrap(options), make))

/**
 * Runs a handler on every alert for as long as the layer lives: `Credits.layerAlerts(CreditAlerts.log)`.
 *
 * **Gotchas**: a handler that dies is logged, and hears of the next alert all the same.
 */
export const layerAlerts = <R>(
  handler: (alert: Alert) => Effect.Effect<void, never, R>
): Layer.Layer<never, never, Credits | R> =>
  Layer.effectDiscard(
    Effect.flatMap(Credits, (credits) =>
      Stream.runForEach(credits.alerts, (alert) =>
        Effect.suspend(() =>
          handler(alert)
        ).pipe(
          Effect.catchCause((cause) =>
            Effect.logError(`Credits.layerAlerts: the handler of ${alert._tag} has died`, cause)
          )
        )).pipe(Effect.forkScoped({ startImmediately: true })))
  )

/**
 * Runs a call under the guard in context: reserves, runs, settles, and survives an empty balance.
 *
 * **Errors**: those of the effect, `BudgetExceededError` before anything is sent (its `reason` says why),
 * `InsufficientCreditsError` while the account is suspended (policy `"fail"`, or a wait that ended).
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
 *   const { accounts } = yield* credits.report
 *   return Money.toUsd(accounts[0]?.tally.settled ?? 0n)
 * })
 *
 * await Effect.runPromise(Effect.provide(program, Credits.layer())) // => "0.000297"
 * ```
 */
export const run: {
  // two data-last forms, so that a `cost` written in place reads the effect's types, and one that is not decides none
  <A, E>(
    options: RunOptions<NoInfer<A>, NoInfer<E>>
  ): <R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | BudgetExceededError | InsufficientCreditsError, R | Credits>
  <A, E>(
    options: RunOptions<A, E>
  ): <B extends A, F extends E, R>(
    effect: Effect.Effect<B, F, R>
  ) => Effect.Effect<B, F | BudgetExceededError | InsufficientCreditsError, R | Credits>
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
  // two data-last forms, as of `run`
  <A>(
    options: StreamOptions<NoInfer<A>>
  ): <E, R>(
    self: Stream.Stream<A, E, R>
  ) => Stream.Stream<A, E | BudgetExceededError | InsufficientCreditsError, R | Credits>
  <A>(
    options: StreamOptions<A>
  ): <B extends A, E, R>(
    self: Stream.Stream<B, E, R>
  ) => Stream.Stream<B, E | BudgetExceededError | InsufficientCreditsError, R | Credits>
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
export const resume = (account?: string): Effect.Effect<boolean, never, Credits> =>
  Effect.flatMap(Credits, (credits) => credits.resume(account))

/** Judges whether the balance can pay for work. */
export const preflight = (
  work: Preflight.Work,
  options?: { readonly account?: string | undefined }
): Effect.Effect<Preflight.Verdict, never, Credits> =>
  Effect.flatMap(Credits, (credits) => credits.preflight(work, options))
