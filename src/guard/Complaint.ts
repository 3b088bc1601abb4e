/**
 * Renames the function in a kernel's `RangeError` to the guard that the user called, since the user does not know the
 * kernel inside.
 */
import * as Result from "effect/Result"

/** Makes what `from` makes. If `from` refuses an option with a `RangeError`, the error names `where` instead. */
export const of = <A>(where: string, from: string, make: () => A): A =>
  Result.getOrThrow(Result.mapError(
    Result.try(make),
    (error) => error instanceof RangeError ? new RangeError(error.message.replace(`${from}:`, `${where}:`)) : error
  ))
