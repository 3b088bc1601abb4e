/** `simulate`: this file, these limits, this policy, in virtual time: makespan, 429s, cost. */
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Credits from "../guard/credits/Credits.ts"
import * as Lanes from "../guard/lane/Lanes.ts"
import * as FileIdentity from "../job/files/FileIdentity.ts"
import * as Histogram from "../job/Histogram.ts"
import * as Input from "../job/Input.ts"
import * as Job from "../job/Job.ts"
import * as Report from "../job/Report.ts"
import type * as Row from "../job/Row.ts"
import * as Sender from "../job/Sender.ts"
import type * as Stop from "../job/Stop.ts"
import * as SimulatedProvider from "../testing/SimulatedProvider.ts"
import * as Simulation from "../testing/Simulation.ts"
import * as VirtualClock from "../testing/VirtualClock.ts"
import * as Together from "../together/Together.ts"
import * as Chart from "./Chart.ts"
import * as Connection from "./Connection.ts"
import * as Demo from "./Demo.ts"
import { provider, providerFlags } from "./Emulate.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Host from "./Host.ts"
import * as LastFlag from "./LastFlag.ts"
import * as Page from "./Page.ts"
import * as Policy from "./Policy.ts"
import * as RunEnd from "./RunEnd.ts"
import { input, limitFlags, rowFlags, rowOptions } from "./RunFlags.ts"
import * as Source from "./Source.ts"
import * as Style from "./Style.ts"
import * as Table from "./Table.ts"
import * as TextFile from "./TextFile.ts"
import * as Ticker from "./Ticker.ts"
import { UsageError } from "./UsageError.ts"

/** Lists the flags of `simulate`. */
export const simulateFlags = {
  input,
  ...rowFlags,
  ...limitFlags,
  ...providerFlags,
  concurrency: LastFlag.positive("concurrency", LastFlag.Int("concurrency")).pipe(
    Flag.withDescription("Most rows under way at a time (default: 256)"),
    Flag.withDefault(Job.defaults.concurrency)
  ),
  onCredits: LastFlag.Literals("on-credits", ["stop", "wait"]).pipe(
    Flag.withDescription("When credits run out: stop, or wait for a top-up (default: stop)"),
    LastFlag.orNone
  ),
  repeat: LastFlag.Int("repeat").pipe(
    Flag.withDescription("Send the file this many times (default: 1)"),
    Flag.withDefault(1)
  ),
  svg: LastFlag.file("svg", "Write the throughput over time as SVG"),
  report: LastFlag.file("report", "Write the whole report as one HTML page"),
  json: LastFlag.Boolean("json").pipe(Flag.withDescription("Write the outcome as JSON"), Flag.withDefault(false))
}

/** Holds the parsed flags of `simulate`. */
export type Flags = Command.Command.Config.Infer<typeof simulateFlags>

const readRows = Effect.fnUntraced(function*(flags: Flags) {
  const source = yield* Source.of(flags)
  const selection = yield* Source.selection(flags, source)
  const rows = yield* Stream.runCollect(Input.rows(source, rowOptions(flags)))
  return selection === undefined ? rows : rows.filter((row) => selection.has(row.line))
})

const repeated = (rows: ReadonlyArray<Row.Row | Row.Bad>, times: number): Stream.Stream<Row.Row | Row.Bad> =>
  times === 1
    ? Stream.fromIterable(rows)
    : Stream.flatMap(
      Stream.range(1, times),
      (round) => Stream.fromIterable(rows.map((row) => row._tag === "Row" ? { ...row, id: `${round}:${row.id}` } : row))
    )

/** Tells whether no call is let in any more: the account has no credit, and nothing that is due brings any. */
const isClosed = (state: Simulation.State): boolean =>
  state.config.credits?.suspended === true ||
  (state.due === undefined && Object.values(state.accounts).every(({ openFrom }) => openFrom === Infinity))

const outOfCredit: Stop.Stop = {
  _tag: "Refused",
  error: new TogetherError.InsufficientCreditsError({
    message:
      "The account has no credit (402), and no purchase follows: waiting would never end. Set a higher --balance, " +
      "or give credits topUps or autoRecharge in --config."
  })
}

/** Waits until no call is let in any more: a job that waits for credit would never end. */
const closed: Effect.Effect<Stop.Stop, never, SimulatedProvider.SimulatedProvider> = Effect.gen(function*() {
  const provider = yield* SimulatedProvider.SimulatedProvider
  while (true) {
    yield* Effect.sleep("1 second")
    if (isClosed(Simulation.advance(yield* provider.state, yield* provider.now))) return outOfCredit
  }
})

const text = (end: RunEnd.RunEnd, real: number, style: Style.Style): string => {
  const { idealSeconds: ideal, report, undone } = end
  const seconds = Report.elapsed(report)
  const at = (share: number) => Format.span(Histogram.percentile(report.latency, share) / 1000)
  const rows: ReadonlyArray<readonly [string, string]> = [
    ["makespan", Format.span(seconds)],
    ...(ideal === undefined ? [] : [
      ["ideal", `${Format.span(ideal)} for a client that knows the limits`] as const,
      ["ratio", `${(seconds / ideal).toFixed(3)}`] as const
    ]),
    [
      "rows",
      `${Format.count(report.ok)} answered, ${Format.count(report.failed + report.bad)} failed${
        undone > 0 ? `, ${Format.count(undone)} not sent` : ""
      }`
    ],
    ["attempts", Format.count(report.attempts)],
    [
      "429",
      `${Format.count(report.throttled)} (${
        (report.throttled / Math.max(1, report.attempts) * 100).toFixed(2)
      } % of the attempts)`
    ],
    ["503", Format.count(report.overloaded)],
    ["row latency", `p50 ${at(0.5)}, p90 ${at(0.9)}, p99 ${at(0.99)}`],
    ["tokens", `${Format.count(report.inputTokens)} in, ${Format.count(report.outputTokens)} out`],
    [
      "cost",
      `${Format.usd(report.nanoUsd)}${
        report.unpriced > 0 ? ` (${Format.plural(report.unpriced, "row")} of unknown price left out)` : ""
      }`
    ]
  ]
  const why = RunEnd.reason(end)
  return Table.draw([{ head: "" }, { head: "simulated" }], rows, style) +
    (why === undefined ? "" : `${style.yellow(why)}\n`) +
    style.dim(`computed in ${Format.span(real)}\n`)
}

/** Simulates the job, prints the outcome and returns the exit code. */
export const run = Effect.fnUntraced(function*(flags: Flags) {
  const host = yield* Host.Host
  if (flags.repeat < 1) return yield* new UsageError({ message: `--repeat must be 1 or more, got ${flags.repeat}` })
  const policy = flags.policy === undefined ? undefined : yield* Policy.read(flags.policy)
  const twice = yield* FileIdentity.shared([
    ["the input", flags.input === "-" ? undefined : flags.input],
    ["--config", flags.config],
    ["--policy", flags.policy],
    ["--svg", flags.svg],
    ["--report", flags.report]
  ])
  if (twice !== undefined) {
    return yield* new UsageError({
      message: `${twice.path} is ${twice.other} and ${twice.use}: give each its own file`
    })
  }
  const options = yield* provider(flags, { unknownModels: "accept" })
  const waits = (flags.onCredits ?? policy?.onCredits) === "wait"
  const rows = yield* readRows(flags)
  if (rows.length === 0) return yield* Source.empty(flags.input)
  const begun = yield* Clock.monotonicTimeNanos
  const lanes = Lanes.layer(Policy.limits(flags, policy))
  const credits = Credits.layer({ whenSuspended: waits ? "wait" : "fail" })
  const report = Report.make(VirtualClock.defaults.startMillis)
  report.total = rows.length * flags.repeat
  const counting = Layer.effect(HttpClient.HttpClient, Effect.map(HttpClient.HttpClient, Connection.counted(report)))
  const client = Together.layerHttp({ apiKey: Redacted.make("simulated") }).pipe(
    Layer.provide(counting),
    Layer.provideMerge(SimulatedProvider.layer(options, flags.seed)),
    Layer.provideMerge(options.credits === undefined ? lanes : Layer.merge(lanes, credits))
  )
  const simulated = Effect.gen(function*() {
    const send = yield* Sender.together({ report, retry: Policy.retry(policy) })
    const provider = yield* SimulatedProvider.SimulatedProvider
    const stop = waits && options.credits !== undefined
      ? Effect.provideService(closed, SimulatedProvider.SimulatedProvider, provider)
      : undefined
    const job = Job.drive(
      repeated(rows, flags.repeat),
      { send, report, stop, concurrency: flags.concurrency },
      () => Effect.void
    )
    return yield* Effect.raceFirst(job, Ticker.recording(report))
  }).pipe(Effect.provide(client))
  const ending = yield* Effect.raceFirst(
    VirtualClock.wrap(simulated, { seed: flags.seed }).pipe(Effect.orDie),
    Ticker.computing(report, host)
  )
  const undone = Math.max(0, rows.length * flags.repeat - Report.done(report))
  const ended = yield* Clock.monotonicTimeNanos
  const ideal = Demo.ideal(options, report)
  if (flags.svg !== undefined) yield* TextFile.write(flags.svg, Chart.standalone(Page.throughput(report)))
  const end: RunEnd.RunEnd = {
    report,
    ending,
    results: "(simulated)",
    errors: "(simulated)",
    journal: "(none)",
    idealSeconds: ideal,
    args: host.args,
    undone,
    lost: 0,
    spells: waits ? [] : undefined
  }
  if (flags.report !== undefined) yield* Page.write(flags.report, end, `simulation of ${flags.input}`)
  yield* Host.print(
    host,
    flags.json
      ? `${
        JSON.stringify(
          {
            ...Report.summary(report, report.endedAt ?? report.startedAt),
            idealSeconds: ideal,
            stopped: ending.stop?._tag,
            undone
          },
          undefined,
          2
        )
      }\n`
      : text(end, Number(ended - begun) / 1e9, Style.of(host.stdout))
  )
  return ExitCode.ofEnding(ending.stop, report, undone)
})
