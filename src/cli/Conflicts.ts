/**
 * Flags of `run` that do not go together. They are refused before anything is sent, since a flag without effect
 * misleads.
 *
 * A value from the environment or the config file is no conflict, since it is meant for all runs: where it does not
 * apply, it has no effect.
 */
import * as CommandLine from "./CommandLine.ts"
import * as Place from "./Place.ts"
import type * as Run from "./Run.ts"

/** Shortest time in milliseconds between two looks at a batch, where a provider is asked and not an emulator. */
const shortestPoll = 1000

const output = ({ errors, journal, json, output, report }: Run.Flags): string | undefined => {
  if (errors === "-") return "--errors - names no file: give a path, such as /dev/stderr"
  if (journal === "-") return "--journal - names no file: a journal is read again, so give a path"
  if (report === "-") return "--report - names no file: give a path, such as run.html"
  if (json && output !== undefined && Place.isStandardOutput(output)) {
    return `--output ${output} and --json both want standard output: give one of them a file`
  }
  return json && errors !== undefined && Place.isStandardOutput(errors)
    ? `--errors ${errors} and --json both want standard output: give one of them a file`
    : undefined
}

const batch = (flags: Run.Flags, args: ReadonlyArray<string>): string | undefined => {
  if (flags.via !== "batch") {
    return CommandLine.has(args, "poll")
      ? "--poll needs --via batch: calls are not looked for, they answer"
      : undefined
  }
  if (flags.input === "-") return "--via batch needs a file, for it reads the input twice"
  const ordered = flags.order === "input" && CommandLine.has(args, "order")
  if (ordered || flags.dedupe || CommandLine.has(args, "cache")) {
    return "--via batch cannot be combined with --order input, --dedupe or --cache"
  }
  if (flags.poll !== undefined && flags.poll < shortestPoll && (!flags.emulator || flags.live)) {
    return "--poll must be 1s or more where Together is asked: a batch takes minutes to hours"
  }
  return CommandLine.has(args, "concurrency")
    ? "--concurrency bounds calls: with --via batch it does nothing, leave it out"
    : undefined
}

const emulator = (flags: Run.Flags, args: ReadonlyArray<string>): string | undefined => {
  if (flags.emulatorConfig !== undefined && (!flags.emulator || flags.live)) {
    return `--emulator-config needs --emulator${flags.live ? ", and --live overrides that" : ""}`
  }
  return flags.emulator && !flags.live && CommandLine.has(args, "base-url")
    ? "--base-url and --emulator both say where to send: leave one of them out"
    : undefined
}

/** Says which flags do not go together, if any. */
export const of = (flags: Run.Flags, args: ReadonlyArray<string>): string | undefined =>
  output(flags) ?? batch(flags, args) ?? emulator(flags, args)
