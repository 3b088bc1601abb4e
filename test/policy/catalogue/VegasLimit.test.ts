import { describe, expect, it } from "@effect/vitest"
import * as VegasLimit from "../../../src/policy/catalogue/VegasLimit.ts"

type Call = readonly [rttMs: number, inFlight: number, limit: number, dropped?: boolean]

const play = (options: VegasLimit.Options, calls: ReadonlyArray<Call>, random = 0.999) => {
  let state = VegasLimit.initial(options)
  let reason = ""
  for (const [rttMs, inFlight, limit, dropped = false] of calls) {
    const [decision, next] = VegasLimit.sample(state, { rttSeconds: rttMs / 1000, inFlight, dropped }, 0, random)
    expect(decision.to).toBe(limit)
    reason = decision.reason
    state = next
  }
  return [reason, state] as const
}

const small = { alpha: 3, beta: 6, initial: 10, max: 20 }

describe("VegasLimit", () => {
  // The cases of Netflix' VegasLimitTest.
  it.each<[string, VegasLimit.Options, ReadonlyArray<Call>, string]>([
    ["grows by beta without a queue", { initial: 10_000, max: 20_000 }, [
      [10_000, 5000, 10_000],
      [10_000, 6000, 10_024]
    ], "no-queue"],
    ["grows", small, [[10, 10, 10], [10, 11, 16]], "no-queue"],
    ["shrinks by one with a long queue", small, [[10, 10, 10], [50, 11, 9]], "long-queue"],
    ["holds with a queue in bounds", small, [[10, 10, 10], [14, 14, 10]], "queue-in-bounds"],
    ["smooths a decrease", { decreaseRatio: 0.5, smoothing: 0.5, initial: 100, max: 200 }, [
      [10, 100, 100],
      [20, 100, 75],
      [20, 100, 56]
    ], "long-queue"],
    ["halves without smoothing", { decreaseRatio: 0.5, initial: 100, max: 200 }, [
      [10, 100, 100],
      [20, 100, 50],
      [20, 100, 25]
    ], "long-queue"]
  ])("%s", (_name, options, calls, reason) => {
    expect(play(options, calls)[0]).toBe(reason)
  })

  it.each<[string, VegasLimit.Options, ReadonlyArray<Call>, string]>([
    ["a drop", {}, [[10, 20, 20], [10, 20, 19, true]], "dropped"],
    ["a drop with few in flight", {}, [[10, 20, 20], [10, 1, 19, true]], "dropped"],
    ["few in flight", {}, [[10, 20, 20], [10, 9, 20]], "unsaturated"],
    ["a short queue", { initial: 100 }, [[99, 100, 100], [101, 100, 112]], "no-queue"],
    ["a queue between threshold and alpha", { initial: 100 }, [[96, 100, 100], [100, 100, 102]], "short-queue"],
    ["the maximum", { initial: 1000 }, [[10, 1000, 1000], [10, 1000, 1000]], "at-max"],
    ["the minimum", { initial: 1 }, [[10, 1, 1], [10, 1, 1, true]], "at-min"],
    ["a lower latency", {}, [[10, 20, 20], [9, 20, 20]], "min-rtt-updated"],
    ["no latency", {}, [[0, 20, 20]], "no-latency"],
    ["a latency without end", {}, [[Infinity, 20, 20]], "no-latency"],
    ["a drop first of all", {}, [[10, 20, 19, true]], "dropped"],
    ["a drop without latency", {}, [[0, 20, 19, true]], "dropped"],
    ["a drop with a ratio of its own", { decreaseRatio: 0.5 }, [[10, 20, 10, true]], "dropped"],
    ["a threshold of its own", { initial: 100, threshold: 50 }, [[60, 100, 100], [100, 100, 112]], "no-queue"]
  ])("answers %s", (_name, options, calls, reason) => {
    expect(play(options, calls)[0]).toBe(reason)
  })

  it("does not take a fast refusal for the latency without a queue", () => {
    let state = VegasLimit.initial({ initial: 100 })
    const call = (rttSeconds: number, dropped = false) => {
      ;[, state] = VegasLimit.sample(state, { rttSeconds, inFlight: 1000, dropped }, 0, 0.999)
    }
    for (let i = 0; i < 20; i++) call(1)
    const before = state.estimate
    call(0.01, true)
    expect([state.minRtt, state.estimate]).toEqual([1, before - 2])
    for (let i = 0; i < 50; i++) call(1)
    expect(state.estimate).toBeGreaterThan(before)
  })

  it("falls with each drop, however fast the refusals come, and learns no latency from them", () => {
    let state = VegasLimit.initial({ initial: 100, probeMultiplier: 0.5 })
    for (let i = 0; i < 90; i++) {
      const event = { rttSeconds: 1 - i * 1e-3, inFlight: 100, dropped: true }
      const [decision, next] = VegasLimit.sample(state, event, i, 0.5)
      expect(decision.reason).toBe("dropped")
      state = next
    }
    expect([state.minRtt, state.estimate]).toEqual([0, 9])
  })

  it("learns the lowest latency anew after a multiple of the limit", () => {
    // Jitter 0.5, multiplier 2, limit 10: at the tenth sample.
    const calls = [[10, 0, 10] as const, ...Array.from({ length: 8 }, () => [14, 0, 10] as const)]
    const [, before] = play({ ...small, probeMultiplier: 2 }, calls, 0)
    expect([before.minRtt, before.probeCount]).toEqual([0.01, 9])
    const [reason, after] = play({ ...small, probeMultiplier: 2 }, [...calls, [14, 0, 10]], 0)
    expect(reason).toBe("min-rtt-updated")
    expect([after.minRtt, after.probeCount]).toEqual([0.014, 0])
  })

  it.each([
    [{ max: 10 }, { initial: 10, max: 10 }],
    [{ initial: 2000 }, { initial: 2000, max: 2000 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(VegasLimit.initial(options).settings).toMatchObject(settings)
  })

  it.each([
    [{ max: 0 }, "max"],
    [{ initial: 20, max: 10 }, "max"],
    [{ initial: 0 }, "initial"],
    [{ smoothing: 0 }, "smoothing"],
    [{ smoothing: 2 }, "smoothing"],
    [{ probeMultiplier: 0 }, "probeMultiplier"],
    [{ alpha: -1 }, "alpha"],
    [{ beta: -1 }, "beta"],
    [{ threshold: -1 }, "threshold"],
    [{ decreaseRatio: 1 }, "decreaseRatio"]
  ])("refuses %o", (options, field) => {
    expect(() => VegasLimit.initial(options)).toThrow(`VegasLimit.initial: ${field} must be`)
  })
})
