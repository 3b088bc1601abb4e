import { describe, expect, it } from "@effect/vitest"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import * as BucketBounds from "../../../src/policy/rate/BucketBounds.ts"
import { changed, type Over } from "../learner.ts"

describe("rate/Probe", () => {
  it("begins after so many attempts that did not fail", () => {
    const sentBefore = (back?: "failed" | "refused"): number => {
      let state = changed(AdaptiveRate.make({ initial: 10, known: true }), { probe: { interval: 40, eager: 0 } })
      for (let sends = 0; sends < 1000; sends++) {
        const now = sends / 10
        state = AdaptiveRate.advance(state, now)[1]
        if (state.phase === "probe") return sends
        state = AdaptiveRate.send(state, 1, true, now)
        if (back === "refused" && sends % 2 === 1) state = AdaptiveRate.withdraw(state, 1, now)
        if (back === "failed" && sends % 2 === 1) state = AdaptiveRate.failed(state, 1, now)
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
      state = back === "failed" ? AdaptiveRate.failed(state, 1, now) : AdaptiveRate.withdraw(state, 1, now)
    }
    return state
  }

  it("is over where what it sends is refused and given back, and goes on where it fails", () => {
    const refused = probing("refused")
    expect([refused.phase, refused.rate]).toEqual(["hold", expect.closeTo(8, 0)])
    expect(probing("failed").phase).toBe("probe")
  })

  it("doubles its excess every half second, and every 1.1 s while the limit keeps rising", () => {
    const excessAfter = (count: number): number => {
      let state = changed(AdaptiveRate.make({ initial: 100, known: true }), { phase: "probe", rise: { count } })
      for (let sends = 0; sends < 110; sends++) state = AdaptiveRate.send(state, 1, true, sends / 100)
      return AdaptiveRate.advance(state, 1.1)[1].rate - 100
    }
    expect([excessAfter(0), excessAfter(1)]).toEqual([expect.closeTo(5 * 2 ** 2.2), expect.closeTo(10)])
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
      return AdaptiveRate.refuse(state, { at: 4, sent: state.traffic.sent, cost: 1 }, 4)[0]
    }
    expect([probed(20)?.reason, probed(30)?.reason]).toEqual(["probe-confirmed", "limit-rose"])
    // told from the limit that was held before the probe, and not from the rate of the probe
    expect([probed(20)?.from, probed(30)?.from]).toEqual([20, 20])
    expect(probed(30)?.to).toBeGreaterThan(20)
  })

  it("takes what the bucket saved while the rate was held under the limit for no rise", () => {
    // two bursts of a bucket that fills at 10 per second, with a second's pause between them
    let bounds = BucketBounds.empty
    for (const from of [0, 2]) {
      for (let sends = 1; sends <= 20; sends++) bounds = BucketBounds.send(bounds, 1, from + sends / 20)
      bounds = BucketBounds.refuse(BucketBounds.send(bounds, 1, from + 1.05), from + 1.05, 1, 20, false)
    }
    const probed = (heldFor: number) => {
      let state: AdaptiveRate.State = {
        ...changed(AdaptiveRate.make({ initial: 10, known: true }), {
          phase: "probe",
          rate: 20,
          limit: 9,
          bucket: { empty: { at: 0, admitted: 0 } },
          step: { at: heldFor, sent: 0 }
        }),
        bounds
      }
      for (let sends = 0; sends < 20; sends++) state = AdaptiveRate.send(state, 1, true, heldFor + sends / 20)
      return AdaptiveRate.refuse(state, { at: heldFor + 1, sent: state.traffic.sent, cost: 1 }, heldFor + 1)[0]?.reason
    }
    expect([probed(2), probed(9)]).toEqual(["limit-rose", "probe-confirmed"])
  })
})

describe("rate/Search", () => {
  /** Sends at 3 per second, of which 3.6 were refused, until the search is over and then until a probe; counts the attempts. */
  const searched = (over: Over, perSecond = 3): ReadonlyArray<number> => {
    const before = changed(AdaptiveRate.make({ initial: perSecond, known: true }), {
      phase: "settle",
      bad: perSecond * 1.2,
      bucket: { empty: { at: 0, admitted: 0 }, since: { at: 0, admitted: 0 } },
      probe: { interval: 16, eager: 1 }
    })
    let state = changed(before, over)
    const sentUntil = (phase: AdaptiveRate.Phase): number => {
      for (let sends = 0; sends < 100; sends++) {
        const now = (state.traffic.sent + 1) / perSecond
        // half of it was admitted since: that proves too little to go on
        state = changed(AdaptiveRate.advance(state, now)[1], { traffic: { refused: state.traffic.sent / 2 } })
        if (state.phase === phase) return sends
        state = AdaptiveRate.send(state, 1, true, now)
      }
      return Infinity
    }
    return [sentUntil("hold"), sentUntil("probe")]
  }

  it("is over after five seconds where calls are slow and the bracket is narrow, and a probe follows at once", () => {
    expect(searched({})).toEqual([15, 1])
    expect(searched({ bad: 3.9 })).toEqual([21, 0])
  })

  it("counts its last step towards no probe where that was short, unless the limit rose", () => {
    expect(searched({}, 10)).toEqual([40, 30])
    expect(searched({ rise: { count: 1 } }, 10)).toEqual([40, 0])
  })

  it("counts it neither after a fall, when many probes come early, nor where none does", () => {
    expect(searched({ probe: { eager: 10 } })).toEqual([15, 16])
    expect(searched({ probe: { eager: 0, interval: 40 } })).toEqual([21, 40])
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
