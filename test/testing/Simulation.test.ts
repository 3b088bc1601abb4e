import { describe, expect, it } from "@effect/vitest"
import * as Simulation from "../../src/testing/Simulation.ts"
import { answer, call, error, model, one, plain, refusal, run, statuses } from "./simulation.ts"

describe("Simulation", () => {
  describe("make", () => {
    it("refuses a seed that is no number, a wrong option and an unknown one, by name", () => {
      expect(() => Simulation.make({}, Number.NaN)).toThrow("seed")
      expect(() => Simulation.make({ limits: { requestsPerSecond: -1 } })).toThrow(
        /Simulation.make: .*[\s\S]*requestsPerSecond/
      )
      // an option that no type would let through
      expect(() => Simulation.make({ speed: 1 } as Simulation.Options)).toThrow("speed")
      expect(() => Simulation.make({ latency: { kind: "lognormal", sigma: 1 } })).toThrow(
        "exactly one of median and mean"
      )
      expect(() => Simulation.make({ outputTokens: { kind: "uniform", min: 2, max: 1 } })).toThrow(
        "min must be at most max"
      )
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
      expect(refusal(one(all, call(10, { key: "bad", model: "known" })))).toMatchObject({
        status: 503,
        reason: "outage"
      })
      expect(refusal(one(all, call(0, { key: "bad", model: "known" })))).toMatchObject({ status: 401, reason: "key" })
      expect(refusal(one(all, call(0, { key: undefined })))).toMatchObject({ status: 401 })
      const at = (name: string, maxTokens: number) => one(all, call(0, { key: "good", model: name, maxTokens }))
      expect(refusal(at("unknown", 1))).toMatchObject({ status: 404, reason: "model-unknown" })
      expect(error(at("closed", 1))).toMatchObject({ code: "model_not_available" })
      expect(refusal(at("known", 21))).toMatchObject({ status: 400, reason: "context" })
      expect(refusal(at("known", 20))).toMatchObject({ status: 402, reason: "credits" })
      expect(refusal(one({ ...all, credits: undefined }, call(0, { key: "good", model: "known", maxTokens: 20 }))))
        .toMatchObject({
          status: 429,
          reason: "requests"
        })
    })

    it("accepts any key where none is listed, and models that are not, where told to", () => {
      expect(one({}, call(0, { key: "whatever" }))._tag).toBe("Answer")
      expect(one({ unknownModels: "accept" }, call(0, { model: "no/such" }))._tag).toBe("Answer")
      expect(one({}, call(0, { model: "constructor" }))).toMatchObject({ status: 404 })
    })

    it.each(["constructor", "__proto__"])("takes a model named %s for one that is not listed", (name) => {
      expect(statuses([one({}, call(0, { model: name }))])).toEqual([404])
      expect(statuses([one({ unknownModels: "accept" }, call(0, { model: name }))])).toEqual([200])
    })

    it("refuses a time that is none and amounts that cannot be, by name", () => {
      for (const at of [Number.NaN, Infinity]) {
        expect(() => one({}, call(at))).toThrow(`Simulation.arrive: at must be a finite number, got ${at}`)
      }
      for (const field of ["inputTokens", "maxTokens", "outputTokens", "choices"]) {
        for (const amount of [Number.NaN, -1, 1e13, Infinity]) {
          expect(() => one({}, call(0, { [field]: amount }))).toThrow(
            `Simulation.arrive: ${field} must be in [0, 1000000000000], got ${amount}`
          )
        }
        expect(one({ unknownModels: "accept" }, call(-1, { model: "m", [field]: 1e12 })).latencySeconds).toBe(1)
      }
    })

    it("says a context overflow in any of the three statuses", () => {
      for (const contextStatus of [400, 403, 422] as const) {
        const reply = one({ contextStatus }, call(0, { maxTokens: 200_000 }))
        expect(refusal(reply).status).toBe(contextStatus)
        expect(error(reply).message).toContain("must be <= 131072")
      }
    })

    it("costs no more however many models were called: 8 times as many calls of as many models, about 8 times the work", () => {
      const cost = (models: number): number => {
        const calls = Array.from({ length: models }, (_, n) => call(n / 100, { model: `m-${n}` }))
        const start = Simulation.make({ ...plain, unknownModels: "accept" })
        // of three runs the least time of the processor: what else runs on the machine does not count
        return Math.min(...[1, 2, 3].map(() => {
          const before = process.cpuUsage()
          const { state } = run(start, calls)
          const { user } = process.cpuUsage(before)
          expect(Simulation.advance(state, 100).counters).toMatchObject({ succeeded: models })
          return user
        }))
      }
      const few = cost(500)
      expect(cost(4000)).toBeLessThan(32 * few) // with a copy of all lanes for each call: 64 times
    })

    it("lets time stand still for an arrival that is late", () => {
      const { state } = run(Simulation.make(plain), [call(5), call(2)])
      expect(state.now).toBe(5)
    })
  })

  describe("chance", () => {
    const noisy: Simulation.Options = {
      limits: {},
      faults: [{ probability: 0.3, kind: 503 }, { probability: 0.2, kind: "reset" }]
    }
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

  describe("ends of calls", () => {
    it("come by themselves: place, counters and bill", () => {
      const { state } = run(Simulation.make(plain), [call(0, { tag: "row-1" })])
      expect(Simulation.advance(state, 0.99).counters).toMatchObject({ inFlight: 1, succeeded: 0, billedNanoUsd: 0n })
      const after = Simulation.advance(state, 1)
      expect(after.counters).toMatchObject({
        inFlight: 0,
        succeeded: 1,
        billedNanoUsd: 9000n,
        inputTokens: 100,
        outputTokens: 20
      })
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
      expect(cost("generated")).toMatchObject({
        inFlight: 0,
        cancelled: 1,
        succeeded: 0,
        billedNanoUsd: 5000n + 11n * 200n
      })
      expect(cost("full").billedNanoUsd).toBe(9000n)
      expect(cost("none")).toMatchObject({ billedNanoUsd: 0n, cancelled: 1 })
      expect(cost("full").cancelledNanoUsd).toBe(9000n)
    })

    it("gives back the tokens that were not generated", () => {
      const { replies, state } = run(
        Simulation.make({ ...plain, limits: { tokensPerSecond: 1000 }, burstSeconds: 1 }),
        [call(0)]
      )
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

  describe("provisioned pool", () => {
    const options: Simulation.Options = {
      ...plain,
      models: { [model]: { outputUsd: 1, provisioned: { requestsPerSecond: 2 } } },
      limits: { requestsPerSecond: 1 }
    }

    it("serves first, at no price, and sends what exceeds it to the common pool", () => {
      const { replies } = run(Simulation.make(options), [call(0), call(0), call(0), call(0)])
      expect(statuses(replies)).toEqual([200, 200, 200, 429])
      expect(replies.slice(0, 3).map((reply) => answer(reply).pool)).toEqual([
        "provisioned",
        "provisioned",
        "serverless"
      ])
      expect(replies.slice(0, 3).map((reply) => answer(reply).costNanoUsd)).toEqual([0n, 0n, 20_000n])
    })

    it("is left alone by a call that does not want it", () => {
      const { replies } = run(Simulation.make(options), [
        call(0, { pool: "serverless" }),
        call(0, { pool: "serverless" })
      ])
      expect(statuses(replies)).toEqual([200, 429])
    })
  })

  describe("configure", () => {
    it("changes limits at once, and keeps what is in flight, spent and counted", () => {
      const credits = { balanceUsd: 5 }
      const { state } = run(Simulation.make({ ...plain, limits: { requestsPerSecond: 10 }, credits }), [
        call(0),
        call(0)
      ])
      const slower = Simulation.configure(state, { limits: { requestsPerSecond: 1 } }, 0.1)
      expect(Simulation.oracle(slower, { model, at: 0.1 })).toMatchObject({
        requests: 1,
        requestsPerSecond: 1,
        inFlight: 2
      })
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

    it("judges the window of the dynamic limit by the new options at once", () => {
      const dynamic = { windowSeconds: 10, slots: 10, floorRequestsPerSecond: 1, growth: 2 }
      const busy = run(
        Simulation.make({ ...plain, limits: {}, dynamic }),
        Array.from({ length: 60 }, (_, i) => call(i / 4, { promptHash: i }))
      ).state
      const under = (more: Partial<NonNullable<Simulation.Options["dynamic"]>>, at = 15) =>
        Simulation.oracle(Simulation.configure(busy, { dynamic: { ...dynamic, ...more } }, at), { model, at })
      const { requestsPerSecond } = under({})
      expect(under({ growth: 6 }).requestsPerSecond).toBeCloseTo(3 * requestsPerSecond, 9)
      expect(under({ floorRequestsPerSecond: 100 })).toMatchObject({ requestsPerSecond: 100 })
      expect(under({ capRequestsPerSecond: 0.5 })).toMatchObject({ requestsPerSecond: 0.5 })
      expect(under({ floorTokensPerSecond: 1 }).tokensPerSecond).toBeGreaterThan(1)
      // what was saved under the limit of before is not lost to the floor
      const saved = Simulation.oracle(busy, { model, at: 16 }).requests
      expect(saved).toBeGreaterThan(1)
      expect(under({}, 16).requests).toBe(saved)
    })

    it("lifts by null what is off by default, and brings any other default back", () => {
      const refused = Simulation.make({ ...plain, limits: {}, dynamic: { floorRequestsPerSecond: 0 } })
      expect(statuses(run(refused, [call(0)]).replies)).toEqual([429])
      const lifted = Simulation.configure(refused, { dynamic: null, limits: null }, 1)
      expect(statuses(run(lifted, [call(1)]).replies)).toEqual([200])
      expect(lifted.config.limits).toStrictEqual(Simulation.defaults.limits)
      const misspelt = { dinamic: null } as Simulation.Changes
      expect(() => Simulation.configure(refused, misspelt, 1)).toThrow(/Simulation\.configure: .*"dinamic"/s)
    })
  })

  describe("visit", () => {
    it("meets outages, faults and the key, but no limit", () => {
      const state = Simulation.make({
        keys: { good: "acme" },
        limits: { requestsPerSecond: 0 },
        outages: [{ from: 5 }]
      })
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
      expect(Simulation.oracle(state, { model, at: 0 })).toMatchObject({
        requests: 0,
        waitSeconds: 86_400,
        inFlight: 0
      })
      expect(Simulation.oracle(Simulation.make(plain), { model, at: 3 })).toMatchObject({
        waitSeconds: 0,
        maxInFlight: Infinity
      })
    })
  })
})
