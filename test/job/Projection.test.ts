import * as NodeServices from "@effect/platform-node/NodeServices"
import { expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { OutputError } from "../../src/job/JobError.ts"
import * as Projection from "../../src/job/files/Projection.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { stopAfter } from "./jobs.ts"

const texts = Array.from({ length: 300 }, (_, i) => `${i} ${"x".repeat(1 + i * 7 % 500)}\n`)

it.layer(NodeServices.layer)("Projection", (it) => {
  it.effect("keeps texts whole that are added at the same time, on a real disk, also over what the file holds", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/out`
      const lines = Effect.map(fs.readFileString(path), (text) => text.split("\n"))
      const write = Effect.scoped(Effect.gen(function*() {
        const projection = yield* Projection.open(path)
        yield* Effect.forEach(texts, projection.append, { concurrency: "unbounded", discard: true })
        yield* projection.finish
        return projection.bytes()
      }))
      const whole = texts.map((text) => text.trimEnd())
      const size = texts.join("").length
      expect(yield* write).toBe(size)
      expect(yield* lines).toEqual([...whole, ""])
      // half of it is compared, half is written
      const half = texts.slice(0, 150).join("")
      yield* fs.writeFileString(path, `${half}${"other ".repeat(20_000)}\n`)
      expect(yield* write).toBe(size)
      expect(yield* lines).toEqual([...whole, ""])
    }))

  it.effect("counts what it has written when the wait for it is interrupted", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/out`
      const projection = yield* Projection.open(path)
      const long = `${"a".repeat(1_000_000)}\n`
      yield* Effect.raceFirst(projection.append(long), Effect.yieldNow)
      yield* projection.append("b\n")
      yield* projection.finish
      const text = yield* fs.readFileString(path)
      expect([`${long}b\n`, "b\n"]).toContain(text)
      expect(projection.bytes()).toBe(text.length)
    }))

  it.effect("waits for the reader of a device a second longer than the job goes on, to open it and to write", () =>
    VirtualClock.wrap(Effect.scoped(Effect.gen(function*() {
      const stop = stopAfter("30 seconds")
      const seconds = <A>(
        open: Projection.OpenStream,
        use: (file: Projection.Projection) => Effect.Effect<A, OutputError>
      ) =>
        Projection.open("/dev/null", { stop }).pipe(
          Effect.flatMap(use),
          Effect.provideService(Projection.OpenStream, open),
          Effect.flip,
          Effect.timed,
          Effect.map(([took, { reason }]) => [reason, Duration.toSeconds(took)])
        )
      const paused: Projection.OpenStream = () => Effect.succeed({ writeAll: () => Effect.never })
      expect(yield* seconds(() => Effect.never, () => Effect.void)).toEqual(["unread", 31])
      expect(yield* seconds(paused, (file) => file.append("text"))).toEqual(["unread", 31])
    }))))
})
