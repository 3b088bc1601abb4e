import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as TestClock from "effect/testing/TestClock"
import * as Lock from "../../src/job/files/Lock.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as MemoryDisk from "./MemoryDisk.ts"

/** A disk whose files cannot be read while it has no handles left. */
const scarce = () => {
  const disk = MemoryDisk.make()
  const handles = { out: false }
  const refused = PlatformError.systemError({
    _tag: "Unknown",
    module: "FileSystem",
    method: "readFile",
    pathOrDescriptor: "lock",
    cause: Object.assign(new Error("EMFILE"), { code: "EMFILE" })
  })
  const fs: FileSystem.FileSystem = {
    ...disk.fs,
    readFileString: (path, encoding) =>
      Effect.suspend(() => handles.out ? Effect.fail(refused) : disk.fs.readFileString(path, encoding))
  }
  return { disk, fs, handles }
}

describe("Lock", () => {
  it.effect("is not lost while it cannot be read, and looks again at the next heartbeat", () =>
    Effect.gen(function*() {
      const { disk, fs, handles } = scarce()
      yield* Effect.scoped(Effect.gen(function*() {
        const lock = yield* Effect.provideService(Lock.acquire("lock"), FileSystem.FileSystem, fs)
        const lost = yield* Effect.forkChild(lock.lost)
        handles.out = true
        yield* TestClock.adjust("10 seconds")
        handles.out = false
        yield* TestClock.adjust("10 seconds")
        expect(lost.pollUnsafe()).toBeUndefined()
        yield* disk.fs.writeFileString("lock", "{\"token\":\"another\"}")
        yield* TestClock.adjust("2 seconds")
        expect(Exit.isFailure(yield* Fiber.await(lost))).toBe(true)
      }))
      expect(disk.text("lock")).toBe("{\"token\":\"another\"}")
    }))

  it.effect.each(
    [
      [true, "no file can be made in the directory /proc, though it exists. Give a path in another one."],
      [false, "the directory /proc does not exist: make it, or give another path."]
    ] as const
  )("says whether the directory exists in which it cannot be made: %s", ([exists, message]) =>
    Effect.gen(function*() {
      const refuse = PlatformError.systemError({ _tag: "NotFound", module: "FileSystem", method: "writeFile" })
      const fs: FileSystem.FileSystem = {
        ...MemoryDisk.make().fs,
        writeFileString: () => Effect.fail(refuse),
        exists: (path) => Effect.succeed(exists && path === "/proc")
      }
      const error = yield* Effect.flip(Effect.provideService(Lock.acquire("/proc/x.lock"), FileSystem.FileSystem, fs))
      expect([error.reason, error.message]).toEqual(["unwritable", message])
    }).pipe(Effect.scoped))

  it.effect("asks whether its owner lives only where it is one of its own processes: those of a container are not", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const isAlive = () => Effect.succeed(false)
        const taken = (namespace: string) =>
          Lock.acquire("lock", { owner: { pid: 7, host: "h", namespace }, isAlive }).pipe(Effect.scoped)
        yield* Lock.acquire("lock", { owner: { pid: 5, host: "h", namespace: "first" } })
        expect(yield* Effect.flip(taken("second"))).toMatchObject({
          reason: "locked",
          message: expect.stringContaining("process 5 on h is working on this journal")
        })
        expect(yield* Effect.exit(taken("first"))).toEqual(Exit.succeed({ lost: expect.anything() }))
      }).pipe(Effect.scoped, Effect.provideService(FileSystem.FileSystem, MemoryDisk.make().fs))
    ))

  it.effect("is lost as soon as it is gone", () =>
    Effect.scoped(Effect.gen(function*() {
      const { disk, fs } = scarce()
      const lock = yield* Effect.provideService(Lock.acquire("lock"), FileSystem.FileSystem, fs)
      const lost = yield* Effect.forkChild(Effect.flip(lock.lost))
      yield* disk.fs.remove("lock")
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(lost)).toMatchObject({ reason: "lock-lost" })
    })))

  it.effect("is lost where what looks after it dies", () =>
    Effect.scoped(Effect.gen(function*() {
      const { disk } = scarce()
      const fs = { ...disk.fs, utimes: () => Effect.die(new Error("no utimes")) }
      const lock = yield* Effect.provideService(Lock.acquire("lock"), FileSystem.FileSystem, fs)
      const lost = yield* Effect.forkChild(Effect.flip(lock.lost))
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(lost)).toMatchObject({
        reason: "lock-lost",
        message: "the lock lock cannot be kept any more: Error: no utimes. Nothing more is written."
      })
    })))

  it.effect("takes no lock over that it cannot read", () =>
    Effect.gen(function*() {
      const { disk, fs, handles } = scarce()
      yield* disk.fs.writeFileString("lock", "{\"token\":\"another\"}")
      handles.out = true
      const error = yield* Effect.flip(
        Effect.scoped(Effect.provideService(Lock.acquire("lock"), FileSystem.FileSystem, fs))
      )
      const message = expect.stringContaining("lock (EMFILE: too many files are open). Raise the limit (ulimit -n)")
      expect(error).toMatchObject({ reason: "unwritable", message })
      expect(disk.text("lock")).toBe("{\"token\":\"another\"}")
    }))

  it.effect.each(["1234\n", "{\"id\":1}\n", "{\"sum\":\"bd8410ee\""])(
    "takes nothing for a stale lock that is none: %j",
    (text) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { disk, fs } = scarce()
        yield* disk.fs.writeFileString("lock", text)
        const error = yield* Effect.flip(
          Effect.scoped(Effect.provideService(Lock.acquire("lock"), FileSystem.FileSystem, fs))
        )
        expect(error).toMatchObject({ reason: "unwritable", message: expect.stringContaining("is not touched") })
        expect(disk.text("lock")).toBe(text)
      }))
  )

  it.effect.each(["", "{\"tok", "{\"token\":\"a"])(
    "takes a torn lock over: %j",
    (text) =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { disk, fs } = scarce()
        yield* disk.fs.writeFileString("lock", text)
        yield* Effect.scoped(Effect.provideService(Lock.acquire("lock"), FileSystem.FileSystem, fs))
        expect(yield* disk.fs.exists("lock")).toBe(false)
      }))
  )

  it.effect("puts back what another took meanwhile, also where it is interrupted as it does", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { fs, text } = MemoryDisk.make()
      const [stale, fresh] = [1, 2].map((pid) => JSON.stringify({ token: `${pid}`, pid, host: "h" }))
      yield* fs.writeFileString("lock", stale!)
      const slow = FileSystem.make({
        ...fs,
        rename: (from, to) =>
          from === "lock"
            ? Effect.andThen(fs.writeFileString("lock", fresh!), fs.rename(from, to)).pipe(
              Effect.andThen(Effect.sleep("1 second"))
            )
            : fs.rename(from, to)
      })
      const late = yield* Lock.acquire("lock", {
        owner: { pid: 3, host: "h" },
        isAlive: ({ pid }) => Effect.succeed(pid !== 1)
      }).pipe(Effect.scoped, Effect.provideService(FileSystem.FileSystem, slow), Effect.forkChild)
      yield* Effect.sleep("500 millis")
      yield* Fiber.interrupt(late)
      expect(text("lock")).toBe(fresh)
    })))

  it.effect("leaves no lock where it is interrupted while the file is made", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const { fs } = MemoryDisk.make()
      // the file is there before whoever waits for it hears of it
      const slow: FileSystem.FileSystem = {
        ...fs,
        writeFileString: (path, data, options) =>
          Effect.andThen(fs.writeFileString(path, data, options), Effect.sleep("1 second"))
      }
      const early = yield* Lock.acquire("lock").pipe(
        Effect.scoped,
        Effect.provideService(FileSystem.FileSystem, slow),
        Effect.forkChild
      )
      yield* Effect.sleep("500 millis")
      yield* Fiber.interrupt(early)
      expect(yield* fs.exists("lock")).toBe(false)
    })))
})
