import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Journal from "../../src/job/journal/Journal.ts"
import * as Lock from "../../src/job/files/Lock.ts"
import * as Format from "../../src/job/journal/JournalFormat.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as MemoryDisk from "./MemoryDisk.ts"

const meta = (n: number, ok = true): Format.Meta => ({
  id: `row-${n}`,
  n,
  ok,
  h: n,
  a: 1,
  ms: 5,
  in: 10,
  out: 20,
  nano: 3
})
const answer = (n: number) => JSON.stringify({ custom_id: `row-${n}`, text: "§".repeat(n % 7) })

const directory = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped())

const onDisk = (disk: MemoryDisk.Disk) => Effect.provideService(FileSystem.FileSystem, disk.fs)

const open = (path: string, more: Partial<Journal.Options> = {}) =>
  Journal.open({ path, input: { path: "in.jsonl", fingerprint: { bytes: 1, hash: "a" } }, ...more })

const fill = (path: string, from: number, to: number, durability: "sync" | "write" = "sync") =>
  Effect.scoped(Effect.gen(function*() {
    const journal = yield* open(path, { durability })
    for (let n = from; n <= to; n++) yield* journal.append(meta(n, n % 5 !== 0), answer(n))
  }))

const settled = (path: string, more: Partial<Journal.Options> = {}) =>
  Effect.scoped(Effect.gen(function*() {
    const journal = yield* open(path, more)
    const rows = yield* Stream.runCollect(journal.settled)
    return { journal, rows, recovered: journal.recovered }
  }))

describe("JournalFormat", () => {
  it("reads back what it wrote", () => {
    const rows = [meta(1), { ...meta(2, false), tag: "ServerError" }]
    for (const each of rows) {
      for (const bad of [true, false]) {
        const text = "{\"a\":\"x,\\\"answer\\\":1\"}"
        expect(Format.decode(Format.encodeRow(each, text, bad).trimEnd())).toMatchObject({
          _tag: "Row",
          bad,
          meta: each,
          answer: text
        })
      }
    }
    expect(Format.decode(Format.encodeHead({ v: 1, input: { path: "p" } }).trimEnd())).toEqual({
      _tag: "Head",
      head: { v: 1, input: { path: "p" } }
    })
    expect(Format.decode(Format.encodeNote("batch", { id: 1 }).trimEnd())).toEqual({
      _tag: "Note",
      name: "batch",
      value: { id: 1 },
      sums: {}
    })
  })

  it("finds any changed character, any cut and any zeroed stretch", () => {
    const line = Format.encodeRow(meta(1), answer(1), false).trimEnd()
    expect(Format.decode(line)).toBeDefined()
    for (let at = 0; at < line.length; at++) {
      expect(Format.decode(line.slice(0, at))).toBeUndefined()
      expect(Format.decode(`${line.slice(0, at)}${line[at] === "!" ? "?" : "!"}${line.slice(at + 1)}`)).toBeUndefined()
      expect(Format.decode(line.slice(0, at) + "\u0000".repeat(line.length - at))).toBeUndefined()
    }
  })

  it("keeps an id that looks like the marker of the answer", () => {
    const id = "x\",\"answer\":{\"y\":1}"
    const record = Format.decode(Format.encodeRow({ ...meta(1), id }, "{}", false).trimEnd())
    expect(record).toMatchObject({ meta: { id }, answer: "{}" })
  })
})

it.layer(NodeServices.layer)("Journal", (it) => {
  it.effect("knows after opening what was done, and counts it", () =>
    Effect.gen(function*() {
      const path = `${yield* directory}/j`
      yield* fill(path, 1, 10)
      const { journal, recovered, rows } = yield* settled(path)
      expect(recovered).toMatchObject({
        ok: 8,
        failed: 2,
        attempts: 10,
        inputTokens: 100,
        outputTokens: 200,
        nanoUsd: 30,
        tornBytes: 0
      })
      expect(rows.map((row) => row.answer)).toEqual(Array.from({ length: 10 }, (_, i) => answer(i + 1)))
      expect(journal.known("row-4")).toEqual({ _tag: "Done", ok: true, ordinal: 4, hash: 4 })
      expect(journal.known("row-5")).toMatchObject({ ok: false })
      expect(journal.known("row-11")).toEqual({ _tag: "New" })
    }))

  it.effect("recovers from a cut at every byte: whole lines are kept, the torn one is cut off", () =>
    Effect.gen(function*() {
      const disk = MemoryDisk.make()
      yield* Effect.gen(function*() {
        yield* fill("whole", 1, 4)
        const bytes = yield* disk.fs.readFile("whole")
        // every third byte of the head and of the last line, fewer of the lines between, and all where lines begin and end
        const last = bytes.lastIndexOf(10, bytes.length - 2)
        const near = (at: number) => bytes.subarray(Math.max(0, at - 2), at + 2).includes(10)
        for (let length = 0; length <= bytes.length; length++) {
          const between = length > bytes.indexOf(10) + 2 && length < last
          if (!near(length) && process.env["STEPS"] !== "all" && length % (between ? 23 : 3) !== 0) continue
          yield* disk.fs.writeFile("cut", bytes.subarray(0, length))
          const kept = Math.max(0, bytes.subarray(0, length).filter((byte) => byte === 10).length - 1)
          const { recovered, rows } = yield* settled("cut")
          expect([length, rows.length, recovered.ok + recovered.failed]).toEqual([length, kept, kept])
          // appending after the recovery gives the same journal, without a scar
          yield* fill("cut", kept + 1, 4)
          expect(disk.text("cut")).toBe(disk.text("whole"))
        }
      }).pipe(onDisk(disk))
    }))

  it.effect("skips a damaged line further up and names it", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = "j"
      yield* fill(path, 1, 4)
      const text = yield* fs.readFileString(path)
      yield* fs.writeFileString(path, text.replace("row-2", "row-X"))
      const { journal, recovered } = yield* settled(path)
      expect(recovered.damaged).toEqual([3])
      expect(journal.known("row-2")._tag).toBe("New")
      expect(journal.known("row-3")._tag).toBe("Done")
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("counts what a damaged line cost, as the lines after it tell", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = "j"
      const write = (from: number, to: number) =>
        Effect.scoped(Effect.gen(function*() {
          const journal = yield* open(path)
          for (let n = from; n <= to; n++) {
            yield* journal.note("uncertain", 100)
            yield* journal.append({ ...meta(n), nano: 10 ** n, besides: -40 }, answer(n))
          }
        }))
      yield* write(1, 2)
      yield* write(3, 4)
      const whole = yield* fs.readFileString(path)
      const lines = whole.split("\n")
      const last = lines.length - 2
      for (let line = 1; line < last; line++) {
        yield* fs.writeFileString(path, lines.map((text, at) => at === line ? text.slice(1) : text).join("\n"))
        const { damaged, nanoUsd, uncertainNanoUsd } = (yield* settled(path)).recovered
        expect([damaged, nanoUsd]).toEqual([[line + 1], 11_110])
        // it may only be too much: what a damaged line took back
        expect([240, 280]).toContain(uncertainNanoUsd)
      }
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("counts no cost below zero where an earlier version noted it, and the note that raised it is damaged", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      yield* fill("j", 1, 1)
      const notes = [900, -800, 300].map((by) => Format.encodeNote("uncertain", by))
      const text = `${yield* fs.readFileString("j")}${notes.join("")}`
      yield* fs.writeFileString("j", text)
      expect((yield* settled("j")).recovered.uncertainNanoUsd).toBe(400)
      yield* fs.writeFileString("j", text.replace("900", "9#0"))
      const { damaged, uncertainNanoUsd } = (yield* settled("j")).recovered
      expect([damaged, uncertainNanoUsd]).toEqual([[3], 300])
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("takes the latest record of a row", () =>
    Effect.gen(function*() {
      const path = "j"
      yield* fill(path, 5, 5)
      yield* Effect.scoped(Effect.flatMap(open(path), (journal) => journal.append(meta(5), "{\"late\":1}")))
      const { recovered, rows } = yield* settled(path)
      expect(rows.map((row) => row.answer)).toEqual(["{\"late\":1}"])
      expect(recovered).toMatchObject({ ok: 1, failed: 0 })
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("reads an answer back by its ordinal, of this run and of an earlier one", () =>
    Effect.gen(function*() {
      const path = "j"
      yield* fill(path, 1, 3)
      yield* Effect.scoped(Effect.gen(function*() {
        const journal = yield* open(path, { offsets: true })
        const ordinal = yield* journal.append(meta(4), answer(4))
        expect(ordinal).toBe(4)
        expect(yield* journal.answerAt(2)).toBe(answer(2))
        expect(yield* journal.answerAt(4)).toBe(answer(4))
      }))
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("refuses a changed input, unless the change is accepted; bad lines are judged anew then", () =>
    Effect.gen(function*() {
      const path = "j"
      const key = Journal.badKey(3, 9)
      yield* Effect.scoped(
        Effect.flatMap(open(path), (journal) => journal.append({ ...meta(3, false), id: key }, "{}", true))
      )
      const input = { path: "in.jsonl", fingerprint: { bytes: 2, hash: "b" } }
      const error = yield* Effect.flip(Effect.scoped(open(path, { input })))
      expect(error.reason).toBe("input-changed")
      expect(error.message).toContain("in.jsonl has changed since its journal was begun (1 bytes then, 2 now)")
      const { journal, recovered, rows } = yield* settled(path, { input, acceptChange: true })
      expect(recovered).toMatchObject({ inputChanged: true, bad: 0 })
      expect(rows).toEqual([])
      expect(journal.known(key)._tag).toBe("New")
      // the new input is the journal's from now on
      expect((yield* settled(path, { input })).recovered.inputChanged).toBe(false)
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("tells an emulator's answers from a provider's, and one provider's from another's", () =>
    Effect.gen(function*() {
      const [one, other] = ["https://one/v1", "https://other/v1"]
      const reopen = (path: string, target: string, acceptChange = false) =>
        Effect.scoped(open(path, { target, acceptChange }))
      const reason = (path: string, target: string, acceptChange = false) =>
        Effect.map(Effect.flip(reopen(path, target, acceptChange)), (error) => error.reason)
      const begin = (path: string, target: string) =>
        Effect.scoped(Effect.flatMap(open(path, { target }), (journal) => journal.append(meta(1), answer(1))))
      yield* begin("real", one)
      expect(yield* reason("real", other)).toBe("target-changed")
      for (const accepted of [false, true]) expect(yield* reason("real", Journal.emulator, accepted)).toBe("emulated")
      yield* reopen("real", other, true)
      // from now on it is the other's
      yield* reopen("real", other)
      expect(yield* reason("real", one)).toBe("target-changed")
      yield* begin("made-up", Journal.emulator)
      const error = yield* Effect.flip(reopen("made-up", one, true))
      expect(error.message).toContain(`made-up holds answers of an emulator, and this run would ask ${one}`)
      // a journal of before knows no target, until it is opened with one
      yield* fill("old", 1, 2)
      yield* reopen("old", one)
      expect(yield* reason("old", Journal.emulator)).toBe("emulated")
      expect((yield* settled("old")).rows.length).toBe(2)
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("goes on with another input and another provider where it holds nothing", () =>
    Effect.gen(function*() {
      const filled = { path: "in.jsonl", fingerprint: { bytes: 9, hash: "b" } }
      const reopen = (path: string) =>
        settled(path, { input: filled, target: "https://one/v1" }).pipe(
          Effect.map(({ recovered }) => recovered.inputChanged),
          Effect.catch((error) => Effect.succeed(error.reason))
        )
      yield* settled("blank", { target: Journal.emulator })
      expect(yield* reopen("blank")).toBe(false)
      yield* fill("row", 1, 1)
      expect(yield* reopen("row")).toBe("input-changed")
      for (const name of ["batch", "uncertain"]) {
        yield* Effect.scoped(Effect.flatMap(open(name), (journal) => journal.note(name, 5)))
        expect([name, yield* reopen(name)]).toEqual([name, "input-changed"])
      }
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("works under a lock that its caller holds", () =>
    Effect.gen(function*() {
      const lock = yield* Lock.acquire(yield* Journal.lockOf("j"), { heartbeat: "10 millis" })
      const { rows } = yield* settled("j", { lock })
      expect(rows).toEqual([])
      expect(yield* Effect.exit(settled("j", { heartbeat: "10 millis" }))).toMatchObject({ _tag: "Failure" })
    }).pipe(Effect.scoped, TestClock.withLive, onDisk(MemoryDisk.make())))

  it.effect("knows an id that begins as the key of a bad line does, after the input has changed, too", () =>
    Effect.gen(function*() {
      const id = "\u0000a"
      yield* Effect.scoped(Effect.flatMap(open("j"), (journal) => journal.append({ ...meta(1), id }, "{}")))
      const input = { path: "in.jsonl", fingerprint: { bytes: 2, hash: "b" } }
      const { journal } = yield* settled("j", { input, acceptChange: true })
      expect(journal.known(id)).toMatchObject({ _tag: "Done", ok: true })
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("reads rows in any order, short and long, with few readings where they follow on each other", () => {
    const disk = MemoryDisk.make()
    let readings = 0
    const counting: FileSystem.FileSystem = {
      ...disk.fs,
      open: (path, options) =>
        Effect.map(disk.fs.open(path, options), (file) => ({
          ...file,
          read: (buffer, at) => {
            readings++
            return file.read(buffer, at)
          }
        }))
    }
    const text = (n: number) => JSON.stringify({ n, text: "é".repeat(n % 50 === 0 ? 40_000 : n) })
    return Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        const journal = yield* open("j", { offsets: true })
        yield* Effect.forEach(Array.from({ length: 400 }, (_, i) => i + 1), (n) => journal.append(meta(n), text(n)), {
          concurrency: 100
        })
        // what is appended after it was read ahead of is read, too
        const last = yield* journal.answerAt(400)
        yield* journal.append(meta(401), text(401))
        expect([last, yield* journal.answerAt(401)]).toEqual([text(400), text(401)])
      }))
      yield* Effect.scoped(Effect.gen(function*() {
        const journal = yield* open("j", { offsets: true })
        readings = 0
        for (let n = 1; n <= 401; n++) expect((yield* journal.entryAt(n)).answer).toBe(text(n))
        expect(readings).toBeLessThan(40)
        for (let n = 401; n >= 1; n -= 7) expect((yield* journal.entryAt(n)).answer).toBe(text(n))
      }))
    }).pipe(Effect.provideService(FileSystem.FileSystem, counting))
  })

  it.effect("does not touch a file that is no journal, nor one of another version", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = "j"
      yield* fs.writeFileString(path, "dear diary\n")
      expect((yield* Effect.flip(Effect.scoped(open(path)))).reason).toBe("not-a-journal")
      expect(yield* fs.readFileString(path)).toBe("dear diary\n")
      yield* fs.writeFileString(path, Format.encodeHead({ v: 99, input: { path: "p" } }))
      expect((yield* Effect.flip(Effect.scoped(open(path)))).reason).toBe("version")
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("keeps a line that is larger than its buffer, and those around it", () =>
    Effect.gen(function*() {
      const large = JSON.stringify({ text: "é".repeat(300_000) })
      yield* Effect.scoped(Effect.gen(function*() {
        const journal = yield* open("j")
        yield* Effect.forEach([answer(1), large, answer(3)], (text, at) => journal.append(meta(at + 1), text), {
          concurrency: "unbounded"
        })
      }))
      expect((yield* settled("j")).rows.map((row) => row.answer)).toEqual([answer(1), large, answer(3)])
    }).pipe(onDisk(MemoryDisk.make())))

  it.effect("names a journal that cannot be written any more, and one that changed under its hands", () => {
    const disk = MemoryDisk.make()
    return Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Effect.gen(function*() {
        const journal = yield* open("j", { offsets: true })
        yield* journal.append(meta(1), answer(1))
        yield* disk.fs.writeFileString("j", "something else\n".repeat(40))
        return yield* journal.answerAt(1)
      })))
      expect(error.message).toContain("changed while it was in use: its row 1 cannot be read any more")
      const broken = MemoryDisk.make()
      const failing = yield* Effect.flip(
        Effect.scoped(Effect.gen(function*() {
          const journal = yield* open("j")
          broken.broken = "EIO"
          yield* journal.append(meta(1), answer(1))
        })).pipe(onDisk(broken))
      )
      expect(failing).toMatchObject({ reason: "unwritable" })
      expect(failing.message).toContain("cannot write j (EIO). Every answer written before is safe")
    }).pipe(onDisk(disk))
  })

  it.effect("says that a directory is missing", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(open("/nowhere/at/all/j")))
      expect(error.reason).toBe("unwritable")
    }))

  describe("on a full disk", () => {
    it.effect("waits for space with the answers in memory, and then goes on without a scar", () =>
      Effect.gen(function*() {
        const disk = MemoryDisk.make()
        const job = Effect.scoped(Effect.gen(function*() {
          const journal = yield* open("j", { fullDiskWait: "30 seconds", fullDiskEvery: "1 second" })
          disk.left = 300
          for (let n = 1; n <= 10; n++) yield* journal.append(meta(n), answer(n))
        }))
        const fiber = yield* Effect.forkChild(onDisk(disk)(job))
        yield* TestClock.adjust("20 seconds")
        expect(disk.refusals).toBeGreaterThan(15)
        disk.left = Infinity
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(fiber)
        const { recovered, rows } = yield* onDisk(disk)(settled("j"))
        expect(rows.length).toBe(10)
        expect(recovered).toMatchObject({ tornBytes: 0, damaged: [] })
      }))

    it.effect("fails every waiting append by name when no space comes; what was durable stays", () =>
      Effect.gen(function*() {
        const disk = MemoryDisk.make()
        let durable = 0
        const error = yield* Effect.flip(
          Effect.scoped(Effect.gen(function*() {
            const journal = yield* open("j", { fullDiskWait: 0 })
            disk.left = 400
            for (let n = 1; n <= 10; n++) {
              yield* journal.append(meta(n), answer(n))
              durable = n
            }
          })).pipe(onDisk(disk))
        )
        expect(error).toMatchObject({ _tag: "JournalError", reason: "disk-full" })
        expect(error.message).toContain("Every answer written before is safe")
        expect(durable).toBeGreaterThan(0)
        disk.left = Infinity
        const { recovered, rows } = yield* onDisk(disk)(settled("j"))
        expect(rows.length).toBe(durable)
        expect(recovered.tornBytes).toBe(0)
      }))
  })

  describe("where something dies that writes it", () => {
    const bug = new Error("a bug")

    it.effect.each<[string, number, Partial<FileSystem.File>]>([
      ["the file", Infinity, { writeAll: () => Effect.die(bug) }],
      ["its sync", Infinity, { sync: Effect.die(bug) }],
      ["who hears of a full disk", 0, {}]
    ])("fails every waiting and later append with the cause: %s", ([, left, changes]) =>
      Effect.gen(function*() {
        const disk = MemoryDisk.make()
        let healthy = true
        const fs: FileSystem.FileSystem = {
          ...disk.fs,
          open: (path, options) =>
            Effect.map(disk.fs.open(path, options), (file) => {
              const dying = { ...file, ...changes }
              return {
                ...file,
                sync: Effect.suspend(() => (healthy ? file : dying).sync),
                writeAll: (bytes: Uint8Array) => Effect.suspend(() => (healthy ? file : dying).writeAll(bytes))
              }
            })
        }
        const exits = yield* Effect.scoped(Effect.gen(function*() {
          const journal = yield* open("j", {
            onFullDisk: () => {
              throw bug
            }
          })
          healthy = false
          disk.left = left
          const append = (n: number) => Effect.exit(journal.append(meta(n), answer(n)))
          const first = yield* Effect.all([append(1), append(2)], { concurrency: 2 })
          return [...first, yield* append(3), yield* Effect.exit(journal.flush)]
        })).pipe(Effect.provideService(FileSystem.FileSystem, fs))
        expect(exits).toEqual(exits.map(() => Exit.die(bug)))
      }))
  })

  describe("lock", () => {
    const owner = { pid: 1, host: "h" }
    const other = { pid: 2, host: "h" }

    it.effect("keeps a second process out while the first one lives", () =>
      Effect.gen(function*() {
        const path = `${yield* directory}/j`
        yield* open(path, { owner, heartbeat: "10 millis" })
        const error = yield* Effect.flip(
          Effect.scoped(open(path, { owner: other, heartbeat: "40 millis", isAlive: () => Effect.succeed(true) }))
        )
        expect(error.reason).toBe("locked")
        expect(error.message).toContain("process 1 on h")
      }).pipe(TestClock.withLive))

    it.effect("is one for all paths that lead to the file, also before there is one", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const [held, folder] = [yield* directory, `${yield* directory}/links`]
        yield* fs.symlink(held, folder)
        yield* fs.symlink(`${folder}/j`, `${held}/k`)
        yield* open(`${held}/k`, { owner, heartbeat: "10 millis" })
        for (const path of [`${folder}/j`, `${held}/./j`]) {
          const options = { owner: other, heartbeat: "40 millis", isAlive: () => Effect.succeed(true) } as const
          expect((yield* Effect.flip(Effect.scoped(open(path, options)))).reason).toBe("locked")
        }
      }).pipe(TestClock.withLive))

    it.effect("is lost where another process writes to the file by another name", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          const first = yield* open("j", { owner })
          yield* first.append(meta(1), answer(1))
          yield* fs.link("j", "k")
          const lost = yield* Effect.forkChild(Effect.flip(first.lost))
          yield* Effect.sleep("10 seconds")
          yield* first.append(meta(2), answer(2))
          expect(lost.pollUnsafe()).toBeUndefined()
          const second = yield* open("k", { owner: other })
          yield* second.append(meta(3), answer(3))
          const error = yield* Fiber.join(lost)
          expect(error).toMatchObject({ reason: "lock-lost", path: "j" })
          expect(error.message).toContain("by another name (a hard link, a mounted file), or has taken over")
        }).pipe(Effect.scoped, onDisk(MemoryDisk.make()))
      ))

    it.effect("is not lost by what the journal itself writes, however long that takes", () =>
      VirtualClock.wrap(
        Effect.gen(function*() {
          const disk = MemoryDisk.make()
          const slow: FileSystem.FileSystem = {
            ...disk.fs,
            open: (path, options) =>
              Effect.map(disk.fs.open(path, options), (file) => ({
                ...file,
                // it stands in the file before the write returns
                writeAll: (bytes: Uint8Array) => Effect.andThen(file.writeAll(bytes), Effect.sleep("7 seconds"))
              }))
          }
          yield* Effect.gen(function*() {
            const journal = yield* open("j", { owner })
            const lost = yield* Effect.forkChild(Effect.flip(journal.lost))
            for (let n = 1; n <= 3; n++) yield* journal.append(meta(n), answer(n))
            expect(lost.pollUnsafe()).toBeUndefined()
          }).pipe(Effect.scoped, onDisk({ ...disk, fs: slow }))
        })
      ))

    it.effect("takes over at once from a process that was killed", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = `${yield* directory}/j`
        yield* fs.writeFileString(`${path}.lock`, JSON.stringify({ token: "t", ...owner }))
        // under TestClock nobody moves the time: waiting would hang
        yield* Effect.scoped(open(path, { owner: other, isAlive: () => Effect.succeed(false) }))
        expect(yield* fs.exists(`${path}.lock`)).toBe(false)
      }))

    it.effect("takes over from an owner that cannot be asked and gives no sign of life", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = `${yield* directory}/j`
        for (const left of [JSON.stringify({ token: "t", pid: 1, host: "elsewhere" }), ""]) {
          yield* fs.writeFileString(`${path}.lock`, left)
          yield* Effect.scoped(open(path, { owner: other, heartbeat: "5 millis", isAlive: () => Effect.succeed(true) }))
        }
        expect(yield* fs.exists(`${path}.lock`)).toBe(false)
      }).pipe(TestClock.withLive))

    it.effect("lets one of many contenders have a stale lock", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = `${yield* directory}/j`
        yield* fs.writeFileString(`${path}.lock`, JSON.stringify({ token: "t", ...owner }))
        const contenders = [2, 3, 4, 5, 6, 7]
        const alive = new Set<number>()
        const refused = new Set<number>()
        const allRefused = yield* Deferred.make<void>()
        const contend = (pid: number) =>
          Effect.scoped(Effect.gen(function*() {
            yield* open(path, {
              owner: { pid, host: "h" },
              heartbeat: "200 millis",
              isAlive: (owner) => Effect.sync(() => owner.pid !== 1)
            })
            alive.add(pid)
            expect(alive.size).toBe(1)
            yield* Deferred.await(allRefused)
          })).pipe(
            Effect.catchTag("JournalError", ({ reason }) => {
              expect(reason).toBe("locked")
              refused.add(pid)
              return refused.size < contenders.length - 1 ? Effect.void : Deferred.succeed(allRefused, undefined)
            })
          )
        yield* Effect.forEach(contenders, contend, { concurrency: "unbounded" })
        expect([alive.size, refused.size]).toEqual([1, contenders.length - 1])
      }).pipe(TestClock.withLive))

    it.effect("leaves a lock that was taken while a contender slept before it removed the stale one", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { fs, text } = MemoryDisk.make()
        yield* fs.writeFileString("j.lock", JSON.stringify({ token: "t", ...owner }))
        const asleep = yield* Deferred.make<void>()
        const awake = yield* Deferred.make<void>()
        const sleeping = <A, E>(path: string, change: Effect.Effect<A, E>) =>
          path === "j.lock"
            ? Deferred.succeed(asleep, undefined).pipe(
              Effect.andThen(Deferred.await(awake)),
              Effect.andThen(change)
            )
            : change
        const sleepy = FileSystem.make({
          ...fs,
          remove: (path, options) => sleeping(path, fs.remove(path, options)),
          rename: (from, to) => sleeping(from, fs.rename(from, to))
        })
        const contend = (pid: number) =>
          Lock.acquire("j.lock", { owner: { pid, host: "h" }, isAlive: ({ pid }) => Effect.succeed(pid !== owner.pid) })
        const late = yield* Effect.forkChild(
          Effect.flip(Effect.scoped(contend(5))).pipe(Effect.provideService(FileSystem.FileSystem, sleepy))
        )
        yield* Deferred.await(asleep)
        yield* Effect.scoped(Effect.gen(function*() {
          const { lost } = yield* contend(6)
          yield* Deferred.succeed(awake, undefined)
          const end = yield* Effect.raceFirst(Fiber.join(late), lost)
          expect([end, JSON.parse(text("j.lock"))]).toMatchObject([{ reason: "locked" }, { pid: 6 }])
        })).pipe(Effect.provideService(FileSystem.FileSystem, fs))
        expect(yield* fs.exists("j.lock")).toBe(false)
      })))

    it.effect("finds out that its lock was taken away", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = `${yield* directory}/j`
        const journal = yield* open(path, { owner, heartbeat: "5 millis" })
        yield* fs.writeFileString(`${path}.lock`, JSON.stringify({ token: "u", ...other }))
        const error = yield* Effect.flip(journal.lost)
        expect(error.reason).toBe("lock-lost")
      }).pipe(TestClock.withLive))
  })

  it.effect("keeps lines whole, and ordinals in their order, however many append at once on a real disk", () =>
    Effect.gen(function*() {
      const path = `${yield* directory}/j`
      const numbers = Array.from({ length: 500 }, (_, i) => i + 1)
      yield* Effect.scoped(Effect.gen(function*() {
        const journal = yield* open(path, { offsets: true })
        // fibers that yield after a few steps, each at another place
        yield* Effect.forEach(
          numbers,
          (n) =>
            journal.append(meta(n), answer(n)).pipe(
              Effect.provideService(Scheduler.MaxOpsBeforeYield, 3 + n % 9),
              Effect.andThen(journal.note("seen", n))
            ),
          { concurrency: "unbounded", discard: true }
        )
        const records = yield* Stream.runCollect(journal.settled)
        expect(records.map((each) => each.ordinal)).toEqual(numbers)
        for (const record of records) expect(yield* journal.entryAt(record.ordinal)).toEqual(record)
      }))
      const { recovered, rows } = yield* settled(path)
      expect(recovered).toMatchObject({ ok: 500, damaged: [], tornBytes: 0 })
      expect(new Set(rows.map((row) => row.answer))).toEqual(new Set(numbers.map(answer)))
    }))

  it.effect("finds out that it was removed", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* directory}/j`
      const journal = yield* open(path)
      const fiber = yield* Effect.forkChild(Effect.flip(journal.lost), { startImmediately: true })
      yield* fs.remove(path)
      yield* TestClock.adjust("1 second").pipe(
        Effect.andThen(TestClock.withLive(Effect.sleep("1 millis"))),
        Effect.repeat({ until: () => fiber.pollUnsafe() !== undefined })
      )
      expect((yield* Fiber.join(fiber)).reason).toBe("removed")
    }))
})
