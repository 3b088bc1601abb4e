import { NodeServices } from "@effect/platform-node"
import { expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as Directory from "../../src/job/Directory.ts"

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

  it.effect("makes one that another makes meanwhile", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const root = yield* fs.makeTempDirectoryScoped()
      yield* Effect.all(Array.from({ length: 8 }, () => Directory.make(`${root}/a/b/c/d`)), { concurrency: 8 })
      expect(yield* fs.exists(`${root}/a/b/c/d`)).toBe(true)
    }))

  it.effect("fails where a file is in the way", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const root = yield* fs.makeTempDirectoryScoped()
      yield* fs.writeFileString(`${root}/file`, "")
      expect((yield* Effect.flip(Directory.make(`${root}/file`))).reason._tag).toBe("AlreadyExists")
      yield* Effect.flip(Directory.make(`${root}/file/a/b`))
    }))

  it.effect("fails below a directory that takes none", () => {
    const made: Array<string> = []
    const notFound = PlatformError.systemError({ _tag: "NotFound", module: "FileSystem", method: "makeDirectory" })
    const fs = FileSystem.makeNoop({
      exists: (path) => Effect.succeed(path === "/proc"),
      makeDirectory: (path) => Effect.andThen(Effect.sync(() => made.push(path)), Effect.fail(notFound))
    })
    return Effect.gen(function*() {
      expect((yield* Effect.flip(Directory.make("/proc/a/b"))).reason._tag).toBe("NotFound")
      expect(made).toEqual(["/proc/a"])
    }).pipe(Effect.provideService(FileSystem.FileSystem, fs))
  })
})
