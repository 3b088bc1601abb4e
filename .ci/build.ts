/**
 * Builds what the package ships.
 *
 * | output | made by | holds |
 * | --- | --- | --- |
 * | `dist/**` | tsc | every library module, its calls marked pure, its types with their manuals, and source maps; `effect` stays an import |
 * | `dist/cli/**` | esbuild | the command with `effect` and its platform inside, split so that each subcommand loads its own part |
 *
 * The command is a bundle because it must start fast and must run without its
 * user installing anything besides this package.
 */
import { chmod, readFile, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { bundle } from "./bundle.ts"
import { restoreHeaders } from "./headers.ts"
import { markPure } from "./pure.ts"
import { root, run } from "./shell.ts"

const bundleCommand = async (): Promise<number> => {
  const outdir = join(root, "dist", "cli")
  const metafile = await bundle(outdir)
  const entry = join(outdir, "main.js")
  const text = await readFile(entry, "utf8")
  await writeFile(entry, text.startsWith("#!") ? text : `#!/usr/bin/env node\n${text}`)
  await chmod(entry, 0o755)
  await writeFile(join(outdir, "THIRD-PARTY.txt"), await notices(Object.keys(metafile.inputs)))
  let bytes = 0
  for (const file of Object.keys(metafile.outputs)) bytes += (await stat(join(root, file))).size
  return bytes
}

/** Collects the licences of all packages that the bundle holds a part of. */
const notices = async (inputs: ReadonlyArray<string>): Promise<string> => {
  const packages = new Set<string>()
  for (const input of inputs) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)
    if (match?.[1] !== undefined) packages.add(match[1])
  }
  const parts: Array<string> = ["The command line bundles the following packages, under their own licences.\n"]
  for (const folder of [...packages].sort()) {
    const described: unknown = JSON.parse(await readFile(join(root, folder, "package.json"), "utf8"))
    const { license, name, version } = described as { name: string; version: string; license?: string } // npm requires them
    let text = ""
    for (const file of ["LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "license"]) {
      text = await readFile(join(root, folder, file), "utf8").catch(() => "")
      if (text !== "") break
    }
    parts.push(`${"-".repeat(78)}\n${name}@${version} (${license ?? "see its text"})\n\n${text.trim()}\n`)
  }
  return parts.join("\n")
}

/** Builds into `dist/` and returns the exit code. */
export const buildAll = async (): Promise<number> => {
  await rm(join(root, "dist"), { recursive: true, force: true })
  const { code } = await run("tsc", ["-p", "src/tsconfig.json"])
  if (code !== 0) return code
  await restoreHeaders(join(root, "src"), join(root, "dist"))
  await markPure(join(root, "dist"))
  const bytes = await bundleCommand()
  process.stdout.write(`dist/ built; the command's bundle takes ${Math.round(bytes / 1024)} KiB\n`)
  return 0
}

if (import.meta.main) process.exitCode = await buildAll()
