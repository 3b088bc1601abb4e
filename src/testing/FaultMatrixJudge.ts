/**
 * Judges one run of a fault matrix: whether it ended, with what, what it left behind, and how it behaved on the way.
 *
 * These are asked in this order, and the first that is wrong decides the verdict.
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Enumeration from "../domain/Enumeration.ts"
import type * as Kinds from "./FaultMatrixKinds.ts"
import * as Report from "./FaultMatrixReport.ts"
import * as VirtualClock from "./VirtualClock.ts"
import type * as Wiretap from "./Wiretap.ts"

/** Names how a run ended, seen from outside. */
export type Verdict = "ok" | "flaky" | "unhandled" | "defect" | "hang" | "lost" | "leak" | "waste" | "impatient"

/** Holds a verdict and why: a sentence, empty for `ok`. */
export interface Judgement {
  readonly verdict: Verdict
  readonly reason: string
}

/** Holds what a run came to. */
export interface Outcome<A, E> {
  readonly result: VirtualClock.Result<A, E>
  readonly exchanges: ReadonlyArray<Wiretap.Entry>
  readonly open: number
}

/** Says what a program owes: see the options of `FaultMatrix`. */
export interface Owed<A, E> {
  readonly check: ((value: A, baseline: A, kinds: ReadonlyArray<Kinds.Kind>) => string | undefined) | undefined
  readonly accepts: ((error: E, kinds: ReadonlyArray<Kinds.Kind>) => boolean) | undefined
  readonly maxAttempts: number
}

/** Ends a run that never stops sending. */
export class TooManyRequests extends Data.TaggedError("TooManyRequests")<{ readonly limit: number }> {}

/** Statuses that no repeat of the same request can change. */
const final = new Set([400, 401, 402, 403, 404, 413, 422])

/** A repeat this long after a refusal is a probe, not a retry: credit may have been added. */
const probeMillis = 10_000

const manners = (
  exchanges: ReadonlyArray<Wiretap.Entry>,
  maxAttempts: number
): Judgement | undefined => {
  const last = new Map<number, Wiretap.Entry>()
  for (const entry of exchanges) {
    const before = last.get(entry.call)
    last.set(entry.call, entry)
    if (before === undefined) continue
    const gap = entry.startedAt - (before.headersAt ?? before.startedAt)
    if (before.status !== undefined && final.has(before.status) && gap < probeMillis) {
      return {
        verdict: "waste",
        reason: `repeats, by request #${entry.index}, one that was refused with ${before.status}`
      }
    }
    if (before.hintMillis !== undefined && gap < before.hintMillis) {
      return {
        verdict: "impatient",
        reason: `sends request #${entry.index} ${gap} ms after it was asked to wait ${before.hintMillis} ms`
      }
    }
    if (entry.attempt > maxAttempts) {
      return { verdict: "waste", reason: `makes more than ${maxAttempts} attempts for call ${entry.call}` }
    }
  }
  return undefined
}

const leaks = (outcome: Outcome<unknown, unknown>): string | undefined => {
  const { fibersLeft, timersLeft } = outcome.result
  const left = [
    outcome.open > 0 ? Enumeration.counted(outcome.open, "open socket") : "",
    fibersLeft > 0 ? Enumeration.counted(fibersLeft, "running fiber") : "",
    timersLeft > 0 ? Enumeration.counted(timersLeft, "timer") : ""
  ].filter((part) => part !== "")
  return left.length === 0 ? undefined : `leaves behind ${left.join(", ")}`
}

/** Judges a run under some kinds of trouble, by what the run without any ended with. */
export const judge = <A, E>(
  owed: Owed<A, E>,
  kinds: ReadonlyArray<Kinds.Kind>,
  outcome: Outcome<A, E>,
  baseline: Exit.Exit<A, E> | undefined
): Judgement => {
  const { exit } = outcome.result
  const hang = VirtualClock.hang(exit)
  if (hang !== undefined) {
    return { verdict: "hang", reason: `never ends: ${hang.message.replace("VirtualClock.run: ", "")}` }
  }
  if (Exit.isFailure(exit)) {
    const failure = exit.cause.reasons.find(Cause.isFailReason)
    if (failure === undefined) {
      const die = exit.cause.reasons.find(Cause.isDieReason)
      if (die?.defect instanceof TooManyRequests) {
        return { verdict: "waste", reason: `sends more than ${die.defect.limit} requests` }
      }
      return { verdict: "defect", reason: die === undefined ? "is interrupted" : `dies: ${String(die.defect)}` }
    }
    const accepted = owed.accepts === undefined
      ? kinds.some((kind) => !kind.survivable)
      : owed.accepts(failure.error, kinds)
    if (!accepted) return { verdict: "unhandled", reason: `fails with ${Report.nameError(failure.error)}` }
  } else if (baseline !== undefined && Exit.isSuccess(baseline)) {
    const wrong = owed.check === undefined
      ? Equal.equals(exit.value, baseline.value)
        ? undefined
        : Report.differs(exit.value, baseline.value)
      : owed.check(exit.value, baseline.value, kinds)
    if (wrong !== undefined) return { verdict: "lost", reason: wrong }
  }
  const leak = leaks(outcome)
  if (leak !== undefined) return { verdict: "leak", reason: leak }
  return manners(outcome.exchanges, owed.maxAttempts) ?? { verdict: "ok", reason: "" }
}

/**
 * Judges two runs without a fault, the second by the first: where they differ, no difference can be laid to a fault.
 *
 * A second run that sends other requests points to what outlives a run, such as a cache: behind it every fault would be
 * survived, because it is never met.
 */
export const repeats = (
  first: { readonly verdict: Verdict; readonly requests: number },
  second: Judgement & { readonly requests: number }
): Judgement | undefined => {
  const differs = (how: string, mend: string): Judgement => ({
    verdict: "flaky",
    reason: `differs between two runs without a fault: the second ${how}. ${mend}`
  })
  if (second.requests !== first.requests) {
    return differs(
      `sends ${second.requests} requests, the first ${first.requests}`,
      "Make what outlives a run, such as a cache, inside the program"
    )
  }
  return second.verdict === first.verdict
    ? undefined
    : differs(second.reason, "Make the program repeatable, or say with `check` what matters of its result")
}
