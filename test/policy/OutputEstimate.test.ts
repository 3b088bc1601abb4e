import { describe, expect, it } from "@effect/vitest"
import * as OutputEstimate from "../../src/policy/OutputEstimate.ts"
import * as SampleWindow from "../../src/policy/SampleWindow.ts"
import { events, laws, seeded } from "./events.ts"

const learned = (tokens: number, n = 20, options: OutputEstimate.Options = {}) => {
  let state = OutputEstimate.make(options)
  for (let i = 0; i < n; i++) state = OutputEstimate.record(state, tokens)
  return state
}

const call = { inputTokens: 100, maxOutputTokens: 4096 }

describe("OutputEstimate", () => {
  it("knows the largest of the last answers: none at first, and forgets it with its generation", () => {
    const answers = (state: OutputEstimate.State, count: number, tokens: number) =>
      Array.from({ length: count }).reduce<OutputEstimate.State>((next) => OutputEstimate.record(next, tokens), state)
    const fresh = OutputEstimate.make()
    const large = OutputEstimate.record(fresh, 900)
    const later = answers(large, 127, 20)
    expect([fresh, large, later, answers(later, 1, 20)].map(OutputEstimate.largest)).toEqual([0, 900, 900, 900])
    expect(OutputEstimate.largest(answers(later, 256, 20))).toBe(20)
  })

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

  it("is not moved by one large answer among small ones, first or last", () => {
    let state = OutputEstimate.record(OutputEstimate.make(), 4096)
    for (let i = 0; i < 1000; i++) {
      state = OutputEstimate.record(state, 20 + (i % 5))
      if (i >= 20) expect(OutputEstimate.estimate(state, call, 0).outputTokens).toBe(27)
    }
    expect(OutputEstimate.estimate(OutputEstimate.record(state, 4096), call, 0).outputTokens).toBe(27)
  })

  it.each([[4000, 5], [5, 4000]])("follows a shift from %d to %d tokens within 256 answers", (from, to) => {
    for (const before of [1, 127, 128, 129, 1000]) {
      let state = learned(from, before, { margin: 1 })
      for (let i = 0; i < 256; i++) state = OutputEstimate.record(state, to)
      expect(OutputEstimate.estimate(state, call, 0).outputTokens).toBe(to)
    }
  })

  it.each([0.05, 0.5, 0.9, 0.95, 0.999])("reads the quantile %d of the last two generations", (quantile) => {
    const random = seeded(7)
    let state = OutputEstimate.make({ quantile, margin: 1, minSamples: 1 })
    let [older, newer] = [SampleWindow.make(), SampleWindow.make()]
    for (let i = 0; i < 600; i++) {
      const output = Math.floor(random() * 100)
      if (newer.count === 128) [older, newer] = [newer, SampleWindow.make()]
      newer = SampleWindow.add(newer, output)
      state = OutputEstimate.record(state, output)
      const expected = SampleWindow.quantile([older, newer], quantile)
      expect(OutputEstimate.estimate(state, call, 0).outputTokens).toBe(expected)
    }
  })

  it("keeps thirteen numbers of each generation for the quantile 0.95", () => {
    const state = learned(200, 1000)
    expect([state.older.largest.length, state.newer.largest.length]).toEqual([13, 13])
  })

  it.each([NaN, Infinity, -Infinity])("leaves out an answer of %d tokens", (tokens) => {
    const state = learned(200)
    expect(OutputEstimate.record(state, tokens)).toBe(state)
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
    expect(() => OutputEstimate.make({}, NaN)).toThrow("OutputEstimate.make: now must be")
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
