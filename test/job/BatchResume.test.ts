import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Journal from "../../src/job/journal/Journal.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { boundOf, ids, line, numbered, price, prompts, run, world } from "./batches.ts"
import { fullAt, setup, stopAfter } from "./jobs.ts"
import type * as MemoryDisk from "./MemoryDisk.ts"

/** Makes a refusal of a row's answer. */
const refusing = (id: string, file: string) =>
  file.split("\n").map((text) => {
    if (!text.includes(`"${id}"`)) return text
    return JSON.stringify({ custom_id: id, response: { status_code: 400, body: { error: { message: "no" } } } })
  }).join("\n")

/**
 * Takes out of a journal what was noted last: rows by their ids, which are not in the results then, and that parts of these
 * first lines are over.
 */
const forget = (disk: MemoryDisk.Disk, rows: ReadonlyArray<string>, parts: ReadonlyArray<number>) => {
  const path = "in.results.jsonl.journal"
  const lines = disk.text(path).split("\n")
  const names = lines.flatMap((text) =>
    parts.flatMap((from) => /"name":"(job-\w+\.jsonl)"/.exec(text.includes(`"from":${from},`) ? text : "")?.[1] ?? [])
  )
  const gone = (text: string) =>
    rows.some((id) => text.includes(`"id":"${id}"`)) ||
    (text.includes("batch-done") && names.some((name) => text.includes(name)))
  const results = disk.text("in.results.jsonl").split("\n")
  const unwritten = results.filter((text) => !rows.some((id) => text.includes(`"custom_id":"${id}"`))).join("\n")
  return Effect.andThen(
    disk.fs.writeFileString(path, lines.filter((text) => !gone(text)).join("\n")),
    disk.fs.writeFileString("in.results.jsonl", unwritten)
  )
}

describe("BatchJob", () => {
  describe("resume", () => {
    it.effect("collects a row that its batch answered, though a like row further down was answered before", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { custom_id: _, ...bare } = JSON.parse(line(1))
        const twice = `${JSON.stringify(bare)}\n${JSON.stringify(bare)}\n`
        for (const input of [twice, `${JSON.stringify(bare)}\n`]) {
          const disk = yield* setup(twice)
          const provider = world()
          const options = { limits: { maxRows: 1, maxBytes: 1e7 } }
          yield* run(disk, provider, options)
          yield* forget(disk, ["line-1"], [1])
          yield* disk.fs.writeFileString("in.jsonl", input)
          const { report } = yield* run(disk, provider, { ...options, changed: "keep" })
          expect([report.ok, provider.seen.get("POST /v1/batches")]).toEqual([1, 2])
          expect(ids(disk, "in.results.jsonl")).toEqual(["line-1", "line-2"])
        }
      })))

    it.effect("batches the rows of an emulator's batch again, which ended with it, or sends them by calls", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(3))
        const stop = stopAfter("5 seconds")
        const target = Journal.emulator
        const first = yield* run(disk, world(), { target, stop })
        expect([first.stop?._tag, first.running, first.report.warnings]).toEqual(["Interrupted", undefined, [
          "a batch ended with the emulator: the same job run again batches its rows again"
        ]])
        const again = yield* run(disk, world(), { target, select: (line) => line < 3 })
        expect([again.stop, again.report.ok, again.report.warnings]).toEqual([undefined, 2, []])
        const send = () => Effect.succeed({ status: 200, body: {}, attempts: 1 })
        const { report } = yield* JobFiles.run({ input: Input.file("in.jsonl"), send, target }).pipe(
          Effect.provideService(FileSystem.FileSystem, disk.fs)
        )
        expect([report.resumedOk, report.ok]).toEqual([2, 1])
      })))

    it.effect("collects a changed row that was sent again, whatever is said of changed rows then", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        for (const changed of ["keep", "stop", "resend"] as const) {
          const disk = yield* setup(prompts(2))
          const provider = world()
          yield* run(disk, provider)
          yield* disk.fs.writeFileString("in.jsonl", prompts(2).replace("question 2", "another"))
          const stop = stopAfter("5 seconds")
          yield* run(disk, provider, { changed: "resend", stop })
          const { report, uncertainNanoUsd } = yield* run(disk, provider, { changed })
          expect([changed, report.ok, report.resumedOk, uncertainNanoUsd]).toEqual([changed, 1, 1, 0n])
          expect(provider.seen.get("POST /v1/batches")).toBe(2)
          expect(ids(disk, "in.results.jsonl")).toEqual(numbered(1, 2))
        }
      })))

    it.effect("tells of the rows of a batch that are not settled, and of what these may cost", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(6))
        const provider = world()
        yield* run(disk, provider, { price })
        yield* forget(disk, numbered(4, 6), [1])
        const options = { price, stop: stopAfter("1 millis") }
        const { report, running } = yield* run(disk, provider, options)
        expect([running?.rows, running?.nanoUsd, report.inFlight]).toEqual([3, boundOf(4, 6), 3])
        const part = yield* run(disk, provider, { ...options, select: (line) => line <= 4 })
        expect([part.running?.rows, part.running?.nanoUsd]).toEqual([1, boundOf(4, 6)])
        // what is settled is paid, and counts once
        const maxCost = report.resumedNanoUsd + boundOf(4, 6)
        yield* disk.fs.writeFileString("in.jsonl", prompts(7))
        const stopped = yield* run(disk, provider, { price, maxCost: maxCost + boundOf(7, 7), changed: "keep" })
        expect([stopped.stop, stopped.report.ok, stopped.running]).toEqual([undefined, 4, undefined])
      })))

    it.effect("takes off what a batch has settled when a failed row ends the job", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const disk = yield* setup(prompts(300))
        const failing = world(
          {},
          (client) =>
            HttpClient.transform(
              client,
              (effect, request) =>
                Effect.flatMap(effect, (response) =>
                  /files\/[^/]+\/content/.test(request.url)
                    ? Effect.map(
                      Effect.orDie(response.text),
                      (text) => HttpClientResponse.fromWeb(request, new Response(refusing("r3", text)))
                    )
                    : Effect.succeed(response))
            )
        )
        const { report, running, stop } = yield* run(disk, failing, { price, failFast: true })
        expect([stop, report.ok, report.failed, running?.rows]).toEqual([Stop.failedRow, 255, 1, 44])
        expect(running?.nanoUsd).toBe(boundOf(1, 300) - report.nanoUsd)
      })))

    it.effect("waits no longer for space than until it is told to stop", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        for (const path of ["in.results.jsonl.journal", "in.results.jsonl"]) {
          const disk = yield* setup(prompts(3))
          const stop = stopAfter("2 minutes")
          const provider = world()
          const job = run(fullAt(disk, path), provider, { stop, fullDiskWait: "1 hour" })
          const [time, ended] = yield* Effect.timed(Effect.result(job))
          expect(Duration.toMillis(time)).toBe(120_000)
          expect(ended).toMatchObject(
            path.endsWith(".journal")
              ? { failure: { reason: "disk-full", path } }
              : { success: { stop: Stop.interrupted, report: { ok: 3 }, written: 0 } }
          )
          disk.left = Infinity
          expect((yield* run(disk, provider)).written).toBe(3)
        }
      })))
  })
})
