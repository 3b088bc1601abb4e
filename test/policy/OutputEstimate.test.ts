import { describe, expect, it } from "@effect/vitest"
import * as OutputEstimate from "../../src/policy/OutputEstimate.ts"
import { events, laws } from "./events.ts"

const learned = (tokens: number, n = 20, options: OutputEstimate.Options = {}) => {
  let state = OutputEstimate.make(options)
  for (let i = 0; i < n; i++) state = OutputEstimate.record(state, tokens)
  return state
}

const call = { inputTokens: 100, maxOutputTokens: 4096 }

describe("OutputEstimate", () => {
  it("reserves 512 tokens, or the maximum if it is less, while it knows nothing", () => {
    expect(OutputEstimate.estimate(OutputEstimate.make(), call, 0)).toEqual({
      _tag: "Estimate",
      tokens: 612,
      outputTokens: 512,
      reason: "cold"
    })
    expect(OutputEstimate.estimate(learned(200, 19), { ...call, maxOutputTokens: 64 }, 0)).toEqual({
      _tag: "Estimate",
      tokens: 164,
      outputTokens: 64,
      reason: "bounded-by-max-tokens"
    })
  })

  it("reserves a tenth more than the quantile it learned", () => {
    expect(OutputEstimate.estimate(learned(200), call, 0)).toMatchObject({ outputTokens: 220, reason: "learned" })
    expect(OutputEstimate.estimate(learned(200), { ...call, maxOutputTokens: 220 }, 0).reason).toBe("learned")
    expect(OutputEstimate.estimate(learned(9000), call, 0)).toMatchObject({
      outputTokens: 4096,
      reason: "bounded-by-max-tokens"
    })
  })

  it("reserves the maximum where the provider charges it, if there is one", () => {
    const state = learned(200, 20, { charge: "maximum" })
    expect(OutputEstimate.estimate(state, call, 0)).toMatchObject({ outputTokens: 4096, reason: "charged-maximum" })
    expect(OutputEstimate.estimate(state, { ...call, maxOutputTokens: Infinity }, 0)).toMatchObject({
      outputTokens: 220,
      reason: "learned"
    })
  })

  it("grows safer with each refusal for tokens, up to twice, and forgets with time", () => {
    let state = learned(1000)
    state = OutputEstimate.refuse(state, 0)
    expect(OutputEstimate.estimate(state, call, 0).outputTokens).toBe(1210)
    for (let i = 0; i < 20; i++) state = OutputEstimate.refuse(state, 0)
    expect(OutputEstimate.safety(state, 0)).toBe(2)
    expect(OutputEstimate.safety(state, 1)).toBeCloseTo(1.98, 9)
    expect(OutputEstimate.safety(state, 1000)).toBe(1)
    expect(OutputEstimate.safety(state, -5)).toBe(2)
  })

  it.each([
    [{ quantile: 1 }, "quantile"],
    [{ margin: 0.9 }, "margin"],
    [{ coldTokens: -1 }, "coldTokens"],
    [{ minSamples: 0 }, "minSamples"],
    [{ safetyGrowth: 0.9 }, "safetyGrowth"],
    [{ safetyMax: 0.9 }, "safetyMax"],
    [{ safetyDecay: 0 }, "safetyDecay"],
    [{ safetyDecay: 1.1 }, "safetyDecay"]
  ])("refuses %o", (options, field) => {
    expect(() => OutputEstimate.make(options)).toThrow(`OutputEstimate.make: ${field} must be`)
  })

  it("refuses a time that would spoil the safety for ever", () => {
    expect(() => OutputEstimate.refuse(OutputEstimate.make(), NaN)).toThrow("OutputEstimate.refuse: now must be")
  })

  it.prop("estimates at least the input and at most the input and the maximum", [events], ([list]) => {
    let state = OutputEstimate.make()
    let now = 0
    for (const { amount, draw, kind, ms } of list) {
      now += ms / 1000
      state = kind === 0 ? OutputEstimate.refuse(state, now) : OutputEstimate.record(state, draw * amount)
      const estimate = OutputEstimate.estimate(state, { inputTokens: 7, maxOutputTokens: 300 }, now)
      expect(estimate.tokens).toBeGreaterThanOrEqual(7)
      expect(estimate.tokens).toBeLessThanOrEqual(307)
      expect(Number.isInteger(estimate.tokens)).toBe(true)
      expect(OutputEstimate.safety(state, now)).toBeLessThanOrEqual(2)
    }
  }, laws)
})
