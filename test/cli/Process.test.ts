import { describe, expect, it } from "@effect/vitest"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Simulation from "../../src/testing/Simulation.ts"
import { existsSync, readdirSync } from "node:fs"
import { idsOf, pause, serve, start } from "./processes.ts"
import * as Shell from "./Shell.ts"

/** Runs the command in this process, and gathers what it prints by the console. */
const printed = async (args: ReadonlyArray<string>) => {
  let out = ""
  const log = (...words: ReadonlyArray<unknown>) => void (out += `${words.join(" ")}\n`)
  const running = Effect.provideService(Shell.open().run(args), Console.Console, { ...console, log })
  return { code: (await Effect.runPromise(running)).code, out }
}

// each test waits for its own processes
describe.concurrent("the process", () => {
  it("prints version, help and completions to standard output", async () => {
    const version = start(["--version"])
    // what goes to standard output of one process goes there of all
    const help = await printed(["run", "--help"])
    const emulate = await printed(["emulate", "--help"])
    const completions = await printed(["--completions", "bash"])
    expect([await version.ended, help.code, emulate.code, completions.code]).toEqual([0, 0, 0, 0])
    expect(version.said.out).toMatch(/^effect-together v\d+\.\d+\.\d+\n$/)
    expect(help.out).toContain("--retry-errors")
    const { requestsPerSecond, tokensPerSecond = 0 } = Simulation.make().config.limits
    expect(emulate.out.replace(/\s+/g, " ")).toContain(
      `${requestsPerSecond} requests and ${tokensPerSecond.toLocaleString("en")} tokens per second`
    )
    expect(completions.out).toContain("complete ")
  }, 30_000)

  it.each([
    [["--max-time", "1s"], 5, "stopped: the time allowed by --max-time has passed"],
    [[], 130, "interrupted"]
  ])("ends though nothing comes on standard input: %s", async (flags, code, why) => {
    const directory = Shell.open().path("out")
    const run = start(["run", "-", "--emulator", "--out-dir", directory, ...flags], {}, { input: null })
    if (code === 130) {
      // the last that it does before it waits
      for (let i = 0; i < 2000 && !existsSync(directory); i++) await pause(10)
      await pause(1000)
      run.child.kill("SIGINT")
    }
    expect(await run.ended).toBe(code)
    expect(run.said.err).toBe(`${why} before anything came on standard input. Nothing was sent.\n`)
    expect(readdirSync(directory)).toEqual([])
  }, 30_000)

  it("ends within 2 seconds of Ctrl-C with 100 calls in flight, exit code 130, the journal safe", async () => {
    const shell = Shell.open()
    const input = shell.write("in.jsonl", Shell.prompts(300))
    shell.write(
      "in.results.jsonl.journal.limits.json",
      JSON.stringify({ "default/openai/gpt-oss-20b": { version: 1, savedAt: Date.now(), requestsPerSecond: 5000 } })
    )
    // the first hundred places are taken by calls that outlast the test
    const emulator = await serve({
      limits: {},
      firstToken: {
        kind: "mixture",
        parts: [{ weight: 1, of: { kind: "constant", value: 0.2 } }, { weight: 1, of: { kind: "constant", value: 60 } }]
      }
    })
    const run = start(["run", input, "--concurrency", "100"], {
      TOGETHER_BASE_URL: emulator.url,
      TOGETHER_API_KEY: "k"
    })
    for (let i = 0; i < 1000 && (await emulator.state()).counters.inFlight < 95; i++) await pause(10)
    expect((await emulator.state()).counters.inFlight).toBeGreaterThanOrEqual(95)
    const pressed = performance.now()
    run.child.kill("SIGINT")
    expect(await run.ended).toBe(130)
    expect(performance.now() - pressed).toBeLessThan(2000)
    expect(run.said.err).toContain("interrupted: every answer that arrived is in the journal")
    expect(run.said.err).toContain("continue with: effect-together run")
    const before = (await emulator.state()).counters.succeeded
    const kept = idsOf(shell.path("in.results.jsonl"))
    expect(kept.length).toBeGreaterThan(0)
    expect(new Set(kept).size).toBe(kept.length)
    // answers that left the emulator in the last moment may not have arrived
    expect(before - kept.length).toBeLessThanOrEqual(5)
    await emulator.close()
  }, 60_000)
})
