/**
 * What a clock cannot show: the shortest wait, the shortfall that a grant overlooks, and the border of a period.
 */

/** The shortest wait, in seconds: less does not move a clock, and whoever sleeps so long asks again for ever. */
export const quantumSeconds = 0.001

/** The shortfall, in tokens, that a grant tolerates at least. */
export const epsilon = 1e-9

/** The share of a time by which sums of times may be off: two units in the last place. */
const clockShare = 2 ** -51

/**
 * Computes the shortfall, in tokens, that a grant at `now` tolerates.
 *
 * **Details**: `max(epsilon, rate·|now|·2^-51)`. At 1.7e9 s two neighbouring times are 2.4e-7 s apart, so a bucket that
 * fills by 1000 per second cannot tell a whole token from one that lacks 0.0002. What is overlooked stays owed.
 */
export const tolerance = (refillPerSecond: number, now: number): number =>
  Math.max(epsilon, Math.abs(now) * clockShare * refillPerSecond)

/**
 * Counts the whole periods of `seconds` from `since` to `now`.
 *
 * **Details**: a border counts as passed where the clock cannot tell it from `now`: at 1.7e9 s a tenth of a second after
 * another time is often read as 0.0999999 s after it.
 */
export const periods = (since: number, now: number, seconds: number): number =>
  Math.floor((now - since) / seconds + tolerance(1 / seconds, now))
