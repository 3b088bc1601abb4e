import { describe, expect, it } from "@effect/vitest"
import { EnvoyGradientLimit, HedgeDelay, LittlesLaw, RemainingBudget, VegasLimit } from "effect-together/policy"
import * as Rounding from "../../src/policy/Rounding.ts"

describe("Rounding", () => {
  it("takes what is whole but for the noise of doubles as whole", () => {
    expect([Rounding.ceil(6.000000000000001), Rounding.ceil(6.1), Rounding.ceil(-0.5)]).toEqual([6, 7, 0])
    expect([Rounding.floor(5.999999999999999), Rounding.floor(5.9), Rounding.floor(-0.5)]).toEqual([6, 5, -1])
    expect(Rounding.ceil(66_745_000.00000001)).toBe(66_745_000)
    expect([Rounding.floor(Infinity), Rounding.ceil(NaN)]).toEqual([Infinity, NaN])
    expect([Rounding.ceil(Infinity), Rounding.floor(-Infinity), Rounding.ceil(1e-12)]).toEqual([Infinity, -Infinity, 0])
    expect(LittlesLaw.concurrency(Number.MAX_VALUE, 2)).toBe(Infinity)
  })

  it("makes a kernel answer alike in seconds and in milliseconds", () => {
    expect([VegasLimit.queueSize(10, 0.02, 0.05), VegasLimit.queueSize(10, 20, 50)]).toEqual([6, 6])
    const { settings } = EnvoyGradientLimit.initial()
    expect([EnvoyGradientLimit.step(settings, 4, 0.18, 0.225), EnvoyGradientLimit.step(settings, 4, 180, 225)])
      .toEqual([6, 6])
    expect(LittlesLaw.concurrency(1e6, 66.745)).toBe(66_745_000)
  })

  it("keeps rare events rare over many parts", () => {
    expect(HedgeDelay.anySlow(1e9, 1e-9)).toBeCloseTo(1 - Math.exp(-1), 9)
    expect([HedgeDelay.anySlow(3, 0), HedgeDelay.anySlow(3, 1), HedgeDelay.anySlow(0, 1)]).toEqual([0, 1, 0])
  })

  it("waits a millisecond at least for a budget to return", () => {
    const [, state] = RemainingBudget.observe(RemainingBudget.make(), { sequence: 0, remaining: 0 }, 0.1)
    expect(RemainingBudget.admit(state, { sent: 0, ratePerSecond: 3 }, 0.1 + 1 / 3 - 1e-9)).toMatchObject({
      seconds: 0.001
    })
  })
})
