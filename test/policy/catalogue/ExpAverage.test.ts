import { describe, expect, it } from "@effect/vitest"
import * as ExpAverage from "../../../src/policy/catalogue/ExpAverage.ts"
import { suite } from "../vectors.ts"

describe("ExpAverage", () => {
  it.each(
    suite<{
      cases: ReadonlyArray<{
        window: number
        warmup: number
        add: ReadonlyArray<number>
        values: ReadonlyArray<number>
        thenAdd: number
        value: number
        tolerance: number
      }>
    }>("netflix.expAvg").cases
  )("averages plainly, then exponentially", (vector) => {
    let state = ExpAverage.make({ window: vector.window, warmup: vector.warmup })
    expect(state.value).toBe(0)
    for (const [i, sample] of vector.add.entries()) {
      state = ExpAverage.add(state, sample)
      expect(state.value).toBeCloseTo(vector.values[i] ?? NaN, 9)
    }
    state = ExpAverage.add(state, vector.thenAdd)
    expect(Math.abs(state.value - vector.value)).toBeLessThanOrEqual(vector.tolerance)
  })

  it("starts over as new: the sum of the warm-up does not survive", () => {
    const used = ExpAverage.add(ExpAverage.make({ window: 10, warmup: 5 }), 100)
    const fresh = ExpAverage.make({ window: used.window, warmup: used.warmup })
    expect(ExpAverage.add(fresh, 2).value).toBe(2)
  })

  it("decays at once when it is warm", () => {
    const state = ExpAverage.warm({ window: 3, warmup: 10 }, 4)
    expect(ExpAverage.add(state, 8).value).toBe(6)
    expect(ExpAverage.set(state, 1).value).toBe(1)
  })

  it("leaves out what is not finite", () => {
    const state = ExpAverage.add(ExpAverage.make({ window: 5, warmup: 1 }), 10)
    for (const sample of [NaN, Infinity, -Infinity]) expect(ExpAverage.add(state, sample)).toBe(state)
  })

  it("refuses a window or a warm-up out of range", () => {
    expect(() => ExpAverage.make({ window: 0, warmup: 0 })).toThrow("ExpAverage.make: window must be")
    expect(() => ExpAverage.make({ window: 1, warmup: -1 })).toThrow("ExpAverage.make: warmup must be")
  })
})
