/**
 * Tells whether a job may go on in a journal: the same input, the same provider, or nothing in it to be mixed up.
 *
 * `Journal` lists what is found and what is done about it.
 */
import * as Effect from "effect/Effect"
import { JournalError } from "../JobError.ts"
import * as Format from "./JournalFormat.ts"
import type * as Scan from "./JournalScan.ts"

/** Names the target of a job whose answers are made up: they never count as a provider's. */
export const emulator = "emulator"

/** Identifies an input: the whole of a file, or the first line of a stream, which has no length. */
export interface Fingerprint {
  readonly bytes?: number | undefined
  readonly hash: string
}

/** Says which job opens a journal. */
export interface Opening {
  readonly path: string
  /** The input the job reads, and its fingerprint where it has one. */
  readonly input: { readonly path: string; readonly fingerprint?: Fingerprint | undefined }
  /** Who answers the rows: a base URL, or {@link emulator}. Default: none; the target is not checked. */
  readonly target?: string | undefined
  /** Whether another input, and another provider, than those the journal was begun with are accepted. Default: false. */
  readonly acceptChange?: boolean | undefined
}

/**
 * Refuses a journal that is none, or that is another job's.
 *
 * @param size of the file in bytes
 */
export const check = (census: Scan.Census, size: number, opening: Opening): Effect.Effect<void, JournalError> => {
  const { path } = opening
  const refuse = (reason: JournalError["reason"], message: string) =>
    Effect.fail(new JournalError({ reason, message, path }))
  if (census.head === undefined) {
    // A crash between creating the file and writing its head leaves an empty file or a torn first line.
    return size === 0 || census.tornHead
      ? Effect.void
      : refuse(
        "not-a-journal",
        `${path} is not a journal of a job. Nothing was changed; give another path for the journal.`
      )
  }
  if (census.head.v !== Format.version) {
    return refuse(
      "version",
      `${path} was written by another version (journal format ${census.head.v}, this one reads ${Format.version}). ` +
        "Finish the job with that version, or start a new journal."
    )
  }
  if (holdsNothing(census)) return Effect.void
  const fault = targetFault(census.target, opening)
  if (fault !== undefined) return refuse(...fault)
  return inputChanged(census, opening) && opening.acceptChange !== true
    ? refuse("input-changed", changedMessage(census.input, opening))
    : Effect.void
}

/** Tells whether a journal holds nothing that another input, or another provider, could be mixed with. */
const holdsNothing = ({ damaged, notes, rows, sums }: Scan.Census): boolean =>
  rows === 0 && notes.length === 0 && sums.uncertainNanoUsd === 0 && damaged.length === 0

/** Tells whether the input is known to be another one: a file is compared with a file, a stream with a stream. */
const isOtherInput = (before: Format.Head["input"] | undefined, opening: Opening): boolean => {
  const now = opening.input.fingerprint
  return now !== undefined && before?.hash !== undefined && before.hash !== now.hash &&
    (before.bytes === undefined) === (now.bytes === undefined)
}

/** Tells whether a journal holds what was done for another input. */
export const inputChanged = (census: Scan.Census, opening: Opening): boolean =>
  census.head !== undefined && !holdsNothing(census) && isOtherInput(census.input, opening)

const changedMessage = (before: Format.Head["input"] | undefined, { input, path }: Opening): string =>
  before?.bytes === undefined
    ? `${input.path} begins with another line than when the journal ${path} was begun: that is another job's. ` +
      "Nothing was sent. Give this job a journal and results of its own, or say how to go on: keep the answers of changed rows, " +
      "or send changed rows again."
    : `${input.path} has changed since its journal was begun (${before.bytes} bytes then, ${
      input.fingerprint?.bytes ?? "?"
    } now). Nothing was sent. Restore the file, or say how to go on: keep the answers of changed rows, or send ` +
      "changed rows again."

const targetFault = (
  before: string | undefined,
  { acceptChange, path, target }: Opening
): readonly [JournalError["reason"], string] | undefined => {
  if (before === undefined || target === undefined || before === target) return undefined
  if (before === emulator || target === emulator) {
    const [held, asked] = before === emulator ? ["an emulator", target] : [before, "an emulator"]
    return [
      "emulated",
      `the journal ${path} holds answers of ${held}, and this run would ask ${asked}: the one must not be taken for ` +
      "the other. Nothing was sent. Give this run a journal and results of its own."
    ]
  }
  return acceptChange === true ? undefined : [
    "target-changed",
    `the journal ${path} holds answers of ${before}, and this run would ask ${target}. Nothing was sent. Restore the ` +
    "address, give this run a journal and results of its own, or say that the answers of both are kept."
  ]
}
