import { describe, expect, it } from "@effect/vitest"
import * as Call from "../../src/domain/Call.ts"

describe("Call", () => {
  it("ranks the named priorities and passes levels through", () => {
    expect([0, 499, "bulk" as const].map(Call.isPriority)).toEqual([true, true, true])
    expect(["interactive", "normal", "bulk", 7].map((p) => Call.priorityLevel(p as Call.Priority)))
      .toEqual([0, 200, 400, 7])
  })
  it.each([-1, 500, 1.5, NaN, "urgent", "toString"])("refuses level %s", (level) => {
    const priority = level as Call.Priority // from a caller without types
    expect(Call.isPriority(priority)).toBe(false)
    expect(() => Call.priorityLevel(priority)).toThrow(
      `Call.priorityLevel: priority must be an integer in [0, 499], or one of interactive, normal, bulk, got ${level}`
    )
  })
  it("estimates tokens from UTF-8 bytes, at least one", () => {
    expect(Call.estimateTokens("")).toBe(1)
    expect(Call.estimateTokens("a".repeat(36))).toBe(10)
    for (const text of ["é".repeat(18), "日本語のテキスト", "plain", "mixed é 日", "😀 pair"]) {
      expect(Call.estimateTokens(text)).toBe(Math.max(1, Math.ceil(new TextEncoder().encode(text).length / 3.6)))
    }
  })
})
