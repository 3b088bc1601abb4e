/** `schedule`: prints and plots the delays of a retry policy. */
import type * as Command from "effect/cli/Command"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { RateLimitError, ServerError, type TogetherError } from "../domain/TogetherError.ts"
import * as Retry from "../guard/retry/Retry.ts"
import * as Chart from "./Chart.ts"
import * as ExitCode from "./ExitCode.ts"
import * as Format from "./Format.ts"
import * as Host from "./Host.ts"
import * as LastFlag from "./LastFlag.ts"
import * as Policy from "./Policy.ts"
import * as Style from "./Style.ts"
import * as Table from "./Table.ts"
import * as TextFile from "./TextFile.ts"
import { UsageError } from "./UsageError.ts"

/** Lists the flags of `schedule`. */
export const scheduleFlags = {
  policy: Argument.String("policy").pipe(
    Argument.withDescription("Policy or retry document; default: the built-in policy"),
    Argument.optional,
    Argument.map(Option.getOrUndefined)
  ),
  attempts: LastFlag.Int("attempts").pipe(
    Flag.withDescription("Attempts to show, the first included (default: 10)"),
    Flag.withDefault(10)
  ),
  error: LastFlag.Literals("error", ["server-error", "rate-limit"]).pipe(
    Flag.withDescription("What every attempt fails with (default: server-error)"),
    Flag.withDefault("server-error" as const)
  ),
  retryAfter: LastFlag.positive("retry-after", LastFlag.Finite("retry-after")).pipe(
    Flag.withDescription("Seconds that every refusal asks to wait"),
    LastFlag.orNone
  ),
  seeds: LastFlag.Int("seeds").pipe(
    Flag.withDescription("Number of random runs (default: 200)"),
    Flag.withDefault(200)
  ),
  svg: LastFlag.file("svg", "Write the plot as SVG"),
  json: LastFlag.Boolean("json").pipe(
    Flag.withDescription("Write the delays as JSON, in seconds"),
    Flag.withDefault(false)
  )
}

/** Holds the parsed flags of `schedule`. */
export type Flags = Command.Command.Config.Infer<typeof scheduleFlags>

/** Holds the delays before one retry over all seeds, in seconds. */
export interface Spread {
  readonly retry: number
  readonly least: number
  readonly median: number
  readonly most: number
  /** Share of the runs that come this far. */
  readonly share: number
}

/** Sums up the delays of many runs, retry by retry. */
export const spreads = (runs: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<Spread> => {
  const longest = runs.reduce((most, run) => Math.max(most, run.length), 0)
  return Array.from({ length: longest }, (_, at) => {
    const delays = runs.flatMap((run) => run[at] ?? []).sort((a, b) => a - b)
    return {
      retry: at + 1,
      least: delays[0] ?? 0,
      median: delays[Math.floor((delays.length - 1) / 2)] ?? 0,
      most: delays[delays.length - 1] ?? 0,
      share: delays.length / runs.length
    }
  })
}

const bar = (spread: Spread, scale: number): string => {
  const width = 40
  const at = (value: number) => Math.round(value / scale * (width - 1))
  return Array.from(
    { length: width },
    (_, column) =>
      column === at(spread.median) ? "●" : column >= at(spread.least) && column <= at(spread.most) ? "─" : " "
  ).join("")
}

const plot = (name: string, all: ReadonlyArray<Spread>): string => {
  const points = (value: (spread: Spread) => number) => all.map((spread) => [spread.retry, value(spread)] as const)
  return Chart.standalone({
    title: `Delays of ${name}`,
    maxX: Math.max(1, all.length),
    formatX: (value) => `retry ${Math.round(value)}`,
    formatY: Format.span,
    series: [
      { label: "longest", color: "--amber", kind: "line", points: points((spread) => spread.most) },
      { label: "median", color: "--blue", kind: "area", points: points((spread) => spread.median) },
      { label: "shortest", color: "--green", kind: "line", points: points((spread) => spread.least) }
    ]
  })
}

/** Prints the delays and returns the exit code. */
export const run = Effect.fnUntraced(function*(flags: Flags) {
  const host = yield* Host.Host
  if (!(flags.attempts >= 1) || !(flags.seeds >= 1)) {
    return yield* new UsageError({ message: "--attempts and --seeds must be 1 or more" })
  }
  const policy = flags.policy === undefined ? undefined : yield* Policy.read(flags.policy)
  const schedule = Policy.retry(policy) ?? Retry.policy()
  const retryAfter = flags.retryAfter === undefined ? undefined : Duration.seconds(flags.retryAfter)
  const error: TogetherError = flags.error === "rate-limit"
    ? new RateLimitError({ message: "refused (429)", scope: "requests", status: 429, retryAfter })
    : new ServerError({ message: "failed (500)", status: 500, retryAfter })
  const runs: Array<ReadonlyArray<number>> = []
  let more = false
  for (let seed = 0; seed < flags.seeds; seed++) {
    const delays = yield* Retry.preview(schedule, { attempts: flags.attempts + 1, inputs: [error], seed })
    if (delays.length >= flags.attempts) more = true
    runs.push(delays.slice(0, flags.attempts - 1).map(Duration.toSeconds))
  }
  const all = spreads(runs)
  const name = flags.policy ?? "the built-in policy"
  if (flags.svg !== undefined) {
    yield* TextFile.write(flags.svg, plot(name, all))
  }
  if (flags.json) {
    yield* host.write(`${JSON.stringify(all, undefined, 2)}\n`)
    return ExitCode.ExitCode.ok
  }
  const scale = all.reduce((most, spread) => Math.max(most, spread.most), 1e-9)
  const right = (head: string) => ({ head, align: "right" as const })
  yield* Host.print(
    host,
    all.length === 0
      ? more
        ? `${name} retries such an error; --attempts 2 or more shows after which delays\n`
        : `${name} makes no retry after such an error\n`
      : Table.draw(
        [right("retry"), right("shortest"), right("median"), right("longest"), { head: `0 – ${Format.span(scale)}` }],
        all.map((spread) => [
          String(spread.retry),
          Format.span(spread.least),
          Format.span(spread.median),
          Format.span(spread.most),
          bar(spread, scale)
        ]),
        Style.of(host.stdout)
      ) +
        `${
          more
            ? `${Policy.isEndless(policy) ? "does not stop by itself" : "goes on"} (the first ${
              Format.plural(all.length + 1, "attempt")
            } shown)`
            : Format.plural(all.length + 1, "attempt")
        }; the waits of one call add up to ${
          Format.span(all.reduce((sum, spread) => sum + spread.median, 0))
        } (median), ${Format.span(all.reduce((sum, spread) => sum + spread.most, 0))} at the most, over ${
          Format.plural(flags.seeds, "seed")
        }\n`
  )
  return ExitCode.ExitCode.ok
})
