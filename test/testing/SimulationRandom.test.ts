import { describe, expect, it } from "@effect/vitest"
import type { Distribution } from "../../src/testing/Simulation.ts"
import * as Random from "../../src/testing/SimulationRandom.ts"

const many = (count: number, draw: (source: Random.Source) => number) =>
  Array.from({ length: count }, (_, i) => draw(Random.derive(Random.source(11), i)))

const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length

const median = (values: ReadonlyArray<number>) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

describe("SimulationRandom", () => {
  it("is a function of its words alone", () => {
    const from = Random.derive(Random.source(3), 4)
    expect(Random.uniform(from, 5)).toBe(Random.uniform(Random.derive(Random.source(3), 4), 5))
    expect(Random.source(3)).not.toBe(Random.source(4))
    expect(Random.source(0.5)).toBe(Random.source(0))
    expect(Random.derive(from, 1)).not.toBe(Random.derive(from, 2))
    // words that differ above 32 bits only
    expect(Random.derive(from, 1)).not.toBe(Random.derive(from, 1 + 2 ** 32))
  })

  it("is uniform: mean, variance, a chi-squared test, and no correlation of neighbours", () => {
    const values = many(50_000, (source) => Random.uniform(source, 0))
    expect(Math.min(...values)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...values)).toBeLessThan(1)
    expect(mean(values)).toBeCloseTo(0.5, 2)
    expect(mean(values.map((x) => (x - 0.5) ** 2))).toBeCloseTo(1 / 12, 2)
    const bins = Array.from({ length: 100 }, () => 0)
    for (const value of values) bins[Math.floor(value * 100)] = (bins[Math.floor(value * 100)] ?? 0) + 1
    // 99 degrees of freedom: above 148.2 once in a thousand
    expect(bins.reduce((sum, n) => sum + (n - 500) ** 2 / 500, 0)).toBeLessThan(148.2)
    const pairs = values.slice(1).map((x, i) => (x - 0.5) * ((values[i] ?? 0) - 0.5) * 12)
    expect(Math.abs(mean(pairs))).toBeLessThan(0.015)
  })

  it("draws each distribution with its mean", () => {
    const parts = [
      { weight: 9, of: { kind: "constant", value: 1 } },
      { weight: 1, of: { kind: "uniform", min: 20, max: 22 } }
    ] as const
    const all: ReadonlyArray<readonly [Distribution, number]> = [
      [{ kind: "constant", value: 3 }, 3],
      [{ kind: "uniform", min: 1, max: 5 }, 3],
      [{ kind: "exponential", mean: 3 }, 3],
      [{ kind: "lognormal", mean: 3, sigma: 0.6 }, 3],
      [{ kind: "lognormal", median: 2, sigma: 0.5 }, 2 * Math.exp(0.125)],
      [{ kind: "mixture", parts }, 3]
    ]
    for (const [distribution, expected] of all) {
      const values = many(40_000, (source) => Random.draw(distribution, source, 1))
      expect(mean(values) / expected).toBeCloseTo(1, 1)
    }
  })

  it("puts half of a log-normal below its median, and nothing above its max", () => {
    const values = many(40_000, (source) => Random.draw({ kind: "lognormal", median: 4, sigma: 1, max: 9 }, source, 0))
    expect(median(values)).toBeCloseTo(4, 0)
    expect(Math.max(...values)).toBe(9)
    const capped = many(1000, (source) => Random.draw({ kind: "exponential", mean: 4, max: 5 }, source, 0))
    expect(Math.max(...capped)).toBe(5)
  })

  it("stays finite, however wide a log-normal is", () => {
    const values = many(100, (source) => Random.draw({ kind: "lognormal", median: 1, sigma: 1e9 }, source, 0))
    expect(values.every(Number.isFinite)).toBe(true)
  })

  it("hashes texts to safe integers without a collision among many", () => {
    const hashes = new Set(Array.from({ length: 100_000 }, (_, i) => Random.hash(`prompt ${i}`)))
    expect(hashes.size).toBe(100_000)
    expect([...hashes].every(Number.isSafeInteger)).toBe(true)
    expect(Random.hash("a")).toBe(7_929_297_801_672_961)
  })
})
