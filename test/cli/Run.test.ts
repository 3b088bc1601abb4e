import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import * as CommandLine from "../../src/cli/CommandLine.ts"
import * as Policy from "../../src/cli/Policy.ts"
import * as Schedule from "../../src/cli/Schedule.ts"
import * as Settings from "../../src/cli/Settings.ts"
import { idsOf, serve as emulate, start } from "./processes.ts"
import { serve } from "./serve.ts"
import * as Shell from "./Shell.ts"

const live = <A, E>(effect: Effect.Effect<A, E>) => TestClock.withLive(effect)

const key = { TOGETHER_API_KEY: "k" }

const fast = JSON.stringify({
  unknownModels: "accept",
  limits: {},
  firstToken: { kind: "constant", value: 0.01 },
  batch: { validatingSeconds: 0.1 }
})

/** Opens a shell with a file of prompts and the flags of a fast emulator. */
const opened = (rows: number) => {
  const shell = Shell.open()
  const input = shell.write("in.jsonl", Shell.prompts(rows))
  return { shell, input, emulator: ["--emulator", "--emulator-config", shell.write("fast.json", fast)] }
}

/** Waits until a batch is in the journal. */
const begun = (journal: string) =>
  Effect.gen(function*() {
    const hasBatch = () => existsSync(journal) && readFileSync(journal, "utf8").includes("batchId")
    while (!hasBatch()) yield* Effect.sleep("20 millis")
  })

describe.concurrent("run", () => {
  it.effect("refuses flags that do not go together or would do nothing", () =>
    live(Effect.gen(function*() {
      const { emulator, input, shell } = opened(2)
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
        [["--max-cost", "0"], "--max-cost must be above 0, got 0"],
        [["--max-cost=-1"], "--max-cost must be above 0, got -1"],
        [[...emulator, "--base-url", "http://127.0.0.1:9/v1"], "--base-url and --emulator both say where to send"],
        [["--poll", "3s"], "--poll needs --via batch"],
        [["--via", "batch", "--poll", "0s"], "--poll must be above 0, got 0s"],
        [["--via", "batch", "--poll", "10ms"], "--poll must be 1s or more where Together is asked"],
        [["--via", "batch", "--cache", shell.path("cache")], "--via batch cannot be combined with"],
        [["--max-time", "0s"], "--max-time must be above 0, got 0s"],
        ...["--out-dir", "--cache", "--output", "--errors", "--journal", "--report", "--policy"].map((flag) =>
          [[...emulator, flag, ""], `${flag} must not be empty`] as const
        ),
        [[...emulator, "-o", "/dev/stdout", "--json"], "--output /dev/stdout and --json both want standard output"],
        [[...emulator, "--errors", "/dev/fd/1", "--json"], "--errors /dev/fd/1 and --json both want standard output"],
        [[...emulator, "--journal", shell.directory], "is a directory, not a journal"],
        [[...emulator, "--journal", "/dev/full"], "is no regular file"],
        [["--via", "batch", "--concurrency=3"], "--concurrency bounds calls"],
        [[...emulator, "--live"], "--emulator-config needs --emulator, and --live overrides that"],
        [
          [...emulator, "--out-dir", shell.path("new"), "--report", `${shell.path("new")}//in.emulator.results.jsonl`],
          "is a file of the job, for the results"
        ],
        [[...emulator, "--report", shell.path("./in.jsonl")], "is a file of the job, for the input"],
        [
          [...emulator, "--report", `${shell.directory}/../${shell.directory.split("/").at(-1)}/fast.json`],
          "is a file of the job, for the emulator's options"
        ],
        [[...emulator, "--report", `${input}/page.html`], "cannot write the report"]
      ]
      for (const [flags, message] of cases) {
        const { code, err, out } = yield* shell.run(["run", input, ...flags], key)
        expect([flags, code, out]).toEqual([flags, 2, ""])
        expect(err).toContain(message)
      }
      expect(existsSync(shell.path("in.emulator.results.jsonl"))).toBe(false)
      expect(readFileSync(input, "utf8")).toBe(Shell.prompts(2))
      // what environment and config file say for all runs is no conflict
      const said = yield* shell.run(["run", input, ...emulator], { TOGETHER_BASE_URL: "http://127.0.0.1:9/v1" })
      expect(said.code).toBe(0)
      expect((yield* shell.run(["run", "", ...emulator])).code).toBe(2)
      const device = yield* shell.run(["run", "/dev/stdin", ...emulator])
      expect([device.code, device.err.includes("give - as the input")]).toEqual([2, true])
      for (const command of ["plan", "simulate"]) {
        expect((yield* shell.run([command, "-", "--range", "1:2"])).err).toContain("--sample and --range need a file")
        const none = yield* shell.run([command, shell.write("none.jsonl", "\n\n")])
        expect([command, none.code, none.err.includes("none.jsonl holds no rows")]).toEqual([command, 2, true])
      }
      expect((yield* shell.run(["simulate", input, "--report", input])).err).toContain("give each its own file")
    })), 30_000)

  it.effect(
    "does not take an emulator's answers for real ones, whatever the files are called",
    () =>
      live(Effect.scoped(Effect.gen(function*() {
        const { emulator, input, shell } = opened(3)
        const output = ["-o", shell.path("out.jsonl")]
        expect((yield* shell.run(["run", input, ...emulator, ...output])).code).toBe(0)
        const { url } = yield* serve((request, response) => {
          response.statusCode = request.method === "GET" ? 200 : 400
          response.setHeader("content-type", "application/json")
          response.end("[]")
        })
        const base = ["--base-url", url]
        const { code, err } = yield* shell.run(["run", input, ...output, ...base, "--changed", "keep"], key)
        expect([code, err.includes("holds answers of an emulator")]).toEqual([2, true])
        expect(err).not.toContain("go on with")
        const user = yield* shell.run(["run", input, "--base-url", "http://joe:secret@127.0.0.1:9/v1"], key)
        expect([user.code, user.err.includes("comes with credentials")]).toEqual([2, true])
        expect(user.err).not.toContain("secret")
        const real = ["-o", shell.path("real.jsonl")]
        expect((yield* shell.run(["run", input, ...real, ...base], key)).code).toBe(3)
        const other = yield* shell.run(["run", input, ...real, "--base-url", `${url}/other`], key)
        expect(other.err).toMatch(/would ask http:\/\/127[^ ]*\/v1\/other\.[^]*go on with: .* --changed keep/)
      }))),
    30_000
  )

  it.effect(
    "counts the prices of the provider's catalogue against --max-cost, and no request of it as an attempt",
    () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const models = { "house/model": { inputUsd: 1, outputUsd: 2 } }
        const config = shell.write("house.json", JSON.stringify({ ...JSON.parse(fast), models }))
        const input = shell.write("in.jsonl", Shell.prompts(3, { model: "house/model" }))
        for (const via of ["calls", "batch"]) {
          const flags = ["--emulator", "--emulator-config", config, "--out-dir", shell.path(via), "--via", via]
          const limited = ["run", input, ...flags, "--max-cost", "1", "--json"]
          const { code, err, out } = yield* shell.run(via === "batch" ? [...limited, "--poll", "10ms"] : limited)
          expect([via, code, err]).toEqual([via, 0, expect.stringContaining("3 answered · 0 failed · 0 lost")])
          expect(out).toMatch(/"usd": "0\.000\d+"[^]*"rowsWithUnknownPrice": 0/)
        }
      })),
    30_000
  )

  it.effect(
    "keeps prompt text and the user of an address out of the page, and makes its directory",
    () =>
      live(Effect.gen(function*() {
        const { emulator, input, shell } = opened(2)
        const page = shell.path("new/page.html")
        const { code } = yield* shell.run(["run", input, ...emulator, "--report", page, "--system", "SYS-SECRET"])
        expect(code).toBe(0)
        expect(readFileSync(page, "utf8")).not.toContain("SYS-SECRET")
        expect(CommandLine.shown(["run", "x", "--system=a b", "--base-url=https://u:p@h/v1", "https://u@h"])).toBe(
          "effect-together run x '--system=…' --base-url=https://h/v1 https://h"
        )
      })),
    30_000
  )

  it.effect(
    "stops with 5 where earlier runs have spent everything, with 0 where nothing is left to do",
    () =>
      live(Effect.gen(function*() {
        const { emulator, input, shell } = opened(6)
        expect((yield* shell.run(["run", input, ...emulator, "--range", "1:3"])).code).toBe(0)
        const cap = ["--max-cost", "0.000001", "--retry-errors"]
        const { code, err } = yield* shell.run(["run", input, ...emulator, ...cap])
        expect(code).toBe(5)
        expect(err).toContain(
          "stopped by --max-cost: earlier runs of the journal have spent all of it. The next row may cost"
        )
        expect(err).toMatch(
          /raise --max-cost to \$(0\.0\d+) or more, and continue with: .* --retry-errors --max-cost \1\n/
        )
        expect((yield* shell.run(["run", input, ...emulator, ...cap, "--range", "1:3"])).code).toBe(0)
      })),
    30_000
  )

  it.effect(
    "asks an emulator directly, whatever the environment says of a proxy, and refuses a bad one elsewhere",
    () =>
      live(Effect.gen(function*() {
        const { emulator, input, shell } = opened(3)
        const env = { ...key, HTTPS_PROXY: "ftp://proxy", HTTP_PROXY: "ftp://proxy" }
        expect((yield* shell.run(["run", input, ...emulator], env)).code).toBe(0)
        const { code, err } = yield* shell.run(["run", input, "--base-url", "https://host.invalid/v1"], env)
        expect([code, err]).toEqual([2, expect.stringContaining("HTTPS_PROXY is no address of a proxy")])
      })),
    30_000
  )

  it.effect("names a base URL that is none, and the flag that takes one", () =>
    live(Effect.gen(function*() {
      const { input, shell } = opened(2)
      const { code, err } = yield* shell.run(["run", input, "--base-url", "nowhere"], {
        TOGETHER_API_KEY: "k-123-secret"
      })
      expect(code).toBe(2)
      expect(err).toContain("\"nowhere\" is not an http or https address. Set --base-url or TOGETHER_BASE_URL to one")
      expect(err).not.toContain("k-123-secret")
    })))

  it.effect("counts calls without an answer against the cap of later runs", () =>
    live(Effect.gen(function*() {
      const { emulator, input, shell } = opened(6)
      const slow = shell.write(
        "slow.json",
        JSON.stringify({ unknownModels: "accept", limits: {}, firstToken: { kind: "constant", value: 60 } })
      )
      const args = ["run", input, "--emulator", "--emulator-config", slow, "--max-cost", "1", "--max-time", "3s"]
      const cut = yield* shell.run([...args, "--json"])
      const { uncertainUsd } = JSON.parse(cut.out) as { readonly uncertainUsd: string }
      expect([cut.code, Number(uncertainUsd) > 0]).toEqual([5, true])
      expect(cut.err).toContain("besides for calls without a known cost")
      expect(cut.err).toMatch(
        /the most those calls may have cost, counts as spent in later runs: \$\S+ of --max-cost \$1\.00 is left for them\n/
      )
      const { code, err } = yield* shell.run(["run", input, ...emulator, "--max-cost", uncertainUsd])
      expect([code, err.includes("0 answered")]).toEqual([5, true])
      const whole = yield* shell.run(["run", input, ...emulator, "--json"])
      expect([whole.code, JSON.parse(whole.out)]).toMatchObject([0, { uncertainUsd }])
    })), 30_000)

  it.effect(
    "counts against the cap what a run spends that ends while this one waits for its journal",
    () =>
      live(Effect.gen(function*() {
        const { emulator, input, shell } = opened(6)
        const journal = shell.path("in.emulator.results.jsonl.journal")
        expect((yield* shell.run(["run", input, ...emulator, "--range", "1:3"])).code).toBe(0)
        const written = readFileSync(journal, "utf8")
        writeFileSync(journal, written.split(/(?<=\n)/).filter((line) => !line.includes("\"k\":\"row\"")).join(""))
        writeFileSync(`${journal}.lock`, JSON.stringify({ token: "t", pid: 1, host: "elsewhere" }))
        const second = yield* Effect.forkChild(shell.run(["run", input, ...emulator, "--max-cost", "0.000001"]))
        yield* Effect.sleep("500 millis")
        writeFileSync(journal, written)
        rmSync(`${journal}.lock`)
        const { code, err } = yield* Fiber.join(second)
        expect([code, err]).toEqual([5, expect.stringContaining("3 of them before")])
        expect(err).toContain("stopped by --max-cost: earlier runs of the journal have spent all of it")
      })),
    30_000
  )

  it.effect("charges nothing for a provider that never accepted a connection", () =>
    live(Effect.gen(function*() {
      const { input, shell } = opened(20)
      const args = ["run", input, "--base-url", "http://127.0.0.1:9/v1", "--max-time", "1s", "--json"]
      const { code, err, out } = yield* shell.run(args, key)
      expect([code, JSON.parse(out)]).toEqual([5, expect.objectContaining({ uncertainUsd: "0", undone: 20 })])
      expect(err).not.toContain("besides")
      const noted = readFileSync(shell.path("in.results.jsonl.journal"), "utf8").matchAll(
        /"uncertain","value":(-?\d+)/g
      )
      expect(Array.from(noted).reduce((sum, [, value]) => sum + Number(value), 0)).toBe(0)
    })), 30_000)

  it.effect(
    "says what to raise --max-cost to, of the amount that was given, also when it is resumed",
    () =>
      live(Effect.gen(function*() {
        const { emulator, input, shell } = opened(12)
        const args = ["run", input, ...emulator, "--concurrency", "1", "--changed", "keep", "--max-cost", "0.00002"]
        for (const more of ["", Shell.prompts(1).replace("r1", "r13")]) {
          writeFileSync(input, Shell.prompts(12) + more)
          const { code, err } = yield* shell.run(args)
          expect([code, err]).toEqual([
            5,
            expect.stringMatching(/next row may cost up to \S+, and \S+ of \$0\.00002 is left/)
          ])
          expect(err).toMatch(/raise --max-cost to \$(0\.0000\d+) or more, and continue with: .* --max-cost \1\n$/)
          expect(err).toMatch(/the other \d+ rows will take about \$\S+: raise/)
          expect([err.includes("0 lost"), /^errors /m.test(err)]).toEqual([true, false])
        }
        const said = /raise --max-cost to \$(\S+)/.exec((yield* shell.run(args)).err)![1]! // it says so
        expect((yield* shell.run([...args.slice(0, -1), said])).code).toBe(0)
        expect(existsSync(shell.path("in.emulator.errors.jsonl"))).toBe(false)
      })),
    30_000
  )

  it.effect(
    "names the line to correct, lists it again, and sends it when it is corrected",
    () =>
      live(Effect.gen(function*() {
        const { emulator, shell } = opened(0)
        const input = shell.write("in.jsonl", Shell.prompts(2, { max_tokens: -5 }))
        for (let time = 0; time < 2; time++) {
          const { code, err } = yield* shell.run(["run", input, ...emulator])
          expect([code, err]).toEqual([3, expect.stringContaining("invalid_request 2")])
          expect(err).toContain("line 1 The request was not sent")
          expect(err).toMatch(
            /correct lines 1, 2, then send what failed again with: .* --retry-errors --changed keep\n/
          )
        }
        writeFileSync(input, Shell.prompts(2))
        const { code } = yield* shell.run(["run", input, ...emulator, "--retry-errors", "--changed", "keep"])
        expect(code).toBe(0)
      })),
    30_000
  )

  it.effect("counts only attempts that were sent, and the refusals of the account", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const input = shell.write("in.jsonl", Shell.prompts(200))
      const page = shell.path("r.html")
      const config = shell.write("c.json", JSON.stringify({ ...JSON.parse(fast), credits: { balanceUsd: 0.0001 } }))
      const { code, err, out } = yield* shell.run(
        ["run", input, "--emulator", "--emulator-config", config, "--json", "--report", page]
      )
      const { attempts, rows } = JSON.parse(out) as {
        readonly attempts: { readonly total: number; readonly refusedBy: { readonly "402": number } }
        readonly rows: { readonly ok: number }
      }
      expect([code, attempts.total]).toEqual([4, rows.ok + attempts.refusedBy["402"]])
      expect(err).toContain(` · ${attempts.refusedBy["402"]} × 402 · `)
      const html = readFileSync(page, "utf8")
      expect(html).toMatch(/How it ended<\/h2><p>refused: .*Add credits.*<p>continue with: effect-together run/)
      expect(html).toContain(">emulator</span>")
      expect(html).toContain(`${200 - rows.ok} not sent`)
    })), 30_000)

  it.effect(
    "leaves out a model without a price, and says to go on without --max-cost",
    () =>
      live(Effect.gen(function*() {
        const { emulator, shell } = opened(0)
        const input = shell.write("in.jsonl", Shell.prompts(1, { model: "acme/none" }))
        const limited = yield* shell.run(["run", input, ...emulator, "--max-cost", "1"])
        expect([limited.code, limited.err]).toEqual([
          3,
          expect.stringContaining("left out: 1 row of acme/none was not sent")
        ])
        expect(limited.err).toMatch(/continue without --max-cost: effect-together run (?!.*--max-cost)/)
        const elsewhere = ["--out-dir", shell.path("batch")]
        const batch = yield* shell.run(["run", input, ...emulator, "--via", "batch", ...elsewhere, "--max-cost", "1"])
        expect([batch.code, batch.err]).toEqual([3, expect.stringContaining("1 row of acme/none was not sent")])
        const { code, err } = yield* shell.run(["run", input, ...emulator])
        expect([code, err]).toEqual([0, expect.stringContaining("acme/none is not in the catalogue")])
      })),
    30_000
  )

  it.effect("warns that a policy's retry does nothing for batches", () =>
    live(Effect.gen(function*() {
      const { input, shell } = opened(2)
      const policy = shell.write("p.json", JSON.stringify({ base: "1 second", type: "exponential" }))
      const config = shell.write(
        "b.json",
        JSON.stringify({ unknownModels: "accept", batch: { validatingSeconds: 0.1 } })
      )
      const batch = ["--via", "batch", "--poll", "100ms", "--policy", policy]
      const { code, err } = yield* shell.run(["run", input, "--emulator", "--emulator-config", config, ...batch])
      expect([code, err.includes("with --via batch it does nothing")]).toEqual([0, true])
      // attempts and times are those of uploads and polls
      expect(err).not.toMatch(/^(attempts|latency) |ideal/m)
      const calls = yield* shell.run(["run", input, "--emulator", "--out-dir", shell.path("calls"), "--policy", policy])
      expect(calls.err).toContain("does not stop by itself")
      const again = ["run", input, "--emulator", "--out-dir", shell.path("calls"), "--policy", policy, "--quiet"]
      expect((yield* shell.run(again)).err).toBe("")
    })), 30_000)

  it.effect("says which rows are in a batch that goes on, and collects them", () =>
    live(Effect.gen(function*() {
      const { input, shell } = opened(3)
      // a provider that outlives the run
      const provider = yield* Effect.promise(() => emulate({ batch: { validatingSeconds: 600 } }))
      const args = ["run", input, "--base-url", provider.url, "--via", "batch", "--poll", "1s"]
      const running = yield* Effect.forkChild(shell.run([...args, "--json"], key))
      yield* begun(shell.path("in.results.jsonl.journal"))
      yield* shell.interrupt
      const { code, err, out } = yield* Fiber.join(running)
      expect(code).toBe(130)
      expect(err).toMatch(/^rows +0 answered · 0 failed · 3 in a batch that goes on · 0 lost$/m)
      expect(err).toMatch(/^cost +\$0\.00 · up to \$0\.0\d+ for a batch that goes on$/m)
      expect(err).toMatch(/the answers are billed, and collected with: effect-together run .* --via batch /)
      expect(JSON.parse(out)).toMatchObject({
        undone: 3,
        inBatches: { rows: 3, usd: expect.stringMatching(/^0\.0\d+$/) }
      })
      expect((yield* shell.run(["plan", input])).out).toMatch(
        /^0 rows to send\n3 rows in a batch that an earlier run began, for up to \$0\.0\d+: collect with --via batch$/m
      )
      expect(JSON.parse((yield* shell.run(["plan", input, "--json"])).out)).toMatchObject({
        rows: 0,
        inBatches: { rows: 3, usd: expect.stringMatching(/^0\.0\d+$/) }
      })
      const elsewhere = ["--max-time", "500ms", "--out-dir", shell.directory]
      const waited = yield* Shell.open().run([...args, ...elsewhere], key)
      expect([waited.code, waited.err]).toEqual([
        5,
        expect.stringMatching(/^rows +0 answered · 0 failed · 3 in a batch that goes on · 0 lost$/m)
      ])
      expect(waited.err).toMatch(/^stopped: the time allowed by --max-time has passed$/m)
      yield* Effect.promise(provider.close)
    })), 30_000)

  it.effect("forgets the batches of an emulator with it", () =>
    live(Effect.gen(function*() {
      const { input, shell } = opened(3)
      const config = shell.write("slow.json", JSON.stringify({ batch: { validatingSeconds: 600 } }))
      const args = ["run", input, "--emulator", "--emulator-config", config, "--via", "batch", "--poll", "50ms"]
      const running = yield* Effect.forkChild(shell.run(args))
      const journal = shell.path("in.emulator.results.jsonl.journal")
      yield* begun(journal)
      yield* shell.interrupt
      const { code, err } = yield* Fiber.join(running)
      expect([code, err.includes("a batch ended with the emulator")]).toEqual([130, true])
      expect((yield* Shell.open().run(["plan", input, "--journal", journal])).out).toMatch(/^3 rows to send$/m)
    })), 30_000)

  it.effect("lets settings that are for calls do nothing for batches", () =>
    live(Effect.gen(function*() {
      const { emulator, input, shell } = opened(2)
      const settings = { EFFECT_TOGETHER_CACHE: shell.path("cache"), EFFECT_TOGETHER_ORDER: "input" }
      const batch = yield* shell.run(["run", input, ...emulator, "--via", "batch", "--poll", "50ms"], settings)
      expect([batch.code, existsSync(shell.path("cache"))]).toEqual([0, false])
      shell.write(".effect-together.json", JSON.stringify({ cache: " " }))
      const empty = yield* shell.run(["run", input, ...emulator])
      expect([empty.code, empty.err]).toEqual([
        2,
        expect.stringMatching(/"cache" in \S+effect-together.json cannot be used: --cache must not be empty/)
      ])
    })), 30_000)

  it.effect(
    "does not hand an emulator's answers to a real run from the cache",
    () =>
      live(Effect.scoped(Effect.gen(function*() {
        const { emulator, input, shell } = opened(3)
        const cache = ["--cache", shell.path("cache")]
        expect((yield* shell.run(["run", input, ...emulator, ...cache])).code).toBe(0)
        const again = yield* shell.run(["run", input, ...emulator, ...cache, "--out-dir", shell.path("again")])
        expect([again.code, again.err]).toEqual([0, expect.stringContaining("3 from the cache")])
        let asked = 0
        const { url } = yield* serve((request, response) => {
          if (request.method === "POST") asked++
          response.statusCode = request.method === "GET" ? 200 : 400
          response.setHeader("content-type", "application/json")
          response.end("[]")
        })
        const real = yield* shell.run(["run", input, ...cache, "--base-url", url], key)
        expect([real.code, asked, real.err.includes("from the cache")]).toEqual([3, 3, false])
      }))),
    30_000
  )

  it.effect(
    "warns of a cache whose answers are not read any more, until it keeps new ones",
    () =>
      live(Effect.gen(function*() {
        const { emulator, input, shell } = opened(2)
        const cache = ["--cache", shell.path("cache")]
        mkdirSync(shell.path("cache/0f"), { recursive: true })
        const first = yield* shell.run(["run", input, ...emulator, ...cache])
        expect([first.code, first.err]).toEqual([0, expect.stringContaining("/cache are of an older version")])
        const second = yield* shell.run(["run", input, ...emulator, ...cache, "--out-dir", shell.path("again")])
        expect([second.code, second.err.includes("older version")]).toEqual([0, false])
      })),
    30_000
  )

  it.effect("makes nothing where the key is missing", () =>
    live(Effect.gen(function*() {
      const { input, shell } = opened(2)
      const before = readdirSync(shell.directory)
      const { code, err } = yield* shell.run([
        "run",
        input,
        "--out-dir",
        shell.path("a/b"),
        "--report",
        shell.path("r/r.html")
      ])
      expect([code, err]).toEqual([4, expect.stringContaining("There is no API key")])
      expect(readdirSync(shell.directory)).toEqual(before)
    })), 30_000)

  it.effect(
    "warns where the prices could not be read, in the summary and nowhere else",
    () =>
      live(Effect.scoped(Effect.gen(function*() {
        const { input, shell } = opened(2)
        const { url } = yield* serve((request, response) => {
          response.statusCode = request.method === "GET" ? 404 : 400
          response.setHeader("content-type", "application/json")
          response.end("{}")
        })
        const args = ["run", input, "--base-url", url, "--retry-errors"]
        const { err } = yield* shell.run(args, key)
        expect(err).toMatch(
          /^warning +GET \/models told no prices \(.*404.*\): those of the shipped table of 20\d\d-\d\d count$/m
        )
        expect(err).not.toContain("WARN")
        // what nobody hears of, nobody corrects
        expect(yield* shell.run([...args, "--quiet"], key)).toEqual({
          code: 3,
          out: "",
          err: `2 rows failed: see ${shell.path("in.errors.jsonl")}\n`
        })
      }))),
    30_000
  )

  it.effect(
    "takes the time of all it does for --max-time, and says what was tried last where nothing was answered",
    () =>
      live(Effect.scoped(Effect.gen(function*() {
        const { input, shell } = opened(2)
        const { url } = yield* serve(() => {})
        const hung = yield* shell.run(["run", input, "--base-url", url, "--max-time", "500ms", "--json"], key)
        expect([hung.code, hung.err]).toEqual([5, expect.stringContaining("no answer before the run was stopped")])
        const { time } = JSON.parse(hung.out) as { readonly time: { readonly elapsedSeconds: number } }
        expect(time.elapsedSeconds).toBeLessThan(4)
        const none = ["run", input, "--base-url", "http://127.0.0.1:9/v1", "--max-time", "2s", "--changed", "keep"]
        const refused = yield* shell.run(none, key)
        expect(refused.err).toMatch(/^warning +GET \/models told no prices \(.*ECONNREFUSED/m)
        expect(refused.err).toMatch(
          / has passed\. Nothing was answered; the last error: ConnectionError ECONNREFUSED$/m
        )
        // what stops a run is said to who wants it quiet, too
        expect(yield* shell.run([...none, "--max-time", "500ms", "--quiet"], key)).toEqual({
          code: 5,
          out: "",
          err: expect.stringMatching(/^stopped: the time allowed by --max-time has passed.*\n$/)
        })
      }))),
    30_000
  )

  it.effect(
    "waits for credit where the policy says so and no flag says otherwise, tells of it, and shades the time on its page",
    () =>
      live(Effect.gen(function*() {
        const { input, shell } = opened(40)
        const page = shell.path("r.html")
        const config = shell.write("c.json", JSON.stringify({ ...JSON.parse(fast), credits: { balanceUsd: 0 } }))
        const policy = shell.write("p.json", JSON.stringify({ onCredits: "wait" }))
        const args = ["run", input, "--emulator", "--emulator-config", config, "--policy", policy]
        const { code, err } = yield* shell.run([...args, "--report", page, "--max-time", "3s"])
        expect([code, err]).toEqual([
          5,
          expect.stringMatching(/^warning +out of credit since 0:0\d: the run waited for .*\. Top up at https:/m)
        ])
        expect(readFileSync(page, "utf8")).toContain("shaded red: no credit")
        const stopped = yield* shell.run([...args, "--on-credits", "stop"])
        expect([stopped.code, stopped.err]).toEqual([4, expect.stringContaining("With --on-credits wait a run waits")])
      })),
    30_000
  )

  it.effect(
    "stops at the first row that fails where --fail-on-error is given, and goes past it where it is not",
    () =>
      live(Effect.gen(function*() {
        const { emulator, shell } = opened(0)
        const refused = Shell.prompts(1, { max_tokens: -5 }).replace("r1", "refused")
        const input = shell.write("in.jsonl", refused + Shell.prompts(9))
        const run = (...more: ReadonlyArray<string>) =>
          shell.run(["run", input, ...emulator, "--concurrency", "1", "--json", ...more])
        const stopped = yield* run("--fail-on-error")
        expect([stopped.code, stopped.err.includes("a row failed, and --fail-on-error was given")]).toEqual([3, true])
        const { rows, undone } = JSON.parse(stopped.out) as { readonly rows: { readonly ok: number }; undone: number }
        expect([rows.ok < 5, rows.ok + undone]).toEqual([true, 9])
        const whole = yield* run()
        expect([whole.code, JSON.parse(whole.out)]).toMatchObject([3, { rows: { ok: 9, failed: 1 }, undone: 0 }])
      })),
    30_000
  )

  it.effect(
    "sends one row after another by --concurrency 1, twins once by --dedupe, and retries as the policy says",
    () =>
      live(Effect.scoped(Effect.gen(function*() {
        const shell = Shell.open()
        const policy = shell.write("p.json", JSON.stringify({ retry: { type: "delays", delays: ["20 millis"] } }))
        const twins = Shell.prompts(1) + Shell.prompts(1)
        const input = shell.write("in.jsonl", Shell.prompts(6) + twins.replace("r1", "r7").replace("r1", "r8"))
        let sent = 0
        let underWay = 0
        let most = 0
        const { url } = yield* serve((request, response) => {
          const isCall = request.method === "POST"
          const isFirst = isCall && sent++ === 0
          if (isCall) most = Math.max(most, ++underWay)
          request.resume().on("end", () =>
            setTimeout(() => {
              if (isCall) underWay--
              const message = { role: "assistant", content: "hi" }
              response.writeHead(isFirst ? 500 : 200, { "content-type": "application/json" })
              response.end(JSON.stringify(isCall ? { choices: [{ index: 0, finish_reason: "stop", message }] } : []))
            }, 150))
        })
        const flags = ["--base-url", url, "--concurrency", "1", "--dedupe", "--policy", policy, "--json"]
        const { code, out } = yield* shell.run(["run", input, ...flags], key)
        expect([code, sent, most]).toEqual([0, 7, 1])
        expect(JSON.parse(out)).toMatchObject({
          rows: { ok: 8, twins: 2 },
          attempts: { retriesBy: { ServerError: 1 } },
          time: { waitedSeconds: 0.02 }
        })
      }))),
    30_000
  )

  it.effect(
    "asks the provider by --live, even where --emulator is given",
    () =>
      live(Effect.scoped(Effect.gen(function*() {
        const { input, shell } = opened(1)
        const { url } = yield* serve((_, response) => response.writeHead(401).end("{}"))
        const { code } = yield* shell.run(["run", input, "--emulator", "--live"], { ...key, TOGETHER_BASE_URL: url })
        expect([code, existsSync(shell.path("in.results.jsonl.journal"))]).toEqual([4, true])
      }))),
    30_000
  )

  it.effect("begins with a file that was blank before", () =>
    live(Effect.gen(function*() {
      const { emulator, shell } = opened(0)
      const input = shell.write("in.jsonl", "\n\n")
      expect((yield* shell.run(["run", input, ...emulator])).err).toContain("holds no rows")
      writeFileSync(input, Shell.prompts(2))
      expect((yield* shell.run(["run", input, ...emulator])).code).toBe(0)
    })), 30_000)

  it.effect("puts its files where plan looks for them, by flag and by setting", () =>
    live(Effect.gen(function*() {
      const { emulator, input, shell } = opened(6)
      const directory = shell.path("out")
      const place = ["-o", `${directory}/in.results.jsonl`, "--out-dir", directory]
      expect((yield* shell.run(["run", input, ...emulator, ...place, "--range", "1:4"])).code).toBe(0)
      const left = "2 rows to send, 4 answered before"
      expect((yield* shell.run(["plan", input, "--out-dir", directory])).out).toContain(left)
      expect((yield* shell.run(["plan", input], { EFFECT_TOGETHER_OUT_DIR: directory })).out).toContain(left)
      expect((yield* shell.run(["plan", input])).out).toContain("6 rows to send")
    })), 30_000)

  it("keeps the answers of two jobs on standard input apart, and writes to devices", async () => {
    const { emulator, shell } = opened(1)
    const lines = Shell.prompts(12).split(/(?<=\n)/)
    const piped = async (input: string, flags: ReadonlyArray<string>) => {
      const run = start(["run", "-", ...emulator, ...flags], {}, { input, cwd: shell.directory })
      return { code: await run.ended, ...run.said }
    }
    const pipe = (input: string, flags: ReadonlyArray<string>) =>
      Effect.runPromise(
        shell.run(["run", "-", ...emulator, "--out-dir", shell.directory, ...flags], {}, undefined, input)
      )
    const ids = (out: string) => idsOf(shell.write("out.txt", out)).sort()
    const [one, two] = [lines.slice(0, 3).join(""), lines.slice(10, 12).join("")]
    // a process of its own, which shares nothing with the others
    const owning = piped(two, ["-o", "/dev/stdout", "--journal", "two.journal", "--errors", "/dev/null", "-q"])
    const first = await pipe(one, ["-o", "-", "-q"])
    expect([first.code, ids(first.out)]).toEqual([0, ["r1", "r2", "r3"]])
    const refused = await pipe(two, ["-o", "-"])
    expect([refused.code, refused.out]).toEqual([2, ""])
    expect(refused.err).toContain("Give this job a journal and results of its own")
    const own = await owning
    expect([own.code, ids(own.out)]).toEqual([0, ["r11", "r12"]])
    const both = await pipe(two, ["-o", "-", "-q", "--changed", "keep"])
    expect([both.code, ids(both.out)]).toEqual([0, ["r11", "r12"]])
    const again = await pipe(lines.slice(0, 2).join("").trimEnd(), ["-o", "-", "--changed", "keep"])
    expect([again.code, ids(again.out), again.err.includes("2 of them before")]).toEqual([0, ["r1", "r2"], true])
    // the files that it goes on with are those of its directory
    const file = await piped(one, [])
    expect([file.code, idsOf(shell.path("stdin.emulator.results.jsonl")).length]).toEqual([0, 3])
    expect((await pipe("", [])).code).toBe(2)
  }, 60_000)
})

describe("settings", () => {
  it("writes numbers as one would type them", () => {
    const read = Settings.fromFile("c", JSON.stringify({ "max-cost": 1e-7, concurrency: 64, temperature: 0.25 }))
    expect(Result.getOrThrow(read)).toEqual({
      EFFECT_TOGETHER_MAX_COST: "0.0000001",
      EFFECT_TOGETHER_CONCURRENCY: "64",
      EFFECT_TOGETHER_TEMPERATURE: "0.25"
    })
  })
})

describe("policy", () => {
  const curve = { type: "exponential", base: Duration.seconds(1) } as const
  it.each(
    [
      [curve, true],
      [{ ...curve, maxAttempts: 4 }, false],
      [{ ...curve, maxElapsed: Duration.seconds(9) }, false],
      [{ ...curve, maxAttempts: 4, byTag: { RateLimitError: curve } }, false],
      [{ type: "delays", delays: [Duration.seconds(1)] }, false],
      [{ type: "sequence", schedules: [{ ...curve, times: 2 }, curve] }, true],
      [{ type: "min", schedules: [{ ...curve, times: 2 }, curve] }, true],
      [{ type: "max", schedules: [{ ...curve, times: 2 }, curve] }, false]
    ] as const
  )("tells whether a document stops by itself: %#", (retry, endless) => {
    expect(Policy.isEndless({ retry })).toBe(endless)
  })
})

describe("schedule", () => {
  it("sums up more runs than a call takes arguments", () => {
    const [first] = Schedule.spreads(Array.from({ length: 300_000 }, (_, at) => [at % 7]))
    expect(first).toMatchObject({ retry: 1, least: 0, most: 6, share: 1 })
  })

  it.effect("says that an error is retried where one attempt is shown", () =>
    live(Effect.gen(function*() {
      const { code, out } = yield* Shell.open().run(["schedule", "--attempts", "1"])
      expect([code, out]).toEqual([
        0,
        "the built-in policy retries such an error; --attempts 2 or more shows after which delays\n"
      ])
    })))

  it.effect("reads a retry document with its fields in any order", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const policy = shell.write("p.json", "{\"base\": \"1 second\", \"type\": \"exponential\", \"jitter\": \"none\"}")
      const endless = yield* shell.run(["schedule", policy])
      expect(endless.out).toMatch(/ 1 +1 s +1 s +1 s/)
      expect(endless.out).toContain("does not stop by itself (the first 10 attempts shown)")
      expect((yield* shell.run(["schedule", shell.write("q.json", "nonsense")])).err).toContain("is not valid")
    })))
})
