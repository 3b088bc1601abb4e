/** `run`: a file of prompts through Together, resumable, within limits found on the way. */
import type * as Command from "effect/cli/Command"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import * as Credits from "../guard/credits/Credits.ts"
import * as BatchJob from "../job/batch/BatchJob.ts"
import * as FileIdentity from "../job/files/FileIdentity.ts"
import * as JobFiles from "../job/files/JobFiles.ts"
import * as Input from "../job/Input.ts"
import type * as Job from "../job/Job.ts"
import { isJobError, type JobError } from "../job/JobError.ts"
import * as Journal from "../job/journal/Journal.ts"
import * as Lock from "../job/files/Lock.ts"
import * as Report from "../job/Report.ts"
import * as ResponseCache from "../job/ResponseCache.ts"
import * as Selection from "../job/Selection.ts"
import * as Sender from "../job/Sender.ts"
import * as SteadyClock from "../job/SteadyClock.ts"
import * as Stop from "../job/Stop.ts"
import * as Together from "../together/Together.ts"
import * as Address from "../together/transport/Address.ts"
import * as Closing from "./Closing.ts"
import * as CommandLine from "./CommandLine.ts"
import * as Conflicts from "./Conflicts.ts"
import * as Connection from "./Connection.ts"
import * as Demo from "./Demo.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Host from "./Host.ts"
import * as LearnedLimits from "./LearnedLimits.ts"
import * as Page from "./Page.ts"
import * as Place from "./Place.ts"
import * as Policy from "./Policy.ts"
import * as Prices from "./Prices.ts"
import type * as RunEnd from "./RunEnd.ts"
import { rowOptions, type runFlags } from "./RunFlags.ts"
import * as Settings from "./Settings.ts"
import * as Source from "./Source.ts"
import * as Standstill from "./Standstill.ts"
import * as Style from "./Style.ts"
import * as Ticker from "./Ticker.ts"
import { UsageError } from "./UsageError.ts"

/** Holds the parsed flags of `run`. */
export type Flags = Command.Command.Config.Infer<typeof runFlags>

/**
 * Sums up what earlier runs of a journal have spent, and what they may have spent besides. Both count. It is read under
 * the journal's lock, since otherwise two runs, one of them just ending, could spend the same money.
 */
const spentBefore = Effect.fnUntraced(function*(journal: string) {
  const fs = yield* FileSystem.FileSystem
  if (!(yield* Effect.orElseSucceed(fs.exists(journal), () => false))) return { sure: 0n, uncertain: 0n }
  const { nanoUsd, uncertainNanoUsd } = yield* Journal.peek(journal)
  return { sure: BigInt(Math.round(nanoUsd)), uncertain: BigInt(Math.round(uncertainNanoUsd)) }
})

/** Opens the cache, and warns where it holds only answers that are not read any more. */
const openCache = Effect.fnUntraced(function*(directory: string, { report, target }: Work) {
  if (yield* ResponseCache.isOlder(directory)) {
    const why = `the answers in ${directory} are of an older version, which did not note who gave them`
    Report.warn(report, `${why}: they are not read, and their rows are sent. Delete its folders of two characters`)
  }
  return yield* ResponseCache.make({ directory, target })
})

interface Work {
  readonly flags: Flags
  readonly report: Report.Report
  readonly stop: Effect.Effect<Stop.Stop>
  readonly now: SteadyClock.SteadyClock
  readonly standstill: Standstill.Standstill
  readonly selection: Selection.Selection | undefined
  readonly source: Input.Source
  readonly fingerprint: { readonly hash: string } | undefined
  readonly policy: Policy.Policy | undefined
  readonly prices: Prices.Prices
  readonly place: Place.Place
  readonly journal: string
  readonly lock: Lock.Lock
  /** Who answers the rows. */
  readonly target: string
}

/** Says who takes the locks of a run. */
const ownerOf = (host: Host.Service): Lock.Options => ({
  owner: { pid: host.pid, host: host.host, namespace: host.namespace },
  isAlive: (owner) => Effect.sync(() => host.isAlive(owner.pid))
})

const job = Effect.fnUntraced(function*(work: Work) {
  const { flags, place, report } = work
  const host = yield* Host.Host
  const results: string | JobFiles.Writer = place.results ??
    { _tag: "Writer", write: (text) => host.write(text) }
  const options: JobFiles.FileOptions & Job.Common = {
    input: work.source,
    results,
    errors: place.errors,
    journalPath: place.journal,
    row: rowOptions(flags),
    select: work.selection?.has,
    fingerprint: work.fingerprint,
    target: work.target,
    lock: work.lock,
    ...ownerOf(host),
    retryErrors: flags.retryErrors,
    changed: flags.changed,
    failFast: flags.failOnError,
    stop: work.stop,
    onFullDisk: Standstill.hearFull(work.standstill),
    report
  }
  yield* Prices.read(work.prices, report, work.stop)
  if (flags.via === "batch") {
    return yield* BatchJob.run({ ...options, price: work.prices.lookup, maxCost: flags.maxCost, poll: flags.poll })
  }
  const send = yield* Sender.together({ report, retry: Policy.retry(work.policy) })
  return yield* JobFiles.run({
    ...options,
    send,
    // the client tells of each attempt: a call that ended without one, in a queue or a wait, cost nothing
    spending: (yield* Credits.Credits).tally(),
    order: flags.order,
    concurrency: flags.concurrency,
    dedupe: flags.dedupe,
    cache: flags.cache === undefined ? undefined : yield* openCache(flags.cache, work)
  })
})

const connected = Effect.fnUntraced(function*(work: Work) {
  const { flags, now, report, standstill } = work
  const host = yield* Host.Host
  const drawn = flags.quiet ? Effect.never : Ticker.drawing(report, standstill, host, flags.via === "batch")
  return yield* Effect.raceFirst(
    Effect.tap(job(work), () => Standstill.look(standstill, now())),
    // none of them ends
    Effect.andThen(
      Effect.all([
        Ticker.recording(report),
        Standstill.watching(standstill, now),
        drawn,
        LearnedLimits.keeping(work.journal)
      ], {
        concurrency: "unbounded",
        discard: true
      }),
      Effect.never
    )
  )
})

const undoneOf = (report: Report.Report, ending: Job.Ending): number =>
  Math.max(
    0,
    (ending.stop === undefined ? report.read : Report.all(report)) - Report.done(report)
  )

/** Leaves out batches that go on with rows which this run does not select. */
const runningOf = ({ running }: Job.Ending): Job.Running | undefined => running?.rows === 0 ? undefined : running

/** Counts settled rows that no output file holds. With a part of the input selected, earlier rows may be there too. */
const lostOf = (report: Report.Report, result: JobFiles.Result): number =>
  Math.max(0, Report.done(report) - result.written)

/** Counts the lines that are not blank, all or those that are chosen. */
const countRows = (source: Input.Source, has: (line: number) => boolean) =>
  Stream.runFold(Input.lines(source), () => 0, (rows, { line }) => has(line) ? rows + 1 : rows)

/** Chooses among the lines of the input, where it can be read twice, and counts the rows to expect. */
const partOf = Effect.fnUntraced(function*(flags: Flags, source: Input.Source) {
  if (source._tag !== "File") return { rows: undefined, selection: undefined }
  if (flags.range === undefined && flags.sample === undefined) {
    return { rows: yield* countRows(source, () => true), selection: undefined }
  }
  const counted = yield* Input.countLines(source)
  const selection = Selection.make(counted, { range: flags.range, sample: flags.sample, seed: flags.seed })
  return selection.size === 0
    ? yield* new UsageError({
      message: `--range chooses none of the ${Format.plural(counted, "line")} of ${flags.input}`
    })
    : { rows: yield* countRows(source, selection.has), selection }
})

/**
 * Makes the directories of a run's files. Refuses a page that would stand in place of another of them, or that could not
 * be written when the run is over.
 */
const prepare = Effect.fnUntraced(function*(flags: Flags, files: JobFiles.Paths) {
  if (flags.outDir !== undefined) yield* Place.make(flags.outDir, files)
  if (flags.report === undefined) return
  const found = yield* FileIdentity.shared([
    ["input", flags.input === "-" ? undefined : flags.input],
    ["results", files.results],
    ["errors", files.errors],
    ["journal", files.journal],
    ["policy", flags.policy],
    ["emulator's options", flags.emulatorConfig],
    ["page", flags.report]
  ])
  if (found?.use === "page") {
    return yield* new UsageError({
      message: `--report ${flags.report} is a file of the job, for the ${found.other}: give the page its own`
    })
  }
  yield* Page.prepare(flags.report)
})

/** Warns of models that an emulator answered for and that Together may not know: a dry run is to find them. */
const warnOfUnknownModels = (report: Report.Report, ending: Job.Ending, prices: Prices.Prices): void => {
  for (const model of [...report.models.keys(), ...ending.abandoned.keys()]) {
    if (prices.lookup(model) !== undefined) continue
    Report.warn(report, `${model} is not in the catalogue: the emulator answers for any name, Together does not`)
  }
}

/** Says who answers the rows: the address as it is read, not as it is spelled. */
const targetOf = (flags: Flags, emulated: boolean): string =>
  emulated
    ? Journal.emulator
    : Address.base(flags.baseUrl ?? Together.defaults.baseUrl).prefix

/** Warns of a retry that does nothing, or has no end. */
const warnOfRetry = Effect.fnUntraced(function*(
  flags: Flags,
  policy: Policy.Policy | undefined,
  report: Report.Report
) {
  const host = yield* Host.Host
  if (flags.via === "batch" && policy?.retry !== undefined) {
    Report.warn(report, "the retry of the policy is for calls: with --via batch it does nothing")
  } else if (Policy.isEndless(policy) && !flags.quiet) {
    const endless =
      `the retry of ${flags.policy} does not stop by itself: what keeps failing is tried until you stop the run`
    Host.say(host, `${Style.of(host.stderr).yellow("warning")} ${endless}. Set maxAttempts or maxElapsed\n`)
  }
})

/** Waits for a reason to stop: a signal, or the end of the allowed time, which begins now. */
const stopOf = Effect.fnUntraced(function*({ maxTime }: Flags) {
  const host = yield* Host.Host
  const stop = yield* Deferred.make<Stop.Stop>()
  const atOnce = `ended at once; the journal is safe; continue with: ${CommandLine.again(host.args)}\n`
  yield* Effect.forkScoped(Effect.andThen(host.interrupted(atOnce), Deferred.succeed(stop, Stop.interrupted)))
  if (maxTime !== undefined) {
    yield* Effect.forkScoped(Effect.andThen(Effect.sleep(maxTime), Deferred.succeed(stop, Stop.maxTime)))
  }
  return stop
})

/** Runs the job and returns the exit code. */
export const run = Effect.fnUntraced(function*(flags: Flags) {
  const host = yield* Host.Host
  const conflict = Conflicts.of(flags, host.args)
  if (conflict !== undefined) return yield* new UsageError({ message: conflict })
  const policy = flags.policy === undefined ? undefined : yield* Policy.read(flags.policy)
  const given = yield* Source.of(flags)
  const { rows, selection } = yield* partOf(flags, given)
  const emulator = flags.emulator && !flags.live
    ? yield* Demo.emulator(flags.emulatorConfig, flags.seed)
    : undefined
  const place = Place.of(flags, emulator !== undefined)
  const files = JobFiles.paths({ input: given, ...place, journalPath: place.journal })
  const { journal } = files
  yield* Connection.check({ baseUrl: flags.baseUrl, emulator })
  yield* prepare(flags, files)
  // the allowed time begins here: waiting for standard input, reading prices and opening files take time, too
  const stop = yield* stopOf(flags)
  const begun = yield* Effect.raceFirst(Source.known(given), Deferred.await(stop))
  if ("_tag" in begun) return yield* Closing.unbegun(begun)
  const { fingerprint, source } = begun
  const now = yield* SteadyClock.make
  const report = Report.make(now())
  report.total = rows
  yield* warnOfRetry(flags, policy, report)
  const onCredits = flags.onCredits ?? policy?.onCredits
  const standstill = Standstill.make(onCredits === "wait")
  const lock = yield* Lock.acquire(yield* Journal.lockOf(journal), ownerOf(host))
  const spent = yield* spentBefore(journal)
  const prices = yield* Prices.make(report)
  const layer = Connection.layer({
    baseUrl: flags.baseUrl,
    emulator,
    lanes: {
      ...Policy.limits(flags, policy),
      saved: yield* LearnedLimits.read(journal)
    },
    maxCost: flags.maxCost === undefined ? undefined : flags.maxCost - spent.sure - spent.uncertain,
    onCredits,
    prices: prices.lookup,
    report
  })
  const result = yield* connected({
    flags,
    report,
    stop: Deferred.await(stop),
    now,
    standstill,
    selection,
    source,
    fingerprint,
    policy,
    prices,
    place,
    journal,
    lock,
    target: targetOf(flags, emulator !== undefined)
  }).pipe(
    Effect.provide(layer),
    Effect.catchIf(
      (error): error is JobError => isJobError(error) && Closing.isUnwritten(error) && Deferred.isDoneUnsafe(stop),
      (error) => Effect.flatMap(Deferred.await(stop), (why) => Closing.unwritten(error, why))
    )
  )
  if (typeof result === "number") return result
  report.endedAt ??= now()
  if (emulator !== undefined) warnOfUnknownModels(report, result, prices)
  const stood = Standstill.told(standstill, report)
  if (stood !== undefined) Report.warn(report, stood)
  const undone = undoneOf(report, result)
  const end: RunEnd.RunEnd = {
    report,
    ending: result,
    results: place.results,
    errors: result.paths.errors,
    journal: result.paths.journal,
    page: flags.report,
    maxCost: flags.maxCost,
    maxCostFrom: yield* Settings.beside("max-cost", host.args),
    batch: flags.via === "batch",
    emulated: emulator !== undefined,
    idealSeconds: emulator && Demo.ideal(emulator.options, report),
    args: host.args,
    uncertainNanoUsd: spent.uncertain + result.uncertainNanoUsd,
    undone,
    running: runningOf(result),
    lost: lostOf(report, result),
    spells: standstill.waits ? standstill.spells : undefined
  }
  yield* Closing.tell(flags, end)
  return ExitCode.ofEnding(result.stop, report, undone)
}, Effect.scoped)
