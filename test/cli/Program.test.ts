import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as PlatformError from "effect/PlatformError"
import * as TestClock from "effect/testing/TestClock"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import type { RequestListener } from "node:http"
import { gzipSync } from "node:zlib"
import { explainFailure } from "../../src/cli/Program.ts"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import { JournalError } from "../../src/job/JobError.ts"
import { serve } from "./serve.ts"
import * as Shell from "./Shell.ts"

const live = <A, E>(effect: Effect.Effect<A, E>) => TestClock.withLive(effect)

const rows = (path: string) =>
  readFileSync(path, "utf8").split("\n").filter((text) => text !== "")
    // what the test reads is what the command wrote
    .map((text) => JSON.parse(text) as { readonly custom_id: string; readonly error?: { readonly code: string } })

describe.concurrent("effect-together", () => {
  it.effect("answers a wrong call with one line and exit code 2", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const input = shell.write("in.jsonl", Shell.prompts(2))
      const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
        [["run", input, "--nonsense"], "--nonsense"],
        [["run"], "input"],
        [["run", input, "--max-cost", "much"], "--max-cost must be an amount in dollars, like 2.50, got \"much\""],
        [["run", input, "--max-time", "soon"], "--max-time must be a span"],
        [["run", input, "--range", "9:3"], "--range must be like 1:100"],
        [["run", input, "--range", "9:12"], "--range chooses none of the 2 lines of"],
        [["run", input, "--emulator", "--report", input], "is a file of the job"],
        [
          ["run", input, "--emulator", "-o", shell.path("x"), "--errors", shell.path("x")],
          "for the results and for the errors"
        ],
        [["run", input, "--emulator", "--journal", input], "for the input and for the journal"],
        [["run", input, "--concurrency", "0"], "--concurrency must be above 0, got 0"],
        [["run", input, "-o", "-", "--json"], "--output - and --json both want standard output"],
        [["run", input, "--errors", "-"], "--errors - names no file"],
        [["run", input, "--journal", "-"], "--journal - names no file"],
        [["run", input, "--report", "-"], "--report - names no file"],
        [["run", "-", "--sample", "2"], "--sample and --range need a file"],
        [["run", input, "--via", "batch", "--dedupe"], "--via batch cannot be combined"],
        [["run", input, "--emulator-config", "x"], "--emulator-config needs --emulator"],
        [["run", input, "--policy", shell.path("none.json")], "cannot read the policy"],
        [["run", shell.path("none.jsonl"), "--emulator"], "no such input file"],
        [["run", shell.write("empty.jsonl", ""), "--emulator"], "is empty: there is nothing to send"],
        [
          ["run", input, "--emulator", "-o", shell.path("no/such/dir/out.jsonl")],
          `${shell.path("no/such/dir")} does not exist`
        ],
        [["plan", shell.write("blank.jsonl", "\n\n")], "holds no rows"],
        [["explain", "banana"], "is no status, error name or error body. Try:"],
        [["explain", "not json"], "is no status, error name or error body. Try:"],
        [["explain", "ratelimiterror"], "Did you mean RateLimitError?"],
        [["simulate", input, "--requests-per-second", "-1"], "no options of a simulation in these flags"],
        [["schedule", "--attempts", "0"], "must be 1 or more"],
        [["schedule", "--retry-after", "-3"], "--retry-after must be above 0, got -3"],
        [["run", input, "--requests-per-minute", "-5"], "--requests-per-minute must be above 0, got -5"],
        [["run", input, "--tokens-per-minute", "0"], "--tokens-per-minute must be above 0, got 0"],
        [["plan", input, "--latency", "0"], "--latency must be above 0, got 0"],
        [["simulate", input, "--concurrency", "0"], "--concurrency must be above 0, got 0"],
        [["emulate", "--port", "99999"], "--port must be in [0, 65535], got 99999"],
        [["run", input, "--emulator", "--out-dir", "/dev/null/x"], "Check the directory"],
        [["run", input, "--emulator", "-o", shell.directory], "is a directory: give the path of a file"],
        [["run", input, "--emulator", "--errors", shell.directory], "is a directory: give the path of a file"],
        [["run", "-dash.jsonl"], "-dash.jsonl is no flag: write a path as ./-dash.jsonl"],
        [["run", input, "--system", "-be brief"], "a value that begins with a dash as --flag=VALUE"]
      ]
      for (const [args, message] of cases) {
        const { code, err, out } = yield* shell.run(args, { TOGETHER_API_KEY: "k" })
        expect([args.join(" "), code, out]).toEqual([args.join(" "), 2, ""])
        expect(err).toContain(message)
        expect(err).not.toContain("    at ")
      }
      // a run that is refused for its files leaves none
      expect(existsSync(`${shell.directory}.journal`)).toBe(false)
    })), 60_000)

  it.effect("refuses to start without a key, and never takes one from the command line", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const input = shell.write("in.jsonl", Shell.prompts(2))
      const { code, err } = yield* shell.run(["run", input])
      expect(code).toBe(4)
      expect(err).toContain("Set TOGETHER_API_KEY, or add --emulator")
      expect((yield* shell.run(["run", input, "--api-key", "secret"])).code).toBe(2)
    })))

  it("says in lines what ended a command", () => {
    const said = (error: unknown) => {
      const { code, lines } = explainFailure(error, "effect-together run x")
      return [code, lines.join(" ")] as const
    }
    expect(said(new Error("odd"))).toEqual([1, expect.stringMatching(/^unexpected: odd this is a defect .* DEBUG=1/)])
    expect(said("thrown")[1]).toContain("unexpected: thrown")
    expect(said(new TogetherError.AuthError({ message: "no key" }))).toEqual([4, "no key"])
    expect(said(new TogetherError.InvalidRequestError({ message: "no address" }))).toEqual([2, "no address"])
    const changed = new JournalError({ message: "it has changed.", reason: "input-changed", path: "j" })
    expect(said(changed)[1]).toContain("go on with: effect-together run x --changed keep")
    const unwritable = new JournalError({
      message: "no permission.",
      reason: "unwritable",
      path: "j",
      cause: PlatformError.systemError({ _tag: "PermissionDenied", module: "FileSystem", method: "open" })
    })
    expect(said(unwritable)[1]).toContain("or write to another directory with: effect-together run x --out-dir DIR")
    expect(explainFailure(unwritable, "effect-together run x --out-dir y").lines).toEqual(["no permission."])
    // what broke later has a journal that another directory would not know
    expect(said(new JournalError({ message: "an error.", reason: "unwritable", path: "j" }))[1]).toBe("an error.")
    // sent again, the row would take the place of another row's answer
    const reused = said(new JournalError({ message: "an id stands twice.", reason: "id-reused", path: "j" }))
    expect(reused[1]).toContain("then go on with: effect-together run x --changed keep")
    expect(reused[1]).not.toContain("resend")
    const { lines } = explainFailure(
      new JournalError({ message: "a line was removed.", reason: "row-moved", path: "j" }),
      "effect-together run x --changed keep"
    )
    expect(lines[1]).toBe("go on with: effect-together run x --changed resend (send changed rows again)")
  })

  it.effect("names a setting of the environment that cannot be used", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const input = shell.write("in.jsonl", Shell.prompts(2))
      const cases = [
        [
          "MAX_TOKENS",
          "many",
          "EFFECT_TOGETHER_MAX_TOKENS in the environment cannot be used: Expected a string"
        ],
        [
          "ORDER",
          "random",
          "EFFECT_TOGETHER_ORDER in the environment cannot be used"
        ],
        [
          "CONCURRENCY",
          "0",
          "EFFECT_TOGETHER_CONCURRENCY in the environment cannot be used: --concurrency must be above 0"
        ],
        ["MAX_TIME", "soon", "EFFECT_TOGETHER_MAX_TIME in the environment cannot be used: --max-time must be a span"]
      ] as const
      for (const [name, value, message] of cases) {
        const { code, err, out } = yield* shell.run(["run", input], { [`EFFECT_TOGETHER_${name}`]: value })
        expect([name, code, out]).toEqual([name, 2, ""])
        expect(err).toContain(message)
        expect(err).not.toMatch(/SchemaError|    at /)
      }
      const path = shell.write(".effect-together.json", JSON.stringify({ "max-cost": "much" }))
      const env = { EFFECT_TOGETHER_MAX_CSOT: "5" }
      const { err } = yield* shell.run(["run", input, "--emulator"], env)
      expect(err).toContain(`"max-cost" in ${path} cannot be used: --max-cost must be an amount`)
      expect(err).toContain("EFFECT_TOGETHER_MAX_CSOT in the environment is no setting and does nothing: did you mean")
      // what is a flag and no setting does nothing either
      const range = yield* shell.run(["plan", input, "--json"], { EFFECT_TOGETHER_RANGE: "1:1" })
      expect(range.err).toContain("EFFECT_TOGETHER_RANGE in the environment is no setting and does nothing")
      expect(JSON.parse(range.out)).toMatchObject({ rows: 2 })
      const flag = yield* shell.run(["run", input, "--emulator", "--max-cost=x"], env)
      expect(flag.err).toContain("Invalid value for flag --max-cost: \"x\"")
    })))

  it.effect("puts max_tokens, temperature and a system message into rows that set none", () =>
    live(Effect.gen(function*() {
      const shell = Shell.open()
      const input = shell.write("in.jsonl", `${JSON.stringify({ custom_id: "a", prompt: "Hi", model: "m" })}\n`)
      const tokens = (args: ReadonlyArray<string>) =>
        Effect.map(
          shell.run(["plan", input, "--json", ...args]),
          ({ out }) => JSON.parse(out) as { readonly models: { readonly m: { readonly inputTokens: number } } }
        )
      const bare = yield* tokens([])
      const system = yield* tokens(["--system", "You are a poet of few words.", "--temperature", "0.2"])
      expect(system.models.m.inputTokens).toBeGreaterThan(bare.models.m.inputTokens)
      const short = yield* shell.run(["plan", input, "--max-tokens", "7"])
      expect(short.out).toMatch(/ 7 /)
    })))

  describe("run", () => {
    it.effect("answers, resumes, and reports", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(20))
        const page = shell.path("r.html")
        const args = ["run", input, "--emulator", "--report", page]
        const first = yield* shell.run(args)
        expect([first.code, first.out]).toEqual([0, ""])
        expect(first.err).toContain("20 answered · 0 failed · 0 lost")
        expect(first.err).toMatch(/elapsed .* ideal /)
        expect(rows(shell.path("in.emulator.results.jsonl")).length).toBe(20)
        expect(existsSync(shell.path("in.emulator.errors.jsonl"))).toBe(false)
        const html = readFileSync(page, "utf8")
        expect(html).toContain("all rows answered")
        expect(html).not.toContain("<script")
        const second = yield* shell.run([...args, "--json"])
        // the summary is the whole of standard output
        expect(JSON.parse(second.out)).toMatchObject({
          rows: { ok: 20, answeredNow: 0, answeredBefore: 20 },
          attempts: { total: 0 },
          undone: 0,
          lost: 0
        })
        expect(second.err).toContain("nothing to send")
      })), 30_000)

    it.effect("writes results to standard output, in order, and nothing else", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(5))
        const { code, out } = yield* shell.run(["run", input, "--emulator", "-o", "-", "--order", "input", "--quiet"])
        expect(code).toBe(0)
        const ids = out.trim().split("\n").map((text) => (JSON.parse(text) as { readonly custom_id: string }).custom_id)
        expect(ids).toEqual(["r1", "r2", "r3", "r4", "r5"])
      })), 30_000)

    it.effect("returns 3 where rows failed, and says how to go on", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const text = Shell.prompts(3) + "{broken\n" +
          Shell.prompts(1).replace("r1", "r9").replace("\"max_tokens\":20", "\"max_tokens\":-5")
        const input = shell.write("in.jsonl", text)
        const { code, err } = yield* shell.run(["run", input, "--emulator"])
        expect(code).toBe(3)
        expect(err).toContain("1 bad line")
        expect(err).toContain("line 4 is not JSON")
        expect(err).toContain("--retry-errors")
        expect(rows(shell.path("in.emulator.errors.jsonl")).map((row) => row.error?.code).sort()).toEqual([
          "bad_row_json",
          "invalid_request"
        ])
      })), 30_000)

    it.effect("stops at a cap with 5, and goes on from there", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(7))
        // one after another: an answer of the usual time would make seconds of it
        const quick = {
          firstToken: { kind: "constant", value: 0.01 },
          tokensPerSecond: { kind: "constant", value: 2000 }
        }
        const config = shell.write("quick.json", JSON.stringify(quick))
        const args = ["run", input, "--emulator", "--emulator-config", config, "--concurrency", "1"]
        const { code, err } = yield* shell.run([...args, "--max-cost", "0.00002"])
        expect(code).toBe(5)
        expect(err).toContain("stopped by --max-cost")
        expect(err).toContain("continue with: effect-together run")
        // what was spent before counts
        const again = yield* shell.run([...args, "--max-cost", "0.00002"])
        expect([again.code, again.err.includes("attempts  0 ")]).toEqual([5, true])
        expect((yield* shell.run(args)).code).toBe(0)
        expect(rows(shell.path("in.emulator.results.jsonl")).length).toBe(7)
      })), 30_000)

    it.effect("names a changed input and the two ways to go on", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(3))
        yield* shell.run(["run", input, "--emulator"])
        shell.write("in.jsonl", Shell.prompts(4))
        const { code, err } = yield* shell.run(["run", input, "--emulator"])
        expect(code).toBe(2)
        expect(err).toContain("has changed since its journal was begun")
        expect(err).toContain("--changed keep")
        expect((yield* shell.run(["run", input, "--emulator", "--changed", "keep"])).code).toBe(0)
      })), 30_000)

    it.effect("lets the last of a repeated flag count", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(2))
        const args = ["--emulator", "--emulator", "--order", "input", "--order=completion", "-q", "--quiet"]
        const places = ["--out-dir", shell.path("one"), "--out-dir", shell.path("two")]
        expect((yield* shell.run(["run", input, ...args, ...places])).code).toBe(0)
        expect([existsSync(shell.path("one")), rows(shell.path("two/in.emulator.results.jsonl")).length]).toEqual([
          false,
          2
        ])
        const { out } = yield* shell.run(["plan", input, "--requests-per-minute", "9", "--requests-per-minute", "60"])
        expect(out).toContain("about 2 s")
        expect((yield* shell.run(["run", input, "--order", "input", "--order", "random"])).code).toBe(2)
      })), 30_000)

    it.effect("makes no directory that nothing goes to", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(1))
        const args = ["run", input, "--emulator", "-qo", shell.path("out.jsonl"), "--out-dir", shell.path("none")]
        expect((yield* shell.run(args)).code).toBe(0)
        expect([existsSync(shell.path("out.jsonl.journal")), existsSync(shell.path("none"))]).toEqual([true, false])
      })), 30_000)

    it.effect("reads a file joined from several gzipped ones", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.path("in.jsonl.gz")
        const both = Shell.prompts(2) + Shell.prompts(3).split("\n")[2]!
        writeFileSync(input, Buffer.concat(both.split(/(?<=\n)/).map((text) => gzipSync(text))))
        const { code, err } = yield* shell.run(["run", input, "--emulator"])
        expect([code, err.includes("3 answered")]).toEqual([0, true])
        expect(rows(shell.path("in.emulator.results.jsonl")).length).toBe(3)
      })), 30_000)

    it.effect(
      "prints one answer for each row to standard output, changed rows sent again",
      () =>
        live(Effect.gen(function*() {
          const shell = Shell.open()
          const input = shell.write("in.jsonl", Shell.prompts(4))
          const args = ["run", input, "--emulator", "-o", "-", "--quiet"]
          yield* shell.run(args)
          shell.write("in.jsonl", Shell.prompts(5).replace("What is 2", "How much is 2"))
          const { code, out } = yield* shell.run([...args, "--changed", "resend"])
          const ids = out.trim().split("\n").map((text) =>
            (JSON.parse(text) as { readonly custom_id: string }).custom_id
          )
          expect([code, ids.sort()]).toEqual([0, ["r1", "r2", "r3", "r4", "r5"]])
        })),
      30_000
    )

    it.effect("redraws on a terminal, and leaves the summary alone on the screen", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(6))
        const { err } = yield* shell.run(["run", input, "--emulator"], {}, { color: true, redraw: true, columns: 90 })
        const drawings = err.split("\u001b[3A\r\u001b[2K").length - 1
        expect(drawings).toBeGreaterThan(2)
        expect(err).toContain("in flight")
        // what was drawn is erased before the summary
        const summary = err.slice(err.lastIndexOf("\u001b[3A\r\u001b[0J"))
        expect(summary).toContain("6 answered")
        expect(summary).not.toContain("in flight")
      })), 30_000)

    it.effect(
      "goes on without the file of limits where it cannot be read, and says where a report cannot be written",
      () =>
        live(Effect.gen(function*() {
          const shell = Shell.open()
          const input = shell.write("in.jsonl", Shell.prompts(2))
          shell.write("in.emulator.results.jsonl.journal.limits.json", "torn {")
          const { code, err, out } = yield* shell.run(["run", input, "--emulator", "--json", "--report", "/dev/full"])
          // the page is the last that is written
          expect([code, (JSON.parse(out) as { readonly undone: number }).undone]).toEqual([2, 0])
          expect(err).toMatch(/2 answered[^]*cannot write the report/)
          expect(rows(shell.path("in.emulator.results.jsonl")).length).toBe(2)
          expect((yield* shell.run(["run", input, "--emulator", "--json"])).code).toBe(0)
        })),
      30_000
    )

    it.effect("goes through the Batch API", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(4))
        const config = shell.write(
          "e.json",
          JSON.stringify({ unknownModels: "accept", batch: { validatingSeconds: 0.1 } })
        )
        const { code, err } = yield* shell.run([
          "run",
          input,
          "--emulator",
          "--emulator-config",
          config,
          "--via",
          "batch",
          "--poll",
          "100ms"
        ])
        expect([code, err.includes("4 answered")]).toEqual([0, true])
      })), 30_000)
  })

  describe("plan", () => {
    it.effect("counts rows, bad lines, tokens and a range of cost without a call", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(10) + "oops\n" + Shell.prompts(1))
        const { code, out } = yield* shell.run(["plan", input, "--requests-per-minute", "60"])
        expect(code).toBe(3)
        expect(out).toContain("openai/gpt-oss-20b")
        expect(out).toContain("line 11 is not JSON")
        expect(out).toContain("2 bad lines, 1 of them with a custom_id used before: not sent")
        expect(out).toContain("line 12: custom_id \"r1\" was used on line 1 already")
        expect(out).toContain("about 10 s")
        const plan = JSON.parse((yield* shell.run(["plan", input, "--json"])).out) as {
          readonly rows: number
          readonly badLines: number
          readonly costUsd: { readonly low: string; readonly high: string }
        }
        expect([plan.rows, plan.badLines]).toEqual([10, 2])
        expect(Number(plan.costUsd.low)).toBeGreaterThan(0)
        expect(Number(plan.costUsd.high)).toBeGreaterThan(Number(plan.costUsd.low))
      })))

    it.effect("counts a row that run refuses as a bad line, not as one without max_tokens", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const body = { model: "openai/gpt-oss-20b", messages: [{ role: "user", content: "Hi" }], max_tokens: "many" }
        const input = shell.write("in.jsonl", `${Shell.prompts(3)}${JSON.stringify({ custom_id: "w", body })}\n`)
        const { code, out } = yield* shell.run(["plan", input])
        expect(code).toBe(3)
        expect(out).toContain("3 rows to send")
        expect(out).toContain("1 bad line: not sent")
        expect(out).toContain("line 4: The request was not sent, it does not fit chat: ")
        expect(out).not.toContain("without max_tokens")
        yield* shell.run(["run", input, "--emulator"])
        const [error] = readFileSync(shell.path("in.emulator.errors.jsonl"), "utf8").split("\n")
        expect(JSON.parse(error!)).toMatchObject({ custom_id: "w", error: { code: "invalid_request" } })
      })))

    it.effect("says how many rows set no max_tokens, and what a budget reserves for them", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const open = JSON.stringify({ prompt: "no bound", model: "openai/gpt-oss-20b" })
        const input = shell.write("in.jsonl", `${Shell.prompts(3)}${open}\n`)
        const { out } = yield* shell.run(["plan", input])
        expect(out).toContain("1 row without max_tokens, or with more than any model holds: 8,192 tokens are assumed")
        expect(out).toContain("--max-cost reserves the model's whole context")
        expect((yield* shell.run(["plan", input, "--max-tokens", "7"])).out).not.toContain("without max_tokens")
        const plan = JSON.parse((yield* shell.run(["plan", input, "--json"])).out) as { readonly models: object }
        expect(plan.models).toMatchObject({ "openai/gpt-oss-20b": { rows: 4, rowsWithoutMaxTokens: 1 } })
      })))

    it.effect("estimates every endpoint, and leaves out what a journal holds", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const lines = [
          { custom_id: "a", url: "/v1/embeddings", body: { model: "BAAI/bge-base-en-v1.5", input: "x" } },
          { custom_id: "b", url: "/v1/completions", body: { model: "m", prompt: "x" } },
          { custom_id: "c", url: "/v1/rerank", body: { model: "m", query: "q", documents: ["d"] } },
          { custom_id: "d", url: "/v1/images/generations", body: { model: "m", prompt: "x" } },
          { prompt: "no id", model: "openai/gpt-oss-20b" }
        ]
        const input = shell.write("in.jsonl", lines.map((line) => `${JSON.stringify(line)}\n`).join(""))
        const { code, out } = yield* shell.run(["plan", input])
        expect(code).toBe(0)
        expect(out).toContain("unknown")
        expect(out).toContain("1 row without custom_id")
        const some = shell.write("some.jsonl", Shell.prompts(6))
        yield* shell.run(["run", some, "--emulator", "--range", "1:4", "-o", shell.path("some.results.jsonl")])
        const left = yield* shell.run(["plan", some])
        expect(left.out).toContain("2 rows to send, 4 answered before")
        expect((yield* shell.run(["plan", some, "--sample", "3", "--json"])).out).toContain("\"rows\"")
      })), 30_000)

    it.effect("computes with the limits that a run has learned", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(10))
        const learned = (savedAt: number) =>
          JSON.stringify({
            "default/openai/gpt-oss-20b": { version: 1, savedAt, requestsPerSecond: 2, tokensPerSecond: 1000 }
          })
        shell.write("in.results.jsonl.journal.limits.json", learned(Date.now()))
        expect((yield* shell.run(["plan", input])).out).toContain("about 5 s")
        shell.write("in.results.jsonl.journal.limits.json", learned(Date.now() - 7_200_000))
        expect((yield* shell.run(["plan", input])).out).toContain("not known before a run has learned the limits")
      })))
  })

  describe("simulate", () => {
    it.effect("prints a table, writes a page, and says where credits end it", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(20))
        const page = shell.path("s.html")
        const { code, out } = yield* shell.run(["simulate", input, "--requests-per-second", "5", "--report", page])
        expect(code).toBe(0)
        expect(out).toMatch(/makespan .*\nideal .*\nratio/)
        expect(readFileSync(page, "utf8")).toContain("simulation of")
        const poor = yield* shell.run(["simulate", input, "--balance", "0.00002"])
        expect(poor.code).toBe(4)
        expect(poor.out).toContain("not sent")
        expect(poor.out).toContain("refused: ")
        const config = shell.write(
          "c.json",
          JSON.stringify({ unknownModels: "accept", credits: { balanceUsd: 0.00002, topUps: [{ at: 60, usd: 5 }] } })
        )
        const patient = yield* shell.run(["simulate", input, "--config", config, "--on-credits", "wait"])
        expect(patient.code).toBe(0)
        expect(patient.out).toMatch(/makespan\s+1 min/)
      })), 30_000)

    it.effect("gives the same outcome for the same seed, in virtual time", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const input = shell.write("in.jsonl", Shell.prompts(30))
        const svg = shell.path("s.svg")
        const args = ["simulate", input, "--requests-per-second", "5", "--repeat", "10", "--json", "--svg", svg]
        const first = yield* shell.run(args)
        expect(first.code).toBe(0)
        const outcome = JSON.parse(first.out) as {
          readonly idealSeconds: number
          readonly time: { readonly elapsedSeconds: number }
          readonly rows: { readonly ok: number }
        }
        expect(outcome.rows.ok).toBe(300)
        expect(outcome.idealSeconds).toBeGreaterThan(50)
        expect(outcome.time.elapsedSeconds / outcome.idealSeconds).toBeLessThan(1.25)
        expect((yield* shell.run(args)).out).toBe(first.out)
        expect(readFileSync(svg, "utf8")).toMatch(/^<svg xmlns=.*<\/svg>\n$/s)
      })), 30_000)
  })

  describe("schedule", () => {
    it.effect("prints the delays of the built-in policy and of a document", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const built = yield* shell.run(["schedule"])
        expect(built.out).toContain("5 attempts")
        const policy = shell.write(
          "p.json",
          JSON.stringify({ retry: { type: "exponential", base: "1 second", jitter: "none", maxAttempts: 4 } })
        )
        const { code, out } = yield* shell.run(["schedule", policy, "--json", "--svg", shell.path("d.svg")])
        expect(code).toBe(0)
        const spreads = JSON.parse(out) as ReadonlyArray<{ readonly median: number }>
        expect(spreads.map((spread) => spread.median)).toEqual([1, 2, 4])
        expect(existsSync(shell.path("d.svg"))).toBe(true)
        writeFileSync(
          policy,
          JSON.stringify({ type: "exponential", base: "2 seconds", jitter: "none", maxAttempts: 2 })
        )
        const bare = yield* shell.run(["schedule", policy, "--error", "rate-limit", "--retry-after", "7"])
        expect(bare.out).toContain("2 attempts")
        writeFileSync(policy, JSON.stringify({ retries: 3 }))
        expect((yield* shell.run(["schedule", policy])).code).toBe(2)
      })))
  })

  describe("doctor", () => {
    it.effect("warns of an address that is odd", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const said = (url: string) => Effect.map(shell.run(["doctor", "--base-url", url]), ({ out }) => out)
        expect(yield* said("ftp://x")).toContain("✗ address  The base URL \"ftp://x\" is not an http or https address")
        const secret = yield* said("http://user:SECRET@127.0.0.1:9/v1?key=SECRET")
        expect(secret).toContain("✗ address  The base URL \"http://127.0.0.1:9/v1\" comes with credentials and a query")
        expect(secret).not.toContain("SECRET")
        expect(yield* said("http://127.0.0.1:9")).toContain("! address  http://127.0.0.1:9 does not end in a version")
        expect(yield* said("http://192.0.2.1.invalid/v1")).toContain("is not encrypted")
      })), 30_000)

    it.effect("names the proxy of its environment, unless NO_PROXY names the host", () =>
      live(Effect.gen(function*() {
        const shell = Shell.open()
        const said = (env: Readonly<Record<string, string>>) =>
          Effect.map(shell.run(["doctor", "--base-url", "https://host.invalid/v1"], env), ({ out }) => out)
        const proxy = { HTTPS_PROXY: "http://127.0.0.1:9" }
        expect(yield* said(proxy)).toContain("✓ proxy    http://127.0.0.1:9 (HTTPS_PROXY)\n")
        expect(yield* said({ ...proxy, NO_PROXY: "invalid" })).not.toContain("proxy")
      })), 30_000)

    const answers: ReadonlyArray<
      readonly [name: string, handler: RequestListener, said: ReadonlyArray<string>, code: number]
    > = [
      [
        "a key that is refused",
        (_, response) => response.writeHead(401).end(JSON.stringify({ error: { message: "Invalid API key" } })),
        ["✓ clock", "✗ call     AuthError", "not ready"],
        4
      ],
      [
        "an account without credit",
        (_, response) =>
          response.writeHead(402).end(
            JSON.stringify({ error: { message: "Credit limit exceeded", type: "credit_limit" } })
          ),
        ["✗ call     InsufficientCreditsError", "not ready"],
        4
      ],
      [
        "a server without whoami",
        (request, response) =>
          request.url?.endsWith("/models") === true
            ? response.writeHead(200, { "content-type": "application/json" })
              .end(JSON.stringify([{ id: "a/b", object: "model", created: 1, type: "chat" }]))
            : response.writeHead(404).end("{}"),
        ["✓ call     GET /models was answered with 1 model", "ready"],
        0
      ],
      [
        "a server that knows neither",
        (_, response) => response.writeHead(404).end("{}"),
        ["✗ call     NotFoundError", "not ready"],
        4
      ],
      [
        "a clock that is slow",
        (_, response) =>
          response.writeHead(200, { "date": new Date(Date.now() + 5_000_000).toUTCString() })
            .end(JSON.stringify({ organization_id: "org-1", project_id: "p-1" })),
        ["! clock    is 1 h 23 min behind the server's", "the key is good, organization org-1, project p-1", "ready"],
        0
      ],
      [
        "a clock that is fast",
        (_, response) => response.writeHead(200, { "date": new Date(Date.now() - 630_000).toUTCString() }).end("{}"),
        ["! clock    is 10 min", "ahead of the server's"],
        0
      ],
      [
        "a server that tells no time",
        (_, response) => {
          response.sendDate = false
          response.writeHead(200).end("{}")
        },
        ["! clock    the server told no time to compare with"],
        0
      ]
    ]
    it.effect.each(answers)(
      "says what it means: %s",
      ([, handler, said, code]) =>
        live(Effect.scoped(Effect.gen(function*() {
          const { url } = yield* serve(handler)
          const doctor = yield* Shell.open().run(["doctor", "--base-url", url], { TOGETHER_API_KEY: "k-123-secret" })
          for (const part of said) expect(doctor.out).toContain(part)
          expect(doctor.code).toBe(code)
          expect(doctor.out + doctor.err).not.toContain("secret")
        }))),
      30_000
    )

    it.effect("says what is missing", () =>
      live(Effect.gen(function*() {
        const { code, out } = yield* Shell.open().run(["doctor", "--base-url", "http://127.0.0.1:9/v1"])
        expect(code).toBe(4)
        expect(out).toContain("✗ key      TOGETHER_API_KEY is not set")
        expect(out).toContain("✗ address  http://127.0.0.1:9/v1 cannot be reached")
        expect(out).not.toMatch(/✓ address|clock/)
      })), 30_000)

    it.effect(
      "says of a base URL without a version that its path is wrong, not the models' names",
      () =>
        live(Effect.scoped(Effect.gen(function*() {
          const { url } = yield* serve((_, response) => response.writeHead(404).end("{}"))
          const at = url.replace("/v1", "")
          const { out } = yield* Shell.open().run(["doctor", "--base-url", at], { TOGETHER_API_KEY: "k" })
          expect(out).toContain(
            `✗ call     NotFoundError: ${at} has no such path. Set --base-url or TOGETHER_BASE_URL to one that ends in /v1`
          )
          expect(out).not.toContain("case-sensitive")
        }))),
      30_000
    )
  })
})
