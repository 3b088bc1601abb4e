/** How a run ended, for those who report it: its report, why it stopped, and what it left undone. */
import * as Enumeration from "../domain/Enumeration.ts"
import type { BudgetExceededError } from "../domain/TogetherError.ts"
import type * as Job from "../job/Job.ts"
import type * as Report from "../job/Report.ts"
import * as Connection from "./Connection.ts"
import * as Format from "./Format.ts"
import type * as Standstill from "./Standstill.ts"

/** Holds what is known of a run once it is over. */
export interface RunEnd {
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
  /** The rows that would still have been sent, if the file's rows were counted. */
  readonly undone: number
  /** Which of the undone rows are in batches that go on. */
  readonly running?: Job.Running | undefined
  /** Rows that are settled but in no output file: if this is not 0, something is wrong. */
  readonly lost: number
  /** Times in which the run waited for credit; absent where it does not wait for any. */
  readonly spells?: ReadonlyArray<Standstill.Spell> | undefined
}

/** What tells why a run stopped. */
type Stopped = Pick<RunEnd, "ending" | "report" | "maxCost" | "uncertainNanoUsd" | "spells">

/** Adds up what the runs of the journal have spent, and may have spent besides. */
export const spent = ({ report, uncertainNanoUsd }: Stopped): bigint =>
  report.resumedNanoUsd + report.nanoUsd + (uncertainNanoUsd ?? 0n)

const overBudget = (end: Stopped, error: BudgetExceededError): string => {
  const limit = end.maxCost ?? error.limitNanoUsd
  const left = limit - spent(end)
  const before = error.budget === Connection.spentBudget
  const advice =
    "Set or lower max_tokens: a row reserves what it allows, and without it up to the model's whole context"
  const passed = left < 0n && !before ? `: answers cost ${Format.usd(-left)} more than was reserved for them` : ""
  return `${before ? "earlier runs of the journal have spent all of it. The" : "the"} next row may cost up to ${
    Format.usd(error.neededNanoUsd)
  }, and ${left > 0n ? Format.usd(left) : "nothing"} of ${Format.usd(limit)} is left${
    left > 0n ? `. ${advice}` : passed
  }`
}

const abandoned = (ending: Job.Ending): string =>
  Enumeration.first(
    Array.from(
      ending.abandoned,
      ([model, { error, rows }]) =>
        `${Format.plural(rows, "row")} of ${model} ${rows === 1 ? "was" : "were"} not sent, ${
          error._tag === "BudgetExceededError"
            ? "for --max-cost cannot hold what has no known price"
            : "for none had been answered by then"
        }`
    ),
    10,
    (others) => `the same of ${Format.count(others)} more models`
  ).join("; ")

/** Says what was last tried again, where nothing was answered. */
const unanswered = ({ report }: Stopped): string =>
  report.ok + report.failed > 0 || report.latestError === undefined
    ? ""
    : `. Nothing was answered; the last error: ${report.latestError}`

/** Says why a run left rows undone. */
export const reason = (end: Stopped): string | undefined => {
  const { ending } = end
  const { stop } = ending
  switch (stop?._tag) {
    case undefined:
      return undefined
    case "Interrupted":
      return `interrupted: every answer that arrived is in the journal${unanswered(end)}`
    case "MaxTime":
      return `stopped: the time allowed by --max-time has passed${unanswered(end)}`
    case "MaxCost":
      return `stopped by --max-cost: ${overBudget(end, stop.error)}`
    case "FailedRow":
      return "stopped: a row failed, and --fail-on-error was given"
    case "Refused":
      return `refused: ${stop.error.message}${
        stop.error._tag === "InsufficientCreditsError" && end.spells === undefined
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
export const unsent = ({ running, undone }: Pick<RunEnd, "running" | "undone">): number => undone - (running?.rows ?? 0)

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
