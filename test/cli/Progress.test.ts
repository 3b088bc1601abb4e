import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Progress from "../../src/cli/Progress.ts"
import * as Standstill from "../../src/cli/Standstill.ts"
import * as Style from "../../src/cli/Style.ts"
import * as Ticker from "../../src/cli/Ticker.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import type * as Lane from "../../src/guard/lane/Lane.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as Host from "../../src/cli/Host.ts"
import * as Report from "../../src/job/Report.ts"
import { answered, start } from "./reports.ts"

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

/** What is shown ten seconds after a run began in which `ok` rows were answered. */
const view = (ok: number, lanes: ReadonlyArray<Lane.LaneStatus>, total?: number): Progress.View => {
  const recent = Progress.recent()
  Progress.remember(recent, Report.make(start), start)
  const report = answered(ok)
  report.total = total
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

  it("says for ten seconds that a pause or an outage is over, and of an outage that it lasts while it does", () => {
    const said = (more: Partial<Lane.Decision>, secondsAgo: number, phase: "settle" | "start" = "settle") => {
      const last = decision({ ...more, at: start + 10_000 - secondsAgo * 1000 })
      const [, , state] = Progress.lines(view(5, [lane({ phase, lastDecision: last })]), Style.colorless, 140)
      return state?.slice(5, -" · no 429".length)
    }
    const back = { subject: "outage", reason: "ended" } as const
    expect([said(back, 9), said(back, 11)]).toEqual(["limit: the provider is back", "limit: 10 req/s"])
    expect(said(back, 11, "start")).toBe("limit: not found yet")
    expect(said({ subject: "outage", reason: "began" }, 60)).toBe("limit: the provider fails everything")
    const pause = { subject: "pause", reason: "hint", to: 5 } as const
    expect([said(pause, 14), said(pause, 16)]).toEqual(["limit: paused 5 s (as asked)", "limit: 10 req/s"])
    expect(said({}, 600)).toBe("limit: 12 req/s → 10 req/s (settled just below the limit)")
    // the wall clock was set back by an hour
    expect(said(back, -3600)).toBe("limit: 10 req/s")
  })

  it("says the latest of all lanes that is worth a word", () => {
    const lanes = [
      lane({ lastDecision: decision({ at: start }) }),
      lane({ lastDecision: decision({ to: 7, at: start + 5 }) })
    ]
    const over = lane({ lastDecision: decision({ subject: "outage", reason: "ended", at: start - 1e5 }) })
    expect(Progress.line(view(5, [...lanes, over]))).toContain("12 req/s → 7.0 req/s")
    expect(Progress.line(view(5, [...lanes.reverse(), over]))).toContain("12 req/s → 7.0 req/s")
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
    expect(totals).toMatchObject({ inFlight: 2, limit: 4, rate: 10, pause: 2 })
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

  it.effect("writes one line a minute after ten minutes", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const { host: to, written } = host(false)
        yield* Effect.timeoutOption(
          Ticker.drawing(Report.make(Date.UTC(2026, 0, 1)), Standstill.make(false), to),
          "755 seconds"
        )
        const times = written.filter((text) => text !== "").map((text) => text.split(" ")[0])
        expect(times).toHaveLength(62)
        expect(times.slice(58)).toEqual(["9:50", "10:00", "11:00", "12:00"])
      }).pipe(Effect.provide(Lanes.layer()))
    ))

  it.effect("tells of a simulation how much of it is computed, by the clock of who waits for it", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { host: to, written } = host(false)
      const report = Report.make(0)
      report.total = 1000
      const compute = Effect.forever(
        Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => void (report.ok += 10)))
      )
      yield* Effect.timeoutOption(Effect.all([compute, Ticker.computing(report, to)], { concurrency: 2 }), "25 seconds")
      expect(written.filter((text) => text !== "")).toEqual([
        "0:10 90/1,000 rows · 90 ok · 0 failed · ETA 1:41\n",
        "0:20 190/1,000 rows · 190 ok · 0 failed · ETA 1:21\n"
      ])
    })))

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

  it.effect("looks less often at lanes that are so many that a look takes its time", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        let looks = 0
        const all = Effect.sync(() => void looks++).pipe(Effect.andThen(Effect.sleep("500 millis")), Effect.as([]))
        const many = Layer.mock(Lanes.Lanes)({ all })
        const { host: to } = host(true)
        yield* Effect.all([
          Ticker.recording(Report.make(0)),
          Ticker.drawing(Report.make(0), Standstill.make(false), to)
        ], { concurrency: 2 }).pipe(Effect.timeoutOption("1 minute"), Effect.provide(many))
        expect(looks).toBeLessThan(25)
      })
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
