import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import { InvalidRequestError } from "../../src/domain/TogetherError.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import type * as Row from "../../src/job/Row.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { ids, line, reply, rowsOf } from "./jobs.ts"
import * as MemoryDisk from "./MemoryDisk.ts"

const invalid = Effect.fail(new InvalidRequestError({ message: "bad field", status: 400, attempts: 1 }))
const answered = (row: Row.Row) => Effect.succeed(reply(row))

/** Makes a disk with the inputs of two jobs, `a` and `b`, that write their errors to one file. */
const setup = Effect.gen(function*() {
  const disk = MemoryDisk.make()
  for (const name of ["a", "b"]) {
    yield* disk.fs.writeFileString(`${name}.jsonl`, [1, 2, 3].map((n) => line(`${name}${n}`)).join(""))
  }
  const job = (name: string, options: Partial<JobFiles.Options<never>> = {}) =>
    JobFiles.run({ input: Input.file(`${name}.jsonl`), errors: "errors.jsonl", send: answered, ...options }).pipe(
      Effect.provideService(FileSystem.FileSystem, disk.fs)
    )
  return { disk, job, errors: () => ids(rowsOf(disk.text("errors.jsonl"))) }
})

const failing = { send: () => invalid }

describe("Claim", () => {
  it.effect("leaves errors alone that another job has written since this one wrote none", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { errors, job } = yield* setup
      yield* job("a")
      yield* job("b", failing)
      const error = yield* Effect.flip(job("a"))
      expect([error._tag, error.message]).toEqual(["OutputError", expect.stringContaining("does not name it")])
      expect(errors()).toEqual(["b1", "b2", "b3"])
    })))

  it.effect("leaves errors alone that another job has written since this one's were removed, or moved away", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { disk, errors, job } = yield* setup
      yield* job("a", failing)
      const changes = [job("a", { retryErrors: true }), job("b", { ...failing, journalPath: "other" })]
      for (const change of changes) {
        yield* Effect.ignore(disk.fs.rename("errors.jsonl", "moved"))
        yield* change
      }
      const error = yield* Effect.flip(job("a"))
      expect([error._tag, error.message]).toEqual(["OutputError", expect.stringContaining("another job has written")])
      expect(errors()).toEqual(["b1", "b2", "b3"])
    })))

  it.effect("makes an edited file again, and removes what a killed run left empty", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { disk, errors, job } = yield* setup
      yield* job("a", failing)
      yield* disk.fs.writeFileString("errors.jsonl", "edited\n")
      yield* job("a")
      expect(errors()).toEqual(["a1", "a2", "a3"])
      yield* job("b", { errors: "others.jsonl" })
      yield* disk.fs.writeFileString("others.jsonl", "")
      yield* job("b", { errors: "others.jsonl" })
      expect(yield* disk.fs.exists("others.jsonl")).toBe(false)
    })))

  it.effect("names each file once, and leaves one that stood there empty", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { disk, job } = yield* setup
      const half = (row: Row.Row) => row.id === "a1" ? answered(row) : invalid
      yield* job("a", { send: half, concurrency: 1 })
      const named = disk.text("a.results.jsonl.journal").split("\n").filter((text) => text.includes("\"output\""))
      expect(named.length).toBe(2)
      yield* disk.fs.writeFileString("others.jsonl", "")
      yield* job("b", { errors: "others.jsonl" })
      expect(yield* disk.fs.exists("others.jsonl")).toBe(true)
    })))

  it.effect("knows a file whose first row a damaged journal has lost", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { disk, errors, job } = yield* setup
      yield* job("a", { ...failing, concurrency: 1 })
      const journal = "a.results.jsonl.journal"
      yield* disk.fs.writeFileString(journal, disk.text(journal).replace("\"id\":\"a1\"", "\"id\":\"a?\""))
      const { recovered } = yield* job("a", { ...failing, concurrency: 1 })
      expect([recovered.damaged.length, errors().toSorted()]).toEqual([1, ["a1", "a2", "a3"]])
    })))

  it.effect("lets one of two jobs that run at once write to a file, from their beginning on", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { disk, errors, job } = yield* setup
      const asked = yield* Deferred.make<void>()
      const first = yield* Effect.forkChild(
        job("a", { send: () => Effect.andThen(Deferred.succeed(asked, undefined), Effect.delay(invalid, "1 minute")) })
      )
      yield* Deferred.await(asked)
      const error = yield* Effect.flip(job("b", failing))
      expect(error).toMatchObject({
        _tag: "OutputError",
        reason: "locked",
        path: expect.stringMatching(/errors.jsonl.lock$/)
      })
      yield* Fiber.join(first)
      expect(errors()).toEqual(["a1", "a2", "a3"])
      expect(yield* disk.fs.exists("errors.jsonl.lock")).toBe(false)
    })))

  it.effect("keeps a journal whose name is that of a file's lock", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { disk, job } = yield* setup
      const error = yield* Effect.flip(job("a", { journalPath: "errors.jsonl.lock" }))
      expect(error).toMatchObject({ _tag: "OutputError", reason: "unwritable", path: "errors.jsonl.lock" })
      expect(disk.text("errors.jsonl.lock")).toContain("\"k\":\"head\"")
    })))

  it.effect("writes nothing more once another process has the file", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { disk, job } = yield* setup
      const send = (row: Row.Row) =>
        Effect.gen(function*() {
          const locks = Array.from(disk.files.keys()).filter((path) => path.endsWith("errors.jsonl.lock"))
          for (const lock of locks) yield* Effect.orDie(disk.fs.writeFileString(lock, "{\"token\":\"another\"}"))
          yield* Effect.sleep("10 seconds")
          return row.id === "a1" ? reply(row) : yield* invalid
        })
      const error = yield* Effect.flip(job("a", { send }))
      expect(error).toMatchObject({ _tag: "OutputError", reason: "lock-lost" })
      expect(yield* disk.fs.exists("errors.jsonl")).toBe(false)
    })))
})
