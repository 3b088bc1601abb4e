import { describe, expect, it } from "@effect/vitest"
import * as Enumeration from "../../src/domain/Enumeration.ts"

describe("Enumeration", () => {
  it("counts one thing, none and several", () => {
    expect([0, 1, 2].map((count) => Enumeration.counted(count, "row"))).toEqual(["0 rows", "1 row", "2 rows"])
  })

  it("keeps the first texts, and counts the others only where there are any", () => {
    const first = (count: number) => Enumeration.first(["a", "b", "c"].slice(0, count), 2, (others) => `${others} more`)
    expect([first(0), first(2), first(3)]).toEqual([[], ["a", "b"], ["a", "b", "1 more"]])
  })
})
