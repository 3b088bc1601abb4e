/**
 * Lets programs that run from sources import the package as its users do: its own names resolve to its sources.
 *
 * To be loaded first: `node --import`.
 */
import { readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { root } from "./shell.ts"

interface Target {
  /** Absent where a path is one of types alone. */
  readonly default?: string
}

/** Maps each name that the package exports to its source. */
const sources = new Map<string, string>()
const described: unknown = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const { exports, name } = described as { name: string; exports: Record<string, string | Target | null> } // our own
for (const [path, target] of Object.entries(exports)) {
  if (target === null || typeof target === "string" || target.default === undefined) continue
  const source = target.default.replace("./dist/", "src/").replace(/\.js$/, ".ts")
  sources.set(name + path.slice(1), pathToFileURL(join(root, source)).href)
}

registerHooks({
  resolve: (specifier, context, nextResolve) => {
    const url = sources.get(specifier)
    return url === undefined
      ? nextResolve(specifier, context)
      : { url, format: "module-typescript", shortCircuit: true }
  }
})
