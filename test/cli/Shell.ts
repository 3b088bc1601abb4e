/** Runs the command in this process against a stand-in for the shell: for tests of what it prints and returns. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type * as Host from "../../src/cli/Host.ts"
import { main } from "../../src/cli/Program.ts"
import type * as Style from "../../src/cli/Style.ts"

/** Is what a command did. */
export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Is a shell with a directory of its own. */
export interface Shell {
  readonly directory: string
  readonly path: (name: string) => string
  readonly write: (name: string, text: string) => string
  /** Runs a command with `input` on its standard input. */
  readonly run: (
    args: ReadonlyArray<string>,
    env?: Readonly<Record<string, string>>,
    stderr?: Style.Ability,
    input?: string
  ) => Effect.Effect<Ran>
  /** Reads what the latest command has written to standard error so far. */
  readonly said: () => string
  /** Presses Ctrl-C. */
  readonly interrupt: Effect.Effect<void>
}

const able: Style.Ability = { color: false, redraw: false, columns: 100 }

/** Opens a shell in a new directory. */
export const open = (): Shell => {
  const directory = mkdtempSync(join(tmpdir(), "shell-"))
  const interrupted = Deferred.makeUnsafe<void>()
  let latest = () => ""
  const path = (name: string) => join(directory, name)
  return {
    directory,
    path,
    write: (name, text) => {
      writeFileSync(path(name), text)
      return path(name)
    },
    interrupt: Effect.asVoid(Deferred.succeed(interrupted, undefined)),
    said: () => latest(),
    run: (args, env = {}, stderr = able, input = "") =>
      Effect.suspend(() => {
        let out = ""
        let err = ""
        latest = () => err
        const host: Host.Service = {
          env,
          args,
          cwd: directory,
          home: directory,
          pid: process.pid,
          version: "v24.0.0",
          host: "test",
          namespace: undefined,
          stderr,
          stdout: able,
          stdin: input === "" ? Stream.empty : Stream.make(new TextEncoder().encode(input)),
          writeError: (text) => {
            err += text
          },
          write: (text) =>
            Effect.sync(() => {
              out += text
            }),
          interrupted: () => Deferred.await(interrupted),
          isAlive: () => true
        }
        return Effect.map(main(host, "9.9.9"), (code) => ({ code, out, err }))
      })
  }
}

/** Writes rows for a file of prompts. */
export const prompts = (count: number, more: object = {}): string =>
  Array.from({ length: count }, (_, i) =>
    `${
      JSON.stringify({
        custom_id: `r${i + 1}`,
        body: {
          model: "openai/gpt-oss-20b",
          max_tokens: 20,
          ...more,
          messages: [{ role: "user", content: `What is ${i + 1} plus ${i}?` }]
        }
      })
    }\n`).join("")
