import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import { AuthError, InsufficientCreditsError, InvalidRequestError } from "../../src/domain/TogetherError.ts"
import * as Input from "../../src/job/Input.ts"
import { OutputError } from "../../src/job/JobError.ts"
import * as Job from "../../src/job/Job.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Journal from "../../src/job/journal/Journal.ts"
import * as Report from "../../src/job/Report.ts"
import * as Row from "../../src/job/Row.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import {
  errors,
  ids,
  line,
  numbered,
  prompts,
  provider,
  reply,
  results,
  run,
  setup,
  slow,
  stopAfter,
  unpriced
} from "./jobs.ts"

/** Makes numbers in [0, 1) from a seed (the generator is mulberry32). */
const random = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

const rows = (count: number) => Stream.map(Stream.range(1, count), (n) => Row.parse(line(`r${n}`), n))

describe("Job", () => {
  describe("order input", () => {
    it.effect("hands on what was answered behind a row that a stop cuts off, in order", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(20))
        const late = provider((row) => Effect.delay(Effect.succeed(reply(row)), row.line % 7 === 1 ? 60_000 : 5))
        const { report, written } = yield* run(disk, {
          send: late.send,
          order: "input",
          stop: stopAfter(500)
        })
        const answered = numbered(1, 20).filter((_, at) => at % 7 !== 0)
        expect([Report.done(report), written]).toEqual([17, 17])
        expect(ids(results(disk))).toEqual(answered)
        const again = provider()
        const second = yield* run(disk, { send: again.send, order: "input" })
        expect(again.sent).toEqual(["r1", "r8", "r15"])
        expect([second.written, ids(results(disk))]).toEqual([20, numbered(1, 20)])
        // the job itself hands them on, wherever they go
        const handed: Array<string | undefined> = []
        const stopped = yield* VirtualClock.wrap(Effect.flip(Stream.runForEach(
          Job.stream(rows(20), {
            send: late.send,
            order: "input",
            concurrency: 4,
            stop: stopAfter(500)
          }),
          (row) => Effect.sync(() => handed.push(row.id))
        )))
        expect([stopped._tag, handed]).toEqual(["UndoneError", answered])
      }))
  })

  describe("a failure beside the rows", () => {
    it.effect("breaks with the cause where what asks it to stop dies, whoever waits for that", () =>
      Effect.gen(function*() {
        const bug = new Error("a bug")
        const disk = yield* setup(prompts(3))
        const late = provider((row) => Effect.delay(Effect.succeed(reply(row)), 60_000))
        const options = { send: late.send, stop: Effect.andThen(Effect.sleep(500), Effect.die(bug)) }
        const [time, exit] = yield* VirtualClock.wrap(Effect.timed(Effect.exit(
          Effect.provideService(
            JobFiles.run({ input: Input.file("in.jsonl"), ...options }),
            FileSystem.FileSystem,
            disk.fs
          )
        )))
        expect([Duration.toMillis(time), exit]).toEqual([1500, Exit.die(bug)])
        expect(yield* VirtualClock.wrap(Effect.exit(Job.drive(rows(3), options, () => Effect.void)))).toEqual(
          Exit.die(bug)
        )
      }))

    it.effect("lets rows under way be answered within the grace, and sends no other", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(100))
        yield* run(disk, { send: provider().send, select: (n) => n === 60 })
        const late = provider((row) => Effect.delay(Effect.succeed(reply(row)), row.line === 45 ? 5000 : 300))
        // line 60 asks for something else than when it was answered; the reader comes to it when most rows before were sent
        const row = { body: { max_tokens: 5 } }
        const error = yield* Effect.flip(run(disk, { send: late.send, row, concurrency: 10 }))
        expect(error).toMatchObject({ _tag: "JournalError", reason: "row-changed" })
        expect(late.sent).toContain("r45")
        expect([late.cutOff, late.sent.includes("r59")]).toEqual([["r45"], false])
        const again = provider()
        yield* run(disk, { send: again.send, row, changed: "keep" })
        const left = numbered(1, 100).filter((id) => id === "r45" || (id !== "r60" && !late.sent.includes(id)))
        expect(again.sent).toEqual(left)
      }))

    it.effect("journals the answers that an output does not take any more", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(40))
        const closed = new OutputError({ message: "broken pipe", reason: "unwritable", path: "-" })
        const late = provider((row) => Effect.delay(Effect.succeed(reply(row)), row.line === 1 ? 10 : 400))
        const writer = { _tag: "Writer", write: () => Effect.fail(closed) } as const
        const error = yield* Effect.flip(run(disk, { send: late.send, results: writer, concurrency: 20 }))
        expect(error).toMatchObject({ _tag: "OutputError", message: "broken pipe" })
        expect(late.cutOff).toEqual([])
        expect(yield* disk.fs.exists("in.errors.jsonl")).toBe(false)
        const again = provider()
        const { written } = yield* run(disk, {
          send: again.send,
          results: { _tag: "Writer", write: () => Effect.void }
        })
        expect(again.sent.filter((id) => late.sent.includes(id))).toEqual([])
        expect([again.sent.length + late.sent.length, written]).toEqual([40, 40])
      }))

    it.effect("hands on what was settled before the rows' own stream failed", () =>
      Effect.gen(function*() {
        const broken = Stream.concat(
          rows(3),
          Stream.fromEffect(Effect.delay(Effect.fail("the source broke" as const), 100))
        )
        const seen: Array<string> = []
        const { send } = provider((row) => Effect.delay(Effect.succeed(reply(row)), 200))
        const error = yield* VirtualClock.wrap(Effect.flip(
          Stream.runForEach(Job.stream(broken, { send }), (row) => Effect.sync(() => seen.push(row.id ?? "")))
        ))
        expect([error, seen.toSorted()]).toEqual(["the source broke", numbered(1, 3)])
      }))
  })

  describe("interruption", () => {
    it.effect("counts and hands on each answer that becomes durable while the job stops", () =>
      Effect.gen(function*() {
        const disk = yield* setup(prompts(8))
        // a slow disk: the answers are there at the stop, and durable only after the grace
        const fs = slow(disk.fs)
        const report = Report.make(0)
        const { send, sent } = provider()
        const settled: Array<string> = []
        yield* VirtualClock.wrap(
          Effect.scoped(Effect.gen(function*() {
            const journal = yield* Journal.open({ path: "x.journal", input: { path: "in.jsonl" } })
            yield* Job.drive(rows(8), {
              send,
              journal,
              report,
              concurrency: 4,
              grace: 100,
              stop: stopAfter(1000)
            }, (batch) => Effect.sync(() => settled.push(...batch.map((row) => row.id ?? ""))))
          })).pipe(Effect.provideService(FileSystem.FileSystem, fs))
        )
        expect(settled.toSorted()).toEqual(sent.toSorted())
        expect(report.ok).toBe(sent.length)
      }))

    it.effect("counts and hands on a bad line that becomes durable while the job stops", () =>
      Effect.gen(function*() {
        const text = `${line("a")}no JSON\n${line("b")}`
        for (const order of ["completion", "input"] as const) {
          const disk = yield* setup(text)
          const { report, written } = yield* VirtualClock.wrap(
            JobFiles.run({
              input: Input.file("in.jsonl"),
              send: provider(() => Effect.never).send,
              order,
              stop: stopAfter(5000)
            }).pipe(Effect.provideService(FileSystem.FileSystem, slow(disk.fs, 9000)))
          )
          expect([report.bad, written, errors(disk).map((row) => row.line)]).toEqual([1, 1, [2]])
        }
      }))

    it.effect("loses no answer and asks for none twice, whenever it is stopped", () =>
      Effect.gen(function*() {
        for (let seed = 1; seed <= 14; seed++) {
          const next = random(seed)
          const count = 5 + Math.floor(next() * 30)
          const order = next() < 0.5 ? "input" : "completion"
          const disk = yield* setup(prompts(count))
          const answered: Array<string> = []
          const { send } = provider((row) =>
            Effect.suspend(() => Effect.sleep(Math.floor(next() * 20) * 20)).pipe(
              Effect.andThen(Effect.sync(() => {
                answered.push(row.id)
                return reply(row)
              }))
            )
          )
          // times and grace are of the same coarse grain, so that answers often come in the very moment of the end
          for (let runs = 0;; runs++) {
            const stop = Effect.as(Effect.sleep(20 + Math.floor(next() * 20) * 20), Stop.interrupted)
            const grace = Math.floor(next() * 20) * 20
            const ended = yield* run(disk, { send, order, concurrency: 6, stop, grace })
            // the files may hold more than the run has come by: what earlier runs answered further down
            expect([seed, runs, Math.max(0, Report.done(ended.report) - ended.written)]).toEqual([seed, runs, 0])
            if (ended.stop === undefined) break
          }
          expect([seed, answered.toSorted()]).toEqual([seed, numbered(1, count).toSorted()])
          const written = ids(results(disk))
          expect([seed, order === "input" ? written : written.toSorted()]).toEqual([
            seed,
            order === "input" ? numbered(1, count) : numbered(1, count).toSorted()
          ])
        }
      }), 60_000)

    it.effect("ends at once where nobody takes settled rows any more", () =>
      Effect.gen(function*() {
        const { send } = provider()
        const stuck = Job.drive(rows(5000), { send, concurrency: 4 }, () => Effect.never)
        const ended = yield* VirtualClock.wrap(Effect.timeoutOption(stuck, "5 seconds"))
        expect(ended._tag).toBe("None")
      }))
  })

  describe("stream", () => {
    it.effect("hands out each settled row of a program's own stream", () =>
      Effect.gen(function*() {
        const settled = yield* Stream.runCollect(Job.stream(rows(10), { send: provider().send, concurrency: 3 }))
        expect(settled.map((row) => row.id ?? "").toSorted()).toEqual(numbered(1, 10).toSorted())
        expect(settled[0]?.reply?.body).toMatchObject({ text: "r1" })
      }))

    it.effect("needs no more workers than it has rows", () =>
      Effect.gen(function*() {
        const settled = yield* Stream.runCollect(
          Job.stream(rows(3), { send: provider().send, concurrency: 1_000_000_000 })
        )
        expect(settled).toHaveLength(3)
      }))

    it.effect("hands out the failures of its rows' stream as its own", () =>
      Effect.gen(function*() {
        const broken = Stream.concat(rows(3), Stream.fail("the source broke" as const))
        const error = yield* Effect.flip(Stream.runDrain(Job.stream(broken, { send: provider().send })))
        expect(error).toBe("the source broke")
      }))

    it.effect.each([
      new AuthError({ message: "the key is wrong" }),
      new InsufficientCreditsError({ message: "the balance is empty" })
    ])("fails at its end where rows are left undone, with the reason", (error) =>
      Effect.gen(function*() {
        const seen: Array<string | undefined> = []
        const { send } = provider((row) => row.line <= 3 ? Effect.succeed(reply(row)) : Effect.fail(error))
        const undone = yield* VirtualClock.wrap(Effect.flip(
          Stream.runForEach(
            Job.stream(rows(10), { send, concurrency: 1 }),
            (row) => Effect.sync(() => seen.push(row.id))
          )
        ))
        expect(seen).toEqual(numbered(1, 3))
        expect(undone).toMatchObject({
          _tag: "UndoneError",
          message: `Rows were left undone: ${error.message}`,
          ending: { stop: { _tag: "Refused", error } }
        })
      }))

    it.effect.each<readonly [string, Partial<Job.Options<never>>]>([
      ["a failed row that is the last", { failFast: true }],
      ["a stop whose grace suffices for the rest", { stop: stopAfter(2500) }],
      ["a time that ends so late", { maxTime: 2500 }]
    ])("ends well after %s, for no row is left undone", ([, options]) =>
      Effect.gen(function*() {
        const refused = new InvalidRequestError({ message: "no" })
        const { send } = provider((row) =>
          Effect.delay(row.line < 3 ? Effect.succeed(reply(row)) : Effect.fail(refused), 1000)
        )
        const settled = yield* VirtualClock.wrap(
          Stream.runCollect(Job.stream(rows(3), { send, concurrency: 1, ...options }))
        )
        expect(settled.map((row) => row.id)).toEqual(["r1", "r2", "r3"])
      }))

    it.effect("fails at its end where its time is up", () =>
      Effect.gen(function*() {
        const { send } = provider(() => Effect.never)
        const undone = yield* VirtualClock.wrap(
          Effect.flip(Stream.runDrain(Job.stream(rows(10), { send, maxTime: "1 minute" })))
        )
        expect(undone.message).toBe("Rows were left undone: the job's time was up")
      }))

    it.effect("fails at its end where a model's rows have no price", () =>
      Effect.gen(function*() {
        const { send } = provider(() => Effect.fail(unpriced))
        const undone = yield* Effect.flip(Stream.runDrain(Job.stream(rows(10), { send })))
        expect(undone).toMatchObject({
          message: expect.stringContaining("Rows were left undone: of m, the price of m is unknown"),
          ending: { stop: Stop.abandoned, abandoned: new Map([["m", { rows: 10 }]]) }
        })
      }))

    it.effect("ends what is under way when its reader has enough", () =>
      Effect.gen(function*() {
        let interrupted = 0
        const { send } = provider((row) =>
          row.line <= 2
            ? Effect.succeed(reply(row))
            : Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
        )
        const taken = yield* Stream.runCollect(Stream.take(Job.stream(rows(10), { send, concurrency: 5 }), 2))
        expect(taken.length).toBe(2)
        expect(interrupted).toBeGreaterThan(0)
      }))

    it.effect("sends identical requests once without a journal, too", () =>
      Effect.gen(function*() {
        const twins = Stream.map(Stream.range(1, 6), (n) => Row.parse(line(`r${n}`, "the same"), n))
        const { send, sent } = provider()
        const settled = yield* Stream.runCollect(Job.stream(twins, { send, dedupe: true, order: "input" }))
        expect([sent.length, settled.map((row) => row.id)]).toEqual([1, numbered(1, 6)])
        expect(new Set(settled.map((row) => JSON.stringify(row.reply?.body))).size).toBe(1)
      }))

    it("refuses a concurrency that is none, and a grace that is no time", () => {
      const { send } = provider()
      expect(() => Job.stream(rows(1), { send, concurrency: 0 })).toThrow(
        "Job.stream: concurrency must be an integer >= 1, got 0"
      )
      expect(() => Job.stream(rows(1), { send, order: "file" as "input" })).toThrow(
        "Job.stream: order must be one of completion, input, got file"
      )
      expect(() => Job.stream(rows(1), { send, grace: -1 })).toThrow("Job.stream: grace must be at least 0, got -1 ms")
    })
  })
})
