/**
 * The exit codes of the command.
 *
 * | code | meaning |
 * | --- | --- |
 * | 0 | all rows answered |
 * | 1 | internal: a disk that is full, a defect |
 * | 2 | usage: a wrong flag, an input or output that cannot be used, an input that changed |
 * | 3 | some rows failed, or were not sent |
 * | 4 | refused: key, credits, address |
 * | 5 | stopped by a cap: cost, time |
 * | 130 | interrupted, the journal is safe |
 */
import type { JobError } from "../job/JobError.ts"
import type * as Report from "../job/Report.ts"
import type { Stop } from "../job/Stop.ts"

/** Names each exit code. */
export const ExitCode = {
  ok: 0,
  internal: 1,
  usage: 2,
  someFailed: 3,
  refused: 4,
  capped: 5,
  interrupted: 130
} as const

/** One of the exit codes. */
export type ExitCode = typeof ExitCode[keyof typeof ExitCode]

/** Counts rows that failed, in this run or before it, and bad lines. */
export const failedOf = (report: Report.Report): number => report.failed + report.bad + report.resumedFailed

/** Chooses the exit code of a job that ended. */
export const ofEnding = (stop: Stop | undefined, report: Report.Report, undone: number): ExitCode => {
  switch (stop?._tag) {
    case "Interrupted":
      return ExitCode.interrupted
    case "MaxCost":
    case "MaxTime":
      return ExitCode.capped
    case "Refused":
    case "Unreachable":
      return ExitCode.refused
    case "InputChanged":
      return ExitCode.usage
    case "FailedRow":
    case "Abandoned":
      return ExitCode.someFailed
    default:
      return failedOf(report) + undone > 0 ? ExitCode.someFailed : ExitCode.ok
  }
}

/** Chooses the exit code of a job that broke. */
export const ofJobError = (error: JobError): ExitCode => {
  switch (error._tag) {
    case "InputError":
      return ExitCode.usage
    case "OutputError":
      return error.reason === "disk-full" || error.reason === "lock-lost" ? ExitCode.internal : ExitCode.usage
    case "JournalError":
      return error.reason === "disk-full" || error.reason === "removed" || error.reason === "unreadable" ||
          error.reason === "lock-lost"
        ? ExitCode.internal
        : ExitCode.usage
  }
}
