/**
 * Whether a provider counts what it fails against the limit: told by which of the two explains its refusals.
 *
 * ```
 *   taken back   what failed was not counted        kept   it was
 *   rates explain the last …4 refusals              rates explain the last …1: not counted
 * ```
 *
 * Both are computed from the first failure on (`BucketBounds`). Until they differ, what failed is taken back. Where calls
 * differ in size, two mirrors tell (`BucketMirror`).
 */
import * as BucketBounds from "./BucketBounds.ts"

/** Holds the constants of this module. */
const defaults = {
  /** Refusals by which one must be ahead of the other to be believed, and at most. */
  sure: 2,
  most: 4
} as const

/** Holds what is known: plain data. */
export interface Failures {
  /** What went out and was refused of late, where what failed is kept; nothing before the first failure. */
  readonly kept: BucketBounds.State | undefined
  /** Refusals that only what is kept explains, less those that only what is taken back does. */
  readonly score: number
  readonly areCounted: boolean
}

/** Nothing failed yet. */
export const none: Failures = { kept: undefined, score: 0, areCounted: false }

/** Moves what is kept. */
export const moved = (
  failures: Failures,
  move: (bounds: BucketBounds.State) => BucketBounds.State
): Failures => failures.kept === undefined ? failures : { ...failures, kept: move(failures.kept) }

/** What went out and was refused of late: what failed is taken back in `bounds`, and kept in `failures`. */
export interface Accounts {
  readonly bounds: BucketBounds.State
  readonly failures: Failures
}

/** Takes an attempt out of both that was sent at `at`, and was refused or not counted. */
export const withdraw = ({ bounds, failures }: Accounts, at: number): Accounts => ({
  bounds: BucketBounds.withdraw(bounds, at),
  failures: moved(failures, (kept) => BucketBounds.withdraw(kept, at))
})

/** Notes a failure, before it is taken back. */
export const fail = (failures: Failures, taken: BucketBounds.State): Failures =>
  failures.kept === undefined ? { ...failures, kept: taken } : failures

/** Weighs a refusal. */
export const weigh = (
  failures: Failures,
  taken: BucketBounds.State,
  kept: BucketBounds.State
): Failures => {
  const ahead = Math.sign(BucketBounds.explains(kept) - BucketBounds.explains(taken))
  const score = Math.max(-defaults.most, Math.min(defaults.most, failures.score + ahead))
  const areCounted = score >= defaults.sure || (failures.areCounted && score > -defaults.sure)
  return { ...failures, score, areCounted }
}
