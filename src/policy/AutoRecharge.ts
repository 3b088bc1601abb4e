/**
 * What auto-recharge buys: both behaviours that Together has documented, as sums.
 *
 * | `_tag` | documented | when the balance is below `threshold` |
 * | --- | --- | --- |
 * | `Target` | now | one purchase, up to `target` |
 * | `Increments` | until early 2026 | purchases of `amount`, one after another, until the threshold is met |
 *
 * A threshold set above the current balance buys at once: `Increments` several
 * times, `Target` once. It runs only while a card is the default payment
 * method; making a bank transfer (ACH) the default switches it off. No API
 * reads or sets it, so the settings are stated by the user.
 *
 * **Source**: Together's billing and credits page ("When balance goes below",
 * "Bring credit balance up to"), and its older support article (threshold and
 * amount, $25 by default).
 */
import * as Money from "../domain/Money.ts"
import * as OptionCheck from "./OptionCheck.ts"

/** One purchase up to `target`, made once the balance is below `threshold`. */
export interface Target {
  readonly _tag: "Target"
  readonly threshold: Money.NanoUsd
  readonly target: Money.NanoUsd
}

/** Purchases of `amount`, made one after another until the balance is at least `threshold`. */
export interface Increments {
  readonly _tag: "Increments"
  readonly threshold: Money.NanoUsd
  readonly amount: Money.NanoUsd
}

/** How auto-recharge is set on the billing page. */
export type Settings = Target | Increments

/** Holds the defaults of this module. */
export const defaults = {
  /** $25: the amount that Together's form proposed in the older behaviour. */
  amount: 25_000_000_000n
}

const checkThreshold = (name: string, threshold: Money.NanoUsd): void => {
  if (threshold <= 0n) OptionCheck.refuse(`AutoRecharge.${name}`, "threshold", "> $0", Money.format(threshold))
}

/**
 * Describes the current behaviour: one purchase up to a target.
 *
 * **Errors**: `RangeError` unless `0 < threshold < target`.
 */
export const toTarget = (options: { readonly threshold: Money.Input; readonly target: Money.Input }): Settings => {
  const [threshold, target] = [Money.from(options.threshold), Money.from(options.target)]
  checkThreshold("toTarget", threshold)
  if (target <= threshold) {
    const range = `> threshold ${Money.format(threshold)}`
    return OptionCheck.refuse("AutoRecharge.toTarget", "target", range, Money.format(target))
  }
  return { _tag: "Target", threshold, target }
}

/**
 * Describes the older behaviour: purchases of one amount until the threshold is met.
 *
 * **Errors**: `RangeError` for a threshold or an amount that is not positive.
 */
export const inIncrements = (
  options: { readonly threshold: Money.Input; readonly amount?: Money.Input | undefined }
): Settings => {
  const [threshold, amount] = [Money.from(options.threshold), Money.from(options.amount ?? defaults.amount)]
  checkThreshold("inIncrements", threshold)
  if (amount <= 0n) OptionCheck.refuse("AutoRecharge.inIncrements", "amount", "> $0", Money.format(amount))
  return { _tag: "Increments", threshold, amount }
}

/** Says what is bought at a balance, and what follows. */
export interface Plan {
  /** How many purchases are made, one after another. Zero: the balance is not below the threshold. */
  readonly count: number
  /** What each of them buys. */
  readonly each: Money.NanoUsd
  /** What all of them buy. */
  readonly sum: Money.NanoUsd
  readonly balanceAfter: Money.NanoUsd
}

/**
 * Plans the purchases that a balance triggers, be it by spending or by a threshold newly set above it.
 *
 * **Details**: "goes below" is strict, so a balance equal to the threshold buys
 * nothing. `Increments`: ⌈(threshold − balance) ÷ amount⌉ purchases. `Target`:
 * one of target − balance. A balance below zero (metering lags) is bought back too.
 */
export const plan = (settings: Settings, balance: Money.NanoUsd): Plan => {
  if (balance >= settings.threshold) return { count: 0, each: 0n, sum: 0n, balanceAfter: balance }
  if (settings._tag === "Target") {
    const each = settings.target - balance
    return { count: 1, each, sum: each, balanceAfter: settings.target }
  }
  const count = Money.divideUp(settings.threshold - balance, settings.amount)
  const sum = count * settings.amount
  return { count: Number(count), each: settings.amount, sum, balanceAfter: balance + sum }
}
