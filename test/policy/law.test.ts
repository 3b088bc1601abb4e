import { describe, expect, it } from "@effect/vitest"
import { law } from "./law.ts"

describe("law", () => {
  it("holds where expect holds", () => {
    law(NaN).toBe(NaN)
    law({ a: [1, undefined] }).toEqual({ a: [1, undefined] })
    // what `expect` takes for equal, although it is not strictly so
    law({ a: 1 }).toEqual({ a: 1, b: undefined })
    law(Infinity).toBeCloseTo(Infinity, 6)
    law(1).toBeCloseTo(1.004, 2)
    law(2).toBeGreaterThan(1)
    law(2).toBeGreaterThanOrEqual(2)
    law(2).toBeLessThanOrEqual(2)
  })

  it.each<[string, () => void]>([
    ["expected +0 to be -0", () => law(0).toBe(-0)],
    ["to deeply equal", () => law([1, 2]).toEqual([1, 3])],
    ["to be close to", () => law(1).toBeCloseTo(1.006, 2)],
    ["to be close to", () => law(NaN).toBeCloseTo(1, 2)],
    ["to be greater than 2", () => law(2).toBeGreaterThan(2)],
    ["to be greater than or equal to 2", () => law(NaN).toBeGreaterThanOrEqual(2)],
    ["to be less than or equal to 2", () => law(3).toBeLessThanOrEqual(2)],
    ["to be less than or equal to NaN", () => law(3).toBeLessThanOrEqual(NaN)]
  ])("fails with the words of expect: %s", (words, check) => {
    expect(check).toThrow(words)
  })
})
