/**
 * The way of one call, made of the guards alone, around a scripted effect:
 *
 * deadline → fallback → retry → breaker → permit → hedge → attempt timeout → effect
 *
 * The permit is that of a plain pool, whose every step shows in the log; then that of a lane.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as TestClock from "effect/testing/TestClock"
import {
  ModelUnavailableError,
  RateLimitError,
  ServerError,
  type TogetherError
} from "../../src/domain/TogetherError.ts"
import * as Breaker from "../../src/guard/Breaker.ts"
import * as Deadline from "../../src/guard/Deadline.ts"
import * as Fallback from "../../src/guard/Fallback.ts"
import * as Hedge from "../../src/guard/Hedge.ts"
import * as Lane from "../../src/guard/lane/Lane.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as RetryBudget from "../../src/guard/retry/RetryBudget.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

type Reply = TogetherError | string | { readonly after: Duration.Input; readonly reply: string } | "hang"

const replyWith = (reply: Reply): Effect.Effect<string, TogetherError> => {
  if (reply === "hang") return Effect.never
  if (typeof reply === "string") return Effect.succeed(reply)
  return "after" in reply ? Effect.as(Effect.sleep(reply.after), reply.reply) : Effect.fail(reply)
}

/** The whole stack around a scripted provider. Every exchange takes its reply from the script of its model. */
const makeStack = Effect.fnUntraced(
  function*(script: { readonly [model: string]: ReadonlyArray<Reply> }, permits: number) {
    const began = yield* Clock.currentTimeMillis
    const log: Array<string> = []
    const note = (text: string) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        log.push(`${(now - began) / 1000} ${text}`)
      })
    const breaker = yield* Breaker.make({ size: 4, minimumCalls: 4 })
    const budget = yield* RetryBudget.make()
    const pool = Semaphore.makeUnsafe(permits)
    let free = permits
    const taken = Effect.sync(() => {
      free--
    })
    const acquire = Effect.andThen(pool.take(1), taken)
    const release = Effect.andThen(
      pool.release(1),
      Effect.sync(() => {
        free++
      })
    )
    const tryPermit = Effect.acquireRelease(
      Effect.tap(pool.takeIfAvailable(1), (got) => got ? taken : Effect.void),
      (got) => got ? release : Effect.void
    )
    const sent: { [model: string]: number } = {}
    const exchange = (model: string) =>
      Effect.gen(function*() {
        const n = sent[model] ?? 0
        sent[model] = n + 1
        const attempt = yield* Retry.CurrentAttempt
        const hedge = yield* Hedge.CurrentTry
        yield* note(`send ${model} attempt ${attempt} try ${hedge} free ${free}`)
        return yield* replyWith(script[model]?.[n] ?? "end of script").pipe(
          Effect.onInterrupt(() => note(`cut ${model} attempt ${attempt} try ${hedge}`))
        )
      })

    const call = Fallback.run(["big", "small"], (model) =>
      exchange(model).pipe(
        Deadline.attempt("10 seconds"),
        Hedge.run({ delay: "2 seconds", idempotent: true, budget, tryPermit }),
        (attempt) => Effect.acquireUseRelease(acquire, () => attempt, () => release),
        breaker.run({ key: model }),
        Retry.run(Retry.retryAfter(Retry.delays(["1 second", "2 seconds"]), { spread: 0 }), { budget })
      )).pipe(Deadline.run("30 seconds"))

    return { breaker, call, free: () => free, log, sent }
  }
)

const run = (script: { readonly [model: string]: ReadonlyArray<Reply> }, permits = 2) =>
  Effect.gen(function*() {
    const result = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
      const stack = yield* makeStack(script, permits)
      const exit = yield* Effect.exit(stack.call)
      expect(stack.free()).toBe(permits)
      return { exit, log: stack.log }
    })))
    if (Exit.isFailure(result.exit)) throw new Error(Cause.pretty(result.exit.cause))
    expect(result.timersLeft).toBe(0)
    return { ...result.exit.value, seconds: Duration.toSeconds(result.elapsed) }
  })

const server = new ServerError({ message: "500" })
const limited = new RateLimitError({ message: "429", scope: "requests", retryAfter: Duration.seconds(5) })
const gone = new ModelUnavailableError({ message: "not serverless" })

describe("the way of one call", () => {
  it.effect("passes a good answer straight through", () =>
    Effect.gen(function*() {
      const { exit, log, seconds } = yield* run({ big: ["hello"] })
      expect(exit).toStrictEqual(Exit.succeed("hello"))
      expect(log).toEqual(["0 send big attempt 1 try 1 free 1"])
      expect(seconds).toBe(0)
    }))

  it.effect("retries after the hint, and holds no permit while it waits", () =>
    Effect.gen(function*() {
      const { exit, log } = yield* run({ big: [limited, server, "hello"] }, 1)
      expect(exit).toStrictEqual(Exit.succeed("hello"))
      expect(log).toEqual([
        "0 send big attempt 1 try 1 free 0",
        "5 send big attempt 2 try 1 free 0",
        "7 send big attempt 3 try 1 free 0"
      ])
    }))

  it.effect("hedges a slow attempt with a second permit, and cuts the loser", () =>
    Effect.gen(function*() {
      const { exit, log, seconds } = yield* run({ big: ["hang", { after: "1 second", reply: "second" }] })
      expect(exit).toStrictEqual(Exit.succeed("second"))
      expect(log).toEqual([
        "0 send big attempt 1 try 1 free 1",
        "2 send big attempt 1 try 2 free 0",
        "3 cut big attempt 1 try 1"
      ])
      expect(seconds).toBe(3)
    }))

  it.effect("does not hedge without a free permit: the attempt times out and is retried", () =>
    Effect.gen(function*() {
      const { exit, log } = yield* run({ big: ["hang", "hello"] }, 1)
      expect(exit).toStrictEqual(Exit.succeed("hello"))
      expect(log).toEqual([
        "0 send big attempt 1 try 1 free 0",
        "10 cut big attempt 1 try 1",
        "11 send big attempt 2 try 1 free 0"
      ])
    }))

  it.effect("turns to the next model once the retries of the first are used up", () =>
    Effect.gen(function*() {
      const { exit, log } = yield* run({ big: [server, server, server], small: [server, "hello"] })
      expect(exit).toStrictEqual(Exit.succeed("hello"))
      expect(log.map((line) => line.split(" free")[0])).toEqual([
        "0 send big attempt 1 try 1",
        "1 send big attempt 2 try 1",
        "3 send big attempt 3 try 1",
        "3 send small attempt 1 try 1",
        "4 send small attempt 2 try 1"
      ])
    }))

  it.effect("turns to the next model at once where no repeat can help", () =>
    Effect.gen(function*() {
      const { exit, log, seconds } = yield* run({ big: [gone], small: ["hello"] })
      expect(exit).toStrictEqual(Exit.succeed("hello"))
      expect([log.length, seconds]).toEqual([2, 0])
    }))

  it.effect("ends everything at the deadline, whatever is under way", () =>
    Effect.gen(function*() {
      const hangs = Array.from({ length: 20 }, () => "hang" as const)
      const { exit, seconds } = yield* run({ big: hangs, small: hangs })
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toMatchObject({
        _tag: "RequestTimeoutError",
        phase: "deadline"
      })
      expect(seconds).toBeLessThanOrEqual(30)
    }))

  it.effect("stops sending while the circuit of a model is open, and uses the other", () =>
    Effect.gen(function*() {
      const result = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
        const stack = yield* makeStack({ big: [server, server, server, server], small: [] }, 2)
        yield* stack.call
        yield* stack.call
        expect((yield* stack.breaker.state("big"))._tag).toBe("Open")
        yield* stack.call
        return stack.sent
      })))
      expect(result.exit).toStrictEqual(Exit.succeed({ big: 4, small: 3 }))
    }))

  it.effect("returns every permit, interrupted at any time", () =>
    Effect.gen(function*() {
      const script = { big: [server, "hang", "hang", limited], small: ["hang", "hang"] } as const
      for (let at = 0; at < 30_000; at += 499) {
        const result = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
          const stack = yield* makeStack(script, 2)
          const fiber = yield* Effect.forkChild(stack.call, { startImmediately: true })
          yield* Effect.sleep(at)
          yield* Fiber.interrupt(fiber)
          return stack.free()
        })))
        expect([at, result.exit]).toStrictEqual([at, Exit.succeed(2)])
        expect(result.timersLeft).toBe(0)
      }
    }))

  it.effect("runs on the TestClock, by hand", () =>
    Effect.gen(function*() {
      const stack = yield* makeStack({ big: [limited, "hello"] }, 1)
      const fiber = yield* Effect.forkChild(stack.call, { startImmediately: true })
      yield* TestClock.adjust("4999 millis")
      expect(stack.sent).toEqual({ big: 1 })
      yield* TestClock.adjust("1 millis")
      expect(yield* Fiber.join(fiber)).toBe("hello")
      expect(stack.log).toHaveLength(2)
    }))
})

describe("the way of one call through a lane", () => {
  const second = { tokens: 1, retry: true }

  /** Refuses as often as said, then answers; holds the seconds of each attempt. */
  const refusing = (times: number, hint: Duration.Input) => {
    const sent: Array<number> = []
    const attempt = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      sent.push(now)
      return sent.length > times ? Effect.succeed("hello") : Effect.fail(
        new RateLimitError({ message: "429", scope: "requests", retryAfter: Duration.fromInputUnsafe(hint) })
      )
    })
    return { attempt, seconds: () => sent.map((at) => (at - (sent[0] ?? 0)) / 1000) }
  }

  const call = (lane: Lane.Lane, attempt: Effect.Effect<string, TogetherError>) =>
    Effect.flatMap(Retry.CurrentAttempt, (number) =>
      attempt.pipe(
        Deadline.attempt("10 seconds"),
        (self) => lane.run(self, number > 1 ? second : { tokens: 1 })
      )).pipe(
        Retry.run(Retry.retryAfter(Retry.delays(["1 second", "2 seconds"]), { spread: 0 })),
        Deadline.run("5 seconds")
      )

  it.effect("sends again when the pause ends, within the deadline", () =>
    Effect.gen(function*() {
      const { attempt, seconds } = refusing(1, "3 seconds")
      const result = yield* VirtualClock.run(Effect.flatMap(Lane.make(), (lane) => call(lane, attempt)))
      expect(result.exit).toStrictEqual(Exit.succeed("hello"))
      expect(seconds()).toEqual([0, 3])
    }))

  it.effect("refuses at once a call whose deadline comes before the pause ends, and sends nothing", () =>
    Effect.gen(function*() {
      const { attempt, seconds } = refusing(9, "30 seconds")
      const result = yield* VirtualClock.run(Effect.gen(function*() {
        const lane = yield* Lane.make()
        yield* Effect.flip(call(lane, attempt))
        const refused = yield* Effect.flip(call(lane, attempt))
        const inFlight = (yield* lane.status).inFlight
        return { inFlight, refused }
      }))
      expect(result.exit).toMatchObject({
        value: { inFlight: 0, refused: { _tag: "LaneOverflowError", reason: "deadline" } }
      })
      expect(Duration.toSeconds(result.elapsed)).toBe(0)
      expect(seconds()).toEqual([0])
    }))

  it.effect("hedges by a lane only while the deadline leaves room for an attempt", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const tries = (wait: Duration.Input) =>
        Effect.delay(lane.tryAcquire({ tokens: 1 }), wait).pipe(
          Deadline.run("5 seconds", { minAttempt: "1 second" })
        )
      expect(Option.isSome(yield* tries("4 seconds"))).toBe(true)
      expect(Option.isSome(yield* tries("4001 millis"))).toBe(false)
    })))

  it.effect("sends under a short deadline too, as long as a tenth of it is left", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const after = (wait: Duration.Input) =>
        Deadline.run(Effect.delay(lane.run(Effect.succeed("hello"), { tokens: 1 }), wait), "1 second")
      expect(yield* after("900 millis")).toBe("hello")
      const late = yield* Effect.flip(after("901 millis"))
      expect(late).toMatchObject({ _tag: "LaneOverflowError", reason: "deadline" })
      expect(late.message).toContain("its deadline leaves no time for it")
    })))

  it.effect.each([{}, { retry: true }, { stream: true }, { priority: "bulk" }] as const)(
    "sends the probe of a circuit before all that has queued since the outage, as %o",
    (request) =>
      VirtualClock.wrap(Effect.scoped(Effect.gen(function*() {
        const breaker = yield* Breaker.make({ size: 4, minimumCalls: 4, openFor: "5 seconds" })
        const lane = yield* Lane.make({ requestsPerMinute: 60 })
        const run = (attempt: Effect.Effect<void, TogetherError>, request: Partial<Lane.LaneRequest> = {}) =>
          attempt.pipe((self) => lane.run(self, { tokens: 1, ...request }), breaker.run({ key: "a" }))
        const queued = run(Effect.sleep("100 millis"), { priority: "interactive" })
        yield* Effect.forEach(Array.from({ length: 200 }), () => Effect.forkChild(queued, { startImmediately: true }))
        const failing = breaker.run(Effect.fail(server), { key: "a" })
        yield* Effect.forEach([1, 2, 3, 4], () => Effect.exit(failing))
        yield* Effect.sleep("6 seconds")
        const began = yield* Clock.currentTimeMillis
        yield* Deadline.run(run(Effect.void, request), "10 seconds")
        expect((yield* Clock.currentTimeMillis) - began).toBeLessThan(2000)
        expect((yield* breaker.state("a"))._tag).toBe("Closed")
      })))
  )

  it.effect("takes the deadline that a request states for its own", () =>
    VirtualClock.wrap(Effect.gen(function*() {
      const lane = yield* Lane.make()
      const now = yield* Clock.currentTimeMillis
      const late = lane.run(Effect.void, { tokens: 1, deadlineAt: now - 1 })
      expect(yield* Effect.flip(Deadline.run(late, "1 minute"))).toMatchObject({ _tag: "LaneOverflowError" })
      const timely = Effect.delay(lane.run(Effect.void, { tokens: 1, deadlineAt: now + 60_000 }), "4500 millis")
      yield* Deadline.run(timely, "5 seconds", { minAttempt: "1 second" })
    })))
})
