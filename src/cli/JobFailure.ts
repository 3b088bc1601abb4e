/** What the command says about an error that ended a job, and the exit code that it returns. */
import { type JobError, platformCode } from "../job/JobError.ts"
import * as PlatformError from "effect/PlatformError"
import * as ExitCode from "./ExitCode.ts"

/**
 * Tells whether the file may not be written at all, so that nothing was: with another path the job begins, and nothing
 * is lost.
 */
const mayNotWrite = ({ cause, reason }: JobError): boolean =>
  reason === "unwritable" && cause instanceof PlatformError.PlatformError &&
  /^(EACCES|EPERM|EROFS|PermissionDenied)$/.test(platformCode(cause))

/** Says what to do about an error that ended a command, and with which exit code. */
export const of = (
  error: JobError,
  command: string
): { readonly code: ExitCode.ExitCode; readonly lines: ReadonlyArray<string> } => {
  const reason = error._tag === "JournalError" ? error.reason : undefined
  const more = reason === "input-changed" || reason === "row-changed"
    ? [
      `go on with: ${command} --changed keep (keep the answers of changed rows) or --changed resend (send changed rows again)`
    ]
    : reason === "row-moved"
    ? [`go on with: ${command.replace(/ --changed[= ]\S+/g, "")} --changed resend (send changed rows again)`]
    : reason === "id-reused"
    ? [`then go on with: ${command} --changed keep (keep the answers there are, send what has a new custom_id)`]
    : reason === "target-changed"
    ? [`go on with: ${command} --changed keep (keep the answers of both)`]
    : reason === "batch-running"
    ? [`go on with: ${command} --via batch`]
    : mayNotWrite(error) && !/ (--out-dir|--output|-o|--journal)[= ]/.test(command)
    ? [`or write to another directory with: ${command} --out-dir DIR`]
    : []
  return { code: ExitCode.ofJobError(error), lines: [error.message, ...more] }
}
