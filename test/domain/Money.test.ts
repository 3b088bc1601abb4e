import { describe, expect, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Money from "../../src/domain/Money.ts"

const Amount = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: -(10n ** 24n), maximum: 10n ** 24n }))
const Positive = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 1n, maximum: 10n ** 15n }))
const Fraction = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: -(10n ** 15n), maximum: 10n ** 15n }))

describe("Money", () => {
  describe("parse", () => {
    it.each([
      ["$25", 25_000_000_000n],
      ["25.00", 25_000_000_000n],
      [" $1,000.50 ", 1_000_500_000_000n],
      ["0.0375 USD", 37_500_000n],
      ["-$3.10", -3_100_000_000n],
      ["0.000000001", 1n],
      ["0.1000000000000", 100_000_000n]
    ])("reads %s", (text, nano) => {
      expect(Money.parse(text)).toBe(nano)
    })

    it.each(["", "$", "1e3", "1.2.3", "12,34", "$1.0000000001", "NaN", "ten"])("refuses %j", (text) => {
      expect(Money.parse(text)).toBeUndefined()
    })

    it.prop("reads back every amount that toUsd writes", [Amount], ([amount]) => {
      expect(Money.parse(Money.toUsd(amount))).toBe(amount)
      expect(Schema.decodeSync(Money.UsdFromString)(Money.toUsd(amount))).toBe(amount)
      expect(Schema.decodeSync(Money.NanoUsdFromString)(String(amount))).toBe(amount)
    })
  })

  describe("from", () => {
    it("takes nano-dollars as they are, and dollars as text", () => {
      expect(Money.from(7n)).toBe(7n)
      expect(Money.from("$7")).toBe(7_000_000_000n)
      expect(() => Money.from("seven")).toThrow(
        "Money.from: amount must be nano-dollars (bigint) or dollars like \"$25\", got seven"
      )
      expect(() => Money.from(7 as unknown as string)).toThrow("dollars like \"$25\", got 7")
      expect(() => Schema.decodeSync(Money.UsdFromString)("seven")).toThrow("Expected an amount in dollars, like $2.50")
    })
  })

  describe("usd", () => {
    it("takes a number by its shortest decimal", () => {
      expect(Money.usd(0.1 + 0.2)).toBe(300_000_000n)
      expect(Money.usd(1e-9)).toBe(1n)
      expect(Money.usd(-2.5)).toBe(-2_500_000_000n)
      expect(() => Money.usd(Number.NaN)).toThrow("Money.ratioFrom: value must be a finite decimal, got NaN")
    })
  })

  describe("format", () => {
    it.each([
      [0n, "$0.00"],
      [1n, "$0.000000001"],
      [50n, "$0.00000005"],
      [4_256_000n, "$0.0043"],
      [10_000_000n, "$0.01"],
      [999_999_999n, "$1.00"],
      [1_999_999_999n, "$2.00"],
      [25_000_000_000n, "$25.00"],
      [1_234_500_000_000n, "$1,234.50"],
      [1_234_567_000_000_000n, "$1,234,567.00"],
      [-3_100_000_000n, "-$3.10"]
    ])("writes %s as %s", (amount, text) => {
      expect(Money.format(amount)).toBe(text)
    })

    it.prop("never writes money as nothing, and stays within half a cent or 5 %", [Amount], ([amount]) => {
      const back = Money.parse(Money.format(amount))!
      if (amount !== 0n) expect(back).not.toBe(0n)
      const error = back > amount ? back - amount : amount - back
      const size = amount < 0n ? -amount : amount
      expect(error * 20n <= size || error <= 5_000_000n).toBe(true)
    })
  })

  describe("ratio", () => {
    it("is in lowest terms", () => {
      expect(Money.ratio(6n, 4n)).toEqual({ numerator: 3n, denominator: 2n })
      expect(Money.ratio(0n, 9n)).toEqual({ numerator: 0n, denominator: 1n })
      expect(() => Money.ratio(1n, 0n)).toThrow("Money.ratio: denominator must be > 0, got 0")
    })

    it("reads decimals exactly", () => {
      expect(Money.ratioFrom(0.1)).toEqual(Money.ratio(1n, 10n))
      expect(Money.ratioFrom("1e3")).toEqual(Money.ratio(1000n))
      expect(Money.ratioFrom(1.5e-7)).toEqual(Money.ratio(15n, 100_000_000n))
      expect(Money.ratioFrom("-2.")).toEqual(Money.ratio(-2n))
      expect(Money.ratioFrom(12n)).toEqual(Money.ratio(12n))
      expect(() => Money.ratioFrom("1/3")).toThrow("Money.ratioFrom: value must be a finite decimal, got 1/3")
    })

    it("prices a token of a price per million", () => {
      expect(Money.perMillion("0.0375")).toEqual(Money.ratio(75n, 2n))
      expect(Money.perMillion(0.05)).toEqual(Money.ratio(50n))
      expect(() => Money.perMillion(-1)).toThrow("Money.perUnits: usd must be >= 0, got -1")
    })

    it.prop(
      "rounds up, down and to the nearest around the exact value",
      [Fraction, Positive],
      ([numerator, denominator]) => {
        const value = Money.ratio(numerator, denominator)
        const [down, up, nearest] = [
          Money.round(value, "down"),
          Money.round(value, "up"),
          Money.round(value, "nearest")
        ]
        expect(down * denominator <= numerator && numerator <= up * denominator).toBe(true)
        expect(up - down <= 1n).toBe(true)
        const distance = nearest * denominator - numerator
        expect((distance < 0n ? -distance : distance) * 2n <= denominator).toBe(true)
      }
    )

    it.prop(
      "keeps sums exact in any order: no drift",
      [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 })))],
      ([counts]) => {
        const price = Money.perMillion("0.0375")
        const each = counts.map((count) => Money.times(price, BigInt(count)))
        const forwards = each.reduce(Money.add, Money.ratio(0n))
        const backwards = each.toReversed().reduce(Money.add, Money.ratio(0n))
        const total = counts.reduce((sum, count) => sum + BigInt(count), 0n)
        expect(forwards).toEqual(backwards)
        expect(forwards).toEqual(Money.times(price, total))
      }
    )

    it("orders and multiplies", () => {
      const [half, third] = [Money.ratio(1n, 2n), Money.ratio(1n, 3n)]
      expect([Money.compare(third, half), Money.compare(half, half), Money.compare(half, third)]).toEqual([-1, 0, 1])
      expect(Money.multiply(half, third)).toEqual(Money.ratio(1n, 6n))
    })
  })

  it("compares and divides amounts", () => {
    expect([Money.max(1n, 2n), Money.max(2n, 1n), Money.min(1n, 2n), Money.min(2n, 1n)]).toEqual([2n, 2n, 1n, 1n])
    expect([Money.divideUp(10n, 3n), Money.divideUp(9n, 3n), Money.divideUp(0n, 3n), Money.divideUp(-5n, 3n)]).toEqual([
      4n,
      3n,
      0n,
      0n
    ])
    expect(Money.toNumber(1_500_000_000n)).toBe(1.5)
  })
})
