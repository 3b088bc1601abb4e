import { describe, expect, it } from "@effect/vitest"
import * as AdaptiveRate from "../../../src/policy/rate/AdaptiveRate.ts"
import * as Pause from "../../../src/policy/rate/Pause.ts"
import { changed } from "../learner.ts"

/** Sends as fast as the learner allows through a bucket of 10 per second, until it was refused so often. */
const sprint = (
  refusals: number,
  asked: number,
  depth = 10
): { readonly state: AdaptiveRate.State; readonly at: number } => {
  let state = AdaptiveRate.make()
  let level = depth
  let at = 0
  let last = 0
  let paced = false
  for (let left = refusals; left > 0;) {
    state = AdaptiveRate.send(AdaptiveRate.advance(state, at)[1], 1, paced, at)
    paced = true
    level = Math.min(depth, level + 10 * (at - last))
    last = at
    if (level >= 1) {
      level -= 1
      at += 1 / state.rate
    } else {
      state = AdaptiveRate.refuse(state, { at, sent: state.traffic.sent - 1, cost: 1, asked }, at + 0.02)[1]
      at += 0.02 + asked
      left -= 1
    }
  }
  return { state, at }
}

/** Reads the lowest rate in seven minutes over a bucket of 10 per second beside 300 in each minute, from so far into one. */
const lowest = (phase: number): number => {
  let state = AdaptiveRate.make()
  let level = 10
  let last = 0
  let used = 0
  let minute = 0
  let low = Infinity
  for (let at = 0; at < 400;) {
    state = AdaptiveRate.send(AdaptiveRate.advance(state, at)[1], 1, at > 0, at)
    level = Math.min(10, level + 10 * (at - last))
    last = at
    if (Math.floor((at + phase) / 60) > minute) {
      minute = Math.floor((at + phase) / 60)
      used = 0
    }
    if (level >= 1 && used < 300) {
      level -= 1
      used += 1
      at += 1 / state.rate
    } else {
      const asked = used < 300 ? 1 : Math.ceil((minute + 1) * 60 - phase - at)
      state = AdaptiveRate.refuse(state, { at, sent: state.traffic.sent - 1, cost: 1, asked }, at + 0.05)[1]
      at += 0.05 + asked
      // once the minute is known to be a window, the rate is its own
      if (asked > 1 && state.windows.known === undefined) low = Math.min(low, state.rate)
    }
  }
  return low
}

describe("rate/Pause", () => {
  it("costs nothing before the first attempt", () => {
    expect(Pause.lostAttempts(AdaptiveRate.make())).toBe(0)
  })

  it("takes what the provider asks for beyond the filling of a bucket for lost", () => {
    expect(AdaptiveRate.lostSeconds(sprint(1, 1).state)).toBe(0)
    expect(AdaptiveRate.lostSeconds(sprint(1, 10).state)).toBe(8)
    expect(AdaptiveRate.lostSeconds(changed(sprint(1, 10).state, { rate: 5, bucket: { depth: 25 } }))).toBe(5)
    expect(AdaptiveRate.lostSeconds(changed(sprint(1, 10).state, { rate: 5, bucket: { depth: 50 } }))).toBe(0)
  })

  it("takes most of a short pause for lost where the bucket is known to fill in less than half of it", () => {
    const lost = (depth: number) =>
      AdaptiveRate.lostSeconds(changed(sprint(1, 1).state, { rate: 50, bucket: { depth } }))
    expect([lost(5), lost(24), lost(26), lost(Infinity)]).toEqual([0.9, 0.52, 0, 0])
  })

  it("is refused less often over a shallow bucket, of which each pause loses most", () => {
    expect(sprint(8, 1, 2).at).toBeGreaterThan(100)
  })

  it("believes no bucket so deep that the pause lost nothing of it", () => {
    for (let phase = 53; phase < 60; phase++) {
      expect(lowest(phase), `${phase} s into the minute`).toBeGreaterThan(7)
    }
  })

  it("measures as if a lost pause had not been", () => {
    const short = sprint(2, 10).state
    const long = sprint(2, 60).state
    expect(long.rate).toBeCloseTo(short.rate, 6)
    expect(long.rate).toBeGreaterThan(6)
    expect(long.rate).toBeLessThan(10)
  })

  it("knows the limit after three refusals", () => {
    const { state } = sprint(3, 30)
    expect(state.phase).toBe("hold")
    expect(state.rate).toBeGreaterThan(9.3)
    expect(state.rate).toBeLessThanOrEqual(10)
  })

  it("counts the longest wait that an episode asks for", () => {
    const { at, state } = sprint(1, 10)
    const late = (asked: number) =>
      AdaptiveRate.refuse(state, { at: 0.5, sent: 5, cost: 1, asked }, at)[1].episode.asked
    expect(late(30)).toBe(30)
    expect(late(5)).toBe(10)
  })

  it("probes once what a probe may find is worth a refusal", () => {
    const probing = (asked: number): number => {
      const { at, state } = sprint(3, asked)
      let probed = changed(state, { phase: "hold", bad: state.limit * 1.2, probe: { interval: 40, eager: 0 } })
      for (let n = 1; n < 5000; n++) {
        const now = at + n / state.rate
        probed = AdaptiveRate.send(AdaptiveRate.advance(probed, now)[1], 1, true, now)
        if (probed.phase === "probe") return n
      }
      return Infinity
    }
    expect(probing(1)).toBeLessThan(100)
    expect(probing(10)).toBeGreaterThan(300)
    expect(probing(30)).toBeGreaterThan(3 * probing(10))
  })

  it("never lets a longer wait raise the rate", () => {
    const rates = [0, 1, 3, 10, 60].map((asked) => {
      const { at, state } = sprint(1, 10)
      const sent = AdaptiveRate.send(state, 1, true, at)
      return AdaptiveRate.refuse(sent, { at, sent: state.traffic.sent, cost: 1, asked }, at + 0.02)[1].rate
    })
    expect(new Set(rates).size).toBe(1)
  })
})
