import { describe, expect, it } from "@effect/vitest"
import * as Even from "../../../src/policy/mirror/EvenPoints.ts"

const numbers = Array.from({ length: 1024 }, (_, n) => n)

describe("EvenPoints", () => {
  it("fills the square: each of 64 cells holds its share within a third", () => {
    const cells = new Map<number, number>()
    for (const n of numbers) {
      const cell = Math.floor(Even.first(n) * 8) * 8 + Math.floor(Even.second(n) * 8)
      cells.set(cell, (cells.get(cell) ?? 0) + 1)
    }
    expect(cells.size).toBe(64)
    for (const count of cells.values()) expect(Math.abs(count / 16 - 1)).toBeLessThan(0.34)
  })

  it("never gives an end of the interval", () => {
    for (const n of numbers) {
      expect(Even.first(n)).toBeGreaterThanOrEqual(0.001)
      expect(Even.second(n)).toBeLessThanOrEqual(0.999)
    }
  })

  it("turns them into a distribution of mean 0 and deviation 1", () => {
    const normals = numbers.map((n) => Even.normal(Even.first(n)))
    const mean = normals.reduce((a, b) => a + b, 0) / normals.length
    const square = normals.reduce((a, b) => a + b * b, 0) / normals.length
    expect(mean).toBeCloseTo(0, 2)
    expect(square).toBeCloseTo(1.13, 1)
  })
})
