import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import * as Money from "../../src/domain/Money.ts"
import * as Price from "../../src/policy/Price.ts"
import type { Model } from "../../src/together/Models.ts"
import * as PriceTable from "../../src/together/PriceTable.ts"

const oss: Model = { id: "openai/gpt-oss-20b", pricing: { input: 0.07, output: 0.3, base: 0, finetune: 0, hourly: 0 } }

describe("PriceTable", () => {
  describe("fromModels", () => {
    it("reads dollars per million tokens, and dollars per hour", () => {
      const [price] = PriceTable.fromModels([
        { id: "m", pricing: { input: 0.14, output: 0.28, cached_input: 0.028, hourly: 6 } }
      ], "2026-10-01")
      expect(price).toEqual({
        model: "m",
        tokens: { input: Money.ratio(140n), output: Money.ratio(280n), cachedInput: Money.ratio(28n) },
        perMinute: Money.ratio(100_000_000n),
        source: "GET /models of 2026-10-01"
      })
    })

    it("takes zeros for no price, not for free", () => {
      const zeros = { input: 0, output: 0, base: 0, finetune: 0, hourly: 0 }
      expect(PriceTable.fromModels([{ id: "m", pricing: zeros }, { id: "n" }, { id: "o", pricing: null }], "")).toEqual(
        []
      )
      const lookup = PriceTable.lookup(PriceTable.shipped, PriceTable.fromModels([{ ...oss, pricing: zeros }], ""))
      expect(lookup(oss.id)?.tokens?.input).toEqual(Money.ratio(50n))
    })

    it("takes no output for free but of a model that has none, and one with hours only", () => {
      const prices = PriceTable.fromModels([
        { id: "embedding", type: "embedding", pricing: { input: 0.02, output: 0 } },
        { id: "ranker", type: "rerank", pricing: { input: 0.03 } },
        { id: "chat", type: "chat", pricing: { input: 0.02, output: 0 } },
        { id: "writer", pricing: { output: 1 } },
        { id: "dedicated", pricing: { hourly: 3 } },
        { id: "broken", pricing: { input: -1, output: 2 } }
      ], "")
      expect(prices.map((price) => [price.model, price.tokens?.input.numerator, price.perMinute?.numerator])).toEqual([
        ["embedding", 20n, undefined],
        ["ranker", 30n, undefined],
        ["dedicated", undefined, 50_000_000n]
      ])
      expect(prices[0]?.tokens?.output).toEqual(Money.ratio(0n))
    })

    it("keeps the earlier price of a side that is zero or left out", () => {
      const shipped = PriceTable.shippedLookup(oss.id)?.tokens
      const read = (pricing: Model["pricing"]) =>
        PriceTable.fromModels([{ ...oss, type: "chat", pricing }], "")[0]?.tokens
      expect(read({ input: 0.07, output: 0 })).toEqual({ input: Money.ratio(70n), output: shipped?.output })
      expect(read({ output: 0.3 })).toEqual({ input: shipped?.input, output: Money.ratio(300n) })
      const stated = Price.stated({ model: "m", inputUsdPerMillion: 1, outputUsdPerMillion: 2 })
      const [other] = PriceTable.fromModels([{ id: "m", pricing: { input: 3, output: 0 } }], "", () => stated)
      expect(other?.tokens).toEqual({ input: Money.ratio(3000n), output: Money.ratio(2000n) })
    })

    it("reads the context, which a stated price keeps", () => {
      const live = PriceTable.fromModels([{ ...oss, context_length: 131_072 }], "")
      const stated = Price.stated({ model: oss.id, inputUsdPerMillion: 1, outputUsdPerMillion: 2 })
      expect(PriceTable.lookup(PriceTable.shipped, live, [stated])(oss.id)?.contextTokens).toBe(131_072)
    })
  })

  describe("lookup", () => {
    const dear = "moonshotai/Kimi-K3"
    const cachedOf = (...lists: ReadonlyArray<ReadonlyArray<Price.ModelPrice>>) =>
      PriceTable.lookup(PriceTable.shipped, ...lists)(dear)?.tokens?.cachedInput

    it("keeps the shipped price of cached tokens where the live list names none", () => {
      const live = (input: number, cached_input?: number) =>
        PriceTable.fromModels([{ id: dear, pricing: { input, output: 15, cached_input } }], "")
      expect(cachedOf(live(4))).toEqual(Money.ratio(300n))
      expect(cachedOf(live(4, 0.4))).toEqual(Money.ratio(400n))
      expect(cachedOf(live(0.2))).toBeUndefined()
    })

    it("takes it away where a stated price names none", () => {
      expect(cachedOf([Price.stated({ model: dear, inputUsdPerMillion: 4, outputUsdPerMillion: 15 })])).toBeUndefined()
    })
  })

  it("ships prices that are positive, unique and dated", () => {
    expect(PriceTable.shippedAsOf).toMatch(/^\d{4}-\d{2}$/)
    expect(new Set(PriceTable.shipped.map((price) => price.model)).size).toBe(PriceTable.shipped.length)
    for (const price of PriceTable.shipped) {
      expect(price.source).toContain(PriceTable.shippedAsOf)
      const rates = [
        price.tokens?.input,
        price.tokens?.output,
        price.image?.perMegapixel,
        price.perAudioMinute,
        price.perCharacter
      ].filter((rate) => rate !== undefined)
      expect(rates.length).toBeGreaterThan(0)
      for (const rate of rates) expect(rate.numerator > 0n).toBe(true)
      if (price.tokens?.cachedInput) expect(Money.compare(price.tokens.cachedInput, price.tokens.input)).toBe(-1)
    }
    expect(PriceTable.shippedLookup("nobody/nothing")).toBeUndefined()
  })

  describe("make", () => {
    it.effect("asks once per time to live, however many ask", () =>
      Effect.gen(function*() {
        let asked = 0
        const { lookup, refresh } = yield* PriceTable.make({
          models: Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => (asked++, [oss])))
        })
        const both = yield* Effect.forkChild(Effect.all([refresh, refresh], { concurrency: 2 }), {
          startImmediately: true
        })
        expect(lookup(oss.id)?.source).toContain("shipped")
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(both)
        expect(lookup(oss.id)).toMatchObject({
          source: "GET /models of 1970-01-01",
          tokens: { input: { numerator: 70n } }
        })
        expect(asked).toBe(1)
        yield* TestClock.adjust("7 hours")
        yield* Effect.forkChild(refresh, { startImmediately: true })
        yield* TestClock.adjust("1 second")
        expect(asked).toBe(2)
      }))

    it.effect("does not remember that an asker was interrupted", () =>
      Effect.gen(function*() {
        const { lookup, refresh } = yield* PriceTable.make({ models: Effect.as(Effect.sleep("1 second"), [oss]) })
        const first = yield* Effect.forkChild(refresh, { startImmediately: true })
        const meanwhile = yield* Effect.forkChild(refresh, { startImmediately: true })
        yield* Fiber.interrupt(first)
        const second = yield* Effect.forkChild(refresh, { startImmediately: true })
        yield* TestClock.adjust("1 second")
        for (const asker of [meanwhile, second]) yield* Fiber.join(asker)
        expect(lookup(oss.id)?.tokens?.input).toEqual(Money.ratio(70n))
      }))

    it.effect("falls back to the shipped table, then to the last answer, and asks again soon", () =>
      Effect.gen(function*() {
        let answers: "fail" | "ok" = "fail"
        let asked = 0
        const { lookup, refresh } = yield* PriceTable.make({
          models: Effect.suspend(() => {
            asked++
            return answers === "ok" ? Effect.succeed([oss]) : Effect.fail("down" as const)
          }),
          stated: [{ model: "mine", source: "stated by the user", perMinute: Money.ratio(1n) }]
        })
        yield* refresh
        expect(lookup(oss.id)?.tokens?.input).toEqual(Money.ratio(50n))
        expect(lookup("mine")).toBeDefined()
        yield* refresh
        expect(asked).toBe(1)
        answers = "ok"
        yield* TestClock.adjust("61 seconds")
        yield* refresh
        expect(lookup(oss.id)?.tokens?.input).toEqual(Money.ratio(70n))
        answers = "fail"
        yield* TestClock.adjust("7 hours")
        yield* refresh
        expect(lookup(oss.id)?.tokens?.input).toEqual(Money.ratio(70n))
        expect(lookup("mine")).toBeDefined()
        expect(asked).toBe(3)
      }))

    it.effect.each<[string, Partial<PriceTable.Options<never, never>>]>([
      ["timeToLive must be at least 0, got -5 ms", { timeToLive: -5 }],
      ["retryAfter must be a duration, got NaN", { retryAfter: NaN }]
    ])("refuses a time that is none: %s", ([message, times]) =>
      Effect.gen(function*() {
        const made = yield* Effect.exit(PriceTable.make({ models: Effect.succeed([]), ...times }))
        expect(made).toEqual(Exit.die(new RangeError(`PriceTable.make: ${message}`)))
      }))

    it.effect("shares nothing between two runs of one effect", () =>
      Effect.gen(function*() {
        const make = PriceTable.make({ models: Effect.succeed([oss]) })
        const [one, other] = [yield* make, yield* make]
        yield* one.refresh
        expect([one, other].map(({ lookup }) => lookup(oss.id)?.tokens?.input)).toEqual([
          Money.ratio(70n),
          Money.ratio(50n)
        ])
      }))
  })
})
