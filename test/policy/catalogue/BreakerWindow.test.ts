import { describe, expect, it } from "@effect/vitest"
import * as BreakerWindow from "../../../src/policy/catalogue/BreakerWindow.ts"
import { events, laws } from "../events.ts"
import { suite } from "../vectors.ts"

const ok = { failed: false, slow: false, durationSeconds: 1 }
const bad = { failed: true, slow: false, durationSeconds: 2 }
const slow = { failed: false, slow: true, durationSeconds: 9 }

describe("BreakerWindow", () => {
  it("follows resilience4j's time window", () => {
    const vector = suite<{
      windowSeconds: number
      expectedTotals: ReadonlyArray<number>
      expectedFailed: ReadonlyArray<number>
      steps: ReadonlyArray<{
        advance: number
        outcome: "success" | "error"
        durationMs: number
        total: number
        failed: number
        durationTotalMs: number
      }>
    }>("breaker.timeWindow")
    let window = BreakerWindow.make({ _tag: "Time", seconds: vector.windowSeconds })
    let now = 1000
    const seen = vector.steps.map((step) => {
      now += step.advance
      const outcome = { failed: step.outcome === "error", slow: false, durationSeconds: step.durationMs / 1000 }
      window = BreakerWindow.add(window, outcome, now)
      const totals = BreakerWindow.totals(window, now)
      expect(totals.calls).toBe(step.total)
      expect(totals.failures).toBe(step.failed)
      expect(totals.durationSeconds * 1000).toBeCloseTo(step.durationTotalMs, 6)
      return totals
    })
    expect(seen.map((totals) => totals.calls)).toEqual(vector.expectedTotals)
    expect(seen.map((totals) => totals.failures)).toEqual(vector.expectedFailed)
  })

  it("forgets a time window by time when nothing is added", () => {
    const window = BreakerWindow.add(BreakerWindow.make({ _tag: "Time", seconds: 5 }), bad, 3.9)
    expect(BreakerWindow.totals(window, 7.9).calls).toBe(1)
    expect(BreakerWindow.totals(window, 8)).toEqual(BreakerWindow.none)
  })

  it("begins a second where a clock of tenths does", () => {
    const tenths = Array.from({ length: 10 }, () => 0.1).reduce((now, step) => now + step, 0)
    expect(tenths).toBeLessThan(1)
    const window = BreakerWindow.add(BreakerWindow.make({ _tag: "Time", seconds: 1 }), bad, 0)
    expect(BreakerWindow.totals(window, tenths)).toEqual(BreakerWindow.none)
  })

  it("keeps the last calls of a ring", () => {
    let window = BreakerWindow.make({ _tag: "Count", size: 3, idleSeconds: Infinity })
    for (const outcome of [bad, slow, ok, ok]) window = BreakerWindow.add(window, outcome, 0)
    expect(BreakerWindow.totals(window, 1e9)).toEqual({ calls: 3, failures: 0, slow: 1, durationSeconds: 11 })
  })

  it("keeps small times beside large ones", () => {
    let window = BreakerWindow.make({ _tag: "Count", size: 3, idleSeconds: Infinity })
    for (const durationSeconds of [1e16, 0.3, 0.3, 0.3]) {
      window = BreakerWindow.add(window, { ...ok, durationSeconds }, 0)
    }
    expect(BreakerWindow.totals(window, 0).durationSeconds).toBeCloseTo(0.9, 12)
  })

  it.each([NaN, Infinity])("counts a call that took %d seconds, and adds no time", (durationSeconds) => {
    let window = BreakerWindow.make({ _tag: "Count", size: 3, idleSeconds: Infinity })
    window = BreakerWindow.add(BreakerWindow.add(window, { ...bad, durationSeconds }, 0), ok, 0)
    expect(BreakerWindow.totals(window, 0)).toEqual({ calls: 2, failures: 1, slow: 0, durationSeconds: 1 })
  })

  it("forgets what a clock that was set back has put into the future", () => {
    const row = BreakerWindow.add(BreakerWindow.make({ _tag: "Time", seconds: 5 }), bad, 1000)
    expect(BreakerWindow.totals(row, 500)).toEqual(BreakerWindow.none)
    expect(BreakerWindow.totals(row, 999.9).calls).toBe(1)
    const ring = BreakerWindow.add(BreakerWindow.make({ _tag: "Count", size: 3, idleSeconds: 60 }), bad, 1000)
    expect(BreakerWindow.totals(ring, 500)).toEqual(BreakerWindow.none)
    expect(BreakerWindow.totals(ring, 999.9).calls).toBe(1)
  })

  it("forgets a ring that stood idle", () => {
    let window = BreakerWindow.make({ _tag: "Count", size: 3, idleSeconds: 60 })
    window = BreakerWindow.add(window, bad, 0)
    expect(BreakerWindow.totals(window, 60).failures).toBe(1)
    expect(BreakerWindow.totals(window, 61)).toEqual(BreakerWindow.none)
    expect(BreakerWindow.totals(BreakerWindow.add(window, ok, 61), 61).calls).toBe(1)
  })

  it("has rates of zero without calls", () => {
    expect([BreakerWindow.failureRate(BreakerWindow.none), BreakerWindow.slowRate(BreakerWindow.none)]).toEqual([0, 0])
    const totals = { calls: 4, failures: 1, slow: 2, durationSeconds: 0 }
    expect([BreakerWindow.failureRate(totals), BreakerWindow.slowRate(totals)]).toEqual([0.25, 0.5])
  })

  it.each([
    [{ _tag: "Time", seconds: 0 } as const, "seconds"],
    [{ _tag: "Count", size: 0, idleSeconds: 1 } as const, "size"],
    [{ _tag: "Count", size: 1, idleSeconds: 0 } as const, "idleSeconds"]
  ])("refuses %o", (kind, field) => {
    expect(() => BreakerWindow.make(kind)).toThrow(`BreakerWindow.make: ${field} must be`)
  })

  it.prop("sums exactly what a list of all calls sums to", [events], ([list]) => {
    let ring = BreakerWindow.make({ _tag: "Count", size: 7, idleSeconds: 1.5 })
    let row = BreakerWindow.make({ _tag: "Time", seconds: 3 })
    let now = 0
    let recent: Array<{ at: number; outcome: BreakerWindow.Outcome }> = []
    const all: Array<{ at: number; outcome: BreakerWindow.Outcome }> = []
    for (const { amount, kind, ms } of list) {
      now += ms / 1000
      const outcome = { failed: kind === 0, slow: kind === 1, durationSeconds: amount }
      const lastAt = recent.at(-1)?.at ?? -Infinity
      if (now - lastAt > 1.5) recent = []
      recent = [...recent, { at: now, outcome }].slice(-7)
      all.push({ at: now, outcome })
      ring = BreakerWindow.add(ring, outcome, now)
      row = BreakerWindow.add(row, outcome, now)
      const sum = (entries: ReadonlyArray<{ outcome: BreakerWindow.Outcome }>) => ({
        calls: entries.length,
        failures: entries.filter((entry) => entry.outcome.failed).length,
        slow: entries.filter((entry) => entry.outcome.slow).length,
        durationSeconds: entries.reduce((total, entry) => total + entry.outcome.durationSeconds, 0)
      })
      expect(BreakerWindow.totals(ring, now)).toEqual(sum(recent))
      const within = all.filter((entry) => Math.floor(entry.at) > Math.floor(now) - 3)
      expect(BreakerWindow.totals(row, now)).toEqual(sum(within))
    }
  }, laws)
})
