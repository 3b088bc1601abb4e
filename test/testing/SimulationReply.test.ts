import { describe, expect, it } from "@effect/vitest"
import * as Simulation from "../../src/testing/Simulation.ts"
import { answer, call, error, model, one, plain, refusal, run, statuses } from "./simulation.ts"

describe("Simulation: replies", () => {
  describe("headers", () => {
    const limited = { ...plain, limits: { requestsPerSecond: 2, tokensPerSecond: 1000 } }
    const both = (headers: "v1" | "v2" | "v3" | "v4" | "live" | "none", more: Simulation.Options = {}) => {
      const { replies } = run(Simulation.make({ ...limited, headers, ...more }), [call(0), call(0), call(0)])
      return [replies[0]?.headers, replies[2]?.headers].map((all) => {
        const { "x-request-id": _, ...rest } = all ?? {}
        return rest
      })
    }

    it("of V4 are x-ratelimit-reset on a 429 alone", () => {
      expect(both("v4")).toEqual([{}, { "x-ratelimit-reset": "1" }])
    })

    it("of V3 are x-ratelimit-reset on every response", () => {
      expect(both("v3")).toEqual([{ "x-ratelimit-reset": "1" }, { "x-ratelimit-reset": "1" }])
    })

    it("of V1 are the limits and what remains of them", () => {
      expect(both("v1")).toEqual([
        {
          "x-ratelimit-limit": "2",
          "x-ratelimit-remaining": "1",
          "x-tokenlimit-limit": "1000",
          "x-tokenlimit-remaining": "850",
          "x-ratelimit-reset": "1"
        },
        expect.objectContaining({ "x-ratelimit-remaining": "0", "x-tokenlimit-remaining": "700" })
      ])
    })

    it("of V2 are those and the dynamic ones", () => {
      const dynamic = { floorRequestsPerSecond: 3, floorTokensPerSecond: 500 }
      expect(both("v2", { dynamic })[0]).toEqual({
        "x-ratelimit-limit": "2",
        "x-ratelimit-remaining": "1",
        "x-tokenlimit-limit": "500",
        "x-tokenlimit-remaining": "350",
        "x-ratelimit-reset": "1",
        "x-ratelimit-limit-dynamic": "3",
        "x-ratelimit-remaining-dynamic": "1",
        "x-tokenlimit-limit-dynamic": "500",
        "x-tokenlimit-remaining-dynamic": "350"
      })
      expect(both("v2")[0]).not.toHaveProperty("x-ratelimit-limit-dynamic")
    })

    it("of the live captures put retry-after on a success, under other names for tokens", () => {
      expect(both("live")[0]).toMatchObject({
        "x-ratelimit": "false",
        "x-ratelimit-limit-tokens": "1000",
        "retry-after": "1"
      })
    })

    it("are none where told so", () => {
      expect(both("none")).toEqual([{}, {}])
    })

    it("leave out limits that do not exist", () => {
      expect(both("v1", { limits: { requestsPerSecond: 2 } })[0]).not.toHaveProperty("x-tokenlimit-limit")
    })

    it("round the reset up to whole seconds, or to milliseconds", () => {
      const reset = (more: Simulation.Options) =>
        both("v4", { limits: { requestsPerSecond: 0.4 }, ...more })[1]?.["x-ratelimit-reset"]
      expect(reset({})).toBe("3")
      expect(reset({ reset: "fractional" })).toBe("2.5")
      expect(reset({ reset: "fractional", limits: { requestsPerSecond: 0.3 } })).toBe("3.334")
    })

    it("say a wait in milliseconds that is enough for a lone caller, however often", () => {
      let state = Simulation.make({ ...plain, limits: { requestsPerSecond: 3 }, reset: "fractional" })
      let at = 0
      for (let i = 0; i < 300; i++) {
        const refused = run(state, [call(at), call(at), call(at), call(at)])
        const wait = Number(refusal(refused.replies[3]).headers["x-ratelimit-reset"])
        expect(wait).toBeGreaterThanOrEqual(0.001)
        at += wait
        const again = run(refused.state, [call(at)])
        expect(statuses(again.replies)).toEqual([200])
        state = again.state
      }
    })

    it("say a wait of whole seconds as it is, and it is enough for a lone caller", () => {
      const waits = [1, 0.5, 0.25, 0.2, 0.1].flatMap((rate) =>
        [0, 7, 1e6 / 3].map((at) => {
          const state = Simulation.make({ ...plain, limits: { requestsPerSecond: rate }, headers: "v4" })
          const first = run(state, [call(at), call(at)])
          const wait = Number(refusal(first.replies[1]).headers["x-ratelimit-reset"])
          expect(statuses(run(first.state, [call(at + wait)]).replies)).toEqual([200])
          return wait
        })
      )
      expect(waits).toEqual([1, 2, 4, 5, 10].flatMap((wait) => [wait, wait, wait]))
    })

    it("go with the error types of their time", () => {
      const type = (headers: "v1" | "v4", more: Simulation.Options = {}) =>
        error(run(Simulation.make({ ...limited, headers, ...more }), [call(0), call(0), call(0)]).replies[2]).type
      expect(type("v1")).toBe("credit_limit")
      expect(type("v4")).toBe("dynamic_request_limited")
      expect(type("v4", { limits: { tokensPerSecond: 160 } })).toBe("dynamic_token_limited")
    })
  })

  describe("faults", () => {
    it("answer any status, as JSON or as the edge's HTML", () => {
      const fault = (kind: number) => refusal(one({ faults: [{ probability: 1, kind }] }))
      expect(fault(500)).toMatchObject({ contentType: "application/json", latencySeconds: 0.05, reason: "fault" })
      expect(fault(524)).toMatchObject({ contentType: "text/html; charset=UTF-8" })
      expect(fault(429).headers).toHaveProperty("x-ratelimit-reset", "1")
      expect(JSON.parse(fault(418).body).error.message).toContain("418")
    })

    it("drop connections: refused, reset, or never answered", () => {
      const dropped = (["refused", "reset", "hang"] as const).map((kind) => one({ faults: [{ probability: 1, kind }] }))
      expect(statuses(dropped)).toEqual(["refused", "reset", "hang"])
      expect(dropped.map((reply) => reply.latencySeconds)).toEqual([0.05, 0.05, Infinity])
    })

    it("keep to their window, model and operation", () => {
      const options: Simulation.Options = {
        faults: [{ probability: 1, kind: 500, from: 10, to: 20, model, operation: "chat", retryAfterSeconds: 4 }]
      }
      const tags = [
        one(options, call(9)),
        one(options, call(10)),
        one(options, call(20)),
        one(options, call(10, { operation: "completions" })),
        one(options, call(10, { model: "openai/gpt-oss-120b" }))
      ]
      expect(statuses(tags)).toEqual([200, 500, 200, 200, 200])
      expect(refusal(tags[1]).headers["retry-after"]).toBe("4")
    })

    it("in the engine use up limits, take time, and cost nothing", () => {
      const options: Simulation.Options = {
        ...plain,
        limits: { requestsPerSecond: 1 },
        faults: [{ probability: 1, kind: 500, stage: "engine" }]
      }
      const { replies, state } = run(Simulation.make(options), [call(0), call(0)])
      expect(statuses(replies)).toEqual([500, 429])
      expect(replies[0]?.latencySeconds).toBeGreaterThan(0.05)
      const later = Simulation.advance(state, 10)
      expect(later.counters).toMatchObject({ failed: 1, succeeded: 0, billedNanoUsd: 0n, inFlight: 0 })
    })

    it("break an answer after some of its tokens, and bill those", () => {
      const [reply, state] = Simulation.arrive(
        Simulation.make({ ...plain, faults: [{ probability: 1, kind: "cut" }] }, 2),
        call(0)
      )
      const { broken } = answer(reply)
      expect(broken?.kind).toBe("cut")
      expect(broken?.afterTokens).toBeLessThan(20)
      const after = BigInt(broken?.afterTokens ?? -1)
      expect(Simulation.advance(state, 10).counters.billedNanoUsd).toBe(100n * 50n + after * 200n)
      expect(answer(one({ faults: [{ probability: 1, kind: "stall" }] })).latencySeconds).toBe(Infinity)
    })

    it.each(["cut", "stall", "error-frame"] as const)("count an answer that ends in %s as failed", (kind) => {
      const [, state] = Simulation.arrive(
        Simulation.make({ ...plain, dynamic: {}, faults: [{ probability: 1, kind }] }, 2),
        call(0, { tag: "row" })
      )
      const later = Simulation.advance(state, 10)
      expect(later.counters).toMatchObject({ admitted: 1, succeeded: 0, failed: 1, cancelled: 0, inFlight: 0 })
      // the connection was answered with 200: nothing was refused
      expect(later.counters.refused.fault).toBe(0)
      expect(later.counters.billedNanoUsd).toBeGreaterThan(0n)
      expect(Simulation.tag(later, "row")).toMatchObject({ arrivals: 1, succeeded: 0 })
      expect(Array.from(later.lanes, ([, { dynamic }]) => dynamic?.currentRequests)).toEqual([0])
    })

    it("leave every admitted call succeeded, failed, cancelled or in flight", () => {
      const kinds = ["cut", "stall", "error-frame", 500, "hang"] as const
      let state = Simulation.make(
        { ...plain, faults: kinds.map((kind) => ({ probability: 0.15, kind, stage: "engine" })) },
        3
      )
      for (let i = 0; i < 300; i++) {
        const [reply, next] = Simulation.arrive(state, call(i * 0.1, { promptHash: i }))
        state = i % 5 === 0 ? Simulation.cancel(next, reply.id, i * 0.1 + 0.05) : next
      }
      const { admitted, cancelled, failed, inFlight, succeeded } = state.counters
      expect(Math.min(cancelled, failed, inFlight, succeeded)).toBeGreaterThan(0)
      expect(admitted).toBe(succeeded + failed + cancelled + inFlight)
    })
  })
})
