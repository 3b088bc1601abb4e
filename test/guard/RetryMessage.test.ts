/**
 * What the compiler says about a retry of foreign errors without a rule, in the words that its user reads.
 */
import { afterAll, describe, expect, it } from "@effect/vitest"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { API, type Diagnostic } from "typescript/unstable/sync"

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..")
mkdirSync(join(root, ".gate"), { recursive: true })
// inside of the repository, so that `effect` is found
const folder = mkdtempSync(join(root, ".gate/types-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

// imported from where they stand: of both packages' indexes the compiler would read all, for the same words
const code = `import type * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Retry from "../../src/guard/retry/Retry.ts"
declare const ask: Effect.Effect<string, Error>
export const last = ask.pipe(Retry.run(Schedule.recurs(2)))
export const first = Retry.run(ask, Schedule.recurs(2))
`

/** Gives a complaint with its reasons, a line each. */
const told = ({ messageChain = [], text }: Diagnostic): string => [text, ...messageChain.map(told)].join("\n")

/** Checks the one file: the rest of the program is only read as far as the file needs it. */
const complaints = (): ReadonlyArray<string> => {
  const [file, config] = [join(folder, "use.ts"), join(folder, "tsconfig.json")]
  writeFileSync(file, code)
  const options = {
    extends: "../../tsconfig.json",
    compilerOptions: { rootDir: "../..", types: [] },
    include: ["*.ts"]
  }
  writeFileSync(config, JSON.stringify(options))
  const compiler = new API()
  try {
    const project = compiler.updateSnapshot({ openProjects: [config] }).getProject(config)
    return project?.program.getSemanticDiagnostics(file).map(told) ?? []
  } finally {
    compiler.close()
  }
}

describe("Retry.run of errors that are not ours", () => {
  it("does not compile, and the message says what to give", () => {
    const [last, first, ...more] = complaints()
    expect(more).toEqual([])
    for (const text of [last, first]) {
      expect(text).toMatch(/'Error' (?:.*\n)*.*required in type 'TogetherErrorElseGiveIsRetryable'/)
      expect(text).not.toContain("StreamError")
    }
  }, 60_000)
})
