/**
 * Puts the manual of each module back on top of its declarations.
 *
 * To tsc the comment that opens a module belongs to its first statement. Where that is an import which the declarations
 * do not need, it leaves out both. An editor then shows "see the table above" and no table.
 */
import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"

/** Holds the declarations of a module and their source map. */
export interface Declarations {
  readonly text: string
  readonly map: string
}

/** Finds the comment that opens a module, unless it is that of its first declaration. */
export const headerOf = (source: string): string | undefined =>
  /^(\/\*\*(?:[^*]|\*(?!\/))*\*\/)\n+(?:import|export \*|export (?:type )?\{|\/[*/]|\n)/.exec(source)?.[1]

/** Puts the header of a module before its declarations where it is missing, and moves what their map points to. */
export const withHeader = (source: string, { map, text }: Declarations): Declarations => {
  const header = headerOf(source)
  if (header === undefined || text.startsWith(header)) return { text, map }
  const parsed = JSON.parse(map) as { readonly mappings: string } // as tsc writes it
  // an empty group of mappings for each new line
  const mappings = ";".repeat(header.split("\n").length) + parsed.mappings
  return { text: `${header}\n${text}`, map: JSON.stringify({ ...parsed, mappings }) }
}

/** Does so for all declarations that tsc has made of `from` into `to`. */
export const restoreHeaders = async (from: string, to: string): Promise<void> => {
  const entries = await readdir(to, { recursive: true })
  for (const entry of entries.filter((path) => path.endsWith(".d.ts"))) {
    const path = join(to, entry)
    const source = await readFile(join(from, entry.replace(/\.d\.ts$/, ".ts")), "utf8")
    const before = { text: await readFile(path, "utf8"), map: await readFile(`${path}.map`, "utf8") }
    const after = withHeader(source, before)
    if (after.text === before.text) continue
    await writeFile(path, after.text)
    await writeFile(`${path}.map`, after.map)
  }
}
