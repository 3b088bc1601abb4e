import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as AutoRecharge from "../../src/policy/AutoRecharge.ts"

const usd = (dollars: number) => BigInt(Math.round(dollars * 100)) * 10_000_000n

describe("AutoRecharge", () => {
  describe("plan", () => {
    const increments = AutoRecharge.inIncrements({ threshold: "$10" })
    const target = AutoRecharge.toTarget({ threshold: "$10", target: "$50" })

    it("buys nothing at the threshold or above", () => {
      for (const settings of [increments, target]) {
        expect(AutoRecharge.plan(settings, usd(10))).toEqual({ count: 0, each: 0n, sum: 0n, balanceAfter: usd(10) })
      }
    })

    it("buys one increment below the threshold, $25 by default", () => {
      expect(AutoRecharge.plan(increments, usd(9.99))).toEqual({
        count: 1,
        each: usd(25),
        sum: usd(25),
        balanceAfter: usd(34.99)
      })
    })

    it("buys several at once for a threshold set far above the balance", () => {
      const high = AutoRecharge.inIncrements({ threshold: "$100", amount: "$25" })
      expect(AutoRecharge.plan(high, usd(3))).toEqual({
        count: 4,
        each: usd(25),
        sum: usd(100),
        balanceAfter: usd(103)
      })
      expect(AutoRecharge.plan(high, usd(0)).count).toBe(4)
      expect(AutoRecharge.plan(high, usd(-1)).count).toBe(5)
    })

    it("buys once up to the target, debt included", () => {
      expect(AutoRecharge.plan(target, usd(9.5))).toEqual({
        count: 1,
        each: usd(40.5),
        sum: usd(40.5),
        balanceAfter: usd(50)
      })
      expect(AutoRecharge.plan(target, usd(-2)).sum).toBe(usd(52))
    })

    const Cents = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100_000 }))
    const Balance = Schema.Int.check(Schema.isBetween({ minimum: -100_000, maximum: 200_000 }))
    it.prop(
      "meets the threshold with as few purchases as possible, and then buys no more",
      [Cents, Cents, Balance],
      ([threshold, more, balance]) => {
        const options = { threshold: BigInt(threshold), amount: BigInt(more) }
        const [each, once] = [
          AutoRecharge.inIncrements(options),
          AutoRecharge.toTarget({ threshold: options.threshold, target: options.threshold + options.amount })
        ]
        for (const settings of [each, once]) {
          const plan = AutoRecharge.plan(settings, BigInt(balance))
          expect(plan.sum).toBe(BigInt(plan.count) * plan.each)
          expect(plan.balanceAfter).toBe(BigInt(balance) + plan.sum)
          expect(plan.balanceAfter >= options.threshold).toBe(true)
          expect(AutoRecharge.plan(settings, plan.balanceAfter).count).toBe(0)
          if (plan.count > 0) expect(plan.balanceAfter - plan.each < options.threshold).toBe(true)
        }
      }
    )
  })

  it("refuses settings that are none", () => {
    expect(() => AutoRecharge.toTarget({ threshold: "$0", target: "$5" })).toThrow(
      "AutoRecharge.toTarget: threshold must be > $0, got $0.00"
    )
    expect(() => AutoRecharge.toTarget({ threshold: "$5", target: "$5" })).toThrow(
      "AutoRecharge.toTarget: target must be > threshold $5.00, got $5.00"
    )
    expect(() => AutoRecharge.inIncrements({ threshold: "$5", amount: "$0" })).toThrow(
      "AutoRecharge.inIncrements: amount must be > $0, got $0.00"
    )
  })
})
