/**
 * What a row leaves behind among the old objects, where only a full collection frees it: nothing that adds up.
 */
import { describe, expect, it } from "@effect/vitest"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { nodeMajor } from "../engine.ts"

const source = (path: string) => new URL(`../../src/${path}`, import.meta.url).href

describe("JobFiles", () => {
  // an older V8 leaves a little more
  it.runIf(nodeMajor >= 24)("leaves nothing of a settled row among the old objects", () => {
    const directory = mkdtempSync(join(tmpdir(), "job-memory-"))
    const script = `
      import * as NodeServices from "@effect/platform-node/NodeServices"
      import { Effect } from "effect"
      import { writeFileSync } from "node:fs"
      import { getHeapSpaceStatistics } from "node:v8"
      import * as Heap from ${JSON.stringify(source("cli/Heap.ts"))}
      import * as JobFiles from ${JSON.stringify(source("job/files/JobFiles.ts"))}
      import * as Input from ${JSON.stringify(source("job/Input.ts"))}
      Heap.steady()
      const line = (n) => JSON.stringify({ custom_id: "row-" + n, body: { model: "m", messages: [{ role: "user", content: "p".repeat(80) }] } })
      const path = process.argv[1]
      writeFileSync(path, Array.from({ length: 24_000 }, (_, n) => line(n)).join("\\n"))
      const old = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === "old_space").space_used_size
      const body = { choices: [{ index: 0, message: { role: "assistant", content: "a".repeat(80) } }] }
      let sent = 0
      let early = 0
      let most = 0
      const send = () => Effect.sync(() => {
        if (++sent === 8_000) {
          gc() // what lives on is old from now on
          early = old()
        }
        if (sent > 8_000 && sent % 500 === 0) most = Math.max(most, old())
        return { status: 200, attempts: 1, body }
      })
      const run = JobFiles.run({ input: Input.file(path), send, durability: "write" })
      await Effect.runPromise(Effect.provide(run, NodeServices.layer))
      console.log(sent, most - early)
    `
    const { stderr, stdout } = spawnSync(process.execPath, [
      "--expose-gc",
      "--input-type=module",
      "-e",
      script,
      join(directory, "in.jsonl")
    ], {
      encoding: "utf8"
    })
    rmSync(directory, { recursive: true })
    expect(stderr).toBe("")
    const [sent, grown] = stdout.split(" ").map(Number)
    expect(sent).toBe(24_000)
    // the tables of the queues' own sets are 175 bytes a row; one object there that refers to its row makes that 400 more
    expect(grown! / 16_000).toBeLessThan(240)
  }, 60_000)
})
