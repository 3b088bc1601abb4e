/**
 * Marks the calls that a module makes while it loads as pure, as Effect's own build does: a bundler then leaves out what
 * they make where nobody uses it. Two kinds of calls are none of these: in a function, for it may never run, and in a
 * statement, for that does something.
 *
 * Lines stay as they are. The columns that source maps tell of what follows a mark are off by its length.
 */
import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { parseSync, Visitor } from "oxc-parser"

const mark = "/*#__PURE__*/"

/** Finds where the calls begin whose values a module keeps in constants and classes. */
const callsOf = (text: string): ReadonlyArray<number> => {
  const starts = new Set<number>()
  let functions = 0
  let kept = 0
  const entered = () => void functions++
  const left = () => void functions--
  const keeps = () => void kept++
  const drops = () => void kept--
  const called = ({ start }: { readonly start: number }) => {
    if (functions === 0 && kept > 0) starts.add(start)
  }
  new Visitor({
    "FunctionDeclaration": entered,
    "FunctionDeclaration:exit": left,
    "FunctionExpression": entered,
    "FunctionExpression:exit": left,
    "ArrowFunctionExpression": entered,
    "ArrowFunctionExpression:exit": left,
    // the fields of an instance are made with it
    "PropertyDefinition": (field) => field.static ? undefined : entered(),
    "PropertyDefinition:exit": (field) => field.static ? undefined : left(),
    "StaticBlock": entered,
    "StaticBlock:exit": left,
    "VariableDeclaration": keeps,
    "VariableDeclaration:exit": drops,
    "ClassDeclaration": keeps,
    "ClassDeclaration:exit": drops,
    "CallExpression": called,
    "NewExpression": called
  }).visit(parseSync("module.js", text).program)
  return [...starts].sort((a, b) => a - b)
}

/** Marks the calls of a module. */
export const marked = (text: string): string => {
  let out = ""
  let done = 0
  for (const start of callsOf(text)) {
    out += text.slice(done, start) + mark
    done = start
  }
  return out + text.slice(done)
}

/** Marks the calls of all modules that tsc has made in a folder. */
export const markPure = async (folder: string): Promise<void> => {
  const entries = await readdir(folder, { recursive: true })
  for (const entry of entries.filter((path) => path.endsWith(".js"))) {
    const path = join(folder, entry)
    await writeFile(path, marked(await readFile(path, "utf8")))
  }
}
