/**
 * Interrupts one call at every point where it can be interrupted, and looks at what is left.
 *
 * The call goes the whole way: it waits in its lane's queue, is refused with 429 and 503, waits between attempts, and
 * gets its answer slowly. Around it stand a breaker, a ledger with a budget, and a second call that holds the lane's
 * only permit. Two ways of counting points:
 *
 * - await points: every time a fiber is resumed by the scheduler, and every sleep, of the program as it runs;
 * - steps: the same with a scheduler that makes every fiber yield after every third operation.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scheduler from "effect/Scheduler"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { TogetherError } from "../../src/domain/TogetherError.ts"
import * as Breaker from "../../src/guard/Breaker.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as Sent from "../../src/testing/Sent.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Wiretap from "../../src/testing/Wiretap.ts"
import * as PriceTable from "../../src/together/PriceTable.ts"
import * as Together from "../../src/together/Together.ts"

/** The fewest operations between two yields with which a fiber still makes progress. */
const opsPerStep = 3

type Mode = "await points" | "steps"

/** Counts the points of a run, and interrupts the target at one of them. */
class Ticker {
  count = 0
  interrupted = false
  target: Fiber.Fiber<unknown, unknown> | undefined
  readonly at: number | undefined
  readonly mode: Mode

  constructor(mode: Mode, at: number | undefined) {
    this.mode = mode
    this.at = at
  }

  tick(): void {
    if (this.target === undefined || this.target.pollUnsafe() !== undefined) return
    this.count++
    if (this.count === this.at) {
      this.interrupted = true
      this.target.interruptUnsafe()
    }
  }

  scheduler(base: Scheduler.Scheduler): Scheduler.Scheduler {
    return {
      executionMode: base.executionMode,
      shouldYield: (fiber) => this.mode === "steps" ? fiber.currentOpCount >= opsPerStep : base.shouldYield(fiber),
      makeDispatcher: () => {
        const dispatcher = base.makeDispatcher()
        return {
          scheduleTask: (task, priority) =>
            dispatcher.scheduleTask(() => {
              this.tick()
              task()
            }, priority),
          flush: () => dispatcher.flush()
        }
      }
    }
  }

  clock(base: Clock.Clock, scheduler: Scheduler.Scheduler): Clock.Clock {
    const dispatcher = scheduler.makeDispatcher()
    return {
      ...base,
      sleep: (duration) =>
        Effect.suspend(() => {
          // while the sleeper sleeps: everything else has come to rest, the clock has not moved yet
          dispatcher.scheduleTask(() => this.tick(), 1000)
          return base.sleep(duration)
        })
    }
  }
}

/** Steps from one interruption to the next: 1 with `STEPS=all`. */
const every = process.env["STEPS"] === "all" ? 1 : 67

const model = Reply.defaultModel
const request = (content: string) => ({ model, max_tokens: 20, messages: [{ role: "user", content }] })
const byPath = {
  path: "/audio/speech",
  body: { model, input: "target" },
  model,
  idempotent: true,
  estimate: { inputTokens: 2, outputTokens: 5, maxOutputTokens: 20 }
}
type Service = Together.Service

interface Scenario {
  readonly name: string
  readonly answer: Reply.Answer
  readonly call: (service: Service) => Effect.Effect<unknown, TogetherError>
}

/** Answers the calls around the target. */
const other = Reply.after(Reply.chat("Elbe"), "1 second")

const scenarios: ReadonlyArray<Scenario> = [
  { name: "chat", answer: Reply.after(Reply.chat("Rhine"), "1 second"), call: (t) => t.chat(request("target")) },
  {
    name: "chatStream",
    answer: Reply.after(Reply.stream(["Rh", "ine"], { every: "200 millis" }), "1 second"),
    call: (t) => Stream.runDrain(t.chatStream(request("target")))
  },
  {
    name: "chat with a deadline",
    answer: Reply.after(Reply.chat("Rhine"), "1 second"),
    call: (t) => t.chat(request("target"), { deadline: "5 minutes" })
  },
  {
    name: "requestBytes",
    answer: Reply.after(Reply.raw(Uint8Array.of(1, 2, 255)), "1 second"),
    call: (t) => t.requestBytes(byPath)
  },
  {
    name: "requestStream",
    answer: Reply.after(Reply.events([{ type: "a" }, { type: "b" }], { every: "200 millis" }), "1 second"),
    call: (t) => Stream.runDrain(t.requestStream({ ...byPath, response: Schema.Unknown }))
  }
]

/** Runs a scenario, interrupting the call at point `at`, and tells what is left. */
const run = (scenario: Scenario, mode: Mode, at: number | undefined) =>
  VirtualClock.run(
    Effect.gen(function*() {
      const ticker = new Ticker(mode, at)
      const refusals = [Reply.rateLimited({ reset: 1 }), Reply.overloaded, Reply.broken("reset")]
      const tap = Wiretap.make(
        HttpClient.make((wire, url) =>
          Effect.flatMap(Sent.make(wire, url), (sent) => {
            const reply = sent.text.includes("target") ? refusals.shift() ?? scenario.answer : other
            return Reply.send(reply, wire)
          })
        )
      )
      const services = Layer.mergeAll(
        Lanes.layer({ maxInFlight: 1 }),
        Breaker.layer(),
        Credits.layer({ budgets: [Budget.make({ name: "job", limit: "$1" })] })
      )
      const client = Together.layerHttp({ apiKey: Redacted.make("key"), prices: PriceTable.shippedLookup }).pipe(
        Layer.provideMerge(services),
        Layer.provide(Layer.succeed(HttpClient.HttpClient, tap.client))
      )
      const base = yield* Scheduler.Scheduler
      const scheduler = ticker.scheduler(base)
      const clock = ticker.clock(yield* Clock.clockWith(Effect.succeed), base)

      return yield* Effect.gen(function*() {
        const together = yield* Together.Together
        const credits = yield* Credits.Credits
        const lane = yield* (yield* Lanes.Lanes).get(`default/${model}`)

        const exit = yield* Effect.gen(function*() {
          const holder = yield* Effect.forkChild(together.chat(request("holder")), { startImmediately: true })
          const target = yield* Effect.forkChild(scenario.call(together))
          ticker.target = target
          const exit = yield* Fiber.await(target)
          yield* Fiber.await(holder)
          return exit
        }).pipe(
          Effect.provideService(Scheduler.Scheduler, scheduler),
          Effect.provideService(Clock.Clock, clock)
        )

        const status = yield* lane.status
        const report = yield* credits.report
        const open = tap.open().length
        // what is left must also still work: a permit that was lost would make this wait for ever
        refusals.length = 0
        yield* together.chat(request("after"))
        return { exit, points: ticker.count, interrupted: ticker.interrupted, status, report, open }
      }).pipe(Effect.provide(client))
    }),
    { limit: "1 day", maxSpins: 2_000_000 }
  )

/** What is held, and what nobody knows to be billed or not: the client tells of every attempt. */
const reservations = (report: Credits.Report): ReadonlyArray<bigint | number> =>
  report.budgets.flatMap(({ tally }) => [tally.reserved, tally.open, tally.atRisk])

const check = (scenario: Scenario, mode: Mode, at: number | undefined) =>
  Effect.map(run(scenario, mode, at), (result) => {
    const where = `${scenario.name}, ${mode} ${at}`
    if (Exit.isFailure(result.exit)) throw new Error(`${where}: ${String(result.exit.cause)}`)
    const { exit, interrupted, open, points, report, status } = result.exit.value
    expect([where, status.inFlight, status.queued]).toStrictEqual([where, 0, 0])
    expect([where, open, result.fibersLeft, result.timersLeft]).toStrictEqual([where, 0, 0, 0])
    expect([where, ...reservations(report)]).toStrictEqual([where, 0n, 0, 0n])
    return { exit, points, interrupted }
  })

describe.each(scenarios)("$name", (scenario) => {
  it.effect(
    "is interrupted at every await point and leaves no permit, reservation, socket or timer",
    () =>
      Effect.gen(function*() {
        const whole = yield* check(scenario, "await points", undefined)
        expect(Exit.isSuccess(whole.exit)).toBe(true)
        expect(whole.points).toBeGreaterThanOrEqual(9)
        for (let at = 1; at <= whole.points; at++) {
          const { exit, interrupted } = yield* check(scenario, "await points", at)
          expect([at, interrupted, Exit.isFailure(exit)]).toStrictEqual([at, true, true])
        }
      }),
    60_000
  )

  it.effect("is interrupted between any two operations and leaves none either", () =>
    Effect.gen(function*() {
      const whole = yield* check(scenario, "steps", undefined)
      expect(whole.points).toBeGreaterThan(500)
      // a stride, so that it takes seconds; each scenario begins elsewhere, for most of what they do is the same
      const first = 1 + Math.floor(every * scenarios.indexOf(scenario) / scenarios.length)
      for (let at = first; at <= whole.points; at += every) {
        const { interrupted } = yield* check(scenario, "steps", at)
        expect([at, interrupted]).toStrictEqual([at, true])
      }
    }), 60_000)
})
