import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { doctorFlags } from "../../src/cli/Doctor.ts"
import { emulateFlags } from "../../src/cli/Emulate.ts"
import { explainFlags } from "../../src/cli/Explain.ts"
import { planFlags } from "../../src/cli/Plan.ts"
import { runFlags } from "../../src/cli/RunFlags.ts"
import { scheduleFlags } from "../../src/cli/Schedule.ts"
import * as Settings from "../../src/cli/Settings.ts"
import { simulateFlags } from "../../src/cli/Simulate.ts"
import * as Parts from "../../src/job/batch/BatchParts.ts"
import * as DiskFull from "../../src/job/files/DiskFull.ts"
import * as GroupCommit from "../../src/job/journal/GroupCommit.ts"
import * as Input from "../../src/job/Input.ts"
import * as Job from "../../src/job/Job.ts"
import { InputError, JournalReason, OutputError } from "../../src/job/JobError.ts"
import * as Lock from "../../src/job/files/Lock.ts"
import * as Patience from "../../src/job/Patience.ts"
import * as Sender from "../../src/job/Sender.ts"

const page = (name: string) => readFileSync(join(import.meta.dirname, "../../docs", name), "utf8")

const table = (text: string, heading: string) =>
  text.slice(text.indexOf(`## ${heading}\n`)).split("\n## ")[0]!.split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()))

describe("docs/job.md", () => {
  it("lists the defaults that the code has", () => {
    const said = new Map(
      table(page("job.md"), "Defaults").map(([name, value]) => [name!.replaceAll("`", ""), value!.replaceAll("`", "")])
    )
    const seconds = (duration: Duration.Duration) =>
      `${Duration.toSeconds(duration)} second${Duration.toSeconds(duration) === 1 ? "" : "s"}`
    expect(said.get("concurrency")).toBe(String(Job.defaults.concurrency))
    expect(said.get("order")).toBe(Job.defaults.order)
    expect(said.get("changed")).toBe(Job.defaults.changed)
    expect(said.get("window")).toBe(`${Job.defaults.windowPerConcurrency} × concurrency`)
    expect(said.get("grace")).toBe(seconds(Job.defaults.grace))
    expect(said.get("durability")).toBe(GroupCommit.defaults.durability)
    expect(said.get("fullDiskWait")).toBe(seconds(DiskFull.defaults.fullDiskWait))
    expect(said.get("fullDiskEvery")).toBe(seconds(DiskFull.defaults.fullDiskEvery))
    expect(said.get("heartbeat")).toBe(seconds(Lock.defaults.heartbeat))
    const { beforeFirst, outage } = Patience.settings()
    expect(said.get("patience")).toBe(`${Patience.defaults.rounds} rounds, ${outage} s, ${beforeFirst} s`)
    const text = page("job.md")
    expect(text).toContain(
      `ranks it as \`${Sender.defaults.priority}\`, and labels it \`${Sender.defaults.label}\``
    )
    expect(text).toContain(`after ${Patience.defaults.abandonAfter} of a model and not one answer`)
    expect(text).toContain(`parts of at most ${Parts.defaults.maxRows.toLocaleString("en")}`)
    expect(text).toContain(`${Input.defaults.maxLineBytes / 1e6} MB at the most`)
  })

  it("lists every reason of every error", () => {
    const said = new Map(table(page("job.md"), "Errors").map(([tag, reasons]) => [tag, reasons]))
    const list = (reasons: ReadonlyArray<string>) => reasons.map((reason) => `\`${reason}\``).join(", ")
    expect(said.get("`JournalError`")).toBe(list(JournalReason.literals))
    expect(said.get("`InputError`")).toBe(list(InputError.fields.reason.literals))
    expect(said.get("`OutputError`")).toBe(list(OutputError.fields.reason.literals))
  })
})

describe("docs/cli.md", () => {
  it("names every flag of every command", () => {
    const text = page("cli.md")
    const commands = [runFlags, planFlags, simulateFlags, emulateFlags, scheduleFlags, doctorFlags, explainFlags]
    const named = commands.flatMap(Object.keys)
      .filter((name) => !["input", "what"].includes(name))
      .map((name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`)
    expect(named.filter((flag) => !new RegExp(`${flag}\\b`).test(text))).toEqual([])
  })

  it("names no setting that is not a flag", () => {
    const flags = new Set(
      Object.keys(runFlags).map((name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`))
    )
    for (const name of Settings.names) expect([name, flags.has(name)]).toEqual([name, true])
    const listed = /Settings are\n([\s\S]*?);/.exec(page("cli.md"))?.[1]?.match(/(?<=`)[a-z-]+(?=`)/g) ?? []
    expect(listed.toSorted()).toEqual(Settings.names.toSorted())
  })
})
