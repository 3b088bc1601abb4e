import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import {
  AuthError,
  BudgetExceededError,
  ConnectionError,
  InvalidRequestError,
  ModelUnavailableError,
  ServerError
} from "../../src/domain/TogetherError.ts"
import type * as Answer from "../../src/job/Answer.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Input from "../../src/job/Input.ts"
import * as ResponseCache from "../../src/job/ResponseCache.ts"
import * as Row from "../../src/job/Row.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as jobs from "./jobs.ts"
import { errors, ids, numbered, results, run, setup, stopAfter } from "./jobs.ts"
import * as MemoryDisk from "./MemoryDisk.ts"

const line = (id: number, content = `question ${id}`, model = "m") =>
  JSON.stringify({ custom_id: `r${id}`, body: { model, messages: [{ role: "user", content }] }, tag: id })

const prompts = (count: number) => Array.from({ length: count }, (_, i) => `${line(i + 1)}\n`).join("")

const reply = (row: Row.Row): Answer.Reply => ({
  status: 200,
  body: { text: `answer to ${row.id}` },
  attempts: 1,
  nanoUsd: 5n,
  usage: { inputTokens: 3, outputTokens: 7, cachedInputTokens: 0, reasoningTokens: 0 }
})

type Answering = NonNullable<Parameters<typeof jobs.provider>[0]>

const provider = (answer: Answering = (row) => Effect.succeed(reply(row))) => jobs.provider(answer)

const sorted = (texts: ReadonlyArray<string>) => [...texts].sort()

const serverError = new ServerError({ message: "failed (500)", status: 500, attempts: 8 })
const invalid = new InvalidRequestError({ message: "bad field", status: 400, attempts: 1 })

describe("JobFiles", () => {
  describe("run", () => {
    it.effect("answers every row once and hands the caller's fields through", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(20))
        const { send, sent } = provider()
        const { report, stop, written } = yield* run(disk, { send })
        expect([stop, report.ok, written]).toEqual([undefined, 20, 20])
        expect(sorted(sent)).toEqual(sorted(numbered(1, 20)))
        expect(sorted(ids(results(disk)))).toEqual(sorted(numbered(1, 20)))
        const third = results(disk).find((row) => row.custom_id === "r3")
        expect(third).toMatchObject({ response: { status_code: 200, body: { text: "answer to r3" } }, tag: 3 })
        expect(disk.files.has("in.errors.jsonl")).toBe(false)
        expect(disk.files.has("in.results.jsonl.journal.lock")).toBe(false)
        expect([report.inputTokens, report.outputTokens, report.nanoUsd]).toEqual([60, 140, 100n])
      }))

    it.effect("writes rows as they settle, or in the order of the input", () =>
      Effect.gen(function*() {
        const slowFirst = () => provider((row) => Effect.delay(Effect.succeed(reply(row)), row.id === "r1" ? 5000 : 10))
        const disk = yield* setup(prompts(12))
        yield* run(disk, { send: slowFirst().send })
        expect(ids(results(disk)).at(-1)).toBe("r1")
        const other = yield* setup(prompts(12))
        yield* run(other, { send: slowFirst().send, order: "input" })
        expect(ids(results(other))).toEqual(numbered(1, 12))
      }))

    it.effect("does not read ahead of a slow row by more than the window, with order input", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(40))
        let sentMeanwhile = 0
        const { send, sent } = provider((row) =>
          row.id === "r1"
            ? Effect.as(
              Effect.andThen(Effect.sleep(5000), Effect.sync(() => (sentMeanwhile = sent.length))),
              reply(row)
            )
            : Effect.succeed(reply(row))
        )
        yield* run(disk, { send, order: "input", window: 10 })
        expect(sentMeanwhile).toBeLessThanOrEqual(10)
        expect(ids(results(disk))).toEqual(numbered(1, 40))
      }))

    it.effect("sends nothing when it is run again", () =>
      Effect.gen(function*() {
        for (const order of ["completion", "input"] as const) {
          const disk = yield* setup(prompts(9))
          yield* run(disk, { send: provider().send, order })
          const before = disk.text("in.results.jsonl")
          const again = provider()
          const { report } = yield* run(disk, { send: again.send, order })
          expect(again.sent).toEqual([])
          expect([report.ok, report.resumedOk, report.resumedNanoUsd]).toEqual([0, 9, 45n])
          expect(disk.text("in.results.jsonl")).toBe(before)
        }
      }))

    it.effect("is one clean run after a crash at any byte of journal and results", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        yield* run(disk, { send: provider().send, concurrency: 1 })
        const journal = yield* disk.fs.readFile("in.results.jsonl.journal")
        const whole = disk.text("in.results.jsonl")
        const written = new TextEncoder().encode(whole)
        const text = new TextDecoder().decode(journal)
        const named = text.indexOf("\n", text.indexOf("\"output\"")) + 1
        for (let cut = 0; cut <= journal.length; cut++) {
          // at every byte of a stride, and wherever a line begins or ends
          const near = journal.subarray(Math.max(0, cut - 1), cut + 1).includes(10)
          if (!near && cut % 74 !== 0 && process.env["STEPS"] !== "all") continue
          for (const order of ["completion", "input"] as const) {
            const crashed = yield* setup(prompts(6))
            yield* crashed.fs.writeFile("in.results.jsonl.journal", journal.subarray(0, cut))
            // the results lag behind the journal, which names them first, or are torn themselves
            yield* crashed.fs.writeFile(
              "in.results.jsonl",
              written.subarray(0, Math.max(0, Math.min(written.length, cut - named)))
            )
            const safe = new TextDecoder().decode(journal.subarray(0, cut)).split("\n").slice(0, -1)
              .filter((text) => text.includes("\"k\":\"row\"")).length
            const { send, sent } = provider()
            const { written: rows } = yield* run(crashed, { send, order, concurrency: 1 })
            expect([cut, sent]).toEqual([cut, numbered(safe + 1, 6)])
            expect(crashed.text("in.results.jsonl")).toBe(whole)
            expect(rows).toBe(6)
          }
        }
      }), 60_000)

    it.effect("reports bad lines, duplicates and missing ids with their numbers, and goes on", () =>
      Effect.gen(function*() {
        const text = [
          line(1),
          "{oops",
          line(1),
          JSON.stringify({ prompt: "no id", model: "m" }),
          "",
          JSON.stringify({ custom_id: "r6" }),
          line(7)
        ].join("\n")
        const disk = yield* setup(text)
        const first = provider()
        const { report, written } = yield* run(disk, { send: first.send })
        expect(sorted(first.sent)).toEqual(["line-4", "r1", "r7"])
        expect([report.ok, report.bad, written]).toEqual([3, 3, 6])
        expect(report.duplicates).toEqual({ count: 1, lines: [3] })
        expect(report.missingIds).toEqual({ count: 1, lines: [4] })
        const failures = errors(disk).toSorted((a, b) => a.line! - b.line!)
        expect(failures.map((row) => [row.line, row.error?.code])).toEqual([
          [2, "bad_row_json"],
          [3, "bad_row_duplicate"],
          [6, "bad_row_shape"]
        ])
        expect(failures[1]?.error?.message).toContain("custom_id \"r1\" was used on line 1 already")
        // the bad lines are known to the second run, and are not written twice
        const second = yield* run(disk, { send: provider().send })
        expect([second.report.bad, second.written]).toEqual([3, 6])
        expect(errors(disk).length).toBe(3)
      }))

    it.effect("keeps failed rows apart, and sends them again only when asked to", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(5))
        const failing = provider((row) =>
          row.id === "r2" || row.id === "r4" ? Effect.fail(invalid) : Effect.succeed(reply(row))
        )
        const { report } = yield* run(disk, { send: failing.send })
        expect([report.ok, report.failed]).toEqual([3, 2])
        expect(errors(disk).map((row) => row.error?.code)).toEqual(["invalid_request", "invalid_request"])
        const idle = provider()
        const second = yield* run(disk, { send: idle.send })
        expect([idle.sent, second.report.resumedFailed]).toEqual([[], 2])
        const half = provider((row) => row.id === "r4" ? Effect.fail(invalid) : Effect.succeed(reply(row)))
        const third = yield* run(disk, { send: half.send, retryErrors: true })
        expect(sorted(half.sent)).toEqual(["r2", "r4"])
        expect([third.report.ok, third.report.failed, third.written]).toEqual([1, 1, 5])
        expect(sorted(ids(results(disk)))).toEqual(["r1", "r2", "r3", "r5"])
        expect(ids(errors(disk))).toEqual(["r4"])
      }))

    it.effect("stops at the first failed row when told to", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(30))
        const { send, sent } = provider((row) =>
          row.id === "r3" ? Effect.fail(invalid) : Effect.delay(Effect.succeed(reply(row)), 10)
        )
        const { stop } = yield* run(disk, { send, failFast: true, concurrency: 2 })
        expect(stop).toEqual(Stop.failedRow)
        expect(sent.length).toBeLessThan(8)
      }))

    it.effect("names an empty input, and one that holds no row", () =>
      Effect.gen(function*() {
        for (const text of ["", "\n  \n"]) {
          const disk = yield* setup(text)
          const error = yield* Effect.flip(run(disk, { send: provider().send }))
          expect(error).toMatchObject({ _tag: "InputError", reason: "empty" })
        }
      }))

    it.effect("does not overwrite a file that no journal tells of", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(2))
        yield* disk.fs.writeFileString("in.results.jsonl", "precious\n")
        const { send, sent } = provider()
        const error = yield* Effect.flip(run(disk, { send }))
        expect(error).toMatchObject({ _tag: "OutputError", reason: "unwritable" })
        expect([sent, disk.text("in.results.jsonl")]).toEqual([[], "precious\n"])
      }))

    it.effect("writes results and errors again that were deleted while it ran", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        const { send } = provider((row) =>
          row.id === "r4"
            ? Effect.as(disk.fs.remove("in.results.jsonl").pipe(Effect.orDie), reply(row))
            : row.id === "r5"
            ? Effect.andThen(disk.fs.remove("in.errors.jsonl").pipe(Effect.orDie), Effect.fail(invalid))
            : Effect.succeed(reply(row))
        )
        const { report, written } = yield* run(disk, { send, concurrency: 1 })
        expect(sorted(ids(results(disk)))).toEqual(["r1", "r2", "r3", "r4", "r6"])
        expect(ids(errors(disk))).toEqual(["r5"])
        expect(written).toBe(6)
        expect(report.warnings.join()).toContain("was deleted, replaced or cut while the job ran; it was written again")
      }))

    it.effect.each([4, 6])(
      "writes results again that were cut while it ran, by row %s",
      (row) =>
        Effect.gen(function*() {
          const disk = yield* setup(prompts(6))
          const { send } = provider((asked) =>
            asked.line === row
              ? Effect.as(disk.fs.truncate("in.results.jsonl", 7).pipe(Effect.orDie), reply(asked))
              : Effect.succeed(reply(asked))
          )
          const { report } = yield* run(disk, { send, concurrency: 1 })
          expect(sorted(ids(results(disk)))).toEqual(["r1", "r2", "r3", "r4", "r5", "r6"])
          expect(report.warnings.join()).toContain("cut while the job ran; it was written again")
        })
    )

    it.effect("ends by name when an output cannot be written any more, and writes it again the next time", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        // the journal and the locks are on another disk, which goes on working
        const other = MemoryDisk.make()
        const apart = (path: string) => /\.(journal|lock)/.test(path)
        const fs: FileSystem.FileSystem = {
          ...disk.fs,
          open: (path, options) => apart(path) ? disk.fs.open(path, options) : other.fs.open(path, options),
          writeFile: (path, data, options) =>
            apart(path) || path === "in.jsonl"
              ? disk.fs.writeFile(path, data, options)
              : other.fs.writeFile(path, data, options),
          writeFileString: (path, data, options) =>
            apart(path)
              ? disk.fs.writeFileString(path, data, options)
              : other.fs.writeFileString(path, data, options),
          stat: (path) => apart(path) ? disk.fs.stat(path) : other.fs.stat(path),
          remove: (path, options) => apart(path) ? disk.fs.remove(path, options) : other.fs.remove(path, options)
        }
        yield* other.fs.writeFileString("in.jsonl", prompts(6))
        const { send } = provider((row) =>
          Effect.sync(() => {
            if (row.id === "r4") other.broken = "EIO"
            return reply(row)
          })
        )
        const job = (options: jobs.Options) =>
          VirtualClock.wrap(
            JobFiles.run({ input: Input.file("in.jsonl"), concurrency: 1, ...options }).pipe(
              Effect.provideService(FileSystem.FileSystem, fs)
            )
          )
        const error = yield* Effect.flip(job({ send }))
        expect(error).toMatchObject({ _tag: "OutputError", reason: "unwritable" })
        expect(error.message).toContain("cannot write in.results.jsonl (EIO)")
        other.broken = undefined
        const again = provider()
        yield* job({ send: again.send })
        expect(again.sent).not.toContain("r3")
        expect(sorted(ids(jobs.rowsOf(other.text("in.results.jsonl"))))).toEqual(numbered(1, 6))
      }))

    it.effect("ends by name when the disk is full, and loses nothing that was answered", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(10))
        const { send } = provider((row) =>
          Effect.sync(() => {
            if (row.id === "r5") disk.left = 100
            return reply(row)
          })
        )
        const error = yield* Effect.flip(run(disk, { send, concurrency: 1, fullDiskWait: "3 seconds" }))
        expect(error).toMatchObject({ _tag: "JournalError", reason: "disk-full" })
        disk.left = Infinity
        const again = provider()
        yield* run(disk, { send: again.send })
        expect(sorted(again.sent)).toEqual(sorted(numbered(5, 10)))
        expect(sorted(ids(results(disk)))).toEqual(sorted(numbered(1, 10)))
      }))

    it.effect("waits for space in the results as long as for space in the journal", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        let refusals = 0
        const full = PlatformError.systemError({
          _tag: "Unknown",
          module: "FileSystem",
          method: "write",
          cause: Object.assign(new Error("no space"), { code: "ENOSPC" })
        })
        const fs: FileSystem.FileSystem = {
          ...disk.fs,
          open: (path, options) =>
            Effect.map(disk.fs.open(path, options), (file) => ({
              ...file,
              writeAll: (bytes: Uint8Array) =>
                Effect.suspend(() => {
                  if (path !== "in.results.jsonl" || refusals === 60) return file.writeAll(bytes)
                  refusals++
                  return Effect.fail(full)
                })
            }))
        }
        const { report } = yield* run({ ...disk, fs }, { send: provider().send, fullDiskWait: "2 minutes" })
        expect([report.ok, refusals, ids(results(disk)).length]).toEqual([3, 60, 3])
      }))

    it.effect("goes on when space comes in time", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(10))
        const { send } = provider((row) =>
          Effect.sync(() => {
            if (row.id === "r5") disk.left = 100
            return reply(row)
          })
        )
        const cleaner = Effect.andThen(Effect.sleep("10 seconds"), Effect.sync(() => (disk.left = Infinity)))
        const job = JobFiles.run({ input: Input.file("in.jsonl"), send, concurrency: 2 }).pipe(
          Effect.provideService(FileSystem.FileSystem, disk.fs)
        )
        const [{ report }] = yield* VirtualClock.wrap(Effect.all([job, cleaner], { concurrency: 2 }))
        expect(report.ok).toBe(10)
        expect(disk.refusals).toBeGreaterThan(0)
      }))
  })

  describe("changed input", () => {
    const changed = prompts(4).replace("question 2", "another question")

    it.effect("stops before anything is sent", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        yield* run(disk, { send: provider().send })
        yield* disk.fs.writeFileString("in.jsonl", changed + `${line(5)}\n`)
        const { send, sent } = provider()
        const error = yield* Effect.flip(run(disk, { send }))
        expect(error).toMatchObject({ _tag: "JournalError", reason: "input-changed" })
        expect(sent).toEqual([])
      }))

    it.effect("keeps the answers of changed rows, or sends them again", () =>
      Effect.gen(function*() {
        for (const [how, expected] of [["keep", ["r5"]], ["resend", ["r2", "r5"]]] as const) {
          const disk = yield* setup(prompts(4))
          yield* run(disk, { send: provider().send })
          yield* disk.fs.writeFileString("in.jsonl", changed + `${line(5)}\n`)
          const { send, sent } = provider()
          const { report } = yield* run(disk, { send, changed: how })
          expect(sorted(sent)).toEqual(expected)
          expect(report.warnings.join()).toContain("in.jsonl has changed")
          expect(sorted(ids(results(disk)))).toEqual(sorted(numbered(1, 5)))
        }
      }))

    it.effect("fails the row of an answer that cannot be written, once, and counts what it cost", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        // a plain one is written by Node 26 however deep it nests
        const body = { nested: JSON.parse("[".repeat(100_000) + "]".repeat(100_000)) as unknown, at: new Date(0) }
        const { send } = provider((row) => Effect.succeed(row.line === 2 ? { ...reply(row), body } : reply(row)))
        const cache = yield* Effect.provideService(
          ResponseCache.make({ directory: "cache", target: "t" }),
          FileSystem.FileSystem,
          disk.fs
        )
        const read = Row.parse(line(2), 2)
        if (read._tag === "Row") yield* cache.put(read, body)
        const { report } = yield* run(disk, { send, dedupe: true, cache })
        expect([report.ok, report.failed, report.nanoUsd]).toEqual([2, 1, 15n])
        expect(errors(disk)).toMatchObject([{ custom_id: "r2", line: 2, error: { code: "decode", attempts: 1 } }])
        const again = provider()
        yield* run(disk, { send: again.send })
        expect(again.sent).toEqual([])
      }))

    it.effect("hands a writer, which takes nothing back, one answer for each row", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        let text = ""
        const results: JobFiles.Writer = {
          _tag: "Writer",
          write: (more) => Effect.sync(() => void (text += more))
        }
        const rows = () =>
          text.split("\n").filter((each) => each !== "").map((each) => JSON.parse(each) as jobs.OutputRow)
        yield* run(disk, { send: provider().send, results })
        expect(sorted(ids(rows()))).toEqual(numbered(1, 4))
        yield* disk.fs.writeFileString("in.jsonl", changed + `${line(5)}\n`)
        text = ""
        const { send } = provider((row) =>
          Effect.succeed({ ...reply(row), body: { text: `second answer to ${row.id}` } })
        )
        const { written } = yield* run(disk, { send, results, changed: "resend" })
        expect(rows().map((row) => [row.custom_id, row.response?.body.text]).sort()).toEqual([
          ["r1", "answer to r1"],
          ["r2", "second answer to r2"],
          ["r3", "answer to r3"],
          ["r4", "answer to r4"],
          ["r5", "second answer to r5"]
        ])
        expect(written).toBe(5)
      }))

    it.effect("finds a row that changed though the file did not: other request options", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        yield* run(disk, { send: provider().send })
        const error = yield* Effect.flip(run(disk, { send: provider().send, row: { body: { max_tokens: 9 } } }))
        expect(error).toMatchObject({ _tag: "JournalError", reason: "row-changed" })
        expect(error.message).toContain("line 1 (custom_id \"r1\")")
      }))
  })

  describe("stopping", () => {
    it.effect("stops at a key that is refused, and leaves the rows for the next run", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(50))
        const { send } = provider((row) =>
          row.line > 6 ? Effect.fail(new AuthError({ message: "wrong key", status: 401 })) : Effect.succeed(reply(row))
        )
        const { report, stop } = yield* run(disk, { send, concurrency: 1 })
        expect(stop?._tag).toBe("Refused")
        expect([report.ok, report.failed]).toEqual([6, 0])
        const again = provider()
        yield* run(disk, { send: again.send })
        expect(sorted(again.sent)).toEqual(sorted(numbered(7, 50)))
      }))

    it.effect("waits with rows over the budget until others have settled, then stops", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(10))
        let spent = 0
        let reserved = 0
        const over = new BudgetExceededError({
          message: "over budget",
          budget: "run",
          limitNanoUsd: 100n,
          neededNanoUsd: 40n,
          remainingNanoUsd: 0n
        })
        // reserves 40, costs 10: of 100, seven rows fit in the end, two at a time in the beginning
        const { send } = provider((row) =>
          Effect.suspend(() => {
            if (spent + reserved + 40 > 100) return Effect.fail(over)
            reserved += 40
            return Effect.as(
              Effect.andThen(
                Effect.sleep(100),
                Effect.sync(() => {
                  reserved -= 40
                  spent += 10
                })
              ),
              reply(row)
            )
          })
        )
        const { report, stop } = yield* run(disk, { send })
        expect(stop?._tag).toBe("MaxCost")
        expect([report.ok, report.failed, spent]).toEqual([7, 0, 70])
      }))

    it.effect("takes answers that come within the grace, and leaves the others undone", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(10))
        const { send, sent } = provider((row) =>
          Effect.delay(Effect.succeed(reply(row)), row.line === 1 ? 1500 : 60_000)
        )
        const { report, stop } = yield* run(disk, {
          send,
          concurrency: 3,
          stop: stopAfter(1000),
          grace: "1 second"
        })
        expect(stop).toEqual(Stop.interrupted)
        expect([report.ok, sent.length]).toEqual([1, 3])
        expect(report.endedAt! - report.startedAt).toBe(2000)
        const again = provider()
        yield* run(disk, { send: again.send })
        expect(sorted(again.sent)).toEqual(sorted(numbered(2, 10)))
      }))

    it.effect("stops when the time is over", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(100))
        const { send } = provider((row) => Effect.delay(Effect.succeed(reply(row)), 1000))
        const { report, stop } = yield* run(disk, { send, concurrency: 1, maxTime: "10 seconds", grace: 0 })
        expect(stop).toEqual(Stop.maxTime)
        expect(report.ok).toBeGreaterThanOrEqual(9)
        expect(report.ok).toBeLessThanOrEqual(10)
      }))

    it.effect("leaves no row of an interrupted stream half done", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(10))
        const started = yield* Deferred.make<void>()
        const { send } = provider((row) =>
          row.line === 5
            ? Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
            : Effect.succeed(reply(row))
        )
        yield* Effect.raceFirst(
          JobFiles.run({ input: Input.file("in.jsonl"), send, concurrency: 1 }).pipe(
            Effect.provideService(FileSystem.FileSystem, disk.fs)
          ),
          Deferred.await(started)
        )
        const again = provider()
        yield* run(disk, { send: again.send })
        expect(sorted(again.sent)).toEqual(sorted(numbered(5, 10)))
        expect(sorted(ids(results(disk)))).toEqual(sorted(numbered(1, 10)))
      }))
  })

  describe("clock", () => {
    it.effect("takes no harm when it is set forward by a day, or back by two", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(30))
        let offset = 0
        const { send, sent } = provider((row, nth) =>
          Effect.gen(function*() {
            yield* Effect.sleep(1000)
            if (row.line === 6) offset = 86_400_000
            if (row.line === 16) offset = -2 * 86_400_000
            // the row fails once: as the clock on the wall has it, nobody has answered for a day
            if ((row.line === 6 || row.line === 16) && nth === 1) return yield* serverError
            return reply(row)
          })
        )
        const job = Effect.gen(function*() {
          const clock = yield* Effect.clockWith(Effect.succeed)
          const millis = () => clock.currentTimeMillisUnsafe() + offset
          const nanos = () => clock.currentTimeNanosUnsafe() + BigInt(offset) * 1_000_000n
          const jumping: Clock.Clock = {
            currentTimeMillisUnsafe: millis,
            currentTimeMillis: Effect.sync(millis),
            currentTimeNanosUnsafe: nanos,
            currentTimeNanos: Effect.sync(nanos),
            monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
            monotonicTimeNanos: clock.monotonicTimeNanos,
            sleep: (duration) => clock.sleep(duration)
          }
          return yield* JobFiles.run({ input: Input.file("in.jsonl"), send, concurrency: 1, maxTime: "10 minutes" })
            .pipe(
              Effect.provideService(FileSystem.FileSystem, disk.fs),
              Effect.provideService(Clock.Clock, jumping)
            )
        })
        const { report, stop, written } = yield* VirtualClock.wrap(job)
        expect([stop, report.ok, report.failed, written]).toEqual([undefined, 30, 0, 30])
        expect(report.latency.longest).toBeLessThan(60_000)
        expect(report.endedAt! - report.startedAt).toBeGreaterThan(30_000)
        expect(report.endedAt! - report.startedAt).toBeLessThan(300_000)
        expect(report.timeline.width).toBe(1)
        expect(new Set(sent).size).toBe(30)
        // and the journal is as good as any
        const again = provider()
        yield* run(disk, { send: again.send })
        expect(again.sent).toEqual([])
      }))
  })

  describe("patience", () => {
    it.effect("waits through an outage of the provider and loses no row", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(10))
        let repaired = false
        const { send } = provider((row) =>
          Effect.suspend(() => row.line >= 5 && !repaired ? Effect.fail(serverError) : Effect.succeed(reply(row)))
        )
        const repair = Effect.andThen(
          Effect.sleep("9 minutes"),
          Effect.sync(() => {
            repaired = true
          })
        )
        const job = JobFiles.run({ input: Input.file("in.jsonl"), send, concurrency: 2 }).pipe(
          Effect.provideService(FileSystem.FileSystem, disk.fs)
        )
        const [{ report, stop }] = yield* VirtualClock.wrap(Effect.all([job, repair], { concurrency: 2 }))
        expect([stop, report.ok, report.failed]).toEqual([undefined, 10, 0])
      }))

    it.effect("gives a row up that fails while others are answered", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(60))
        const { counts, send } = provider((row) =>
          row.line === 1 ? Effect.fail(serverError) : Effect.delay(Effect.succeed(reply(row)), 1000)
        )
        const { report } = yield* run(disk, { send, concurrency: 2 })
        expect([report.ok, report.failed]).toEqual([59, 1])
        // once while nobody knew better, then `rounds` times more while others were answered
        expect(counts.get("r1")).toBeGreaterThanOrEqual(3)
        expect(counts.get("r1")).toBeLessThanOrEqual(6)
      }))

    it.effect("stops at an address where nobody ever answers", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(20))
        const gone = new ConnectionError({ message: "connection refused", permanent: false })
        const { report, stop } = yield* run(disk, { send: provider(() => Effect.fail(gone)).send })
        expect(stop?._tag).toBe("Unreachable")
        expect([report.ok, report.failed]).toEqual([0, 0])
        expect((report.endedAt! - report.startedAt) / 1000).toBeLessThan(120)
        const wrong = new ConnectionError({ message: "no such host", permanent: true })
        const other = yield* setup(prompts(20))
        const { sent, send } = provider(() => Effect.fail(wrong))
        expect((yield* run(other, { send })).stop?._tag).toBe("Unreachable")
        expect(sent.length).toBeLessThanOrEqual(4)
      }))

    it.effect("does not send all rows of a model that refuses them alike", () =>
      Effect.gen(function*() {
        const text = Array.from({ length: 200 }, (_, i) => `${line(i + 1, "q", i % 2 === 0 ? "good" : "gone")}\n`).join(
          ""
        )
        const disk = yield* setup(text)
        const missing = new ModelUnavailableError({ message: "not serverless", status: 400 })
        const { send } = provider((row) => row.model === "gone" ? Effect.fail(missing) : Effect.succeed(reply(row)))
        const { abandoned, report } = yield* run(disk, { send, concurrency: 1 })
        expect([report.ok, report.failed, abandoned.get("gone")?.rows]).toEqual([100, 20, 80])
        expect(report.warnings.join()).toContain("80 rows of gone were not sent")
      }))
  })

  describe("dedupe", () => {
    it.effect("sends identical requests once, in this run and across runs", () =>
      Effect.gen(function*() {
        const same = (from: number, to: number) =>
          Array.from({ length: to - from + 1 }, (_, i) => `${line(from + i, "the same")}\n`).join("")
        const disk = yield* setup(same(1, 8))
        const first = provider((row) => Effect.delay(Effect.succeed(reply(row)), 100))
        const { report } = yield* run(disk, { send: first.send, dedupe: true })
        expect([first.sent.length, report.twins, report.ok]).toEqual([1, 7, 8])
        const texts = new Set(results(disk).map((row) => row.response?.body.text))
        expect([texts.size, results(disk).length]).toEqual([1, 8])
        yield* disk.fs.writeFileString("in.jsonl", same(1, 10))
        const second = provider()
        yield* run(disk, { send: second.send, dedupe: true, changed: "keep" })
        expect(second.sent).toEqual([])
        expect(results(disk).length).toBe(10)
      }))

    it.effect("sends the next twin itself where the first one failed", () =>
      Effect.gen(function*() {
        const disk = yield* setup([1, 2, 3].map((id) => `${line(id, "the same")}\n`).join(""))
        const { send, sent } = provider((row) => row.id === "r1" ? Effect.fail(invalid) : Effect.succeed(reply(row)))
        const { report } = yield* run(disk, { send, dedupe: true })
        expect([sent, report.ok, report.failed]).toEqual([["r1", "r2"], 2, 1])
      }))
  })

  describe("cache", () => {
    it.effect("takes answers of another job, at no cost", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const cache = yield* Effect.provideService(
          ResponseCache.make({ directory: "cache", target: "t" }),
          FileSystem.FileSystem,
          disk.fs
        )
        yield* run(disk, { send: provider().send, cache })
        yield* disk.fs.writeFileString("in.jsonl", prompts(5).replaceAll("custom_id\":\"r", "custom_id\":\"x"))
        const { send, sent } = provider()
        const { report } = yield* run(disk, { send, cache, results: "other.jsonl" })
        expect(sorted(sent)).toEqual(["x4", "x5"])
        expect([report.cached, report.ok, report.nanoUsd]).toEqual([3, 5, 10n])
        expect(jobs.rowsOf(disk.text("other.jsonl")).find((row) => row.custom_id === "x1")?.response?.body.text).toBe(
          "answer to r1"
        )
      }))

    it.effect("hands no answer to a job that asks somebody else", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(2))
        const cacheOf = (target: string) =>
          Effect.provideService(ResponseCache.make({ directory: "cache", target }), FileSystem.FileSystem, disk.fs)
        yield* run(disk, { send: provider().send, cache: yield* cacheOf("emulator"), results: "one.jsonl" })
        const other = provider()
        yield* run(disk, { send: other.send, cache: yield* cacheOf("https://one/v1"), results: "two.jsonl" })
        expect(sorted(other.sent)).toEqual(["r1", "r2"])
        const same = provider()
        yield* run(disk, { send: same.send, cache: yield* cacheOf("https://one/v1"), results: "three.jsonl" })
        expect(same.sent).toEqual([])
      }))

    it.effect("goes on where answers cannot be kept, and says so once", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const refused = PlatformError.systemError({
          _tag: "PermissionDenied",
          module: "FileSystem",
          method: "makeDirectory"
        })
        const cache: ResponseCache.ResponseCache = { get: () => Effect.undefined, put: () => Effect.fail(refused) }
        const { report } = yield* run(disk, { send: provider().send, cache })
        expect([report.ok, report.warnings]).toEqual([
          3,
          ["answers could not be kept in the cache (PermissionDenied): another job will send the same requests again"]
        ])
      }))
  })
})
