/** Checks what a law says of each step of a long history: `expect`, asked a hundred thousand times, takes seconds. */
import { expect } from "@effect/vitest"
import { isDeepStrictEqual } from "node:util"

/** Looks by itself, and asks `expect` only where that has something to say. */
class Law<A> {
  readonly actual: A

  constructor(actual: A) {
    this.actual = actual
  }

  toBe(expected: A): void {
    if (!Object.is(this.actual, expected)) expect(this.actual).toBe(expected)
  }

  toEqual(expected: unknown): void {
    if (!isDeepStrictEqual(this.actual, expected)) expect(this.actual).toEqual(expected)
  }

  toBeCloseTo(this: Law<number>, expected: number, digits: number): void {
    if (!(Math.abs(this.actual - expected) < 10 ** -digits / 2)) expect(this.actual).toBeCloseTo(expected, digits)
  }

  toBeGreaterThan(this: Law<number>, bound: number): void {
    if (!(this.actual > bound)) expect(this.actual).toBeGreaterThan(bound)
  }

  toBeGreaterThanOrEqual(this: Law<number>, bound: number): void {
    if (!(this.actual >= bound)) expect(this.actual).toBeGreaterThanOrEqual(bound)
  }

  toBeLessThanOrEqual(this: Law<number>, bound: number): void {
    if (!(this.actual <= bound)) expect(this.actual).toBeLessThanOrEqual(bound)
  }
}

/** Reads as `expect` does. */
export const law = <A>(actual: A): Law<A> => new Law(actual)
