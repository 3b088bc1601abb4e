/**
 * The complaint about an option that a guard hands on to the sums it is made of, in the name of the guard: nobody else was
 * called, as far as its user knows.
 */
import * as Result from "effect/Result"

/** Makes what `from` makes; where that refuses an option with a `RangeError`, the error says that `where` does. */
export const of = <A>(where: string, from: string, make: () => A): A =>
  Result.getOrThrow(Result.mapError(
    Result.try(make),
    (error) => error instanceof RangeError ? new RangeError(error.message.replace(`${from}:`, `${where}:`)) : error
  ))
