import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ConnectionError, ModelUnavailableError } from "../../src/domain/TogetherError.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Patience from "../../src/job/Patience.ts"
import { prompts, provider, run, setup } from "./jobs.ts"

describe("Patience", () => {
  describe("settings", () => {
    it("counts a field given as undefined as left out, and reads spans", () => {
      expect(Patience.settings({ rounds: undefined, outage: "2 hours", beforeFirst: Infinity, abandonAfter: 5 }))
        .toEqual({
          rounds: 3,
          firstWait: 1,
          longestWait: 30,
          outage: 7200,
          beforeFirst: Infinity,
          abandonAfter: 5
        })
    })

    it.each(
      [
        [{ rounds: 0 }, "rounds must be an integer >= 1, got 0"],
        [{ firstWait: 0 }, "firstWait must be above 0 and finite, got 0 ms"],
        [{ firstWait: "1 minute" }, "longestWait must be at least firstWait, which is 60000 ms, got 30000 ms"],
        [{ abandonAfter: 1.5 }, "abandonAfter must be an integer >= 1, got 1.5"]
      ] as const
    )("refuses %j", (options, message) => {
      expect(() => Patience.settings(options)).toThrow(`Patience.settings: ${message}`)
      expect(() => JobFiles.run({ input: Input.file("x"), send: provider().send, patience: options })).toThrow(message)
    })
  })

  describe("decide", () => {
    const settings = Patience.settings()
    const decide = (answers: number, now: number, asked?: number, waits = 0, known: Partial<Patience.Health> = {}) => {
      const health = {
        failingSince: 0,
        lastAnswerAt: answers === 0 ? undefined : 0,
        answers,
        responded: answers > 0,
        onWire: false,
        ...known
      }
      return Patience.decide({ rounds: 0, waits, answersBefore: 1 }, health, now, settings, asked)[0]
    }

    it.each<[string, Patience.Decision, Patience.Decision]>([
      ["doubles its waits, up to the longest", decide(1, 9, 0, 3), { _tag: "Wait", seconds: 8 }],
      ["at most", decide(1, 9, 0, 9), { _tag: "Wait", seconds: 30 }],
      ["waits as long as the provider asked", decide(1, 9, 90), { _tag: "Wait", seconds: 90 }],
      ["not longer than an outage may last", decide(1, 9, 601), { _tag: "Stop" }],
      ["of a row beside others that are answered", decide(2, 9, 601), { _tag: "GiveUp" }],
      ["of a row beside others that were answered a minute ago", decide(2, 60, 601), { _tag: "Stop" }],
      ["not as long where nothing ever came back", decide(0, 60), { _tag: "Stop" }],
      ["as long where refusals did", decide(0, 60, 0, 0, { responded: true }), { _tag: "Wait", seconds: 1 }],
      ["no longer, then", decide(0, 600, 0, 0, { responded: true }), { _tag: "Stop" }],
      ["from the first failure", decide(1, 900, 0, 0, { failingSince: 301 }), { _tag: "Wait", seconds: 1 }],
      ["for what is on the wire", decide(1, 900, 0, 0, { onWire: true }), { _tag: "Wait", seconds: 1 }]
    ])("%s", (_, decision, expected) => {
      expect(decision).toEqual(expected)
    })
  })

  it.effect("is what a job is told", () =>
    Effect.gen(function*() {
      const gone = provider(() => Effect.fail(new ConnectionError({ message: "gone", permanent: false })))
      const { report, stop } = yield* run(yield* setup(prompts(4)), {
        send: gone.send,
        patience: { beforeFirst: "5 seconds" }
      })
      expect(stop?._tag).toBe("Unreachable")
      expect((report.endedAt! - report.startedAt) / 1000).toBeLessThan(10)
      const missing = provider(() => Effect.fail(new ModelUnavailableError({ message: "no", status: 400 })))
      const { abandoned } = yield* run(yield* setup(prompts(9)), {
        send: missing.send,
        concurrency: 1,
        patience: { abandonAfter: 2 }
      })
      expect([missing.sent.length, abandoned.get("m")?.rows]).toEqual([2, 7])
    }))
})
