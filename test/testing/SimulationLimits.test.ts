import { describe, expect, it } from "@effect/vitest"
import * as Simulation from "../../src/testing/Simulation.ts"
import { call, error, model, plain, refusal, run, statuses } from "./simulation.ts"

describe("Simulation: limits", () => {
  describe("waits that are long", () => {
    const tooLarge = call(0, { inputTokens: 2505, maxTokens: 500 })
    const oversize: Simulation.Options = { ...plain, oversize: "reject", limits: { tokensPerSecond: 3000 } }

    it("see at once that a request never fits, and when it will", () => {
      const wait = (options: Simulation.Options) =>
        refusal(run(Simulation.make(options), [tooLarge]).replies[0]).waitSeconds
      expect(wait(oversize)).toBe(86_400)
      expect(wait({ ...oversize, changes: [{ at: 60, tokensPerSecond: 6000 }] })).toBeCloseTo(60.002, 2)
    })

    it("pass over windows that a debt fills, however short these are", () => {
      for (const counting of ["fixed-window", "sliding-window"] as const) {
        for (const windowSeconds of [0.001, 0.01, 0.1]) {
          const options = { ...plain, limits: { tokensPerSecond: 100 }, counting, windowSeconds }
          const large = { inputTokens: 8000, maxTokens: 500 }
          const { replies } = run(Simulation.make(options), [call(0, large), call(0.5, { ...large, promptHash: 2 })])
          const wait = refusal(replies[1]).waitSeconds ?? 0
          expect(Math.abs(wait - 84.5)).toBeLessThan(windowSeconds + 1e-6)
        }
      }
    })
  })

  describe("limits", () => {
    it("admit a burst and then the rate, per second", () => {
      const options = { ...plain, limits: { requestsPerSecond: 5 } }
      const calls = Array.from({ length: 100 }, (_, i) => call(i * 0.1, { promptHash: i }))
      const { state } = run(Simulation.make(options), calls)
      expect(state.counters.admitted).toBe(5 + Math.floor(9.9 * 5))
      expect(state.counters.refused.requests).toBe(100 - state.counters.admitted)
    })

    it("belong to one organization and one model each", () => {
      const options: Simulation.Options = {
        ...plain,
        keys: { a: "x", b: "x", c: "y" },
        limits: { requestsPerSecond: 1 }
      }
      const { replies } = run(Simulation.make(options), [
        call(0, { key: "a" }),
        call(0, { key: "b" }),
        call(0, { key: "c" }),
        call(0, { key: "a", model: "openai/gpt-oss-120b" })
      ])
      expect(statuses(replies)).toEqual([200, 429, 200, 200])
    })

    it("charge prompt and max_tokens at admission, and give back what was not used", () => {
      const options = { ...plain, limits: { tokensPerSecond: 200 } }
      const { replies } = run(Simulation.make(options), [
        call(0), // 150 of 200
        call(0.1), // 50 + 20 left: refused
        call(1) // refilled to 200
      ])
      expect(statuses(replies)).toEqual([200, 429, 200])
      expect(refusal(replies[1]).reason).toBe("tokens")
      const state = Simulation.advance(run(Simulation.make({ ...options, burstSeconds: 2 }), [call(0)]).state, 1)
      // 400 - 150, + 200 for the second, + 30 of the 50 that were not generated, at most 400
      expect(Simulation.oracle(state, { model, at: 1 }).tokens).toBeCloseTo(400, 6)
      expect(Simulation.oracle(Simulation.advance(state, 0.5), { model, at: 0.5 }).tokens).toBeGreaterThan(349)
    })

    it("charge tokens at their end where told to, and refuse whoever finds a debt", () => {
      const options: Simulation.Options = { ...plain, limits: { tokensPerSecond: 100 }, tokenCharge: "completion" }
      const { replies, state } = run(Simulation.make(options), [
        call(0),
        call(0.9, { promptHash: 2 }),
        call(1.95),
        call(5)
      ])
      // 100 left at 0; the first call's 120 are charged at 1, the second's at 1.9
      expect(statuses(replies)).toEqual([200, 200, 429, 200])
      expect(state.counters.refused.tokens).toBe(1)
    })

    it("charge the prompt at admission and the output at its end where told to", () => {
      const options: Simulation.Options = { ...plain, limits: { tokensPerSecond: 110 }, tokenCharge: "prompt" }
      const state = run(Simulation.make(options), [call(0)]).state
      expect(Simulation.oracle(state, { model, at: 0 }).tokens).toBeCloseTo(10)
      expect(Simulation.oracle(state, { model, at: 1 }).tokens).toBeCloseTo(90)
    })

    it("let one request larger than the bucket in when it is full, at the price of debt, or never", () => {
      const big = call(0, { inputTokens: 900, maxTokens: 100 })
      const options: Simulation.Options = { ...plain, limits: { tokensPerSecond: 100 } }
      const borrowed = run(Simulation.make(options), [big, call(3)])
      expect(statuses(borrowed.replies)).toEqual([200, 429])
      expect(refusal(borrowed.replies[1]).waitSeconds).toBeGreaterThan(5)
      expect(statuses(run(Simulation.make({ ...options, oversize: "reject" }), [big]).replies)).toEqual([429])
    })

    it("refuse a request above the hidden cap in flight, as 429 or 503", () => {
      const options: Simulation.Options = { ...plain, limits: { maxInFlight: 2 } }
      const calls = [call(0), call(0.1), call(0.2), call(1.05)]
      const { replies, state } = run(Simulation.make(options), calls)
      expect(statuses(replies)).toEqual([200, 200, 429, 200])
      expect(error(replies[2]).message).toContain("concurrent")
      expect(state.counters.peakInFlight).toBe(2)
      expect(statuses(run(Simulation.make({ ...options, inFlightStatus: 503 }), calls).replies)).toEqual([
        200,
        200,
        503,
        200
      ])
    })

    it("of a model replace the common ones, and name themselves", () => {
      const options: Simulation.Options = {
        ...plain,
        limits: { requestsPerSecond: 100 },
        models: { slow: { limits: { requestsPerSecond: 0.15 } } }
      }
      const { replies } = run(Simulation.make(options), [call(0, { model: "slow" }), call(1, { model: "slow" })])
      expect(error(replies[1])).toMatchObject({
        type: "model_rate_limit",
        message: expect.stringContaining("9 queries per minute")
      })
    })

    it("count refused requests where told to", () => {
      const options: Simulation.Options = { ...plain, limits: { requestsPerSecond: 1 } }
      const storm = Array.from({ length: 40 }, (_, i) => call(i * 0.1))
      const free = run(Simulation.make(options), storm).state.counters.admitted
      const costly = run(Simulation.make({ ...options, refusedCounts: true }), storm).state.counters.admitted
      expect([free, costly]).toEqual([4, 1])
    })

    it("change by schedule, for one model or all, and are lifted by null", () => {
      const options: Simulation.Options = {
        ...plain,
        limits: { requestsPerSecond: 1 },
        changes: [{ at: 10, requestsPerSecond: 3 }, { at: 20, requestsPerSecond: null, model }, {
          at: 30,
          maxInFlight: 1
        }]
      }
      const state = Simulation.make(options)
      const rate = (at: number, of = model) => Simulation.oracle(state, { model: of, at }).requestsPerSecond
      expect([rate(0), rate(10), rate(20), rate(20, "openai/gpt-oss-120b")]).toEqual([1, 3, Infinity, 3])
      expect(Simulation.oracle(state, { model, at: 30 }).maxInFlight).toBe(1)
      // a bucket that was opened before refills at the old rate until the change, at the new one after it
      const empty = run(state, [call(9), call(9.5)]).state
      expect(Simulation.oracle(empty, { model, at: 10.5 }).requests).toBeCloseTo(2.5)
    })

    it("shrink while neighbours use a share", () => {
      const options: Simulation.Options = {
        ...plain,
        limits: { requestsPerSecond: 10 },
        neighbours: [{ from: 5, to: 15, share: 0.6 }, { from: 10, to: 20, share: 0.5 }]
      }
      const state = Simulation.make(options)
      expect([0, 5, 10, 15, 20].map((at) => Simulation.oracle(state, { model, at }).requestsPerSecond)).toEqual([
        10,
        4,
        2,
        5,
        10
      ])
      const burst = Array.from({ length: 12 }, () => call(6))
      expect(run(state, burst).state.counters.admitted).toBe(4)
    })

    it("admit again exactly after the wait that a refusal knows, and not before", () => {
      let state = Simulation.make({
        ...plain,
        limits: { requestsPerSecond: 3, tokensPerSecond: 700 },
        changes: [{ at: 2, requestsPerSecond: 0.5 }],
        neighbours: [{ from: 1.5, to: 1.8, share: 0.5 }],
        dynamic: { windowSeconds: 10, slots: 10, growth: 2, floorRequestsPerSecond: 2, floorTokensPerSecond: 300 }
      })
      let refusals = 0
      let at = 0
      for (let i = 0; i < 200; i++) {
        const [reply, next] = Simulation.arrive(state, call(at, { promptHash: i, inputTokens: (i * 37) % 400 + 10 }))
        if (reply._tag === "Refusal" && reply.waitSeconds !== undefined) {
          refusals++
          const retry = (seconds: number) =>
            Simulation.arrive(next, call(at + seconds, { promptHash: i, inputTokens: (i * 37) % 400 + 10 }))[0]
          expect(retry(reply.waitSeconds)._tag).toBe("Answer")
          // tokens that ends of calls give back may shorten the wait; the rates alone do not
          if (next.counters.inFlight === 0 && reply.waitSeconds > 0.002) {
            expect(retry(reply.waitSeconds - 0.001)._tag).toBe("Refusal")
          }
        }
        state = next
        at += (i * 7919 % 100) / 250
      }
      expect(refusals).toBeGreaterThan(50)
    })

    it("know the wait at times whose fractions are inexact", () => {
      const at = 1e8
      const { replies, state } = run(
        Simulation.make({ ...plain, limits: { requestsPerSecond: 10 } }),
        Array.from({ length: 12 }, (_, i) => call(at + i * 0.001))
      )
      expect(refusal(replies.at(-1)).waitSeconds).toBeCloseTo(0.089, 6)
      expect(Simulation.oracle(state, { model, at: at + 0.1, tokens: 0 }).waitSeconds).toBeLessThan(1e-6)
    })

    it("never admit more than burst and rate allow in any window", () => {
      const rate = 7
      const options = { ...plain, limits: { requestsPerSecond: rate } }
      const times = Array.from({ length: 2000 }, (_, i) => (i * 104_729 % 20_011) / 1000).sort((a, b) => a - b)
      const { replies } = run(Simulation.make(options), times.map((at, i) => call(at, { promptHash: i })))
      const admitted = times.filter((_, i) => replies[i]?._tag === "Answer")
      for (let i = 0; i < admitted.length; i += 5) {
        for (let j = i; j < admitted.length; j += 7) {
          const window = (admitted[j] ?? 0) - (admitted[i] ?? 0)
          expect(j - i + 1).toBeLessThanOrEqual(rate + rate * window + 1e-6)
        }
      }
    })
  })

  describe("dynamic limits", () => {
    const options: Simulation.Options = {
      ...plain,
      limits: { requestsPerSecond: 100 },
      dynamic: { growth: 2, windowSeconds: 60, slots: 60, floorRequestsPerSecond: 1, capRequestsPerSecond: 20 }
    }
    const rate = (state: Simulation.State, at: number) => Simulation.oracle(state, { model, at }).requestsPerSecond

    it("follow twice the successful rate of the window, between floor and cap", () => {
      let state = Simulation.make(options)
      const grown: Array<number> = []
      for (let second = 0; second < 700; second++) {
        const { requests } = Simulation.oracle(state, { model, at: second })
        for (let i = 0; i < Math.floor(requests); i++) {
          state = Simulation.arrive(state, call(second, { promptHash: second * 100 + i }))[1]
        }
        if (second % 60 === 0) grown.push(rate(state, second))
      }
      expect(grown[0]).toBe(1)
      expect(grown.every((value, i) => i === 0 || value >= (grown[i - 1] ?? 0) - 1e-9)).toBe(true)
      expect(grown.at(-1)).toBe(20)
      expect(rate(state, 700 + 3600)).toBe(1)
    })

    it("refuse a sudden burst with the dynamic type, though the fixed limit would allow it", () => {
      const { replies } = run(Simulation.make(options), Array.from({ length: 5 }, () => call(0)))
      expect(statuses(replies)).toEqual([200, 429, 429, 429, 429])
      expect(error(replies[1]).type).toBe("dynamic_request_limited")
    })

    it("count tokens where they have a floor", () => {
      const state = Simulation.make({
        ...options,
        dynamic: { ...options.dynamic, floorRequestsPerSecond: 10, floorTokensPerSecond: 100, capTokensPerSecond: 500 }
      })
      expect(Simulation.oracle(state, { model, at: 0 }).tokensPerSecond).toBe(100)
      const { replies } = run(state, [call(0), call(0.1)])
      expect(error(replies[1]).type).toBe("dynamic_token_limited")
    })

    it("move on at slots so many that their numbers are inexact", () => {
      const fine = { ...options.dynamic, windowSeconds: 10, slots: 60, floorRequestsPerSecond: 5 }
      const { replies, state } = run(Simulation.make({ ...options, dynamic: fine }), [
        call(4_194_303.9),
        // the slot from here on is number 25,165,825, which the division misses
        call(4_194_304.166666666),
        call(4_194_306)
      ])
      expect(statuses(replies)).toEqual([200, 200, 200])
      expect(rate(state, 4_194_307)).toBe(5)
      expect(rate(state, 4_194_320)).toBe(5)
    })

    it.each([1e-9, 1e-300])(
      "move on where %s seconds of a window are less than time can tell apart",
      (windowSeconds) => {
        const { replies, state } = run(
          Simulation.make({ ...options, dynamic: { ...options.dynamic, windowSeconds } }),
          [
            call(1e6),
            call(2e6),
            call(1e200),
            call(1e201)
          ]
        )
        expect(statuses(replies)).toEqual([200, 200, 200, 200])
        expect(state.now).toBe(1e201)
      }
    )

    it("count successes only", () => {
      const faulty = Simulation.make({ ...options, faults: [{ probability: 1, kind: 500, stage: "engine" }] })
      const { state } = run(faulty, Array.from({ length: 100 }, (_, i) => call(i, { promptHash: i })))
      expect(state.counters.failed).toBeGreaterThan(90)
      expect(rate(state, 100)).toBe(1)
    })
  })
})
