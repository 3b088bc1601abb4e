import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Deadline from "../../src/guard/Deadline.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import { suite } from "../policy/vectors.ts"

const timed = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.map(VirtualClock.run(effect), ({ elapsed, exit, timersLeft }) => ({
    exit,
    seconds: Duration.toSeconds(elapsed),
    timersLeft
  }))

const failure = <A, E>(exit: Exit.Exit<A, E>) => {
  if (Exit.isSuccess(exit)) throw new Error("expected a failure")
  return Cause.squash(exit.cause)
}

describe("Deadline", () => {
  describe("deadline.propagation", () => {
    const { cases } = suite<{
      readonly cases: ReadonlyArray<{
        readonly deadline: number
        readonly now: number
        readonly perAttempt?: number
        readonly attemptTimeout?: number
        readonly backoff?: number
        readonly minAttempt?: number
        readonly action?: "fail-now" | "sleep"
      }>
    }>("deadline.propagation")

    it.each(cases)("case %#", ({ action, attemptTimeout, backoff, deadline, minAttempt, now, perAttempt }) => {
      const given = { at: deadline * 1000, minAttempt: (minAttempt ?? 0) * 1000 }
      const at = now * 1000
      if (attemptTimeout !== undefined) {
        expect(Deadline.attemptMillis(given, at, (perAttempt ?? 0) * 1000)).toBe(attemptTimeout * 1000)
      } else if (backoff !== undefined) {
        expect(backoff * 1000 < Deadline.roomMillis(given, at) ? "sleep" : "fail-now").toBe(action)
      } else {
        expect(Deadline.attemptMillis(given, at, 30_000)).toBeUndefined()
      }
    })
  })

  describe("run", () => {
    it.effect("lets pass what is done in time", () =>
      Effect.gen(function*() {
        const { exit, seconds, timersLeft } = yield* timed(Effect.sleep("9 seconds").pipe(Deadline.run("10 seconds")))
        expect(Exit.isSuccess(exit)).toBe(true)
        expect([seconds, timersLeft]).toEqual([9, 0])
      }))

    it.effect("interrupts what is not, with an error that is not retried", () =>
      Effect.gen(function*() {
        let interrupted = false
        const slow = Effect.onInterrupt(Effect.never, () =>
          Effect.sync(() => {
            interrupted = true
          }))
        const { exit, seconds } = yield* timed(Deadline.run(slow, "10 seconds"))
        expect(failure(exit)).toMatchObject({
          _tag: "RequestTimeoutError",
          phase: "deadline",
          message: "The call did not finish in the 10s that its deadline left: raise the deadline or ask for less."
        })
        expect([seconds, interrupted]).toEqual([10, true])
      }))

    it.effect("keeps the earlier of two deadlines", () =>
      Effect.gen(function*() {
        const inner = yield* timed(Effect.never.pipe(Deadline.run("1 hour"), Deadline.run("2 seconds")))
        expect(inner.seconds).toBe(2)
        const left = Effect.map(Deadline.remaining, Duration.toSeconds)
        const outer = yield* timed(left.pipe(Deadline.run("1 hour"), Deadline.run("2 seconds")))
        expect(outer.exit).toStrictEqual(Exit.succeed(2))
        const over = Effect.provideService(Deadline.run(Effect.never, "1 hour"), Deadline.CurrentDeadline, {
          at: 0,
          minAttempt: 0
        })
        expect((yield* timed(over)).seconds).toBe(0)
      }))

    it.effect("tells what is left and which waits fit", () =>
      Effect.gen(function*() {
        const program = Effect.gen(function*() {
          yield* Effect.sleep("5 seconds")
          return [
            Duration.toSeconds(yield* Deadline.remaining),
            yield* Deadline.allows("3999 millis"),
            yield* Deadline.allows("4 seconds")
          ]
        })
        const { exit } = yield* timed(Deadline.run(program, "10 seconds", { minAttempt: "1 second" }))
        expect(exit).toStrictEqual(Exit.succeed([5, true, false]))
        expect(Duration.isFinite(yield* Deadline.remaining)).toBe(false)
        expect(yield* Deadline.allows("52 weeks")).toBe(true)
      }))

    it.effect("defaults minAttempt to a tenth, at most 2 seconds", () =>
      Effect.gen(function*() {
        const minAttempt = Effect.map(Deadline.CurrentDeadline, (deadline) => deadline?.minAttempt)
        expect(yield* Deadline.run(minAttempt, "1 minute")).toBe(2000)
        expect(yield* Deadline.run(minAttempt, "1 second")).toBe(100)
      }))

    it.effect("takes minAttempt from the deadline that holds, unless its own is stated", () =>
      Effect.gen(function*() {
        const minAttempt = Effect.map(Deadline.CurrentDeadline, (deadline) => deadline?.minAttempt)
        expect(yield* minAttempt.pipe(Deadline.run("1 hour"), Deadline.run("1500 millis"))).toBe(150)
        expect(yield* minAttempt.pipe(Deadline.run("1 second"), Deadline.run("1 hour"))).toBe(100)
        const short = Deadline.run("1 minute", { minAttempt: "5 seconds" })
        expect(yield* minAttempt.pipe(Deadline.run("1 hour"), short)).toBe(5000)
        expect(yield* minAttempt.pipe(short, Deadline.run("1500 millis"))).toBe(5000)
        const answer = Effect.succeed("answer").pipe(Deadline.attempt("1 second"))
        expect(yield* answer.pipe(Deadline.run("1 hour"), Deadline.run("1500 millis"))).toBe("answer")
      }))

    it.effect("fails with the caller's error", () =>
      Effect.gen(function*() {
        const { exit } = yield* timed(Deadline.run(Effect.never, "1 second", { onExpired: () => "too late" as const }))
        expect(exit).toStrictEqual(Exit.fail("too late"))
      }))
  })

  it.effect.each([0, -1000])("fails at once, and runs nothing, with %s ms left", (millis) =>
    Effect.gen(function*() {
      let ran = false
      const work = Effect.sync(() => void (ran = true))
      const error = yield* Effect.flip(Deadline.run(work, millis))
      expect([error._tag, error.phase, ran]).toEqual(["RequestTimeoutError", "deadline", false])
      const own = yield* Effect.flip(Deadline.run(work, millis, { onExpired: Duration.toMillis }))
      expect([own, ran]).toEqual([0, false])
    }))

  describe("attempt", () => {
    const slow = Effect.never.pipe(Deadline.attempt("4 seconds"))

    it.effect("cuts an attempt at its own timeout, which may be retried", () =>
      Effect.gen(function*() {
        const { exit, seconds } = yield* timed(slow)
        expect(failure(exit)).toMatchObject({ _tag: "RequestTimeoutError", phase: "body" })
        expect(seconds).toBe(4)
        expect(Exit.isSuccess((yield* timed(Deadline.attempt(Effect.sleep("3 seconds"), "4 seconds"))).exit)).toBe(true)
      }))

    it.effect("cuts it at the deadline where that is earlier", () =>
      Effect.gen(function*() {
        const { exit, seconds } = yield* timed(Deadline.run(slow, "3 seconds"))
        expect(failure(exit)).toMatchObject({ phase: "deadline" })
        expect(seconds).toBe(3)
      }))

    it.effect("starts nothing with less than minAttempt left", () =>
      Effect.gen(function*() {
        let started = 0
        const attempt = Deadline.attempt(Effect.sync(() => started++), "30 seconds", {
          onTimeout: ({ byDeadline, duration }) => [byDeadline, Duration.toSeconds(duration)] as const
        })
        const program = Effect.andThen(Effect.sleep("9 seconds"), attempt)
        const late = yield* timed(Deadline.run(program, "10 seconds", { minAttempt: "2 seconds" }))
        expect(late.exit).toStrictEqual(Exit.fail([true, 1]))
        expect(started).toBe(0)
        yield* timed(Deadline.run(program, "10 seconds", { minAttempt: "1 second" }))
        expect(started).toBe(1)
      }))
  })

  it("refuses what is no duration", () => {
    for (const none of [NaN, "x" as "1 second"]) {
      const wrong = `must be a duration, got ${none}`
      expect(() => Deadline.run(Effect.void, none)).toThrow(new RangeError(`Deadline.run: duration ${wrong}`))
      expect(() => Deadline.allows(none)).toThrow(new RangeError(`Deadline.allows: wait ${wrong}`))
    }
  })

  it("refuses options out of range", () => {
    expect(() => Deadline.run(Effect.void, 1, { minAttempt: -1 })).toThrow(
      /Deadline.run: minAttempt must be at least 0/
    )
    expect(() => Deadline.attempt(Effect.void, 0)).toThrow(/Deadline.attempt: timeout must be above 0/)
  })
})
