import { describe, expect, it } from "@effect/vitest"
import * as RemainingBudget from "../../../src/policy/catalogue/RemainingBudget.ts"
import { events, laws } from "../events.ts"

const observed = (observation: RemainingBudget.Observation, now = 0) =>
  RemainingBudget.observe(RemainingBudget.make(), observation, now)[1]

describe("RemainingBudget", () => {
  it("admits while nothing was observed", () => {
    expect(RemainingBudget.admit(RemainingBudget.make(), { sent: 9, ratePerSecond: 1 }, 0)).toEqual({
      _tag: "Admitted",
      reason: "unknown"
    })
  })

  it("subtracts what was sent since the observed request", () => {
    expect(RemainingBudget.budget({ sequence: 10, remaining: 5 }, 10)).toBe(5)
    expect(RemainingBudget.budget({ sequence: 10, remaining: 5 }, 13)).toBe(2)
    const state = observed({ sequence: 10, remaining: 5 })
    const admit = (sent: number, cost?: number) => RemainingBudget.admit(state, { sent, cost, ratePerSecond: 10 }, 0)
    expect(admit(14)).toEqual({ _tag: "Admitted", reason: "in-budget" })
    expect(admit(15)).toEqual({ _tag: "Wait", seconds: 0.1, budget: 0, reason: "budget-spent" })
    expect(admit(12, 3)._tag).toBe("Admitted")
    expect(admit(12, 4)._tag).toBe("Wait")
  })

  it("waits for the reset or the interval, whichever is longer", () => {
    const wait = (resetSeconds: number | undefined, ratePerSecond: number) =>
      RemainingBudget.admit(observed({ sequence: 1, remaining: 0, resetSeconds }), { sent: 1, ratePerSecond }, 0)
    expect(wait(2, 10)).toMatchObject({ seconds: 2 })
    expect(wait(0.1, 2)).toMatchObject({ seconds: 0.5 })
    expect(wait(undefined, 2)).toMatchObject({ seconds: 0.5 })
    expect([NaN, Infinity].map((reset) => wait(reset, 2))).toMatchObject([{ seconds: 0.5 }, { seconds: 0.5 }])
  })

  it("lets go of an observation once its wait is over", () => {
    const state = observed({ sequence: 1, remaining: 0, resetSeconds: 2 }, 100)
    expect(RemainingBudget.admit(state, { sent: 1, ratePerSecond: 1 }, 101)).toMatchObject({ _tag: "Wait", seconds: 1 })
    expect(RemainingBudget.admit(state, { sent: 1, ratePerSecond: 1 }, 102)).toEqual({
      _tag: "Admitted",
      reason: "observation-expired"
    })
  })

  it("drops an observation older than the one it holds", () => {
    const state = observed({ sequence: 10, remaining: 5 })
    expect(RemainingBudget.observe(state, { sequence: 9, remaining: 99 }, 1)).toEqual([
      { _tag: "Stale", reason: "older-than-held" },
      state
    ])
    expect(RemainingBudget.observe(state, { sequence: 11, remaining: 3 }, 1)).toEqual([
      { _tag: "Updated", reason: "newer" },
      { observation: { sequence: 11, remaining: 3, at: 1 } }
    ])
    expect(RemainingBudget.observe(state, { sequence: 10, remaining: 4 }, 1)[0]._tag).toBe("Updated")
  })

  it.each([NaN, Infinity])("refuses the time %d", (now) => {
    const observe = () => RemainingBudget.observe(RemainingBudget.make(), { sequence: 1, remaining: 1 }, now)
    expect(observe).toThrow("RemainingBudget.observe: now must be")
  })

  it("refuses a rate that is none", () => {
    expect(() => RemainingBudget.admit(RemainingBudget.make(), { sent: 0, ratePerSecond: 0 }, 0)).toThrow(
      "RemainingBudget.admit: ratePerSecond must be"
    )
  })

  it.prop("holds the newest observation in whatever order they come", [events], ([list]) => {
    let state = RemainingBudget.make()
    let newest = -1
    for (const { amount, draw } of list) {
      ;[, state] = RemainingBudget.observe(state, { sequence: draw, remaining: amount }, 0)
      newest = Math.max(newest, draw)
      expect(state.observation?.sequence).toBe(newest)
    }
  }, laws)
})
