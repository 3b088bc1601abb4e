import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as TogetherError from "../../src/domain/TogetherError.ts"
import * as Breaker from "../../src/guard/Breaker.ts"
import * as Credits from "../../src/guard/credits/Credits.ts"
import * as Lanes from "../../src/guard/lane/Lanes.ts"
import * as Budget from "../../src/policy/Budget.ts"
import * as Reply from "../../src/testing/Reply.ts"
import * as TogetherTest from "../../src/testing/TogetherTest.ts"
import * as VirtualClock from "../../src/testing/VirtualClock.ts"
import * as Together from "../../src/together/Together.ts"

const request = { model: "m", messages: [{ role: "user" as const, content: "?" }] }
const once = { retry: Schedule.recurs(0) }

interface Case {
  readonly replies?: ReadonlyArray<Reply.Reply>
  readonly guards?:
    | Layer.Layer<never>
    | Layer.Layer<Breaker.Breaker>
    | Layer.Layer<Credits.Credits>
    | Layer.Layer<
      Lanes.Lanes
    >
  readonly call: (together: Together.Service) => Effect.Effect<unknown, TogetherError.TogetherError>
}

/** Runs a call that fails, and reads what its error says of it. */
const about = ({ call, guards = Layer.empty, replies = [] }: Case) =>
  Effect.gen(function*() {
    yield* Effect.forEach(replies, (reply) => TogetherTest.reply(reply))
    const { _tag, attempts, model, operation } = yield* Effect.flip(Effect.flatMap(Together.Together, call))
    return [_tag, operation, model, attempts]
  }).pipe(Effect.provide(TogetherTest.layer({ verifyOnClose: false }).pipe(Layer.provide(guards))), VirtualClock.wrap)

describe("an error of a call", () => {
  it.effect.each<[string, Case, ReadonlyArray<unknown>]>([
    [
      "its deadline, and the attempt that it cut",
      {
        replies: [Reply.overloaded, Reply.hang],
        call: (together) => together.chat(request, { deadline: "20 seconds" })
      },
      ["RequestTimeoutError", "chat", "m", 2]
    ],
    [
      "a deadline that leaves no time for an attempt",
      { call: (together) => together.chat(request, { deadline: 0 }) },
      ["RequestTimeoutError", "chat", "m", undefined]
    ],
    [
      "a circuit",
      {
        replies: [Reply.error(500)],
        guards: Breaker.layer({ size: 1, minimumCalls: 1 }),
        call: (together) => Effect.andThen(Effect.exit(together.chat(request, once)), together.chat(request))
      },
      ["CircuitOpenError", "chat", "m", 1]
    ],
    [
      "a lane",
      {
        replies: [Reply.chat("Rhine")],
        guards: Lanes.layer({ maxQueue: 0 }),
        call: (together) => Effect.andThen(together.chat(request), together.chat(request))
      },
      ["LaneOverflowError", "chat", "m", 1]
    ],
    [
      "a budget",
      { guards: Credits.layer({ budgets: [Budget.perRun("$1")] }), call: (together) => together.chat(request) },
      ["BudgetExceededError", "chat", "m", undefined]
    ],
    [
      "a stream that breaks",
      {
        replies: [Reply.overloaded, Reply.cutAt(Reply.stream(["a", "b"]), 1)],
        call: (together) => Stream.runDrain(together.chatStream(request))
      },
      ["StreamError", "chatStream", "m", 2]
    ],
    [
      "an answer without a model that does not fit",
      {
        replies: [Reply.json({})],
        call: (together) => together.request({ path: "/x", response: Schema.Struct({ b: Schema.String }) })
      },
      ["DecodeError", "request", undefined, 1]
    ],
    [
      "a stream without a model that is refused",
      {
        replies: [Reply.events([{ error: { message: "no", code: 400 } }])],
        call: (together) => Stream.runDrain(together.requestStream({ path: "/x", body: {}, response: Schema.Unknown }))
      },
      ["StreamError", "request", undefined, 1]
    ],
    [
      "an event that does not fit",
      {
        replies: [Reply.overloaded, Reply.events([{ a: 1 }])],
        call: (together) =>
          Stream.runDrain(
            together.requestStream({ path: "/x", body: {}, response: Schema.Struct({ b: Schema.String }) })
          )
      },
      ["DecodeError", "request", undefined, 2]
    ]
  ])("of %s says what was called, and how often it was attempted", ([, tried, expected]) =>
    Effect.gen(function*() {
      expect(yield* about(tried)).toEqual(expected)
    }))
})
