/**
 * The sums of money: what is reserved, what is spent, and whether one more call fits.
 *
 *     decide   (state, request) → Reserved entry | Refused by a budget
 *     apply    (state, entry)   → state
 *
 * The ledger is a fold over its entries: a running program applies each entry
 * as it decides it, a restarted one applies the entries of its file, and both
 * arrive at the same state. One call writes two entries: `Reserve` when it
 * starts, then `Settle` or `Refund`. A second ending of the same reservation
 * changes nothing, nor does the same reservation a second time while it is open.
 *
 * A counter admits a call only if `settled + reserved + high ≤ limit`, with
 * `high` the upper bound of the call's estimate. So spending passes a limit
 * only by what settled above its own upper bound; that sum is `overshoot`.
 * A call that cannot cost anything (`high` zero) always fits, also under a
 * limit that was passed: it spends nothing.
 *
 * What nobody can know is kept apart, not guessed away: `uncertain` is the
 * part of `settled` that was assumed, `atRisk` is what was refunded although
 * the provider may have billed it, `unpriced` counts calls without a price.
 *
 * Counters of days before yesterday are forgotten once they hold no open call:
 * a program that runs for years does not grow by its days.
 */
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Money from "../domain/Money.ts"
import * as Budget from "./Budget.ts"
import { type Entry, type Reserve, type Settle, standsAsDeclared, type Stated } from "./LedgerEntry.ts"
import { emptyTally, ending, plus, type Tally } from "./LedgerTally.ts"
import * as OptionCheck from "./OptionCheck.ts"
import type * as Price from "./Price.ts"

export { Entry, Refund, Reserve, Settle, Stated, Summary } from "./LedgerEntry.ts"
export { emptyTally, type Tally } from "./LedgerTally.ts"

/** Holds a balance as stated, with what the account had spent until then. */
export interface Statement {
  readonly balance: Money.NanoUsd
  readonly free: Money.NanoUsd
  readonly at: number
  readonly before: Tally
}

/** Holds a ledger. Persistent: a step shares all it does not change. */
export interface State {
  readonly budgets: ReadonlyArray<Budget.Budget>
  readonly run: string
  readonly dayOffsetSeconds: number
  /** The latest day of a reservation: those before the day before it are forgotten. */
  readonly day: number
  readonly nextId: number
  readonly open: HashMap.HashMap<number, Reserve>
  readonly counters: HashMap.HashMap<string, Tally>
  readonly accounts: HashMap.HashMap<string, Tally>
  readonly statements: HashMap.HashMap<string, Statement>
  /** The last statement of each account that stood in the configuration. */
  readonly declared: HashMap.HashMap<string, Stated>
}

/**
 * Opens an empty ledger.
 *
 * **Errors**: `RangeError` where two budgets share a name, or the offset of the day is not finite.
 */
export const make = (options: {
  readonly budgets: ReadonlyArray<Budget.Budget>
  readonly run: string
  /** Seconds by which the day starts before UTC's: 3600 for UTC+1. */
  readonly dayOffsetSeconds?: number | undefined
}): State => {
  const names = new Set<string>()
  for (const budget of options.budgets) {
    if (names.has(budget.name)) OptionCheck.refuse("Ledger.make", "budget names", "unique", `"${budget.name}" twice`)
    names.add(budget.name)
  }
  const dayOffsetSeconds = options.dayOffsetSeconds ?? 0
  OptionCheck.between("Ledger.make", "dayOffsetSeconds", dayOffsetSeconds, -Infinity, Infinity)
  return {
    budgets: options.budgets,
    run: options.run,
    dayOffsetSeconds,
    day: 0,
    nextId: 1,
    open: HashMap.empty(),
    counters: HashMap.empty(),
    accounts: HashMap.empty(),
    statements: HashMap.empty(),
    declared: HashMap.empty()
  }
}

/** Reads a tally; what was never counted is empty. */
export const tally = (tallies: HashMap.HashMap<string, Tally>, id: string): Tally =>
  Option.getOrElse(HashMap.get(tallies, id), () => emptyTally)

/** Pairs each budget that applies to a reservation with the name of its counter. */
export const countersOf = (
  state: State,
  entry: Pick<Reserve, "run" | "account" | "label" | "at">
): ReadonlyArray<readonly [Budget.Budget, string]> => {
  const facts = {
    run: entry.run,
    account: entry.account,
    label: entry.label,
    day: Budget.dayOf(entry.at, state.dayOffsetSeconds)
  }
  const counters: Array<readonly [Budget.Budget, string]> = []
  for (const budget of state.budgets) {
    const id = Budget.counterOf(budget, facts)
    if (id !== undefined) counters.push([budget, id])
  }
  return counters
}

/** Changes the tally of every counter that a call falls under, and that of its account. */
const changeAll = (
  state: State,
  entry: Pick<Reserve, "run" | "account" | "label" | "at">,
  change: (tally: Tally) => Tally
): Pick<State, "counters" | "accounts"> => {
  let counters = state.counters
  for (const [, id] of countersOf(state, entry)) counters = HashMap.set(counters, id, change(tally(counters, id)))
  return {
    counters,
    accounts: HashMap.set(state.accounts, entry.account, change(tally(state.accounts, entry.account)))
  }
}

/**
 * Forgets the counters of days before yesterday as a day begins. Those of open calls stay for their endings, and those of
 * the day that ends: a clock that ran ahead comes back to it.
 */
const beginDay = (state: State, at: number): State => {
  const day = Budget.dayOf(at, state.dayOffsetSeconds)
  if (day <= state.day) return state
  const oldest = state.day === 0 ? day - 1 : Math.min(day - 1, state.day)
  const isPast = (counter: string): boolean =>
    state.budgets.some((budget) => Number(Budget.dimensionsOf(budget, counter)?.day) < oldest)
  const counters = HashMap.filter(state.counters, ({ open }, counter) => open > 0 || !isPast(counter))
  return { ...state, day, counters }
}

/** Applies an entry. An ending of what is not open changes nothing, nor does a reservation whose id is open. */
export const apply = (state: State, entry: Entry): State => {
  switch (entry._tag) {
    case "Reserve": {
      if (HashMap.has(state.open, entry.id)) return state
      const today = beginDay(state, entry.at)
      return {
        ...today,
        ...changeAll(today, entry, (t) => ({ ...t, reserved: t.reserved + (entry.high ?? 0n), open: t.open + 1 })),
        nextId: Math.max(state.nextId, entry.id + 1),
        open: HashMap.set(state.open, entry.id, entry)
      }
    }
    case "Stated":
      return {
        ...state,
        statements: HashMap.set(state.statements, entry.account, {
          balance: entry.balance,
          free: entry.free,
          at: entry.at,
          before: tally(state.accounts, entry.account)
        }),
        declared: standsAsDeclared(entry, Option.getOrUndefined(HashMap.get(state.declared, entry.account)))
          ? HashMap.set(state.declared, entry.account, entry)
          : state.declared
      }
    case "Summary": {
      const today = beginDay(state, entry.at)
      return { ...today, ...changeAll(today, entry, (t) => plus(t, entry)) }
    }
    case "Settle":
    case "Refund": {
      const found = HashMap.get(state.open, entry.id)
      if (Option.isNone(found)) return state
      const reserve = found.value
      const sums = ending(reserve, entry)
      const change = (t: Tally): Tally => ({
        ...plus(t, sums),
        reserved: t.reserved - (reserve.high ?? 0n),
        open: t.open - 1
      })
      return { ...state, ...changeAll(state, reserve, change), open: HashMap.remove(state.open, entry.id) }
    }
  }
}

/** Asks for room for one call. */
export interface Request {
  readonly account: string
  readonly label: string
  readonly estimate: Price.Estimate
}

/** Says whether a call fits: the entry that reserves it, or the first budget without room. */
export type Decision =
  | { readonly _tag: "Reserved"; readonly entry: Reserve }
  | {
    readonly _tag: "Refused"
    readonly budget: Budget.Budget
    readonly counter: string
    /** `no-room`: the limit leaves none. `unknown-price`: the budget cannot hold what has no price. */
    readonly reason: "no-room" | "unknown-price"
    readonly needed: Money.NanoUsd
    readonly remaining: Money.NanoUsd
  }

/** Gives what is left under a counter: never below zero. */
export const remaining = (budget: Budget.Budget, tally: Tally): Money.NanoUsd =>
  Money.max(0n, budget.limit - tally.settled - tally.reserved)

/**
 * Decides on a reservation; the caller applies the entry.
 *
 * **Details**: all budgets that apply must have room for the estimate's upper
 * bound; an upper bound of zero always fits. An unknown price fits where no budget applies, or where the caller
 * allows it (`unknownPrice: "allow"`): then it reserves nothing and counts as unpriced.
 */
export const decide = (
  state: State,
  request: Request,
  now: number,
  unknownPrice: "refuse" | "allow" = "refuse"
): Decision => {
  const { estimate } = request
  const base = { at: now, run: state.run, account: request.account, label: request.label }
  const high = estimate._tag === "Known" ? estimate.high : undefined
  if (high !== undefined || unknownPrice === "refuse") {
    for (const [budget, counter] of countersOf(state, base)) {
      const left = remaining(budget, tally(state.counters, counter))
      if (high === undefined || high > left) {
        const reason = high === undefined ? "unknown-price" : "no-room"
        return { _tag: "Refused", budget, counter, reason, needed: high ?? 0n, remaining: left }
      }
    }
  }
  return {
    _tag: "Reserved",
    entry: {
      _tag: "Reserve",
      id: state.nextId,
      ...base,
      ...(estimate._tag === "Known" ? { high: estimate.high, expected: estimate.expected } : {})
    }
  }
}

/**
 * Tells whether a balance in the configuration is the one that stood there before: it was recorded then.
 *
 * **Details**: statements made in between do not count. In a ledger of an earlier version, which does not say of a statement
 * where it stood, the last one stands for it.
 */
export const isDeclared = (
  state: State,
  { account, balance, free }: Pick<Stated, "account" | "balance" | "free">
): boolean => {
  const last = HashMap.get(state.declared, account)
  return Option.isSome(last) && last.value.balance === balance && last.value.free === free
}

/**
 * Writes the entry that settles a reservation.
 *
 * **Details**: an unknown cost is taken as the reserved upper bound, and marked as assumed.
 */
export const settlement = (reserve: Reserve, cost: Price.Cost, now: number): Settle => {
  if (cost._tag !== "Unknown") {
    return { _tag: "Settle", id: reserve.id, at: now, cost: cost.nanoUsd, sure: cost._tag === "Known" }
  }
  return reserve.high === undefined
    ? { _tag: "Settle", id: reserve.id, at: now, sure: false }
    : { _tag: "Settle", id: reserve.id, at: now, cost: reserve.high, sure: false }
}

/** Names an alert threshold that a settlement carried a counter across. */
export interface Crossing {
  readonly budget: Budget.Budget
  readonly counter: string
  readonly threshold: number
  readonly settled: Money.NanoUsd
}

/**
 * Finds the highest threshold of each counter that lies between two states.
 *
 * **Details**: of the counters that the call would fall under now. What an earlier day or another run has spent says
 * nothing of what is left.
 */
export const crossings = (before: State, after: State, reserve: Reserve, now: number): ReadonlyArray<Crossing> =>
  countersOf(after, { ...reserve, run: after.run, at: now }).flatMap(([budget, counter]) => {
    const was = tally(before.counters, counter).settled
    const settled = tally(after.counters, counter).settled
    const share = (amount: Money.NanoUsd) => Number(amount * 1_000_000n / budget.limit) / 1_000_000
    const [from, to] = [share(was), share(settled)]
    const threshold = budget.warnAt.findLast((at) => from < at && to >= at)
    return threshold === undefined ? [] : [{ budget, counter, threshold, settled }]
  })

/**
 * Writes the entries that end what a stopped program left open, one per reservation; the caller applies them.
 *
 * **Details**: `charge` takes the upper bound as spent, marked as assumed, since the
 * provider may have answered and billed; `refund` gives it back, as at risk.
 */
export const recover = (state: State, orphans: "charge" | "refund", now: number): ReadonlyArray<Entry> =>
  Array.from(HashMap.values(state.open), (reserve): Entry =>
    orphans === "charge"
      ? settlement(reserve, { _tag: "Unknown", reason: "the program stopped before the answer" }, now)
      : { _tag: "Refund", id: reserve.id, at: now, atRisk: true })

/**
 * A balance carried forward from its last statement.
 *
 * **Details**: `low ≤ expected ≤ high`. `expected` is the statement less all that was
 * settled since; `low` also takes all calls under way at their upper bounds and
 * all refunds at risk as billed; `high` takes no assumed amount as billed.
 */
export interface Balance {
  readonly low: Money.NanoUsd
  readonly expected: Money.NanoUsd
  readonly high: Money.NanoUsd
  readonly stated: Money.NanoUsd
  /** The part of the statement that was given, not bought. */
  readonly free: Money.NanoUsd
  readonly spentSince: Money.NanoUsd
  readonly ageSeconds: number
  /** `stated`: nothing happened since. `carried`: all since is priced. `uncertain`: some of it is not. */
  readonly certainty: "stated" | "carried" | "uncertain"
  /** Answered calls without a known cost since the statement: no bound covers them. */
  readonly unpricedSince: number
}

/** Carries an account's balance forward to `now`, or gives nothing where none was stated. */
export const balance = (state: State, account: string, now: number): Balance | undefined => {
  const found = HashMap.get(state.statements, account)
  if (Option.isNone(found)) return undefined
  const { at, balance: stated, before, free } = found.value
  const current = tally(state.accounts, account)
  const spentSince = current.settled - before.settled
  const uncertain = current.uncertain - before.uncertain
  const atRisk = current.atRisk - before.atRisk
  const unpricedSince = current.unpriced - before.unpriced
  const expected = stated - spentSince
  return {
    low: expected - current.reserved - atRisk,
    expected,
    high: expected + uncertain,
    stated,
    free,
    spentSince,
    ageSeconds: Math.max(0, now - at),
    certainty: uncertain > 0n || atRisk > 0n || unpricedSince > 0
      ? "uncertain"
      : current.calls === before.calls && current.open === 0
      ? "stated"
      : "carried",
    unpricedSince
  }
}
