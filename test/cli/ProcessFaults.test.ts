import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import * as Kill from "../../bench/job/Kill.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import { command, idsOf, pause, serve, start } from "./processes.ts"
import * as Shell from "./Shell.ts"

// each test waits for its own processes
describe.concurrent("the process in trouble", () => {
  it("loses nothing, doubles nothing and sends no answered row again when it is killed", async () => {
    const outcome = await Kill.run({ rows: 120, kills: 2, concurrency: 40, within: 600, seed: 5, command })
    expect(outcome).toMatchObject({ kills: 2, lost: 0, doubled: 0, sentAgain: 0, overBound: 0 })
  }, 90_000)

  it(
    "ends at Ctrl-C while it waits for space on a full disk, says what is not written, and leaves no half file",
    async () => {
      const shell = Shell.open()
      const input = shell.write("in.jsonl", Shell.prompts(20))
      const emulator = await serve({ limits: {}, firstToken: { kind: "constant", value: 0.01 } })
      const env = { TOGETHER_BASE_URL: emulator.url, TOGETHER_API_KEY: "k" }
      const run = start(["run", input, "--quiet"], env, { blocks: 1 })
      // the first rows that find no space keep the others from being sent
      for (let answered = 0, still = 0; answered === 0 || still < 30; await pause(10)) {
        const { succeeded } = (await emulator.state()).counters
        still = succeeded === answered ? still + 1 : 0
        answered = succeeded
      }
      const pressed = performance.now()
      run.child.kill("SIGINT")
      expect(await run.ended).toBe(130)
      expect(performance.now() - pressed).toBeLessThan(3000)
      expect(run.said.err).toMatch(
        /^interrupted the disk is full: \S+in\.results\.jsonl\.journal cannot grow\. .* are sent again\.\n$/
      )
      expect(readdirSync(shell.directory).filter((name) => /\.new$|\.lock$/.test(name))).toEqual([])
      expect((await Effect.runPromise(shell.run(["run", input, "--quiet"], env))).code).toBe(0)
      expect(idsOf(shell.path("in.results.jsonl")).length).toBe(20)
      await emulator.close()
    },
    60_000
  )

  it("keeps a second process off the journal, and a reader that goes away is no defect", async () => {
    const shell = Shell.open()
    const input = shell.write("in.jsonl", Shell.prompts(20))
    const emulator = await serve({ limits: {}, firstToken: { kind: "constant", value: 0.4 } })
    const env = { TOGETHER_BASE_URL: emulator.url, TOGETHER_API_KEY: "k" }
    const first = start(["run", input, "-o", "-", "--concurrency", "1"], env)
    await new Promise<void>((resolve) => first.child.stdout.once("data", () => resolve()))
    // the second is this one
    const second = await Effect.runPromise(shell.run(["run", input, "-o", "-"], env))
    expect([second.code, second.out]).toEqual([2, ""])
    expect(second.err).toContain(`process ${first.child.pid} on `)
    expect(second.err).toContain("is working on this journal")
    first.child.stdout.destroy()
    expect(await first.ended).toBe(2)
    expect(first.said.err).toContain("whoever read standard output has closed it")
    expect(first.said.err).not.toContain("    at ")
    const third = await Effect.runPromise(shell.run(["run", input, "-o", "-", "--quiet"], env))
    expect(third.code).toBe(0)
    // every row once, whatever the first process had printed already
    const ids = third.out.trim().split("\n").map((text) =>
      (JSON.parse(text) as { readonly custom_id: string }).custom_id
    )
    expect([ids.length, new Set(ids).size]).toEqual([20, 20])
    await emulator.close()
  }, 60_000)

  it.runIf(existsSync("/dev/full"))("says that the disk is full where standard output does not grow", async () => {
    const shell = Shell.open()
    const input = shell.write("in.jsonl", Shell.prompts(3))
    const onto = (args: ReadonlyArray<string>) => {
      const [file, ...rest] = ["sh", "-c", "exec \"$0\" \"$@\" > /dev/full", process.execPath, command, ...args]
      return new Promise<{ readonly code: unknown; readonly stderr: string }>((resolve) =>
        execFile(file!, rest, { cwd: shell.directory }, (error, _, stderr) => resolve({ code: error?.code, stderr })) // one is there
      )
    }
    const full =
      "error the disk is full: standard output cannot grow. What a run has answered is safe in its journal; " +
      "run the same command again.\n"
    const [run, plan, version] = await Promise.all([
      onto(["run", input, "--emulator", "-o", "-", "--quiet"]),
      onto(["plan", input]),
      onto(["--version"])
    ])
    expect([run, plan]).toEqual([{ code: 1, stderr: full }, { code: 1, stderr: full }])
    expect([version.code, version.stderr.split("\n").length]).toEqual([1, 2])
    expect(version.stderr).toMatch(/^error cannot write to standard output \(ENOSPC/)
  }, 60_000)

  it("goes on when the provider is restarted during the run", async () => {
    const shell = Shell.open()
    const input = shell.write("in.jsonl", Shell.prompts(60))
    const options: Simulation.Options = { limits: {}, firstToken: { kind: "constant", value: 0.1 } }
    const first = await serve(options)
    const run = start(["run", input, "--concurrency", "8"], { TOGETHER_BASE_URL: first.url, TOGETHER_API_KEY: "k" })
    for (let i = 0; i < 1000 && (await first.state()).counters.succeeded < 15; i++) await pause(10)
    const answered = (await first.state()).counters.succeeded
    await first.close()
    await pause(800)
    const second = await serve(options, Number(new URL(first.url).port))
    expect(await run.ended).toBe(0)
    expect(run.said.err).toContain("60 answered · 0 failed · 0 lost")
    const ids = idsOf(shell.path("in.results.jsonl"))
    expect([ids.length, new Set(ids).size]).toEqual([60, 60])
    expect((await second.state()).counters.succeeded).toBeLessThanOrEqual(60 - answered + 8)
    await second.close()
  }, 60_000)
})
