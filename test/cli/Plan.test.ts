import { describe, expect, it } from "@effect/vitest"
import * as Plan from "../../src/cli/Plan.ts"
import * as Row from "../../src/job/Row.ts"

describe("Plan", () => {
  describe("secondsAt", () => {
    it("takes the slowest of the models, for each has the ceilings for itself", () => {
      const plan = Plan.make()
      for (const [index, model] of ["a", "a", "a", "b", "c"].entries()) {
        const row = Row.fromJson({ custom_id: `${index}`, model, prompt: "x", max_tokens: 1000 }, index + 1)
        Plan.addRow(plan, row as Row.Row, () => undefined) // it is well formed
      }
      expect(Plan.secondsAt(plan, { requestsPerMinute: 60 }, 2)).toBe(3)
      expect(Plan.secondsAt(plan, { maxInFlight: 3 }, 2)).toBe(2)
      const tokens = plan.models.get("a")!
      expect(Plan.secondsAt(plan, { tokensPerMinute: tokens.inputTokens + tokens.outputTokens }, 2)).toBe(60)
      expect([Plan.secondsAt(plan, {}, 2), Plan.secondsAt(Plan.make(), { maxInFlight: 1 }, 2)]).toEqual([0, 0])
    })
  })
})
