import { describe, expect, it } from "@effect/vitest"
import * as Simulation from "../../src/testing/Simulation.ts"

const model = "openai/gpt-oss-20b"

const scenario = (options: Simulation.Options, more: Partial<Simulation.Scenario> = {}): Simulation.Scenario => ({
  options,
  model,
  calls: 100,
  inputTokens: 1000,
  outputTokens: 2000,
  meanLatencySeconds: 2,
  ...more
})

/** Works everything off as an omniscient client: sends as soon as the provider would admit, and nothing is refused. */
const omniscient = (options: Simulation.Options, calls: number, inputTokens: number) => {
  let state = Simulation.make(options)
  let at = 0
  let last = 0
  for (let i = 0; i < calls; i++) {
    const tokens = options.tokenCharge === undefined ? inputTokens + 50 : 0
    for (;;) {
      const seen = Simulation.oracle(state, { model, at, tokens })
      if (seen.inFlight < seen.maxInFlight && seen.waitSeconds === 0) break
      at += Math.max(0.002, Math.min(seen.waitSeconds, 0.25))
    }
    const [reply, next] = Simulation.arrive(state, {
      at,
      key: "k",
      operation: "chat",
      model,
      inputTokens,
      maxTokens: 50,
      promptHash: i
    })
    if (reply._tag !== "Answer") throw new Error(`refused: ${reply.reason}`)
    last = Math.max(last, at + reply.latencySeconds)
    state = next
  }
  return { seconds: last, counters: Simulation.advance(state, last).counters }
}

describe("Simulation.makespan", () => {
  it("divides what exceeds the burst by the rate, and adds the last call", () => {
    expect(Simulation.makespan(scenario({ limits: { requestsPerSecond: 5 } }))).toEqual({
      seconds: 19 + 2,
      bottleneck: "requests",
      admittedSeconds: 19,
      placesSeconds: 0
    })
    const least = scenario({ limits: { requestsPerSecond: 5 } }, { tailSeconds: 0.5 })
    expect(Simulation.makespan(least).seconds).toBe(19 + 0.5)
  })

  it("knows the tokens as the bottleneck", () => {
    const bound = Simulation.makespan(scenario({ limits: { requestsPerSecond: 50, tokensPerSecond: 100 } }))
    // 3,000 tokens, of which a bucket of 100 is there and the last call's 30 need not be
    expect(bound).toMatchObject({ bottleneck: "tokens", admittedSeconds: expect.closeTo(28.7) })
  })

  it("knows the places in flight as the bottleneck, the client's and the provider's", () => {
    expect(Simulation.makespan(scenario({ limits: {} }, { concurrency: 4 }))).toMatchObject({
      seconds: 50,
      bottleneck: "in-flight"
    })
    const changing: Simulation.Options = { limits: { maxInFlight: 4 }, changes: [{ at: 10, maxInFlight: 16 }] }
    expect(Simulation.makespan(scenario(changing)).seconds).toBe(10 + 160 / 16)
    expect(Simulation.makespan(scenario(changing, { from: 10 })).seconds).toBe(12.5)
  })

  it("knows the longest call as the bottleneck", () => {
    expect(Simulation.makespan(scenario({ limits: {} }, { longestLatencySeconds: 60 }))).toMatchObject({
      seconds: 60,
      bottleneck: "latency"
    })
  })

  it("follows limits that change and neighbours that come and go", () => {
    const options: Simulation.Options = {
      limits: { requestsPerSecond: 10 },
      changes: [{ at: 4, requestsPerSecond: 2 }],
      neighbours: [{ from: 0, to: 2, share: 0.5 }]
    }
    // burst of 5 (half of the bucket), 10 in the first 2 s, 20 until 4 s, then 65 at 2 per second
    expect(Simulation.makespan(scenario(options)).admittedSeconds).toBeCloseTo(4 + 65 / 2)
  })

  it("is infinite where nothing is ever admitted", () => {
    expect(Simulation.makespan(scenario({ limits: { requestsPerSecond: 0 } })).seconds).toBe(Infinity)
  })

  it("counts windows of whole requests, from their beginning or from its own", () => {
    const options = (counting: "fixed-window" | "sliding-window"): Simulation.Options => ({
      counting,
      windowSeconds: 10,
      limits: { requestsPerSecond: 2.55 }
    })
    const admitted = (counting: "fixed-window" | "sliding-window", from: number) =>
      Simulation.makespan(scenario(options(counting), { from }))
    expect(admitted("fixed-window", 0)).toMatchObject({ bottleneck: "requests", admittedSeconds: 30 })
    expect([admitted("fixed-window", 95).admittedSeconds, admitted("sliding-window", 95).admittedSeconds]).toEqual([
      25,
      30
    ])
    const never = { ...options("fixed-window"), limits: { requestsPerSecond: 0 } }
    expect(Simulation.makespan(scenario(never)).seconds).toBe(Infinity)
    const unlimited = { ...options("fixed-window"), limits: {} }
    expect(Simulation.makespan(scenario(unlimited)).admittedSeconds).toBe(0)
  })

  it("knows the tokens of windows as the bottleneck", () => {
    const options: Simulation.Options = {
      counting: "sliding-window",
      windowSeconds: 5,
      limits: { requestsPerSecond: 50, tokensPerSecond: 100 }
    }
    // 3,000 tokens by 500 a window, of which the last call's 30 need not be there
    expect(Simulation.makespan(scenario(options))).toMatchObject({ bottleneck: "tokens", admittedSeconds: 25 })
  })

  it("refuses a scenario without work or with a negative amount", () => {
    expect(() => Simulation.makespan(scenario({}, { calls: 0 }))).toThrow(
      "Simulation.makespan: calls must be above 0, got 0"
    )
    expect(() => Simulation.makespan(scenario({}, { outputTokens: -1 }))).toThrow("outputTokens")
  })

  it("is never passed by an omniscient client, who comes close to it", () => {
    const base: Simulation.Options = {
      latency: { kind: "constant", value: 2 },
      outputTokens: { kind: "constant", value: 30 }
    }
    const windows = (counting: "fixed-window" | "sliding-window"): typeof cases => [
      ["requests", { counting, windowSeconds: 3, limits: { requestsPerSecond: 4.2 } }],
      ["tokens", { counting, windowSeconds: 20, limits: { tokensPerSecond: 300 } }],
      ["small windows", { counting, windowSeconds: 0.5, limits: { requestsPerSecond: 1.3 } }],
      ["changes", {
        counting,
        windowSeconds: 4,
        limits: { requestsPerSecond: 2 },
        changes: [{ at: 9, requestsPerSecond: 9 }, { at: 14, requestsPerSecond: 0.1 }, { at: 30, requestsPerSecond: 5 }]
      }],
      ["neighbours", {
        counting,
        limits: { requestsPerSecond: 8 },
        neighbours: [{ from: 3.3, to: 12.1, share: 0.75 }, { from: 14, to: 15, share: 0.99 }]
      }],
      ["dynamic", {
        counting,
        windowSeconds: 1.5,
        limits: { requestsPerSecond: 30 },
        dynamic: { windowSeconds: 20, slots: 20, growth: 2, floorRequestsPerSecond: 1 }
      }]
    ]
    const cases: ReadonlyArray<readonly [string, Simulation.Options]> = [
      ["requests", { limits: { requestsPerSecond: 4 } }],
      ["tokens at admission", { limits: { requestsPerSecond: 20, tokensPerSecond: 300 } }],
      ["places", { limits: { maxInFlight: 6 } }],
      ["changes", { limits: { requestsPerSecond: 2 }, changes: [{ at: 10, requestsPerSecond: 9 }] }],
      ["neighbours", { limits: { requestsPerSecond: 8 }, neighbours: [{ from: 3, to: 12, share: 0.75 }] }],
      ["dynamic", {
        limits: { requestsPerSecond: 30 },
        dynamic: { windowSeconds: 20, slots: 20, growth: 2, floorRequestsPerSecond: 1 }
      }]
    ]
    for (const [name, options] of [...cases, ...windows("fixed-window"), ...windows("sliding-window")]) {
      const reached = omniscient({ ...base, ...options }, 150, 20)
      const bound = Simulation.makespan({
        options: { ...base, ...options },
        model,
        calls: 150,
        inputTokens: reached.counters.inputTokens,
        outputTokens: reached.counters.outputTokens,
        meanLatencySeconds: 2
      })
      expect(reached.seconds, name).toBeGreaterThanOrEqual(bound.seconds - 1e-6)
      // windows admit in steps: a client may just miss one
      expect(reached.seconds, name).toBeLessThan(
        bound.seconds * (name === "dynamic" ? 1.35 : 1.1) + (options.windowSeconds ?? 0)
      )
    }
  })
})
