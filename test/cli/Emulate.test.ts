import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Shell from "./Shell.ts"

const live = <A, E>(effect: Effect.Effect<A, E>) => TestClock.withLive(effect)

describe.concurrent("emulate", () => {
  /** Serves while a test uses the address that was said, then presses Ctrl-C: it ends in order. */
  const emulating = <E>(
    shell: Shell.Shell,
    flags: ReadonlyArray<string>,
    use: (url: string) => Effect.Effect<void, E>
  ) =>
    Effect.gen(function*() {
      const served = yield* Effect.forkChild(shell.run(["emulate", "--port", "0", ...flags]))
      while (!shell.said().includes("listens on")) yield* Effect.sleep("20 millis")
      yield* use(/listens on (\S+)/.exec(shell.said())![1]!)
      yield* shell.interrupt
      expect((yield* Fiber.join(served)).code).toBe(0)
    })

  it.effect("serves until Ctrl-C, and doctor finds it in order", () =>
    live(emulating(
      Shell.open(),
      ["--requests-per-second", "50", "--balance", "1"],
      Effect.fnUntraced(function*(url) {
        const other = Shell.open()
        const doctor = yield* other.run(["doctor", "--base-url", url], { TOGETHER_API_KEY: "k-123-secret" })
        expect(doctor.out).toContain("✓ key      TOGETHER_API_KEY is set (12 characters; it is not shown)")
        expect(doctor.out).toContain("✓ call")
        expect(doctor.out).not.toContain("secret")
        expect([doctor.code, doctor.out.trimEnd().endsWith("ready")]).toEqual([0, true])
        const blank = yield* other.run(["doctor", "--base-url", url], { TOGETHER_API_KEY: "k 1" })
        expect(blank.out).toContain("! key")
        const taken = yield* other.run(["emulate", "--port", new URL(url).port])
        expect(taken.code).toBe(2)
        expect(taken.err).toContain("EADDRINUSE")
      })
    )), 30_000)

  it.effect("names the address that it is bound to, and one to reach it by", () => {
    const shell = Shell.open()
    return live(emulating(shell, ["--host", "0.0.0.0"], (url) =>
      Effect.sync(() => {
        expect(url).toMatch(/^http:\/\/0\.0\.0\.0:\d+\/v1$/)
        const reached = url.replace("0.0.0.0", "127.0.0.1")
        expect(shell.said()).toContain(`export TOGETHER_BASE_URL=${reached} `)
      })))
  }, 30_000)

  it.effect("takes limits and a balance from flags over those of a file, and the scale", () => {
    const shell = Shell.open()
    const config = shell.write(
      "c.json",
      JSON.stringify({
        headers: "live",
        limits: { requestsPerSecond: 3, tokensPerSecond: 9, maxInFlight: 9 },
        credits: { balanceUsd: 9, accessLagSeconds: 2 }
      })
    )
    const flags = ["--config", config, "--tokens-per-second", "7700", "--server-in-flight", "5", "--balance", "2.5"]
    return live(emulating(shell, [...flags, "--scale", "10"], (url) =>
      Effect.promise(async () => {
        const read = async (name: string) => (await fetch(url.replace("/v1", `/__emulator/${name}`))).json()
        expect(await read("options")).toMatchObject({
          headers: "live",
          limits: { requestsPerSecond: 3, tokensPerSecond: 7700, maxInFlight: 5 },
          credits: { balanceUsd: 2.5, accessLagSeconds: 2 }
        })
        expect(await read("state")).toMatchObject({ scale: 10 })
      })))
  }, 30_000)

  it.effect("answers alike to the same seed", () =>
    live(Effect.gen(function*() {
      const answers: Array<string> = []
      const ask = (url: string) =>
        Effect.promise(async () => {
          const response = await fetch(`${url}/chat/completions`, {
            method: "POST",
            headers: { authorization: "Bearer k", "content-type": "application/json" },
            body: JSON.stringify({ model: "a/b", max_tokens: 50, messages: [{ role: "user", content: "Hi" }] })
          })
          const { choices } = await response.json() as { readonly choices: ReadonlyArray<unknown> }
          answers.push(JSON.stringify(choices))
        })
      for (const seed of ["7", "7", "8"]) yield* emulating(Shell.open(), ["--scale", "100", "--seed", seed], ask)
      expect(answers[0]).toContain("content")
      expect(answers[1]).toBe(answers[0])
      expect(answers[2]).not.toBe(answers[0])
    })), 30_000)

  it.effect("refuses options that are none", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      for (const scale of ["0", "1e9"]) {
        const { code, err } = yield* shell.run(["emulate", "--scale", scale])
        expect([code, err]).toEqual([2, expect.stringContaining("--scale must be in [1e-6, 1e6], got")])
      }
      const config = shell.write("c.json", JSON.stringify({ limitz: {} }))
      expect((yield* shell.run(["emulate", "--config", config])).err).toContain("no options of a simulation in ")
      expect((yield* shell.run(["emulate", "--config", shell.path("none.json")])).err).toContain("cannot read")
    })))
})
