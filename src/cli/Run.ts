/** `run`: a file of prompts through Together, resumable, within limits found on the way. */
import type * as Command from "effect/cli/Command"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Stdio from "effect/Stdio"
import * as BatchJob from "../job/BatchJob.ts"
import * as JobFiles from "../job/JobFiles.ts"
import * as Input from "../job/Input.ts"
import type * as Job from "../job/Job.ts"
import type { JobError } from "../job/JobError.ts"
import * as Journal from "../job/Journal.ts"
import * as Report from "../job/Report.ts"
import * as ResponseCache from "../job/ResponseCache.ts"
import * as Selection from "../job/Selection.ts"
import * as Sender from "../job/Sender.ts"
import * as SteadyClock from "../job/SteadyClock.ts"
import * as Stop from "../job/Stop.ts"
import * as Money from "../domain/Money.ts"
import * as PriceTable from "../together/PriceTable.ts"
import * as Together from "../together/Together.ts"
import * as Connection from "./Connection.ts"
import * as Demo from "./Demo.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Host from "./Host.ts"
import * as LearnedLimits from "./LearnedLimits.ts"
import * as Page from "./Page.ts"
import * as Policy from "./Policy.ts"
import { rowOptions, type runFlags } from "./RunFlags.ts"
import * as Style from "./Style.ts"
import * as Summary from "./Summary.ts"
import * as Ticker from "./Ticker.ts"
import { UsageError } from "./UsageError.ts"

/** Holds the parsed flags of `run`. */
export type Flags = Command.Command.Config.Infer<typeof runFlags>

const basename = (path: string): string => path.slice(path.lastIndexOf("/") + 1)

/** Names the files of a run: beside the input, or in `--out-dir`; a run against the emulator has names of its own. */
export const placeOf = (flags: Flags, emulator: boolean) => {
  const stem = flags.input === "-"
    ? "stdin"
    : flags.input.replace(/\.gz$/, "").replace(/\.(jsonl|ndjson|json)$/, "") + (emulator ? ".emulator" : "")
  const base = flags.outDir === undefined ? stem : `${flags.outDir.replace(/\/+$/, "")}/${basename(stem)}`
  return flags.output === "-"
    ? {
      results: undefined,
      errors: flags.errors ?? `${base}.errors.jsonl`,
      journal: flags.journal ?? `${base}.journal`
    }
    : {
      results: flags.output ?? `${base}.results.jsonl`,
      errors: flags.errors,
      journal: flags.journal
    }
}

const conflicts = (flags: Flags): string | undefined => {
  if (flags.output === "-" && flags.json) {
    return "--output - and --json both want standard output: give one of them a file"
  }
  if (flags.input === "-" && (flags.sample !== undefined || flags.range !== undefined)) {
    return "--sample and --range need a file, for standard input can be read only once"
  }
  if (flags.input === "-" && flags.via === "batch") return "--via batch needs a file, for it reads the input twice"
  if (flags.via === "batch" && (flags.order === "input" || flags.dedupe || flags.cache !== undefined)) {
    return "--via batch cannot be combined with --order input, --dedupe or --cache"
  }
  if (flags.emulatorConfig !== undefined && !flags.emulator) return "--emulator-config needs --emulator"
  return undefined
}

const quoted = (word: string): string => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`

/** Writes the command line that does the same again. */
export const commandOf = (args: ReadonlyArray<string>): string =>
  ["effect-together", ...args.filter((word) => word !== "--retry-errors").map(quoted)].join(" ")

const spentBefore = Effect.fnUntraced(function*(journal: string) {
  const fs = yield* FileSystem.FileSystem
  if (!(yield* Effect.orElseSucceed(fs.exists(journal), () => false))) return 0n
  return BigInt(Math.round((yield* Journal.peek(journal)).nanoUsd))
})

const sourceOf = Effect.fnUntraced(function*(flags: Flags) {
  if (flags.input !== "-") return Input.file(flags.input)
  return Input.bytes("stdin", (yield* Stdio.Stdio).stdin)
})

interface Work {
  readonly flags: Flags
  readonly report: Report.Report
  readonly stop: Effect.Effect<Stop.Stop>
  readonly selection: Selection.Selection | undefined
  readonly source: Input.Source
  readonly policy: Policy.Policy | undefined
  readonly journal: string
}

const job = Effect.fnUntraced(function*(work: Work) {
  const { flags, report } = work
  const host = yield* Host.Host
  const place = placeOf(flags, flags.emulator && !flags.live)
  const fs = yield* FileSystem.FileSystem
  if (flags.outDir !== undefined) yield* Effect.ignore(fs.makeDirectory(flags.outDir, { recursive: true }))
  const results: string | JobFiles.Writer = place.results ??
    { _tag: "Writer", write: (text) => host.write(text) }
  const options: Omit<JobFiles.Options<never>, "send"> = {
    input: work.source,
    results,
    errors: place.errors,
    journalPath: place.journal,
    row: rowOptions(flags),
    select: work.selection?.has,
    order: flags.order,
    concurrency: flags.concurrency,
    retryErrors: flags.retryErrors,
    changed: flags.changed,
    dedupe: flags.dedupe,
    cache: flags.cache === undefined ? undefined : yield* ResponseCache.make(flags.cache),
    maxTime: flags.maxTime,
    failFast: flags.failOnError,
    stop: work.stop,
    report,
    owner: { pid: host.pid, host: host.host },
    isAlive: (owner) => Effect.sync(() => host.isAlive(owner.pid))
  }
  const price = yield* priceOf
  if (flags.via === "batch") return yield* BatchJob.run({ ...options, price, maxCost: flags.maxCost, poll: flags.poll })
  const send = yield* Sender.together({ report, price, retry: Policy.retry(work.policy) })
  return yield* JobFiles.run({ ...options, send })
})

/** Asks for prices once; while that fails, the shipped table counts. */
const priceOf = Effect.gen(function*() {
  const client = yield* Together.Together
  const day = new Date(yield* Effect.clockWith((clock) => clock.currentTimeMillis)).toISOString().slice(0, 10)
  const read = Effect.map(
    client.models(),
    (models) => PriceTable.lookup(PriceTable.shipped, PriceTable.fromModels(models, day))
  )
  return yield* Effect.orElseSucceed(
    Effect.timeoutOrElse(read, { duration: "5 seconds", orElse: () => Effect.succeed(PriceTable.shippedLookup) }),
    () => PriceTable.shippedLookup
  )
})

const connected = Effect.fnUntraced(function*(work: Work) {
  const { flags, report } = work
  const host = yield* Host.Host
  const drawn = flags.quiet ? Effect.never : Ticker.drawing(report, host)
  return yield* Effect.raceFirst(
    job(work),
    Effect.all([Ticker.recording(report), drawn, LearnedLimits.keeping(work.journal)], {
      concurrency: "unbounded",
      discard: true
    }) as Effect.Effect<
      never,
      never,
      never
    >
  )
})

const undoneOf = (report: Report.Report, ending: Job.Ending): number =>
  Math.max(
    0,
    (ending.stop === undefined ? report.read : Math.max(report.read, report.total ?? 0)) - Report.done(report)
  )

/** Counts settled rows that no output file holds. With a part of the input selected, earlier rows may be there too. */
const lostOf = (report: Report.Report, result: JobFiles.Result): number =>
  Math.max(0, Report.done(report) - result.written)

/** A run that had nothing to do does not replace the page of the run that did it. */
const worthReporting = Effect.fnUntraced(function*(path: string, report: Report.Report) {
  const fs = yield* FileSystem.FileSystem
  return report.ok + report.failed > 0 || !(yield* Effect.orElseSucceed(fs.exists(path), () => false))
})

/** Writes the page, the JSON and the words that a run ends with. */
const tell = Effect.fnUntraced(function*(flags: Flags, context: Summary.Context) {
  const host = yield* Host.Host
  const { ending, lost, report, undone } = context
  if (flags.report !== undefined && (yield* worthReporting(flags.report, report))) {
    yield* Page.write(flags.report, context, flags.input)
  }
  if (flags.json) {
    yield* host.write(
      `${
        JSON.stringify(
          { ...Report.summary(report, report.endedAt ?? report.startedAt), stopped: ending.stop?._tag, undone, lost },
          undefined,
          2
        )
      }\n`
    )
  }
  if (!flags.quiet) {
    host.writeError(Summary.lines(context, Style.of(host.stderr)).map((line) => `${line}\n`).join(""))
  }
})

/** Counts the lines of the input, where it can be read twice, and chooses among them. */
const partOf = Effect.fnUntraced(function*(flags: Flags, source: Input.Source) {
  if (source._tag !== "File") return { counted: undefined, selection: undefined }
  const counted = yield* Input.countLines(source)
  if (flags.range === undefined && flags.sample === undefined) return { counted, selection: undefined }
  const selection = Selection.make(counted, { range: flags.range, sample: flags.sample, seed: flags.seed })
  return selection.size === 0
    ? yield* new UsageError({
      message: `--range chooses none of the ${Format.plural(counted, "line")} of ${flags.input}`
    })
    : { counted, selection }
})

/** Runs the job and returns the exit code. */
export const run = Effect.fnUntraced(function*(flags: Flags) {
  const conflict = conflicts(flags)
  if (conflict !== undefined) return yield* new UsageError({ message: conflict })
  const host = yield* Host.Host
  const policy = flags.policy === undefined ? undefined : yield* Policy.read(flags.policy)
  const source = yield* sourceOf(flags)
  const { counted, selection } = yield* partOf(flags, source)
  const now = yield* SteadyClock.make
  const report = Report.make(now())
  report.total = selection?.size ?? counted
  const stop = yield* Deferred.make<Stop.Stop>()
  yield* Effect.forkScoped(Effect.andThen(host.interrupted, Deferred.succeed(stop, Stop.interrupted)))
  const emulator = flags.emulator && !flags.live
    ? yield* Demo.emulator(flags.emulatorConfig, flags.seed)
    : undefined
  const place = placeOf(flags, emulator !== undefined)
  const files = JobFiles.paths({ input: source, ...place, journalPath: place.journal })
  const { journal } = files
  if (flags.report !== undefined && [flags.input, files.results, files.errors, journal].includes(flags.report)) {
    return yield* new UsageError({ message: `--report ${flags.report} is a file of the job: give the page its own` })
  }
  const maxCost = flags.maxCost === undefined ? undefined : flags.maxCost - (yield* spentBefore(journal))
  const layer = Connection.layer({
    baseUrl: flags.baseUrl,
    emulator,
    lanes: {
      saved: yield* LearnedLimits.read(journal),
      requestsPerMinute: flags.requestsPerMinute ?? policy?.lanes?.requestsPerMinute,
      tokensPerMinute: flags.tokensPerMinute ?? policy?.lanes?.tokensPerMinute,
      maxInFlight: flags.maxInFlight ?? policy?.lanes?.maxInFlight
    },
    maxCost: maxCost === undefined ? undefined : Money.max(maxCost, 0n),
    onCredits: flags.onCredits ?? policy?.onCredits,
    report
  })
  const result = yield* connected({ flags, report, stop: Deferred.await(stop), selection, source, policy, journal })
    .pipe(
      Effect.provide(layer)
    )
  report.endedAt ??= now()
  const undone = undoneOf(report, result)
  const context: Summary.Context = {
    report,
    ending: result,
    results: place.results,
    errors: result.paths.errors,
    journal: result.paths.journal,
    page: flags.report,
    idealSeconds: emulator === undefined ? undefined : Demo.ideal(emulator.options, report),
    command: commandOf(host.args),
    undone,
    lost: lostOf(report, result)
  }
  yield* tell(flags, context)
  return ExitCode.ofEnding(result.stop, report, undone)
}, Effect.scoped)

/** Says what to do about an error that ended a command, and with which exit code. */
export const explainJobError = (
  error: JobError,
  command: string
): { readonly code: ExitCode.ExitCode; readonly lines: ReadonlyArray<string> } => {
  const more = error._tag === "JournalError" && (error.reason === "input-changed" || error.reason === "row-changed")
    ? [
      `go on with: ${command} --changed keep (keep the answers of changed rows) or --changed resend (send changed rows again)`
    ]
    : []
  return { code: ExitCode.ofJobError(error), lines: [error.message, ...more] }
}
