/**
 * The ways a job can break, apart from the rows' own failures.
 *
 * A row that fails is a result. These errors are about the job's files: the input cannot be read, the journal cannot
 * be trusted or written, the output cannot be written. Each says what, why and what to do in `message`, and `reason`
 * tells a program which case it is. Whatever was answered before stays in the journal.
 */
import type * as PlatformError from "effect/PlatformError"
import * as Schema from "effect/Schema"
import * as PlatformCode from "../domain/PlatformCode.ts"

/** Fails a job whose input cannot be read as JSONL. */
export class InputError extends Schema.TaggedError<InputError>()("InputError", {
  message: Schema.String,
  reason: Schema.Literals(["not-found", "unreadable", "encoding", "gzip", "empty"]),
  path: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {}

/** Names what is wrong with a journal. */
export const JournalReason = Schema.Literals([
  "locked",
  "lock-lost",
  "disk-full",
  "unwritable",
  "unreadable",
  "not-a-journal",
  "version",
  "input-changed",
  "row-changed",
  "id-reused",
  "row-moved",
  "target-changed",
  "emulated",
  "batch-running",
  "removed"
])

/** Fails a job whose journal cannot be opened, trusted or written. */
export class JournalError extends Schema.TaggedError<JournalError>()("JournalError", {
  message: Schema.String,
  reason: JournalReason,
  path: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {}

/** Fails a job whose results cannot be written. */
export class OutputError extends Schema.TaggedError<OutputError>()("OutputError", {
  message: Schema.String,
  reason: Schema.Literals(["locked", "lock-lost", "unwritable", "unread", "disk-full"]),
  path: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {}

/** Any way in which a job breaks. */
export type JobError = InputError | JournalError | OutputError

/** Tells whether a value is an error of the union. */
export const isJobError = (u: unknown): u is JobError =>
  u instanceof InputError || u instanceof JournalError || u instanceof OutputError

/**
 * Reads the operating system's code of a platform error, or its normalized tag.
 *
 * @internal
 */
export const platformCode = PlatformCode.of

/**
 * Names in brackets the failure of a file, and says what to do: `usual`, unless it is not about that file at all.
 *
 * @internal
 */
export const advice = (cause: PlatformError.PlatformError, usual: string): string => {
  const code = platformCode(cause)
  return code === "EMFILE" || code === "ENFILE"
    ? `(${code}: too many files are open). Raise the limit (ulimit -n), or close programs that hold files open, and run ` +
      "the same command again."
    : `(${code}). ${usual}`
}

/** Says in words that a file cannot be written. */
export interface Words {
  /** Where the disk is full. */
  readonly full: string
  /** Where it is anything else. */
  readonly other: (cause: PlatformError.PlatformError) => string
}

/** What helps where the disk has space, and the file may not grow. */
const tooLarge = " The system lets no file grow larger (EFBIG): lift its limit (ulimit -f), or use another file system."

/**
 * Makes the error of a file that cannot be written: `disk-full`, or else `unwritable`.
 *
 * @internal
 */
export const platformFailure = <E>(
  Failure: new(
    fields: {
      readonly message: string
      readonly reason: "disk-full" | "unwritable"
      readonly path: string
      readonly cause: PlatformError.PlatformError
    }
  ) => E,
  path: string,
  { full, other }: Words
) =>
(cause: PlatformError.PlatformError): E =>
  isDiskFull(cause)
    ? new Failure({
      message: platformCode(cause) === "EFBIG" ? full + tooLarge : full,
      reason: "disk-full",
      path,
      cause
    })
    : new Failure({ message: other(cause), reason: "unwritable", path, cause })

/**
 * Tells whether a platform error says that no space is left (full disk, quota, file size limit).
 *
 * @internal
 */
export const isDiskFull = (error: PlatformError.PlatformError): boolean => {
  const code = platformCode(error)
  return code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG" || code === "WriteZero"
}
