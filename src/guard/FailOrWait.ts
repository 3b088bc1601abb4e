/**
 * What a call does when it cannot go on: at an open circuit, with an empty retry budget, or with a suspended account.
 *
 * Options whose names begin with `when` take these words; those that begin with `on` run something of the caller's.
 */
import * as OptionCheck from "../policy/OptionCheck.ts"

/** Fails at once, or waits. */
export type FailOrWait = "fail" | "wait"

/**
 * Requires one of the two words; `"fail"` if none is given. With any other word a call would fail although its caller
 * meant it to wait.
 */
export const checked = (where: string, field: string, word: FailOrWait = "fail"): FailOrWait =>
  OptionCheck.oneOf(where, field, word, ["fail", "wait"])
