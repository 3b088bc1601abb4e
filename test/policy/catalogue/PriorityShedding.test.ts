import { describe, expect, it } from "@effect/vitest"
import * as PriorityShedding from "../../../src/policy/catalogue/PriorityShedding.ts"
import { events, laws } from "../events.ts"

const admitted = (levels: ReadonlyArray<number>, options: PriorityShedding.Options = {}) =>
  levels.reduce((state, level) => PriorityShedding.admit(state, level)[1], PriorityShedding.make(options))

describe("PriorityShedding", () => {
  it("admits everything while nothing must go", () => {
    expect(PriorityShedding.admit(PriorityShedding.make(), 0)[0]).toEqual({
      _tag: "Admitted",
      threshold: 0,
      reason: "at-or-above-threshold"
    })
  })

  it("sheds the least important share", () => {
    const state = admitted(Array.from({ length: 500 }, (_, level) => level))
    const [calibration, busy] = PriorityShedding.calibrate(state, 0.4)
    expect(calibration).toEqual({ _tag: "Raised", from: 0, to: 199, reason: "overload" })
    expect(PriorityShedding.admit(busy, 198)).toEqual([
      { _tag: "Shed", threshold: 199, reason: "below-threshold" },
      busy
    ])
    expect(PriorityShedding.admit(busy, 199)[0]._tag).toBe("Admitted")
    expect(PriorityShedding.calibrate(busy, 0.4)[0]._tag).toBe("Held")
    expect(PriorityShedding.calibrate(busy, 0)[0]).toEqual({
      _tag: "Lowered",
      from: 199,
      to: 0,
      reason: "no-overload"
    })
  })

  it("sheds more each time the same share is asked of what still passes", () => {
    let state = admitted(Array.from({ length: 250 }, (_, i) => 2 * i), { window: 250 })
    const thresholds = Array.from({ length: 3 }, () => {
      ;[, state] = PriorityShedding.calibrate(state, 0.5)
      for (let call = 0; call < 2000; call++) [, state] = PriorityShedding.admit(state, call % 500)
      return state.threshold
    })
    expect(thresholds).toEqual([248, 374, 437])
  })

  it("remembers the last admitted levels only", () => {
    const state = admitted([1, 2, 3, 400, 401, 402], { window: 3 })
    expect(state.levels).toEqual([400, 401, 402])
    expect(PriorityShedding.calibrate(state, 1)[0].to).toBe(402)
  })

  it("reads a quantile by rank, at least the first", () => {
    const levels = [30, 10, 20, 40]
    expect([0.01, 0.25, 0.26, 0.5, 1].map((q) => PriorityShedding.quantile(levels, q))).toEqual([10, 10, 20, 20, 40])
    expect(PriorityShedding.quantile([], 0.5)).toBe(0)
  })

  it("demands a share by the queue, from twice to three times the limit", () => {
    const rate = (queued: number) => PriorityShedding.queueRate(PriorityShedding.defaults, queued, 10)
    expect([0, 19, 20, 25, 29, 30, 99].map(rate)).toEqual([0, 0, 0, 0.5, 0.9, 1, 1])
    expect(PriorityShedding.queueRate({ initialRejectionFactor: 2, maxRejectionFactor: 2 }, 20, 10)).toBe(1)
    expect([0, 1].map((queued) => PriorityShedding.queueRate(PriorityShedding.defaults, queued, 0))).toEqual([0, 1])
  })

  it("draws levels within their class", () => {
    expect(PriorityShedding.level("very-low", 0)).toBe(0)
    expect(PriorityShedding.level("low", 0.5)).toBe(150)
    expect(PriorityShedding.level("very-high", 0.9999)).toBe(499)
  })

  it("turns the level of a call around: what goes first is shed last", () => {
    expect([0, 200, 499].map(PriorityShedding.fromCall)).toEqual([499, 299, 0])
    expect(() => PriorityShedding.fromCall(500)).toThrow("PriorityShedding.fromCall: callLevel must be in [0, 499]")
  })

  it.each([
    [{ initialRejectionFactor: 4 }, { initialRejectionFactor: 4, maxRejectionFactor: 4 }],
    [{ maxRejectionFactor: 1.5 }, { initialRejectionFactor: 1.5, maxRejectionFactor: 1.5 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(PriorityShedding.make(options).settings).toMatchObject(settings)
  })

  it.each([
    [{ window: 0 }, "window"],
    [{ initialRejectionFactor: 0.5 }, "initialRejectionFactor"],
    [{ initialRejectionFactor: 4, maxRejectionFactor: 3 }, "maxRejectionFactor"],
    [{ initialRejectionFactor: 1, maxRejectionFactor: Infinity }, "maxRejectionFactor"]
  ])("refuses %o", (options, field) => {
    expect(() => PriorityShedding.make(options)).toThrow(`PriorityShedding.make: ${field} must be`)
  })

  it("refuses levels and rates out of range", () => {
    expect(() => PriorityShedding.admit(PriorityShedding.make(), 500)).toThrow("PriorityShedding.admit: level")
    expect(() => PriorityShedding.calibrate(PriorityShedding.make(), 1.1)).toThrow("PriorityShedding.calibrate: rate")
  })

  it.prop("never sheds a call while it admits a less important one", [events], ([list]) => {
    let state = PriorityShedding.make({ window: 20 })
    for (const { draw, kind } of list) {
      if (kind === 0) {
        ;[, state] = PriorityShedding.calibrate(state, draw / 1000)
      } else {
        const level = draw % 500
        const [decision, next] = PriorityShedding.admit(state, level)
        if (decision._tag === "Admitted") {
          expect(PriorityShedding.admit(state, 499)[0]._tag).toBe("Admitted")
          expect(next.levels.at(-1)).toBe(level)
        } else {
          expect(PriorityShedding.admit(state, 0)[0]._tag).toBe("Shed")
        }
        state = next
      }
      expect(state.levels.length).toBeLessThanOrEqual(20)
    }
  }, laws)
})
