import * as NodeServices from "@effect/platform-node/NodeServices"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import type * as Scope from "effect/Scope"
import { execFileSync } from "node:child_process"
import { closeSync, constants, openSync, readSync } from "node:fs"
import * as Pipe from "../../src/cli/Pipe.ts"

const pipe = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = `${yield* fs.makeTempDirectoryScoped()}/pipe`
  execFileSync("mkfifo", [path])
  return { fs, path }
})

const real = <A, E>(self: Effect.Effect<A, E, NodeServices.NodeServices | Scope.Scope>) =>
  Effect.provide(Effect.scoped(self), NodeServices.layer)

describe("Pipe", () => {
  it.live("waits for a reader without blocking, and writes all of it", () =>
    real(Effect.gen(function*() {
      const { fs, path } = yield* pipe
      const text = "line\n".repeat(50_000)
      const writing = yield* Effect.forkChild(Effect.scoped(
        Effect.flatMap(Pipe.open(path), (file) => file.writeAll(new TextEncoder().encode(text)))
      ))
      yield* Effect.sleep("20 millis")
      expect(writing.pollUnsafe()).toBeUndefined()
      expect(yield* fs.readFileString(path)).toBe(text)
      yield* Fiber.join(writing)
    })))

  it.live("is interrupted where nobody comes, and where the reader pauses", () =>
    real(Effect.gen(function*() {
      const { path } = yield* pipe
      expect(yield* Effect.timeoutOption(Effect.scoped(Pipe.open(path)), 10)).toMatchObject({ _tag: "None" })
      const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
      const full = Effect.flatMap(Pipe.open(path), (file) => file.writeAll(new Uint8Array(1_000_000)))
      expect(yield* Effect.timeoutOption(Effect.scoped(full), 50)).toMatchObject({ _tag: "None" })
      expect(readSync(fd, new Uint8Array(10))).toBe(10)
      closeSync(fd)
    })))

  it.live("fails where the reader has gone, and where there is nothing to open", () =>
    real(Effect.gen(function*() {
      const { path } = yield* pipe
      const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
      const file = yield* Pipe.open(path)
      closeSync(fd)
      expect(yield* Effect.flip(file.writeAll(new Uint8Array(10)))).toMatchObject({ cause: { code: "EPIPE" } })
      expect(yield* Effect.flip(Pipe.open(`${path}/none`))).toMatchObject({ cause: { code: "ENOTDIR" } })
    })))
})
