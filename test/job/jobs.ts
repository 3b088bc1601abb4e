/** Small jobs over a disk in memory and a provider that counts what reaches it, on a clock of their own. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { BudgetExceededError, type TogetherError } from "../../src/domain/TogetherError.ts"
import type * as Answer from "../../src/job/Answer.ts"
import type * as Dispatch from "../../src/job/Dispatch.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import type * as Row from "../../src/job/Row.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as MemoryDisk from "./MemoryDisk.ts"

/** Writes a line of the input; its question is its id unless it is given. */
export const line = (id: string, question = id, model = "m"): string =>
  `${JSON.stringify({ custom_id: id, body: { model, messages: [{ role: "user", content: question }] } })}\n`

/** Writes lines with the ids `r1`, `r2`, … */
export const prompts = (count: number): string => numbered(1, count).map((id) => line(id)).join("")

/** Lists the ids of {@link prompts}. */
export const numbered = (from: number, to: number): ReadonlyArray<string> =>
  Array.from({ length: to - from + 1 }, (_, i) => `r${from + i}`)

/** Makes a row without a file. */
export const row: Row.Row = {
  _tag: "Row",
  id: "a",
  line: 1,
  assigned: false,
  operation: "chat",
  model: "m",
  body: { messages: [{ role: "user", content: "Hi" }] },
  extra: undefined
}

/** Refuses what has no price. */
export const unpriced = new BudgetExceededError({
  message: "no price",
  reason: "unknown-price",
  budget: "run",
  limitNanoUsd: 1n,
  neededNanoUsd: 0n,
  remainingNanoUsd: 1n
})

/** Reads the question that a row asks. */
export const questionOf = (row: Row.Row): string =>
  (row.body["messages"] as ReadonlyArray<{ readonly content: string }>)[0]!.content // as `line` writes it

/** Answers a row with its question. */
export const reply = (row: Row.Row): Answer.Reply => ({
  status: 200,
  body: { text: questionOf(row) },
  attempts: 1,
  nanoUsd: 5n
})

/** Makes a provider; it answers everything at once unless told otherwise. `nth` counts how often a row was sent. */
export const provider = (
  answer: (row: Row.Row, nth: number) => Effect.Effect<Answer.Reply, TogetherError> = (row) =>
    Effect.succeed(reply(row))
) => {
  const sent: Array<string> = []
  const counts = new Map<string, number>()
  const cutOff: Array<string> = []
  const send: Dispatch.Send = (row) =>
    Effect.suspend(() => {
      sent.push(row.id)
      const nth = (counts.get(row.id) ?? 0) + 1
      counts.set(row.id, nth)
      return Effect.onInterrupt(answer(row, nth), () => Effect.sync(() => cutOff.push(row.id)))
    })
  return { sent, counts, cutOff, send }
}

/** Makes a disk with an input. */
export const setup = (text: string): Effect.Effect<MemoryDisk.Disk> => {
  const disk = MemoryDisk.make()
  return Effect.as(Effect.orDie(disk.fs.writeFileString("in.jsonl", text)), disk)
}

/** Stops a job after a while, as Ctrl-C does. */
export const stopAfter = (wait: Duration.Input): Effect.Effect<Stop.Stop> =>
  Effect.as(Effect.sleep(wait), Stop.interrupted)

/** Takes from the journal of a disk the lines with a field, as if the process had died before it wrote them. */
export const forget = (disk: MemoryDisk.Disk, field: string) => {
  const path = "in.results.jsonl.journal"
  const left = disk.text(path).split("\n").filter((line) => !line.includes(`"${field}"`))
  return disk.fs.writeFileString(path, left.join("\n"))
}

/** Makes a disk slow: what is appended to a journal is durable after so many milliseconds. */
export const slow = (fs: FileSystem.FileSystem, millis = 3000): FileSystem.FileSystem => ({
  ...fs,
  open: (path, options) =>
    Effect.map(fs.open(path, options), (file) => ({
      ...file,
      sync: path.endsWith(".journal") ? Effect.sleep(millis) : file.sync
    }))
})

/** Fills a disk with the first rows, or other words, that are written to a file. */
export const fullAt = (disk: MemoryDisk.Disk, path: string, words = "response"): MemoryDisk.Disk => ({
  ...disk,
  fs: {
    ...disk.fs,
    open: (opened, options) =>
      Effect.map(disk.fs.open(opened, options), (file) => ({
        ...file,
        writeAll: (bytes: Uint8Array) =>
          Effect.suspend(() => {
            if (opened === path && new TextDecoder().decode(bytes).includes(words)) disk.left = 0
            return file.writeAll(bytes)
          })
      }))
  }
})

/** Says what a job is run with. */
export type Options = Partial<JobFiles.Options<never>> & Pick<JobFiles.Options<never>, "send">

/** Runs a job over the input of a disk. */
export const run = (disk: MemoryDisk.Disk, options: Options) =>
  VirtualClock.wrap(
    JobFiles.run({ input: Input.file("in.jsonl"), concurrency: 4, ...options }).pipe(
      Effect.provideService(FileSystem.FileSystem, disk.fs)
    )
  )

/** Is a row of the results or of the errors. */
export interface OutputRow {
  readonly custom_id: string
  readonly response?: { readonly body: { readonly text: string } }
  readonly error?: { readonly code: string; readonly message: string; readonly attempts?: number }
  readonly line?: number
  readonly tag?: number
}

/** Reads the rows of a file. */
export const rowsOf = (text: string): ReadonlyArray<OutputRow> =>
  text.split("\n").filter((row) => row !== "").map((row) => JSON.parse(row) as OutputRow) // what the job wrote

/** Reads the answered rows. */
export const results = (disk: MemoryDisk.Disk) => rowsOf(disk.text("in.results.jsonl"))

/** Reads the failed rows. */
export const errors = (disk: MemoryDisk.Disk) => rowsOf(disk.text("in.errors.jsonl"))

/** Reads the ids of rows. */
export const ids = (rows: ReadonlyArray<{ readonly custom_id: string }>) => rows.map((row) => row.custom_id)
