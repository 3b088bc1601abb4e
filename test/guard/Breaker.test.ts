import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Scheduler from "effect/Scheduler"
import * as Stream from "effect/Stream"
import {
  AuthError,
  CircuitOpenError,
  ConnectionError,
  InvalidRequestError,
  OverloadedError,
  RateLimitError,
  RequestTimeoutError,
  ServerError,
  type TogetherError
} from "../../src/domain/TogetherError.ts"
import * as Breaker from "../../src/guard/Breaker.ts"
import * as Deadline from "../../src/guard/Deadline.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { hour, stepped } from "./steps.ts"

const message = "no"
const server = new ServerError({ message })
const options = { threshold: 0.5, size: 4, minimumCalls: 4, openFor: "10 seconds" } as const

const virtual = <A, E, R>(effect: Effect.Effect<A, E, R>) => VirtualClock.wrap(Effect.scoped(effect))

/** Runs the effect until its circuit has seen enough to open. */
const trip = (breaker: Breaker.Breaker, error: TogetherError = server, times = 4) =>
  Effect.forEach(Array.from({ length: times }), () => Effect.exit(breaker.run(Effect.fail(error), { key: "a" })), {
    discard: true
  })

describe("Breaker", () => {
  describe("classify", () => {
    it.each<readonly [TogetherError, string]>([
      [server, "Failure"],
      [new OverloadedError({ message }), "Failure"],
      [new ConnectionError({ message, permanent: true }), "Failure"],
      [new RequestTimeoutError({ message, phase: "first-token" }), "Failure"],
      [new RequestTimeoutError({ message, phase: "deadline" }), "Ignored"],
      [new RateLimitError({ message, scope: "requests" }), "Ignored"],
      [new InvalidRequestError({ message }), "Ignored"],
      [new AuthError({ message }), "Ignored"]
    ])("case %#", (error, outcome) => {
      expect(Breaker.classify(Exit.fail(error))._tag).toBe(outcome)
      expect(Breaker.classify(Exit.succeed(1))._tag).toBe("Success")
      expect(Breaker.classify(Exit.fail("foreign"))._tag).toBe("Ignored")
      expect(Breaker.classify(Exit.die("bug"))._tag).toBe("Ignored")
    })
  })

  describe("run", () => {
    it.effect("fails at once at an open circuit, says for how long, and spares the other keys", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        yield* trip(breaker)
        let sent = 0
        const call = Effect.sync(() => ++sent)
        const error = yield* Effect.flip(breaker.run(call, { key: "a" }))
        expect(error).toBeInstanceOf(CircuitOpenError)
        expect(error.key).toBe("a")
        expect(Duration.toSeconds(error.retryAfter ?? Duration.zero)).toBeGreaterThanOrEqual(8)
        expect(Duration.toSeconds(error.retryAfter ?? Duration.zero)).toBeLessThanOrEqual(12)
        expect(sent).toBe(0)
        expect(yield* breaker.run(call, { key: "b" })).toBe(1)
      })))

    it.effect("says in whole seconds when to try again", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        yield* trip(breaker, new OverloadedError({ message, retryAfter: Duration.millis(63_004.5) }))
        const error = yield* Effect.flip(breaker.run(Effect.void, { key: "a" }))
        expect(error.message).toMatch(/nothing was sent\. Try again in 1m 4s\.$/)
      })))

    it.effect("opens for no longer after the clock was set back", () =>
      Effect.scoped(stepped((set) =>
        Effect.gen(function*() {
          const breaker = yield* Breaker.make(options)
          yield* trip(breaker)
          set(-hour)
          expect(yield* breaker.state("a")).toMatchObject({ _tag: "Open" })
          yield* Effect.sleep("12 seconds")
          expect(yield* breaker.run(Effect.succeed(1), { key: "a" })).toBe(1)
        })
      )))

    it.effect.each([
      new RateLimitError({ message, scope: "requests" }),
      new InvalidRequestError({ message }),
      new RequestTimeoutError({ message, phase: "deadline" })
    ])(
      "stays closed under errors that say nothing of the provider's health, case %#",
      (error) =>
        virtual(Effect.gen(function*() {
          const breaker = yield* Breaker.make(options)
          yield* trip(breaker, error, 50)
          expect((yield* breaker.state("a"))._tag).toBe("Closed")
        }))
    )

    it.effect("stays closed under interruption", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        for (let i = 0; i < 10; i++) {
          const fiber = yield* Effect.forkChild(breaker.run(Effect.never, { key: "a" }), { startImmediately: true })
          yield* Fiber.interrupt(fiber)
        }
        expect((yield* breaker.state("a"))._tag).toBe("Closed")
      })))

    it.effect("lets one probe through when the time is over, and closes on its success", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        yield* trip(breaker)
        yield* Effect.sleep("12 seconds")
        const probe = yield* Effect.forkChild(breaker.run(Effect.sleep("5 seconds"), { key: "a" }), {
          startImmediately: true
        })
        const other = yield* Effect.flip(breaker.run(Effect.void, { key: "a" }))
        expect(other.message).toContain("half open")
        yield* Fiber.join(probe)
        expect((yield* breaker.state("a"))._tag).toBe("Closed")
        yield* breaker.run(Effect.void, { key: "a" })
      })))

    it.effect("tells the effect whether it is the probe", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        expect(yield* breaker.run(Breaker.CurrentProbe, { key: "a" })).toBe(false)
        yield* trip(breaker)
        yield* Effect.sleep("12 seconds")
        expect(yield* breaker.run(Breaker.CurrentProbe, { key: "b" })).toBe(false)
        expect(yield* breaker.run(Breaker.CurrentProbe, { key: "a" })).toBe(true)
        expect(yield* breaker.run(Breaker.CurrentProbe, { key: "a" })).toBe(false)
      })))

    it.effect("opens for twice as long when the probe fails, and never longer than the most", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make({ ...options, maxOpenFor: "30 seconds" })
        yield* trip(breaker)
        const times: Array<number> = []
        for (let i = 0; i < 4; i++) {
          const state = yield* breaker.state("a")
          if (state._tag !== "Open") throw new Error(state._tag)
          times.push(Duration.toSeconds(state.retryAfter))
          yield* Effect.sleep(state.retryAfter)
          yield* Effect.ignore(breaker.run(Effect.fail(server), { key: "a" }))
        }
        const bases = [10, 20, 30, 30]
        times.forEach((seconds, i) => {
          expect(seconds).toBeGreaterThanOrEqual((bases[i] ?? 0) * 0.8)
          expect(seconds).toBeLessThanOrEqual(Math.min(30, (bases[i] ?? 0) * 1.2))
        })
      })))

    it.effect("keeps to the most whatever chance draws, and still spreads below it", () =>
      Effect.gen(function*() {
        const times: Array<number> = []
        for (let seed = 0; seed < 20; seed++) {
          const { exit } = yield* VirtualClock.run(
            Effect.scoped(Effect.gen(function*() {
              const breaker = yield* Breaker.make({ ...options, maxOpenFor: "10 seconds" })
              yield* trip(breaker)
              const state = yield* breaker.state("a")
              return state._tag === "Open" ? Duration.toSeconds(state.retryAfter) : 0
            })),
            { seed }
          )
          times.push(yield* exit)
        }
        expect(Math.max(...times)).toBe(10)
        expect(Math.min(...times)).toBeGreaterThanOrEqual(8)
        expect(Math.min(...times)).toBeLessThan(9)
      }))

    it.effect("stays open as long as the provider asked", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        yield* trip(breaker, new OverloadedError({ message, retryAfter: Duration.seconds(90) }))
        const state = yield* breaker.state("a")
        expect(state._tag === "Open" && Duration.toSeconds(state.retryAfter)).toBe(90)
      })))

    it.effect("makes jobs wait, and sends one probe for all of them", () =>
      Effect.gen(function*() {
        let running = 0
        let most = 0
        const result = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
          const breaker = yield* Breaker.make(options)
          yield* trip(breaker)
          const call = Effect.gen(function*() {
            running++
            if ((yield* breaker.state("a"))._tag === "HalfOpen") most = Math.max(most, running)
            yield* Effect.sleep("3 seconds")
            running--
            return "row"
          })
          return yield* Effect.forEach(
            Array.from({ length: 20 }),
            () => breaker.run(call, { key: "a", whenOpen: "wait" }),
            { concurrency: "unbounded" }
          )
        })))
        expect(result.exit).toStrictEqual(Exit.succeed(Array.from({ length: 20 }, () => "row")))
        expect(most).toBe(1)
        expect(Duration.toSeconds(result.elapsed)).toBeLessThan(25)
      }))

    it.effect("fails a call that waits as soon as its deadline comes before the next opening, whoever waits before it", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        yield* trip(breaker)
        const failing = Effect.delay(Effect.fail(server), "5 seconds")
        const wait = { key: "a", whenOpen: "wait" } as const
        yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(breaker.run(failing, wait), { startImmediately: true }))
        yield* Effect.sleep("13.5 seconds")
        expect((yield* breaker.state("a"))._tag).toBe("HalfOpen")
        const began = yield* Clock.currentTimeMillis
        const error = yield* breaker.run(failing, wait).pipe(Deadline.run("10 seconds"), Effect.flip)
        expect(error._tag).toBe("CircuitOpenError")
        expect((yield* Clock.currentTimeMillis) - began).toBeLessThan(7000)
      })))

    it.effect("goes on once its scope has closed, also with a call that waits", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Effect.scoped(Effect.tap(Breaker.make(options), trip))
        const answers = yield* Effect.forEach(
          ["wait", "wait", "fail"] as const,
          (whenOpen) => Effect.exit(breaker.run(Effect.succeed("answer"), { key: "a", whenOpen })),
          { concurrency: "unbounded" }
        )
        expect(answers.map(Exit.isSuccess)).toEqual([true, true, false])
        expect((yield* breaker.state("a"))._tag).toBe("Closed")
      })))

    it.effect("looks once for all that wait, however many, and lets them in within three seconds", () =>
      Effect.gen(function*() {
        const admitted: Array<number> = []
        const result = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
          const breaker = yield* Breaker.make(options)
          yield* trip(breaker)
          yield* Effect.sleep("12 seconds")
          const probe = yield* Effect.forkChild(breaker.run(Effect.sleep("1 minute"), { key: "a" }), {
            startImmediately: true
          })
          const waiting = yield* Effect.forEach(
            Array.from({ length: 200 }),
            () =>
              Effect.forkChild(breaker.run(Clock.currentTimeMillis, { key: "a", whenOpen: "wait" }), {
                startImmediately: true
              })
          )
          yield* Fiber.join(probe)
          const closed = yield* Clock.currentTimeMillis
          for (const fiber of waiting) admitted.push((yield* Fiber.join(fiber)) - closed)
        })))
        expect(Exit.isSuccess(result.exit)).toBe(true)
        expect(result.jumps).toBeLessThan(200 + 60)
        expect(Math.max(...admitted)).toBeLessThanOrEqual(3000)
        expect(Math.max(...admitted) - Math.min(...admitted)).toBeGreaterThan(900)
      }))

    it.effect("counts a call that waits as one rejection, however often it looks", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        yield* trip(breaker)
        yield* Effect.sleep("12 seconds")
        yield* Effect.forkChild(breaker.run(Effect.sleep("60 seconds"), { key: "a" }), { startImmediately: true })
        const waiting = breaker.run(Effect.void, { key: "a", whenOpen: "wait" })
        // one with a deadline asks its circuit each time, since it does not look in line
        yield* Effect.all([waiting, Deadline.run(waiting, "5 minutes")], { concurrency: 2 })
        const metrics = yield* Metric.snapshot
        expect(metrics.filter(({ id }) => id === "effect_together_breaker_rejections_total")).toMatchObject([{
          state: { count: 2 }
        }])
      })).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

    it.effect("does not wait past the deadline", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        yield* trip(breaker)
        const error = yield* Effect.flip(
          breaker.run(Effect.void, { key: "a", whenOpen: "wait" }).pipe(Deadline.run("5 seconds"))
        )
        expect(error._tag).toBe("CircuitOpenError")
      })))

    it.effect("passes on the effect's own errors, even those of another breaker", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        const theirs = new CircuitBreaker.CircuitBreakerError({
          reason: new CircuitBreaker.CircuitHalfOpen({ key: "x" })
        })
        expect(yield* Effect.flip(breaker.run(Effect.fail(theirs), { key: "a" }))).toBe(theirs)
      })))

    it.effect("judges by the caller's rule", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        const classify = () => CircuitBreaker.failure()
        for (let i = 0; i < 4; i++) yield* breaker.run(Effect.void, { key: "a", classify })
        expect((yield* breaker.state("a"))._tag).toBe("Open")
      })))

    it.effect("refuses a behaviour that there is none of", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        const whenOpen = "x" as "wait"
        const wrong = "whenOpen must be one of fail, wait, got x"
        const key = "a"
        expect(() => breaker.run(Effect.void, { key, whenOpen })).toThrow(new RangeError(`Breaker.run: ${wrong}`))
        expect(() => breaker.acquireScoped({ key, whenOpen })).toThrow(
          new RangeError(`Breaker.acquireScoped: ${wrong}`)
        )
      })))

    it.effect("forgets what it has seen when idle", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make({ ...options, idleTimeToLive: "1 minute" })
        yield* trip(breaker, server, 3)
        yield* Effect.sleep("61 seconds")
        yield* trip(breaker, server, 1)
        expect((yield* breaker.state("a"))._tag).toBe("Closed")
      })))
  })

  describe("acquireScoped", () => {
    it.effect("judges a call when it is settled, by its first end", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        const permits = yield* Effect.forEach([1, 2, 3, 4], () => breaker.acquireScoped({ key: "a" }))
        for (const permit of permits) {
          expect(permit.probe).toBe(false)
          expect((yield* breaker.state("a"))._tag).toBe("Closed")
          yield* permit.settle(Exit.fail(new OverloadedError({ message, retryAfter: Duration.seconds(90) })))
          yield* permit.settle(Exit.void)
        }
        const state = yield* breaker.state("a")
        expect(state._tag === "Open" && Duration.toSeconds(state.retryAfter)).toBe(90)
      })))

    it.effect("keeps a half-open circuit to itself until it is settled, and closes or opens it then", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        yield* trip(breaker)
        for (
          const [exit, state] of [[Exit.fail(server), "Open"], [Exit.void, "Closed"]] as const
        ) {
          yield* Effect.sleep("25 seconds")
          const permit = yield* breaker.acquireScoped({ key: "a" })
          expect(permit.probe).toBe(true)
          expect((yield* Effect.flip(breaker.run(Effect.void, { key: "a" }))).message).toContain("half open")
          yield* permit.settle(exit)
          expect((yield* breaker.state("a"))._tag).toBe(state)
        }
      })))

    it.effect("judges it by the caller's rule", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        const classify = () => CircuitBreaker.failure()
        for (let i = 0; i < 4; i++) {
          const permit = yield* breaker.acquireScoped({ key: "a", classify })
          yield* permit.settle(Exit.void)
        }
        expect((yield* breaker.state("a"))._tag).toBe("Open")
      })))

    it.effect("judges what was settled, though who settles is interrupted and its scope ends at once", () =>
      virtual(Effect.gen(function*() {
        // its fiber makes way for others at each of its steps
        for (let steps = 5; steps <= 40; steps++) {
          const breaker = yield* Breaker.make({ size: 1, minimumCalls: 1 })
          yield* Effect.scoped(Effect.gen(function*() {
            const permit = yield* Effect.provideService(
              breaker.acquireScoped({ key: "a" }),
              Scheduler.MaxOpsBeforeYield,
              steps
            )
            const settled = yield* Effect.forkChild(permit.settle(Exit.fail(server)), { startImmediately: true })
            yield* Fiber.interrupt(settled)
          }))
          expect([steps, (yield* breaker.state("a"))._tag]).toEqual([steps, "Open"])
        }
      })))

    it.effect("makes way for the next probe at the end of the scope, and counts nothing", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        yield* trip(breaker, server, 3)
        yield* Effect.scoped(Effect.andThen(breaker.acquireScoped({ key: "a" }), Effect.exit(Effect.fail(server))))
        expect((yield* breaker.state("a"))._tag).toBe("Closed")
        yield* trip(breaker, server, 1)
        yield* Effect.sleep("12 seconds")
        const left = Effect.scoped(Effect.andThen(breaker.acquireScoped({ key: "a" }), Effect.fail("left")))
        expect(yield* Effect.flip(left)).toBe("left")
        expect(yield* breaker.state("a")).toMatchObject({ _tag: "HalfOpen", probing: false })
        expect(yield* breaker.run(Breaker.CurrentProbe, { key: "a" })).toBe(true)
      })))

    it.effect("leaves nothing behind where it is interrupted while it waits, or refused", () =>
      Effect.gen(function*() {
        const { exit, fibersLeft, timersLeft } = yield* VirtualClock.run(Effect.scoped(Effect.gen(function*() {
          const breaker = yield* Breaker.make(options)
          yield* trip(breaker)
          const acquire = (whenOpen: "fail" | "wait") => breaker.acquireScoped({ key: "a", whenOpen })
          expect((yield* Effect.flip(acquire("fail")))._tag).toBe("CircuitOpenError")
          const waiting = yield* Effect.forkChild(acquire("wait"), { startImmediately: true })
          yield* Fiber.interrupt(waiting)
          yield* Effect.sleep("30 seconds")
          expect(yield* breaker.state("a")).toMatchObject({ _tag: "Open" })
          expect((yield* acquire("wait")).probe).toBe(true)
        })))
        expect([Exit.isSuccess(exit), fibersLeft, timersLeft]).toEqual([true, 0, 0])
      }))

    it.effect("is no probe of its own circuit within that of another", () =>
      virtual(Effect.gen(function*() {
        const breaker = yield* Breaker.make(options)
        const permit = breaker.acquireScoped({ key: "a" })
        expect((yield* Effect.provideService(permit, Breaker.CurrentProbe, true)).probe).toBe(false)
      })))
  })

  it.effect("emits its transitions", () =>
    virtual(Effect.gen(function*() {
      const breaker = yield* Breaker.make(options)
      const seen: Array<string> = []
      yield* breaker.transitions.pipe(
        Stream.runForEach(({ from, to }) => Effect.sync(() => seen.push(`${from} → ${to}`))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* trip(breaker)
      yield* Effect.sleep("12 seconds")
      yield* breaker.run(Effect.void, { key: "a" })
      yield* Effect.sleep(1)
      expect(seen).toEqual(["Closed → Open", "Open → HalfOpen", "HalfOpen → Closed"])
    })))

  it.effect("comes as a layer, from options or configuration", () =>
    Effect.gen(function*() {
      const program = Effect.fail(server).pipe(Breaker.run({ key: "a" }), Effect.flip)
      const twice = Effect.andThen(program, program)
      const one = { size: 1, minimumCalls: 1 }
      expect(yield* Effect.provide(twice, Breaker.layer(one))).toBeInstanceOf(CircuitOpenError)
      const configured = Breaker.layerConfig({ size: Config.succeed(1), minimumCalls: Config.succeed(1) })
      expect(yield* Effect.provide(twice, configured)).toBeInstanceOf(CircuitOpenError)
    }))

  it.effect.each<Breaker.Options>([
    { openFor: "10 minutes" },
    { maxOpenFor: "1 second" },
    { maxOpenFor: Infinity },
    { minimumCalls: 100 },
    { size: 1 }
  ])("lets its defaults give way to %o", (options) => Effect.asVoid(Effect.scoped(Layer.build(Breaker.layer(options)))))

  it.effect("is open for as long as was given, where its longest time by default is less", () =>
    Effect.gen(function*() {
      const breaker = yield* Breaker.make({ size: 1, minimumCalls: 1, openFor: "10 minutes" })
      yield* Effect.ignore(breaker.run(Effect.fail(server), { key: "a" }))
      const state = yield* breaker.state("a")
      expect(state._tag === "Open" && Duration.toMinutes(state.retryAfter)).toBeGreaterThanOrEqual(8)
    }))

  it.effect.each<[Breaker.Options, RegExp]>([
    [{ threshold: 0 }, /Breaker.make: threshold must be in/],
    [{ size: 0 }, /size must be an integer >= 1, got 0/],
    [{ size: 5, minimumCalls: 6 }, /size must be >= minimumCalls, which is 6, got 5/],
    [{ openFor: 0 }, /openFor/],
    [{ maxOpenFor: 0 }, /maxOpenFor must be above 0, got 0 ms/],
    [{ openFor: "1 minute", maxOpenFor: "1 second" }, /maxOpenFor/],
    [{ idleTimeToLive: 0 }, /idleTimeToLive must be above 0, got 0 ms/]
  ])("refuses options out of range, in the layer: %s", ([options, message]) =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Breaker.layer(options))))
      expect(Exit.isFailure(exit) && Cause.squash(exit.cause)).toEqual(
        expect.objectContaining({ name: "RangeError", message: expect.stringMatching(message) })
      )
    }))
})
