import { describe, expect, it } from "@effect/vitest"
import * as SlowStart from "../../../src/policy/catalogue/SlowStart.ts"
import { suite } from "../vectors.ts"

const settings = SlowStart.make()

describe("SlowStart", () => {
  it.each(
    suite<{
      cases: ReadonlyArray<{
        window: number
        min: number
        aggression: number
        factors: ReadonlyArray<{ elapsed: number; factor: number }>
      }>
    }>("ramp.slowStart").cases
  )("ramps with aggression $aggression", ({ aggression, factors, min, window }) => {
    for (const { elapsed, factor } of factors) {
      expect(SlowStart.factor({ min, aggression }, window, elapsed)).toBeCloseTo(factor, 9)
    }
  })

  it("applies the factor to a rate, and says where on the ramp it is", () => {
    const ramp = SlowStart.begin(settings, 100)
    expect(SlowStart.apply(ramp, 50, 100)).toEqual({ _tag: "Ramping", factor: 0.1, rate: 5, reason: "floor" })
    expect(SlowStart.apply(ramp, 50, 105)).toEqual({ _tag: "Ramping", factor: 0.5, rate: 25, reason: "curve" })
    expect(SlowStart.apply(ramp, 50, 110)).toEqual({ _tag: "Done", factor: 1, rate: 50, reason: "window-over" })
  })

  it.each([99, NaN, -Infinity])("is at its start where the clock says %d", (now) => {
    expect(SlowStart.apply(SlowStart.begin(settings, 100), 50, now)).toMatchObject({ factor: 0.1, rate: 5 })
    expect(SlowStart.apply(SlowStart.resume(settings, 1, 100), 50, now)).toMatchObject({ factor: 1, rate: 50 })
    expect(SlowStart.cumulative(settings, 10, now - 100)).toBe(0)
  })

  it("ramps over half a pause, at most ten seconds, and not after a short one", () => {
    expect([0, 1.9, 2, 8, 20, 600].map((pause) => SlowStart.resume(settings, pause, 0).windowSeconds)).toEqual([
      0,
      0,
      1,
      4,
      10,
      10
    ])
    expect(SlowStart.apply(SlowStart.resume(settings, 1, 0), 50, 0)._tag).toBe("Done")
  })

  it.each([[1, 0.1], [2, 0.1], [3, 0.25], [1, 0]])(
    "sums the factor as a numeric integral does (aggression %d, floor %d)",
    (aggression, min) => {
      for (const elapsed of [0, 0.3, 1, 4, 10, 15]) {
        const steps = 20_000
        let numeric = 0
        for (let i = 0; i < steps; i++) {
          numeric += SlowStart.factor({ min, aggression }, 10, ((i + 0.5) * elapsed) / steps) * (elapsed / steps)
        }
        expect(SlowStart.cumulative({ min, aggression }, 10, elapsed)).toBeCloseTo(numeric, 3)
      }
    }
  )

  it("is worth its whole time without a ramp, and nothing before its start", () => {
    expect(SlowStart.cumulative(settings, 0, 7)).toBe(7)
    expect(SlowStart.cumulative({ min: 0.1, aggression: 2 }, 10, -1)).toBe(0)
  })

  it("refuses pauses and times that no ramp comes back from", () => {
    expect(() => SlowStart.resume(settings, NaN, 0)).toThrow("SlowStart.resume: pauseSeconds must be")
    expect(() => SlowStart.resume(settings, 5, NaN)).toThrow("SlowStart.resume: now must be")
    expect(() => SlowStart.begin(settings, Infinity)).toThrow("SlowStart.begin: now must be")
    expect(SlowStart.resume(settings, Infinity, 0).windowSeconds).toBe(10)
  })

  it("lets the heads of a queue leave apart", () => {
    expect([0, 1, 5].map((index) => SlowStart.stagger(index, 10))).toEqual([0, 0.1, 0.5])
    expect(() => SlowStart.stagger(0, 0)).toThrow("SlowStart.stagger: ratePerSecond must be")
  })

  it.each([
    [{ windowSeconds: -1 }, "windowSeconds"],
    [{ min: 2 }, "min"],
    [{ aggression: 0 }, "aggression"],
    [{ minPauseSeconds: -1 }, "minPauseSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => SlowStart.make(options)).toThrow(`SlowStart.make: ${field} must be`)
  })
})
