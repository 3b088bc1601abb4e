import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Credits from "../../src/guard/credits/Credits.ts"
import type * as BatchJob from "../../src/job/batch/BatchJob.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Reply from "../../src/testing/Reply.ts"
import { answering, boundOf, price, prompts, run, world } from "./batches.ts"
import { setup, stopAfter } from "./jobs.ts"

/** Runs 40 rows in batches of 10, of a program whose ledger keeps a budget. */
const guarded = (
  limit: bigint,
  options: Partial<BatchJob.Options> = {},
  spoil?: (client: HttpClient.HttpClient) => HttpClient.HttpClient
) =>
  VirtualClock.wrap(
    Effect.gen(function*() {
      const limits = { maxRows: 10, maxBytes: 1_000_000 }
      const given = { price, limits, ...options }
      const { report, stop } = yield* run(yield* setup(prompts(40)), world({}, spoil), given)
      const { open, reserved, settled, uncertain } = yield* Effect.flatMap(Credits.Credits, (each) => each.tally())
      return { ok: report.ok, stop: stop?._tag, cost: report.nanoUsd, open, reserved, settled, uncertain }
    }).pipe(Effect.provide(Credits.layer({ budgets: [Budget.perRun(limit)] })))
  )

describe("BatchJob", () => {
  describe("under Credits", () => {
    it.effect("counts in the ledger what its rows cost", () =>
      Effect.gen(function*() {
        const { cost, settled, ...rest } = yield* guarded(10n ** 9n)
        expect(rest).toEqual({ ok: 40, stop: undefined, open: 0, reserved: 0n, uncertain: 0n })
        expect([cost > 0n, settled]).toEqual([true, cost])
      }))

    it.effect("waits until the budget has room for a batch, and stops where none runs that may leave some", () =>
      Effect.gen(function*() {
        const one = boundOf(1, 10) * 12n / 10n
        const { cost, ok, open, settled, stop } = yield* guarded(one * 2n, { parallel: 4 })
        // two batches fit, and rows of a third one into what those left
        expect([ok, stop, open]).toEqual([25, "MaxCost", 0])
        expect([settled, settled <= one * 2n]).toEqual([cost, true])
        expect(yield* guarded(one / 20n)).toMatchObject({ ok: 0, stop: "MaxCost", settled: 0n, open: 0 })
      }))

    it.effect("charges the bound of batches that go on when it stops", () =>
      Effect.gen(function*() {
        const stop = stopAfter("1 second")
        const { ok, open, settled, uncertain } = yield* guarded(10n ** 9n, { stop, parallel: 1, poll: "1 hour" })
        expect([ok, open, settled > 0n, uncertain === settled]).toEqual([0, 0, true, true])
      }))

    it.effect.each(["/files/upload", "/batches"])(
      "waits for credit where POST %s is refused for want of it",
      (path) =>
        VirtualClock.wrap(
          Effect.gen(function*() {
            let isEmpty = true
            yield* Effect.forkChild(Effect.delay(Effect.sync(() => isEmpty = false), "10 minutes"))
            const provider = world(
              {},
              answering(() => isEmpty ? 402 : undefined, `POST https://api.together.ai/v1${path}`)
            )
            const { report, stop } = yield* run(yield* setup(prompts(2)), provider, { price })
            expect([report.ok, stop, isEmpty]).toEqual([2, undefined, false])
          }).pipe(Effect.provide(Credits.layer({ whenSuspended: "wait" })))
        )
    )

    it.effect("charges nothing for a batch that was never created", () =>
      Effect.gen(function*() {
        const refusing = (client: HttpClient.HttpClient) =>
          HttpClient.transform(client, (effect, request) =>
            request.method === "POST" ? Reply.send(Reply.error(401), request) : effect)
        const { cost: _, ...rest } = yield* guarded(10n ** 9n, { parallel: 1 }, refusing)
        expect(rest).toEqual({ ok: 0, stop: "Refused", open: 0, reserved: 0n, settled: 0n, uncertain: 0n })
      }))
  })
})
