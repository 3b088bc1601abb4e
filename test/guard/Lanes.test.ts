import { describe, expect, it } from "@effect/vitest"
import * as Lanes from "../../src/guard/lane/Lanes.ts"

describe("Lanes", () => {
  describe("key", () => {
    it("builds a key from what shares the limit", () => {
      expect(Lanes.key({ model: "m" })).toBe("default/m")
      expect(Lanes.key({ account: "acme", model: "org/m", pool: "dedicated" })).toBe("acme/org/m#dedicated")
      expect(Lanes.key({})).toBe("default/-")
      expect(Lanes.key({ model: "" })).toBe("default/-")
    })

    it("makes another key of other parts, whatever signs are in them", () => {
      const signs = ["a", "/", "#", "%", "-", "23", "2F"]
      const pairs = new Set<string | undefined>(signs.flatMap((one) => signs.map((other) => one + other)))
      const words = [...signs, ...pairs]
      const seen = new Map<string, string>()
      for (const account of ["", ...words]) {
        for (const model of [undefined, ...words]) {
          // two parts at most of more signs than one: what is mixed up is so between two
          const third = pairs.has(account) && pairs.has(model) ? signs : words
          for (const pool of [undefined, "", ...third]) {
            const parts = JSON.stringify([account, model ?? null, pool ?? null])
            const key = Lanes.key({ account, model, pool })
            // names the two whose key is the same
            if (seen.has(key)) expect([key, parts]).toEqual([key, seen.get(key)])
            seen.set(key, parts)
          }
        }
      }
      expect(Lanes.key({ account: "a/b", model: "c#d" })).toBe("a%2Fb/c%23d")
    })
  })
})
