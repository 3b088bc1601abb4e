import { describe, expect, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { AuthError, InsufficientCreditsError, ServerError, type TogetherError } from "../../src/domain/TogetherError.ts"
import * as Deadline from "../../src/guard/Deadline.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as RetryBudget from "../../src/guard/retry/RetryBudget.ts"
import * as RetryLoop from "../../src/guard/retry/RetryLoop.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const server = new ServerError({ message: "500", status: 500 })
const refused = new InsufficientCreditsError({ message: "402", status: 402 })
const second = Schedule.spaced("1 second")
const isRetryable = (error: TogetherError) => error._tag === "ServerError"

/** Makes the retries of a call that fails with the listed errors in turn, then succeeds; `seen` are its attempts. */
const scripted = (
  errors: ReadonlyArray<TogetherError>,
  policy: Schedule.Schedule<unknown>,
  options: Retry.Options<TogetherError> = {}
) => {
  const seen: Array<number> = []
  const call = Effect.flatMap(RetryLoop.CurrentAttempt, (attempt) => {
    const error = errors[seen.length]
    seen.push(attempt)
    return error === undefined ? Effect.succeed("done") : Effect.fail(error)
  })
  return { seen, retries: RetryLoop.make(call, Effect.succeed(policy), { ...options, isRetryable }) }
}

describe("RetryLoop", () => {
  describe("near the deadline", () => {
    /** Runs a call that fails once at once; each wait takes a second, and what is left then is worth an attempt or not. */
    const within = (seconds: number, options?: Retry.Options<TogetherError>) => {
      const { retries, seen } = scripted([server], second, options)
      const call = Deadline.run(retries, Duration.seconds(seconds), { minAttempt: "1 second" })
      return Effect.map(VirtualClock.run(Effect.exit(call)), () => seen)
    }

    it.effect("makes no retry whose wait leaves just the shortest attempt", () =>
      Effect.gen(function*() {
        expect(yield* within(2)).toEqual([1])
        expect(yield* within(2.1)).toEqual([1, 2])
      }))

    it.effect("waits for a budget only as long as the wait itself leaves time", () =>
      Effect.gen(function*() {
        const budget: RetryBudget.RetryBudget = {
          ...yield* RetryBudget.make(),
          withdraw: Effect.sleep("2 seconds")
        }
        expect(yield* within(3.9, { budget, whenBudgetEmpty: "wait" })).toEqual([1])
        expect(yield* within(4.1, { budget, whenBudgetEmpty: "wait" })).toEqual([1, 2])
      }))
  })

  describe("run again", () => {
    it.effect("goes on counting and with its schedule", () =>
      Effect.gen(function*() {
        const { retries, seen } = scripted([server, refused, server, server], Retry.maxAttempts(second, 3))
        const { elapsed, exit } = yield* VirtualClock.run(Effect.gen(function*() {
          const before = yield* Effect.flip(retries)
          yield* Effect.sleep("1 hour")
          return [before, yield* Effect.flip(retries)]
        }))
        expect(exit).toMatchObject({ value: [{ status: 402, attempts: 2 }, { status: 500, attempts: 4 }] })
        expect(seen).toEqual([1, 2, 3, 4])
        expect(elapsed).toEqual(Duration.seconds(3602))
      }))

    it.effect("counts no attempt that a guard refused unsent", () =>
      Effect.gen(function*() {
        const unsent = new InsufficientCreditsError({ message: "suspended" })
        const auth = new AuthError({ message: "401" })
        const { retries, seen } = scripted([unsent, server, unsent, auth], Schedule.spaced(0))
        yield* Effect.exit(retries)
        yield* Effect.exit(retries)
        expect(yield* Effect.flip(retries)).toMatchObject({ _tag: "AuthError", attempts: 2 })
        expect(seen).toEqual([1, 1, 2, 2])
      }))

    it.effect("does not count the time in between", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { retries } = scripted([refused, server], Retry.maxElapsed(second, "3 seconds"))
        yield* Effect.flip(retries)
        yield* Effect.sleep("10 seconds")
        expect(yield* retries).toBe("done")
      })))

    it.effect("counts the time of the runs before", () =>
      VirtualClock.wrap(Effect.gen(function*() {
        const { retries, seen } = scripted(
          [server, server, refused, server, server],
          Retry.maxElapsed(second, "3 seconds")
        )
        yield* Effect.flip(retries)
        yield* Effect.flip(retries)
        // two waits before, one behind
        expect(seen).toEqual([1, 2, 3, 4, 5])
      })))

    it.effect("is one call for its budget", () =>
      Effect.gen(function*() {
        const budget = yield* RetryBudget.make({ ratio: 1, minPerSecond: 0 })
        const { retries } = scripted([server, refused, server], Schedule.spaced(0), { budget })
        yield* Effect.flip(retries)
        // the one retry is spent
        expect(yield* Effect.flip(retries)).toMatchObject({ status: 500, attempts: 3 })
      }))
  })
})
