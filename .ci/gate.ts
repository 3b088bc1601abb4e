/**
 * The gate: every check that a change must pass, all of them run even if one fails.
 *
 * `npm run gate` runs all steps, `npm run gate -- lint types` those named. Each
 * is timed; a table closes the run; the exit code is 1 when any is red. How each
 * step was seen red: docs/decisions/0001-gate.md.
 */
import { build, type Plugin } from "esbuild"
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { dirname, join, normalize } from "node:path"
import { buildAll } from "./build.ts"
import { consumed } from "./consumer.ts"
import { examplesAll } from "./examples.ts"
import { onOtherNodes } from "./nodes.ts"
import { root, run, work } from "./shell.ts"

interface Step {
  readonly name: string
  readonly asks: string
  readonly run: () => Promise<number>
}

const tool = (command: string, ...args: ReadonlyArray<string>) => async (): Promise<number> =>
  (await run(command, args)).code

/** effect-tsgo says nothing and passes when it checked no file: that is a failure of the gate. */
const effect = async (): Promise<number> => {
  const { code, output } = await run("effect-tsgo", [
    "diagnostics",
    "--project",
    "tsconfig.json",
    "--format",
    "text",
    "--strict"
  ])
  const checked = Number(/Checked (\d+) files/.exec(output)?.[1] ?? 0)
  if (checked === 0) process.stdout.write("effect-tsgo checked no file: is its plugin in tsconfig.json?\n")
  return checked === 0 ? 1 : code
}

/**
 * Lets all modules of a bundle share one import of each module of `effect`. esbuild repeats an import of what it leaves out
 * for every module that has it, 260 for a client; in a user's bundle, which holds `effect`, there is none.
 */
const sharedImports: Plugin = {
  name: "shared imports",
  setup: ({ onLoad, onResolve }) => {
    onResolve({ filter: /^shared:/ }, ({ path }) => ({ path: path.replace("shared:", ""), namespace: "shared" }))
    onLoad({ filter: /^/, namespace: "shared" }, ({ path }) => ({
      contents: `import * as shared from "${path}"; export { shared }`
    }))
    onLoad({ filter: /\.js$/ }, async ({ path }) => ({
      contents: (await readFile(path, "utf8")).replace(
        /^import \* as (\w+) from "(effect\/.+)";$/gm,
        "import { shared as $1 } from \"shared:$2\";"
      )
    }))
  }
}

/** Bundles what a user's bundler would add for the library, `effect` left out; size-limit then weighs it. */
const sizes = async (): Promise<number> => {
  const folder = join(work, "size")
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  const probes: Readonly<Record<string, string>> = {
    client: "import { Together } from \"./index.js\"; export const layer = Together.layer",
    library: "export * from \"./index.js\"",
    policy: "export * from \"./policy/index.js\"",
    testing: "export * from \"./testing/index.js\""
  }
  for (const [name, contents] of Object.entries(probes)) {
    await build({
      stdin: { contents, resolveDir: join(root, "dist") },
      outfile: join(folder, `${name}.js`),
      bundle: true,
      minify: true,
      format: "esm",
      platform: "neutral",
      external: ["effect", "effect/*"],
      plugins: [sharedImports],
      logLevel: "warning"
    })
  }
  return (await run("size-limit", [])).code
}

const tarball = join(work, "package.tgz")

/** Lists the links of the packed pages to what is not packed with them. */
const deadLinks = async (paths: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const dead: Array<string> = []
  for (const page of paths.filter((path) => path.endsWith(".md"))) {
    const text = await readFile(join(root, page), "utf8")
    for (const [, link = ""] of text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      const target = normalize(join(dirname(page), link)).replace(/\/$/, "")
      const isThere = /^\w+:/.test(link) || paths.some((path) => path === target || path.startsWith(`${target}/`))
      if (!isThere) dead.push(`${page} links to ${link}, which is not packed`)
    }
  }
  return dead
}

/** Packs as npm would, and fails when the package holds what it should not, lacks what it should, or asks for Node. */
const packed = async (): Promise<number> => {
  await rm(tarball, { force: true })
  // dist/ was built by the step before: the package's own prepack would only build it again
  const { code, output } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", work], {
    quiet: true
  })
  if (code !== 0) {
    process.stdout.write(output)
    return code
  }
  const listing: unknown = JSON.parse(output.slice(output.search(/^[[{]/m)))
  const first = Array.isArray(listing) ? listing[0] : Object.values(listing as object)[0]
  // npm's documented form
  const { filename, files, size } = first as {
    readonly filename: string
    readonly size: number
    readonly files: ReadonlyArray<{ readonly path: string }>
  }
  await rename(join(work, filename), tarball)
  const paths = files.map((file) => file.path)
  const modules = paths.filter((path) => /^dist\/(?!cli\/).*\.js$/.test(path))
  const complaints = [
    ...[
      "package.json",
      "README.md",
      "LICENSE",
      "CHANGELOG.md",
      "dist/index.js",
      "dist/index.d.ts",
      "dist/policy/index.js",
      "dist/testing/index.js",
      "dist/cli/main.js"
    ]
      .filter((path) => !paths.includes(path)).map((path) => `${path} is not packed`),
    ...paths.filter((path) => !/^(?:dist|docs|src)\/|^(?:package\.json|LICENSE|[A-Z]+\.md)$/.test(path))
      .map((path) => `${path} is packed`),
    ...await deadLinks(paths),
    ...paths.filter((path) => /\.test\.|tsconfig|\.env|\.pem$/.test(path)).map((path) => `${path} is packed`)
  ]
  for (const path of modules) {
    if (
      /^(?:import|export) .* from "(?:node:|@effect\/platform-node)/m.test(await readFile(join(root, path), "utf8"))
    ) {
      complaints.push(`${path} imports what only Node has`)
    }
  }
  for (const complaint of complaints) process.stdout.write(`${complaint}\n`)
  process.stdout.write(`${paths.length} files, ${Math.round(size / 1024)} KiB packed\n`)
  return complaints.length === 0 ? 0 : 1
}

const steps: ReadonlyArray<Step> = [
  { name: "types", asks: "tsc --noEmit", run: tool("tsc", "--noEmit") },
  { name: "effect", asks: "effect-tsgo diagnostics --strict", run: effect },
  { name: "lint", asks: "oxlint, rooms and house rules", run: tool("oxlint", "--deny-warnings") },
  { name: "format", asks: "dprint check", run: tool("dprint", "check") },
  { name: "examples", asks: "every ts block type-checked and run", run: examplesAll },
  { name: "coverage", asks: "vitest, 100 % of policy/, 90 % elsewhere", run: tool("vitest", "run", "--coverage") },
  { name: "nodes", asks: "vitest of sockets, cli and job on Node 22 and 26", run: onOtherNodes },
  { name: "build", asks: "tsc and esbuild into dist/", run: buildAll },
  { name: "pack", asks: "what npm would pack", run: packed },
  { name: "publint", asks: "publint --strict", run: tool("publint", tarball, "--strict") },
  { name: "attw", asks: "attw --profile esm-only", run: tool("attw", tarball, "--profile", "esm-only") },
  { name: "consumer", asks: "a program's own declarations", run: () => consumed(tarball) },
  { name: "knip", asks: "no unused file, export or dependency", run: tool("knip") },
  { name: "size", asks: "size-limit", run: sizes }
]

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !steps.some((step) => step.name === name))
if (unknown.length > 0) {
  process.stderr.write(`There is no step ${unknown.join(", ")}. Steps: ${steps.map((step) => step.name).join(" ")}\n`)
  process.exit(2)
}

await mkdir(work, { recursive: true })
const rows: Array<{ readonly name: string; readonly asks: string; readonly ok: boolean; readonly seconds: number }> = []
for (const step of steps.filter((step) => wanted.length === 0 || wanted.includes(step.name))) {
  process.stdout.write(`\n── ${step.name}: ${step.asks}\n`)
  const began = performance.now()
  const code = await step.run().catch((error: unknown) => {
    process.stdout.write(`${error instanceof Error ? error.stack ?? error.message : String(error)}\n`)
    return 1
  })
  rows.push({ name: step.name, asks: step.asks, ok: code === 0, seconds: (performance.now() - began) / 1000 })
}

const width = Math.max(...rows.map((row) => row.asks.length))
process.stdout.write("\n")
for (const row of rows) {
  process.stdout.write(
    `${row.ok ? "ok  " : "FAIL"}  ${row.name.padEnd(9)} ${row.asks.padEnd(width)} ${
      row.seconds.toFixed(1).padStart(6)
    } s\n`
  )
}
const failed = rows.filter((row) => !row.ok).length
process.stdout.write(`gate: ${rows.length - failed} steps passed, ${failed} failed\n`)
await writeFile(join(work, "gate.json"), JSON.stringify({ passed: rows.length - failed, failed }))
process.exitCode = failed === 0 ? 0 : 1
