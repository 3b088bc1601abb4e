import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as BudgetRace from "../../bench/credits/budgetRace.ts"
import * as Outage from "../../bench/credits/outage.ts"
import * as AutoRecharge from "../../src/policy/AutoRecharge.ts"

// `npm run bench:credits` runs five times as many calls
const job = { calls: 400, concurrency: 32, simulation: Outage.unlimited }

describe("Credits", () => {
  describe("a job whose credit ends half-way", () => {
    const baseline = Effect.runSync(Effect.cached(Outage.run({ ...job, credits: {} })))

    it.live(
      "loses no call, sends little in vain and ends within 2 % of the ideal when topped up after 10 minutes",
      () =>
        Effect.gen(function*() {
          const ideal = yield* baseline
          const half = ideal.billedUsd / 2
          const outcome = yield* Outage.run({
            ...job,
            simulation: { ...job.simulation, credits: { balanceUsd: half } },
            credits: {},
            topUp: { afterSeconds: 600, usd: 100 }
          })
          expect(outcome).toMatchObject({ answered: job.calls, lost: 0, suspensions: 1 })
          expect(outcome.closedSeconds).toBeCloseTo(600)
          expect(outcome.refused).toBeGreaterThan(0)
          expect(outcome.refused).toBeLessThanOrEqual(outcome.inFlightAtRefusal + outcome.probes)
          expect(outcome.makespanSeconds).toBeLessThan((ideal.makespanSeconds + outcome.closedSeconds) * 1.02)
        }),
      180_000
    )

    it.live("does the same when auto-recharge buys", () =>
      Effect.gen(function*() {
        const ideal = yield* baseline
        const half = ideal.billedUsd / 2
        const [threshold, target] = [half / 10, half * 2]
        const outcome = yield* Outage.run({
          ...job,
          simulation: {
            ...job.simulation,
            credits: {
              balanceUsd: half,
              purchaseLagSeconds: 120,
              autoRecharge: { mode: "target", thresholdUsd: threshold, targetUsd: target }
            }
          },
          credits: {
            autoRecharge: AutoRecharge.toTarget({ threshold: threshold.toFixed(9), target: target.toFixed(9) })
          }
        })
        expect(outcome).toMatchObject({ answered: job.calls, lost: 0, suspensions: 1, recharges: 1 })
        expect(outcome.closedSeconds).toBeGreaterThan(60)
        expect(outcome.refused).toBeLessThanOrEqual(outcome.inFlightAtRefusal + outcome.probes)
        expect(outcome.makespanSeconds).toBeLessThan((ideal.makespanSeconds + outcome.closedSeconds) * 1.02)
      }), 180_000)
  })

  describe("a thousand fibers and a budget for five hundred", () => {
    // bench/credits/main.ts runs a thousand seeds of this
    it.live("sends exactly the calls that fit, in any order", () =>
      Effect.forEach(
        Array.from({ length: 4 }, (_, seed) => seed),
        (seed) =>
          Effect.map(Effect.scoped(BudgetRace.race({ seed, fibers: 1000, fits: 500 })), (result) =>
            expect(result).toEqual({
              sent: 500,
              refused: 500,
              mostCommitted: 5_000_000_000n,
              spent: 5_000_000_000n,
              open: 0
            })),
        { discard: true }
      ), 180_000)
  })
})
