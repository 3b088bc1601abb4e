import { describe, expect, it } from "@effect/vitest"
import * as MovingQuantile from "../../../src/policy/catalogue/MovingQuantile.ts"
import { seeded } from "../events.ts"
import { suite } from "../vectors.ts"

const { cases, convergence } = suite<{
  cases: ReadonlyArray<{ samples: ReadonlyArray<number>; values: ReadonlyArray<number> }>
  convergence: ReadonlyArray<{ dist: string; n: number; q: number; expected: number; tolerance: number }>
}>("hedge.movingQuantile")

describe("MovingQuantile", () => {
  it.each(cases)("follows the vector step by step", ({ samples, values }) => {
    let state = MovingQuantile.make({ quantile: 0.95, step: 0.01, age: 30 })
    for (const [i, sample] of samples.entries()) {
      state = MovingQuantile.add(state, sample)
      expect(state.value).toBeCloseTo(values[i] ?? NaN, 8)
    }
    expect(state.count).toBe(samples.length)
  })

  it.each(convergence)("converges on $dist at q = $q", ({ dist, expected, n, q, tolerance }) => {
    const random = seeded(42)
    const draw = dist.startsWith("uniform")
      ? () => random() * 1000
      : () => 100 + 10 * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
    let state = MovingQuantile.make({ quantile: q })
    for (let i = 0; i < n; i++) state = MovingQuantile.add(state, draw())
    expect(Math.abs(state.value - expected)).toBeLessThanOrEqual(tolerance)
  })

  it("stays on a constant", () => {
    let state = MovingQuantile.make()
    for (let i = 0; i < 100; i++) state = MovingQuantile.add(state, 42)
    expect(state.value).toBe(42)
  })

  it("stays where a sample hits it", () => {
    const state = { ...MovingQuantile.make(), count: 5, value: 10, mean: 9, variance: 4 }
    expect(MovingQuantile.add(state, 10).value).toBe(10)
  })

  it("leaves out what is not finite", () => {
    const state = MovingQuantile.add(MovingQuantile.make(), 10)
    for (const sample of [NaN, Infinity, -Infinity]) expect(MovingQuantile.add(state, sample)).toBe(state)
  })

  it("follows a shift", () => {
    const random = seeded(42)
    let state = MovingQuantile.make({ quantile: 0.5 })
    for (let i = 0; i < 5000; i++) state = MovingQuantile.add(state, 90 + 20 * random())
    expect(Math.abs(state.value - 100)).toBeLessThan(15)
    for (let i = 0; i < 10_000; i++) state = MovingQuantile.add(state, 490 + 20 * random())
    expect(Math.abs(state.value - 500)).toBeLessThan(15)
  })

  it.each([
    [{ quantile: 1 }, "quantile"],
    [{ step: 0 }, "step"],
    [{ age: 0 }, "age"]
  ])("refuses %o", (options, field) => {
    expect(() => MovingQuantile.make(options)).toThrow(`MovingQuantile.make: ${field} must be`)
  })
})
