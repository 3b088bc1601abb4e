import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/files/JobFiles.ts"
import * as Report from "../../src/job/Report.ts"
import * as Sender from "../../src/job/Sender.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as TogetherTest from "../../src/testing/TogetherTest.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"
import * as jobs from "./jobs.ts"
import { line, numbered, setup, stopAfter } from "./jobs.ts"

/** Milliseconds that the provider takes for an answer. */
const latency = 400

const model = "openai/gpt-oss-20b"

const text = numbered(1, 200).map((id) => line(id, id, model)).join("")

/** Is what a run did, and when. */
interface Ran {
  readonly result: JobFiles.Result
  /** Milliseconds between the stop and the end. */
  readonly after: number
  /** Requests that came to the provider, and those of them after the stop. */
  readonly arrivals: number
  readonly late: number
  /** Rows that were sent, however often. */
  readonly sent: number
  /** Requests that were cut off. */
  readonly cancelled: number
  readonly uncertain: bigint
  /** What the guards still hold: calls in flight and queued, and open reservations. */
  readonly held: number
}

/** Runs 200 rows through a client of the real stack, and stops it. */
const stopped = (
  how: Partial<JobFiles.Options<never>>,
  { clientOptions, credits = {}, input = text, lanes = {}, provider, stopAt = 1000 }: {
    readonly clientOptions?: Partial<Together.Options>
    readonly credits?: Credits.Options
    readonly input?: string
    readonly lanes?: Lanes.Options
    readonly provider?: Simulation.Options
    /** Milliseconds of the run. */
    readonly stopAt?: number
  } = {}
): Effect.Effect<Ran, unknown> =>
  VirtualClock.wrap(Effect.gen(function*() {
    const disk = yield* setup(input)
    const { client, control } = SimulatedProvider.make({
      unknownModels: "accept",
      limits: {},
      latency: { kind: "constant", value: latency / 1000 },
      ...provider
    }, 1)
    const began = yield* Clock.currentTimeMillis
    let late = 0
    const sent = new Set<string>()
    const counting = HttpClient.transform(client, (effect, request) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        sent.add(JSON.stringify(request.body))
        if (now > began + stopAt) late++
        return effect
      }))
    const layer = Together.layerHttp({ apiKey: Redacted.make("k"), ...clientOptions }).pipe(
      Layer.provide(Layer.succeed(HttpClient.HttpClient, counting)),
      Layer.provideMerge(Layer.merge(Lanes.layer(lanes), Credits.layer(credits)))
    )
    return yield* Effect.gen(function*() {
      const report = Report.make(0)
      const send = yield* Sender.together({ report, retry: Schedule.spaced("300 millis") })
      const result = yield* JobFiles.run({ input: Input.file("in.jsonl"), send, report, ...how }).pipe(
        Effect.provideService(FileSystem.FileSystem, disk.fs)
      )
      const ended = yield* Clock.currentTimeMillis
      const { arrivals, cancelled } = yield* control.counters
      const lanesMade = yield* (yield* Lanes.Lanes).all
      const statuses = yield* Effect.forEach(lanesMade, (lane) => lane.status)
      const { accounts } = yield* (yield* Credits.Credits).report
      return {
        result,
        after: ended - began - stopAt,
        arrivals,
        late,
        sent: sent.size,
        cancelled,
        uncertain: accounts.reduce((sum, { tally }) => sum + tally.uncertain, 0n),
        held: statuses.reduce((sum, lane) => sum + lane.inFlight + lane.queued, 0) +
          accounts.reduce((sum, { tally }) => sum + tally.open, 0)
      }
    }).pipe(Effect.provide(layer))
  }))

const interrupted = (millis = 1000) => ({ stop: stopAfter(millis) })

describe("Stop", () => {
  it.effect("ends rows that wait in the lane of a model that is given up, with nothing sent of them", () =>
    Effect.gen(function*() {
      const unknown = numbered(1, 200).map((id) => line(id, id, "no/such-model")).join("")
      const { after, arrivals, cancelled, held, result, uncertain } = yield* stopped({}, {
        input: unknown,
        lanes: { maxInFlight: 5, requestsPerMinute: 600 },
        provider: { unknownModels: "reject" }
      })
      expect([result.stop?._tag, cancelled, held, uncertain]).toEqual(["Abandoned", 0, 0, 0n])
      // the twentieth refusal may come with four others on the wire
      expect(arrivals).toBeLessThanOrEqual(24)
      expect([result.report.failed, result.report.attempts]).toEqual([arrivals, arrivals])
      expect(result.abandoned.get("no/such-model")?.rows).toBe(200 - arrivals)
      // ten rows go out in a second: those that wait are not let through one by one
      expect(after).toBeLessThan(3000)
    }))

  it.effect("sends nothing more once the job has stopped, and cuts off nothing that is answered in the grace", () =>
    Effect.gen(function*() {
      const ways: ReadonlyArray<Partial<JobFiles.Options<never>>> = [
        interrupted(),
        { maxTime: "1 second" },
        { ...interrupted(), order: "input" },
        { ...interrupted(), dedupe: true }
      ]
      for (const lanes of [{}, { maxInFlight: 8 }]) {
        for (const way of ways) {
          const ran = yield* stopped(way, { lanes })
          const { report, stop } = ran.result
          expect(stop?._tag).toBe(way.maxTime === undefined ? "Interrupted" : "MaxTime")
          expect(ran).toMatchObject({
            late: 0,
            cancelled: 0,
            uncertain: 0n,
            held: 0,
            result: { report: { failed: 0 } }
          })
          expect([report.ok, report.attempts]).toEqual([ran.arrivals, ran.arrivals])
          expect(ran.arrivals).toBeLessThan(200)
          expect(ran.after).toBeLessThanOrEqual(latency)
        }
      }
    }))

  it.effect("sends nothing more after the first row that fails", () =>
    Effect.gen(function*() {
      const messages = [{ role: "user", content: "Hi" }]
      // it does not fit the schema, so it fails as soon as it is read: others are in flight by then, and most are not
      const wrong = `${JSON.stringify({ custom_id: "wrong", body: { model, messages, n: 500 } })}\n`
      const input = `${numbered(1, 100).map((id) => line(id, id, model)).join("")}${wrong}${
        text.replaceAll("\"r", "\"s")
      }`
      const { arrivals, cancelled, late, result } = yield* stopped({ failFast: true }, { input, stopAt: 0 })
      expect([result.stop, result.report.failed, cancelled, late]).toEqual([Stop.failedRow, 1, 0, 0])
      expect(arrivals).toBeGreaterThan(0)
      expect(result.report.ok).toBe(arrivals)
    }))

  it.effect("tries no row again once the job has stopped, and leaves it undone", () =>
    Effect.gen(function*() {
      const failing = { outages: [{ from: 0, kind: 500 as const }] }
      for (let stopAt = 600; stopAt < 1300; stopAt += 190) {
        const ran = yield* stopped(interrupted(stopAt), { provider: failing, stopAt })
        expect([stopAt, ran.late, ran.cancelled, ran.held]).toEqual([stopAt, 0, 0, 0])
        expect(ran.result.report).toMatchObject({ ok: 0, failed: 0, attempts: ran.arrivals })
        expect(ran.result.stop).toEqual(Stop.interrupted)
      }
    }))

  it.effect("counts no retry of what fails once the job has stopped", () =>
    Effect.gen(function*() {
      const failing = { faults: [{ probability: 1, kind: 500 as const, stage: "engine" as const }] }
      const { arrivals, result: { report } } = yield* stopped(interrupted(latency / 2), { provider: failing })
      expect([report.retries.size, report.attempts, report.failed]).toEqual([0, arrivals, 0])
      expect(arrivals).toBeGreaterThan(0)
    }))

  it.effect("cuts off what the grace is too short for, and counts its attempts", () =>
    Effect.gen(function*() {
      const { after, arrivals, cancelled, held, result, uncertain } = yield* stopped(
        { ...interrupted(), grace: latency / 4 },
        { lanes: { maxInFlight: 8 }, provider: { faults: [{ probability: 0.2, kind: 500 }] } }
      )
      expect([after, held, result.report.attempts]).toEqual([latency / 4, 0, arrivals])
      expect(cancelled).toBeGreaterThan(0)
      expect(uncertain).toBeGreaterThan(0n)
    }))

  it.effect("leaves rows at once of which nothing was sent", () =>
    Effect.gen(function*() {
      // one row is answered by then, and the next is let through a minute later
      const ran = yield* stopped(interrupted(), { lanes: { requestsPerMinute: 1, maxInFlight: 1 } })
      expect(ran).toMatchObject({ after: 0, arrivals: 1, late: 0, held: 0, result: { report: { ok: 1 } } })
    }))

  it.effect("leaves rows at once that wait for an identical one of which nothing was sent", () =>
    Effect.gen(function*() {
      const input = ["first", "second", "second"].map((question, at) => line(`r${at}`, question, model)).join("")
      const ran = yield* stopped({ ...interrupted(), dedupe: true }, { input, lanes: { requestsPerMinute: 1 } })
      expect(ran).toMatchObject({ after: 0, arrivals: 1, held: 0, result: { report: { ok: 1 } } })
    }))

  it.effect("leaves rows at once that wait for credit", () =>
    Effect.gen(function*() {
      const ran = yield* stopped(interrupted(), {
        provider: { faults: [{ probability: 1, kind: 402 }] },
        credits: { whenSuspended: "wait", probe: Schedule.spaced("1 hour") },
        lanes: { maxInFlight: 8 }
      })
      expect(ran).toMatchObject({ after: 0, arrivals: 1, late: 0, held: 0, result: { report: { ok: 0, failed: 0 } } })
    }))

  it.effect("counts attempts that were refused for want of credit, of rows answered and left", () =>
    Effect.gen(function*() {
      for (const to of [1.5, 100]) {
        const ran = yield* stopped(interrupted(3000), {
          provider: { faults: [{ to, probability: 1, kind: 402, stage: "engine" }] },
          credits: { whenSuspended: "wait", probe: Schedule.spaced("300 millis") },
          lanes: { maxInFlight: 4 },
          stopAt: 3000
        })
        expect([to, ran.result.report.attempts]).toEqual([to, ran.arrivals])
        expect(ran.result.report.ok > 0).toBe(to < 3)
      }
    }))

  it.effect("sends no row again whose credit comes back after the stop", () =>
    Effect.gen(function*() {
      for (const order of ["completion", "input"] as const) {
        // the probe that is on the wire at the stop is refused, and the next one would be answered within the grace
        const ran = yield* stopped({ ...interrupted(), order }, {
          provider: { faults: [{ to: 1, probability: 1, kind: 402, stage: "engine" }] },
          credits: { whenSuspended: "wait", probe: Schedule.spaced("300 millis") },
          lanes: { maxInFlight: 1 }
        })
        expect(ran).toMatchObject({ arrivals: 2, late: 0, cancelled: 0, held: 0 })
        expect(ran.result).toMatchObject({ stop: Stop.interrupted, report: { ok: 0, failed: 0 } })
      }
    }))

  it.effect("gives a hedged call the grace, and sends no second try once the job has stopped", () =>
    Effect.gen(function*() {
      for (const [delay, hedges] of [["300 millis", false], ["100 millis", true]] as const) {
        const ran = yield* stopped(interrupted(200), {
          clientOptions: { hedge: { delay } },
          input: numbered(1, 4).map((id) => line(id, id, model)).join(""),
          lanes: { start: { requestsPerMinute: 60_000 } },
          stopAt: 200
        })
        expect([ran.late, ran.held, ran.result.report.failed]).toEqual([0, 0, 0])
        expect([ran.sent, ran.result.report.ok]).toEqual([4, 4])
        expect([ran.arrivals > ran.sent, ran.result.report.attempts]).toEqual([hedges, ran.arrivals])
      }
    }))

  it.effect("gives every call the grace that no client of ours makes", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const disk = yield* setup(text)
      let late = 0
      const permits = yield* Semaphore.make(8)
      const chat = permits.withPermit(Effect.gen(function*() {
        if ((yield* Clock.currentTimeMillis) > began + 1000) late++
        yield* Effect.sleep(latency)
        return { choices: [] }
      }))
      const began = yield* Clock.currentTimeMillis
      const send = yield* Effect.provide(Sender.together(), TogetherTest.mock({ chat: () => chat }))
      const { report } = yield* JobFiles.run({ input: Input.file("in.jsonl"), send, ...interrupted() }).pipe(
        Effect.provideService(FileSystem.FileSystem, disk.fs)
      )
      expect((yield* Clock.currentTimeMillis) - began).toBe(2000)
      expect(late).toBeGreaterThan(0)
      expect(report.ok).toBe(32)
    })))

  it.effect("counts rows of an earlier run behind the one at which it stops", () =>
    Effect.gen(function*() {
      const disk = yield* setup(jobs.prompts(10))
      const failing = jobs.provider((row) =>
        row.id === "r9"
          ? Effect.fail(new TogetherError.InvalidRequestError({ message: "no" }))
          : Effect.succeed(jobs.reply(row))
      )
      yield* jobs.run(disk, { send: failing.send, select: (line) => line > 6 })
      const stopping = (total: number | undefined) => {
        const { send } = jobs.provider((row) =>
          row.id === "r2"
            ? Effect.fail(new TogetherError.AuthError({ message: "no key" }))
            : Effect.succeed(jobs.reply(row))
        )
        return jobs.run(disk, { send, concurrency: 1, report: Object.assign(Report.make(0), { total }) })
      }
      const { report, stop, written } = yield* stopping(10)
      expect([stop?._tag, report.ok, report.resumedOk, report.resumedFailed]).toEqual(["Refused", 1, 3, 1])
      expect(written).toBe(Report.done(report))
      // how many rows stand behind it is not known then
      expect((yield* stopping(undefined)).report).toMatchObject({ ok: 0, resumedOk: 1, resumedFailed: 0 })
    }))
})
