import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as ExecutionPlan from "effect/ExecutionPlan"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import {
  AuthError,
  BudgetExceededError,
  CircuitOpenError,
  ConnectionError,
  ContextLengthError,
  InsufficientCreditsError,
  LaneOverflowError,
  ModelUnavailableError,
  OverloadedError,
  RateLimitError,
  RequestTimeoutError,
  ServerError,
  StreamError,
  type TogetherError
} from "../../src/domain/TogetherError.ts"
import * as Fallback from "../../src/guard/Fallback.ts"
import * as Retry from "../../src/guard/retry/Retry.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"

const message = "no"
const partial = { text: "", reasoning: "" }
const gone = new ModelUnavailableError({ message })
const auth = new AuthError({ message })

const asking = (answers: { readonly [model: string]: TogetherError | string }) => {
  const asked: Array<string> = []
  const ask = (model: string): Effect.Effect<string, TogetherError> =>
    Effect.suspend(() => {
      asked.push(model)
      const answer = answers[model] ?? "?"
      return typeof answer === "string" ? Effect.succeed(answer) : Effect.fail(answer)
    })
  return { ask, asked }
}

describe("Fallback", () => {
  describe("run", () => {
    it.effect("asks the first target only, where it answers", () =>
      Effect.gen(function*() {
        const { ask, asked } = asking({ a: "from a" })
        expect(yield* Fallback.run(["a", "b"], ask)).toBe("from a")
        expect(asked).toEqual(["a"])
      }))

    it.effect("asks the next ones in order, each once", () =>
      Effect.gen(function*() {
        const { ask, asked } = asking({ a: gone, b: gone, c: "from c", d: "from d" })
        const events: Array<unknown> = []
        const answer = yield* Fallback.run(["a", "b", "c", "d"], ask, {
          onFallback: ({ error, from, to }) =>
            Effect.sync(() => {
              events.push([error._tag, from, to])
            })
        })
        expect(answer).toBe("from c")
        expect(asked).toEqual(["a", "b", "c"])
        expect(events).toEqual([["ModelUnavailableError", "a", "b"], ["ModelUnavailableError", "b", "c"]])
      }))

    it.effect("fails with the last error when all targets fail", () =>
      Effect.gen(function*() {
        const last = new OverloadedError({ message: "last" })
        const { ask } = asking({ a: gone, b: last })
        expect(yield* Effect.flip(Fallback.run(["a", "b"], ask))).toBe(last)
        expect(yield* Effect.flip(Fallback.run(["a"], ask))).toBe(gone)
      }))

    it.effect("stops at an error that no target can cure, wherever it comes", () =>
      Effect.gen(function*() {
        const { ask, asked } = asking({ a: gone, b: auth, c: "c", d: "d" })
        expect(yield* Effect.flip(Fallback.run(["a", "b", "c", "d"], ask))).toBe(auth)
        expect(asked).toEqual(["a", "b"])
      }))

    it.effect("takes the caller's rule, any target, and data last", () =>
      Effect.gen(function*() {
        const targets = [{ url: "x", ok: false }, { url: "y", ok: true }] as const
        const program = Fallback.run(
          (target: { readonly url: string; readonly ok: boolean }) =>
            target.ok
              ? Effect.map(ExecutionPlan.CurrentMetadata, (step) => [target.url, step.stepIndex])
              : Effect.fail(1),
          { when: (code: number) => code === 1 }
        )(targets)
        expect(yield* program).toEqual(["y", 1])
      }))

    it.effect("gives each target its retries", () =>
      Effect.gen(function*() {
        const { ask, asked } = asking({ a: new ServerError({ message }), b: "from b" })
        const result = yield* VirtualClock.run(
          Fallback.run(["a", "b"], (model) => Retry.run(ask(model), Retry.maxAttempts(Schedule.spaced("1 second"), 3)))
        )
        expect(result.exit).toStrictEqual(Exit.succeed("from b"))
        expect(asked).toEqual(["a", "a", "a", "b"])
      }))

    it.effect("passes on defects", () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(Fallback.run(["a", "b"], () => Effect.die("bug")))
        expect(Exit.isFailure(exit) && Cause.hasDies(exit.cause)).toBe(true)
      }))
  })

  it.each<readonly [TogetherError, boolean]>([
    [gone, true],
    [new CircuitOpenError({ message, key: "k" }), true],
    [new LaneOverflowError({ message, lane: "l", reason: "queue-full" }), true],
    [new OverloadedError({ message }), true],
    [new ServerError({ message }), true],
    [new RateLimitError({ message, scope: "model" }), true],
    [new ConnectionError({ message, permanent: true }), true],
    [new RequestTimeoutError({ message, phase: "headers" }), true],
    [new RequestTimeoutError({ message, phase: "deadline" }), false],
    [new RequestTimeoutError({ message, phase: "idle", started: true }), false],
    [new StreamError({ message, started: false, partial }), true],
    [new StreamError({ message, started: true, partial }), false],
    [auth, false],
    [new InsufficientCreditsError({ message }), false],
    [new ContextLengthError({ message }), false],
    [
      new BudgetExceededError({ message, budget: "b", limitNanoUsd: 1n, neededNanoUsd: 2n, remainingNanoUsd: 1n }),
      false
    ]
  ])("isCurable of case %#", (error, curable) => {
    expect(Fallback.isCurable(error)).toBe(curable)
    expect(Fallback.isCurable(new Error("foreign"))).toBe(false)
  })

  describe("stream", () => {
    const streams: { readonly [model: string]: Stream.Stream<number, TogetherError> } = {
      gone: Stream.fail(gone),
      cut: Stream.concat(Stream.make(1), Stream.fail(gone)),
      good: Stream.make(7, 8)
    }
    const of = (model: string) => streams[model] ?? Stream.empty

    it.effect("turns to the next target before the first element", () =>
      Effect.gen(function*() {
        const moves: Array<string> = []
        const stream = Fallback.stream(["gone", "good"], of, {
          onFallback: ({ from, to }) =>
            Effect.sync(() => {
              moves.push(`${from} → ${to}`)
            })
        })
        expect(yield* Stream.runCollect(stream)).toEqual([7, 8])
        expect(moves).toEqual(["gone → good"])
      }))

    it.effect("does not after it", () =>
      Effect.gen(function*() {
        const seen: Array<number> = []
        const stream = Fallback.stream(["cut", "good"], of).pipe(
          Stream.tap((n) =>
            Effect.sync(() => {
              seen.push(n)
            })
          )
        )
        expect(yield* Effect.flip(Stream.runDrain(stream))).toBe(gone)
        expect(seen).toEqual([1])
      }))
  })

  it("refuses to choose among no targets", () => {
    // @ts-expect-error the types want one
    expect(() => Fallback.run([], () => Effect.void)).toThrow(
      new RangeError("Fallback.run: targets must be a list of one or more, got an empty one")
    )
    // @ts-expect-error the types want one
    expect(() => Fallback.stream([], () => Stream.empty)).toThrow(
      new RangeError("Fallback.stream: targets must be a list of one or more, got an empty one")
    )
  })

  describe("types", () => {
    it("of targets that are records of their own are inferred as their union", () => {
      const targets = [{ model: "big", max: 100 }, { model: "small", max: 10 }] as const
      const told = Fallback.run(targets, (target) => {
        expectTypeOf(target).toEqualTypeOf<(typeof targets)[number]>()
        return Effect.succeed(target.max)
      }, { onFallback: ({ from, to }) => Effect.log(from.model, to.max) })
      expectTypeOf(told).toEqualTypeOf<Effect.Effect<100 | 10>>()
      const streamed = Fallback.stream(targets, ({ max, model }) => Stream.make(max, model))
      expectTypeOf(streamed).toEqualTypeOf<Stream.Stream<100 | 10 | "big" | "small">>()
      const named = Fallback.run(["big", "small"], (model) => Effect.succeed(model))
      expectTypeOf(named).toEqualTypeOf<Effect.Effect<string>>()
      const ask = ({ max }: { readonly max: number }) => Effect.succeed(max)
      expectTypeOf(Fallback.run(ask)(targets)).toEqualTypeOf<Effect.Effect<number>>()
    })
  })
})
