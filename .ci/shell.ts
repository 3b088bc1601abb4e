/**
 * Runs the tools of the gate as child processes.
 */
import { spawn } from "node:child_process"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

/** Is the repository's folder. */
export const root: string = dirname(dirname(fileURLToPath(import.meta.url)))

/** Is the folder for what the gate writes; git ignores it. */
export const work: string = join(root, ".gate")

/** Holds how a command ended. */
export interface Ran {
  readonly code: number
  readonly output: string
}

/** Runs a command in the repository's folder, its output shown as it comes and returned. Tools of the lock file win. */
export const run = (command: string, args: ReadonlyArray<string>, options?: {
  readonly quiet?: boolean
  readonly env?: Readonly<Record<string, string>>
}): Promise<Ran> =>
  new Promise((resolve) => {
    const child = spawn(command, [...args], {
      cwd: root,
      env: {
        ...process.env,
        PATH: `${join(root, "node_modules", ".bin")}:${process.env["PATH"] ?? ""}`,
        NO_COLOR: "1",
        ...options?.env
      },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    const take = (into: NodeJS.WriteStream) => (bytes: Buffer): void => {
      output += bytes.toString()
      if (options?.quiet !== true) into.write(bytes)
    }
    child.stdout.on("data", take(process.stdout))
    child.stderr.on("data", take(process.stderr))
    child.on("error", (error) => {
      take(process.stderr)(Buffer.from(`${error.message}\n`))
      resolve({ code: 127, output })
    })
    child.on("close", (code) => resolve({ code: code ?? 1, output }))
  })
