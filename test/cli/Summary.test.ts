import { describe, expect, it } from "@effect/vitest"
import * as ExitCode from "../../src/cli/ExitCode.ts"
import * as Onward from "../../src/cli/Onward.ts"
import * as RunEnd from "../../src/cli/RunEnd.ts"
import * as Style from "../../src/cli/Style.ts"
import * as Summary from "../../src/cli/Summary.ts"
import * as Remedy from "../../src/domain/Remedy.ts"
import { AuthError, BudgetExceededError, InsufficientCreditsError } from "../../src/domain/TogetherError.ts"
import { JournalError } from "../../src/job/JobError.ts"
import * as Report from "../../src/job/Report.ts"
import type * as Stop from "../../src/job/Stop.ts"
import { answered, start } from "./reports.ts"

const endOf = (stop: Stop.Stop | undefined, report: Report.Report): RunEnd.RunEnd => ({
  report,
  ending: { stop, abandoned: new Map() },
  results: "r.jsonl",
  errors: "e.jsonl",
  journal: "j",
  args: ["run", "in.jsonl"],
  undone: 0,
  lost: 0
})

const budget = new BudgetExceededError({
  message: "over",
  budget: "run",
  limitNanoUsd: 1n,
  neededNanoUsd: 2n,
  remainingNanoUsd: 0n
})
const auth = new AuthError({ message: "wrong key" })

const stops: ReadonlyArray<readonly [Stop.Stop | undefined, number, string]> = [
  [undefined, 0, "done"],
  [{ _tag: "Interrupted" }, 130, "interrupted: every answer that arrived is in the journal"],
  [{ _tag: "MaxTime" }, 5, "stopped: the time allowed by --max-time has passed"],
  [
    { _tag: "MaxCost", error: budget },
    5,
    "stopped by --max-cost: the next row may cost up to $0.000000002, and nothing of"
  ],
  [{ _tag: "FailedRow" }, 3, "--fail-on-error"],
  [{ _tag: "Refused", error: auth }, 4, "refused: wrong key"],
  [{ _tag: "Unreachable", error: auth }, 4, "unreachable: wrong key"]
]

describe("Summary", () => {
  it.each(stops.map(([stop, code, text]) => ({ stop, code, text })))(
    "$text: with code $code",
    ({ code, stop, text }) => {
      const report = answered(3)
      report.endedAt = start + 10_000
      const lines = Summary.lines(endOf(stop, report), Style.colorless).join("\n")
      expect(lines).toContain(text)
      if (stop !== undefined) expect(lines).toContain("continue with: effect-together run in.jsonl")
      expect(ExitCode.ofEnding(stop, report, 0)).toBe(code)
    }
  )

  it("sends rows again that failed by what stopped the run", () => {
    for (const retryable of [true, false]) {
      const report = answered(3)
      Report.settle(report, start, {
        kind: "failed",
        line: 4,
        id: "r4",
        code: "rate_limit",
        retryable,
        attempts: 1,
        millis: 1,
        inputTokens: 0,
        outputTokens: 0
      })
      const again = `effect-together run in.jsonl${retryable ? " --retry-errors" : ""}`
      expect(Onward.line(endOf({ _tag: "Unreachable", error: auth }, report), Style.colorless)).toBe(
        `continue with: ${again}`
      )
      expect(Onward.line(endOf({ _tag: "Interrupted" }, report), Style.colorless)).toBe(
        "continue with: effect-together run in.jsonl"
      )
    }
  })

  it("names failures, unknown prices, missing ids and losses", () => {
    const report = answered(3)
    report.endedAt = start + 10_000
    report.unpriced = 2
    report.unmetered = 3
    report.cached = 1
    report.twins = 1
    report.resumedOk = 4
    report.resumedNanoUsd = 5n
    for (let i = 1; i <= 5; i++) {
      Report.settle(report, start, {
        kind: "failed",
        line: i,
        id: `f${i}`,
        code: "rate_limit",
        message: `refused ${i}`,
        attempts: 1,
        millis: 1,
        inputTokens: 0,
        outputTokens: 0
      })
      Report.note(report.missingIds, i)
    }
    Report.note(report.missingIds, 6)
    Report.retry(report, "RateLimitError", 2)
    Report.warn(report, "take care")
    const text = Summary.lines(
      { ...endOf(undefined, report), idealSeconds: 8, lost: 1, undone: 2, page: "p.html", uncertainNanoUsd: 7n },
      Style.colorless
    ).join("\n")
    for (
      const part of [
        "7 answered · 4 of them before · 1 from the cache · 1 identical · 5 failed · 2 not sent · 1 lost",
        "retries: RateLimitError 1",
        "ideal 8 s (1.25 times)",
        " besides for calls without a known cost · 2 rows of unknown price left out · the answers of 3 rows tell no usage: their cost is not in this sum",
        ", of one row",
        "rate_limit 5",
        "line 3 refused 3",
        "the others are in e.jsonl",
        "6 rows without custom_id (lines 1, 2, 3, 4, 5, …)",
        "take care",
        "p.html"
      ]
    ) expect(text).toContain(part)
    Report.settle(report, start, {
      kind: "ok",
      line: 9,
      id: "r9",
      attempts: 1,
      millis: 70,
      requestMillis: 20,
      inputTokens: 0,
      outputTokens: 0
    })
    expect(Summary.lines(endOf(undefined, report), Style.colorless).join("\n")).toContain(
      "longest 20 ms, of one request"
    )
  })

  it("tells rows in batches that go on from rows that were not sent", () => {
    const report = Report.make(start)
    const stopped = {
      ...endOf({ _tag: "Interrupted" }, report),
      undone: 50,
      running: { batches: 2, doubtful: 0, rows: 30, nanoUsd: 5_000_000n }
    }
    const text = Summary.lines(stopped, Style.colorless).join("\n")
    expect(text).toContain("0 answered · 0 failed · 30 in 2 batches that go on · 20 not sent · 0 lost")
    expect(text).toContain("$0.00 · up to $0.005 for 2 batches that go on")
    expect(text).toContain("the answers are billed, and collected with: effect-together run in.jsonl")
    const unpriced = { ...stopped, running: { batches: 1, doubtful: 0, rows: 50, nanoUsd: undefined } }
    expect(Summary.lines(unpriced, Style.colorless).join("\n")).toContain(
      "$0.00 · a batch that goes on, of unknown price"
    )
  })

  it("says that the input changed, and the two ways to go on, with the code of a changed input", () => {
    const error = new JournalError({ message: "in.jsonl changed.", reason: "input-changed", path: "in.jsonl" })
    const changed = { ...endOf({ _tag: "InputChanged", error }, Report.make(start)), undone: 5 }
    expect(Summary.lines(changed, Style.colorless).slice(-2)).toEqual([
      "input changed: in.jsonl changed.",
      "go on with: effect-together run in.jsonl --changed keep (keep the answers of changed rows) or --changed resend " +
      "(send changed rows again)"
    ])
    expect(ExitCode.ofEnding(changed.ending.stop, changed.report, 5)).toBe(2)
  })

  it("tells batches that go on from those that may not have been created", () => {
    const end = (batches: number, doubtful: number) =>
      Summary.lines({
        ...endOf({ _tag: "Interrupted" }, Report.make(start)),
        undone: 40,
        running: { batches, doubtful, rows: 40, nanoUsd: 0n }
      }, Style.colorless).join("\n")
    expect(end(3, 1)).toContain("40 in 3 batches that go on, 1 of which may not have been created ·")
    expect(end(3, 1)).toContain("collected with: effect-together run in.jsonl")
    expect(end(3, 3)).toContain("40 in 3 batches that may go on ·")
    expect(end(1, 1)).toContain("40 in a batch that may go on ·")
    expect(end(1, 1)).toMatch(/^continue with: effect-together run in.jsonl$/m)
  })
})

describe("RunEnd", () => {
  it("advises on max_tokens only where something is left", () => {
    const said = (maxCost: bigint) =>
      RunEnd.reason({ ...endOf({ _tag: "MaxCost", error: budget }, answered(1)), maxCost })
    expect(said(1_000_001n)).toMatch(/and \$0\.000000001 of \S+ is left\. Set or lower max_tokens: /)
    expect(said(1_000_000n)).toMatch(/and nothing of \S+ is left$/)
    expect(said(999_999n)).toMatch(
      /and nothing of \S+ is left: answers cost \$0\.000000001 more than was reserved for them$/
    )
  })

  it("names the first of many models that were left out, and counts the others", () => {
    const models = Array.from({ length: 100_000 }, (_, n) => [`m${n}`, { error: budget, rows: 1 }] as const)
    const end = {
      ...endOf({ _tag: "Abandoned" }, answered(0)),
      ending: { stop: undefined, abandoned: new Map(models) }
    }
    const why = RunEnd.reason({ ...end, ending: { ...end.ending, stop: { _tag: "Abandoned" } } }) ?? ""
    expect(why).toMatch(/^left out: 1 row of m0 was not sent, .*; the same of 99,990 more models$/)
    expect(why.length).toBeLessThan(1500)
  })

  it("says what was last tried again where nothing was answered, and only there", () => {
    const report = Report.make(start)
    Report.retry(report, "ConnectionError", 1, "ECONNREFUSED")
    for (const stop of [{ _tag: "MaxTime" }, { _tag: "Interrupted" }] as const) {
      const said = (of: Report.Report) => RunEnd.reason(endOf(stop, of))
      expect(said(report)).toMatch(/\. Nothing was answered; the last error: ConnectionError ECONNREFUSED$/)
      expect(said({ ...report, ok: 1 })).not.toContain("ConnectionError")
    }
  })

  it("names --on-credits where the account has none, and no method of the library", () => {
    const error = new InsufficientCreditsError({ message: Remedy.insufficientCredits() })
    const said = RunEnd.reason(endOf({ _tag: "Refused", error }, Report.make(start)))
    expect(said).toMatch(/^refused: Add credits at .* With --on-credits wait a run waits for credit instead\.$/)
    expect(said).not.toContain("Credits.resume")
    // what a batch is uploaded with does not wait
    const waiting = { ...endOf({ _tag: "Refused", error }, Report.make(start)), spells: [] }
    expect(RunEnd.reason(waiting)).not.toContain("--on-credits")
  })
})

describe("Onward", () => {
  it("gives up no cap on the cost only because the prices could not be read", () => {
    const error = new BudgetExceededError({ ...budget, message: "no price", reason: "unknown-price" })
    const end = endOf({ _tag: "Abandoned" }, answered(0))
    const ending = { ...end.ending, abandoned: new Map([["m", { error, rows: 3 }]]) }
    const said = () => Onward.line({ ...end, ending, args: ["run", "in.jsonl", "--max-cost", "5"] }, Style.colorless)
    expect(said()).toBe("continue without --max-cost: effect-together run in.jsonl")
    end.report.warnings.push("GET /models told no prices (refused): those of the shipped table of 2026-01 count")
    expect(said()).toBe(
      "continue once GET /models tells prices, with: effect-together run in.jsonl --max-cost 5 " +
        "(or without --max-cost, where it never does)"
    )
  })

  it("judges by the rows of this run what the others will cost, once they are enough: prices change", () => {
    const said = (ok: number) => {
      const report = answered(ok)
      Object.assign(report, { resumedOk: 100, resumedNanoUsd: 100n * 500_000_000n })
      const end = { ...endOf({ _tag: "MaxCost", error: budget }, report), undone: 101 }
      return Onward.line(end, Style.colorless).split(":")[0]
    }
    expect(said(20)).toBe("the other 101 rows will take about $0.10")
    expect(said(19)).toBe("the other 101 rows will take about $42.03")
  })

  it("blames the address where every row failed as at a wrong one", () => {
    const row = (line: number, code: string) => ({ line, id: `r${line}`, code, message: "m", retryable: false })
    const report = Report.make(start)
    report.failed = 2
    Report.listFailed(report, row(2, "decode"))
    const said = (of: Report.Report) => Onward.line(endOf(undefined, of), Style.colorless)
    expect(said(report)).toBe(
      "check --base-url, then send the failed rows again with: " +
        "effect-together run in.jsonl --retry-errors --changed keep"
    )
    Report.listFailed(report, row(1, "not_found"))
    expect(said(report)).toMatch(/^check --base-url and the names of models, then send/)
    expect(said({ ...report, ok: 1 })).toContain("correct line 1, then")
    const moved = Report.make(start)
    Report.listFailed(moved, row(1, "invalid_request"))
    moved.failed = 1
    expect(said(moved)).toContain("correct line 1")
    moved.refusals.set("307", 1)
    expect(said(moved)).toMatch(/^check --base-url, then send/)
    moved.refusals.set("400", 1)
    expect(said(moved)).toContain("correct line 1")
    // who tells what an answer took is no stranger
    expect(said({ ...report, inputTokens: 9 })).toContain("correct line 1, then")
    expect(Onward.line({ ...endOf(undefined, report), batch: true }, Style.colorless)).toContain("correct line 1, then")
    const stopped = (stop: Stop.Stop) => Onward.line(endOf(stop, report), Style.colorless)
    expect(stopped({ _tag: "Abandoned" })).toMatch(/^check --base-url/)
    expect(stopped({ _tag: "MaxTime" })).toMatch(/^continue with/)
    Report.listFailed(report, row(3, "invalid_request"))
    expect(said(report)).toContain("correct lines 1, 3, then")
  })

  it("says what to do about failed rows, bad lines, and a run that was done before", () => {
    const failed = Report.make(start)
    failed.resumedFailed = 1
    expect(Onward.line(endOf(undefined, failed), Style.colorless)).toContain("--retry-errors")
    const bad = Report.make(start)
    bad.bad = 1
    expect(Onward.line(endOf(undefined, bad), Style.colorless)).toBe(
      "correct the bad lines, then: effect-together run in.jsonl --changed keep"
    )
    Report.note(bad.missingIds, 1)
    expect(Onward.line(endOf(undefined, bad), Style.colorless)).toContain(
      "correct the bad lines where they stand, and leave a blank line for one you remove"
    )
    const wrong = Report.make(start)
    wrong.resumedFailed = 2
    const row = { id: "r", code: "c", message: "m" }
    Report.listFailed(wrong, { ...row, line: 7, retryable: false })
    Report.listFailed(wrong, { ...row, line: 9, retryable: true })
    expect(
      Onward.line(
        { ...endOf(undefined, wrong), args: ["run", "x", "--retry-errors", "--changed", "stop"] },
        Style.colorless
      )
    ).toBe(
      "correct line 7, then send what failed again with: effect-together run x --retry-errors --changed keep"
    )
    // the answer was at fault, not the row
    const unread = Report.make(start)
    unread.ok = 1
    unread.failed = 1
    Report.listFailed(unread, { ...row, line: 3, code: "decode", retryable: false })
    expect(Onward.line(endOf(undefined, unread), Style.colorless)).toMatch(
      /^send the failed rows again with: .*--retry-errors$/
    )
    const batch = Report.make(start)
    batch.failed = 2
    Report.listFailed(batch, { ...row, line: 1, code: "batch_failed", retryable: false })
    const args = ["run", "x", "--via", "batch", "--poll=1s", "--json"]
    expect(Onward.line({ ...endOf(undefined, batch), batch: true, args }, Style.colorless)).toBe(
      "the batch failed as a whole, not for its rows; send them by calls with: " +
        "effect-together run x --json --via calls --retry-errors"
    )
    Report.listFailed(batch, { ...row, line: 2, retryable: false })
    expect(Onward.line({ ...endOf(undefined, batch), batch: true, args }, Style.colorless)).toContain(
      "correct lines 1, 2"
    )
    const before = Report.make(start)
    before.resumedOk = 1
    expect(Onward.line(endOf(undefined, before), Style.colorless)).toContain("nothing to send")
  })
})

describe("messageOf", () => {
  it("leaves out the line, and speaks of flags", () => {
    const row = { line: 61, id: undefined, code: "c", retryable: false }
    expect(
      Summary.messageOf({
        ...row,
        message: "line 61: the row names no model: write body.model, or give the job a model for such rows"
      })
    ).toBe("the row names no model: write body.model, or give --model for such rows")
    expect(Summary.messageOf({ ...row, message: "Expected number | undefined at [\"max_tokens\"]." }))
      .toBe("Expected number at [\"max_tokens\"].")
  })
})
