import { describe, expect, it } from "@effect/vitest"
import * as PlanSums from "../../src/cli/PlanSums.ts"
import * as Row from "../../src/job/Row.ts"

describe("PlanSums", () => {
  describe("secondsAt", () => {
    it("takes the slowest of the models, for each has the ceilings for itself", () => {
      const plan = PlanSums.make()
      for (const [index, model] of ["a", "a", "a", "b", "c"].entries()) {
        const row = Row.fromJson({ custom_id: `${index}`, model, prompt: "x", max_tokens: 1000 }, index + 1)
        PlanSums.addRow(plan, row as Row.Row, () => undefined) // it is well formed
      }
      expect(PlanSums.secondsAt(plan, { requestsPerMinute: 60 }, 2)).toBe(3)
      expect(PlanSums.secondsAt(plan, { maxInFlight: 3 }, 2)).toBe(2)
      const tokens = plan.models.get("a")!
      expect(PlanSums.secondsAt(plan, { tokensPerMinute: tokens.inputTokens + tokens.outputTokens }, 2)).toBe(60)
      expect([PlanSums.secondsAt(plan, {}, 2), PlanSums.secondsAt(PlanSums.make(), { maxInFlight: 1 }, 2)]).toEqual([
        0,
        0
      ])
    })
  })
})
