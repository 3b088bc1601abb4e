import { describe, expect, it } from "@effect/vitest"
import * as LittlesLaw from "../../../src/policy/catalogue/LittlesLaw.ts"
import { suite } from "../vectors.ts"

describe("LittlesLaw", () => {
  it.each(suite<{ cases: ReadonlyArray<{ rps: number; latency: number; concurrency: number }> }>("littles.law").cases)(
    "needs $concurrency in flight for $rps per second at $latency s",
    ({ concurrency, latency, rps }) => {
      expect(LittlesLaw.concurrency(rps, latency)).toBe(concurrency)
      expect(LittlesLaw.rate(concurrency, latency)).toBeCloseTo(rps, 9)
    }
  )

  it("rounds up what is not whole, and nothing else", () => {
    expect(LittlesLaw.concurrency(0.1, 30)).toBe(3)
    expect(LittlesLaw.concurrency(0.1, 31)).toBe(4)
    expect(LittlesLaw.concurrency(0, 31)).toBe(0)
    expect(LittlesLaw.concurrency(10, 0)).toBe(0)
    expect(LittlesLaw.concurrency(0.001, 1)).toBe(1)
  })

  it("adds headroom to the p95", () => {
    expect(LittlesLaw.ceiling(10, 5)).toBe(60)
    expect(LittlesLaw.ceiling(10, 5, 1)).toBe(50)
    expect(LittlesLaw.ceiling(10, 0)).toBe(1)
  })

  it("refuses rates and latencies that are none", () => {
    expect(() => LittlesLaw.inFlight(-1, 1)).toThrow("ratePerSecond must be")
    expect(() => LittlesLaw.inFlight(1, NaN)).toThrow("latencySeconds must be")
    expect(() => LittlesLaw.rate(1, 0)).toThrow("latencySeconds must be")
    expect(() => LittlesLaw.ceiling(1, 1, 0)).toThrow("headroom must be")
  })
})
