/**
 * Compiles a program that uses the package as npm installs it, and writes the program's declarations.
 *
 * A type that has no path that a user may write stands in no declaration file (TS2883). So each export of the package is
 * given on under a name of the program's own. The package's declarations are checked too (`skipLibCheck: false`): what
 * `@internal` takes out of them, no other may name.
 */
import { mkdir, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { root, run, work } from "./shell.ts"

const entries: Readonly<Record<string, string>> = {
  "effect-together": "index.js",
  "effect-together/policy": "policy/index.js",
  "effect-together/testing": "testing/index.js"
}

/** Writes a program that gives on what every module of an entry exports. */
const program = async (entry: string, file: string): Promise<string> => {
  const modules: object = await import(join(root, "dist", file))
  const lines = Object.keys(modules).map((name) => `export const ${name} = { ...All.${name} }\n`)
  return `import * as All from "${entry}"\n${lines.join("")}`
}

const calls = `import { Effect } from "effect"
import { Chat, Together } from "effect-together"
export const client = Effect.map(Together.Together, (together) => ({ ...together }))
export const ask = (content: string) =>
  Effect.gen(function*() {
    const together = yield* Together.Together
    return Chat.text(yield* together.chat({ model: "m", messages: [{ role: "user", content }] }))
  })
`

const options = {
  target: "ES2023",
  lib: ["ES2023", "DOM"],
  module: "NodeNext",
  types: [],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  declaration: true,
  emitDeclarationOnly: true,
  rootDir: ".",
  outDir: "out"
}

/** Compiles against the packed package, and returns the exit code. */
export const consumed = async (tarball: string): Promise<number> => {
  // below the repository, so that `effect` is found as a program's own would be
  const folder = join(work, "consumer")
  const installed = join(folder, "node_modules", "effect-together")
  await rm(folder, { recursive: true, force: true })
  await mkdir(installed, { recursive: true })
  const { code } = await run("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"])
  if (code !== 0) return code
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }))
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, include: ["*.ts"] }))
  await writeFile(join(folder, "calls.ts"), calls)
  for (const [index, [entry, file]] of Object.entries(entries).entries()) {
    await writeFile(join(folder, `use${index}.ts`), await program(entry, file))
  }
  return (await run("tsc", ["-p", join(folder, "tsconfig.json")])).code
}
