/**
 * What the compiler says about a retry of foreign errors without a rule, in the words that its user reads.
 */
import { afterAll, describe, expect, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..")
mkdirSync(join(root, ".gate"), { recursive: true })
// inside of the repository, so that `effect` is found
const folder = mkdtempSync(join(root, ".gate/types-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const code = `import { type Effect, Schedule } from "effect"
import { Retry } from "effect-together"
declare const ask: Effect.Effect<string, Error>
export const last = ask.pipe(Retry.run(Schedule.recurs(2)))
export const first = Retry.run(ask, Schedule.recurs(2))
`

const complaints = (): Promise<ReadonlyArray<string>> => {
  writeFileSync(join(folder, "use.ts"), code)
  const options = { extends: "../../tsconfig.json", compilerOptions: { rootDir: "../.." }, include: ["*.ts"] }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(options))
  const tsc = join(root, "node_modules/typescript/bin/tsc")
  return new Promise((done) =>
    execFile(process.execPath, [tsc, "-p", folder, "--pretty", "false"], (_, output) =>
      // a complaint goes on in lines that are indented
      done(output.split(/\n(?=\S)/).filter((text) => text.includes("use.ts("))))
  )
}

describe("Retry.run of errors that are not ours", () => {
  it("does not compile, and the message says what to give", async () => {
    const [last, first, ...more] = await complaints()
    expect(more).toEqual([])
    for (const text of [last, first]) {
      expect(text).toMatch(/'Error' (?:.*\n)*.*required in type 'TogetherErrorElseGiveIsRetryable'/)
      expect(text).not.toContain("StreamError")
    }
  }, 60_000)
})
