import { describe, expect, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Kill from "../../bench/job/Kill.ts"
import * as Connection from "../../src/cli/Connection.ts"
import * as Emulator from "../../src/testing/Emulator.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as Shell from "./Shell.ts"

const command = join(import.meta.dirname, "../../src/cli/main.ts")

const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

const start = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}) => {
  const child = spawn(process.execPath, [command, ...args], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const said = { out: "", err: "" }
  child.stdout.on("data", (data) => (said.out += String(data)))
  child.stderr.on("data", (data) => (said.err += String(data)))
  const ended = new Promise<number | null>((resolve) => child.on("close", (code) => resolve(code)))
  return { child, said, ended }
}

const serve = async (options: Simulation.Options, port = 0) => {
  const scope = Scope.makeUnsafe()
  const layer = Connection.emulatorServer({ options: { unknownModels: "accept", ...options }, seed: 1, port })
  const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  return {
    url: Connection.addressOf(Context.get(context, HttpServer.HttpServer)),
    state: () => Effect.runPromise(Context.get(context, Emulator.Emulator).state),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const idsOf = (path: string) =>
  readFileSync(path, "utf8").split("\n").filter((text) => text !== "")
    // what the test reads is what the command wrote
    .map((text) => (JSON.parse(text) as { readonly custom_id: string }).custom_id)

describe("the process", () => {
  it("prints version, help and completions to standard output", async () => {
    const version = start(["--version"])
    expect(await version.ended).toBe(0)
    expect(version.said.out).toMatch(/^effect-together v\d+\.\d+\.\d+\n$/)
    const help = start(["run", "--help"])
    expect(await help.ended).toBe(0)
    expect(help.said.out).toContain("--retry-errors")
    const completions = start(["--completions", "bash"])
    expect(await completions.ended).toBe(0)
    expect(completions.said.out).toContain("complete ")
  }, 30_000)

  it("loses nothing, doubles nothing and sends no answered row again when it is killed", async () => {
    const outcome = await Kill.run({ rows: 150, kills: 2, concurrency: 40, within: 1000, seed: 5 })
    expect(outcome).toMatchObject({ kills: 2, lost: 0, doubled: 0, sentAgain: 0, overBound: 0 })
  }, 90_000)

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

  it("keeps a second process off the journal, and a reader that goes away is no defect", async () => {
    const shell = Shell.open()
    const input = shell.write("in.jsonl", Shell.prompts(50))
    const emulator = await serve({ limits: {}, firstToken: { kind: "constant", value: 0.4 } })
    const env = { TOGETHER_BASE_URL: emulator.url, TOGETHER_API_KEY: "k" }
    const first = start(["run", input, "-o", "-", "--concurrency", "1"], env)
    await new Promise<void>((resolve) => first.child.stdout.once("data", () => resolve()))
    const second = start(["run", input, "-o", "-"], env)
    expect(await second.ended).toBe(2)
    expect(second.said.err).toContain(`process ${first.child.pid} on `)
    expect([second.said.err.includes("is working on this journal"), second.said.out]).toEqual([true, ""])
    first.child.stdout.destroy()
    expect(await first.ended).toBe(2)
    expect(first.said.err).toContain("whoever read standard output has closed it")
    expect(first.said.err).not.toContain("    at ")
    const third = start(["run", input, "-o", "-", "--quiet"], env)
    expect(await third.ended).toBe(0)
    // every row once, whatever the first process had printed already
    const ids = third.said.out.trim().split("\n").map((text) =>
      (JSON.parse(text) as { readonly custom_id: string }).custom_id
    )
    expect([ids.length, new Set(ids).size]).toEqual([50, 50])
    await emulator.close()
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
    await pause(1500)
    const second = await serve(options, Number(new URL(first.url).port))
    expect(await run.ended).toBe(0)
    expect(run.said.err).toContain("60 answered · 0 failed · 0 lost")
    const ids = idsOf(shell.path("in.results.jsonl"))
    expect([ids.length, new Set(ids).size]).toEqual([60, 60])
    expect((await second.state()).counters.succeeded).toBeLessThanOrEqual(60 - answered + 8)
    await second.close()
  }, 60_000)
})
