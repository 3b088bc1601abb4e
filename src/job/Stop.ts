/**
 * Why a job left rows undone: it ended before its input did, or it did not send some of the rows that it read. The next
 * run with the same journal sends them.
 */
import type * as TogetherError from "../domain/TogetherError.ts"
import type { JournalError } from "./JobError.ts"

/** Says why a job left rows undone. */
export type Stop =
  /** The caller asked for it. */
  | { readonly _tag: "Interrupted" }
  /** The time that the caller allowed has passed. */
  | { readonly _tag: "MaxTime" }
  /** A row failed, and the caller wants no further ones then. */
  | { readonly _tag: "FailedRow" }
  /** The next row would cross the budget. */
  | { readonly _tag: "MaxCost"; readonly error: TogetherError.BudgetExceededError }
  /** Every further row would be refused: the key, or the account's credits. */
  | { readonly _tag: "Refused"; readonly error: TogetherError.TogetherError }
  /** Nothing was answered for longer than the job's patience. */
  | { readonly _tag: "Unreachable"; readonly error: TogetherError.TogetherError }
  /** The input was read to its end, and rows of some models were not sent: `Ending.abandoned` names them. */
  | { readonly _tag: "Abandoned" }
  /**
   * The input was read to its end, but is not the file that it was when the job began: some rows of that may not have
   * been read.
   */
  | { readonly _tag: "InputChanged"; readonly error: JournalError }

/** The stop that a caller asks for. */
export const interrupted: Stop = { _tag: "Interrupted" }

/** The stop at the first failed row. */
export const failedRow: Stop = { _tag: "FailedRow" }

/** The stop at the end of the time allowed. */
export const maxTime: Stop = { _tag: "MaxTime" }

/** The end of a job that did not send the rows of a model. */
export const abandoned: Stop = { _tag: "Abandoned" }

/** The end of a job whose input is not as it was. */
export const inputChanged = (error: JournalError): Stop => ({ _tag: "InputChanged", error })
