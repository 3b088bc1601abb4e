import { describe, expect, it } from "@effect/vitest"
import * as LedgerCompactor from "../../src/guard/ledger/LedgerCompactor.ts"
import type * as Ledger from "../../src/policy/Ledger.ts"

const stated = (account: string): Ledger.Stated => ({ _tag: "Stated", at: 0, account, balance: 1n, free: 0n })

/** Makes a compactor that was told of so many statements, by account. */
const told = (compactAbove: number, counts: Record<string, number>) => {
  const compactor = LedgerCompactor.make(compactAbove)
  for (const [account, count] of Object.entries(counts)) for (let n = 0; n < count; n++) compactor.add(stated(account))
  return compactor
}

describe("LedgerCompactor", () => {
  describe("due", () => {
    it("is nothing up to the bound, and few entries above it", () => {
      expect(told(4, { k: 4 }).due()).toBeUndefined()
      expect(told(4, { k: 5 }).due()).toEqual([stated("k")])
      expect(told(Infinity, { k: 5 }).due()).toBeUndefined()
    })

    it("is nothing where the entries do not halve the file", () => {
      expect(told(2, { k: 1, l: 1, m: 1 }).due()).toBeUndefined()
      expect(told(2, { k: 2, l: 2 }).due()).toHaveLength(2)
    })

    it("comes again once the file has doubled, or has grown long after it was shortened", () => {
      const compactor = told(4, { k: 5 })
      compactor.due()
      for (let n = 0; n < 5; n++) compactor.add(stated("k"))
      expect(compactor.due()).toBeUndefined()
      compactor.add(stated("k"))
      expect(compactor.due()).toEqual([stated("k")])
      compactor.shortened(1)
      for (let n = 0; n < 3; n++) compactor.add(stated("k"))
      expect(compactor.due()).toBeUndefined()
      compactor.add(stated("k"))
      expect(compactor.due()).toEqual([stated("k")])
    })
  })
})
