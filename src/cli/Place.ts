/** Where the files of a run are: beside the input, or in `--out-dir`. `run` and `plan` look in the same places. */
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Directory from "../job/files/Directory.ts"
import * as FileIdentity from "../job/files/FileIdentity.ts"
import { platformCode } from "../job/JobError.ts"
import * as JobFiles from "../job/files/JobFiles.ts"
import * as Input from "../job/Input.ts"
import { UsageError } from "./UsageError.ts"

/** Holds the flags that say where files are. */
export interface Flags {
  readonly input: string
  readonly output?: string | undefined
  readonly errors?: string | undefined
  readonly journal?: string | undefined
  readonly outDir?: string | undefined
}

/** Names the files of a run as far as flags decide; what is absent follows from the others. */
export interface Place {
  /** Absent for standard output. */
  readonly results: string | undefined
  readonly errors: string | undefined
  readonly journal: string | undefined
}

const standardOutput: ReadonlySet<string> = new Set(["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])

/** Tells whether a path leads to standard output. */
export const isStandardOutput = (path: string): boolean => standardOutput.has(path)

const within = (outDir: string): string => `${outDir.replace(/\/+$/, "")}/`

/**
 * Names the files of a run. A run against the emulator has names of its own, and no name is derived from that of a
 * device.
 */
export const of = (flags: Flags, emulator: boolean): Place => {
  const { output } = flags
  const name = flags.input === "-" ? "stdin" : FileIdentity.stemOf(flags.input)
  const stem = emulator ? `${name}.emulator` : name
  const base = flags.outDir === undefined ? stem : `${within(flags.outDir)}${FileIdentity.split(stem)[1]}`
  return output !== undefined && (isStandardOutput(output) || FileIdentity.isDevice(output))
    ? {
      results: isStandardOutput(output) ? undefined : output,
      errors: flags.errors ?? `${base}.errors.jsonl`,
      journal: flags.journal ?? `${base}.journal`
    }
    : { results: output ?? `${base}.results.jsonl`, errors: flags.errors, journal: flags.journal }
}

/** Names the journal of a run. */
export const journalOf = (flags: Flags, emulator: boolean): string => {
  const { errors, journal, results } = of(flags, emulator)
  return JobFiles.paths({ input: Input.file(flags.input), results, errors, journalPath: journal }).journal
}

/**
 * Makes the directory of a run's files, where any of them goes there.
 *
 * **Errors**: `UsageError` where it cannot.
 */
export const make = (outDir: string, files: JobFiles.Paths): Effect.Effect<void, UsageError, FileSystem.FileSystem> =>
  ![files.results, files.errors, files.journal].some((path) => path?.startsWith(within(outDir))) ?
    Effect.void :
    Effect.mapError(
      Directory.make(outDir),
      (error) =>
        new UsageError({
          message: `--out-dir ${outDir} is no directory, and none can be made there (${platformCode(error)}). ` +
            "Nothing was sent. Check the directory, or choose another."
        })
    )
