import { describe, expect, it } from "@effect/vitest"
import * as PlanSums from "../../src/cli/PlanSums.ts"
import * as Row from "../../src/job/Row.ts"
import * as Price from "../../src/policy/Price.ts"

describe("PlanSums", () => {
  describe("addRow", () => {
    it("prices a row as its call is priced: an image by its size", () => {
      const plan = PlanSums.make()
      const draws = (id: string, body: object) => {
        const row = {
          custom_id: id,
          url: "/v1/images/generations",
          body: { model: "painter", prompt: "a cat", ...body }
        }
        PlanSums.addRow(
          plan,
          Row.fromJson(row, 1) as Row.Row, // it is well formed
          (model) => Price.stated({ model, usdPerMegapixel: "0.01", defaultSteps: 20 })
        )
      }
      draws("a", { n: 2, width: 1000, height: 500 })
      draws("b", { width: 1000, height: 1000, steps: 40 })
      expect(plan.models.get("painter")).toMatchObject({ unpriced: 0, low: 30_000_000n, high: 30_000_000n })
    })
  })

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
