import { describe, expect, it } from "@effect/vitest"
import * as ConcurrencyLimit from "../../../src/policy/catalogue/ConcurrencyLimit.ts"
import * as Gradient2Limit from "../../../src/policy/catalogue/Gradient2Limit.ts"
import { suite } from "../vectors.ts"

describe("Gradient2Limit", () => {
  it("follows the trace", () => {
    const [{ steps }] = suite<{
      cases: [{
        steps: ReadonlyArray<{ rttMs: number; inflight: number; limit: number; estimate: number; longRttMs: number }>
      }]
    }>("netflix.gradient2.trace").cases
    let state = Gradient2Limit.initial()
    for (const step of steps) {
      const event = { rttSeconds: step.rttMs / 1000, inFlight: step.inflight, dropped: false }
      const [decision, next] = Gradient2Limit.sample(state, event)
      state = next
      expect(decision.to).toBe(step.limit)
      expect(ConcurrencyLimit.limit(state)).toBe(step.limit)
      expect(state.estimate).toBeCloseTo(step.estimate, 5)
      expect(state.longRtt.value * 1000).toBeCloseTo(step.longRttMs, 5)
    }
  })

  const event = { rttSeconds: 1, inFlight: 100, dropped: false }

  it.each([
    [{}, { ...event, dropped: true }, "Held", "dropped"],
    [{}, { ...event, rttSeconds: 0 }, "Held", "no-latency"],
    [{}, { ...event, rttSeconds: Infinity }, "Held", "no-latency"],
    [{}, { ...event, rttSeconds: NaN }, "Held", "no-latency"],
    [{}, { ...event, inFlight: 9 }, "Held", "unsaturated"],
    [{ initial: 200 }, event, "Held", "at-max"],
    [{ smoothing: 1 }, event, "Raised", "gradient"],
    [{ initial: 30, queue: 0 }, event, "Held", "gradient"]
  ])("with %o and %o is %s: %s", (options, sample, _tag, reason) => {
    expect(Gradient2Limit.sample(Gradient2Limit.initial(options), sample)[0]).toMatchObject({ _tag, reason })
  })

  it("falls with a latency far over the mean, down to the smallest limit", () => {
    let state = Gradient2Limit.initial({ initial: 100, smoothing: 1, queue: 0 })
    for (let i = 0; i < 20; i++) [, state] = Gradient2Limit.sample(state, { ...event, inFlight: 0 })
    const slow = { ...event, rttSeconds: 100 }
    let decision
    ;[decision, state] = Gradient2Limit.sample(state, slow)
    expect(decision).toMatchObject({ _tag: "Lowered", from: 100, to: 50, reason: "gradient" })
    ;[, state] = Gradient2Limit.sample(state, slow)
    ;[, state] = Gradient2Limit.sample(state, slow)
    ;[decision] = Gradient2Limit.sample(state, slow)
    expect(decision).toMatchObject({ _tag: "Held", to: 20, reason: "at-min" })
  })

  it("never raises the limit more for a slower call", () => {
    let state = Gradient2Limit.initial({ initial: 50 })
    for (let i = 0; i < 30; i++) [, state] = Gradient2Limit.sample(state, event)
    const estimates = [0.2, 0.5, 1, 1.4, 1.6, 2, 5, 20].map(
      (rttSeconds) => Gradient2Limit.sample(state, { ...event, rttSeconds })[1].estimate
    )
    expect(estimates).toEqual([...estimates].sort((a, b) => b - a))
    expect(new Set(estimates).size).toBeGreaterThan(2)
  })

  it.each([
    [{ initial: 10 }, { min: 10, initial: 10, max: 200 }],
    [{ max: 10 }, { min: 10, initial: 10, max: 10 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(Gradient2Limit.initial(options).settings).toMatchObject(settings)
  })

  it.each([
    [{ min: 0 }, "min"],
    [{ min: 0.5 }, "min"],
    [{ longWindow: 0 }, "longWindow"],
    [{ warmup: -1 }, "warmup"],
    [{ max: 0 }, "max"],
    [{ min: 20, initial: 10 }, "initial"],
    [{ min: 20, max: 10 }, "max"],
    [{ queue: -1 }, "queue"],
    [{ smoothing: 0 }, "smoothing"],
    [{ smoothing: 2 }, "smoothing"],
    [{ tolerance: 0.5 }, "tolerance"]
  ])("refuses %o", (options, field) => {
    expect(() => Gradient2Limit.initial(options)).toThrow(`Gradient2Limit.initial: ${field} must be`)
  })
})
