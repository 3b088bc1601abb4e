import { describe, expect, it } from "@effect/vitest"
import * as Remedy from "../../src/domain/Remedy.ts"

const five = 5_000_000_000n

describe("Remedy", () => {
  it("names every cause while the balance is unknown", () => {
    const text = Remedy.insufficientCredits()
    for (const part of [Remedy.billingPage, "minimum $5", "free credits", "past due"]) {
      expect(text).toContain(part)
    }
    // whoever does not wait is not told how the waiting ends
    expect(text).not.toContain("Credits.resume")
  })

  it("asks for a purchase where the balance is used up", () => {
    const text = Remedy.insufficientCredits({ balance: 0n })
    expect(text).toContain("to be used up ($0.00): add credits at")
    expect(text).not.toContain("past due")
  })

  it("asks for a purchase where all credits are free", () => {
    expect(Remedy.insufficientCredits({ balance: five, free: five })).toContain("all of it free credits")
  })

  it("names free credits and past-due invoices where money should be left", () => {
    const text = Remedy.insufficientCredits({ balance: five, free: 0n })
    expect(text).toContain("The ledger expects $5.00 to be left")
    expect(text).toContain("past due")
  })

  it("says what to do about a budget and about an unknown price", () => {
    expect(Remedy.budgetExceeded("day", false)).toContain("Raise the budget \"day\"")
    expect(Remedy.unknownPrice("no price is known for model m")).toMatch(
      /^no price is known for model m: nothing was sent/
    )
    // calls by path take it, and fineTunes.create does
    expect(Remedy.unknownPrice("what fineTunes.create costs is not known before")).toContain(
      "of any other call with its option cost"
    )
  })
})
