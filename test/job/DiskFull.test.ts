import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import * as DiskFull from "../../src/job/files/DiskFull.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobError from "../../src/job/JobError.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { fullAt, prompts, provider, setup, stopAfter } from "./jobs.ts"

describe("DiskFull", () => {
  it.effect("waits no longer for space than until it is told to stop", () =>
    Effect.gen(function*() {
      const stop = stopAfter("5 seconds")
      for (const path of ["in.results.jsonl.journal", "in.results.jsonl"]) {
        const disk = yield* setup(prompts(3))
        const options = { stop, fullDiskWait: "1 hour", concurrency: 1 } as const
        const job = JobFiles.run({ input: Input.file("in.jsonl"), send: provider().send, ...options }).pipe(
          Effect.provideService(FileSystem.FileSystem, fullAt(disk, path).fs)
        )
        const [time, error] = yield* VirtualClock.wrap(Effect.timed(Effect.flip(job)))
        expect(error.message).toContain(`the disk is full: ${path} cannot grow`)
        expect(Duration.toMillis(time)).toBe(5000)
      }
    }))

  it("tells a file that may not grow from a disk without space", () => {
    const words = JobError.platformFailure(JobError.OutputError, "f", { full: "f cannot grow.", other: () => "other" })
    const failed = (code: string) => {
      const cause = Object.assign(new Error(code), { code })
      return words(PlatformError.systemError({ _tag: "Unknown", module: "FileSystem", method: "write", cause }))
    }
    expect(failed("ENOSPC")).toMatchObject({ reason: "disk-full", message: "f cannot grow." })
    const { message, reason } = failed("EFBIG")
    expect(reason).toBe("disk-full")
    expect(message).toMatch(/^f cannot grow\. .* lift its limit \(ulimit -f\)/)
  })

  it.effect("tells of each try, how long it still waits, and that the wait is over", () =>
    Effect.gen(function*() {
      const full = PlatformError.systemError({ _tag: "WriteZero", module: "FileSystem", method: "writeAll" })
      for (const wait of ["3 seconds", 0] as const) {
        const heard: Array<string> = []
        const write = DiskFull.retry("f", {
          fullDiskWait: wait,
          onFullDisk: (path, millisLeft) => void heard.push(`${path} ${millisLeft}`)
        })
        let left = 3
        const outcome = yield* VirtualClock.wrap(
          Effect.exit(write(Effect.suspend(() => left-- > 0 ? Effect.fail(full) : Effect.void)))
        )
        expect([Exit.isSuccess(outcome), heard]).toEqual(
          wait === 0 ? [false, []] : [true, ["f 3000", "f 2000", "f 1000", "f 0"]]
        )
      }
    }))
})
