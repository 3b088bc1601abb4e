/**
 * Whether a balance can pay for work before it is started, and what to buy if not.
 *
 * Dedicated endpoints, fine-tunes and evaluations need the balance up front: a
 * job that cannot be paid is refused when it is created. A batch of calls fails
 * half-way instead, which is worse. Both questions are one sum:
 *
 *     Enough    balance.low ≥ needed.high, and all that was spent since the statement has a price
 *     Short     balance.expected < needed.expected
 *     Tight     neither: likely, but not certain
 *     Blocked   free credits only, or the provider says no
 *     Unknown   no balance was stated, or there is no price
 *
 * **Source**: Together's billing page (preconditions, $5 minimum, free credits).
 */
import * as Money from "../domain/Money.ts"
import * as Remedy from "../domain/Remedy.ts"
import type { Balance } from "./Ledger.ts"
import * as Price from "./Price.ts"

/** Work that costs money. */
export type Work =
  /** A number of equal calls; for unequal ones, sum their estimates and count 1. */
  | { readonly _tag: "Calls"; readonly count: number; readonly estimate: Price.Estimate }
  /** A fine-tune, by the provider's answer to `POST /fine-tunes/estimate-price`. */
  | {
    readonly _tag: "FineTune"
    readonly answer: Price.FineTuneEstimate & {
      readonly allowed_to_proceed?: boolean | null | undefined
      /** The account's credit limit, in dollars. */
      readonly user_limit?: number | null | undefined
    }
  }
  /** An evaluation, by the calls that it makes of the judge and of the judged model. */
  | { readonly _tag: "Evaluation"; readonly estimates: ReadonlyArray<Price.Estimate> }
  /** A dedicated endpoint for a time. */
  | {
    readonly _tag: "Endpoint"
    readonly price: Price.ModelPrice | undefined
    readonly model: string
    readonly minutes: number
    readonly replicas?: number | undefined
  }

/** Answers whether the balance can pay. Every answer says so in `message`, too. */
export type Verdict =
  | {
    readonly _tag: "Enough"
    readonly message: string
    readonly needed: Price.Estimate
    /** What is left at least. */
    readonly left: Money.NanoUsd
  }
  | {
    readonly _tag: "Short" | "Tight"
    readonly message: string
    readonly needed: Price.Estimate
    /** What is missing for certainty; nothing where only calls without a price stand in its way. */
    readonly shortfall: Money.NanoUsd
    /** The purchase that closes it: whole dollars, at least $5; nothing where nothing is missing. */
    readonly buy: Money.NanoUsd
  }
  | { readonly _tag: "Blocked"; readonly message: string; readonly reason: "free-credits-only" | "provider" }
  | { readonly _tag: "Unknown"; readonly message: string; readonly missing: "balance" | "price" }

/** Estimates what work costs. */
export const estimate = (work: Work): Price.Estimate => {
  switch (work._tag) {
    case "Calls":
      return Price.repeat(work.estimate, work.count)
    case "FineTune":
      return Price.ofFineTune(work.answer)
    case "Evaluation":
      return Price.sum(work.estimates)
    case "Endpoint":
      return Price.toEstimate(Price.ofMinutes(work.price, work.model, work.minutes, work.replicas))
  }
}

/** Gives the smallest purchase that covers a shortfall: whole dollars, and at least Together's $5; none for none. */
export const purchaseFor = (shortfall: Money.NanoUsd): Money.NanoUsd =>
  shortfall <= 0n
    ? 0n
    : Money.max(Remedy.minimumPurchase, Money.divideUp(shortfall, Money.nanoPerUsd) * Money.nanoPerUsd)

const what: Record<Work["_tag"], string> = {
  Calls: "The calls",
  FineTune: "The fine-tune",
  Evaluation: "The evaluation",
  Endpoint: "The endpoint"
}

const price = (needed: { readonly low: Money.NanoUsd; readonly high: Money.NanoUsd }): string =>
  needed.low === needed.high
    ? Money.format(needed.high)
    : `between ${Money.format(needed.low)} and ${Money.format(needed.high)}`

/** Judges work against a carried balance. */
export const judge = (work: Work, balance: Balance | undefined): Verdict => {
  const name = what[work._tag]
  const costs = work._tag === "Calls" ? "cost" : "costs"
  if (work._tag === "FineTune" && work.answer.allowed_to_proceed === false) {
    const limit = work.answer.user_limit
    return {
      _tag: "Blocked",
      reason: "provider",
      message: `${name} may not start, says Together's price estimate${
        limit === undefined || limit === null ? "" : ` (credit limit $${limit})`
      }. ${Remedy.insufficientCredits()}`
    }
  }
  const needed = estimate(work)
  if (needed._tag === "Unknown") {
    return { _tag: "Unknown", missing: "price", message: `${name} cannot be judged: ${needed.reason}.` }
  }
  if (balance === undefined) {
    return {
      _tag: "Unknown",
      missing: "balance",
      message: `${name} ${costs} ${price(needed)}, but no balance was stated, and no API gives one: read it at ` +
        `${Remedy.billingPage} and state it (Credits.stateBalance).`
    }
  }
  if (balance.free >= balance.stated && balance.stated > 0n) {
    return {
      _tag: "Blocked",
      reason: "free-credits-only",
      message: `${name} may not start. ${Remedy.insufficientCredits({ balance: balance.stated, free: balance.free })}`
    }
  }
  const age = `stated ${Math.round(balance.ageSeconds / 60)} min ago, ${balance.certainty}`
  const has = `the balance is ${Money.format(balance.expected)} (${age})`
  const unpriced = balance.unpricedSince
  if (balance.low >= needed.high && unpriced === 0) {
    return {
      _tag: "Enough",
      needed,
      left: balance.low - needed.high,
      message: `${name} ${costs} ${price(needed)}; ${has}: enough, ${
        Money.format(balance.low - needed.high)
      } at least is left.`
    }
  }
  const shortfall = Money.max(0n, needed.high - balance.low)
  const buy = purchaseFor(shortfall)
  const remedies = [
    ...(shortfall === 0n
      ? []
      : [`Missing ${Money.format(shortfall)}: buy ${Money.format(buy)} at ${Remedy.billingPage}.`]),
    ...(unpriced === 0
      ? []
      : [
        `Calls since then without a known cost: ${unpriced}. Read the balance at ${Remedy.billingPage}, state it anew.`
      ])
  ]
  const tag = balance.expected < needed.expected ? "Short" : "Tight"
  return {
    _tag: tag,
    needed,
    shortfall,
    buy,
    message: `${name} ${costs} ${price(needed)}; ${has}: ${
      tag === "Short" ? "not enough" : "likely enough, not certainly"
    }. ${remedies.join(" ")}`
  }
}
