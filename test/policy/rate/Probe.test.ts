import { describe, expect, it } from "@effect/vitest"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import { changed } from "../learner.ts"

describe("rate/Probe", () => {
  it("begins after so many attempts that did not fail", () => {
    const sentBefore = (back?: "failed" | "refused"): number => {
      let state = changed(AdaptiveRate.make({ initial: 10, known: true }), { probe: { interval: 40, eager: 0 } })
      for (let sends = 0; sends < 1000; sends++) {
        const now = sends / 10
        state = AdaptiveRate.advance(state, now)[1]
        if (state.phase === "probe") return sends
        state = AdaptiveRate.send(state, 1, true, now)
        if (back !== undefined && sends % 2 === 1) state = AdaptiveRate.withdraw(state, 1, now)
        if (back === "failed" && sends % 2 === 1) state = AdaptiveRate.failed(state)
      }
      return Infinity
    }
    expect([sentBefore(), sentBefore("refused"), sentBefore("failed")]).toEqual([60, 60, 79])
  })

  /** Probes at up to twice a limit of 10 per second while every other attempt comes back. */
  const probing = (back: "failed" | "refused"): AdaptiveRate.State => {
    let state = changed(AdaptiveRate.make({ initial: 10, known: true }), {
      phase: "probe",
      probe: { useBefore: 10 },
      step: { at: 0, sent: 0 }
    })
    for (let sends = 0; sends < 60 && state.phase === "probe"; sends++) {
      const now = sends / 16
      state = AdaptiveRate.send(AdaptiveRate.advance(state, now)[1], 1, true, now)
      if (sends % 2 === 0) continue
      state = AdaptiveRate.withdraw(state, 1, now)
      if (back === "failed") state = AdaptiveRate.failed(state)
    }
    return state
  }

  it("is over where what it sends is refused and given back, and goes on where it fails", () => {
    const refused = probing("refused")
    expect([refused.phase, refused.rate]).toEqual(["hold", expect.closeTo(8, 0)])
    expect(probing("failed").phase).toBe("probe")
  })

  it("takes a second of a limit that is stated still for the depth of the bucket, not for a rise", () => {
    const probed = (stated: number) => {
      let state = AdaptiveRate.told(AdaptiveRate.make(), stated, 1, 1)[1]
      state = changed(state, {
        phase: "probe",
        rate: 40,
        limit: 20,
        bucket: { empty: { at: 0, admitted: 0 } },
        step: { at: 2, sent: 0 }
      })
      for (let sends = 0; sends < 60; sends++) state = AdaptiveRate.send(state, 1, true, 2 + sends / 30)
      return AdaptiveRate.refuse(state, { at: 4, sent: state.traffic.sent, cost: 1 }, 4)[0]?.reason
    }
    expect([probed(20), probed(30)]).toEqual(["probe-confirmed", "limit-rose"])
  })
})

describe("rate/Episode", () => {
  /** Refuses at a rate that fell far under the limit, each time after a hundred attempts at what the bucket admits. */
  const drifted = (times: number): AdaptiveRate.State => {
    let state = changed(AdaptiveRate.make({ initial: 40, known: true }), {
      bucket: { empty: { at: 0, admitted: 0 }, burst: 10 },
      probe: { interval: 300, eager: 0 }
    })
    let now = 0
    for (let left = times; left > 0; left--) {
      for (let sends = 0; sends < 60; sends++) state = AdaptiveRate.send(state, 1, true, now += 1 / 20)
      state = AdaptiveRate.refuse(state, { at: now, sent: state.traffic.sent - 1, cost: 1 }, now)[1]
    }
    return state
  }

  it("takes drift upon drift for a fall once a quarter of the limit is gone, and looks for its return", () => {
    expect([1, 2, 3].map((times) => drifted(times).rate)).toEqual([36, 32.4, 29.16].map((rate) => expect.closeTo(rate)))
    expect([1, 2, 3].map((times) => drifted(times).probe.eager)).toEqual([0, 0, 10])
  })

  it("counts the drifts anew after that", () => {
    const { streak } = drifted(3)
    expect(streak.driftsFrom).toBeCloseTo(29.16)
    expect(drifted(2).streak.driftsFrom).toBe(40)
  })
})
