import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import {
  AuthError,
  ConflictError,
  OverloadedError,
  RateLimitError,
  ServerError,
  type TogetherError
} from "../../src/domain/TogetherError.ts"
import * as Deadline from "../../src/guard/Deadline.ts"
import * as Monotonic from "../../src/guard/Monotonic.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as RetryBudget from "../../src/guard/retry/RetryBudget.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { hasty, hour, stepped } from "./steps.ts"

const server = new ServerError({ message: "500", status: 500, requestId: "r1" })
const auth = new AuthError({ message: "401" })
const limited = (retryAfter: Duration.Input) =>
  new RateLimitError({ message: "429", scope: "requests", retryAfter: Duration.fromInputUnsafe(retryAfter) })

/** An effect that fails with the listed errors in turn, then succeeds; `attempts` holds the time of each run. */
const scripted = <E>(...errors: ReadonlyArray<E>) => {
  const attempts: Array<number> = []
  const effect: Effect.Effect<string, E> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const error = errors[attempts.length]
    attempts.push(now)
    return error === undefined ? Effect.succeed("done") : Effect.fail(error)
  })
  return { attempts, effect }
}

const always = <E>(error: E) => scripted(...Array.from({ length: 100 }, () => error))

/** Runs in virtual time and reports the exit and the milliseconds it took. */
const timed = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(VirtualClock.run(effect), (result) => ({
    exit: result.exit,
    millis: Duration.toMillis(result.elapsed),
    timersLeft: result.timersLeft
  }))

const failure = <A, E>(exit: Exit.Exit<A, E>): E => {
  if (Exit.isSuccess(exit)) throw new Error("expected a failure")
  const error = Cause.findErrorOption(exit.cause)
  if (error._tag === "None") throw new Error(`expected a typed failure: ${Cause.pretty(exit.cause)}`)
  return error.value
}

const second = Schedule.spaced("1 second")

describe("Retry", () => {
  describe("run", () => {
    it.effect("runs once what succeeds", () =>
      Effect.gen(function*() {
        const { attempts, effect } = scripted<TogetherError>()
        const { exit, millis } = yield* timed(Retry.run(effect))
        expect(exit).toStrictEqual(Exit.succeed("done"))
        expect(attempts).toHaveLength(1)
        expect(millis).toBe(0)
      }))

    it.effect("retries by the schedule until success", () =>
      Effect.gen(function*() {
        const { attempts, effect } = scripted<TogetherError>(server, server)
        const { exit, millis } = yield* timed(effect.pipe(Retry.run(second)))
        expect(exit).toStrictEqual(Exit.succeed("done"))
        expect(attempts.map((at) => at - (attempts[0] ?? 0))).toEqual([0, 1000, 2000])
        expect(millis).toBe(2000)
      }))

    it.effect("fails with the last error and its attempts when the schedule ends", () =>
      Effect.gen(function*() {
        const { attempts, effect } = always(server)
        const { exit } = yield* timed(Retry.run(effect, Retry.maxAttempts(second, 3)))
        const error = failure(exit)
        expect(error).toBeInstanceOf(ServerError)
        expect(error).toMatchObject({ attempts: 3, requestId: "r1", status: 500 })
        expect(attempts).toHaveLength(3)
        expect(server.attempts).toBeUndefined()
      }))

    it.effect("does not retry what a repeat cannot cure, whatever the schedule", () =>
      Effect.gen(function*() {
        const { attempts, effect } = always(auth)
        const { exit, millis } = yield* timed(Retry.run(effect, Schedule.recurs(5)))
        expect(failure(exit)).toMatchObject({ _tag: "AuthError", attempts: 1 })
        expect(attempts).toHaveLength(1)
        expect(millis).toBe(0)
      }))

    it.effect("lets isRetryable overrule the rule of the error, with the default policy too", () =>
      Effect.gen(function*() {
        const conflict = new ConflictError({ message: "409" })
        const rule = { isRetryable: () => true }
        for (const run of [Retry.run(rule), Retry.run(undefined, rule), Retry.run(Retry.policy(), rule)]) {
          const { exit } = yield* timed(run(scripted(conflict).effect))
          expect(Exit.isSuccess(exit)).toBe(true)
        }
        expect(Exit.isSuccess((yield* timed(Retry.run(scripted(conflict).effect, rule))).exit)).toBe(true)
        const none = always(server)
        yield* timed(Effect.ignore(Retry.run(none.effect, second, { isRetryable: () => false })))
        expect(none.attempts).toHaveLength(1)
      }))

    it.effect("retries an error of another library as the class of its tag, and follows its hint", () =>
      Effect.gen(function*() {
        class RateLimitError extends Data.TaggedError("RateLimitError")<{ readonly retryAfter: Duration.Duration }> {}
        const program = Retry.run(scripted(new RateLimitError({ retryAfter: Duration.seconds(8) })).effect)
        const { exit, millis } = yield* timed(program)
        expect(Exit.isSuccess(exit)).toBe(true)
        expect(millis).toBeGreaterThanOrEqual(8000)
        expect(millis).toBeLessThanOrEqual(10_000)
        class AuthError extends Data.TaggedError("AuthError") {}
        const refused = always(new AuthError())
        yield* timed(Effect.ignore(Retry.run(refused.effect)))
        expect(refused.attempts).toHaveLength(1)
      }))

    it.effect("returns errors of any other type as they are", () =>
      Effect.gen(function*() {
        const boom = new Error("boom")
        const { attempts, effect } = always(boom)
        const { exit } = yield* timed(effect.pipe(Retry.run(Schedule.recurs(2), { isRetryable: () => true })))
        expect(failure(exit)).toBe(boom)
        expect(attempts).toHaveLength(3)
      }))

    it.effect("never retries a defect or an interruption", () =>
      Effect.gen(function*() {
        let runs = 0
        const counting = <E>(effect: Effect.Effect<string, E>) =>
          Effect.suspend(() => {
            runs++
            return effect
          })
        const died = yield* timed(Retry.run(counting(Effect.die("bug")), second))
        expect(Exit.isFailure(died.exit) && Cause.hasDies(died.exit.cause)).toBe(true)
        const stopped = yield* timed(Retry.run(counting(Effect.interrupt), second))
        expect(Exit.isFailure(stopped.exit) && Cause.hasInterruptsOnly(stopped.exit.cause)).toBe(true)
        expect(runs).toBe(2)
      }))

    it.effect("tells the effect the number of its attempt", () =>
      Effect.gen(function*() {
        const seen: Array<number> = []
        const effect = Effect.flatMap(Retry.CurrentAttempt, (n) => {
          seen.push(n)
          return n < 3 ? Effect.fail(server) : Effect.succeed(n)
        })
        const { exit } = yield* timed(Retry.run(effect, second))
        expect(exit).toStrictEqual(Exit.succeed(3))
        expect(seen).toEqual([1, 2, 3])
      }))

    it.effect("counts from 1 inside of an attempt of another", () =>
      Effect.gen(function*() {
        const seen: Array<number> = []
        const inner = Effect.flatMap(Retry.CurrentAttempt, (n) => {
          seen.push(n)
          return Effect.fail(server)
        })
        yield* timed(Effect.ignore(Retry.run(Retry.run(inner, Schedule.recurs(1)), Schedule.recurs(1))))
        expect(seen).toEqual([1, 2, 1, 2])
      }))

    it.effect("tells each retry what its schedule said, as Effect's own retry does", () =>
      Effect.gen(function*() {
        const told = (retry: (self: Effect.Effect<never, ServerError>) => Effect.Effect<never, ServerError>) =>
          Effect.gen(function*() {
            const seen: Array<Schedule.Metadata> = []
            const effect = Effect.flatMap(Schedule.CurrentMetadata, (metadata) => {
              seen.push(metadata)
              return Effect.fail(server)
            })
            yield* timed(Effect.ignore(retry(effect)))
            return seen
          })
        const schedule = Schedule.upTo(Schedule.exponential("1 second"), { times: 3 })
        const ours = yield* told(Retry.run(schedule))
        expect(ours.map(({ attempt }) => attempt)).toEqual([0, 1, 2, 3])
        expect(ours).toEqual(yield* told(Effect.retry(schedule)))
      }))

    it.effect("waits outside of the permits of the attempt", () =>
      Effect.gen(function*() {
        const permits = Semaphore.makeUnsafe(1)
        const { effect } = scripted(server)
        const program = Effect.gen(function*() {
          const retrying = yield* Effect.forkChild(Retry.run(permits.withPermit(effect), Schedule.spaced("1 hour")), {
            startImmediately: true
          })
          const began = yield* Clock.currentTimeMillis
          yield* permits.withPermit(Effect.sleep("1 second"))
          const waited = (yield* Clock.currentTimeMillis) - began
          return [waited, yield* Fiber.join(retrying)] as const
        })
        const { exit } = yield* timed(program)
        expect(exit).toStrictEqual(Exit.succeed([1000, "done"]))
      }))

    it.effect("uses the policy of the context where none is given", () =>
      Effect.gen(function*() {
        const { attempts, effect } = always(server)
        yield* timed(Effect.ignore(Retry.run(effect)).pipe(Effect.provide(Retry.layer(Schedule.recurs(6)))))
        expect(attempts).toHaveLength(7)
      }))

    it.effect("uses the default policy where the context has none", () =>
      Effect.gen(function*() {
        const { attempts, effect } = always(server)
        const { millis } = yield* timed(Effect.ignore(Retry.run(effect)))
        expect(attempts).toHaveLength(5)
        expect(millis).toBeGreaterThan(0)
        expect(millis).toBeLessThan(7500)
      }))

    it.effect("marks each retry on the span in progress", () =>
      Effect.gen(function*() {
        const events: Array<unknown> = []
        const tracer = Tracer.make({
          span: (options) => {
            const span = new Tracer.NativeSpan(options)
            const event = span.event.bind(span)
            return Object.assign(span, {
              event: (name: string, at: bigint, attributes?: Record<string, unknown>) => {
                events.push([name, attributes])
                event(name, at, attributes)
              }
            })
          }
        })
        const { effect } = scripted(server)
        yield* timed(
          Effect.withSpan(Retry.run(effect, second), "call").pipe(Effect.provideService(Tracer.Tracer, tracer))
        )
        expect(events).toEqual([
          ["retry", { "retry.attempt": 1, "retry.delay_ms": 1000, "retry.error": "ServerError" }]
        ])
      }))

    it.effect("reads the policy of the context from the configuration", () =>
      Effect.gen(function*() {
        const { attempts, effect } = always(server)
        const provider = ConfigProvider.fromUnknown({
          retry: { type: "spaced", interval: "5 seconds", maxAttempts: 3 }
        })
        const { millis } = yield* timed(
          Effect.ignore(Retry.run(effect)).pipe(
            Effect.provide(Layer.provide(Retry.layerConfig("retry"), ConfigProvider.layer(provider))),
            Effect.orDie
          )
        )
        expect(attempts).toHaveLength(3)
        expect(millis).toBe(10_000)
      }))

    it.effect("passes on the errors and services of the schedule", () =>
      Effect.gen(function*() {
        const broken = second.pipe(Schedule.tap(() => Effect.fail("schedule broke" as const)))
        const { effect } = always(server)
        const program = Retry.run(effect, broken)
        expectTypeOf(program).toEqualTypeOf<Effect.Effect<string, ServerError | "schedule broke">>()
        expect(failure((yield* timed(program)).exit)).toBe("schedule broke")
      }))

    it.effect("reports each retry and why it stopped", () =>
      Effect.gen(function*() {
        const events: Array<unknown> = []
        const { effect } = scripted<TogetherError>(server, limited("2 seconds"), auth)
        const program = Effect.ignore(Retry.run(effect, Retry.retryAfter(second, { spread: 0 }), {
          onRetry: ({ attempt, delay, elapsed, error }) =>
            Effect.sync(() => {
              events.push([error._tag, attempt, Duration.toMillis(delay), Duration.toMillis(elapsed)])
            }),
          onStop: ({ attempts, elapsed, error, reason }) => {
            events.push([error._tag, attempts, reason, Duration.toMillis(elapsed)])
            return error
          }
        }))
        yield* timed(program)
        expect(events).toEqual([
          ["ServerError", 1, 1000, 0],
          ["RateLimitError", 2, 2000, 1000],
          ["AuthError", 3, "not-retryable", 3000]
        ])
      }))

    it.effect("measures a call whose clock was set back meanwhile, and its schedule ends as without", () =>
      stepped((set) =>
        Effect.gen(function*() {
          const millis: Array<number> = []
          const { effect } = always<TogetherError>(server)
          const program = Retry.run(effect, second.pipe(Schedule.upTo({ duration: "3 seconds" })), {
            onRetry: ({ elapsed }) => Effect.sync(() => void millis.push(Duration.toMillis(elapsed)))
          })
          yield* Effect.forkChild(Effect.delay(Effect.sync(() => set(-hour)), "1500 millis"))
          yield* Effect.ignore(program)
          expect(millis).toEqual([0, 1000, 2000, 3000])
        })
      ))

    it.effect.each<{ readonly name: string; readonly schedule: Schedule.Schedule<unknown, unknown, unknown> }>([
      { name: "fixed", schedule: Schedule.fixed("50 millis") },
      { name: "windowed", schedule: Schedule.windowed("50 millis") },
      { name: "a fixed document", schedule: Retry.fromDocument({ type: "fixed", interval: "50 millis" }) },
      { name: "cron", schedule: Schedule.cron("* * * * * *") }
    ])("retries once per boundary of $name where timers fire too soon", ({ schedule }) =>
      hasty(
        0.6,
        Effect.gen(function*() {
          const at: Array<number> = []
          const failing = Effect.clockWith((clock) => {
            at.push(Monotonic.millis(clock))
            return Effect.fail(server)
          })
          yield* Effect.ignore(Retry.run(failing, Retry.maxAttempts(schedule, 6)))
          const waits = at.slice(1).map((time, index) => time - at[index]!)
          expect(waits).toHaveLength(5)
          expect(Math.min(...waits)).toBeGreaterThan(45)
        })
      ))

    it.effect("waits whole milliseconds, no less than its schedule asks", () =>
      Effect.gen(function*() {
        const { attempts, effect } = scripted<TogetherError>(server, server)
        const delays: Array<number> = []
        yield* timed(Retry.run(effect, Retry.delays(["1.2 millis", "7 millis"]), {
          onRetry: ({ delay }) => Effect.sync(() => void delays.push(Duration.toMillis(delay)))
        }))
        expect(delays).toEqual([2, 7])
        expect(attempts.map((time) => time - attempts[0]!)).toEqual([0, 2, 9])
      }))

    it.effect("counts retries by error and stops by reason", () =>
      Effect.gen(function*() {
        const { effect } = always(server)
        const counted = yield* timed(
          Effect.ignore(Retry.run(effect, Schedule.recurs(2))).pipe(
            Effect.andThen(Metric.snapshot),
            Effect.map((all) => {
              const counts = Object.fromEntries(all.map((m) => [`${m.id} ${JSON.stringify(m.attributes)}`, m.state]))
              expect(counts[`effect_together_retry_waits_total {"error":"ServerError"}`]).toMatchObject({ count: 2 })
              expect(counts[`effect_together_retry_stops_total {"reason":"schedule"}`]).toMatchObject({ count: 1 })
            }),
            Effect.provideService(Metric.MetricRegistry, new Map())
          )
        )
        yield* counted.exit
      }))
  })

  describe("hints", () => {
    const run = (error: TogetherError, schedule: Schedule.Schedule<unknown> = Retry.policy()) => {
      const { attempts, effect } = always(error)
      return Effect.map(timed(Retry.run(effect, schedule)), ({ exit, millis }) => ({
        error: failure(exit),
        millis,
        attempts: attempts.length
      }))
    }

    it.effect("waits at least as long as asked, and at most a quarter longer", () =>
      Effect.gen(function*() {
        const { attempts, error, millis } = yield* run(limited("8 seconds"), Retry.policy({ maxAttempts: 2 }))
        expect(attempts).toBe(2)
        expect(error).toMatchObject({ attempts: 2, retryAfter: Duration.seconds(8) })
        expect(millis).toBeGreaterThanOrEqual(8000)
        expect(millis).toBeLessThanOrEqual(10_000)
      }))

    it.effect("fails at once with the hint on the error when it is over the cap", () =>
      Effect.gen(function*() {
        const { attempts, error, millis } = yield* run(limited("61 seconds"))
        expect(error).toMatchObject({ attempts: 1, retryAfter: Duration.seconds(61) })
        expect([attempts, millis]).toEqual([1, 0])
      }))

    it.effect("does not wake early for a hint above 2^31 milliseconds", () =>
      Effect.gen(function*() {
        const patient = Retry.policy({ maxAttempts: 2, retryAfter: { cap: "52 weeks", spread: 0 } })
        const { attempts, millis } = yield* run(limited("30 days"), patient)
        expect(attempts).toBe(2)
        expect(millis).toBe(30 * 24 * 3600 * 1000)
        expect(millis).toBeGreaterThan(2 ** 31)
      }))

    it.effect("the live clock splits a sleep above 2^31 milliseconds instead of firing at once", () =>
      Effect.gen(function*() {
        // setTimeout takes such a delay for 1 ms: a clock that passed it on would be done well before this one yields
        const sleeper = yield* Effect.forkChild(Effect.sleep("30 days"), { startImmediately: true })
        yield* Effect.sleep("20 millis")
        expect(sleeper.pollUnsafe()).toBeUndefined()
        yield* Fiber.interrupt(sleeper)
      }).pipe(TestClock.withLive))
  })

  describe("deadline", () => {
    it.effect("never sleeps past it", () =>
      Effect.gen(function*() {
        const { attempts, effect } = always(server)
        const program = Retry.run(effect, Schedule.spaced("4 seconds")).pipe(
          Deadline.run("10 seconds", { minAttempt: "1 second" })
        )
        const { exit, millis } = yield* timed(program)
        // at 0, 4 and 8 s; at 8 s a wait of 4 s leaves nothing, so the last error comes back now
        expect(attempts).toHaveLength(3)
        expect(failure(exit)).toMatchObject({ _tag: "ServerError", attempts: 3 })
        expect(millis).toBe(8000)
      }))

    it.effect("fails at once when the hint is past it", () =>
      Effect.gen(function*() {
        const { effect } = always(limited("30 seconds"))
        const { exit, millis } = yield* timed(Retry.run(effect, Retry.policy()).pipe(Deadline.run("20 seconds")))
        expect(failure(exit)).toMatchObject({ _tag: "RateLimitError", attempts: 1, retryAfter: Duration.seconds(30) })
        expect(millis).toBe(0)
      }))

    it.effect("is the reason of a stop at a hint past it, and the schedule that at a hint over the cap", () =>
      Effect.gen(function*() {
        const reason = (hint: Duration.Input) => {
          let stop: Retry.StopReason | undefined
          const program = Retry.run(always(limited(hint)).effect, Retry.policy(), {
            onStop: ({ error, reason }) => {
              stop = reason
              return error
            }
          })
          return Effect.map(
            timed(Effect.ignore(program).pipe(Deadline.run("20 seconds"))),
            ({ millis }) => [stop, millis]
          )
        }
        expect(yield* reason("30 seconds")).toEqual(["deadline", 0])
        expect(yield* reason("90 seconds")).toEqual(["schedule", 0])
      }))

    it.effect("stops plain Effect.retry at a hint past it", () =>
      Effect.gen(function*() {
        const { attempts, effect } = always(limited("30 seconds"))
        const { exit, millis } = yield* timed(Effect.retry(effect, Retry.policy()).pipe(Deadline.run("20 seconds")))
        expect(failure(exit)).toMatchObject({ _tag: "RateLimitError" })
        expect([attempts.length, millis]).toEqual([1, 0])
      }))

    it.effect("maxElapsed counts from the start of the first attempt", () =>
      Effect.gen(function*() {
        const { attempts, effect } = always(server)
        const slow = Effect.andThen(Effect.sleep("3 seconds"), effect)
        const { millis } = yield* timed(Effect.ignore(Retry.run(slow, Retry.maxElapsed(second, "7 seconds"))))
        // 3 s attempt, 1 s wait (4 s), 3 s attempt: at 7 s a wait would end at 8 s
        expect(attempts).toHaveLength(2)
        expect(millis).toBe(7000)
      }))
  })

  describe("budget", () => {
    const make = RetryBudget.make({ ratio: 0.2, minPerSecond: 0 })

    it.effect("bounds the retries of all calls together", () =>
      Effect.gen(function*() {
        let attempts = 0
        const effect = Effect.suspend(() => {
          attempts++
          return Effect.fail(server)
        })
        const program = Effect.gen(function*() {
          const budget = yield* make
          return yield* Effect.forEach(
            Array.from({ length: 100 }),
            () => Effect.flip(Retry.run(effect, Retry.maxAttempts(Schedule.spaced(1), 5), { budget }))
          )
        })
        const { exit } = yield* timed(program)
        expect(Exit.isSuccess(exit)).toBe(true)
        expect(attempts).toBe(120)
      }))

    it.effect("fails the retry that finds it empty, without waiting", () =>
      Effect.gen(function*() {
        const reasons: Array<Retry.StopReason> = []
        const program = Effect.gen(function*() {
          const budget = yield* make
          return yield* Retry.run(always(server).effect, second, {
            budget,
            onStop: ({ error, reason }) => {
              reasons.push(reason)
              return error
            }
          })
        })
        const { millis } = yield* timed(Effect.ignore(program))
        expect(reasons).toEqual(["budget"])
        expect(millis).toBe(0)
      }))

    it.effect("makes a job wait for it, but not past the deadline", () =>
      Effect.gen(function*() {
        const waiting = Effect.gen(function*() {
          const budget = yield* RetryBudget.make({ ratio: 0, minPerSecond: 0.1, timeToLive: "10 seconds" })
          yield* budget.withdraw
          return yield* Retry.run(scripted(server).effect, second, { budget, whenBudgetEmpty: "wait" })
        })
        const { exit, millis } = yield* timed(waiting)
        expect(exit).toStrictEqual(Exit.succeed("done"))
        expect(millis).toBeGreaterThanOrEqual(10_000)
        expect(millis).toBeLessThanOrEqual(12_000)
        const late = yield* timed(Deadline.run(waiting, "5 seconds", { minAttempt: 0 }))
        expect(failure(late.exit)).toMatchObject({ _tag: "ServerError", attempts: 1 })
        expect(late.millis).toBeLessThanOrEqual(5000)
      }))
  })

  describe("policy", () => {
    it.effect("is its document: five attempts, twelve where refused, full jitter, longer after a 429", () =>
      Effect.gen(function*() {
        const busy = new OverloadedError({ message: "503" })
        for (
          const [retries, ...inputs] of [
            [4, server],
            [11, limited(0)],
            [11, busy],
            [11, limited("3 seconds"), server, busy, server, limited(0)]
          ] as const
        ) {
          for (let seed = 0; seed < 20; seed++) {
            const options = { inputs, attempts: 20, seed }
            const fromPolicy = yield* Retry.preview(Retry.policy(), options)
            expect(fromPolicy).toHaveLength(retries)
            expect(yield* Retry.preview(Retry.defaultDocument, options)).toEqual(fromPolicy)
          }
        }
      }))

    it.effect("follows every option", () =>
      Effect.gen(function*() {
        const half = Effect.provideService(Random.Random, { nextIntUnsafe: () => 0, nextDoubleUnsafe: () => 0.5 })
        const delays = (
          options: Retry.PolicyOptions,
          inputs: readonly [TogetherError, ...Array<TogetherError>] = [server]
        ) =>
          Effect.map(half(Retry.preview(Retry.policy(options), { inputs, attempts: 5 })), (all) =>
            all.map((delay) => Duration.toMillis(delay)))
        expect(yield* delays({})).toEqual([250, 500, 1000, 1000])
        expect(yield* delays({}, [limited(0)])).toEqual([500, 1000, 1000, 1000])
        expect(yield* delays({ base: "2 seconds" }, [limited(0)])).toEqual([1000, 1000, 1000, 1000])
        expect(yield* delays({ cap: "4 seconds" })).toEqual([250, 500, 1000, 2000])
        const patient = { throttledBase: "4 seconds", cap: "20 seconds" } as const
        expect(yield* delays(patient, [limited(0)])).toEqual([2000, 4000, 8000, 10_000])
        expect(yield* delays({ jitter: "none", factor: 3, cap: "4 seconds" })).toEqual([500, 1500, 4000, 4000])
        expect(yield* delays({ jitter: "equal" })).toEqual([375, 750, 1500, 1500])
        expect(yield* delays({ jitter: "proportional" })).toEqual([500, 1000, 2000, 2000])
        expect(yield* delays({ jitter: "decorrelated", maxAttempts: 3 })).toEqual([1000, 1750])
        const short = { base: "100 millis", cap: "800 millis", maxAttempts: 3 } as const
        expect(yield* delays({ ...short, jitter: "decorrelated" }, [limited(0)])).toEqual([800, 800])
        expect(yield* delays({ ...short, jitter: "none" }, [limited(0)])).toEqual([800, 800])
        expect(yield* delays({ floor: "700 millis", maxAttempts: 4 })).toEqual([700, 700, 1000])
        expect(yield* delays({ cap: "1 millis", jitter: "none", maxAttempts: 3 })).toEqual([1, 1])
        expect(yield* delays({ cap: "100 millis", jitter: "decorrelated", maxAttempts: 3 })).toEqual([100, 100])
        expect(yield* delays({ base: "30 seconds", jitter: "none", maxAttempts: 3 })).toEqual([30_000, 30_000])
        expect(yield* delays({ throttledBase: "30 seconds", maxAttempts: 2 }, [limited(0)])).toEqual([15_000])
        expect(yield* delays({ floor: "30 seconds", maxAttempts: 2 })).toEqual([30_000])
        expect(yield* delays({ throttledBase: "30 seconds", jitter: "decorrelated", maxAttempts: 2 }, [limited(0)]))
          .toEqual([30_000])
        expect(yield* delays({ retryAfter: false, maxAttempts: 2 }, [limited("9 seconds")])).toEqual([500])
        expect(yield* delays({ maxElapsed: "800 millis" })).toEqual([250, 500])
        expect(yield* delays({ tags: { ServerError: second } })).toEqual([1000, 1000, 1000, 1000])
      }))

    it.each<[Retry.PolicyOptions, string]>([
      [{ cap: 0 }, "Retry.policy: cap must be above 0, got 0 ms"],
      [{ base: "30 seconds", cap: "10 seconds" }, "cap must be >= base, which is 30000, got 10000"],
      [{ throttledBase: "30 seconds", cap: "10 seconds" }, "cap must be >= throttledBase, which is 30000, got 10000"],
      [{ floor: "30 seconds", cap: "10 seconds" }, "cap must be >= floor, which is 30000, got 10000"],
      [{ maxAttempts: NaN }, "Retry.policy: maxAttempts must be an integer >= 1, got NaN"],
      [{ factor: 0.5 }, "Retry.policy: factor must be a finite number >= 1, got 0.5"],
      [{ maxElapsed: -1 }, "Retry.policy: maxElapsed must be above 0, got -1 ms"],
      [
        { jitter: "x" as Retry.Jitter },
        "Retry.policy: jitter must be one of full, equal, proportional, decorrelated, none, got x"
      ]
    ])("refuses %o, and names what was given", (options, message) => {
      expect(() => Retry.policy(options)).toThrow(message)
    })

    it.effect("also stops plain Effect.retry at what no repeat can cure", () =>
      Effect.gen(function*() {
        const { attempts, effect } = scripted<TogetherError>(
          server,
          new OverloadedError({ message: "503" }),
          auth,
          server
        )
        const { exit } = yield* timed(Effect.retry(effect, Retry.policy()))
        expect(failure(exit)).toBe(auth)
        expect(attempts).toHaveLength(3)
      }))
  })

  it("refuses what to do at an empty budget where it is none", () => {
    const whenBudgetEmpty = "x" as "wait"
    expect(() => Retry.run(Effect.fail(server), second, { whenBudgetEmpty })).toThrow(
      new RangeError("Retry.run: whenBudgetEmpty must be one of fail, wait, got x")
    )
  })

  it("infers error types, and asks for isRetryable where errors are not all ours", () => {
    const foreign: Effect.Effect<number, Error> = Effect.succeed(1)
    const ours: Effect.Effect<number, ServerError> = Effect.succeed(1)
    expectTypeOf(Retry.run(ours, second)).toEqualTypeOf<Effect.Effect<number, ServerError>>()
    expectTypeOf(ours.pipe(Retry.run())).toEqualTypeOf<Effect.Effect<number, ServerError>>()
    expectTypeOf(ours.pipe(Retry.run(Retry.policy()))).toEqualTypeOf<Effect.Effect<number, ServerError>>()
    expectTypeOf(
      foreign.pipe(Retry.run(second, {
        isRetryable: (error) => {
          expectTypeOf(error).toEqualTypeOf<Error>()
          return error.message === "again"
        }
      }))
    ).toEqualTypeOf<Effect.Effect<number, Error>>()
    // options may stand alone
    const rule = { isRetryable: (error: Error) => error.message === "again" }
    expectTypeOf(foreign.pipe(Retry.run(rule))).toEqualTypeOf<Effect.Effect<number, Error>>()
    expectTypeOf(Retry.run(foreign, {
      isRetryable: (error) => {
        expectTypeOf(error).toEqualTypeOf<Error>()
        return true
      }
    })).toEqualTypeOf<Effect.Effect<number, Error>>()
    expectTypeOf(Retry.run(ours, { whenBudgetEmpty: "wait" })).toEqualTypeOf<Effect.Effect<number, ServerError>>()
    expectTypeOf(ours.pipe(Retry.run({ onRetry: () => Effect.service(Retry.CurrentPolicy) })))
      .toEqualTypeOf<Effect.Effect<number, ServerError>>()
    // without isRetryable only errors of the union are accepted
    const withoutRule = Retry.run<TogetherError>(second)
    expectTypeOf(ours).toExtend<Parameters<typeof withoutRule>[0]>()
    expectTypeOf(foreign).not.toExtend<Parameters<typeof withoutRule>[0]>()
  })

  it("infers error types inside of a generic function, and where it is not applied yet", () => {
    const first = <A, E extends TogetherError, R>(self: Effect.Effect<A, E, R>) => Retry.run(self, second)
    const last = <A, E extends TogetherError, R>(self: Effect.Effect<A, E, R>) => self.pipe(Retry.run(second))
    const unapplied = Retry.run(second)
    const ours: Effect.Effect<number, ServerError> = Effect.succeed(1)
    expectTypeOf(first(ours)).toEqualTypeOf<Effect.Effect<number, ServerError>>()
    expectTypeOf(last(ours)).toEqualTypeOf<Effect.Effect<number, ServerError>>()
    expectTypeOf(unapplied(ours)).toEqualTypeOf<Effect.Effect<number, TogetherError>>()
    const told = ours.pipe(Retry.run(second, {
      onRetry: ({ error }) => {
        expectTypeOf(error).toEqualTypeOf<ServerError>()
        return Effect.void
      }
    }))
    expectTypeOf(told).toEqualTypeOf<Effect.Effect<number, ServerError>>()
  })
})
