/** The end of a run in words: what was done, what it took, and how to go on. */
import * as Histogram from "../job/Histogram.ts"
import * as Report from "../job/Report.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Onward from "./Onward.ts"
import * as RunEnd from "./RunEnd.ts"
import type * as Style from "./Style.ts"

const list = (counts: ReadonlyMap<string, number>): string =>
  Array.from(counts).sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${Format.count(count)}`).join(", ")

const rowsLine = (end: RunEnd.RunEnd, style: Style.Style): string => {
  const { lost, report, running } = end
  const left = RunEnd.unsent(end)
  const failed = report.failed + report.resumedFailed
  return [
    style.green(`${Format.count(report.ok + report.resumedOk)} answered`),
    ...(report.resumedOk > 0 ? [`${Format.count(report.resumedOk)} of them before`] : []),
    ...(report.cached > 0 ? [`${Format.count(report.cached)} from the cache`] : []),
    ...(report.twins > 0 ? [`${Format.count(report.twins)} identical`] : []),
    failed > 0 ? style.red(`${Format.count(failed)} failed`) : "0 failed",
    ...(report.bad > 0 ? [style.red(Format.plural(report.bad, "bad line"))] : []),
    ...(running === undefined ? [] : [style.yellow(`${Format.count(running.rows)} in ${RunEnd.goingOn(running)}`)]),
    ...(left > 0 ? [style.yellow(`${Format.count(left)} not sent`)] : []),
    lost === 0 ? "0 lost" : style.red(`${Format.count(lost)} lost: run the same command again`)
  ].join(" · ")
}

const timeLine = ({ idealSeconds, report }: RunEnd.RunEnd): string => {
  const elapsed = Report.elapsed(report)
  const settled = report.ok + report.failed
  const against = idealSeconds === undefined || settled === 0
    ? ""
    : ` · ideal ${Format.span(idealSeconds)} (${(elapsed / idealSeconds).toFixed(2)} times)`
  return `${Format.span(elapsed)}${against}${
    elapsed > 0 && settled > 0 ? ` · ${Format.rate(settled / elapsed)} rows/s` : ""
  }`
}

/** Lists the refusals that the counts of retries do not show, by status, 429 apart. */
const refusals = (report: Report.Report): ReadonlyArray<string> =>
  Array.from(report.refusals).filter(([status]) => /^4\d\d$/.test(status) && status !== "429").map(([status, count]) =>
    `${Format.count(count)} × ${status}`
  )

const attemptsLine = (report: Report.Report): string =>
  [
    `${Format.count(report.attempts)}`,
    `${Format.count(report.throttled)} × 429`,
    ...refusals(report),
    report.retries.size > 0 ? `retries: ${list(report.retries)}` : "no retries",
    `${Format.span(report.waited)} waited after refusals`
  ].join(" · ")

/** Reads why a row failed, in the words of the command, and without the number of its line, which is shown before. */
export const messageOf = ({ line, message }: Report.FailedRow): string =>
  message.replace(new RegExp(`^line ${line}\\b:?\\s*`), "")
    .replace("give the job a model for such rows", "give --model for such rows")
    .replace("send this row by a call", "send this row without --via batch")
    .replace(" | undefined at [", " at [")

/** Says what calls without a known cost mean for the next run, where a budget does not say it already. */
const heldBack = (end: RunEnd.RunEnd): string | undefined => {
  const { ending: { stop }, maxCost, uncertainNanoUsd = 0n } = end
  if (uncertainNanoUsd === 0n || stop === undefined || stop._tag === "MaxCost") return undefined
  const counted = `${Format.usd(uncertainNanoUsd)}, the most those calls may have cost, counts as spent in later runs`
  if (maxCost === undefined) return `${counted} under --max-cost`
  const left = maxCost - RunEnd.spent(end)
  return `${counted}: ${left > 0n ? Format.usd(left) : "nothing"} of --max-cost ${Format.usd(maxCost)} is left for them`
}

/** Says of which answers nobody knows the cost though the price is known. */
export const unmetered = (report: Report.Report): string =>
  report.unmetered === 1
    ? "the answer of 1 row tells no usage: its cost is not in this sum"
    : `the answers of ${Format.count(report.unmetered)} rows tell no usage: their cost is not in this sum`

/** Writes the summary as lines. */
export const lines = (end: RunEnd.RunEnd, style: Style.Style): ReadonlyArray<string> => {
  const { ending, report } = end
  const label = (text: string) => style.dim(text.padEnd(10))
  const out: Array<string> = [
    `${label("rows")}${rowsLine(end, style)}`,
    ...(end.batch === true ? [] : [`${label("attempts")}${attemptsLine(report)}`])
  ]
  if (report.latency.total > 0 && end.batch !== true) {
    const [times, of] = report.attemptLatency.total > 0
      ? [report.attemptLatency, "request"]
      : [report.latency, "row"]
    const at = (share: number) => Format.span(Histogram.percentile(times, share) / 1000)
    out.push(
      `${label("latency")}p50 ${at(0.5)} · p90 ${at(0.9)} · p99 ${at(0.99)} · longest ${
        Format.span(times.longest / 1000)
      }, of one ${of}`
    )
  }
  out.push(`${label("tokens")}${Format.count(report.inputTokens)} in · ${Format.count(report.outputTokens)} out`)
  const before = report.resumedNanoUsd > 0n ? ` · ${Format.usd(report.resumedNanoUsd)} before` : ""
  const unknown = [
    ...(report.unpriced > 0 ? [`${Format.plural(report.unpriced, "row")} of unknown price left out`] : []),
    ...(report.unmetered > 0 ? [unmetered(report)] : [])
  ].map((left) => style.yellow(` · ${left}`)).join("")
  const uncertain = end.uncertainNanoUsd ?? 0n
  const besides = uncertain > 0n
    ? ` · up to ${Format.usd(uncertain)} besides for ${end.batch === true ? "answers" : "calls"} without a known cost`
    : ""
  const { running } = end
  const coming = running === undefined
    ? ""
    : running.nanoUsd === undefined
    ? style.yellow(` · ${RunEnd.goingOn(running)}, of unknown price`)
    : style.yellow(` · up to ${Format.usd(running.nanoUsd)} for ${RunEnd.goingOn(running)}`)
  out.push(`${label("cost")}${Format.usd(report.nanoUsd)}${before}${besides}${coming}${unknown}`)
  const held = heldBack(end)
  if (held !== undefined) out.push(`${label("")}${style.dim(held)}`)
  out.push(`${label("elapsed")}${timeLine(end)}`)
  if (report.codes.size > 0) out.push(`${label("failures")}${list(report.codes)}`)
  for (const failure of report.failures.slice(0, 3)) {
    out.push(`${label("")}${style.red(`line ${failure.line}`)} ${messageOf(failure)}`)
  }
  if (report.failures.length > 3) out.push(`${label("")}${style.dim(`the others are in ${end.errors}`)}`)
  const missing = report.missingIds
  if (missing.count > 0) {
    out.push(
      `${label("ids")}${Format.plural(missing.count, "row")} without custom_id (line${missing.count === 1 ? "" : "s"} ${
        missing.lines.slice(0, 5).join(", ")
      }${missing.count > 5 ? ", …" : ""}) got line-<number>`
    )
  }
  const left = ending.stop?._tag === "Abandoned" ? ending.abandoned : undefined
  for (const warning of report.warnings) {
    // the reason below says it in the command's words
    const said = left !== undefined && Array.from(left.keys()).some((model) => warning.includes(` of ${model} w`))
    if (!said) out.push(`${label("warning")}${style.yellow(warning)}`)
  }
  if (end.results !== undefined) out.push(`${label("results")}${end.results}`)
  if (ExitCode.failedOf(report) > 0) out.push(`${label("errors")}${end.errors}`)
  if (end.page !== undefined) out.push(`${label("report")}${end.page}`)
  const why = RunEnd.reason(end)
  if (why !== undefined) out.push(style.yellow(why))
  out.push(Onward.line(end, style))
  return out
}

/** Writes what a quiet run says: why it stopped, and where its failed rows are; nothing where all is well. */
export const brief = (end: RunEnd.RunEnd, style: Style.Style): ReadonlyArray<string> => {
  const { bad, failed, resumedFailed } = end.report
  const counts = [
    ...(failed + resumedFailed > 0 ? [`${Format.plural(failed + resumedFailed, "row")} failed`] : []),
    ...(bad > 0 ? [Format.plural(bad, "bad line")] : [])
  ]
  const why = RunEnd.reason(end)
  return [
    ...(why === undefined ? [] : [style.yellow(why)]),
    ...(counts.length === 0 ? [] : [style.red(`${counts.join(", ")}: see ${end.errors}`)])
  ]
}
