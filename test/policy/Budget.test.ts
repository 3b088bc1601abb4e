import { describe, expect, it } from "@effect/vitest"
import * as Budget from "../../src/policy/Budget.ts"

const facts = { run: "r1", account: "k1", label: "evals", day: 20_000 }

describe("Budget", () => {
  describe("make", () => {
    it("takes dollars or nano-dollars, and the default thresholds", () => {
      expect(Budget.make({ name: "b", limit: "$2" })).toEqual({
        name: "b",
        limit: 2_000_000_000n,
        per: [],
        account: undefined,
        label: undefined,
        warnAt: [0.5, 0.8, 0.95]
      })
      expect(Budget.make({ name: "b", limit: 5n, per: ["day", "day"], warnAt: [1, 0.1] })).toMatchObject({
        limit: 5n,
        per: ["day"],
        warnAt: [0.1, 1]
      })
    })

    it("refuses what is no budget", () => {
      expect(() => Budget.make({ name: "b", limit: "$0" })).toThrow("Budget.make: limit must be > $0, got $0.00")
      expect(() => Budget.make({ name: "", limit: "$1" })).toThrow("Budget.make: name must be a non-empty text")
      expect(() => Budget.make({ name: "b", limit: "$1", warnAt: [1.5] })).toThrow(
        "Budget.make: warnAt must be in (0, 1], got 1.5"
      )
      const per: ReadonlyArray<Budget.Dimension> = ["day", "key" as "day"]
      expect(() => Budget.make({ name: "b", limit: "$1", per })).toThrow(
        "Budget.make: per must be one of run, day, account, label, got key"
      )
    })
  })

  describe("counterOf", () => {
    it("counts apart by each dimension", () => {
      expect(Budget.counterOf(Budget.make({ name: "all", limit: "$1" }), facts)).toBe("all")
      expect(Budget.counterOf(Budget.perRun("$1"), facts)).toBe("run\u0000run=r1")
      expect(Budget.counterOf(Budget.perDay("$1"), facts)).toBe("day\u0000day=20000")
      expect(Budget.counterOf(Budget.perAccount("$1"), facts)).toBe("account\u0000account=k1")
      expect(Budget.counterOf(Budget.perLabel("$1"), facts)).toBe("label\u0000label=evals")
      const both = Budget.make({ name: "both", limit: "$1", per: ["account", "day"] })
      expect(Budget.counterOf(both, facts)).toBe("both\u0000account=k1\u0000day=20000")
    })

    it("applies to the named account or label only", () => {
      expect(Budget.counterOf(Budget.perAccount("$1", "k1"), facts)).toBe("account k1\u0000account=k1")
      expect(Budget.counterOf(Budget.perAccount("$1", "k2"), facts)).toBeUndefined()
      expect(Budget.counterOf(Budget.perLabel("$1", "evals"), facts)).toBe("label evals\u0000label=evals")
      expect(Budget.counterOf(Budget.perLabel("$1", "chat"), facts)).toBeUndefined()
    })
  })

  describe("dimensionsOf", () => {
    const both = Budget.make({ name: "both", limit: "$1", per: ["account", "day"] })
    const all = Budget.make({ name: "all", limit: "$1" })

    it("reads the values back from a counter", () => {
      expect(Budget.dimensionsOf(both, Budget.counterOf(both, facts) ?? "")).toEqual({ account: "k1", day: "20000" })
      expect(Budget.dimensionsOf(all, "all")).toEqual({})
    })

    it("reads nothing from the counter of another budget", () => {
      for (const counter of ["other", "both", "both\u0000account=k1", "both\u0000day=20000\u0000account=k1"]) {
        expect(Budget.dimensionsOf(both, counter)).toBeUndefined()
      }
      expect(Budget.dimensionsOf(all, "all of them")).toBeUndefined()
    })
  })

  describe("dayOf", () => {
    it("turns at midnight, shifted by the offset", () => {
      const midnight = 20_000 * 86_400
      expect([Budget.dayOf(midnight - 1, 0), Budget.dayOf(midnight, 0)]).toEqual([19_999, 20_000])
      expect([Budget.dayOf(midnight - 3601, 3600), Budget.dayOf(midnight - 3600, 3600)]).toEqual([19_999, 20_000])
    })
  })
})
