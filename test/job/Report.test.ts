import { describe, expect, it } from "@effect/vitest"
import * as Histogram from "../../src/job/Histogram.ts"
import * as Report from "../../src/job/Report.ts"
import * as Sorter from "../../src/job/Sorter.ts"

describe("Report", () => {
  it("stays bounded and sums up, whatever the clock does", () => {
    const report = Report.make(1_000_000)
    const outcome: Report.Outcome = {
      kind: "ok",
      line: 1,
      id: "a",
      attempts: 2,
      millis: 30,
      inputTokens: 1,
      outputTokens: 2,
      nanoUsd: 7n,
      model: "m"
    }
    // back an hour, then forward a month
    Report.settle(report, 1_000_000 - 3_600_000, outcome)
    for (let i = 0; i < 5000; i++) {
      Report.settle(report, 1_000_000 + i * 500_000, {
        ...outcome,
        kind: i % 10 === 0 ? "failed" : "ok",
        code: "x",
        message: "y"
      })
    }
    expect(report.timeline.steps.length).toBeLessThanOrEqual(240)
    expect(report.timeline.steps.reduce((sum, step) => sum + step.ok + step.failed, 0)).toBe(5001)
    expect(report.failures.length).toBe(200)
    Report.settle(report, 2_000_000, { ...outcome, requestMillis: 20 })
    // how long a failure took is no time of an answer
    Report.settle(report, 2_000_000, { ...outcome, kind: "failed", requestMillis: 50 })
    const summary = Report.summary(report, 2_000_000)
    expect(summary.rows).toMatchObject({ ok: 4502, failed: 501 })
    expect(summary.cost.usd).toBe("0.000035021")
    expect(summary.latencySeconds.p50).toBeCloseTo(0.03, 2)
    expect(summary.requestSeconds.max).toBe(0.02)
    expect(JSON.parse(JSON.stringify(summary))).toEqual(summary)
  })

  it("tells all rows from those that are settled, and a price from a usage that is unknown", () => {
    const report = Report.make(0)
    report.total = 10
    const tokens = { inputTokens: 0, outputTokens: 0 }
    const outcome = { kind: "ok", line: 1, id: "a", model: "m", attempts: 1, millis: 1, ...tokens } as const
    Report.settle(report, 0, outcome)
    for (let i = 0; i < 2; i++) Report.settle(report, 0, { ...outcome, unmetered: true })
    Report.settle(report, 0, { ...outcome, unmetered: true, nanoUsd: 1n })
    const { cost, models, rows } = Report.summary(report, 1)
    expect(rows).toMatchObject({ total: 10, settled: 4, ok: 4 })
    expect(cost).toMatchObject({ rowsWithUnknownPrice: 1, rowsWithoutUsage: 2 })
    expect(models).toMatchObject({ m: { ok: 4, usd: "0.000000001", rowsWithUnknownPrice: 1 } })
  })
})

describe("Sorter", () => {
  it("refuses a window of nothing", () => {
    expect(() => Sorter.make(0)).toThrow("Sorter.make: window must be an integer >= 1, got 0")
  })
})

describe("Histogram", () => {
  it("reads percentiles within five percent, and refuses a share that is none", () => {
    const times = Histogram.make()
    expect(Histogram.percentile(times, 0.5)).toBe(0)
    for (let millis = 1; millis <= 10_000; millis++) Histogram.add(times, millis)
    for (const share of [0.1, 0.5, 0.9, 0.99]) {
      expect(Math.abs(Histogram.percentile(times, share) / (share * 10_000) - 1)).toBeLessThan(0.05)
    }
    Histogram.add(times, -5)
    expect(Histogram.percentile(times, 1)).toBeLessThanOrEqual(10_000)
    expect(() => Histogram.percentile(times, 1.5)).toThrow("share must be in [0, 1], got 1.5")
  })
})
