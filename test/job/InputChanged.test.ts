import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { line, numbered, prompts, provider, reply, setup, unpriced } from "./jobs.ts"
import type * as MemoryDisk from "./MemoryDisk.ts"

/** Runs a job whose input is changed once it was read to its end. */
const run = (disk: MemoryDisk.Disk, change: Effect.Effect<void>, more: Partial<JobFiles.Options<never>> = {}) => {
  const { send, sent } = provider()
  const fs = FileSystem.FileSystem.of({
    ...disk.fs,
    stream: (path, options) =>
      path === "in.jsonl" ? Stream.onEnd(disk.fs.stream(path, options), change) : disk.fs.stream(path, options)
  })
  return VirtualClock.wrap(
    JobFiles.run({ input: Input.file("in.jsonl"), send, ...more }).pipe(
      Effect.provideService(FileSystem.FileSystem, fs),
      Effect.map((result) => ({ ...result, sent }))
    )
  )
}

describe("JobFiles", () => {
  describe("input that changes while it is read", () => {
    it.effect("ends as InputChanged, with all that was read in the results, and goes on with the file as it is", () =>
      Effect.gen(function*() {
        for (const text of [prompts(2), prompts(5), prompts(4).replace("r4", "r7")]) {
          const disk = yield* setup(prompts(4))
          const write = Effect.orDie(disk.fs.writeFileString("in.jsonl", text))
          const { stop, written } = yield* run(disk, write)
          expect(stop).toMatchObject({
            _tag: "InputChanged",
            error: { reason: "input-changed", message: expect.stringContaining("changed while the job read it") }
          })
          expect(written).toBe(4)
          const again = yield* run(disk, Effect.void, { changed: "keep" })
          expect([again.stop, again.sent]).toEqual([
            undefined,
            text.includes("r7") ? ["r7"] : text.includes("r5") ? ["r5"] : []
          ])
        }
      }))

    it.effect("is whole where the file is removed, for it was read to its end", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        const { stop, written } = yield* run(disk, Effect.orDie(disk.fs.remove("in.jsonl")))
        expect([stop, written]).toEqual([undefined, numbered(1, 4).length])
      }))

    it.effect("warns where rows were left out besides, and says nothing where the job stopped", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(2) + line("x", "x", "other"))
        const write = Effect.orDie(disk.fs.writeFileString("in.jsonl", prompts(1)))
        const { send } = provider((row) => row.model === "other" ? Effect.fail(unpriced) : Effect.succeed(reply(row)))
        const left = yield* run(disk, write, { send })
        expect([left.stop?._tag, left.report.warnings.length]).toEqual(["Abandoned", 2])
        const stopping = yield* setup(prompts(2))
        const cut = Effect.orDie(stopping.fs.writeFileString("in.jsonl", prompts(1)))
        const { report, stop } = yield* run(stopping, cut, {
          send: provider(() => Effect.never).send,
          stop: Effect.as(Effect.sleep(5), { _tag: "Interrupted" as const }),
          grace: 0
        })
        expect([stop?._tag, report.warnings]).toEqual(["Interrupted", []])
      }))
  })
})
