import * as NodeServices from "@effect/platform-node/NodeServices"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as Directory from "../../src/job/files/Directory.ts"

const notFound = PlatformError.systemError({ _tag: "NotFound", module: "FileSystem", method: "makeDirectory" })

it.layer(NodeServices.layer)("Directory", (it) => {
  it.effect("makes all that is not there, and takes what is", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const root = yield* fs.makeTempDirectoryScoped()
      for (const path of ["a/b/c", "a/b", "a/b/c/d/", "/e//f", "."]) {
        yield* Directory.make(`${root}/${path}`)
        expect((yield* fs.stat(`${root}/${path}`)).type).toBe("Directory")
      }
    }))

  it.effect("takes a backslash for a part of a name, where it is one", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const root = yield* fs.makeTempDirectoryScoped()
      yield* Directory.make(`${root}/a/b\\c`)
      expect(yield* fs.readDirectory(`${root}/a`)).toEqual(["b\\c"])
    }))

  it.effect("makes all above it where backslashes part them", () => {
    const made = [".", "C:"]
    const fs = FileSystem.makeNoop({
      exists: (path) => Effect.succeed(made.includes(path)),
      makeDirectory: (path) =>
        made.includes(path.replace(/[\\/]?[^\\/]*$/, "") || ".")
          ? Effect.sync(() => void made.push(path))
          : Effect.fail(notFound)
    })
    return Effect.gen(function*() {
      yield* Directory.make("C:\\a\\b\\c")
      yield* Directory.make("d\\e/f\\g")
      expect(made.slice(2)).toEqual(["C:\\a", "C:\\a\\b", "C:\\a\\b\\c", "d", "d\\e", "d\\e/f", "d\\e/f\\g"])
    }).pipe(Effect.provideService(FileSystem.FileSystem, fs))
  })

  it.effect("makes one that another makes meanwhile", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const root = yield* fs.makeTempDirectoryScoped()
      yield* Effect.all(Array.from({ length: 8 }, () => Directory.make(`${root}/a/b/c/d`)), { concurrency: 8 })
      expect(yield* fs.exists(`${root}/a/b/c/d`)).toBe(true)
    }))

  it.effect("makes one above which all is made just after it was found missing", () => {
    let tries = 0
    const fs = FileSystem.makeNoop({
      exists: () => Effect.succeed(true),
      stat: () => Effect.fail(notFound),
      makeDirectory: () => Effect.suspend(() => tries++ === 0 ? Effect.fail(notFound) : Effect.void)
    })
    return Effect.gen(function*() {
      yield* Directory.make("a/b")
      expect(tries).toBe(2)
    }).pipe(Effect.provideService(FileSystem.FileSystem, fs))
  })

  it.effect("fails where a file is in the way", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const root = yield* fs.makeTempDirectoryScoped()
      yield* fs.writeFileString(`${root}/file`, "")
      expect((yield* Effect.flip(Directory.make(`${root}/file`))).reason._tag).toBe("AlreadyExists")
      yield* Effect.flip(Directory.make(`${root}/file/a/b`))
    }))

  it.effect.each(["/proc/a/b", "/proc/a\\b"])("fails below a directory that takes none: %s", (path) => {
    const fs = FileSystem.makeNoop({
      exists: (path) => Effect.succeed(path === "/proc" || path === "."),
      makeDirectory: () => Effect.fail(notFound)
    })
    return Effect.gen(function*() {
      expect((yield* Effect.flip(Directory.make(path))).reason._tag).toBe("NotFound")
    }).pipe(Effect.provideService(FileSystem.FileSystem, fs))
  })
})
