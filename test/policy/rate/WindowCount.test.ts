import { describe, expect, it } from "@effect/vitest"
import * as WindowCount from "../../../src/policy/rate/WindowCount.ts"
import { seeded } from "../events.ts"

const unitsOf = (count: WindowCount.WindowCount): number => count.reduce((sum, { cost }) => sum + cost, 0)

describe("rate/WindowCount", () => {
  it("counts no less than was sent within a window, and little more, in a bounded number of cells", () => {
    const random = seeded(3)
    for (const seconds of [1, 10, 60]) {
      let count = WindowCount.empty
      const sent: Array<{ readonly at: number; readonly cost: number }> = []
      for (let i = 0, at = 0; i < 5000; i++) {
        const one = { at, cost: 1 + Math.floor(9 * random()) }
        sent.push(one)
        count = WindowCount.add(count, one, seconds)
        const within = (length: number): number =>
          sent.reduce((sum, { at: then, cost }) => then > at - length ? sum + cost : sum, 0)
        if (i % 50 === 0) {
          expect(unitsOf(count)).toBeGreaterThanOrEqual(within(seconds))
          expect(unitsOf(count)).toBeLessThanOrEqual(
            within(WindowCount.lasts(seconds) + seconds / WindowCount.defaults.cells)
          )
        }
        expect(count.length).toBeLessThanOrEqual(WindowCount.defaults.cells + 5)
        at += random() * seconds / 400
      }
    }
  })

  it("counts what was sent at nearly the same time as one, and takes units out of it", () => {
    const at = (...times: ReadonlyArray<number>): WindowCount.WindowCount =>
      times.reduce((count, one) => WindowCount.add(count, { at: one, cost: 2 }, 60), WindowCount.empty)
    expect(at(0, 0.1, 0.2, 0.3)).toEqual([{ from: 0, at: 0.2, cost: 6 }, { from: 0.3, at: 0.3, cost: 2 }])
    expect(WindowCount.less(at(0, 0.1), 3, 0.1)).toEqual([{ from: 0, at: 0.1, cost: 1 }])
    expect(WindowCount.less(at(0, 0.1), 4, 0.05)).toEqual([])
    expect(WindowCount.less(at(0, 0.1), 4, 0.2)).toEqual(at(0, 0.1))
    // all of it is over
    expect(WindowCount.add(at(0, 0.1), { at: 61, cost: 1 }, 60)).toEqual([{ from: 61, at: 61, cost: 1 }])
  })

  it("waits until as much counts no more as a cost needs", () => {
    const count = [{ from: 0, at: 0, cost: 5 }, { from: 1, at: 1, cost: 3 }, { from: 2, at: 2, cost: 1 }]
    expect(WindowCount.wait(count, 10, 10, 1, 3)).toBe(0)
    expect(WindowCount.wait(count, 10, 10, 2, 3)).toBeCloseTo(7.05, 9)
    expect(WindowCount.wait(count, 10, 10, 7, 3)).toBeCloseTo(8.05, 9)
    expect(WindowCount.wait(count, 10, 10, 99, 3)).toBeCloseTo(9.05, 9)
    expect(WindowCount.wait(WindowCount.empty, 10, 10, 99, 3)).toBe(0)
  })
})
