import { describe, expect, it } from "@effect/vitest"
import * as HedgeBudget from "../../src/policy/HedgeBudget.ts"
import { events, laws } from "./events.ts"
import { suite } from "./vectors.ts"

const vectors = suite<{
  capacity: number
  reward: number
  cost: number
  cases: ReadonlyArray<{ name: string; start?: number; ops: string; allowed: number }>
  sustainableFraction: number
}>("hedge.successBudget")

describe("HedgeBudget", () => {
  it.each(vectors.cases)("$name", ({ allowed, ops, start }) => {
    let state = HedgeBudget.make({
      capacity: vectors.capacity,
      reward: vectors.reward,
      cost: vectors.cost,
      initial: start
    })
    let granted = 0
    for (const op of ops) {
      if (op === "S") {
        state = HedgeBudget.succeed(state)
      } else {
        const [decision, next] = HedgeBudget.acquire(state)
        if (decision._tag === "Granted") granted++
        state = next
      }
    }
    expect(granted).toBe(allowed)
  })

  it("sustains a share of hedges", () => {
    expect(HedgeBudget.sustainableShare(HedgeBudget.defaults)).toBeCloseTo(vectors.sustainableFraction, 9)
    let state = HedgeBudget.make({ initial: 0 })
    let hedges = 0
    let attempts = 0
    while (attempts < 100_000) {
      const [decision, next] = HedgeBudget.acquire(state)
      state = decision._tag === "Granted" ? next : HedgeBudget.succeed(next)
      if (decision._tag === "Granted") hedges++
      attempts++
    }
    expect(hedges / attempts).toBeCloseTo(vectors.sustainableFraction, 4)
  })

  it("holds one hedge at least, whatever it costs", () => {
    expect(HedgeBudget.acquire(HedgeBudget.make({ cost: 25 }))[0]).toMatchObject({ _tag: "Granted", balance: 0 })
    expect(HedgeBudget.make({ cost: 2 }).settings.capacity).toBe(10)
  })

  it("says what is left", () => {
    const [decision, state] = HedgeBudget.acquire(HedgeBudget.make({ capacity: 1 }))
    expect(decision).toEqual({ _tag: "Granted", balance: 0, reason: "earned" })
    expect(HedgeBudget.acquire(state)[0]).toEqual({ _tag: "Denied", balance: 0, reason: "balance-too-low" })
  })

  it.each([
    [{ initial: 20 }, { initial: 20, capacity: 20 }],
    [{ capacity: 5 }, { initial: 5, capacity: 5 }],
    [{ cost: 20, initial: 15 }, { initial: 15, capacity: 20 }]
  ])("makes its defaults give way to %o", (options, settings) => {
    expect(HedgeBudget.make(options).settings).toMatchObject(settings)
  })

  it.each([
    [{ capacity: 0 }, "capacity"],
    [{ capacity: 0.5 }, "capacity"],
    [{ initial: -1 }, "initial"],
    [{ initial: 11, capacity: 10 }, "capacity"],
    [{ reward: -1 }, "reward"],
    [{ cost: 0 }, "cost"]
  ])("refuses %o", (options, field) => {
    expect(() => HedgeBudget.make(options)).toThrow(`HedgeBudget.make: ${field} must be`)
  })

  it.prop("grants at most its capacity and what successes earned", [events], ([list]) => {
    let state = HedgeBudget.make({ capacity: 3, reward: 0.3 })
    let earned = 3
    let granted = 0
    for (const { kind } of list) {
      if (kind < 3) {
        state = HedgeBudget.succeed(state)
        earned += 0.3
      } else {
        const [decision, next] = HedgeBudget.acquire(state)
        if (decision._tag === "Granted") granted++
        state = next
      }
      expect(state.balance).toBeGreaterThanOrEqual(0)
      expect(state.balance).toBeLessThanOrEqual(3)
      expect(granted).toBeLessThanOrEqual(earned + 1e-6)
    }
  }, laws)
})
