import { NodeFileSystem } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as PlatformError from "effect/PlatformError"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Credits from "../../src/guard/Credits.ts"
import * as LedgerStore from "../../src/guard/LedgerStore.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Ledger from "../../src/policy/Ledger.ts"
import { call, cents, estimate } from "./credits.ts"

const temporaryFile = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  return `${yield* fs.makeTempDirectoryScoped()}/ledger.jsonl`
})

const guarded = <A, E, R>(
  path: string,
  use: (credits: Credits.Service) => Effect.Effect<A, E, R>,
  options?: Credits.Options
) =>
  Effect.gen(function*() {
    return yield* use(yield* Credits.Credits)
  }).pipe(
    Effect.provide(Credits.layer({ run: "r", ...options }).pipe(Layer.provide(LedgerStore.layerFile({ path }))))
  )

/** A file system that does not wait for the disk, for tests that are killed by themselves. */
const unsynced = Layer.effect(
  FileSystem.FileSystem,
  Effect.map(FileSystem.FileSystem, (real) =>
    FileSystem.make({
      ...real,
      open: (file, options) =>
        Effect.map(real.open(file, options), (opened) => ({
          ...opened,
          writeAll: (bytes: Uint8Array) => opened.writeAll(bytes),
          sync: Effect.void
        }))
    }))
).pipe(Layer.provide(NodeFileSystem.layer))

const tally = (credits: Credits.Service) => Effect.map(credits.report, ({ keys }) => keys[0]?.tally)

const settled = (entries: ReadonlyArray<Ledger.Entry>) =>
  entries.reduce((sum, entry) => entry._tag === "Settle" && entry.sure ? sum + (entry.cost ?? 0n) : sum, 0n)

/** A store in memory that counts what it was asked. */
const recording = () => {
  const written: Array<Ledger.Entry> = []
  return {
    written,
    store: {
      ...LedgerStore.memory,
      append: (entries: ReadonlyArray<Ledger.Entry>) => Effect.sync(() => void written.push(...entries))
    }
  }
}

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
          const path = yield* temporaryFile
          // a real file, with what each byte of it had acknowledged
          const acknowledged: Array<readonly [bytes: number, sum: bigint]> = []
          yield* guarded(path, (credits) =>
            Effect.gen(function*() {
              yield* credits.stateBalance({ balance: "$5" })
              yield* Effect.forkChild(credits.run(Effect.never, { ...call(3), label: "überall" }), {
                startImmediately: true
              })
              for (let i = 1; i <= 5; i++) {
                if (i === 4) yield* Effect.flip(credits.run(Effect.fail("no" as const), call(i)))
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
            const after = yield* guarded(path, tally)
            const sure = (after?.settled ?? 0n) - (after?.uncertain ?? 0n)
            expect(sure >= floor).toBe(true)
            expect(sure).toBe(settled(decoded.success.entries))
            expect(after?.reserved ?? 0n).toBe(0n)
            expect(after?.open ?? 0).toBe(0)
            if (bytes % 97 === 0) {
              // what was repaired and written to is whole, and a second restart finds the same
              expect(yield* guarded(path, tally)).toEqual(after)
              const again = LedgerStore.decode(yield* fs.readFile(path))
              expect(Result.isSuccess(again)).toBe(true)
            }
          }
          expect(acknowledged.at(-1)?.[1]).toBe(cents(1 + 2 + 3 + 5))
        }).pipe(Effect.provide(unsynced)),
      180_000
    )

    it.effect("writes appends that meet in few writes, in order, each once", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        let syncs = 0
        const counting = FileSystem.make({
          ...real,
          open: (file, options) =>
            Effect.map(real.open(file, options), (opened) => ({
              ...opened,
              writeAll: (bytes: Uint8Array) => opened.writeAll(bytes),
              sync: Effect.suspend(() => {
                syncs++
                return opened.sync
              })
            }))
        })
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

    it.effect("cuts off junk at the end, and refuses junk in the middle and other files", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const entry: Ledger.Entry = { _tag: "Refund", id: 1, at: 0, atRisk: true }
        const good = `${LedgerStore.header}\n${LedgerStore.encode([entry])}`
        yield* fs.writeFileString(path, `${good}\u0000\u0000\u0000\n{"_tag":"Sett`)
        const store = yield* Effect.scoped(LedgerStore.makeFile({ path }))
        expect(store).toMatchObject({ entries: [entry], tornBytes: 17 })
        expect(yield* fs.readFileString(path)).toBe(good)
        yield* fs.writeFileString(path, `${good}junk\n${LedgerStore.encode([entry])}`)
        const corrupt = yield* Effect.flip(Effect.scoped(LedgerStore.makeFile({ path })))
        expect(corrupt).toMatchObject({ reason: "corrupt" })
        expect(corrupt.message).toMatch(/^Line 3 of the ledger is no entry, but line 4 is/)
        yield* fs.writeFileString(path, "name,price\n")
        expect(yield* Effect.flip(Effect.scoped(LedgerStore.makeFile({ path })))).toMatchObject({ reason: "version" })
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("says which file it cannot use, and refuses appends after it is closed", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(LedgerStore.makeFile({ path: "/nowhere/at/all" })))
        expect(error.message).toMatch(/^The ledger file \/nowhere\/at\/all cannot be opened: /)
        const store = yield* Effect.scoped(LedgerStore.makeFile({ path: yield* temporaryFile }))
        expect((yield* Effect.flip(store.append([]))).message).toMatch(/is closed/)
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("leaves no half line behind a failed write", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const full = PlatformError.systemError({
          _tag: "Unknown",
          module: "FileSystem",
          method: "write",
          description: "no space"
        })
        const state = { full: false, repairable: true }
        const filling = FileSystem.make({
          ...real,
          truncate: (file, length) => state.repairable ? real.truncate(file, length) : Effect.fail(full),
          open: (file, options) =>
            Effect.map(real.open(file, options), (opened) => ({
              ...opened,
              sync: opened.sync,
              writeAll: (bytes: Uint8Array) =>
                state.full
                  ? Effect.andThen(opened.writeAll(bytes.subarray(0, 9)), Effect.fail(full))
                  : opened.writeAll(bytes)
            }))
        })
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

  describe("two programs on one file", () => {
    const entry = (id: number): Ledger.Entry => ({ _tag: "Refund", id, at: 0, atRisk: false })

    it.effect("stops the second to write, and keeps what the first wrote", () =>
      Effect.gen(function*() {
        const path = yield* temporaryFile
        const [first, second] = [yield* LedgerStore.makeFile({ path }), yield* LedgerStore.makeFile({ path })]
        yield* first.append([entry(1)])
        const error = yield* Effect.flip(second.append([entry(2)]))
        expect(error).toMatchObject({ reason: "foreign" })
        expect(error.message).toMatch(/^Another program wrote to the ledger file .*: stop one of them, or give each/)
        yield* first.append([entry(3)])
        expect(yield* Effect.flip(second.append([entry(4)]))).toBe(error)
        expect((yield* LedgerStore.makeFile({ path })).entries).toEqual([entry(1), entry(3)])
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("stops both where they write in the same moment", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const first = yield* LedgerStore.makeFile({ path })
        // the other writes after this one has looked
        const slow = FileSystem.make({
          ...real,
          open: (file, options) =>
            Effect.map(real.open(file, options), (opened) => ({
              ...opened,
              sync: opened.sync,
              writeAll: (bytes: Uint8Array) =>
                Effect.andThen(Effect.orDie(first.append([entry(1)])), opened.writeAll(bytes))
            }))
        })
        const second = yield* Effect.provideService(LedgerStore.makeFile({ path }), FileSystem.FileSystem, slow)
        expect(yield* Effect.flip(second.append([entry(2)]))).toMatchObject({ reason: "foreign" })
        expect(yield* Effect.flip(first.append([entry(3)]))).toMatchObject({ reason: "foreign" })
        expect((yield* LedgerStore.makeFile({ path })).entries).toEqual([entry(1), entry(2)])
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("stops where the file was replaced or moved away", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const store = yield* LedgerStore.makeFile({ path })
        yield* store.append([entry(1)])
        const content = yield* fs.readFile(path)
        yield* fs.rename(path, `${path}.old`)
        expect(yield* Effect.flip(store.append([entry(2)]))).toMatchObject({ reason: "io" })
        yield* fs.writeFile(path, content)
        expect(yield* Effect.flip(store.append([entry(3)]))).toMatchObject({ reason: "foreign" })
        expect(yield* fs.readFile(path)).toEqual(content)
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("never lets both send on one budget", () =>
      Effect.gen(function*() {
        const path = yield* temporaryFile
        const options = { budgets: [Budget.perRun("$0.40")] }
        let sent = 0
        const send = (credits: Credits.Service) => Effect.exit(credits.run(Effect.sync(() => ++sent), call(10)))
        yield* guarded(path, (one) =>
          guarded(path, (two) =>
            Effect.gen(function*() {
              yield* send(one)
              expect(Exit.hasDies(yield* send(two))).toBe(true)
              yield* Effect.repeat(send(one), { times: 9 })
              expect(Exit.hasDies(yield* send(two))).toBe(true)
            }), options), options)
        expect(sent).toBe(4)
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
        const whole = yield* report(entries)
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

    it.effect("leaves a file alone that would not shrink, and refuses a bound that is none", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const open = Array.from({ length: 9 }, (_, id): Ledger.Entry => ({
          _tag: "Reserve",
          id,
          at: 0,
          run: "r",
          key: "k",
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
      lines.trim().split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))
    expect(parsed(LedgerStore.encode(entries))).toEqual(parsed(encoded.join("")))
  })

  describe("under the guard", () => {
    it.effect("is written before a call is sent and before its end is told", () =>
      Effect.gen(function*() {
        const { store, written } = recording()
        const credits = yield* Effect.provideService(Credits.make({ run: "r" }), LedgerStore.LedgerStore, store)
        yield* credits.run(Effect.sync(() => expect(written.map((entry) => entry._tag)).toEqual(["Reserve"])), call(3))
        expect(written.map((entry) => entry._tag)).toEqual(["Reserve", "Settle"])
      }))

    it.effect("stops sending when it cannot be written, or goes on by choice; an answer is never lost", () =>
      Effect.gen(function*() {
        let broken = false
        const store: LedgerStore.Store = {
          ...LedgerStore.memory,
          append: () =>
            broken ? Effect.fail(new LedgerStore.LedgerStoreError({ reason: "io", message: "disk full" })) : Effect.void
        }
        const make = (options: Credits.Options) =>
          Effect.provideService(Credits.make(options), LedgerStore.LedgerStore, store)
        const [strict, lenient] = [yield* make({}), yield* make({ onStoreFailure: "continue" })]
        const alerts: Array<string> = []
        yield* Effect.forkScoped(
          Stream.runForEach(strict.alerts, (alert) => Effect.sync(() => void alerts.push(alert._tag))),
          { startImmediately: true }
        )
        yield* Effect.yieldNow
        expect(
          yield* strict.run(
            Effect.sync(() => {
              broken = true
              return "answer"
            }),
            call(3)
          )
        ).toBe("answer")
        const exit = yield* Effect.exit(strict.run(Effect.succeed(1), call(3)))
        expect(Exit.isFailure(exit) && String(exit.cause.reasons[0])).toContain("The call was not sent: disk full")
        expect(yield* tally(strict)).toMatchObject({ settled: cents(3), open: 0, reserved: 0n })
        expect(yield* lenient.run(Effect.succeed(1), call(3))).toBe(1)
        expect(alerts).toEqual(["LedgerUnwritable", "LedgerUnwritable"])
      }))

    it.effect("writes an ending that the store refused with the next entry that it takes", () =>
      Effect.gen(function*() {
        const { store, written } = recording()
        let full = false
        const filling: LedgerStore.Store = {
          ...store,
          append: (entries) =>
            full
              ? Effect.fail(new LedgerStore.LedgerStoreError({ reason: "io", message: "disk full" }))
              : store.append(entries)
        }
        const credits = yield* Effect.provideService(Credits.make(), LedgerStore.LedgerStore, filling)
        const filled = Effect.andThen(Effect.yieldNow, Effect.sync(() => void (full = true)))
        yield* Effect.all([credits.run(filled, call(3)), credits.run(filled, call(4))], { concurrency: 2 })
        expect(Exit.hasDies(yield* Effect.exit(credits.run(Effect.void, call(5))))).toBe(true)
        full = false
        yield* credits.run(Effect.void, call(6))
        expect(written.map((entry) => entry._tag)).toEqual([
          "Reserve",
          "Reserve",
          "Settle",
          "Settle",
          "Reserve",
          "Settle"
        ])
        expect(settled(written)).toBe(cents(13))
      }))

    it.effect("records a reservation or nothing when its caller is interrupted", () =>
      Effect.gen(function*() {
        const store: LedgerStore.Store = { ...LedgerStore.memory, append: () => Effect.sleep("10 seconds") }
        const credits = yield* Effect.provideService(Credits.make(), LedgerStore.LedgerStore, store)
        const reserve = Effect.acquireUseRelease(
          credits.reserve({ estimate }),
          () => Effect.never,
          (reservation) => reservation.refund()
        )
        const fiber = yield* Effect.forkChild(reserve, { startImmediately: true })
        const settling = yield* credits.reserve({ estimate }).pipe(
          Effect.flatMap((reservation) => reservation.settle(call(3).cost())),
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust("15 seconds")
        const both = yield* Effect.forkChild(Fiber.interruptAll([fiber, settling]), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(both)
        expect(yield* tally(credits)).toMatchObject({ open: 0, reserved: 0n, settled: cents(3), calls: 1 })
      }))

    it.effect("does not take a configured balance for a new one after a restart", () =>
      Effect.gen(function*() {
        const path = yield* temporaryFile
        const balance = [{ balance: "$5" }]
        yield* guarded(path, (credits) => credits.run(Effect.succeed(1), call(9)), { balance })
        yield* TestClock.adjust("1 hour")
        yield* guarded(path, (credits) =>
          Effect.gen(function*() {
            expect(yield* credits.balance()).toMatchObject({ expected: cents(491), ageSeconds: 3600 })
          }), { balance })
        yield* guarded(path, (credits) =>
          Effect.gen(function*() {
            expect(yield* credits.balance()).toMatchObject({ expected: cents(700), ageSeconds: 0 })
          }), { balance: [{ balance: "$7" }] })
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("keeps a reservation whose caller was interrupted while it was being recorded out of the sums", () =>
      Effect.gen(function*() {
        const gate = yield* Effect.sync(() => ({ release: () => {} }))
        const store: LedgerStore.Store = {
          ...LedgerStore.memory,
          append: (entries) =>
            entries[0]?._tag === "Reserve"
              ? Effect.callback((resume) => {
                gate.release = () => resume(Effect.void)
              })
              : Effect.void
        }
        const credits = yield* Effect.provideService(Credits.make(), LedgerStore.LedgerStore, store)
        let sent = 0
        const fiber = yield* Effect.forkChild(credits.run(Effect.sync(() => ++sent), call(3)), {
          startImmediately: true
        })
        const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
        gate.release()
        yield* Fiber.join(interruption)
        expect(sent).toBe(0)
        expect(yield* tally(credits)).toMatchObject({ open: 0, reserved: 0n, settled: 0n })
      }))
  })

  it.effect("keeps nothing in memory beyond the ledger itself", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const credits = yield* Scope.provide(Credits.make(), scope)
      yield* credits.run(Effect.succeed(1), call(1))
      expect(LedgerStore.memory.entries).toEqual([])
    }))
})
