/**
 * What an organization has to spend, as the provider sees it: late, and in whole nano-dollars.
 *
 * ```text
 *            metered balance ≤ floor                 balance > floor, after accessLagSeconds
 * active ───────────────────────────► suspended ───────────────────────────────────────────► active
 * ```
 *
 * A call's cost reaches the balance `meteringLagSeconds` after its end, so that
 * calls still succeed after the money is gone, and are owed. A purchase reaches
 * it `purchaseLagSeconds` after the order.
 *
 * Auto-recharge looks at the balance whenever a cost lands. `target`: one
 * purchase up to the target, and no other until it has arrived. `amount`: as
 * many purchases of the amount as bring the balance to the threshold, at once.
 */
import type { Config } from "./SimulationConfig.ts"

/** Says by which rules an account is kept. */
export type Credits = NonNullable<Config["credits"]>

/** Holds an account. */
export interface Account {
  readonly balanceNanoUsd: bigint
  /** Costs of calls that ended and are not in the balance yet. */
  readonly unmeteredNanoUsd: bigint
  /** Purchases that were ordered and are not in the balance yet. */
  readonly orderedNanoUsd: bigint
  /** Purchases made by auto-recharge so far. */
  readonly recharges: number
  /** Calls are let in from here on; `Infinity` while suspended. */
  readonly openFrom: number
}

/** Converts USD to whole nano-dollars. */
export const nano = (usd: number): bigint => BigInt(Math.round(usd * 1e9))

/** Opens an account with the configured balance. */
export const open = (credits: Credits): Account => ({
  balanceNanoUsd: nano(credits.balanceUsd),
  unmeteredNanoUsd: 0n,
  orderedNanoUsd: 0n,
  recharges: 0,
  openFrom: credits.balanceUsd > credits.floorUsd ? 0 : Infinity
})

/** Tells whether calls are let in. */
export const active = (credits: Config["credits"], account: Account | undefined, now: number): boolean =>
  credits === undefined || account === undefined || (!credits.suspended && account.openFrom <= now)

/** Cuts or opens access, by the present balance and floor. */
export const judged = (credits: Credits, account: Account, now: number): Account => {
  const solvent = account.balanceNanoUsd > nano(credits.floorUsd)
  if (solvent && account.openFrom === Infinity) return { ...account, openFrom: now + credits.accessLagSeconds }
  return !solvent && account.openFrom !== Infinity ? { ...account, openFrom: Infinity } : account
}

/** Puts the cost of a call into the balance. */
export const charge = (credits: Credits, account: Account, cost: bigint, now: number): Account =>
  judged(credits, {
    ...account,
    balanceNanoUsd: account.balanceNanoUsd - cost,
    unmeteredNanoUsd: account.unmeteredNanoUsd - cost
  }, now)

/** Puts a purchase into the balance. */
export const credit = (credits: Credits, account: Account, paid: bigint, now: number): Account =>
  judged(credits, {
    ...account,
    balanceNanoUsd: account.balanceNanoUsd + paid,
    orderedNanoUsd: account.orderedNanoUsd - paid
  }, now)

/** Notes a purchase that will arrive later. */
export const order = (account: Account, paid: bigint): Account => ({
  ...account,
  orderedNanoUsd: account.orderedNanoUsd + paid
})

/** Notes the cost of a call that has ended. */
export const owe = (account: Account, cost: bigint): Account => ({
  ...account,
  unmeteredNanoUsd: account.unmeteredNanoUsd + cost
})

/** Sets the balance to what an administrator says. */
export const set = (
  credits: Credits,
  account: Account,
  balanceNanoUsd: bigint,
  now: number
): Account => judged(credits, { ...account, balanceNanoUsd }, now)

/** Holds purchases that are made together, and what they are worth. */
export interface Purchases {
  readonly times: number
  readonly nanoUsd: bigint
}

/** Finds the purchases that auto-recharge makes at a balance. */
export const recharge = (credits: Credits, account: Account): Purchases | undefined => {
  const rule = credits.autoRecharge
  if (rule === undefined || account.orderedNanoUsd > 0n) return undefined
  const threshold = nano(rule.thresholdUsd)
  if (account.balanceNanoUsd >= threshold) return undefined
  if (rule.mode === "target") {
    const missing = nano(rule.targetUsd) - account.balanceNanoUsd
    return missing > 0n ? { times: 1, nanoUsd: missing } : undefined
  }
  const amount = nano(rule.amountUsd)
  const missing = threshold - account.balanceNanoUsd
  const times = (missing + amount - 1n) / amount
  return { times: Number(times), nanoUsd: times * amount }
}
