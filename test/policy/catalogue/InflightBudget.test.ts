import { describe, expect, it } from "@effect/vitest"
import * as InflightBudget from "../../../src/policy/catalogue/InflightBudget.ts"
import { events, laws } from "../events.ts"

const acquire = (state: InflightBudget.State) => {
  const [decision, next] = InflightBudget.acquire(state)
  return [decision._tag === "Granted", next] as const
}

describe("InflightBudget", () => {
  it("always lets the minimum run", () => {
    let state = InflightBudget.make()
    const reasons: Array<string> = []
    for (let i = 0; i < 4; i++) {
      const [decision, next] = InflightBudget.acquire(state)
      reasons.push(decision.reason)
      state = next
    }
    expect(reasons).toEqual(["below-minimum", "below-minimum", "below-minimum", "ratio-reached"])
  })

  it("grants below the ratio beyond the minimum", () => {
    let state = InflightBudget.make()
    for (let i = 0; i < 40; i++) state = InflightBudget.start(state)
    for (let i = 0; i < 3; i++) [, state] = InflightBudget.acquire(state)
    expect(InflightBudget.acquire(state)[0]).toEqual({ _tag: "Granted", reason: "below-ratio" })
  })

  it("stops at a fifth of what is in flight as Envoy does", () => {
    let state = InflightBudget.make({ rule: "envoy", minConcurrency: 0 })
    for (let i = 0; i < 20; i++) state = InflightBudget.start(state)
    let granted = 0
    for (let i = 0; i < 20; i++) {
      const [ok, next] = acquire(state)
      if (ok) granted++
      state = next
    }
    // Of 24 in flight a fifth is 4.8, and Envoy drops the fraction.
    expect(granted).toBe(4)
    state = InflightBudget.start(state)
    expect(InflightBudget.acquire(state)[0]).toEqual({ _tag: "Granted", reason: "below-ratio" })
  })

  it.each([[13, 3], [16, 3], [17, 4], [20, 4]])("lets %d calls have %d retries as Envoy does", (calls, retries) => {
    let state = InflightBudget.make({ rule: "envoy" })
    for (let i = 0; i < calls; i++) state = InflightBudget.start(state)
    let [ok, next] = acquire(state)
    while (ok) {
      state = next
      ;[ok, next] = acquire(state)
    }
    expect(state.budgeted).toBe(retries)
    expect(state.budgeted).toBe(Math.max(3, Math.floor(state.inFlight * 0.2)))
  })

  it("ignores a release that nothing was acquired for", () => {
    const state = InflightBudget.start(InflightBudget.make())
    expect(InflightBudget.release(state)).toBe(state)
    expect(InflightBudget.finish(InflightBudget.finish(state)).inFlight).toBe(0)
  })

  it.each([
    [{ ratio: 1.1 }, "ratio"],
    [{ minConcurrency: -1 }, "minConcurrency"]
  ])("refuses %o", (options, field) => {
    expect(() => InflightBudget.make(options)).toThrow(`InflightBudget.make: ${field} must be`)
  })

  it.prop("has nothing in flight once all that started has ended", [events], ([list]) => {
    let state = InflightBudget.make()
    let first = 0
    let budgeted = 0
    for (const { kind } of list) {
      if (kind < 3) {
        state = InflightBudget.start(state)
        first++
      } else {
        const [ok, next] = acquire(state)
        if (ok) budgeted++
        state = next
      }
      expect(state.inFlight).toBe(first + budgeted)
      expect(state.budgeted).toBe(budgeted)
    }
    for (let i = 0; i < budgeted; i++) state = InflightBudget.release(state)
    for (let i = 0; i < first; i++) state = InflightBudget.finish(state)
    expect([state.inFlight, state.budgeted]).toEqual([0, 0])
  }, laws)
})
