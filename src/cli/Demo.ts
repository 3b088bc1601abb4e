/**
 * The emulator that `run --emulator` starts, with limits that the client is not told, and so fast that a minute is
 * enough to see something.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Report from "../job/Report.ts"
import * as Simulation from "../testing/Simulation.ts"
import * as TextFile from "./TextFile.ts"
import { UsageError } from "./UsageError.ts"

/** Holds the options of the emulator where none are given. */
export const defaults: Simulation.Options = {
  unknownModels: "accept",
  limits: { requestsPerSecond: 10, tokensPerSecond: 6000 },
  firstToken: { kind: "lognormal", median: 0.25, sigma: 0.4, max: 2 },
  tokensPerSecond: { kind: "constant", value: 240 },
  faults: [{ probability: 0.01, kind: 503 }]
}

/** Reads the options of a simulation from a file. */
export const read = (path: string) => Effect.flatMap(TextFile.read(path), (text) => check(path, text))

/** Reads the emulator's options from a file, or takes the defaults. */
export const emulator = (path: string | undefined, seed: number) =>
  path === undefined
    ? Effect.succeed({ options: defaults, seed })
    : Effect.map(read(path), (options) => ({ options, seed }))

/** Checks the options of a simulation. */
export const check = (path: string, text: string): Effect.Effect<Simulation.Options, UsageError> => {
  const parsed = Result.try({
    try: () => {
      // `make` checks the options itself and throws a RangeError for what it does not understand.
      const options = JSON.parse(text) as Simulation.Options
      Simulation.make(options)
      return options
    },
    catch: (error) => error instanceof Error ? error.message : String(error)
  })
  return Result.isSuccess(parsed)
    ? Effect.succeed(parsed.success)
    : Effect.fail(new UsageError({ message: `no options of a simulation in ${path}: ${parsed.failure}` }))
}

/**
 * Computes how long the rows of a report would take a client that knows the limits. Each model has limits of its own,
 * so it is the time of the slowest model. Rows of batches, which share no limit with calls, were no calls: there is none.
 */
export const ideal = (options: Simulation.Options, report: Report.Report): number | undefined => {
  const { sum, total } = report.attemptLatency
  if (total === 0) return undefined
  let longest = 0
  for (const [model, counts] of report.models) {
    if (counts.ok === 0) continue
    longest = Math.max(
      longest,
      Simulation.makespan({
        options,
        model,
        calls: counts.ok,
        inputTokens: counts.inputTokens,
        outputTokens: counts.outputTokens,
        meanLatencySeconds: sum / total / 1000
      }).seconds
    )
  }
  return longest === 0 ? undefined : longest
}
