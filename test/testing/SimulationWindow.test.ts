import { describe, expect, it } from "@effect/vitest"
import * as Simulation from "../../src/testing/Simulation.ts"
import { answer, call, model, one, plain, refusal, run, statuses } from "./simulation.ts"

const windows = ["fixed-window", "sliding-window"] as const

/** Times that look random, in order. */
const times = (count: number, seconds: number) =>
  Array.from({ length: count }, (_, i) => (i * 104_729 % 20_011) / 20_011 * seconds).sort((a, b) => a - b)

const admissions = (options: Simulation.Options, at: ReadonlyArray<number>) => {
  const { replies } = run(Simulation.make({ ...plain, ...options }), at.map((time, i) => call(time, { promptHash: i })))
  return at.filter((_, i) => replies[i]?._tag === "Answer")
}

describe("Simulation: windows", () => {
  describe("fixed", () => {
    const options: Simulation.Options = {
      ...plain,
      counting: "fixed-window",
      windowSeconds: 2,
      limits: { requestsPerSecond: 1.5 }
    }

    it("admit their rate times their length from one multiple of it to the next", () => {
      const { replies } = run(
        Simulation.make(options),
        [1.7, 1.8, 1.9, 1.99, 2, 2.1, 2.2, 2.3, 3.9, 4].map((at) => call(at))
      )
      expect(statuses(replies)).toEqual([200, 200, 200, 429, 200, 200, 200, 429, 429, 200])
      expect([refusal(replies[3]).waitSeconds, refusal(replies[7]).waitSeconds]).toEqual([
        expect.closeTo(0.01),
        expect.closeTo(1.7)
      ])
    })

    it("never admit more in any of them", () => {
      const counts = new Map<number, number>()
      for (
        const at of admissions({ ...options, windowSeconds: 3, limits: { requestsPerSecond: 7 } }, times(800, 20))
      ) {
        counts.set(Math.floor(at / 3), (counts.get(Math.floor(at / 3)) ?? 0) + 1)
      }
      expect([...counts.values()].slice(0, 6)).toEqual([21, 21, 21, 21, 21, 21])
    })

    it("begin at their multiples, whatever the length in floating point", () => {
      for (const windowSeconds of [0.1, 0.3, 1 / 7, 60]) {
        for (const window of [3, 1_000_003]) {
          const at = window * windowSeconds
          const [, used] = Simulation.arrive(
            Simulation.make({ ...options, windowSeconds, limits: { requestsPerSecond: 1 / windowSeconds } }),
            call(at - windowSeconds / 2)
          )
          const [reply, full] = Simulation.arrive(used, call(at))
          expect([windowSeconds, window, reply._tag]).toEqual([windowSeconds, window, "Answer"])
          const [again] = Simulation.arrive(full, call(at))
          expect(refusal(again).waitSeconds).toBeCloseTo(windowSeconds, 6)
        }
      }
    })
  })

  describe("sliding", () => {
    it("never admit more than their rate times their length in any span of it", () => {
      const admitted = admissions(
        { counting: "sliding-window", windowSeconds: 3, limits: { requestsPerSecond: 7 } },
        times(800, 20)
      )
      for (const [i, from] of admitted.entries()) {
        expect(admitted.filter((at, j) => j >= i && at < from + 3 - 1e-6).length).toBeLessThanOrEqual(21)
      }
      expect(admitted.length).toBe(21 * 7)
    })
  })

  describe.each(windows)("%s", (counting) => {
    it("admit again exactly after the wait that a refusal knows, and not before", () => {
      let state = Simulation.make({
        ...plain,
        counting,
        windowSeconds: 1.5,
        limits: { requestsPerSecond: 3, tokensPerSecond: 700 },
        changes: [{ at: 2, requestsPerSecond: 0.5 }, { at: 12.2, requestsPerSecond: 4 }, {
          at: 20,
          requestsPerSecond: 2
        }],
        neighbours: [{ from: 1.3, to: 1.8, share: 0.5 }, { from: 15, to: 18.1, share: 0.9 }],
        dynamic: { windowSeconds: 10, slots: 10, growth: 2, floorRequestsPerSecond: 2, floorTokensPerSecond: 300 }
      })
      let refusals = 0
      let at = 0
      for (let i = 0; i < 300; i++) {
        const next = (time: number) => call(time, { promptHash: i, inputTokens: (i * 37) % 600 + 10 })
        const [reply, after] = Simulation.arrive(state, next(at))
        if (reply._tag === "Refusal" && reply.waitSeconds !== undefined) {
          refusals++
          const retry = (seconds: number) => Simulation.arrive(after, next(at + seconds))[0]
          expect(retry(reply.waitSeconds)._tag).toBe("Answer")
          // tokens that ends of calls give back may shorten the wait; the windows alone do not
          if (after.counters.inFlight === 0 && reply.waitSeconds > 0.002) {
            expect(retry(reply.waitSeconds - 0.001)._tag).toBe("Refusal")
          }
        }
        state = after
        at += (i * 7919 % 100) / 250
      }
      expect(refusals).toBeGreaterThan(50)
    })

    it("do not depend on how often anyone looks", () => {
      const options: Simulation.Options = {
        ...plain,
        counting,
        windowSeconds: 2,
        limits: { requestsPerSecond: 4, tokensPerSecond: 300 },
        tokenCharge: "completion",
        changes: [{ at: 7, tokensPerSecond: 100 }]
      }
      const read = (state: Simulation.State, at: number) => Simulation.oracle(state, { model, at, tokens: 0 })
      const { state } = run(Simulation.make(options), times(60, 6).map((at, i) => call(at, { promptHash: i })))
      let watched = state
      for (let at = 6; at < 20; at += 0.13) {
        watched = Simulation.advance(Simulation.configure(watched, {}, at), at)
        expect([at, read(watched, at)]).toEqual([at, {
          ...read(state, at),
          tokens: expect.closeTo(read(state, at).tokens, 6)
        }])
      }
    })

    it("let a request larger than a window in, and the following windows pay", () => {
      const options: Simulation.Options = { ...plain, counting, limits: { tokensPerSecond: 100 } }
      const big = call(0, { inputTokens: 330, maxTokens: 20 })
      const { replies, state } = run(Simulation.make(options), [big, call(0.5, { inputTokens: 10, maxTokens: 0 })])
      expect(statuses(replies)).toEqual([200, 429])
      // 350 at 0: the windows from 0, 1 and 2 are full, that of 3 has half of its tokens
      expect(refusal(replies[1]).waitSeconds).toBeCloseTo(2.5)
      expect(Simulation.oracle(state, { model, at: 3.5 }).tokens).toBeCloseTo(50)
      expect(Simulation.oracle(state, { model, at: 4.5 }).tokens).toBeCloseTo(100)
      expect(statuses([one({ ...options, oversize: "reject" }, big)])).toEqual([429])
    })

    it("hold the rate where they have room for less than one request", () => {
      const admitted = admissions({ counting, limits: { requestsPerSecond: 0.4 } }, times(1000, 50))
      expect(admitted.length).toBeGreaterThan(16)
      expect(admitted.length).toBeLessThanOrEqual(21)
      expect(statuses([one({ counting, limits: { requestsPerSecond: 0 } })])).toEqual([429])
    })

    it("hold the rate of tokens that are charged at the end", () => {
      const state = run(
        Simulation.make({ ...plain, counting, limits: { tokensPerSecond: 120 }, tokenCharge: "completion" }),
        times(800, 60).map((at, i) => call(at, { promptHash: i }))
      ).state
      const { counters } = Simulation.advance(state, 100)
      expect(counters.inputTokens + counters.outputTokens).toBeGreaterThan(60 * 120)
      // debts are paid before anybody is let in again, so no more than one burst of calls exceeds them
      expect(Simulation.oracle(state, { model, at: 60 }).tokens).toBeLessThan(0)
      expect(Simulation.oracle(state, { model, at: 60 }).waitSeconds)
        .toBeGreaterThan((counters.inputTokens + counters.outputTokens) / 120 - 60 - 3)
    })

    it("give tokens back while they count, and never after", () => {
      const options: Simulation.Options = { ...plain, counting, windowSeconds: 3, limits: { tokensPerSecond: 100 } }
      const tokens = (latency: number, at: number) => {
        const made = Simulation.make({ ...options, latency: { kind: "constant", value: latency } })
        const { state } = run(made, [call(0), call(2.9)])
        return Simulation.oracle(state, { model, at }).tokens
      }
      // two calls of 150, of which 30 are not used
      expect([tokens(1, 2.95), tokens(1, 0.5)]).toEqual([300 - 120 - 150, expect.any(Number)])
      expect(tokens(3.5, 3.6)).toBe(counting === "fixed-window" ? 300 : 150)
      expect(tokens(3.5, 6.5)).toBe(300)
    })

    it("take a change of the limit in at once", () => {
      const options: Simulation.Options = {
        ...plain,
        counting,
        windowSeconds: 10,
        limits: { requestsPerSecond: 1 },
        changes: [{ at: 2, requestsPerSecond: 0.3 }, { at: 4, requestsPerSecond: 1.5 }]
      }
      const { state } = run(Simulation.make(options), Array.from({ length: 8 }, () => call(1)))
      const requests = [1, 2, 4].map((at) => Simulation.oracle(state, { model, at }).requests)
      expect(requests).toEqual([2, -5, 7])
    })

    it("keep what counts when options change, however they count then", () => {
      const options: Simulation.Options = { ...plain, counting, limits: { requestsPerSecond: 10 } }
      const busy = run(Simulation.make(options), Array.from({ length: 9 }, () => call(0.1))).state
      const requests = (more: Simulation.Options, at: number) =>
        Simulation.oracle(Simulation.configure(busy, more, 0.2), { model, at }).requests
      expect(requests({ limits: { requestsPerSecond: 12 } }, 0.2)).toBe(3)
      expect(requests({ counting: "bucket" }, 0.3)).toBeCloseTo(2)
      expect(requests({ windowSeconds: 2 }, 0.2)).toBe(1)
      expect(requests({ windowSeconds: 2 }, 3)).toBe(20)
      const poured = run(
        Simulation.make({ ...options, counting: "bucket" }),
        Array.from({ length: 9 }, () => call(0))
      ).state
      expect(Simulation.oracle(Simulation.configure(poured, { counting }, 0), { model, at: 0 }).requests).toBe(1)
    })

    it("say in headers what is left, and when", () => {
      const options: Simulation.Options = {
        counting,
        windowSeconds: 4,
        limits: { requestsPerSecond: 0.5 },
        headers: "v1",
        reset: "fractional"
      }
      const { replies } = run(Simulation.make({ ...plain, ...options }), [call(1), call(2), call(2.5)])
      const seen = replies.map(({ headers }) => [
        headers["x-ratelimit-limit"],
        headers["x-ratelimit-remaining"],
        headers["x-ratelimit-reset"]
      ])
      expect(seen).toEqual(
        counting === "fixed-window"
          ? [["0.5", "1", "3"], ["0.5", "0", "2"], ["0.5", "0", "1.5"]]
          : [["0.5", "1", "4"], ["0.5", "0", "4"], ["0.5", "0", "2.5"]]
      )
    })

    it("count refused requests where told to", () => {
      const options: Simulation.Options = { counting, limits: { requestsPerSecond: 1 } }
      const storm = Array.from({ length: 40 }, (_, i) => 0.05 + i * 0.1)
      expect(admissions(options, storm)).toHaveLength(4)
      expect(admissions({ ...options, refusedCounts: true }, storm)).toHaveLength(1)
    })

    it("count for a provisioned pool too", () => {
      const { replies } = run(
        Simulation.make({
          ...plain,
          counting,
          models: { [model]: { provisioned: { requestsPerSecond: 2 } } },
          limits: { requestsPerSecond: 1 }
        }),
        Array.from({ length: 4 }, () => call(0.1))
      )
      expect(replies.slice(0, 3).map((reply) => answer(reply).pool)).toEqual([
        "provisioned",
        "provisioned",
        "serverless"
      ])
      expect(statuses(replies)).toEqual([200, 200, 200, 429])
    })
  })

  it("refuse another way of counting, and a window that is no time", () => {
    expect(() => Simulation.make({ counting: "leaky" as "bucket" })).toThrow("counting")
    expect(() => Simulation.make({ windowSeconds: 0 })).toThrow("windowSeconds")
  })
})
