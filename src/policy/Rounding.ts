/**
 * Rounds to whole numbers and ignores the rounding errors of doubles: 10 × (1 − 0.02 / 0.05) is 6.000000000000001.
 *
 * What lies within `1e-9` of a whole number, or within a few units in the last place of a large one, is that number.
 */

/** Reads the distance within which a number is taken for the whole number beside it; finite, as infinite ones stay. */
const noise = (value: number): number => Math.max(1e-9, Math.min(Number.MAX_VALUE, Math.abs(value)) * 1e-15)

/** Rounds down. */
export const floor = (value: number): number => Math.floor(value + noise(value))

/** Rounds up; what is nothing but noise is 0, and never -0. */
export const ceil = (value: number): number => Math.ceil(value - noise(value)) + 0
