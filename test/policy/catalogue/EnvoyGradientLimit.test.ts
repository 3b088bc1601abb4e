import { describe, expect, it } from "@effect/vitest"
import * as EnvoyGradientLimit from "../../../src/policy/catalogue/EnvoyGradientLimit.ts"
import { suite } from "../vectors.ts"

const call = (rttSeconds: number) => ({ rttSeconds, inFlight: 5, dropped: false })

/** Starts a limit whose ideal was measured as 100 ms at time 0. */
const measured = (options: EnvoyGradientLimit.Options = {}) => {
  let state = EnvoyGradientLimit.initial({ minRttSamples: 5, ...options })
  for (let i = 0; i < 5; i++) [, state] = EnvoyGradientLimit.sample(state, call(0.1), 0, 0)
  return state
}

describe("EnvoyGradientLimit", () => {
  it.each(
    suite<{
      cases: ReadonlyArray<{
        limit: number
        minRttMs: number
        sampleRttMs: number
        gradient: number
        newLimit: number
      }>
    }>("envoy.gradient").cases
  )("moves from $limit to $newLimit at $sampleRttMs ms", (vector) => {
    const { defaults } = EnvoyGradientLimit
    expect(EnvoyGradientLimit.gradient(defaults, vector.minRttMs, vector.sampleRttMs)).toBeCloseTo(vector.gradient, 9)
    expect(EnvoyGradientLimit.step(defaults, vector.limit, vector.minRttMs, vector.sampleRttMs)).toBe(vector.newLimit)
  })

  it("measures the ideal at the smallest limit, then runs", () => {
    let state = EnvoyGradientLimit.initial({ minRttSamples: 3 })
    const reasons: Array<string> = []
    for (const rtt of [0.1, 0.2, 0.3]) {
      const [decision, next] = EnvoyGradientLimit.sample(state, call(rtt), 10, 0.5)
      expect(decision.to).toBe(3)
      reasons.push(decision.reason)
      state = next
    }
    expect(reasons).toEqual(["measuring-min-rtt", "measuring-min-rtt", "min-rtt-measured"])
    expect(state).toMatchObject({ minRtt: 0.2, measuring: undefined, nextMeasurementAt: 10 + 60 * 1.075 })
  })

  it("moves once per window, by the median of its calls", () => {
    let state = measured()
    let decision
    for (const rtt of [0.01, 0.1]) {
      ;[decision, state] = EnvoyGradientLimit.sample(state, call(rtt), 0.05, 0)
      expect(decision).toMatchObject({ _tag: "Held", reason: "window-open" })
    }
    ;[decision, state] = EnvoyGradientLimit.sample(state, call(9), 0.1, 0)
    // 3 · 1.25 = 3.75, and √3.75 of headroom.
    expect(decision).toEqual({ _tag: "Raised", from: 3, to: 5, reason: "gradient" })
    expect(state.window.count).toBe(0)
  })

  it("measures again when the interval is over, and goes back to its limit", () => {
    let state = measured()
    ;[, state] = EnvoyGradientLimit.sample(state, call(0.1), 0.2, 0)
    expect(state.estimate).toBe(5)
    let decision
    ;[decision, state] = EnvoyGradientLimit.sample(state, call(0.1), 60, 0)
    expect(decision).toEqual({ _tag: "Lowered", from: 5, to: 3, reason: "measuring-min-rtt" })
    ;[decision, state] = EnvoyGradientLimit.sample(state, call(30), 70, 0)
    expect(decision.reason).toBe("stale")
    for (let i = 0; i < 5; i++) [decision, state] = EnvoyGradientLimit.sample(state, call(0.4), 71, 0)
    expect(decision).toEqual({ _tag: "Raised", from: 3, to: 5, reason: "min-rtt-measured" })
    expect(state.minRtt).toBe(0.4)
  })

  it("measures again at once when it is stuck at the smallest limit", () => {
    let state = measured()
    const reasons: Array<string> = []
    for (let i = 1; i <= 5; i++) {
      const [decision, next] = EnvoyGradientLimit.sample(state, call(2), i, 0)
      state = next
      reasons.push(decision.reason)
    }
    expect(reasons).toEqual(["at-min", "at-min", "at-min", "at-min", "measuring-min-rtt"])
    expect(state.measuring).toEqual({ resume: 3, since: 5 })
  })

  it("says when it stands at its largest limit, or where the curve does not move", () => {
    const state = measured({ max: 3 })
    expect(EnvoyGradientLimit.sample(state, call(0.1), 1, 0)[0]).toMatchObject({ _tag: "Held", reason: "at-max" })
    const still = { ...measured(), estimate: 4 }
    expect(EnvoyGradientLimit.sample(still, call(0.2), 1, 0)[0]).toEqual({
      _tag: "Held",
      from: 4,
      to: 4,
      reason: "gradient"
    })
  })

  it.each([
    [{ rttSeconds: 0.1, inFlight: 1, dropped: true }, "dropped"],
    [{ rttSeconds: Infinity, inFlight: 1, dropped: false }, "no-latency"],
    [{ rttSeconds: 0, inFlight: 1, dropped: false }, "no-latency"]
  ])("ignores %o", (event, reason) => {
    const state = measured()
    expect(EnvoyGradientLimit.sample(state, event, 1, 0)).toEqual([{ _tag: "Held", from: 3, to: 3, reason }, state])
  })

  it.each([
    [{ min: 2000 }, { min: 2000, max: 2000 }],
    [{ max: 2 }, { min: 2, max: 2 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(EnvoyGradientLimit.initial(options).settings).toMatchObject(settings)
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() =>
      EnvoyGradientLimit.sample(EnvoyGradientLimit.initial(), { rttSeconds: 1, inFlight: 20, dropped: true }, now, 0)
    ).toThrow("EnvoyGradientLimit.sample: now must be")
  })

  it.each([
    [{ min: 0 }, "min"],
    [{ max: 0 }, "max"],
    [{ min: 3, max: 2 }, "max"],
    [{ buffer: -1 }, "buffer"],
    [{ quantile: 0 }, "quantile"],
    [{ windowSeconds: 0 }, "windowSeconds"],
    [{ minRttSamples: 0 }, "minRttSamples"],
    [{ minRttIntervalSeconds: 0 }, "minRttIntervalSeconds"],
    [{ jitter: 2 }, "jitter"],
    [{ stuckWindows: 0 }, "stuckWindows"]
  ])("refuses %o", (options, field) => {
    expect(() => EnvoyGradientLimit.initial(options)).toThrow(`EnvoyGradientLimit.initial: ${field} must be`)
  })
})
