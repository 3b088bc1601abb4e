/**
 * The report of a run as one HTML page: no script, no request to anywhere, light and dark.
 *
 * Safe to open and to mail: every text from rows and providers is escaped, the page's content security policy forbids
 * scripts and network, and the command is shown without its system message and without the user of an address.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type * as PlatformError from "effect/PlatformError"
import * as Directory from "../job/files/Directory.ts"
import { advice, OutputError } from "../job/JobError.ts"
import * as Histogram from "../job/Histogram.ts"
import * as FileIdentity from "../job/files/FileIdentity.ts"
import * as Report from "../job/Report.ts"
import type * as Timeline from "../job/Timeline.ts"
import * as Chart from "./Chart.ts"
import * as CommandLine from "./CommandLine.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Onward from "./Onward.ts"
import * as RunEnd from "./RunEnd.ts"
import type * as Standstill from "./Standstill.ts"
import * as Style from "./Style.ts"
import * as Summary from "./Summary.ts"

const card = (label: string, value: string, more: string): string =>
  `<div class="card"><span>${Chart.escape(label)}</span><b>${Chart.escape(value)}</b><em>${
    Chart.escape(more) || "&nbsp;"
  }</em></div>`

const badge = (end: RunEnd.RunEnd): string => {
  const { ending, report, undone } = end
  const failed = ExitCode.failedOf(report)
  const [text, color] = ending.stop !== undefined
    ? [RunEnd.reason(end)!.split(":")[0]!, "--amber"]
    : failed + undone > 0
    ? [`${Format.count(failed + undone)} not answered`, "--red"]
    : ["all rows answered", "--green"]
  const emulated = end.emulated === true ? `<span class="badge" style="--c:var(--violet)">emulator</span>` : ""
  return `<span class="badge" style="--c:var(${color})">${Chart.escape(text)}</span>${emulated}`
}

/** Says why rows were left undone or failed, and how to go on. */
const ended = (end: RunEnd.RunEnd): string => {
  const { ending, report, undone } = end
  if (ending.stop === undefined && ExitCode.failedOf(report) + undone === 0) return ""
  const onward = Onward.line({ ...end, args: CommandLine.redacted(end.args) }, Style.colorless)
  return `<section><h2>How it ended</h2>${
    [RunEnd.reason(end), onward].map((text) => text === undefined ? "" : `<p>${Chart.escape(text)}</p>`).join("")
  }</section>`
}

const cards = (end: RunEnd.RunEnd): string => {
  const { idealSeconds, report } = end
  const seconds = Report.elapsed(report)
  const settled = report.ok + report.failed
  const retries = Array.from(report.retries.values()).reduce((sum, count) => sum + count, 0)
  const failed = ExitCode.failedOf(report)
  const uncertain = end.uncertainNanoUsd ?? 0n
  const { running } = end
  const unsent = RunEnd.unsent(end)
  return `<div class="cards">${
    [
      card(
        "Answered",
        Format.count(report.ok + report.resumedOk),
        report.resumedOk > 0
          ? `${Format.count(report.resumedOk)} by an earlier run`
          : `of ${Format.plural(Report.done(report) + end.undone, "row")}`
      ),
      card(
        "Failed",
        Format.count(failed),
        [
          ...(report.bad > 0 ? [Format.plural(report.bad, "bad line")] : []),
          ...(running === undefined ? [] : [`${Format.count(running.rows)} in ${RunEnd.goingOn(running)}`]),
          ...(unsent > 0 ? [`${Format.count(unsent)} not sent`] : [])
        ].join(" · ")
      ),
      card(
        "Elapsed",
        Format.span(seconds),
        idealSeconds === undefined || settled === 0
          ? ""
          : `ideal ${Format.span(idealSeconds)} · ${(seconds / idealSeconds).toFixed(2)} times`
      ),
      card(
        "Throughput",
        seconds > 0 ? `${Format.rate(settled / seconds)} /s` : "–",
        seconds > 0 ? `${Format.rate((report.inputTokens + report.outputTokens) / seconds)} tokens/s` : ""
      ),
      card(
        "Cost",
        Format.usd(report.nanoUsd),
        uncertain > 0n
          ? `up to ${Format.usd(uncertain)} besides`
          : report.unpriced > 0
          ? `${Format.plural(report.unpriced, "row")} of unknown price`
          : report.unmetered > 0
          ? `${Format.plural(report.unmetered, "row")} without usage left out`
          : `${Format.count(report.inputTokens + report.outputTokens)} tokens`
      ),
      card(
        "429 answers",
        Format.count(report.throttled),
        `${Format.plural(retries, "retry", "retries")} · ${Format.span(report.waited)} waited`
      )
    ].join("")
  }</div>`
}

const over = (
  timeline: Timeline.Timeline,
  value: (step: Timeline.Step) => number
): ReadonlyArray<readonly [number, number]> =>
  timeline.steps.map((step, index) => [(index + 0.5) * timeline.width, value(step)] as const)

/** Describes the chart of requests per second against the limit that was found, and the times without credit. */
export const throughput = (report: Report.Report, spells: ReadonlyArray<Standstill.Spell> = []): Chart.Chart => {
  const { timeline } = report
  const { width } = timeline
  const maxX = Math.max(Report.elapsed(report), timeline.steps.length * width)
  const marked = timeline.steps.flatMap((step, index) =>
    step.throttled > 0 ? [[(index + 0.5) * width, step.throttled] as const] : []
  )
  const paused = timeline.steps.flatMap((step, index) =>
    step.paused > 0
      ? [{ from: index * width, to: index * width + Math.min(width, step.paused), color: "--amber" }]
      : []
  )
  const since = (at: number) => (at - report.startedAt) / 1000
  const suspended = spells.map(({ from, to }) => ({
    from: since(from),
    to: to === undefined ? Report.elapsed(report) : since(to),
    color: "--red"
  }))
  const all = report.models.size > 1 ? ", all models together" : ""
  return {
    title: `Requests per second, and the limit that was found${all}`,
    maxX,
    formatX: Format.clock,
    formatY: Format.rate,
    bands: [...paused, ...suspended],
    series: [
      {
        label: "requests sent",
        color: "--blue",
        kind: "area",
        points: over(timeline, (step) => step.attempts / width)
      },
      { label: "rows answered", color: "--green", kind: "line", points: over(timeline, (step) => step.ok / width) },
      {
        label: `limit in use${all}`,
        color: "--violet",
        kind: "step",
        points: over(timeline, (step) => known(step.rate))
      }
    ],
    marks: {
      label: `429 (shaded: paused${spells.length > 0 ? "; shaded red: no credit" : ""})`,
      color: "--red",
      points: marked
    }
  }
}

const known = (value: number) => value > 0 ? value : Number.NaN

const charts = ({ report, spells }: RunEnd.RunEnd): string => {
  const { timeline } = report
  if (timeline.steps.length === 0) return ""
  const { width } = timeline
  const maxX = Math.max(Report.elapsed(report), timeline.steps.length * width)
  return Chart.timeline(throughput(report, spells)) + Chart.timeline({
    title: "Requests in flight",
    maxX,
    height: 190,
    formatX: Format.clock,
    formatY: Format.rate,
    series: [
      { label: "in flight", color: "--blue", kind: "area", points: over(timeline, (step) => step.inFlight) },
      { label: "limit in use", color: "--violet", kind: "step", points: over(timeline, (step) => known(step.limit)) }
    ]
  }) + Chart.timeline({
    title: "Tokens per second",
    maxX,
    height: 170,
    formatX: Format.clock,
    formatY: Format.rate,
    series: [
      {
        label: "input and output",
        color: "--green",
        kind: "area",
        points: over(timeline, (step) => step.tokens / width)
      }
    ]
  })
}

const latency = (title: string, histogram: Histogram.Histogram): string =>
  Chart.bars(
    title,
    histogram.total === 0 ? [] : [
      ...([0.5, 0.75, 0.9, 0.95, 0.99] as const).map((share) => {
        const millis = Histogram.percentile(histogram, share)
        return { label: `p${share * 100}`, value: millis, text: Format.span(millis / 1000) }
      }),
      { label: "longest", value: histogram.longest, text: Format.span(histogram.longest / 1000), color: "--violet" }
    ],
    "Nothing was answered in this run."
  )

const counted = (title: string, counts: ReadonlyMap<string, number>, color: string, empty: string): string =>
  Chart.bars(
    title,
    Array.from(counts).sort(([, a], [, b]) => b - a).map(([label, value]) => ({
      label,
      value,
      text: Format.count(value),
      color
    })),
    empty
  )

const table = (
  title: string,
  heads: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  numeric: ReadonlySet<number>
): string =>
  rows.length === 0
    ? ""
    : `<section><h2>${Chart.escape(title)}</h2><table><thead><tr>${
      heads.map((head, at) => `<th${numeric.has(at) ? " class=\"n\"" : ""}>${Chart.escape(head)}</th>`).join("")
    }</tr></thead><tbody>${
      rows.map((row) =>
        `<tr>${
          row.map((cell, at) => `<td${numeric.has(at) ? " class=\"n\"" : ""}>${Chart.escape(cell)}</td>`).join("")
        }</tr>`
      ).join("")
    }</tbody></table></section>`

const costOf = ({ nanoUsd, unpriced }: Report.ModelCounts): string =>
  unpriced === 0
    ? Format.usd(nanoUsd)
    : nanoUsd === 0n
    ? "unknown"
    : `${Format.usd(nanoUsd)} and ${Format.plural(unpriced, "row")} of unknown price`

/** Says how many models the page lists. */
const keep = { models: 100 } as const

const models = (report: Report.Report): string =>
  table(
    report.models.size > keep.models
      ? `Models, the first ${keep.models} of ${Format.count(report.models.size)}`
      : "Models",
    ["model", "answered", "failed", "tokens in", "tokens out", "cost"],
    Array.from(report.models).slice(0, keep.models).map(([model, counts]) => [
      model,
      Format.count(counts.ok),
      Format.count(counts.failed),
      Format.count(counts.inputTokens),
      Format.count(counts.outputTokens),
      costOf(counts)
    ]),
    new Set([1, 2, 3, 4, 5])
  )

const moves = (report: Report.Report): string =>
  table(
    "Why the limit moved, the last moves",
    ["at", "lane", "move"],
    report.moves.slice(-30).map((move) => [Format.clock((move.at - report.startedAt) / 1000), move.lane, move.reason]),
    new Set()
  )

const failures = (report: Report.Report): string =>
  table(
    report.failed + report.bad > report.failures.length
      ? `Failed rows, the first ${report.failures.length}`
      : "Failed rows",
    ["line", "custom_id", "code", "message"],
    report.failures.map((row) => [String(row.line), row.id ?? "", row.code, Summary.messageOf(row)]),
    new Set([0])
  )

/** Writes the page as text. */
export const html = (end: RunEnd.RunEnd, input: string): string => {
  const { report } = end
  const when = new Date(report.startedAt).toISOString().replace("T", " ").slice(0, 19)
  const warnings = report.warnings.length === 0
    ? ""
    : `<section><h2>Warnings</h2>${report.warnings.map((text) => `<p>${Chart.escape(text)}</p>`).join("")}</section>`
  return Chart.page(
    `${input} – run of ${when} UTC`,
    `<header><h1>${Chart.escape(input)}</h1>${badge(end)}<p>${when} UTC · <code>${
      Chart.escape(CommandLine.shown(end.args))
    }</code></p></header>
${ended(end)}
${cards(end)}
${charts(end)}
<div class="two">${latency("Time of one request", report.attemptLatency)}${
      latency("Time of one row, waits and retries included", report.latency)
    }${counted("Retries by reason", report.retries, "--amber", "Nothing was retried.")}${
      counted("Attempts that were refused, by status", report.refusals, "--red", "None.")
    }${report.codes.size === 0 ? "" : counted("Failures by code", report.codes, "--red", "None.")}</div>
${models(report)}${failures(report)}${moves(report)}${warnings}
<footer>effect-together · results ${Chart.escape(end.results ?? "on standard output")} · journal ${
      Chart.escape(end.journal)
    }</footer>`
  )
}

const unwritable = (path: string, why: string) => (cause: PlatformError.PlatformError) =>
  new OutputError({
    message: `cannot write the report ${path} ${advice(cause, why)}`,
    reason: "unwritable",
    path,
    cause
  })

/**
 * Makes the directory of a page that will be written later, and checks that it can be.
 *
 * **Errors**: `OutputError` where it cannot.
 */
export const prepare = Effect.fnUntraced(function*(path: string) {
  const fs = yield* FileSystem.FileSystem
  const [directory] = FileIdentity.split(path)
  const check = Effect.gen(function*() {
    yield* Directory.make(directory)
    const exists = yield* Effect.orElseSucceed(fs.exists(path), () => false)
    yield* fs.access(exists ? path : directory, { writable: true })
  })
  yield* Effect.mapError(check, unwritable(path, "Nothing was sent; check the directory."))
  if ((yield* FileIdentity.kindOf(path)) === "directory") {
    return yield* new OutputError({
      message: `the report ${path} is a directory. Nothing was sent; name a file, such as ${
        path.replace(/\/+$/, "")
      }/run.html.`,
      reason: "unwritable",
      path
    })
  }
})

/** Writes the page to a file. */
export const write = Effect.fnUntraced(function*(path: string, end: RunEnd.RunEnd, input: string) {
  const fs = yield* FileSystem.FileSystem
  yield* Effect.mapError(
    fs.writeFileString(path, html(end, input)),
    unwritable(path, "The job itself is done; check the directory.")
  )
})
