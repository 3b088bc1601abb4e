import { describe, expect, it } from "@effect/vitest"
import * as AutoRecharge from "../../src/policy/AutoRecharge.ts"
import * as Forecast from "../../src/policy/Forecast.ts"

const usd = (dollars: number) => BigInt(Math.round(dollars * 100)) * 10_000_000n

describe("Forecast", () => {
  describe("rate", () => {
    it("reads a steady rate right from the first minute on", () => {
      let rate = Forecast.startRate(0)
      for (let second = 1; second <= 3600; second++) {
        rate = Forecast.spend(rate, 1000n, second)
        if (second >= 60) expect(Math.abs(Forecast.perSecond(rate, second) - 1000)).toBeLessThan(10)
      }
    })

    it("forgets", () => {
      const rate = Forecast.spend(Forecast.startRate(0, 60), 6_000_000n, 60)
      expect(Forecast.perSecond(rate, 660)).toBeLessThan(10)
    })

    it("says nothing in the first second, and survives a clock that goes back", () => {
      const rate = Forecast.spend(Forecast.startRate(100), 5n, 50)
      expect(rate.at).toBe(100)
      expect(Forecast.perSecond(rate, 100.5)).toBe(0)
      expect(Forecast.perSecond(Forecast.spend(rate, 0n, 200), 10)).toBeGreaterThan(0)
      expect(() => Forecast.startRate(0, 0)).toThrow(
        "Forecast.startRate: tauSeconds must be a finite number > 0, got 0"
      )
      expect(() => Forecast.startRate(0, Infinity)).toThrow(
        "Forecast.startRate: tauSeconds must be a finite number > 0"
      )
      expect(() => Forecast.startRate(NaN)).toThrow("Forecast.startRate: now must be")
      for (const wrong of [NaN, Infinity]) {
        expect(Forecast.spend(Forecast.startRate(100), 5n, wrong)).toMatchObject({ at: 100, weighted: 5 })
      }
    })
  })

  describe("make", () => {
    const perHour = (dollars: number) => dollars * 1e9 / 3600

    it("says how long the balance lasts", () => {
      const forecast = Forecast.make({ balance: usd(19), nanoUsdPerSecond: perHour(6) })
      expect(forecast.lastsSeconds).toBeCloseTo(11_400)
      expect(forecast.message).toBe("at this rate the balance of $19.00 lasts 3 h 10 min")
      expect(forecast.purchases).toEqual([])
    })

    it("says what auto-recharge will buy, in increments", () => {
      const forecast = Forecast.make({
        balance: usd(19),
        nanoUsdPerSecond: perHour(6),
        autoRecharge: AutoRecharge.inIncrements({ threshold: "$10" }),
        horizonSeconds: 6 * 3600
      })
      expect(forecast).toMatchObject({ purchaseCount: 2, purchaseSum: usd(50) })
      expect(forecast.purchases[0]?.inSeconds).toBeCloseTo(5400, 0)
      expect(forecast.message).toBe(
        "at this rate the balance of $19.00 lasts 3 h 10 min; auto-recharge will buy 2 × $25.00 within 6 h, the first " +
          "in 1 h 30 min"
      )
    })

    it("says what it will buy at once for a threshold above the balance", () => {
      const autoRecharge = AutoRecharge.inIncrements({ threshold: "$100", amount: "$25" })
      const forecast = Forecast.make({ balance: usd(3), nanoUsdPerSecond: 0, autoRecharge })
      expect(forecast.purchases).toEqual([{ inSeconds: 0, count: 4, each: usd(25) }])
      expect(forecast.message).toBe(
        "nothing is spent at present: the balance of $3.00 lasts; auto-recharge will buy 4 × $25.00 within 24 h, the " +
          "first at once"
      )
    })

    it("adds up unequal purchases", () => {
      const forecast = Forecast.make({
        balance: usd(5),
        nanoUsdPerSecond: perHour(10),
        autoRecharge: AutoRecharge.toTarget({ threshold: "$10", target: "$50" })
      })
      expect(forecast.purchases[0]).toEqual({ inSeconds: 0, count: 1, each: usd(45) })
      expect(forecast.purchaseCount).toBe(6)
      expect(forecast.message).toMatch(
        /auto-recharge will buy 6 times, together \$245\.00 within 24 h, the first at once$/
      )
    })

    it("says when nothing will be bought, and when nothing is left", () => {
      const autoRecharge = AutoRecharge.toTarget({ threshold: "$10", target: "$50" })
      expect(Forecast.make({ balance: usd(20), nanoUsdPerSecond: 1, autoRecharge }).message).toMatch(
        /; auto-recharge will buy nothing within 24 h$/
      )
      const over = Forecast.make({ balance: 0n, nanoUsdPerSecond: 1 })
      expect(over).toMatchObject({ lastsSeconds: 0, message: "the balance is used up ($0.00)" })
    })

    it("stops after a thousand purchases", () => {
      const autoRecharge = AutoRecharge.inIncrements({ threshold: 10n, amount: 1n })
      const forecast = Forecast.make({ balance: 20n, nanoUsdPerSecond: 1e6, autoRecharge })
      expect(forecast.purchases).toHaveLength(1000)
      expect(forecast.message).toContain("auto-recharge will buy at least 1")
    })

    it.each([
      [59, "59 s"],
      [60, "1 min"],
      [3599, "59 min"],
      [7200, "2 h"],
      [48 * 3600, "2 days"],
      [3652 * 86_400, "3652 days"],
      [1e21, "more than 10 years"]
    ])("writes %s seconds as %s", (seconds, text) => {
      expect(Forecast.make({ balance: BigInt(seconds), nanoUsdPerSecond: 1 }).message).toMatch(new RegExp(`${text}$`))
    })

    it("refuses what is no rate and no horizon", () => {
      expect(() => Forecast.make({ balance: 1n, nanoUsdPerSecond: -1 })).toThrow(
        "nanoUsdPerSecond must be in [0, Infinity], got -1"
      )
      expect(() => Forecast.make({ balance: 1n, nanoUsdPerSecond: 1, horizonSeconds: 0 })).toThrow(
        "Forecast.make: horizonSeconds must be in (0, Infinity], got 0"
      )
    })
  })
})
