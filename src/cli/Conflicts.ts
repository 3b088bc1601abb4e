/** Flags of `run` that do not go together: said before anything is sent, for a flag that does nothing would mislead. */
import type * as Run from "./Run.ts"

/** Tells whether a flag is on the command line; the environment and the config file speak for all runs. */
const given = (args: ReadonlyArray<string>, name: string): boolean =>
  args.some((word) => word === `--${name}` || word.startsWith(`--${name}=`))

const batch = (flags: Run.Flags, args: ReadonlyArray<string>): string | undefined => {
  if (flags.via !== "batch") {
    return given(args, "poll") ? "--poll needs --via batch: calls are not looked for, they answer" : undefined
  }
  if (flags.input === "-") return "--via batch needs a file, for it reads the input twice"
  if (flags.order === "input" || flags.dedupe || flags.cache !== undefined) {
    return "--via batch cannot be combined with --order input, --dedupe or --cache"
  }
  return given(args, "concurrency")
    ? "--concurrency bounds calls: with --via batch it does nothing, leave it out"
    : undefined
}

const emulator = (flags: Run.Flags, args: ReadonlyArray<string>): string | undefined => {
  if (flags.emulatorConfig !== undefined && (!flags.emulator || flags.live)) {
    return `--emulator-config needs --emulator${flags.live ? ", and --live overrides that" : ""}`
  }
  return flags.emulator && !flags.live && given(args, "base-url")
    ? "--base-url and --emulator both say where to send: leave one of them out"
    : undefined
}

/** Says which flags do not go together, if any. */
export const of = (flags: Run.Flags, args: ReadonlyArray<string>): string | undefined =>
  flags.output === "-" && flags.json
    ? "--output - and --json both want standard output: give one of them a file"
    : batch(flags, args) ?? emulator(flags, args)
