import { describe, expect, it } from "@effect/vitest"
import * as Estimate from "../../src/policy/LaneEstimate.ts"
import * as Kernel from "../../src/policy/LaneKernel.ts"

const known = (requests: number, tokens?: number): Kernel.State =>
  Kernel.make({
    requests: { initial: requests, known: true },
    tokens: tokens === undefined ? undefined : { ceiling: tokens }
  })

const ahead = (requests: number, tokens = 0) => ({ requests, tokens, streams: 0 })

const seconds = (
  state: Kernel.State,
  requests: number,
  { experience = Estimate.initial, now = 0, places = [], tokens = 0 }: {
    readonly tokens?: number
    readonly places?: ReadonlyArray<Estimate.Places>
    readonly experience?: Estimate.Experience
    readonly now?: number
  } = {}
): number => Estimate.estimate(state, ahead(requests, tokens), places, experience, now)

describe("LaneEstimate", () => {
  describe("rates", () => {
    it("takes the longer of what requests and tokens need, at the learned rates", () => {
      expect(seconds(known(10), 50)).toBe(5)
      expect(seconds(known(10, 100), 50, { tokens: 200 })).toBe(5)
      expect(seconds(known(10, 100), 50, { tokens: 2000 })).toBe(20)
      expect(seconds(known(10), 0, { tokens: 1e9 })).toBe(0)
    })

    it("takes a rate that still searches upward with the growth it will have", () => {
      // ten per second, doubled every half second: what was sent by t is 10 × 0.5 ÷ ln 2 × (2^(2t) − 1)
      for (const t of [0.5, 1, 3, 5]) {
        expect(seconds(Kernel.make({}), (5 / Math.LN2) * (4 ** t - 1))).toBeCloseTo(t, 9)
      }
    })

    it("lets no rate grow above its ceiling", () => {
      const state = Kernel.make({ requests: { initial: 10, ceiling: 40 } })
      // a second from 10 to 40 per second, then 40 per second
      const growing = (5 / Math.LN2) * 3
      expect(seconds(state, growing)).toBeCloseTo(1, 9)
      expect(seconds(state, growing + 400)).toBeCloseTo(11, 9)
      expect(seconds(Kernel.make({ requests: { ceiling: 5 } }), 50)).toBe(10)
    })
  })

  describe("pauses", () => {
    it("begins after the pause, and after what is owed", () => {
      const paused = { ...known(10), pausedUntil: 30 }
      expect(seconds(paused, 50)).toBe(35)
      expect(seconds(paused, 50, { now: 100 })).toBe(5)
      const [, owing] = Kernel.admit(known(10), 1, undefined, 0)
      expect(seconds(owing, 50)).toBeCloseTo(5.1, 9)
    })

    it("begins with the next probe of an outage", () => {
      const state = known(10)
      const down = { ...state, outage: { ...state.outage, down: true, probeAt: 7 } }
      expect(seconds(down, 50)).toBe(12)
    })
  })

  describe("places", () => {
    const places = (over: Partial<Estimate.Places>): ReadonlyArray<Estimate.Places> => [
      { most: 2, taken: 2, waiting: 88, seconds: 10, ...over }
    ]

    it("adds up the time that calls hold the places before its own", () => {
      // 89 places must become free, two of them every ten seconds
      expect(seconds(known(20), 88, { places: places({}) })).toBe(445)
      expect(seconds(known(20), 0, { places: places({ waiting: 0 }) })).toBe(5)
      expect(seconds(known(20), 0, { places: places({ waiting: 0, taken: 1 }) })).toBe(0)
    })

    it("counts a pause for those that are not yet in flight", () => {
      const paused = { ...known(20), pausedUntil: 600 }
      expect(seconds(paused, 88, { places: places({}) })).toBe(600 + 435)
      expect(seconds(paused, 0, { places: places({ waiting: 0 }) })).toBe(600)
    })

    it("take no time where no limit is known, or no call has ended", () => {
      expect(seconds(known(20), 88, { places: places({ most: Infinity }) })).toBe(4.4)
      expect(seconds(known(20), 88, { places: places({ seconds: 0 }) })).toBe(4.4)
    })

    it("wait for the slower kind where there are two", () => {
      expect(seconds(known(20), 88, { places: [...places({ waiting: 1 }), ...places({ seconds: 100 })] })).toBe(4450)
    })
  })

  describe("learn", () => {
    const call = { stream: false, seconds: 3, tokens: 400, used: 100 }

    it("scales tokens by what calls use of their estimate", () => {
      const state = known(1000, 100)
      let experience = Estimate.initial
      expect(seconds(state, 1, { tokens: 4000, experience })).toBe(40)
      for (let i = 0; i < 3; i++) experience = Estimate.learn(experience, call)
      expect(seconds(state, 1, { tokens: 4000, experience })).toBeCloseTo(10, 9)
      for (let i = 0; i < 200; i++) experience = Estimate.learn(experience, { ...call, used: 800 })
      expect(seconds(state, 1, { tokens: 4000, experience })).toBeCloseTo(80, 1)
    })

    it("learns nothing of tokens from a call whose use nobody knows", () => {
      const { estimated, used } = Estimate.learn(Estimate.initial, { ...call, used: undefined })
      expect({ estimated, used }).toEqual({ estimated: 0, used: 0 })
    })

    it("smooths the seconds of streams and of short calls apart", () => {
      const first = Estimate.learn(Estimate.initial, call)
      expect([first.shortSeconds, first.streamSeconds]).toEqual([3, 0])
      const second = Estimate.learn(first, { ...call, stream: true, seconds: 600 })
      expect([second.shortSeconds, second.streamSeconds]).toEqual([3, 600])
      const third = Estimate.learn(second, { ...call, seconds: 5 })
      expect(third.shortSeconds).toBeCloseTo(3.1, 9)
    })
  })
})
