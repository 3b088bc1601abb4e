import { describe, expect, it } from "@effect/vitest"
import * as LaneStreams from "../../../src/guard/lane/LaneStreams.ts"
import * as Estimate from "../../../src/policy/lane/LaneEstimate.ts"
import * as Kernel from "../../../src/policy/lane/LaneKernel.ts"
import * as Use from "../../../src/policy/lane/LaneUse.ts"

const known = (requests: number, tokens?: number): Kernel.State =>
  Kernel.make({
    requests: { initial: requests, known: true },
    tokens: tokens === undefined ? undefined : { ceiling: tokens }
  })

const ahead = (requests: number, tokens = 0) => ({ requests, tokens, streams: 0 })

const none: Estimate.Kind = { taken: 0, heldSoFar: 0, waiting: 0, seconds: 0 }
const unlimited: Estimate.Places = { cap: Infinity, most: Infinity, keeps: 0, short: none, streams: none, front: 0 }

const seconds = (
  state: Kernel.State,
  requests: number,
  { experience = Estimate.initial, now = 0, places = unlimited, stream = false, tokens = 0 }: {
    readonly tokens?: number
    readonly places?: Estimate.Places
    readonly stream?: boolean
    readonly experience?: Estimate.Experience
    readonly now?: number
  } = {}
): number => Estimate.estimate(state, ahead(requests, tokens), places, stream, experience, now)

const exact = Estimate.learn(Estimate.initial, { stream: false, seconds: 1, answered: true })

describe("LaneEstimate", () => {
  it("refuses of those that wait what a proved limit cannot send, and in half of their time what others cannot", () => {
    const base = Kernel.make({ requests: { initial: 10, known: true } })
    const eager = (state: Kernel.State, left: number): Kernel.State => ({
      ...state,
      requests: { ...state.requests, probe: { ...state.requests.probe, eager: left } }
    })
    const met = eager(base, 0)
    const cap = Kernel.make({ inFlight: 8 })
    const judged = (state: Kernel.State) =>
      [[1, 1.3], [1, 2.9], [1, 3.1], [60, 1.2], [60, 1.3], [60, 2.1]].map(([waited, times]) =>
        Estimate.isVain(state, times! * 50, waited!, 50)
      )
    const proved = [false, false, true, false, true, true]
    const others = [false, false, false, false, false, true]
    expect([met, cap].map(judged)).toEqual([proved, proved])
    const settling: Kernel.State = { ...met, requests: { ...met.requests, phase: "settle" } }
    const raised: Kernel.State = { ...cap, inFlight: { ...cap.inFlight, raises: 1 } }
    const unproved = [eager(base, 1), settling, { ...met, tokensPaced: true }, raised, Kernel.make()]
    expect(unproved.map(judged)).toEqual(unproved.map(() => others))
  })

  describe("rates", () => {
    it("takes the longer of what requests and tokens need, at the learned rates", () => {
      expect(seconds(known(10), 50)).toBe(5)
      const experience = exact
      expect(seconds(known(10, 100), 50, { tokens: 200, experience })).toBe(5)
      expect(seconds(known(10, 100), 50, { tokens: 2000, experience })).toBe(20)
      expect(seconds(known(10), 0, { tokens: 1e9, experience })).toBe(0)
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
    const free = known(60e6)

    /** Places of a cap where short calls are about, and what holds them. */
    const places = (
      cap: number,
      short: Partial<Estimate.Kind>,
      streams: Partial<Estimate.Kind> = {},
      more: Partial<Estimate.Places> = {}
    ): Estimate.Places => ({
      cap,
      most: LaneStreams.most(cap),
      keeps: Infinity,
      short: { ...none, ...short },
      streams: { ...none, ...streams },
      front: 0,
      ...more
    })

    const short = { taken: 2, waiting: 88, seconds: 10 }

    it("adds up the time that calls hold the places before its own", () => {
      // 89 places must become free, two of them every ten seconds
      expect(seconds(free, 0, { places: places(2, short) })).toBe(445)
      expect(seconds(free, 0, { places: places(2, { ...short, waiting: 0 }) })).toBe(5)
      expect(seconds(free, 0, { places: places(2, { ...short, waiting: 0, taken: 1 }) })).toBe(0)
    })

    it("counts those in flight by what is left of their time", () => {
      expect(seconds(free, 0, { places: places(2, { ...short, heldSoFar: 16 }) })).toBe(437)
      expect(seconds(free, 0, { places: places(2, { ...short, heldSoFar: 1e6 }) })).toBe(435)
    })

    it("counts a pause for those that are not yet in flight", () => {
      const paused = { ...free, pausedUntil: 600 }
      expect(seconds(paused, 0, { places: places(2, short) })).toBe(600 + 435)
      expect(seconds(paused, 0, { places: places(2, { ...short, waiting: 0 }) })).toBe(600)
    })

    it("are not waited for where a pause has no end", () => {
      const paused = { ...free, pausedUntil: Infinity }
      const held = places(2, { waiting: 3, seconds: 10 }, { taken: 1, seconds: 60 })
      const all = [held, unlimited].flatMap((places) => [true, false].map((stream) => ({ places, stream })))
      expect(all.map((one) => seconds(paused, 3, one))).toEqual([Infinity, Infinity, Infinity, Infinity])
    })

    it("take no time where no limit is known, or no call was seen to take any", () => {
      expect(seconds(known(20), 88, { places: places(Infinity, short) })).toBe(4.4)
      expect(seconds(known(20), 88, { places: places(2, { ...short, seconds: 0 }) })).toBe(4.4)
    })

    it("of short calls are those that streams leave, and all of them once streams have ended", () => {
      const streams = { taken: 3, seconds: 20 }
      // one place at first: 10 calls of a second
      expect(seconds(free, 0, { places: places(4, { taken: 1, waiting: 9, seconds: 1 }, streams) })).toBe(10)
      // 200 calls of a second and what is left of three streams, through all four
      expect(seconds(free, 0, { places: places(4, { taken: 1, waiting: 199, seconds: 1 }, streams) })).toBe(65)
    })

    it("of short calls are not held by streams that come after them", () => {
      const before = { taken: 4, waiting: 396, seconds: 1 }
      const streams = { waiting: 30, seconds: 60 }
      expect(seconds(free, 0, { places: places(4, before, streams) })).toBe(397)
      expect(seconds(free, 0, { places: places(4, before, streams, { front: 396 }) })).toBe(100)
    })

    it("are one line for all where there is but one", () => {
      const streams = { taken: 1, waiting: 5, seconds: 60, heldSoFar: 10 }
      expect(seconds(free, 0, { places: places(1, { waiting: 3, seconds: 2 }, streams) })).toBe(356)
    })

    it("of streams are all of them once none is kept for short calls", () => {
      const streams = { taken: 1, waiting: 20, seconds: 10 }
      const at = (keeps: number) => seconds(free, 0, { stream: true, places: places(2, {}, streams, { keeps }) })
      expect([Infinity, 1000, 30, 0].map(at)).toEqual([210, 210, 115, 100])
    })

    it("of streams are reached through the short calls before them", () => {
      const before = places(4, { taken: 4, waiting: 400, seconds: 1 })
      expect(seconds(free, 0, { stream: true, places: before })).toBe(100.25)
    })
  })

  describe("learn", () => {
    const call = { stream: false, seconds: 3, answered: true }

    it("scales tokens by what calls use of their estimate, once one was answered", () => {
      const state = known(1000, 100)
      const failed = Estimate.learn(Estimate.initial, { ...call, answered: false })
      // nobody knows: what could be sent in time is not to be refused
      expect(seconds(state, 1, { tokens: 4000, experience: failed })).toBe(0.001)
      const experience = Estimate.learn(failed, call)
      const after = (told: number | undefined): number => {
        const use = told === undefined ? state.use : Use.learn(state.use, { estimated: 400, tokens: 400 }, told)
        return seconds({ ...state, use }, 1, { tokens: 4000, experience })
      }
      expect([undefined, 100, 800].map(after)).toEqual([40, 10, 80])
      expect(Estimate.learn(experience, { ...call, answered: false }).answered).toBe(true)
    })

    it("smooths the seconds of streams and of short calls apart, the first of them alike", () => {
      const first = Estimate.learn(Estimate.initial, call)
      expect([first.short.seconds, first.streams.seconds]).toEqual([3, 0])
      const second = Estimate.learn(first, { ...call, stream: true, seconds: 600 })
      expect([second.short.seconds, second.streams.seconds]).toEqual([3, 600])
      const third = Estimate.learn(second, { ...call, seconds: 5 })
      expect([third.short, third.streams]).toEqual([{ calls: 2, seconds: 4 }, { calls: 1, seconds: 600 }])
      let many = third
      for (let i = 0; i < 100; i++) many = Estimate.learn(many, { ...call, seconds: 4 })
      expect(Estimate.learn(many, { ...call, seconds: 24 }).short.seconds).toBeCloseTo(5, 9)
    })
  })
})
