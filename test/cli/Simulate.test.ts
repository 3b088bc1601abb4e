import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Shell from "./Shell.ts"

const live = <A, E>(effect: Effect.Effect<A, E>) => TestClock.withLive(effect)

describe("simulate", () => {
  it.effect("ends where it waits for credit that never comes, and says so", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const input = shell.write("in.jsonl", Shell.prompts(90))
      const never = (credits: unknown) => {
        const config = shell.write("c.json", JSON.stringify({ unknownModels: "accept", credits }))
        return shell.run(["simulate", input, "--config", config, "--on-credits", "wait"])
      }
      const topUps = [{ at: 60, usd: 0.00006 }]
      const spent = yield* never({ balanceUsd: 0.00002, topUps, purchaseLagSeconds: 30, accessLagSeconds: 30 })
      expect([spent.code, spent.out]).toEqual([4, expect.stringMatching(/makespan +[2-9] min/)])
      const suspended = yield* never({ balanceUsd: 1, suspended: true })
      for (const { code, out } of [spent, suspended]) {
        expect([code, out]).toEqual([4, expect.stringContaining("no purchase follows: waiting would never end")])
        expect(out).not.toContain("With --on-credits wait")
      }
    })), 30_000)

  it.effect(
    "keeps to limits of the client, those of a flag above those of a policy",
    () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const policy = shell.write("p.json", JSON.stringify({ lanes: { requestsPerMinute: 60 } }))
        const args = ["simulate", shell.write("in.jsonl", Shell.prompts(60)), "--policy", policy, "--json"]
        const seconds = (...flags: ReadonlyArray<string>) =>
          Effect.map(shell.run([...args, ...flags]), ({ out }) => {
            const { time } = JSON.parse(out) as { readonly time: { readonly elapsedSeconds: number } }
            return time.elapsedSeconds
          })
        expect(yield* seconds()).toBeGreaterThan(50)
        expect(yield* seconds("--requests-per-minute", "600")).toBeLessThan(30)
      })),
    30_000
  )

  it.effect(
    "shows how much is computed, which changes nothing of what is simulated",
    () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const args = ["simulate", shell.write("in.jsonl", Shell.prompts(600)), "--requests-per-second", "20", "--json"]
        const shown = yield* shell.run(args, {}, { color: false, redraw: true, columns: 100 })
        const plain = yield* shell.run(args)
        expect(shown.err).toMatch(/[1-9]\d*\/600 rows · [1-9]\d* ok/)
        expect(shown.err.split("\u001b[0J").at(-2)).toBe("\u001b[1A\r")
        expect([shown.out, plain.err]).toEqual([plain.out, ""])
      })),
    30_000
  )
})
