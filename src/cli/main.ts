/**
 * The entry of the command. `--version` answers before anything else is loaded. The bundler puts the shebang in front.
 */
import { readFileSync } from "node:fs"

const version = (): string => {
  // package.json stands two directories above this file, in the repository and in the package
  const manifest = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    readonly version: string
  }
  return manifest.version
}

const args = process.argv.slice(2)
if (args.length === 1 && (args[0] === "--version" || args[0] === "-v")) {
  process.stdout.on("error", (error) => {
    process.stderr.write(`error cannot write to standard output (${error.message})\n`)
    process.exitCode = 1
  })
  process.stdout.write(`effect-together v${version()}\n`)
} else {
  const [Effect, { main }, Host, Heap] = await Promise.all([
    import("effect/Effect"),
    import("./Program.ts"),
    import("./Host.ts"),
    import("./Heap.ts")
  ])
  Heap.steady()
  process.exit(await Effect.runPromise(main(Host.live(), version())))
}
