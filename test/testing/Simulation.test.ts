import { describe, expect, it } from "@effect/vitest"
import * as Simulation from "../../src/testing/Simulation.ts"

const model = "openai/gpt-oss-20b"

/** A provider that answers in exactly 1 s with 20 tokens, and limits nothing unless told to. */
const plain: Simulation.Options = {
  limits: {},
  latency: { kind: "constant", value: 1 },
  firstToken: { kind: "constant", value: 0.2 },
  outputTokens: { kind: "constant", value: 20 }
}

const call = (at: number, more: Partial<Simulation.Arrival> = {}): Simulation.Arrival => ({
  at,
  key: "key",
  operation: "chat",
  model,
  inputTokens: 100,
  maxTokens: 50,
  promptHash: 1,
  ...more
})

const run = (state: Simulation.State, calls: ReadonlyArray<Simulation.Arrival>) => {
  const replies: Array<Simulation.Reply> = []
  let now = state
  for (const arrival of calls) {
    const [reply, next] = Simulation.arrive(now, arrival)
    replies.push(reply)
    now = next
  }
  return { replies, state: now }
}

const statuses = (replies: ReadonlyArray<Simulation.Reply>) =>
  replies.map((reply) => reply._tag === "Dropped" ? reply.kind : reply.status)

const one = (options: Simulation.Options, arrival = call(0)) =>
  Simulation.arrive(Simulation.make({ ...plain, ...options }), arrival)[0]

const refusal = (reply: Simulation.Reply | undefined): Simulation.Refusal => {
  if (reply?._tag !== "Refusal") throw new Error(`expected a refusal, got ${reply?._tag}`)
  return reply
}

const answer = (reply: Simulation.Reply | undefined): Simulation.Answer => {
  if (reply?._tag !== "Answer") throw new Error(`expected an answer, got ${reply?._tag}`)
  return reply
}

const error = (reply: Simulation.Reply | undefined) => JSON.parse(refusal(reply).body).error

describe("Simulation", () => {
  describe("make", () => {
    it("refuses a seed that is no number, a wrong option and an unknown one, by name", () => {
      expect(() => Simulation.make({}, Number.NaN)).toThrow("seed")
      expect(() => Simulation.make({ limits: { requestsPerSecond: -1 } })).toThrow(/Simulation.make: .*[\s\S]*requestsPerSecond/)
      // an option that no type would let through
      expect(() => Simulation.make({ speed: 1 } as Simulation.Options)).toThrow("speed")
      expect(() => Simulation.make({ latency: { kind: "lognormal", sigma: 1 } })).toThrow("exactly one of median and mean")
      expect(() => Simulation.make({ outputTokens: { kind: "uniform", min: 2, max: 1 } })).toThrow("min must be at most max")
    })

    it("takes its own defaults back from JSON", () => {
      const back = Simulation.make(JSON.parse(JSON.stringify(Simulation.defaults)))
      expect(back.config).toEqual(Simulation.defaults)
    })
  })

  describe("arrive", () => {
    it("answers with usage, times, price and an id", () => {
      const reply = answer(one({}))
      expect(reply).toMatchObject({
        status: 200,
        latencySeconds: 1,
        firstTokenSeconds: 0.2,
        inputTokens: 100,
        outputTokens: 20,
        finishReason: "stop",
        pool: "serverless",
        costNanoUsd: 100n * 50n + 20n * 200n
      })
      expect(reply.headers).toEqual({ "x-request-id": reply.requestId })
      expect(reply.requestId).toMatch(/^o\w{6}-\w{6}-[0-9a-f]{16}$/)
    })

    it("cuts an answer at max_tokens", () => {
      expect(answer(one({}, call(0, { maxTokens: 7 })))).toMatchObject({ outputTokens: 7, finishReason: "length" })
    })

    it("leaves the state it was given as it was", () => {
      const before = Simulation.make({ ...plain, limits: { requestsPerSecond: 1 } })
      const [first] = Simulation.arrive(before, call(0))
      const [again] = Simulation.arrive(before, call(0))
      expect(again).toEqual(first)
      expect(before.counters.arrivals).toBe(0)
    })

    it("checks fault, key, model, context, credits and limits in this order", () => {
      const all: Simulation.Options = {
        keys: { good: "acme" },
        models: { known: { contextLength: 120 }, closed: { availability: "dedicated" } },
        credits: { balanceUsd: 0 },
        limits: { requestsPerSecond: 0 },
        outages: [{ from: 10, kind: 503 }]
      }
      expect(refusal(one(all, call(10, { key: "bad", model: "known" })))).toMatchObject({ status: 503, reason: "outage" })
      expect(refusal(one(all, call(0, { key: "bad", model: "known" })))).toMatchObject({ status: 401, reason: "key" })
      expect(refusal(one(all, call(0, { key: undefined })))).toMatchObject({ status: 401 })
      const at = (name: string, maxTokens: number) => one(all, call(0, { key: "good", model: name, maxTokens }))
      expect(refusal(at("unknown", 1))).toMatchObject({ status: 404, reason: "model-unknown" })
      expect(error(at("closed", 1))).toMatchObject({ code: "model_not_available" })
      expect(refusal(at("known", 21))).toMatchObject({ status: 400, reason: "context" })
      expect(refusal(at("known", 20))).toMatchObject({ status: 402, reason: "credits" })
      expect(refusal(one({ ...all, credits: undefined }, call(0, { key: "good", model: "known", maxTokens: 20 })))).toMatchObject({
        status: 429,
        reason: "requests"
      })
    })

    it("accepts any key where none is listed, and models that are not, where told to", () => {
      expect(one({}, call(0, { key: "whatever" }))._tag).toBe("Answer")
      expect(one({ unknownModels: "accept" }, call(0, { model: "no/such" }))._tag).toBe("Answer")
      expect(one({}, call(0, { model: "constructor" }))).toMatchObject({ status: 404 })
    })

    it("says a context overflow in any of the three statuses", () => {
      for (const contextStatus of [400, 403, 422] as const) {
        const reply = one({ contextStatus }, call(0, { maxTokens: 200_000 }))
        expect(refusal(reply).status).toBe(contextStatus)
        expect(error(reply).message).toContain("must be <= 131072")
      }
    })

    it("lets time stand still for an arrival that is late", () => {
      const { state } = run(Simulation.make(plain), [call(5), call(2)])
      expect(state.now).toBe(5)
    })
  })

  describe("chance", () => {
    const noisy: Simulation.Options = { limits: {}, faults: [{ probability: 0.3, kind: 503 }, { probability: 0.2, kind: "reset" }] }
    const calls = Array.from({ length: 60 }, (_, i) => call(i, { promptHash: i % 20 }))

    it("gives the same trace for the same seed, another for another", () => {
      const first = run(Simulation.make(noisy, 5), calls).replies
      expect(run(Simulation.make(noisy, 5), calls).replies).toEqual(first)
      expect(run(Simulation.make(noisy, 6), calls).replies).not.toEqual(first)
    })

    it("meets each try of a prompt with the same fate, in whatever order the prompts come", () => {
      const fate = (order: ReadonlyArray<Simulation.Arrival>) => {
        const { replies } = run(Simulation.make(noisy, 5), order)
        const byPrompt = new Map<number, Array<unknown>>()
        for (const [i, reply] of replies.entries()) {
          const { id: _, ...rest } = reply
          const hash = order[i]?.promptHash ?? 0
          byPrompt.set(hash, [...(byPrompt.get(hash) ?? []), rest])
        }
        return byPrompt
      }
      expect(fate([...calls].reverse().map((arrival, i) => ({ ...arrival, at: i })))).toEqual(fate(calls))
    })

    it("keeps a prompt's answer through its tries", () => {
      const { replies } = run(Simulation.make({ limits: {} }, 3), [call(0), call(100), call(200, { promptHash: 2 })])
      const [first, second, other] = replies.map(answer)
      expect(second?.textSeed).toBe(first?.textSeed)
      expect(second?.outputTokens).toBe(first?.outputTokens)
      expect(second?.latencySeconds).not.toBe(first?.latencySeconds)
      expect(other?.textSeed).not.toBe(first?.textSeed)
    })

    it("hits with the probability that is set", () => {
      const { state } = run(
        Simulation.make({ ...plain, faults: [{ probability: 0.25, kind: 500 }] }),
        Array.from({ length: 4000 }, (_, i) => call(i, { promptHash: i }))
      )
      expect(state.counters.refused.fault / 4000).toBeCloseTo(0.25, 1)
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
      const options: Simulation.Options = { ...plain, keys: { a: "x", b: "x", c: "y" }, limits: { requestsPerSecond: 1 } }
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
      const { replies, state } = run(Simulation.make(options), [call(0), call(0.9, { promptHash: 2 }), call(1.95), call(5)])
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
      expect(statuses(run(Simulation.make({ ...options, inFlightStatus: 503 }), calls).replies)).toEqual([200, 200, 503, 200])
    })

    it("of a model replace the common ones, and name themselves", () => {
      const options: Simulation.Options = {
        ...plain,
        limits: { requestsPerSecond: 100 },
        models: { slow: { limits: { requestsPerSecond: 0.15 } } }
      }
      const { replies } = run(Simulation.make(options), [call(0, { model: "slow" }), call(1, { model: "slow" })])
      expect(error(replies[1])).toMatchObject({ type: "model_rate_limit", message: expect.stringContaining("9 queries per minute") })
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
        changes: [{ at: 10, requestsPerSecond: 3 }, { at: 20, requestsPerSecond: null, model }, { at: 30, maxInFlight: 1 }]
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
      expect([0, 5, 10, 15, 20].map((at) => Simulation.oracle(state, { model, at }).requestsPerSecond)).toEqual([10, 4, 2, 5, 10])
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
      for (let second = 0; second < 1200; second++) {
        const { requests } = Simulation.oracle(state, { model, at: second })
        for (let i = 0; i < Math.floor(requests); i++) {
          state = Simulation.arrive(state, call(second, { promptHash: second * 100 + i }))[1]
        }
        if (second % 60 === 0) grown.push(rate(state, second))
      }
      expect(grown[0]).toBe(1)
      expect(grown.every((value, i) => i === 0 || value >= (grown[i - 1] ?? 0) - 1e-9)).toBe(true)
      expect(grown.at(-1)).toBe(20)
      expect(rate(state, 1200 + 3600)).toBe(1)
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

    it("count successes only", () => {
      const faulty = Simulation.make({ ...options, faults: [{ probability: 1, kind: 500, stage: "engine" }] })
      const { state } = run(faulty, Array.from({ length: 100 }, (_, i) => call(i, { promptHash: i })))
      expect(state.counters.failed).toBeGreaterThan(90)
      expect(rate(state, 100)).toBe(1)
    })
  })

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

    it("round the reset up to whole seconds, or say it exactly", () => {
      const reset = (more: Simulation.Options) => both("v4", { limits: { requestsPerSecond: 0.4 }, ...more })[1]?.["x-ratelimit-reset"]
      expect(reset({})).toBe("3")
      expect(reset({ reset: "fractional" })).toBe("2.5")
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
  })

  describe("ends of calls", () => {
    it("come by themselves: place, counters and bill", () => {
      const { state } = run(Simulation.make(plain), [call(0, { tag: "row-1" })])
      expect(Simulation.advance(state, 0.99).counters).toMatchObject({ inFlight: 1, succeeded: 0, billedNanoUsd: 0n })
      const after = Simulation.advance(state, 1)
      expect(after.counters).toMatchObject({ inFlight: 0, succeeded: 1, billedNanoUsd: 9000n, inputTokens: 100, outputTokens: 20 })
      expect(Simulation.tag(after, "row-1")).toEqual({ arrivals: 1, succeeded: 1, billedNanoUsd: 9000n })
    })

    it("can be brought forward, once", () => {
      const { replies, state } = run(Simulation.make(plain), [call(0)])
      const id = replies[0]?.id ?? 0
      const early = Simulation.finish(state, id, 0.5)
      expect(early.counters.succeeded).toBe(1)
      expect(Simulation.advance(Simulation.finish(early, id, 2), 3).counters.succeeded).toBe(1)
    })

    it("count a repeated piece of work under its tag", () => {
      const { state } = run(Simulation.make(plain), [call(0, { tag: "a" }), call(2, { tag: "a" }), call(2)])
      const after = Simulation.advance(state, 10)
      expect(Simulation.tag(after, "a")).toEqual({ arrivals: 2, succeeded: 2, billedNanoUsd: 18_000n })
      expect(Simulation.tags(after).get("1")).toEqual({ arrivals: 1, succeeded: 1, billedNanoUsd: 9000n })
      expect(Simulation.tag(after, "b")).toBeUndefined()
    })

    it("serve a repeated prompt from the cache of a model that has one", () => {
      const cached = { ...plain, models: { [model]: { inputUsd: 1, outputUsd: 0, cachedInputUsd: 0.1 } } }
      const { replies } = run(Simulation.make(cached), [call(0), call(2)])
      expect(replies.map((reply) => answer(reply).cachedTokens)).toEqual([0, 96])
      expect(answer(replies[1]).costNanoUsd).toBe(4n * 1000n + 96n * 100n)
    })
  })

  describe("cancel", () => {
    const cost = (cancelled: "generated" | "full" | "none") => {
      const credits = { balanceUsd: 1, cancelled }
      const { replies, state } = run(Simulation.make({ ...plain, credits }), [call(0)])
      // halfway between the first token at 0.2 and the end at 1
      return Simulation.cancel(state, replies[0]?.id ?? 0, 0.6).counters
    }

    it("frees the place and bills by its rule", () => {
      expect(cost("generated")).toMatchObject({ inFlight: 0, cancelled: 1, succeeded: 0, billedNanoUsd: 5000n + 10n * 200n })
      expect(cost("full").billedNanoUsd).toBe(9000n)
      expect(cost("none")).toMatchObject({ billedNanoUsd: 0n, cancelled: 1 })
      expect(cost("full").cancelledNanoUsd).toBe(9000n)
    })

    it("gives back the tokens that were not generated", () => {
      const { replies, state } = run(Simulation.make({ ...plain, limits: { tokensPerSecond: 1000 }, burstSeconds: 1 }), [call(0)])
      const left = Simulation.cancel(state, replies[0]?.id ?? 0, 0)
      expect(Simulation.oracle(left, { model, at: 0 }).tokens).toBe(900)
    })

    it("changes nothing for a call that has ended or never was", () => {
      const { replies, state } = run(Simulation.make(plain), [call(0)])
      const ended = Simulation.advance(state, 2)
      expect(Simulation.cancel(ended, replies[0]?.id ?? 0, 2)).toBe(ended)
      expect(Simulation.cancel(ended, 999, 2).counters).toEqual(ended.counters)
    })
  })

  describe("credits", () => {
    const rich = (more: object): Simulation.Options => ({
      ...plain,
      models: { [model]: { outputUsd: 50_000 } }, // 20 tokens cost 1 USD
      credits: { balanceUsd: 2, ...more }
    })
    const usd = (state: Simulation.State, at: number) =>
      Number(Simulation.balance(Simulation.advance(state, at))?.nanoUsd) / 1e9

    it("suspend access when the metered balance is used up", () => {
      const { replies, state } = run(Simulation.make(rich({})), [call(0), call(0), call(0), call(1.5)])
      // what was admitted before the money was gone is delivered and owed
      expect(statuses(replies)).toEqual([200, 200, 200, 402])
      expect(error(replies[3])).toMatchObject({ type: "credit_limit" })
      expect(usd(state, 2)).toBe(-1)
    })

    it("lag behind the calls", () => {
      const { replies, state } = run(Simulation.make(rich({ meteringLagSeconds: 10 })), [call(0), call(0), call(9)])
      expect(statuses(replies)).toEqual([200, 200, 200])
      expect(statuses(run(state, [call(12)]).replies)).toEqual([402])
      const seen = Simulation.balance(Simulation.advance(state, 10.5))
      expect(seen).toMatchObject({ nanoUsd: 2_000_000_000n, unmeteredNanoUsd: 3_000_000_000n })
    })

    it("come back by a purchase, after its lag and that of the access", () => {
      const options = rich({ purchaseLagSeconds: 5, accessLagSeconds: 3 })
      const { state } = run(Simulation.make(options), [call(0), call(0)])
      const bought = Simulation.topUp(state, "default", 4_000_000_000n, 10)
      expect(Simulation.balance(bought)?.orderedNanoUsd).toBe(4_000_000_000n)
      expect(statuses(run(bought, [call(14), call(17.9), call(18)]).replies)).toEqual([402, 402, 200])
    })

    it("are topped up by schedule", () => {
      const state = Simulation.make(rich({ balanceUsd: 0, topUps: [{ at: 5, usd: 3 }, { at: 8, usd: 1 }] }))
      expect(statuses(run(state, [call(4), call(5)]).replies)).toEqual([402, 200])
      expect(usd(state, 9)).toBe(4)
    })

    it("may go below zero where that was agreed, and are no help where the account is suspended", () => {
      const negative = run(Simulation.make(rich({ floorUsd: -1 })), [call(0), call(2), call(4), call(6)])
      expect(statuses(negative.replies)).toEqual([200, 200, 200, 402])
      expect(statuses([one(rich({ suspended: true }))])).toEqual([402])
    })

    it("recharge to the target in one purchase", () => {
      const autoRecharge = { mode: "target", thresholdUsd: 2.5, targetUsd: 10 }
      const options = rich({ balanceUsd: 3, purchaseLagSeconds: 5, autoRecharge })
      const { state } = run(Simulation.make(options), [call(0), call(1), call(2)])
      // at 1 the balance is 2: 8 are ordered, once, while the rest is spent
      expect(Simulation.advance(state, 3).accounts["default"]).toMatchObject({ recharges: 1, orderedNanoUsd: 8_000_000_000n })
      expect(usd(state, 10)).toBe(8)
    })

    it("recharge at once where the threshold is above the balance: one purchase, or many of one amount", () => {
      const target = Simulation.make(rich({ autoRecharge: { mode: "target", thresholdUsd: 90, targetUsd: 100 } }))
      expect(target.accounts["default"]).toMatchObject({ recharges: 1, balanceNanoUsd: 100_000_000_000n })
      const amount = Simulation.make(rich({ autoRecharge: { mode: "amount", thresholdUsd: 90 } }))
      expect(amount.accounts["default"]).toMatchObject({ recharges: 4, balanceNanoUsd: 102_000_000_000n })
      expect(() => Simulation.make(rich({ autoRecharge: { mode: "target", thresholdUsd: 9, targetUsd: 9 } }))).toThrow("targetUsd")
    })

    it("are kept for each organization", () => {
      const { state } = run(Simulation.make({ ...rich({}), keys: { a: "x", b: "y" } }), [call(0, { key: "a" })])
      const after = Simulation.advance(state, 2)
      expect([Simulation.balance(after, "x")?.nanoUsd, Simulation.balance(after, "y")?.nanoUsd]).toEqual([
        1_000_000_000n,
        2_000_000_000n
      ])
      expect(Simulation.balance(after, "z")).toBeUndefined()
    })

    it("can be set and spent by a test", () => {
      const state = Simulation.setBalance(Simulation.make(rich({})), "default", 7n, 0)
      expect(Simulation.balance(Simulation.spend(state, { org: "default", tag: "job", nanoUsd: 3n }, 1))?.nanoUsd).toBe(4n)
      expect(Simulation.topUp(Simulation.make(plain), "default", 1n, 0).accounts).toEqual({})
      expect(Simulation.setBalance(Simulation.make(plain), "default", 1n, 0).accounts).toEqual({})
    })
  })

  describe("provisioned pool", () => {
    const options: Simulation.Options = {
      ...plain,
      models: { [model]: { outputUsd: 1, provisioned: { requestsPerSecond: 2 } } },
      limits: { requestsPerSecond: 1 }
    }

    it("serves first, at no price, and sends what exceeds it to the common pool", () => {
      const { replies } = run(Simulation.make(options), [call(0), call(0), call(0), call(0)])
      expect(statuses(replies)).toEqual([200, 200, 200, 429])
      expect(replies.slice(0, 3).map((reply) => answer(reply).pool)).toEqual(["provisioned", "provisioned", "serverless"])
      expect(replies.slice(0, 3).map((reply) => answer(reply).costNanoUsd)).toEqual([0n, 0n, 20_000n])
    })

    it("is left alone by a call that does not want it", () => {
      const { replies } = run(Simulation.make(options), [call(0, { pool: "serverless" }), call(0, { pool: "serverless" })])
      expect(statuses(replies)).toEqual([200, 429])
    })
  })

  describe("configure", () => {
    it("changes limits at once, and keeps what is in flight, spent and counted", () => {
      const credits = { balanceUsd: 5 }
      const { state } = run(Simulation.make({ ...plain, limits: { requestsPerSecond: 10 }, credits }), [call(0), call(0)])
      const slower = Simulation.configure(state, { limits: { requestsPerSecond: 1 } }, 0.1)
      expect(Simulation.oracle(slower, { model, at: 0.1 })).toMatchObject({ requests: 1, requestsPerSecond: 1, inFlight: 2 })
      const after = Simulation.advance(slower, 2)
      expect(after.counters).toMatchObject({ succeeded: 2, inFlight: 0 })
      expect(Simulation.balance(after)?.nanoUsd).toBe(5_000_000_000n - 18_000n)
      expect(() => Simulation.configure(state, { burstSeconds: -1 }, 1)).toThrow("burstSeconds")
    })

    it("switches credits on and off", () => {
      const on = Simulation.configure(Simulation.make(plain), { credits: { balanceUsd: 0 } }, 1)
      expect(statuses(run(on, [call(1)]).replies)).toEqual([402])
      expect(statuses(run(Simulation.configure(on, { credits: undefined }, 2), [call(2)]).replies)).toEqual([200])
    })

    it("keeps the window of the dynamic limit unless its shape changes", () => {
      const dynamic = { windowSeconds: 10, slots: 10, floorRequestsPerSecond: 1 }
      const busy = run(
        Simulation.make({ ...plain, limits: {}, dynamic }),
        Array.from({ length: 60 }, (_, i) => call(i / 4, { promptHash: i }))
      ).state
      const rate = (state: Simulation.State) => Simulation.oracle(state, { model, at: 15 }).requestsPerSecond
      expect(rate(busy)).toBeGreaterThan(1)
      expect(rate(Simulation.configure(busy, { burstSeconds: 2 }, 15))).toBe(rate(busy))
      expect(rate(Simulation.configure(busy, { dynamic: { ...dynamic, slots: 5 } }, 15))).toBe(1)
    })
  })

  describe("visit", () => {
    it("meets outages, faults and the key, but no limit", () => {
      const state = Simulation.make({ keys: { good: "acme" }, limits: { requestsPerSecond: 0 }, outages: [{ from: 5 }] })
      const visit = (at: number, key: string) =>
        Simulation.visit(state, { at, key, operation: "GET /files", promptHash: 1 })
      expect(visit(0, "good")[0]).toBeUndefined()
      expect(visit(0, "bad")[0]).toMatchObject({ status: 401 })
      expect(visit(5, "good")[0]).toMatchObject({ status: 503 })
      expect(visit(0, "good")[1].counters).toMatchObject({ visits: 1, arrivals: 0 })
    })
  })

  describe("slowdown", () => {
    it("stretches latency by what is in flight", () => {
      const { replies } = run(
        Simulation.make({ ...plain, slowdown: { from: 1, perCall: 0.5 } }),
        [call(0), call(0), call(0), call(0)]
      )
      expect(replies.map((reply) => reply.latencySeconds)).toEqual([1, 1, 1.5, 2])
    })
  })

  describe("oracle", () => {
    it("knows when a lane that nobody used would admit", () => {
      const state = Simulation.make({ limits: { requestsPerSecond: 0 } })
      expect(Simulation.oracle(state, { model, at: 0 })).toMatchObject({ requests: 0, waitSeconds: 86_400, inFlight: 0 })
      expect(Simulation.oracle(Simulation.make(plain), { model, at: 3 })).toMatchObject({ waitSeconds: 0, maxInFlight: Infinity })
    })
  })
})
