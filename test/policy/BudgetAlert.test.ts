import { describe, expect, it } from "@effect/vitest"
import * as BudgetAlert from "../../src/policy/BudgetAlert.ts"

const feed = (times: ReadonlyArray<number>, options = BudgetAlert.defaults) => {
  let state = BudgetAlert.initial
  return times.filter((now) => {
    const [alert, next] = BudgetAlert.rateLimited(state, options, now)
    state = next
    return alert
  })
}

describe("BudgetAlert", () => {
  it("alerts at the tenth rate limit within a minute, and once per minute", () => {
    expect(feed([1, 2, 3, 4, 5, 6, 7, 8, 9])).toEqual([])
    expect(feed(Array.from({ length: 200 }, (_, i) => i))).toEqual([9, 69, 129, 189])
  })

  it("does not add up what lies further apart", () => {
    expect(feed(Array.from({ length: 50 }, (_, i) => i * 7))).toEqual([])
    expect(feed([0, 100], { count: 1, windowSeconds: 10 })).toEqual([0, 100])
  })

  it("alerts anew after the clock went back", () => {
    const burst = (from: number) => Array.from({ length: 10 }, (_, i) => from + i)
    expect(feed([...burst(10_000), ...burst(100)])).toEqual([10_009, 109])
  })

  it("refuses options out of range", () => {
    expect(() => BudgetAlert.check({ count: 0, windowSeconds: 1 })).toThrow("count must be an integer >= 1, got 0")
    expect(() => BudgetAlert.check({ count: 1, windowSeconds: 0 })).toThrow(
      "windowSeconds must be in (0, Infinity], got 0"
    )
    expect(BudgetAlert.check(BudgetAlert.defaults)).toBe(BudgetAlert.defaults)
  })
})
