import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Schedule, Stream } from "effect"
import { Breaker, Budget, Credits, Lanes, RetryBudget, Together, TogetherEmbeddingModel } from "effect-together"
import { Reply, TogetherTest, VirtualClock } from "effect-together/testing"
import { EmbeddingModel } from "effect/ai"

type Service = Together.Together["Service"]

const request = { model: "m", messages: [{ role: "user", content: "?" }] }
const client = TogetherTest.layer({ verifyOnClose: false })
const once = { retry: Schedule.recurs(0) }
const chat = (together: Service) => together.chat(request)
const chatStream = (together: Service) => Stream.runDrain(together.chatStream(request))

/** Runs a call that fails, and says how and after how many requests. */
const ending = <A>(call: (together: Service) => Effect.Effect<A, { readonly _tag: string }>, reply: Reply.Reply) =>
  Effect.gen(function*() {
    yield* TogetherTest.always("*", reply)
    const error = yield* Effect.flip(Effect.flatMap(Together.Together, call))
    return [error._tag, (yield* TogetherTest.log).length]
  })

const noMoney = Credits.layer({ budgets: [Budget.perRun("$0.000001")] })

describe("ContextGuards", () => {
  it.effect.each<[string, {
    readonly guard: Layer.Layer<never>
    readonly call: (together: Service) => Effect.Effect<unknown, { readonly _tag: string }>
    readonly reply?: Reply.Reply
    readonly ending: readonly [tag: string, sent: number]
  }]>([
    ["Credits", { guard: noMoney, call: chat, ending: ["BudgetExceededError", 0] }],
    ["Credits, for a stream", { guard: noMoney, call: chatStream, ending: ["BudgetExceededError", 0] }],
    ["Lanes", {
      guard: Lanes.layer({ maxQueue: 0 }),
      call: (together) => Effect.andThen(chat(together), chat(together)),
      ending: ["LaneOverflowError", 1]
    }],
    ["a Breaker", {
      guard: Breaker.layer({ size: 1, minimumCalls: 1 }),
      call: (together) => Effect.andThen(Effect.exit(together.chat(request, once)), together.chat(request, once)),
      reply: Reply.error(500),
      ending: ["CircuitOpenError", 1]
    }],
    ["a RetryBudget", {
      guard: RetryBudget.layer({ ratio: 0, minPerSecond: 0 }),
      call: chat,
      reply: Reply.error(500),
      ending: ["ServerError", 1]
    }]
  ])(
    "lets %s guard a call from beside the client, from below it and from around the call",
    ([, tried]) =>
      Effect.gen(function*() {
        const failing = ending(tried.call, tried.reply ?? Reply.chat("Rhine"))
        const { guard } = tried
        const ends = yield* Effect.forEach([
          Effect.provide(failing, Layer.mergeAll(client, guard)),
          Effect.provide(failing, Layer.provideMerge(client, guard)),
          Effect.provide(failing, Layer.provide(client, guard)),
          failing.pipe(Effect.provide(guard), Effect.provide(client))
        ], (program) => VirtualClock.wrap(program))
        expect(ends).toEqual([tried.ending, tried.ending, tried.ending, tried.ending])
      })
  )

  it.effect("stand behind the lanes and the retry budget that the client is given", () =>
    Effect.gen(function*() {
      const own = TogetherTest.layer({
        verifyOnClose: false,
        together: { lanes: {}, retryBudget: yield* RetryBudget.make() }
      })
      const ambient = Layer.mergeAll(Lanes.layer({ maxQueue: 0 }), RetryBudget.layer({ ratio: 0, minPerSecond: 0 }))
      const failing = ending(
        (together) => Effect.andThen(Effect.exit(chat(together)), chat(together)),
        Reply.error(500)
      )
      const ends = yield* Effect.forEach(
        [Layer.mergeAll(own, ambient), Layer.provide(own, ambient)],
        (layer) => VirtualClock.wrap(Effect.provide(failing, layer))
      )
      expect(ends).toEqual([["ServerError", 10], ["ServerError", 10]])
    }))

  it.effect("charges the Credits of the fiber that calls, and no other beside them", () =>
    Effect.gen(function*() {
      yield* TogetherTest.always("*", Reply.chat("Rhine"))
      const priced = { ...request, model: "openai/gpt-oss-20b" }
      const spent = Effect.gen(function*() {
        yield* Effect.flatMap(Together.Together, (together) => together.chat(priced))
        return (yield* (yield* Credits.Credits).report).keys.length
      })
      const below = yield* Credits.Credits
      expect(yield* Effect.provide(spent, Credits.layer())).toBe(1)
      expect((yield* below.report).keys).toEqual([])
      expect(yield* spent).toBe(1)
    }).pipe(Effect.provide(Layer.provideMerge(client, Credits.layer())), VirtualClock.wrap))

  it.effect("gives texts under other Credits a request of their own", () =>
    Effect.gen(function*() {
      yield* TogetherTest.always("*", Reply.embeddings([[1, 0]]))
      const { embed } = yield* EmbeddingModel.EmbeddingModel
      yield* Effect.all([embed("a"), Effect.provide(embed("b"), Credits.layer())], { concurrency: "unbounded" })
      expect((yield* TogetherTest.log).length).toBe(2)
    }).pipe(
      Effect.provide(TogetherEmbeddingModel.model("intfloat/multilingual-e5-large-instruct")),
      Effect.provide(client),
      VirtualClock.wrap
    ))
})
