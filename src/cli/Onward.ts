/** The last line of a summary: how to go on with what a run left undone, or failed. */
import * as Money from "../domain/Money.ts"
import type * as Report from "../job/Report.ts"
import * as CommandLine from "./CommandLine.ts"
import * as Format from "./Format.ts"
import * as Prices from "./Prices.ts"
import * as RunEnd from "./RunEnd.ts"
import type * as Style from "./Style.ts"

const withoutBudget = ({ args, maxCostFrom, report }: RunEnd.RunEnd, style: Style.Style): string => {
  if (Prices.areShipped(report)) {
    const again = style.bold(CommandLine.again(args))
    return `continue once GET /models tells prices, with: ${again} (or without --max-cost, where it never does)`
  }
  const remove = maxCostFrom === undefined ? "" : `remove ${maxCostFrom}, then: `
  return `continue without --max-cost: ${remove}${style.bold(CommandLine.instead(args, "--max-cost"))}`
}

/** Rounds an amount up to two digits, so that allowing it is enough. */
const roundedUp = (amount: bigint): bigint => {
  const unit = 10n ** BigInt(Math.max(0, amount.toString().length - 2))
  return (amount + unit - 1n) / unit * unit
}

/** Counts the answers of this run from which it tells better than earlier ones what a row costs: prices change. */
const enoughRows = 20

/**
 * Estimates what the rows that were not sent will cost, by the cost of those before them. The last one needs room for
 * the most that it may cost. Rows differ, so the amount to allow is a quarter higher.
 */
const rest = (end: RunEnd.RunEnd): { readonly left: bigint; readonly text: string } => {
  const { report } = end
  const rows = RunEnd.unsent(end)
  const [paid, answered] = report.ok >= enoughRows
    ? [report.nanoUsd, report.ok]
    : [report.nanoUsd + report.resumedNanoUsd, report.ok + report.resumedOk]
  if (answered === 0 || rows <= 1) return { left: 0n, text: "" }
  const left = paid * BigInt(rows - 1) / BigInt(answered)
  return { left, text: `the other ${Format.plural(rows, "row")} will take about ${Format.usd(left)}: ` }
}

/** Tells whether rows failed by what stopped the run, such as a quota that was used up: they are sent again with the rest. */
const failedByIt = ({ ending: { stop }, report }: RunEnd.RunEnd): boolean =>
  stop?._tag === "Unreachable" && report.failures.some(({ retryable }) => retryable)

/** Says how to go on with rows that were left undone. */
const forUndone = (end: RunEnd.RunEnd, style: Style.Style): string => {
  const { args, ending: { abandoned, stop } } = end
  if (stop?._tag === "MaxCost") {
    const { left, text } = rest(end)
    const enough = roundedUp(RunEnd.spent(end) + left + left / 4n + stop.error.neededNanoUsd)
    return `${text}raise --max-cost to ${Format.usd(enough)} or more, and continue with: ${
      style.bold(CommandLine.instead(args, "--max-cost", "--max-cost", Money.toUsd(enough)))
    }`
  }
  if (stop?._tag === "InputChanged") {
    return `go on with: ${
      style.bold(CommandLine.instead(args, "--changed", "--changed", "keep"))
    } (keep the answers of changed rows) or --changed resend (send changed rows again)`
  }
  if (end.running !== undefined && end.running.doubtful < end.running.batches) {
    return `the answers are billed, and collected with: ${style.bold(CommandLine.again(args))}`
  }
  const priceless = Array.from(abandoned.values()).some(({ error }) => error._tag === "BudgetExceededError")
  return stop?._tag === "Abandoned" && priceless
    ? withoutBudget(end, style)
    : `continue with: ${style.bold((failedByIt(end) ? CommandLine.retrying : CommandLine.again)(args))}`
}

/** Names the codes of rows that fail alike where the address is wrong. */
const ofAddress: ReadonlySet<string> = new Set(["decode", "not_found"])

/** Tells whether every refusal was a redirect. */
const redirected = ({ refusals }: Report.Report): boolean =>
  refusals.size > 0 && Array.from(refusals.keys()).every((status) => /^3\d\d$/.test(status))

/**
 * Tells whether everything that was sent failed as it would at a wrong address. An answer with usage shows the right
 * one.
 */
const isAstray = ({ batch, ending: { stop }, report }: RunEnd.RunEnd): boolean => {
  const codes = Array.from(report.codes.keys())
  return batch !== true && (stop === undefined || stop._tag === "Abandoned" || stop._tag === "FailedRow") &&
    report.ok + report.resumedOk + report.inputTokens === 0 &&
    codes.length > 0 &&
    codes.every((code) => ofAddress.has(code) || (code === "invalid_request" && redirected(report)))
}

/** Tells whether a row has to be corrected: one whose answer could not be read is not at fault. */
const isAtFault = ({ code, retryable }: Report.FailedRow): boolean => !retryable && code !== "decode"

/** Says how to go on with rows that failed: those that would fail again have to be corrected. */
const forFailed = ({ args, report }: RunEnd.RunEnd, style: Style.Style): string => {
  const atFault = report.failures.filter(isAtFault)
  // none of its rows was looked at: most likely the model takes no batches
  if (atFault.length > 0 && atFault.every(({ code }) => code === "batch_failed")) {
    return `the batch failed as a whole, not for its rows; send them by calls with: ${
      style.bold(CommandLine.byCalls(args))
    }`
  }
  const lines = atFault.map((row) => row.line).sort((a, b) => a - b)
  return lines.length === 0
    ? `send the failed rows again with: ${style.bold(CommandLine.retrying(args))}`
    : `correct line${lines.length === 1 ? "" : "s"} ${lines.slice(0, 5).join(", ")}${
      lines.length > 5 ? ", …" : ""
    }, then send what failed again with: ${style.bold(CommandLine.corrected(args))}`
}

/** Writes the line, with the command that goes on. */
export const line = (end: RunEnd.RunEnd, style: Style.Style): string => {
  const { args, ending, report } = end
  if (isAstray(end)) {
    // a wrong address lacks the path, and the right address lacks a misspelt model
    const what = report.codes.has("not_found") ? "--base-url and the names of models" : "--base-url"
    return `check ${what}, then send the failed rows again with: ${style.bold(CommandLine.corrected(args))}`
  }
  if (ending.stop !== undefined || end.undone > 0) return forUndone(end, style)
  if (report.failed + report.resumedFailed > 0) return forFailed(end, style)
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
    ? `nothing to send: an earlier run answered every row. To begin anew, remove ${end.journal} and the results`
    : style.green("done")
}
