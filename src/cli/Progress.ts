/**
 * Progress on standard error: three lines that redraw on a terminal, one plain line every 10 seconds elsewhere, and after
 * ten minutes every minute.
 *
 * Drawn from the report and the lanes; nothing here decides anything.
 */
import * as Duration from "effect/Duration"
import type * as Lane from "../guard/lane/Lane.ts"
import * as Report from "../job/Report.ts"
import * as Format from "./Format.ts"
import * as Style from "./Style.ts"

/** What progress is drawn from, at one instant. */
export interface View {
  readonly report: Report.Report
  /** Absent for a simulation, which draws only how much of it is computed. */
  readonly lanes: ReadonlyArray<Lane.LaneStatus> | undefined
  /** Milliseconds since the epoch, by a steady clock. */
  readonly now: number
  /** Rows and tokens of the last seconds, for rates. */
  readonly recent: Recent
  /** What keeps the run from sending, where something does. */
  readonly standstill?: string | undefined
  /**
   * Whether the rows go through batches: then lanes carry uploads and polls, whose pace does not tell when a batch
   * ends. Default: false.
   */
  readonly batch?: boolean | undefined
}

/** Remembers a few seconds of counts. */
export interface Recent {
  readonly marks: Array<
    { readonly at: number; readonly done: number; readonly attempts: number; readonly tokens: number }
  >
}

const window = 10_000

/** Makes a memory of counts. */
export const recent = (): Recent => ({ marks: [] })

/** Remembers the counts of an instant. */
export const remember = (self: Recent, report: Report.Report, now: number): void => {
  const last = self.marks[self.marks.length - 1]
  if (last !== undefined && now - last.at < 200) return
  self.marks.push({
    at: now,
    done: report.ok + report.failed,
    attempts: report.attempts,
    tokens: report.inputTokens + report.outputTokens
  })
  while (self.marks.length > 2 && now - self.marks[0]!.at > window) self.marks.shift()
}

/** Reads the rates of the last seconds, per second. */
export const rates = (
  self: Recent
): { readonly rows: number; readonly requests: number; readonly tokens: number } => {
  const first = self.marks[0]
  const last = self.marks[self.marks.length - 1]
  if (first === undefined || last === undefined || last.at <= first.at) return { rows: 0, requests: 0, tokens: 0 }
  const seconds = (last.at - first.at) / 1000
  return {
    rows: (last.done - first.done) / seconds,
    requests: (last.attempts - first.attempts) / seconds,
    tokens: (last.tokens - first.tokens) / seconds
  }
}

/** Estimates the seconds that are left, from the rows of the last seconds and of the whole run. */
export const remaining = (view: View): number => {
  const { now, report } = view
  if (report.total === undefined) return Infinity
  const left = Math.max(0, report.total - Report.done(report))
  const elapsed = (now - report.startedAt) / 1000
  const whole = elapsed > 0 ? (report.ok + report.failed) / elapsed : 0
  const rate = Math.max(rates(view.recent).rows, whole * 0.5)
  return left === 0 ? 0 : rate > 0 ? left / rate : Infinity
}

/** Estimates the cost at the end, in nano-dollars, from the rows answered so far. */
export const finalCost = (report: Report.Report): bigint | undefined => {
  const settled = report.ok + report.failed
  if (report.total === undefined || settled === 0) return undefined
  const left = BigInt(Math.max(0, report.total - Report.done(report)))
  return report.nanoUsd + report.nanoUsd * left / BigInt(settled)
}

const amount = (subject: Lane.Decision["subject"], value: number): string =>
  !Number.isFinite(value)
    ? "no limit"
    : subject === "requests"
    ? `${Format.rate(value)} req/s`
    : subject === "tokens"
    ? `${Format.rate(value)} tok/s`
    : subject === "in-flight"
    ? `${Math.round(value)} in flight`
    : Format.span(value)

const reasons: { readonly [reason in Lane.Decision["reason"]]: string } = {
  "start-grew": "no refusal yet: faster",
  "start-refused": "refused: slower",
  "bracket-raised": "still room: faster",
  "bracket-closed": "the limit lies between",
  settled: "settled just below the limit",
  "limit-fell": "the limit fell",
  "limit-drifted": "the limit drifted",
  "probe-began": "looking for more",
  "probe-confirmed": "limit confirmed",
  "limit-rose": "the limit rose",
  "strays-suspected": "refused at any rate: faster again",
  "strays-refuted": "it was the rate: slower again",
  "strays-confirmed": "refusals are not about the rate",
  "strays-ended": "refusals are about the rate again",
  "provider-said": "the provider said so",
  "failures-counted": "what fails counts",
  "failures-free": "what fails is free",
  "cap-found": "too many at a time",
  "cap-raised": "more at a time",
  "timed-out": "answers took too long",
  recovered: "answers come again",
  hint: "as asked",
  "hint-too-long": "asked for more",
  "no-hint": "refused without a hint",
  began: "began",
  ended: "ended"
}

/** Says in words why a lane's limit last moved. */
export const why = (decision: Lane.Decision): string => {
  const { from, reason, subject, to } = decision
  if (subject === "pause") {
    const asked = decision.hintSeconds === undefined ? "" : `: ${Format.span(decision.hintSeconds)}`
    return `paused ${Format.span(to)} (${reasons[reason]}${asked})`
  }
  if (subject === "outage") return reason === "began" ? "the provider fails everything" : "the provider is back"
  const [before, after] = [amount(subject, from), amount(subject, to)]
  return `${before === after ? after : `${before} → ${after}`} (${reasons[reason]})`
}

interface Totals {
  readonly inFlight: number
  readonly limit: number | undefined
  readonly rate: number
  readonly pause: number
}

/** Adds up the lanes of a run; the rate is that of the lanes that have work. */
export const totals = (lanes: ReadonlyArray<Lane.LaneStatus>): Totals => {
  let limit: number | undefined
  let pause = 0
  for (const lane of lanes) {
    if (lane.inFlightLimit !== undefined) limit = (limit ?? 0) + lane.inFlightLimit
    if (lane.pause !== undefined) pause = Math.max(pause, Duration.toSeconds(lane.pause))
  }
  return {
    inFlight: lanes.reduce((sum, lane) => sum + lane.inFlight, 0),
    limit,
    rate: lanes.reduce((sum, lane) => lane.inFlight + lane.queued > 0 ? sum + lane.requestsPerSecond : sum, 0),
    pause
  }
}

/** Tells whether a decision still holds, as that of a limit does, or is over for a short time only, as a pause. */
const isNews = ({ at, reason, subject, to }: Lane.Decision, now: number): boolean =>
  (subject !== "pause" && reason !== "ended") ||
  // a wall clock that was set meanwhile makes none last
  Math.abs(now - at - (subject === "pause" ? to * 1000 : 0)) < window

/** Finds the latest decision that is worth a word. */
const latest = (lanes: ReadonlyArray<Lane.LaneStatus>, now: number): Lane.Decision | undefined =>
  lanes.reduce<Lane.Decision | undefined>(
    (last, { lastDecision: next }) =>
      next !== undefined && next.at >= (last?.at ?? 0) && isNews(next, now) ? next : last,
    undefined
  )

const bar = (share: number, columns: number, style: Style.Style): string => {
  const full = Math.round(Math.min(1, Math.max(0, share)) * columns)
  return style.green("━".repeat(full)) + style.dim("─".repeat(columns - full))
}

const counts = (report: Report.Report, style: Style.Style): string => {
  const done = Report.done(report)
  const failed = report.failed + report.resumedFailed
  const bad = report.bad > 0 ? ` · ${style.red(Format.plural(report.bad, "bad line"))}` : ""
  const total = report.total === undefined ? "" : `/${Format.count(report.total)}`
  const resumed = report.resumedOk > 0 ? style.dim(` (${Format.count(report.resumedOk)} before)`) : ""
  return `${Format.count(done)}${total} rows · ${
    style.green(`${Format.count(report.ok + report.resumedOk)} ok`)
  }${resumed} · ${failed > 0 ? style.red(`${Format.count(failed)} failed`) : "0 failed"}${bad}`
}

const pace = (view: View, lanes: ReadonlyArray<Lane.LaneStatus>): string => {
  const { report } = view
  const cost = finalCost(report)
  const spent = `${Format.usd(report.nanoUsd + report.resumedNanoUsd)}${
    cost === undefined || report.nanoUsd === 0n ? "" : ` of about ${Format.usd(cost + report.resumedNanoUsd)}`
  }`
  if (view.batch === true) return `${Format.count(report.inFlight)} in batches · ${spent}`
  const { inFlight, limit, rate } = totals(lanes)
  const speed = rates(view.recent)
  return [
    `${inFlight} in flight${limit === undefined ? "" : ` of ${Math.round(limit)}`}`,
    `${Format.rate(speed.requests)} req/s${Number.isFinite(rate) && rate > 0 ? ` (limit ${Format.rate(rate)})` : ""}`,
    `${Format.rate(speed.tokens)} tok/s`,
    spent
  ].join(" · ")
}

const state = (view: View, lanes: ReadonlyArray<Lane.LaneStatus>): string => {
  if (view.standstill !== undefined) return view.standstill
  const refusals = view.report.throttled > 0 ? `${Format.count(view.report.throttled)} × 429` : "no 429"
  if (view.batch === true) return refusals
  const { pause, rate } = totals(lanes)
  if (pause > 0.05) return `paused, ${Format.span(pause)} left · ${refusals}`
  const last = latest(lanes, view.now)
  if (last === undefined) {
    const found = rate > 0 && Number.isFinite(rate) && lanes.some(({ phase }) => phase !== "start")
    return `limit: ${found ? amount("requests", rate) : "not found yet"} · ${refusals}`
  }
  const of = lanes.length > 1 ? ` of ${last.lane.slice(last.lane.lastIndexOf("/") + 1)}` : ""
  const { latestError } = view.report
  const cause = last.subject === "outage" && last.reason === "began" && latestError !== undefined
    ? ` (${latestError})`
    : ""
  return `limit${of}: ${why(last)}${cause} · ${refusals}`
}

/** Estimates the seconds until the end, if there is a meaningful estimate. */
const untilEnd = (view: View): number | undefined =>
  view.batch === true || view.standstill !== undefined ? undefined : remaining(view)

/** Says how fast the run is, and what bounds it. */
const more = (view: View): ReadonlyArray<string> =>
  view.lanes === undefined ? [] : [pace(view, view.lanes), state(view, view.lanes)]

/** Draws the three lines of a terminal. */
export const lines = (view: View, style: Style.Style, columns: number): ReadonlyArray<string> => {
  const { now, report } = view
  const share = report.total === undefined || report.total === 0 ? 0 : Report.done(report) / report.total
  const elapsed = (now - report.startedAt) / 1000
  const left = untilEnd(view)
  const eta = left !== undefined && Number.isFinite(left) ? `ETA ${Format.clock(left)}` : Format.clock(elapsed)
  const head = `${style.bold(Format.percent(share).padStart(4))} ${
    bar(share, Math.max(10, Math.min(30, columns - 60)), style)
  }`
  return [
    `${head} ${counts(report, style)} · ${style.cyan(eta)}`,
    ...more(view).map((text, index) => index === 0 ? `     ${text}` : style.dim(`     ${text}`))
  ].map((line) => Style.cut(style.visible(line), columns))
}

/** Writes the one line of a log. */
export const line = (view: View): string => {
  const { now, report } = view
  const left = untilEnd(view)
  const eta = left === undefined ? "" : ` · ETA ${Format.clock(left)}`
  const said = [counts(report, Style.colorless), ...more(view)].join(" · ")
  return `${Format.clock((now - report.startedAt) / 1000)} ${said}${eta}`
}

const up = (rows: number): string => rows === 0 ? "" : `\u001b[${rows}A`

/** Counts the rows that lines take: one that was drawn on a wider terminal takes several on this one. */
const rows = (lines: ReadonlyArray<string>, columns: number): number =>
  lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(Style.width(line) / columns)), 0)

/** Draws over what was drawn before, at the present width: the cursor ends below the last line, and nothing is left there. */
export const redraw = (before: ReadonlyArray<string>, drawn: ReadonlyArray<string>, columns: number): string =>
  `${up(rows(before, columns))}${drawn.map((text) => `\r\u001b[2K${text}\n`).join("")}\u001b[0J`

/** Removes what was drawn. */
export const erase = (before: ReadonlyArray<string>, columns: number): string =>
  before.length === 0 ? "" : `${up(rows(before, columns))}\r\u001b[0J`
