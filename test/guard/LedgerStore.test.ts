import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Credits from "../../src/guard/credits/Credits.ts"
import { claim, makeReader } from "../../src/guard/ledger/LedgerFormat.ts"
import * as LedgerStore from "../../src/guard/ledger/LedgerStore.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Ledger from "../../src/policy/Ledger.ts"
import * as MemoryDisk from "../job/MemoryDisk.ts"
import { law } from "../policy/law.ts"
import { call, cents, estimate } from "./credits.ts"
import { altering, full, guarded, recording, settled, tally, temporaryFile } from "./ledgers.ts"

describe("LedgerStore", () => {
  describe("file", () => {
    it.effect("remembers what was spent across a restart", () =>
      Effect.gen(function*() {
        const path = yield* temporaryFile
        const budgets = [Budget.perRun("$0.30")]
        yield* guarded(path, (credits) => credits.run(Effect.succeed(1), call(9)), { budgets })
        yield* guarded(path, (credits) => credits.run(Effect.succeed(1), call(9)), { budgets })
        yield* guarded(path, (credits) =>
          Effect.gen(function*() {
            expect(yield* tally(credits)).toMatchObject({ settled: cents(18), calls: 2 })
            yield* credits.run(Effect.succeed(1), call(9))
            expect((yield* Effect.flip(credits.run(Effect.succeed(1), call(9))))._tag).toBe("BudgetExceededError")
          }), { budgets })
        yield* guarded(path, (credits) => credits.run(Effect.succeed(1), call(9)), { budgets, run: "another" })
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("ends what a killed program left open: charged by default, refunded on demand", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const killed = yield* guarded(path, (credits) =>
          Effect.gen(function*() {
            yield* credits.run(Effect.succeed(1), call(3))
            yield* Effect.forkChild(credits.run(Effect.never, call(3)), { startImmediately: true })
            yield* credits.reserve({ estimate })
            return yield* fs.readFile(path) // as it is on disk while two calls are under way
          }))
        yield* fs.writeFile(path, killed)
        yield* guarded(path, (credits) =>
          Effect.gen(function*() {
            expect(yield* tally(credits)).toMatchObject({
              settled: cents(23),
              uncertain: cents(20),
              open: 0,
              reserved: 0n
            })
          }))
        yield* fs.writeFile(path, killed)
        yield* guarded(path, (credits) =>
          Effect.gen(function*() {
            expect(yield* tally(credits)).toMatchObject({ settled: cents(3), atRisk: cents(20), open: 0, reserved: 0n })
          }), { orphans: "refund" })
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect(
      "survives being killed at any byte: no settled cost is lost, no reservation leaks",
      () =>
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          const path = "ledger.jsonl"
          // a real file, with what each byte of it had acknowledged
          const acknowledged: Array<readonly [bytes: number, sum: bigint]> = []
          yield* guarded(path, (credits) =>
            Effect.gen(function*() {
              yield* credits.stateBalance({ balance: "$5" })
              yield* Effect.forkChild(credits.run(Effect.never, { ...call(3), label: "überall" }), {
                startImmediately: true
              })
              for (let i = 1; i <= 3; i++) {
                if (i === 2) yield* Effect.flip(credits.run(Effect.fail("no" as const), call(i)))
                else yield* credits.run(Effect.succeed(1), call(i))
                acknowledged.push([Number((yield* fs.stat(path)).size), (yield* tally(credits))?.settled ?? -1n])
              }
              yield* credits.reserve({ estimate })
            }))
          const file = yield* fs.readFile(path)
          for (let bytes = 0; bytes <= file.length; bytes++) {
            yield* fs.writeFile(path, file.subarray(0, bytes))
            const floor = acknowledged.findLast(([end]) => end <= bytes)?.[1] ?? 0n
            const decoded = LedgerStore.decode(file.subarray(0, bytes))
            if (Result.isFailure(decoded)) throw decoded.failure
            // killed once more, while it repaired this
            if (bytes > 0) {
              expect(LedgerStore.decode(Uint8Array.of(...file.subarray(0, bytes), claim))).toEqual(decoded)
            }
            // opened at every seventeenth byte, and wherever a line begins or ends
            const near = file.subarray(Math.max(0, bytes - 2), bytes + 2).includes(10)
            if (!near && bytes % 17 !== 0 && process.env["STEPS"] !== "all") continue
            const after = yield* guarded(path, tally)
            const sure = (after?.settled ?? 0n) - (after?.uncertain ?? 0n)
            expect(sure >= floor).toBe(true)
            expect(sure).toBe(settled(decoded.success.entries))
            expect(after?.reserved ?? 0n).toBe(0n)
            expect(after?.open ?? 0).toBe(0)
            if (bytes % 85 === 0) {
              // what was repaired and written to is whole, and a second restart finds the same
              expect(yield* guarded(path, tally)).toEqual(after)
              const again = LedgerStore.decode(yield* fs.readFile(path))
              expect(Result.isSuccess(again)).toBe(true)
            }
          }
          expect(acknowledged.at(-1)?.[1]).toBe(cents(1 + 3))
        }).pipe(Effect.provideService(FileSystem.FileSystem, MemoryDisk.make().fs)),
      180_000
    )

    it.effect("writes appends that meet in few writes, in order, each once", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        let syncs = 0
        const counting = altering(real, (file) => ({
          sync: Effect.suspend(() => {
            syncs++
            return file.sync
          })
        }))
        yield* Effect.scoped(Effect.gen(function*() {
          const store = yield* LedgerStore.makeFile({ path })
          yield* Effect.forEach(
            Array.from({ length: 1000 }, (_, i) => i + 1),
            (id) => store.append([{ _tag: "Refund", id, at: 0, atRisk: false }]),
            { concurrency: "unbounded", discard: true }
          )
        })).pipe(Effect.provideService(FileSystem.FileSystem, counting))
        expect(syncs).toBeLessThan(50)
        const decoded = LedgerStore.decode(yield* real.readFile(path))
        if (Result.isFailure(decoded)) throw decoded.failure
        expect(decoded.success.entries.map((entry) => "id" in entry ? entry.id : 0)).toEqual(
          Array.from({ length: 1000 }, (_, i) => i + 1)
        )
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("cuts off a torn end, and refuses junk in the middle", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const entry: Ledger.Entry = { _tag: "Refund", id: 1, at: 0, atRisk: true }
        const good = `${LedgerStore.header}\n${LedgerStore.encode([entry])}`
        yield* fs.writeFileString(path, `${good}\u0000\u0000\u0000\n{"_tag":"Sett`)
        const store = yield* Effect.scoped(LedgerStore.makeFile({ path }))
        expect(store).toMatchObject({ entries: [entry], tornBytes: 17 })
        expect(yield* fs.readFileString(path)).toBe(good)
        for (const junk of ["junk", "\u0000\u0000"]) {
          yield* fs.writeFileString(path, `${good}${junk}\n${LedgerStore.encode([entry])}`)
          const corrupt = yield* Effect.flip(Effect.scoped(LedgerStore.makeFile({ path })))
          expect(corrupt).toMatchObject({ reason: "corrupt" })
          const found = `${path}: Line 3 of the ledger is no entry, or not as it was written: the file is`
          expect(corrupt.message.slice(0, found.length)).toBe(found)
        }
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    const refund = (id: number): Ledger.Entry => ({ _tag: "Refund", id, at: 0, atRisk: false })

    /** A ledger of one entry. */
    const whole = (id: number) => `${LedgerStore.header}\n${LedgerStore.encode([refund(id)])}`

    it.effect.each<[string, string, string]>([
      ["a line without its end", "{\"token\":\"sk-secret\"}", "version"],
      ["lines", "name,price\nsk-secret,1\n", "version"],
      ["a ledger of another version", LedgerStore.header.replace("1}", "2}"), "version"],
      ["zeros, more than a first line is torn to", "\u0000".repeat(513), "version"],
      ["a claim, then what no ledger holds", "\u0001notes", "version"],
      ["a claim alone", "\u0001", "version"],
      ["zeros and ones", "\u0000\u0001\u0001\u0000\u0001\u0000", "version"],
      ["a mark of the encoding", "\uFEFF", "version"],
      ["a claim, then a first line", `\u0001${LedgerStore.header}\n`, "version"],
      [
        "a first line whose line feed was damaged",
        `${LedgerStore.header}\u0001${LedgerStore.encode([refund(1)])}`,
        "version"
      ],
      [
        "an entry behind a line that a claim damaged",
        `${whole(1).slice(0, -9)}\u0001${whole(1).slice(-8)}${LedgerStore.encode([refund(2)])}`,
        "corrupt"
      ],
      ["a last line that a claim damaged", `${whole(1).slice(0, -9)}\u0001${whole(1).slice(-8)}`, "corrupt"],
      ["the rest of an append behind a claim", `${whole(1).slice(0, -9)}\u0001${whole(1).slice(-9)}`, "corrupt"],
      ["lines joined by a claim", `${whole(1).slice(0, -1)}\u0001${LedgerStore.encode([refund(2)])}`, "corrupt"],
      ["a torn line joined by a claim", `${whole(1).slice(0, -1)}\u0001{"_tag`, "corrupt"],
      ["a claim behind a claim, then no entry", `${whole(1)}\u0001\u0001notes\n`, "corrupt"],
      ["a first line, then notes", `${LedgerStore.header}\nimportant\nnotes\n`, "corrupt"],
      ["entries of a newer version at the end", `${LedgerStore.header}\n{"_tag":"Later","id":1}\n`, "corrupt"]
    ])("refuses what is no ledger, and leaves it as it is: %s", ([, content, reason]) =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const bytes = new TextEncoder().encode(content)
        yield* fs.writeFile(path, bytes)
        const error = yield* Effect.flip(Effect.scoped(LedgerStore.makeFile({ path })))
        expect(error.reason).toBe(reason)
        expect(error.message).not.toContain("secret")
        expect(Uint8Array.from(yield* fs.readFile(path))).toEqual(bytes)
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("says what the operating system calls the failure of a write", () =>
      Effect.gen(function*() {
        const disk = MemoryDisk.make()
        disk.left = LedgerStore.header.length + 2
        const entry: Ledger.Entry = { _tag: "Refund", id: 1, at: 0, atRisk: false }
        const error = yield* Effect.flip(Effect.scoped(
          Effect.flatMap(LedgerStore.makeFile({ path: "ledger" }), (store) => store.append([entry]))
        )).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))
        expect(error.message).toContain("cannot be written (ENOSPC)")
      }))

    it.effect.each<[string, string]>([
      ["torn", LedgerStore.header.slice(0, 9)],
      ["whole, its line feed missing", LedgerStore.header],
      ["torn, then a block not written", `${LedgerStore.header.slice(0, 9)}\u0000\u0000`],
      ["a block not written, of its own length", "\u0000".repeat(LedgerStore.header.length + 1)],
      ["a block not written, then claimed", `${"\u0000".repeat(LedgerStore.header.length)}\u0001`],
      ["torn, then claimed by two", `${LedgerStore.header.slice(0, 9)}\u0001\u0001`],
      ["whole, its line feed missing, then claimed by two", `${LedgerStore.header}\u0001\u0001`],
      ["claimed while it was written", `${LedgerStore.header.slice(0, 9)}\u0001${LedgerStore.header.slice(9)}\n`],
      ["written twice, by two programs at once", `${LedgerStore.header}\n${LedgerStore.header}\n`]
    ])("takes a first line that is %s", ([, content]) =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        yield* fs.writeFileString(path, content)
        expect((yield* Effect.scoped(LedgerStore.makeFile({ path }))).entries).toEqual([])
        expect((yield* fs.readFileString(path)).startsWith(`${LedgerStore.header}\n`)).toBe(true)
        expect((yield* Effect.scoped(LedgerStore.makeFile({ path }))).tornBytes).toBe(0)
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect.each<[string, string, string]>([
      ["one entry", "", LedgerStore.encode([refund(2)])],
      ["several", "", LedgerStore.encode([refund(2), refund(3)])],
      ["several, behind half a line", "{\"_tag", LedgerStore.encode([refund(2), refund(3)])],
      ["several, behind a block not written", "\u0000\u0000\n{\"_tag", LedgerStore.encode([refund(2), refund(3)])],
      [
        "two appends, half a line between them",
        "",
        `${LedgerStore.encode([refund(2)])}{"_tag\u0001${LedgerStore.encode([refund(3)])}`
      ],
      ["a second claim and half a line", "", "\u0001{\"_tag"]
    ])("takes nothing for acknowledged that follows a claim: %s", ([, torn, behind]) =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const good = `${LedgerStore.header}\n${LedgerStore.encode([refund(1)])}`
        yield* fs.writeFileString(path, `${good}${torn}\u0001${behind}`)
        const store = yield* Effect.scoped(LedgerStore.makeFile({ path }))
        expect(store).toMatchObject({ entries: [refund(1)], tornBytes: torn.length + 1 + behind.length })
        expect(yield* fs.readFileString(path)).toBe(good)
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect.each<[string, string]>([
      ["alone", "\u0000"],
      ["behind half a line, before an entry", `{"_tag\u0000${LedgerStore.encode([refund(2)])}`],
      ["before an entry", `\u0000${LedgerStore.encode([refund(2)])}`]
    ])("cuts off the claim of an earlier version, a zero: %s", ([, behind]) =>
      Effect.gen(function*() {
        const path = yield* temporaryFile
        yield* Effect.flatMap(FileSystem.FileSystem, (fs) => fs.writeFileString(path, whole(1) + behind))
        const store = yield* Effect.scoped(LedgerStore.makeFile({ path }))
        expect(store).toMatchObject({ entries: [refund(1)], tornBytes: behind.length })
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    /** What no text holds, at the edges of what is told apart; all that JSON is made of; and some others. */
    const damages = [
      ...Buffer.from("\u0000\u0001\u0002\b\t\n\v\f\r\u000e\u001f \",-.09:[]aeftunz{}~\u007f"),
      128,
      195,
      255
    ]

    it.each([["whole", ""], ["torn", "{\"_tag\":\"Ref"]])(
      "loses nothing to any byte that is damaged, but a last line without its end: %s",
      (_, torn) => {
        const entries: ReadonlyArray<Ledger.Entry> = [
          { _tag: "Reserve", id: 12, at: 34, run: "a {run}", account: "k", label: "überall", high: 56n },
          refund(12),
          refund(13)
        ]
        const lines = [`${LedgerStore.header}\n`, ...entries.map((entry) => LedgerStore.encode([entry]))]
        const bytes = new TextEncoder().encode(lines.join("") + torn)
        const end = bytes.lastIndexOf(10)
        let refused = 0
        for (let at = 0; at < bytes.length; at++) {
          const line = bytes.subarray(0, at).filter((byte) => byte === 10).length - 1
          // what is torn behind it changes nothing of a line further up, but what is taken for unacknowledged
          const tried = torn !== "" && line < entries.length - 1 ? [0, claim, 34, 125] : damages
          for (const byte of tried) {
            if (byte === bytes[at]) continue
            const decoded = LedgerStore.decode(bytes.with(at, byte))
            if (Result.isFailure(decoded)) {
              law(decoded.failure.reason).toBe(line < 0 ? "version" : "corrupt")
              refused++
              continue
            }
            const unended = at === end && byte <= claim && torn === ""
            law(decoded.success.entries).toEqual(unended ? entries.slice(0, -1) : entries)
            // what no entry can hold is never taken for one
            if (byte <= claim) law(at).toBeGreaterThanOrEqual(end)
          }
        }
        expect(refused).toBeGreaterThan(end)
      }
    )

    it.each([
      whole(1),
      `${LedgerStore.header}\n${LedgerStore.encode(Array.from({ length: 12 }, (_, id) => refund(id)))}{"_tag`,
      `${whole(1)}\u0001${LedgerStore.encode([refund(2)])}`,
      LedgerStore.header.slice(0, 9),
      `${whole(1)}no entry\n${LedgerStore.encode([refund(2)])}`,
      "notes\n".repeat(200)
    ])("reads alike however its bytes are cut: case %#", (file) => {
      const bytes = new TextEncoder().encode(file)
      for (const size of [1, 2, 7, 40, 511, 513]) {
        const entries: Array<Ledger.Entry> = []
        const reader = makeReader((entry) => void entries.push(entry))
        const buffer = new Uint8Array(size)
        let failure: LedgerStore.LedgerStoreError | undefined
        for (let at = 0; at < bytes.length && failure === undefined; at += size) {
          const piece = bytes.subarray(at, at + size)
          buffer.set(piece)
          failure = reader.push(buffer.subarray(0, piece.length))
        }
        const end = failure === undefined ? reader.end() : Result.fail(failure)
        expect(Result.map(end, (goodBytes) => ({ entries, goodBytes }))).toEqual(LedgerStore.decode(bytes))
      }
    })

    it.effect("opens wherever it was cut off, claimed, and left with blocks not written", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = "ledger.jsonl"
        const file = new TextEncoder().encode(`${LedgerStore.header}\n${LedgerStore.encode([refund(1), refund(2)])}`)
        let opened = 0
        for (let bytes = 1; bytes <= file.length; bytes++) {
          const prefix = file.subarray(0, bytes)
          // every third byte, and wherever a line begins or ends
          const near = file.subarray(Math.max(0, bytes - 2), bytes + 2).includes(10)
          if (!near && bytes % 3 !== 0 && process.env["STEPS"] !== "all") continue
          const expected = LedgerStore.decode(prefix)
          for (let claims = 0; claims <= 3; claims++) {
            for (const zeros of [0, 1, 40, 41, 42, 60]) {
              const claimed = Array.from({ length: claims }, () => claim)
              const unwritten = new Uint8Array(zeros)
              const torn = [
                Uint8Array.of(...prefix, ...claimed, ...unwritten),
                Uint8Array.of(...prefix, ...unwritten, ...claimed)
              ]
              for (const found of torn) law(LedgerStore.decode(found)).toEqual(expected)
              if ((bytes + claims + zeros) % 17 !== 0) continue
              opened++
              yield* fs.writeFile(path, torn[opened % 2] ?? prefix)
              yield* Effect.scoped(Effect.flatMap(LedgerStore.makeFile({ path }), (store) => store.append([refund(9)])))
              const entries = Result.isSuccess(expected) ? expected.success.entries : []
              expect((yield* Effect.scoped(LedgerStore.makeFile({ path }))).entries).toEqual([...entries, refund(9)])
            }
          }
        }
        expect(opened).toBeGreaterThan(file.length / 3)
      }).pipe(Effect.provideService(FileSystem.FileSystem, MemoryDisk.make().fs)), 60_000)

    it.effect("says which file it cannot use, and refuses appends after it is closed", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(LedgerStore.makeFile({ path: "/nowhere/at/all" })))
        expect(error.message).toMatch(/^The ledger file \/nowhere\/at\/all cannot be opened \(ENOENT\): /)
        const store = yield* Effect.scoped(LedgerStore.makeFile({ path: yield* temporaryFile }))
        expect((yield* Effect.flip(store.append([]))).message).toMatch(/is closed/)
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("says that a device keeps no ledger", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(LedgerStore.makeFile({ path: "/dev/zero" })))
        expect(error.message).toBe("/dev/zero is no regular file, so it keeps no ledger. Give the path of a file.")
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("leaves no half line behind a failed write", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const state = { full: false, repairable: true }
        const filling = altering(real, (file) => ({
          truncate: (length) => state.repairable ? file.truncate(length) : Effect.fail(full),
          writeAll: (bytes) =>
            state.full
              ? Effect.andThen(file.writeAll(bytes.subarray(0, 9)), Effect.fail(full))
              : file.writeAll(bytes)
        }))
        const entry = (id: number): Ledger.Entry => ({ _tag: "Refund", id, at: 0, atRisk: false })
        yield* Effect.scoped(Effect.gen(function*() {
          const store = yield* LedgerStore.makeFile({ path })
          yield* store.append([entry(1)])
          state.full = true
          expect(yield* Effect.flip(store.append([entry(2)]))).toMatchObject({ reason: "io" })
          state.full = false
          yield* store.append([entry(3)])
          state.full = true
          state.repairable = false
          yield* Effect.flip(store.append([entry(4)]))
          state.full = false
          expect(yield* Effect.flip(store.append([entry(5)]))).toMatchObject({ reason: "io" })
        })).pipe(Effect.provideService(FileSystem.FileSystem, filling))
        const reopened = yield* Effect.scoped(LedgerStore.makeFile({ path }))
        expect(reopened).toMatchObject({ entries: [entry(1), entry(3)], tornBytes: 9 })
      }).pipe(Effect.provide(NodeFileSystem.layer)))
  })

  describe("compaction", () => {
    /** Writes a ledger of so many calls, one of them still open. */
    const long = (path: string, calls: number) =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const store = recording()
        const credits = yield* Effect.provideService(Credits.make({ run: "r" }), LedgerStore.LedgerStore, store.store)
        yield* credits.stateBalance({ balance: "$9" })
        for (let i = 0; i < calls; i++) yield* credits.run(Effect.succeed(1), call(1 + i % 3))
        yield* credits.reserve({ estimate })
        yield* fs.writeFileString(path, `${LedgerStore.header}\n${LedgerStore.encode(store.written)}{"_tag":"Res`)
        return store.written.length
      })

    it.effect("replaces a long file by a short one that says the same", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const report = (compactAbove: number) =>
          Effect.flatMap(Credits.Credits, (credits) => credits.report).pipe(
            Effect.provide(
              Layer.provide(
                Credits.layer({ run: "r", budgets: [Budget.perRun("$3"), Budget.perDay("$4")], orphans: "refund" }),
                LedgerStore.layerFile({ path, compactAbove })
              )
            )
          )
        const entries = yield* long(path, 30)
        const file = yield* fs.readFile(path)
        const whole = yield* report(Infinity)
        expect((yield* fs.readFileString(path)).split("\n").length).toBeGreaterThan(entries)
        yield* fs.writeFile(path, file)
        yield* fs.writeFileString(`${path}.compact`, "left behind by a program that was killed")
        yield* fs.chmod(path, 0o600)
        expect(yield* report(entries - 1)).toEqual(whole)
        expect((yield* fs.stat(path)).mode & 0o777).toBe(0o600)
        // the first line, the statement, the sum, the open call and its refund
        expect((yield* fs.readFileString(path)).trim().split("\n").length).toBe(5)
        expect(yield* fs.exists(`${path}.compact`)).toBe(false)
        expect(yield* report(1)).toEqual(whole)
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("stops a program that still has the long file open", () =>
      Effect.gen(function*() {
        const path = yield* temporaryFile
        yield* long(path, 10)
        const old = yield* LedgerStore.makeFile({ path })
        yield* LedgerStore.makeFile({ path, compactAbove: 1 })
        const error = yield* Effect.flip(old.append([{ _tag: "Refund", id: 1, at: 0, atRisk: false }]))
        expect(error).toMatchObject({ reason: "foreign" })
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("keeps a file as it is that cannot be replaced, and opens it", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const entries = yield* long(path, 10)
        // mounted by itself: the name belongs to the container, not to the directory
        const mounted = FileSystem.make({ ...real, rename: () => Effect.fail(full) })
        const open = Effect.scoped(LedgerStore.makeFile({ path, compactAbove: 1 })).pipe(
          Effect.provideService(FileSystem.FileSystem, mounted)
        )
        expect((yield* open).entries.length).toBe(entries)
        const { size } = yield* real.stat(path)
        expect((yield* open).entries.length).toBe(entries)
        expect((yield* real.stat(path)).size).toBe(size)
        expect(yield* real.exists(`${path}.compact`)).toBe(false)
        expect((yield* LedgerStore.makeFile({ path, compactAbove: 1 })).entries.length).toBe(3)
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("leaves a file alone that would not shrink, and refuses a bound that is none", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const open = Array.from({ length: 9 }, (_, id): Ledger.Entry => ({
          _tag: "Reserve",
          id,
          at: 0,
          run: "r",
          account: "k",
          label: "",
          high: 1n
        }))
        yield* fs.writeFileString(path, `${LedgerStore.header}\n${LedgerStore.encode(open)}`)
        expect((yield* LedgerStore.makeFile({ path, compactAbove: 1 })).entries).toEqual(open)
        for (const compactAbove of [0, 1.5, Number.NaN]) {
          const exit = yield* Effect.exit(LedgerStore.makeFile({ path, compactAbove }))
          expect(Exit.hasDies(exit)).toBe(true)
        }
      }).pipe(Effect.provide(NodeFileSystem.layer)))
  })

  it.prop("decodes what it encodes", [Schema.Array(Ledger.Entry)], ([generated]) => {
    // JSON has no negative zero
    const positive = (value: unknown) => typeof value === "number" ? value + 0 : value
    const entries = generated.map((entry) =>
      // only zeros changed their sign, so each entry is still what it was
      Object.fromEntries(Object.entries(entry).map(([name, value]) => [name, positive(value)])) as Ledger.Entry
    )
    const bytes = new TextEncoder().encode(`${LedgerStore.header}\n${LedgerStore.encode(entries)}`)
    expect(LedgerStore.decode(bytes)).toEqual(Result.succeed({ entries, goodBytes: bytes.length }))
    const encoded = entries.map((entry) => `${Schema.encodeSync(Schema.fromJsonString(Ledger.Entry))(entry)}\n`)
    const parsed = (lines: string) =>
      lines.trim().split("\n").filter((line) => line !== "").map((line) => ({ ...JSON.parse(line), sum: "" }))
    expect(parsed(LedgerStore.encode(entries))).toEqual(parsed(encoded.join("")))
    // as an earlier version wrote them
    const older = new TextEncoder().encode(`${LedgerStore.header}\n${encoded.join("")}`)
    expect(LedgerStore.decode(older)).toEqual(Result.succeed({ entries, goodBytes: older.length }))
  })

  it.effect("keeps nothing in memory beyond the ledger itself", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const credits = yield* Scope.provide(Credits.make(), scope)
      yield* credits.run(Effect.succeed(1), call(1))
      expect(LedgerStore.memory.entries).toEqual([])
    }))
})
