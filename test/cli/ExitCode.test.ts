import { describe, expect, it } from "@effect/vitest"
import * as ExitCode from "../../src/cli/ExitCode.ts"
import { InputError, JournalError, OutputError } from "../../src/job/JobError.ts"
import * as Report from "../../src/job/Report.ts"

describe("ExitCode", () => {
  const journal = (reason: JournalError["reason"]) => new JournalError({ message: "", reason, path: "" })
  it.each([
    [new InputError({ message: "", reason: "empty", path: "" }), 2],
    [new OutputError({ message: "", reason: "unwritable", path: "" }), 2],
    [new OutputError({ message: "", reason: "disk-full", path: "" }), 1],
    [journal("locked"), 2],
    [journal("input-changed"), 2],
    [journal("disk-full"), 1],
    [journal("lock-lost"), 1],
    [journal("removed"), 1]
  ])("of %s is %d", (error, code) => {
    expect(ExitCode.ofJobError(error)).toBe(code)
  })

  it("is 3 where rows failed, before or now, or were left undone", () => {
    const report = Report.make(0)
    expect(ExitCode.ofEnding(undefined, report, 0)).toBe(0)
    expect(ExitCode.ofEnding(undefined, report, 1)).toBe(3)
    report.resumedFailed = 1
    expect(ExitCode.ofEnding(undefined, report, 0)).toBe(3)
  })
})
