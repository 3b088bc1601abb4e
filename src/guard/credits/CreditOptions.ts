/**
 * What the credits guard can be told: budgets, balance, waiting, probing; and all its defaults.
 *
 * Everything is optional: without options the guard counts, and suspends an
 * account that ran out of credit. The module is re-exported by `Credits`.
 */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Money from "../../domain/Money.ts"
import type * as AutoRecharge from "../../policy/AutoRecharge.ts"
import * as Budget from "../../policy/Budget.ts"
import * as BudgetAlert from "../../policy/BudgetAlert.ts"
import * as OptionCheck from "../../policy/OptionCheck.ts"
import type * as AccountGate from "./AccountGate.ts"
import type * as ProbeTimer from "./ProbeTimer.ts"
import * as FailOrWait from "../FailOrWait.ts"
import * as Millis from "../Millis.ts"

/** What a call does while its account is suspended: fail at once, wait as long as it takes, or wait so long. */
export type WhenSuspended = AccountGate.WhenSuspended

/** A balance as its owner read it on the billing page. */
export interface BalanceStatement {
  /** Names the account that the balance is of. Default: `"default"`. */
  readonly account?: string | undefined
  /** All that is left, the free part included: nano-dollars, or dollars as text (`"$25"`). */
  readonly balance: Money.Input
  /** The part that was given, not bought; at most the balance. Default: none. */
  readonly free?: Money.Input | undefined
}

/**
 * Makes a schedule of probes whose delay is a share of the time suspended so far, within bounds.
 *
 * **Details**: `delay = min(max(atLeast, suspended × share), atMost)`. So the delay until a top-up is noticed is at
 * most that share of the outage, whether it is short or long, and the number of probes grows with the logarithm of the
 * outage.
 *
 * **Errors**: `RangeError` for a share outside [0, 1], or where `atLeast` is not positive or `atMost` is below it.
 */
export const probeAfterShare = (options: {
  readonly atLeast: Duration.Input
  readonly share: number
  readonly atMost: Duration.Input
}): ProbeTimer.ProbeSchedule => {
  const share = OptionCheck.within("Credits.probeAfterShare", "share", options.share, 0, 1)
  const leastMillis = Millis.positive("Credits.probeAfterShare: atLeast", options.atLeast)
  const atLeast = leastMillis / 1000
  const atMost = Millis.notBelow("Credits.probeAfterShare: atMost", options.atMost, "atLeast", leastMillis) / 1000
  return Schedule.fromStep(Effect.succeed((_now: number, input: ProbeTimer.ProbeInput) =>
    Effect.succeed([
      input.probes,
      Duration.seconds(Math.min(Math.max(atLeast, input.suspendedSeconds * share), atMost))
    ])
  ))
}

/** Probes after a sixtieth of the outage, every 10 s at first and every 5 min at last: a purchase by hand shows within moments. */
export const slowProbe: ProbeTimer.ProbeSchedule = probeAfterShare({
  atLeast: "10 seconds",
  share: 1 / 60,
  atMost: "5 minutes"
})

/** Probes likewise, but every 2 s at first: auto-recharge buys on its own, and a card takes moments. */
export const autoRechargeProbe: ProbeTimer.ProbeSchedule = probeAfterShare({
  atLeast: "2 seconds",
  share: 1 / 60,
  atMost: "5 minutes"
})

/** Configures the guard. Every field has a default. */
export interface Options {
  /** What may be spent. Default: no limit. */
  readonly budgets?: ReadonlyArray<Budget.Budget> | undefined
  /** Names this run for budgets per run: give a resumed job its old name. Default: unique by start time. */
  readonly run?: string | undefined
  /**
   * What calls do while their account is suspended: `"fail"` at once, `"wait"` as long as it takes, or
   * `{ wait: duration }`, above 0, after which they fail. A wait also ends with the deadline around the call, as soon as that
   * leaves no time for an attempt. Default: `"fail"`; a job sets `"wait"`.
   */
  readonly whenSuspended?: WhenSuspended | undefined
  /** When to probe. Default: `slowProbe`, with `autoRecharge` given `autoRechargeProbe`. */
  readonly probe?: ProbeTimer.ProbeSchedule | undefined
  /** How auto-recharge is set on the billing page, for forecasts and probes. Default: off. */
  readonly autoRecharge?: AutoRecharge.Settings | undefined
  /**
   * Balances, or where to read them. Default: none. A statement equal to the last one given here is taken for the same
   * one, whatever `stateBalance` said meanwhile, so that a configured balance does not undo what was spent since.
   */
  readonly balance?:
    | ReadonlyArray<BalanceStatement>
    | Effect.Effect<ReadonlyArray<BalanceStatement>>
    | undefined
  /**
   * What a budget does with a call whose price is unknown: `"refuse"` it with `BudgetExceededError`, or `"allow"` it,
   * counted as a call without a price. Default: `"refuse"`, since a budget that lets unpriced calls through does not
   * hold.
   */
  readonly unknownPrice?: "refuse" | "allow" | undefined
  /**
   * What becomes of calls that a stopped program left open in the ledger: `"charge"` at their upper bound, marked as
   * assumed, or `"refund"`. Default: `"charge"`, for the provider may have billed them.
   */
  readonly orphans?: "charge" | "refund" | undefined
  /**
   * What happens when the store cannot be written: `"stop"` sends no further call; `"continue"` sends on, keeps the
   * record in few entries, and writes it as soon as the store takes it. Default: `"stop"`.
   */
  readonly whenUnwritable?: "stop" | "continue" | undefined
  /**
   * How much earlier than in UTC a day begins, for budgets per day, within (-24 h, 24 h): `"2 hours"` for UTC+2, `"-5 hours"`
   * for UTC−5. The same all year: summer time moves no day. Default: 0, UTC.
   */
  readonly dayOffset?: Duration.Input | undefined
  /** When rate limits raise an alert. Default: `BudgetAlert.defaults`, 10 of one model within 60 s. */
  readonly rateLimitAlert?: BudgetAlert.Options | undefined
  /** Alerts when the balance is forecast to last less than this, at least 0. Default: 1 hour, time to buy credits. */
  readonly lowBalance?: Duration.Input | undefined
}

/** Holds the defaults of this module. */
export const defaults = {
  account: "default",
  label: "",
  /** An interactive caller wants to know at once; a job sets `"wait"`. */
  whenSuspended: "fail",
  /** A budget that lets unpriced calls through does not hold. */
  unknownPrice: "refuse",
  /** The provider may have billed an answer that nobody received: never overspend. */
  orphans: "charge",
  /** What cannot be recorded is not sent. */
  whenUnwritable: "stop",
  /** UTC. */
  dayOffset: Duration.zero,
  rateLimitAlert: BudgetAlert.defaults,
  /** Time enough for a person to buy credits. */
  lowBalance: Duration.hours(1)
} as const

const dayMillis = 86_400_000

/**
 * Checks what calls do while their account is suspended. `where` names the function.
 *
 * **Errors**: `RangeError` for a word that is none, and for a wait that is not above 0.
 */
export const checkWhenSuspended = (where: string, policy: WhenSuspended | undefined): void => {
  if (typeof policy === "string") FailOrWait.checked(where, "whenSuspended", policy)
  else if (policy !== undefined) Millis.positive(`${where}: whenSuspended.wait`, policy.wait)
}

/**
 * Checks what the types cannot.
 *
 * **Errors**: `RangeError` for a word that is none, a wait that is not positive, a day that is shifted by a day or more, a
 * negative bound.
 */
export const check = (options: Options): Options => {
  const { dayOffset, lowBalance, whenUnwritable, whenSuspended, orphans, unknownPrice } = options
  const where = "Credits.make"
  checkWhenSuspended(where, whenSuspended)
  OptionCheck.oneOf(where, "unknownPrice", unknownPrice ?? defaults.unknownPrice, ["refuse", "allow"])
  OptionCheck.oneOf(where, "orphans", orphans ?? defaults.orphans, ["charge", "refund"])
  OptionCheck.oneOf(where, "whenUnwritable", whenUnwritable ?? defaults.whenUnwritable, ["stop", "continue"])
  if (dayOffset !== undefined) {
    const range = "above -24 h and below 24 h"
    Millis.accepted("Credits.make: dayOffset", dayOffset, range, (millis) => Math.abs(millis) < dayMillis)
  }
  if (lowBalance !== undefined) Millis.notNegative("Credits.make: lowBalance", lowBalance)
  return options
}

const Limit = Money.UsdFromString.check(Schema.isGreaterThanBigInt(0n, { expected: "an amount above $0" }))

/**
 * Reads the guard's options from configuration.
 *
 * **Details**: `TOGETHER_CREDITS_RUN_BUDGET` and `TOGETHER_CREDITS_DAY_BUDGET` (dollars, as `"$25"`),
 * `TOGETHER_CREDITS_BALANCE` (dollars, as read on the billing page), `TOGETHER_CREDITS_RUN` (the name of the run) and
 * `TOGETHER_CREDITS_WHEN_SUSPENDED` (`fail` or `wait`). All are optional.
 *
 * **Gotchas**: Effect's `ConfigProvider` takes an empty variable for one that is not set, so an empty budget is none. A
 * provider with `preserveEmptyStrings: true` has it refused.
 *
 * **Errors**: `ConfigError` for what is no amount, and for a budget that is not above $0.
 */
export const config: Config.Config<Options> = Config.all({
  run: Config.String("TOGETHER_CREDITS_RUN").pipe(Config.withDefault(undefined)),
  runBudget: Config.option(Config.schema(Limit, "TOGETHER_CREDITS_RUN_BUDGET")),
  dayBudget: Config.option(Config.schema(Limit, "TOGETHER_CREDITS_DAY_BUDGET")),
  balance: Config.option(Config.schema(Money.UsdFromString, "TOGETHER_CREDITS_BALANCE")),
  whenSuspended: Config.Literals(["fail", "wait"], "TOGETHER_CREDITS_WHEN_SUSPENDED").pipe(
    Config.withDefault(undefined)
  )
}).pipe(Config.map(({ balance, dayBudget, whenSuspended, run, runBudget }): Options => ({
  run,
  whenSuspended,
  budgets: [
    ...Option.toArray(Option.map(runBudget, Budget.perRun)),
    ...Option.toArray(Option.map(dayBudget, Budget.perDay))
  ],
  balance: Option.toArray(Option.map(balance, (amount) => ({ balance: amount })))
})))
