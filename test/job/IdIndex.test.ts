import { describe, expect, it } from "@effect/vitest"
import * as IdIndex from "../../src/job/journal/IdIndex.ts"
import { law } from "../policy/law.ts"

describe("IdIndex", () => {
  it("keeps every id through its growth, in 19 to 25 bytes each", () => {
    const index = IdIndex.make()
    const count = 50_000
    for (let i = 1; i <= count; i++) index.set(`row-${i}`, i)
    expect(index.size()).toBe(count)
    for (let i = 1; i <= count; i++) law(index.get(`row-${i}`)).toBe(i)
    expect(index.get("row-0")).toBe(0)
    expect(index.bytes() / count).toBeGreaterThan(18.5)
    expect(index.bytes() / count).toBeLessThan(25)
  })

  it("replaces a value without counting the id twice", () => {
    const index = IdIndex.make(2)
    index.set("a", 1, 7)
    index.set("a", 2, 8)
    expect([index.size(), index.get("a"), index.second("a")]).toEqual([1, 2, 8])
  })

  it("frees outgrown tables at once", () => {
    const before = process.memoryUsage().arrayBuffers
    const index = IdIndex.make()
    for (let i = 1; i <= 200_000; i++) index.set(`id-${i}`, i)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(index.bytes() * 1.2)
  })

  it("refuses a value that would read as absent", () => {
    expect(() => IdIndex.make().set("a", 0)).toThrow("IdIndex.set: value must be an integer in [1, 4294967295], got 0")
  })
})
