import { describe, expect, it } from "@effect/vitest"
import * as HedgeDelay from "../../src/policy/HedgeDelay.ts"
import { seeded } from "./events.ts"
import { suite } from "./vectors.ts"

const fill = (state: HedgeDelay.State, now: number, rtts: ReadonlyArray<number>) =>
  rtts.reduce((next, rtt) => HedgeDelay.record(next, rtt, now), state)

const hundred = Array.from({ length: 100 }, (_, i) => i + 1)

describe("HedgeDelay", () => {
  it("hedges after the quantile that leaves the extra load", () => {
    const state = fill(HedgeDelay.make({ maxExtraLoad: 0.05 }), 0, hundred)
    expect(HedgeDelay.delay(state, 0)[0]).toEqual({ _tag: "After", seconds: 95, reason: "quantile" })
  })

  it("never hedges on a few samples", () => {
    const state = fill(HedgeDelay.make(), 0, hundred.slice(0, 19))
    expect(HedgeDelay.delay(state, 0)[0]).toEqual({ _tag: "Never", samples: 19, reason: "too-few-samples" })
  })

  it("refreshes its answer every three seconds", () => {
    const [, asked] = HedgeDelay.delay(fill(HedgeDelay.make(), 0, hundred), 0)
    const slower = fill(asked, 1, hundred.map((rtt) => rtt * 10))
    expect(HedgeDelay.delay(slower, 2.9)[0]).toEqual({ _tag: "After", seconds: 95, reason: "cached" })
    expect(HedgeDelay.delay(slower, 3)[0]).toEqual({ _tag: "After", seconds: 900, reason: "quantile" })
  })

  it("forgets windows by time, also when nothing is recorded", () => {
    const state = fill(HedgeDelay.make(), 5, hundred)
    expect(HedgeDelay.delay(state, 29.9)[0]._tag).toBe("After")
    expect(HedgeDelay.delay(state, 30)[0]).toEqual({ _tag: "Never", samples: 0, reason: "too-few-samples" })
    expect(fill(state, 30, [1]).windows).toHaveLength(1)
  })

  it("reads all live windows together", () => {
    const state = fill(fill(HedgeDelay.make(), 5, hundred), 15, hundred.map((rtt) => rtt + 1000))
    expect(state.windows).toHaveLength(2)
    expect(HedgeDelay.delay(state, 15)[0]).toMatchObject({ seconds: 1090 })
  })

  it("leaves out latencies that are not finite", () => {
    const state = fill(HedgeDelay.make(), 0, hundred)
    expect(fill(state, 0, [NaN, Infinity])).toBe(state)
  })

  it("is never below its floor", () => {
    const state = fill(HedgeDelay.make(), 0, hundred.map(() => 1e-6))
    expect(HedgeDelay.delay(state, 0)[0]).toEqual({ _tag: "After", seconds: 0.001, reason: "floor" })
  })

  it("estimates p99 closely", () => {
    const random = seeded(5)
    let state = HedgeDelay.make({ maxExtraLoad: 0.01 })
    for (let i = 0; i < 10_000; i++) state = HedgeDelay.record(state, 1000 * random(), 0)
    const [decision] = HedgeDelay.delay(state, 0)
    expect(decision._tag === "After" && Math.abs(decision.seconds - 990)).toBeLessThan(10)
  })

  describe("mathematics of the tail", () => {
    const cases = suite<{ cases: ReadonlyArray<{ n?: number; pLeafSlow?: number; pRequestSlow?: number }> }>(
      "hedge.math"
    ).cases.flatMap(({ n, pLeafSlow, pRequestSlow }) =>
      n === undefined || pLeafSlow === undefined || pRequestSlow === undefined ? [] : [{ n, pLeafSlow, pRequestSlow }]
    )

    it.each(cases)("finds $pRequestSlow of requests slow with $n leaves", ({ n, pLeafSlow, pRequestSlow }) => {
      expect(cases).toHaveLength(2)
      expect(HedgeDelay.anySlow(n, pLeafSlow)).toBeCloseTo(pRequestSlow, 3)
    })

    it("adds the share above the quantile", () => {
      expect(HedgeDelay.extraLoad(0.98)).toBeCloseTo(0.02, 12)
    })
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => HedgeDelay.record(HedgeDelay.make(), 1, now)).toThrow("HedgeDelay.record: now must be")
  })

  it.each([
    [{ maxExtraLoad: 0 }, "maxExtraLoad"],
    [{ windowSeconds: 0 }, "windowSeconds"],
    [{ windows: 0 }, "windows"],
    [{ refreshSeconds: -1 }, "refreshSeconds"],
    [{ minSamples: 0 }, "minSamples"],
    [{ minDelaySeconds: -1 }, "minDelaySeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => HedgeDelay.make(options)).toThrow(`HedgeDelay.make: ${field} must be`)
  })
})
