import { describe, expect, it } from "@effect/vitest"
import { Clock, type Duration, Effect, Exit, Layer, Stream } from "effect"
import { Together } from "effect-together"
import { TogetherTest, VirtualClock } from "effect-together/testing"

const request = { model: "a", messages: [{ role: "user", content: "Name three rivers." }] }
const use = <A, E, R>(f: (together: Together.Service) => Effect.Effect<A, E, R>) => Effect.flatMap(Together.Together, f)

const virtually = <A, E>(effect: Effect.Effect<A, E, Together.Together | TogetherTest.TogetherTest>) =>
  VirtualClock.wrap(Effect.provide(effect, TogetherTest.layer({ verifyOnClose: false })))

/** How an effect ended and after how many seconds. */
const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = yield* Clock.currentTimeMillis
    const exit = yield* Effect.exit(effect)
    return { exit, seconds: ((yield* Clock.currentTimeMillis) - before) / 1000 }
  })

describe("an option that is none", () => {
  it.effect.each<[string, NonNullable<TogetherTest.LayerOptions["together"]>]>([
    ["deadline must be above 0, got 0 ms", { deadline: 0 }],
    ["timeouts.idle must be above 0, got 0 ms", { timeouts: { idle: "0 seconds" } }],
    ["priority must be an integer in [0, 499], or one of interactive, normal, bulk, got 500", { priority: 500 }],
    ["hedge.delay must be above 0, got -5 ms", { hedge: { delay: -5 } }],
    ["hedge.delay must be a duration, got NaN", { hedge: { delay: NaN } }],
    ["hedge.delay must be a duration, got abc", { hedge: { delay: "abc" as Duration.Input } }],
    ["deadline must be a duration, got NaN", { deadline: NaN }]
  ])("is refused when the client is made: %s", ([message, together]) =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(TogetherTest.layer({ together }))))
      expect(Exit.isFailure(exit) && exit.cause.reasons).toMatchObject([
        { _tag: "Die", defect: new RangeError(`Together.make: ${message}`) }
      ])
    }))

  it.effect("fails a call: a priority of no rank", () =>
    virtually(Effect.gen(function*() {
      for (const priority of [-1, 500, "urgent" as Together.CallOptions["priority"]]) {
        const answer = yield* Effect.flip(use((t) => t.chat(request, { priority })))
        const streamed = yield* Effect.flip(use((t) => Stream.runDrain(t.chatStream(request, { priority }))))
        expect([answer._tag, streamed._tag]).toEqual(["InvalidRequestError", "InvalidRequestError"])
        expect(answer.message).toContain(`got ${priority}`)
      }
      expect(yield* TogetherTest.log).toHaveLength(0)
    })))

  it.effect.each([NaN, "abc" as Duration.Input])(
    "fails a call: a deadline that is none, as %s",
    (deadline) =>
      virtually(Effect.gen(function*() {
        for (const fallback of [undefined, ["b"]]) {
          const options = { deadline, fallback }
          const answer = yield* Effect.flip(use((t) => t.chat(request, options)))
          const streamed = yield* Effect.flip(use((t) => Stream.runDrain(t.chatStream(request, options))))
          for (const error of [answer, streamed]) {
            expect([error._tag, error.message]).toEqual([
              "InvalidRequestError",
              `The request was not sent: deadline must be a duration, got ${String(deadline)}. Correct the option.`
            ])
          }
        }
        expect(yield* TogetherTest.log).toHaveLength(0)
      }))
  )

  it.effect.each<[string, Duration.Input | null]>([
    ["must be above 0, got 0 ms", 0],
    ["must be a duration, got NaN", NaN],
    ["must be a duration, got null", null]
  ])("fails a call: a hedge whose delay %s", ([wrong, delay]) =>
    virtually(Effect.gen(function*() {
      const options = { hedge: { delay } } as Together.CallOptions
      const answer = yield* Effect.flip(use((t) => t.chat(request, options)))
      const streamed = yield* Effect.flip(use((t) => Stream.runDrain(t.chatStream(request, options))))
      for (const error of [answer, streamed]) {
        expect([error._tag, error.message]).toEqual([
          "InvalidRequestError",
          `The request was not sent: hedge.delay ${wrong}. Correct the option.`
        ])
      }
      expect(yield* TogetherTest.log).toHaveLength(0)
    })))

  it.effect.each([0, -5])("fails a call at once: a deadline of %s", (millis) =>
    virtually(Effect.gen(function*() {
      for (const fallback of [undefined, ["b"]]) {
        const options = { deadline: millis, fallback }
        const answer = yield* timed(Effect.flip(use((t) => t.chat(request, options))))
        const streamed = yield* timed(Effect.flip(use((t) => Stream.runDrain(t.chatStream(request, options)))))
        for (const { exit, seconds } of [answer, streamed]) {
          expect([exit, seconds]).toEqual([
            Exit.succeed(expect.objectContaining({ _tag: "RequestTimeoutError", phase: "deadline" })),
            0
          ])
        }
      }
      expect(yield* TogetherTest.log).toHaveLength(0)
    })))
})
