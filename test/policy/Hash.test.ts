import { describe, expect, it } from "@effect/vitest"
import * as Hash from "../../src/policy/Hash.ts"

describe("Hash", () => {
  it("gives the same value on every machine", () => {
    expect(Hash.hex32(Hash.text32("prompts.jsonl"))).toBe("0865f4f8")
    expect(Hash.text32("xxab", 2)).toBe(Hash.text32("ab"))
  })

  it("spreads consecutive ids over all words", () => {
    const words = new Uint32Array(3)
    const seen = [new Set<number>(), new Set<number>(), new Set<number>()]
    const count = 100_000
    for (let i = 0; i < count; i++) {
      Hash.text96(`id-${i}`, words)
      seen.forEach((set, at) => set.add(words[at]!))
    }
    // 100,000 values of 32 bits collide about once; more would mean that a word is not mixed
    for (const set of seen) expect(count - set.size).toBeLessThan(8)
  })

  it("tells apart texts that differ in length only", () => {
    expect(Hash.text32("")).not.toBe(Hash.text32("\u0000"))
  })
})
