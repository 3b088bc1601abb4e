import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { gzipSync } from "node:zlib"
import * as Progress from "../../src/cli/Progress.ts"
import * as Style from "../../src/cli/Style.ts"
import * as Report from "../../src/job/Report.ts"
import { serve } from "./serve.ts"
import * as Shell from "./Shell.ts"

const live = <A, E>(effect: Effect.Effect<A, E>) => TestClock.withLive(effect)

const fast = JSON.stringify({
  unknownModels: "accept",
  limits: {},
  firstToken: { kind: "constant", value: 0.01 },
  batch: { validatingSeconds: 0.1, rowsPerSecond: 1000 }
})

const opened = (text: string) => {
  const shell = Shell.open()
  const input = shell.write("in.jsonl", text)
  return { shell, input, emulator: ["--emulator", "--emulator-config", shell.write("fast.json", fast)] }
}

describe("run", () => {
  it.effect("goes on at the same address, however it is spelled", () =>
    live(Effect.scoped(Effect.gen(function*() {
      const { input, shell } = opened(Shell.prompts(1))
      const { url } = yield* serve((_, response) => {
        const message = { role: "assistant", content: "Hi" }
        response.writeHead(200, { "content-type": "application/json" })
        response.end(JSON.stringify({ choices: [{ index: 0, finish_reason: "stop", message }] }))
      })
      for (const spelled of [`${url}\r\n`, url, `${url.replace("http", "HTTP")}//`]) {
        const { code, err } = yield* shell.run(["run", input], { TOGETHER_API_KEY: "k", TOGETHER_BASE_URL: spelled })
        expect([spelled, code, err]).toEqual([spelled, 0, expect.stringContaining("1 answered")])
      }
    }))), 30_000)

  it.effect(
    "names what sets --max-cost where it is not on the command line and has to go",
    () =>
      live(Effect.gen(function*() {
        const { emulator, input, shell } = opened(Shell.prompts(1, { model: "acme/none" }))
        const last = (err: string) => err.trimEnd().split("\n").at(-1)
        const args = ["run", input, ...emulator]
        const again = `effect-together ${args.join(" ")}`
        const variable = yield* shell.run(args, { EFFECT_TOGETHER_MAX_COST: "1" })
        expect(last(variable.err)).toBe(
          `continue without --max-cost: remove EFFECT_TOGETHER_MAX_COST in the environment, then: ${again}`
        )
        const config = shell.write(".effect-together.json", JSON.stringify({ "max-cost": 1 }))
        const file = yield* shell.run(args)
        expect(last(file.err)).toBe(`continue without --max-cost: remove "max-cost" in ${config}, then: ${again}`)
        const flag = yield* shell.run([...args, "--max-cost", "1"])
        expect(last(flag.err)).toBe(`continue without --max-cost: ${again}`)
      })),
    30_000
  )

  it.effect("goes on with the command that it says after --max-cost", () =>
    live(Effect.gen(function*() {
      const { emulator, input, shell } = opened(Shell.prompts(3))
      const args = ["run", input, ...emulator, "--concurrency", "1"]
      const stopped = yield* shell.run([...args, "--max-cost", "0.0000001"])
      const command =
        /^raise --max-cost to \S+ or more, and continue with: effect-together (.*)$/m.exec(stopped.err)?.[1] ?? ""
      const raised = yield* shell.run(command.split(" "))
      expect([stopped.code, raised.err]).toEqual([5, expect.stringMatching(/rows +[1-3] answered/)])
    })), 30_000)

  it.effect("obeys no control character of what other commands quote", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const policy = shell.write(
        "once\u001b[2J.json",
        JSON.stringify({ type: "fixed", interval: "1 second", maxAttempts: 1 })
      )
      const body = JSON.stringify({ error: { message: "no \u202e", code: "gone\u009b" } })
      const input = shell.write("in.jsonl", Shell.prompts(1, { model: "m\u001b[2J" }))
      for (
        const [args, shown] of [
          [["explain", body], "no \\u202e"],
          [["schedule", policy], "once\\u001b[2J.json"],
          [["plan", input], "m\\u001b[2J"]
        ] as const
      ) {
        const { err, out } = yield* shell.run(args)
        expect([args[0], out]).toEqual([args[0], expect.stringContaining(shown)])
        expect(out + err).toBe(Style.visible(out + err))
      }
    })))

  it.effect("refuses an empty system message, and offers no flag that does nothing", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const input = shell.write("in.jsonl", Shell.prompts(1))
      for (const command of ["run", "plan"]) {
        const { code, err } = yield* shell.run([command, input, "--system", ""])
        expect([code, err]).toEqual([2, expect.stringContaining("--system must not be empty")])
        expect((yield* shell.run([command, input], { EFFECT_TOGETHER_SYSTEM: " " })).code).toBe(2)
        const logging = yield* shell.run([command, input, "--log-level", "debug"])
        expect([logging.code, logging.err]).toEqual([2, expect.stringContaining("--log-level")])
      }
    })))

  it.effect("takes the ending of a name in any case", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const zipped = shell.path("A.JSONL.GZ")
      writeFileSync(zipped, gzipSync(Shell.prompts(2)))
      const { code, err } = yield* shell.run(["run", zipped, "--emulator"])
      expect([code, existsSync(shell.path("A.emulator.results.jsonl"))]).toEqual([0, true])
      expect(err).toContain("2 answered")
      writeFileSync(zipped, gzipSync(`${Shell.prompts(1)}bad\n`))
      expect((yield* shell.run(["run", zipped, "--emulator", "--output", shell.path("OUT.JSONL")])).code).toBe(3)
      expect(existsSync(shell.path("OUT.errors.jsonl"))).toBe(true)
    })))

  it.effect("refuses an --out-dir that cannot be made, by its name and the system's word", () =>
    live(Effect.gen(function*() {
      const { emulator, input, shell } = opened(Shell.prompts(1))
      const outDir = `${input}/below`
      const { code, err } = yield* shell.run(["run", input, ...emulator, "--out-dir", outDir])
      expect([code, err]).toEqual([
        2,
        expect.stringContaining(
          `--out-dir ${outDir} is no directory, and none can be made there (ENOTDIR). Nothing was sent. Check the directory, or choose another.`
        )
      ])
      expect(existsSync(shell.path("in.emulator.results.jsonl"))).toBe(false)
    })))

  it.effect("says to name a model where rows name none, and that gzip is not text", () =>
    live(Effect.gen(function*() {
      const { emulator, input, shell } = opened(Shell.prompts(2).replaceAll(/"model":"[^"]*",?/g, ""))
      const { code, err } = yield* shell.run(["run", input, ...emulator])
      expect(err).toMatch(/name a model for such rows: effect-together run \S+ .*--model NAME\n$/)
      expect(code).toBe(3)
      expect((yield* shell.run(["run", input, ...emulator, "--model", "openai/gpt-oss-20b"])).code).toBe(0)
      writeFileSync(shell.path("packed.jsonl"), gzipSync(Shell.prompts(1)))
      const packed = yield* shell.run(["run", shell.path("packed.jsonl"), ...emulator])
      expect([packed.code, packed.err]).toEqual([2, expect.stringContaining("packed.jsonl is gzip: gunzip it first")])
    })))

  it.effect("refuses a page that is a directory before anything is sent", () =>
    live(Effect.gen(function*() {
      const { emulator, input, shell } = opened(Shell.prompts(1))
      mkdirSync(shell.path("pages"))
      const { code, err } = yield* shell.run(["run", input, ...emulator, "--report", shell.path("pages")])
      expect([code, err]).toEqual([
        2,
        expect.stringContaining("pages is a directory. Nothing was sent; name a file, such as")
      ])
      expect(existsSync(shell.path("in.emulator.results.jsonl"))).toBe(false)
    })))

  it.effect(
    "tells neither a limit nor an ideal time of rows that went through batches",
    () =>
      live(Effect.gen(function*() {
        const { emulator, input, shell } = opened(Shell.prompts(3))
        const { code, err } = yield* shell.run(["run", input, ...emulator, "--via", "batch", "--poll", "50ms"])
        expect([code, err.includes("ideal")]).toEqual([0, false])
      })),
    30_000
  )
})

describe("Progress of batches", () => {
  const report = Report.make(0)
  report.total = 100
  report.inFlight = 60
  const lanes = { lanes: [], now: 10_000, recent: Progress.recent(), batch: true }

  it("shows the rows in batches and what was spent, and no ETA, rate or limit", () => {
    Report.settle(report, 5000, {
      kind: "ok",
      line: 1,
      id: "r1",
      attempts: 1,
      millis: 0,
      inputTokens: 10,
      outputTokens: 30,
      nanoUsd: 1_000_000n
    })
    const [head, pace, state] = Progress.lines({ report, ...lanes }, Style.colorless, 140)
    expect(head).toMatch(/1\/100 rows · 1 ok · 0 failed · 0:10$/)
    expect([pace, state]).toEqual(["     60 in batches · $0.001 of about $0.10", "     no 429"])
    expect(Progress.line({ report, ...lanes })).toBe(
      "0:10 1/100 rows · 1 ok · 0 failed · 60 in batches · $0.001 of about $0.10 · no 429"
    )
    expect(Progress.line({ report, ...lanes, standstill: "no credit" })).toContain(" · no credit")
  })
})
