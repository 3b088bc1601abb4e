import { describe, expect, it } from "@effect/vitest"
import * as SampleWindow from "../../src/policy/SampleWindow.ts"
import { seeded } from "./events.ts"

const fill = (values: ReadonlyArray<number>, capacity?: number) =>
  values.reduce(SampleWindow.add, SampleWindow.make(capacity))

describe("SampleWindow", () => {
  it("reads quantiles by nearest rank", () => {
    const window = fill([5, 1, 4, 2, 3])
    expect([0, 0.2, 0.21, 0.5, 0.9, 1].map((q) => SampleWindow.quantile([window], q))).toEqual([1, 1, 2, 3, 5, 5])
    expect(window.min).toBe(1)
  })

  it("has no quantile without samples", () => {
    expect(SampleWindow.quantile([], 0.5)).toBeNaN()
    expect(SampleWindow.quantile([SampleWindow.make()], 0.5)).toBeNaN()
  })

  it("keeps the samples spread over the window in bounded memory", () => {
    const window = fill(Array.from({ length: 100 }, (_, i) => i), 16)
    expect(window.values.length).toBeLessThan(16)
    expect(window.count).toBe(100)
    expect(window.values).toEqual(window.values.map((_, i) => i * window.stride))
  })

  it("estimates quantiles of far more samples than it keeps", () => {
    const random = seeded(1)
    const window = fill(Array.from({ length: 20_000 }, () => random()))
    expect(Math.abs(SampleWindow.quantile([window], 0.9) - 0.9)).toBeLessThan(0.05)
    expect(Math.abs(SampleWindow.quantile([window], 0.5) - 0.5)).toBeLessThan(0.09)
  })

  it("weighs a thinned window by what its samples stand for", () => {
    const many = fill(Array.from({ length: 64 }, () => 1), 8)
    const few = fill([9, 9, 9, 9], 8)
    expect(SampleWindow.quantile([many, few], 0.9)).toBe(1)
    expect(SampleWindow.quantile([many, few], 0.99)).toBe(9)
  })

  it("leaves out what is no number", () => {
    const window = SampleWindow.add(SampleWindow.make(), 1)
    expect(SampleWindow.add(window, NaN)).toBe(window)
    expect(SampleWindow.add(window, Infinity)).toMatchObject({ count: 2, min: 1 })
  })

  it("refuses an odd or empty capacity", () => {
    expect(() => SampleWindow.make(3)).toThrow("SampleWindow.make: capacity / 2 must be")
    expect(() => SampleWindow.make(0)).toThrow("SampleWindow.make: capacity / 2 must be")
  })
})
