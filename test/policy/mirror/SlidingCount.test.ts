import { describe, expect, it } from "@effect/vitest"
import * as SlidingCount from "../../../src/policy/mirror/SlidingCount.ts"
import { seeded } from "../events.ts"

const { seconds } = SlidingCount.defaults

describe("SlidingCount", () => {
  it("counts a cost for a second and a hundredth", () => {
    const count = SlidingCount.add(SlidingCount.empty, 40, 100, 10)
    expect(SlidingCount.total(SlidingCount.passed(count, 10 + seconds - 0.001))).toBe(40)
    expect(SlidingCount.passed(count, 10 + seconds)).toEqual([])
  })

  it("counts what is larger than a window for as many seconds as it takes", () => {
    const count = SlidingCount.add(SlidingCount.empty, 250, 100, 0)
    expect(count.map((one) => one.cost)).toEqual([100, 150])
    expect(count.map((one) => one.until)).toEqual([seconds, 2 * seconds])
  })

  it("waits until no more counts than leaves room", () => {
    const count = [10, 20, 30].reduce((sum, cost, i) => SlidingCount.add(sum, cost, 100, i / 10), SlidingCount.empty)
    expect(SlidingCount.wait(count, 60, 0.3)).toBe(0)
    expect(SlidingCount.wait(count, 59, 0.3)).toBeCloseTo(seconds - 0.3, 9)
    expect(SlidingCount.wait(count, 29, 0.3)).toBeCloseTo(seconds + 0.2 - 0.3, 9)
    expect(SlidingCount.wait(count, 0, 5)).toBe(0)
  })

  it("counts what takes many seconds in few parts", () => {
    const count = SlidingCount.add(SlidingCount.empty, 1e6, 0.05, 0)
    expect(count.length).toBeLessThanOrEqual(SlidingCount.defaults.parts + 1)
    expect(SlidingCount.total(count)).toBeCloseTo(1e6, 3)
    expect(SlidingCount.wait(count, 0.05, 0) / (seconds * 1e6 / 0.05)).toBeCloseTo(1, 6)
  })

  it("keeps what counts in order of time, and leaves room after each wait, whatever was sent", () => {
    const random = seeded(5)
    let count = SlidingCount.empty
    let now = 0
    for (let i = 0; i < 2000; i++) {
      now += random() / 5
      const cost = 250 * random()
      const wait = SlidingCount.wait(count, Math.max(0, 100 - cost), now)
      now += wait
      count = SlidingCount.passed(count, now)
      if (SlidingCount.total(count) > Math.max(0, 100 - cost)) throw new Error(`no room at ${now}`)
      count = SlidingCount.add(count, cost, 100, now)
      const ends = count.map((one) => one.until)
      if (ends.some((end, k) => k > 0 && end < ends[k - 1]!)) throw new Error(`out of order at ${now}`)
    }
    expect(SlidingCount.passed(count, now + 10)).toEqual([])
  })
})
