/**
 * Budgets: what may be spent, counted apart per run, day, account or label, and nested.
 *
 * A budget has a limit and the dimensions by which it counts. Every budget that
 * applies to a call must have room for it, so budgets nest without being told:
 *
 *     perRun("$20")                         one pot for this run
 *     perDay("$50")                         a new pot every day (UTC, or shifted)
 *     perLabel("$5")                        a pot for each label
 *     make({ name: "evals per day", limit: "$2", per: ["day"], label: "evals" })
 *     make({ name: "each account's day", limit: "$9", per: ["account", "day"] })
 *
 * A budget without dimensions counts everything the ledger ever saw.
 */
import * as Money from "../domain/Money.ts"
import * as OptionCheck from "./OptionCheck.ts"

/** Names what a budget counts apart. */
export type Dimension = "run" | "day" | "account" | "label"

const dimensions: ReadonlyArray<Dimension> = ["run", "day", "account", "label"]

/** Says how much may be spent, and by what it is counted. Made by {@link make}, which checks it. */
export interface Budget {
  /** Names the budget in errors, alerts and metrics; unique in a ledger. */
  readonly name: string
  readonly limit: Money.NanoUsd
  /** A counter for each combination of these. Empty: one counter for everything. */
  readonly per: ReadonlyArray<Dimension>
  /** Applies to calls of this account only. */
  readonly account?: string | undefined
  /** Applies to calls of this label only. */
  readonly label?: string | undefined
  /** Shares of the limit at which spending raises an alert, ascending, each in (0, 1]. */
  readonly warnAt: ReadonlyArray<number>
}

/** Holds the defaults of this module. */
export const defaults = {
  /** Half, four fifths, and all but a twentieth of a limit: time to look, time to act, last call. */
  warnAt: [0.5, 0.8, 0.95] as ReadonlyArray<number>
}

/** Says what {@link make} takes. */
export interface Options {
  /** Names the budget in errors, alerts and metrics; not empty, and unique in a ledger. */
  readonly name: string
  /** Nano-dollars, or dollars as text (`"$25"`). More than zero. */
  readonly limit: Money.Input
  /** Default: `[]`, one counter for everything. */
  readonly per?: ReadonlyArray<Dimension> | undefined
  /** Applies to calls of this account only. Default: of every account. */
  readonly account?: string | undefined
  /** Applies to calls of this label only. Default: of every label. */
  readonly label?: string | undefined
  /** Shares of the limit at which spending raises an alert, each in (0, 1]. Default: {@link defaults}. */
  readonly warnAt?: ReadonlyArray<number> | undefined
}

/**
 * Makes a budget.
 *
 * **Errors**: `RangeError` for a limit that is not positive, a share outside (0, 1], an empty name, a dimension that is none.
 */
export const make = (options: Options): Budget => {
  const limit = Money.from(options.limit)
  const where = "Budget.make"
  if (limit <= 0n) OptionCheck.refuse(where, "limit", "> $0", Money.format(limit))
  if (options.name === "") OptionCheck.refuse(where, "name", "a non-empty text", "\"\"")
  const per = [...new Set(options.per ?? [])]
  for (const dimension of per) OptionCheck.oneOf(where, "per", dimension, dimensions)
  const warnAt = options.warnAt ?? defaults.warnAt
  for (const share of warnAt) OptionCheck.above(where, "warnAt", share, 0, 1)
  return {
    name: options.name,
    limit,
    per,
    account: options.account,
    label: options.label,
    warnAt: warnAt.toSorted((a, b) => a - b)
  }
}

/** Limits one run of the program, or of a job that is resumed under the same run id. */
export const perRun = (limit: Money.Input): Budget => make({ name: "run", limit, per: ["run"] })

/** Limits each day. */
export const perDay = (limit: Money.Input): Budget => make({ name: "day", limit, per: ["day"] })

/** Limits each account, or the one named, for as long as the ledger lives. */
export const perAccount = (limit: Money.Input, account?: string): Budget =>
  make({ name: account === undefined ? "account" : `account ${account}`, limit, per: ["account"], account })

/** Limits each label, or the one named, for as long as the ledger lives. Calls without a label share the label `""`. */
export const perLabel = (limit: Money.Input, label?: string): Budget =>
  make({ name: label === undefined ? "label" : `label ${label}`, limit, per: ["label"], label })

/** Says what a call is, as far as budgets care. */
export interface Facts {
  readonly run: string
  readonly account: string
  readonly label: string
  /** Days since 1970 in the ledger's time zone. */
  readonly day: number
}

/** Numbers the day of a moment, given the seconds by which the day starts before UTC's. */
export const dayOf = (epochSeconds: number, offsetSeconds: number): number =>
  Math.floor((epochSeconds + offsetSeconds) / 86_400)

/** Names the counter of a budget that a call falls under, or nothing where the budget does not apply. */
export const counterOf = (budget: Budget, facts: Facts): string | undefined => {
  if (budget.account !== undefined && budget.account !== facts.account) return undefined
  if (budget.label !== undefined && budget.label !== facts.label) return undefined
  let id = budget.name
  for (const dimension of budget.per) id += `\u0000${dimension}=${facts[dimension]}`
  return id
}

/** Holds the values of the dimensions by which a counter counts. */
export type Dimensions = { readonly [D in Dimension]?: string }

/** Reads these values back from the name of a counter, or nothing where it is the counter of another budget. */
export const dimensionsOf = (budget: Budget, counter: string): Dimensions | undefined => {
  if (!counter.startsWith(budget.name)) return undefined
  const values: { [D in Dimension]?: string } = {}
  let rest = counter.slice(budget.name.length)
  for (const [index, dimension] of budget.per.entries()) {
    const mark = `\u0000${dimension}=`
    const next = budget.per[index + 1]
    const end = next === undefined ? rest.length : rest.indexOf(`\u0000${next}=`, mark.length)
    if (!rest.startsWith(mark) || end < 0) return undefined
    values[dimension] = rest.slice(mark.length, end)
    rest = rest.slice(end)
  }
  return rest === "" ? values : undefined
}
