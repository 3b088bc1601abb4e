import { describe, expect, it } from "@effect/vitest"
import * as FailsafeLimit from "../../../src/policy/catalogue/FailsafeLimit.ts"
import { suite } from "../vectors.ts"

const vectors = suite<{
  cases: ReadonlyArray<{ rtts: ReadonlyArray<number>; inflight: number; limits: ReadonlyArray<number> }>
  maxLimit: ReadonlyArray<{
    factor: number
    decay: number
    floor: number
    inflight: number
    limit: number
    tolerance?: number
  }>
}>("failsafe.adaptiveLimiter")

const eachCall = { minSamples: 1, minWindowSeconds: 1, maxWindowSeconds: 1, baselineSeconds: 1 }

/** Closes one window per call, two seconds apart. */
const play = (
  options: FailsafeLimit.Options,
  calls: ReadonlyArray<readonly [rttSeconds: number, inFlight: number]>
) => {
  let state = FailsafeLimit.initial(options)
  const decisions = calls.map(([rttSeconds, inFlight], i) => {
    const [decision, next] = FailsafeLimit.sample(state, { rttSeconds, inFlight, dropped: false }, 2 * i)
    state = next
    return decision
  })
  return { decisions, state }
}

describe("FailsafeLimit", () => {
  it.each(vectors.cases)("moves by latencies $rtts to $limits", ({ inflight, limits, rtts }) => {
    const { decisions } = play(eachCall, rtts.map((rtt) => [rtt, inflight]))
    expect(decisions.map((decision) => decision.to)).toEqual(limits)
  })

  it.each(vectors.maxLimit)("allows $limit for $inflight in flight with decay $decay", (vector) => {
    const settings = { maxFactor: vector.factor, maxFactorDecay: vector.decay, minFactor: vector.floor }
    const limit = FailsafeLimit.maxLimit(settings, vector.inflight)
    expect(Math.abs(limit - vector.limit)).toBeLessThanOrEqual(vector.tolerance ?? 1e-9)
    expect(FailsafeLimit.maxLimit(settings, 0)).toBe(0)
  })

  // The cases of failsafe-go's correlation window.
  it.each<[string, ReadonlyArray<readonly [number, number]>, number, number]>([
    ["one pair", [[1, 2]], 0, 0],
    ["too few pairs", [[1, 10], [2, 20]], 3, 0],
    ["pairs that rise together", [[1, 10], [2, 20], [3, 30]], 0, 1],
    ["pairs that move apart", [[1, 30], [2, 20], [3, 10]], 0, -1],
    ["hardly varying pairs", [[100, 200], [100.1, 200.1], [100.05, 200.05]], 0, 0]
  ])("correlates %s", (_name, pairs, warmup, r) => {
    expect(FailsafeLimit.correlation(pairs, warmup).r).toBeCloseTo(r, 9)
  })

  it("smooths by a median of five, then an average", () => {
    const { state } = play(eachCall, [0.1, 0.3, 0.2, 0.2, 0.25].map((rtt) => [rtt, 10]))
    expect(state.smoothedRtt.value).toBeCloseTo(0.2, 9)
  })

  it("closes a window after its time and with enough calls", () => {
    let state = FailsafeLimit.initial({ minSamples: 3, baselineSeconds: 1 })
    const reasons: Array<string> = []
    for (const at of [0, 0.1, 0.2, 0.3, 0.4, 0.5, 2.2]) {
      const [decision, next] = FailsafeLimit.sample(state, { rttSeconds: 1, inFlight: 10, dropped: false }, at)
      state = next
      reasons.push(decision.reason)
    }
    // The second window lasts twice the shortest latency.
    expect(reasons).toEqual([
      "window-open",
      "window-open",
      "short-queue",
      "window-open",
      "window-open",
      "window-open",
      "short-queue"
    ])
  })

  describe("reasons", () => {
    it("falls with a long queue", () => {
      expect(play(eachCall, [[3, 10]]).decisions.at(-1)).toMatchObject({ _tag: "Lowered", reason: "long-queue" })
    })

    it("holds with a queue in bounds", () => {
      expect(play(eachCall, [[1.3, 10]]).decisions.at(-1)).toMatchObject({ _tag: "Held", reason: "queue-in-bounds" })
    })

    const flat = { ...eachCall, warmup: 4, smoothed: 1, baselineAge: 1, baselineSeconds: 0, initial: 20 }

    it("takes no rounding error for one more in the queue", () => {
      const options = { ...eachCall, initial: 10, baselineSeconds: 0.02, baselineAge: 1e300 }
      const { decisions } = play(options, [[0.05, 10]])
      expect(decisions[0]).toEqual({ _tag: "Held", from: 10, to: 10, reason: "queue-in-bounds" })
    })

    it("falls when throughput falls as more is in flight", () => {
      // rtt grows faster than what is in flight.
      const { decisions } = play(flat, [[1, 20], [1.3, 24], [1.9, 28], [2.8, 34], [4.5, 40]])
      expect(decisions.map((d) => d.reason)).toContain("throughput-falls")
    })

    it("falls when latency rises with what is in flight and throughput hardly", () => {
      const { decisions } = play(flat, [[1, 20], [1.1, 24], [1.6, 28], [1.35, 30], [1.7, 34]])
      expect(decisions.map((d) => d.reason)).toContain("latency-rises")
    })

    it("falls when latency rises with what is in flight and throughput is flat", () => {
      const { decisions } = play(flat, [[1, 20], [1.15, 24], [1.3, 28], [1.45, 33], [1.55, 37], [1.7, 42]])
      expect(decisions.map((d) => d.reason)).toContain("throughput-flat")
    })

    it("falls gradually when far above what is in flight, and stops there", () => {
      expect(play(eachCall, [[1, 2]]).decisions[0]).toMatchObject({
        _tag: "Lowered",
        to: 19,
        reason: "above-in-flight"
      })
      expect(play({ ...eachCall, initial: 9 }, [[1, 2]]).decisions[0]).toMatchObject({ to: 10, reason: "short-queue" })
      const { decisions } = play({ ...eachCall, initial: 10 }, [[1, 2]])
      expect(decisions[0]).toMatchObject({ _tag: "Held", to: 10, reason: "above-in-flight" })
    })

    it("stops at its bounds", () => {
      expect(play({ ...eachCall, initial: 200 }, [[1, 150]]).decisions[0]).toMatchObject({ reason: "at-max" })
      expect(play({ ...eachCall, initial: 20, min: 20 }, [[3, 15]]).decisions[0]).toMatchObject({ reason: "at-min" })
    })
  })

  it.each([
    [{ rttSeconds: 1, inFlight: 5, dropped: true }, "dropped"],
    [{ rttSeconds: NaN, inFlight: 5, dropped: false }, "no-latency"],
    [{ rttSeconds: Infinity, inFlight: 5, dropped: false }, "no-latency"],
    [{ rttSeconds: 0, inFlight: 5, dropped: false }, "no-latency"]
  ])("ignores %o", (event, reason) => {
    const state = FailsafeLimit.initial()
    expect(FailsafeLimit.sample(state, event, 0)).toEqual([{ _tag: "Held", from: 20, to: 20, reason }, state])
  })

  it.each([
    [{ max: 10 }, { min: 1, initial: 10, max: 10 }],
    [{ initial: 300 }, { initial: 300, max: 300 }],
    [{ minWindowSeconds: 60 }, { minWindowSeconds: 60, maxWindowSeconds: 60 }],
    [{ maxWindowSeconds: 0.5 }, { minWindowSeconds: 0.5, maxWindowSeconds: 0.5 }],
    [{ maxFactor: 1.1 }, { minFactor: 1.1, maxFactor: 1.1 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(FailsafeLimit.initial(options).settings).toMatchObject(settings)
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => FailsafeLimit.sample(FailsafeLimit.initial(), { rttSeconds: 1, inFlight: 20, dropped: true }, now))
      .toThrow("FailsafeLimit.sample: now must be")
  })

  it.each([
    [{ min: 0 }, "min"],
    [{ baselineAge: 0 }, "baselineAge"],
    [{ warmup: -1 }, "warmup"],
    [{ max: 0 }, "max"],
    [{ initial: 201, max: 200 }, "max"],
    [{ minWindowSeconds: 2, maxWindowSeconds: 1 }, "maxWindowSeconds"],
    [{ minFactor: 3, maxFactor: 2 }, "maxFactor"],
    [{ maxFactor: 0 }, "maxFactor"],
    [{ maxFactorDecay: -1 }, "maxFactorDecay"],
    [{ minFactor: 0 }, "minFactor"],
    [{ minWindowSeconds: -1 }, "minWindowSeconds"],
    [{ maxWindowSeconds: 0 }, "maxWindowSeconds"],
    [{ minSamples: 0 }, "minSamples"],
    [{ quantile: 1 }, "quantile"],
    [{ correlationWindow: 1 }, "correlationWindow"],
    [{ smoothed: 0 }, "smoothed"],
    [{ baselineSeconds: -1 }, "baselineSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => FailsafeLimit.initial(options)).toThrow(`FailsafeLimit.initial: ${field} must be`)
  })
})
