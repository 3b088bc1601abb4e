/** What an operating system calls a failure: a `PlatformError` says `Unknown` of a full disk, and its cause `ENOSPC`. */
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"

/** Reads the operating system's code (`ENOSPC`, `EACCES`, …) of a platform error, or its normalized tag. */
export const of = (error: PlatformError.PlatformError): string => {
  const cause = error.cause
  return Predicate.hasProperty(cause, "code") && typeof cause.code === "string" ? cause.code : error.reason._tag
}
