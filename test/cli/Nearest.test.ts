import { describe, expect, it } from "@effect/vitest"
import * as Nearest from "../../src/cli/Nearest.ts"

describe("Nearest", () => {
  it.each([
    ["ratelimiterror", "RateLimitError"],
    ["InsufficientCreditsErro", "InsufficientCreditsError"],
    ["banana", undefined],
    ["", undefined]
  ])("finds for %j %j", (word, found) => {
    expect(Nearest.of(word, ["AuthError", "RateLimitError", "InsufficientCreditsError"])).toBe(found)
  })
})
