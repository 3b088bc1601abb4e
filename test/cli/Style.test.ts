import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as CommandLine from "../../src/cli/CommandLine.ts"
import * as Style from "../../src/cli/Style.ts"
import * as Table from "../../src/cli/Table.ts"
import * as Shell from "./Shell.ts"

const esc = "\u001b"
const hostile = `a${esc}[2J${esc}[31mb\u0007\r\u007f\u009b1A\u202ec\u2066`
const harmless = "a\\u001b[2J\\u001b[31mb\\u0007\\u000d\\u007f\\u009b1A\\u202ec\\u2066"

describe("Style", () => {
  describe("visible", () => {
    it("shows what a terminal would obey, or read backwards, and leaves lines and tabs", () => {
      expect(Style.colorless.visible(hostile)).toBe(harmless)
      expect(Style.colorless.visible("ü\ta\nb — 行")).toBe("ü\ta\nb — 行")
    })

    it("leaves our own colours, and ends with its line what a quoted one has begun", () => {
      const { bold, red, visible } = Style.colored
      const painted = `${bold("one")} ${red("two")}\nthree`
      expect(visible(painted)).toBe(painted)
      expect(visible(`x${esc}[31my\nz`)).toBe(`x${esc}[31my${esc}[0m\nz`)
      expect(visible(red(`${esc}[8mhidden${esc}[1A`))).toBe(red("\\u001b[8mhidden\\u001b[1A"))
      expect(visible(visible(painted + hostile))).toBe(visible(painted + hostile))
    })
  })

  it("keeps the columns of a table where a cell holds control characters", () => {
    expect(Table.draw([{ head: "m" }, { head: "n" }], [[`a${esc}`, "1"], ["b", "2"]])).toBe(
      "m        n\na\\u001b  1\nb        2\n"
    )
  })

  it("quotes a word with control characters so that a shell reads it and a terminal does not", () => {
    expect(CommandLine.again(["run", `it's\\${esc}[31m.jsonl`])).toBe(
      "effect-together run $'it\\'s\\\\\\u001b[31m.jsonl'"
    )
    expect(CommandLine.again(["run", "it's.jsonl"])).toBe("effect-together run 'it'\\''s.jsonl'")
  })

  it("continues a command that names its input after -- by one that takes further flags", () => {
    const args = ["run", "--max-cost", "1", "--", "-dash.jsonl"]
    expect(CommandLine.again(args)).toBe("effect-together run --max-cost 1 ./-dash.jsonl")
    expect(CommandLine.instead(args, "--max-cost", "--max-cost", "2")).toBe(
      "effect-together run ./-dash.jsonl --max-cost 2"
    )
    expect(CommandLine.corrected(["run", "--", "-"])).toBe("effect-together run - --retry-errors --changed keep")
  })

  it.live(
    "shows control characters of models, rows and paths in what the command writes",
    () =>
      Effect.gen(function*() {
        const shell = Shell.open()
        const row = JSON.stringify({ custom_id: "a", model: `m${esc}[2J\u202e`, prompt: "Hi" })
        const input = shell.write(`in${esc}[31m.jsonl`, `${row}\n{"${esc}\n`)
        const plan = yield* shell.run(["plan", input])
        expect(plan.out).toContain("m\\u001b[2J\\u202e")
        const ran = yield* shell.run(["run", input, "--emulator"])
        const explained = yield* shell.run(["explain", `${esc}[2J`])
        const gone = yield* shell.run(["run", `${esc}[2J.jsonl`, "--emulator"])
        expect(ran.err).toContain("in\\u001b[31m.emulator.results.jsonl")
        for (const { err, out } of [plan, ran, explained, gone]) {
          expect([esc, "\u202e"].filter((control) => (err + out).includes(control))).toEqual([])
        }
      }),
    30_000
  )
})
