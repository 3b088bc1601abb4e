/**
 * Type-checks and runs every TypeScript example of the JSDoc, the docs and the README.
 *
 * An example is a fenced block marked `ts`. It imports as a user would, from
 * `effect`, `effect-together` and `effect-together/testing`.
 *
 * | mark | treatment |
 * | --- | --- |
 * | `ts` | type-checked and run on this Node; every `// =>` is checked |
 * | `ts no-run` | type-checked only |
 * | `ts` with an import of `vitest` or `@effect/vitest` | type-checked and run by vitest |
 *
 * `// =>` after a statement, on its last line or below it, says what the
 * expression's value is, what a `const` holds, or what the statement prints.
 * The value and the text are compared by deep equality of their printed forms.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { join, relative } from "node:path"
import { parseSync } from "oxc-parser"
import { root, run, work } from "./shell.ts"

const folder = join(work, "examples")
const sources = new URL("sources.ts", import.meta.url).href

/** Is one fenced block. */
interface Example {
  /** Path of its file, from the repository's folder. */
  readonly source: string
  /** Line of its first line of code, from 1. */
  readonly line: number
  readonly code: string
  readonly kind: "run" | "check" | "test"
  /** Name of its files, without extension. */
  readonly name: string
}

const filesBelow = async (path: string, extension: string): Promise<ReadonlyArray<string>> => {
  const entries = await readdir(join(root, path), { recursive: true, withFileTypes: true }).catch(() => [])
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort()
}

/** Finds the fenced blocks of a text; in TypeScript, those inside of JSDoc only. */
export const blocksOf = (source: string, text: string): ReadonlyArray<Example> => {
  const inComments = source.endsWith(".ts")
  const fence = inComments ? /^\s*\*\s?(`{3,})(.*)$/ : /^(\s*)?(`{3,})(.*)$/
  const lines = text.split("\n")
  const found: Array<Example> = []
  let open: { readonly marks: string; readonly line: number; readonly code: Array<string> } | undefined
  lines.forEach((raw, index) => {
    const line = inComments ? raw.replace(/^\s*\* ?/, "") : raw
    const isFence = fence.test(raw) && /^\s*`{3,}/.test(line)
    if (open === undefined) {
      if (isFence) open = { marks: line.replace(/^\s*`{3,}/, "").trim(), line: index + 2, code: [] }
      return
    }
    if (!isFence) {
      open.code.push(line)
      return
    }
    const [language, ...marks] = open.marks.split(/\s+/)
    if (language === "ts" || language === "typescript") {
      const code = open.code.join("\n")
      found.push({
        source,
        line: open.line,
        code,
        kind: marks.includes("no-run") ? "check" : /from "(?:@effect\/)?vitest"/.test(code) ? "test" : "run",
        name: `${source.replace(/\.(?:ts|md)$/, "").replace(/[^\w]+/g, "_")}_${open.line}`
      })
    }
    open = undefined
  })
  return found
}

interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
}

const isNode = (u: unknown): u is Node =>
  typeof u === "object" && u !== null && "type" in u && typeof u.type === "string" && "start" in u

const walk = (node: Node, visit: (node: Node) => void): void => {
  visit(node)
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) walk(child, visit)
  }
}

/** Reads an expectation: the text after `// =>` with the comment lines that continue it. */
const expectationAt = (lines: ReadonlyArray<string>, index: number): string => {
  const parts = [(lines[index] ?? "").replace(/^.*?\/\/ => ?/, "")]
  for (let i = index + 1; i < lines.length; i++) {
    const continued = /^\s*\/\/ {2,}(.*)$/.exec(lines[i] ?? "")
    if (continued === null) break
    parts.push(continued[1] ?? "")
  }
  return parts.join("\n").trimEnd()
}

/** Turns the expectations of a block into checks. */
export const instrument = (example: Example): string => {
  const { code } = example
  const lines = code.split("\n")
  const starts: Array<number> = [0]
  for (const line of lines) starts.push((starts[starts.length - 1] ?? 0) + line.length + 1)
  const lineOf = (offset: number): number => starts.findLastIndex((start) => start <= offset)

  const statements: Array<Node> = []
  const parsed = parseSync("example.ts", code)
  if (parsed.errors.length > 0) return code
  walk(parsed.program, (node) => {
    if (node.type === "ExpressionStatement" || node.type === "VariableDeclaration") statements.push(node)
  })

  const edits: Array<{ readonly at: number; readonly text: string }> = []
  lines.forEach((line, index) => {
    if (!/\/\/ =>/.test(line)) return
    const own = /^\s*\/\/ =>/.test(line)
    let target = index
    if (own) {
      do target--
      while (target > 0 && /^\s*(?:\/\/.*)?$/.test(lines[target] ?? ""))
    }
    const ending = statements
      .filter((node) => lineOf(node.end - 1) === target)
      .sort((a, b) => a.end - a.start - (b.end - b.start))
    const statement = ending[0]
    const at = example.line + index
    if (statement === undefined) throw new Error(`${example.source}:${at}: "// =>" follows no statement`)
    const expected = expectationAt(lines, index)
    const evaluable = parseSync("expected.ts", `(${expected}\n)`).errors.length === 0
    const rest = `${evaluable ? `() => (${expected}\n)` : "undefined"}, ${JSON.stringify(expected)}, ${at})`
    const source = code.slice(statement.start, statement.end)
    const isLog = source.startsWith("console.log(")
    if (statement.type === "ExpressionStatement" && !isLog) {
      edits.push({ at: statement.start, text: ";__example.value((" }, { at: statement.end, text: `), ${rest};` })
      return
    }
    const name = /^(?:const|let) (\w+)\b/.exec(source)?.[1]
    edits.push(
      { at: statement.start, text: statement.type === "ExpressionStatement" ? ";__example.mark();" : "" },
      {
        at: statement.end,
        text: statement.type === "ExpressionStatement" || name === undefined
          ? `;__example.printed(${rest};`
          : `;__example.value(${name}, ${rest};`
      }
    )
  })
  let out = code
  for (const edit of edits.sort((a, b) => b.at - a.at)) out = out.slice(0, edit.at) + edit.text + out.slice(edit.at)
  return out
}

const tsconfig = JSON.stringify({
  extends: "../../tsconfig.json",
  compilerOptions: { noUnusedLocals: false, rootDir: "../.." },
  include: ["check"]
})

const vitestConfig = `import { defineConfig } from "vitest/config"
import base from "../../vitest.config.ts"

const { execArgv, experimental } = base.test ?? {}

export default defineConfig({
  test: { root: import.meta.dirname, include: ["test/**/*.test.ts"], testTimeout: 20_000, execArgv, experimental }
})
`

const write = async (examples: ReadonlyArray<Example>): Promise<void> => {
  await rm(folder, { recursive: true, force: true })
  for (const part of ["check", "run", "test"]) await mkdir(join(folder, part), { recursive: true })
  await writeFile(join(folder, "tsconfig.json"), tsconfig)
  await writeFile(join(folder, "vitest.config.ts"), vitestConfig)
  for (const example of examples) {
    // empty lines first, so that a message's line is the line in the example's own file
    const above = "\n".repeat(example.line - 1)
    const moduleMark = /^(?:import|export) /m.test(example.code) ? "" : "\nexport {}"
    await writeFile(join(folder, "check", `${example.name}.ts`), `${above}${example.code}${moduleMark}\n`)
    if (example.kind === "run") {
      await writeFile(join(folder, "run", `${example.name}.ts`), `${above}${instrument(example)}${moduleMark}\n`)
    }
    if (example.kind === "test") {
      await writeFile(join(folder, "test", `${example.name}.test.ts`), `${above}${example.code}\n`)
    }
  }
  await writeFile(
    join(folder, "run.json"),
    JSON.stringify(
      examples.filter((example) => example.kind === "run").map(({ line, name, source }) => ({
        name,
        source,
        line
      }))
    )
  )
}

/** Extracts, type-checks and runs all examples; returns the exit code. */
export const examplesAll = async (): Promise<number> => {
  const files = [...await filesBelow("src", ".ts"), ...await filesBelow("docs", ".md"), "README.md"]
  const examples: Array<Example> = []
  for (const file of files) {
    examples.push(...blocksOf(file, await readFile(join(root, file), "utf8").catch(() => "")))
  }
  await write(examples)
  const count = (kind: Example["kind"]): number => examples.filter((example) => example.kind === kind).length
  process.stdout.write(
    `${examples.length} examples: ${count("run")} to run, ${count("test")} tests, ${
      count("check")
    } to type-check only\n`
  )
  const checked = await run("tsc", ["--noEmit", "-p", join(folder, "tsconfig.json")])
  const ran = await run("node", ["--import", sources, join(root, ".ci", "runExamples.ts"), folder])
  const tested = count("test") === 0
    ? { code: 0 }
    : await run("vitest", ["run", "--config", join(folder, "vitest.config.ts")])
  return checked.code || ran.code || tested.code
}

if (import.meta.main) process.exitCode = await examplesAll()
