/**
 * What to do when credit runs out, in Together's own terms, so that a reader can act within a minute.
 *
 * The account is prepaid and there is no API for its balance. A refusal for
 * want of credit therefore has one of three causes, told apart only on the
 * billing page: the balance is used up, it consists of free credits only, or an
 * invoice is past due. The texts name all that the facts at hand leave open.
 *
 * **Source**: Together's pages on billing, credits and spend controls.
 */
import * as Money from "./Money.ts"

/** The page where credits are bought and balances stand. */
export const billingPage = "https://api.together.ai/settings/billing"

/** The smallest purchase of credits: $5. */
export const minimumPurchase: Money.NanoUsd = 5_000_000_000n

/** Says how sending goes on, to those who wait for it. */
export const resumption = "Sending resumes by itself after the next successful probe, or at once by Credits.resume."

/** Says how sending goes on where the probes have ended. */
export const resumptionByHand = "Sending does not resume by itself: call Credits.resume."

const purchase = "(minimum $5; a card purchase shows within moments, do not submit it twice)."

const positive =
  "If the balance there is positive, it may be free credits only (buy at least $5: free credits alone do " +
  "not open the platform) or an invoice may be past due (pay it there: credits bought after an invoice do not clear it)."

/**
 * Writes the remedy for a call refused with 402.
 *
 * **Details**: with the balance that the ledger carries, only the causes that
 * remain are named: a purchase where it is used up, free credits and past-due
 * invoices where it is not.
 */
export const insufficientCredits = (known?: {
  /** The balance that the user's ledger expects. */
  readonly balance?: Money.NanoUsd | undefined
  /** The part of it that was given, not bought. */
  readonly free?: Money.NanoUsd | undefined
}): string => {
  const balance = known?.balance
  if (balance === undefined) {
    return `Add credits at ${billingPage} ${purchase} ${positive}`
  }
  if (balance <= 0n) {
    return `The ledger expects the balance to be used up (${Money.format(balance)}): add credits at ${billingPage} ` +
      purchase
  }
  if (known?.free !== undefined && known.free >= balance) {
    return `The ledger expects ${Money.format(balance)}, all of it free credits, which do not open the platform: ` +
      `buy at least $5 at ${billingPage}.`
  }
  return `The ledger expects ${Money.format(balance)} to be left: compare with ${billingPage}. ${positive}`
}

/**
 * Writes the remedy for a call that the user's own budget refused.
 *
 * @param again whether it is a further attempt of a call that was sent before
 */
export const budgetExceeded = (budget: string, again: boolean): string =>
  `${
    again ? "This attempt was not sent; what was sent before it is charged" : "Nothing was sent"
  }. Raise the budget "${budget}", wait for its next period if it has one, set or lower max_tokens (the ` +
  "reservation covers the largest answer), or handle BudgetExceededError."

/** Writes the remedy for a call that a budget cannot hold because its price is unknown. */
export const unknownPrice = (reason: string): string =>
  `${reason}: nothing was sent, since a budget cannot hold what has no price. State one, of a model with ` +
  "Price.stated (per million tokens, per megapixel or per image), of any other call with its option cost, read prices " +
  "from GET /models, or set unknownPrice to \"allow\" to send such calls uncounted."
