import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Credits from "../../src/guard/Credits.ts"
import * as Lanes from "../../src/guard/Lanes.ts"
import * as Input from "../../src/job/Input.ts"
import * as JobFiles from "../../src/job/JobFiles.ts"
import * as Report from "../../src/job/Report.ts"
import * as Sender from "../../src/job/Sender.ts"
import * as Sending from "../../src/job/Sending.ts"
import * as Stop from "../../src/job/Stop.ts"
import * as SimulatedProvider from "../../src/testing/SimulatedProvider.ts"
import type * as Simulation from "../../src/testing/Simulation.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Shortcut from "../../src/together/Shortcut.ts"
import * as Together from "../../src/together/Together.ts"
import { line, numbered, setup } from "./jobs.ts"

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
  /** Requests that were cut off. */
  readonly cancelled: number
  readonly uncertain: bigint
  /** What the guards still hold: calls in flight and queued, and open reservations. */
  readonly held: number
}

/** Runs 200 rows through a client of the real stack, and stops it. */
const stopped = (
  how: Partial<JobFiles.Options<never>>,
  { input = text, lanes = {}, provider, stopAt = 1000, watched = true }: {
    readonly input?: string
    readonly lanes?: Lanes.Options
    readonly provider?: Simulation.Options
    /** Milliseconds of the run. */
    readonly stopAt?: number
    readonly watched?: boolean
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
    const counting = HttpClient.transform(client, (effect) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (now > began + stopAt) late++
        return effect
      }))
    const transport = Layer.succeed(HttpClient.HttpClient, counting)
    const layer = Together.layerHttp({ apiKey: Redacted.make("k") }).pipe(
      Layer.provideMerge(watched ? Layer.provide(Sender.watching, transport) : transport),
      Layer.provideMerge(Layer.merge(Lanes.layer(lanes), Credits.layer({})))
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
      const { keys } = yield* (yield* Credits.Credits).report
      return {
        result,
        after: ended - began - stopAt,
        arrivals,
        late,
        cancelled,
        uncertain: keys.reduce((sum, { tally }) => sum + tally.uncertain, 0n),
        held: statuses.reduce((sum, lane) => sum + lane.inFlight + lane.queued, 0) +
          keys.reduce((sum, { tally }) => sum + tally.open, 0)
      }
    }).pipe(Effect.provide(layer))
  }))

const interrupted = (millis = 1000) => ({ stop: Effect.as(Effect.sleep(millis), Stop.interrupted) })

describe("Sending", () => {
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
          expect(stop).toBeDefined()
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
      for (let stopAt = 600; stopAt < 1300; stopAt += 130) {
        const ran = yield* stopped(interrupted(stopAt), { provider: failing, stopAt })
        expect([stopAt, ran.late, ran.cancelled, ran.held]).toEqual([stopAt, 0, 0, 0])
        expect(ran.result.report).toMatchObject({ ok: 0, failed: 0, attempts: ran.arrivals })
        expect(ran.result.stop).toEqual(Stop.interrupted)
      }
    }))

  it.effect("cuts off what the grace is too short for", () =>
    Effect.gen(function*() {
      const { after, cancelled, held, uncertain } = yield* stopped({ ...interrupted(), grace: latency / 4 }, {
        lanes: { maxInFlight: 8 }
      })
      expect([after, held]).toEqual([latency / 4, 0])
      expect(cancelled).toBeGreaterThan(0)
      expect(uncertain).toBeGreaterThan(0n)
    }))

  it.effect("gives every call the grace where nobody watches the transport", () =>
    Effect.gen(function*() {
      const { after, held, late } = yield* stopped(interrupted(), { lanes: { maxInFlight: 8 }, watched: false })
      expect([after, held]).toEqual([1000, 0])
      expect(late).toBeGreaterThan(0)
    }))

  it.effect("keeps the shortcut of a transport, and watches it too", () =>
    Effect.gen(function*() {
      const seen: Array<boolean | undefined> = []
      const plain = HttpClient.make((request) =>
        Effect.map(Sending.Current, (sending) => {
          seen.push(sending?.onWire)
          return HttpClientResponse.fromWeb(request, Response.json({ data: [] }))
        })
      )
      const sending = { onWire: false, isStopped: () => false }
      const during = Effect.provideService(Sending.Current, sending)
      expect(Shortcut.of(Sending.watched(plain))).toBeUndefined()
      yield* during(Sending.watched(plain).get("http://127.0.0.1:9/v1/models"))
      sending.onWire = false
      const quick = Sending.watched(Shortcut.attach(plain, (_, __, context) => {
        seen.push(Context.get(context, Sending.Current)?.onWire)
        return () => {}
      }))
      const sent = {
        method: "GET",
        url: new URL("http://127.0.0.1:9/v1"),
        ours: true,
        headers: {},
        body: undefined
      } as const
      const receiver = { onHeaders: () => {}, onText: () => {}, onFailure: () => {} }
      yield* during(Effect.contextWith((context: Context.Context<never>) =>
        Effect.sync(() => Shortcut.of(quick)?.(sent, receiver, context))
      ))
      // what belongs to no row is not watched
      yield* Sending.watched(plain).get("http://127.0.0.1:9/v1/models")
      expect(seen).toEqual([true, true, undefined])
    }))
})
