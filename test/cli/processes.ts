/**
 * Starts the command as a process of its own, and providers for it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { inject } from "vitest"
import * as Connection from "../../src/cli/Connection.ts"
import * as Emulator from "../../src/testing/Emulator.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"

/** Is the command's entry, bundled. */
export const command: string = join(inject("bundled"), "main.js")

/** Lets time pass for real. */
export const pause = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

/** Says how the command is started. */
export interface Place {
  /** Its standard input, `null` for one that stays open. Default: nothing. */
  readonly input?: string | null | undefined
  /** Its working directory. Default: that of the test. */
  readonly cwd?: string | undefined
  /** Size of the largest file it can write, in blocks of 512 bytes. Default: any. */
  readonly blocks?: number | undefined
}

/** Starts the command. */
export const start = (
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
  { blocks, cwd, input = "" }: Place = {}
) => {
  const limited = blocks === undefined ? [] : ["sh", "-c", `ulimit -f ${blocks}; exec "$0" "$@"`]
  const [file, ...rest] = [...limited, process.execPath, command, ...args]
  const child = spawn(file!, rest, { // one is there
    env: { PATH: process.env["PATH"], NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"], ...env },
    stdio: ["pipe", "pipe", "pipe"],
    cwd
  })
  child.stdin.on("error", () => {})
  if (input !== null) child.stdin.end(input)
  const said = { out: "", err: "" }
  child.stdout.on("data", (data) => (said.out += String(data)))
  child.stderr.on("data", (data) => (said.err += String(data)))
  const ended = new Promise<number | null>((resolve) => child.on("close", (code) => resolve(code)))
  return { child, said, ended }
}

/** Serves an emulator. */
export const serve = async (options: Simulation.Options, port = 0) => {
  const scope = Scope.makeUnsafe()
  const layer = Connection.emulatorServer({ options: { unknownModels: "accept", ...options }, seed: 1, port })
  const context = await Effect.runPromise(Layer.buildWithScope(layer, scope))
  return {
    url: Connection.addressOf(Context.get(context, HttpServer.HttpServer)),
    state: () => Effect.runPromise(Context.get(context, Emulator.Emulator).state),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** Lists the ids of a file of results. */
export const idsOf = (path: string) =>
  readFileSync(path, "utf8").split("\n").filter((text) => text !== "")
    // what the test reads is what the command wrote
    .map((text) => (JSON.parse(text) as { readonly custom_id: string }).custom_id)
