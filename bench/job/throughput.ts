/**
 * Measures a job's throughput and memory: a million rows against a provider in process that answers at once, with the
 * journal on (fsync), from file to file.
 *
 *     node bench/job/throughput.ts [rows]
 *
 * The collector is set as the command sets it (src/cli/Heap.ts) and not otherwise. Prints rows per second, the resident
 * memory at 100,000 rows, at the end and between them, and what the index of ids takes.
 */
import { NodeServices } from "@effect/platform-node"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { createWriteStream, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Heap from "../../src/cli/Heap.ts"
import * as IdIndex from "../../src/job/journal/IdIndex.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Input from "../../src/job/Input.ts"
import * as Report from "../../src/job/Report.ts"

const [count = "1000000", phase = "all", given = ""] = process.argv.slice(2)
const rows = Number(count)
const directory = given === "" ? mkdtempSync(join(tmpdir(), "job-throughput-")) : given
const input = join(directory, "prompts.jsonl")
const results = join(directory, "results.jsonl")

const write = async () => {
  const stream = createWriteStream(input)
  for (let i = 0; i < rows; i++) {
    const body = {
      model: "openai/gpt-oss-20b",
      max_tokens: 64,
      messages: [{
        role: "user",
        content: `Say in one sentence what ${i} is the square of, or that it is not a square.`
      }]
    }
    if (!stream.write(JSON.stringify({ custom_id: `square-${i}`, body }) + "\n")) {
      await new Promise<void>((resolve) => stream.once("drain", () => resolve()))
    }
  }
  await new Promise<void>((resolve) => stream.end(() => resolve()))
}

const megabytes = (bytes: number) => Math.round(bytes / 1e6)

const once = (label: string) => {
  Heap.steady()
  const report = Report.make(Date.now())
  const marks: Array<string> = []
  let peak = 0
  let early = 0
  let late = 0
  const timer = setInterval(() => {
    const { arrayBuffers, external, heapTotal, heapUsed, rss } = process.memoryUsage()
    peak = Math.max(peak, rss)
    if (report.read >= 100_000 && early === 0) early = rss
    if (report.read >= rows * 0.9) late = Math.max(late, rss)
    marks.push(
      `${report.read}: rss ${megabytes(rss)}, heap ${megabytes(heapUsed)} of ${megabytes(heapTotal)}, external ${
        megabytes(external)
      }, buffers ${megabytes(arrayBuffers)}`
    )
  }, 500)
  const answer = {
    status: 200,
    attempts: 1,
    nanoUsd: 1500n,
    usage: { inputTokens: 30, outputTokens: 20, cachedInputTokens: 0, reasoningTokens: 0 },
    body: {
      id: "chatcmpl-0",
      object: "chat.completion",
      model: "openai/gpt-oss-20b",
      choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "It is not a square." } }],
      usage: { prompt_tokens: 30, completion_tokens: 20, total_tokens: 50 }
    }
  }
  const started = performance.now()
  return JobFiles.run({
    input: Input.file(input),
    results,
    report,
    send: () => Effect.succeed(answer)
  }).pipe(
    Effect.provide(NodeServices.layer),
    Effect.runPromise
  ).then(({ report }) => {
    clearInterval(timer)
    const seconds = (performance.now() - started) / 1000
    console.log(`${label}: ${rows} rows in ${seconds.toFixed(1)} s: ${Math.round(rows / seconds)} rows/s`)
    console.log(`  ok ${report.ok}, answered before ${report.resumedOk}`)
    console.log(
      `  RSS at 100k ${megabytes(early)} MB, in the last tenth ${megabytes(late)} MB (${
        megabytes(late - early)
      } MB more), peak ${megabytes(peak)} MB`
    )
    console.log(
      `  memory in MB by rows:\n    ${marks.filter((_, i) => i % Math.ceil(marks.length / 10) === 0).join("\n    ")}`
    )
  })
}

/** Each phase is a process of its own, so that one's memory is not counted in the next. */
const child = (name: string) => {
  const { status } = spawnSync(process.execPath, [import.meta.filename, count, name, directory], {
    stdio: "inherit"
  })
  if (status !== 0) process.exit(status ?? 1)
}

/** Says what the index of ids takes at the rows of the run, and at ten million. */
const index = () => {
  for (const width of [1, 2] as const) {
    const ids = IdIndex.make(width)
    for (const upTo of [rows, 10_000_000]) {
      for (let i = ids.size(); i < upTo; i++) ids.set(`square-${i}`, i + 1)
      console.log(
        `ids of ${upTo} rows${width === 2 ? ", on a resume" : ""}: ${megabytes(ids.bytes())} MB, ${
          (ids.bytes() / upTo).toFixed(1)
        } bytes a row`
      )
    }
  }
}

if (phase === "all") {
  child("write")
  console.log(`input ${megabytes(statSync(input).size)} MB`)
  child("first run")
  console.log(
    `journal ${megabytes(statSync(`${results}.journal`).size)} MB, results ${megabytes(statSync(results).size)} MB`
  )
  child("second run, all rows done")
  child("ids")
  rmSync(directory, { recursive: true })
} else if (phase === "ids") {
  index()
} else if (phase === "write") {
  await write()
} else {
  await once(phase)
}
