import { describe, expect, it, layer } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scheduler from "effect/Scheduler"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const millis = (result: VirtualClock.Result<unknown, unknown>) => Duration.toMillis(result.elapsed)

describe("VirtualClock", () => {
  it.effect("says what to do where a test moves it by hand", () =>
    Effect.gen(function*() {
      for (const moved of [TestClock.adjust("1 minute"), TestClock.setTime(0)]) {
        const { exit } = yield* VirtualClock.run(moved)
        expect(String(Exit.isFailure(exit) && exit.cause)).toContain("VirtualClock moves by itself")
      }
    }))

  describe("run", () => {
    it.effect("ends an hour of sleep with the hour on the clock", () =>
      Effect.gen(function*() {
        const result = yield* VirtualClock.run(Effect.as(Effect.sleep("1 hour"), "slept"))
        expect(result.exit).toStrictEqual(Exit.succeed("slept"))
        expect(millis(result)).toBe(3_600_000)
        expect(result.timersLeft).toBe(0)
        expect(result.fibersLeft).toBe(0)
      }))

    it.effect("leaves the TestClock of the test around it alone", () =>
      Effect.gen(function*() {
        yield* VirtualClock.run(Effect.sleep("1 hour"))
        expect(yield* Clock.currentTimeMillis).toBe(0)
        const sleeper = yield* Effect.forkChild(Effect.as(Effect.sleep("1 second"), "woken"), {
          startImmediately: true
        })
        yield* TestClock.adjust("1 second")
        expect(yield* Fiber.join(sleeper)).toBe("woken")
      }))

    it.effect("shows wall time, monotonic time and elapsed time moving together", () =>
      Effect.gen(function*() {
        const result = yield* VirtualClock.run(
          Effect.gen(function*() {
            const before = [
              yield* Clock.currentTimeMillis,
              yield* Clock.currentTimeNanos,
              yield* Clock.monotonicTimeNanos
            ]
            yield* Effect.sleep("90 seconds")
            const after = [
              yield* Clock.currentTimeMillis,
              yield* Clock.currentTimeNanos,
              yield* Clock.monotonicTimeNanos
            ]
            return [before, after]
          }),
          { startMillis: 1000 }
        )
        expect(result.exit).toStrictEqual(
          Exit.succeed([[1000, 1_000_000_000n, 0n], [91_000, 91_000_000_000n, 90_000_000_000n]])
        )
      }))

    it.effect("wakes timers in the order of their time, equal times in the order of their setting", () =>
      Effect.gen(function*() {
        const order: Array<string> = []
        const at = (name: string, wait: Duration.Input) =>
          Effect.andThen(Effect.sleep(wait), Effect.sync(() => order.push(name)))
        yield* VirtualClock.run(
          Effect.all([
            at("c", "3 seconds"),
            at("a1", "1 second"),
            at("b", "2 seconds"),
            at("a2", "1 second"),
            at("a3", "1 second")
          ], {
            concurrency: "unbounded"
          })
        )
        expect(order).toStrictEqual(["a1", "a2", "a3", "b", "c"])
      }))

    it.effect("finishes all that one instant causes before it wakes the next timer of that instant", () =>
      Effect.gen(function*() {
        const order: Array<string> = []
        const note = (name: string) => Effect.sync(() => order.push(name))
        yield* VirtualClock.run(Effect.gen(function*() {
          const queue = yield* Queue.unbounded<number>()
          yield* Effect.forkChild(Effect.forever(Effect.flatMap(Queue.take(queue), (n) => note(`took ${n}`))))
          const put = (n: number) =>
            Effect.sleep("1 second").pipe(Effect.andThen(note(`put ${n}`)), Effect.andThen(Queue.offer(queue, n)))
          yield* Effect.all([put(1), put(2)], { concurrency: "unbounded" })
        }))
        expect(order).toStrictEqual(["put 1", "took 1", "put 2"])
      }))

    it.effect("removes the timer of a timeout that did not fire", () =>
      Effect.gen(function*() {
        const result = yield* VirtualClock.run(Effect.timeout(Effect.sleep("1 second"), "1 day"))
        expect(millis(result)).toBe(1000)
        expect(result.timersLeft).toBe(0)
      }))

    it.effect("fires timers longer than 2^31 milliseconds on time", () =>
      Effect.gen(function*() {
        const result = yield* VirtualClock.run(Effect.sleep("60 days"))
        expect(millis(result)).toBe(60 * 86_400_000)
      }))

    it.effect("lets promises settle before the clock moves", () =>
      Effect.gen(function*() {
        let chain: Promise<number> = Promise.resolve(0)
        for (let i = 0; i < 500; i++) chain = chain.then((n) => n + 1)
        const result = yield* VirtualClock.run(Effect.timeout(Effect.promise(() => chain), "1 millis"))
        expect(result.exit).toStrictEqual(Exit.succeed(500))
        expect(millis(result)).toBe(0)
      }))

    it.effect("reads a web stream without the clock moving", () =>
      Effect.gen(function*() {
        const body = new Response(new Blob(["a", "b"]).stream()).body!
        const text = Stream.fromReadableStream({ evaluate: () => body, onError: (cause) => cause }).pipe(
          Stream.decodeText,
          Stream.mkString
        )
        const result = yield* VirtualClock.run(Effect.timeout(text, "1 second"), { quietTurns: 8 })
        expect(result.exit).toStrictEqual(Exit.succeed("ab"))
      }))

    it.effect("keeps typed failures and defects as they are", () =>
      Effect.gen(function*() {
        const failed = yield* VirtualClock.run(Effect.delay(Effect.fail("no"), "1 second"))
        expect(failed.exit).toStrictEqual(Exit.fail("no"))
        const died = yield* VirtualClock.run(Effect.die("bug"))
        expect(died.exit).toStrictEqual(Exit.die("bug"))
      }))

    it.effect("repeats itself: same seed, same draws, same elapsed", () =>
      Effect.gen(function*() {
        const program = Effect.gen(function*() {
          const draws: Array<number> = []
          yield* Effect.forEach(Array.from({ length: 20 }, (_, i) => i), (i) =>
            Random.next.pipe(Effect.flatMap((u) =>
              Effect.delay(
                Effect.sync(() =>
                  draws.push(i)
                ),
                Duration.millis(u * 1000)
              )
            )), {
            concurrency: "unbounded"
          })
          return draws
        })
        const one = yield* VirtualClock.run(program)
        const two = yield* VirtualClock.run(program)
        const other = yield* VirtualClock.run(program, { seed: "another" })
        expect(two).toStrictEqual(one)
        expect(other.exit).not.toStrictEqual(one.exit)
      }))

    it.effect("keeps a Random that the caller chose", () =>
      Effect.gen(function*() {
        const outside = yield* Effect.scoped(Random.next.pipe(Random.withSeed("mine")))
        const inside = yield* VirtualClock.wrap(Random.next).pipe(Random.withSeed("mine"))
        expect(inside).toBe(outside)
      }))

    it.effect("counts fibers and timers that outlive the effect", () =>
      Effect.gen(function*() {
        const result = yield* VirtualClock.run(
          Effect.andThen(
            Effect.forkDetach(Effect.sleep("1 hour"), { startImmediately: true }),
            Effect.sleep("1 second")
          )
        )
        expect(result.fibersLeft).toBe(1)
        expect(result.timersLeft).toBe(1)
        expect(millis(result)).toBe(1000)
      }))

    it.effect("ends with the effect also where detached work never sleeps", () =>
      Effect.gen(function*() {
        const busy = Effect.as(Effect.forkDetach(Effect.forever(Effect.yieldNow)), "done")
        for (const maxSpins of [1000, VirtualClock.defaults.maxSpins]) {
          const result = yield* VirtualClock.run(busy, { maxSpins })
          expect(result.exit).toStrictEqual(Exit.succeed("done"))
          expect(result.fibersLeft).toBe(1)
        }
      }))

    it.effect("lets runnable work that outlives the effect end", () =>
      Effect.gen(function*() {
        let ended = 0
        const work = Effect.andThen(Effect.yieldNow, Effect.sync(() => void ended++))
        const result = yield* VirtualClock.run(
          Effect.forEach(Array.from({ length: 5000 }), () => Effect.forkDetach(work))
        )
        expect(ended).toBe(5000)
        expect(result.fibersLeft).toBe(0)
      }))

    it.effect("takes no time of a virtual run around it", () =>
      Effect.gen(function*() {
        const inner = VirtualClock.run(Effect.repeat(Effect.sleep("1 second"), Schedule.recurs(50)))
        const outer = yield* VirtualClock.run(Effect.gen(function*() {
          const sleeper = yield* Effect.forkChild(Effect.sleep("1 hour"), { startImmediately: true })
          const result = yield* Effect.timeout(inner, "1 minute")
          return [millis(result), sleeper.pollUnsafe() === undefined]
        }))
        expect(outer.exit).toStrictEqual(Exit.succeed([51_000, true]))
        expect(millis(outer)).toBe(0)
        const alone = yield* VirtualClock.run(inner)
        expect(Exit.isSuccess(alone.exit) && millis(alone.exit.value)).toBe(51_000)
      }))

    it.effect("may wait for the virtual run around it where told so", () =>
      Effect.gen(function*() {
        const { exit } = yield* VirtualClock.run(Effect.gen(function*() {
          const answer = yield* Deferred.make<string>()
          yield* Effect.forkChild(Effect.delay(Deferred.succeed(answer, "woken"), "1 second"))
          return yield* VirtualClock.wrap(Deferred.await(answer), { wakeup: "outside" })
        }))
        expect(exit).toStrictEqual(Exit.succeed("woken"))
      }))

    it.effect("interrupts the effect when it is interrupted itself", () =>
      Effect.gen(function*() {
        let released = false
        const fiber = yield* Effect.forkChild(
          VirtualClock.run(Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (released = true))), {
            wakeup: "outside"
          }),
          { startImmediately: true }
        )
        yield* Fiber.interrupt(fiber)
        expect(released).toBe(true)
      }))

    it.effect("runs the caller's services inside", () =>
      Effect.gen(function*() {
        const steps = yield* VirtualClock.wrap(Scheduler.MaxOpsBeforeYield.pipe(Effect.delay("1 second"))).pipe(
          Effect.provideService(Scheduler.MaxOpsBeforeYield, 77)
        )
        expect(steps).toBe(77)
      }))
  })

  describe("hang", () => {
    const reason = (effect: Effect.Effect<unknown, unknown>, options?: VirtualClock.Options) =>
      Effect.map(VirtualClock.run(effect, options), (result) => VirtualClock.hang(result.exit)?.reason)

    it.effect("is a deadlock when nothing can wake the effect", () =>
      Effect.gen(function*() {
        expect(yield* reason(Effect.never)).toBe("deadlock")
        expect(yield* reason(Effect.flatMap(Deferred.make<void>(), Deferred.await))).toBe("deadlock")
        expect(yield* reason(Effect.flatMap(Latch.make(false), (latch) => latch.await))).toBe("deadlock")
        const { exit } = yield* VirtualClock.run(Effect.never)
        expect(VirtualClock.hang(exit)?.message).toContain("needs VirtualClock.io")
        expect(VirtualClock.hang(exit)?.message).toContain("; 1 fiber live")
      }))

    it.effect("is a deadlock after the timers ran out, with the time it came to", () =>
      Effect.gen(function*() {
        const { exit } = yield* VirtualClock.run(Effect.andThen(Effect.sleep("3 seconds"), Effect.never))
        const found = VirtualClock.hang(exit)
        expect(found?.reason).toBe("deadlock")
        expect(Duration.toMillis(found!.elapsed)).toBe(3000)
        expect(found?.message).toContain("after 3s of virtual time")
      }))

    it.effect("names the span the effect waits in", () =>
      Effect.gen(function*() {
        const { exit } = yield* VirtualClock.run(Effect.withSpan(Effect.never, "waiting-room"))
        expect(VirtualClock.hang(exit)?.message).toContain("waiting-room")
      }))

    it.effect("is a livelock when a loop never sleeps", () =>
      Effect.gen(function*() {
        expect(yield* reason(Effect.forever(Effect.yieldNow), { maxSpins: 1000 })).toBe("livelock")
        expect(yield* reason(Effect.forever(Effect.sleep(0)), { maxSpins: 1000 })).toBe("livelock")
        expect(yield* reason(Effect.retry(Effect.fail("no"), Schedule.forever), { maxSpins: 1000 })).toBe("livelock")
      }))

    it.effect("is a livelock too when the loop cannot be interrupted", () =>
      Effect.gen(function*() {
        expect(yield* reason(Effect.uninterruptible(Effect.forever(Effect.yieldNow)), { maxSpins: 1000 })).toBe(
          "livelock"
        )
      }))

    it.effect("is a time limit when polling has no end", () =>
      Effect.gen(function*() {
        expect(yield* reason(Effect.forever(Effect.sleep("1 second")), { limit: "1 hour" })).toBe("time-limit")
      }))

    it.effect("says in whole milliseconds how long a program that never ends has run", () =>
      Effect.gen(function*() {
        const { exit } = yield* VirtualClock.run(Effect.forever(Effect.sleep("1000001 nanos")), { limit: "1 second" })
        expect(VirtualClock.hang(exit)?.message).toContain("time-limit after 999ms of virtual time")
      }))

    it.effect("runs the finalizers of the effect, in virtual time", () =>
      Effect.gen(function*() {
        let closed = false
        const result = yield* VirtualClock.run(
          Effect.ensuring(
            Effect.never,
            Effect.andThen(Effect.sleep("2 seconds"), Effect.sync(() => void (closed = true)))
          )
        )
        expect(VirtualClock.hang(result.exit)?.reason).toBe("deadlock")
        expect(closed).toBe(true)
        expect(millis(result)).toBe(2000)
        expect(result.timersLeft).toBe(0)
      }))

    it.effect("is not declared while somebody outside may wake the effect", () =>
      Effect.gen(function*() {
        const deferred = yield* Deferred.make<string>()
        const fiber = yield* Effect.forkChild(VirtualClock.run(Deferred.await(deferred), { wakeup: "outside" }), {
          startImmediately: true
        })
        for (let i = 0; i < 50; i++) yield* Effect.yieldNow
        yield* Deferred.succeed(deferred, "woken")
        expect((yield* Fiber.join(fiber)).exit).toStrictEqual(Exit.succeed("woken"))
      }))

    it("is not found in an ordinary exit", () => {
      expect(VirtualClock.hang(Exit.succeed(1))).toBeUndefined()
      expect(VirtualClock.hang(Exit.fail("no"))).toBeUndefined()
      expect(VirtualClock.hang(Exit.die(new Error("bug")))).toBeUndefined()
    })
  })

  describe("io", () => {
    const afterTurns = (turns: number) =>
      Effect.callback<string>((resume) => {
        const immediate = new Scheduler.MixedScheduler().setImmediate
        const step = (left: number): unknown =>
          left === 0 ? resume(Effect.succeed("read")) : immediate(() => step(left - 1))
        step(turns)
      })

    it.effect("holds the clock while real input is awaited", () =>
      Effect.gen(function*() {
        const waiting = yield* VirtualClock.run(
          Effect.race(VirtualClock.io(afterTurns(200)), Effect.as(Effect.sleep("1 second"), "slept"))
        )
        expect(waiting.exit).toStrictEqual(Exit.succeed("read"))
        expect(millis(waiting)).toBe(0)
        const notHeld = yield* VirtualClock.run(
          Effect.race(afterTurns(200), Effect.as(Effect.sleep("1 second"), "slept"))
        )
        expect(notHeld.exit).toStrictEqual(Exit.succeed("slept"))
      }))

    it.effect("changes nothing under another clock", () =>
      Effect.gen(function*() {
        expect(yield* VirtualClock.io(Effect.succeed(1))).toBe(1)
      }))
  })

  describe("wrap", () => {
    it.effect("ends as the effect ends", () =>
      Effect.gen(function*() {
        expect(yield* VirtualClock.wrap(Effect.as(Effect.sleep("1 day"), 7))).toBe(7)
        expect(yield* Effect.flip(VirtualClock.wrap(Effect.delay(Effect.fail("no"), "1 day")))).toBe("no")
        const exit = yield* Effect.exit(VirtualClock.wrap(Effect.never))
        expect(VirtualClock.hang(exit)?.reason).toBe("deadlock")
      }))
  })

  describe("layer", () => {
    it.live("gives the clock to all it is provided to", () =>
      Effect.gen(function*() {
        const clock = yield* Clock.clockWith(Effect.succeed)
        expect(VirtualClock.isVirtual(clock)).toBe(true)
        yield* Effect.sleep("10 hours")
        expect(yield* Clock.currentTimeMillis).toBe(VirtualClock.defaults.startMillis + 36_000_000)
      }).pipe(Effect.provide(VirtualClock.layer())))
  })

  layer(VirtualClock.layer())("layer, shared", (it) => {
    const { startMillis } = VirtualClock.defaults

    it.effect("begins at the start", () =>
      Effect.gen(function*() {
        expect(yield* Clock.currentTimeMillis).toBe(startMillis)
        yield* Effect.sleep("1 hour")
      }))

    it.effect("goes on in the next effect", () =>
      Effect.gen(function*() {
        expect(yield* Clock.currentTimeMillis).toBe(startMillis + 3_600_000)
        expect(yield* Clock.monotonicTimeNanos).toBe(3_600_000_000_000n)
      }))
  })

  describe("options", () => {
    it("refuses what makes no sense", () => {
      expect(() => VirtualClock.run(Effect.void, { limit: 0 })).toThrow(
        "VirtualClock.run: limit must be above 0, got 0 ms"
      )
      expect(() => VirtualClock.run(Effect.void, { maxSpins: 0 })).toThrow(
        "maxSpins must be an integer >= 1, got 0"
      )
      expect(() => VirtualClock.run(Effect.void, { quietTurns: 0.5 })).toThrow(
        "quietTurns must be an integer >= 1, got 0.5"
      )
      expect(() => VirtualClock.layer({ startMillis: Number.NaN })).toThrow(
        "startMillis must be a finite number, got NaN"
      )
    })
  })

  it.effect.prop("wakes every sleeper at its time, in order, whatever the waits", [
    Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })))
  ], ([waits]) =>
    Effect.gen(function*() {
      const woken: Array<readonly [wait: number, at: number]> = []
      const result = yield* VirtualClock.run(
        Effect.forEach(waits, (wait) =>
          Effect.sleep(wait).pipe(
            Effect.andThen(Clock.currentTimeMillis),
            Effect.map((now) => woken.push([wait, now]))
          ), { concurrency: "unbounded" }),
        { startMillis: 0 }
      )
      expect(woken.map(([, at]) => at)).toStrictEqual(waits.toSorted((a, b) => a - b))
      expect(woken.every(([wait, at]) => wait === at)).toBe(true)
      expect(result.timersLeft).toBe(0)
    }))
})
