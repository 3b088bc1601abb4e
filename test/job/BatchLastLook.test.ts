import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { answering, boundOf, price, prompts, run, world } from "./batches.ts"
import { setup, stopAfter } from "./jobs.ts"

const creation = "POST https://api.together.ai/v1/batches"

describe("BatchJob", () => {
  describe("last look", () => {
    it.effect("collects what batches have said before it stops at one that cannot be created, and lingers no longer", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        // the second leaves no doubt whether there is a batch
        for (const [status, reason, inDoubt] of [[500, "Unreachable", true], [403, "Refused", false]] as const) {
          const disk = yield* setup(prompts(6))
          let asked = 0
          const failing = answering(() => ++asked > 2 ? status : undefined, creation)
          // when the others have been answered
          const late = (client: HttpClient.HttpClient) =>
            HttpClient.transform(
              failing(client),
              (effect, { method, url }) =>
                Effect.delay(effect, `${method} ${url}` === creation && asked === 2 ? "40 seconds" : 0)
            )
          // no look but the last comes in time
          const options = { limits: { maxRows: 2, maxBytes: 1e7 }, parallel: 3, poll: "1 hour" } as const
          const { report, running, stop } = yield* run(disk, world({}, late), { ...options, price })
          expect([report.ok, stop?._tag]).toEqual([4, reason])
          expect(running).toEqual(inDoubt ? { batches: 1, doubtful: 1, rows: 2, nanoUsd: boundOf(5, 6) } : undefined)
          expect((report.endedAt ?? 0) - report.startedAt).toBeLessThan(90_000)
        }
      })))

    it.effect("collects the batches of an earlier run while one of its others cannot be created", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        let asked = 0
        const failing = world({}, answering(() => ++asked > 2 ? 500 : undefined, creation))
        const options = { limits: { maxRows: 2, maxBytes: 1e7 }, parallel: 3, poll: "1 second" } as const
        const left = yield* run(disk, failing, {
          ...options,
          stop: stopAfter("3 seconds")
        })
        expect([left.report.ok, left.running?.doubtful]).toEqual([0, 1])
        // a creation that fails is tried again for longer than that
        yield* Effect.sleep("1 minute")
        const soon = stopAfter("1 second")
        expect((yield* run(disk, failing, { ...options, stop: soon })).report.ok).toBe(4)
      })))

    it.effect("looks at all batches of an earlier run before it asks again for one, however few run at a time", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        let asked = 0
        // the first is not created, the two others are
        const failing = world({}, answering(() => ++asked === 1 || asked > 3 ? 500 : undefined, creation))
        const options = { limits: { maxRows: 2, maxBytes: 1e7 }, poll: "1 second" } as const
        const left = yield* run(disk, failing, {
          ...options,
          parallel: 3,
          stop: stopAfter("3 seconds")
        })
        expect([left.report.ok, left.running?.batches]).toEqual([0, 3])
        const again = yield* run(disk, failing, { ...options, parallel: 1 })
        expect([again.report.ok, again.stop?._tag]).toEqual([4, "Unreachable"])
      })))

    it.effect("looks a minute at the most before it stops at a batch that cannot be created", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        let asked = 0
        const failing = (client: HttpClient.HttpClient) =>
          answering(() => ++asked > 1 ? 500 : undefined, creation)(answering(() => 500, "/v1/batches/")(client))
        const options = { limits: { maxRows: 2, maxBytes: 1e7 }, parallel: 2 }
        const { report, stop } = yield* run(disk, world({}, failing), options)
        expect([report.ok, stop?._tag]).toEqual([0, "Unreachable"])
        expect((report.endedAt ?? 0) - report.startedAt).toBeLessThan(120_000)
      })))
  })
})
