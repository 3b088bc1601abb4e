/**
 * Renames the function in a kernel's `RangeError` to the guard that the user called: of the kernel inside the user knows
 * nothing.
 */
import * as Result from "effect/Result"

/** Makes what `from` makes; where that refuses an option with a `RangeError`, the error says that `where` does. */
export const of = <A>(where: string, from: string, make: () => A): A =>
  Result.getOrThrow(Result.mapError(
    Result.try(make),
    (error) => error instanceof RangeError ? new RangeError(error.message.replace(`${from}:`, `${where}:`)) : error
  ))
