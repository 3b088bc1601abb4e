/** The end of a run in words: what was done, what it took, and how to go on. */
import * as Money from "../domain/Money.ts"
import type { BudgetExceededError } from "../domain/TogetherError.ts"
import type * as Job from "../job/Job.ts"
import * as Histogram from "../job/Histogram.ts"
import * as Report from "../job/Report.ts"
import * as CommandLine from "./CommandLine.ts"
import * as Connection from "./Connection.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import type * as Standstill from "./Standstill.ts"
import type * as Style from "./Style.ts"

/** Says what the summary needs besides the report. */
export interface Context {
  readonly report: Report.Report
  readonly ending: Job.Ending
  readonly results: string | undefined
  readonly errors: string
  readonly journal: string
  readonly page?: string | undefined
  /** Seconds that a provider with these limits needs at the least. */
  readonly idealSeconds?: number | undefined
  /** The arguments of the command, which continue the run. */
  readonly args: ReadonlyArray<string>
  /** Nano-dollars that the runs of the journal may have cost beyond their rows. Default: 0. */
  readonly uncertainNanoUsd?: bigint | undefined
  /** Nano-dollars that `--max-cost` allows, earlier runs included. */
  readonly maxCost?: bigint | undefined
  /** Where `--max-cost` comes from, where it is not among `args`. */
  readonly maxCostFrom?: string | undefined
  /** Whether the rows went through batches: attempts are uploads and polls then. */
  readonly batch?: boolean | undefined
  /** Whether an emulator answered. */
  readonly emulated?: boolean | undefined
  /** What would have been sent more, where the file's rows were counted. */
  readonly undone: number
  /** Which of the undone rows are in batches that go on. */
  readonly running?: Job.Running | undefined
  /** Rows that are settled and that no output file holds: 0, or something is wrong. */
  readonly lost: number
  /** Times in which the run waited for credit; absent where it does not wait for any. */
  readonly spells?: ReadonlyArray<Standstill.Spell> | undefined
}

const list = (counts: ReadonlyMap<string, number>): string =>
  Array.from(counts).sort(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${Format.count(count)}`).join(", ")

/** What the reason of an end needs. */
type Spending = Pick<Context, "ending" | "report" | "maxCost" | "uncertainNanoUsd" | "batch" | "spells">

/** Adds up what the runs of the journal have spent, and may have spent besides. */
const spent = ({ report, uncertainNanoUsd }: Spending): bigint =>
  report.resumedNanoUsd + report.nanoUsd + (uncertainNanoUsd ?? 0n)

const overBudget = (context: Spending, error: BudgetExceededError): string => {
  const limit = context.maxCost ?? error.limitNanoUsd
  const left = limit - spent(context)
  const before = error.budget === Connection.spentBudget
  return `${before ? "earlier runs of the journal have spent all of it. The" : "the"} next ${
    context.batch === true ? "batch" : "row"
  } may cost up to ${Format.usd(error.neededNanoUsd)}, and ${left > 0n ? Format.usd(left) : "nothing"} of ${
    Format.usd(limit)
  } is left. Set or lower max_tokens: a row reserves what it allows, and without it up to the model's whole context`
}

const abandoned = (ending: Job.Ending): string =>
  Array.from(
    ending.abandoned,
    ([model, { error, rows }]) =>
      `${Format.plural(rows, "row")} of ${model} ${rows === 1 ? "was" : "were"} not sent, ${
        error._tag === "BudgetExceededError"
          ? "for --max-cost cannot hold what has no known price"
          : "for none had been answered by then"
      }`
  ).join("; ")

/** Says what was last tried again, where nothing was answered. */
const unanswered = ({ report }: Spending): string =>
  report.ok + report.failed > 0 || report.latestError === undefined
    ? ""
    : `. Nothing was answered; the last error: ${report.latestError}`

/** Says why a run left rows undone. */
export const reason = (context: Spending): string | undefined => {
  const { ending } = context
  const { stop } = ending
  switch (stop?._tag) {
    case undefined:
      return undefined
    case "Interrupted":
      return `interrupted: every answer that arrived is in the journal${unanswered(context)}`
    case "MaxTime":
      return `stopped: the time allowed by --max-time has passed${unanswered(context)}`
    case "MaxCost":
      return `stopped by --max-cost: ${overBudget(context, stop.error)}`
    case "FailedRow":
      return "stopped: a row failed, and --fail-on-error was given"
    case "Refused":
      return `refused: ${stop.error.message}${
        stop.error._tag === "InsufficientCreditsError" && context.spells === undefined
          ? " With --on-credits wait a run waits for credit instead."
          : ""
      }`
    case "Unreachable":
      return `unreachable: ${stop.error.message}`
    case "InputChanged":
      return `input changed: ${stop.error.message}`
    case "Abandoned":
      return `left out: ${abandoned(ending)}`
  }
}

/** Counts the undone rows that nobody was asked about. */
export const unsent = ({ running, undone }: Pick<Context, "running" | "undone">): number =>
  undone - (running?.rows ?? 0)

/** Names batches that a run leaves behind. */
export const goingOn = ({ batches, doubtful }: Job.Running): string => {
  if (batches === doubtful) {
    return batches === 1
      ? "a batch that may go on"
      : `${Format.count(batches)} batches that may go on`
  }
  const some = doubtful === 0 ? "" : `, ${Format.count(doubtful)} of which may not have been created`
  return batches === 1 ? "a batch that goes on" : `${Format.count(batches)} batches that go on${some}`
}

const rowsLine = (context: Context, style: Style.Style): string => {
  const { lost, report, running } = context
  const left = unsent(context)
  const failed = report.failed + report.resumedFailed
  return [
    style.green(`${Format.count(report.ok + report.resumedOk)} answered`),
    ...(report.resumedOk > 0 ? [`${Format.count(report.resumedOk)} of them before`] : []),
    ...(report.cached > 0 ? [`${Format.count(report.cached)} from the cache`] : []),
    ...(report.twins > 0 ? [`${Format.count(report.twins)} identical`] : []),
    failed > 0 ? style.red(`${Format.count(failed)} failed`) : "0 failed",
    ...(report.bad > 0 ? [style.red(Format.plural(report.bad, "bad line"))] : []),
    ...(running === undefined ? [] : [style.yellow(`${Format.count(running.rows)} in ${goingOn(running)}`)]),
    ...(left > 0 ? [style.yellow(`${Format.count(left)} not sent`)] : []),
    lost === 0 ? "0 lost" : style.red(`${Format.count(lost)} lost: run the same command again`)
  ].join(" · ")
}

const timeLine = ({ idealSeconds, report }: Context): string => {
  const elapsed = Report.elapsed(report)
  const settled = report.ok + report.failed
  const against = idealSeconds === undefined || settled === 0
    ? ""
    : ` · ideal ${Format.span(idealSeconds)} (${(elapsed / idealSeconds).toFixed(2)} times)`
  return `${Format.span(elapsed)}${against}${
    elapsed > 0 && settled > 0 ? ` · ${Format.rate(settled / elapsed)} rows/s` : ""
  }`
}

/** Lists the refusals that no retry tells of: by status, 429 apart. */
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

/** Reads why a row failed, in the words of the command, and without its line, which stands before it. */
export const messageOf = ({ line, message }: Report.FailedRow): string =>
  message.replace(new RegExp(`^line ${line}\\b:?\\s*`), "")
    .replace("give the job a model for such rows", "give --model for such rows")
    .replace("send this row by a call", "send this row without --via batch")
    .replace(" | undefined at [", " at [")

/** Says what calls without a known cost mean for the next run, where a budget does not say it already. */
const heldBack = (context: Context): string | undefined => {
  const { ending: { stop }, maxCost, uncertainNanoUsd = 0n } = context
  if (uncertainNanoUsd === 0n || stop === undefined || stop._tag === "MaxCost") return undefined
  const counted = `${Format.usd(uncertainNanoUsd)}, the most those calls may have cost, counts as spent in later runs`
  if (maxCost === undefined) return `${counted} under --max-cost`
  const left = maxCost - spent(context)
  return `${counted}: ${left > 0n ? Format.usd(left) : "nothing"} of --max-cost ${Format.usd(maxCost)} is left for them`
}

/** Says of which answers nobody knows the cost though the price is known. */
export const unmetered = (report: Report.Report): string =>
  report.unmetered === 1
    ? "the answer of 1 row tells no usage: its cost is not in this sum"
    : `the answers of ${Format.count(report.unmetered)} rows tell no usage: their cost is not in this sum`

/** Writes the summary as lines. */
export const lines = (context: Context, style: Style.Style): ReadonlyArray<string> => {
  const { ending, report } = context
  const label = (text: string) => style.dim(text.padEnd(10))
  const out: Array<string> = [
    `${label("rows")}${rowsLine(context, style)}`,
    ...(context.batch === true ? [] : [`${label("attempts")}${attemptsLine(report)}`])
  ]
  if (report.latency.total > 0 && context.batch !== true) {
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
  const uncertain = context.uncertainNanoUsd ?? 0n
  const besides = uncertain > 0n
    ? ` · up to ${Format.usd(uncertain)} besides for ${
      context.batch === true ? "answers" : "calls"
    } without a known cost`
    : ""
  const { running } = context
  const coming = running === undefined
    ? ""
    : running.nanoUsd === undefined
    ? style.yellow(` · ${goingOn(running)}, of unknown price`)
    : style.yellow(` · up to ${Format.usd(running.nanoUsd)} for ${goingOn(running)}`)
  out.push(`${label("cost")}${Format.usd(report.nanoUsd)}${before}${besides}${coming}${unknown}`)
  const held = heldBack(context)
  if (held !== undefined) out.push(`${label("")}${style.dim(held)}`)
  out.push(`${label("elapsed")}${timeLine(context)}`)
  if (report.codes.size > 0) out.push(`${label("failures")}${list(report.codes)}`)
  for (const failure of report.failures.slice(0, 3)) {
    out.push(`${label("")}${style.red(`line ${failure.line}`)} ${messageOf(failure)}`)
  }
  if (report.failures.length > 3) out.push(`${label("")}${style.dim(`the others are in ${context.errors}`)}`)
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
  if (context.results !== undefined) out.push(`${label("results")}${context.results}`)
  if (ExitCode.failedOf(report) > 0) out.push(`${label("errors")}${context.errors}`)
  if (context.page !== undefined) out.push(`${label("report")}${context.page}`)
  const why = reason(context)
  if (why !== undefined) out.push(style.yellow(why))
  out.push(last(context, style))
  return out
}

/** Writes what a run says that is to be quiet: nothing, or why it stopped. */
export const stop = (context: Context, style: Style.Style): ReadonlyArray<string> => {
  const why = reason(context)
  return why === undefined ? [] : [style.yellow(why)]
}

const withoutBudget = ({ args, maxCostFrom }: Context, style: Style.Style): string => {
  const remove = maxCostFrom === undefined ? "" : `remove ${maxCostFrom}, then: `
  return `continue without --max-cost: ${remove}${style.bold(CommandLine.instead(args, "--max-cost"))}`
}

/** Rounds an amount up to two digits: who allows so much allows enough. */
const upwards = (amount: bigint): bigint => {
  const unit = 10n ** BigInt(Math.max(0, amount.toString().length - 2))
  return (amount + unit - 1n) / unit * unit
}

/**
 * Estimates what the rows that were not sent will cost by what those before them did, the last one apart, which needs room
 * for the most that it may cost. Rows differ, so an amount to allow has a quarter of it to spare.
 */
const rest = (context: Context): { readonly left: bigint; readonly text: string } => {
  const { report } = context
  const rows = unsent(context)
  const [paid, answered] = [report.nanoUsd + report.resumedNanoUsd, report.ok + report.resumedOk]
  if (answered === 0 || rows <= 1) return { left: 0n, text: "" }
  const left = paid * BigInt(rows - 1) / BigInt(answered)
  return { left, text: `the other ${Format.plural(rows, "row")} will take about ${Format.usd(left)}: ` }
}

/** Says how to go on with rows that were left undone. */
const onward = (context: Context, style: Style.Style): string => {
  const { args, ending: { abandoned, stop } } = context
  if (stop?._tag === "MaxCost") {
    const { left, text } = rest(context)
    const enough = upwards(spent(context) + left + left / 4n + stop.error.neededNanoUsd)
    return `${text}raise --max-cost to ${Format.usd(enough)} or more, and continue with: ${
      style.bold(CommandLine.instead(args, "--max-cost", "--max-cost", Money.toUsd(enough)))
    }`
  }
  if (stop?._tag === "InputChanged") {
    return `go on with: ${
      style.bold(CommandLine.instead(args, "--changed", "--changed", "keep"))
    } (keep the answers of changed rows) or --changed resend (send changed rows again)`
  }
  if (context.running !== undefined && context.running.doubtful < context.running.batches) {
    return `the answers are billed, and collected with: ${style.bold(CommandLine.again(args))}`
  }
  const priceless = Array.from(abandoned.values()).some(({ error }) => error._tag === "BudgetExceededError")
  return stop?._tag === "Abandoned" && priceless
    ? withoutBudget(context, style)
    : `continue with: ${style.bold(CommandLine.again(args))}`
}

/** Names the codes of rows that fail alike where the address is wrong. */
const ofAddress: ReadonlySet<string> = new Set(["decode", "not_found"])

/** Tells whether every refusal was a redirect. */
const redirected = ({ refusals }: Report.Report): boolean =>
  refusals.size > 0 && Array.from(refusals.keys()).every((status) => /^3\d\d$/.test(status))

/** Tells whether all that was sent failed as at a wrong address: what tells usage is the right one. */
const astray = ({ batch, ending: { stop }, report }: Context): boolean => {
  const codes = Array.from(report.codes.keys())
  return batch !== true && (stop === undefined || stop._tag === "Abandoned" || stop._tag === "FailedRow") &&
    report.ok + report.resumedOk + report.inputTokens === 0 &&
    codes.length > 0 &&
    codes.every((code) => ofAddress.has(code) || (code === "invalid_request" && redirected(report)))
}

/** Says how to go on with rows that failed: those that would fail again have to be corrected. */
const again = ({ args, report }: Context, style: Style.Style): string => {
  const lines = report.failures.filter((row) => !row.retryable).map((row) => row.line).sort((a, b) => a - b)
  return lines.length === 0
    ? `send the failed rows again with: ${style.bold(CommandLine.retrying(args))}`
    : `correct line${lines.length === 1 ? "" : "s"} ${lines.slice(0, 5).join(", ")}${
      lines.length > 5 ? ", …" : ""
    }, then send what failed again with: ${style.bold(CommandLine.corrected(args))}`
}

/** Writes the last line: how to go on. */
export const last = (context: Context, style: Style.Style): string => {
  const { args, ending, report } = context
  if (astray(context)) {
    // an address that is wrong has no such path, and the right one no model that is misspelt
    const what = report.codes.has("not_found") ? "--base-url and the names of models" : "--base-url"
    return `check ${what}, then send the failed rows again with: ${style.bold(CommandLine.corrected(args))}`
  }
  if (ending.stop !== undefined || context.undone > 0) return onward(context, style)
  if (report.failed + report.resumedFailed > 0) return again(context, style)
  if (report.bad > 0 && report.codes.get("bad_row_model") === report.bad) {
    return `name a model for such rows: ${style.bold(CommandLine.instead(args, "--model", "--model", "NAME"))}`
  }
  if (report.bad > 0) {
    const inPlace = report.missingIds.count === 0
      ? ""
      : " where they stand, and leave a blank line for one you remove (rows without custom_id are known by their line)"
    return `correct the bad lines${inPlace}, then: ${
      style.bold(CommandLine.instead(args, "--changed", "--changed", "keep"))
    }`
  }
  return report.ok === 0 && report.resumedOk > 0
    ? `nothing to send: an earlier run answered every row. To begin anew, remove ${context.journal} and the results`
    : style.green("done")
}
