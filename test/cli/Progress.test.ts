import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExitCode from "../../src/cli/ExitCode.ts"
import * as Progress from "../../src/cli/Progress.ts"
import * as Standstill from "../../src/cli/Standstill.ts"
import * as Style from "../../src/cli/Style.ts"
import * as Ticker from "../../src/cli/Ticker.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Summary from "../../src/cli/Summary.ts"
import * as Remedy from "../../src/domain/Remedy.ts"
import { AuthError, BudgetExceededError, InsufficientCreditsError } from "../../src/domain/TogetherError.ts"
import type * as Lane from "../../src/guard/lane/Lane.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as Host from "../../src/cli/Host.ts"
import { InputError, JournalError, OutputError } from "../../src/job/JobError.ts"
import * as Report from "../../src/job/Report.ts"
import type * as Stop from "../../src/job/Stop.ts"

const start = 1_000_000

const lane = (more: Partial<Lane.LaneStatus> = {}): Lane.LaneStatus => ({
  key: "default/openai/gpt-oss-20b",
  phase: "hold",
  requestsPerSecond: 10,
  tokensPerSecond: undefined,
  inFlightLimit: undefined,
  inFlight: 4,
  queued: 3,
  queuedTokens: 100,
  pause: undefined,
  outage: false,
  waitsFor: undefined,
  estimate: Duration.zero,
  lastDecision: undefined,
  ...more
})

const decision = (more: Partial<Lane.Decision>): Lane.Decision => ({
  lane: "default/openai/gpt-oss-20b",
  at: start,
  subject: "requests",
  reason: "settled",
  from: 12,
  to: 10,
  ...more
})

/** A report in which `ok` rows were answered in ten seconds. */
const view = (ok: number, lanes: ReadonlyArray<Lane.LaneStatus>, total?: number): Progress.View => {
  const report = Report.make(start)
  report.total = total
  const recent = Progress.recent()
  Progress.remember(recent, report, start)
  for (let i = 0; i < ok; i++) {
    Report.settle(report, start + 5000, {
      kind: "ok",
      line: i,
      id: `r${i}`,
      attempts: 1,
      millis: 100,
      inputTokens: 10,
      outputTokens: 30,
      nanoUsd: 1_000_000n
    })
  }
  Progress.remember(recent, report, start + 10_000)
  return { report, lanes, now: start + 10_000, recent }
}

describe("Progress", () => {
  it("shows counts, pace, cost and why the limit last moved", () => {
    const lines = Progress.lines(view(50, [lane({ lastDecision: decision({}) })], 100), Style.colorless, 140)
    expect(lines[0]).toMatch(/^ 50% ━+─+ 50\/100 rows · 50 ok · 0 failed · ETA 0:10$/)
    expect(lines[1]).toBe("     4 in flight · 5.0 req/s (limit 10) · 200 tok/s · $0.05 of about $0.10")
    expect(lines[2]).toBe("     limit: 12 req/s → 10 req/s (settled just below the limit) · no 429")
  })

  it("shows what keeps the run from sending in place of the limit and the ETA", () => {
    const stood = { ...view(50, [lane({ lastDecision: decision({}) })], 100), standstill: "no credit" }
    const lines = Progress.lines(stood, Style.colorless, 140)
    expect([lines[0]?.endsWith("0 failed · 0:10"), lines[2]]).toEqual([true, "     no credit"])
    expect(Progress.line(stood)).toMatch(/ · no credit$/)
  })

  it("shows the control characters of a model's name", () => {
    const named = lane({ lastDecision: decision({ lane: "default/m\u001b[2J" }) })
    const [, , state] = Progress.lines(view(50, [named, lane()], 100), Style.colorless, 140)
    expect(state).toContain("m\\u001b[2J")
  })

  it("fits the terminal, and erases what it drew", () => {
    const lines = Progress.lines(view(50, [lane()], 100), Style.colored, 60)
    for (const text of lines) expect(Style.width(text)).toBeLessThanOrEqual(60)
    expect(Progress.redraw([], ["a"], 60)).toBe("\r\u001b[2Ka\n\u001b[0J")
    expect(Progress.redraw(["b", "c"], ["a"], 60)).toBe("\u001b[2A\r\u001b[2Ka\n\u001b[0J")
    expect(Progress.erase(["b", "", "c"], 60)).toBe("\u001b[3A\r\u001b[0J")
    expect(Progress.erase([], 60)).toBe("")
  })

  it("goes up over the rows that its lines take on a terminal that was made narrower", () => {
    const drawn = [Style.colored.red("x".repeat(60)), "y".repeat(41), ""]
    expect(Progress.redraw(drawn, ["a"], 20)).toBe("\u001b[7A\r\u001b[2Ka\n\u001b[0J")
    expect(Progress.erase(drawn, 30)).toBe("\u001b[5A\r\u001b[0J")
  })

  it("writes one plain line for a log", () => {
    const text = Progress.line(
      view(20, [lane({ inFlightLimit: 8 }), lane({ key: "x", lastDecision: decision({}) })], 100)
    )
    expect(text).toMatch(/^0:10 20\/100 rows .* 8 in flight of 8 .* limit of gpt-oss-20b: .* ETA 0:40$/)
  })

  it("says what the provider fails with, and counts bad lines apart", () => {
    const down = view(0, [lane({ lastDecision: decision({ subject: "outage", reason: "began" }) })], 100)
    Report.retry(down.report, "ConnectionError", 1, "ECONNREFUSED")
    down.report.bad = 1
    const text = Progress.line(down)
    expect(text).toContain("the provider fails everything (ConnectionError ECONNREFUSED)")
    expect(text).toContain("0 failed · 1 bad line · ")
  })

  it("knows no end where nobody counted the rows, and none before a row has settled", () => {
    expect(Progress.remaining(view(5, []))).toBe(Infinity)
    expect(Progress.remaining(view(0, [], 10))).toBe(Infinity)
    expect(Progress.remaining(view(10, [], 10))).toBe(0)
    expect(Progress.finalCost(view(0, [], 10).report)).toBeUndefined()
    expect(Progress.lines(view(5, []), Style.colorless, 100)[0]).toContain("0:10")
  })

  it("forgets what is older than its window", () => {
    const recent = Progress.recent()
    const report = Report.make(start)
    for (let second = 0; second <= 60; second++) {
      report.ok = second < 40 ? 0 : (second - 40) * 5
      report.attempts = report.ok * 2
      Progress.remember(recent, report, start + second * 1000)
      Progress.remember(recent, report, start + second * 1000 + 50)
    }
    expect(recent.marks.length).toBeLessThan(15)
    expect(Progress.rates(recent)).toEqual({ rows: 5, requests: 10, tokens: 0 })
  })

  it("adds up the lanes that have work", () => {
    const totals = Progress.totals([
      lane({ inFlight: 2, queued: 1, inFlightLimit: 4, pause: Duration.seconds(2), lastDecision: decision({ at: 5 }) }),
      lane({ inFlight: 0, queued: 0, requestsPerSecond: 99, lastDecision: decision({ at: 9, to: 7 }) })
    ])
    expect(totals).toMatchObject({ inFlight: 2, queued: 1, limit: 4, rate: 10, pause: 2, last: { to: 7 } })
    expect(Progress.lines(view(5, [lane({ pause: Duration.seconds(2) })], 10), Style.colorless, 100)[2]).toContain(
      "paused, 2 s left"
    )
  })

  it.each<readonly [Partial<Lane.Decision>, string]>([
    [{ subject: "tokens", from: 100, to: 50, reason: "limit-fell" }, "100 tok/s → 50 tok/s (the limit fell)"],
    [
      { subject: "in-flight", from: Infinity, to: 8, reason: "cap-found" },
      "no limit → 8 in flight (too many at a time)"
    ],
    [{ subject: "pause", from: 0, to: 1.5, reason: "hint" }, "paused 1.5 s (as asked)"],
    [
      { subject: "pause", from: 0, to: 60, reason: "hint-too-long", hintSeconds: 3600 },
      "paused 1 min (asked for more: 1 h)"
    ],
    [{ subject: "outage", reason: "began" }, "the provider fails everything"],
    [{ subject: "requests", reason: "settled", from: 11.2, to: 10.9 }, "11 req/s (settled just below the limit)"],
    [{ subject: "outage", reason: "ended" }, "the provider is back"]
  ])("says why in words: %j", (move, text) => {
    expect(Progress.why(decision(move))).toBe(text)
  })
})

describe("Ticker", () => {
  const host = (redraw: boolean) => {
    const written: Array<string> = []
    const able = { color: false, redraw, columns: 90 }
    return {
      written,
      host: { ...Host.live(), stderr: able, writeError: (text: string) => void written.push(text) }
    }
  }

  it.effect("writes one plain line every 10 seconds where there is no terminal, and erases nothing", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const { host: to, written } = host(false)
        const report = Report.make(0)
        yield* Effect.timeoutOption(Ticker.drawing(report, Standstill.make(false), to), "35 seconds")
        expect(written.filter((text) => text !== "").map((text) => text.slice(0, 6))).toHaveLength(3)
        for (const text of written) expect(text).not.toContain("\u001b")
      }).pipe(Effect.provide(Lanes.layer()))
    ))

  it.effect("redraws seven times a second on a terminal, and leaves nothing behind", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const { host: to, written } = host(true)
        yield* Effect.timeoutOption(Ticker.drawing(Report.make(0), Standstill.make(false), to), "3 seconds")
        expect(written.length).toBeGreaterThanOrEqual(20)
        expect(written[1]?.startsWith("\u001b[3A\r\u001b[2K")).toBe(true)
        expect(written.at(-1)).toBe("\u001b[3A\r\u001b[0J")
      }).pipe(Effect.provide(Lanes.layer()))
    ))

  it.effect("draws at the width that the terminal has by then", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const { host: to, written } = host(true)
        const stream = { isTTY: true, columns: 90 }
        const narrow = Effect.delay(Effect.sync(() => void (stream.columns = 20)), "1 second")
        const drawing = Ticker.drawing(Report.make(0), Standstill.make(false), {
          ...to,
          stderr: Style.ability({ NO_COLOR: "1" }, stream)
        })
        yield* Effect.timeoutOption(Effect.all([drawing, narrow], { concurrency: 2 }), "2 seconds")
        const widest = (text = "") =>
          Math.max(...text.split("\n").map((row) => row.slice(row.lastIndexOf("\u001b[2K") + 4).length))
        expect(widest(written[0])).toBeGreaterThan(40)
        expect(widest(written.at(-2))).toBe(20)
        expect(written.at(-1)).toBe("\u001b[3A\r\u001b[0J")
      }).pipe(Effect.provide(Lanes.layer()))
    ))

  it.effect("records what the lanes did", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const report = Report.make(0)
        const lanes = yield* Lanes.Lanes
        const work = Effect.gen(function*() {
          const first = yield* lanes.get("default/m")
          for (let i = 0; i < 40; i++) {
            const permit = yield* first.acquire({ tokens: 10 })
            yield* Effect.sleep("50 millis")
            yield* permit.settle({ _tag: "Throttled", scope: "requests" })
          }
        }).pipe(Effect.scoped)
        yield* Effect.raceFirst(Ticker.recording(report), work)
        expect(report.moves.length).toBeGreaterThan(0)
        expect(report.moves[0]?.reason.length).toBeGreaterThan(5)
        const { steps } = report.timeline
        expect(Math.max(...steps.map((step) => step.rate))).toBeGreaterThan(0)
        expect(steps.reduce((sum, step) => sum + step.paused, 0)).toBeGreaterThan(0)
      }).pipe(Effect.provide(Lanes.layer()))
    ))
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
  const context = (stop: Stop.Stop | undefined, report: Report.Report): Summary.Context => ({
    report,
    ending: { stop, abandoned: new Map() },
    results: "r.jsonl",
    errors: "e.jsonl",
    journal: "j",
    args: ["run", "in.jsonl"],
    undone: 0,
    lost: 0
  })

  it.each(stops.map(([stop, code, text]) => ({ stop, code, text })))(
    "$text: with code $code",
    ({ code, stop, text }) => {
      const { report } = view(3, [], 3)
      report.endedAt = start + 10_000
      const lines = Summary.lines(context(stop, report), Style.colorless).join("\n")
      expect(lines).toContain(text)
      if (stop !== undefined) expect(lines).toContain("continue with: effect-together run in.jsonl")
      expect(ExitCode.ofEnding(stop, report, 0)).toBe(code)
    }
  )

  it("says what was last tried again where nothing was answered, and only there", () => {
    const report = Report.make(start)
    Report.retry(report, "ConnectionError", 1, "ECONNREFUSED")
    for (const stop of [{ _tag: "MaxTime" }, { _tag: "Interrupted" }] as const) {
      const said = (of: Report.Report) => Summary.reason(context(stop, of))
      expect(said(report)).toMatch(/\. Nothing was answered; the last error: ConnectionError ECONNREFUSED$/)
      expect(said({ ...report, ok: 1 })).not.toContain("ConnectionError")
    }
  })

  it("names --on-credits where the account has none, and no method of the library", () => {
    const error = new InsufficientCreditsError({ message: Remedy.insufficientCredits() })
    const said = Summary.reason(context({ _tag: "Refused", error }, Report.make(start)))
    expect(said).toMatch(/^refused: Add credits at .* With --on-credits wait a run waits for credit instead\.$/)
    expect(said).not.toContain("Credits.resume")
    // what a batch is uploaded with does not wait
    const waiting = { ...context({ _tag: "Refused", error }, Report.make(start)), spells: [] }
    expect(Summary.reason(waiting)).not.toContain("--on-credits")
  })

  it("blames the address where every row failed as at a wrong one", () => {
    const row = (line: number, code: string) => ({ line, id: `r${line}`, code, message: "m", retryable: false })
    const report = Report.make(start)
    report.failed = 2
    Report.listFailed(report, row(2, "decode"))
    const said = (of: Report.Report) => Summary.last(context(undefined, of), Style.colorless)
    expect(said(report)).toBe(
      "check --base-url, then send the failed rows again with: " +
        "effect-together run in.jsonl --retry-errors --changed keep"
    )
    Report.listFailed(report, row(1, "not_found"))
    expect(said(report)).toMatch(/^check --base-url and the names of models, then send/)
    expect(said({ ...report, ok: 1 })).toContain("correct lines 1, 2")
    const moved = Report.make(start)
    Report.listFailed(moved, row(1, "invalid_request"))
    moved.failed = 1
    expect(said(moved)).toContain("correct line 1")
    moved.refusals.set("307", 1)
    expect(said(moved)).toMatch(/^check --base-url, then send/)
    moved.refusals.set("400", 1)
    expect(said(moved)).toContain("correct line 1")
    // who tells what an answer took is no stranger
    expect(said({ ...report, inputTokens: 9 })).toContain("correct lines 1, 2")
    expect(Summary.last({ ...context(undefined, report), batch: true }, Style.colorless)).toContain(
      "correct lines 1, 2"
    )
    const stopped = (stop: Stop.Stop) => Summary.last(context(stop, report), Style.colorless)
    expect(stopped({ _tag: "Abandoned" })).toMatch(/^check --base-url/)
    expect(stopped({ _tag: "MaxTime" })).toMatch(/^continue with/)
    Report.listFailed(report, row(3, "invalid_request"))
    expect(said(report)).toContain("correct lines 1, 2, 3")
  })

  it("names failures, unknown prices, missing ids and losses", () => {
    const { report } = view(3, [], 10)
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
      { ...context(undefined, report), idealSeconds: 8, lost: 1, undone: 2, page: "p.html", uncertainNanoUsd: 7n },
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
    expect(Summary.lines(context(undefined, report), Style.colorless).join("\n")).toContain(
      "longest 20 ms, of one request"
    )
  })

  it("tells rows in batches that go on from rows that were not sent", () => {
    const report = Report.make(start)
    const stopped = {
      ...context({ _tag: "Interrupted" }, report),
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
    const changed = { ...context({ _tag: "InputChanged", error }, Report.make(start)), undone: 5 }
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
        ...context({ _tag: "Interrupted" }, Report.make(start)),
        undone: 40,
        running: { batches, doubtful, rows: 40, nanoUsd: 0n }
      }, Style.colorless).join("\n")
    expect(end(3, 1)).toContain("40 in 3 batches that go on, 1 of which may not have been created ·")
    expect(end(3, 1)).toContain("collected with: effect-together run in.jsonl")
    expect(end(3, 3)).toContain("40 in 3 batches that may go on ·")
    expect(end(1, 1)).toContain("40 in a batch that may go on ·")
    expect(end(1, 1)).toMatch(/^continue with: effect-together run in.jsonl$/m)
  })

  it("says what to do about failed rows, bad lines, and a run that was done before", () => {
    const failed = Report.make(start)
    failed.resumedFailed = 1
    expect(Summary.last(context(undefined, failed), Style.colorless)).toContain("--retry-errors")
    const bad = Report.make(start)
    bad.bad = 1
    expect(Summary.last(context(undefined, bad), Style.colorless)).toBe(
      "correct the bad lines, then: effect-together run in.jsonl --changed keep"
    )
    Report.note(bad.missingIds, 1)
    expect(Summary.last(context(undefined, bad), Style.colorless)).toContain(
      "correct the bad lines where they stand, and leave a blank line for one you remove"
    )
    const wrong = Report.make(start)
    wrong.resumedFailed = 2
    const row = { id: "r", code: "c", message: "m" }
    Report.listFailed(wrong, { ...row, line: 7, retryable: false })
    Report.listFailed(wrong, { ...row, line: 9, retryable: true })
    expect(
      Summary.last(
        { ...context(undefined, wrong), args: ["run", "x", "--retry-errors", "--changed", "stop"] },
        Style.colorless
      )
    ).toBe(
      "correct line 7, then send what failed again with: effect-together run x --retry-errors --changed keep"
    )
    const before = Report.make(start)
    before.resumedOk = 1
    expect(Summary.last(context(undefined, before), Style.colorless)).toContain("nothing to send")
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
    const report = Report.make(start)
    expect(ExitCode.ofEnding(undefined, report, 0)).toBe(0)
    expect(ExitCode.ofEnding(undefined, report, 1)).toBe(3)
    report.resumedFailed = 1
    expect(ExitCode.ofEnding(undefined, report, 0)).toBe(3)
  })
})
