/** What a run says and writes as it ends: its JSON, its summary, its page, or why one of them is missing. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Money from "../domain/Money.ts"
import type { JobError } from "../job/JobError.ts"
import * as Report from "../job/Report.ts"
import type * as Stop from "../job/Stop.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Host from "./Host.ts"
import * as Page from "./Page.ts"
import type * as RunEnd from "./RunEnd.ts"
import * as Style from "./Style.ts"
import * as Summary from "./Summary.ts"

/** A run that had nothing to do does not replace the page of the run that did it. */
const worthReporting = Effect.fnUntraced(function*(path: string, report: Report.Report) {
  const fs = yield* FileSystem.FileSystem
  return report.ok + report.failed > 0 || !(yield* Effect.orElseSucceed(fs.exists(path), () => false))
})

/** Says what a run is to write as it ends. */
interface Wanted {
  readonly json: boolean
  /** True where only the reason of a stop is said, and where failed rows are. */
  readonly quiet: boolean
  /** The path of the page. */
  readonly report: string | undefined
  /** The input as the page names it. */
  readonly input: string
}

const jsonOf = ({ ending, lost, report, running, uncertainNanoUsd, undone }: RunEnd.RunEnd): string =>
  JSON.stringify(
    {
      ...Report.summary(report, report.endedAt ?? report.startedAt),
      stopped: ending.stop?._tag,
      undone,
      lost,
      uncertainUsd: Money.toUsd(uncertainNanoUsd ?? 0n),
      inBatches: running === undefined ? undefined : {
        rows: running.rows,
        usd: running.nanoUsd === undefined ? undefined : Money.toUsd(running.nanoUsd)
      }
    },
    undefined,
    2
  )

/** Writes the JSON and the words that a run ends with, and last the page, which may fail. */
export const tell = Effect.fnUntraced(function*(wanted: Wanted, end: RunEnd.RunEnd) {
  const host = yield* Host.Host
  if (wanted.json) yield* host.write(`${jsonOf(end)}\n`)
  const style = Style.of(host.stderr)
  const said = wanted.quiet ? Summary.brief(end, style) : Summary.lines(end, style)
  if (said.length > 0) Host.say(host, said.map((line) => `${line}\n`).join(""))
  if (wanted.report !== undefined && (yield* worthReporting(wanted.report, end.report))) {
    yield* Page.write(wanted.report, end, wanted.input)
  }
})

/** Says what a run did not write that was stopped while the disk was full or nobody read its output. */
const tellUnwritten = Effect.fnUntraced(function*(
  { _tag, message }: { readonly _tag: string; readonly message: string },
  word: "interrupted" | "stopped"
) {
  const host = yield* Host.Host
  const lost = _tag === "JournalError" ? " Answers that came in since are not written: their rows are sent again." : ""
  Host.say(host, `${Style.of(host.stderr).yellow(word)} ${message}${lost}\n`)
})

/** Ends a run that broke because it could not write: as stopped, if it was told to stop, and else with the error. */
export const unwritten = (
  error: JobError,
  { _tag }: Stop.Stop
): Effect.Effect<ExitCode.ExitCode, JobError, Host.Host> =>
  _tag === "Interrupted"
    ? Effect.as(tellUnwritten(error, "interrupted"), ExitCode.ExitCode.interrupted)
    : error.reason === "unread"
    ? Effect.as(tellUnwritten(error, "stopped"), ExitCode.ExitCode.capped)
    : Effect.fail(error)

/** Tells whether a job broke because it could not write. */
export const isUnwritten = ({ reason }: JobError): boolean => reason === "disk-full" || reason === "unread"

/** Says that a run ended before its input began. */
export const unbegun = Effect.fnUntraced(function*({ _tag }: Stop.Stop) {
  const why = _tag === "MaxTime" ? "stopped: the time allowed by --max-time has passed" : "interrupted"
  Host.say(yield* Host.Host, `${why} before anything came on standard input. Nothing was sent.\n`)
  return _tag === "MaxTime" ? ExitCode.ExitCode.capped : ExitCode.ExitCode.interrupted
})
