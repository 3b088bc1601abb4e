import { describe, expect, it } from "@effect/vitest"
import * as Call from "../../src/domain/Call.ts"

describe("Call", () => {
  it("ranks the named priorities and passes levels through", () => {
    expect(["interactive", "normal", "bulk", 7].map((p) => Call.priorityLevel(p as Call.Priority)))
      .toEqual([0, 200, 400, 7])
  })
  it.each([-1, 500, 1.5, NaN])("refuses level %s", (level) => {
    expect(() => Call.priorityLevel(level)).toThrow(
      `Call.priorityLevel: priority must be an integer in [0, 499], got ${level}`
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
