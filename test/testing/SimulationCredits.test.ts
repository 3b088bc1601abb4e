import { describe, expect, it } from "@effect/vitest"
import * as Simulation from "../../src/testing/Simulation.ts"
import { call, error, model, one, plain, run, statuses } from "./simulation.ts"

describe("Simulation: credits", () => {
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

    it("buy a small amount as often as it takes, at once", () => {
      const autoRecharge = { mode: "amount", thresholdUsd: 1e6, amountUsd: 1e-6 } as const
      const { state } = run(Simulation.make(rich({ autoRecharge })), [call(0)])
      expect(usd(state, 2)).toBe(1e6)
      expect(Simulation.advance(state, 2).accounts["default"]?.recharges).toBe(999_999_000_000)
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
      expect(Simulation.advance(state, 3).accounts["default"]).toMatchObject({
        recharges: 1,
        orderedNanoUsd: 8_000_000_000n
      })
      expect(usd(state, 10)).toBe(8)
    })

    it("recharge at once where the threshold is above the balance: one purchase, or many of one amount", () => {
      const target = Simulation.make(rich({ autoRecharge: { mode: "target", thresholdUsd: 90, targetUsd: 100 } }))
      expect(target.accounts["default"]).toMatchObject({ recharges: 1, balanceNanoUsd: 100_000_000_000n })
      const amount = Simulation.make(rich({ autoRecharge: { mode: "amount", thresholdUsd: 90 } }))
      expect(amount.accounts["default"]).toMatchObject({ recharges: 4, balanceNanoUsd: 102_000_000_000n })
      expect(() => Simulation.make(rich({ autoRecharge: { mode: "target", thresholdUsd: 9, targetUsd: 9 } }))).toThrow(
        "targetUsd"
      )
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

    it("are judged by a new floor at once", () => {
      const cut = run(Simulation.make(rich({ balanceUsd: 0, accessLagSeconds: 3 })), [call(0)]).state
      const lowered = Simulation.configure(cut, rich({ balanceUsd: 0, floorUsd: -10, accessLagSeconds: 3 }), 1)
      expect(statuses(run(lowered, [call(3.9), call(4)]).replies)).toEqual([402, 200])
      const raised = Simulation.configure(Simulation.make(rich({ balanceUsd: 5 })), rich({ floorUsd: 10 }), 1)
      expect(statuses(run(raised, [call(2)]).replies)).toEqual([402])
      expect(usd(raised, 2)).toBe(5)
    })

    it("can be set and spent by a test", () => {
      const state = Simulation.setBalance(Simulation.make(rich({})), "default", 7n, 0)
      expect(Simulation.balance(Simulation.spend(state, { org: "default", tag: "job", nanoUsd: 3n }, 1))?.nanoUsd).toBe(
        4n
      )
      expect(Simulation.topUp(Simulation.make(plain), "default", 1n, 0).accounts).toEqual({})
      expect(Simulation.setBalance(Simulation.make(plain), "default", 1n, 0).accounts).toEqual({})
    })
  })
})
