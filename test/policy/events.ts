/** Generates event lists for the laws of the kernels: whole numbers only, so that a counterexample is readable. */
import { Arbitrary, Schema } from "effect"

/** Generates a whole number in [minimum, maximum]. */
export const whole = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

/** Generates up to 80 events: a step of time in ms, an amount, a kind and a uniform number in thousandths. */
export const events = Arbitrary.array(
  Arbitrary.all({ ms: whole(0, 2000), amount: whole(0, 12), kind: whole(0, 5), draw: whole(0, 999) }),
  { maxLength: 80 }
)

/** Checks many runs of a law, always with the same seed. */
export const laws = { arbitrary: { runs: 150, seed: "policy", size: 60 } } as const

/** Draws numbers in [0, 1) that a test can repeat (mulberry32). */
export const seeded = (seed: number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
