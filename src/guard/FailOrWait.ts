/**
 * What a call does that cannot go on: at an open circuit, with an empty budget of retries, with a suspended account.
 *
 * Options whose names begin with `when` say it by such words; those that begin with `on` run something of the caller's.
 */
import * as OptionCheck from "../policy/OptionCheck.ts"

/** Fails at once, or waits. */
export type FailOrWait = "fail" | "wait"

/** Requires one of the two words, `"fail"` where none is given: another one would fail where its caller meant to wait. */
export const checked = (where: string, field: string, word: FailOrWait = "fail"): FailOrWait =>
  OptionCheck.oneOf(where, field, word, ["fail", "wait"])
