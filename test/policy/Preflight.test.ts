import { describe, expect, it } from "@effect/vitest"
import type { Balance } from "../../src/policy/Ledger.ts"
import * as Preflight from "../../src/policy/Preflight.ts"
import * as Price from "../../src/policy/Price.ts"
import * as PriceTable from "../../src/together/PriceTable.ts"

const usd = (dollars: number) => BigInt(Math.round(dollars * 100)) * 10_000_000n

const balance = (dollars: number, rest: Partial<Balance> = {}): Balance => ({
  low: usd(dollars),
  expected: usd(dollars),
  high: usd(dollars),
  stated: usd(dollars),
  free: 0n,
  spentSince: 0n,
  ageSeconds: 600,
  certainty: "carried",
  unpricedSince: 0,
  ...rest
})

const calls = (count: number): Preflight.Work => ({
  _tag: "Calls",
  count,
  estimate: Price.range(usd(0.01), usd(0.05), usd(0.02))
})

describe("Preflight", () => {
  it("is enough when the lowest balance covers the highest price", () => {
    expect(Preflight.judge(calls(100), balance(5))).toEqual({
      _tag: "Enough",
      needed: Price.range(usd(1), usd(5), usd(2)),
      left: 0n,
      message: "The calls cost between $1.00 and $5.00; the balance is $5.00 (stated 10 min ago, carried): enough, " +
        "$0.00 at least is left."
    })
  })

  it("is tight when it probably suffices, and short when it does not; says what to buy", () => {
    expect(Preflight.judge(calls(100), balance(3))).toMatchObject({ _tag: "Tight", shortfall: usd(2), buy: usd(5) })
    const short = Preflight.judge(calls(1000), balance(3))
    expect(short).toMatchObject({ _tag: "Short", shortfall: usd(47), buy: usd(47) })
    expect(short.message).toMatch(/not enough\. Missing \$47\.00: buy \$47\.00 at https:\/\/api\.together\.ai/)
  })

  it("is tight at best where calls since the statement have no known cost", () => {
    const verdict = Preflight.judge(calls(100), balance(50, { unpricedSince: 2, certainty: "uncertain" }))
    expect(verdict).toMatchObject({ _tag: "Tight", shortfall: 0n, buy: 0n })
    expect(verdict.message).toBe(
      "The calls cost between $1.00 and $5.00; the balance is $50.00 (stated 10 min ago, uncertain): likely enough, not " +
        "certainly. Calls since then without a known cost: 2. Read the balance at " +
        "https://api.together.ai/settings/billing, state it anew."
    )
  })

  it("buys whole dollars, five at least", () => {
    expect(Preflight.purchaseFor(1n)).toBe(usd(5))
    expect(Preflight.purchaseFor(usd(7.01))).toBe(usd(8))
    expect(Preflight.purchaseFor(usd(8))).toBe(usd(8))
    expect(Preflight.purchaseFor(0n)).toBe(0n)
  })

  it("judges a fine-tune by the provider's estimate, and by its word", () => {
    const answer = { estimation_available: true, estimated_total_price: 4.25 }
    expect(Preflight.judge({ _tag: "FineTune", answer }, balance(5))).toMatchObject({ _tag: "Enough", left: usd(0.75) })
    const refused = Preflight.judge(
      { _tag: "FineTune", answer: { ...answer, allowed_to_proceed: false, user_limit: 3 } },
      balance(5)
    )
    expect(refused).toMatchObject({ _tag: "Blocked", reason: "provider" })
    expect(refused.message).toMatch(/\(credit limit \$3\)/)
    const silent = { ...answer, allowed_to_proceed: null, user_limit: null, unavailable_reason: null }
    expect(Preflight.judge({ _tag: "FineTune", answer: silent }, balance(5))._tag).toBe("Enough")
    expect(Preflight.judge({ _tag: "FineTune", answer: { allowed_to_proceed: false } }, undefined).message).toMatch(
      /says Together's price estimate\. Add credits/
    )
  })

  it("judges an evaluation by its calls and an endpoint by its minutes", () => {
    const evaluation: Preflight.Work = { _tag: "Evaluation", estimates: [Price.exactly(usd(1)), Price.exactly(usd(2))] }
    expect(Preflight.judge(evaluation, balance(4))).toMatchObject({ _tag: "Enough", left: usd(1) })
    const price = PriceTable.lookup(PriceTable.fromModels([{ id: "d", pricing: { hourly: 6 } }], "2026-10-01"))("d")
    const endpoint: Preflight.Work = { _tag: "Endpoint", price, model: "d", minutes: 120, replicas: 2 }
    expect(Preflight.judge(endpoint, balance(20))).toMatchObject({ _tag: "Short", shortfall: usd(4), buy: usd(5) })
  })

  it("cannot judge without a balance or without a price", () => {
    expect(Preflight.judge(calls(1), undefined)).toMatchObject({ _tag: "Unknown", missing: "balance" })
    const unpriced: Preflight.Work = {
      _tag: "Calls",
      count: 2,
      estimate: Price.unknown("no price is known for model m")
    }
    expect(Preflight.judge(unpriced, balance(5))).toEqual({
      _tag: "Unknown",
      missing: "price",
      message: "The calls cannot be judged: no price is known for model m."
    })
  })

  it("is blocked when all credits are free ones", () => {
    const verdict = Preflight.judge(calls(1), balance(5, { free: usd(5) }))
    expect(verdict).toMatchObject({ _tag: "Blocked", reason: "free-credits-only" })
    expect(verdict.message).toMatch(/all of it free credits, which do not open the platform: buy at least \$5/)
    expect(Preflight.judge(calls(100), balance(0, { free: 0n }))._tag).toBe("Short")
  })
})
