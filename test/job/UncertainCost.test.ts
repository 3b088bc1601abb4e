import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { ServerError } from "../../src/domain/TogetherError.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Price from "../../src/policy/Price.ts"
import * as UncertainCost from "../../src/job/files/UncertainCost.ts"
import * as Input from "../../src/job/Input.ts"
import { JournalError } from "../../src/job/JobError.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Journal from "../../src/job/journal/Journal.ts"
import * as MemoryJournal from "../../src/job/journal/MemoryJournal.ts"
import * as Sender from "../../src/job/Sender.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as CallWatch from "../../src/together/CallWatch.ts"
import * as PriceTable from "../../src/together/PriceTable.ts"
import * as Together from "../../src/together/Together.ts"
import { fullAt, prompts, provider, reply, row, setup, slow, stopAfter } from "./jobs.ts"

const path = "in.results.jsonl.journal"

/** Is a ledger that a test writes. */
const ledger = () => ({ settled: 0n, uncertain: 0n, reserved: 0n })

/** Reads what a run that began now would find of one that was killed now. */
const left = Effect.map(Journal.peek(path), ({ nanoUsd, uncertainNanoUsd }) => [nanoUsd, uncertainNanoUsd])

/** Counts the lines of a journal that are no rows. */
const notes = (journal: string) => journal.split("\n").filter((line) => line.includes("\"name\":\"uncertain\"")).length

/** A client whose provider gives up every generation at 4 tokens in and 6 out, each at a thousand nano-dollars. */
const givingUp = Together.layerHttp({
  apiKey: Redacted.make("k"),
  prices: PriceTable.lookup([Price.stated({ model: "m", inputUsdPerMillion: "1", outputUsdPerMillion: "1" })])
}).pipe(
  Layer.provide(Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) => {
      const choices = [{ index: 0, finish_reason: "error", message: { role: "assistant", content: "Half" } }]
      const usage = { prompt_tokens: 4, completion_tokens: 6, total_tokens: 10 }
      return Reply.send(Reply.json({ choices, usage }), request)
    })
  )),
  Layer.provideMerge(Credits.layer({ budgets: [Budget.perRun("$0.05")] }))
)

/**
 * A client whose provider bills a thousand nano-dollars for each of 4 tokens in and 6 out as it takes a request, and answers
 * after a second; the requests whose turns are given it refuses unbilled, or bills and never answers.
 */
const billing = ({ lost = [], refused = [] }: Partial<Record<"lost" | "refused", ReadonlyArray<number>>> = {}) => {
  const bill = { nanoUsd: 0, requests: 0 }
  const answer = Reply.json({
    choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content: "An answer" } }],
    usage: { prompt_tokens: 4, completion_tokens: 6, total_tokens: 10 }
  })
  const http = HttpClient.make((request) =>
    Effect.suspend(() => {
      const turn = ++bill.requests
      if (refused.includes(turn)) {
        return Reply.send(Reply.json({ error: { message: "busy" } }, { status: 503 }), request)
      }
      bill.nanoUsd += 10_000
      return lost.includes(turn) ? Effect.never : Effect.delay(Reply.send(answer, request), 1000)
    })
  )
  const layer = Together.layerHttp({
    apiKey: Redacted.make("k"),
    prices: PriceTable.lookup([Price.stated({ model: "m", inputUsdPerMillion: "1", outputUsdPerMillion: "1" })])
  }).pipe(
    Layer.provide(Layer.succeed(HttpClient.HttpClient, http)),
    Layer.provideMerge(Credits.layer({ budgets: [Budget.perRun("$5")] }))
  )
  return { bill, layer }
}

/** Runs a job over that client, and asks at each of the times what a kill would leave, and what was billed by then. */
const killed = (times: ReadonlyArray<number>, rows: number, { bill, layer }: ReturnType<typeof billing>) =>
  VirtualClock.wrap(Effect.gen(function*() {
    const disk = yield* setup(prompts(rows))
    return yield* Effect.gen(function*() {
      const credits = yield* Credits.Credits
      const send = yield* Sender.together({ retry: Schedule.spaced("3 seconds") })
      const options = { input: Input.file("in.jsonl"), send, spending: credits.tally(), concurrency: 4 }
      const run = yield* Effect.forkChild(JobFiles.run(options))
      const found: Array<
        { readonly at: number; readonly told: number; readonly assumed: number; readonly billed: number }
      > = []
      for (const at of times) {
        yield* Effect.sleep(at - (found.at(-1)?.at ?? 0))
        const { nanoUsd: told, uncertainNanoUsd: assumed } = yield* Journal.peek(path)
        found.push({ at, told, assumed, billed: bill.nanoUsd })
      }
      yield* Fiber.join(run)
      return { found, end: yield* left, tally: yield* credits.tally(), journal: disk.text(path) }
    }).pipe(Effect.provide(layer), Effect.provideService(FileSystem.FileSystem, disk.fs))
  }))

/**
 * Follows attempts of 10 nano-dollars each that last so many milliseconds, over a journal whose notes wait for a turn before
 * they have their place, and are durable when the test says so.
 */
const noting = (
  during: (followed: {
    readonly send: (id: string, millis?: number) => Effect.Effect<Fiber.Fiber<unknown, unknown>>
    readonly sent: ReadonlyArray<string>
    readonly lines: ReadonlyArray<number>
    readonly sync: Effect.Effect<void>
    /** Has what is noted from now on wait for the next `sync`. */
    readonly hold: Effect.Effect<void>
    readonly refuse: Effect.Effect<void>
  }) => Effect.Effect<void>
) =>
  VirtualClock.wrap(Effect.gen(function*() {
    const sent: Array<string> = []
    const lines: Array<number> = []
    let disk = Deferred.makeUnsafe<void, JournalError>()
    const journal: Journal.Journal = {
      ...MemoryJournal.make({ answers: false }),
      note: (_, value, placed) =>
        Effect.andThen(
          Effect.yieldNow,
          Effect.suspend(() => {
            lines.push(Number(value))
            placed?.()
            return Deferred.await(disk)
          })
        ),
      flush: Effect.suspend(() => lines.length === 0 ? Effect.void : Deferred.await(disk))
    }
    const uncertainCost = UncertainCost.make(journal)
    const spending = Effect.succeed({ settled: 0n, uncertain: 0n, reserved: 1000n })
    yield* uncertainCost.follow({ spending, stop: Effect.never }, ({ sending }) => {
      const calling = sending((row) =>
        Effect.flatMap(CallWatch.Current, (watch) =>
          CallWatch.outlaid(
            Effect.suspend(() => {
              sent.push(row.id)
              return Effect.as(Effect.sleep(row.line), reply(row))
            }),
            watch!,
            10n,
            () => false
          ))
      )
      const send = (id: string, millis = 0) =>
        Effect.forkChild(
          Effect.provideService(calling({ ...row, id, line: millis }), CallWatch.Current, {
            onWire: false,
            attempts: 0,
            isStopped: () => false
          }),
          { startImmediately: true }
        )
      const sync = Effect.suspend(() => Effect.asVoid(Deferred.succeed(disk, undefined)))
      const followed = {
        send,
        sent,
        lines,
        sync,
        hold: Effect.sync(() => void (disk = Deferred.makeUnsafe())),
        refuse: Effect.asVoid(
          Deferred.fail(disk, new JournalError({ message: "full", reason: "disk-full", path: "j" }))
        )
      }
      return Effect.ensuring(during(followed), sync)
    })
    expect(uncertainCost.noted()).toBe(BigInt(lines.reduce((sum, value) => sum + value, 0)))
  }))

describe("UncertainCost", () => {
  it.effect("takes nothing for noted whose line has no place yet", () =>
    noting(Effect.fnUntraced(function*({ lines, send, sent, sync }) {
      yield* send("a")
      // before the note of the first one has its place
      yield* send("b")
      expect(lines).toEqual([])
      yield* Effect.sleep(100)
      expect([sent, lines.length]).toEqual([[], 2])
      yield* sync
      yield* Effect.sleep(100)
      expect(sent).toEqual(["a", "b"])
    })))

  it.effect("notes nothing for an attempt that is interrupted before its line has a place", () =>
    noting(Effect.fnUntraced(function*({ lines, send, sync }) {
      yield* Fiber.interrupt(yield* send("a"))
      yield* sync
      expect(lines).toEqual([])
    })))

  it.effect("has an attempt wait for a note whose own attempt was interrupted while it waited", () =>
    noting(Effect.fnUntraced(function*({ lines, send, sent, sync }) {
      const first = yield* send("a")
      yield* Effect.sleep(100)
      yield* Fiber.interrupt(first)
      yield* send("b")
      yield* Effect.sleep(100)
      // what was noted for the first is enough for the second
      expect([sent, lines]).toEqual([[], [21]])
      yield* sync
      yield* Effect.sleep(100)
      yield* send("c")
      expect(sent).toEqual(["b", "c"])
    })))

  it.effect("sends nothing after a note that failed, whoever waited for it", () =>
    noting(Effect.fnUntraced(function*({ refuse, send, sent }) {
      yield* send("a")
      yield* Effect.sleep(100)
      yield* refuse
      yield* send("b")
      yield* Effect.sleep(100)
      expect(sent).toEqual([])
    })))

  it.effect("keeps for a second what was due at once, and takes nothing back that is little", () =>
    noting(Effect.fnUntraced(function*({ lines, send, sync }) {
      yield* sync
      for (let i = 1; i <= 9; i++) {
        yield* send(`${i}`, i === 1 ? 500 : i === 9 ? 9000 : 4500)
        yield* Effect.sleep(1)
      }
      const noted = () => lines.reduce((sum, value) => sum + value, 0)
      const raises = lines.length
      // 90, an eighth and one attempt; from 500 ms on 80 are due
      for (const at of [1, 2, 3, 4]) {
        yield* Effect.sleep(at === 1 ? 1100 : 1000)
        expect([noted(), lines.length]).toEqual([111, raises])
      }
      // of the second in which the others ended 80 are due
      yield* Effect.sleep(1000)
      expect(noted()).toBe(111)
      yield* Effect.sleep(1000)
      expect(noted()).toBe(21)
    })))

  it.effect("has no attempt wait for what is taken back, nor for what is durable", () =>
    noting(Effect.fnUntraced(function*({ hold, lines, send, sent, sync }) {
      yield* sync
      for (const id of ["a", "b", "c"]) {
        yield* send(id, id === "a" ? 9000 : 100)
        yield* Effect.sleep(1)
      }
      yield* hold
      yield* Effect.sleep(2100)
      expect(lines.at(-1)).toBeLessThan(0)
      yield* send("d")
      expect(sent).toEqual(["a", "b", "c", "d"])
    })))

  it.effect("notes nothing for a row that says itself what was charged", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(3))
      const spent = ledger()
      const { send } = provider((row) => Effect.sync(() => (spent.settled += 5n, reply(row))))
      const spending = Effect.sync(() => ({ ...spent }))
      yield* JobFiles.run({ input: Input.file("in.jsonl"), send, spending, concurrency: 1 }).pipe(
        Effect.provideService(FileSystem.FileSystem, disk.fs)
      )
      expect(disk.text(path)).not.toMatch(/besides|uncertain/)
    })))

  it.effect("has noted at every moment what a kill leaves billed, and takes it back", () =>
    Effect.gen(function*() {
      const times = Array.from({ length: 24 }, (_, i) => 1 + i * 131)
      const { end, found, journal } = yield* killed(times, 12, billing())
      for (const { assumed, billed, told } of found) expect(told + assumed).toBeGreaterThanOrEqual(billed)
      expect(found[5]!.assumed).toBeGreaterThan(40_000)
      expect([end, journal.includes("\"besides\":")]).toEqual([[120_000, 0], false])
      // while the first four begin, and where it falls back
      expect(notes(journal)).toBeLessThan(8)
    }))

  it.effect("keeps what one call after another needs, also while a row is being written", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(20))
      const { layer } = billing()
      yield* Effect.gen(function*() {
        const spending = (yield* Credits.Credits).tally()
        yield* JobFiles.run({ input: Input.file("in.jsonl"), send: yield* Sender.together(), spending, concurrency: 1 })
      }).pipe(Effect.provide(layer), Effect.provideService(FileSystem.FileSystem, slow(disk.fs, 50)))
      // one as it begins, one as it ends
      expect(notes(disk.text(path))).toBe(2)
    })))

  it.effect("counts nothing of an attempt that was refused, while its retry waits", () =>
    Effect.gen(function*() {
      const { end, found } = yield* killed([500, 2900, 3500], 1, billing({ refused: [1] }))
      const [refused, waiting, sent] = found
      expect([refused!.billed, waiting!.billed, waiting!.assumed, sent!.billed]).toEqual([0, 0, 0, 10_000])
      expect(sent!.assumed).toBeGreaterThanOrEqual(10_000)
      expect(end).toEqual([10_000, 0])
    }))

  it.effect("counts an attempt that was lost until its ledger charges it, and its bound from then on", () =>
    Effect.gen(function*() {
      const { end, found, tally } = yield* killed([100, 70_000], 1, billing({ lost: [1] }))
      for (const { assumed, billed } of found) expect(assumed).toBeGreaterThanOrEqual(billed)
      expect(tally.uncertain).toBeGreaterThan(0n)
      expect(end).toEqual([10_000, Number(tally.uncertain)])
    }))

  it.effect("counts a stream as long as it goes on", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(1))
      const http = HttpClient.make((request) =>
        Reply.send(Reply.stream(["a", "b", "c"], { every: "2 seconds" }), request)
      )
      const prices = PriceTable.lookup([
        Price.stated({ model: "m", inputUsdPerMillion: "1", outputUsdPerMillion: "1" })
      ])
      const layer = Together.layerHttp({ apiKey: Redacted.make("k"), prices }).pipe(
        Layer.provide(Layer.succeed(HttpClient.HttpClient, http)),
        Layer.provideMerge(Credits.layer())
      )
      yield* Effect.gen(function*() {
        const client = yield* Together.Together
        const spending = (yield* Credits.Credits).tally()
        const messages = [{ role: "user" as const, content: "Hi" }]
        const run = yield* Effect.forkChild(JobFiles.run({
          input: Input.file("in.jsonl"),
          spending,
          send: (row) =>
            Effect.as(Stream.runDrain(client.chatStream({ model: "m", max_tokens: 9, messages })), {
              ...reply(row),
              nanoUsd: undefined
            })
        }))
        yield* Effect.sleep(4500)
        expect([(yield* spending).settled, (yield* left)[1]! > 9000]).toEqual([0n, true])
        yield* Fiber.join(run)
        expect((yield* left)[1]).toBe(Number((yield* spending).settled))
      }).pipe(Effect.provide(layer), Effect.provideService(FileSystem.FileSystem, disk.fs))
    })))

  it.effect("sends nothing that cannot be noted, and fails the job", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(2))
      const { bill, layer } = billing()
      const told = yield* Effect.gen(function*() {
        const send = yield* Sender.together()
        const spending = (yield* Credits.Credits).tally()
        const fs = fullAt(disk, path, "uncertain").fs
        return yield* Effect.flip(
          JobFiles.run({ input: Input.file("in.jsonl"), send, spending }).pipe(
            Effect.provideService(FileSystem.FileSystem, fs)
          )
        )
      }).pipe(Effect.provide(layer))
      expect([told._tag, told.reason, bill.requests]).toEqual(["JournalError", "disk-full", 0])
    })))

  it.effect("notes with each row what has grown, so that a run that is killed leaves it", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(20))
      const spent = ledger()
      // answers that tell no usage: the ledger assumes their bound
      const { send } = provider((row) =>
        Effect.delay(
          Effect.sync(() => {
            spent.uncertain += 9n
            return { ...reply(row), nanoUsd: undefined }
          }),
          30
        )
      )
      const input = Input.file("in.jsonl")
      const options = { input, send, concurrency: 2, spending: Effect.sync(() => ({ ...spent })) }
      yield* Effect.gen(function*() {
        const run = yield* Effect.forkChild(JobFiles.run(options))
        yield* Effect.sleep(100)
        expect([spent.uncertain, yield* left]).toEqual([54n, [0, 54]])
        expect((yield* Fiber.join(run)).uncertainNanoUsd).toBe(180n)
        expect([yield* left, notes(disk.text(path))]).toEqual([[0, 180], 0])
      }).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))
    })))

  it.effect("notes each second what attempts have cost whose row has not settled", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(1))
      const spent = ledger()
      const { send } = provider((row) =>
        Effect.gen(function*() {
          for (let lost = 0; lost < 40; lost++) {
            yield* Effect.sleep(100)
            spent.uncertain += 3n
          }
          return reply(row)
        })
      )
      yield* Effect.gen(function*() {
        const spending = Effect.sync(() => ({ ...spent }))
        const run = yield* Effect.forkChild(JobFiles.run({ input: Input.file("in.jsonl"), send, spending }))
        yield* Effect.sleep(3050)
        expect((yield* left)[1]).toBeGreaterThanOrEqual(87)
        yield* Fiber.join(run)
        expect(yield* left).toEqual([5, 120])
      }).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))
    })))

  it.effect("notes at a stop what calls under way may cost, and takes back what they did not", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(3))
      const spent = ledger()
      const { send } = provider((row) =>
        Effect.gen(function*() {
          spent.reserved += 50n
          yield* Effect.sleep(500)
          spent.reserved -= 50n
          spent.settled += 5n
          return reply(row)
        })
      )
      const stop = stopAfter(300)
      const spending = Effect.sync(() => ({ ...spent }))
      yield* Effect.gen(function*() {
        const options = { input: Input.file("in.jsonl"), send, spending, stop, concurrency: 2 }
        const run = yield* Effect.forkChild(JobFiles.run(options))
        yield* Effect.sleep(320)
        expect(yield* left).toEqual([0, 100])
        expect((yield* Fiber.join(run)).uncertainNanoUsd).toBe(0n)
        expect(yield* left).toEqual([10, 0])
      }).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))
    })))

  it.effect("notes what a failure told of its cost where its row stays undone", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(prompts(2))
      const spent = ledger()
      const { send } = provider((row) =>
        Effect.suspend(() => {
          spent.settled += 7n
          return row.id === "r2" ? Effect.fail(new ServerError({ message: "given up", status: 500 })) : Effect.succeed({
            ...reply(row),
            nanoUsd: 7n
          })
        })
      )
      const stop = stopAfter(500)
      const spending = Effect.sync(() => ({ ...spent }))
      yield* Effect.gen(function*() {
        yield* JobFiles.run({ input: Input.file("in.jsonl"), send, spending, stop })
        expect(yield* left).toEqual([7, 7])
      }).pipe(Effect.provideService(FileSystem.FileSystem, disk.fs))
    })))

  it.effect("has a row say what its failed generation cost, and counts nothing of it twice", () =>
    VirtualClock.wrap(
      Effect.gen(function*() {
        const disk = yield* setup(prompts(4))
        const credits = yield* Credits.Credits
        const send = yield* Sender.together()
        const spending = credits.tally()
        const { report, uncertainNanoUsd } = yield* JobFiles.run({ input: Input.file("in.jsonl"), send, spending })
          .pipe(
            Effect.provideService(FileSystem.FileSystem, disk.fs)
          )
        expect([report.failed, report.nanoUsd, report.outputTokens, uncertainNanoUsd]).toEqual([4, 40_000n, 24, 0n])
        expect((yield* spending).settled).toBe(40_000n)
        expect(disk.text(path)).toContain("\"in\":4,\"out\":6,\"nano\":10000")
      }).pipe(Effect.provide(givingUp))
    ))
})
