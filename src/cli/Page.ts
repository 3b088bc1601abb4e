/**
 * The report of a run as one HTML page: no script, no request to anywhere, light and dark.
 *
 * Safe to open and to mail: every text from rows and providers is escaped, and the page forbids scripts and network
 * to itself by its content security policy.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { OutputError, platformCode } from "../job/JobError.ts"
import * as Histogram from "../job/Histogram.ts"
import type * as Report from "../job/Report.ts"
import type * as Timeline from "../job/Timeline.ts"
import * as Chart from "./Chart.ts"
import * as Format from "./Format.ts"
import * as Summary from "./Summary.ts"

const css = `
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#16181d;--soft:#5c6470;--line:#e3e6ea;--blue:#2563eb;--green:#0f9d6b;--amber:#b7791f;--red:#d64545;--violet:#7c4dce}
@media (prefers-color-scheme:dark){:root{--bg:#0e1116;--card:#161b22;--ink:#e8eaed;--soft:#98a2b0;--line:#2a313b;--blue:#6ea8fe;--green:#4cc38a;--amber:#e0b04c;--red:#ff7b72;--violet:#b794f6}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1000px;margin:0 auto;padding:32px 20px 64px}
header{display:flex;flex-wrap:wrap;align-items:baseline;gap:8px 14px;margin-bottom:22px}
h1{font-size:22px;margin:0;letter-spacing:-.01em;overflow-wrap:anywhere}
header p{margin:0;color:var(--soft);flex-basis:100%}
.badge{padding:2px 11px;border-radius:99px;font-size:13px;font-weight:600;background:color-mix(in srgb,var(--c) 14%,transparent);color:var(--c)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(148px,1fr));gap:12px;margin-bottom:16px}
.card,figure,section{background:var(--card);border:1px solid var(--line);border-radius:12px}
.card{padding:13px 16px}
.card b{display:block;font-size:23px;letter-spacing:-.02em;line-height:1.25;white-space:nowrap}
.card span{color:var(--soft);font-size:13px}
.card em{font-style:normal;color:var(--soft);font-size:12.5px;display:block;margin-top:2px}
figure{margin:0 0 16px;padding:15px 17px 10px}
figcaption,h2{font-size:15px;font-weight:600;margin:0 0 4px}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:12px}
.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.legend{display:flex;flex-wrap:wrap;gap:3px 16px;color:var(--soft);font-size:13px;margin-bottom:7px}
.legend i{display:inline-block;width:14px;height:10px;margin-right:6px;border-radius:2px;vertical-align:-1px}
.legend .area{background:color-mix(in srgb,var(--c) 22%,transparent);border-top:2px solid var(--c)}
.legend .line{height:0;border-top:2px solid var(--c);vertical-align:4px}
.legend .step{height:0;border-top:2px dashed var(--c);vertical-align:4px}
.legend .mark{width:3px;background:var(--c)}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:0 16px}
.bars{padding:5px 0 6px}
.bar{display:grid;grid-template-columns:minmax(74px,max-content) 1fr minmax(58px,max-content);gap:12px;align-items:center;font-size:13.5px;padding:3.5px 0}
.bar .track{background:color-mix(in srgb,var(--soft) 13%,transparent);border-radius:5px;overflow:hidden}
.bar b{display:block;height:11px;border-radius:5px}
.bar .value{text-align:right;color:var(--soft)}
section{padding:15px 17px;margin-bottom:16px;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th{text-align:left;color:var(--soft);font-weight:500;border-bottom:1px solid var(--line);padding:5px 10px 5px 0;white-space:nowrap}
td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;white-space:nowrap}
code{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.none{color:var(--soft);margin:6px 0 8px;font-size:14px}
footer{color:var(--soft);font-size:13px;margin-top:22px}
@media (max-width:520px){main{padding:20px 12px 40px}.two{grid-template-columns:1fr}}
`

const card = (label: string, value: string, more: string): string =>
  `<div class="card"><span>${Chart.escape(label)}</span><b>${Chart.escape(value)}</b><em>${
    Chart.escape(more) || "&nbsp;"
  }</em></div>`

const badge = (context: Summary.Context): string => {
  const { ending, report, undone } = context
  const failed = report.failed + report.bad + report.resumedFailed
  const [text, color] = ending.stop !== undefined
    ? [Summary.reason(ending)!.split(":")[0]!, "--amber"]
    : failed + undone > 0
    ? [`${Format.count(failed + undone)} not answered`, "--red"]
    : ["all rows answered", "--green"]
  return `<span class="badge" style="--c:var(${color})">${Chart.escape(text)}</span>`
}

const elapsed = (report: Report.Report): number => ((report.endedAt ?? report.startedAt) - report.startedAt) / 1000

const cards = (context: Summary.Context): string => {
  const { idealSeconds, report } = context
  const seconds = elapsed(report)
  const settled = report.ok + report.failed
  const retries = Array.from(report.retries.values()).reduce((sum, count) => sum + count, 0)
  const failed = report.failed + report.bad + report.resumedFailed
  return `<div class="cards">${
    [
      card(
        "Answered",
        Format.count(report.ok + report.resumedOk),
        report.resumedOk > 0
          ? `${Format.count(report.resumedOk)} by an earlier run`
          : `of ${Format.plural(report.read, "row")}`
      ),
      card("Failed", Format.count(failed), report.bad > 0 ? Format.plural(report.bad, "bad line") : ""),
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
        report.unpriced > 0
          ? `${Format.plural(report.unpriced, "row")} of unknown price`
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

const charts = (report: Report.Report): string => {
  const { timeline } = report
  if (timeline.steps.length === 0) return ""
  const { width } = timeline
  const maxX = Math.max(elapsed(report), timeline.steps.length * width)
  const marked = timeline.steps.flatMap((step, index) =>
    step.throttled > 0 ? [[(index + 0.5) * width, step.throttled] as const] : []
  )
  const bands = timeline.steps.flatMap((step, index) =>
    step.paused > 0
      ? [{ from: index * width, to: index * width + Math.min(width, step.paused), color: "--amber" }]
      : []
  )
  const known = (value: number) => value > 0 ? value : Number.NaN
  return Chart.timeline({
    title: "Requests per second, and the limit that was found",
    maxX,
    formatX: Format.clock,
    formatY: Format.rate,
    bands,
    series: [
      {
        label: "requests sent",
        color: "--blue",
        kind: "area",
        points: over(timeline, (step) => step.attempts / width)
      },
      { label: "rows answered", color: "--green", kind: "line", points: over(timeline, (step) => step.ok / width) },
      { label: "limit in use", color: "--violet", kind: "step", points: over(timeline, (step) => known(step.rate)) }
    ],
    marks: { label: "429 (shaded: paused)", color: "--red", points: marked }
  }) + Chart.timeline({
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

const latency = (report: Report.Report): string =>
  Chart.bars(
    "Time from first attempt to answer",
    report.latency.total === 0 ? [] : [
      ...([0.5, 0.75, 0.9, 0.95, 0.99] as const).map((share) => {
        const millis = Histogram.percentile(report.latency, share)
        return { label: `p${share * 100}`, value: millis, text: Format.span(millis / 1000) }
      }),
      {
        label: "longest",
        value: report.latency.longest,
        text: Format.span(report.latency.longest / 1000),
        color: "--violet"
      }
    ],
    "No row was answered in this run."
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

const models = (report: Report.Report): string =>
  table(
    "Models",
    ["model", "answered", "failed", "tokens in", "tokens out", "cost"],
    Array.from(report.models, ([model, counts]) => [
      model,
      Format.count(counts.ok),
      Format.count(counts.failed),
      Format.count(counts.inputTokens),
      Format.count(counts.outputTokens),
      Format.usd(counts.nanoUsd)
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
    report.failures.map((row) => [String(row.line), row.id ?? "", row.code, row.message]),
    new Set([0])
  )

/** Writes the page as text. */
export const html = (context: Summary.Context, input: string): string => {
  const { report } = context
  const when = new Date(report.startedAt).toISOString().replace("T", " ").slice(0, 19)
  const warnings = report.warnings.length === 0
    ? ""
    : `<section><h2>Warnings</h2>${report.warnings.map((text) => `<p>${Chart.escape(text)}</p>`).join("")}</section>`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>${Chart.escape(input)} – run of ${when} UTC</title><style>${css}</style></head>
<body><main><header><h1>${Chart.escape(input)}</h1>${badge(context)}<p>${when} UTC · <code>${
    Chart.escape(context.command)
  }</code></p></header>
${cards(context)}
${charts(report)}
<div class="two">${latency(report)}${counted("Retries by reason", report.retries, "--amber", "Nothing was retried.")}${
    counted("Attempts that were refused, by status", report.refusals, "--red", "None.")
  }${counted("Failures by code", report.codes, "--red", "None.")}</div>
${models(report)}${failures(report)}${moves(report)}${warnings}
<footer>effect-together · results ${Chart.escape(context.results ?? "on standard output")} · journal ${
    Chart.escape(context.journal)
  }</footer>
</main></body></html>
`
}

/** Writes the page to a file. */
export const write = Effect.fnUntraced(function*(path: string, context: Summary.Context, input: string) {
  const fs = yield* FileSystem.FileSystem
  yield* Effect.mapError(
    fs.writeFileString(path, html(context, input)),
    (cause) =>
      new OutputError({
        message: `cannot write the report ${path} (${
          platformCode(cause)
        }). The job itself is done; check the directory.`,
        reason: "unwritable",
        path,
        cause
      })
  )
})
