import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Shell from "./Shell.ts"

const live = <A, E>(effect: Effect.Effect<A, E>) => TestClock.withLive(effect)

describe("plan", () => {
  it.effect(
    "tells how many rows have failed before, which run sends only when asked to",
    () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(4))
        const faults = [{ probability: 1, kind: 400 }]
        const config = shell.write("c.json", JSON.stringify({ unknownModels: "accept", faults }))
        const flags = ["--emulator", "-o", shell.path("in.results.jsonl")]
        yield* shell.run(["run", input, ...flags, "--range", "1:3", "--emulator-config", config])
        const { out } = yield* shell.run(["plan", input])
        expect(out).toContain("4 rows to send\n3 of them failed before: run sends those with --retry-errors only\n")
        expect(JSON.parse((yield* shell.run(["plan", input, "--json"])).out)).toMatchObject({
          rows: 4,
          failedBefore: 3
        })
        expect((yield* shell.run(["run", input, ...flags])).err).toContain("1 answered · 3 failed")
        const { out: asked } = yield* shell.run(["run", input, ...flags, "--retry-errors", "--json"])
        expect(JSON.parse(asked)).toMatchObject({ rows: { ok: 4, answeredNow: 3 } })
        expect((yield* shell.run(["plan", input])).out).not.toContain("failed before")
      })),
    30_000
  )

  it.effect("lists the first of many models, and has all of them in JSON", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const input = shell.write(
        "in.jsonl",
        Array.from({ length: 150 }, (_, n) => `${JSON.stringify({ model: `m${n}`, prompt: "Hi", max_tokens: 5 })}\n`)
          .join("")
      )
      const { out } = yield* shell.run(["plan", input])
      expect(out.split("\n").length).toBeLessThan(125)
      expect(out).toContain("\nm99 ")
      expect(out).toContain("50 more models are not listed: --json has them\n")
      expect(out).toContain(
        "no price is known for model m9; its rows are not in the sums\n… and 140 more models without a price\n"
      )
      const { out: json } = yield* shell.run(["plan", input, "--json"])
      expect(Object.keys(JSON.parse(json).models)).toHaveLength(150)
    })))

  it.effect("takes what has no price for unknown, not for free", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const row = (model: string) => `${JSON.stringify({ custom_id: model, model, prompt: "Hi", max_tokens: 5 })}\n`
      const unknown = shell.write("unknown.jsonl", row("a") + row("b"))
      const both = shell.write("both.jsonl", row("a") + row("openai/gpt-oss-20b"))
      const { out } = yield* shell.run(["plan", unknown])
      expect(out).toContain("no price is known for model b; its rows are not in the sums")
      expect(out).not.toContain("$")
      const json = JSON.parse((yield* shell.run(["plan", unknown, "--json"])).out)
      expect(json).toMatchObject({ rowsWithUnknownPrice: 2, costUsd: { low: null, expected: null, high: null } })
      expect(json.models.a).toMatchObject({ lowUsd: null, expectedUsd: null, highUsd: null })
      expect((yield* shell.run(["plan", both])).out).toContain("all models: $")
      const some = JSON.parse((yield* shell.run(["plan", both, "--json"])).out)
      expect(some).toMatchObject({ rowsWithUnknownPrice: 1, costUsd: { high: expect.stringMatching(/^0\.\d+$/) } })
    })))
})
