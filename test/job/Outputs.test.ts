import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import { execFileSync } from "node:child_process"
import { InvalidRequestError, type TogetherError } from "../../src/domain/TogetherError.ts"
import type * as Answer from "../../src/job/Answer.ts"
import * as FileIdentity from "../../src/job/files/FileIdentity.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Journal from "../../src/job/journal/Journal.ts"
import * as JournalFormat from "../../src/job/journal/JournalFormat.ts"
import * as Report from "../../src/job/Report.ts"
import type * as Row from "../../src/job/Row.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { stopAfter } from "./jobs.ts"
import * as MemoryDisk from "./MemoryDisk.ts"

const line = (id: number) => `${JSON.stringify({ custom_id: `r${id}`, prompt: `question ${id}`, model: "m" })}\n`
const numbered = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `r${from + i}`)
const prompts = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => line(from + i)).join("")

const reply = (row: Row.Row): Answer.Reply => ({
  status: 200,
  body: { text: `answer to ${row.id}` },
  attempts: 1,
  nanoUsd: 5n
})

const answered = (row: Row.Row): Effect.Effect<Answer.Reply, TogetherError> => Effect.succeed(reply(row))
const invalid = new InvalidRequestError({ message: "bad field", status: 400, attempts: 1 })

const idsOf = (text: string) =>
  text.split("\n").filter((each) => each !== "")
    // what the tests read is what the job wrote
    .map((each) => (JSON.parse(each) as { readonly custom_id: string }).custom_id)

type Options = Partial<JobFiles.Options<never>>

const run = (options: Options & Pick<JobFiles.Options<never>, "input">) =>
  JobFiles.run({ send: answered, concurrency: 4, ...options })

const directory = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* fs.makeTempDirectoryScoped()
  yield* fs.writeFileString(`${path}/in.jsonl`, prompts(1, 4))
  return { fs, path, input: Input.file(`${path}/in.jsonl`) }
})

it.layer(NodeServices.layer)("Outputs", (it) => {
  it.effect("takes lines out of the errors that were bad for lack of a model, and puts them back where they are bad again", () =>
    Effect.gen(function*() {
      const { fs, input, path } = yield* directory
      yield* fs.writeFileString(`${path}/in.jsonl`, `{"prompt":"a"}\n${line(2)}not JSON\n{"prompt":"d"}\n`)
      const codes = fs.readFileString(`${path}/in.errors.jsonl`).pipe(
        Effect.map((text) => text.match(/bad_row_\w+/g) ?? [])
      )
      const model = { body: { model: "m" } }
      yield* run({ input })
      expect(yield* codes).toEqual(["bad_row_model", "bad_row_json", "bad_row_model"])
      const second = yield* run({ input, row: model, select: (at) => at < 4 })
      expect(second.report.ok).toBe(1)
      expect(yield* codes).toEqual(["bad_row_json", "bad_row_model"])
      const third = yield* run({ input, row: model })
      expect([third.report.bad, third.written]).toEqual([1, 4])
      expect(yield* codes).toEqual(["bad_row_json"])
      const again = yield* run({ input, row: model })
      expect([again.recovered.bad, again.report.bad, again.written]).toEqual([1, 1, 4])
      expect(yield* codes).toEqual(["bad_row_json"])
      yield* run({ input })
      expect((yield* codes).toSorted()).toEqual(["bad_row_json", "bad_row_model", "bad_row_model"])
    }))

  it.effect("refuses a file that the journal does not name, and one that is the input by another spelling", () =>
    Effect.gen(function*() {
      const { fs, input, path } = yield* directory
      yield* run({ input })
      yield* fs.writeFileString(`${path}/notes.txt`, "precious\n")
      yield* fs.symlink(`${path}/in.jsonl`, `${path}/link.jsonl`)
      yield* fs.link(`${path}/in.jsonl`, `${path}/hard.jsonl`)
      yield* fs.symlink("new.jsonl", `${path}/to-new.jsonl`)
      yield* fs.symlink("round.jsonl", `${path}/round.jsonl`)
      const cases = [
        [{ errors: `${path}/notes.txt` }, "does not name it among the files it has written"],
        [{ results: `${path}/notes.txt`, journalPath: `${path}/in.results.jsonl.journal` }, "does not name it"],
        [{ errors: `${path}/./in.jsonl` }, "for the input and for the errors"],
        [{ errors: `${path}/link.jsonl` }, "for the input and for the errors"],
        [{ results: `${path}/hard.jsonl` }, "for the input and for the results"],
        [{ results: `${path}/new.jsonl`, errors: `${path}//new.jsonl` }, "for the results and for the errors"],
        [{ results: `${path}/to-new.jsonl`, errors: `${path}/new.jsonl` }, "for the results and for the errors"],
        [{ results: `${path}/round.jsonl` }, "ELOOP"]
      ] as const
      for (const [options, message] of cases) {
        const error = yield* Effect.flip(run({ input, ...options }))
        expect([error._tag, error.message]).toEqual(["OutputError", expect.stringContaining(message)])
      }
      expect(yield* fs.readFileString(`${path}/notes.txt`)).toBe("precious\n")
      expect(yield* fs.readFileString(`${path}/in.jsonl`)).toBe(prompts(1, 4))
    }))

  it.effect("refuses a file beside a journal that was begun and has written nothing", () =>
    Effect.gen(function*() {
      const { fs, input, path } = yield* directory
      yield* fs.writeFileString(`${path}/in.results.jsonl.journal`, "")
      yield* fs.writeFileString(`${path}/in.results.jsonl`, "precious\n")
      for (let again = 0; again < 2; again++) {
        const error = yield* Effect.flip(run({ input }))
        expect(error.message).toContain("does not name it")
      }
      expect(yield* fs.readFileString(`${path}/in.results.jsonl`)).toBe("precious\n")
    }))

  it.effect("goes on from a journal that names no files, and from a directory that was moved", () =>
    Effect.gen(function*() {
      const { fs, input, path } = yield* directory
      const journal = `${path}/in.results.jsonl.journal`
      yield* run({ input, send: (row) => row.id === "r2" ? Effect.fail(invalid) : answered(row) })
      const text = yield* fs.readFileString(journal)
      yield* fs.writeFileString(journal, text.split("\n").filter((each) => !each.includes("\"note\"")).join("\n"))
      yield* fs.writeFileString(`${path}/notes.txt`, "precious\n")
      const error = yield* Effect.flip(run({ input, errors: `${path}/notes.txt` }))
      expect(error.message).toContain("does not name it")
      yield* run({ input, retryErrors: true })
      expect(idsOf(yield* fs.readFileString(`${path}/in.results.jsonl`)).sort()).toEqual(numbered(1, 4))
      expect(yield* fs.exists(`${path}/in.errors.jsonl`)).toBe(false)
      yield* fs.rename(path, `${path}-moved`)
      const moved = yield* run({ input: Input.file(`${path}-moved/in.jsonl`) })
      expect([moved.report.resumedOk, moved.written]).toEqual([4, 4])
      yield* fs.rename(`${path}-moved`, path)
    }))

  it.effect("goes on where results are a link to a file that was not there yet", () =>
    Effect.gen(function*() {
      const { fs, input, path } = yield* directory
      yield* fs.makeDirectory(`${path}/big`)
      yield* fs.symlink("big/out.jsonl", `${path}/link.jsonl`)
      for (const time of [1, 2]) {
        const { report, written } = yield* run({ input, results: `${path}/link.jsonl` })
        expect([time, report.ok + report.resumedOk, written]).toEqual([time, 4, 4])
      }
      expect(idsOf(yield* fs.readFileString(`${path}/big/out.jsonl`)).length).toBe(4)
    }))

  it.effect("goes on where journal and results are in different directories and were moved together", () =>
    Effect.gen(function*() {
      const { fs, path } = yield* directory
      const job = (root: string) => {
        const [results, journalPath] = [`${root}/out/r.jsonl`, `${root}/state/deep/j`]
        return run({
          input: Input.file(`${path}/in.jsonl`),
          results,
          journalPath,
          send: (row) => row.id === "r2" ? Effect.fail(invalid) : answered(row)
        })
      }
      for (const made of ["out", "state/deep"]) yield* fs.makeDirectory(`${path}/a/${made}`, { recursive: true })
      yield* job(`${path}/a`)
      yield* fs.rename(`${path}/a`, `${path}/b`)
      const { report, written } = yield* job(`${path}/b`)
      expect([report.resumedOk, report.resumedFailed, written]).toEqual([3, 1, 4])
      // a journal that names what it wrote by whole paths
      const text = yield* fs.readFileString(`${path}/b/state/deep/j`)
      const notes = text.split("\n").filter((each) => !each.includes("\"output\"")).join("\n")
      const real = yield* fs.realPath(`${path}/b/out`)
      const named = ["r.jsonl", "r.errors.jsonl"].map((name) => JournalFormat.encodeNote("output", `${real}/${name}`))
      yield* fs.writeFileString(`${path}/b/state/deep/j`, notes + named.join(""))
      expect((yield* job(`${path}/b`)).written).toBe(4)
    }))

  it.effect("knows its own rows where fields with numbers for names stand first", () =>
    Effect.gen(function*() {
      const { fs, input, path } = yield* directory
      const journal = `${path}/in.results.jsonl.journal`
      yield* fs.writeFileString(`${path}/in.jsonl`, prompts(1, 4).replaceAll("\"model\"", "\"1\":\"column\",\"model\""))
      yield* run({ input, send: (row) => row.id === "r2" ? Effect.fail(invalid) : answered(row) })
      expect((yield* fs.readFileString(`${path}/in.results.jsonl`)).startsWith("{\"1\":\"column\",\"id\"")).toBe(true)
      const text = yield* fs.readFileString(journal)
      yield* fs.writeFileString(journal, text.split("\n").filter((each) => !each.includes("\"note\"")).join("\n"))
      expect((yield* run({ input })).written).toBe(4)
    }))

  it.effect("writes to devices and pipes, and removes neither them nor a link", () =>
    Effect.gen(function*() {
      const { fs, input, path } = yield* directory
      execFileSync("mkfifo", [`${path}/pipe`])
      const reading = yield* Effect.forkChild(fs.readFileString(`${path}/pipe`), { startImmediately: true })
      yield* fs.symlink(`${path}/errors.txt`, `${path}/link`)
      yield* run({ input, results: `${path}/pipe`, journalPath: `${path}/j`, errors: `${path}/link` })
      expect(idsOf(yield* Fiber.join(reading)).sort()).toEqual(numbered(1, 4))
      expect(yield* fs.readLink(`${path}/link`)).toBe(`${path}/errors.txt`)
      const { report, written } = yield* run({
        input,
        results: "/dev/null",
        errors: "/dev/null",
        journalPath: `${path}/k`,
        send: (row) => row.id === "r2" ? Effect.fail(invalid) : answered(row)
      })
      expect([report.ok, report.failed, written]).toEqual([3, 1, 4])
      expect((yield* fs.stat("/dev/null")).type).toBe("CharacterDevice")
      expect(yield* FileIdentity.kindOf(`${path}/pipe`)).toBe("stream")
      expect(yield* FileIdentity.kindOf(path)).toBe("directory")
    }))
})

describe("Outputs", () => {
  const setup = (text: string) =>
    Effect.gen(function*() {
      const disk = MemoryDisk.make()
      yield* disk.fs.writeFileString("in.jsonl", text)
      const job = (options: Options = {}) =>
        VirtualClock.wrap(
          Effect.provideService(
            run({ input: Input.file("in.jsonl"), ...options }),
            FileSystem.FileSystem,
            disk.fs
          )
        )
      return { disk, job, results: () => idsOf(disk.text("in.results.jsonl")) }
    })

  const writer = () => {
    let text = ""
    const results: JobFiles.Writer = { _tag: "Writer", write: (more) => Effect.sync(() => void (text += more)) }
    const ids = () => {
      const found = idsOf(text)
      text = ""
      return found
    }
    return { results, ids }
  }

  describe("in order of the input", () => {
    it.effect("keeps earlier rows outside the selection, answered and failed, each in its place", () =>
      Effect.gen(function*() {
        const { disk, job, results } = yield* setup(prompts(1, 12))
        const send = (row: Row.Row) => row.line % 6 === 0 ? Effect.fail(invalid) : answered(row)
        const part = (from: number, to: number) =>
          job({ send, order: "input", select: (line) => line >= from && line <= to })
        yield* part(5, 8)
        const { written } = yield* part(1, 4)
        expect([written, results()]).toEqual([8, ["r1", "r2", "r3", "r4", "r5", "r7", "r8"]])
        yield* part(9, 12)
        expect(results()).toEqual(numbered(1, 11).filter((id) => id !== "r6"))
        expect(idsOf(disk.text("in.errors.jsonl"))).toEqual(["r6", "r12"])
      }))

    it.effect("holds all that is settled when it is stopped, in a file and on a writer", () =>
      Effect.gen(function*() {
        const { job, results } = yield* setup(prompts(1, 20))
        const send = (row: Row.Row) => Effect.delay(answered(row), row.line === 3 ? 60_000 : 5)
        const stop = stopAfter(500)
        const others = numbered(1, 20).filter((id) => id !== "r3")
        const report = Report.make(0)
        const { written } = yield* job({ send, stop, report, order: "input" })
        expect([results(), written, Report.done(report)]).toEqual([others, 19, 19])
        const again = yield* job({ send, stop, order: "input" })
        expect([again.stop, results().length]).toEqual([Stop.interrupted, 19])
        const out = writer()
        const printed = yield* job({ send, stop, order: "input", results: out.results, journalPath: "j", errors: "e" })
        expect([out.ids(), printed.written]).toEqual([others, 19])
      }))

    it.effect("follows rows that have moved since they were answered", () =>
      Effect.gen(function*() {
        const { disk, job, results } = yield* setup(prompts(1, 9))
        const send = (row: Row.Row) => row.id === "r4" ? Effect.fail(invalid) : answered(row)
        yield* job({ send })
        const moved = [9, 2, 7, 4, 10, 1, 8, 3, 6, 5]
        yield* disk.fs.writeFileString("in.jsonl", moved.map(line).join(""))
        const order = { changed: "keep", order: "input" } as const
        const now = moved.filter((id) => id !== 4).map((id) => `r${id}`)
        yield* job({ ...order, send, retryErrors: true })
        expect(results()).toEqual(now)
        // r10 stays undone, and what is behind it is not left behind
        const stuck = (row: Row.Row) => row.id === "r10" ? Effect.never : send(row)
        const stop = stopAfter(500)
        yield* disk.fs.writeFileString("in.jsonl", prompts(1, 9))
        yield* job({ send, journalPath: "j", results: writer().results, errors: "e" })
        yield* disk.fs.writeFileString("in.jsonl", moved.map(line).join(""))
        const out = writer()
        const { report, written } = yield* job({
          ...order,
          send: stuck,
          stop,
          results: out.results,
          journalPath: "j",
          errors: "e"
        })
        expect([out.ids(), written, Report.done(report)]).toEqual([now.filter((id) => id !== "r10"), 9, 9])
      }))

    it.effect("sorts a file that was deleted while the job ran", () =>
      Effect.gen(function*() {
        const { disk, job, results } = yield* setup(prompts(1, 9))
        const send = (row: Row.Row) =>
          Effect.gen(function*() {
            yield* Effect.sleep(100 - row.line)
            if (row.line === 5) yield* Effect.orDie(disk.fs.remove("in.results.jsonl"))
            return reply(row)
          })
        yield* job({ send, order: "input", concurrency: 9 })
        expect(results()).toEqual(numbered(1, 9))
      }))
  })

  describe("of a stream of rows", () => {
    const bytes = (text: string) => Input.bytes("stdin", Stream.make(new TextEncoder().encode(text)))

    it.effect("hands a writer only rows that the input brings, each once, before and after a change", () =>
      Effect.gen(function*() {
        const { job } = yield* setup("")
        const out = writer()
        const pipe = (text: string, more: Options = {}) =>
          job({ input: bytes(text), results: out.results, journalPath: "j", errors: "e", ...more })
        yield* pipe(prompts(1, 5), { send: (row) => row.id === "r4" ? Effect.fail(invalid) : answered(row) })
        expect(out.ids().sort()).toEqual(["r1", "r2", "r3", "r5"])
        const { report, written } = yield* pipe(prompts(2, 2) + prompts(2, 2) + prompts(11, 12))
        expect([out.ids().sort(), report.resumedOk, report.ok]).toEqual([["r11", "r12", "r2"], 1, 2])
        expect(written).toBeGreaterThanOrEqual(Report.done(report))
        yield* pipe(prompts(4, 5), { retryErrors: true })
        expect(out.ids().sort()).toEqual(["r4", "r5"])
        const changed = prompts(1, 2).replace("question 1", "another question")
        yield* pipe(changed, { changed: "resend" })
        expect(out.ids().sort()).toEqual(["r1", "r2"])
      }))

    it.effect("refuses a stream that begins otherwise than the journal's, unless the change is accepted", () =>
      Effect.gen(function*() {
        const { disk, job } = yield* setup("")
        const pipe = (text: string, hash: string, more: Options = {}) =>
          job({ input: bytes(text), fingerprint: { hash }, results: "r.jsonl", ...more })
        yield* pipe(prompts(1, 3), "a")
        expect((yield* pipe(prompts(1, 4), "a")).report.warnings).toEqual([])
        const error = yield* Effect.flip(pipe(prompts(7, 8), "b"))
        expect(error).toMatchObject({ _tag: "JournalError", reason: "input-changed" })
        expect(error.message).toContain("begins with another line")
        yield* pipe(prompts(7, 8), "b", { changed: "keep" })
        expect(idsOf(disk.text("r.jsonl")).sort()).toEqual(["r1", "r2", "r3", "r4", "r7", "r8"])
      }))
  })

  it.effect("ends a second after the stop where nobody reads the results, and hands them on in the next run", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { disk, job } = yield* setup(prompts(1, 6))
      const stop = stopAfter("30 seconds")
      const paused: JobFiles.Writer = { _tag: "Writer", write: () => Effect.never }
      const files = { journalPath: "j", errors: "e" }
      const unread = run({ input: Input.file("in.jsonl"), ...files, results: paused, stop })
      const [took, error] = yield* Effect.timed(
        Effect.flip(Effect.provideService(unread, FileSystem.FileSystem, disk.fs))
      )
      expect(error).toMatchObject({ _tag: "OutputError", reason: "unread" })
      expect(Duration.toSeconds(took)).toBeCloseTo(31, 0)
      const out = writer()
      const { report } = yield* job({ ...files, results: out.results })
      expect([report.resumedOk, out.ids().sort()]).toEqual([6, numbered(1, 6)])
    })))

  it.effect("notes what a run may have cost beyond its rows, however it ends", () =>
    Effect.gen(function*() {
      const { disk, job } = yield* setup(prompts(1, 3))
      /** A ledger that another job has spent from, and that this one passes `by` at once. */
      const spending = (by: bigint) => {
        let uncertain = 7n
        return Effect.sync(() => {
          const now = { settled: uncertain, uncertain, reserved: 0n }
          uncertain = 7n + by
          return now
        })
      }
      const { uncertainNanoUsd } = yield* job({ spending: spending(40n) })
      expect(uncertainNanoUsd).toBe(40n)
      yield* Effect.exit(job({ spending: spending(2n), retryErrors: true, row: { body: { n: 2 } } }))
      const journal = Effect.provideService(FileSystem.FileSystem, disk.fs)
      const { nanoUsd, uncertainNanoUsd: all } = yield* journal(Journal.peek("in.results.jsonl.journal"))
      expect([nanoUsd, all]).toEqual([15, 42])
      expect((yield* job()).recovered.uncertainNanoUsd).toBe(42)
    }))
})
