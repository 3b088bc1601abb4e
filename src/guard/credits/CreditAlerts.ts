/**
 * What the credits guard wants someone to know, as a closed union with a sentence each.
 *
 * Alerts come as a stream (`credits.alerts`): feed it to logs, metrics, a pager.
 * Each says its own news once: a threshold once per counter, a suspension once
 * per storm, a low balance once until it has recovered.
 */
import * as Effect from "effect/Effect"
import type * as Money from "../../domain/Money.ts"
import type * as Budget from "../../policy/Budget.ts"
import type { Event } from "./AccountGate.ts"

interface Common {
  /** Epoch seconds. */
  readonly at: number
  /** What happened, the numbers, and what to do. */
  readonly message: string
}

/** One piece of news. `account` is the caller's own name for it, never an API key. */
export type Alert =
  & Common
  & (
    /** Settled spending crossed a share of a budget. */
    | {
      readonly _tag: "BudgetNearLimit"
      readonly budget: string
      /** What the budget counts apart: whose it is, and of which day; as in `credits.report`. */
      readonly dimensions: Budget.Dimensions
      readonly threshold: number
      readonly settled: Money.NanoUsd
      readonly limit: Money.NanoUsd
    }
    /** The first call that a budget had no room for. */
    | {
      readonly _tag: "BudgetExceeded"
      readonly budget: string
      /** As of `BudgetNearLimit`. */
      readonly dimensions: Budget.Dimensions
      readonly needed: Money.NanoUsd
      readonly remaining: Money.NanoUsd
    }
    /** A call cost more than the upper bound of its estimate: the first of its account, or by twice as much as the last told. */
    | {
      readonly _tag: "SettledAboveEstimate"
      readonly account: string
      readonly label: string
      readonly reserved: Money.NanoUsd
      readonly cost: Money.NanoUsd
    }
    /** Credit ran out: nothing is sent any more but probes. */
    | { readonly _tag: "Suspended"; readonly account: string; readonly probeAt: number | undefined }
    /** A probe showed no credit yet, or nothing. */
    | { readonly _tag: "ProbeFailed"; readonly account: string; readonly probes: number; readonly refused: boolean }
    /** The probe schedule has ended: only `resume` helps. */
    | { readonly _tag: "ProbingEnded"; readonly account: string; readonly probes: number }
    /** Calls are sent again. */
    | {
      readonly _tag: "Resumed"
      readonly account: string
      readonly by: "probe" | "hand"
      readonly seconds: number
      readonly probes: number
      readonly refusals: number
    }
    /** Rate limits keep coming: the load is above what the account may send. */
    | {
      readonly _tag: "RepeatedRateLimits"
      readonly account: string
      readonly model: string
      readonly count: number
      readonly windowSeconds: number
    }
    /** At the present rate the balance will soon be used up. */
    | { readonly _tag: "BalanceLow"; readonly account: string; readonly lastsSeconds: number }
    /** The ledger's store cannot be written. */
    | { readonly _tag: "LedgerUnwritable" }
  )

/** Logs an alert: `Resumed` as information, all else as a warning. */
export const log = (alert: Alert): Effect.Effect<void> => {
  const { message, ...rest } = alert
  const { dimensions, ...fields } = { dimensions: {}, ...rest }
  const annotated = Object.fromEntries(
    Object.entries({ ...fields, ...dimensions }).map(([name, value]) => [`credits.${name}`, String(value)])
  )
  return (alert._tag === "Resumed" ? Effect.logInfo(message) : Effect.logWarning(message)).pipe(
    Effect.annotateLogs(annotated)
  )
}

/**
 * Writes the alert of what a gate reports.
 *
 * @internal
 */
export const ofGate = (account: string, event: Event, at: number, remedy: string): Alert => {
  switch (event._tag) {
    case "Suspended": {
      const next = event.probeAt === undefined
        ? "no probe is planned"
        : `first probe in ${Math.ceil(event.probeAt - at)} s`
      return {
        _tag: "Suspended",
        at,
        account,
        probeAt: event.probeAt,
        message: `Credit of "${account}" ran out: nothing is sent any more (${next}). ${remedy}`
      }
    }
    case "ProbeFailed":
      return {
        ...event,
        at,
        account,
        message: event.refused
          ? `Probe ${event.probes} of "${account}" was refused: still no credit.`
          : `Probe ${event.probes} of "${account}" failed for another reason: nothing is known about credit.`
      }
    case "ProbingEnded":
      return {
        ...event,
        at,
        account,
        message: `No more probes of "${account}" are planned. ${remedy}`
      }
    case "Resumed": {
      const { probes, refusals, seconds } = event.outage
      return {
        _tag: "Resumed",
        at,
        account,
        by: event.by,
        probes,
        refusals,
        seconds,
        message: `"${account}" sends again after ${Math.round(seconds)} s without credit, by ${
          event.by === "probe" ? "a probe" : "hand"
        } (refusals: ${refusals}, probes: ${probes}).`
      }
    }
  }
}
