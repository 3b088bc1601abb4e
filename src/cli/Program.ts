/**
 * The command `effect-together`: its subcommands, and what an error that ends one says and returns.
 *
 * Values come from flags, then the environment, then the config file (Settings.ts). Results go to standard output,
 * everything else to standard error.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliConfig from "effect/cli/CliConfig"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as TogetherError from "../domain/TogetherError.ts"
import * as Input from "../job/Input.ts"
import * as Projection from "../job/files/Projection.ts"
import { advice, isJobError, platformCode } from "../job/JobError.ts"
import * as CommandLine from "./CommandLine.ts"
import * as Doctor from "./Doctor.ts"
import * as Emulate from "./Emulate.ts"
import { ExitCode } from "./ExitCode.ts"
import * as Explain from "./Explain.ts"
import * as Host from "./Host.ts"
import * as JobFailure from "./JobFailure.ts"
import * as Plan from "./Plan.ts"
import * as Run from "./Run.ts"
import { runFlags } from "./RunFlags.ts"
import * as Pipe from "./Pipe.ts"
import * as Schedule from "./Schedule.ts"
import * as Settings from "./Settings.ts"
import * as Simulate from "./Simulate.ts"
import * as Style from "./Style.ts"
import { UsageError } from "./UsageError.ts"

/** Holds the exit code that a handler has chosen. */
interface Outcome {
  code: ExitCode
}

const tree = (outcome: Outcome) => {
  const ending = <A, E, R>(handler: (flags: A) => Effect.Effect<ExitCode, E, R>) => (flags: A) =>
    Effect.map(handler(flags), (code) => {
      outcome.code = code
    })
  const run = Command.make("run", runFlags, ending(Run.run)).pipe(
    Command.withDescription(
      "Send a file of prompts through Together. Running it again resumes it.\n\n" +
        "Exit codes: 0 all rows answered, 1 internal, 2 usage, 3 some rows failed or were not sent, " +
        "4 refused (key, credits, address), 5 stopped by a cap, 130 interrupted"
    ),
    Command.withShortDescription("Send a file of prompts through Together. Running it again resumes it"),
    Command.withExamples([
      { command: "effect-together run prompts.jsonl", description: "Answers every row, beside the input" },
      {
        command: "effect-together run prompts.jsonl --max-cost 5 --report run.html",
        description: "Spends no more than $5, and draws what happened"
      },
      { command: "cat prompts.jsonl | effect-together run - -o - | jq .", description: "In a pipe" }
    ])
  )
  const plan = Command.make("plan", Plan.planFlags, ending(Plan.run)).pipe(
    Command.withDescription("Say what a file would take, without a call: rows, bad lines, tokens, cost, time"),
    Command.withExamples([
      { command: "effect-together plan prompts.jsonl", description: "What the whole file would take" },
      {
        command: "effect-together plan prompts.jsonl --requests-per-minute 600 --json",
        description: "How long it takes at a limit, as JSON"
      }
    ])
  )
  const emulate = Command.make("emulate", Emulate.emulateFlags, ending(Emulate.run)).pipe(
    Command.withDescription("Serve a provider on this machine, for any SDK"),
    Command.withExamples([
      {
        command: "effect-together emulate",
        description: "At http://127.0.0.1:8787/v1, 10 requests and 3,000 tokens per second and model"
      },
      {
        command: "effect-together emulate --requests-per-second 5 --balance 0.01",
        description: "Refuses what is too much, and runs out of credit"
      }
    ])
  )
  const simulate = Command.make("simulate", Simulate.simulateFlags, ending(Simulate.run)).pipe(
    Command.withDescription("Run a file against given limits in virtual time: makespan, 429s, cost"),
    Command.withExamples([
      {
        command: "effect-together simulate prompts.jsonl --requests-per-second 5 --repeat 100",
        description: "A hundred times the file, at 5 requests per second"
      }
    ])
  )
  const schedule = Command.make("schedule", Schedule.scheduleFlags, ending(Schedule.run)).pipe(
    Command.withDescription("Print and plot the delays of a retry policy"),
    Command.withExamples([
      { command: "effect-together schedule", description: "The built-in policy" },
      {
        command: "effect-together schedule policy.json --error rate-limit --retry-after 5",
        description: "A policy of yours, where the provider asks to wait"
      }
    ])
  )
  const doctor = Command.make("doctor", Doctor.doctorFlags, ending(Doctor.run)).pipe(
    Command.withDescription(
      "Check key, address and clock with one call that is free.\n\nExit codes: 0 ready, 4 not ready"
    ),
    Command.withShortDescription("Check key, address and clock with one call that is free"),
    Command.withExamples([{ command: "effect-together doctor", description: "Before the first run" }])
  )
  const explain = Command.make("explain", Explain.explainFlags, ending(Explain.run)).pipe(
    Command.withDescription("Say what a status or an error means, and what to do"),
    Command.withExamples([
      { command: "effect-together explain 429", description: "A status" },
      { command: "effect-together explain batch_failed", description: "A code of an errors file" },
      { command: "effect-together explain - < prompts.errors.jsonl", description: "All rows of an errors file" }
    ])
  )
  return Command.make("effect-together").pipe(
    Command.withDescription("Bulk runs on Together AI: nothing lost, nothing billed twice"),
    Command.withSubcommands([run, plan, emulate, simulate, schedule, doctor, explain])
  )
}

/** Says where a setting stands that cannot be used; the parser would call it a flag. */
const told = (error: CliError.CliError, args: ReadonlyArray<string>, given: Settings.Given): string => {
  if (error._tag !== "InvalidValue" || error.kind !== "flag" || !Settings.isSetting(error.option)) return error.message
  if (CommandLine.has(args, error.option)) return error.message
  // the schema's words without the place in the environment, which is wrong if the value came from the file
  const schema = /^SchemaError\(([^]*?)\s+at \["\w+"\]\)/.exec(error.expected)
  return `${Settings.sourceOf(error.option, given)} cannot be used: ${schema?.[1] ?? error.expected}`
}

/** Shows help where it was asked for; a wrong call gets one line, not a page. */
const presenter = (host: Host.Service, given: () => Settings.Given): CliOutput.Presenter => ({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.sync(() => {
        const style = Style.of(host.stderr)
        for (const error of event.errors) {
          Host.say(host, `${style.red("error")} ${told(error, host.args, given())}\n`)
        }
        Host.say(host, `see: ${event.commandPath.join(" ")} --help\n`)
      })
      : CliOutput.defaultPresenter.present(event)
})

/** Says in lines what ended a command, and with which code. */
export const explainFailure = (
  error: unknown,
  command: string
): { readonly code: ExitCode; readonly lines: ReadonlyArray<string> } => {
  if (isJobError(error)) return JobFailure.of(error, command)
  if (error instanceof UsageError) return { code: ExitCode.usage, lines: [error.message] }
  if (TogetherError.isTogetherError(error)) {
    const code = error._tag === "AuthError" || error._tag === "InsufficientCreditsError"
      ? ExitCode.refused
      : ExitCode.usage
    return { code, lines: [error.message.replace("or pass apiKey;", "or add --emulator for a dry run;")] }
  }
  if (error instanceof Config.ConfigError) {
    return { code: ExitCode.usage, lines: [`a setting cannot be used: ${error.message}`] }
  }
  return {
    code: ExitCode.internal,
    lines: [
      `unexpected: ${error instanceof Error ? error.message : String(error)}`,
      "this is a defect of effect-together; what was answered is safe in the journal. Set DEBUG=1 for its trace, and report it"
    ]
  }
}

/** Tells whether a file does not exist, or what should be its directory is not one. */
const isAbsent = (error: PlatformError.PlatformError): boolean =>
  error.reason._tag === "NotFound" || platformCode(error) === "ENOTDIR"

const configFile = Effect.fnUntraced(function*(host: Host.Service) {
  const fs = yield* FileSystem.FileSystem
  for (const path of Settings.places(host.env, host.cwd, host.home)) {
    const text = yield* fs.readFileString(path).pipe(
      Effect.catchIf(isAbsent, () => Effect.undefined),
      Effect.mapError((error) =>
        // a file that cannot be read may hold a budget, so it is not ignored
        new UsageError({ message: `cannot read ${path} ${advice(error, "Make it readable, or remove it.")}` })
      )
    )
    if (text === undefined) continue
    const read = Settings.fromFile(path, text)
    return Result.isFailure(read)
      ? yield* new UsageError({ message: read.failure })
      : { path, settings: read.success }
  }
  return { path: undefined, settings: {} }
})

/** Runs a command line against a process and returns its exit code. */
export const main = (host: Host.Service, version: string): Effect.Effect<ExitCode> => {
  const outcome: Outcome = { code: ExitCode.ok }
  let configPath: string | undefined
  const program = Effect.gen(function*() {
    for (const warning of Settings.unknownVariables(host.env)) {
      Host.say(host, `${Style.of(host.stderr).yellow("warning")} ${warning}\n`)
    }
    const dashed = CommandLine.dashed(host.args)
    if (dashed !== undefined) {
      return yield* new UsageError({
        message:
          `${dashed} is no flag: write a path as ./${dashed}, and a value that begins with a dash as --flag=VALUE`
      })
    }
    const read = yield* Effect.result(configFile(host))
    if (Result.isSuccess(read)) configPath = read.success.path
    yield* Command.runWith(tree(outcome), { version })(host.args).pipe(
      Effect.provideService(Settings.Current, { env: host.env, file: configPath }),
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        Result.isSuccess(read)
          ? Settings.provider(host.env, read.success.settings)
          // ends the commands that ask for a setting, and no other
          : ConfigProvider.make(() => Effect.die(read.failure))
      )
    )
  })
  const environment = Layer.mergeAll(
    NodeServices.layer,
    Layer.succeed(Host.Host, host),
    Layer.succeed(Input.Gunzip, Host.gunzip),
    Layer.succeed(Projection.OpenStream, Pipe.open),
    CliOutput.layerPresenter(presenter(host, () => ({ env: host.env, file: configPath }))),
    CliConfig.layer({
      builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions]
    }),
    Logger.layer([Logger.withConsoleError(Logger.formatSimple)])
  )
  return Effect.exit(Effect.provide(program, environment)).pipe(
    Effect.map((exit) => {
      if (Exit.isSuccess(exit)) return outcome.code
      if (Exit.hasInterrupts(exit)) return ExitCode.interrupted
      const error = Cause.squash(exit.cause)
      if (typeof error === "object" && error !== null && "_tag" in error && error._tag === "ShowHelp") {
        return "errors" in error && Array.isArray(error.errors) && error.errors.length > 0
          ? ExitCode.usage
          : ExitCode.ok
      }
      const { code, lines } = explainFailure(error, CommandLine.again(host.args))
      const style = Style.of(host.stderr)
      Host.say(host, `${style.red("error")} ${lines.join("\n")}\n`)
      if (code === ExitCode.internal && host.env["DEBUG"] !== undefined) {
        Host.say(host, `${Cause.pretty(exit.cause)}\n`)
      }
      return code
    })
  )
}
