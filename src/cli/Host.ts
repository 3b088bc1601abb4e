/**
 * What the command takes from the process: environment, streams, signals, process id. Everything else in `cli/` gets it
 * from here, so that tests can stand in for the process.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as PlatformError from "effect/PlatformError"
import type * as Stream from "effect/Stream"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { readlinkSync, writeSync } from "node:fs"
import { homedir, hostname } from "node:os"
import { createGunzip } from "node:zlib"
import type * as Input from "../job/Input.ts"
import { OutputError } from "../job/JobError.ts"
import * as Style from "./Style.ts"

/** The process, as far as the command needs it. */
export interface Service {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly args: ReadonlyArray<string>
  readonly cwd: string
  readonly home: string
  readonly pid: number
  /** Version of the runtime. */
  readonly version: string
  readonly host: string
  /** Names the processes that it can see, of all that run on its host; absent where a system does not tell. */
  readonly namespace: string | undefined
  readonly stderr: Style.Ability
  readonly stdout: Style.Ability
  /** Its standard input, which can be read once. */
  readonly stdin: Stream.Stream<Uint8Array, PlatformError.PlatformError>
  readonly writeError: (text: string) => void
  /** Writes to standard output; returns when it was taken. */
  readonly write: (text: string) => Effect.Effect<void, OutputError>
  /** Waits for Ctrl-C, a request to end, or the hangup of a terminal; the second one ends the process at once, with these words. */
  readonly interrupted: (atOnce?: string) => Effect.Effect<void>
  readonly isAlive: (pid: number) => boolean
}

/** Gives the process to the command. */
export class Host extends Context.Service<Host, Service>()("effect-together/cli/Host") {}

/** Writes lines to standard error, with the control characters of what they quote made visible. */
export const say = (host: Service, text: string): void => host.writeError(Style.of(host.stderr).visible(text))

/** Writes lines for a reader to standard output, as {@link say}. Data goes there as it is, by `write`. */
export const print = (host: Service, text: string): Effect.Effect<void, OutputError> =>
  host.write(Style.of(host.stdout).visible(text))

/** Builds the error of a failed write to standard output. */
const untaken = (error: Error): OutputError => {
  const code = "code" in error ? error.code : undefined
  const [message, reason] = code === "EPIPE"
    ? ["whoever read standard output has closed it.", "unwritable"] as const
    : code === "ENOSPC" || code === "EFBIG"
    ? ["the disk is full: standard output cannot grow.", "disk-full"] as const
    : [`cannot write to standard output (${error.message}).`, "unwritable"] as const
  return new OutputError({
    message: `${message} What a run has answered is safe in its journal; run the same command again.`,
    reason,
    path: "standard output",
    cause: error
  })
}

const write = (text: string): Effect.Effect<void, OutputError> =>
  Effect.callback((resume) => {
    process.stdout.write(text, (error) =>
      resume(
        error === undefined || error === null
          ? Effect.void
          : Effect.fail(untaken(error))
      ))
  })

/** Says the last words of a process at once, since nothing is written after it has ended. */
const sayLast = (text: string): void => {
  try {
    writeSync(process.stderr.fd, text)
  } catch {
    // nobody reads, or not fast enough
  }
}

/** Ignores an error event: that a reader went away (`| head`) is told to the writer by the write itself. */
const deaf = (): void => {}

/**
 * Tells whether a terminal can hang up on the process. One under `nohup` or cron has no terminal. Node undoes that a
 * signal is to be ignored, so this is the only sign of a `nohup`.
 */
const hasTerminal = (): boolean => [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY)

const interrupted: Service["interrupted"] = (atOnce = "") =>
  Effect.callback<void>((resume) => {
    let asked = false
    const on = () => {
      if (asked) {
        sayLast(atOnce)
        process.exit(130)
      }
      asked = true
      resume(Effect.void)
    }
    const onHangup = hasTerminal() ? on : deaf
    process.on("SIGINT", on)
    process.on("SIGTERM", on)
    process.on("SIGHUP", onHangup)
    return Effect.sync(() => {
      process.off("SIGINT", on)
      process.off("SIGTERM", on)
      process.off("SIGHUP", onHangup)
    })
  })

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM"
  }
}

/** Reads the PID namespace, which only Linux has. */
const namespace = (): string | undefined => {
  try {
    return readlinkSync("/proc/self/ns/pid")
  } catch {
    return undefined
  }
}

const stdin: Service["stdin"] = NodeStream.fromReadable({
  evaluate: () => process.stdin,
  onError: (cause) => PlatformError.systemError({ _tag: "Unknown", module: "Stdio", method: "stdin", cause }),
  closeOnDone: false
})

/** Gunzips with Node's zlib, which reads files joined from several gzipped ones. */
export const gunzip: Input.Gunzip = (bytes) =>
  NodeStream.pipeThroughDuplex(bytes, { evaluate: () => createGunzip(), onError: (cause) => cause })

/** Reads the process. */
export const live = (): Service => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.off("error", deaf)
    stream.on("error", deaf)
  }
  return reading()
}

const reading = (): Service => ({
  env: process.env,
  args: process.argv.slice(2),
  cwd: process.cwd(),
  home: homedir(),
  pid: process.pid,
  version: process.version,
  host: hostname(),
  namespace: namespace(),
  stderr: Style.ability(process.env, process.stderr),
  stdout: Style.ability(process.env, process.stdout),
  stdin,
  writeError: (text) => void process.stderr.write(text),
  write,
  interrupted,
  isAlive
})
