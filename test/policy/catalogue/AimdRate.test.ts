import { describe, expect, it } from "@effect/vitest"
import * as AimdRate from "../../../src/policy/catalogue/AimdRate.ts"
import { events, laws } from "../events.ts"
import { suite } from "../vectors.ts"

describe("AimdRate", () => {
  it("follows the cuts of mlflow's limiter", () => {
    const { ceiling, cooldown, floor, ops, start } = suite<{
      start: number
      floor: number
      cooldown: number
      ceiling: number
      ops: ReadonlyArray<[at: number, event: "429", rate: number]>
    }>("mlflow.aimd")
    let state = AimdRate.make({ start, floor, cooldownSeconds: cooldown, ceilingFactor: ceiling / start })
    for (const [at, , rate] of ops) {
      ;[, state] = AimdRate.throttle(state, at)
      expect(state.rate).toBe(rate)
    }
  })

  it("gives the reason of every move", () => {
    const state = AimdRate.make({ start: 2, ceilingFactor: 1 })
    expect(AimdRate.succeed(state)[0]).toEqual({ _tag: "Held", from: 2, to: 2, reason: "at-ceiling" })
    const [cut, lowered] = AimdRate.throttle(state, 0)
    expect(cut).toEqual({ _tag: "Lowered", from: 2, to: 1, reason: "throttled" })
    expect(AimdRate.throttle(lowered, 4.9)[0]).toEqual({ _tag: "Held", from: 1, to: 1, reason: "cooldown" })
    expect(AimdRate.throttle(lowered, 5)[0]).toEqual({ _tag: "Held", from: 1, to: 1, reason: "at-floor" })
    expect(AimdRate.succeed(lowered)[0]).toEqual({ _tag: "Raised", from: 1, to: 2, reason: "success" })
  })

  it.each([0, 3.2, 4.7, 1_700_000_000.7])("cuts again as soon as the cooldown after %d is over", (at) => {
    const [, cut] = AimdRate.throttle(AimdRate.make(), at)
    const over = Math.round(at * 10 + 50) / 10
    expect(AimdRate.throttle(cut, over - 0.001)[0].reason).toBe("cooldown")
    expect(AimdRate.throttle(cut, over)[0].to).toBe(2.5)
  })

  it("grows by about one per second for each second at full rate", () => {
    let state = AimdRate.make({ start: 10 })
    for (let i = 0; i < 10; i++) [, state] = AimdRate.succeed(state)
    expect(state.rate).toBeCloseTo(10.96, 2)
  })

  it("stops at five times its start", () => {
    let state = AimdRate.make()
    for (let i = 0; i < 5000; i++) [, state] = AimdRate.succeed(state)
    expect(state.rate).toBe(50)
  })

  it.each([
    [{ start: 0.5 }, { start: 0.5, floor: 0.5 }],
    [{ floor: 20 }, { start: 20, floor: 20 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(AimdRate.make(options).settings).toMatchObject(settings)
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    expect(() => AimdRate.throttle(AimdRate.make(), now)).toThrow("AimdRate.throttle: now must be")
  })

  it.each([
    [{ start: 0 }, "start"],
    [{ floor: 0 }, "floor"],
    [{ floor: 11, start: 10 }, "start"],
    [{ ceilingFactor: 0.5 }, "ceilingFactor"],
    [{ decrease: 1 }, "decrease"],
    [{ increase: -1 }, "increase"],
    [{ cooldownSeconds: -1 }, "cooldownSeconds"]
  ])("refuses %o", (options, field) => {
    expect(() => AimdRate.make(options)).toThrow(`AimdRate.make: ${field} must be`)
  })

  it.prop("stays in its bounds, and a throttle never raises the rate", [events], ([list]) => {
    let state = AimdRate.make()
    let now = 0
    for (const { kind, ms } of list) {
      now += ms / 1000
      const [decision, next] = kind === 0 ? AimdRate.throttle(state, now) : AimdRate.succeed(state)
      if (kind === 0) expect(next.rate).toBeLessThanOrEqual(state.rate)
      state = next
      expect(decision.to).toBe(state.rate)
      expect(state.rate).toBeGreaterThanOrEqual(1)
      expect(state.rate).toBeLessThanOrEqual(50)
    }
  }, laws)
})
