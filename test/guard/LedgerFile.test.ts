import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as HashMap from "effect/HashMap"
import type { PlatformError } from "effect/PlatformError"
import * as Scope from "effect/Scope"
import type * as Credits from "../../src/guard/credits/Credits.ts"
import * as LedgerStore from "../../src/guard/ledger/LedgerStore.ts"
import * as Budget from "../../src/policy/Budget.ts"
import { claim } from "../../src/guard/ledger/LedgerFormat.ts"
import * as Ledger from "../../src/policy/Ledger.ts"
import { call } from "./credits.ts"
import { altering, atEnd, full, guarded, temporaryFile } from "./ledgers.ts"

type Written = Effect.Effect<void, PlatformError>

/** Renames after another program has opened the file, taken the claim in it for that of a dead one, and appended entries. */
const afterAnother =
  (real: FileSystem.FileSystem, path: string, entries: ReadonlyArray<Ledger.Entry>): FileSystem.FileSystem["rename"] =>
  (from, to) =>
    LedgerStore.makeFile({ path }).pipe(
      Effect.flatMap((other) => other.append(entries)),
      Effect.scoped,
      Effect.provideService(FileSystem.FileSystem, real),
      Effect.orDie,
      Effect.andThen(real.rename(from, to))
    )

describe("LedgerFile", () => {
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
        const slow = altering(real, (file) => ({
          writeAll: (bytes) => Effect.andThen(Effect.orDie(first.append([entry(1)])), file.writeAll(bytes))
        }))
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

    it.effect("cuts nothing off that another program wrote behind a write that failed", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const other = Effect.scoped(
          Effect.flatMap(LedgerStore.makeFile({ path }), (store) => store.append([entry(2)]))
        ).pipe(Effect.provideService(FileSystem.FileSystem, real), Effect.orDie)
        let failing = false
        const failingSync = altering(real, (file) => ({
          sync: Effect.suspend(() => failing ? Effect.andThen(other, Effect.fail(full)) : file.sync)
        }))
        const store = yield* Effect.provideService(LedgerStore.makeFile({ path }), FileSystem.FileSystem, failingSync)
        failing = true
        expect(yield* Effect.flip(store.append([entry(1)]))).toMatchObject({ reason: "io" })
        failing = false
        yield* Effect.flip(store.append([entry(3)]))
        expect((yield* LedgerStore.makeFile({ path })).entries).toEqual([entry(1), entry(2)])
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("cuts nothing off that another program wrote in the place of a write that failed", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const other = yield* LedgerStore.makeFile({ path })
        const failing = altering(real, () => ({
          writeAll: () => Effect.andThen(Effect.orDie(other.append([entry(2)])), Effect.fail(full))
        }))
        const store = yield* Effect.provideService(LedgerStore.makeFile({ path }), FileSystem.FileSystem, failing)
        expect(yield* Effect.flip(store.append([entry(1)]))).toMatchObject({ reason: "io" })
        yield* other.append([entry(3)])
        expect((yield* LedgerStore.makeFile({ path })).entries).toEqual([entry(2), entry(3)])
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("fills nothing up that another program cut off where a write failed", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        yield* LedgerStore.makeFile({ path })
        const failing = altering(real, () => ({
          writeAll: () => Effect.andThen(real.truncate(path), Effect.fail(full))
        }))
        const store = yield* Effect.provideService(LedgerStore.makeFile({ path }), FileSystem.FileSystem, failing)
        expect(yield* Effect.flip(store.append([entry(1)]))).toMatchObject({ reason: "io" })
        expect(yield* Effect.flip(store.append([entry(1)]))).toMatchObject({ reason: "io" })
        expect(yield* real.readFileString(path)).toBe("")
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("acknowledges nothing that it cannot look after, and writes it once", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        let looks = -Infinity
        const blind = FileSystem.make({
          ...real,
          stat: (at) => Effect.suspend(() => ++looks === 2 ? Effect.fail(full) : real.stat(at))
        })
        const store = yield* Effect.provideService(LedgerStore.makeFile({ path }), FileSystem.FileSystem, blind)
        looks = 0
        expect(yield* Effect.flip(store.append([entry(1)]))).toMatchObject({ reason: "io" })
        yield* store.append([entry(1)])
        expect((yield* LedgerStore.makeFile({ path })).entries).toEqual([entry(1)])
      }).pipe(Effect.provide(NodeFileSystem.layer)))

    it.effect("never lets both send on one budget", () =>
      Effect.gen(function*() {
        const path = yield* temporaryFile
        const options = { budgets: [Budget.perRun("$0.40")] }
        let sent = 0
        const send = (credits: Credits.Service) => Effect.exit(credits.run(Effect.sync(() => ++sent), call(10)))
        const unrecorded = Exit.fail(expect.objectContaining({
          _tag: "BudgetExceededError",
          reason: "ledger-unwritable",
          cause: expect.objectContaining({ reason: "foreign" })
        }))
        yield* guarded(path, (one) =>
          guarded(path, (two) =>
            Effect.gen(function*() {
              yield* send(one)
              expect(yield* send(two)).toEqual(unrecorded)
              yield* Effect.repeat(send(one), { times: 9 })
              expect(yield* send(two)).toEqual(unrecorded)
            }), options), options)
        expect(sent).toBe(4)
      }).pipe(Effect.provide(NodeFileSystem.layer)))
  })

  describe("opening beside a program that writes", () => {
    const entry = (id: number): Ledger.Entry => ({ _tag: "Stated", at: id, account: "k", balance: 1n, free: 0n })

    /** Opens a ledger of so many entries twice, the second time with these changes to the file system. */
    const beside = <A, E>(
      entries: number,
      changes: (real: FileSystem.FileSystem, first: LedgerStore.Store, path: string) => Partial<FileSystem.FileSystem>,
      use: (
        second: Effect.Effect<LedgerStore.Store, LedgerStore.LedgerStoreError, Scope.Scope>,
        path: string
      ) => Effect.Effect<A, E, Scope.Scope | FileSystem.FileSystem>
    ) =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const first = yield* LedgerStore.makeFile({ path })
        for (let id = 1; id <= entries; id++) yield* first.append([entry(id)])
        const changed = FileSystem.make({ ...real, ...changes(real, first, path) })
        const second = LedgerStore.makeFile({ path, compactAbove: 5 }).pipe(
          Effect.provideService(FileSystem.FileSystem, changed)
        )
        return yield* use(second, path)
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))

    const sum = (store: LedgerStore.Store) => store.entries.map((entry) => entry.at)

    it.effect("knows what was acknowledged after it read, before it compacts", () => {
      let reads = 0
      return beside(9, (real, first) => ({
        open: atEnd(real, () => Effect.as(++reads === 1 ? Effect.orDie(first.append([entry(10)])) : Effect.void, 0))
      }), (second, path) =>
        Effect.gen(function*() {
          const store = yield* second
          expect(sum(store)).toEqual([10])
          yield* store.append([entry(11)])
          expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([10, 11])
        }))
    })

    it.effect("knows what was acknowledged after it read, before it cuts off a torn end", () => {
      let reads = 0
      return beside(1, (real, first) => ({
        open: atEnd(real, (_, buffer) => {
          if (++reads > 1) return Effect.succeed(0)
          // half of it, as if it were under way
          buffer.set(new TextEncoder().encode(LedgerStore.encode([entry(2)]).slice(0, 9)))
          return Effect.as(Effect.orDie(first.append([entry(2)])), 9)
        })
      }), (second, path) =>
        Effect.gen(function*() {
          const store = yield* second
          expect(store).toMatchObject({ entries: [entry(1), entry(2)], tornBytes: 9 })
          yield* store.append([entry(3)])
          expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([1, 2, 3])
        }))
    })

    it.effect("cuts nothing off where an append was under way", () => {
      let reads = 0
      return beside(1, (real) => ({
        open: atEnd(
          real,
          (at) =>
            real.writeFileString(at, ++reads === 1 ? "{" : LedgerStore.encode([entry(2), entry(3)]), { flag: "a" })
              .pipe(
                Effect.as(0),
                Effect.orDie
              )
        )
      }), (second, path) =>
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          yield* fs.writeFileString(path, "{", { flag: "a" })
          expect(yield* Effect.flip(second)).toMatchObject({ reason: "foreign" })
          expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([1])
        }))
    })

    it.effect("lets nothing be acknowledged while it compacts", () => {
      const refused: Array<LedgerStore.LedgerStoreError> = []
      return beside(9, (real, first) => ({
        realPath: (at) =>
          Effect.flip(first.append([entry(10)])).pipe(
            Effect.tap((error) => Effect.sync(() => refused.push(error))),
            Effect.orDie,
            Effect.andThen(real.realPath(at))
          )
      }), (second, path) =>
        Effect.gen(function*() {
          const store = yield* second
          expect(refused).toMatchObject([{ reason: "foreign" }])
          expect(sum(store)).toEqual([9])
          yield* store.append([entry(11)])
          expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([9, 11])
        }))
    })

    it.effect("replaces nothing where an append was under way", () =>
      beside(9, (real) => ({
        realPath: (at) =>
          Effect.andThen(
            real.writeFileString(at, LedgerStore.encode([entry(10), entry(11)]), { flag: "a" }),
            real.realPath(at)
          )
      }), (second, path) =>
        Effect.gen(function*() {
          expect(yield* Effect.flip(second)).toMatchObject({ reason: "foreign" })
          expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
        })))

    it.effect("cuts nothing off where it could not replace, and an append was under way", () =>
      beside(9, (real, _, path) => ({
        rename: () =>
          Effect.andThen(
            real.writeFileString(path, LedgerStore.encode([entry(10), entry(11)]), { flag: "a" }),
            Effect.fail(full)
          )
      }), (second, path) =>
        Effect.gen(function*() {
          expect(yield* Effect.flip(second)).toMatchObject({ reason: "foreign" })
          expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
        })))

    it.effect("takes over what another program acknowledged before the file was replaced, and gives way", () =>
      beside(
        9,
        (real, _, path) => ({ rename: afterAnother(real, path, [entry(10)]) }),
        (second, path) =>
          Effect.gen(function*() {
            expect(yield* Effect.flip(second)).toMatchObject({ reason: "foreign" })
            expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([9, 10])
          })
      ))

    it.effect("takes over what another program acknowledged, also where opening is interrupted", () => {
      let interrupt = () => {}
      return beside(
        9,
        (real, _, path) => {
          const another = afterAnother(real, path, [entry(10)])
          return { rename: (from, to) => Effect.tap(another(from, to), () => Effect.sync(() => interrupt())) }
        },
        (second, path) =>
          Effect.gen(function*() {
            const opening = yield* Effect.forkChild(second)
            interrupt = () => opening.interruptUnsafe()
            expect(Exit.isFailure(yield* Fiber.await(opening))).toBe(true)
            expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([9, 10])
          })
      )
    })

    it.effect("gives way to a program that compacts at the same time", () =>
      beside(9, (real, _, path) => ({
        realPath: (at) =>
          Effect.andThen(
            Effect.scoped(
              Effect.flatMap(LedgerStore.makeFile({ path, compactAbove: 5 }), (third) => third.append([entry(10)]))
            ).pipe(Effect.provideService(FileSystem.FileSystem, real), Effect.orDie),
            real.realPath(at)
          )
      }), (second, path) =>
        Effect.gen(function*() {
          expect(yield* Effect.flip(second)).toMatchObject({ reason: "foreign" })
          expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([9, 10])
        })))

    it.effect("puts no other program's file in the place of the ledger", () =>
      beside(9, (real) => ({
        chmod: (at, mode) =>
          Effect.andThen(real.remove(at), real.writeFileString(at, "half a ledger")).pipe(
            Effect.andThen(real.chmod(at, mode))
          )
      }), (second, path) =>
        Effect.gen(function*() {
          expect(yield* Effect.flip(second)).toMatchObject({ reason: "foreign" })
          expect(sum(yield* LedgerStore.makeFile({ path }))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
        })))
  })

  describe("compaction while it is open", () => {
    const refunded = (id: number): ReadonlyArray<Ledger.Entry> => [
      { _tag: "Reserve", id, at: 0, run: "r", account: "k", label: "", high: 1n },
      { _tag: "Settle", id, at: 0, cost: 1n, sure: true }
    ]
    const settled = (entries: ReadonlyArray<Ledger.Entry>) =>
      entries.reduce(Ledger.apply, Ledger.make({ budgets: [], run: "r", dayOffsetSeconds: 0 })).accounts
    const calls = (entries: ReadonlyArray<Ledger.Entry>) =>
      HashMap.reduce(settled(entries), 0, (sum, tally) => sum + tally.calls)

    /** Opens a ledger that is compacted from eleven entries on, over a changed file system. */
    const opened = <A, E>(
      changes: (real: FileSystem.FileSystem, path: string) => FileSystem.FileSystem,
      use: (
        call: (id: number) => Effect.Effect<void, LedgerStore.LedgerStoreError>,
        path: string,
        lines: Effect.Effect<number>
      ) => Effect.Effect<A, E, Scope.Scope | FileSystem.FileSystem>
    ) =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const store = yield* LedgerStore.makeFile({ path, compactAbove: 10 }).pipe(
          Effect.provideService(FileSystem.FileSystem, changes(real, path))
        )
        // whole ones: behind them may stand the claim of a shortening under way
        const lines = Effect.map(Effect.orDie(real.readFileString(path)), (text) => text.split("\n").length - 1)
        return yield* use((id) => store.append(refunded(id)), path, lines)
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer))

    /** Does something around the writing of the claim. */
    const aroundClaim = (real: FileSystem.FileSystem, around: (write: Written) => Written) =>
      altering(real, (file) => ({
        writeAll: (bytes) => bytes.length === 1 ? around(file.writeAll(bytes)) : file.writeAll(bytes)
      }))

    it.effect("keeps the file short, and it says the same", () =>
      opened((real) => real, (call, path, lines) =>
        Effect.gen(function*() {
          for (let id = 1; id <= 100; id++) {
            yield* call(id)
            expect(yield* lines).toBeLessThanOrEqual(13)
          }
          const { entries, tornBytes } = yield* LedgerStore.makeFile({ path })
          expect([calls(entries), tornBytes]).toEqual([100, 0])
        })))

    it.effect("loses nothing where it is killed at any step", () => {
      let acknowledged = 0
      /** The states of the file, each with what was acknowledged: once, however often they were seen. */
      const left = new Map<string, readonly [calls: number, bytes: Uint8Array]>()
      const watched = (real: FileSystem.FileSystem, path: string) => {
        const look = Effect.map(
          Effect.orDie(real.readFile(path)),
          (bytes) => void left.set(`${acknowledged}: ${bytes}`, [acknowledged, bytes])
        )
        const around = <A, E>(effect: Effect.Effect<A, E>) => Effect.ensuring(Effect.andThen(look, effect), look)
        const files = altering(real, (file) => ({
          writeAll: (bytes) => around(file.writeAll(bytes)),
          sync: around(file.sync),
          truncate: (length) => around(file.truncate(length))
        }))
        return FileSystem.make({
          ...files,
          rename: (from, to) => around(files.rename(from, to)),
          remove: (at, options) => around(files.remove(at, options))
        })
      }
      return opened(watched, (call, path) =>
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          for (let id = 1; id <= 30; id++) {
            yield* call(id)
            acknowledged = id
          }
          expect([...left.values()].some(([, bytes]) => bytes.at(-1) === claim)).toBe(true)
          for (const [least, bytes] of left.values()) {
            yield* fs.writeFile(path, bytes)
            const { entries } = yield* Effect.scoped(LedgerStore.makeFile({ path, compactAbove: 10 }))
            const known = calls(entries)
            expect([known >= least, known <= least + 1]).toEqual([true, true])
          }
        }))
    })

    it.effect("stops where another program was first, and keeps what that one wrote", () => {
      const meddling = (real: FileSystem.FileSystem, path: string) => {
        const other = LedgerStore.makeFile({ path }).pipe(
          Effect.flatMap((store) => store.append(refunded(99))),
          Effect.scoped,
          Effect.provideService(FileSystem.FileSystem, real),
          Effect.orDie
        )
        return aroundClaim(real, (write) => Effect.andThen(other, write))
      }
      return opened(meddling, (call, path) =>
        Effect.gen(function*() {
          for (let id = 1; id <= 6; id++) yield* call(id)
          expect(yield* Effect.flip(call(7))).toMatchObject({ reason: "foreign" })
          expect(calls((yield* LedgerStore.makeFile({ path })).entries)).toBe(7)
        }))
    })

    it.effect("lets no other program acknowledge anything meanwhile", () => {
      const refused: Array<LedgerStore.LedgerStoreError> = []
      const meddling = (real: FileSystem.FileSystem, path: string) =>
        aroundClaim(real, (write) =>
          LedgerStore.makeFile({ path }).pipe(
            Effect.flatMap((other) => Effect.andThen(write, Effect.flip(other.append(refunded(99))))),
            Effect.tap((error) => Effect.sync(() => refused.push(error))),
            Effect.scoped,
            Effect.provideService(FileSystem.FileSystem, real),
            Effect.orDie,
            Effect.asVoid
          ))
      return opened(meddling, (call, path, lines) =>
        Effect.gen(function*() {
          for (let id = 1; id <= 7; id++) yield* call(id)
          expect(refused).toMatchObject([{ reason: "foreign" }])
          expect(yield* lines).toBe(4)
          expect(calls((yield* LedgerStore.makeFile({ path })).entries)).toBe(7)
        }))
    })

    it.effect.each([1, 2])(
      "takes over what another program acknowledged before the file was replaced (time %d), and stops",
      (time) => {
        let renames = 0
        const meddling = (real: FileSystem.FileSystem, path: string) => {
          const another = afterAnother(real, path, refunded(99))
          return FileSystem.make({
            ...real,
            rename: (from, to) => Effect.suspend(() => (++renames === time ? another : real.rename)(from, to))
          })
        }
        return opened(meddling, (call, path, lines) =>
          Effect.gen(function*() {
            let acknowledged = 0
            const error = yield* Effect.flip(
              Effect.suspend(() => call(acknowledged + 1)).pipe(
                Effect.tap(() => Effect.sync(() => void acknowledged++)),
                Effect.repeat({ times: 30 })
              )
            )
            expect(error).toMatchObject({ reason: "foreign" })
            expect(renames).toBe(time)
            expect(yield* lines).toBe(4)
            expect(calls((yield* LedgerStore.makeFile({ path })).entries)).toBe(acknowledged + 1)
          }))
      }
    )

    it.effect.each<[string, (real: FileSystem.FileSystem, tries: () => void) => FileSystem.FileSystem]>([
      [
        "replaced",
        (real, tries) =>
          FileSystem.make({ ...real, rename: () => Effect.andThen(Effect.sync(tries), Effect.fail(full)) })
      ],
      ["claimed", (real, tries) => aroundClaim(real, () => Effect.andThen(Effect.sync(tries), Effect.fail(full)))]
    ])("goes on with a long file that cannot be %s, and tries again once it has doubled", ([, changes]) => {
      let tries = 0
      return opened((real) => changes(real, () => void tries++), (call, path, lines) =>
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          for (let id = 1; id <= 20; id++) yield* call(id)
          expect(tries).toBe(2)
          expect(yield* lines).toBe(41)
          expect(yield* fs.exists(`${path}.compact`)).toBe(false)
          const { entries, tornBytes } = yield* LedgerStore.makeFile({ path })
          expect([calls(entries), tornBytes]).toEqual([20, 0])
        }))
    })

    it.effect.each<[string, (real: FileSystem.FileSystem) => FileSystem.FileSystem]>([
      ["replaced", (real) => FileSystem.make({ ...real, rename: () => Effect.die(new Error("no rename")) })],
      ["claimed", (real) => aroundClaim(real, () => Effect.die(new Error("no rename")))]
    ])(
      "ends where the file system dies as it is %s: what was written counts, and nobody waits",
      ([, changes]) =>
        opened(changes, (call, path) =>
          Effect.gen(function*() {
            for (let id = 1; id <= 6; id++) yield* call(id)
            const late = [yield* Effect.flip(call(7)), yield* Effect.flip(call(8))]
            const message =
              `The ledger file ${path} cannot be kept any more: Error: no rename. Nothing is sent that it cannot record.`
            expect(late).toMatchObject([{ reason: "io", message }, { reason: "io", message }])
            expect(calls((yield* LedgerStore.makeFile({ path })).entries)).toBe(6)
          }))
    )

    it.effect("ends where the file system dies as it is written, and says so to all that wait", () =>
      opened(
        (real) =>
          altering(real, (file) => ({
            writeAll: (bytes) => bytes.length > 60 ? Effect.die(new Error("no write")) : file.writeAll(bytes)
          })),
        (call) =>
          Effect.gen(function*() {
            const waiting = yield* Effect.all([Effect.flip(call(1)), Effect.flip(call(2))], { concurrency: 2 })
            const error = { reason: "io", message: expect.stringContaining("cannot be kept any more: Error: no write") }
            expect([...waiting, yield* Effect.flip(call(3))]).toMatchObject([error, error, error])
          })
      ))

    it.effect("keeps every entry where that is asked for, and holds few of a long file", () =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const lines = Array.from({ length: 10_001 }, (_, id) => LedgerStore.encode(refunded(id))).join("")
        yield* fs.writeFileString(path, `${LedgerStore.header}\n${lines}`)
        const { entries } = yield* LedgerStore.makeFile({ path, compactAbove: Infinity })
        expect([entries.length, calls(entries)]).toEqual([1, 10_001])
        expect((yield* fs.readFileString(path)).endsWith(lines)).toBe(true)
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)))

    it.effect("writes what is queued as it closes, also where the file was shortened", () =>
      Effect.gen(function*() {
        const path = yield* temporaryFile
        const scope = yield* Scope.make()
        const store = yield* Scope.provide(LedgerStore.makeFile({ path, compactAbove: 10 }), scope)
        for (let id = 1; id <= 7; id++) yield* store.append(refunded(id))
        const last = yield* Effect.forkChild(store.append(refunded(8)), { startImmediately: true })
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.join(last)
        const { entries } = yield* LedgerStore.makeFile({ path })
        expect([calls(entries), entries.length]).toEqual([8, 5])
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)))

    it.effect("writes what is queued as it closes, also while the file is shortened", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        const scope = yield* Scope.make()
        const ended: Array<Fiber.Fiber<void, LedgerStore.LedgerStoreError>> = []
        const closing: FileSystem.FileSystem["rename"] = (from, to) =>
          Effect.gen(function*() {
            ended.push(yield* Effect.forkDetach(store.append(refunded(7)), { startImmediately: true }))
            ended.push(yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true }))
            yield* real.rename(from, to)
          })
        const store: LedgerStore.Store = yield* LedgerStore.makeFile({ path, compactAbove: 10 }).pipe(
          Scope.provide(scope),
          Effect.provideService(FileSystem.FileSystem, FileSystem.make({ ...real, rename: closing }))
        )
        for (let id = 1; id <= 6; id++) yield* store.append(refunded(id))
        // the seventh is queued behind the shortening, and answered when the file is closed
        yield* Effect.yieldNow.pipe(Effect.repeat({ until: () => ended.length === 2 }))
        yield* Effect.forEach(ended, Fiber.join)
        const { entries } = yield* LedgerStore.makeFile({ path })
        expect([calls(entries), entries.length]).toEqual([7, 3])
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)))

    it.effect("closes every file that it opened, also where it cannot be opened", () =>
      Effect.gen(function*() {
        const real = yield* FileSystem.FileSystem
        const path = yield* temporaryFile
        let [opened, closed, noRoom] = [0, 0, true]
        const counting = FileSystem.make({
          ...real,
          rename: (from, to) => Effect.suspend(() => noRoom ? Effect.fail(full) : real.rename(from, to)),
          open: (at, options) =>
            Effect.gen(function*() {
              yield* Effect.addFinalizer(() => Effect.sync(() => void closed++))
              opened++
              return yield* real.open(at, options)
            })
        })
        const make = Effect.provideService(
          LedgerStore.makeFile({ path, compactAbove: 10 }),
          FileSystem.FileSystem,
          counting
        )
        yield* Effect.scoped(Effect.gen(function*() {
          const store = yield* make
          const before = opened
          for (let id = 1; id <= 7; id++) yield* store.append(refunded(id))
          // the short file is closed that could not be put in place
          expect([opened - before, opened - closed]).toEqual([1, 1])
          noRoom = false
          for (let id = 8; id <= 14; id++) yield* store.append(refunded(id))
          // the long file is closed once it was replaced, and the directory once it is synced
          expect([opened - before, opened - closed]).toEqual([3, 1])
        }))
        expect(opened - closed).toBe(0)
        yield* real.writeFileString(path, "no ledger")
        yield* Effect.flip(make)
        expect([opened > 4, opened - closed]).toEqual([true, 0])
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)))
  })
})
